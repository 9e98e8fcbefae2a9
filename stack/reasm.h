/* Private to reasm.c and wheel.c: a datagram being put together. */
#ifndef STACK_REASM_H
#define STACK_REASM_H

#include "stack/hash.h"
#include "stack/pkt.h"
#include "stack/wheel.h"

struct reasm {
	struct slab_head slab;
	struct hlink by_key;
	struct timer timer;
	struct addr src, dst;
	u16 id;
	u8 proto;
	u8 ecn_seen; /* bit per ECN codepoint of the fragments (RFC 3168 5.3) */
	u32 fragments;
	u32 charged;  /* bytes of memory */
	u32 received; /* bytes of payload */
	u32 total;    /* bytes of the whole payload, 0 while the last fragment is missing */
	ref head;     /* packets in order of offset, linked by next; the offset is in pkt.seq */
	ref tail;
	ref older, newer; /* in stack.reasm_oldest */
	bool discard;	  /* an inconsistent overlap was seen: later fragments are dropped too */
};

/* Takes a fragment whose view is its payload; gives the whole datagram with the view at its
 * payload, or 0. Consumes pkt. */
ref reasm_input(struct stack *s, ref pkt, u32 offset, bool more, u16 id, u8 proto);

#endif
