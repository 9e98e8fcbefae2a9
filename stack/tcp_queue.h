/* Private to TCP: the send queue (tcp_queue.c). */
#ifndef STACK_TCP_QUEUE_H
#define STACK_TCP_QUEUE_H

#include "stack/tcp_conn.h"

/* Puts a packet with a view behind the last byte; takes over the caller's reference. The caller has
 * charged it. */
void tcp_queue_append(struct stack *s, struct sock *sk, struct tcp *t, ref pkt);

/* How many of the bytes seq .. seq + len fit the pieces of one frame. */
u32 tcp_queue_reach(struct stack *s, const struct tcp *t, u32 seq, u32 len);

/* Adds the bytes seq .. seq + len to a frame; returns how many. */
u32 tcp_queue_gather(struct stack *s, struct tcp *t, struct frame *f, u32 seq, u32 len);

#endif
