/*
 * What a connection has in flight: one record for each run of sequence numbers that went out
 * together and has fared alike, in order, without a gap from SND.UNA to SND.NXT. It is the
 * scoreboard of RFC 6675 and RFC 8985's per-segment state in one, and holds what a delivery-rate
 * sample needs.
 *
 * Fixed capacity in storage of the caller, binary search, so the work per segment is bounded
 * whatever a peer sends. Times are the low 32 bits of microseconds: all of one connection lie
 * within half an hour of each other.
 */
#ifndef STACK_TCP_SENT_H
#define STACK_TCP_SENT_H

#include "stack/seq.h"

enum tcp_sent_flag {
	SENT_SACKED = 1,  /* the peer has it */
	SENT_LOST = 2,	  /* taken for lost */
	SENT_AGAIN = 4,	  /* sent again since it was taken for lost, and that may still arrive */
	SENT_TWICE = 8,	  /* has been sent more than once (Karn) */
	SENT_LIMITED = 16 /* sent while the program had no more to send */
};

struct tcp_sent_run {
	u32 start;
	u32 end; /* one past the last */
	u32 sent_us;
	u32 flags; /* enum tcp_sent_flag */
	/* As they were when it was sent (delivery rate): */
	u32 delivered;	  /* bytes delivered by then */
	u32 delivered_us; /* when the last of these was */
	u32 first_us;	  /* when the first of the flight was sent */
	u32 lost;	  /* bytes taken for lost by then */
	u32 in_flight;	  /* bytes in flight behind its last one */
};

struct tcp_sent {
	u32 first; /* index of the oldest */
	u32 count;
	u32 max;
	/* Bytes of the runs that have the flag: */
	u32 sacked; /* SENT_SACKED */
	u32 lost;   /* SENT_LOST */
	u32 again;  /* SENT_AGAIN */
	struct tcp_sent_run run[];
};

/* Makes an empty record in `bytes` bytes of storage, aligned to 4. */
void tcp_sent_init(struct tcp_sent *r, u32 bytes);

/* The same runs in other storage, as many as fit. */
void tcp_sent_copy(struct tcp_sent *to, const struct tcp_sent *from);

static inline struct tcp_sent_run *tcp_sent_at(struct tcp_sent *r, u32 i)
{
	return &r->run[r->first + i];
}

/* True when a run can be added or split. */
static inline bool tcp_sent_has_room(const struct tcp_sent *r)
{
	return r->count < r->max;
}

/* Index of the run that holds seq, count if none does. */
u32 tcp_sent_find(const struct tcp_sent *r, u32 seq);

/*
 * Something was sent for the first time, behind all the rest. It joins the last run if that was
 * sent in the same microsecond and has fared alike; without room it joins it in any case, which
 * then counts as sent now.
 */
void tcp_sent_add(struct tcp_sent *r, const struct tcp_sent_run *run);

/*
 * Makes seq the begin of a run, and returns its index; 0 and count at the ends. UINT32_MAX when
 * there is no room to split the run that holds it.
 */
u32 tcp_sent_split(struct tcp_sent *r, u32 seq);

/* Sets and clears flags of a run, and keeps the sums. */
void tcp_sent_mark(struct tcp_sent *r, u32 i, u32 set, u32 clear);

/* Takes out everything below seq. */
void tcp_sent_cut(struct tcp_sent *r, u32 seq);

/* Joins neighbours that are alike among the runs with index from .. to. */
void tcp_sent_join(struct tcp_sent *r, u32 from, u32 to);

/* True when the record keeps its promises: it covers una .. nxt without a gap, and the sums are
 * right. */
bool tcp_sent_valid(const struct tcp_sent *r, u32 una, u32 nxt);

#endif
