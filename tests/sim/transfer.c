/*
 * Transfers over simulated links: each impairment alone, all together, and the issue of
 * determinism. LONG=1 moves 1 GB through the worst link and runs many more seeds.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/sim.h"

#define PERCENT (IMPAIR_ALWAYS / 100)

static int failed;

static void report(const char *id, const struct sim_result *r)
{
	if (r->failure)
		printf("not ok %s %s\n", id, r->failure);
	else
		printf("ok %s\n", id);
	printf("# %s: %.3f s virtual, %" PRIu64 " frames, %" PRIu64 " retransmits\n", id,
		(double)r->duration_ns / 1e9, r->frames, r->retransmits);
	failed |= r->failure != NULL;
}

static struct sim_config base(u64 bytes, u64 seed)
{
	struct sim_config c = {
		.bytes = {bytes, bytes}, .seed = seed, .limit_ns = 100000 * NS_PER_S};

	for (int i = 0; i < 2; i++) {
		c.link[i].delay_ns = 5 * NS_PER_MS;
		c.link[i].seed = seed * 2 + (u64)i;
	}
	return c;
}

static struct sim_result transfer(const struct sim_config *c, const char *id)
{
	struct sim_result r = sim_transfer(c);

	report(id, &r);
	return r;
}

static void both(struct sim_config *c, size_t offset, u64 value)
{
	for (int i = 0; i < 2; i++)
		memcpy((char *)&c->link[i] + offset, &value, sizeof(value));
}

#define BOTH(c, field, value) both(&(c), offsetof(struct impair_config, field), (value))

static void large_buffers(struct stack_tunables *t)
{
	t->tcp_rmem[2] = t->tcp_wmem[2] = 32 << 20;
}

static struct sim_config worst(u64 bytes, u64 seed)
{
	struct sim_config c = base(bytes, seed);

	BOTH(c, delay_ns, 50 * NS_PER_MS);
	BOTH(c, loss, PERCENT);
	BOTH(c, reorder, 5 * PERCENT);
	BOTH(c, duplicate, PERCENT);
	BOTH(c, corrupt, PERCENT);
	return c;
}

/* Slow start runs into a full queue on a long path, and loses half of what it sends. No loss of it was none. */
static void overshoot(const char *congestion)
{
	struct sim_config c = base(0, 12);
	struct sim_result r;
	char id[64];

	c.congestion = congestion;
	c.bulk_ns = 4 * NS_PER_S;
	BOTH(c, delay_ns, 100 * NS_PER_MS);
	BOTH(c, rate_bits_per_s, 100 * 1000 * 1000);
	BOTH(c, queue_bytes, 1250000);
	c.tune = large_buffers;
	r = sim_transfer(&c);
	if (!r.failure && r.undone)
		r.failure = "a loss was undone";
	snprintf(id, sizeof(id), "sim-overshoot-%s", congestion);
	report(id, &r);
	printf("# %s: %" PRIu64 " over the queue\n", id, r.link[0].overflowed);
}

int main(void)
{
	bool large = getenv("LONG") != NULL;
	u64 bytes = large ? 100u << 20 : 4u << 20;
	struct sim_config c;
	struct sim_result a, b;
	char id[64];

	c = base(bytes, 1);
	transfer(&c, "sim-clear");
	c = base(bytes, 1);
	c.features = DEVICE_CSUM | DEVICE_TSO4;
	transfer(&c, "sim-super-frames");
	c = base(bytes, 2);
	BOTH(c, loss, 3 * PERCENT);
	transfer(&c, "sim-loss");
	c = base(bytes, 3);
	BOTH(c, reorder, 10 * PERCENT);
	transfer(&c, "sim-reordering");
	c = base(bytes, 4);
	BOTH(c, duplicate, 10 * PERCENT);
	transfer(&c, "sim-duplication");
	c = base(bytes, 5);
	BOTH(c, corrupt, 3 * PERCENT);
	transfer(&c, "sim-corruption");
	c = base(bytes, 6);
	BOTH(c, rate_bits_per_s, 10 * 1000 * 1000);
	BOTH(c, queue_bytes, 32000);
	transfer(&c, "sim-narrow");
	c = base(bytes, 7);
	c.mtu = 576;
	BOTH(c, jitter_ns, 2 * NS_PER_MS);
	transfer(&c, "sim-small-mtu");
	c = worst(large ? 1000000000 : 4u << 20, 8);
	transfer(&c, "sim-all-impairments");
	overshoot("reno");
	overshoot("cubic");
	c = worst(1u << 20, 9);
	a = sim_transfer(&c);
	b = sim_transfer(&c);
	if (!a.failure && a.wire_hash != b.wire_hash)
		a.failure = "the same seed put other bytes on the wire";
	report("sim-same-seed-same-wire", &a);
	c.seed = 10;
	b = sim_transfer(&c);
	if (!b.failure && a.wire_hash == b.wire_hash)
		b.failure = "another seed put the same bytes on the wire";
	report("sim-other-seed-other-wire", &b);
	for (u64 seed = 100; seed < (large ? 1100u : 120u); seed++) {
		c = worst(200000, seed);
		snprintf(id, sizeof(id), "sim-seed-%" PRIu64, seed);
		transfer(&c, id);
	}
	return failed;
}
