"""For tests/e2e/exec: clients that compare what comes back, and a killer of the processes that serve them.

load ADDRESS PORT FILE COUNT        8 threads with COUNT connections each; prints how many failed
kill NAMESPACE LISTENER SECONDS     kills at random what the child of LISTENER has started there; prints how many
"""
import os
import random
import socket
import sys
import threading
import time


def once(address, data):
    with socket.create_connection(address, timeout=30) as s:
        threading.Thread(target=send, args=(s, data), daemon=True).start()
        got = b"".join(iter(lambda: s.recv(65536), b""))
    if not data.startswith(got):
        os._exit(3)  # what came is wrong: worse than cut off
    return got == data


def send(s, data):
    try:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def load(address, port, name, count):
    with open(name, "rb") as f:
        data = f.read()
    failed = []

    def client():
        for _ in range(int(count)):
            try:
                if not once((address, int(port)), data):
                    failed.append("short")
            except ConnectionError as error:
                failed.append(error)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(len(failed))


def victim(pid, space, listener):
    if os.stat(f"/proc/{pid}/ns/net").st_ino != space:
        return False
    with open(f"/proc/{pid}/stat") as f:
        stat = f.read()
    name, parent = stat[stat.index("(") + 1:stat.rindex(")")], int(stat[stat.rindex(")") + 2:].split()[1])
    return not name.startswith("ustack") and name not in ("timeout", "nsenter") and parent != listener


def kill(namespace, listener, seconds):
    space = os.stat("/run/netns/" + namespace).st_ino
    end, kills = time.time() + float(seconds), 0
    while time.time() < end:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if victim(pid, space, int(listener)) and random.random() < 0.3:
                    os.kill(int(pid), 9)
                    kills += 1
            except OSError:
                pass
        time.sleep(random.random() * 0.004)
    print(kills)


globals()[sys.argv[1]](*sys.argv[2:])
