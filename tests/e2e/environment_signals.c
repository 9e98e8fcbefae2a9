/*
 * Signals at any moment: handlers that call socket functions, that leave by siglongjmp, that have
 * SA_RESTART or not, with masks, in queues. Each case verifies what sigaction(2) and signal(7)
 * promise.
 *
 *   environment_signals CASE ADDRESS PORT SECONDS      against tests/diff/calls_peer
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <asm/sockios.h>

#define THREADS 8

static struct sockaddr_in peer;
static double seconds;

static void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void die(const char *format, ...)
{
	char text[256];
	va_list args;
	int n, error = errno;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text) - 64, format, args);
	va_end(args);
	n += snprintf(text + n, 64, " (%s)\n", strerrorname_np(error));
	if (write(1, text, (size_t)n) < 0)
		_exit(2);
	_exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int open_peer(char what)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&peer, sizeof(peer)))
		die("connect");
	if (write(fd, &what, 1) != 1)
		die("first write");
	return fd;
}

static void echo(int fd, size_t size, unsigned *seed)
{
	static _Thread_local char out[20000], in[20000];
	size_t got = 0, put = 0;

	for (size_t i = 0; i < size; i++)
		out[i] = (char)rand_r(seed);
	while (put < size) {
		ssize_t n = write(fd, out + put, size - put);

		if (n <= 0)
			die("write after %zu of %zu bytes gave %zd", put, size, n);
		put += (size_t)n;
	}
	while (got < size) {
		ssize_t n = read(fd, in + got, size - got);

		if (n <= 0)
			die("read after %zu of %zu bytes gave %zd", got, size, n);
		got += (size_t)n;
	}
	if (memcmp(in, out, size) != 0)
		die("other bytes came back");
}

static void handle(int sig, void (*handler)(int, siginfo_t *, void *), int flags, int masked)
{
	struct sigaction a = {.sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO};

	sigemptyset(&a.sa_mask);
	if (masked)
		sigaddset(&a.sa_mask, masked);
	if (sigaction(sig, &a, NULL))
		die("sigaction");
}

static void every_us(long us)
{
	struct itimerval t = {{0, us}, {0, us}};

	setitimer(ITIMER_REAL, &t, NULL);
}

/* --- a storm: every thread is hit all the time, and every handler calls socket functions --- */

static atomic_bool over;
static atomic_ulong handled, turns[THREADS];
static int handler_udp, handler_tcp;

static void in_handler(int sig, siginfo_t *info, void *context)
{
	struct pollfd p = {.fd = handler_tcp, .events = POLLIN | POLLOUT};
	int saved = errno, fd;
	char buf[300];

	(void)info;
	(void)context;
	switch (handled++ % 6) {
	case 0:
		sendto(handler_udp, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&peer, sizeof(peer));
		break;
	case 1:
		while (recv(handler_udp, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
		break;
	case 2:
		if (poll(&p, 1, 0) < 0 && errno != EINTR)
			die("poll in a handler");
		break;
	case 3:
		if (send(handler_tcp, "abc", 3, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
			errno != EAGAIN && errno != EINTR)
			die("send in a handler");
		break;
	case 4:
		while (recv(handler_tcp, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
		break;
	default:
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (fd < 0)
			die("socket in a handler");
		connect(fd, (struct sockaddr *)&peer, sizeof(peer));
		if (close(fd))
			die("close in a handler");
	}
	if (sig == SIGUSR2) { /* nested: another signal comes while the handler runs */
		raise(SIGUSR1);
	}
	errno = saved;
}

static void *storm_thread(void *arg)
{
	size_t number = (size_t)arg;
	unsigned seed = (unsigned)number + 1;
	int fd = open_peer('e'), ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN};

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	while (!over) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		echo(fd, 1 + (size_t)rand_r(&seed) % 20000, &seed);
		if (poll(&p, 1, rand_r(&seed) % 3) > 0)
			die("more came than was sent");
		if (epoll_wait(ep, &e, 1, rand_r(&seed) % 3) > 0)
			die("more came than was sent");
		turns[number]++;
	}
	close(ep);
	close(fd);
	return NULL;
}

static void storm(void)
{
	pthread_t thread[THREADS];
	unsigned long before[THREADS] = {0};
	double end = now() + seconds, look = now() + 1;
	unsigned seed = 1;

	handler_udp = socket(AF_INET, SOCK_DGRAM, 0);
	handler_tcp = open_peer('e');
	handle(SIGUSR1, in_handler, SA_RESTART, 0);
	handle(SIGUSR2, in_handler, SA_RESTART, SIGALRM);
	handle(SIGALRM, in_handler, SA_RESTART | SA_NODEFER, 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, storm_thread, (void *)i);
	every_us(1000);
	while (now() < end) {
		static const int sigs[] = {SIGUSR1, SIGUSR2, SIGALRM};
		struct timespec pause = {0, rand_r(&seed) % 200000};

		pthread_kill(thread[rand_r(&seed) % THREADS], sigs[rand_r(&seed) % 3]);
		nanosleep(&pause, NULL);
		if (now() < look)
			continue;
		look = now() + 5;
		for (int i = 0; i < THREADS; i++) {
			if (before[i] && turns[i] == before[i])
				die("thread %d hangs", i);
			before[i] = turns[i];
		}
	}
	over = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	every_us(0);
	if (handled < 100)
		die("only %lu handlers ran", (unsigned long)handled);
}

/* More signals at once than there is room to remember; all must run, and may call what they like.
 */
static void count_and_send(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	if (sendto(handler_udp, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&peer, sizeof(peer)) < 0 &&
		errno != EINTR && errno != EAGAIN && errno != ENOBUFS)
		die("sendto in a handler");
	handled++;
}

static void *busy_thread(void *arg)
{
	unsigned seed = 1;
	int fd = open_peer('e');

	(void)arg;
	while (!over)
		echo(fd, 1 + (size_t)rand_r(&seed) % 200, &seed);
	return NULL;
}

static void queues(void)
{
	pthread_t thread;
	unsigned long sent = 0;
	double end = now() + seconds, patience;

	handler_udp = socket(AF_INET, SOCK_DGRAM, 0);
	for (int i = 0; i < 20; i++)
		handle(SIGRTMIN + i, count_and_send, SA_RESTART, 0);
	pthread_create(&thread, NULL, busy_thread, NULL);
	while (now() < end) {
		for (int i = 0; i < 60; i++)
			sent += !pthread_sigqueue(
				thread, SIGRTMIN + i % 20, (union sigval){.sival_int = i});
		patience = now() + 5;
		while (handled < sent && now() < patience)
			usleep(100);
		if (handled < sent)
			die("%lu of %lu queued signals ran", (unsigned long)handled, sent);
	}
	over = true;
	pthread_join(thread, NULL);
}

/* --- leaving a call by siglongjmp --- */

static sigjmp_buf back;
static volatile sig_atomic_t may_jump;

static void jump(int sig, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	if (may_jump)
		siglongjmp(back, sig);
}

static void jump_from(int what, int quiet, int listener, int ep)
{
	struct pollfd p = {.fd = quiet, .events = POLLIN};
	struct epoll_event e;
	fd_set set;
	char c;
	int fd;

	may_jump = 1;
	switch (what % 6) {
	case 0:
		read(quiet, &c, 1);
		break;
	case 1:
		poll(&p, 1, -1);
		break;
	case 2:
		accept(listener, NULL, NULL);
		break;
	case 3:
		epoll_wait(ep, &e, 1, -1);
		break;
	case 4:
		FD_ZERO(&set);
		FD_SET(quiet, &set);
		select(quiet + 1, &set, NULL, NULL, NULL);
		break;
	default: /* not blocking: wherever it is */
		for (;;) {
			fd = socket(AF_INET, SOCK_DGRAM, 0);
			sendto(fd, "x", 1, 0, (struct sockaddr *)&peer, sizeof(peer));
			recv(quiet, &c, 1, MSG_DONTWAIT);
			close(fd);
		}
	}
	may_jump = 0;
	die("call %d returned", what % 6);
}

static void long_jumps(void)
{
	int quiet = open_peer('q'), fd, listener = socket(AF_INET, SOCK_STREAM, 0);
	int ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN};
	volatile double end = now() + seconds;
	volatile int jumps = 0;
	unsigned seed = 1;

	quiet = socket(AF_INET, SOCK_DGRAM, 0);
	if (connect(quiet, (struct sockaddr *)&peer, sizeof(peer)) || listen(listener, 5))
		die("sockets");
	epoll_ctl(ep, EPOLL_CTL_ADD, quiet, &e);
	handle(SIGALRM, jump, 0, 0);
	every_us(700);
	while (now() < end) {
		if (sigsetjmp(back, 1) == 0)
			jump_from(jumps, quiet, listener, ep);
		may_jump = 0;
		/* Of the last case one number may be left open each time; nothing else is lost. */
		if (++jumps % 1000 == 0)
			close_range((unsigned)quiet + 1, ~0u, 0);
	}
	every_us(0);
	fd = open_peer('e');
	for (int i = 0; i < 100; i++)
		echo(fd, 2000, &seed);
	if (jumps < 20)
		die("only %d jumps", (int)jumps);
}

/* --- restarting --- */

static volatile sig_atomic_t ran;
static int late_writer = -1;

static void count(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	ran++;
	if (late_writer >= 0 && ran == 3)
		sendto(late_writer, "late", 4, 0, (struct sockaddr *)&peer, sizeof(peer));
}

static void restarting(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct timeval soon = {2, 0};
	char buf[8];

	connect(fd, (struct sockaddr *)&peer, sizeof(peer));
	/* With SA_RESTART the read goes on until the third signal's handler has asked for an
	 * answer. */
	late_writer = fd;
	handle(SIGALRM, count, SA_RESTART, 0);
	every_us(30000);
	if (read(fd, buf, sizeof(buf)) != 4 || ran < 3)
		die("read with SA_RESTART after %d signals", ran);
	late_writer = -1;
	/* poll is never restarted, nor is what has a timeout of its own. */
	if (poll(&p, 1, 5000) != -1 || errno != EINTR)
		die("poll was not interrupted");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	if (read(fd, buf, sizeof(buf)) != -1 || errno != EINTR)
		die("read with a timeout was not interrupted");
	soon.tv_sec = 0;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	handle(SIGALRM, count, 0, 0);
	if (read(fd, buf, sizeof(buf)) != -1 || errno != EINTR)
		die("read without SA_RESTART was not interrupted");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	siginterrupt(SIGALRM, 0);
#pragma GCC diagnostic pop
	ran = 0;
	late_writer = fd;
	if (read(fd, buf, sizeof(buf)) != 4 || ran < 3)
		die("read after siginterrupt(0) after %d signals", ran);
	every_us(0);
	/* An ignored signal, and the end of a child, interrupt nothing. */
	signal(SIGALRM, SIG_IGN);
	every_us(10000);
	if (fork() == 0)
		_exit(0);
	if (poll(&p, 1, 200) != 0)
		die("an ignored signal interrupted poll");
	every_us(0);
	if (wait(NULL) < 0)
		die("wait");
}

/* --- masks --- */

static sigset_t seen_mask;
static volatile int seen_value[64], seen_count;

static void note(int sig, siginfo_t *info, void *context)
{
	(void)context;
	(void)sig;
	pthread_sigmask(SIG_BLOCK, NULL, &seen_mask);
	if (seen_count < 64)
		seen_value[seen_count++] = info->si_value.sival_int;
}

static void *send_later(void *thread)
{
	usleep(50000);
	for (int i = 0; i < 30; i++) {
		union sigval v = {.sival_int = i};

		sigqueue(getpid(), SIGRTMIN + 1, v);
	}
	usleep(20000);
	(void)thread;
	return NULL;
}

static void blocked(int sig, bool is)
{
	sigset_t set;

	pthread_sigmask(SIG_BLOCK, NULL, &set);
	if (sigismember(&set, sig) != is)
		die("signal %d is %sblocked", sig, is ? "not " : "");
}

static void masks(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), sfd;
	struct pollfd p[2] = {{.fd = fd, .events = POLLIN}};
	struct timespec soon = {2, 0}, tenth = {0, 100000000};
	struct signalfd_siginfo info;
	sigset_t set, none;
	pthread_t thread;

	connect(fd, (struct sockaddr *)&peer, sizeof(peer));
	sigemptyset(&none);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	handle(SIGUSR1, note, 0, SIGUSR2);
	/* Blocked: it does not interrupt; let through by ppoll's mask: it does, once. */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	if (ppoll(p, 1, &tenth, NULL) != 0 || seen_count)
		die("a blocked signal came");
	if (ppoll(p, 1, &soon, &none) != -1 || errno != EINTR || seen_count != 1)
		die("ppoll's mask let %d signals through", seen_count);
	if (!sigismember(&seen_mask, SIGUSR1) || !sigismember(&seen_mask, SIGUSR2))
		die("the handler's own mask was not set");
	blocked(SIGUSR1, true);
	blocked(SIGUSR2, false);
	raise(SIGUSR1);
	if (pselect(0, NULL, NULL, NULL, &soon, &none) != -1 || seen_count != 2)
		die("pselect's mask let %d signals through", seen_count);
	/* signalfd beside a socket */
	sfd = signalfd(-1, &set, SFD_CLOEXEC);
	p[1] = (struct pollfd){.fd = sfd, .events = POLLIN};
	raise(SIGUSR1);
	if (poll(p, 2, 2000) != 1 || !(p[1].revents & POLLIN) ||
		read(sfd, &info, sizeof(info)) != sizeof(info) || info.ssi_signo != SIGUSR1)
		die("signalfd beside a socket");
	raise(SIGUSR1);
	if (sigtimedwait(&set, NULL, &soon) != SIGUSR1)
		die("sigtimedwait");
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	/* Many at once, queued with their values, while the thread sleeps in poll. */
	seen_count = 0;
	handle(SIGRTMIN + 1, note, SA_RESTART, 0);
	pthread_create(&thread, NULL, send_later, NULL);
	sigaddset(&set, SIGRTMIN + 1);
	for (double end = now() + 5; seen_count < 30 && now() < end;) {
		if (poll(p, 1, 1000) > 0)
			die("something came");
	}
	pthread_join(thread, NULL);
	if (seen_count != 30)
		die("%d of 30 queued signals came", seen_count);
	blocked(SIGRTMIN + 1, false);
	blocked(SIGUSR1, false);
	blocked(SIGTERM, false);
}

/* --- one action only, alternative stacks --- */

static char *stack_base;
static volatile sig_atomic_t on_stack, once;

static void look_where(int sig, siginfo_t *info, void *context)
{
	char here;

	(void)sig;
	(void)info;
	(void)context;
	on_stack = &here >= stack_base && &here < stack_base + 65536;
}

static void first_time(int sig, siginfo_t *info, void *context)
{
	struct sigaction a;

	(void)info;
	(void)context;
	sigaction(sig, NULL, &a);
	once = a.sa_handler == SIG_DFL;
}

static void count_one(int sig)
{
	(void)sig;
	ran++;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static void system_v(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	ran = 0;
	if (sigset(SIGUSR2, count_one) != SIG_DFL || raise(SIGUSR2) || ran != 1)
		die("sigset");
	if (sigset(SIGUSR2, SIG_HOLD) != count_one || raise(SIGUSR2) || ran != 1)
		die("sigset to SIG_HOLD");
	if (sigset(SIGUSR2, count_one) != SIG_HOLD || ran != 2)
		die("sigset from SIG_HOLD");
	if (sigignore(SIGUSR2) || raise(SIGUSR2) || poll(&p, 1, 0) != 0 || ran != 2)
		die("sigignore");
}

#pragma GCC diagnostic pop

static void actions(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct sigaction a;
	stack_t stack = {.ss_size = 65536};
	pid_t pid;
	int status;

	stack_base = stack.ss_sp = malloc(65536);
	sigaltstack(&stack, NULL);
	handle(SIGALRM, look_where, SA_ONSTACK, 0);
	raise(SIGALRM);
	if (!on_stack)
		die("the handler was not on its stack");
	sigaction(SIGALRM, NULL, &a);
	if (a.sa_sigaction != look_where || !(a.sa_flags & SA_ONSTACK) || a.sa_flags & SA_RESTART)
		die("sigaction tells another action");
	handle(SIGUSR1, first_time, (int)SA_RESETHAND, 0);
	raise(SIGUSR1);
	if (!once)
		die("SA_RESETHAND did not take effect");
	system_v(fd);
	/* The default: it ends the process in the middle of a wait, and a core's signal is seen. */
	pid = fork();
	if (pid == 0) {
		alarm(1);
		signal(SIGALRM, SIG_DFL);
		poll(&p, 1, 5000);
		_exit(1);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM)
		die("status %x of a child ended by SIGALRM", status);
	/* Stopped and continued in a wait, which goes on. */
	pid = fork();
	if (pid == 0) {
		double start = now();

		if (poll(&p, 1, 600) != 0 || now() - start < 0.59)
			die("poll was interrupted by a stop");
		_exit(0);
	}
	usleep(100000);
	kill(pid, SIGSTOP);
	usleep(100000);
	kill(pid, SIGCONT);
	if (waitpid(pid, &status, 0) != pid || status)
		die("status %x of a stopped child", status);
}

/* --- the owner's signals --- */

static volatile sig_atomic_t urgent, ready_signals;

static void on_owner_signal(int sig)
{
	if (sig == SIGURG)
		urgent++;
	else
		ready_signals++;
}

static bool comes(const volatile sig_atomic_t *counter)
{
	for (double end = now() + 3; !*counter && now() < end;)
		usleep(1000);
	return *counter;
}

static void owners(void)
{
	int fd = open_peer('o'), on = 1, pid = getpid();
	struct pollfd p = {.events = POLLIN};
	char buf[16];

	signal(SIGURG, on_owner_signal);
	signal(SIGIO, on_owner_signal);
	signal(SIGUSR1, on_owner_signal);
	if (fcntl(fd, F_SETOWN, pid) || fcntl(fd, F_GETOWN) != pid)
		die("F_SETOWN");
	if (!comes(&urgent))
		die("no SIGURG for urgent data");
	if (recv(fd, buf, 1, MSG_OOB) != 1 || buf[0] != 'x')
		die("no urgent byte");
	if (ready_signals)
		die("a signal without O_ASYNC");
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	connect(fd, (struct sockaddr *)&peer, sizeof(peer));
	if (ioctl(fd, FIOSETOWN, &pid) || fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK) ||
		!(fcntl(fd, F_GETFL) & O_ASYNC))
		die("O_ASYNC");
	if (send(fd, "hello", 5, 0) != 5 || !comes(&ready_signals))
		die("no SIGIO for a datagram");
	p.fd = fd;
	while (poll(&p, 1, 2000) < 0)
		;
	if (recv(fd, buf, sizeof(buf), 0) != 5)
		die("no datagram");
	usleep(50000);
	ready_signals = 0;
	on = 0;
	ioctl(fd, FIOASYNC, &on);
	send(fd, "hello", 5, 0);
	usleep(100000);
	if (ready_signals)
		die("a signal after O_ASYNC");
	on = 1;
	signal(SIGIO, SIG_DFL);
	if (fcntl(fd, F_SETSIG, SIGUSR1) || ioctl(fd, FIOASYNC, &on) ||
		send(fd, "hello", 5, 0) != 5 || !comes(&ready_signals))
		die("no signal of F_SETSIG");
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{"storm", storm},
	{"queues", queues},
	{"jumps", long_jumps},
	{"restarting", restarting},
	{"masks", masks},
	{"actions", actions},
	{"owners", owners},
};

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	peer.sin_family = AF_INET;
	peer.sin_addr.s_addr = inet_addr(argv[2]);
	peer.sin_port = htons((unsigned short)atoi(argv[3]));
	seconds = atof(argv[4]);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!strcmp(cases[i].name, argv[1])) {
			cases[i].run();
			puts("well");
			return 0;
		}
	}
	return 2;
}
