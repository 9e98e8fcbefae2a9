/* Counters: one per named event (counters.def; TCP's are in tcp_counters.def). */
#ifndef STACK_COUNTERS_H
#define STACK_COUNTERS_H

#include "stack/types.h"

enum counter {
#define COUNTER(name, snmp, text) counter_##name,
#include "stack/counters.def"
#include "stack/tcp_counters.def"
#undef COUNTER
	COUNTERS
};

struct stack;

void counter_inc(struct stack *s, enum counter c);
void counter_add(struct stack *s, enum counter c, u64 n);
u64 counter_read(const struct stack *s, enum counter c);
const char *counter_name(enum counter c); /* "udp_no_port" */
const char *counter_snmp(enum counter c); /* "UdpNoPorts", or "" */
const char *counter_text(enum counter c);
int counter_by_name(const char *name); /* the index, or -1 */

#endif
