"""Sends a file to a server and ends: exit.py HOW ADDRESS PORT FILE, HOW being kill, exit, return, close, reset or abort."""
import os
import signal
import socket
import struct
import sys

how, address, port, path = sys.argv[1:]
data = open(path, "rb").read()
s = socket.create_connection((address, int(port)), 30)
s.settimeout(None)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(data))
s.sendall(data)
if how == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif how == "abort":
    os.abort()
elif how == "exit":
    os._exit(0)
elif how == "close":
    s.close()
elif how == "reset":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
