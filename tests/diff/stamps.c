/*
 * SO_TIMESTAMPING over the loopback: the software stamps of what is sent and received, as the error
 * queue and control messages give them; TCP_SAVED_SYN; and SO_PEEK_OFF. Times are checked to be near now.
 */
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TCP_SAVE_SYN_	27
#define TCP_SAVED_SYN_	28
#define STAMPS		(SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE)
#define NAMED		(SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY)

static char data[4096];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static const char *near_now(const struct timespec *ts)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (!ts->tv_sec && !ts->tv_nsec)
		return "none";
	return llabs((long long)now.tv_sec - ts->tv_sec) <= 2 ? "now" : "WRONG";
}

/* Netlink attributes: which there are, their lengths, and the values that the steps determine
 * (TCP_NLA_*). */
static void show_stats(const unsigned char *at, size_t len)
{
	static const unsigned char known[] = {4, 5, 9, 11, 13, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 26};

	while (len >= 4) {
		unsigned short head[2];
		unsigned long long value = 0;
		size_t whole;

		memcpy(head, at, sizeof(head));
		if (head[0] < 4 || head[0] > len || head[0] > 12)
			break;
		memcpy(&value, at + 4, head[0] - 4u);
		printf(" %u:%u", head[1], head[0]);
		if (memchr(known, head[1], sizeof(known)))
			printf("=%llu", value);
		whole = (head[0] + 3u) & ~3u;
		len -= whole < len ? whole : len;
		at += whole;
	}
}

/* One message and what it says; false when there is none. */
static int show(const char *what, int fd, int flags)
{
	char control[1024];
	struct iovec iov = {data, sizeof(data)};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &m, flags | MSG_DONTWAIT);

	if (n < 0)
		return 0;
	printf("%s %zd flags %x", what, n, (unsigned)m.msg_flags);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		struct timespec ts[3];
		struct sock_extended_err e;

		printf(" [%d/%d", c->cmsg_level, c->cmsg_type);
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPING) {
			memcpy(ts, CMSG_DATA(c), sizeof(ts));
			printf(" %s %s %s", near_now(&ts[0]), near_now(&ts[1]), near_now(&ts[2]));
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPING_OPT_STATS) {
			show_stats((const unsigned char *)CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
		} else if (c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) {
			memcpy(&e, CMSG_DATA(c), sizeof(e));
			printf(" errno %u origin %u type %u code %u info %u data %u", e.ee_errno,
				e.ee_origin, e.ee_type, e.ee_code, e.ee_info, e.ee_data);
		}
		printf("]");
	}
	printf("\n");
	return 1;
}

static void show_all(const char *what, int fd, int flags)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	usleep(60000);
	poll(&p, 1, 0);
	printf("%s poll %x\n", what, (unsigned)p.revents);
	while (show(what, fd, flags))
		;
	poll(&p, 1, 0);
	printf("%s poll %x\n", what, (unsigned)p.revents);
}

static void ask(int fd, unsigned flags)
{
	unsigned got = 0;
	socklen_t len = sizeof(got);
	int ret = setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof(flags));

	getsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &got, &len);
	printf("SO_TIMESTAMPING %x: %d, now %x\n", flags, ret, got);
}

static int sock(int type, struct sockaddr_in *a)
{
	socklen_t len = sizeof(*a);
	int fd = socket(AF_INET, type, 0);

	*a = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (bind(fd, (struct sockaddr *)a, sizeof(*a)) < 0)
		die("bind");
	getsockname(fd, (struct sockaddr *)a, &len);
	return fd;
}

static void datagrams(void)
{
	struct sockaddr_in to, from;
	int in = sock(SOCK_DGRAM, &to), out = sock(SOCK_DGRAM, &from);

	ask(out, STAMPS | NAMED);
	ask(in, SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE);
	usleep(50000); /* the kernel begins a little later */
	for (int i = 0; i < 3; i++)
		if (sendto(out, data, 10, 0, (struct sockaddr *)&to, sizeof(to)) != 10)
			die("sendto");
	show_all("udp-sent", out, MSG_ERRQUEUE);
	show_all("udp-received", in, 0);
	ask(out, STAMPS | NAMED | SOF_TIMESTAMPING_TX_SCHED);
	sendto(out, data, 10, 0, (struct sockaddr *)&to, sizeof(to));
	show_all("udp-scheduled", out, MSG_ERRQUEUE);
	ask(out, 0);
	sendto(out, data, 10, 0, (struct sockaddr *)&to, sizeof(to));
	show_all("udp-off", out, MSG_ERRQUEUE);
	close(in);
	close(out);
}

static void saved_syn(int fd)
{
	unsigned char syn[256];
	socklen_t len = 4;
	int ret = getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN_, syn, &len);

	printf("saved-syn short %d len %u\n", ret, len);
	len = sizeof(syn);
	ret = getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN_, syn, &len);
	printf("saved-syn %d len %u version %x proto %u flags %x\n", ret, len, syn[0], syn[9], syn[33]);
	len = sizeof(syn);
	ret = getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN_, syn, &len);
	printf("saved-syn again %d len %u\n", ret, len);
}

static void stream(void)
{
	struct sockaddr_in a;
	int listener = sock(SOCK_STREAM, &a), out = socket(AF_INET, SOCK_STREAM, 0), in, one = 1;

	setsockopt(listener, IPPROTO_TCP, TCP_SAVE_SYN_, &one, sizeof(one));
	ask(out, STAMPS | NAMED);
	if (listen(listener, 5) < 0 || connect(out, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("connect");
	in = accept(listener, NULL, NULL);
	saved_syn(in);
	ask(out, STAMPS | NAMED | SOF_TIMESTAMPING_TX_ACK);
	ask(in, SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE);
	usleep(50000); /* the kernel begins a little later */
	for (int i = 1; i <= 3; i++) {
		if (write(out, data, (size_t)(100 * i)) != 100 * i)
			die("write");
		show_all("tcp-sent", out, MSG_ERRQUEUE);
		show_all("tcp-received", in, 0);
	}
	ask(out, STAMPS | NAMED | SOF_TIMESTAMPING_OPT_STATS | SOF_TIMESTAMPING_TX_ACK);
	if (write(out, data, 1000) != 1000)
		die("write");
	show_all("tcp-stats", out, MSG_ERRQUEUE);
	ask(out, STAMPS | NAMED | SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_ACK);
	if (write(out, data, 50) != 50)
		die("write");
	show_all("tcp-scheduled", out, MSG_ERRQUEUE);
	ask(out, 0);
	if (write(out, data, 50) != 50)
		die("write");
	show_all("tcp-off", out, MSG_ERRQUEUE);
	ask(out, 1u << 16);
	ask(out, SOF_TIMESTAMPING_OPT_STATS);
	ask(out, 1u << 31);
	close(listener);
	close(in);
	close(out);
}

static void peek_at(const char *what, int fd, size_t bytes, int flags)
{
	int off = 0;
	socklen_t len = sizeof(off);
	ssize_t n = recv(fd, data, bytes, flags | MSG_DONTWAIT);

	getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, &len);
	printf("%s %zu flags %x: %zd '%.*s' offset %d\n", what, bytes, (unsigned)flags, n,
		n > 0 ? (int)n : 0, data, off);
}

static void peeks(const char *what, int type)
{
	struct sockaddr_in a, b;
	int in = sock(type, &a), out = sock(type, &b), fd = in, off = 3;

	if (type == SOCK_STREAM)
		listen(in, 1);
	if (connect(out, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("connect");
	if (type == SOCK_STREAM)
		fd = accept(in, NULL, NULL);
	if (write(out, "abcdefgh", 8) != 8 || write(out, "ijkl", 4) != 4)
		die("write");
	usleep(20000);
	peek_at(what, fd, 4, MSG_PEEK);
	setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
	peek_at(what, fd, 2, MSG_PEEK);
	peek_at(what, fd, 100, MSG_PEEK);
	peek_at(what, fd, 100, MSG_PEEK);
	peek_at(what, fd, 100, MSG_PEEK);
	peek_at(what, fd, 5, 0);
	peek_at(what, fd, 2, MSG_PEEK);
	peek_at(what, fd, 100, 0);
	peek_at(what, fd, 2, MSG_PEEK);
	off = -1;
	setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
	peek_at(what, fd, 2, MSG_PEEK);
	close(in);
	close(out);
}

int main(void)
{
	datagrams();
	stream();
	peeks("peek-udp", SOCK_DGRAM);
	peeks("peek-tcp", SOCK_STREAM);
	return 0;
}
