#!/usr/bin/python3
"""Servers that fork and their clients, for tests/e2e/forking.

forking.py fork|workers|passing|manager ADDRESS PORT: a process for each connection (socketserver.ForkingTCPServer); four processes
that accept on one socket (multiprocessing); one that accepts and passes connections to four others, made by the METHOD that
follows; a manager with its queue.
Each connection gets back what it sent, once it has ended its side.
forking.py client ADDRESS PORT [COUNT]: as many connections by a pool of processes, checked.
forking.py produce ADDRESS PORT: works through the manager's queue with four processes."""
import hashlib
import multiprocessing
import multiprocessing.managers
import queue
import random
import socket
import socketserver
import sys

ADDRESS = (sys.argv[2], int(sys.argv[3]))
WORKERS = 4
ITEMS = 20


def answer(connection):
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    connection.sendall(b"".join(parts))


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        answer(self.request)


class Server(socketserver.ForkingTCPServer):
    allow_reuse_address = True
    request_queue_size = 100


def fork():
    Server(ADDRESS, Handler).serve_forever()


def accepting(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            answer(connection)


def workers():
    with socket.create_server(ADDRESS, backlog=100) as listener:
        for _ in range(WORKERS - 1):
            multiprocessing.Process(target=accepting, args=(listener,), daemon=True).start()
        accepting(listener)


def receiving(pipe):
    while True:
        connection = pipe.recv()
        with connection:
            answer(connection)


def passing():
    context = multiprocessing.get_context(sys.argv[4])
    pipes = []
    for _ in range(WORKERS):
        ours, theirs = context.Pipe()
        context.Process(target=receiving, args=(theirs,), daemon=True).start()
        pipes.append(ours)
    with socket.create_server(ADDRESS, backlog=100) as listener:
        while True:
            connection, _ = listener.accept()
            pipes.append(pipes.pop(0))
            pipes[0].send(connection)
            connection.close()


def exchange(seed):
    rng = random.Random(seed)
    data = rng.randbytes(rng.choice((1, 1000, 100000, 2000000)))
    with socket.create_connection(ADDRESS, 30) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        back = b"".join(iter(lambda: connection.recv(65536), b""))
    return hashlib.sha256(data).digest() == hashlib.sha256(back).digest()


def client():
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 100
    with multiprocessing.Pool(8) as pool:
        good = sum(pool.imap_unordered(exchange, range(count)))
    print(f"{good} of {count}")


class Manager(multiprocessing.managers.BaseManager):
    pass


def manager():
    todo, done = queue.Queue(), queue.Queue()
    for i in range(ITEMS):
        todo.put(random.Random(i).randbytes(10000 * i))
    Manager.register("todo", lambda: todo)
    Manager.register("done", lambda: done)
    Manager(ADDRESS, b"secret").get_server().serve_forever()


def connected():
    Manager.register("todo")
    Manager.register("done")
    there = Manager(ADDRESS, b"secret")
    there.connect()
    return there.todo(), there.done()


def producing():
    todo, done = connected()
    while True:
        try:
            item = todo.get_nowait()
        except queue.Empty:
            return
        done.put(hashlib.sha256(item).hexdigest())


def produce():
    _, done = connected()
    processes = [multiprocessing.Process(target=producing) for _ in range(WORKERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    results = {done.get() for _ in range(ITEMS)}
    good = sum(hashlib.sha256(random.Random(i).randbytes(10000 * i)).hexdigest() in results for i in range(ITEMS))
    print(f"{good} of {ITEMS}")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
