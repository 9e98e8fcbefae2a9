/*
 * A link that marks instead of dropping (RFC 3168, RFC 9768): whoever has agreed on ECN loses
 * nothing there, keeps the queue short and the link busy, and AccECN counts every mark.
 */
#include <inttypes.h>
#include <stdio.h>

#include "tests/lib/sim.h"

#define MBIT	     1000000ull
#define RATE	     (50 * MBIT)
#define THRESHOLD_NS (10 * NS_PER_MS)
#define SECONDS	     8

static int failed;
static u64 longest_ns; /* wait in the queue of the sender's link, once it has settled */
static u8 ecn;

static void tune(struct stack_tunables *t)
{
	t->tcp_ecn = ecn;
	t->tcp_rmem[2] = t->tcp_wmem[2] = 8 << 20;
}

static void measure(struct impair *link, u32 from, u64 since_ns)
{
	u64 now_ns = since_ns + 1000 * NS_PER_S;

	if (from == 0 && since_ns > 2 * NS_PER_S && link->busy_until_ns > now_ns)
		longest_ns = MAX(longest_ns, link->busy_until_ns - now_ns);
}

static struct sim_result transfer(const char *congestion, u8 mode, u64 ack_loss)
{
	struct sim_config c = {.seed = 7,
		.limit_ns = 100 * NS_PER_S,
		.bulk_ns = SECONDS * NS_PER_S,
		.bulk_from_ns = 2 * NS_PER_S,
		.congestion = congestion,
		.tune = tune,
		.change = measure};

	for (u32 i = 0; i < 2; i++) {
		c.link[i] = (struct impair_config){.delay_ns = 10 * NS_PER_MS,
			.rate_bits_per_s = RATE,
			.queue_bytes = RATE / 8 / 10,
			.seed = 100 + i};
	}
	c.link[0].ce_threshold_ns = THRESHOLD_NS;
	c.link[1].loss = ack_loss;
	ecn = mode;
	longest_ns = 0;
	return sim_transfer(&c);
}

static void report(const char *congestion, const char *how, struct sim_result *r)
{
	double share = (double)r->received[0] * 8 / ((SECONDS - 2) * (double)RATE);

	printf("%s sim-ecn-%s-%s %s\n", r->failure ? "not ok" : "ok", congestion, how,
		r->failure ? r->failure : "");
	printf("# %.3f of the rate, queue up to %.1f ms, %" PRIu64 " marked, %" PRIu64
	       " told, %" PRIu64 " over the queue, %" PRIu64 " retransmits\n",
		share, (double)longest_ns / 1e6, r->link[0].marked, r->delivered_ce,
		r->link[0].overflowed, r->retransmits);
	failed |= r->failure != NULL;
}

static void expect(struct sim_result *r, double least)
{
	if (r->failure)
		return;
	if (!r->link[0].marked || !r->delivered_ce)
		r->failure = "nothing was marked, or the sender was not told";
	else if (r->link[0].overflowed || r->retransmits)
		r->failure = "something was lost";
	else if (longest_ns > 2 * THRESHOLD_NS)
		r->failure = "the queue is long";
	else if ((double)r->received[0] * 8 < least * (SECONDS - 2) * (double)RATE)
		r->failure = "the link is idle";
}

/*
 * Reno halves its window of a round trip and a half, and once more when what it sends first after
 * that is marked as well (RFC 3168 6.1.2): its mean is 0.8 of the rate. CUBIC keeps more; BBR keeps
 * its model of the path, but takes the marks that AccECN counts for those of a full queue, and
 * stays below.
 */
static const struct {
	const char *congestion;
	bool fills;	 /* the queue, without ECN */
	double least[2]; /* share of the rate, with RFC 3168 and with RFC 9768 */
} cases[] = {
	{"reno", true, {0.75, 0.75}}, {"cubic", true, {0.85, 0.85}}, {"bbr", false, {0.85, 0.7}}};

int main(void)
{
	struct sim_result r;

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		const char *congestion = cases[i].congestion;

		r = transfer(congestion, 0, 0);
		if (!r.failure && (r.link[0].overflowed != 0) != cases[i].fills)
			r.failure = "the queue is not filled as it was";
		if (!r.failure && r.link[0].marked)
			r.failure = "marks without ECN";
		report(congestion, "off", &r);
		r = transfer(congestion, 1, 0);
		expect(&r, cases[i].least[0]);
		report(congestion, "classic", &r);
		r = transfer(congestion, 3, 0);
		expect(&r, cases[i].least[1]);
		if (!r.failure && r.delivered_ce != r.link[0].marked)
			r.failure = "marks were not counted";
		report(congestion, "accurate", &r);
		r = transfer(congestion, 3, IMPAIR_ALWAYS / 20);
		expect(&r, cases[i].least[1]);
		report(congestion, "accurate-ack-loss", &r);
	}
	return failed;
}
