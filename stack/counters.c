/* Names and values of the counters of counters.def and tcp_counters.def. */
#include "stack/stack.h"

static const struct counter_text {
	const char *name, *snmp, *text;
} counter_texts[COUNTERS] = {
#define COUNTER(name, snmp, text) {#name, snmp, text},
#include "stack/counters.def"
#include "stack/tcp_counters.def"
#undef COUNTER
};

void counter_inc(struct stack *s, enum counter c)
{
	s->counters[c]++;
}

void counter_add(struct stack *s, enum counter c, u64 n)
{
	s->counters[c] += n;
}

u64 counter_read(const struct stack *s, enum counter c)
{
	return s->counters[c];
}

const char *counter_name(enum counter c)
{
	return counter_texts[c].name;
}

const char *counter_snmp(enum counter c)
{
	return counter_texts[c].snmp;
}

const char *counter_text(enum counter c)
{
	return counter_texts[c].text;
}

int counter_by_name(const char *name)
{
	for (int i = 0; i < COUNTERS; i++) {
		const char *a = counter_texts[i].name, *b = name;

		while (*a && *a == *b)
			a++, b++;
		if (*a == *b)
			return i;
	}
	return -1;
}
