/* Local ports: who may share one, what the system chooses, and which socket a packet is for. */
#include <check.h>

#include "stack/linux.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"
#include "tests/lib/sock_lib.h"

enum { LO = 0x7f000001, LO2 = 0x7f000002 };
enum { REUSEADDR = 1, REUSEPORT = 2, LISTEN = 4 };

static struct stack *s;

static void setup(void)
{
	s = engine_new_ready(NULL);
}

static void teardown(void)
{
	engine_free(s);
}

static ref open_with(int type, int how)
{
	ref sk = sock_lib_open(s, type);

	if (how & REUSEADDR)
		ck_assert_int_eq(sock_lib_set(s, sk, LX_SOL_SOCKET, LX_SO_REUSEADDR, 1), 0);
	if (how & REUSEPORT)
		ck_assert_int_eq(sock_lib_set(s, sk, LX_SOL_SOCKET, LX_SO_REUSEPORT, 1), 0);
	return sk;
}

/* Two sockets of a type at two addresses, and what the second bind answers: as measured on Linux.
 */
static const struct {
	int type;
	u32 first_ip, second_ip;
	int first, second; /* REUSEADDR, REUSEPORT, LISTEN */
	int answer;
} pairs[] = {
	{1, 0, 0, 0, 0, -EADDRINUSE},
	{1, 0, LO, 0, 0, -EADDRINUSE},
	{1, LO, 0, 0, 0, -EADDRINUSE},
	{1, LO, LO2, 0, 0, 0},
	{1, 0, 0, REUSEADDR, 0, -EADDRINUSE},
	{1, 0, 0, 0, REUSEADDR, -EADDRINUSE},
	{1, 0, 0, REUSEADDR, REUSEADDR, 0},
	{1, 0, 0, REUSEADDR | LISTEN, REUSEADDR, -EADDRINUSE},
	{1, LO, LO2, REUSEADDR | LISTEN, REUSEADDR, 0},
	{1, 0, 0, REUSEPORT, REUSEPORT, 0},
	{1, 0, 0, REUSEPORT | LISTEN, REUSEPORT, 0},
	{1, 0, 0, REUSEPORT, REUSEADDR, -EADDRINUSE},
	{1, 0, 0, REUSEADDR | REUSEPORT | LISTEN, REUSEADDR | REUSEPORT, 0},
	{2, 0, 0, 0, 0, -EADDRINUSE},
	{2, LO, LO2, 0, 0, 0},
	{2, 0, LO, REUSEADDR, REUSEADDR, 0},
	{2, 0, LO, REUSEADDR, 0, -EADDRINUSE},
	{2, 0, 0, REUSEPORT, REUSEPORT, 0},
	{2, 0, 0, REUSEPORT, 0, -EADDRINUSE},
	{2, 0, 0, REUSEPORT, REUSEADDR, -EADDRINUSE},
};

START_TEST(port_bind_pairs)
{
	ref a = open_with(pairs[_i].type, pairs[_i].first),
	    b = open_with(pairs[_i].type, pairs[_i].second);

	ck_assert_int_eq(sock_lib_bind(s, a, pairs[_i].first_ip, 5000), 0);
	if (pairs[_i].first & LISTEN)
		ck_assert_int_eq(sock_listen(s, a, 1), 0);
	ck_assert_int_eq(sock_lib_bind(s, b, pairs[_i].second_ip, 5000), pairs[_i].answer);
	sock_close(s, a);
	sock_close(s, b);
	ck_assert_uint_eq(slab_in_use(s, SLAB_PORT), 0);
	ck_assert_uint_eq(slab_in_use(s, SLAB_SOCK), 0);
}
END_TEST

START_TEST(port_second_listener_refused)
{
	ref a = open_with(1, REUSEADDR), b = open_with(1, REUSEADDR);

	ck_assert_int_eq(sock_lib_bind(s, a, 0, 5000), 0);
	ck_assert_int_eq(sock_lib_bind(s, b, 0, 5000), 0);
	ck_assert_int_eq(sock_listen(s, a, 1), 0);
	ck_assert_int_eq(sock_listen(s, b, 1), -EADDRINUSE);
	ck_assert_int_eq(sock_listen(s, a, 5), 0);
	/* The listener gone, the other may. */
	sock_close(s, a);
	ck_assert_int_eq(sock_listen(s, b, 1), 0);
}
END_TEST

START_TEST(port_bind_errors)
{
	ref a = sock_lib_open(s, 2), b = sock_lib_open(s, 2);
	struct endpoint none = {.port = 7}, v6 = {.addr = {.family = FAMILY_INET6}, .port = 7};

	ck_assert_int_eq(sock_lib_bind(s, a, 0x01020304, 80), -EADDRNOTAVAIL);
	ck_assert_int_eq(sock_bind(s, a, &v6), -EAFNOSUPPORT);
	ck_assert_int_eq(sock_lib_bind(s, a, NET_HOST, 80), 0);
	ck_assert_int_eq(sock_lib_bind(s, a, NET_HOST, 81), -EINVAL);
	ck_assert_int_eq(sock_bind(s, b, &none), 0); /* AF_UNSPEC with the wildcard */
	ck_assert_int_eq(sock_lib_port(s, b), 7);
	ck_assert_int_eq(sock_bind(s, 12345, &none), -EBADF);
}
END_TEST

START_TEST(port_bind_foreign_with_freebind)
{
	ref a = sock_lib_open(s, 2), b = sock_lib_open(s, 2);

	ck_assert_int_eq(sock_lib_set(s, a, LX_SOL_IP, LX_IP_FREEBIND, 1), 0);
	ck_assert_int_eq(sock_lib_bind(s, a, 0x01020304, 80), 0);
	/* Groups and broadcast addresses may be bound by anybody. */
	ck_assert_int_eq(sock_lib_bind(s, b, 0xe0000005, 80), 0);
}
END_TEST

START_TEST(port_bind_address_no_port)
{
	ref a = sock_lib_open(s, 1);
	struct endpoint local;

	ck_assert_int_eq(sock_lib_set(s, a, LX_SOL_IP, LX_IP_BIND_ADDRESS_NO_PORT, 1), 0);
	ck_assert_int_eq(sock_lib_bind(s, a, NET_HOST, 0), 0);
	sock_name(s, a, &local);
	ck_assert_uint_eq(local.port, 0);
	ck_assert_uint_eq(addr_get4(&local.addr), NET_HOST);
	ck_assert_int_eq(sock_lib_connect(s, a, NET_PEER, 80), -EINPROGRESS);
	ck_assert_uint_ge(sock_lib_port(s, a), 32768);
}
END_TEST

START_TEST(port_range_narrowed)
{
	ref a = sock_lib_open(s, 2), b = sock_lib_open(s, 2), c = sock_lib_open(s, 2);
	const ref all[] = {a, b, c};

	for (u32 i = 0; i < 3; i++)
		ck_assert_int_eq(sock_lib_set(s, all[i], LX_SOL_IP, LX_IP_LOCAL_PORT_RANGE,
					 (int)(40001u << 16 | 40000)),
			0);
	ck_assert_int_eq(sock_lib_bind(s, a, 0, 0), 0);
	ck_assert_int_eq(sock_lib_bind(s, b, 0, 0), 0);
	ck_assert_uint_eq((u32)sock_lib_port(s, a) + sock_lib_port(s, b), 80001);
	ck_assert_int_eq(sock_lib_bind(s, c, 0, 0), -EADDRINUSE);
	ck_assert_int_eq(sock_lib_send(s, c, NET_PEER, 9, "x", 1, 0), -EAGAIN);
}
END_TEST

/* Attack F2 and H7: nobody can tell the next port from those before. */
START_TEST(F2_port_ephemeral_random)
{
	u32 count = 10000, below = 0, ascending = 0, last = 0;
	u32 buckets[16] = {0};

	for (u32 i = 0; i < count; i++) {
		ref sk = sock_lib_open(s, 2);
		u32 port;

		ck_assert_int_eq(sock_lib_bind(s, sk, 0, 0), 0);
		port = sock_lib_port(s, sk);
		ck_assert_uint_ge(port, 32768);
		ck_assert_uint_le(port, 60999);
		buckets[(port - 32768) * 16 / 28232]++;
		below += port - 32768 < 14116;
		ascending += port > last;
		last = port;
		sock_close(s, sk);
	}
	/* Six standard deviations of a fair coin each (50 for 10,000), and of a sixteenth (24). */
	ck_assert_uint_ge(below, 4700);
	ck_assert_uint_le(below, 5300);
	ck_assert_uint_ge(ascending, 4700);
	ck_assert_uint_le(ascending, 5300);
	for (u32 i = 0; i < 16; i++) {
		ck_assert_uint_ge(buckets[i], 625 - 146);
		ck_assert_uint_le(buckets[i], 625 + 146);
	}
}
END_TEST

START_TEST(port_all_taken)
{
	u32 taken = 0;
	ref sk;

	for (; taken <= 28232; taken++) {
		sk = sock_lib_open(s, 2);
		if (sock_lib_bind(s, sk, 0, 0) < 0)
			break;
	}
	ck_assert_uint_eq(taken, 28232);
	ck_assert_int_eq(sock_lib_bind(s, sk, 0, 0), -EADDRINUSE);
	ck_assert_int_eq(sock_lib_bind(s, sk, 0, 1000), 0);
}
END_TEST

/* Active opens share ports, by destination; not a port that was bound. */
START_TEST(port_connect_shares)
{
	ref a = sock_lib_open(s, 1), b = sock_lib_open(s, 1), c = sock_lib_open(s, 1);
	const ref all[] = {a, b, c};

	for (u32 i = 0; i < 3; i++)
		sock_lib_set(
			s, all[i], LX_SOL_IP, LX_IP_LOCAL_PORT_RANGE, (int)(40000u << 16 | 40000));
	ck_assert_int_eq(sock_lib_connect(s, a, NET_PEER, 80), -EINPROGRESS);
	ck_assert_int_eq(sock_lib_connect(s, b, NET_PEER, 80), -EADDRNOTAVAIL);
	ck_assert_int_eq(sock_lib_connect(s, b, NET_PEER, 81), -EINPROGRESS);
	ck_assert_uint_eq(sock_lib_port(s, a), 40000);
	ck_assert_uint_eq(sock_lib_port(s, b), 40000);
	ck_assert_int_eq(sock_lib_connect(s, a, NET_PEER, 80), -EALREADY);
	/* bind() meets the connections that are there. */
	ck_assert_int_eq(sock_lib_bind(s, c, 0, 40000), -EADDRINUSE);
}
END_TEST

static ref lookup(u32 to, u32 from_port, u32 ifindex)
{
	struct endpoint local = {.addr = addr_v4(to), .port = 5000};
	struct endpoint remote = {.addr = addr_v4(NET_PEER), .port = (u16)from_port};

	return sock_lookup(s, PROTO_UDP, &local, &remote, ifindex);
}

START_TEST(port_lookup_scores)
{
	ref any = open_with(2, REUSEADDR), addr = open_with(2, REUSEADDR),
	    dev = open_with(2, REUSEADDR);

	ck_assert_int_eq(sock_lib_bind(s, any, 0, 5000), 0);
	ck_assert_uint_eq(lookup(NET_HOST, 1, 2), any);
	ck_assert_int_eq(sock_lib_set(s, dev, LX_SOL_SOCKET, LX_SO_BINDTOIFINDEX, 2), 0);
	ck_assert_int_eq(sock_lib_bind(s, dev, 0, 5000), 0);
	ck_assert_uint_eq(lookup(NET_HOST, 1, 2), dev);
	ck_assert_uint_eq(lookup(LO, 1, 1), any);
	ck_assert_int_eq(sock_lib_bind(s, addr, NET_HOST, 5000), 0);
	ck_assert_uint_eq(lookup(NET_HOST, 1, 2), addr);
	ck_assert_uint_eq(lookup(LO, 1, 1), any);
}
END_TEST

START_TEST(port_reuseport_spreads)
{
	ref sk[4];
	u32 hits[4] = {0};

	for (u32 i = 0; i < 4; i++) {
		sk[i] = open_with(2, REUSEPORT);
		ck_assert_int_eq(sock_lib_bind(s, sk[i], 0, 5000), 0);
	}
	for (u32 from = 1; from <= 4000; from++) {
		ref r = lookup(NET_HOST, from, 2);

		ck_assert_uint_eq(r, lookup(NET_HOST, from, 2));
		for (u32 i = 0; i < 4; i++)
			hits[i] += r == sk[i];
	}
	for (u32 i = 0; i < 4; i++) {
		ck_assert_uint_ge(hits[i], 800);
		ck_assert_uint_le(hits[i], 1200);
	}
	sock_close(s, sk[1]);
	for (u32 from = 1; from <= 100; from++)
		ck_assert_ptr_nonnull(sock_get(s, lookup(NET_HOST, from, 2)));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, port_bind_pairs, 0, ARRAY_LEN(pairs));
	tcase_add_test(tc, port_second_listener_refused);
	tcase_add_test(tc, port_bind_errors);
	tcase_add_test(tc, port_bind_foreign_with_freebind);
	tcase_add_test(tc, port_bind_address_no_port);
	tcase_add_test(tc, port_range_narrowed);
	tcase_add_test(tc, F2_port_ephemeral_random);
	tcase_add_test(tc, port_all_taken);
	tcase_add_test(tc, port_connect_shares);
	tcase_add_test(tc, port_lookup_scores);
	tcase_add_test(tc, port_reuseport_spreads);
}

int main(void)
{
	return check_lines_case("port", 0, add_tests);
}
