/*
 * For tests/e2e/lend: a program that is linked statically and accepts on the listener that it has
 * inherited as number 3.
 *
 *     lend echo [COUNT]    one after the other: what comes goes back
 *     lend fork            the same, each in a process of its own
 *     lend edge            the same by epoll, edge-triggered, as Go's programs do it
 *     lend greet           says hello and closes
 *     lend rdwr            echoes to the end, shuts down both ways, and closes a second later
 *     lend idle SECONDS    does not accept
 *     lend late SECONDS    accepts after that, and echoes
 *     lend timeout         accepts until none has come for half a second (SO_RCVTIMEO)
 *     lend inspect         says what accept and the names give
 *
 * Each connection that it has served is counted: one byte more in the file "served".
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define LISTENER 3
#define EVENTS	 64

static char data[65536];
static int lingers;

static int die(const char *what)
{
	fprintf(stderr, "lend: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void write_all(int fd, const char *bytes, ssize_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, bytes, (size_t)size);

		if (n < 0)
			return;
		bytes += n;
		size -= n;
	}
}

/* Those that have brought something: not one that was meant for somebody else. */
static void count(void)
{
	int fd = open("served", O_WRONLY | O_APPEND | O_CREAT, 0666);

	write_all(fd, ".", 1);
	close(fd);
}

static void echo(int fd)
{
	ssize_t n, total = 0;

	while ((n = read(fd, data, sizeof(data))) > 0) {
		write_all(fd, data, n);
		total += n;
	}
	if (total)
		count();
	if (total && lingers) {
		shutdown(fd, SHUT_RDWR);
		sleep(1);
	}
	close(fd);
}

static int accept_one(void)
{
	int fd = accept(LISTENER, NULL, NULL);

	if (fd < 0 && errno != EAGAIN)
		die("accept");
	return fd;
}

static int edge(void)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = LISTENER}, got[EVENTS];
	int epfd = epoll_create1(EPOLL_CLOEXEC), fd, n;

	fcntl(LISTENER, F_SETFL, O_NONBLOCK);
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, LISTENER, &event) < 0)
		die("epoll_ctl");
	while ((n = epoll_wait(epfd, got, EVENTS, -1)) > 0) {
		for (int i = 0; i < n; i++) {
			if (got[i].data.fd != LISTENER) {
				ssize_t size = read(got[i].data.fd, data, sizeof(data));

				if (size > 0)
					write_all(got[i].data.fd, data, size);
				else
					close(got[i].data.fd);
				continue;
			}
			while ((fd = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
				event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
				epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
			}
			if (errno != EAGAIN)
				die("accept4");
		}
	}
	return 1;
}

static int inspect(void)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	int listens = 0, fd;

	if (getsockname(LISTENER, (struct sockaddr *)&name, &len) < 0)
		die("getsockname");
	printf("%s ", name.ss_family == AF_UNIX ? "AF_UNIX" : "other");
	len = sizeof(listens);
	getsockopt(LISTENER, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
	printf("%d ", listens);
	fcntl(LISTENER, F_SETFL, O_NONBLOCK);
	printf("%s\n", accept(LISTENER, NULL, NULL) < 0 ? strerror(errno) : "accepted");
	fcntl(LISTENER, F_SETFL, 0);
	fflush(stdout);
	len = sizeof(name);
	fd = accept(LISTENER, (struct sockaddr *)&name, &len);
	if (fd < 0)
		die("accept");
	echo(fd);
	return 0;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	int fd, many = argc > 2 ? atoi(argv[2]) : 0;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	lingers = strcmp(how, "rdwr") == 0;
	if (strcmp(how, "edge") == 0)
		return edge();
	if (strcmp(how, "inspect") == 0)
		return inspect();
	if (strcmp(how, "idle") == 0 || strcmp(how, "late") == 0)
		usleep((unsigned)(1e6 * atof(argv[2])));
	if (strcmp(how, "idle") == 0)
		return 0;
	if (strcmp(how, "timeout") == 0) {
		struct timeval half = {.tv_usec = 500000};

		setsockopt(LISTENER, SOL_SOCKET, SO_RCVTIMEO, &half, sizeof(half));
	}
	for (int i = 0; (strcmp(how, "echo") != 0 || !many || i < many) && (fd = accept_one()) >= 0;
		i++) {
		if (strcmp(how, "greet") == 0) {
			write_all(fd, "hello\n", 6);
			count();
		} else if (strcmp(how, "fork") != 0) {
			echo(fd);
			continue;
		} else if (fork() == 0) {
			echo(fd);
			_exit(0);
		}
		close(fd);
	}
	return 0;
}
