/*
 * A sorted set of disjoint, non-adjacent ranges of sequence numbers: the out-of-order map of a
 * receiver. Fixed capacity in storage of the caller, binary search, so the work per segment is
 * bounded whatever a peer sends. All ranges of a set lie within 2^31 of each other.
 */
#ifndef STACK_TCP_RANGES_H
#define STACK_TCP_RANGES_H

#include "stack/seq.h"

struct tcp_range {
	u32 start;
	u32 end;   /* one past the last */
	u32 first; /* the owner's, as is last: the packets that hold the bytes */
	u32 last;
};

struct tcp_ranges {
	u32 count;
	u32 max;
	struct tcp_range range[];
};

/* Makes an empty set in `bytes` bytes of storage, aligned to 4. */
void tcp_ranges_init(struct tcp_ranges *r, u32 bytes);

/* Index of the first range whose end is at or behind seq: it contains seq, begins behind it, or
 * ends exactly at it; count if none. */
u32 tcp_ranges_find(const struct tcp_ranges *r, u32 seq);

/* Opens a slot at index i, of undefined content, in a set that is not full. */
void tcp_ranges_open(struct tcp_ranges *r, u32 i);

/* Takes the range at index i out. */
void tcp_ranges_close(struct tcp_ranges *r, u32 i);

/* The first sequence number at or behind seq that is not in the set. */
u32 tcp_ranges_skip(const struct tcp_ranges *r, u32 seq);

/* True when the set keeps its promises: sorted, disjoint, not adjacent, not empty, within capacity.
 */
bool tcp_ranges_valid(const struct tcp_ranges *r);

#endif
