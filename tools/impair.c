/*
 * An impaired link, as a function from arrivals to deliveries.
 *
 * A frame goes through a queue in front of the rate (dropped when that is full), takes its time on
 * the wire, and is then lost, delayed, held back, doubled or damaged by chance. Loss comes behind
 * the queue: a lost frame has used the wire. Every frame draws the same number of random values
 * whatever the settings are, so that one setting changed leaves the other chances of every frame as
 * they were.
 */
#include "tools/impair.h"

#define ETHERNET_HEADER 14
#define ECN_CE		3

/* SplitMix64 (Steele, Lea, Flood 2014): any seed is a good one. */
static u64 impair_random(struct impair *im)
{
	u64 z = im->random += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static bool impair_chance(struct impair *im, u64 probability)
{
	return impair_random(im) >> 32 < probability;
}

/* An even choice from 0 to range. */
static u64 impair_choose(struct impair *im, u64 range)
{
	u64 value = impair_random(im);

	return range == UINT64_MAX ? value : value % (range + 1);
}

void impair_init(struct impair *im, const struct impair_config *config)
{
	*im = (struct impair){.config = *config, .random = config->seed};
	if (config->queue_bytes == 0)
		im->config.queue_bytes = MAX(config->rate_bits_per_s / 80, 30000);
	if (config->reorder_by_ns == 0)
		im->config.reorder_by_ns = MAX(config->delay_ns / 10, NS_PER_MS);
}

bool impair_is_clear(const struct impair_config *c)
{
	return !c->delay_ns && !c->jitter_ns && !c->loss && !c->reorder && !c->duplicate &&
	       !c->corrupt && !c->rate_bits_per_s;
}

/* When the frame has passed the queue and the rate, and whether it waited too long; false when the
 * queue is full. */
static bool impair_transmit(struct impair *im, u64 now_ns, size_t len, u64 *sent_ns, bool *late)
{
	u64 rate = im->config.rate_bits_per_s;
	u64 wait_ns = im->busy_until_ns > now_ns ? im->busy_until_ns - now_ns : 0;

	*sent_ns = now_ns;
	*late = im->config.ce_threshold_ns && wait_ns > im->config.ce_threshold_ns;
	if (rate == 0)
		return true;
	/* In double: nanoseconds times bits would pass 64 bits. */
	if ((double)wait_ns * (double)rate / 8e9 + (double)len > (double)im->config.queue_bytes &&
		wait_ns > 0)
		return false;
	im->busy_until_ns = now_ns + wait_ns + (u64)((double)len * 8e9 / (double)rate);
	*sent_ns = im->busy_until_ns;
	return true;
}

struct impair_fate impair_frame(struct impair *im, u64 now_ns, size_t len)
{
	const struct impair_config *c = &im->config;
	struct impair_fate fate = {.copies = 1, .flip = IMPAIR_NO_FLIP};
	bool lost = impair_chance(im, c->loss);
	bool held = impair_chance(im, c->reorder);
	bool doubled = impair_chance(im, c->duplicate);
	bool damaged = impair_chance(im, c->corrupt);
	u64 jitter_ns = impair_choose(im, 2 * c->jitter_ns);
	u64 extra_ns = 1 + impair_choose(im, c->reorder_by_ns - 1);
	u64 bit = impair_random(im);
	u64 sent_ns, due_ns;

	im->frames++;
	if (!impair_transmit(im, now_ns, len, &sent_ns, &fate.mark)) {
		im->overflowed++;
		fate.copies = 0;
		return fate;
	}
	if (lost) {
		im->lost++;
		fate.copies = 0;
		return fate;
	}
	due_ns = sent_ns + c->delay_ns + jitter_ns;
	due_ns = MAX(due_ns - MIN(c->jitter_ns, due_ns), sent_ns);
	due_ns = MAX(due_ns, im->last_due_ns);
	if (held) {
		im->reordered++;
		due_ns += extra_ns;
	} else {
		im->last_due_ns = due_ns;
	}
	fate.due_ns = due_ns;
	if (doubled) {
		im->duplicated++;
		fate.copies = 2;
	}
	if (damaged && len > ETHERNET_HEADER) {
		im->corrupted++;
		fate.flip = (u32)(bit % ((len - ETHERNET_HEADER) * 8));
	}
	return fate;
}

bool impair_flip(u8 *frame, size_t len, u32 bit)
{
	size_t at = ETHERNET_HEADER + bit / 8;

	if (len <= at)
		return false;
	if ((frame[12] != 0x08 || frame[13] != 0x00) && (frame[12] != 0x86 || frame[13] != 0xdd))
		return false;
	frame[at] ^= (u8)(1u << bit % 8);
	return true;
}

void impair_mark(struct impair *im, u8 *frame, size_t len)
{
	u8 *ip = frame + ETHERNET_HEADER;
	u32 sum, more;

	if (len >= ETHERNET_HEADER + 20 && frame[12] == 0x08 && frame[13] == 0x00 &&
		ip[1] & ECN_CE) {
		more = ECN_CE - (ip[1] & ECN_CE);
		ip[1] |= ECN_CE;
		sum = (u32)(~(ip[10] << 8 | ip[11]) & 0xffff) + more; /* RFC 1624, equation 3 */
		sum = ~((sum & 0xffff) + (sum >> 16));
		ip[10] = (u8)(sum >> 8);
		ip[11] = (u8)sum;
		im->marked++;
	} else if (len >= ETHERNET_HEADER + 40 && frame[12] == 0x86 && frame[13] == 0xdd &&
		   ip[1] & ECN_CE << 4) {
		ip[1] |= ECN_CE << 4;
		im->marked++;
	}
}
