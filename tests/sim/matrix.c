/*
 * Transfers over links drawn from the whole range of what a path may be: loss 0 to 30 %,
 * reordering, duplication, corruption, jitter, 1 Mbit/s to 10 Gbit/s, round trips of 1 to 500 ms,
 * queues of an eighth to two products of the two; with each congestion control. All bytes arrive,
 * both hosts end with nothing left over. LONG=1 makes 10,000. Then: flows that share a link have
 * equal parts.
 *
 * An argument is a seed: this one transfer alone.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/tcp_cc.h"
#include "tests/lib/sim.h"

#define PERCENT		  (IMPAIR_ALWAYS / 100)
#define ELEMENT(array, n) (array)[(n) % ARRAY_LEN(array)]

enum { LOSSES = 7, GROUP_SHORT = 12, GROUP_LONG = 10000 };

static const double losses[LOSSES] = {0, 0.1, 1, 3, 5, 10, 30}; /* percent */

static u64 draw(u64 *state)
{
	u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static struct sim_config path(u64 seed, u32 loss)
{
	static const u64 mbit[] = {1, 2, 10, 50, 100, 1000, 10000};
	static const u64 rtt_us[] = {1000, 5000, 10000, 50000, 100000, 200000, 500000};
	static const u64 eighths[] = {1, 2, 4, 8, 16};
	u64 state = seed;
	struct sim_config c = {.seed = seed, .limit_ns = 200000 * NS_PER_S};
	u64 rate = ELEMENT(mbit, draw(&state)), rtt = ELEMENT(rtt_us, draw(&state));
	u64 queue = rate * rtt / 8 / 8 * ELEMENT(eighths, draw(&state));
	u64 kinds = draw(&state), jitter = draw(&state) % 100,
	    size = losses[loss] > 9 ? 20000 : 200000;

	c.clear_arp = losses[loss] > 9; /* three requests for an address would not always get through */
	for (int i = 0; i < 2; i++) {
		struct impair_config *l = &c.link[i];

		c.bytes[i] = 1 + draw(&state) % size;
		l->seed = seed * 2 + (u64)i;
		l->rate_bits_per_s = rate * 1000000;
		l->queue_bytes = MAX(queue, 6000);
		l->delay_ns = rtt * NS_PER_US / 2;
		l->loss = (u64)(losses[loss] * (double)PERCENT);
		l->reorder = kinds & 1 ? (1 + kinds / 16 % 10) * PERCENT : 0;
		l->duplicate = kinds & 2 ? (1 + kinds / 256 % 10) * PERCENT : 0;
		l->corrupt = kinds & 4 ? PERCENT : 0;
		l->jitter_ns = kinds & 8 ? l->delay_ns * jitter / 100 : 0;
	}
	return c;
}

/* Seeds name an algorithm and a loss too. */
static int transfers(u32 cc, u32 loss, u32 count)
{
	const char *why = NULL;
	u64 bad = 0, frames = 0, again = 0;

	for (u32 n = 0; n < count; n++) {
		u64 seed = ((u64)n * LOSSES + loss) * TCP_CCS + cc;
		struct sim_config c = path(seed, loss);
		struct sim_result r;

		c.congestion = tcp_cc_name(cc);
		r = sim_transfer(&c);
		frames += r.frames;
		again += r.retransmits;
		if (r.failure && !why) {
			why = r.failure;
			bad = seed;
		}
	}
	if (why)
		printf("not ok sim-matrix-%s-loss%g %s (seed %" PRIu64 ")\n", tcp_cc_name(cc),
			losses[loss], why, bad);
	else
		printf("ok sim-matrix-%s-loss%g\n", tcp_cc_name(cc), losses[loss]);
	printf("# %u transfers, %" PRIu64 " frames, %" PRIu64 " sent again\n", count, frames,
		again);
	fflush(stdout);
	return why != NULL;
}

static int one(u64 seed)
{
	struct sim_config c = path(seed, (u32)(seed / TCP_CCS % LOSSES));
	struct sim_result r;

	c.congestion = tcp_cc_name((u32)(seed % TCP_CCS));
	r = sim_transfer(&c);
	printf("%s sim-matrix-seed-%" PRIu64 " %s\n", r.failure ? "not ok" : "ok", seed,
		r.failure ? r.failure : "");
	printf("# %s, %" PRIu64 " bit/s, %" PRIu64 " ns, loss %g %%, %" PRIu64 " and %" PRIu64
	       " bytes: %g s, %" PRIu64 " frames, %" PRIu64 " sent again\n",
		c.congestion, c.link[0].rate_bits_per_s, c.link[0].delay_ns,
		(double)c.link[0].loss / (double)PERCENT, c.bytes[0], c.bytes[1],
		(double)r.duration_ns / 1e9, r.frames, r.retransmits);
	return r.failure != NULL;
}

/* Two flows over one bottleneck: the parts differ by a tenth at most in the long run. */
static int fairness(u32 cc, u64 rate_mbit, u64 rtt_ms, u64 seconds)
{
	struct sim_config c = {.seed = 1,
		.flows = 2,
		.congestion = tcp_cc_name(cc),
		.limit_ns = 1000 * NS_PER_S,
		.bulk_from_ns = seconds * NS_PER_S / 4,
		.bulk_ns = seconds * NS_PER_S};
	struct sim_result r;
	double part, used;
	bool failed;

	for (u32 i = 0; i < 2; i++) {
		c.link[i].rate_bits_per_s = rate_mbit * 1000000;
		c.link[i].delay_ns = rtt_ms * NS_PER_MS / 2;
		c.link[i].queue_bytes = MAX(rate_mbit * rtt_ms * 125, 30000);
		/* Without chance the phases of two flows at a full queue decide (Floyd and Jacobson
		 * 1992). */
		c.link[i].jitter_ns = c.link[i].delay_ns / 10;
		c.link[i].seed = i;
	}
	r = sim_transfer(&c);
	part = (double)r.received[0] / (double)(r.received[0] + r.received[1]);
	used = (double)(r.received[0] + r.received[1]) * 8e3 /
	       (double)(c.bulk_ns - c.bulk_from_ns) / (double)rate_mbit;
	failed = r.failure || part < 0.45 || part > 0.55;
	printf("%s sim-fairness-%s-%" PRIu64 "mbit-%" PRIu64 "ms %s\n", failed ? "not ok" : "ok",
		tcp_cc_name(cc), rate_mbit, rtt_ms, r.failure ? r.failure : "");
	printf("# one flow has %.3f of what two received, together %.3f of the link\n", part, used);
	fflush(stdout);
	return failed;
}

int main(int argc, char **argv)
{
	bool large = getenv("LONG") != NULL;
	int failed = 0;

	if (argc > 1)
		return one(strtoull(argv[1], NULL, 10));
	for (u32 cc = 0; cc < TCP_CCS; cc++) {
		for (u32 loss = 0; loss < LOSSES; loss++)
			failed |= transfers(cc, loss,
				large ? GROUP_LONG / (LOSSES * TCP_CCS) + 1 : GROUP_SHORT);
		failed |= fairness(cc, 10, 20, large ? 600 : 120);
		if (large)
			failed |= fairness(cc, 50, 50, 1000);
	}
	return failed;
}
