/* UDP sockets through every form of call, with control messages and ICMP errors. */
#include "tests/diff/calls.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>

static void fresh(void)
{
	struct sockaddr_in to = server, got;
	static char big[70000];
	socklen_t len = sizeof(got);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), n;
	char c = 0;

	printf("fresh poll: %x\n", poll_now(fd));
	SHOW(recv(fd, &c, 1, MSG_DONTWAIT));
	SHOW(send(fd, &c, 1, 0));
	SHOW(write(fd, &c, 1));
	SHOW(getpeername(fd, (struct sockaddr *)&got, &len));
	SHOW(accept(fd, NULL, NULL));
	SHOW(listen(fd, 1));
	SHOW(shutdown(fd, SHUT_RD));
	SHOW(sockatmark(fd));
	SHOW(sendto(fd, &c, 1, 0, (struct sockaddr *)&to, 15));
	SHOW(sendto(fd, &c, 1, 0, (struct sockaddr *)&to, 200));
	SHOW(sendto(fd, &c, 1, 0, bad, 16));
	to.sin_family = AF_UNIX;
	SHOW(sendto(fd, &c, 1, 0, (struct sockaddr *)&to, sizeof(to)));
	to = server;
	to.sin_port = 0;
	SHOW(sendto(fd, &c, 1, 0, (struct sockaddr *)&to, sizeof(to)));
	SHOW(sendto(fd, big, 65508, 0, (struct sockaddr *)&server, sizeof(to)));
	SHOW(sendto(fd, big, 70000, 0, (struct sockaddr *)&server, sizeof(to)));
	SHOW(sendto(fd, bad, 10, 0, (struct sockaddr *)&server, sizeof(to)));
	SHOW(sendto(fd, big, 10, MSG_OOB, (struct sockaddr *)&server, sizeof(to)));
	to = server;
	to.sin_addr.s_addr = INADDR_BROADCAST;
	SHOW(sendto(fd, big, 10, 0, (struct sockaddr *)&to, sizeof(to)));
	to = server;
	to.sin_family = AF_UNSPEC;
	SHOW(sendto(fd, "unspec", 6, 0, (struct sockaddr *)&to, sizeof(to)));
	nap_ms(100);
	SHOW(poll_for(fd, POLLIN, 2000));
	SHOW(ioctl(fd, FIONREAD, &n));
	SHOW(n);
	SHOW(recvfrom(fd, big, 4, MSG_PEEK | MSG_TRUNC, (struct sockaddr *)&got, &len));
	printf("from: %u %d %d\n", len, got.sin_family, got.sin_port == server.sin_port);
	SHOW(recv(fd, bad, 100, 0));
	SHOW(recv(fd, big, 100, MSG_DONTWAIT) > 0 || errno == EAGAIN);
	close(fd);
}

static void connected(void)
{
	char buf[3000];
	struct sockaddr_in a = {.sin_family = AF_INET};
	struct iovec iov[3] = {{buf, 1}, {buf + 1, 0}, {buf + 2, 5}};
	socklen_t len = 2;
	int fd = udp_to();
	double t;

	SHOW(send(fd, "", 0, 0));
	SHOW(recv(fd, buf, 10, 0));
	SHOW(write(fd, "", 0));
	SHOW(read(fd, buf, 0));
	SHOW(recv(fd, buf, 10, 0));
	SHOW(send(fd, "abcdef", 6, 0));
	SHOW(recvfrom(fd, buf, 10, 0, (struct sockaddr *)&a, &len));
	printf("cut name: %u %d\n", len, a.sin_family);
	SHOW(send(fd, "abcdef", 6, 0));
	SHOW(recv(fd, buf, 3, MSG_TRUNC));
	SHOW(recv(fd, buf, 3, MSG_DONTWAIT));
	SHOW(send(fd, "abcdef", 6, MSG_MORE));
	SHOW(send(fd, "ghi", 3, 0));
	SHOW(recv(fd, buf, 100, 0));
	SHOW(writev(fd, iov, 3));
	SHOW(readv(fd, iov, 3));
	SHOW(sendto(fd, "x", 1, 0, (struct sockaddr *)&server, sizeof(server)));
	SHOW(recv(fd, buf, 100, 0));
	SHOW(set_timeout(fd, SO_RCVTIMEO, 100));
	t = now_s();
	SHOW(recv(fd, buf, 10, 0));
	show_wait("timeout", t, 0.1);
	SHOW(shutdown(fd, SHUT_RD));
	SHOW(recv(fd, buf, 10, 0));
	SHOW(shutdown(fd, SHUT_WR));
	SHOW(send(fd, "x", 1, MSG_NOSIGNAL));
	pipes = 0;
	SHOW(send(fd, "x", 1, 0));
	SHOW(pipes);
	a.sin_family = AF_UNSPEC;
	SHOW(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	SHOW(getpeername(fd, (struct sockaddr *)&a, &len));
	SHOW(send(fd, "x", 1, 0));
	close(fd);
}

static void many(void)
{
	char buf[4][16];
	struct iovec iov[4];
	struct mmsghdr mm[4];
	int fd = udp_to();

	memset(mm, 0, sizeof(mm));
	for (int i = 0; i < 4; i++) {
		iov[i] = (struct iovec){buf[i], (size_t)i};
		memset(buf[i], 'a' + i, sizeof(buf[i]));
		mm[i].msg_hdr.msg_iov = &iov[i];
		mm[i].msg_hdr.msg_iovlen = 1;
	}
	SHOW(sendmmsg(fd, mm, 4, 0));
	printf("sent: %u %u %u\n", mm[0].msg_len, mm[1].msg_len, mm[3].msg_len);
	nap_ms(100);
	for (int i = 0; i < 4; i++)
		iov[i].iov_len = 2;
	SHOW(recvmmsg(fd, mm, 4, MSG_WAITFORONE, NULL));
	printf("got: %u %u %u %u %x %x\n", mm[0].msg_len, mm[1].msg_len, mm[2].msg_len,
		mm[3].msg_len, (unsigned)mm[2].msg_hdr.msg_flags,
		(unsigned)mm[3].msg_hdr.msg_flags);
	mm[1].msg_hdr.msg_iov = bad;
	SHOW(sendmmsg(fd, mm, 4, 0));
	SHOW(sendmmsg(fd, mm + 1, 3, 0));
	close(fd);
}

static void show_control(struct msghdr *msg)
{
	struct cmsghdr *c;

	printf("control: %zu bytes, flags %x, name %u\n", msg->msg_controllen,
		(unsigned)msg->msg_flags, msg->msg_namelen);
	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		const unsigned char *data = CMSG_DATA(c);
		int time = c->cmsg_level == SOL_SOCKET;

		printf("  level %d type %d len %zu", c->cmsg_level, c->cmsg_type, c->cmsg_len);
		/* Times differ, and so do the numbers of interfaces. */
		for (size_t i = c->cmsg_level == SOL_IP && c->cmsg_type == IP_PKTINFO ? 4 : 0;
			!time && i < c->cmsg_len - CMSG_LEN(0) && i < 32; i++)
			printf(" %02x", data[i]);
		printf("\n");
	}
}

static void control(size_t room)
{
	static const int names[] = {IP_PKTINFO, IP_RECVTTL, IP_RECVTOS};
	char buf[16], space[256] __attribute__((aligned(8)));
	struct iovec iov = {buf, sizeof(buf)};
	struct sockaddr_in from;
	struct msghdr msg = {.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = space,
		.msg_controllen = room};
	int fd = udp_to(), on = 1;

	memset(space, 0xee, sizeof(space));
	for (size_t i = 0; i < 3; i++)
		setsockopt(fd, SOL_IP, names[i], &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on));
	SHOW(send(fd, "hello", 5, 0));
	SHOW(recvmsg(fd, &msg, 0));
	show_control(&msg);
	close(fd);
}

static long send_control(int fd, int level, int type, const void *data, size_t len)
{
	char space[128] __attribute__((aligned(8))) = {0};
	struct iovec iov = {(char *)"ctl", 3};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space};
	struct cmsghdr *c = (struct cmsghdr *)space;

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	msg.msg_controllen = CMSG_SPACE(len);
	return sendmsg(fd, &msg, 0);
}

static void control_sent(void)
{
	struct in_pktinfo info = {0};
	int fd = udp_to(), n = 7;
	uint16_t segment = 1;
	unsigned char tos = 8;
	char big[100] = {0};

	SHOW(send_control(fd, SOL_IP, IP_TTL, &n, 4));
	SHOW(send_control(fd, SOL_IP, IP_TTL, &n, 2));
	n = 0;
	SHOW(send_control(fd, SOL_IP, IP_TTL, &n, 4));
	n = 256;
	SHOW(send_control(fd, SOL_IP, IP_TTL, &n, 4));
	SHOW(send_control(fd, SOL_IP, IP_TOS, &n, 4));
	SHOW(send_control(fd, SOL_IP, IP_TOS, &tos, 1));
	SHOW(send_control(fd, SOL_IP, IP_PKTINFO, &info, sizeof(info)));
	SHOW(send_control(fd, SOL_IP, IP_PKTINFO, &info, 4));
	info.ipi_spec_dst.s_addr = htonl(0x08080808);
	SHOW(send_control(fd, SOL_IP, IP_PKTINFO, &info, sizeof(info)));
	SHOW(send_control(fd, SOL_IP, 99, &n, 4));
	SHOW(send_control(fd, SOL_UDP, UDP_SEGMENT, &segment, 2));
	SHOW(send_control(fd, SOL_UDP, UDP_SEGMENT, &n, 4));
	SHOW(send_control(fd, SOL_UDP, 1, &n, 4));
	SHOW(send_control(fd, SOL_SOCKET, SCM_RIGHTS, big, 4));
	SHOW(send_control(fd, SOL_SOCKET, 99, big, 4));
	SHOW(send_control(fd, 77, 99, big, 4));
	close(fd);
}

static void refused(void)
{
	char buf[64], space[256] __attribute__((aligned(8)));
	struct iovec iov = {buf, sizeof(buf)};
	struct sockaddr_in from, to = server;
	struct msghdr msg = {.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = space,
		.msg_controllen = sizeof(space)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;

	to.sin_port = htons(9);
	SHOW(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	SHOW(send(fd, "abc", 3, 0));
	nap_ms(100);
	printf("refused poll: %x\n", poll_now(fd));
	SHOW(send(fd, "abc", 3, 0));
	SHOW(send(fd, "abc", 3, 0));
	nap_ms(100);
	SHOW(recv(fd, buf, 1, 0));
	SHOW(recv(fd, buf, 1, MSG_DONTWAIT));
	SHOW(setsockopt(fd, SOL_IP, IP_RECVERR, &on, sizeof(on)));
	SHOW(recvmsg(fd, &msg, MSG_ERRQUEUE));
	SHOW(send(fd, "abcd", 4, 0));
	nap_ms(100);
	printf("error poll: %x\n", poll_now(fd));
	SHOW(recvmsg(fd, &msg, MSG_ERRQUEUE));
	show_control(&msg);
	printf("error from: %d %d\n", from.sin_port == to.sin_port,
		from.sin_addr.s_addr == to.sin_addr.s_addr);
	SHOW(error_of(fd));
	SHOW(recvmsg(fd, &msg, MSG_ERRQUEUE));
	close(fd);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	fresh();
	connected();
	many();
	control(256);
	control(CMSG_SPACE(sizeof(struct timeval)) + 20);
	control(20);
	control(8);
	control(0);
	control_sent();
	refused();
	return 0;
}
