"""An echo server and client for the end-to-end tests, threaded or on asyncio: echo.py server|client|threads|aclient ADDRESS PORT"""
import asyncio
import hashlib
import socket
import sys
import threading

CLIENTS = 50


def content(i):
    return hashlib.sha512(b"%d" % i).digest() * (200 + 80 * i)


def threads(address, port):
    """A server with one thread a connection, blocking calls."""
    def serve(c):
        with c:
            while data := c.recv(65536):
                c.sendall(data)

    with socket.create_server((address, port), backlog=100) as listener:
        while True:
            threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()


async def aserve(address, port):
    async def serve(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, address, port, backlog=100)
    await server.serve_forever()


async def aclient(address, port):
    async def one(i):
        reader, writer = await asyncio.open_connection(address, port)
        got = asyncio.create_task(reader.read(-1))
        writer.write(content(i))
        await writer.drain()
        writer.write_eof()
        ok = await got == content(i)
        writer.close()
        await writer.wait_closed()
        return ok

    return sum(await asyncio.gather(*(one(i) for i in range(CLIENTS))))


def client(address, port):
    done = []

    def one(i):
        with socket.create_connection((address, port), 30) as c:
            got = bytearray()
            sender = threading.Thread(target=lambda: (c.sendall(content(i)), c.shutdown(socket.SHUT_WR)))
            sender.start()
            while data := c.recv(65536):
                got += data
            sender.join()
            if got == content(i):
                done.append(i)

    all_threads = [threading.Thread(target=one, args=(i,)) for i in range(CLIENTS)]
    for t in all_threads:
        t.start()
    for t in all_threads:
        t.join()
    return len(done)


what, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if what == "threads":
    threads(address, port)
elif what == "server":
    asyncio.run(aserve(address, port))
else:
    print(asyncio.run(aclient(address, port)) if what == "aclient" else client(address, port), "of", CLIENTS)
