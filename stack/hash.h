/*
 * Look-up tables of objects in the region: chained, keyed by a 32-bit hash that the caller computes
 * (with SipHash and the host's secret), growing one bucket at a time (linear hashing), so that no
 * insertion stops the world. The link sits in the object at the same offset in every kind that a
 * table holds.
 */
#ifndef STACK_HASH_H
#define STACK_HASH_H

#include "stack/slab.h"

struct hlink {
	ref next;
	u32 hash;
};

#define HASH_SPANS 16u /* 1 MiB each: 4 Mi buckets at most */

struct hash {
	u32 link_offset; /* of struct hlink in the objects */
	u32 buckets;	 /* in use */
	u32 entries;
	u32 spans;
	u16 span[HASH_SPANS];
};

/* False when the region has no span left for the first buckets. */
bool hash_init(struct stack *s, struct hash *h, u32 link_offset);
void hash_clear(struct stack *s, struct hash *h); /* forgets all objects, without looking at them */
void hash_insert(struct stack *s, struct hash *h, u32 hash, ref object);
void hash_remove(
	struct stack *s, struct hash *h, ref object); /* no effect when it is not in the table */

/* Walks the objects of one hash value: first with after = 0, then with the ref returned before; 0
 * at the end. */
ref hash_find(struct stack *s, const struct hash *h, u32 hash, ref after);

#endif
