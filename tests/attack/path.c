/*
 * Paths and clocks that do what none should: rows K1 to K4 and K9 of README.md. LONG=1 moves more over each.
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

static const char *const algorithms[] = {"reno", "cubic", "bbr"};
enum { CCS = 3 };

/* 20 Mbit/s, 40 ms there and back. */
static struct sim_config path(const char *cc, u64 bytes)
{
	struct sim_config c = {.seed = 5, .limit_ns = 2000 * NS_PER_S, .congestion = cc, .bytes = {bytes, 1000}, .clear_arp = true};

	for (u32 i = 0; i < 2; i++)
		c.link[i] = (struct impair_config){.delay_ns = 20 * NS_PER_MS, .rate_bits_per_s = 20000000, .seed = i};
	return c;
}

static u64 size(u64 bytes)
{
	return getenv("LONG") ? 10 * bytes : bytes;
}

static struct sim_result moved(const struct sim_config *c, const char *what)
{
	struct sim_result r = sim_transfer(c);

	ck_assert_msg(!r.failure, "%s, %s: %s", what, c->congestion, r.failure);
	printf("# %s, %s: %.2f s, %" PRIu64 " sent again, %" PRIu64 " reductions undone\n", what, c->congestion,
		(double)r.duration_ns / 1e9, r.retransmits, r.undone);
	return r;
}

/* --- K1 --- */

/* Some segments are overtaken by 3, 30 and 300 that were sent behind them: RACK learns it, and the rate does not collapse. */
START_TEST(K1_reordering)
{
	static const u32 by[] = {3, 30, 300};
	struct sim_config c = path(algorithms[_i % CCS], size(4000000));
	u64 clear = moved(&c, "in order").duration_ns;
	u32 n = by[_i / CCS];
	struct sim_result r;
	char what[64];

	snprintf(what, sizeof(what), "by %u", n);
	c.link[0].reorder = PERCENT;
	c.link[0].reorder_by_ns = n * 1514ull * 8 * NS_PER_S / 20000000;
	r = moved(&c, what);
	ck_assert_msg(r.duration_ns < 4 * clear, "%g s, in order %g s", (double)r.duration_ns / 1e9, (double)clear / 1e9);
	ck_assert_uint_lt(r.retransmits, 400 * size(1)); /* of 2740 segments, 27 of which were held back */
}
END_TEST

static void jump(struct impair *link, u32 from, u64 since_ns)
{
	(void)from;
	link->config.delay_ns = (since_ns / NS_PER_S % 3 == 1 ? 1500 : 20) * NS_PER_MS;
}

/* The delay jumps beyond the timeout and back: the timeouts were too early, which is found out. */
START_TEST(K1_spurious_timeouts)
{
	struct sim_config c = path(algorithms[_i], size(8000000));
	struct sim_result r;

	c.change = jump;
	r = moved(&c, "delay jumps to 1.5 s");
	ck_assert_uint_gt(r.undone, 0);
	ck_assert_uint_lt(r.duration_ns, size(40) * NS_PER_S);
}
END_TEST

/* --- K2: shrew --- */

static void shrew(struct impair *link, u32 from, u64 since_ns)
{
	link->config.loss = !from && since_ns > NS_PER_S / 10 && since_ns % (200 * NS_PER_MS) < 40 * NS_PER_MS ? IMPAIR_ALWAYS : 0;
}

/* Bursts that take all of 40 ms away, in step with the least timeout (200 ms, tcp_rto_min_us): it goes on, if slowly. */
START_TEST(K2_bursts_each_timeout)
{
	struct sim_config c = path(algorithms[_i], size(500000));

	c.change = shrew;
	ck_assert_uint_lt(moved(&c, "bursts").duration_ns, size(100) * NS_PER_S);
}
END_TEST

/* --- K3 --- */

static u32 buffer;

static void buffers(struct stack_tunables *t)
{
	t->tcp_rmem[1] = t->tcp_rmem[2] = t->tcp_wmem[1] = t->tcp_wmem[2] = buffer;
	t->tcp_rmem[0] = t->tcp_wmem[0] = MIN(buffer, 4096u);
}

/* Loss of 0.1 to 30 % with buffers of 128 bytes to 1 MiB: everything arrives. */
START_TEST(K3_loss_and_buffers)
{
	static const double losses[] = {0.1, 1, 3, 10, 30};
	static const u32 sizes[] = {128, 1024, 4096, 16384, 65536, 1 << 20};

	for (u32 i = 0; i < ARRAY_LEN(losses); i++) {
		printf("# %g %%:", losses[i]);
		for (u32 k = 0; k < ARRAY_LEN(sizes); k++) {
			struct sim_config c = path(algorithms[_i], size(losses[i] > 5 ? 20000 : 100000));
			struct sim_result r;

			c.link[0].loss = c.link[1].loss = (u64)(losses[i] * (double)PERCENT);
			c.limit_ns = 200000 * NS_PER_S;
			c.tune = buffers;
			buffer = sizes[k];
			r = sim_transfer(&c);
			ck_assert_msg(!r.failure, "%g %%, buffers of %u: %s", losses[i], sizes[k], r.failure);
			printf(" %.1f s", (double)r.duration_ns / 1e9);
		}
		printf("\n");
	}
}
END_TEST

/* --- K4 --- */

static void ten_times(struct impair *link, u32 from, u64 since_ns)
{
	(void)from;
	link->config.delay_ns = (since_ns < 2 * NS_PER_S ? 5 : 50) * NS_PER_MS;
}

/* Another path: narrower, shorter, and with little queue. */
static void other_path(struct impair *link, u32 from, u64 since_ns)
{
	(void)from;
	if (since_ns < NS_PER_S)
		return;
	link->config.delay_ns = 2 * NS_PER_MS;
	link->config.rate_bits_per_s = 5000000;
	link->config.queue_bytes = 20000;
}

static void blackout(struct impair *link, u32 from, u64 since_ns)
{
	(void)from;
	link->config.loss = since_ns > NS_PER_S && since_ns < 61 * NS_PER_S ? IMPAIR_ALWAYS : 0;
}

START_TEST(K4_paths_that_change)
{
	struct sim_config c = path(algorithms[_i], size(4000000));
	u64 after;

	c.change = ten_times;
	ck_assert_uint_lt(moved(&c, "ten times the delay").duration_ns, size(20) * NS_PER_S);
	c.change = other_path;
	ck_assert_uint_lt(moved(&c, "another path").duration_ns, size(30) * NS_PER_S);
	c.change = blackout;
	after = moved(&c, "nothing for a minute").duration_ns;
	/* It goes on at the next timeout, which has doubled eight times by then. */
	ck_assert_msg(after < size(120) * NS_PER_S, "%g s", (double)after / 1e9);
}
END_TEST

/* --- K9: clocks --- */

#define DAY_NS (86400 * NS_PER_S)

static void jumps(bool rich, u64 ahead_ns)
{
	struct peer p = peer_new(engine_new_ready(NULL));
	struct sock *sk;

	p.rich = rich;
	peer_enter(&p, STAGE_ESTABLISHED);
	sk = sock_get(p.s, p.sk);
	for (u32 i = 0; i < 5; i++) {
		ck_assert(peer_alive(&p));
		/* With text in flight the clock is another at once: timers that are due are late, no more. */
		ck_assert_int_eq(sock_lib_send(p.s, p.sk, 0, 0, "0123456789", 10, 0), 10);
		stack_clock(p.s, p.s->now_ns + ahead_ns);
		stack_advance(p.s);
		ck_assert_ptr_null(tcp_check(p.s, sk));
		engine_run(p.s, NS_PER_S);
		peer_ack(&p);
		/* Backwards it does not go: that is taken for no time. */
		stack_clock(p.s, p.s->now_ns - NS_PER_S);
		stack_clock(p.s, 0);
		stack_advance(p.s);
		stack_advance(p.s);
		ck_assert_ptr_null(tcp_check(p.s, sk));
		ck_assert_int_eq(peer_stage(&p), STAGE_ESTABLISHED);
	}
	/* Idle for so long. */
	ck_assert(peer_alive(&p));
	engine_run(p.s, ahead_ns);
	ck_assert(peer_alive(&p));
	ck_assert_uint_eq(net_count(p.s, "invariant"), 0);
	engine_free(p.s);
}

/* Jumps ahead: to where 32 bits of milliseconds and of microseconds wrap, a day, the age at which timestamps are outdated, years. */
START_TEST(K9_jumps)
{
	static const u64 ahead[] = {0, 1, 71 * 60 * NS_PER_S + 35 * NS_PER_S, DAY_NS, 24 * DAY_NS, 25 * DAY_NS,
		49 * DAY_NS + 61200 * NS_PER_S, 50 * DAY_NS, 1000 * DAY_NS};

	jumps(_i & 1, ahead[_i / 2]);
}
END_TEST

/* Timers of all kinds armed, and the clock goes on by a day at once: each strikes once, nothing loops. */
START_TEST(K9_all_timers_late)
{
	static const enum peer_stage stages[] = {STAGE_SYN_SENT, STAGE_SYN_RECEIVED, STAGE_ESTABLISHED, STAGE_FIN_WAIT_1, STAGE_FIN_WAIT_2,
		STAGE_CLOSING, STAGE_LAST_ACK, STAGE_TIME_WAIT};

	for (u32 i = 0; i < ARRAY_LEN(stages); i++) {
		struct peer p = peer_new(engine_new_ready(NULL));
		u32 frames;

		peer_enter(&p, stages[i]);
		if (stages[i] == STAGE_ESTABLISHED)
			sock_lib_send(p.s, p.sk, 0, 0, "0123456789", 10, 0);
		if (p.sk)
			sock_lib_set(p.s, p.sk, LX_SOL_SOCKET, LX_SO_KEEPALIVE, 1);
		engine_frames_drop(p.s);
		stack_clock(p.s, p.s->now_ns + DAY_NS);
		stack_advance(p.s);
		frames = engine_frames_drop(p.s);
		ck_assert_msg(frames <= 5, "stage %u: %u frames", stages[i], frames);
		if (p.sk)
			sock_close(p.s, p.sk);
		if (p.listener)
			sock_close(p.s, p.listener);
		for (u32 k = 0; k < 100; k++) {
			engine_run(p.s, 100 * NS_PER_S);
			engine_frames_drop(p.s);
		}
		ck_assert(stack_idle(p.s));
		ck_assert_uint_eq(net_count(p.s, "invariant"), 0);
		engine_free(p.s);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, K1_reordering, 0, 3 * CCS);
	tcase_add_loop_test(tc, K1_spurious_timeouts, 0, CCS);
	tcase_add_loop_test(tc, K2_bursts_each_timeout, 0, CCS);
	tcase_add_loop_test(tc, K3_loss_and_buffers, 0, CCS);
	tcase_add_loop_test(tc, K4_paths_that_change, 0, CCS);
	tcase_add_loop_test(tc, K9_jumps, 0, 18);
	tcase_add_test(tc, K9_all_timers_late);
}

int main(void)
{
	return check_lines_case("path", getenv("LONG") ? 1800 : 240, add_tests);
}
