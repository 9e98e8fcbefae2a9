/*
 * Threads that make random socket calls on numbers that they share, closing and reusing them under
 * one another: nothing may crash, hang, or reach a file that is not theirs. A file that is opened
 * anew all the time holds a canary that no socket call may change.
 *
 *   storm ADDRESS PORT SECONDS THREADS      the peer's port may be an echo, or closed
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define NUMBERS 64

static struct sockaddr_in server;
static _Atomic int pool[NUMBERS]; /* number + 1 */
static atomic_bool over;
static atomic_ulong calls, moved, wrong;

static int any(unsigned *seed)
{
	return pool[rand_r(seed) % NUMBERS] - 1;
}

static void keep(int fd, unsigned *seed)
{
	int old;

	if (fd < 0)
		return;
	old = atomic_exchange(&pool[rand_r(seed) % NUMBERS], fd + 1) - 1;
	if (old >= 0)
		close(old);
}

static void make(unsigned *seed)
{
	struct timeval short_time = {0, 20000};
	int type = rand_r(seed) % 3 ? SOCK_STREAM : SOCK_DGRAM;
	int fd = socket(AF_INET, type | (rand_r(seed) % 2 ? SOCK_NONBLOCK : 0), 0);
	char what = 'e';

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &short_time, sizeof(short_time));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &short_time, sizeof(short_time));
	if (rand_r(seed) % 8) {
		connect(fd, (struct sockaddr *)&server, sizeof(server));
		send(fd, &what, 1, MSG_NOSIGNAL);
	} else {
		listen(fd, 4);
	}
	keep(fd, seed);
}

static void move(int fd, unsigned *seed)
{
	static _Thread_local char buf[100000];
	struct iovec iov[3] = {{buf, 10}, {buf + 20, 1000}, {buf + 2000, 50000}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 3};
	size_t n = (size_t)rand_r(seed) % sizeof(buf);
	ssize_t ret;

	switch (rand_r(seed) % 8) {
	case 0:
		ret = recv(fd, buf, n, rand_r(seed) % 4 ? 0 : MSG_PEEK);
		break;
	case 1:
		ret = recvmsg(fd, &msg, MSG_DONTWAIT);
		break;
	case 2:
		ret = recv(fd, buf, n, MSG_WAITALL);
		break;
	case 3:
		ret = recv(fd, (void *)8, n, MSG_DONTWAIT);
		break;
	case 4:
		ret = send(fd, (void *)8, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 5:
		ret = sendmsg(fd, &msg, MSG_NOSIGNAL);
		break;
	default:
		ret = send(fd, buf, n, MSG_NOSIGNAL | (rand_r(seed) % 2 ? MSG_DONTWAIT : 0));
		break;
	}
	if (ret > 0)
		moved += (unsigned long)ret;
}

static void manage(int fd, unsigned *seed)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int n;

	switch (rand_r(seed) % 8) {
	case 0:
		keep(dup(fd), seed);
		break;
	case 1:
		shutdown(fd, rand_r(seed) % 3);
		break;
	case 2:
		getsockname(fd, (struct sockaddr *)&a, &len);
		getpeername(fd, (struct sockaddr *)&a, &len);
		break;
	case 3:
		ioctl(fd, FIONREAD, &n);
		n = rand_r(seed) % 2;
		ioctl(fd, FIONBIO, &n);
		break;
	case 4:
		keep(accept4(fd, NULL, NULL, SOCK_NONBLOCK), seed);
		break;
	case 5:
		fcntl(fd, F_SETFL, rand_r(seed) % 2 ? O_NONBLOCK : 0);
		break;
	case 6:
		keep(fcntl(fd, F_DUPFD_CLOEXEC, 40), seed);
		break;
	default:
		close(atomic_exchange(&pool[rand_r(seed) % NUMBERS], 0) - 1);
		break;
	}
}

static void wait_some(unsigned *seed)
{
	struct pollfd p[8];
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET}, got[8];
	int ep;

	for (int i = 0; i < 8; i++)
		p[i] = (struct pollfd){.fd = any(seed), .events = POLLIN | POLLOUT};
	if (rand_r(seed) % 2) {
		poll(p, 8, rand_r(seed) % 10);
		return;
	}
	ep = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < 8; i++)
		epoll_ctl(ep, EPOLL_CTL_ADD, p[i].fd, &e);
	epoll_wait(ep, got, 8, rand_r(seed) % 10);
	close(ep);
}

static void *run(void *arg)
{
	unsigned seed = (unsigned)(size_t)arg;

	while (!over) {
		int fd = any(&seed), what = rand_r(&seed) % 16;

		calls++;
		if (fd < 0 || what == 0)
			make(&seed);
		else if (what < 10)
			move(fd, &seed);
		else if (what < 14)
			manage(fd, &seed);
		else
			wait_some(&seed);
	}
	return NULL;
}

/*
 * Numbers go back and forth between sockets and this file: it never changes, and what is read from
 * it is its own.
 */
static void *canary(void *path)
{
	char buf[8];

	while (!over) {
		int fd = open(path, O_RDONLY);

		if (fd >= 0 && pread(fd, buf, 7, 0) == 7 && memcmp(buf, "canary\n", 7) != 0)
			wrong++;
		close(fd);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	char path[] = "/tmp/ustack-storm.XXXXXX";
	struct timespec ts = {0};
	pthread_t thread[256];
	int n, file;

	if (argc < 5)
		return 2;
	server.sin_family = AF_INET;
	server.sin_addr.s_addr = inet_addr(argv[1]);
	server.sin_port = htons((unsigned short)atoi(argv[2]));
	signal(SIGPIPE, SIG_IGN);
	file = mkstemp(path);
	if (write(file, "canary\n", 7) != 7)
		return 2;
	n = atoi(argv[4]);
	n = n > 255 ? 255 : n;
	for (int i = 0; i < n; i++)
		pthread_create(&thread[i], NULL, run, (void *)(size_t)(i + 1));
	pthread_create(&thread[n], NULL, canary, path);
	ts.tv_sec = atoi(argv[3]);
	nanosleep(&ts, NULL);
	over = true;
	for (int i = 0; i <= n; i++)
		pthread_join(thread[i], NULL);
	unlink(path);
	printf("calls %lu, bytes %lu, wrong %lu\n", (unsigned long)calls, (unsigned long)moved,
		(unsigned long)wrong);
	return wrong != 0;
}
