/*
 * Sizes of buffers as a program sees them: SO_RCVBUF, SO_SNDBUF and their FORCE forms (doubled,
 * their bounds), SO_RCVLOWAT, TCP_WINDOW_CLAMP, TCP_NOTSENT_LOWAT, in each state, inherited, and
 * what they do to poll.
 */
#include "tests/diff/show.h"

#include <netinet/tcp.h>
#include <stdint.h>

#ifndef TCP_NOTSENT_LOWAT
#define TCP_NOTSENT_LOWAT 25
#endif

static char buf[4 << 20];
static int lsn, cli, srv;

static int limit(const char *name)
{
	char path[128];
	FILE *f;
	int value = 0;

	snprintf(path, sizeof(path), "/proc/sys/net/core/%s", name);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%d", &value) != 1)
		exit(1);
	fclose(f);
	return value;
}

static void set_and_get(const char *what, int fd, int level, int set_name, int get_name, int value)
{
	int ret = set(fd, level, set_name, value), error = errno;

	printf("%s %d: %s, now %d\n", what, value, ret < 0 ? strerrorname_np(error) : "0",
		opt(fd, level, get_name));
}

static void sizes(const char *what, int type)
{
	static const int values[] = {0, 1, -1, 1000, 1152, 1153, 2303, 2304, 2305, 4607, 4608, 5000,
		65536, 100000, INT32_MAX, INT32_MIN, INT32_MAX / 2 + 1};
	int max[2] = {limit("rmem_max"), limit("wmem_max")};

	start_case(what);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		int fd = socket(AF_INET, type, 0);

		set_and_get("SO_RCVBUF", fd, SOL_SOCKET, SO_RCVBUF, SO_RCVBUF, values[i]);
		set_and_get("SO_SNDBUF", fd, SOL_SOCKET, SO_SNDBUF, SO_SNDBUF, values[i]);
		set_and_get("SO_RCVBUFFORCE", fd, SOL_SOCKET, SO_RCVBUFFORCE, SO_RCVBUF, values[i]);
		set_and_get("SO_SNDBUFFORCE", fd, SOL_SOCKET, SO_SNDBUFFORCE, SO_SNDBUF, values[i]);
		set_and_get("SO_RCVLOWAT", fd, SOL_SOCKET, SO_RCVLOWAT, SO_RCVLOWAT, values[i]);
		close(fd);
	}
	for (int d = -1; d <= 1; d++) {
		int fd = socket(AF_INET, type, 0);

		set_and_get("SO_RCVBUF", fd, SOL_SOCKET, SO_RCVBUF, SO_RCVBUF, max[0] + d);
		set_and_get("SO_SNDBUF", fd, SOL_SOCKET, SO_SNDBUF, SO_SNDBUF, max[1] + d);
		close(fd);
	}
}

static void clamps(const char *what, int fd)
{
	static const int values[] = {0, 1, 1151, 1152, 5000, 65535, 1000000, -1, INT32_MAX};

	start_case(what);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		set_and_get("TCP_WINDOW_CLAMP", fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, TCP_WINDOW_CLAMP,
			values[i]);
		set_and_get("TCP_NOTSENT_LOWAT", fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT,
			TCP_NOTSENT_LOWAT, values[i]);
	}
}

static void pair(int rcvbuf, int sndbuf)
{
	lsn = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	bind_to(lsn, LOOPBACK, 0);
	if (rcvbuf)
		set(lsn, SOL_SOCKET, SO_RCVBUF, rcvbuf);
	listen(lsn, 5);
	cli = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (sndbuf)
		set(cli, SOL_SOCKET, SO_SNDBUF, sndbuf);
	connect_to(cli, LOOPBACK, port_of(lsn));
	settle();
	connect_to(cli, LOOPBACK, port_of(lsn));
	srv = accept4(lsn, NULL, NULL, SOCK_NONBLOCK);
}

static void unpair(void)
{
	close(cli);
	close(srv);
	close(lsn);
}

static long fill(int fd)
{
	long total = 0, n;

	while ((n = send(fd, buf, sizeof(buf), 0)) > 0)
		total += n;
	settle();
	while ((n = send(fd, buf, sizeof(buf), 0)) > 0)
		total += n;
	return total;
}

static long take(int fd, long most)
{
	long total = 0, n;

	while (total < most &&
		(n = recv(fd, buf, (size_t)(most - total < (long)sizeof(buf) ? most - total
									      : (long)sizeof(buf)),
			 0)) > 0)
		total += n;
	return total;
}

static void inherited(void)
{
	start_case("inherited");
	pair(30000, 20000);
	printf("rcvbuf of the child %d\n", opt(srv, SOL_SOCKET, SO_RCVBUF));
	printf("sndbuf of the client %d\n", opt(cli, SOL_SOCKET, SO_SNDBUF));
	clamps("clamp when connected", srv);
	clamps("clamp when listening", lsn);
	set_and_get("lower", srv, SOL_SOCKET, SO_RCVBUF, SO_RCVBUF, 5000);
	set_and_get("higher", srv, SOL_SOCKET, SO_RCVBUF, SO_RCVBUF, 60000);
	unpair();
}

/* A full send buffer: not writable; writable again when a third is free. */
static void full(int sndbuf)
{
	start_case("full");
	pair(10000, sndbuf);
	printf("some %d\n", fill(cli) > sndbuf);
	POLL(cli);
	TRY(send(cli, "x", 1, 0));
	set(cli, SOL_SOCKET, SO_SNDBUF, 200000);
	POLL(cli);
	printf("more %d\n", fill(cli) > 0);
	POLL(cli);
	set(cli, SOL_SOCKET, SO_SNDBUF, 3000);
	POLL(cli);
	while (take(srv, 10000000) > 0)
		settle();
	POLL(cli);
	unpair();
}

static void low_water(void)
{
	start_case("SO_RCVLOWAT");
	pair(0, 0);
	set(srv, SOL_SOCKET, SO_RCVLOWAT, 1000);
	TRY(send(cli, buf, 999, 0));
	POLL(srv);
	TRY(recv(srv, buf, 10, MSG_PEEK));
	TRY(send(cli, buf, 1, 0));
	POLL(srv);
	TRY(recv(srv, buf, 1, 0));
	POLL(srv);
	set(srv, SOL_SOCKET, SO_RCVLOWAT, 500);
	POLL(srv);
	set(srv, SOL_SOCKET, SO_RCVLOWAT, 5000);
	POLL(srv);
	shutdown(cli, SHUT_WR);
	POLL(srv);
	unpair();
	/* One for which the buffer has to grow. */
	pair(0, 0);
	set(srv, SOL_SOCKET, SO_RCVLOWAT, 400000);
	printf("rcvbuf %d\n", opt(srv, SOL_SOCKET, SO_RCVBUF) >= 800000);
	unpair();
}

/* What is not sent yet: none goes while the peer's window is shut. */
static void not_sent(void)
{
	start_case("TCP_NOTSENT_LOWAT");
	pair(4000, 500000);
	set(cli, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 20000);
	POLL(cli);
	printf("stops early %d\n", fill(cli) < 300000);
	POLL(cli);
	TRY(send(cli, "x", 1, 0));
	set(cli, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 1000000);
	POLL(cli);
	TRY(send(cli, "x", 1, 0));
	unpair();
}

int main(void)
{
	program_begins();
	sizes("tcp", SOCK_STREAM);
	sizes("udp", SOCK_DGRAM);
	lsn = socket(AF_INET, SOCK_STREAM, 0);
	clamps("clamp when fresh", lsn);
	close(lsn);
	inherited();
	full(20000);
	low_water();
	not_sent();
	return 0;
}
