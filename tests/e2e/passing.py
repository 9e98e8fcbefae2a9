#!/usr/bin/python3
"""Servers whose connections are served by other processes than those that accept them, for tests/e2e/passing. They answer
each line with the same in capitals.

passing.py descriptors|listener|reduction|spawn|plain ADDRESS PORT [LIBRARY]"""
import multiprocessing
import os
import socket
import subprocess
import sys

WORKERS = 3


def serve(connection):
    with connection, connection.makefile("rwb") as lines:
        for line in lines:
            lines.write(line.upper())
            lines.flush()


def accept_all(listener):
    while True:
        serve(listener.accept()[0])


def receive_all(way):
    while True:
        _, fds, _, _ = socket.recv_fds(way, 1, 4)
        for fd in fds:
            serve(socket.socket(fileno=fd))


def worker(run, *arguments):
    if os.fork() == 0:
        run(*arguments)
        os._exit(0)


def descriptors(listener):
    """Connections go to workers that were there first, by turns; what is sent is closed at once."""
    ways = [socket.socketpair() for _ in range(WORKERS)]
    for _, way in ways:
        worker(receive_all, way)
    turn = 0
    while True:
        connection = listener().accept()[0]
        socket.send_fds(ways[turn % WORKERS][0], [b"x"], [connection.fileno()])
        connection.close()
        turn += 1


def of_listener(listener):
    """The listener itself goes to the workers, and its maker ends."""
    way, other = socket.socketpair()
    for _ in range(WORKERS):
        worker(lambda: accept_all(socket.socket(fileno=socket.recv_fds(other, 1, 1)[1][0])))
    with listener() as made:
        for _ in range(WORKERS):
            socket.send_fds(way, [b"x"], [made.fileno()])
    os._exit(0)


def take(pipe):
    while True:
        serve(pipe.recv())


def reduction(listener, method="fork"):
    """multiprocessing passes sockets over its pipes."""
    context = multiprocessing.get_context(method)
    pipes = [context.Pipe() for _ in range(WORKERS)]
    for _, pipe in pipes:
        context.Process(target=take, args=(pipe,), daemon=True).start()
    turn = 0
    while True:
        connection = listener().accept()[0]
        pipes[turn % WORKERS][0].send(connection)
        connection.close()
        turn += 1


def plain(listener):
    """A worker that does not load the library has nothing but read(2) and write(2)."""
    way, other = socket.socketpair()
    code = "import sys; sys.argv = ['', '']; exec(open(%r).read()); receive_all(socket.socket(fileno=%d))" % (
        __file__, other.fileno())
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    environment["USTACK_FOLLOW_EXEC"] = "0"
    subprocess.Popen([sys.executable, "-c", code], pass_fds=[other.fileno()], env=environment)
    while True:
        connection = listener().accept()[0]
        socket.send_fds(way, [b"x"], [connection.fileno()])
        connection.close()


def client(address, port, count):
    done = 0
    for i in range(count):
        with socket.create_connection((address, port), 10) as connection, connection.makefile("rwb") as lines:
            for k in range(5):
                text = b"line %d of %d %s\n" % (k, i, b"x" * (i * 997 % 20000))
                lines.write(text)
                lines.flush()
                done += lines.readline() == text.upper()
            connection.shutdown(socket.SHUT_WR)
            done += lines.read() == b""
    print("%d of %d" % (done, 6 * count))


def main():
    what, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if what == "client":
        client(address, port, int(sys.argv[4]))
        return
    made = []

    def listener():
        if not made:
            made.append(socket.create_server((address, port)))
        return made[0]

    run = {"descriptors": descriptors, "listener": of_listener, "reduction": reduction, "plain": plain,
           "spawn": lambda made_by: reduction(made_by, "spawn")}[what]
    run(listener)


if __name__ == "__main__" and sys.argv[1:] and sys.argv[1]:
    main()
