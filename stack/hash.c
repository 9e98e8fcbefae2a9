/*
 * Look-up tables with linear hashing (Litwin 1980): the table grows by one bucket for every entry
 * above one per bucket, by splitting the next bucket in order, so that an insertion costs the same
 * at any size. Buckets are refs of the first object and lie in spans of the region.
 */
#include "stack/stack.h"

#define HASH_FIRST_BUCKETS 64u
#define BUCKETS_PER_SPAN   (SLAB_SPAN_BYTES / (u32)sizeof(ref))

static ref *hash_bucket(struct stack *s, const struct hash *h, u32 i)
{
	return (ref *)stack_span(s, h->span[i / BUCKETS_PER_SPAN]) + i % BUCKETS_PER_SPAN;
}

static struct hlink *hash_link(struct stack *s, const struct hash *h, ref object)
{
	struct slab_head *head = slab_any(s, object);

	return head ? (struct hlink *)(void *)((char *)head + h->link_offset) : NULL;
}

/* The largest power of two that is not above the number of buckets. */
static u32 hash_base(const struct hash *h)
{
	return 1u << (31 - __builtin_clz(h->buckets));
}

static u32 hash_index(const struct hash *h, u32 hash)
{
	u32 base = hash_base(h), i = hash & (2 * base - 1);

	return i < h->buckets ? i : i & (base - 1);
}

bool hash_init(struct stack *s, struct hash *h, u32 link_offset)
{
	u32 span = stack_span_alloc(s);

	*h = (struct hash){.link_offset = link_offset, .buckets = HASH_FIRST_BUCKETS, .spans = 1};
	h->span[0] = (u16)span;
	if (!span)
		h->buckets = 0;
	return span != 0;
}

void hash_clear(struct stack *s, struct hash *h)
{
	for (u32 i = 0; i < h->buckets; i++)
		*hash_bucket(s, h, i) = 0;
	h->entries = 0;
}

/* Adds one bucket, and moves to it what belongs there from the one that it is split from. */
static void hash_split(struct stack *s, struct hash *h)
{
	u32 base = hash_base(h), from = h->buckets - base, to = h->buckets;
	ref *keep, *move, r;

	if (to / BUCKETS_PER_SPAN == h->spans) {
		u32 span = h->spans < HASH_SPANS ? stack_span_alloc(s) : 0;

		if (!span)
			return; /* chains get longer, nothing else */
		h->span[h->spans++] = (u16)span;
	}
	keep = hash_bucket(s, h, from);
	move = hash_bucket(s, h, to);
	for (r = *keep; r;) {
		struct hlink *link = hash_link(s, h, r);
		ref **tail = link && link->hash & base ? &move : &keep;

		if (!link) {
			counter_inc(s, counter_invariant);
			break;
		}
		**tail = r;
		*tail = &link->next;
		r = link->next;
	}
	*keep = 0;
	*move = 0;
	h->buckets++;
}

void hash_insert(struct stack *s, struct hash *h, u32 hash, ref object)
{
	struct hlink *link = hash_link(s, h, object);
	ref *bucket;

	if (!h->buckets || !link) {
		counter_inc(s, counter_invariant);
		return;
	}
	bucket = hash_bucket(s, h, hash_index(h, hash));
	link->hash = hash;
	link->next = *bucket;
	*bucket = object;
	if (++h->entries > h->buckets)
		hash_split(s, h);
}

void hash_remove(struct stack *s, struct hash *h, ref object)
{
	struct hlink *link = hash_link(s, h, object);
	u32 bound = h->entries;
	ref *at;

	if (!h->buckets || !link)
		return;
	for (at = hash_bucket(s, h, hash_index(h, link->hash)); *at && bound--;) {
		struct hlink *here = hash_link(s, h, *at);

		if (!here) {
			counter_inc(s, counter_invariant);
			return;
		}
		if (*at == object) {
			*at = link->next;
			link->next = 0;
			h->entries--;
			return;
		}
		at = &here->next;
	}
}

ref hash_find(struct stack *s, const struct hash *h, u32 hash, ref after)
{
	struct hlink *link = NULL;
	u32 bound = h->entries;
	ref r;

	if (!h->buckets)
		return 0;
	if (after) {
		link = hash_link(s, h, after);
		r = link ? link->next : 0;
	} else {
		r = *hash_bucket(s, h, hash_index(h, hash));
	}
	for (; r && bound--; r = link->next) {
		link = hash_link(s, h, r);
		if (!link)
			return 0;
		if (link->hash == hash)
			return r;
	}
	return 0;
}
