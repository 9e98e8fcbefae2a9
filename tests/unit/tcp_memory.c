/*
 * The memory of all sockets and its limits (sock_memory.c, tcp_prune.c, tcp_evict.c), on one host's
 * loopback: connections that nobody reads fill it and end in closed windows, others go on, nothing
 * is lost, and all of it comes back.
 */
#include <stdlib.h>
#include <string.h>

#include "stack/linux.h"
#include "stack/sock_memory.h"
#include "stack/tcp.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"
#include "tests/lib/sock_lib.h"

enum { PAIRS = 200, LO = 0x7f000001, WRITE = 65536, ROUNDS = 400 };

static struct stack *s;
static ref listener, out[PAIRS + 2], in[PAIRS + 2];
static u64 sent[PAIRS + 2], got[PAIRS + 2];
static u8 buf[1 << 20];

static u8 pattern(u64 at)
{
	return (u8)(at * 131 + (at >> 8) * 7 + (at >> 16));
}

static void check(void)
{
	u64 tcp, udp;
	u32 events;

	sock_memory_count(s, &tcp, &udp);
	ck_assert_uint_eq(tcp, s->tcp_memory);
	ck_assert_uint_eq(udp, s->udp_memory);
	while (stack_changed(s, &events))
		;
}

static void check_connections(u32 pairs)
{
	for (u32 i = 0; i < 2 * pairs; i++) {
		struct sock *sk = sock_get(s, i & 1 ? in[i / 2] : out[i / 2]);
		const char *why = sk ? tcp_check(s, sk) : NULL;

		ck_assert_msg(!why, "pair %u: %s", i / 2, why ? why : "");
	}
}

static void begin(void)
{
	s = engine_new(NULL);
	engine_run(s, 10 * NS_PER_S);
	memset(sent, 0, sizeof(sent));
	memset(got, 0, sizeof(got));
	listener = sock_lib_open(s, LX_SOCK_STREAM);
	ck_assert_int_eq(sock_lib_bind(s, listener, LO, 80), 0);
	ck_assert_int_eq(sock_listen(s, listener, 10), 0);
}

static void open_pair(u32 i)
{
	int error;

	out[i] = sock_lib_open(s, LX_SOCK_STREAM);
	ck_assert_int_eq(sock_lib_connect(s, out[i], LO, 80), -EINPROGRESS);
	ck_assert_int_eq(sock_lib_connect(s, out[i], LO, 80), 0);
	in[i] = sock_accept(s, listener, &error);
	ck_assert(in[i] != 0);
	sock_lib_set(s, out[i], LX_SOL_TCP, LX_TCP_NODELAY, 1);
}

static s64 write_some(u32 i, u32 len)
{
	s64 n;

	for (u32 k = 0; k < len; k++)
		buf[k] = pattern(sent[i] + k);
	n = sock_lib_send(s, out[i], 0, 0, buf, len, 0);
	sent[i] += n > 0 ? (u64)n : 0;
	return n;
}

static s64 read_some(u32 i)
{
	s64 n = sock_lib_recv(s, in[i], buf, sizeof(buf), 0, NULL);

	for (s64 k = 0; k < n; k++)
		if (buf[k] != pattern(got[i] + (u64)k))
			ck_abort_msg("pair %u: wrong byte", i);
	got[i] += n > 0 ? (u64)n : 0;
	return n;
}

/* Everybody writes and nobody reads, until nothing goes any more. */
static void flood(u32 pairs)
{
	u32 quiet = 0;

	for (u32 round = 0; round < ROUNDS && quiet < 20; round++) {
		quiet++;
		for (u32 i = 0; i < pairs; i++) {
			s64 n = write_some(i, WRITE);

			if (n <= 0 && n != -EAGAIN)
				ck_abort_msg("send gives %lld", (long long)n);
			if (n > 0)
				quiet = 0;
		}
		engine_run(s, 10 * NS_PER_MS);
		check();
	}
	check_connections(pairs);
}

static void drain(u32 pairs)
{
	bool all = false;

	for (u32 round = 0; round < 4000 && !all; round++) {
		all = true;
		for (u32 i = 0; i < pairs; i++) {
			while (read_some(i) > 0)
				;
			all = all && got[i] == sent[i];
		}
		engine_run(s, 50 * NS_PER_MS);
		check();
	}
	ck_assert_msg(all, "bytes have not arrived");
}

static void finish(u32 pairs)
{
	for (u32 i = 0; i < pairs; i++) {
		sock_close(s, out[i]);
		sock_close(s, in[i]);
	}
	sock_close(s, listener);
	engine_run(s, 200 * NS_PER_S);
	ck_assert_uint_eq(s->tcp_memory, 0);
	ck_assert_uint_eq(slab_in_use(s, SLAB_SOCK), 0);
	for (u32 kind = SLAB_PKT_SMALL; kind <= SLAB_PKT_LARGE; kind++)
		ck_assert_uint_eq(slab_in_use(s, (enum slab_kind)kind), 0);
	ck_assert_uint_eq(net_count(s, "invariant"), 0);
	ck_assert_uint_eq(net_count(s, "stale_free"), 0);
	ck_assert(!sock_memory_pressure(s));
	engine_free(s);
}

/* The memory that 200 connections would like to fill is several times what there is. */
START_TEST(memory_unread_flood)
{
	u64 limit, until;

	begin();
	for (u32 i = 0; i < PAIRS; i++)
		open_pair(i);
	flood(PAIRS);
	limit = (u64)s->tunables.tcp_mem[2] * SOCK_MEMORY_PAGE;
	ck_assert_uint_ge(net_count(s, "tcp_pressure"), 1);
	ck_assert_uint_ge(s->tcp_memory, limit / 4);
	/* A small packet in each direction is everybody's due. */
	ck_assert_uint_le(s->tcp_memory, limit + 2 * PAIRS * 2000);
	/* A newcomer is served all the same. */
	open_pair(PAIRS);
	until = s->now_ns + 60 * NS_PER_S;
	while (got[PAIRS] < 1000000) {
		write_some(PAIRS, 16384);
		read_some(PAIRS);
		engine_run(s, NS_PER_MS);
		ck_assert_msg(s->now_ns < until, "stalled at %llu", (unsigned long long)got[PAIRS]);
	}
	ck_assert_int_ge(sock_lib_open(s, LX_SOCK_DGRAM), 1);
	sock_close(s, out[PAIRS]);
	sock_close(s, in[PAIRS]);
	drain(PAIRS);
	ck_assert(!sock_memory_pressure(s));
	ck_assert_uint_eq(net_count(s, "tcp_abort_memory"), 0);
	engine_free(s);
}
END_TEST

/* ... with thresholds that leave room for almost none of it. */
START_TEST(memory_hard_limit)
{
	begin();
	s->tunables.tcp_mem[0] = 50;
	s->tunables.tcp_mem[1] = 60;
	s->tunables.tcp_mem[2] = 100;
	for (u32 i = 0; i < 20; i++)
		open_pair(i);
	flood(20);
	ck_assert_uint_le(s->tcp_memory, 100 * SOCK_MEMORY_PAGE + 20 * 2 * 2000);
	ck_assert_uint_ge(s->tcp_memory, 60 * SOCK_MEMORY_PAGE);
	drain(20);
	finish(20);
}
END_TEST

/* 16,000 bytes take a large packet each: four are as much as twice the buffer. */
START_TEST(memory_collapse)
{
	begin();
	open_pair(0);
	for (u32 i = 0; i < 4; i++)
		ck_assert_int_eq(write_some(0, 16000), 16000);
	ck_assert_uint_gt(sock_get(s, in[0])->rx_charged, 2 * sock_get(s, in[0])->rcvbuf);
	ck_assert_uint_eq(net_count(s, "tcp_collapsed"), 0);
	ck_assert_int_eq(write_some(0, 1000), 1000);
	ck_assert_uint_eq(net_count(s, "tcp_collapsed"), 4);
	ck_assert_uint_eq(net_count(s, "tcp_prune"), 1);
	ck_assert_uint_eq(net_count(s, "tcp_rcv_pruned"), 0);
	ck_assert_uint_lt(sock_get(s, in[0])->rx_charged, 80000);
	ck_assert_uint_eq(sock_get(s, in[0])->rxq.count, 1);
	check_connections(1);
	drain(1);
	finish(1);
}
END_TEST

static void all_spent(void)
{
	s->tunables.tcp_mem[0] = s->tunables.tcp_mem[1] = 0;
	s->tunables.tcp_mem[2] = 1;
}

START_TEST(memory_orphan_at_close)
{
	begin();
	open_pair(0);
	flood(1);
	all_spent();
	sock_close(s, out[0]);
	ck_assert(!sock_get(s, out[0]));
	ck_assert_uint_eq(net_count(s, "tcp_abort_memory"), 1);
	finish(1);
}
END_TEST

START_TEST(memory_orphan_at_timer)
{
	begin();
	open_pair(0);
	flood(1);
	sock_close(s, out[0]);
	engine_run(s, NS_PER_S);
	ck_assert(sock_get(s, out[0]) != NULL);
	all_spent();
	engine_run(s, 130 * NS_PER_S);
	ck_assert(!sock_get(s, out[0]));
	ck_assert_uint_eq(net_count(s, "tcp_abort_memory"), 1);
	finish(1);
}
END_TEST

/* A peer that has kept its window shut for a minute has no right to memory that others need. */
START_TEST(memory_stalled_pays)
{
	begin();
	open_pair(0);
	open_pair(1);
	flood(1);
	all_spent();
	ck_assert_int_eq(write_some(1, 4000), 1664);
	engine_run(s, 10 * NS_PER_S);
	ck_assert_uint_eq(net_count(s, "tcp_abort_memory"), 0);
	read_some(1);
	engine_run(s, 60 * NS_PER_S);
	ck_assert_int_gt(write_some(1, 4000), 0);
	ck_assert_uint_eq(net_count(s, "tcp_abort_memory"), 1);
	ck_assert_int_eq(sock_error(s, out[0]), ETIMEDOUT);
	finish(2);
}
END_TEST

START_TEST(memory_buffers_fixed)
{
	u32 sndbuf, rcvbuf;

	begin();
	open_pair(0);
	s->tunables.tcp_mem[0] = 1;
	s->tunables.tcp_mem[1] = 100000;
	s->tunables.tcp_mem[2] = 200000;
	sndbuf = sock_get(s, out[0])->sndbuf;
	rcvbuf = sock_get(s, in[0])->rcvbuf;
	while (sent[0] < 20000000) {
		write_some(0, WRITE);
		write_some(0, WRITE);
		engine_run(s, NS_PER_MS);
		read_some(0);
	}
	ck_assert_uint_eq(sndbuf, sock_get(s, out[0])->sndbuf);
	ck_assert_uint_eq(rcvbuf, sock_get(s, in[0])->rcvbuf);
	drain(1);
	finish(1);
}
END_TEST

/* Datagrams: above the first threshold a socket has udp_rmem_min, above the third nothing. */
START_TEST(memory_udp)
{
	ref from = 0, to[2];
	u32 queued[2];

	begin();
	s->tunables.udp_mem[0] = s->tunables.udp_mem[1] = 4;
	s->tunables.udp_mem[2] = 8;
	s->tunables.udp_rmem_min = 5000;
	from = sock_lib_open(s, LX_SOCK_DGRAM);
	for (u16 i = 0; i < 2; i++) {
		to[i] = sock_lib_open(s, LX_SOCK_DGRAM);
		ck_assert_int_eq(sock_lib_bind(s, to[i], LO, (u16)(7000 + i)), 0);
		for (u32 k = 0; k < 50; k++)
			ck_assert_int_eq(
				sock_lib_send(s, from, LO, (u16)(7000 + i), buf, 1000, 0), 1000);
		queued[i] = sock_get(s, to[i])->rxq.count;
		check();
	}
	ck_assert_uint_eq(queued[0], 10); /* to 5 pages */
	ck_assert_uint_eq(queued[1], 3);
	ck_assert_uint_eq(net_count(s, "udp_memory"), 87);
	for (u32 i = 0; i < 2; i++)
		while (sock_lib_recv(s, to[i], buf, sizeof(buf), 0, NULL) > 0)
			;
	ck_assert_uint_eq(s->udp_memory, 0);
	sock_lib_send(s, from, LO, 7000, buf, 1000, 0);
	ck_assert_uint_gt(s->udp_memory, 0);
	sock_close(s, to[0]);
	ck_assert_uint_eq(s->udp_memory, 0);
	sock_close(s, to[1]);
	sock_close(s, from);
	finish(0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, memory_unread_flood);
	tcase_add_test(tc, memory_hard_limit);
	tcase_add_test(tc, memory_collapse);
	tcase_add_test(tc, memory_orphan_at_close);
	tcase_add_test(tc, memory_orphan_at_timer);
	tcase_add_test(tc, memory_stalled_pays);
	tcase_add_test(tc, memory_buffers_fixed);
	tcase_add_test(tc, memory_udp);
}

int main(void)
{
	return check_lines_case("tcp_memory", 120, add_tests);
}
