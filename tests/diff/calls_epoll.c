/*
 * epoll, poll and select over stack sockets mixed with pipes, eventfds and timers: level, edge,
 * one-shot, exclusive, nested, changes while another thread waits, and a wait that a cancellation
 * ends.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/timerfd.h>

#include "tests/diff/calls.h"

static int ctl(int ep, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = {.events = events, .data.u64 = data};

	return epoll_ctl(ep, op, fd, &e);
}

static int by_data(const void *a, const void *b)
{
	uint64_t x = ((const struct epoll_event *)a)->data.u64,
		 y = ((const struct epoll_event *)b)->data.u64;

	return x < y ? -1 : x > y;
}

/* One epoll_wait, its events in the order of their data. */
static void wait_for(const char *name, int ep, int ms)
{
	struct epoll_event e[16];
	int n = epoll_wait(ep, e, 16, ms);

	printf("%s: %d", name, n);
	if (n > 0)
		qsort(e, (size_t)n, sizeof(e[0]), by_data);
	for (int i = 0; i < n; i++)
		printf(" %lu=%x", (unsigned long)e[i].data.u64, e[i].events);
	printf("\n");
}

/* A TCP connection within the host: both ends here. */
static void pair(int fds[2])
{
	in_port_t port;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int l = listener(&port);

	to.sin_port = port;
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fds[0], (struct sockaddr *)&to, sizeof(to)))
		perror("connect to ourselves");
	fds[1] = accept(l, NULL, NULL);
	close(l);
}

static void errors(void)
{
	int ep = epoll_create1(EPOLL_CLOEXEC), fd[2], file = open("/etc/passwd", O_RDONLY);
	struct epoll_event e;

	pair(fd);
	SHOW(epoll_create(0));
	SHOW(epoll_create1(1));
	SHOW(fcntl(ep, F_GETFD));
	SHOW(ctl(ep, EPOLL_CTL_MOD, fd[0], EPOLLIN, 1));
	SHOW(ctl(ep, EPOLL_CTL_DEL, fd[0], EPOLLIN, 1));
	SHOW(ctl(ep, EPOLL_CTL_ADD, fd[0], EPOLLIN, 1));
	SHOW(ctl(ep, EPOLL_CTL_ADD, fd[0], EPOLLIN, 1));
	SHOW(ctl(ep, 9, fd[0], EPOLLIN, 1));
	SHOW(ctl(ep, EPOLL_CTL_ADD, ep, EPOLLIN, 1));
	SHOW(ctl(fd[0], EPOLL_CTL_ADD, fd[1], EPOLLIN, 1));
	SHOW(ctl(999, EPOLL_CTL_ADD, fd[1], EPOLLIN, 1));
	SHOW(ctl(ep, EPOLL_CTL_ADD, 999, EPOLLIN, 1));
	SHOW(ctl(ep, EPOLL_CTL_ADD, file, EPOLLIN, 1));
	SHOW(ctl(file, EPOLL_CTL_ADD, fd[1], EPOLLIN, 1));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, fd[1], bad));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, fd[1], none));
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, fd[0], none));
	SHOW(ctl(ep, EPOLL_CTL_ADD, fd[0], EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 1));
	SHOW(ctl(ep, EPOLL_CTL_ADD, fd[0], EPOLLIN | EPOLLEXCLUSIVE, 1));
	SHOW(ctl(ep, EPOLL_CTL_MOD, fd[0], EPOLLIN, 1));
	SHOW(ctl(ep, EPOLL_CTL_DEL, fd[0], 0, 1));
	SHOW(epoll_wait(ep, &e, 0, 0));
	SHOW(epoll_wait(ep, &e, minus, 0));
	SHOW(epoll_wait(fd[0], &e, 1, 0));
	SHOW(epoll_wait(999, &e, 1, 0));
	SHOW(epoll_wait(file, &e, 1, 0));
	SHOW(ctl(ep, EPOLL_CTL_ADD, fd[0], EPOLLOUT, 1));
	SHOW(epoll_wait(ep, bad, 1, 0));
	close(fd[0]);
	close(fd[1]);
	close(file);
	close(ep);
}

static void level_and_edge(void)
{
	int ep = epoll_create1(0), fd[2];
	char buf[64];

	pair(fd);
	SHOW(ctl(ep, EPOLL_CTL_ADD, fd[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1));
	wait_for("level idle", ep, 0);
	SHOW(ctl(ep, EPOLL_CTL_MOD, fd[0], EPOLLIN | EPOLLRDHUP, 1));
	wait_for("level nothing", ep, 0);
	SHOW(write(fd[1], "abc", 3));
	wait_for("level data", ep, 1000);
	wait_for("level data again", ep, 0);
	SHOW(read(fd[0], buf, 1));
	wait_for("level rest", ep, 0);
	SHOW(read(fd[0], buf, 10));
	wait_for("level empty", ep, 0);
	SHOW(ctl(ep, EPOLL_CTL_MOD, fd[0], EPOLLIN | EPOLLET, 2));
	wait_for("edge empty", ep, 0);
	SHOW(write(fd[1], "abc", 3));
	wait_for("edge data", ep, 1000);
	wait_for("edge data again", ep, 0);
	SHOW(write(fd[1], "def", 3));
	wait_for("edge more", ep, 1000);
	SHOW(read(fd[0], buf, 2));
	wait_for("edge part read", ep, 0);
	SHOW(ctl(ep, EPOLL_CTL_MOD, fd[0], EPOLLIN | EPOLLOUT | EPOLLET, 3));
	wait_for("edge rearmed", ep, 0);
	wait_for("edge rearmed again", ep, 0);
	SHOW(read(fd[0], buf, 10));
	SHOW(ctl(ep, EPOLL_CTL_MOD, fd[0], EPOLLIN | EPOLLONESHOT, 4));
	SHOW(write(fd[1], "x", 1));
	wait_for("one shot", ep, 1000);
	SHOW(write(fd[1], "y", 1));
	wait_for("one shot over", ep, 50);
	SHOW(ctl(ep, EPOLL_CTL_MOD, fd[0], EPOLLIN | EPOLLONESHOT, 5));
	wait_for("one shot again", ep, 1000);
	SHOW(ctl(ep, EPOLL_CTL_MOD, fd[0], 0, 6));
	wait_for("no events", ep, 0);
	SHOW(shutdown(fd[1], SHUT_WR));
	nap_ms(50);
	wait_for("half closed unseen", ep, 0);
	SHOW(ctl(ep, EPOLL_CTL_MOD, fd[0], EPOLLIN | EPOLLRDHUP, 6));
	wait_for("half closed", ep, 0);
	SHOW(shutdown(fd[0], SHUT_WR));
	nap_ms(50);
	wait_for("closed", ep, 0);
	close(fd[1]);
	wait_for("other end gone", ep, 0);
	close(fd[0]);
	wait_for("closed member", ep, 0);
	close(ep);
}

static void mixture(void)
{
	int ep = epoll_create1(0), fd[2], p[2], ev = eventfd(0, EFD_NONBLOCK),
	    timer = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec in = {.it_value = {0, 50000000}};
	struct pollfd set[6];
	fd_set r, w;
	struct timeval tv = {0, 0};
	char buf[8];

	pair(fd);
	if (pipe(p))
		exit(1);
	SHOW(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 1));
	SHOW(ctl(ep, EPOLL_CTL_ADD, fd[0], EPOLLIN, 2));
	SHOW(ctl(ep, EPOLL_CTL_ADD, ev, EPOLLIN, 3));
	SHOW(ctl(ep, EPOLL_CTL_ADD, timer, EPOLLIN, 4));
	wait_for("nothing ready", ep, 0);
	SHOW(timerfd_settime(timer, 0, &in, NULL));
	wait_for("timer", ep, 2000);
	SHOW(eventfd_write(ev, 1));
	SHOW(write(p[1], "p", 1));
	SHOW(write(fd[1], "s", 1));
	nap_ms(20);
	wait_for("all", ep, 1000);
	SHOW(read(timer, buf, 8));
	SHOW(read(fd[0], buf, 8));
	wait_for("two left", ep, 1000);
	set[0] = (struct pollfd){.fd = p[0], .events = POLLIN};
	set[1] = (struct pollfd){
		.fd = fd[0], .events = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLWRBAND};
	set[2] = (struct pollfd){.fd = -1, .events = POLLIN};
	set[3] = (struct pollfd){.fd = 998, .events = POLLIN};
	set[4] = (struct pollfd){.fd = ep, .events = POLLIN};
	set[5] = (struct pollfd){.fd = ev, .events = POLLIN | POLLOUT};
	SHOW(poll(set, 6, 1000));
	for (int i = 0; i < 6; i++)
		printf("entry %d: %x\n", i, set[i].revents);
	SHOW(poll(bad, 2, 0));
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(p[0], &r);
	FD_SET(fd[0], &r);
	FD_SET(fd[0], &w);
	FD_SET(ev, &r);
	FD_SET(timer, &r);
	SHOW(select(timer + 1 > ev + 1 ? timer + 1 : ev + 1, &r, &w, NULL, &tv));
	printf("select: %d %d %d %d %d\n", FD_ISSET(p[0], &r), FD_ISSET(fd[0], &r),
		FD_ISSET(fd[0], &w), FD_ISSET(ev, &r), FD_ISSET(timer, &r));
	FD_SET(fd[0], &r);
	FD_SET(60, &r); /* within the kernel's smallest table of descriptors: beyond it a number is
			   ignored */
	SHOW(select(61, &r, NULL, NULL, &tv));
	for (int i = 0; i < 2; i++)
		close(fd[i]), close(p[i]);
	close(ev);
	close(timer);
	wait_for("all closed", ep, 0);
	close(ep);
}

static void nested(void)
{
	int outer = epoll_create1(0), inner = epoll_create1(0), late = epoll_create1(0), fd[2],
	    p[2];
	struct pollfd set = {.fd = outer, .events = POLLIN};
	char buf[8];

	SHOW(ctl(outer, EPOLL_CTL_ADD, late, EPOLLIN, 9)); /* before it has a socket */
	pair(fd);
	if (pipe(p))
		exit(1);
	SHOW(ctl(inner, EPOLL_CTL_ADD, fd[0], EPOLLIN, 1));
	SHOW(ctl(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 2));
	SHOW(ctl(inner, EPOLL_CTL_ADD, outer, EPOLLIN, 3));
	wait_for("nested idle", outer, 0);
	SHOW(write(fd[1], "x", 1));
	wait_for("nested data", outer, 1000);
	wait_for("nested data again", outer, 0);
	SHOW(poll(&set, 1, 0));
	printf("outer set: %x\n", set.revents);
	wait_for("inner", inner, 0);
	SHOW(read(fd[0], buf, 8));
	wait_for("nested read", outer, 0);
	SHOW(ctl(late, EPOLL_CTL_ADD, fd[1], EPOLLOUT, 4));
	wait_for("late member", outer, 1000);
	SHOW(ctl(late, EPOLL_CTL_DEL, fd[1], 0, 0));
	wait_for("late member gone", outer, 0);
	SHOW(ctl(inner, EPOLL_CTL_ADD, p[0], EPOLLIN, 5));
	SHOW(write(p[1], "x", 1));
	wait_for("nested pipe", outer, 1000);
	SHOW(ctl(outer, EPOLL_CTL_DEL, inner, 0, 0));
	wait_for("nested no more", outer, 0);
	close(inner);
	close(outer);
	close(late);
	for (int i = 0; i < 2; i++)
		close(fd[i]), close(p[i]);
}

static void duplicates(void)
{
	int ep = epoll_create1(0), ep2 = dup(ep), fd[2], copy;

	pair(fd);
	copy = dup(fd[0]);
	SHOW(ctl(ep, EPOLL_CTL_ADD, fd[0], EPOLLOUT, 1));
	SHOW(ctl(ep, EPOLL_CTL_ADD, copy, EPOLLOUT, 2));
	wait_for("both numbers", ep, 0);
	wait_for("through a copy of the set", ep2, 0);
	close(ep);
	wait_for("the copy alone", ep2, 0);
	close(fd[0]);
	wait_for("one number closed", ep2, 0);
	close(copy);
	wait_for("both closed", ep2, 0);
	close(ep2);
	close(fd[1]);
}

struct waiter {
	int ep, count, ms;
	pthread_t thread;
};

static void *wait_thread(void *arg)
{
	struct waiter *w = arg;
	struct epoll_event e[4];

	w->count = epoll_wait(w->ep, e, 4, w->ms);
	return NULL;
}

/* Sockets added, and made ready, while threads sleep in epoll_wait on a set that was the kernel's
 * alone. */
static void while_waiting(void)
{
	struct waiter w[2];
	int ep = epoll_create1(0), fd[2], p[2], woken = 0;

	if (pipe(p))
		exit(1);
	SHOW(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 1));
	for (int i = 0; i < 2; i++) {
		w[i] = (struct waiter){.ep = ep, .ms = 2000};
		pthread_create(&w[i].thread, NULL, wait_thread, &w[i]);
	}
	nap_ms(100);
	pair(fd);
	SHOW(ctl(ep, EPOLL_CTL_ADD, fd[0], EPOLLIN, 2));
	nap_ms(100);
	SHOW(write(fd[1], "x", 1));
	for (int i = 0; i < 2; i++) {
		pthread_join(w[i].thread, NULL);
		woken += w[i].count > 0;
	}
	printf("woken by a socket added later: %s\n", woken ? "yes" : "no");
	w[0] = (struct waiter){.ep = ep, .ms = -1};
	SHOW(ctl(ep, EPOLL_CTL_DEL, fd[0], 0, 0));
	pthread_create(&w[0].thread, NULL, wait_thread, &w[0]);
	nap_ms(100);
	SHOW(write(p[1], "x", 1));
	pthread_join(w[0].thread, NULL);
	printf("woken by a pipe: %d\n", w[0].count);
	close(ep);
	for (int i = 0; i < 2; i++)
		close(fd[i]), close(p[i]);
}

static void *recv_thread(void *arg)
{
	char buf[8];

	recv(*(int *)arg, buf, sizeof(buf), 0);
	return NULL;
}

static void *poll_thread(void *arg)
{
	struct pollfd p = {.fd = *(int *)arg, .events = POLLIN};

	poll(&p, 1, -1);
	return NULL;
}

static void *guarded_thread(void *arg)
{
	int old;
	char buf[8];
	long n;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	n = recv(*(int *)arg, buf, sizeof(buf), 0);
	return (void *)n;
}

static void cancellation(void)
{
	void *(*threads[])(void *) = {recv_thread, poll_thread};
	pthread_t t;
	void *end;
	int fd[2];
	char buf[8];

	pair(fd);
	for (int i = 0; i < 2; i++) {
		pthread_create(&t, NULL, threads[i], &fd[0]);
		nap_ms(100);
		SHOW(pthread_cancel(t));
		pthread_join(t, &end);
		printf("cancelled: %d\n", end == PTHREAD_CANCELED);
	}
	pthread_create(&t, NULL, guarded_thread, &fd[0]);
	nap_ms(100);
	SHOW(pthread_cancel(t));
	nap_ms(100);
	SHOW(write(fd[1], "abc", 3));
	pthread_join(t, &end);
	printf("not cancelled: %ld\n", (long)end);
	SHOW(write(fd[1], "abc", 3));
	SHOW(read(fd[0], buf, 8));
	close(fd[0]);
	close(fd[1]);
}

static volatile int ticks;
static int tick_fd;

static volatile int tick_got; /* bytes that the handler took from the main program */

/* Socket calls inside a handler, while the main program is in one. */
static void on_tick(int sig)
{
	int error = errno;
	char buf[8];
	ssize_t n;

	(void)sig;
	ticks++;
	if (write(tick_fd, "t", 1) < 0)
		ticks = -1000;
	n = recv(tick_fd, buf, sizeof(buf), MSG_DONTWAIT);
	tick_got += n > 0 ? (int)n : 0;
	errno = error;
}

static void handlers(void)
{
	struct sigaction act = {.sa_handler = on_tick}, old;
	struct timeval end = {1, 0};
	struct itimerspec every = {{0, 500000}, {0, 500000}};
	timer_t timer;
	sigset_t none_blocked, alarm_blocked;
	struct pollfd p;
	int fd[2], sent = 0, got = 0;
	char buf[4096];

	pair(fd);
	tick_fd = fd[0];
	SHOW(sigaction(SIGALRM, &act, NULL));
	SHOW(sigaction(SIGALRM, NULL, &old));
	printf("handler kept: %d flags %x\n", old.sa_handler == on_tick,
		old.sa_flags & (SA_RESTART | SA_SIGINFO));
	timer_create(CLOCK_MONOTONIC, NULL, &timer);
	timer_settime(timer, 0, &every, NULL);
	for (int i = 0; i < 20000; i++) {
		ssize_t n = write(fd[1], "0123456789", 10);

		sent += n > 0 ? (int)n : 0;
		n = recv(fd[0], buf, 10, 0);
		got += n > 0 ? (int)n : 0;
	}
	memset(&every, 0, sizeof(every));
	timer_settime(timer, 0, &every, NULL);
	while (got + tick_got < sent) {
		ssize_t n = recv(fd[0], buf, sizeof(buf), 0);

		got += n > 0 ? (int)n : 0;
	}
	printf("handlers ran: %d, all received: %d\n", ticks > 10, got + tick_got == sent);
	act.sa_handler = on_tick;
	sigemptyset(&none_blocked);
	sigemptyset(&alarm_blocked);
	sigaddset(&alarm_blocked, SIGALRM);
	SHOW(sigprocmask(SIG_BLOCK, &alarm_blocked, NULL));
	ticks = 0;
	SHOW(raise(SIGALRM));
	p = (struct pollfd){.fd = fd[0], .events = POLLIN};
	SHOW(ppoll(&p, 1, NULL, &none_blocked));
	printf("let in by ppoll: %d\n", ticks);
	SHOW(setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &end, sizeof(end)));
	close(fd[0]);
	close(fd[1]);
}

static int together_epfd;
static pthread_barrier_t together;

static void *add_together(void *arg)
{
	const int *fd = arg;
	struct epoll_event e = {.events = EPOLLOUT, .data.fd = *fd};

	pthread_barrier_wait(&together);
	epoll_ctl(together_epfd, EPOLL_CTL_ADD, *fd, &e);
	return NULL;
}

/* Two threads add the first sockets of a set at the same moment. */
static void added_at_once(void)
{
	struct epoll_event got[4];
	int fd[2], missing = 0;
	pthread_t thread[2];

	for (int i = 0; i < 2; i++)
		fd[i] = socket(AF_INET, SOCK_DGRAM, 0);
	pthread_barrier_init(&together, NULL, 2);
	for (int round = 0; round < 1000; round++) {
		together_epfd = epoll_create1(0);
		for (int i = 0; i < 2; i++)
			pthread_create(&thread[i], NULL, add_together, &fd[i]);
		for (int i = 0; i < 2; i++)
			pthread_join(thread[i], NULL);
		missing += epoll_wait(together_epfd, got, 4, 1000) != 2;
		close(together_epfd);
	}
	printf("added at once, and missing: %d\n", missing);
	close(fd[0]);
	close(fd[1]);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	errors();
	level_and_edge();
	mixture();
	nested();
	duplicates();
	while_waiting();
	cancellation();
	added_at_once();
	handlers();
	printf("done\n");
	return 0;
}
