/* Sequence number comparison modulo 2^32 (RFC 9293 3.4). */
#ifndef STACK_SEQ_H
#define STACK_SEQ_H

#include "stack/types.h"

static inline bool seq_lt(u32 a, u32 b)
{
	return (s32)(a - b) < 0;
}

static inline bool seq_leq(u32 a, u32 b)
{
	return (s32)(a - b) <= 0;
}

static inline bool seq_gt(u32 a, u32 b)
{
	return (s32)(a - b) > 0;
}

static inline bool seq_geq(u32 a, u32 b)
{
	return (s32)(a - b) >= 0;
}

/* low <= x < low + size */
static inline bool seq_in_window(u32 x, u32 low, u32 size)
{
	return x - low < size;
}

static inline u32 seq_max(u32 a, u32 b)
{
	return seq_gt(a, b) ? a : b;
}

static inline u32 seq_min(u32 a, u32 b)
{
	return seq_lt(a, b) ? a : b;
}

#endif
