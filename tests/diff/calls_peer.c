/*
 * The other side of the call tests, on the kernel's stack: a TCP server whose connections do what
 *their first byte says, and a UDP server that echoes, both on one port.
 *
 *	e echo    f close    r reset    s "hello", close    d "late" after 300 ms    o "ab", urgent
 *"x", "c" c HI LO connects back to that port of the client and echoes there    h read nothing
 *
 *   calls_peer PORT
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void echo(int fd)
{
	static __thread char buf[65536];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		if (send(fd, buf, (size_t)n, MSG_NOSIGNAL) < 0)
			break;
	}
}

static void drain(int fd)
{
	char buf[4096];

	while (recv(fd, buf, sizeof(buf), 0) > 0)
		;
}

static void back(int fd)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	unsigned char port[2];
	int other = socket(AF_INET, SOCK_STREAM, 0);

	getpeername(fd, (struct sockaddr *)&addr, &len);
	recv(fd, port, 2, MSG_WAITALL);
	memcpy(&addr.sin_port, port, 2);
	if (connect(other, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		echo(other);
	close(other);
	drain(fd);
}

static void *serve(void *arg)
{
	struct linger now = {.l_onoff = 1};
	int fd = (int)(intptr_t)arg;
	char what = 0;

	recv(fd, &what, 1, 0);
	switch (what) {
	case 'e':
		echo(fd);
		break;
	case 'r':
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		break;
	case 's':
		send(fd, "hello", 5, MSG_NOSIGNAL);
		break;
	case 'd':
		usleep(300000);
		send(fd, "late", 4, MSG_NOSIGNAL);
		drain(fd);
		break;
	case 'o':
		send(fd, "ab", 2, MSG_NOSIGNAL);
		usleep(50000);
		send(fd, "x", 1, MSG_OOB | MSG_NOSIGNAL);
		usleep(50000);
		send(fd, "c", 1, MSG_NOSIGNAL);
		drain(fd);
		break;
	case 'c':
		back(fd);
		break;
	case 'h':
		sleep(3);
		break;
	default:
		break;
	}
	close(fd);
	return NULL;
}

static void *serve_udp(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char buf[65536];

	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

		if (n >= 0)
			sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
	pthread_t thread;

	if (argc < 2)
		return 2;
	addr.sin_port = htons((uint16_t)atoi(argv[1]));
	setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(tcp, (struct sockaddr *)&addr, sizeof(addr)) ||
		bind(udp, (struct sockaddr *)&addr, sizeof(addr)) || listen(tcp, 64)) {
		perror("calls_peer");
		return 1;
	}
	pthread_create(&thread, NULL, serve_udp, (void *)(intptr_t)udp);
	for (;;) {
		int fd = accept(tcp, NULL, NULL);

		if (fd < 0)
			continue;
		pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
		pthread_detach(thread);
	}
}
