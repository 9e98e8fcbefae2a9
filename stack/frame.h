/*
 * A frame on its way out: headers, which grow towards the front of a small buffer, and pieces of
 * packets that hold the payload, so that it leaves by one gathered write without a copy. Each piece
 * holds a reference to its packet.
 */
#ifndef STACK_FRAME_H
#define STACK_FRAME_H

#include "stack/pkt.h"

#define FRAME_HEAD_ROOM 160u /* Ethernet, IP and TCP headers with all options */
#define FRAME_PIECES	17u

struct frame_piece {
	ref pkt;
	u32 offset; /* in data[] */
	u32 len;
};

struct frame {
	struct slab_head slab;
	ref next;	/* in a neighbour's queue */
	u32 len;	/* all bytes: head and pieces */
	u16 head_start; /* the headers are head[head_start .. FRAME_HEAD_ROOM) */
	u8 pieces;
	u8 flags; /* FRAME_* */
	u16 ifindex;
	u16 l4; /* bytes of transport header and payload, for checksums: those behind the IP header
		 */
	struct offload offload;
	struct frame_piece piece[FRAME_PIECES];
	u8 head[FRAME_HEAD_ROOM];
};

ref frame_alloc(struct stack *s);
static inline struct frame *frame_get(struct stack *s, ref r)
{
	return slab_get(s, SLAB_FRAME, r);
}
void frame_free(struct stack *s, ref r); /* releases its packets */

/* n bytes in front of the headers; NULL when the room is used up (an internal error). */
u8 *frame_push(struct frame *f, u32 n);

/* Appends a piece and takes a reference of its own to the packet; false when there are FRAME_PIECES
 * already. */
bool frame_add(struct stack *s, struct frame *f, ref pkt, u32 offset, u32 len);

/* Makes a frame out of a packet's whole view, and takes over the caller's reference to it; 0
 * (packet released) without room. */
ref frame_from_pkt(struct stack *s, ref pkt);

/* One's complement sum over the last `bytes` bytes of the frame, started with `sum` (checksum.h).
 */
u32 frame_sum(struct stack *s, const struct frame *f, u32 bytes, u32 sum);

#endif
