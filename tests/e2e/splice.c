/*
 * For tests/e2e/splice: hands a connection to a program that does not load the library.
 *
 *     splice [-k|-w] connect|accept|udp HOST PORT pass|exec PROGRAM COMMAND
 *     splice switch connect HOST PORT PROGRAM WAIT
 *     splice child pass|exec COMMAND
 *
 * The first is the parent, with the library. `pass` sends the descriptor in a message (SCM_RIGHTS),
 * `exec` has it inherited as number 3. The parent closes its own descriptor (-w: a little later;
 * -k: at the end) and gives the child's exit status. The second waits on the connection, while
 * another thread starts a child that inherits it. The child makes its calls by the C library that
 * it is linked with, statically, and says on stderr how the connection ended.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILD_FD 3
#define BUFFER	 65536

static int die(const char *what)
{
	fprintf(stderr, "splice: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* --- the parent --- */

static void send_fd(int to, int fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	char byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};

	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	if (sendmsg(to, &msg, 0) != 1)
		die("sendmsg");
}

static int receive_fd(int from)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	int fd = -1;

	if (recvmsg(from, &msg, 0) != 1)
		die("recvmsg");
	memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
	return fd;
}

static int get_connection(const char *how, const char *host, const char *port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
	int udp = strcmp(how, "udp") == 0, one = 1, connection;
	int fd = socket(AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0);

	inet_pton(AF_INET, host, &addr.sin_addr);
	if (udp || strcmp(how, "connect") == 0) {
		if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
			die("connect");
		return fd;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 5) < 0)
		die("listen");
	connection = accept(fd, NULL, NULL);
	if (connection < 0)
		die("accept");
	close(fd);
	return connection;
}

/* What the parent does with its own copy after the child has begun: the answers come from the
 * stack. */
static void ask(int fd)
{
	struct sockaddr_in name;
	socklen_t len = sizeof(name);
	int type = 0;

	if (getpeername(fd, (struct sockaddr *)&name, &len) < 0 || name.sin_family != AF_INET)
		die("getpeername");
	len = sizeof(type);
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &type, &len) < 0 || type != AF_INET)
		die("SO_DOMAIN");
}

static int parent(char **argv, int option)
{
	int fd = get_connection(argv[0], argv[1], argv[2]), pair[2], status;
	int pass = strcmp(argv[3], "pass") == 0;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		die("socketpair");
	child = fork();
	if (child == 0) {
		char *args[] = {argv[4], (char *)(unsigned long)"child", argv[3], argv[5], NULL};

		if (dup2(pass ? pair[1] : fd, CHILD_FD) < 0)
			die("dup2");
		if (!pass)
			fcntl(CHILD_FD, F_SETFD, 0);
		execv(args[0], args);
		die(args[0]);
	}
	if (pass)
		send_fd(pair[0], fd);
	if (option)
		usleep(100000);
	if (option == 'k')
		ask(fd);
	else
		close(fd);
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* --- the switch, seen by threads that wait on the connection meanwhile --- */

static int shared, program_ended;
static char *program;

static void *switch_later(void *unused)
{
	char *args[] = {program, (char *)(unsigned long)"child", (char *)(unsigned long)"exec",
		(char *)(unsigned long)"nothing", NULL};
	int status = 0;
	pid_t pid;

	(void)unused;
	usleep(200000);
	pid = fork();
	if (pid == 0) {
		dup2(shared, CHILD_FD);
		fcntl(CHILD_FD, F_SETFD, 0);
		execv(program, args);
		_exit(2);
	}
	waitpid(pid, &status, 0);
	program_ended = 1;
	if (write(shared, "go", 2) != 2) /* for the peer: it sends now */
		die("go");
	return NULL;
}

static int wait_select(int fd)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, &set, NULL, NULL, NULL) == 1 && FD_ISSET(fd, &set);
}

static int wait_epoll(int fd, unsigned events)
{
	struct epoll_event event = {.events = events, .data.u64 = 7}, got = {.events = 0};
	int epfd = epoll_create1(0), inner = epfd, outer, nest = events == 0;

	event.events = nest ? EPOLLIN : events;
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll_ctl");
	if (nest) {
		outer = epoll_create1(0);
		event.data.u64 = 8;
		if (epoll_ctl(outer, EPOLL_CTL_ADD, epfd, &event) < 0)
			die("nest");
		/* The outer set may show the inner one before there is something: it is looked at.
		 */
		do {
			if (epoll_wait(outer, &got, 1, 10000) != 1 || got.data.u64 != 8)
				return 0;
		} while (epoll_wait(inner, &got, 1, 0) == 0);
	} else if (epoll_wait(epfd, &got, 1, 10000) != 1) {
		return 0;
	}
	if (got.data.u64 != 7 || !(got.events & EPOLLIN) || !program_ended)
		return 0;
	event.events = EPOLLOUT;
	return epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event) == 0 &&
	       epoll_wait(epfd, &got, 1, 1000) == 1 && got.events == EPOLLOUT &&
	       epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0 &&
	       epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static int switched(char **argv)
{
	struct pollfd p = {.events = POLLIN};
	char data[16] = "";
	const char *how = argv[4];
	pthread_t thread;
	int good = 1;

	program = argv[3];
	shared = p.fd = get_connection(argv[0], argv[1], argv[2]);
	pthread_create(&thread, NULL, switch_later, NULL);
	if (strcmp(how, "poll") == 0)
		good = poll(&p, 1, 10000) == 1 && p.revents == POLLIN && program_ended;
	else if (strcmp(how, "select") == 0)
		good = wait_select(shared) && program_ended;
	else if (strcmp(how, "level") == 0)
		good = wait_epoll(shared, EPOLLIN);
	else if (strcmp(how, "edge") == 0)
		good = wait_epoll(shared, EPOLLIN | EPOLLET);
	else if (strcmp(how, "once") == 0)
		good = wait_epoll(shared, EPOLLIN | EPOLLONESHOT);
	else if (strcmp(how, "nested") == 0)
		good = wait_epoll(shared, 0);
	if (good && (recv(shared, data, sizeof(data), 0) != 5 || memcmp(data, "hello", 5) != 0))
		die("recv");
	pthread_join(thread, NULL);
	ask(shared);
	return !good;
}

/* --- the child --- */

static void ended(const char *what, ssize_t n)
{
	fprintf(stderr, "%s: %s\n", what, n < 0 ? strerror(errno) : "end");
}

static void write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0) {
			ended("write", n);
			exit(errno == EPIPE ? 3 : 1);
		}
		data += n;
		len -= (size_t)n;
	}
}

/* Everything from one to the other. */
static ssize_t copy(int from, int to)
{
	static char data[BUFFER];
	ssize_t n;

	while ((n = read(from, data, sizeof(data))) > 0)
		write_all(to, data, (size_t)n);
	return n;
}

/* Both directions at once, by epoll, never blocking on the connection. */
static int both(int fd)
{
	static char out[BUFFER], in[BUFFER];
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				   .data.fd = fd},
			   got;
	size_t kept = 0;
	int epfd = epoll_create1(0), input = 1, open_in = 1;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
	while (input || kept || open_in) {
		ssize_t moved = 0, n;

		if (!kept && input) {
			n = read(0, out, sizeof(out));
			if (n > 0)
				kept = (size_t)n;
			else {
				input = 0;
				shutdown(fd, SHUT_WR);
			}
			moved = 1;
		}
		n = kept ? write(fd, out, kept) : 0;
		if (n < 0 && errno != EAGAIN)
			die("write");
		if (n > 0) {
			memmove(out, out + n, kept - (size_t)n);
			kept -= (size_t)n;
			moved = 1;
		}
		n = open_in ? read(fd, in, sizeof(in)) : -1;
		if (n > 0)
			write_all(1, in, (size_t)n);
		if (n >= 0)
			moved = 1;
		if (n == 0)
			open_in = 0;
		if (open_in && n < 0 && errno != EAGAIN)
			die("read");
		if (!moved && epoll_wait(epfd, &got, 1, 20000) != 1)
			die("nothing happens");
	}
	return 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Reads and forgets for so many seconds, and says how many Gbit/s. */
static int measure(int fd, int seconds)
{
	static char data[4 * BUFFER];
	double start = now(), bytes = 0, took;
	ssize_t n;

	while ((took = now() - start) < seconds && (n = read(fd, data, sizeof(data))) > 0)
		bytes += (double)n;
	printf("%.2f\n", bytes * 8 / 1e9 / took);
	return 0;
}

/* poll and FIONREAD as they should be: nothing there, then bytes, then the end. */
static int look(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
	char data[16];
	int bytes = 0;

	if (poll(&p, 1, 0) != 1 || p.revents != POLLOUT)
		die("poll before");
	write_all(fd, "go\n", 3);
	p.events = POLLIN;
	if (poll(&p, 1, 10000) != 1 || p.revents != POLLIN)
		die("poll data");
	if (ioctl(fd, FIONREAD, &bytes) < 0 || bytes != 5)
		die("FIONREAD");
	if (recv(fd, data, sizeof(data), MSG_PEEK) != 5 || read(fd, data, 5) != 5 ||
		memcmp(data, "hello", 5) != 0)
		die("read");
	write_all(fd, "go\n", 3);
	p.events = POLLIN | POLLRDHUP;
	if (poll(&p, 1, 10000) != 1 || p.revents != (POLLIN | POLLRDHUP))
		die("poll end");
	return read(fd, data, 1) == 0 ? 0 : 1;
}

/* Datagrams that are echoed keep their bounds. */
static int datagrams(int fd)
{
	static const size_t size[] = {1, 1400, 0, 30000, 7};
	static char data[65536], back[65536];

	for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
		memset(data, (int)i + 'a', sizeof(data));
		if (write(fd, data, size[i]) != (ssize_t)size[i] ||
			read(fd, back, sizeof(back)) != (ssize_t)size[i] ||
			memcmp(data, back, size[i]) != 0)
			die("datagram");
	}
	return 0;
}

/* --- io_uring, by its system calls --- */

struct ring {
	int fd;
	struct io_uring_params p;
	char *sq, *cq;
	struct io_uring_sqe *sqe;
};

static int ring_open(struct ring *r)
{
	size_t size;

	memset(r, 0, sizeof(*r));
	r->fd = (int)syscall(SYS_io_uring_setup, 4, &r->p);
	if (r->fd < 0)
		return -1;
	size = r->p.sq_off.array + r->p.sq_entries * sizeof(unsigned);
	r->sq = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	size = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
	r->cq = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_CQ_RING);
	size = r->p.sq_entries * sizeof(struct io_uring_sqe);
	r->sqe = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
	return 0;
}

static unsigned *ring_word(char *ring, unsigned offset)
{
	return (unsigned *)(void *)(ring + offset);
}

/* One operation, waited for. */
static int ring_do(struct ring *r, int op, int fd, void *data, unsigned len)
{
	unsigned tail = *ring_word(r->sq, r->p.sq_off.tail), head;
	unsigned slot = tail & *ring_word(r->sq, r->p.sq_off.ring_mask);
	struct io_uring_cqe *cqe;
	int result;

	r->sqe[slot] = (struct io_uring_sqe){
		.opcode = (unsigned char)op, .fd = fd, .addr = (unsigned long)data, .len = len};
	ring_word(r->sq, r->p.sq_off.array)[slot] = slot;
	__atomic_store_n(ring_word(r->sq, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		die("io_uring_enter");
	head = *ring_word(r->cq, r->p.cq_off.head);
	cqe = (struct io_uring_cqe *)(void *)(r->cq + r->p.cq_off.cqes) +
	      (head & *ring_word(r->cq, r->p.cq_off.ring_mask));
	result = cqe->res;
	__atomic_store_n(ring_word(r->cq, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return result;
}

/* Echoes until the end. */
static int uring(int fd)
{
	static char data[BUFFER];
	struct ring r;
	int n, done, wrote;

	if (ring_open(&r) < 0) {
		fputs("no io_uring\n", stderr);
		return 77;
	}
	while ((n = ring_do(&r, IORING_OP_RECV, fd, data, sizeof(data))) > 0) {
		for (done = 0; done < n; done += wrote) {
			wrote = ring_do(&r, IORING_OP_SEND, fd, data + done, (unsigned)(n - done));
			if (wrote <= 0)
				return 1;
		}
	}
	return n != 0;
}

static int child(const char *how, const char *command)
{
	int fd = strcmp(how, "pass") == 0 ? receive_fd(CHILD_FD) : CHILD_FD;

	signal(SIGPIPE, SIG_IGN);
	if (strcmp(command, "sink") == 0) {
		ended("read", copy(fd, 1));
	} else if (strcmp(command, "slow") == 0) {
		sleep(3);
		ended("read", copy(fd, 1));
	} else if (strcmp(command, "source") == 0) {
		copy(0, fd);
	} else if (strcmp(command, "half") == 0) { /* sends, says so, and then receives */
		copy(0, fd);
		shutdown(fd, SHUT_WR);
		ended("read", copy(fd, 1));
	} else if (strcmp(command, "answer") == 0) { /* receives to the end, and then sends */
		ended("read", copy(fd, 1));
		copy(0, fd);
	} else if (strcmp(command, "both") == 0) {
		return both(fd);
	} else if (strcmp(command, "look") == 0) {
		return look(fd);
	} else if (strncmp(command, "measure", 7) == 0) {
		return measure(fd, atoi(command + 7));
	} else if (strcmp(command, "rdwr") == 0) { /* shut down, and then closed a second later */
		copy(0, fd);
		shutdown(fd, SHUT_RDWR);
		sleep(1);
	} else if (strcmp(command, "unread") == 0) { /* closes with bytes unread */
		char byte;

		if (recv(fd, &byte, 1, MSG_PEEK) != 1)
			die("recv");
		usleep(200000);
	} else if (strcmp(command, "die") == 0) {
		copy(0, fd);
		raise(SIGKILL);
	} else if (strcmp(command, "datagrams") == 0) {
		return datagrams(fd);
	} else if (strcmp(command, "uring") == 0) {
		return uring(fd);
	} else if (strcmp(command, "nothing") == 0) {
		return 0;
	} else {
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int option = argc > 1 && argv[1][0] == '-' ? argv[1][1] : 0;

	argv += option != 0;
	argc -= option != 0;
	if (argc == 4 && strcmp(argv[1], "child") == 0)
		return child(argv[2], argv[3]);
	if (argc == 7 && strcmp(argv[1], "switch") == 0)
		return switched(argv + 2);
	return argc == 7 ? parent(argv + 1, option) : 1;
}
