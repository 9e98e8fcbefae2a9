/*
 * TCP Fast Open over own addresses (RFC 7413): what each call answers before there is a cookie,
 * with one, and where it is not to be had; and what TCP_INFO says of it. Cookies are kept by
 * address, so a case that begins without one has an address of its own.
 */
#include <linux/tcp.h>

#include "tests/diff/show.h"

#ifndef IPPROTO_TCP
#define IPPROTO_TCP 6
#endif

static unsigned next_address = LOOPBACK;
static char buf[100], large[100000]; /* more than a SYN takes */

static void show_info(const char *who, int fd)
{
	struct tcp_info i = {0};
	socklen_t len = sizeof(i);

	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len);
	printf("%s state %d data-in-syn %d client-fail %d data-out %u in %u\n", who, i.tcpi_state,
		i.tcpi_options & TCPI_OPT_SYN_DATA ? 1 : 0, i.tcpi_fastopen_client_fail,
		i.tcpi_data_segs_out, i.tcpi_data_segs_in);
}
#define INFO(fd) show_info(#fd, fd)

static long got(int fd)
{
	long n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	int error = errno;

	if (n > 0)
		show_bytes("  data", buf, n);
	errno = error;
	return n;
}

/* The next connection, and what has come with it. */
static int accepted(int listener)
{
	int child;

	TRY_FD(child, accept(listener, NULL, NULL));
	TRY(got(child));
	return child;
}

static int stream(int flags)
{
	return socket(AF_INET, SOCK_STREAM | flags, 0);
}

static void close_all(int fd, int child, int listener)
{
	close(fd);
	close(child);
	close(listener);
}

/* A socket whose SYN waits for what is sent. */
static int deferred(int flags, int port)
{
	int fd = stream(flags);

	TRY(set(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1));
	TRY(connect_to(fd, next_address, port));
	return fd;
}

/* A listener at an address that nobody has had a cookie of. */
static int listener_with(int pending)
{
	int fd = stream(SOCK_NONBLOCK);

	next_address++;
	if (bind_to(fd, next_address, 0) < 0 || listen(fd, 10) < 0)
		perror("listen");
	if (pending)
		TRY(set(fd, IPPROTO_TCP, TCP_FASTOPEN, pending));
	return fd;
}

static long fast(int fd, int listener, const char *text, int flags)
{
	return send_to(
		fd, next_address, port_of(listener), text, strlen(text), flags | MSG_FASTOPEN);
}

static void have_cookie(int listener)
{
	int fd = stream(0), child;

	TRY(fast(fd, listener, "for the cookie", 0));
	settle();
	child = accepted(listener);
	INFO(fd);
	INFO(child);
	close(fd);
	close(child);
	settle();
}

static void first_and_second(void)
{
	int listener, fd, child;

	start_case("without a cookie, then with it");
	listener = listener_with(5);
	printf("TCP_FASTOPEN %d\n", opt(listener, IPPROTO_TCP, TCP_FASTOPEN));
	have_cookie(listener);
	fd = stream(0);
	TRY(fast(fd, listener, "early", 0));
	child = accepted(listener);
	show_names(child);
	TRY(send(child, "answer", 6, 0));
	settle();
	INFO(fd);
	INFO(child);
	TRY(got(fd));
	TRY(fast(fd, listener, "again", 0));
	TRY(send(fd, "more", 4, MSG_FASTOPEN));
	POLL(fd);
	close_all(fd, child, listener);
}

static void not_blocking(void)
{
	int listener, fd, child;

	start_case("not blocking");
	listener = listener_with(5);
	fd = stream(SOCK_NONBLOCK);
	TRY(fast(fd, listener, "lost without a cookie", 0));
	POLL(fd);
	SO_ERR(fd);
	TRY(send(fd, "then", 4, 0));
	settle();
	child = accepted(listener);
	close(fd);
	close(child);
	settle();
	fd = stream(SOCK_NONBLOCK);
	TRY(fast(fd, listener, "with one", 0));
	POLL(fd);
	child = accepted(listener);
	INFO(fd);
	INFO(child);
	close_all(fd, child, listener);
}

static void by_connect(void)
{
	int listener, fd, child;

	start_case("TCP_FASTOPEN_CONNECT");
	listener = listener_with(5);
	fd = deferred(0, port_of(listener));
	printf("TCP_FASTOPEN_CONNECT %d\n", opt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT));
	INFO(fd);
	TRY(send(fd, "first", 5, 0));
	settle();
	child = accepted(listener);
	close(fd);
	close(child);
	settle();
	fd = deferred(SOCK_NONBLOCK, port_of(listener));
	INFO(fd);
	show_names(fd);
	SO_ERR(fd);
	POLL(fd);
	TRY(got(fd));
	TRY(connect_to(fd, next_address, port_of(listener)));
	TRY_FD(child, accept(listener, NULL, NULL));
	TRY(send(fd, "second", 6, 0));
	child = accepted(listener);
	TRY(connect_to(fd, next_address, port_of(listener)));
	TRY(set(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0));
	settle();
	INFO(fd);
	INFO(child);
	close_all(fd, child, listener);
}

static void ended_before_anything_is_sent(void)
{
	int listener, fd, child;

	start_case("TCP_FASTOPEN_CONNECT, and no data");
	listener = listener_with(5);
	have_cookie(listener);
	fd = deferred(0, port_of(listener));
	TRY(shutdown(fd, SHUT_WR));
	INFO(fd);
	close(fd);
	settle();
	TRY_FD(child, accept(listener, NULL, NULL));
	fd = deferred(0, port_of(listener));
	TRY(send(fd, "", 0, 0));
	settle();
	INFO(fd);
	TRY_FD(child, accept(listener, NULL, NULL));
	INFO(child);
	close_all(fd, child, listener);
}

static void closed_at_once(void)
{
	int listener, fd, child;

	start_case("closed as soon as it is sent");
	listener = listener_with(5);
	have_cookie(listener);
	fd = stream(0);
	TRY(fast(fd, listener, "all there is", 0));
	close(fd);
	settle();
	child = accepted(listener);
	TRY(got(child));
	POLL(child);
	close(child);
	close(listener);
}

static void too_many(void)
{
	int listener, fd[3], child;

	start_case("as many as the listener lets wait");
	listener = listener_with(1);
	have_cookie(listener);
	for (int i = 0; i < 3; i++) {
		fd[i] = stream(0);
		TRY(fast(fd[i], listener, "one of three", 0));
		settle();
		show_info("one", fd[i]);
	}
	for (int i = 0; i < 3; i++) {
		child = accepted(listener);
		close(child);
		close(fd[i]);
	}
	close(listener);
}

static void without_cookies(void)
{
	int listener, fd, child;

	start_case("TCP_FASTOPEN_NO_COOKIE");
	listener = listener_with(5);
	TRY(set(listener, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1));
	fd = stream(0);
	TRY(set(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1));
	TRY(fast(fd, listener, "at the first time", 0));
	child = accepted(listener);
	settle();
	INFO(fd);
	INFO(child);
	printf("child TCP_FASTOPEN_NO_COOKIE %d\n",
		opt(child, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE));
	close_all(fd, child, listener);
}

static void refused(void)
{
	int listener, fd, child;

	start_case("where it is not to be had");
	listener = listener_with(0);
	fd = stream(0);
	TRY(fast(fd, listener, "no TCP_FASTOPEN there", 0));
	settle();
	child = accepted(listener);
	INFO(fd);
	TRY(set(fd, IPPROTO_TCP, TCP_FASTOPEN, 5));
	TRY(set(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1));
	TRY(set(listener, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1));
	TRY(set(listener, IPPROTO_TCP, TCP_FASTOPEN, -1));
	TRY(fast(listener, listener, "from a listener", 0));
	close(fd);
	close(child);
	fd = stream(0);
	TRY(send(fd, "nowhere", 7, MSG_FASTOPEN));
	TRY(send_to(fd, next_address, 1, "nobody", 6, MSG_FASTOPEN));
	SO_ERR(fd);
	TRY(fast(fd, listener, "after that", 0));
	close(fd);
	fd = stream(0);
	TRY(set(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 2));
	TRY(set(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1));
	TRY(connect_to(fd, next_address, 1));
	TRY(send(fd, "nobody", 6, MSG_NOSIGNAL));
	TRY(send(fd, "nobody", 6, MSG_NOSIGNAL));
	close(fd);
	close(listener);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	TRY(send_to(fd, next_address, 9, "datagram", 8, MSG_FASTOPEN));
	close(fd);
}

/* Whom a cookie is of may be gone when the SYN comes. */
static void gone(int blocking)
{
	int listener, fd, port;

	start_case(blocking ? "nobody there any more, blocking"
			    : "nobody there any more, not blocking");
	listener = listener_with(5);
	have_cookie(listener);
	port = port_of(listener);
	close(listener);
	settle();
	fd = stream(blocking ? 0 : SOCK_NONBLOCK);
	TRY(send_to(fd, next_address, port, "anybody", 7, MSG_FASTOPEN | MSG_NOSIGNAL));
	POLL(fd);
	INFO(fd);
	TRY(got(fd));
	TRY(connect_to(fd, next_address, port));
	TRY(send(fd, "more", 4, MSG_NOSIGNAL));
	close(fd);
	fd = deferred(blocking ? 0 : SOCK_NONBLOCK, port);
	TRY(send(fd, "anybody", 7, MSG_NOSIGNAL));
	POLL(fd);
	INFO(fd);
	SO_ERR(fd);
	TRY(connect_to(fd, next_address, port));
	TRY(send(fd, "more", 4, MSG_NOSIGNAL));
	close(fd);
	fd = deferred(blocking ? 0 : SOCK_NONBLOCK, port);
	TRY(send(fd, large, sizeof(large), MSG_NOSIGNAL) > 0);
	POLL(fd);
	SO_ERR(fd);
	TRY(connect_to(fd, next_address, port));
	close(fd);
}

static void connect_afterwards(int blocking)
{
	int listener, fd, child;

	start_case(blocking ? "connect after MSG_FASTOPEN, blocking"
			    : "connect after MSG_FASTOPEN, not blocking");
	listener = listener_with(5);
	have_cookie(listener);
	fd = stream(blocking ? 0 : SOCK_NONBLOCK);
	TRY(fast(fd, listener, "early", 0));
	settle();
	TRY(connect_to(fd, next_address, port_of(listener)));
	TRY(connect_to(fd, next_address, port_of(listener)));
	TRY_FD(child, accept(listener, NULL, NULL));
	printf("child TCP_FASTOPEN %d _CONNECT %d _NO_COOKIE %d\n",
		opt(child, IPPROTO_TCP, TCP_FASTOPEN),
		opt(child, IPPROTO_TCP, TCP_FASTOPEN_CONNECT),
		opt(child, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE));
	close(child);
	close(fd);
	fd = deferred(blocking ? 0 : SOCK_NONBLOCK, port_of(listener));
	TRY(send(fd, "early", 5, 0));
	settle();
	TRY(connect_to(fd, next_address, port_of(listener)));
	TRY(connect_to(fd, next_address, port_of(listener)));
	close(fd);
	fd = deferred(blocking ? 0 : SOCK_NONBLOCK, port_of(listener));
	TRY(send(fd, large, sizeof(large), 0) > 0);
	settle();
	TRY(connect_to(fd, next_address, port_of(listener)));
	TRY(connect_to(fd, next_address, port_of(listener)));
	close(fd);
	close(listener);
}

int main(void)
{
	program_begins();
	first_and_second();
	not_blocking();
	by_connect();
	ended_before_anything_is_sent();
	closed_at_once();
	too_many();
	without_cookies();
	connect_afterwards(0);
	connect_afterwards(1);
	gone(0);
	gone(1);
	refused();
	return 0;
}
