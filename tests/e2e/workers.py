#!/usr/bin/python3
"""epoll and processes, for tests/e2e/host.

workers.py listener ADDRESS PORT: a listening socket that several forked workers have in an epoll set of their own; when the first
two take it out and leave, the others go on.
workers.py set ADDRESS PORT: an epoll set whose maker has children that close it, or use it."""
import os
import select
import socket
import subprocess
import sys
import time

ADDRESS = (sys.argv[2], int(sys.argv[3]))


def work(listener, name, commands, ready):
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
    poll.register(commands, select.EPOLLIN)
    os.write(ready, b"r")
    while True:
        for fd, _ in poll.poll(20):
            if fd == commands:
                poll.unregister(listener)
                listener.close()
                os._exit(0)
            try:
                connection = listener.accept()[0]
            except BlockingIOError:
                continue
            connection.setblocking(True)
            connection.sendall(name.encode())
            connection.close()


def start(listener, name):
    commands, ready = os.pipe(), os.pipe()
    if os.fork() == 0:
        work(listener, name, commands[0], ready[1])
    os.read(ready[0], 1)
    return commands[1]


def ask():
    with socket.create_connection(ADDRESS, 5) as connection:
        return connection.recv(10).decode()


def of_listener():
    listener = socket.create_server(ADDRESS)
    listener.setblocking(False)
    first = [start(listener, name) for name in "ab"]
    print(all(ask() in "ab" for _ in range(5)))
    second = [start(listener, name) for name in "cd"]
    for worker in first:
        os.write(worker, b"end")
    os.wait(), os.wait()
    print(all(ask() in "cd" for _ in range(5)))
    for worker in second:
        os.write(worker, b"end")
    os.wait(), os.wait()


def of_set():
    listener = socket.create_server(ADDRESS)
    client = socket.create_connection(ADDRESS)
    server = listener.accept()[0]
    poll = select.epoll()
    poll.register(server, select.EPOLLIN)
    if os.fork() == 0:
        os.closerange(3, 100)
        os._exit(0)
    os.wait()
    subprocess.run(["true"])
    client.sendall(b"x")
    print(poll.poll(5) == [(server.fileno(), select.EPOLLIN)])
    server.recv(1)
    if os.fork() == 0:  # what the parent has added the child can change and remove
        poll.modify(server, select.EPOLLIN | select.EPOLLOUT)
        poll.unregister(server)
        os._exit(0)
    print(os.wait()[1])
    print(poll.poll(0.1))
    poll.register(server, select.EPOLLIN)
    if os.fork():  # the maker goes, as a daemon's parent does
        os._exit(0)
    time.sleep(0.5)
    client.sendall(b"y")
    print(poll.poll(5) == [(server.fileno(), select.EPOLLIN)], flush=True)


{"listener": of_listener, "set": of_set}[sys.argv[1]]()
