/*
 * What several processes of one host cost, and how long it takes until another one drives.
 *
 *   processes serve ADDRESS PORT    the peer of `owner`: a connection's first byte says whether it
 *                                   is ticked every millisecond (t) or left in peace (q)
 *   processes hold                  opens a socket and waits: the host is up
 *   processes fork COUNT            us for a fork and its child's end, with COUNT sockets open
 *   processes exec                  us for a program that makes no socket, from fork to its end
 *   processes attach                the same for one that opens a socket
 *   processes inherit               the same for one that uses a socket that it has inherited
 *   processes owner HOW ADDRESS PORT ROUNDS
 *       ms between ticks, at most, while the process that drives ends (exit), is killed (kill) or
 *       stopped (stop): median, second largest and largest of the rounds
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES 100

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

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static struct sockaddr_in address_of(const char *address, const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

	if (inet_pton(AF_INET, address, &a.sin_addr) != 1)
		die(address);
	return a;
}

static int rising(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* --- the peer --- */

static void serve_one(int fd)
{
	struct timespec next;
	char what = 0;

	if (read(fd, &what, 1) != 1)
		exit(0);
	clock_gettime(CLOCK_MONOTONIC, &next);
	while (what == 't' && send(fd, "", 1, MSG_NOSIGNAL) == 1) {
		next.tv_nsec += 1000000;
		next.tv_sec += next.tv_nsec / 1000000000;
		next.tv_nsec %= 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
	}
	while (read(fd, &what, 1) > 0)
		;
	exit(0);
}

static void serve(const struct sockaddr_in *a)
{
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (const struct sockaddr *)a, sizeof(*a)) || listen(listener, 64))
		die("listen");
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			continue;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (fork() == 0)
			serve_one(fd);
		close(fd);
	}
}

/* --- fork and exec --- */

/* A child that does so: until it has ended. */
static void child_us(void (*child)(void))
{
	static double took[SAMPLES];

	for (int i = 0; i < SAMPLES; i++) {
		double start = now();
		pid_t pid = fork();
		int status;

		if (pid == 0)
			child();
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			die("child");
		took[i] = (now() - start) * 1e6;
	}
	qsort(took, SAMPLES, sizeof(took[0]), rising);
	printf("%.1f\n", took[SAMPLES / 2]);
}

static void child_end(void)
{
	_exit(0);
}

static void child_exec(void)
{
	execl("/proc/self/exe", "processes", "nothing", NULL);
	_exit(1);
}

static void child_attach(void)
{
	execl("/proc/self/exe", "processes", "socket", NULL);
	_exit(1);
}

static void child_inherit(void)
{
	execl("/proc/self/exe", "processes", "use", "3", NULL);
	_exit(1);
}

/* By the program that has inherited it. */
static int use(int fd)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int on = 1;

	return getsockname(fd, (struct sockaddr *)&a, &len) || a.sin_family != AF_INET ||
	       setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

static void sockets(int count)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	for (int i = 0; i < count; i++) {
		if (socket(AF_INET, i % 2 ? SOCK_STREAM : SOCK_DGRAM, 0) < 0)
			die("socket");
	}
}

/* --- who drives --- */

static int open_peer(const struct sockaddr_in *a, char what)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)a, sizeof(*a)) ||
		write(fd, &what, 1) != 1)
		die("connect");
	return fd;
}

static void leave(int sig)
{
	_exit(sig == 0);
}

/* A process that waits for what never comes, and drives meanwhile. */
static pid_t driver(const struct sockaddr_in *a)
{
	int ready[2];
	char c;
	pid_t pid;

	if (pipe(ready))
		die("pipe");
	pid = fork();
	if (pid == 0) {
		int fd = open_peer(a, 'q');

		signal(SIGTERM, leave);
		if (write(ready[1], "", 1) != 1 || read(fd, &c, 1) >= 0)
			_exit(1);
		_exit(0);
	}
	if (read(ready[0], &c, 1) != 1)
		die("driver");
	close(ready[0]);
	close(ready[1]);
	pause_ms(5);
	return pid;
}

/* The longest time between two ticks until then, in ms. */
static double longest_gap(int ticks, double until)
{
	double last = now(), longest = 0, at;
	char buf[256];

	do {
		if (read(ticks, buf, sizeof(buf)) <= 0)
			die("ticks");
		at = now();
		if (at - last > longest)
			longest = at - last;
		last = at;
	} while (last < until);
	return longest * 1e3;
}

static void owner(const struct sockaddr_in *a, int sig, int rounds)
{
	static double gap[1000];

	rounds = rounds > 1000 ? 1000 : rounds;
	for (int i = 0; i < rounds; i++) {
		pid_t pid = driver(a);
		int ticks = open_peer(a, 't');

		longest_gap(ticks, now() + 0.02);
		kill(pid, sig);
		gap[i] = longest_gap(ticks, now() + 0.1);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(ticks);
	}
	qsort(gap, (size_t)rounds, sizeof(gap[0]), rising);
	printf("%.2f %.2f %.2f\n", gap[rounds / 2], gap[rounds > 1 ? rounds - 2 : 0],
		gap[rounds - 1]);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	struct sockaddr_in a;

	if (!strcmp(what, "nothing"))
		return 0;
	if (!strcmp(what, "socket"))
		return socket(AF_INET, SOCK_DGRAM, 0) < 0;
	if (!strcmp(what, "use") && argc == 3)
		return use(atoi(argv[2]));
	if (!strcmp(what, "serve") && argc == 4) {
		a = address_of(argv[2], argv[3]);
		serve(&a);
	} else if (!strcmp(what, "fork") && argc == 3) {
		sockets(atoi(argv[2]));
		child_us(child_end);
	} else if (!strcmp(what, "hold")) {
		sockets(1);
		for (;;)
			pause();
	} else if (!strcmp(what, "exec")) {
		child_us(child_exec);
	} else if (!strcmp(what, "attach")) {
		child_us(child_attach);
	} else if (!strcmp(what, "inherit")) {
		closefrom(3);
		sockets(1);
		child_us(child_inherit);
	} else if (!strcmp(what, "owner") && argc == 6) {
		a = address_of(argv[3], argv[4]);
		owner(&a,
			!strcmp(argv[2], "stop") ? SIGSTOP
			: *argv[2] == 'k'	 ? SIGKILL
						 : SIGTERM,
			atoi(argv[5]));
	} else {
		return 2;
	}
	return 0;
}
