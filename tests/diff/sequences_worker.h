/*
 * A worker of sequences.c: makes the calls that it is told to, one line each, and tells how its
 * descriptors stand.
 */
#ifndef TESTS_DIFF_SEQUENCES_WORKER_H
#define TESTS_DIFF_SEQUENCES_WORKER_H

#include "sequences.h"

static struct worker {
	int id;
	int base; /* the first of the sequence's ports */
	volatile sig_atomic_t pipes;
	char **word; /* of the present command */
	int words;
	struct text out;
	pid_t child;
} self;

static char big[65536];

static _Noreturn void worker_run(int id, int base);

static void on_signal(int sig)
{
	if (sig == SIGPIPE)
		self.pipes++;
}

static void signals(void)
{
	struct sigaction act = {.sa_handler = on_signal};

	sigaction(SIGPIPE, &act, NULL);
	sigaction(SIGUSR1, &act, NULL);
	act.sa_flags = SA_RESTART;
	sigaction(SIGUSR2, &act, NULL);
	signal(SIGCHLD, SIG_IGN);
}

/* --- the words of a command --- */

static const char *word(int i)
{
	return i < self.words ? self.word[i] : "";
}

static int number(int i)
{
	return (int)strtol(word(i), NULL, 0);
}

static bool has(const char *what)
{
	for (int i = 2; i < self.words; i++)
		if (strcmp(word(i), what) == 0)
			return true;
	return false;
}

static const struct {
	const char *name;
	in_addr_t ip;
} addresses[] = {
	{"lo", 0x7f000001u},
	{"any", 0},
	{"own", 0x0a000002u},
	{"lo2", 0x7f000002u},
	{"other", 0x0a000009u},
};

/* Words i and i + 1: address and port. */
static socklen_t address(int i, struct sockaddr_in *a)
{
	const char *port = word(i + 1);

	*a = (struct sockaddr_in){.sin_family = AF_INET};
	if (strcmp(word(i), "unspec") == 0)
		a->sin_family = AF_UNSPEC;
	for (size_t k = 0; k < sizeof(addresses) / sizeof(addresses[0]); k++)
		if (strcmp(word(i), addresses[k].name) == 0)
			a->sin_addr.s_addr = htonl(addresses[k].ip);
	if (port[0] == 'p')
		a->sin_port = htons((uint16_t)(self.base + port[1] - '0'));
	return sizeof(*a);
}

static void say_address(const struct sockaddr_in *a, socklen_t len)
{
	int port = ntohs(a->sin_port);

	if (len == 0) {
		say(&self.out, " nobody");
		return;
	}
	say(&self.out, " %d %s:", a->sin_family, inet_ntoa(a->sin_addr));
	if (port >= self.base && port < self.base + PORTS)
		say(&self.out, "p%d", port - self.base);
	else
		say(&self.out, "%s", port ? "some" : "none");
}

static int flags(int from)
{
	static const struct {
		const char *name;
		int bit;
	} names[] = {{"nb", MSG_DONTWAIT}, {"peek", MSG_PEEK}, {"oob", MSG_OOB},
		{"all", MSG_WAITALL}, {"trunc", MSG_TRUNC}, {"more", MSG_MORE},
		{"quiet", MSG_NOSIGNAL}, {"err", MSG_ERRQUEUE}};
	int bits = 0;

	for (int i = from; i < self.words; i++)
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			if (strcmp(word(i), names[k].name) == 0)
				bits |= names[k].bit;
	return bits;
}

/* --- content --- */

static char *content(int n, int seed)
{
	for (int i = 0; i < n && i < (int)sizeof(big); i++)
		big[i] = (char)(i * 7 + (i >> 8) + seed * 31);
	return big;
}

static void say_content(const char *data, long n)
{
	uint32_t hash = 2166136261u;

	for (long i = 0; i < n; i++)
		hash = (hash ^ (uint8_t)data[i]) * 16777619u;
	if (n > 0)
		say(&self.out, " %08x", hash);
}

/* --- the calls --- */

static int type_flags(void)
{
	return (has("nb") ? SOCK_NONBLOCK : 0) | (has("cloexec") ? SOCK_CLOEXEC : 0);
}

static long do_tcp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | type_flags(), 0), on = 1;

	if (fd >= 0 && !has("nagle"))
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static long do_udp(void)
{
	return socket(AF_INET, SOCK_DGRAM | type_flags(), 0);
}

static long do_bind(void)
{
	struct sockaddr_in a;
	socklen_t len = address(3, &a);

	return bind(number(2), (struct sockaddr *)&a, len);
}

static long do_listen(void)
{
	return listen(number(2), number(3));
}

static long do_connect(void)
{
	struct sockaddr_in a;
	socklen_t len = address(3, &a);

	return connect(number(2), (struct sockaddr *)&a, len);
}

static long do_accept(void)
{
	struct sockaddr_in a = {0};
	socklen_t len = sizeof(a);
	long ret = accept4(number(2), (struct sockaddr *)&a, &len, type_flags());

	if (ret >= 0 && ntohs(a.sin_port) == 0)
		say(&self.out, "no port ");
	return ret;
}

/* send FD BYTES SEED FLAGS */
static long do_send(void)
{
	return send(number(2), content(number(3), number(4)), (size_t)number(3), flags(5));
}

static long do_write(void)
{
	return write(number(2), content(number(3), number(4)), (size_t)number(3));
}

static long do_writev(void)
{
	char *data = content(number(3), number(4));
	size_t n = (size_t)number(3), half = n / 2;
	struct iovec vec[2] = {{data, half}, {data + half, n - half}};

	return writev(number(2), vec, 2);
}

/* sendto FD BYTES SEED ADDRESS PORT FLAGS */
static long do_sendto(void)
{
	struct sockaddr_in a;
	socklen_t len = address(5, &a);

	return sendto(number(2), content(number(3), number(4)), (size_t)number(3), flags(7),
		(struct sockaddr *)&a, len);
}

/* Until not one byte more goes in. */
static long do_fill(void)
{
	size_t n = sizeof(big);
	long ret;

	content((int)n, number(3));
	for (;;) {
		ret = send(number(2), big, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (ret <= 0 && n == 1)
			return ret;
		n = ret > 0 ? n : 1;
	}
}

/* Until nothing comes any more. */
static long do_drain(void)
{
	struct pollfd p = {.fd = number(2), .events = POLLIN};
	int idle = 0;
	long ret;

	do {
		ret = recv(number(2), big, sizeof(big), MSG_DONTWAIT);
		idle = ret < 0 ? idle + 1 : 0;
	} while (ret > 0 || (idle && idle < 5 && errno == EAGAIN && poll(&p, 1, 5) > 0));
	return ret;
}

/* recv FD BYTES FLAGS */
static long do_recv(void)
{
	size_t n = (size_t)number(3) < sizeof(big) ? (size_t)number(3) : sizeof(big);
	long ret = recv(number(2), big, n, flags(4));

	say_content(big, ret < (long)n ? ret : (long)n);
	return ret;
}

static long do_read(void)
{
	long ret = read(number(2), big, (size_t)number(3));

	say_content(big, ret);
	return ret;
}

static long do_recvmsg(void)
{
	struct sockaddr_in a = {0};
	struct iovec vec = {big, (size_t)number(3)};
	struct msghdr m = {
		.msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &vec, .msg_iovlen = 1};
	long ret = recvmsg(number(2), &m, flags(4));

	if (ret < 0)
		return ret;
	say_content(big, ret < number(3) ? ret : number(3));
	say(&self.out, " flags %x from", (unsigned)m.msg_flags & ~(unsigned)MSG_CMSG_CLOEXEC);
	say_address(&a, m.msg_namelen);
	say(&self.out, " ");
	return ret;
}

static long do_shutdown(void)
{
	return shutdown(number(2), number(3));
}

/* set FD OPTION VALUE */
static const struct {
	const char *name;
	int level, opt;
} options[] = {
	{"error", SOL_SOCKET, SO_ERROR},
	{"type", SOL_SOCKET, SO_TYPE},
	{"accepting", SOL_SOCKET, SO_ACCEPTCONN},
	{"reuse", SOL_SOCKET, SO_REUSEADDR},
	{"port", SOL_SOCKET, SO_REUSEPORT},
	{"lowat", SOL_SOCKET, SO_RCVLOWAT},
	{"keep", SOL_SOCKET, SO_KEEPALIVE},
	{"inline", SOL_SOCKET, SO_OOBINLINE},
	{"nodelay", IPPROTO_TCP, TCP_NODELAY},
	{"cork", IPPROTO_TCP, TCP_CORK},
	{"defer", IPPROTO_TCP, TCP_DEFER_ACCEPT},
	{"linger2", IPPROTO_TCP, TCP_LINGER2},
	{"pktinfo", IPPROTO_IP, IP_PKTINFO},
};

static int option(const char *name)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strcmp(options[i].name, name) == 0)
			return (int)i;
	return 0;
}

static long do_set(void)
{
	int i = option(word(3)), value = number(4);

	return setsockopt(number(2), options[i].level, options[i].opt, &value, sizeof(value));
}

static long do_get(void)
{
	int i = option(word(3)), value = 0;
	socklen_t len = sizeof(value);
	long ret = getsockopt(number(2), options[i].level, options[i].opt, &value, &len);

	if (ret == 0 && options[i].opt == SO_ERROR && options[i].level == SOL_SOCKET)
		say(&self.out, "%s ", value ? strerrorname_np(value) : "0");
	else if (ret == 0)
		say(&self.out, "%d ", value);
	return ret;
}

/* linger FD SECONDS (-1: off) */
static long do_linger(void)
{
	struct linger l = {.l_onoff = number(3) >= 0, .l_linger = number(3)};

	return setsockopt(number(2), SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

static long do_name(void)
{
	struct sockaddr_in a = {0};
	socklen_t len = sizeof(a);
	long ret = getsockname(number(2), (struct sockaddr *)&a, &len);

	if (ret == 0)
		say_address(&a, len);
	return ret;
}

static long do_peer(void)
{
	struct sockaddr_in a = {0};
	socklen_t len = sizeof(a);
	long ret = getpeername(number(2), (struct sockaddr *)&a, &len);

	if (ret == 0)
		say_address(&a, len);
	return ret;
}

static long do_mark(void)
{
	int at = -1;
	long ret = ioctl(number(2), SIOCATMARK, &at);

	say(&self.out, "%d ", at);
	return ret;
}

static long do_dup(void)
{
	return dup(number(2));
}

static long do_dup2(void)
{
	return dup2(number(2), number(3));
}

static long do_dup3(void)
{
	return dup3(number(2), number(3), O_CLOEXEC);
}

static long do_dupfd(void)
{
	return fcntl(number(2), has("cloexec") ? F_DUPFD_CLOEXEC : F_DUPFD, number(3));
}

static long do_close(void)
{
	return close(number(2));
}

static long do_close_range(void)
{
	return close_range((unsigned)number(2), (unsigned)number(3), 0);
}

static long do_nonblock(void)
{
	int old = fcntl(number(2), F_GETFL), on = number(3);

	if (has("ioctl"))
		return ioctl(number(2), FIONBIO, &on);
	if (old < 0)
		return old;
	return fcntl(number(2), F_SETFL, on ? old | O_NONBLOCK : old & ~O_NONBLOCK);
}

static long do_getfl(void)
{
	return fcntl(number(2), F_GETFL);
}

static long do_cloexec(void)
{
	return fcntl(number(2), F_SETFD, number(3) ? FD_CLOEXEC : 0);
}

static long do_getfd(void)
{
	return fcntl(number(2), F_GETFD);
}

static long do_pipe(void)
{
	int fds[2];
	long ret = pipe2(fds, O_NONBLOCK);

	if (ret == 0)
		say(&self.out, "%d %d ", fds[0], fds[1]);
	return ret;
}

static unsigned masks(const char *text, const char *letters, const unsigned bits[])
{
	unsigned mask = 0;

	for (; *text; text++) {
		const char *at = strchr(letters, *text);

		if (at)
			mask |= bits[at - letters];
	}
	return mask;
}

/* poll FD EVENTS: waits for ever. */
static long do_poll(void)
{
	static const unsigned bits[] = {POLLIN, POLLOUT, POLLPRI, POLLRDHUP, POLLWRNORM};
	struct pollfd p = {.fd = number(2), .events = (short)masks(word(3), "iophn", bits)};
	long ret = poll(&p, 1, -1);

	say(&self.out, "%x ", (unsigned)p.revents);
	return ret;
}

/* select FD EVENTS */
static long do_select(void)
{
	fd_set set[3];
	int fd = number(2);
	long ret;

	for (int i = 0; i < 3; i++) {
		FD_ZERO(&set[i]);
		if (strchr(word(3), "iop"[i]))
			FD_SET(fd, &set[i]);
	}
	ret = select(fd + 1, &set[0], &set[1], &set[2], NULL);
	for (int i = 0; ret >= 0 && i < 3; i++)
		say(&self.out, "%d ", FD_ISSET(fd, &set[i]) != 0);
	return ret;
}

static long do_epoll(void)
{
	return epoll_create1(has("cloexec") ? EPOLL_CLOEXEC : 0);
}

/* ctl EPFD add|mod|del FD EVENTS */
static long do_ctl(void)
{
	static const unsigned bits[] = {EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, EPOLLET,
		EPOLLONESHOT, EPOLLEXCLUSIVE, EPOLLWRNORM};
	struct epoll_event e = {.events = masks(word(5), "iophe1xn", bits)};
	int op = EPOLL_CTL_DEL;

	if (strcmp(word(3), "add") == 0)
		op = EPOLL_CTL_ADD;
	else if (strcmp(word(3), "mod") == 0)
		op = EPOLL_CTL_MOD;
	e.data.u32 = (uint32_t)(self.id * 100 + number(4));
	return epoll_ctl(number(2), op, number(4), &e);
}

static int by_data(const void *a, const void *b)
{
	const struct epoll_event *x = a, *y = b;

	return x->data.u32 < y->data.u32 ? -1 : x->data.u32 > y->data.u32;
}

/* wait EPFD MILLISECONDS */
static long do_wait(void)
{
	struct epoll_event e[16];
	long n = epoll_wait(number(2), e, 16, number(3));

	if (n > 0)
		qsort(e, (size_t)n, sizeof(e[0]), by_data);
	for (long i = 0; i < n; i++)
		say(&self.out, "%u:%x ", e[i].data.u32, e[i].events);
	return n;
}

/* --- processes --- */

/* pass FD WORKER: puts it into the worker's mail. */
static long do_pass(void)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr head;
	} control = {0};
	struct iovec vec = {(void *)"m", 1};
	struct msghdr m = {.msg_iov = &vec,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	int fd = number(2);

	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	return sendmsg(MAIL_OUT + number(3), &m, MSG_DONTWAIT);
}

static long do_take(void)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr head;
	} control = {0};
	char byte;
	struct iovec vec = {&byte, 1};
	struct msghdr m = {.msg_iov = &vec,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	long ret = recvmsg(
		MAIL_IN + self.id, &m, MSG_DONTWAIT | (has("cloexec") ? MSG_CMSG_CLOEXEC : 0));
	int fd = -1;

	if (ret > 0 && m.msg_controllen >= CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
	say(&self.out, "%d ", fd);
	return ret;
}

static int cloned(void *unused)
{
	(void)unused;
	worker_run(number(2), self.base);
}

static pid_t fork_by(const char *way)
{
	const size_t size = 65536;

	if (strcmp(way, "_Fork") == 0)
		return _Fork();
	if (strcmp(way, "clone") == 0)
		return clone(cloned, (char *)aligned_alloc(16, size) + size, SIGCHLD, NULL);
	if (strcmp(way, "raw") == 0)
		return (pid_t)syscall(SYS_fork);
	return fork();
}

/* fork WORKER WAY: the child becomes that one. */
static long do_fork(void)
{
	pid_t pid = fork_by(word(3));

	if (pid == 0)
		worker_run(number(2), self.base);
	self.child = pid;
	return pid > 0 ? 0 : pid;
}

/* exec: goes on as a new program with what it inherits. */
static long do_exec(void)
{
	char id[12], base[12];

	snprintf(id, sizeof(id), "%d", self.id);
	snprintf(base, sizeof(base), "%d", -self.base); /* it owes the answer */
	return execl("/proc/self/exe", "sequences", "worker", id, base, (char *)NULL);
}

/* --- how its descriptors stand --- */

static void say_inq(int fd)
{
	int n = 0;

	if (ioctl(fd, FIONREAD, &n) < 0)
		return;
	if (n >= 20000)
		say(&self.out, "/many");
	else
		say(&self.out, "/%d", n);
}

static long do_state(void)
{
	struct pollfd fds[LAST_FD - FIRST_FD + 1];
	int n = 0, i;

	for (i = FIRST_FD; i <= LAST_FD; i++)
		fds[n++] = (struct pollfd){.fd = i, .events = 0x3fff};
	if (poll(fds, (nfds_t)n, 0) < 0)
		return -1;
	for (i = 0; i < n; i++) {
		struct tcp_info info;
		socklen_t len = sizeof(info);

		if (fds[i].revents & POLLNVAL)
			continue;
		say(&self.out, " %d:%x", fds[i].fd, (unsigned)fds[i].revents);
		say_inq(fds[i].fd);
		if (getsockopt(fds[i].fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
			say(&self.out, "/%c", "?ESRFFTCWLIV"[info.tcpi_state % 12]);
	}
	return 0;
}

static const struct {
	const char *name;
	long (*run)(void);
} calls[] = {
	{"tcp", do_tcp},
	{"udp", do_udp},
	{"bind", do_bind},
	{"listen", do_listen},
	{"connect", do_connect},
	{"accept", do_accept},
	{"send", do_send},
	{"write", do_write},
	{"writev", do_writev},
	{"sendto", do_sendto},
	{"fill", do_fill},
	{"drain", do_drain},
	{"recv", do_recv},
	{"read", do_read},
	{"recvmsg", do_recvmsg},
	{"shutdown", do_shutdown},
	{"set", do_set},
	{"get", do_get},
	{"linger", do_linger},
	{"name", do_name},
	{"peer", do_peer},
	{"mark", do_mark},
	{"dup", do_dup},
	{"dup2", do_dup2},
	{"dup3", do_dup3},
	{"dupfd", do_dupfd},
	{"close", do_close},
	{"close_range", do_close_range},
	{"nonblock", do_nonblock},
	{"getfl", do_getfl},
	{"cloexec", do_cloexec},
	{"getfd", do_getfd},
	{"pipe", do_pipe},
	{"poll", do_poll},
	{"select", do_select},
	{"epoll", do_epoll},
	{"ctl", do_ctl},
	{"wait", do_wait},
	{"pass", do_pass},
	{"take", do_take},
	{"fork", do_fork},
	{"exec", do_exec},
	{"state", do_state},
};

static void obey(char *line)
{
	char *words[12], *save = NULL;
	long ret = -1;

	self.words = 0;
	self.word = words;
	for (char *w = strtok_r(line, " ", &save); w && self.words < 12;
		w = strtok_r(NULL, " ", &save))
		words[self.words++] = w;
	if (strcmp(word(1), "exit") == 0)
		_exit(0);
	errno = ENOSYS;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (strcmp(calls[i].name, word(1)) != 0)
			continue;
		errno = 0;
		ret = calls[i].run();
		break;
	}
	if (strcmp(word(1), "state") == 0 && ret == 0)
		return;
	say_result(&self.out, ret);
	if (self.pipes)
		say(&self.out, " SIGPIPE");
	self.pipes = 0;
}

static void reply(struct answer *a)
{
	a->child = self.child;
	send(COMMAND_FD + self.id, a, offsetof(struct answer, text) + strlen(a->text) + 1, 0);
}

static _Noreturn void worker_run(int id, int base)
{
	static struct answer a;
	char line[256];
	bool begun = base < 0; /* an exec'd program owes the answer of the exec */

	self.id = id;
	self.base = begun ? -base : base;
	signals();
	for (;;) {
		long n;

		self.out = (struct text){a.text, sizeof(a.text)};
		self.child = 0;
		a.text[0] = 0;
		if (begun) {
			begun = false;
			say_result(&self.out, 0);
			reply(&a);
			continue;
		}
		n = recv(COMMAND_FD + self.id, line, sizeof(line) - 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		line[n] = 0;
		obey(line);
		reply(&a);
	}
}

#endif
