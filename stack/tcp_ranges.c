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

void tcp_ranges_open(struct tcp_ranges *r, u32 i)
{
	memmove(&r->range[i + 1], &r->range[i], (r->count - i) * sizeof(r->range[0]));
	r->count++;
}

void tcp_ranges_close(struct tcp_ranges *r, u32 i)
{
	r->count--;
	memmove(&r->range[i], &r->range[i + 1], (r->count - i) * sizeof(r->range[0]));
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
