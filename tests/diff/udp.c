/* UDP's semantics as a program sees them, call by call. */
#include "tests/diff/show.h"

#include <linux/errqueue.h>
#include <linux/filter.h>
#include <netinet/udp.h>
#include <stdint.h>

static char buf[70000];

static int udp_socket(void)
{
	return socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
}

static int bound(unsigned ip)
{
	int fd = udp_socket();

	bind_to(fd, ip, 0);
	return fd;
}

static void case_sockets(void)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RDM, SOCK_SEQPACKET, 6, 11, 0, -1,
		SOCK_DGRAM | SOCK_NONBLOCK, SOCK_DGRAM | 0x10};
	static const int protocols[] = {0, IPPROTO_TCP, IPPROTO_UDP, 2, 255, 256, 263, -1};

	start_case("socket");
	for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++)
		for (size_t p = 0; p < sizeof(protocols) / sizeof(protocols[0]); p++) {
			int fd = socket(AF_INET, types[t], protocols[p]);

			printf("socket(%d, %d) = %s\n", types[t], protocols[p],
				fd < 0 ? strerrorname_np(errno) : "fd");
			if (fd >= 0)
				close(fd);
		}
	TRY(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
}

static void case_fresh(void)
{
	int fd = udp_socket();

	start_case("fresh");
	POLL(fd);
	show_names(fd);
	TRY(recv(fd, buf, 10, 0));
	TRY(send(fd, "x", 1, 0));
	show_names(fd);
	TRY(listen(fd, 1));
	TRY(accept(fd, NULL, NULL));
	TRY(inq(fd));
	TRY(sockatmark(fd));
	TRY(recv(fd, buf, 10, MSG_ERRQUEUE));
	TRY(recv(fd, buf, 10, MSG_OOB));
	TRY(shutdown(fd, 5));
	TRY(shutdown(fd, SHUT_RD));
	POLL(fd);
	TRY(recv(fd, buf, 10, 0));
	TRY(shutdown(fd, SHUT_WR));
	POLL(fd);
	TRY(send_to(fd, LOOPBACK, 9, "x", 1, 0));
	close(fd);
}

static void case_bind(void)
{
	int a = udp_socket(), b = udp_socket();
	struct sockaddr_in in = address(LOOPBACK, 0);
	struct sockaddr un = {.sa_family = AF_UNSPEC};
	int port;

	start_case("bind");
	TRY(bind(a, (struct sockaddr *)&in, 15));
	TRY(bind(a, (struct sockaddr *)&in, 4));
	in.sin_family = AF_INET6;
	TRY(bind(a, (struct sockaddr *)&in, sizeof(in)));
	TRY(bind_to(a, 0x01020304, 0));
	TRY(bind(a, &un, sizeof(un)));
	show_names(a);
	TRY(bind_to(a, 0, 0));
	port = port_of(a);
	TRY(bind_to(b, 0, port));
	TRY(bind_to(b, LOOPBACK, port));
	TRY(set(b, SOL_SOCKET, SO_REUSEADDR, 1));
	TRY(bind_to(b, LOOPBACK, port));
	TRY(set(a, SOL_SOCKET, SO_REUSEADDR, 1));
	TRY(bind_to(b, LOOPBACK, port));
	show_names(b);
	close(a);
	close(b);
	a = bound(LOOPBACK);
	b = udp_socket();
	TRY(bind_to(b, 0x7f000002, port_of(a)));
	show_names(b);
	TRY(bind_to(b, 0x7f000003, 0));
	close(a);
	close(b);
	a = udp_socket();
	TRY(bind_to(a, 0xe0000005, 0));
	show_names(a);
	close(a);
	a = udp_socket();
	TRY(bind_to(a, 0xffffffff, 0));
	show_names(a);
	close(a);
	a = udp_socket();
	TRY(set(a, IPPROTO_IP, IP_FREEBIND, 1));
	TRY(bind_to(a, 0x01020304, 0));
	show_names(a);
	close(a);
	a = udp_socket();
	TRY(set(a, IPPROTO_IP, 24, 1)); /* IP_BIND_ADDRESS_NO_PORT */
	TRY(bind_to(a, LOOPBACK, 0));
	show_names(a);
	TRY(bind_to(a, LOOPBACK, 0));
	close(a);
}

static void case_transfer(void)
{
	int a = bound(LOOPBACK), b = bound(LOOPBACK);
	struct sockaddr_in from = {0};
	socklen_t len = sizeof(from);

	start_case("transfer");
	TRY(send_to(a, LOOPBACK, port_of(b), "hello", 5, 0));
	POLL(b);
	TRY(inq(b));
	TRY(recv(b, buf, 3, MSG_PEEK));
	TRY(recv(b, buf, 3, MSG_PEEK | MSG_TRUNC));
	TRY(recvfrom(b, buf, 100, 0, (struct sockaddr *)&from, &len));
	show_bytes("got", buf, 5);
	show_addr("from", &from, len);
	POLL(b);
	TRY(recv(b, buf, 10, 0));
	TRY(send_to(a, LOOPBACK, port_of(b), "0123456789", 10, 0));
	TRY(recv(b, buf, 4, MSG_TRUNC));
	TRY(recv(b, buf, 4, 0));
	TRY(send_to(a, LOOPBACK, port_of(b), "", 0, 0));
	TRY(send_to(a, LOOPBACK, port_of(b), "z", 1, 0));
	POLL(b);
	TRY(inq(b));
	TRY(recv(b, buf, 10, 0));
	TRY(inq(b));
	TRY(recv(b, buf, 0, 0));
	TRY(recv(b, buf, 10, 0));
	/* Small room for the address. */
	TRY(send_to(a, LOOPBACK, port_of(b), "s", 1, 0));
	memset(&from, 0, sizeof(from));
	len = 4;
	TRY(recvfrom(b, buf, 10, 0, (struct sockaddr *)&from, &len));
	printf("len %d family %d\n", (int)len, from.sin_family);
	TRY(send_to(a, LOOPBACK, port_of(b), buf, 65507, 0));
	TRY(recv(b, buf, sizeof(buf), 0));
	close(a);
	close(b);
}

static void case_send_errors(void)
{
	int a = udp_socket();
	struct sockaddr_in to = address(LOOPBACK, 9);

	start_case("send errors");
	TRY(send_to(a, LOOPBACK, 0, "x", 1, 0));
	TRY(send_to(a, LOOPBACK, 9, buf, 65508, 0));
	TRY(send_to(a, LOOPBACK, 9, buf, 65536, 0));
	TRY(send_to(a, LOOPBACK, 9, "x", 1, MSG_OOB));
	TRY(sendto(a, "x", 1, 0, (struct sockaddr *)&to, 8));
	to.sin_family = AF_INET6;
	TRY(sendto(a, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)));
	to.sin_family = AF_UNSPEC;
	TRY(sendto(a, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)));
	to.sin_family = 77;
	TRY(sendto(a, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)));
	TRY(send_to(a, 0xffffffff, 9, "x", 1, 0));
	TRY(send_to(a, 0x0a0000ff, 9, "x", 1, 0));
	TRY(connect_to(a, 0xffffffff, 9));
	TRY(set(a, SOL_SOCKET, SO_BROADCAST, 1));
	TRY(send_to(a, 0x0a0000ff, 9, "x", 1, 0));
	TRY(connect_to(a, 0x0a0000ff, 9));
	show_names(a);
	close(a);
	a = udp_socket();
	for (int mode = IP_PMTUDISC_DONT; mode <= IP_PMTUDISC_OMIT; mode++) {
		TRY(set(a, IPPROTO_IP, IP_MTU_DISCOVER, mode));
		TRY(send_to(a, 0x0a000063, 9, buf, 1472, 0));
		TRY(send_to(a, 0x0a000063, 9, buf, 1473, 0));
		TRY(send_to(a, 0x0a000063, 9, buf, 2000, 0));
	}
	close(a);
}

static void case_connect(void)
{
	int a = udp_socket(), b = bound(LOOPBACK), c = bound(LOOPBACK);
	struct sockaddr_in in = address(LOOPBACK, 9);

	start_case("connect");
	TRY(connect(a, (struct sockaddr *)&in, 1));
	TRY(connect(a, (struct sockaddr *)&in, 8));
	in.sin_family = AF_INET6;
	TRY(connect(a, (struct sockaddr *)&in, sizeof(in)));
	TRY(connect_to(a, LOOPBACK, port_of(b)));
	show_names(a);
	POLL(a);
	TRY(send(a, "x", 1, 0));
	TRY(recv(b, buf, 10, 0));
	/* From others nothing comes in. */
	TRY(send_to(c, LOOPBACK, port_of(a), "no", 2, 0));
	TRY(recv(a, buf, 10, 0));
	TRY(send_to(b, LOOPBACK, port_of(a), "yes", 3, 0));
	TRY(recv(a, buf, 10, 0));
	TRY(send_to(a, LOOPBACK, port_of(c), "to c", 4, 0));
	TRY(recv(c, buf, 10, 0));
	TRY(connect_to(a, LOOPBACK, port_of(c)));
	TRY(send(a, "again", 5, 0));
	TRY(recv(c, buf, 10, 0));
	TRY(disconnect(a));
	show_names(a);
	TRY(send(a, "x", 1, 0));
	TRY(disconnect(b));
	show_names(b);
	TRY(connect_to(b, 0, port_of(c)));
	show_names(b);
	TRY(connect_to(c, OWN, port_of(b)));
	show_names(c);
	TRY(connect_to(b, LOOPBACK, 0));
	show_names(b);
	close(a);
	a = udp_socket();
	TRY(connect_to(a, OWN, 9));
	show_names(a);
	TRY(opt(a, IPPROTO_IP, IP_MTU));
	TRY(disconnect(a));
	TRY(opt(a, IPPROTO_IP, IP_MTU));
	close(a);
	close(b);
	close(c);
}

static void case_refused(void)
{
	int a = udp_socket(), closed = bound(LOOPBACK), port = port_of(closed);

	close(closed);
	start_case("refused");
	TRY(connect_to(a, LOOPBACK, port));
	TRY(send(a, "x", 1, 0));
	POLL(a);
	TRY(recv(a, buf, 10, 0));
	POLL(a);
	TRY(send(a, "x", 1, 0));
	settle();
	TRY(send(a, "x", 1, 0));
	TRY(send(a, "x", 1, 0));
	settle();
	SO_ERR(a);
	SO_ERR(a);
	TRY(send(a, "x", 1, 0));
	settle();
	TRY(disconnect(a));
	SO_ERR(a);
	TRY(send_to(a, LOOPBACK, port, "x", 1, 0));
	POLL(a);
	close(a);
}

static void show_errqueue(int fd, size_t room)
{
	union {
		char bytes[512];
		struct cmsghdr align;
	} control;
	struct sockaddr_in name = {0};
	struct iovec iov = {.iov_base = buf, .iov_len = room};
	struct msghdr msg = {.msg_name = &name,
		.msg_namelen = sizeof(name),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	long n = recvmsg(fd, &msg, MSG_ERRQUEUE);

	show_result("recvmsg MSG_ERRQUEUE", n);
	if (n < 0)
		return;
	printf("  flags %x control %zu\n", (unsigned)msg.msg_flags, msg.msg_controllen);
	show_addr("  name", &name, msg.msg_namelen);
	show_bytes("  data", buf, n);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		struct sock_extended_err e;
		struct sockaddr_in o;

		printf("  cmsg %d/%d len %zu\n", c->cmsg_level, c->cmsg_type, c->cmsg_len);
		if (c->cmsg_type != IP_RECVERR)
			continue;
		memcpy(&e, CMSG_DATA(c), sizeof(e));
		memcpy(&o, CMSG_DATA(c) + sizeof(e), sizeof(o));
		printf("  errno %s origin %u type %u code %u pad %u info %u data %u offender %u %s "
		       "%u\n",
			strerrorname_np((int)e.ee_errno), e.ee_origin, e.ee_type, e.ee_code,
			e.ee_pad, e.ee_info, e.ee_data, o.sin_family, inet_ntoa(o.sin_addr),
			o.sin_port);
	}
}

static void case_error_queue(void)
{
	int a = udp_socket(), closed = bound(LOOPBACK), port = port_of(closed);

	close(closed);
	start_case("error queue");
	TRY(set(a, IPPROTO_IP, IP_RECVERR, 1));
	show_errqueue(a, 100);
	TRY(send_to(a, LOOPBACK, port, "first", 5, 0));
	POLL(a);
	TRY(recv(a, buf, 10, 0));
	POLL(a);
	show_errqueue(a, 3);
	POLL(a);
	TRY(send_to(a, LOOPBACK, port, "one", 3, 0));
	settle();
	TRY(send_to(a, LOOPBACK, port, "two", 3, 0));
	TRY(send_to(a, LOOPBACK, port, "three", 5, 0));
	settle();
	show_errqueue(a, 100);
	SO_ERR(a);
	show_errqueue(a, 100);
	show_errqueue(a, 100);
	SO_ERR(a);
	TRY(send_to(a, LOOPBACK, port, "gone", 4, 0));
	settle();
	TRY(set(a, IPPROTO_IP, IP_RECVERR, 0));
	POLL(a);
	show_errqueue(a, 100);
	SO_ERR(a);
	TRY(set(a, IPPROTO_IP, IP_RECVERR, 1));
	TRY(set(a, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO));
	TRY(send_to(a, 0x0a000063, 9, buf, 2000, 0));
	POLL(a);
	show_errqueue(a, 100);
	TRY(set(a, IPPROTO_IP, IP_PKTINFO, 1));
	TRY(set(a, IPPROTO_IP, IP_RECVTTL, 1));
	TRY(set(a, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT));
	TRY(send_to(a, LOOPBACK, port, "info", 4, 0));
	settle();
	show_errqueue(a, 100);
	close(a);
}

static void show_cmsg(const struct cmsghdr *c)
{
	struct in_pktinfo info;
	struct sockaddr_in to;
	int value = 0;
	size_t len = c->cmsg_len - CMSG_LEN(0);

	printf("  cmsg %d/%d len %zu", c->cmsg_level, c->cmsg_type, c->cmsg_len);
	if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		printf(" ifindex %d addr %s", info.ipi_ifindex, inet_ntoa(info.ipi_addr));
		printf(" spec %s", inet_ntoa(info.ipi_spec_dst));
	} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_ORIGDSTADDR) {
		memcpy(&to, CMSG_DATA(c), sizeof(to));
		printf(" to %s %s", inet_ntoa(to.sin_addr), to.sin_port ? "+" : "0");
	} else if (c->cmsg_level != SOL_SOCKET && len <= sizeof(value)) {
		memcpy(&value, CMSG_DATA(c), len);
		printf(" value %d", value);
	}
	printf("\n");
}

static void show_recvmsg(int fd, size_t room, size_t control_room, int flags)
{
	union {
		char bytes[512];
		struct cmsghdr align;
	} control;
	struct sockaddr_in name = {0};
	struct iovec iov = {.iov_base = buf, .iov_len = room};
	struct msghdr msg = {.msg_name = &name,
		.msg_namelen = sizeof(name),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control_room ? &control : NULL,
		.msg_controllen = control_room};
	long n;

	memset(&control, 0, sizeof(control));
	n = recvmsg(fd, &msg, flags);
	show_result("recvmsg", n);
	if (n < 0)
		return;
	printf("  flags %x control %zu name %d\n", (unsigned)msg.msg_flags, msg.msg_controllen,
		(int)msg.msg_namelen);
	for (struct cmsghdr *c = control_room ? CMSG_FIRSTHDR(&msg) : NULL; c;
		c = CMSG_NXTHDR(&msg, c))
		show_cmsg(c);
}

static void case_received_metadata(void)
{
	static const int names[] = {IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR};
	int a = bound(LOOPBACK), b = bound(0);
	int port = port_of(b);

	start_case("received metadata");
	TRY(set(a, IPPROTO_IP, IP_TOS, 0x28));
	TRY(set(a, IPPROTO_IP, IP_TTL, 17));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		set(b, IPPROTO_IP, names[i], 1);
		send_to(a, LOOPBACK, port, "meta", 4, 0);
		settle();
		show_recvmsg(b, 100, 512, 0);
	}
	TRY(set(b, SOL_SOCKET, SO_TIMESTAMP, 1));
	send_to(a, LOOPBACK, port, "meta", 4, 0);
	settle();
	show_recvmsg(b, 2, 512, MSG_PEEK);
	show_recvmsg(b, 100, 0, MSG_PEEK);
	show_recvmsg(b, 100, 4, MSG_PEEK);
	show_recvmsg(b, 100, 20, MSG_PEEK);
	show_recvmsg(b, 100, 40, MSG_PEEK);
	show_recvmsg(b, 100, 60, MSG_TRUNC);
	TRY(set(b, SOL_SOCKET, SO_TIMESTAMPNS, 1));
	send_to(a, OWN, port, "meta", 4, 0);
	settle();
	show_recvmsg(b, 100, 512, 0);
	close(a);
	close(b);
}

static long send_with(int fd, int port, int level, int type, const void *value, size_t len)
{
	union {
		char bytes[CMSG_SPACE(64)];
		struct cmsghdr align;
	} control = {{0}};
	struct sockaddr_in to = address(LOOPBACK, port);
	struct iovec iov = {.iov_base = (char[]){"metadata"}, .iov_len = 8};
	struct msghdr msg = {.msg_name = &to,
		.msg_namelen = sizeof(to),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(len)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), value, len);
	return sendmsg(fd, &msg, 0);
}

static void case_sent_metadata(void)
{
	int a = udp_socket(), b = bound(0), port = port_of(b);
	struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(0x7f000009)};
	int v;

	start_case("sent metadata");
	set(b, IPPROTO_IP, IP_PKTINFO, 1);
	set(b, IPPROTO_IP, IP_RECVTTL, 1);
	set(b, IPPROTO_IP, IP_RECVTOS, 1);
	TRY(send_with(a, port, IPPROTO_IP, IP_TTL, (v = 33, &v), 4));
	TRY(send_with(a, port, IPPROTO_IP, IP_TTL, (v = 0, &v), 4));
	TRY(send_with(a, port, IPPROTO_IP, IP_TTL, (v = 256, &v), 4));
	TRY(send_with(a, port, IPPROTO_IP, IP_TOS, (v = 0x10, &v), 4));
	TRY(send_with(a, port, IPPROTO_IP, IP_TOS, (v = 0x10, &v), 1));
	TRY(send_with(a, port, IPPROTO_IP, IP_TOS, (v = 300, &v), 4));
	TRY(send_with(a, port, IPPROTO_IP, 99, (v = 1, &v), 4));
	TRY(send_with(a, port, SOL_SOCKET, 99, (v = 1, &v), 4));
	TRY(send_with(a, port, 99, 1, (v = 1, &v), 4));
	TRY(send_with(a, port, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info)));
	info.ipi_spec_dst.s_addr = htonl(0x01020304);
	TRY(send_with(a, port, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info)));
	TRY(send_with(a, port, IPPROTO_UDP, UDP_SEGMENT, (v = 3, &v), 2));
	TRY(send_with(a, port, IPPROTO_UDP, UDP_SEGMENT, (v = 3, &v), 4));
	settle();
	for (int i = 0; i < 8; i++)
		show_recvmsg(b, 100, 512, 0);
	close(a);
	close(b);
}

static void case_segment_and_cork(void)
{
	int a = udp_socket(), b = bound(LOOPBACK), port = port_of(b);

	start_case("segment and cork");
	TRY(set(a, IPPROTO_UDP, UDP_SEGMENT, 4));
	TRY(opt(a, IPPROTO_UDP, UDP_SEGMENT));
	TRY(send_to(a, LOOPBACK, port, "aaaabbbbcc", 10, 0));
	for (int i = 0; i < 4; i++)
		TRY(recv(b, buf, 100, 0));
	TRY(send_to(a, LOOPBACK, port, buf, 4 * 128 + 1, 0));
	TRY(set(a, IPPROTO_UDP, UDP_SEGMENT, 0));
	TRY(send_to(a, LOOPBACK, port, "one", 3, MSG_MORE));
	TRY(recv(b, buf, 100, 0));
	TRY(send(a, "two", 3, 0));
	TRY(recv(b, buf, 100, 0));
	show_bytes("got", buf, 6);
	TRY(set(a, IPPROTO_UDP, UDP_CORK, 1));
	TRY(send_to(a, LOOPBACK, port, "a", 1, 0));
	TRY(send_to(a, LOOPBACK, port, "b", 1, 0));
	TRY(recv(b, buf, 100, 0));
	TRY(set(a, IPPROTO_UDP, UDP_CORK, 0));
	TRY(recv(b, buf, 100, 0));
	show_bytes("got", buf, 2);
	TRY(send_to(a, LOOPBACK, port, buf, 60000, MSG_MORE));
	TRY(send_to(a, LOOPBACK, port, buf, 60000, 0));
	TRY(recv(b, buf, sizeof(buf), 0));
	close(a);
	close(b);
}

static void case_shutdown(void)
{
	int a = udp_socket(), b = bound(LOOPBACK);

	start_case("shutdown");
	connect_to(a, LOOPBACK, port_of(b));
	connect_to(b, LOOPBACK, port_of(a));
	TRY(send(b, "x", 1, 0));
	settle();
	TRY(shutdown(a, SHUT_RD));
	POLL(a);
	TRY(recv(a, buf, 10, 0));
	TRY(recv(a, buf, 10, 0));
	TRY(fcntl(a, F_SETFL, 0));
	TRY(recv(a, buf, 10, 0));
	TRY(recv(a, buf, 10, MSG_DONTWAIT));
	TRY(send(b, "y", 1, 0));
	settle();
	TRY(recv(a, buf, 10, 0));
	TRY(send(a, "z", 1, 0));
	TRY(shutdown(a, SHUT_WR));
	TRY(send(a, "z", 1, 0));
	POLL(a);
	TRY(disconnect(a));
	POLL(a);
	close(a);
	close(b);
}

static void case_timeout(void)
{
	int a = socket(AF_INET, SOCK_DGRAM, 0);
	struct timeval tv = {.tv_usec = 50000};

	start_case("timeout");
	bind_to(a, LOOPBACK, 0);
	TRY(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	TRY(recv(a, buf, 10, 0));
	TRY(recv(a, buf, 10, MSG_PEEK));
	TRY(recv(a, buf, 10, MSG_WAITALL));
	close(a);
}

static void case_reuseport(void)
{
	int sk[3], hits[3] = {0}, port = 0, total = 0;

	start_case("reuseport");
	for (int i = 0; i < 3; i++) {
		sk[i] = udp_socket();
		set(sk[i], SOL_SOCKET, SO_REUSEPORT, 1);
		TRY(bind_to(sk[i], LOOPBACK, port));
		port = port_of(sk[i]);
	}
	for (int i = 0; i < 300; i++) {
		int a = udp_socket();

		send_to(a, LOOPBACK, port, "x", 1, 0);
		close(a);
	}
	settle();
	for (int i = 0; i < 3; i++) {
		while (recv(sk[i], buf, 10, 0) == 1)
			hits[i]++;
		total += hits[i];
		printf("socket %d has its share: %d\n", i, hits[i] > 50 && hits[i] < 150);
		close(sk[i]);
	}
	printf("total %d\n", total);
}

static void case_multicast(void)
{
	struct ip_mreqn m = {
		.imr_multiaddr.s_addr = htonl(0xe1020304), .imr_address.s_addr = htonl(OWN)};
	int a = udp_socket(), b = bound(0), c = udp_socket(), port = port_of(b);

	start_case("multicast");
	TRY(setsockopt(b, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof(m)));
	TRY(setsockopt(b, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)));
	TRY(setsockopt(b, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)));
	set(b, SOL_SOCKET, SO_REUSEADDR, 1);
	set(c, SOL_SOCKET, SO_REUSEADDR, 1);
	TRY(bind_to(c, 0xe1020304, port));
	TRY(set(b, IPPROTO_IP, IP_PKTINFO, 1));
	TRY(setsockopt(a, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m)));
	TRY(send_to(a, 0xe1020304, port, "group", 5, 0));
	settle();
	TRY(recv(c, buf, 100, 0));
	TRY(recv(b, buf, 100, 0));
	TRY(set(a, IPPROTO_IP, IP_MULTICAST_LOOP, 0));
	TRY(send_to(a, 0xe1020304, port, "group", 5, 0));
	settle();
	TRY(recv(b, buf, 100, 0));
	TRY(set(a, IPPROTO_IP, IP_MULTICAST_LOOP, 1));
	TRY(set(c, IPPROTO_IP, IP_MULTICAST_ALL, 0));
	TRY(send_to(a, 0xe1020304, port, "group", 5, 0));
	settle();
	TRY(recv(b, buf, 100, 0));
	TRY(recv(c, buf, 100, 0));
	TRY(set(a, IPPROTO_IP, IP_MULTICAST_TTL, 0));
	TRY(send_to(a, 0xe1020304, port, "group", 5, 0));
	settle();
	TRY(recv(b, buf, 100, 0));
	TRY(connect_to(a, 0xe1020304, port));
	show_names(a);
	m.imr_multiaddr.s_addr = htonl(0x0a000001);
	TRY(setsockopt(b, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)));
	m.imr_multiaddr.s_addr = htonl(0xe1020304);
	m.imr_ifindex = 99;
	TRY(setsockopt(b, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)));
	m.imr_ifindex = 0;
	TRY(setsockopt(b, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof(m)));
	TRY(setsockopt(b, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof(m)));
	close(a);
	close(b);
	close(c);
}

static int source_opt(int fd, int name, unsigned source)
{
	struct ip_mreq_source m = {
		.imr_multiaddr.s_addr = htonl(0xe1020305),
		.imr_interface.s_addr = htonl(OWN),
		.imr_sourceaddr.s_addr = htonl(source),
	};

	return setsockopt(fd, IPPROTO_IP, name, &m, sizeof(m));
}

static int group_opt(int fd, int name, unsigned group)
{
	struct group_req r = {.gr_interface = 0};
	struct sockaddr_in a = address(group, 0);

	memcpy(&r.gr_group, &a, sizeof(a));
	return setsockopt(fd, IPPROTO_IP, name, &r, sizeof(r));
}

static void case_sources(void)
{
	int b = bound(0);

	start_case("sources");
	TRY(source_opt(b, IP_BLOCK_SOURCE, 0x0a000001));
	TRY(source_opt(b, IP_DROP_SOURCE_MEMBERSHIP, 0x0a000001));
	TRY(source_opt(b, IP_ADD_SOURCE_MEMBERSHIP, 0x0a000001));
	TRY(source_opt(b, IP_ADD_SOURCE_MEMBERSHIP, 0x0a000001));
	TRY(source_opt(b, IP_ADD_SOURCE_MEMBERSHIP, 0x0a000003));
	TRY(source_opt(b, IP_BLOCK_SOURCE, 0x0a000001));
	TRY(source_opt(b, IP_DROP_SOURCE_MEMBERSHIP, 0x0a000009));
	TRY(source_opt(b, IP_DROP_SOURCE_MEMBERSHIP, 0x0a000003));
	TRY(source_opt(b, IP_DROP_SOURCE_MEMBERSHIP, 0x0a000001));
	TRY(source_opt(b, IP_DROP_SOURCE_MEMBERSHIP, 0x0a000001));
	TRY(group_opt(b, MCAST_JOIN_GROUP, 0xe1020305));
	TRY(group_opt(b, MCAST_JOIN_GROUP, 0xe1020305));
	TRY(source_opt(b, IP_BLOCK_SOURCE, 0x0a000001));
	TRY(source_opt(b, IP_BLOCK_SOURCE, 0x0a000001));
	TRY(source_opt(b, IP_UNBLOCK_SOURCE, 0x0a000001));
	TRY(source_opt(b, IP_UNBLOCK_SOURCE, 0x0a000001));
	TRY(source_opt(b, IP_ADD_SOURCE_MEMBERSHIP, 0x0a000001));
	TRY(group_opt(b, MCAST_LEAVE_GROUP, 0xe1020305));
	TRY(group_opt(b, MCAST_LEAVE_GROUP, 0xe1020305));
	for (unsigned i = 0; i < 22; i++)
		if (group_opt(b, MCAST_JOIN_GROUP, 0xe1030000 + i) < 0) {
			printf("group %u: %s\n", i, strerrorname_np(errno));
			break;
		}
	close(b);
}

static void case_many(void)
{
	struct mmsghdr m[4] = {0};
	struct iovec iov[4];
	struct sockaddr_in to;
	char in[4][8];
	int a = udp_socket(), b = bound(LOOPBACK);

	start_case("sendmmsg and recvmmsg");
	to = address(LOOPBACK, port_of(b));
	for (int i = 0; i < 4; i++) {
		iov[i] = (struct iovec){.iov_base = (char[]){"abcd"}, .iov_len = (size_t)i + 1};
		m[i].msg_hdr = (struct msghdr){.msg_name = &to,
			.msg_namelen = sizeof(to),
			.msg_iov = &iov[i],
			.msg_iovlen = 1};
	}
	TRY(sendmmsg(a, m, 4, 0));
	for (int i = 0; i < 4; i++)
		printf("%u ", m[i].msg_len);
	printf("\n");
	settle();
	for (int i = 0; i < 4; i++) {
		iov[i] = (struct iovec){.iov_base = in[i], .iov_len = 3};
		m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
	TRY(recvmmsg(b, m, 3, 0, NULL));
	for (int i = 0; i < 3; i++)
		printf("%u/%x ", m[i].msg_len, (unsigned)m[i].msg_hdr.msg_flags);
	printf("\n");
	TRY(recvmmsg(b, m, 4, 0, NULL));
	printf("%u/%x\n", m[0].msg_len, (unsigned)m[0].msg_hdr.msg_flags);
	TRY(recvmmsg(b, m, 4, 0, NULL));
	TRY(sendmmsg(a, m, 0, 0));
	m[1].msg_hdr.msg_name = &(struct sockaddr_in){.sin_family = AF_INET};
	m[1].msg_hdr.msg_namelen = sizeof(to);
	m[0].msg_hdr.msg_name = &to;
	m[0].msg_hdr.msg_namelen = sizeof(to);
	TRY(sendmmsg(a, m, 2, 0));
	TRY(writev(a, iov, 2));
	connect_to(a, LOOPBACK, port_of(b));
	TRY(writev(a, iov, 2));
	TRY(write(a, "w", 1));
	TRY(write(a, "", 0));
	settle();
	TRY(readv(b, iov, 4));
	TRY(readv(b, iov, 4));
	TRY(read(b, buf, 100));
	TRY(read(b, buf, 100));
	TRY(read(b, buf, 100));
	close(a);
	close(b);
}

/* volatile keeps the compiler from warning of what is meant. */
static void case_bad_pointers(void)
{
	int a = udp_socket(), b = bound(LOOPBACK), port = port_of(b);
	char *volatile hidden = (char *)(uintptr_t)8, *bad = hidden;
	volatile int negative = -1, many = 1025;
	struct iovec iov = {.iov_base = bad, .iov_len = 4};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct sockaddr_in to = address(LOOPBACK, port);

	start_case("bad pointers");
	connect_to(a, LOOPBACK, port);
	TRY(send(a, bad, 4, 0));
	TRY(send(a, "good", 4, 0));
	settle();
	TRY(recv(b, bad, 4, 0));
	TRY(recv(b, buf, 4, 0)); /* the datagram went with the failed copy */
	TRY(sendmsg(a, &msg, 0));
	TRY(sendmsg(a, (struct msghdr *)bad, 0));
	msg.msg_iovlen = 1025;
	TRY(sendmsg(a, &msg, 0));
	msg.msg_iovlen = 0;
	TRY(sendmsg(a, &msg, 0));
	TRY(recv(b, buf, 4, 0));
	TRY(sendto(a, "x", 1, 0, (struct sockaddr *)bad, sizeof(to)));
	TRY(sendto(a, "x", 1, 0, (struct sockaddr *)&to, 0x7fffffff));
	TRY(bind(a, (struct sockaddr *)bad, 16));
	TRY(connect(a, (struct sockaddr *)bad, 16));
	TRY(getsockname(a, (struct sockaddr *)bad, &(socklen_t){16}));
	TRY(getsockname(a, (struct sockaddr *)&to, (socklen_t *)bad));
	TRY(getsockname(a, (struct sockaddr *)&to, &(socklen_t){(socklen_t)-1}));
	TRY(getsockopt(a, SOL_SOCKET, SO_TYPE, bad, &(socklen_t){4}));
	TRY(getsockopt(a, SOL_SOCKET, SO_TYPE, buf, (socklen_t *)bad));
	TRY(setsockopt(a, SOL_SOCKET, SO_BROADCAST, bad, 4));
	TRY(ioctl(a, FIONREAD, bad));
	TRY(writev(a, (struct iovec *)bad, 1));
	TRY(readv(b, &iov, negative));
	TRY(readv(b, &iov, many));
	TRY(readv(b, &iov, 0));
	TRY(recvmmsg(b, (struct mmsghdr *)bad, 1, MSG_DONTWAIT, NULL));
	close(a);
	close(b);
}

static void case_filter(void)
{
	/* Keeps one byte of the payload when that is 'y'. */
	struct sock_filter program[] = {{0x30, 0, 0, 8}, {0x15, 0, 1, 'y'}, {0x06, 0, 0, 9}, {0x06, 0, 0, 0}};
	struct sock_filter endless[] = {{0x05, 0, 0, 0xffffffff}, {0x06, 0, 0, 0}}, got[8] = {{0}};
	struct sock_fprog good = {.len = 4, .filter = program}, bad = {.len = 2, .filter = endless};
	int a = udp_socket(), b = bound(LOOPBACK), port = port_of(b);
	socklen_t len = 8;

	start_case("filter");
	TRY(setsockopt(b, SOL_SOCKET, SO_ATTACH_FILTER, &bad, sizeof(bad)));
	TRY(setsockopt(b, SOL_SOCKET, SO_ATTACH_FILTER, &good, 4));
	TRY(setsockopt(b, SOL_SOCKET, SO_ATTACH_FILTER, &good, sizeof(good)));
	TRY(getsockopt(b, SOL_SOCKET, SO_GET_FILTER, got, &len));
	printf("len %d code %d\n", (int)len, got[1].code);
	TRY(send_to(a, LOOPBACK, port, "no", 2, 0));
	TRY(send_to(a, LOOPBACK, port, "yes", 3, 0));
	settle();
	TRY(recv(b, buf, 10, 0));
	TRY(recv(b, buf, 10, 0));
	TRY(set(b, SOL_SOCKET, SO_LOCK_FILTER, 1));
	TRY(set(b, SOL_SOCKET, SO_DETACH_FILTER, 0));
	TRY(set(b, SOL_SOCKET, SO_LOCK_FILTER, 0));
	close(a);
	close(b);
}

static void case_broadcast(void)
{
	int a = udp_socket(), b = bound(0), c = bound(OWN), port = port_of(b);

	start_case("broadcast");
	TRY(set(a, SOL_SOCKET, SO_BROADCAST, 1));
	TRY(set(b, IPPROTO_IP, IP_PKTINFO, 1));
	TRY(send_to(a, 0x0a0000ff, port, "subnet", 6, 0));
	settle();
	show_recvmsg(b, 100, 512, 0);
	TRY(send_to(a, 0xffffffff, port, "all", 3, 0));
	settle();
	show_recvmsg(b, 100, 512, 0);
	TRY(send_to(a, 0xffffffff, port_of(c), "other", 5, 0));
	settle();
	TRY(recv(c, buf, 10, 0)); /* bound to the address, so not for it */
	TRY(connect_to(a, 0xffffffff, port));
	show_names(a);
	close(a);
	close(b);
	close(c);
}

static void case_buffer_full(void)
{
	int a = udp_socket(), b = bound(LOOPBACK), got = 0;

	start_case("receive buffer full");
	TRY(set(b, SOL_SOCKET, SO_RCVBUF, 1));
	for (int i = 0; i < 100; i++)
		send_to(a, LOOPBACK, port_of(b), "x", 1, 0);
	settle();
	while (recv(b, buf, 10, 0) == 1)
		got++;
	printf("some came, not all: %d\n", got > 0 && got < 100);
	close(a);
	close(b);
}

int main(void)
{
	program_begins();
	case_sockets();
	case_fresh();
	case_bind();
	case_transfer();
	case_send_errors();
	case_connect();
	case_refused();
	case_error_queue();
	case_received_metadata();
	case_sent_metadata();
	case_segment_and_cork();
	case_shutdown();
	case_timeout();
	case_reuseport();
	case_multicast();
	case_sources();
	case_many();
	case_bad_pointers();
	case_filter();
	case_broadcast();
	case_buffer_full();
	return 0;
}
