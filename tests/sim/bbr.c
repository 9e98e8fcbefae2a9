/*
 * BBR over emulated bottlenecks: it fills them, with and without random loss, whatever their queue, keeps a deep queue short, and shares
 * with another flow of its kind. Goodput counts the payload from two seconds on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/sim.h"

#define MBIT  1000000ull
#define BOUND (IMPAIR_ALWAYS / 1000) /* of loss: a tenth of a percent */

static int failed;

struct cell {
	const char *id;
	u64 rate, delay_ms, loss, queue_ms;
	u32 flows;
	double least; /* share of the rate that must arrive */
};

static void run(const struct cell *c, const char *congestion, double least)
{
	struct sim_config config = {.seed = 7, .limit_ns = 1000 * NS_PER_S, .bulk_ns = 12 * NS_PER_S, .bulk_from_ns = 2 * NS_PER_S,
		.congestion = congestion, .flows = c->flows};
	u64 goodput = 0;
	double share;
	struct sim_result r;

	for (u64 i = 0; i < 2; i++) {
		config.link[i].rate_bits_per_s = c->rate;
		config.link[i].delay_ns = c->delay_ms * NS_PER_MS;
		config.link[i].queue_bytes = c->rate / 8 * c->queue_ms / 1000;
		config.link[i].seed = 9 + i;
	}
	config.link[0].loss = (u32)(c->loss * BOUND);
	r = sim_transfer(&config);
	for (u32 i = 0; i < SIM_FLOWS; i++)
		goodput += r.received[i];
	share = (double)goodput * 8 / 10 / (double)c->rate;
	if (!r.failure && share < least)
		r.failure = "the link is not filled";
	if (r.failure)
		printf("not ok bbr-%s-%s %s\n", c->id, congestion, r.failure);
	else if (least > 0)
		printf("ok bbr-%s\n", c->id);
	printf("# %s %s: %.3f of the rate, %" PRIu64 " retransmits of %" PRIu64 " frames", c->id, congestion, share, r.retransmits, r.frames);
	for (u32 i = 0; c->flows > 1 && i < c->flows; i++)
		printf(", flow %.3f", (double)r.received[i] / (double)goodput);
	printf("\n");
	failed |= r.failure != NULL;
}

int main(void)
{
	static const struct cell cells[] = {
		{"clear", 20 * MBIT, 20, 0, 100, 1, 0.9},
		{"shallow", 20 * MBIT, 20, 0, 10, 1, 0.85},
		{"deep", 20 * MBIT, 20, 0, 1000, 1, 0.9},
		{"loss", 20 * MBIT, 20, 10, 100, 1, 0.75},
		{"slow", 1 * MBIT, 50, 0, 200, 1, 0.85},
		{"fast", 100 * MBIT, 10, 0, 50, 1, 0.9},
		{"far", 50 * MBIT, 100, 1, 200, 1, 0.8},
		{"two", 20 * MBIT, 20, 0, 100, 2, 0.9},
	};

	for (u32 i = 0; i < ARRAY_LEN(cells); i++) {
		run(&cells[i], "bbr", cells[i].least);
		if (getenv("COMPARE")) {
			run(&cells[i], "cubic", 0);
			run(&cells[i], "reno", 0);
		}
	}
	return failed;
}
