#!/usr/bin/env python3
"""Both ends of a bulk transfer that is measured from the connect on.

    goodput.py serve PORT SECONDS [FROM]     counts what arrives in SECONDS, but for the first FROM; prints Mbit/s
    goodput.py serve-whole PORT SECONDS      the same with as few system calls as there can be
    goodput.py send HOST PORT SECONDS CC     the sender is the client
    goodput.py serve-send PORT SECONDS CC    the other way: the sender is the server ...
    goodput.py fetch HOST PORT SECONDS       ... and the client counts

The client first tries a port where nobody listens until the refusal comes at once: the stack's device has just been opened, and what
stands between (a bridge, ARP) carries frames only a little later. The clock is the machine's: a sending client tells the moment of its connect in its first eight bytes.
"""
import socket
import struct
import sys
import time


def listen(port):
    s = socket.create_server(("0.0.0.0", port))
    print("ready", flush=True)
    return s.accept()[0]


def count(conn, begin, seconds, skip=0.0):
    view = memoryview(bytearray(1 << 20))
    total = 0
    if begin is None:
        head = b""
        while len(head) < 8:
            head += conn.recv(8 - len(head))
        begin = struct.unpack("d", head)[0]
    counts_from = begin + skip
    while (left := begin + seconds - time.monotonic()) > 0:
        conn.settimeout(left)
        try:
            n = conn.recv_into(view)
        except TimeoutError:
            break
        if not n:
            break
        if time.monotonic() >= counts_from:
            total += n
    print("%.3f" % (total * 8 / (seconds - skip) / 1e6), flush=True)


def count_whole(conn, seconds):
    view = memoryview(bytearray(1 << 20))
    total = 0
    begin = struct.unpack("d", conn.recv(8, socket.MSG_WAITALL))[0]
    while (left := begin + seconds - time.monotonic()) > 1e-6:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(left), int(left % 1 * 1e6)))
        try:
            total += conn.recv_into(view, 0, socket.MSG_WAITALL)
        except BlockingIOError:
            break
    print("%.3f" % (total * 8 / seconds / 1e6), flush=True)


def send(conn, begin, seconds):
    data = bytes(1 << 18)
    conn.settimeout(seconds + 30)
    try:
        if begin is not None:
            conn.sendall(struct.pack("d", begin))
        while True:
            conn.sendall(data)
    except OSError:
        pass


def wait_for_path(host):
    """Until nothing is missing but TCP: a SYN is answered within a second, so the first."""
    while True:
        begin = time.monotonic()
        with socket.socket() as s:
            s.settimeout(5)
            try:
                s.connect((host, 1))
            except OSError:
                pass
        if time.monotonic() - begin < 0.9:
            return


def connect(host, port, cc):
    wait_for_path(host)
    s = socket.socket()
    if cc:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, cc.encode())
    begin = time.monotonic()
    s.connect((host, port))
    return s, begin


def main(mode, *args):
    if mode == "serve":
        count(listen(int(args[0])), None, float(args[1]), float(args[2]) if len(args) > 2 else 0.0)
    elif mode == "serve-whole":
        count_whole(listen(int(args[0])), float(args[1]))
    elif mode == "send":
        conn, begin = connect(args[0], int(args[1]), args[3])
        send(conn, begin, float(args[2]))
    elif mode == "serve-send":
        conn = listen(int(args[0]))
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, args[2].encode())
        send(conn, None, float(args[1]))
    elif mode == "fetch":
        conn, begin = connect(args[0], int(args[1]), None)
        count(conn, begin, float(args[2]))


main(*sys.argv[1:])
