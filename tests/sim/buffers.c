/*
 * Buffers that grow with the path: with tcp_rmem and tcp_wmem raised to 256 MB one connection fills
 * 10 Gbit/s x 100 ms, of super-frames and of frames of wire size; with the defaults it reaches what
 * they allow; a buffer that the path does not need is not taken.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/sim.h"

static int failed;

static void large(struct stack_tunables *t)
{
	t->tcp_rmem[2] = t->tcp_wmem[2] = 256000000;
}

/* At least `share` of the rate is reached in the last quarter of the time. */
static void fills(const char *id, u64 rate_mbit, u64 rtt_ms, u64 seconds, u32 features,
	double share, void (*tune)(struct stack_tunables *))
{
	struct sim_config c = {.seed = 1,
		.features = features,
		.tune = tune,
		.memory = 3ull << 30,
		.limit_ns = 1000 * NS_PER_S,
		.bulk_from_ns = seconds * NS_PER_S * 3 / 4,
		.bulk_ns = seconds * NS_PER_S};
	struct sim_result r;
	double used;
	bool bad;

	for (u32 i = 0; i < 2; i++) {
		c.link[i].rate_bits_per_s = rate_mbit * 1000000;
		c.link[i].delay_ns = rtt_ms * NS_PER_MS / 2;
		c.link[i].queue_bytes = MAX(rate_mbit * rtt_ms * 125, 200000);
	}
	r = sim_transfer(&c);
	used = (double)r.received[0] * 8e3 / (double)(c.bulk_ns - c.bulk_from_ns) /
	       (double)rate_mbit;
	bad = r.failure || used < share;
	printf("%s sim-buffers-%s %s\n", bad ? "not ok" : "ok", id,
		r.failure ? r.failure
		: bad	  ? "does not fill the path"
			  : "");
	printf("# %.3f of the path, %llu frames, %llu sent again, %llu over the queue\n", used,
		(unsigned long long)r.frames, (unsigned long long)r.retransmits,
		(unsigned long long)r.link[0].overflowed);
	fflush(stdout);
	failed |= bad;
}

int main(void)
{
	u32 super = DEVICE_CSUM | DEVICE_TSO4;

	fills("10gbit-100ms", 10000, 100, 3, super, 0.9, large);
	fills("1gbit-20ms", 1000, 20, 2, super, 0.9, NULL);
	if (getenv("LONG"))
		fills("10gbit-100ms-wire-size", 10000, 100, 6, 0, 0.9, large);
	return failed;
}
