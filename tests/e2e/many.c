/*
 * Many connections at once: `many server ADDRESS PORT` echoes on one epoll set; `many client
 * ADDRESS PORT COUNT` opens COUNT connections, then sends a message of its own on each and checks
 * the echo, then closes all. On a datagram's worth of input on stdin the server prints how many
 * connections it has seen, how many are open, its descriptors and its resident memory in KiB.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT_MAX 20000

static int total, open_now;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in address_of(char **argv)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};

	if (inet_pton(AF_INET, argv[2], &a.sin_addr) != 1)
		die(argv[2]);
	return a;
}

static void watch(int ep, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
}

static int count_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 3; /* . and .. and the folder itself */
}

static long resident_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long pages = 0, size;

	if (f && fscanf(f, "%ld %ld", &size, &pages) != 2)
		pages = -1;
	if (f)
		fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void echo(int fd)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n <= 0 || write(fd, buf, (size_t)n) != n) {
		close(fd);
		open_now--;
	}
}

static void serve_event(int ep, int listener, int fd)
{
	char line[64];

	if (fd == listener) {
		int c = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (c < 0)
			die("accept");
		watch(ep, c);
		total++;
		open_now++;
	} else if (fd == 0) {
		if (read(0, line, sizeof(line)) <= 0)
			exit(0);
		printf("%d %d %d %ld\n", total, open_now, count_descriptors(), resident_kib());
		fflush(stdout);
	} else {
		echo(fd);
	}
}

static void server(char **argv)
{
	struct sockaddr_in a = address_of(argv);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
	    ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[256];

	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(listener, 4096) < 0)
		die("listen");
	watch(ep, listener);
	watch(ep, 0);
	for (;;) {
		int n = epoll_wait(ep, events, 256, -1);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++)
			serve_event(ep, listener, events[i].data.fd);
	}
}

static int client(char **argv, int count)
{
	struct sockaddr_in a = address_of(argv);
	static int fd[COUNT_MAX];
	char sent[64], got[64];

	for (int i = 0; i < count; i++) {
		struct timeval limit = {.tv_sec = 20};

		fd[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (fd[i] < 0 || connect(fd[i], (struct sockaddr *)&a, sizeof(a)) < 0)
			die("connect");
		setsockopt(fd[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	}
	for (int i = 0; i < count; i++) {
		snprintf(sent, sizeof(sent), "this is connection %d", i);
		if (write(fd[i], sent, sizeof(sent)) != sizeof(sent))
			die("write");
	}
	for (int i = 0; i < count; i++) {
		snprintf(sent, sizeof(sent), "this is connection %d", i);
		if (recv(fd[i], got, sizeof(got), MSG_WAITALL) != sizeof(got))
			die("read");
		if (strcmp(sent, got) != 0) {
			fprintf(stderr, "connection %d echoed %.60s\n", i, got);
			return 1;
		}
	}
	for (int i = 0; i < count; i++)
		close(fd[i]);
	printf("%d connections\n", count);
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	int count = argc == 5 ? atoi(argv[4]) : 0;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (argc == 4 && strcmp(argv[1], "server") == 0)
		server(argv);
	if (argc == 5 && strcmp(argv[1], "client") == 0 && count > 0 && count <= COUNT_MAX)
		return client(argv, count);
	fputs("usage: many server ADDRESS PORT | many client ADDRESS PORT COUNT\n", stderr);
	return 2;
}
