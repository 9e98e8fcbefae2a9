/* The record of what is in flight: a sorted array that is cut at its front and added to at its end.
 */
#include <string.h>

#include "stack/tcp_sent.h"

#define SENT_COARSE 1024u /* runs: a smaller record is made larger instead */

void tcp_sent_init(struct tcp_sent *r, u32 bytes)
{
	memset(r, 0, sizeof(*r));
	r->max = (bytes - (u32)sizeof(*r)) / (u32)sizeof(r->run[0]);
}

void tcp_sent_copy(struct tcp_sent *to, const struct tcp_sent *from)
{
	u32 max = to->max;

	*to = *from;
	to->max = max;
	to->first = 0;
	to->count = MIN(from->count, max);
	memcpy(to->run, from->run + from->first, to->count * sizeof(to->run[0]));
}

u32 tcp_sent_find(const struct tcp_sent *r, u32 seq)
{
	const struct tcp_sent_run *run = r->run + r->first;
	u32 low = 0, high = r->count;

	while (low < high) { /* the first run that ends behind seq */
		u32 middle = low + (high - low) / 2;

		if (seq_gt(run[middle].end, seq))
			high = middle;
		else
			low = middle + 1;
	}
	return low < r->count && seq_leq(run[low].start, seq) ? low : r->count;
}

/* Sent together, and of the same fate: what the peer has needs no more than that. */
static bool tcp_sent_alike(const struct tcp_sent_run *a, const struct tcp_sent_run *b)
{
	if (a->flags & b->flags & SENT_SACKED)
		return true;
	return a->flags == b->flags && a->sent_us == b->sent_us && a->delivered == b->delivered;
}

/* Adds (or with sign -1 takes away) a run's bytes to the sums. */
static void tcp_sent_sum(struct tcp_sent *r, const struct tcp_sent_run *run, int sign)
{
	u32 bytes = sign > 0 ? run->end - run->start : run->start - run->end;

	if (run->flags & SENT_SACKED)
		r->sacked += bytes;
	if (run->flags & SENT_LOST)
		r->lost += bytes;
	if (run->flags & SENT_AGAIN)
		r->again += bytes;
}

/*
 * A record that fills keeps room for what the peer will SACK: what is sent in small parts one after
 * the other is then remembered together, as sent when the last of them was, in runs of which a
 * quarter of the record holds the whole flight. Not while something is sent again between them: by
 * that time it would seem overtaken.
 */
static bool tcp_sent_small(
	struct tcp_sent *r, const struct tcp_sent_run *last, const struct tcp_sent_run *run)
{
	u32 flight = run->end - tcp_sent_at(r, 0)->start;

	return r->count > r->max / 4 && r->max >= SENT_COARSE && !r->lost && !r->again &&
	       last->flags == run->flags && run->end - last->start <= flight / (r->max / 4);
}

void tcp_sent_add(struct tcp_sent *r, const struct tcp_sent_run *run)
{
	struct tcp_sent_run *last = r->count ? tcp_sent_at(r, r->count - 1) : NULL;

	if (last && (tcp_sent_alike(last, run) || !tcp_sent_has_room(r) ||
			    tcp_sent_small(r, last, run))) {
		tcp_sent_sum(r, last, -1);
		last->end = run->end;
		last->sent_us = run->sent_us;
		last->in_flight = run->in_flight;
		tcp_sent_sum(r, last, 1);
		return;
	}
	if (r->first + r->count == r->max) {
		memmove(r->run, r->run + r->first, r->count * sizeof(r->run[0]));
		r->first = 0;
	}
	r->run[r->first + r->count++] = *run;
	tcp_sent_sum(r, run, 1);
}

u32 tcp_sent_split(struct tcp_sent *r, u32 seq)
{
	u32 i = tcp_sent_find(r, seq);
	struct tcp_sent_run *run;

	if (i == r->count)
		return r->count && seq_lt(seq, tcp_sent_at(r, 0)->start) ? 0 : r->count;
	if (tcp_sent_at(r, i)->start == seq)
		return i;
	if (!tcp_sent_has_room(r))
		return UINT32_MAX;
	if (r->first && (i < r->count / 2 || r->first + r->count == r->max)) {
		memmove(r->run + r->first - 1, r->run + r->first, (i + 1) * sizeof(r->run[0]));
		r->first--;
	} else {
		memmove(tcp_sent_at(r, i + 1), tcp_sent_at(r, i),
			(r->count - i) * sizeof(r->run[0]));
	}
	r->count++;
	run = tcp_sent_at(r, i);
	run[1] = run[0];
	run[0].end = seq;
	run[0].in_flight -= MIN(run[1].end - seq, run[0].in_flight);
	run[1].start = seq;
	return i + 1;
}

void tcp_sent_mark(struct tcp_sent *r, u32 i, u32 set, u32 clear)
{
	struct tcp_sent_run *run = tcp_sent_at(r, i);

	tcp_sent_sum(r, run, -1);
	run->flags = (run->flags & ~clear) | set;
	tcp_sent_sum(r, run, 1);
}

void tcp_sent_cut(struct tcp_sent *r, u32 seq)
{
	while (r->count && seq_leq(tcp_sent_at(r, 0)->end, seq)) {
		tcp_sent_sum(r, tcp_sent_at(r, 0), -1);
		r->first++;
		r->count--;
	}
	if (r->count && seq_lt(tcp_sent_at(r, 0)->start, seq)) {
		struct tcp_sent_run *run = tcp_sent_at(r, 0);

		tcp_sent_sum(r, run, -1);
		run->start = seq;
		tcp_sent_sum(r, run, 1);
	}
	if (!r->count)
		r->first = 0;
}

static void tcp_sent_join_next(struct tcp_sent_run *run, const struct tcp_sent_run *next)
{
	run->end = next->end;
	run->in_flight = next->in_flight;
}

void tcp_sent_join(struct tcp_sent *r, u32 from, u32 to)
{
	u32 kept = from, last = MIN(to, r->count - 1);

	if (!r->count || from >= r->count)
		return;
	for (u32 i = from + 1; i <= last; i++) {
		if (tcp_sent_alike(tcp_sent_at(r, kept), tcp_sent_at(r, i)))
			tcp_sent_join_next(tcp_sent_at(r, kept), tcp_sent_at(r, i));
		else
			*tcp_sent_at(r, ++kept) = *tcp_sent_at(r, i);
	}
	if (kept == last)
		return;
	memmove(tcp_sent_at(r, kept + 1), tcp_sent_at(r, last + 1),
		(r->count - last - 1) * sizeof(r->run[0]));
	r->count -= last - kept;
}

bool tcp_sent_valid(const struct tcp_sent *r, u32 una, u32 nxt)
{
	struct tcp_sent sums = {.max = 0};

	if (r->first + r->count > r->max)
		return false;
	for (u32 i = 0; i < r->count; i++) {
		const struct tcp_sent_run *run = &r->run[r->first + i];

		if (run->start != una || !seq_lt(run->start, run->end))
			return false;
		if (run->flags & SENT_SACKED && run->flags & (SENT_LOST | SENT_AGAIN))
			return false;
		una = run->end;
		tcp_sent_sum(&sums, run, 1);
	}
	return una == nxt && sums.sacked == r->sacked && sums.lost == r->lost &&
	       sums.again == r->again;
}
