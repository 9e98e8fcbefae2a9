/*
 * Typed object pools inside the region (theory of operation: slab.h).
 *
 * A slab's free objects are a list threaded through slab_head.next_free; those beyond `touched`
 * have never been used and are on no list. `self` is the last store of an allocation and the first
 * of a free, so that whoever walks the slab after a crash sees an object either whole or not at
 * all.
 */
#include <string.h>

#include "stack/stack.h"

void slab_init_partial(
	struct stack *s, enum slab_kind kind, u32 object_bytes, u32 zero_bytes, u32 limit)
{
	struct slab *slab = &s->slab[kind];

	slab->object_bytes = (object_bytes + 15) & ~15u;
	slab->zero_bytes = zero_bytes;
	slab->per_span = SLAB_SPAN_BYTES / slab->object_bytes;
	/* Exact for all indexes below 2^20: the error of each is below index * per_span / 2^40 < 1
	 * / per_span. */
	slab->reciprocal = (1ull << 40) / slab->per_span + 1;
	slab->limit = MIN(limit, SLAB_INDEX_MAX);
}

void slab_init(struct stack *s, enum slab_kind kind, u32 object_bytes, u32 limit)
{
	slab_init_partial(s, kind, object_bytes, object_bytes, limit);
}

static bool slab_grow(struct stack *s, struct slab *slab)
{
	u32 span = slab->spans < SLAB_SPANS_MAX ? stack_span_alloc(s) : 0;

	if (!span)
		return false;
	slab->span[slab->spans] = (u16)span;
	slab->spans++;
	return true;
}

bool slab_reserve(struct stack *s, enum slab_kind kind, u32 objects)
{
	struct slab *slab = &s->slab[kind];

	while (slab->spans * slab->per_span < objects) {
		if (!slab_grow(s, slab))
			return false;
	}
	return true;
}

/* Index + 1 of an object that has never been used, or 0. */
static u32 slab_fresh(struct stack *s, struct slab *slab)
{
	if (slab->touched == slab->spans * slab->per_span && !slab_grow(s, slab))
		return 0;
	__atomic_store_n(&slab->touched, slab->touched + 1, __ATOMIC_RELEASE);
	return slab->touched;
}

ref slab_alloc(struct stack *s, enum slab_kind kind)
{
	struct slab *slab = &s->slab[kind];
	struct slab_head *head;
	u32 nth = 0;
	ref r;

	if (slab->in_use < slab->limit)
		nth = slab->first_free ? slab->first_free : slab_fresh(s, slab);
	if (!nth) {
		slab->failures++;
		counter_inc(s, counter_no_memory);
		return 0;
	}
	head = slab_address(s, slab, nth - 1);
	if (slab->first_free)
		slab->first_free = head->next_free;
	slab->in_use++;
	head->generation++;
	head->next_free = 0;
	memset(head + 1, 0, slab->zero_bytes - sizeof(*head));
	r = (ref)kind << 27 | (head->generation & 0x7f) << 20 | nth;
	__atomic_store_n(&head->self, r, __ATOMIC_RELEASE);
	return r;
}

void slab_free(struct stack *s, ref r)
{
	struct slab_head *head = slab_any(s, r);
	struct slab *slab;

	if (!head) {
		counter_inc(s, counter_stale_free);
		return;
	}
	__atomic_store_n(&head->self, 0, __ATOMIC_RELEASE);
	slab = &s->slab[ref_kind(r)];
	head->next_free = slab->first_free;
	slab->first_free = ref_index(r) + 1;
	slab->in_use--;
}

void *slab_at(struct stack *s, enum slab_kind kind, u32 i)
{
	const struct slab *slab = slab_of(s, kind);
	struct slab_head *head;

	if (i >= slab->touched)
		return NULL;
	head = slab_address(s, slab, i);
	return head->self ? head : NULL;
}

u32 slab_touched(const struct stack *s, enum slab_kind kind)
{
	return slab_of(s, kind)->touched;
}

u32 slab_in_use(const struct stack *s, enum slab_kind kind)
{
	return slab_of(s, kind)->in_use;
}

bool slab_has_room(const struct stack *s, enum slab_kind kind)
{
	const struct slab *slab = slab_of(s, kind);

	if (slab->in_use >= slab->limit)
		return false;
	return slab->in_use < slab->touched || slab->touched < slab->spans * slab->per_span ||
	       (slab->spans < SLAB_SPANS_MAX && s->spans_used < s->size / SLAB_SPAN_BYTES);
}

void slab_discard(struct stack *s, ref r)
{
	struct slab_head *head = slab_any(s, r);

	if (head)
		head->self = 0;
}

void slab_rebuild(struct stack *s)
{
	for (u32 kind = 0; kind < SLAB_KINDS; kind++) {
		struct slab *slab = &s->slab[kind];

		slab->in_use = 0;
		slab->first_free = 0;
		for (u32 i = 0; i < slab->touched; i++) {
			struct slab_head *head = slab_address(s, slab, i);

			if (head->self) {
				slab->in_use++;
				continue;
			}
			head->next_free = slab->first_free;
			slab->first_free = i + 1;
		}
	}
}
