/* UDP sockets: sending and receiving, errors, metadata, segmentation, corking, groups. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "stack/checksum.h"
#include "stack/linux.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"
#include "tests/lib/sock_lib.h"

enum { LO = 0x7f000001, GROUP = 0xe1020304, BROADCAST = 0x0a0000ff };

static struct stack *s;
static ref a, b; /* b is bound to *:5000 */
static u8 buf[70000], frame[NET_FRAME_MAX];
static struct plan plan;

static void setup(void)
{
	s = engine_new_ready(NULL);
	a = sock_lib_open(s, LX_SOCK_DGRAM);
	b = sock_lib_open(s, LX_SOCK_DGRAM);
	ck_assert_int_eq(sock_lib_bind(s, b, 0, 5000), 0);
}

static void teardown(void)
{
	engine_free(s);
}

static void set(ref sk, int level, int name, int value)
{
	ck_assert_int_eq(sock_lib_set(s, sk, level, name, value), 0);
}

/* The next frame must be UDP to the port; returns its payload's length and leaves the payload in
 * buf. */
static u32 sent_to(u16 port)
{
	u32 len = engine_frame_out(s, frame, NULL);
	u32 ip_len;

	ck_assert_uint_ge(len, 42);
	ip_len = get16(frame + 16);
	ck_assert_uint_eq(frame[23], PROTO_UDP);
	ck_assert_uint_eq(get16(frame + 36), port);
	ck_assert_uint_eq(get16(frame + 38), ip_len - 20);
	memcpy(buf, frame + 42, ip_len - 28);
	return ip_len - 28;
}

static void from_peer(u16 sport, u16 dport, const void *data, u32 len)
{
	u32 n = net_udp(frame, &(struct net_ip4){0}, sport, dport, data, len);

	ck_assert(engine_frame_in(s, frame, n));
}

START_TEST(udp_over_loopback)
{
	ck_assert_int_eq(sock_lib_send(s, a, LO, 5000, "hello", 5, 0), 5);
	ck_assert_uint_eq(sock_poll(s, b), EV_IN | EV_OUT);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, sizeof(buf), 0, &plan), 5);
	ck_assert_mem_eq(buf, "hello", 5);
	ck_assert_uint_eq(plan.from.port, sock_lib_port(s, a));
	ck_assert_uint_eq(addr_get4(&plan.from.addr), LO);
	ck_assert_uint_eq(addr_get4(&plan.to.addr), LO);
	ck_assert_int_eq(plan.meta.ttl, 64);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, sizeof(buf), 0, NULL), -EAGAIN);
	ck_assert_uint_eq(sock_poll(s, b), EV_OUT);
	ck_assert_uint_eq(sock_get(s, b)->rx_charged, 0);
}
END_TEST

START_TEST(udp_to_own_address)
{
	ck_assert_int_eq(sock_lib_send(s, a, NET_HOST, 5000, "x", 1, 0), 1);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, &plan), 1);
	ck_assert_uint_eq(addr_get4(&plan.from.addr), NET_HOST);
	/* 0.0.0.0 means this host. */
	ck_assert_int_eq(sock_lib_send(s, a, 0, 5000, "y", 1, 0), 1);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, &plan), 1);
	ck_assert_uint_eq(addr_get4(&plan.from.addr), LO);
	ck_assert_uint_eq(engine_frames_drop(s), 0);
}
END_TEST

START_TEST(udp_wire_both_ways)
{
	ck_assert_int_eq(sock_lib_send(s, b, NET_PEER, 53, "query", 5, 0), 5);
	ck_assert_uint_eq(sent_to(53), 5);
	ck_assert_mem_eq(buf, "query", 5);
	ck_assert_uint_eq(get16(frame + 34), 5000);
	ck_assert_uint_eq(get16(frame + 20), 0x4000); /* fits: DF by IP_PMTUDISC_WANT */
	from_peer(53, 5000, "answer", 6);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 100, 0, &plan), 6);
	ck_assert_uint_eq(addr_get4(&plan.from.addr), NET_PEER);
	ck_assert_uint_eq(plan.meta.ifindex, NETIF_DEVICE);
}
END_TEST

START_TEST(udp_zero_length)
{
	ck_assert_int_eq(sock_lib_send(s, a, LO, 5000, NULL, 0, 0), 0);
	ck_assert_int_eq(sock_lib_send(s, a, LO, 5000, "z", 1, 0), 1);
	ck_assert_uint_eq(sock_poll(s, b) & EV_IN, EV_IN);
	memset(&plan, 0, sizeof(plan));
	ck_assert_int_eq(sock_recv_take(s, b, &plan, 10, 1), 0);
	ck_assert_uint_eq(plan.kind, PLAN_RECV);
	ck_assert_int_eq(sock_recv_commit(s, &plan, 0), 0);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 1);
}
END_TEST

START_TEST(udp_truncates_and_peeks)
{
	ck_assert_int_eq(sock_lib_send(s, a, LO, 5000, "0123456789", 10, 0), 10);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 4, LX_MSG_PEEK, &plan), 4);
	ck_assert_uint_eq(plan.full_len, 10);
	ck_assert_uint_eq(plan.meta.msg_flags, LX_MSG_TRUNC);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 20, LX_MSG_PEEK, &plan), 10);
	ck_assert_uint_eq(plan.meta.msg_flags, 0);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 4, 0, &plan), 4);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 4, 0, NULL), -EAGAIN); /* the rest is gone */
}
END_TEST

START_TEST(udp_send_errors)
{
	ck_assert_int_eq(sock_lib_send(s, a, 0, 0, "x", 1, 0), -EDESTADDRREQ);
	ck_assert_uint_ne(sock_lib_port(s, a), 0); /* bound all the same */
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 0, "x", 1, 0), -EINVAL);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, buf, 65508, 0), -EMSGSIZE);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, buf, 70000, 0), -EMSGSIZE);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, "x", 1, LX_MSG_OOB), -EOPNOTSUPP);
	ck_assert_int_eq(sock_lib_send(s, a, 0xffffffff, 9, "x", 1, 0), -EACCES);
	ck_assert_int_eq(sock_lib_send(s, a, BROADCAST, 9, "x", 1, 0), -EACCES);
	ck_assert_int_eq(sock_lib_connect(s, a, BROADCAST, 9), -EACCES);
	ck_assert_int_eq(sock_shutdown(s, a, LX_SHUT_WR), -ENOTCONN);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, "x", 1, 0), -EPIPE);
}
END_TEST

START_TEST(udp_largest_datagram)
{
	u8 *data = buf;

	for (u32 i = 0; i < 65507; i++)
		data[i] = (u8)(i * 31);
	ck_assert_int_eq(sock_lib_send(s, a, LO, 5000, data, 65507, 0), 65507);
	memset(buf, 0, sizeof(buf));
	ck_assert_int_eq(sock_lib_recv(s, b, buf, sizeof(buf), 0, NULL), 65507);
	for (u32 i = 0; i < 65507; i++)
		ck_assert_uint_eq(buf[i], (u8)(i * 31));
}
END_TEST

START_TEST(udp_fragments_without_df)
{
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, buf, 3000, 0), 3000);
	ck_assert_uint_eq(engine_frames_drop(s), 3);
	set(a, LX_SOL_IP, LX_IP_MTU_DISCOVER, LX_IP_PMTUDISC_DO);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, buf, 3000, 0), -EMSGSIZE);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, buf, 1472, 0), 1472);
	ck_assert_uint_eq(sent_to(9), 1472);
	ck_assert_uint_eq(get16(frame + 20), 0x4000);
	set(a, LX_SOL_IP, LX_IP_MTU_DISCOVER, LX_IP_PMTUDISC_DONT);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, buf, 100, 0), 100);
	ck_assert_uint_eq(sent_to(9), 100);
	ck_assert_uint_eq(get16(frame + 20), 0);
}
END_TEST

START_TEST(udp_connected_filters)
{
	ref c = sock_lib_open(s, LX_SOCK_DGRAM);
	struct endpoint e;

	ck_assert_int_eq(sock_peer(s, c, &e), -ENOTCONN);
	ck_assert_int_eq(sock_lib_connect(s, c, NET_PEER, 53), 0);
	ck_assert_int_eq(sock_peer(s, c, &e), 0);
	ck_assert_uint_eq(e.port, 53);
	sock_name(s, c, &e);
	ck_assert_uint_eq(addr_get4(&e.addr), NET_HOST);
	from_peer(54, e.port, "no", 2);
	ck_assert_int_eq(sock_lib_recv(s, c, buf, 10, 0, NULL), -EAGAIN);
	ck_assert_uint_eq(net_count(s, "udp_no_port"), 1);
	from_peer(53, e.port, "yes", 3);
	ck_assert_int_eq(sock_lib_recv(s, c, buf, 10, 0, NULL), 3);
	/* To others it may still send, and to its peer without naming it. */
	engine_frames_drop(s);
	ck_assert_int_eq(sock_lib_send(s, c, 0, 0, "p", 1, 0), 1);
	ck_assert_uint_eq(sent_to(53), 1);
	ck_assert_int_eq(sock_lib_send(s, c, NET_PEER, 99, "q", 1, 0), 1);
	ck_assert_uint_eq(sent_to(99), 1);
}
END_TEST

START_TEST(udp_connect_unspec_dissolves)
{
	struct endpoint none = {0}, e;

	ck_assert_int_eq(sock_lib_connect(s, b, NET_PEER, 53), 0);
	ck_assert_int_eq(sock_lib_connect(s, a, NET_PEER, 53), 0);
	ck_assert_int_eq(sock_connect(s, a, &none), 0);
	ck_assert_int_eq(sock_connect(s, b, &none), 0);
	sock_name(s, a, &e);
	ck_assert_uint_eq(e.port, 0);
	ck_assert_uint_eq(addr_get4(&e.addr), 0);
	sock_name(s, b, &e); /* the port was the program's choice */
	ck_assert_uint_eq(e.port, 5000);
	ck_assert_uint_eq(addr_get4(&e.addr), 0);
	ck_assert_int_eq(sock_lib_send(s, a, 0, 0, "x", 1, 0), -EDESTADDRREQ);
	from_peer(77, 5000, "yes", 3);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 3);
	ck_assert_int_eq(sock_lib_connect(s, b, 0, 5000), 0); /* this host */
	ck_assert_int_eq(sock_peer(s, b, &e), 0);
	ck_assert_uint_eq(addr_get4(&e.addr), LO);
}
END_TEST

START_TEST(udp_port_unreachable)
{
	/* From our own closed port: reported to a connected socket, once, on the next call. */
	ck_assert_int_eq(sock_lib_connect(s, a, LO, 9), 0);
	ck_assert_int_eq(sock_lib_send(s, a, 0, 0, "x", 1, 0), 1);
	ck_assert_uint_eq(sock_poll(s, a), EV_ERR | EV_OUT);
	ck_assert_int_eq(sock_lib_recv(s, a, buf, 10, 0, NULL), -ECONNREFUSED);
	ck_assert_int_eq(sock_lib_recv(s, a, buf, 10, 0, NULL), -EAGAIN);
	ck_assert_int_eq(sock_lib_send(s, a, 0, 0, "x", 1, 0), 1);
	ck_assert_int_eq(sock_lib_send(s, a, 0, 0, "x", 1, 0), -ECONNREFUSED);
	ck_assert_int_eq(sock_lib_send(s, a, 0, 0, "x", 1, 0), 1);
	ck_assert_int_eq(sock_lib_get(s, a, LX_SOL_SOCKET, LX_SO_ERROR), ECONNREFUSED);
	ck_assert_int_eq(sock_lib_get(s, a, LX_SOL_SOCKET, LX_SO_ERROR), 0);
	/* An unconnected one is not told. */
	ck_assert_int_eq(sock_lib_send(s, b, LO, 9, "x", 1, 0), 1);
	ck_assert_uint_eq(sock_poll(s, b), EV_OUT);
}
END_TEST

START_TEST(udp_error_queue)
{
	set(b, LX_SOL_IP, LX_IP_RECVERR, 1);
	ck_assert_int_eq(sock_lib_send(s, b, LO, 9, "lost", 4, 0), 4);
	ck_assert_uint_eq(sock_poll(s, b), EV_ERR | EV_OUT);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 100, LX_MSG_ERRQUEUE, &plan), 4);
	ck_assert_mem_eq(buf, "lost", 4);
	ck_assert_uint_eq(plan.from.port, 9);
	ck_assert_uint_eq(addr_get4(&plan.from.addr), LO);
	ck_assert_uint_eq(plan.meta.report.error, ECONNREFUSED);
	ck_assert_uint_eq(plan.meta.report.origin, LX_EE_ORIGIN_ICMP);
	ck_assert_uint_eq(plan.meta.report.type, 3);
	ck_assert_uint_eq(plan.meta.report.code, 3);
	ck_assert_uint_eq(addr_get4(&plan.meta.report.offender.addr), LO);
	ck_assert_uint_eq(plan.meta.msg_flags, LX_MSG_ERRQUEUE);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 100, LX_MSG_ERRQUEUE, &plan), -EAGAIN);
	/* Taking the entry has taken the pending error too. */
	ck_assert_uint_eq(sock_poll(s, b), EV_OUT);
	ck_assert_uint_eq(sock_get(s, b)->rx_charged, 0);
	/* Too large with DF: a report of our own. */
	set(b, LX_SOL_IP, LX_IP_MTU_DISCOVER, LX_IP_PMTUDISC_DO);
	ck_assert_int_eq(sock_lib_send(s, b, NET_PEER, 9, buf, 2000, 0), -EMSGSIZE);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 100, LX_MSG_ERRQUEUE, &plan), 0);
	ck_assert_uint_eq(plan.meta.report.origin, LX_EE_ORIGIN_LOCAL);
	ck_assert_uint_eq(plan.meta.report.info, 1500);
}
END_TEST

/* An ICMP error from the wire about a datagram that b has sent to the peer's port 9. */
static void icmp_about(u8 type, u8 code, u32 rest)
{
	u8 quote[NET_FRAME_MAX];
	u32 n;

	ck_assert_int_eq(sock_lib_send(s, b, NET_PEER, 9, "data", 4, 0), 4);
	n = engine_frame_out(s, quote, NULL);
	ck_assert_uint_ge(n, 46);
	n = net_icmp(frame, &(struct net_ip4){0}, type, code, rest, quote + 14, n - 14);
	ck_assert(engine_frame_in(s, frame, n));
}

START_TEST(udp_path_mtu)
{
	int mtu;

	set(b, LX_SOL_IP, LX_IP_MTU_DISCOVER, LX_IP_PMTUDISC_DO);
	ck_assert_int_eq(sock_lib_get(s, b, LX_SOL_IP, LX_IP_MTU), -ENOTCONN);
	ck_assert_int_eq(sock_lib_connect(s, b, NET_PEER, 9), 0);
	mtu = sock_lib_get(s, b, LX_SOL_IP, LX_IP_MTU);
	ck_assert_int_eq(mtu, 1500);
	icmp_about(3, 4, 1000);
	ck_assert_int_eq(sock_lib_get(s, b, LX_SOL_IP, LX_IP_MTU), 1000);
	ck_assert_int_eq(sock_lib_get(s, b, LX_SOL_SOCKET, LX_SO_ERROR), EMSGSIZE);
	ck_assert_int_eq(sock_lib_send(s, b, 0, 0, buf, 980, 0), -EMSGSIZE);
	ck_assert_int_eq(sock_lib_send(s, b, 0, 0, buf, 972, 0), 972);
}
END_TEST

/* What may be larger than the path is known to carry, but not than the link (RFC 4821 4). */
START_TEST(udp_beyond_path_mtu)
{
	ck_assert_int_eq(sock_lib_connect(s, b, NET_PEER, 9), 0);
	icmp_about(3, 4, 1000);
	sock_lib_get(s, b, LX_SOL_SOCKET, LX_SO_ERROR);
	for (int i = LX_IP_PMTUDISC_PROBE; i <= LX_IP_PMTUDISC_OMIT; i++) {
		set(b, LX_SOL_IP, LX_IP_MTU_DISCOVER, i);
		ck_assert_int_eq(sock_lib_send(s, b, 0, 0, buf, 1472, 0), 1472);
		ck_assert_uint_eq(sent_to(9), 1472);
		ck_assert_uint_eq(get16(frame + 20), i == LX_IP_PMTUDISC_PROBE ? 0x4000 : 0);
		ck_assert_int_eq(sock_lib_send(s, b, 0, 0, buf, 1473, 0),
			i == LX_IP_PMTUDISC_OMIT ? 1473 : -EMSGSIZE);
	}
	ck_assert_uint_eq(engine_frames_drop(s), 2);
}
END_TEST

START_TEST(udp_soft_errors_only_reported_when_asked)
{
	ck_assert_int_eq(sock_lib_connect(s, b, NET_PEER, 9), 0);
	icmp_about(3, 1, 0); /* host unreachable: soft */
	ck_assert_int_eq(sock_error(s, b), 0);
	icmp_about(3, 13, 0); /* filtered: hard */
	ck_assert_int_eq(sock_error(s, b), EHOSTUNREACH);
	set(b, LX_SOL_IP, LX_IP_RECVERR, 1);
	icmp_about(11, 0, 0); /* time exceeded, as traceroute wants it */
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 100, LX_MSG_ERRQUEUE, &plan), 4);
	ck_assert_uint_eq(plan.meta.report.type, 11);
	ck_assert_uint_eq(addr_get4(&plan.meta.report.offender.addr), NET_PEER);
}
END_TEST

START_TEST(udp_shutdown_ends_reading)
{
	ck_assert_int_eq(sock_lib_connect(s, b, NET_PEER, 9), 0);
	ck_assert_int_eq(sock_shutdown(s, b, 3), -EINVAL);
	ck_assert_int_eq(sock_shutdown(s, b, LX_SHUT_RD), 0);
	ck_assert_uint_eq(sock_poll(s, b), EV_IN | EV_RDHUP | EV_OUT);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 0);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, LX_MSG_DONTWAIT, NULL), -EAGAIN);
	ck_assert_int_eq(sock_shutdown(s, b, LX_SHUT_WR), 0);
	ck_assert_uint_eq(sock_poll(s, b), EV_IN | EV_RDHUP | EV_HUP | EV_OUT);
}
END_TEST

START_TEST(udp_receive_buffer_full)
{
	u32 sent = 0, received = 0;

	set(b, LX_SOL_SOCKET, LX_SO_RCVBUF, 1);
	set(b, LX_SOL_SOCKET, LX_SO_RXQ_OVFL, 1);
	for (; sent < 100; sent++)
		ck_assert_int_eq(sock_lib_send(s, a, LO, 5000, "x", 1, 0), 1);
	while (sock_lib_recv(s, b, buf, 10, 0, NULL) == 1)
		received++;
	ck_assert_uint_ge(received, 1);
	ck_assert_uint_lt(received, 5);
	ck_assert_uint_eq(net_count(s, "udp_rcvbuf"), sent - received);
	ck_assert_int_eq(sock_lib_send(s, a, LO, 5000, "x", 1, 0), 1);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, &plan), 1);
	ck_assert_uint_eq(plan.meta.dropped, sent - received);
}
END_TEST

START_TEST(udp_header_fields)
{
	set(a, LX_SOL_IP, LX_IP_TTL, 5);
	set(a, LX_SOL_IP, LX_IP_TOS, 0x10);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, "x", 1, 0), 1);
	ck_assert_uint_eq(sent_to(9), 1);
	ck_assert_uint_eq(frame[22], 5);
	ck_assert_uint_eq(frame[15], 0x10);
	/* Control messages win, for one datagram. */
	sock_lib_plan(&plan);
	plan.to = (struct endpoint){.addr = addr_v4(NET_PEER), .port = 9};
	plan.meta.ttl = 7;
	plan.meta.tos = 0;
	ck_assert_int_eq(sock_lib_send_plan(s, a, &plan, "x", 1), 1);
	ck_assert_uint_eq(sent_to(9), 1);
	ck_assert_uint_eq(frame[22], 7);
	ck_assert_uint_eq(frame[15], 0);
	/* A source that is not ours. */
	sock_lib_plan(&plan);
	plan.to = (struct endpoint){.addr = addr_v4(NET_PEER), .port = 9};
	plan.meta.spec = addr_v4(0x01020304);
	ck_assert_int_eq(sock_lib_send_plan(s, a, &plan, "x", 1), -ENETUNREACH);
	/* IP options of the socket. */
	ck_assert_int_eq(sock_setopt(s, a, LX_SOL_IP, LX_IP_OPTIONS, "\x94\x04\0", 4), 0);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, "x", 1, 0), 1);
	ck_assert_uint_ge(engine_frame_out(s, frame, NULL), 47);
	ck_assert_uint_eq(frame[14], 0x46);
	ck_assert_uint_eq(frame[34], 0x94);
}
END_TEST

START_TEST(udp_no_check)
{
	set(a, LX_SOL_SOCKET, LX_SO_NO_CHECK, 1);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, "x", 1, 0), 1);
	ck_assert_uint_eq(sent_to(9), 1);
	ck_assert_uint_eq(get16(frame + 40), 0);
}
END_TEST

/* A UDP-Lite socket, bound to *:5000 too. */
static ref lite_open(void)
{
	int error;
	ref sk = sock_open(s, FAMILY_INET, LX_SOCK_DGRAM, PROTO_UDPLITE, &error);

	ck_assert_int_eq(sock_lib_bind(s, sk, 0, 5000), 0);
	return sk;
}

static u32 lite_sum(const u8 *datagram, u32 len, u32 coverage)
{
	struct addr src = addr_v4(NET_PEER), dst = addr_v4(NET_HOST);

	return checksum_finish(
		checksum_add(checksum_pseudo(&src, &dst, PROTO_UDPLITE, len), datagram, coverage));
}

/* RFC 3828 3.1 */
START_TEST(udp_lite_sends)
{
	ref sk = lite_open();
	static const struct {
		int set;
		u32 says, covers;
	} rows[] = {{-1, 12, 12}, {0, 0, 12}, {5, 8, 8}, {9, 9, 9}, {12, 12, 12}, {100000, 12, 12}};

	for (u32 i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].set >= 0)
			set(sk, LX_SOL_UDPLITE, LX_UDPLITE_SEND_CSCOV, rows[i].set);
		ck_assert_int_eq(sock_lib_send(s, sk, NET_PEER, 9, "data", 4, 0), 4);
		ck_assert_uint_ge(engine_frame_out(s, frame, NULL), 46);
		ck_assert_uint_eq(frame[23], PROTO_UDPLITE);
		ck_assert_uint_eq(get16(frame + 38), rows[i].says);
		ck_assert_uint_eq(lite_sum(frame + 34, 12, rows[i].covers), 0);
	}
}
END_TEST

/* A datagram of 12 bytes for port 5000 whose checksum covers what it says, or not. */
static s64 lite_arrives(ref sk, u32 says, u32 covers)
{
	u8 d[12] = {0, 9, 5000 >> 8, 5000 & 0xff, 0, (u8)says, 0, 0, 'd', 'a', 't', 'a'};
	struct net_ip4 ip = {.proto = PROTO_UDPLITE};

	if (covers)
		put16(d + 6, lite_sum(d, sizeof(d), covers));
	ck_assert(engine_frame_in(s, frame, net_ip4(frame, &ip, d, sizeof(d))));
	return sock_lib_recv(s, sk, buf, 100, 0, NULL);
}

START_TEST(udp_lite_receives)
{
	ref sk = lite_open();

	ck_assert_int_eq(lite_arrives(sk, 12, 12), 4);
	ck_assert_int_eq(lite_arrives(sk, 0, 12), 4);
	ck_assert_int_eq(lite_arrives(sk, 8, 8), 4);
	ck_assert_int_eq(lite_arrives(sk, 9, 9), 4);
	ck_assert_int_eq(lite_arrives(sk, 9, 12), -EAGAIN);
	ck_assert_int_eq(lite_arrives(sk, 12, 0), -EAGAIN); /* a checksum there must be */
	ck_assert_int_eq(lite_arrives(sk, 7, 7), -EAGAIN);
	ck_assert_int_eq(lite_arrives(sk, 13, 12), -EAGAIN);
	set(sk, LX_SOL_UDPLITE, LX_UDPLITE_RECV_CSCOV, 10);
	ck_assert_int_eq(lite_arrives(sk, 9, 9), -EAGAIN);
	ck_assert_int_eq(lite_arrives(sk, 10, 10), 4);
	set(sk, LX_SOL_UDPLITE, LX_UDPLITE_RECV_CSCOV, 0);
	ck_assert_int_eq(lite_arrives(sk, 10, 10), -EAGAIN);
	ck_assert_int_eq(lite_arrives(sk, 0, 12), 4);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 100, 0, NULL), -EAGAIN); /* UDP's port 5000 */
}
END_TEST

START_TEST(udp_segment)
{
	for (u32 i = 0; i < 3000; i++)
		buf[i] = (u8)i;
	sock_lib_plan(&plan);
	plan.to = (struct endpoint){.addr = addr_v4(NET_PEER), .port = 9};
	plan.meta.gso_size = 1000;
	ck_assert_int_eq(sock_lib_send_plan(s, a, &plan, buf, 2500), 2500);
	ck_assert_uint_eq(sent_to(9), 1000);
	ck_assert_uint_eq(sent_to(9), 1000);
	ck_assert_uint_eq(sent_to(9), 500);
	ck_assert_uint_eq(buf[0], (u8)2000);
	/* To ourselves: datagrams of that size. */
	set(a, LX_SOL_UDP, LX_UDP_SEGMENT, 4);
	ck_assert_int_eq(sock_lib_send(s, a, LO, 5000, "aaaabbbbcc", 10, 0), 10);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 4);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 4);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 2);
	/* 128 of them at most, and none larger than the path carries. */
	ck_assert_int_eq(sock_lib_send(s, a, LO, 5000, buf, 4 * 128 + 1, 0), -EINVAL);
	set(a, LX_SOL_UDP, LX_UDP_SEGMENT, 1473);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, buf, 2000, 0), -EMSGSIZE);
}
END_TEST

START_TEST(udp_segment_by_the_device)
{
	struct stack_config config = net_config();
	struct offload off;
	ref c;

	config.features = DEVICE_CSUM | DEVICE_TSO4 | DEVICE_USO;
	engine_free(s);
	s = engine_new_ready(&config);
	c = sock_lib_open(s, LX_SOCK_DGRAM);
	set(c, LX_SOL_UDP, LX_UDP_SEGMENT, 1000);
	ck_assert_int_eq(sock_lib_send(s, c, NET_PEER, 9, buf, 10000, 0), 10000);
	ck_assert_uint_eq(engine_frame_out(s, frame, &off), 10042);
	ck_assert_uint_eq(off.gso_type, OFFLOAD_GSO_UDP_L4);
	ck_assert_uint_eq(off.gso_size, 1000);
	ck_assert_uint_eq(off.header_len, 42);
	ck_assert_uint_eq(off.csum_start, 34);
	ck_assert_uint_eq(off.flags, OFFLOAD_NEEDS_CSUM);
}
END_TEST

START_TEST(udp_gro_from_the_device)
{
	struct offload off = {
		.gso_type = OFFLOAD_GSO_UDP_L4, .gso_size = 100, .flags = OFFLOAD_DATA_VALID};
	u32 n;

	for (u32 i = 0; i < 250; i++)
		buf[i] = (u8)i;
	n = net_udp(frame, &(struct net_ip4){0}, 9, 5000, buf, 250);
	ck_assert(engine_frame_in_offload(s, frame, n, &off));
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 1000, 0, &plan), 100);
	ck_assert_uint_eq(plan.meta.gso_size, 0);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 1000, 0, NULL), 100);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 1000, 0, NULL), 50);
	ck_assert_uint_eq(buf[0], 200);
	set(b, LX_SOL_UDP, LX_UDP_GRO, 1);
	ck_assert(engine_frame_in_offload(s, frame, n, &off));
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 1000, 0, &plan), 250);
	ck_assert_uint_eq(plan.meta.gso_size, 100);
}
END_TEST

START_TEST(udp_cork)
{
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, "one", 3, LX_MSG_MORE), 3);
	ck_assert_uint_eq(engine_frames_drop(s), 0);
	ck_assert_int_eq(sock_lib_send(s, a, 0, 0, "two", 3, 0), 3);
	ck_assert_uint_eq(sent_to(9), 6);
	ck_assert_mem_eq(buf, "onetwo", 6);
	set(a, LX_SOL_UDP, LX_UDP_CORK, 1);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, "a", 1, 0), 1);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, "b", 1, 0), 1);
	ck_assert_uint_eq(engine_frames_drop(s), 0);
	set(a, LX_SOL_UDP, LX_UDP_CORK, 0);
	ck_assert_uint_eq(sent_to(9), 2);
	/* Closing with a datagram in the making loses it, and its memory. */
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, "a", 1, LX_MSG_MORE), 1);
	sock_close(s, a);
	ck_assert_uint_eq(engine_frames_drop(s), 0);
	ck_assert_uint_eq(slab_in_use(s, SLAB_PKT_LARGE), 0);
}
END_TEST

START_TEST(udp_plan_dropped)
{
	u32 used = slab_in_use(s, SLAB_PKT_SMALL);

	sock_lib_plan(&plan);
	plan.to = (struct endpoint){.addr = addr_v4(LO), .port = 5000};
	ck_assert_int_eq(sock_send_reserve(s, a, &plan, 100), 100);
	sock_plan_drop(s, &plan);
	ck_assert_uint_eq(slab_in_use(s, SLAB_PKT_SMALL), used);
	/* The socket may go while a thread copies. */
	plan.to = (struct endpoint){.addr = addr_v4(LO), .port = 5000};
	ck_assert_int_eq(sock_send_reserve(s, a, &plan, 100), 100);
	sock_close(s, a);
	ck_assert_ptr_nonnull(sock_span(s, &plan.span[0]));
	ck_assert_int_eq(sock_send_commit(s, &plan, 100), -EBADF);
	ck_assert_uint_eq(slab_in_use(s, SLAB_PKT_SMALL), used);
	ck_assert_uint_eq(plan.kind, PLAN_NONE);
}
END_TEST

static int membership(ref sk, int name, u32 group, u32 ifindex)
{
	u8 mreqn[12] = {0};

	put32(mreqn, group);
	memcpy(mreqn + 8, &ifindex, 4);
	return sock_setopt(s, sk, LX_SOL_IP, name, mreqn, sizeof(mreqn));
}

static void group_from_peer(u32 group, u32 src)
{
	const u8 mac[6] = {1, 0, 0x5e, (u8)(group >> 16 & 0x7f), (u8)(group >> 8), (u8)group};
	u32 n = net_udp(frame, &(struct net_ip4){.dst = group, .src = src, .eth_dst = mac}, 9, 5000,
		"g", 1);

	ck_assert(engine_frame_in(s, frame, n));
}

START_TEST(udp_multicast_membership)
{
	ref c = sock_lib_open(s, LX_SOCK_DGRAM);

	set(b, LX_SOL_SOCKET, LX_SO_REUSEADDR, 1);
	set(c, LX_SOL_SOCKET, LX_SO_REUSEADDR, 1);
	ck_assert_int_eq(sock_lib_bind(s, c, 0, 5000), 0);
	group_from_peer(GROUP, 0);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), -EAGAIN);
	ck_assert_int_eq(membership(b, LX_IP_ADD_MEMBERSHIP, GROUP, 2), 0);
	ck_assert_int_eq(membership(b, LX_IP_ADD_MEMBERSHIP, GROUP, 2), -EADDRINUSE);
	ck_assert_int_eq(membership(b, LX_IP_ADD_MEMBERSHIP, 0x0a000009, 2), -EINVAL);
	ck_assert_int_eq(membership(b, LX_IP_ADD_MEMBERSHIP, GROUP, 9), -ENODEV);
	/* Everybody bound to the port gets it (IP_MULTICAST_ALL), but only members when that is
	 * off. */
	group_from_peer(GROUP, 0);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, &plan), 1);
	ck_assert_uint_eq(addr_get4(&plan.meta.local), GROUP);
	ck_assert_uint_eq(addr_get4(&plan.meta.spec), NET_HOST);
	ck_assert_int_eq(sock_lib_recv(s, c, buf, 10, 0, NULL), 1);
	set(c, LX_SOL_IP, LX_IP_MULTICAST_ALL, 0);
	group_from_peer(GROUP, 0);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 1);
	ck_assert_int_eq(sock_lib_recv(s, c, buf, 10, 0, NULL), -EAGAIN);
	ck_assert_int_eq(membership(b, LX_IP_DROP_MEMBERSHIP, GROUP, 2), 0);
	ck_assert_int_eq(membership(b, LX_IP_DROP_MEMBERSHIP, GROUP, 2), -EADDRNOTAVAIL);
	group_from_peer(GROUP, 0);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), -EAGAIN);
}
END_TEST

static int source(ref sk, int name, u32 group, u32 src)
{
	u8 req[12];

	put32(req, group);
	put32(req + 4, NET_HOST);
	put32(req + 8, src);
	return sock_setopt(s, sk, LX_SOL_IP, name, req, sizeof(req));
}

START_TEST(udp_multicast_sources)
{
	ck_assert_int_eq(source(b, LX_IP_ADD_SOURCE_MEMBERSHIP, GROUP, NET_PEER), 0);
	ck_assert_int_eq(source(b, LX_IP_ADD_SOURCE_MEMBERSHIP, GROUP, NET_PEER), -EADDRNOTAVAIL);
	group_from_peer(GROUP, NET_PEER);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 1);
	group_from_peer(GROUP, 0x0a000007);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), -EAGAIN);
	ck_assert_int_eq(source(b, LX_IP_BLOCK_SOURCE, GROUP, NET_PEER), -EINVAL);
	ck_assert_int_eq(source(b, LX_IP_DROP_SOURCE_MEMBERSHIP, GROUP, NET_PEER), 0);
	ck_assert_uint_eq(slab_in_use(s, SLAB_MEMBERSHIP), 0);
	ck_assert_int_eq(membership(b, LX_IP_ADD_MEMBERSHIP, GROUP, 2), 0);
	ck_assert_int_eq(source(b, LX_IP_BLOCK_SOURCE, GROUP, NET_PEER), 0);
	group_from_peer(GROUP, NET_PEER);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), -EAGAIN);
	group_from_peer(GROUP, 0x0a000007);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 1);
	ck_assert_int_eq(source(b, LX_IP_UNBLOCK_SOURCE, GROUP, NET_PEER), 0);
	group_from_peer(GROUP, NET_PEER);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 1);
}
END_TEST

START_TEST(udp_multicast_sending)
{
	ck_assert_int_eq(membership(b, LX_IP_ADD_MEMBERSHIP, GROUP, 2), 0);
	ck_assert_int_eq(sock_lib_send(s, a, GROUP, 5000, "m", 1, 0), 1);
	ck_assert_uint_eq(sent_to(5000), 1);
	ck_assert_uint_eq(frame[22], 1);
	ck_assert_mem_eq(frame, "\x01\0\x5e\x02\x03\x04", 6);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 1); /* our own copy */
	set(a, LX_SOL_IP, LX_IP_MULTICAST_LOOP, 0);
	set(a, LX_SOL_IP, LX_IP_MULTICAST_TTL, 9);
	ck_assert_int_eq(sock_lib_send(s, a, GROUP, 5000, "m", 1, 0), 1);
	ck_assert_uint_eq(sent_to(5000), 1);
	ck_assert_uint_eq(frame[22], 9);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), -EAGAIN);
	/* TTL 0 stays inside. */
	set(a, LX_SOL_IP, LX_IP_MULTICAST_LOOP, 1);
	set(a, LX_SOL_IP, LX_IP_MULTICAST_TTL, 0);
	ck_assert_int_eq(sock_lib_send(s, a, GROUP, 5000, "in", 2, 0), 2);
	ck_assert_uint_eq(engine_frames_drop(s), 0);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 2);
}
END_TEST

START_TEST(udp_broadcast)
{
	set(a, LX_SOL_SOCKET, LX_SO_BROADCAST, 1);
	ck_assert_int_eq(sock_lib_send(s, a, BROADCAST, 5000, "all", 3, 0), 3);
	ck_assert_uint_eq(sent_to(5000), 3);
	ck_assert_mem_eq(frame, "\xff\xff\xff\xff\xff\xff", 6);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, &plan), 3);
	ck_assert_uint_eq(addr_get4(&plan.meta.local), BROADCAST);
}
END_TEST

START_TEST(udp_memory_exhausted)
{
	u32 sent = 0;
	s64 ret;

	engine_free(s);
	s = engine_new_sized(NULL, 32u << 20);
	a = sock_lib_open(s, LX_SOCK_DGRAM);
	b = sock_lib_open(s, LX_SOCK_DGRAM);
	ck_assert_int_eq(sock_lib_bind(s, b, 0, 5000), 0);
	set(b, LX_SOL_SOCKET, LX_SO_RCVBUFFORCE, 1 << 30);
	/* Sending keeps its answers when there is no room: either sent, or ENOBUFS. */
	for (; sent < 3000; sent++) {
		ret = sock_lib_send(s, a, LO, 5000, buf, 60000, 0);
		if (ret < 0)
			break;
	}
	ck_assert_int_eq(ret < 0 ? ret : 60000, ret < 0 ? -ENOBUFS : 60000);
	while (sock_lib_recv(s, b, buf, sizeof(buf), 0, NULL) > 0)
		;
	ck_assert_int_eq(sock_lib_send(s, a, LO, 5000, buf, 60000, 0), 60000);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, sizeof(buf), 0, NULL), 60000);
}
END_TEST

START_TEST(udp_device_queue_full)
{
	u32 sent = 0, events;
	s64 ret = 0;
	ref r;

	while (stack_changed(s, &events))
		;
	for (; sent < 10000; sent++) {
		ret = sock_lib_send(s, a, NET_PEER, 9, "x", 1, 0);
		if (ret < 0)
			break;
	}
	ck_assert_int_eq(ret, -EAGAIN);
	ck_assert_uint_eq(sock_poll(s, a), 0);
	ck_assert_uint_eq(engine_frames_drop(s), sent);
	stack_tx_reclaim(s);
	r = stack_changed(s, &events);
	ck_assert_uint_eq(r, a);
	ck_assert_uint_eq(events, EV_OUT);
	ck_assert_int_eq(sock_lib_send(s, a, NET_PEER, 9, "x", 1, 0), 1);
}
END_TEST

START_TEST(udp_filter)
{
	/* ld [8] (the payload's first byte, behind the UDP header); keep 9 bytes when it is 'y'. */
	static const struct {
		u16 code;
		u8 jt, jf;
		u32 k;
	} program[] = {{0x30, 0, 0, 8}, {0x15, 0, 1, 'y'}, {0x06, 0, 0, 9}, {0x06, 0, 0, 0}},
	  endless[] = {{0x05, 0, 0, 0xffffffff}, {0x06, 0, 0, 0}};

	ck_assert_int_eq(
		sock_setopt(s, b, LX_SOL_SOCKET, LX_SO_ATTACH_FILTER, endless, sizeof(endless)),
		-EINVAL);
	ck_assert_int_eq(
		sock_setopt(s, b, LX_SOL_SOCKET, LX_SO_ATTACH_FILTER, program, sizeof(program)), 0);
	ck_assert_int_eq(sock_lib_send(s, a, LO, 5000, "no", 2, 0), 2);
	ck_assert_int_eq(sock_lib_send(s, a, LO, 5000, "yes", 3, 0), 3);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 1); /* cut by the filter */
	ck_assert_uint_eq(buf[0], 'y');
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), -EAGAIN);
	ck_assert_uint_eq(net_count(s, "udp_filtered"), 1);
	set(b, LX_SOL_SOCKET, LX_SO_DETACH_FILTER, 0);
	ck_assert_int_eq(sock_lib_set(s, b, LX_SOL_SOCKET, LX_SO_DETACH_FILTER, 0), -ENOENT);
	ck_assert_int_eq(sock_lib_send(s, a, LO, 5000, "no", 2, 0), 2);
	ck_assert_int_eq(sock_lib_recv(s, b, buf, 10, 0, NULL), 2);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, udp_over_loopback);
	tcase_add_test(tc, udp_to_own_address);
	tcase_add_test(tc, udp_wire_both_ways);
	tcase_add_test(tc, udp_zero_length);
	tcase_add_test(tc, udp_truncates_and_peeks);
	tcase_add_test(tc, udp_send_errors);
	tcase_add_test(tc, udp_largest_datagram);
	tcase_add_test(tc, udp_fragments_without_df);
	tcase_add_test(tc, udp_connected_filters);
	tcase_add_test(tc, udp_connect_unspec_dissolves);
	tcase_add_test(tc, udp_port_unreachable);
	tcase_add_test(tc, udp_error_queue);
	tcase_add_test(tc, udp_path_mtu);
	tcase_add_test(tc, udp_beyond_path_mtu);
	tcase_add_test(tc, udp_soft_errors_only_reported_when_asked);
	tcase_add_test(tc, udp_shutdown_ends_reading);
	tcase_add_test(tc, udp_receive_buffer_full);
	tcase_add_test(tc, udp_header_fields);
	tcase_add_test(tc, udp_no_check);
	tcase_add_test(tc, udp_lite_sends);
	tcase_add_test(tc, udp_lite_receives);
	tcase_add_test(tc, udp_segment);
	tcase_add_test(tc, udp_segment_by_the_device);
	tcase_add_test(tc, udp_gro_from_the_device);
	tcase_add_test(tc, udp_cork);
	tcase_add_test(tc, udp_plan_dropped);
	tcase_add_test(tc, udp_multicast_membership);
	tcase_add_test(tc, udp_multicast_sources);
	tcase_add_test(tc, udp_multicast_sending);
	tcase_add_test(tc, udp_broadcast);
	tcase_add_test(tc, udp_memory_exhausted);
	tcase_add_test(tc, udp_device_queue_full);
	tcase_add_test(tc, udp_filter);
}

int main(void)
{
	return check_lines_case("udp", 0, add_tests);
}
