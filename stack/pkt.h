/*
 * Packet buffer: one contiguous buffer with offsets. Bytes are reached only through pkt_pull,
 * pkt_push, pkt_peek, pkt_put and pkt_trim, which check; a packet is passed, never a pointer into
 * it. A received frame stays in one packet from the driver to the socket's queue; a sender's bytes
 * stay in one from the copy out of user memory to the last acknowledgement.
 */
#ifndef STACK_PKT_H
#define STACK_PKT_H

#include "stack/addr.h"
#include "stack/offload.h"
#include "stack/slab.h"

#define PKT_SMALL_ROOM	1792u
#define PKT_MEDIUM_ROOM 15872u
#define PKT_LARGE_ROOM                                                                             \
	67584u		  /* 64 KiB, Ethernet, IP and TCP headers with all options, and head room */
#define PKT_HUGE_ROOM (SLAB_SPAN_BYTES - (u32)sizeof(struct pkt)) /* given out by pkt_alloc_huge alone */
#define PKT_HEADROOM 128u /* left free in front by pkt_alloc */

enum pkt_flag {
	PKT_CSUM_OK = 1,	/* the device vouches for the transport checksum, or it is local */
	PKT_LINK_BROADCAST = 2, /* came in a link-layer broadcast or multicast frame */
	PKT_LOOPED = 4,		/* never left this host */
	PKT_STATS = 8,		/* in an error queue: the view is SCM_TIMESTAMPING_OPT_STATS */
};

struct pkt {
	struct slab_head slab;
	ref next;  /* in a struct pktq, or in the holder's own list */
	u32 refs;  /* holders: queues, frames, plans of copying threads */
	u32 start; /* the view is data[start .. end) */
	u32 end;
	u32 room;  /* bytes in data[] */
	u32 flags; /* enum pkt_flag */
	u32 l3;	   /* offset in data[] of the IP header, for ICMP errors that quote it */
	u32 seq;   /* owner's: TCP sequence number of the first byte of the view */
	u32 mark;  /* owner's */
	u8 tos;	   /* of the IP header */
	u8 ttl;
	u16 ifindex;
	struct offload offload; /* as the device delivered it */
	u64 time_ns;		/* when it came in (realtime), for SO_TIMESTAMP */
	struct endpoint from;	/* datagrams: source */
	struct endpoint to;	/* datagrams: destination as on the wire */
	_Alignas(16) u8 data[];
};

/* Queue of packets linked by pkt.next. */
struct pktq {
	ref head;
	ref tail;
	u32 count;
	u32 bytes; /* sum of the views' lengths when they were queued */
};

/* A packet with an empty view behind headroom and at least `bytes` of room behind that; 0 when
 * there is none. refs is 1. */
ref pkt_alloc(struct stack *s, u32 bytes);
ref pkt_alloc_receive(struct stack *s); /* for a frame that comes in: of the last ones too */
ref pkt_alloc_huge(struct stack *s); /* with all of PKT_HUGE_ROOM; these are few */
u32 pkt_large_left(const struct stack *s); /* large packets that are still to be had */

/* So few are left that what has come in must not be kept: the acknowledgements that would free
 * memory could not come in. */
#define PKT_LAST 8u
static inline bool pkt_scarce(const struct stack *s)
{
	return pkt_large_left(s) < PKT_LAST;
}

static inline struct pkt *pkt_get(struct stack *s, ref r)
{
	enum slab_kind kind = ref_kind(r);

	return kind >= SLAB_PKT_SMALL && kind <= SLAB_PKT_HUGE ? slab_get(s, kind, r) : NULL;
}
void pkt_hold(struct stack *s, ref r);
void pkt_release(struct stack *s, ref r); /* frees it when the last holder goes */

/* A smaller packet with the same view and metadata if that saves at least half the room, else the
 * same; consumes r. */
ref pkt_compact(struct stack *s, ref r);

static inline u32 pkt_len(const struct pkt *p)
{
	return p->end - p->start;
}

/* Memory that the packet occupies, for the accounting against socket buffers (Linux's truesize). */
static inline u32 pkt_truesize(const struct pkt *p)
{
	return p->room + (u32)sizeof(struct pkt);
}

/* n bytes at `offset` in the view, or NULL when it is shorter. */
static inline u8 *pkt_peek(struct pkt *p, u32 offset, u32 n)
{
	u32 len = pkt_len(p);

	return offset > len || n > len - offset ? NULL : p->data + p->start + offset;
}

/* Takes n bytes off the front and returns them, or NULL when the view is shorter. */
static inline u8 *pkt_pull(struct pkt *p, u32 n)
{
	u8 *at = pkt_peek(p, 0, n);

	if (at)
		p->start += n;
	return at;
}

/* Adds n bytes in front and returns them, or NULL when there is no head room. */
static inline u8 *pkt_push(struct pkt *p, u32 n)
{
	if (n > p->start)
		return NULL;
	p->start -= n;
	return p->data + p->start;
}

/* Adds n bytes behind and returns them, or NULL when there is no room. */
static inline u8 *pkt_put(struct pkt *p, u32 n)
{
	u8 *at = p->data + p->end;

	if (n > p->room - p->end)
		return NULL;
	p->end += n;
	return at;
}

/* Cuts the view to len bytes; false when it is shorter. */
static inline bool pkt_trim(struct pkt *p, u32 len)
{
	if (len > pkt_len(p))
		return false;
	p->end = p->start + len;
	return true;
}

void pktq_push(struct stack *s, struct pktq *q, ref r); /* takes over the holder's reference */
ref pktq_pop(struct stack *s, struct pktq *q);		/* 0 when empty */
void pktq_purge(struct stack *s, struct pktq *q);

#endif
