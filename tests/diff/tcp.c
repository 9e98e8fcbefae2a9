/* TCP's semantics as a program sees them: what each call answers in each state, readiness, the ends
 * of connections. */
#include "tests/diff/show.h"

#include <netinet/tcp.h>
#include <stdint.h>

static char buf[300000];
static int lsn, cli, srv; /* of pair() */

static int tcp_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
}

static int listener(int backlog)
{
	int fd = tcp_socket();

	bind_to(fd, LOOPBACK, 0);
	listen(fd, backlog);
	return fd;
}

/* A port where nobody listens. */
static int closed_port(void)
{
	int fd = tcp_socket(), port;

	bind_to(fd, LOOPBACK, 0);
	port = port_of(fd);
	close(fd);
	return port;
}

/* cli and srv are the two ends of a connection, lsn its listener. */
static void pair(void)
{
	lsn = listener(5);
	cli = tcp_socket();
	connect_to(cli, LOOPBACK, port_of(lsn));
	settle();
	connect_to(cli, LOOPBACK, port_of(lsn)); /* the outcome has been told */
	srv = accept4(lsn, NULL, NULL, SOCK_NONBLOCK);
	if (srv < 0)
		show_result("accept", -1);
}

static void unpair(void)
{
	close(cli);
	close(srv);
	close(lsn);
}

static void show_state(const char *what, int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	settle();
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		show_result("TCP_INFO", -1);
	else
		printf("state %s = %d\n", what, info.tcpi_state);
}
#define STATE(fd) show_state(#fd, fd)

/* Every call that makes no connection, on a socket in some state. */
static void show_calls(int fd)
{
	POLL(fd);
	STATE(fd);
	show_names(fd);
	TRY(recv(fd, buf, 10, 0));
	TRY(recv(fd, buf, 10, MSG_PEEK));
	TRY(recv(fd, buf, 0, 0));
	TRY(recv(fd, buf, 10, MSG_OOB));
	TRY(recv(fd, buf, 10, MSG_ERRQUEUE));
	TRY(send(fd, "x", 1, 0));
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	TRY(send(fd, "", 0, 0));
	TRY(inq(fd));
	TRY(sockatmark(fd));
	TRY(accept(fd, NULL, NULL));
	SO_ERR(fd);
}

static void case_fresh(void)
{
	int fd = tcp_socket();

	start_case("fresh");
	show_calls(fd);
	TRY(shutdown(fd, SHUT_RD));
	TRY(shutdown(fd, SHUT_WR));
	TRY(shutdown(fd, 7));
	POLL(fd);
	close(fd);
	start_case("bound");
	fd = tcp_socket();
	TRY(bind_to(fd, LOOPBACK, 0));
	TRY(bind_to(fd, LOOPBACK, 0));
	show_calls(fd);
	close(fd);
}

static void case_listening(void)
{
	int fd = tcp_socket(), c;

	start_case("listening");
	TRY(listen(fd, 5));
	show_calls(fd);
	TRY(listen(fd, -1));
	TRY(bind_to(fd, LOOPBACK, 0));
	TRY(connect_to(fd, LOOPBACK, 9));
	TRY(opt(fd, SOL_SOCKET, SO_ACCEPTCONN));
	c = tcp_socket();
	TRY(connect_to(c, LOOPBACK, port_of(fd)));
	POLL(fd);
	TRY(shutdown(fd, SHUT_WR));
	POLL(fd);
	TRY(shutdown(fd, SHUT_RD));
	POLL(fd);
	STATE(fd);
	TRY(accept(fd, NULL, NULL));
	POLL(c);
	SO_ERR(c);
	TRY(opt(fd, SOL_SOCKET, SO_ACCEPTCONN));
	TRY(listen(fd, 5));
	STATE(fd);
	close(c);
	close(fd);
}

static void case_accept(void)
{
	int l = listener(5), c = tcp_socket(), s;
	struct sockaddr_in a = {0};
	socklen_t len = sizeof(a);

	start_case("accept");
	set(l, IPPROTO_TCP, TCP_NODELAY, 1);
	set(l, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(l, IPPROTO_IP, IP_TOS, 0x10);
	set(l, SOL_SOCKET, SO_RCVBUF, 40000);
	TRY(accept(l, NULL, NULL));
	TRY(connect_to(c, LOOPBACK, port_of(l)));
	settle();
	TRY(connect_to(c, LOOPBACK, port_of(l)));
	TRY(connect_to(c, LOOPBACK, port_of(l)));
	TRY_FD(s, accept(l, (struct sockaddr *)&a, &len));
	show_addr("from", &a, len);
	show_names(s);
	show_names(c);
	TRY(opt(s, IPPROTO_TCP, TCP_NODELAY));
	TRY(opt(s, SOL_SOCKET, SO_KEEPALIVE));
	TRY(opt(s, IPPROTO_IP, IP_TOS));
	TRY(opt(s, SOL_SOCKET, SO_RCVBUF));
	TRY(opt(s, SOL_SOCKET, SO_ACCEPTCONN));
	TRY(fcntl(s, F_GETFL) & O_NONBLOCK);
	TRY(fcntl(s, F_GETFD));
	TRY(accept4(l, NULL, NULL, 5));
	close(s);
	close(c);
	/* A connection that is over before it is accepted. */
	c = tcp_socket();
	connect_to(c, LOOPBACK, port_of(l));
	settle();
	TRY(send(c, "data", 4, 0));
	close(c);
	POLL(l);
	TRY_FD(s, accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
	TRY(fcntl(s, F_GETFD));
	POLL(s);
	TRY(recv(s, buf, 10, 0));
	TRY(recv(s, buf, 10, 0));
	close(s);
	/* And one that was reset. */
	c = tcp_socket();
	connect_to(c, LOOPBACK, port_of(l));
	settle();
	setsockopt(c, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
	close(c);
	POLL(l);
	TRY_FD(s, accept4(l, NULL, NULL, SOCK_NONBLOCK));
	POLL(s);
	TRY(recv(s, buf, 10, 0));
	TRY(recv(s, buf, 10, 0));
	close(s);
	close(l);
}

static void case_backlog(void)
{
	int l = listener(1), c[5], connected = 0;

	start_case("backlog");
	for (int i = 0; i < 5; i++) {
		c[i] = tcp_socket();
		connect_to(c[i], LOOPBACK, port_of(l));
	}
	settle();
	for (int i = 0; i < 5; i++) {
		struct pollfd p = {.fd = c[i], .events = POLLOUT};

		connected += poll(&p, 1, 0) == 1;
		close(c[i]);
	}
	printf("connected %d\n", connected);
	close(l);
}

static void case_connected(void)
{
	pair();
	start_case("connected");
	show_calls(cli);
	TRY(connect_to(cli, LOOPBACK, port_of(lsn)));
	TRY(bind_to(cli, LOOPBACK, 0));
	TRY(listen(cli, 1));
	TRY(recv(srv, buf, 10, MSG_PEEK));
	TRY(inq(srv));
	POLL(srv);
	TRY(recv(srv, buf, 10, 0));
	POLL(srv);
	TRY(send_to(cli, LOOPBACK, 9, "y", 1, 0));
	TRY(sendto(cli, "y", 1, 0, (struct sockaddr *)buf, 3));
	settle();
	TRY(recv(srv, buf, 10, 0));
	/* The name of the sender is not given by a stream. */
	{
		struct sockaddr_in a = {0};
		socklen_t len = sizeof(a);

		TRY(send(cli, "z", 1, 0));
		settle();
		TRY(recvfrom(srv, buf, 10, 0, (struct sockaddr *)&a, &len));
		printf("len %d family %d\n", (int)len, a.sin_family);
	}
	unpair();
}

static void case_flags(void)
{
	struct iovec iov[2] = {{.iov_base = (char[]){"ab"}, .iov_len = 2},
		{.iov_base = (char[]){"cd"}, .iov_len = 2}};

	pair();
	start_case("flags");
	TRY(send(cli, "0123456789", 10, 0));
	settle();
	TRY(recv(srv, buf, 4, MSG_PEEK));
	TRY(recv(srv, buf, 4, 0));
	show_bytes("got", buf, 4);
	TRY(recv(srv, NULL, 3, MSG_TRUNC));
	TRY(recv(srv, buf, 2, MSG_TRUNC | MSG_PEEK));
	TRY(recv(srv, buf, 100, MSG_WAITALL | MSG_DONTWAIT));
	show_bytes("got", buf, 3);
	TRY(recv(srv, buf, 10, 0));
	TRY(writev(cli, iov, 2));
	settle();
	TRY(readv(srv, iov, 2));
	TRY(send(cli, "more", 4, MSG_MORE));
	TRY(send(cli, "!", 1, 0));
	settle();
	TRY(inq(srv));
	TRY(recv(srv, buf, 10, 0));
	TRY(set(cli, IPPROTO_TCP, TCP_CORK, 1));
	TRY(send(cli, "cork", 4, 0));
	settle();
	TRY(recv(srv, buf, 10, 0));
	TRY(set(cli, IPPROTO_TCP, TCP_CORK, 0));
	settle();
	TRY(recv(srv, buf, 10, 0));
	TRY(set(srv, SOL_SOCKET, SO_RCVLOWAT, 5));
	TRY(send(cli, "123", 3, 0));
	POLL(srv);
	TRY(send(cli, "45", 2, 0));
	POLL(srv);
	TRY(recv(srv, buf, 10, 0));
	TRY(set(srv, SOL_SOCKET, SO_RCVLOWAT, 1));
	unpair();
}

static void case_urgent(void)
{
	pair();
	start_case("urgent");
	TRY(recv(srv, buf, 1, MSG_OOB));
	TRY(send(cli, "abc", 3, MSG_OOB));
	POLL(srv);
	TRY(inq(srv));
	TRY(sockatmark(srv));
	TRY(recv(srv, buf, 10, MSG_OOB | MSG_PEEK));
	TRY(recv(srv, buf, 10, MSG_OOB));
	show_bytes("urgent", buf, 1);
	TRY(recv(srv, buf, 10, MSG_OOB));
	POLL(srv);
	TRY(recv(srv, buf, 10, 0));
	show_bytes("before", buf, 2);
	TRY(sockatmark(srv));
	TRY(send(cli, "de", 2, 0));
	settle();
	TRY(recv(srv, buf, 10, 0));
	show_bytes("after", buf, 2);
	TRY(sockatmark(srv));
	TRY(set(srv, SOL_SOCKET, SO_OOBINLINE, 1));
	TRY(send(cli, "X", 1, MSG_OOB));
	TRY(send(cli, "y", 1, 0));
	POLL(srv);
	TRY(sockatmark(srv));
	TRY(recv(srv, buf, 10, MSG_OOB));
	TRY(recv(srv, buf, 10, 0));
	show_bytes("inline", buf, 2);
	/* A second mark replaces the first. */
	TRY(set(srv, SOL_SOCKET, SO_OOBINLINE, 0));
	TRY(send(cli, "1", 1, MSG_OOB));
	settle();
	TRY(send(cli, "2", 1, MSG_OOB));
	settle();
	TRY(recv(srv, buf, 10, MSG_OOB));
	show_bytes("urgent", buf, 1);
	TRY(recv(srv, buf, 10, 0));
	show_bytes("rest", buf, 1);
	unpair();
}

static void case_half_close(void)
{
	pair();
	start_case("half close");
	TRY(send(cli, "last", 4, 0));
	TRY(shutdown(cli, SHUT_WR));
	STATE(cli);
	STATE(srv);
	POLL(cli);
	POLL(srv);
	TRY(send(cli, "x", 1, 0));
	TRY(send(cli, "x", 1, MSG_NOSIGNAL));
	TRY(recv(srv, buf, 10, 0));
	POLL(srv);
	TRY(recv(srv, buf, 10, 0));
	TRY(recv(srv, buf, 10, 0));
	TRY(send(srv, "answer", 6, 0));
	settle();
	TRY(recv(cli, buf, 10, 0));
	show_names(cli);
	TRY(shutdown(cli, SHUT_WR));
	TRY(shutdown(srv, SHUT_WR));
	STATE(cli);
	STATE(srv);
	POLL(cli);
	POLL(srv);
	TRY(recv(cli, buf, 10, 0));
	show_names(srv);
	TRY(shutdown(srv, SHUT_RDWR));
	show_calls(srv);
	show_calls(cli);
	unpair();
}

static void case_shut_reading(void)
{
	pair();
	start_case("shut reading");
	TRY(send(srv, "early", 5, 0));
	settle();
	TRY(shutdown(cli, SHUT_RD));
	POLL(cli);
	STATE(cli);
	TRY(recv(cli, buf, 10, 0));
	TRY(recv(cli, buf, 10, 0));
	TRY(send(srv, "late", 4, 0));
	settle();
	POLL(cli);
	TRY(recv(cli, buf, 10, 0));
	TRY(recv(cli, buf, 10, 0));
	TRY(send(cli, "out", 3, 0));
	settle();
	TRY(recv(srv, buf, 10, 0));
	POLL(srv);
	unpair();
}

static void case_peer_closed(void)
{
	pair();
	start_case("peer closed");
	TRY(send(srv, "bye", 3, 0));
	close(srv);
	POLL(cli);
	STATE(cli);
	TRY(send(cli, "x", 1, 0)); /* is answered by a reset */
	POLL(cli);
	STATE(cli);
	TRY(recv(cli, buf, 10, 0));
	TRY(recv(cli, buf, 10, 0));
	TRY(send(cli, "x", 1, 0));
	TRY(send(cli, "x", 1, MSG_NOSIGNAL));
	SO_ERR(cli);
	show_names(cli);
	TRY(shutdown(cli, SHUT_RDWR));
	TRY(connect_to(cli, LOOPBACK, port_of(lsn)));
	close(cli);
	close(lsn);
}

static void case_reset(void)
{
	pair();
	start_case("reset by linger 0");
	TRY(setsockopt(srv, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger)));
	TRY(send(srv, "lost?", 5, 0));
	close(srv);
	show_calls(cli);
	show_calls(cli);
	TRY(shutdown(cli, SHUT_WR));
	close(cli);
	close(lsn);
	/* Unread data at close is a reset too. */
	pair();
	start_case("reset by unread data");
	TRY(send(cli, "unread", 6, 0));
	settle();
	close(srv);
	POLL(cli);
	SO_ERR(cli);
	SO_ERR(cli);
	POLL(cli);
	TRY(recv(cli, buf, 10, 0));
	TRY(send(cli, "x", 1, 0));
	close(cli);
	close(lsn);
	pair();
	start_case("reset, then sending");
	TRY(send(cli, "unread", 6, 0));
	settle();
	close(srv);
	settle();
	TRY(send(cli, "x", 1, 0));
	TRY(send(cli, "x", 1, 0));
	TRY(recv(cli, buf, 10, 0));
	close(cli);
	close(lsn);
}

static void case_nonblocking_connect(void)
{
	int l = listener(5), port = closed_port();
	int c = tcp_socket();

	start_case("connect");
	TRY(connect_to(c, LOOPBACK, port_of(l)));
	POLL(c);
	SO_ERR(c);
	STATE(c);
	TRY(connect_to(c, LOOPBACK, port_of(l)));
	TRY(connect_to(c, LOOPBACK, port_of(l)));
	TRY(disconnect(c));
	show_calls(c);
	TRY(connect_to(c, LOOPBACK, port_of(l)));
	settle();
	TRY(connect_to(c, LOOPBACK, port_of(l)));
	show_names(c);
	close(c);
	start_case("connect refused");
	c = tcp_socket();
	TRY(connect_to(c, LOOPBACK, port));
	POLL(c);
	SO_ERR(c);
	POLL(c);
	STATE(c);
	TRY(connect_to(c, LOOPBACK, port));
	TRY(connect_to(c, LOOPBACK, port_of(l)));
	settle();
	TRY(connect_to(c, LOOPBACK, port_of(l)));
	close(c);
	c = tcp_socket();
	TRY(connect_to(c, LOOPBACK, port));
	settle();
	TRY(connect_to(c, LOOPBACK, port));
	TRY(connect_to(c, LOOPBACK, port));
	settle();
	TRY(recv(c, buf, 10, 0));
	TRY(recv(c, buf, 10, 0));
	TRY(send(c, "x", 1, 0));
	close(c);
	start_case("connect blocking");
	c = socket(AF_INET, SOCK_STREAM, 0);
	TRY(connect_to(c, LOOPBACK, port));
	SO_ERR(c);
	TRY(connect_to(c, LOOPBACK, port));
	TRY(connect_to(c, LOOPBACK, port_of(l)));
	TRY(connect_to(c, LOOPBACK, port_of(l)));
	show_names(c);
	close(c);
	close(l);
}

static void case_connect_errors(void)
{
	int c = tcp_socket();
	struct sockaddr_in in = address(LOOPBACK, 9);

	start_case("connect errors");
	TRY(connect(c, (struct sockaddr *)&in, 1));
	TRY(connect(c, (struct sockaddr *)&in, 8));
	in.sin_family = AF_INET6;
	TRY(connect(c, (struct sockaddr *)&in, sizeof(in)));
	TRY(connect_to(c, 0xe1020304, 9));
	TRY(connect_to(c, 0xffffffff, 9));
	TRY(connect_to(c, 0x0a0000ff, 9));
	TRY(disconnect(c));
	TRY(bind_to(c, 0x7f000005, 0));
	TRY(connect_to(c, LOOPBACK, closed_port()));
	settle();
	SO_ERR(c);
	show_names(c);
	close(c);
	/* To 0.0.0.0: this host. To itself: both ends in one. */
	start_case("connect to itself");
	c = tcp_socket();
	TRY(bind_to(c, LOOPBACK, 0));
	TRY(connect_to(c, LOOPBACK, port_of(c)));
	settle();
	TRY(connect_to(c, LOOPBACK, port_of(c)));
	STATE(c);
	TRY(send(c, "me", 2, 0));
	settle();
	TRY(recv(c, buf, 10, 0));
	TRY(shutdown(c, SHUT_WR));
	STATE(c);
	TRY(recv(c, buf, 10, 0));
	close(c);
	c = tcp_socket();
	lsn = listener(1);
	TRY(connect_to(c, 0, port_of(lsn)));
	settle();
	TRY(connect_to(c, 0, port_of(lsn)));
	show_names(c);
	close(c);
	close(lsn);
}

static void case_dissolve(void)
{
	pair();
	start_case("dissolve");
	TRY(send(srv, "x", 1, 0));
	settle();
	TRY(disconnect(cli));
	show_calls(cli);
	POLL(srv);
	SO_ERR(srv);
	TRY(recv(srv, buf, 10, 0));
	TRY(disconnect(lsn));
	STATE(lsn);
	TRY(accept(lsn, NULL, NULL));
	TRY(listen(lsn, 1));
	STATE(lsn);
	unpair();
}

static void case_addresses(void)
{
	int a = tcp_socket(), b = tcp_socket(), c = tcp_socket(), port;

	start_case("bind");
	TRY(bind_to(a, LOOPBACK, 0));
	port = port_of(a);
	TRY(bind_to(b, LOOPBACK, port));
	TRY(bind_to(b, 0x7f000002, port));
	TRY(bind_to(c, 0, port));
	TRY(set(c, SOL_SOCKET, SO_REUSEADDR, 1));
	TRY(bind_to(c, 0, port));
	TRY(set(a, SOL_SOCKET, SO_REUSEADDR, 1));
	TRY(set(b, SOL_SOCKET, SO_REUSEADDR, 1));
	TRY(bind_to(c, 0, port));
	TRY(listen(a, 1));
	TRY(listen(b, 1));
	TRY(listen(c, 1));
	close(a);
	TRY(listen(c, 1));
	close(b);
	TRY(listen(c, 1));
	close(c);
	/* TIME-WAIT of the one who closes first holds the port. */
	start_case("bind in TIME-WAIT");
	pair();
	port = port_of(lsn);
	close(lsn);
	close(srv);
	settle();
	close(cli);
	settle();
	a = tcp_socket();
	TRY(bind_to(a, LOOPBACK, port));
	TRY(set(a, SOL_SOCKET, SO_REUSEADDR, 1));
	TRY(bind_to(a, LOOPBACK, port));
	TRY(listen(a, 1));
	close(a);
	/* A connection that lives holds it against those without SO_REUSEADDR. */
	start_case("bind beside a connection");
	pair();
	port = port_of(lsn);
	close(lsn);
	a = tcp_socket();
	TRY(bind_to(a, LOOPBACK, port));
	TRY(set(a, SOL_SOCKET, SO_REUSEADDR, 1));
	TRY(bind_to(a, LOOPBACK, port));
	TRY(set(srv, SOL_SOCKET, SO_REUSEADDR, 1));
	TRY(bind_to(a, LOOPBACK, port));
	close(a);
	close(cli);
	close(srv);
	start_case("reuseport");
	a = tcp_socket();
	b = tcp_socket();
	set(a, SOL_SOCKET, SO_REUSEPORT, 1);
	TRY(bind_to(a, LOOPBACK, 0));
	TRY(listen(a, 1));
	TRY(bind_to(b, LOOPBACK, port_of(a)));
	set(b, SOL_SOCKET, SO_REUSEPORT, 1);
	TRY(bind_to(b, LOOPBACK, port_of(a)));
	TRY(listen(b, 1));
	close(a);
	close(b);
}

static void case_full(void)
{
	long sent = 0, n, got = 0;
	struct timeval tv = {.tv_usec = 50000};

	pair();
	start_case("buffers full");
	while ((n = send(cli, buf, sizeof(buf), 0)) > 0) {
		sent += n;
		settle();
	}
	printf("send: %s\n", strerrorname_np(errno));
	POLL(cli);
	TRY(setsockopt(cli, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)));
	TRY(fcntl(cli, F_SETFL, 0));
	TRY(send(cli, buf, 100000, 0));
	TRY(fcntl(cli, F_SETFL, O_NONBLOCK));
	while ((n = recv(srv, buf, sizeof(buf), 0)) > 0 || (n < 0 && got < sent)) {
		if (n > 0)
			got += n;
		else
			settle();
	}
	printf("all came: %d\n", got == sent);
	POLL(cli);
	TRY(fcntl(srv, F_SETFL, 0));
	TRY(setsockopt(srv, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	TRY(recv(srv, buf, 10, 0));
	TRY(send(cli, "half", 4, 0));
	TRY(recv(srv, buf, 10, MSG_WAITALL));
	TRY(accept(lsn, NULL, NULL));
	TRY(fcntl(lsn, F_SETFL, 0));
	TRY(setsockopt(lsn, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	TRY(accept(lsn, NULL, NULL));
	unpair();
}

static void case_bad_pointers(void)
{
	char *volatile hidden = (char *)(uintptr_t)8, *bad = hidden;
	struct iovec iov[2] = {
		{.iov_base = (char[]){"good"}, .iov_len = 4}, {.iov_base = bad, .iov_len = 4}};

	pair();
	start_case("bad pointers");
	TRY(send(cli, bad, 4, 0));
	TRY(send(cli, bad, 0, 0));
	TRY(writev(cli, iov, 2));
	settle();
	TRY(inq(srv));
	TRY(recv(srv, bad, 4, 0));
	TRY(inq(srv));
	TRY(recv(srv, buf, 10, 0));
	TRY(recv(srv, bad, 4, 0));
	TRY(accept(lsn, (struct sockaddr *)bad, (socklen_t *)bad));
	unpair();
}

int main(void)
{
	program_begins();
	case_fresh();
	case_listening();
	case_accept();
	case_backlog();
	case_connected();
	case_flags();
	case_urgent();
	case_half_close();
	case_shut_reading();
	case_peer_closed();
	case_reset();
	case_nonblocking_connect();
	case_connect_errors();
	case_dissolve();
	case_addresses();
	case_full();
	case_bad_pointers();
	return 0;
}
