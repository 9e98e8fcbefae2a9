/* The search for a path's MTU by the connection itself (tcp_mtup.c): its state in struct tcp. */
#ifndef STACK_TCP_MTUP_H
#define STACK_TCP_MTUP_H

#include "stack/types.h"

struct tcp_mtup {
	u32 low;	/* packets of this size pass, as far as is known */
	u32 high;	/* larger ones do not */
	u32 probe;	/* size of the packet that is out as a probe, 0: none */
	u32 start, end; /* the bytes in it */
	u64 since_ns;	/* when the search began */
	bool enabled;
};

#endif
