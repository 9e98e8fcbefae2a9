/*
 * One TCP figure between two programs: `tcp serve ADDRESS PORT`, then `tcp FIGURE ADDRESS PORT
 * SECONDS` against it.
 *
 * Figures: up and down (Gbit/s of client's and server's sending, by the receiver's clock), rtt
 * (1-byte round trips per second), connect (connections made and closed per second, one after the
 * other; the server closes first, so that the client's ports do not run out). The client prints the
 * figure and the congestion control its socket reports. The server serves one connection at a time,
 * in the way that the connection's first byte says.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buf[256 * 1024];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct sockaddr_in address_of(char **argv)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};

	if (inet_pton(AF_INET, argv[2], &a.sin_addr) != 1)
		die(argv[2]);
	return a;
}

static int open_connection(const struct sockaddr_in *a)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static double drain(int fd)
{
	double bytes = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		bytes += (double)n;
	if (n < 0)
		die("read");
	return bytes;
}

static void fill(int fd, double seconds)
{
	double end = now() + seconds;

	while (now() < end)
		if (write(fd, buf, sizeof(buf)) < 0)
			break;
	shutdown(fd, SHUT_WR);
}

static void serve_one(int fd)
{
	int one = 1;
	char how[2];

	if (read(fd, how, 2) != 2) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (how[0] == 'd') {
		fill(fd, how[1] - '0');
		drain(fd);
	} else if (how[0] == 'u') {
		double start = now(), bits = 8 * drain(fd);
		double figure = bits / (now() - start);

		if (write(fd, &figure, sizeof(figure)) < 0)
			die("write");
	} else {
		while (read(fd, buf, 1) == 1 && write(fd, buf, 1) == 1)
			;
	}
	close(fd);
}

static void serve(char **argv)
{
	struct sockaddr_in a = address_of(argv);
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listener < 0 || bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
		listen(listener, 128) < 0)
		die("listen");
	/* The next port is for connections that end at once. */
	a.sin_port = htons((uint16_t)(ntohs(a.sin_port) + 1));
	if (fork() == 0) {
		listener = socket(AF_INET, SOCK_STREAM, 0);
		setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (listener < 0 || bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
			listen(listener, 128) < 0)
			die("listen");
		for (;;)
			close(accept(listener, NULL, NULL));
	}
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			die("accept");
		serve_one(fd);
	}
}

static double measure_down(int fd)
{
	double start = now(), bits = 8 * drain(fd);

	return bits / (now() - start) / 1e9;
}

static double measure_up(int fd, double seconds)
{
	double figure;

	fill(fd, seconds);
	if (read(fd, &figure, sizeof(figure)) != sizeof(figure))
		die("read");
	return figure / 1e9;
}

static double measure_rtt(int fd, double seconds)
{
	double start = now(), rounds = 0;

	while (now() < start + seconds) {
		if (write(fd, "x", 1) != 1 || read(fd, buf, 1) != 1)
			die("round trip");
		rounds++;
	}
	return rounds / (now() - start);
}

static double measure_connect(struct sockaddr_in a, double seconds)
{
	double start = now(), made = 0;

	a.sin_port = htons((uint16_t)(ntohs(a.sin_port) + 1));
	while (now() < start + seconds) {
		int fd = open_connection(&a);

		if (read(fd, buf, 1) != 0)
			die("read");
		close(fd);
		made++;
	}
	return made / (now() - start);
}

int main(int argc, char **argv)
{
	char how[3] = "", congestion[32] = "?";
	socklen_t len = sizeof(congestion);
	struct sockaddr_in a;
	double figure, seconds;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	if (argc == 4 && strcmp(argv[1], "serve") == 0)
		serve(argv);
	if (argc != 5) {
		fputs("usage: tcp serve ADDRESS PORT | tcp up|down|rtt|connect ADDRESS PORT "
		      "SECONDS\n",
			stderr);
		return 2;
	}
	a = address_of(argv);
	seconds = atof(argv[4]);
	fd = open_connection(&a);
	getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, &len);
	how[0] = argv[1][0];
	how[1] = (char)('0' + (int)seconds % 10);
	if (strcmp(argv[1], "connect") != 0 && write(fd, how, 2) != 2)
		die("write");
	switch (how[0]) {
	case 'u':
		figure = measure_up(fd, seconds);
		break;
	case 'd':
		figure = measure_down(fd);
		break;
	case 'r':
		figure = measure_rtt(fd, seconds);
		break;
	default:
		close(fd);
		figure = measure_connect(a, seconds);
	}
	printf("%.4g %s\n", figure, congestion);
	return 0;
}
