/* Random numbers: SipHash of a counter under a key that the caller's seed gives. */
#include <string.h>

#include "stack/random.h"

void random_seed(struct random *r, const u8 seed[16])
{
	memcpy(r->key.k, seed, 16);
	r->counter = 0;
}

u64 random_u64(struct random *r)
{
	r->counter++;
	return siphash(&r->key, &r->counter, sizeof(r->counter));
}

u32 random_below(struct random *r, u32 bound)
{
	/* Each value is off its share by less than bound / 2^32. */
	return (u32)((random_u64(r) >> 32) * bound >> 32);
}
