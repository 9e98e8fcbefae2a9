/* The engine's random numbers: a keyed generator seeded by the caller, so that the same seed gives
 * the same run. */
#ifndef STACK_RANDOM_H
#define STACK_RANDOM_H

#include "stack/siphash.h"

struct random {
	struct siphash_key key;
	u64 counter;
};

void random_seed(struct random *r, const u8 seed[16]);
u64 random_u64(struct random *r);
u32 random_below(struct random *r, u32 bound); /* uniform in 0 .. bound - 1; bound > 0 */

#endif
