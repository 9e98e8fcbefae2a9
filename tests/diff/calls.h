/*
 * What the programs of the call tests share. Each case prints one line, `name: answer`, that must
 * not differ between the kernel's stack and ours. They run as PROGRAM ADDRESS PORT against
 * calls_peer.
 */
#ifndef TESTS_DIFF_CALLS_H
#define TESTS_DIFF_CALLS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

static struct sockaddr_in server;
static volatile int pipes; /* SIGPIPEs so far */
static void *volatile bad = (void *)8;
static void *volatile none = NULL;
static volatile int minus = -1;

/* The answer of a call, and its errno. */
static UNUSED void show(const char *name, long ret)
{
	if (ret < 0)
		printf("%s: %ld %s\n", name, ret, strerrorname_np(errno));
	else
		printf("%s: %ld\n", name, ret);
}
#define SHOW(call) show(#call, (long)(call))

static UNUSED void show_text(const char *name, const char *text, long len)
{
	printf("%s: %ld '%.*s'\n", name, len, len > 0 ? (int)len : 0, text);
}

static UNUSED void nap_ms(int ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

	while (nanosleep(&ts, &ts))
		;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Whether a wait took between min and min + 1 s. */
static UNUSED void show_wait(const char *name, double since, double min)
{
	double took = now_s() - since;

	printf("%s took: %s\n", name,
		took < min - 0.02 ? "too short"
		: took > min + 1  ? "too long"
				  : "right");
}

static UNUSED int tcp_to(char what)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server)) ||
		send(fd, &what, 1, 0) != 1) {
		perror("connect");
		exit(1);
	}
	return fd;
}

static UNUSED int udp_to(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server))) {
		perror("connect");
		exit(1);
	}
	return fd;
}

/* Listening on a port of its own, in network order. */
static UNUSED int listener(in_port_t *port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) || listen(fd, 8) ||
		getsockname(fd, (struct sockaddr *)&addr, &len)) {
		perror("listen");
		exit(1);
	}
	*port = addr.sin_port;
	return fd;
}

/* Has the server connect to the port; the connection that keeps it there. */
static UNUSED int call_back(in_port_t port)
{
	int fd = tcp_to('c');

	if (send(fd, &port, 2, 0) != 2)
		exit(1);
	return fd;
}

static UNUSED int set_timeout(int fd, int opt, int ms)
{
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	return setsockopt(fd, SOL_SOCKET, opt, &tv, sizeof(tv));
}

static UNUSED int poll_now(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP | POLLPRI};

	return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

static UNUSED int poll_for(int fd, short events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, ms) < 0 ? -1 : p.revents;
}

static UNUSED int error_of(int fd)
{
	int error = -1;
	socklen_t len = sizeof(error);

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return error;
}

static void on_pipe(int sig)
{
	(void)sig;
	pipes++;
}

static UNUSED void begin(int argc, char **argv)
{
	if (argc < 3)
		exit(2);
	server.sin_family = AF_INET;
	server.sin_addr.s_addr = inet_addr(argv[1]);
	server.sin_port = htons((uint16_t)atoi(argv[2]));
	signal(SIGPIPE, on_pipe);
	setvbuf(stdout, NULL, _IOLBF, 0);
	(void)now_s;
}

#endif
