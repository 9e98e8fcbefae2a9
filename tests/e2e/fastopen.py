"""TCP Fast Open for the end-to-end tests: fastopen.py server|client ADDRESS PORT. The client opens connections one after the
other with MSG_FASTOPEN or TCP_FASTOPEN_CONNECT and prints how many of them had their text in the SYN."""
import socket
import struct
import sys

SYN_DATA = 32  # TCPI_OPT_SYN_DATA
ROUNDS = 5


def server(address, port):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
        listener.listen(16)
        while True:
            c, _ = listener.accept()
            with c:
                while data := c.recv(65536):
                    c.sendall(data)


def had_syn_data(s):
    return bool(struct.unpack("7B", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 7))[5] & SYN_DATA)


def echo(address, port, n, by_option):
    text = b"%d " % n * 1000
    with socket.socket() as s:
        if by_option:
            s.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
            s.connect((address, port))
            s.sendall(text)
        else:
            sent = s.sendto(text, socket.MSG_FASTOPEN, (address, port))
            s.sendall(text[sent:])
        s.shutdown(socket.SHUT_WR)
        got = b""
        while data := s.recv(65536):
            got += data
        if got != text:
            sys.exit("the answer differs")
        return had_syn_data(s)


def client(address, port):
    early = [echo(address, port, n, n % 2) for n in range(ROUNDS)]
    print(f"{sum(early)} of {ROUNDS}")


{"server": server, "client": client}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
