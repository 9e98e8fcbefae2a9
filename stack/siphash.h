/* SipHash-2-4 (Aumasson and Bernstein), for keyed tables, initial sequence numbers and ports. */
#ifndef STACK_SIPHASH_H
#define STACK_SIPHASH_H

#include "stack/types.h"

struct siphash_key {
	u64 k[2];
};

u64 siphash(const struct siphash_key *key, const void *data, u32 len);

#endif
