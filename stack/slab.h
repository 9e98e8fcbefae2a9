/*
 * Typed object pools inside the region, with hard limits.
 *
 * The region is handed out in spans of 1 MiB; a span belongs to one slab for good. An object is
 * named by a `ref`:
 *
 *     bits 31..27 kind | 26..20 generation | 19..0 index + 1
 *
 * so a ref says what it names, a stale one is caught by its generation, and 0 names nothing.
 * Objects begin with struct slab_head, whose `self` is the object's ref while it is allocated and 0
 * while it is free: written last on allocation and first on free. A free object is reused last-in
 * first-out, to stay in the cache; objects never used are not touched, so that their memory is not
 * spent. An allocation fails (0) when the kind's limit is reached or the region has no span left;
 * that is counted, and an ordinary event.
 */
#ifndef STACK_SLAB_H
#define STACK_SLAB_H

#include "stack/types.h"

struct stack;

enum slab_kind {
	SLAB_NONE,
	SLAB_PKT_SMALL,	   /* struct pkt with 1,792 bytes of room: a wire-size frame */
	SLAB_PKT_MEDIUM,   /* ... 15.5 KiB */
	SLAB_PKT_LARGE,	   /* ... 64 KiB and headers: a super-frame */
	SLAB_PKT_HUGE,	   /* ... nearly a span: records that a long flight with many losses needs */
	SLAB_FRAME,	   /* struct frame */
	SLAB_SOCK,	   /* struct sock */
	SLAB_TCP,	   /* struct tcp: transmission control block */
	SLAB_TCP_REQUEST,  /* struct tcp_request: a handshake that a listener has begun */
	SLAB_TCP_TIMEWAIT, /* struct tcp_timewait */
	SLAB_NEIGH,	   /* struct neigh */
	SLAB_REASM,	   /* struct reasm: one datagram being reassembled */
	SLAB_PORT,	   /* struct port: a bound local port and its sockets */
	SLAB_MEMBERSHIP,   /* struct membership: a multicast group that a socket has joined */
	SLAB_EPOLL_SET,	   /* preload/: struct epoll_set */
	SLAB_EPOLL_ITEM,   /* preload/: struct epoll_item */
	SLAB_WAITER,	   /* preload/: struct waiter */
	SLAB_TASK,	   /* struct task: what the host itself has to do at some time */
	SLAB_KINDS
};

struct slab_head {
	ref self;	/* 0 while free */
	u32 generation; /* of the last ref given out */
	u32 next_free;	/* index + 1, while free */
};

#define SLAB_SPAN_BYTES (1u << 20)
#define SLAB_SPANS_MAX	4096u	 /* of one slab */
#define SLAB_INDEX_MAX	0xffffeu /* objects of one slab */

struct slab {
	u32 object_bytes;
	u32 per_span;
	u64 reciprocal; /* 2^40 / per_span, rounded up: divides indexes by multiplication */
	u32 zero_bytes; /* of an object that slab_alloc zeroes */
	u32 limit;	/* objects in use at most */
	u32 in_use;
	u32 touched; /* indexes below this have been used at least once */
	u32 spans;   /* spans owned; span[i] is a number of 1 MiB units from the region's start */
	u32 first_free; /* index + 1, 0 none */
	u64 failures;	/* allocations that found no room */
	u16 span[SLAB_SPANS_MAX];
};

static inline enum slab_kind ref_kind(ref r)
{
	return (enum slab_kind)(r >> 27);
}

static inline u32 ref_index(ref r)
{
	return (r & 0xfffffu) - 1;
}

/*
 * Sets up the slab of a kind; object_bytes is rounded up to 16. Of these the first zero_bytes are
 * zeroed on allocation. Called once per kind: the protocols' from stack_init, those of preload/ by
 * the host that it makes.
 */
void slab_init(struct stack *s, enum slab_kind kind, u32 object_bytes, u32 limit);
void slab_init_partial(
	struct stack *s, enum slab_kind kind, u32 object_bytes, u32 zero_bytes, u32 limit);

/* Takes the spans for so many objects now: no other kind gets them. False: there are not enough. */
bool slab_reserve(struct stack *s, enum slab_kind kind, u32 objects);

/* Takes a zeroed object (struct pkt and struct frame: only their fixed parts are zeroed); 0 when
 * there is no room. */
ref slab_alloc(struct stack *s, enum slab_kind kind);

/* Gives an object back. A ref that does not name a live object is counted (stale_free) and ignored.
 */
void slab_free(struct stack *s, ref r);

/* The slabs lie at the start of struct stack (asserted in stack.c), so that look-ups can be inlined
 * everywhere. */
static inline const struct slab *slab_of(const struct stack *s, enum slab_kind kind)
{
	return (const struct slab *)(const void *)s + kind;
}

/* Where the object of an index lies, which must be below slab.touched. */
static inline struct slab_head *slab_address(struct stack *s, const struct slab *slab, u32 index)
{
	u32 nth = (u32)(index * slab->reciprocal >> 40);

	return (struct slab_head *)(void *)((char *)s + (u64)slab->span[nth] * SLAB_SPAN_BYTES +
					    (u64)(index - nth * slab->per_span) *
						    slab->object_bytes);
}

/* The object, or NULL when the ref is 0, stale, of another kind, or out of range. */
static inline void *slab_get(struct stack *s, enum slab_kind kind, ref r)
{
	const struct slab *slab = slab_of(s, kind);
	u32 index = ref_index(r);
	struct slab_head *head;

	/* Whoever owns an object may look without the lock, while others allocate. */
	if (index >= __atomic_load_n(&slab->touched, __ATOMIC_ACQUIRE))
		return NULL;
	head = slab_address(s, slab, index);
	return __atomic_load_n(&head->self, __ATOMIC_ACQUIRE) == r ? head : NULL;
}

/* The same for a ref of any kind. */
static inline struct slab_head *slab_any(struct stack *s, ref r)
{
	enum slab_kind kind = ref_kind(r);

	return kind < SLAB_KINDS ? slab_get(s, kind, r) : NULL;
}

/* The i-th object of a kind when it is live, else NULL: for walks over all objects, i <
 * slab_touched(). */
void *slab_at(struct stack *s, enum slab_kind kind, u32 i);
u32 slab_touched(const struct stack *s, enum slab_kind kind);
u32 slab_in_use(const struct stack *s, enum slab_kind kind);
bool slab_has_room(const struct stack *s, enum slab_kind kind); /* for one more */

/* For repair.c: takes an object's name off without touching the free list, and makes all free lists
 * and counts anew. */
void slab_discard(struct stack *s, ref r);
void slab_rebuild(struct stack *s);

#endif
