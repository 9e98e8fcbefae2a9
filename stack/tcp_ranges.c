/* Sorted ranges of sequence numbers in an array: insertion moves at most the array, look-up is a
 * binary search. */
#include <string.h>

#include "stack/tcp_ranges.h"

void tcp_ranges_init(struct tcp_ranges *r, u32 bytes)
{
	r->count = 0;
	r->max = bytes < sizeof(*r) ? 0 : (u32)((bytes - sizeof(*r)) / sizeof(r->range[0]));
}

u32 tcp_ranges_find(const struct tcp_ranges *r, u32 seq)
{
	u32 low = 0, high = r->count;

	while (low < high) {
		u32 mid = low + (high - low) / 2;

		if (seq_lt(r->range[mid].end, seq))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool tcp_ranges_open(struct tcp_ranges *r, u32 i)
{
	if (r->count == r->max)
		return false;
	memmove(&r->range[i + 1], &r->range[i], (r->count - i) * sizeof(r->range[0]));
	r->count++;
	return true;
}

void tcp_ranges_close(struct tcp_ranges *r, u32 i)
{
	r->count--;
	memmove(&r->range[i], &r->range[i + 1], (r->count - i) * sizeof(r->range[0]));
}

u32 tcp_ranges_add(struct tcp_ranges *r, u32 start, u32 end)
{
	u32 i = tcp_ranges_find(r, start), old = 0;
	struct tcp_range *at = &r->range[i];

	if (seq_geq(start, end))
		return 0;
	if (i == r->count || seq_lt(end, at->start)) {
		if (!tcp_ranges_open(r, i))
			return 0;
		/* What stood here, if anything, is the next one now. */
		if (i + 1 < r->count)
			*at = (struct tcp_range){start, end, at[1].first, at[1].last};
		else
			*at = (struct tcp_range){.start = start, .end = end};
		return end - start;
	}
	/* Swallow all that begins at or before `end`. */
	old = at->end - at->start;
	at->start = seq_min(at->start, start);
	while (i + 1 < r->count && seq_leq(at[1].start, end)) {
		old += at[1].end - at[1].start;
		at->end = seq_max(at->end, at[1].end);
		tcp_ranges_close(r, i + 1);
	}
	at->end = seq_max(at->end, end);
	return at->end - at->start - old;
}

u32 tcp_ranges_cut(struct tcp_ranges *r, u32 seq)
{
	u32 removed = 0, n = 0;

	while (n < r->count && seq_leq(r->range[n].end, seq)) {
		removed += r->range[n].end - r->range[n].start;
		n++;
	}
	if (n) {
		r->count -= n;
		memmove(&r->range[0], &r->range[n], r->count * sizeof(r->range[0]));
	}
	if (r->count && seq_lt(r->range[0].start, seq)) {
		removed += seq - r->range[0].start;
		r->range[0].start = seq;
	}
	return removed;
}

u32 tcp_ranges_covered(const struct tcp_ranges *r, u32 start, u32 end)
{
	u32 bytes = 0;

	for (u32 i = tcp_ranges_find(r, start); i < r->count && seq_lt(r->range[i].start, end);
		i++) {
		u32 from = seq_max(start, r->range[i].start);
		u32 to = seq_min(end, r->range[i].end);

		if (seq_lt(from, to))
			bytes += to - from;
	}
	return bytes;
}

u32 tcp_ranges_skip(const struct tcp_ranges *r, u32 seq)
{
	u32 i = tcp_ranges_find(r, seq);

	if (i < r->count && seq_leq(r->range[i].start, seq))
		return r->range[i].end;
	return seq;
}

bool tcp_ranges_valid(const struct tcp_ranges *r)
{
	if (r->count > r->max)
		return false;
	for (u32 i = 0; i < r->count; i++) {
		if (seq_geq(r->range[i].start, r->range[i].end))
			return false;
		if (i && seq_geq(r->range[i - 1].end, r->range[i].start))
			return false;
	}
	return true;
}
