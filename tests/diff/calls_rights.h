/*
 * What the call tests share that have a second process: sockets are passed to it in messages
 * (SCM_RIGHTS), or it reaches for them. It is forked before the sockets exist, so that nothing is
 * inherited. `a` is the end of a connection that stays here, and tells what becomes of the other.
 */
#ifndef TESTS_DIFF_CALLS_RIGHTS_H
#define TESTS_DIFF_CALLS_RIGHTS_H

#include "tests/diff/calls.h"

#include <sys/wait.h>

static int way[2];   /* descriptors go from [0] to [1] */
static int said[2];  /* text from the receiver */
static int order[2]; /* a byte for each thing it may do */

static void ways(void)
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, way) || pipe(said) || pipe(order))
		exit(1);
}

static void no_ways(void)
{
	close(way[0]);
	close(way[1]);
	close(said[0]);
	close(said[1]);
	close(order[0]);
	close(order[1]);
}

static void await_order(void)
{
	char c;

	if (read(order[0], &c, 1) != 1)
		_exit(1);
}

static void go_on(void)
{
	if (write(order[1], "", 1) != 1)
		exit(1);
}

static void say(const char *what, long ret)
{
	char text[128];
	int n = ret < 0 ? snprintf(text, sizeof(text), "%s: %ld %s\n", what, ret,
				  strerrorname_np(errno))
			: snprintf(text, sizeof(text), "%s: %ld\n", what, ret);

	if (write(said[1], text, (size_t)n) != n)
		_exit(1);
}
#define SAY(call) say(#call, (long)(call))

/* What the receiver says next: so many lines. */
static void listen_to(int lines)
{
	char c;

	while (lines && read(said[0], &c, 1) == 1) {
		putchar(c);
		lines -= c == '\n';
	}
}

static pid_t receiver(void (*run)(void))
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	run();
	_exit(0);
}

static void end(pid_t pid)
{
	int status;

	waitpid(pid, &status, 0);
	if (status)
		printf("receiver: status %x\n", (unsigned)status);
}

/* A connection over this host's own address: *a stays, the other is passed. */
static int pair_of(int *a)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	in_port_t port;
	int l = listener(&port), b;

	*a = socket(AF_INET, SOCK_STREAM, 0);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	addr.sin_port = port;
	if (connect(*a, (struct sockaddr *)&addr, len)) {
		perror("connect");
		exit(1);
	}
	b = accept(l, NULL, NULL);
	close(l);
	return b;
}

struct parcel {
	struct msghdr msg;
	struct iovec iov;
	char byte;
	char control[CMSG_SPACE(16 * sizeof(int))] __attribute__((aligned(8)));
};

static struct msghdr *pack(struct parcel *p, const int *fd, unsigned count)
{
	struct cmsghdr *c = (struct cmsghdr *)p->control;

	memset(p, 0, sizeof(*p));
	p->byte = 'x';
	p->iov.iov_base = &p->byte;
	p->iov.iov_len = 1;
	p->msg.msg_iov = &p->iov;
	p->msg.msg_iovlen = 1;
	p->msg.msg_control = p->control;
	p->msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(int));
	if (fd)
		memcpy(CMSG_DATA(c), fd, count * sizeof(int));
	return &p->msg;
}

static long pass(int fd)
{
	struct parcel p;

	return sendmsg(way[0], pack(&p, &fd, 1), 0);
}

static unsigned unpack(const struct parcel *p, int *fd)
{
	const struct cmsghdr *c = (const struct cmsghdr *)p->control;
	size_t size = p->msg.msg_controllen ? c->cmsg_len - CMSG_LEN(0) : 0;

	memcpy(fd, CMSG_DATA(c), size);
	return (unsigned)(size / sizeof(int));
}

static UNUSED int take(void)
{
	struct parcel p;
	int fd[16];

	pack(&p, NULL, 16);
	if (recvmsg(way[1], &p.msg, 0) != 1 || unpack(&p, fd) != 1)
		return -1;
	return fd[0];
}

static int answers(int fd)
{
	char c = 0;

	return recv(fd, &c, 1, 0) == 1 && send(fd, &c, 1, MSG_NOSIGNAL) == 1;
}

static int echoes(int fd)
{
	char c = 'e';

	return send(fd, &c, 1, MSG_NOSIGNAL) == 1 && poll_for(fd, POLLIN, 3000) == POLLIN &&
	       recv(fd, &c, 1, 0) == 1 && c == 'e';
}

/* Nothing has ended. */
static int lives(int fd)
{
	nap_ms(60);
	return poll_now(fd) == POLLOUT;
}

static int ends(int fd)
{
	char c;

	return poll_for(fd, POLLIN, 3000) & POLLIN ? (int)recv(fd, &c, 1, 0) : -2;
}

#endif
