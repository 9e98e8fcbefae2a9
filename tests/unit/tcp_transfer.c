/*
 * TCP between two engines over a simulated link, and over one engine's loopback: every byte arrives
 * once and in order, connections open and end in all the ways there are, and nothing is left
 * behind. The invariants of both ends are checked after every event.
 */
#include <stdlib.h>
#include <string.h>

#include "stack/linux.h"
#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

#define FLYING_MAX 8192

struct flying {
	u64 at_ns;
	int to;
	u32 len;
	struct offload offload;
	u8 *bytes;
};

/* Two hosts and what is on the wire between them, in order of arrival. */
static struct {
	struct stack *s[2];
	ref sk[2]; /* whose invariants are checked */
	struct flying flying[FLYING_MAX];
	u32 count;
	u64 now_ns, delay_ns;
	u32 loss_ppm, reorder_ppm, duplicate_ppm;
	u64 ns_per_byte, queue_ns, busy_until_ns; /* a bottleneck from host 0 to 1, with a queue */
	u32 overflowed;
	u64 random;
} w;

static u32 dice(void)
{
	w.random = w.random * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(w.random >> 33) % 1000000u;
}

static struct stack_config config_of(int i, u32 features)
{
	struct stack_config c = net_config();

	c.features = features;
	if (i) {
		c.addr = addr_v4(NET_PEER);
		memcpy(c.mac, net_peer_mac, 6);
		c.gateway = addr_v4(NET_HOST);
		c.seed[0] ^= 0x55;
	}
	return c;
}

static void world_new(u32 features)
{
	memset(&w, 0, sizeof(w));
	for (int i = 0; i < 2; i++) {
		struct stack_config c = config_of(i, features);

		w.s[i] = engine_new_sized(&c, 256u << 20);
		w.now_ns = c.now_ns;
	}
	w.delay_ns = NS_PER_MS;
	w.random = 1;
}

static void world_free(void)
{
	for (u32 i = 0; i < w.count; i++)
		free(w.flying[i].bytes);
	engine_free(w.s[0]);
	engine_free(w.s[1]);
}

static void check(void)
{
	for (int i = 0; i < 2; i++) {
		struct sock *sk = w.s[i] ? sock_get(w.s[i], w.sk[i]) : NULL;
		const char *why = sk ? tcp_check(w.s[i], sk) : NULL;

		ck_assert_msg(!why, "host %d: %s", i, why ? why : "");
	}
}

static void fly(int to, const u8 *bytes, u32 len, const struct offload *offload, u64 delay_ns)
{
	struct flying f = {.at_ns = w.now_ns + delay_ns, .to = to, .len = len, .offload = *offload};
	u32 i = w.count;

	ck_assert_uint_lt(w.count, FLYING_MAX);
	f.bytes = malloc(len);
	memcpy(f.bytes, bytes, len);
	while (i && w.flying[i - 1].at_ns > f.at_ns) {
		w.flying[i] = w.flying[i - 1];
		i--;
	}
	w.flying[i] = f;
	w.count++;
}

/* False: the queue is full. */
static bool through_bottleneck(u32 len, u64 *delay_ns)
{
	u64 begin = MAX(w.busy_until_ns, w.now_ns);

	if (begin - w.now_ns > w.queue_ns) {
		w.overflowed++;
		return false;
	}
	w.busy_until_ns = begin + len * w.ns_per_byte;
	*delay_ns += w.busy_until_ns - w.now_ns;
	return true;
}

static void collect(void)
{
	static u8 buf[NET_FRAME_MAX];
	struct offload offload;
	u64 delay;
	u32 len;

	for (int i = 0; i < 2; i++) {
		while ((len = engine_frame_out(w.s[i], buf, &offload))) {
			delay = w.delay_ns;
			/* ARP gets through: what fails is to be TCP's business. */
			if (buf[13] != 0x06 && dice() < w.loss_ppm)
				continue;
			if (!i && w.ns_per_byte && !through_bottleneck(len, &delay))
				continue;
			fly(!i, buf, len, &offload,
				delay + (dice() < w.reorder_ppm ? w.delay_ns / 2 : 0));
			if (dice() < w.duplicate_ppm)
				fly(!i, buf, len, &offload, delay);
		}
	}
}

/* The next event: a frame arrives or a timer fires. False when nothing is due before `until`. */
static bool step(u64 until)
{
	u64 next = until + 1;
	struct flying f;

	collect();
	if (w.count)
		next = MIN(next, w.flying[0].at_ns);
	for (int i = 0; i < 2; i++)
		next = MIN(next, MAX(stack_deadline(w.s[i]), w.now_ns));
	if (next > until) {
		w.now_ns = until;
		return false;
	}
	w.now_ns = next;
	for (int i = 0; i < 2; i++) {
		stack_clock(w.s[i], w.now_ns);
		stack_advance(w.s[i]);
	}
	while (w.count && w.flying[0].at_ns <= w.now_ns) {
		f = w.flying[0];
		w.count--;
		memmove(w.flying, w.flying + 1, w.count * sizeof(f));
		engine_frame_in_offload(w.s[f.to], f.bytes, f.len, &f.offload);
		free(f.bytes);
		check();
	}
	check();
	return true;
}

static void run(u64 duration_ns)
{
	u64 until = w.now_ns + duration_ns;

	while (step(until))
		;
}

static ref tcp_socket(int i)
{
	int error;
	ref r = sock_open(w.s[i], FAMILY_INET, LX_SOCK_STREAM, 0, &error);

	ck_assert(r != 0);
	return r;
}

static struct endpoint at(u32 addr, u16 port)
{
	return (struct endpoint){.addr = addr_v4(addr), .port = port};
}

static ref listen_on(int i, u16 port, int backlog)
{
	struct endpoint local = at(0, port);
	ref r = tcp_socket(i);

	ck_assert_int_eq(sock_bind(w.s[i], r, &local), 0);
	ck_assert_int_eq(sock_listen(w.s[i], r, backlog), 0);
	return r;
}

static const u32 address[2] = {NET_HOST, NET_PEER};

/* w.sk[0] connects to a listener on host 1, whose end is w.sk[1]. */
static ref connect_pair(void)
{
	ref listener = listen_on(1, 80, 16);
	struct endpoint to = at(address[1], 80);
	int error;

	w.sk[0] = tcp_socket(0);
	ck_assert_int_eq(sock_connect(w.s[0], w.sk[0], &to), -EINPROGRESS);
	for (int i = 0; i < 1000 && !w.sk[1]; i++) {
		run(100 * NS_PER_MS);
		w.sk[1] = sock_accept(w.s[1], listener, &error);
	}
	ck_assert(w.sk[1] != 0);
	ck_assert_int_eq(sock_connect(w.s[0], w.sk[0], &to), 0);
	return listener;
}

static u8 pattern(u64 at)
{
	return (u8)(at * 131 + (at >> 8) * 7 + (at >> 16));
}

static void fill_plan(struct stack *s, const struct plan *plan, u64 from)
{
	for (u32 i = 0; i < plan->count; i++) {
		u8 *p = sock_span(s, &plan->span[i]);

		for (u32 k = 0; k < plan->span[i].len; k++)
			p[k] = pattern(from++);
	}
}

static s64 send_some(struct stack *s, ref sk, u64 at, u64 len, u32 flags)
{
	struct plan plan = {.flags = flags};
	s64 n = sock_send_reserve(s, sk, &plan, len);

	if (n < 0)
		return n;
	fill_plan(s, &plan, at);
	return sock_send_commit(s, &plan, (u32)n);
}

static s64 recv_some(struct stack *s, ref sk, u64 at, u64 len, u32 flags)
{
	struct plan plan = {.flags = flags};
	s64 n = sock_recv_take(s, sk, &plan, len, 1);
	u64 done = 0;

	if (n <= 0)
		return n;
	for (u32 i = 0; i < plan.count; i++) {
		const u8 *p = sock_span(s, &plan.span[i]);

		for (u32 k = 0; k < plan.span[i].len; k++, done++)
			if (p[k] != pattern(at + done))
				ck_abort_msg("byte %llu is wrong", (unsigned long long)(at + done));
	}
	return sock_recv_commit(s, &plan, (u32)n);
}

/* Sends `total` bytes from `from` to the other in writes of `chunk`, then its FIN; the other reads
 * to the end. */
static void transfer(int from, u64 total, u64 chunk, u64 limit_ns)
{
	u64 sent = 0, got = 0, until = w.now_ns + limit_ns;
	bool shut = false;
	s64 n;

	for (;;) {
		while (sent < total && (n = send_some(w.s[from], w.sk[from], sent,
						MIN(chunk, total - sent), 0)) > 0)
			sent += (u64)n;
		if (sent == total && !shut) {
			ck_assert_int_eq(sock_shutdown(w.s[from], w.sk[from], LX_SHUT_WR), 0);
			shut = true;
		}
		while ((n = recv_some(w.s[!from], w.sk[!from], got, 1 << 20, 0)) > 0)
			got += (u64)n;
		if (n == 0)
			break;
		ck_assert_int_eq(n, -EAGAIN);
		check();
		ck_assert_msg(step(until), "stalled: %llu sent, %llu received",
			(unsigned long long)sent, (unsigned long long)got);
	}
	ck_assert_uint_eq(got, total);
}

/* Closes both ends and lets TIME-WAIT pass: nothing may be left. */
static void finish(ref listener)
{
	for (int i = 0; i < 2; i++)
		sock_close(w.s[i], w.sk[i]);
	sock_close(w.s[1], listener);
	run(200 * NS_PER_S);
	for (int i = 0; i < 2; i++) {
		stack_tx_reclaim(w.s[i]);
		ck_assert_uint_eq(slab_in_use(w.s[i], SLAB_SOCK), 0);
		ck_assert_uint_eq(slab_in_use(w.s[i], SLAB_TCP), 0);
		ck_assert_uint_eq(slab_in_use(w.s[i], SLAB_TCP_TIMEWAIT), 0);
		ck_assert_uint_eq(slab_in_use(w.s[i], SLAB_PKT_SMALL), 0);
		ck_assert_uint_eq(slab_in_use(w.s[i], SLAB_PKT_MEDIUM), 0);
		ck_assert_uint_eq(slab_in_use(w.s[i], SLAB_PKT_LARGE), 0);
		ck_assert_uint_eq(slab_in_use(w.s[i], SLAB_FRAME), 0);
		ck_assert_uint_eq(w.s[i]->tcp_orphans, 0);
		ck_assert_uint_eq(net_count(w.s[i], "invariant"), 0);
		ck_assert_uint_eq(net_count(w.s[i], "stale_free"), 0);
		ck_assert(stack_idle(w.s[i]));
	}
	world_free();
}

START_TEST(tcp_transfer_both_ways)
{
	ref listener;

	world_new(0);
	listener = connect_pair();
	transfer(0, 3000000, 16384, 60 * NS_PER_S);
	transfer(1, 1000000, 1000, 60 * NS_PER_S);
	ck_assert_uint_eq(net_count(w.s[0], "tcp_retransmit"), 0);
	ck_assert_uint_eq(net_count(w.s[1], "tcp_retransmit"), 0);
	finish(listener);
}
END_TEST

/* Both buffers grow to the path: 20 MB over 50 ms need more than the 64 KiB of the beginning. */
START_TEST(tcp_transfer_buffers_grow)
{
	ref listener;
	u64 began;

	world_new(_i ? DEVICE_CSUM | DEVICE_TSO4 : 0);
	w.delay_ns = 25 * NS_PER_MS;
	listener = connect_pair();
	began = w.now_ns;
	transfer(0, 20000000, 65536, 60 * NS_PER_S);
	ck_assert_uint_lt(w.now_ns - began, 2 * NS_PER_S);
	ck_assert_uint_gt(sock_get(w.s[0], w.sk[0])->sndbuf, 2000000);
	ck_assert_uint_gt(sock_get(w.s[1], w.sk[1])->rcvbuf, 2000000);
	finish(listener);
}
END_TEST

/*
 * A bottleneck of 100 Mbit/s whose queue overflows: every loss is mended once, the retransmissions
 * that are lost too, and without a timeout.
 */
START_TEST(tcp_transfer_bottleneck)
{
	ref listener;
	u64 began;

	world_new(0);
	w.delay_ns = 20 * NS_PER_MS;
	w.ns_per_byte = 80;
	w.queue_ns = (_i ? 100 : 24) * NS_PER_MS;
	listener = connect_pair();
	began = w.now_ns;
	transfer(0, 30000000, 65536, 60 * NS_PER_S);
	ck_assert_uint_gt(w.overflowed, 100);
	ck_assert_uint_le(net_count(w.s[0], "tcp_retransmit"), w.overflowed + w.overflowed / 20);
	ck_assert_uint_le(net_count(w.s[0], "tcp_timeout"), 1);
	ck_assert_uint_lt(w.now_ns - began, 6 * NS_PER_S); /* 40 Mbit/s and more */
	finish(listener);
}
END_TEST

/* Several threads between the two steps of their sends: bytes enter the stream in the order of the
 * commits. */
START_TEST(tcp_transfer_plans_interleaved)
{
	static struct plan plans[6];
	u64 sent = 0, got = 0;
	ref listener;
	s64 n;

	world_new(_i & 1 ? DEVICE_CSUM | DEVICE_TSO4 : 0);
	w.random = (u64)_i + 3;
	memset(plans, 0, sizeof(plans));
	listener = connect_pair();
	for (int round = 0; round < 3000; round++) {
		struct plan *p = &plans[dice() % ARRAY_LEN(plans)];
		u32 size = dice() % 8 ? dice() % 200 + 1 : dice() % 40000 + 1;

		if (p->kind == PLAN_NONE) {
			n = sock_send_reserve(w.s[0], w.sk[0], p, size);
			ck_assert(n > 0 || n == -EAGAIN);
		} else if (dice() % 8 == 0) {
			sock_plan_drop(w.s[0], p);
		} else {
			size = dice() & 1 ? p->bytes : dice() % (p->bytes + 1);
			fill_plan(w.s[0], p, sent);
			n = sock_send_commit(w.s[0], p, size);
			ck_assert_int_eq(n, size);
			sent += size;
		}
		check();
		if (dice() & 1)
			step(w.now_ns + NS_PER_MS);
		while ((n = recv_some(w.s[1], w.sk[1], got, 100000, 0)) > 0)
			got += (u64)n;
	}
	for (u32 i = 0; i < ARRAY_LEN(plans); i++)
		sock_plan_drop(w.s[0], &plans[i]);
	run(10 * NS_PER_S);
	while ((n = recv_some(w.s[1], w.sk[1], got, 100000, 0)) > 0)
		got += (u64)n;
	ck_assert_uint_eq(got, sent);
	finish(listener);
}
END_TEST

START_TEST(tcp_transfer_super_frames)
{
	ref listener;

	world_new(DEVICE_CSUM | DEVICE_TSO4);
	listener = connect_pair();
	transfer(0, 20000000, 131072, 60 * NS_PER_S);
	/* The bulk of it went in super-frames. */
	ck_assert_uint_lt(net_count(w.s[0], "eth_out"), 2000);
	finish(listener);
}
END_TEST

/* Loss, reordering and duplication in both directions, with and without SACK and timestamps. */
START_TEST(tcp_transfer_impaired)
{
	ref listener;

	world_new(_i & 1 ? DEVICE_CSUM | DEVICE_TSO4 : 0);
	for (int i = 0; i < 2; i++) {
		w.s[i]->tunables.tcp_sack = !(_i & 2);
		w.s[i]->tunables.tcp_timestamps = !(_i & 4);
	}
	w.random = (u64)_i + 7;
	w.loss_ppm = 30000;
	w.reorder_ppm = 30000;
	w.duplicate_ppm = 10000;
	listener = connect_pair();
	transfer(0, _i & 1 ? 10000000 : 2000000, 10000, 3600 * NS_PER_S);
	ck_assert_uint_gt(net_count(w.s[0], "tcp_retransmit"), 0);
	transfer(1, 300000, 777, 3600 * NS_PER_S);
	finish(listener);
}
END_TEST

START_TEST(tcp_transfer_heavy_loss)
{
	ref listener;

	world_new(0);
	w.loss_ppm = 200000;
	w.random = (u64)_i + 99;
	listener = connect_pair();
	transfer(0, 100000, 10000, 36000 * NS_PER_S);
	finish(listener);
}
END_TEST

/* Keys under which the connection's numbers and timestamps wrap soon after its begin. */
static void wrap_soon(int i, const struct endpoint *local, const struct endpoint *remote)
{
	struct stack *s = w.s[i];

	while (tcp_isn(s, local, remote) < 0xffffffffu - 30000)
		s->isn_key.k[0]++;
	while (tcp_clock(s, tcp_ts_offset(s, local, remote)) < 0xffffffffu - 1000)
		s->ts_key.k[0]++;
}

struct side {
	u64 sent, got, total;
	bool shut, ended;
};

/* Sends and reads amounts of any size, at any time, with options that change. */
static void random_turn(int i, struct side *side, struct side *other)
{
	static const int names[] = {LX_TCP_NODELAY, LX_TCP_CORK, LX_TCP_QUICKACK};
	int value = (int)dice() & 1;
	s64 n;

	if (dice() < 100000)
		sock_setopt(w.s[i], w.sk[i], LX_SOL_TCP, names[dice() % 3], &value, 4);
	if (side->sent < side->total) {
		u64 len = dice() % (dice() & 1 ? 100 : 60000) + 1;

		n = send_some(w.s[i], w.sk[i], side->sent, MIN(len, side->total - side->sent),
			dice() & 1 ? LX_MSG_MORE : 0);
		ck_assert_msg(n > 0 || n == -EAGAIN, "send gave %lld", (long long)n);
		side->sent += n > 0 ? (u64)n : 0;
	} else if (!side->shut) {
		ck_assert_int_eq(sock_shutdown(w.s[i], w.sk[i], LX_SHUT_WR), 0);
		side->shut = true;
	}
	if (!side->ended && dice() & 1) {
		n = recv_some(
			w.s[i], w.sk[i], side->got, dice() % (dice() & 1 ? 100 : 100000) + 1, 0);
		ck_assert(n >= 0 || n == -EAGAIN);
		side->ended = n == 0;
		side->got += n > 0 ? (u64)n : 0;
	}
	(void)other;
}

/* Both ways at once, any sizes, buffers and options, numbers that wrap. */
START_TEST(tcp_transfer_random)
{
	struct side side[2] = {{.total = 200000 + (u64)_i * 10000}, {.total = 150000}};
	struct endpoint a = at(NET_HOST, 4000), b = at(NET_PEER, 80);
	u64 until;
	ref listener;
	int size;

	world_new(_i & 1 ? DEVICE_CSUM | DEVICE_TSO4 : 0);
	w.random = (u64)_i * 1000 + 5;
	wrap_soon(0, &a, &b);
	wrap_soon(1, &b, &a);
	w.loss_ppm = (u32)_i % 3 * 15000;
	w.reorder_ppm = (u32)_i % 4 * 10000;
	w.duplicate_ppm = (u32)_i % 5 * 3000;
	listener = listen_on(1, 80, 16);
	if (_i & 2) {
		size = (int)dice() % 30000;
		sock_setopt(w.s[1], listener, LX_SOL_SOCKET, LX_SO_RCVBUF, &size, 4);
	}
	w.sk[0] = tcp_socket(0);
	if (_i & 4) {
		size = (int)dice() % 30000;
		sock_setopt(w.s[0], w.sk[0], LX_SOL_SOCKET, LX_SO_SNDBUF, &size, 4);
		sock_setopt(w.s[0], w.sk[0], LX_SOL_SOCKET, LX_SO_RCVBUF, &size, 4);
		size = (int)dice() % 1000 + 88;
		sock_setopt(w.s[0], w.sk[0], LX_SOL_TCP, LX_TCP_MAXSEG, &size, 4);
	}
	ck_assert_int_eq(sock_bind(w.s[0], w.sk[0], &a), 0);
	ck_assert_int_eq(sock_connect(w.s[0], w.sk[0], &b), -EINPROGRESS);
	for (int i = 0, error; i < 1000 && !w.sk[1]; i++) {
		run(100 * NS_PER_MS);
		w.sk[1] = sock_accept(w.s[1], listener, &error);
	}
	ck_assert(w.sk[1] != 0);
	until = w.now_ns + 36000 * NS_PER_S;
	while (!side[0].ended || !side[1].ended) {
		for (int i = 0; i < 2; i++) {
			random_turn(i, &side[i], &side[!i]);
			check();
		}
		step(w.now_ns + 10 * NS_PER_MS);
		if (dice() < 1000)
			run(NS_PER_S);
		ck_assert_msg(w.now_ns < until, "stalled at %llu of %llu, %llu of %llu",
			(unsigned long long)side[0].got, (unsigned long long)side[1].total,
			(unsigned long long)side[1].got, (unsigned long long)side[0].total);
	}
	ck_assert_uint_eq(side[0].got, side[1].total);
	ck_assert_uint_eq(side[1].got, side[0].total);
	finish(listener);
}
END_TEST

/* Memory comes and goes: nothing is lost but time. */
static void starve(struct stack *s)
{
	static const enum slab_kind kinds[] = {
		SLAB_PKT_SMALL, SLAB_PKT_MEDIUM, SLAB_PKT_LARGE, SLAB_PKT_HUGE, SLAB_FRAME};
	enum slab_kind kind = kinds[dice() % ARRAY_LEN(kinds)];

	if (dice() & 1)
		s->slab[kind].limit = s->slab[kind].in_use + dice() % 3;
	else
		s->slab[kind].limit = 4096;
}

START_TEST(tcp_transfer_starved)
{
	u64 sent = 0, got = 0, until;
	ref listener;
	s64 n = 1;

	world_new(_i & 1 ? DEVICE_CSUM | DEVICE_TSO4 : 0);
	w.random = (u64)_i + 1;
	w.loss_ppm = 10000;
	listener = connect_pair();
	until = w.now_ns + 36000 * NS_PER_S;
	while (got < 1000000) {
		for (int i = 0; i < 2; i++)
			starve(w.s[i]);
		n = send_some(w.s[0], w.sk[0], sent, MIN(20000, 1000000 - sent), 0);
		ck_assert(n >= 0 || n == -EAGAIN || n == -ENOBUFS);
		sent += n > 0 ? (u64)n : 0;
		n = recv_some(w.s[1], w.sk[1], got, 100000, 0);
		ck_assert(n > 0 || n == -EAGAIN);
		got += n > 0 ? (u64)n : 0;
		check();
		step(w.now_ns + NS_PER_S);
		ck_assert_msg(w.now_ns < until, "stalled: %llu sent, %llu received",
			(unsigned long long)sent, (unsigned long long)got);
	}
	for (int i = 0; i < 2; i++)
		for (u32 kind = SLAB_PKT_SMALL; kind <= SLAB_FRAME; kind++)
			w.s[i]->slab[kind].limit = 4096;
	finish(listener);
}
END_TEST

START_TEST(tcp_transfer_loopback)
{
	struct endpoint to = at(0x7f000001, 80);
	ref listener, a, b;
	u64 sent = 0, got = 0;
	s64 n;
	int error;

	world_new(0);
	listener = listen_on(0, 80, 16);
	a = tcp_socket(0);
	ck_assert_int_eq(sock_connect(w.s[0], a, &to), -EINPROGRESS);
	ck_assert_int_eq(sock_connect(w.s[0], a, &to), 0);
	b = sock_accept(w.s[0], listener, &error);
	ck_assert(b != 0);
	w.sk[0] = a;
	while (got < 5000000) {
		if (sent < 5000000) {
			n = send_some(w.s[0], a, sent, MIN(70000, 5000000 - sent), 0);
			ck_assert(n > 0 || n == -EAGAIN);
			sent += n > 0 ? (u64)n : 0;
		}
		while ((n = recv_some(w.s[0], b, got, 100000, 0)) > 0)
			got += (u64)n;
		check();
	}
	sock_close(w.s[0], a);
	ck_assert_int_eq(recv_some(w.s[0], b, got, 100, 0), 0);
	sock_close(w.s[0], b);
	sock_close(w.s[0], listener);
	run(200 * NS_PER_S);
	ck_assert(stack_idle(w.s[0]));
	ck_assert_uint_eq(net_count(w.s[0], "invariant"), 0);
	world_free();
}
END_TEST

START_TEST(tcp_connect_refused)
{
	struct endpoint to = at(NET_PEER, 81);

	world_new(0);
	w.sk[0] = tcp_socket(0);
	ck_assert_int_eq(sock_connect(w.s[0], w.sk[0], &to), -EINPROGRESS);
	run(NS_PER_S);
	ck_assert_uint_eq(sock_poll(w.s[0], w.sk[0]), EV_IN | EV_OUT | EV_ERR | EV_HUP | EV_RDHUP);
	ck_assert_int_eq(sock_connect(w.s[0], w.sk[0], &to), -ECONNREFUSED);
	sock_close(w.s[0], w.sk[0]);
	ck_assert_uint_eq(slab_in_use(w.s[0], SLAB_SOCK), 0);
	world_free();
}
END_TEST

START_TEST(tcp_connect_timeout)
{
	struct endpoint to = at(NET_PEER, 80);
	u64 began;

	world_new(0);
	listen_on(1, 80, 5);
	w.sk[0] = tcp_socket(0);
	run(NS_PER_S);
	w.loss_ppm = 1000000;
	began = w.now_ns;
	ck_assert_int_eq(sock_connect(w.s[0], w.sk[0], &to), -EINPROGRESS);
	while (sock_get(w.s[0], w.sk[0])->state == SOCK_CONNECTING)
		ck_assert(step(began + 200 * NS_PER_S));
	/* 1 + 2 + 4 + 8 + 16 + 32 + 64 s */
	ck_assert_uint_ge(w.now_ns - began, 126 * NS_PER_S);
	ck_assert_uint_le(w.now_ns - began, 128 * NS_PER_S);
	ck_assert_int_eq(sock_connect(w.s[0], w.sk[0], &to), -ETIMEDOUT);
	world_free();
}
END_TEST

START_TEST(tcp_close_unread_resets)
{
	ref listener;

	world_new(0);
	listener = connect_pair();
	ck_assert_int_eq(send_some(w.s[0], w.sk[0], 0, 100, 0), 100);
	run(NS_PER_S);
	sock_close(w.s[1], w.sk[1]);
	w.sk[1] = 0;
	run(NS_PER_S);
	ck_assert_int_eq(recv_some(w.s[0], w.sk[0], 0, 100, 0), -ECONNRESET);
	ck_assert_int_eq(recv_some(w.s[0], w.sk[0], 0, 100, 0), 0);
	ck_assert_int_eq(send_some(w.s[0], w.sk[0], 0, 100, 0), -EPIPE);
	finish(listener);
}
END_TEST

START_TEST(tcp_close_simultaneous)
{
	ref listener;

	world_new(0);
	listener = connect_pair();
	finish(listener); /* both close before either FIN has arrived */
}
END_TEST

START_TEST(tcp_open_simultaneous)
{
	struct endpoint local[2] = {at(NET_HOST, 1000), at(NET_PEER, 1000)};

	world_new(0);
	run(NS_PER_S);
	for (int i = 0; i < 2; i++) {
		w.sk[i] = tcp_socket(i);
		ck_assert_int_eq(sock_bind(w.s[i], w.sk[i], &local[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(sock_connect(w.s[i], w.sk[i], &local[!i]), -EINPROGRESS);
	run(NS_PER_S);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(sock_connect(w.s[i], w.sk[i], &local[!i]), 0);
	transfer(0, 100000, 10000, 60 * NS_PER_S);
	transfer(1, 100000, 10000, 60 * NS_PER_S);
	finish(listen_on(1, 80, 1));
}
END_TEST

START_TEST(tcp_zero_window_opens)
{
	ref listener;
	u64 sent = 0, got = 0;
	s64 n;

	world_new(0);
	listener = connect_pair();
	for (int i = 0; i < 100; i++) {
		while ((n = send_some(w.s[0], w.sk[0], sent, 100000, 0)) > 0)
			sent += (u64)n;
		run(NS_PER_S);
	}
	ck_assert_uint_gt(net_count(w.s[0], "tcp_window_probe"), 3);
	run(3600 * NS_PER_S); /* probes that are answered keep it for ever */
	ck_assert(!(sock_poll(w.s[0], w.sk[0]) & EV_ERR));
	for (int i = 0; i < 100 && got < sent; i++) {
		while ((n = recv_some(w.s[1], w.sk[1], got, 100000, 0)) > 0)
			got += (u64)n;
		run(NS_PER_S);
	}
	ck_assert_uint_eq(got, sent);
	finish(listener);
}
END_TEST

START_TEST(tcp_urgent_byte)
{
	struct plan plan = {.flags = LX_MSG_OOB};
	ref listener;
	int mark = 0;

	world_new(0);
	listener = connect_pair();
	ck_assert_int_eq(send_some(w.s[0], w.sk[0], 0, 10, 0), 10);
	ck_assert_int_eq(send_some(w.s[0], w.sk[0], 10, 5, LX_MSG_OOB), 5);
	ck_assert_int_eq(send_some(w.s[0], w.sk[0], 15, 10, 0), 10);
	run(NS_PER_S);
	ck_assert(sock_poll(w.s[1], w.sk[1]) & EV_PRI);
	ck_assert_int_eq(recv_some(w.s[1], w.sk[1], 0, 100, 0), 14); /* up to the mark */
	ck_assert_int_eq(sock_ioctl(w.s[1], w.sk[1], LX_SIOCATMARK, &mark), 0);
	ck_assert_int_eq(mark, 1);
	ck_assert_int_eq(sock_recv_take(w.s[1], w.sk[1], &plan, 1, 1), 1);
	ck_assert_uint_eq(*(u8 *)sock_span(w.s[1], &plan.span[0]), pattern(14));
	sock_recv_commit(w.s[1], &plan, 1);
	ck_assert_int_eq(recv_some(w.s[1], w.sk[1], 15, 100, 0), 10);
	finish(listener);
}
END_TEST

START_TEST(tcp_keepalive_detects_death)
{
	int one = 1, idle = 10, interval = 5, count = 3;
	ref listener;

	world_new(0);
	listener = connect_pair();
	sock_setopt(w.s[0], w.sk[0], LX_SOL_SOCKET, LX_SO_KEEPALIVE, &one, 4);
	ck_assert_int_eq(sock_setopt(w.s[0], w.sk[0], LX_SOL_TCP, LX_TCP_KEEPIDLE, &idle, 4), 0);
	sock_setopt(w.s[0], w.sk[0], LX_SOL_TCP, LX_TCP_KEEPINTVL, &interval, 4);
	sock_setopt(w.s[0], w.sk[0], LX_SOL_TCP, LX_TCP_KEEPCNT, &count, 4);
	run(100 * NS_PER_S);
	ck_assert(!(sock_poll(w.s[0], w.sk[0]) & EV_ERR));
	ck_assert_uint_ge(net_count(w.s[0], "tcp_keepalive"), 9);
	w.loss_ppm = 1000000;
	run(30 * NS_PER_S);
	ck_assert_int_eq(recv_some(w.s[0], w.sk[0], 0, 1, 0), -ETIMEDOUT);
	w.loss_ppm = 0;
	finish(listener);
}
END_TEST

START_TEST(tcp_backlog_full)
{
	struct endpoint to = at(NET_PEER, 80);
	ref listener, c[3];
	int error;

	world_new(0);
	listener = listen_on(1, 80, 1);
	for (int i = 0; i < 3; i++) {
		c[i] = tcp_socket(0);
		ck_assert_int_eq(sock_connect(w.s[0], c[i], &to), -EINPROGRESS);
		run(NS_PER_S);
	}
	/* Linux: one more than the backlog. */
	ck_assert_int_eq(sock_connect(w.s[0], c[1], &to), 0);
	ck_assert_int_eq(sock_connect(w.s[0], c[2], &to), -EALREADY);
	w.sk[1] = sock_accept(w.s[1], listener, &error);
	ck_assert(w.sk[1] != 0);
	run(10 * NS_PER_S);
	ck_assert_int_eq(sock_connect(w.s[0], c[2], &to), 0);
	for (int i = 1; i < 3; i++)
		sock_close(w.s[0], c[i]);
	w.sk[0] = c[0];
	finish(listener);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("tcp_transfer");
	TCase *c = tcase_create("tcp");

	tcase_add_test(c, tcp_transfer_both_ways);
	suite_add_tcase(s, c);
	c = tcase_create("super");
	tcase_add_test(c, tcp_transfer_super_frames);
	tcase_add_loop_test(c, tcp_transfer_plans_interleaved, 0, 6);
	tcase_add_loop_test(c, tcp_transfer_bottleneck, 0, 2);
	tcase_add_loop_test(c, tcp_transfer_buffers_grow, 0, 2);
	suite_add_tcase(s, c);
	c = tcase_create("impaired");
	tcase_add_loop_test(c, tcp_transfer_impaired, 0, 8);
	tcase_add_loop_test(c, tcp_transfer_heavy_loss, 0, 4);
	suite_add_tcase(s, c);
	c = tcase_create("random");
	tcase_add_loop_test(c, tcp_transfer_random, 0, 40);
	suite_add_tcase(s, c);
	c = tcase_create("starved");
	tcase_add_loop_test(c, tcp_transfer_starved, 0, 10);
	suite_add_tcase(s, c);
	c = tcase_create("loopback");
	tcase_add_test(c, tcp_transfer_loopback);
	suite_add_tcase(s, c);
	c = tcase_create("ends");
	tcase_add_test(c, tcp_connect_refused);
	tcase_add_test(c, tcp_connect_timeout);
	tcase_add_test(c, tcp_close_unread_resets);
	tcase_add_test(c, tcp_close_simultaneous);
	tcase_add_test(c, tcp_open_simultaneous);
	tcase_add_test(c, tcp_zero_window_opens);
	tcase_add_test(c, tcp_urgent_byte);
	tcase_add_test(c, tcp_keepalive_detects_death);
	tcase_add_test(c, tcp_backlog_full);
	suite_add_tcase(s, c);
	return s;
}

int main(void)
{
	return check_lines_main(suite);
}
