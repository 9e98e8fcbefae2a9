/*
 * Goodput over simulated links beside the kernel's over the same emulated link (kernel_goodput.txt,
 * made by kernel_goodput and kernel_bbr), with the same seeds: the same algorithm reaches at least
 * 0.95 of it. BBR here is version 3, the kernel's is version 1.
 * LONG=1 measures every line of the table; else those that take little, of which random loss may
 * leave 0.9, and those whose queue is short for a long path, where slow start loses thousands of
 * segments. Arguments choose by parts of the id.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/sim.h"

enum {
	SECONDS = 5,
	SHARE_PERCENT = 95,
	LOSSY_PERCENT = 90, /* chance moves the mean of few runs by five or more */
	/* After losses in Startup BBR 3 leaves 15 % of the volume free until the first probe; that
	 * is most of the five seconds of a long path. */
	HEADROOM_PERCENT = 90,
	SHORT_MBIT = 40
};

struct cell {
	char congestion[16];
	double rate_mbit, rtt_ms, loss_per_mille, queue_bytes, kernel_mbit;
	unsigned runs;
};

static void kernel_buffers(struct stack_tunables *t)
{
	t->tcp_rmem[2] = t->tcp_wmem[2] = 33554432;
}

/* The mean over the seeds of the kernel's runs, in Mbit/s; *failure stays NULL when all bytes were
 * right. */
static double measure(const struct cell *cell, const char **failure)
{
	u32 runs = cell->loss_per_mille != 0 ? cell->runs : 1;
	double sum = 0;

	for (u32 seed = 1; seed <= runs; seed++) {
		struct sim_config c = {.seed = seed,
			.bulk_ns = SECONDS * NS_PER_S,
			.limit_ns = 1000 * NS_PER_S,
			.congestion = cell->congestion,
			.clear_arp = true,
			.tune = kernel_buffers,
			.memory = 1ull << 30};
		struct sim_result r;

		for (u32 i = 0; i < 2; i++) {
			c.link[i].rate_bits_per_s = (u64)(cell->rate_mbit * 1e6);
			c.link[i].delay_ns = (u64)(cell->rtt_ms * 1e6 / 2);
			c.link[i].loss = (u64)(cell->loss_per_mille / 1000 * IMPAIR_ALWAYS);
			c.link[i].queue_bytes = (u64)cell->queue_bytes;
			c.link[i].seed = seed ^ (u64)i << 63; /* as `ustack link --seed` */
		}
		r = sim_transfer(&c);
		if (r.failure)
			*failure = r.failure;
		sum += (double)r.received[0] * 8 / 1e6 / SECONDS;
		if (getenv("RUNS_TOO"))
			printf("#   seed %u: %.3f, %" PRIu64 " sent again, %" PRIu64
			       " lost, %" PRIu64 " over the queue\n",
				seed, (double)r.received[0] * 8 / 1e6 / SECONDS, r.retransmits,
				r.link[0].lost, r.link[0].overflowed);
	}
	return sum / runs;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static bool chosen(int argc, char **argv, const char *id)
{
	for (int i = 1; i < argc; i++)
		if (!strstr(id, argv[i]))
			return false;
	return true;
}

static bool is_far_and_shallow(const struct cell *c)
{
	return c->rtt_ms >= 200 && c->queue_bytes * 8 <= c->rate_mbit * c->rtt_ms * 125;
}

/* What must be reached, in percent */
static double least_share(const struct cell *c)
{
	if (c->loss_per_mille != 0)
		return getenv("LONG") ? SHARE_PERCENT : LOSSY_PERCENT;
	return strcmp(c->congestion, "bbr") == 0 && is_far_and_shallow(c) ? HEADROOM_PERCENT
									  : SHARE_PERCENT;
}

/* Whether a cell is measured without LONG=1 */
static bool is_short(const struct cell *c)
{
	if (c->loss_per_mille != 0)
		return c->kernel_mbit * c->runs <= SHORT_MBIT;
	return c->kernel_mbit <= SHORT_MBIT || is_far_and_shallow(c);
}

int main(int argc, char **argv)
{
	const char *name = "tests/sim/kernel_goodput.txt";
	FILE *f = fopen(getenv("TABLE") ? getenv("TABLE") : name, "r");
	char line[256], id[128];
	struct cell c;
	double ratios[200], median;
	int failed = 0;
	u32 cells = 0;

	if (!f) {
		printf("not ok sim-goodput-table %s cannot be read\n", name);
		return 1;
	}
	while (fgets(line, sizeof(line), f)) {
		const char *failure = NULL;
		double mbit, least;

		if (line[0] == '#' || sscanf(line, "%15s %lf %lf %lf %lf %lf %u", c.congestion,
					      &c.rate_mbit, &c.rtt_ms, &c.loss_per_mille,
					      &c.queue_bytes, &c.kernel_mbit, &c.runs) != 7)
			continue;
		if (!getenv("LONG") && argc == 1 && !is_short(&c))
			continue;
		snprintf(id, sizeof(id), "sim-goodput-%s-%.0fmbit-%.0fms-loss%.0f-queue%.0f",
			c.congestion, c.rate_mbit, c.rtt_ms, c.loss_per_mille, c.queue_bytes);
		if (!chosen(argc, argv, id))
			continue;
		mbit = measure(&c, &failure);
		least = c.kernel_mbit * least_share(&c) / 100;
		if (failure)
			printf("not ok %s %s\n", id, failure);
		else if (mbit < least)
			printf("not ok %s %.3f of the kernel's\n", id, mbit / c.kernel_mbit);
		else
			printf("ok %s\n", id);
		printf("# %s: %.3f Mbit/s, the kernel's %.3f, ratio %.3f\n", id, mbit,
			c.kernel_mbit, mbit / c.kernel_mbit);
		fflush(stdout);
		failed |= failure || mbit < least;
		if (cells < ARRAY_LEN(ratios))
			ratios[cells++] = mbit / c.kernel_mbit;
	}
	fclose(f);
	if (cells && argc == 1) {
		qsort(ratios, cells, sizeof(ratios[0]), by_value);
		median = ratios[cells / 2];
		printf("%s sim-goodput-median\n# the median of %u ratios: %.3f\n",
			median * 100 < SHARE_PERCENT ? "not ok" : "ok", cells, median);
		failed |= median * 100 < SHARE_PERCENT;
	}
	return failed;
}
