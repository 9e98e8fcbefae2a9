/*
 * A connection for tests that call TCP's inner functions: ESTABLISHED, with SACK, NewReno and
 * segments of 1000 bytes, and nothing in flight. It has neither a queue nor a peer: what is sent
 * only stands in the record, and answers are structs. Byte 0 lies so that the numbers wrap behind
 * byte 2500.
 */
#ifndef TESTS_LIB_TCP_PREPARED_H
#define TESTS_LIB_TCP_PREPARED_H

#include "stack/tcp_conn.h"

#define PREPARED_MSS	1000u
#define PREPARED_WINDOW 1000u /* in KiB */

struct prepared {
	struct stack *s;
	struct sock *sk;
	struct tcp *t;
};

/* A new one, in the place of the one there may be; all zero is none. */
void prepared_begin(struct prepared *c);
void prepared_end(struct prepared *c);

u32 prepared_at(u32 byte); /* its sequence number */

void prepared_wait(struct prepared *c, u64 ms);

/* New data goes out: so many segments at once, which are one run of the record, or each a
 * millisecond after the one before. */
void prepared_send(struct prepared *c, u32 segments);
void prepared_send_apart(struct prepared *c, u32 segments);

/* This is sent again. */
void prepared_send_again(struct prepared *c, u32 from, u32 to);

/* An ACK, and a SACK block more for it. */
struct tcp_segment prepared_ack(u32 byte);
void prepared_sack(struct tcp_segment *seg, u32 from, u32 to);

/* The ACK works on the connection, and its record keeps its promises. */
void prepared_answer(struct prepared *c, const struct tcp_segment *seg);

/* Flags of the run that holds the byte; fails the test when none does. */
u32 prepared_flags(const struct prepared *c, u32 byte);

/* Puts a run that never was behind the last, where nothing may be read or changed. */
void prepared_poison(struct prepared *c, u32 flags);

/* Fails the test unless the record covers what is in flight, and its sums are right. */
void prepared_check(const struct prepared *c);

#endif
