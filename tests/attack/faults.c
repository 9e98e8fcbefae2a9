/*
 * What a test puts in the engine's place (the linker's --wrap): allocations that fail, and numbers that are about to wrap. Rows I9 and
 * J10 of README.md. LONG=1 lets every allocation fail once, and moves more.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/peer.h"
#include "tests/lib/sim.h"
#include "tests/lib/sock_lib.h"

#define PERCENT (IMPAIR_ALWAYS / 100)

ref __real_slab_alloc(struct stack *s, enum slab_kind kind);
u32 __real_tcp_isn(struct stack *s, const struct endpoint *local, const struct endpoint *remote);
u32 __real_tcp_ts_offset(struct stack *s, const struct endpoint *local, const struct endpoint *remote);
ref __wrap_slab_alloc(struct stack *s, enum slab_kind kind);
u32 __wrap_tcp_isn(struct stack *s, const struct endpoint *local, const struct endpoint *remote);
u32 __wrap_tcp_ts_offset(struct stack *s, const struct endpoint *local, const struct endpoint *remote);

/* Allocations are counted from the first frame that is sent for the second TCP block, when armed. */
static struct {
	bool armed, begun, fixed;
	u32 blocks, count, failed;
	u32 nth, every; /* the n-th fails, or every n-th; 0: none */
	u32 isn, ts;	/* with `fixed`: initial numbers, and the timestamp at 1000 s */
} fault;

ref __wrap_slab_alloc(struct stack *s, enum slab_kind kind)
{
	fault.begun |= fault.armed && fault.blocks >= 2 && kind == SLAB_FRAME;
	if (fault.armed && fault.begun) {
		fault.count++;
		if ((fault.nth && fault.count == fault.nth) || (fault.every && fault.count % fault.every == 0)) {
			fault.failed++;
			return 0;
		}
	}
	fault.blocks += kind == SLAB_TCP;
	return __real_slab_alloc(s, kind);
}

u32 __wrap_tcp_isn(struct stack *s, const struct endpoint *local, const struct endpoint *remote)
{
	return fault.fixed ? fault.isn : __real_tcp_isn(s, local, remote);
}

u32 __wrap_tcp_ts_offset(struct stack *s, const struct endpoint *local, const struct endpoint *remote)
{
	return fault.fixed ? fault.ts - 1000000 : __real_tcp_ts_offset(s, local, remote);
}

static void both(struct sim_config *c, u64 loss, u64 reorder, u64 duplicate, u64 rate)
{
	for (u32 i = 0; i < 2; i++) {
		c->link[i] = (struct impair_config){.delay_ns = 5 * NS_PER_MS, .loss = loss, .reorder = reorder, .duplicate = duplicate,
			.rate_bits_per_s = rate, .seed = c->seed * 2 + i};
	}
}

/* --- J10 --- */

static struct sim_config small_transfer(u64 bytes)
{
	struct sim_config c = {.bytes = {bytes, bytes}, .seed = 3, .limit_ns = 10000 * NS_PER_S, .memory = 64u << 20};

	both(&c, PERCENT, 2 * PERCENT, PERCENT, 50000000);
	return c;
}

static const char *faulty(const struct sim_config *c, u32 nth, u32 every)
{
	struct sim_result r;

	memset(&fault, 0, sizeof(fault));
	fault.nth = nth;
	fault.every = every;
	fault.armed = true;
	r = sim_transfer(c);
	fault.armed = false;
	return r.failure;
}

/* One allocation fails: all bytes arrive all the same, and nothing is left over. */
START_TEST(J10_each_allocation_of_a_transfer)
{
	struct sim_config c = small_transfer(40000);
	u32 all, step;

	ck_assert_ptr_null(faulty(&c, 0, 0));
	all = fault.count;
	ck_assert_uint_gt(all, 100);
	step = getenv("LONG") ? 1 : MAX(all / 150, 1);
	for (u32 n = 1; n <= all; n += n < 40 ? 1 : step) {
		const char *why = faulty(&c, n, 0);

		ck_assert_msg(!why, "allocation %u of %u: %s", n, all, why);
		ck_assert_uint_eq(fault.failed, 1);
	}
	printf("# %u allocations\n", all);
}
END_TEST

/* Many fail, for the whole of the transfer. */
START_TEST(J10_every_nth_allocation)
{
	static const u32 every[] = {100, 31, 17, 7, 5, 4};
	struct sim_config c = small_transfer(getenv("LONG") ? 1000000 : 100000);

	for (u32 i = 0; i < ARRAY_LEN(every); i++) {
		const char *why = faulty(&c, 0, every[i]);

		ck_assert_msg(!why, "every %u: %s", every[i], why);
		ck_assert_uint_gt(fault.failed, 0);
	}
}
END_TEST

static bool acceptable(s64 result)
{
	return result >= 0 || result == -ENOBUFS || result == -ENOMEM || result == -EAGAIN || result == -EINPROGRESS ||
	       result == -EADDRNOTAVAIL;
}

static ref opened(struct stack *s, int type)
{
	int error = 0;
	ref sk = sock_open(s, FAMILY_INET, type, 0, &error);

	ck_assert_msg(sk || acceptable(error) || acceptable(-error), "sock_open: %d", error);
	return sk;
}

/* The calls of a program: each has one of the errors that a full host gives, and closing gives all back. */
static void calls(struct stack *s, u8 group[8])
{
	struct peer p = peer_new(s);
	ref udp, tcp, listener;
	u8 buf[100];
	int error;

	udp = opened(s, LX_SOCK_DGRAM);
	tcp = opened(s, LX_SOCK_STREAM);
	listener = opened(s, LX_SOCK_STREAM);
	if (udp) {
		ck_assert(acceptable(sock_lib_bind(s, udp, 0, 9)));
		ck_assert(acceptable(sock_setopt(s, udp, LX_SOL_IP, LX_IP_ADD_MEMBERSHIP, group, 8)));
		ck_assert(acceptable(sock_lib_send(s, udp, NET_PEER, 4000, "0123456789", 10, 0)));
		engine_frame_in(s, buf, 0);
		ck_assert(acceptable(sock_lib_recv(s, udp, buf, sizeof(buf), LX_MSG_DONTWAIT, NULL)));
	}
	if (tcp) {
		ck_assert(acceptable(sock_lib_connect(s, tcp, NET_PEER, 5000)));
		engine_run(s, 5 * NS_PER_S);
	}
	if (listener && sock_lib_bind(s, listener, 0, 80) == 0 && sock_listen(s, listener, 5) == 0) {
		p.listener = listener;
		for (u32 i = 0; i < 3; i++) {
			static u8 frame[200];
			struct net_tcp seg = {.sport = 4242, .dport = 80, .seq = 1000, .flags = PEER_SYN, .window = 65535};
			struct peer_segment got;

			engine_frame_in(s, frame, net_tcp(frame, &(struct net_ip4){0}, &seg, NULL, 0));
			if (!peer_next(&p, &got))
				continue;
			seg.seq++;
			seg.ack = got.seq + 1;
			seg.flags = PEER_ACK;
			engine_frame_in(s, frame, net_tcp(frame, &(struct net_ip4){0}, &seg, "hello", 5));
			p.sk = sock_accept(s, listener, &error);
			if (!p.sk)
				continue;
			ck_assert(acceptable(sock_lib_recv(s, p.sk, buf, sizeof(buf), LX_MSG_DONTWAIT, NULL)));
			ck_assert(acceptable(sock_lib_send(s, p.sk, 0, 0, "answer", 6, LX_MSG_DONTWAIT)));
			break;
		}
	}
	if (p.sk)
		sock_close(s, p.sk);
	if (udp)
		sock_close(s, udp);
	if (tcp)
		sock_close(s, tcp);
	if (listener)
		sock_close(s, listener);
}

START_TEST(J10_each_allocation_of_calls)
{
	static const enum slab_kind kinds[] = {SLAB_PKT_SMALL, SLAB_PKT_MEDIUM, SLAB_PKT_LARGE, SLAB_FRAME, SLAB_SOCK, SLAB_TCP,
		SLAB_TCP_REQUEST, SLAB_TCP_TIMEWAIT, SLAB_REASM, SLAB_PORT, SLAB_MEMBERSHIP};
	u8 group[8] = {239, 1, 2, 3};
	u32 n = 0;

	do {
		struct stack *s = engine_new_ready(NULL);
		struct peer p = peer_new(s);

		memset(&fault, 0, sizeof(fault));
		fault.begun = true;
		fault.nth = ++n;
		fault.armed = true;
		calls(s, group);
		fault.armed = false;
		engine_run(s, 2000 * NS_PER_S);
		engine_frames_drop(s);
		for (u32 i = 0; i < ARRAY_LEN(kinds); i++)
			ck_assert_msg(slab_in_use(s, kinds[i]) == 0, "allocation %u: %u objects of kind %u left", n,
				slab_in_use(s, kinds[i]), kinds[i]);
		ck_assert_uint_eq(net_count(s, "invariant"), 0);
		peer_enter(&p, STAGE_ESTABLISHED);
		engine_free(s);
	} while (fault.failed);
	ck_assert_uint_gt(n, 15);
	printf("# %u allocations\n", n - 1);
}
END_TEST

/* --- I9 --- */

static struct sim_result numbered(const struct sim_config *c, u32 isn, u32 ts)
{
	struct sim_result r;

	memset(&fault, 0, sizeof(fault));
	fault.fixed = true;
	fault.isn = isn;
	fault.ts = ts;
	r = sim_transfer(c);
	fault.fixed = false;
	return r;
}

/* The same transfer whatever its numbers: each frame at the same time, as many of them, as many sent again. */
START_TEST(I9_numbers_that_wrap)
{
	static const struct {
		u32 isn, ts;
	} starts[] = {{UINT32_MAX, 5000000}, {INT32_MAX, 5000000}, {UINT32_MAX - 100000, 5000000}, {INT32_MAX - 70000, 5000000},
		{70000, UINT32_MAX - 77}, {70000, INT32_MAX - 77}, {UINT32_MAX - 1460, UINT32_MAX - 300}, {INT32_MAX - 1, INT32_MAX - 500}};
	static const char *const algorithms[] = {"reno", "cubic", "bbr"};
	struct sim_config c = {.seed = (u64)_i + 1, .limit_ns = 1000 * NS_PER_S, .congestion = algorithms[_i % 3]};
	struct sim_result usual;

	c.bytes[0] = c.bytes[1] = getenv("LONG") ? 10000000 : 300000;
	both(&c, _i / 3 == 1 ? 2 * PERCENT : _i / 3 == 3 ? 10 * PERCENT : 0, _i / 3 == 2 ? 10 * PERCENT : 0,
		_i / 3 == 2 ? 5 * PERCENT : 0, 20000000);
	usual = numbered(&c, 70000, 5000000);
	ck_assert_ptr_null(usual.failure);
	for (u32 i = 0; i < ARRAY_LEN(starts); i++) {
		struct sim_result r = numbered(&c, starts[i].isn, starts[i].ts);

		ck_assert_msg(!r.failure, "start %u: %s", i, r.failure);
		/* BBR draws the times of its probes from the initial number. */
		ck_assert_msg(_i % 3 == 2 || (r.duration_ns == usual.duration_ns && r.frames == usual.frames && r.retransmits == usual.retransmits),
			"start %u: %" PRIu64 " ns, %" PRIu64 " frames, %" PRIu64 " sent again; not %" PRIu64 ", %" PRIu64 ", %" PRIu64, i,
			r.duration_ns, r.frames, r.retransmits, usual.duration_ns, usual.frames, usual.retransmits);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, J10_each_allocation_of_a_transfer);
	tcase_add_test(tc, J10_every_nth_allocation);
	tcase_add_test(tc, J10_each_allocation_of_calls);
	tcase_add_loop_test(tc, I9_numbers_that_wrap, 0, 12);
}

int main(void)
{
	return check_lines_case("faults", getenv("LONG") ? 1800 : 240, add_tests);
}
