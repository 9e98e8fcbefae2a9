/* Private to wire*.c: the interpreter's state, and what its files call in each other. */
#ifndef TESTS_LIB_WIRE_STATE_H
#define TESTS_LIB_WIRE_STATE_H

#include <setjmp.h>

#include "stack/ip.h"
#include "stack/linux.h"
#include "stack/tcp_conn.h"
#include "tests/lib/wire.h"

enum { WORDS = 48, SOCKS = 64, FLOWS = 64, QUEUE = 4096, FRAME_MAX_BYTES = 70000 };

#define WIRE_ANY INT64_MAX /* `= *`: some of it */
#define OUR_ADDR  0x0a000002u /* 10.0.0.2 */
#define PEER_ADDR 0x0a000001u /* 10.0.0.1 */

struct sent {
	u64 time_ns;
	u32 len;
	u8 *bytes; /* IPv4 packet */
};

struct named {
	char name[16];
	ref sock;
	u32 sent, received; /* bytes so far, for the pattern */
};

struct flow {
	u16 our_port, peer_port;
	u32 our_isn, peer_isn;
	bool isn_known;
	bool ts_known;
	u32 our_ts; /* of the first segment with a timestamp */
};

struct wire {
	struct stack *s;
	void *memory;
	u64 memory_size;
	struct stack_config config;
	struct flow flow;         /* the one that segments belong to */
	struct flow kept[FLOWS];  /* the others, by the peer's port */
	u32 flows;
	u8 cookie[16];            /* of TCP Fast Open, that the engine gave last */
	u32 cookie_len;
	bool wants_isn;           /* not opened yet: our initial number shall be isn */
	u32 isn;
	struct named sock[SOCKS];
	u32 socks;
	struct sent queue[QUEUE];
	u32 queue_head, queue_tail;
	u64 start_ns, now_ns, tolerance_ns;
	u32 log_level;          /* of all areas */
	u64 counters[COUNTERS]; /* at the last look */
	int line;
	char *why;
	size_t why_size;
	jmp_buf failed;
	struct wire_packet last; /* the last packet from the engine, for ICMP that quotes it */
	u8 last_bytes[FRAME_MAX_BYTES];
	u32 last_len;
	char *word[WORDS];
	u32 words;
};

/* wire.c: ends the script with a reason that names line and time. */
void wire_fail(struct wire *w, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

/* wire_engine.c: the engine, its device and the clock. */
void wire_start(struct wire *w);
void wire_frame_in(struct wire *w, const u8 *bytes, u32 len, u32 ethertype);
void wire_settle(struct wire *w);
void wire_run_to(struct wire *w, u64 t, bool until_sent);
void wire_none_waiting(struct wire *w);
void wire_drop(struct wire *w); /* all packets that wait to be met */
void wire_opens(struct wire *w, u16 our_port, u16 peer_port); /* a connection is about to get its initial number */

/* wire_words.c: the words of a line. */
s64 wire_number(struct wire *w, const char *text);
const char *wire_word(struct wire *w, u32 i);
s64 wire_expected(struct wire *w, s64 otherwise); /* what stands behind `=`, taken off the line */
void wire_expect(struct wire *w, s64 got, s64 want);
struct named *wire_named(struct wire *w, const char *name);
struct named *wire_name_new(struct wire *w, const char *name, ref sock);
u32 wire_address(struct wire *w, const char *text);
struct endpoint wire_endpoint(struct wire *w, const char *text);

/* wire_lines.c, wire_calls.c */
void wire_inject(struct wire *w);
void wire_meet(struct wire *w, u64 at, bool timed);
void wire_call(struct wire *w);

/* wire_info.c */
s64 wire_tcp_info(struct wire *w, ref sock, const char *field);
void wire_fastopen_key(struct wire *w, ref sock, const char *hex, s64 want);
void wire_log(struct wire *w);

#endif
