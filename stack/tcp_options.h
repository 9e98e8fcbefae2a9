/*
 * TCP options (RFC 9293 3.1, RFC 7323, RFC 2018): read from hostile bytes into host order, and
 * written.
 */
#ifndef STACK_TCP_OPTIONS_H
#define STACK_TCP_OPTIONS_H

#include "stack/types.h"

#define TCP_OPTIONS_MAX 40u
#define TCP_SACK_BLOCKS 4u
#define TCP_WSCALE_MAX	14u /* RFC 7323 2.3 */

enum tcp_option_flag {
	TCP_OPT_MSS = 1,
	TCP_OPT_WSCALE = 2,
	TCP_OPT_SACK_OK = 4,
	TCP_OPT_TIMESTAMP = 8,
	TCP_OPT_SACK = 16,
	TCP_OPT_TFO = 32, /* RFC 7413: a cookie, or with tfo_len 0 the request for one */
};

struct tcp_sack_block {
	u32 start;
	u32 end;
};

struct tcp_options {
	u8 flags;  /* enum tcp_option_flag: what is there */
	u8 wscale; /* 14 at most; larger is read as 14 */
	u16 mss;
	u32 tsval;
	u32 tsecr;
	u32 sack_count;
	struct tcp_sack_block sack[TCP_SACK_BLOCKS];
	u8 tfo_len;
	bool tfo_exp; /* in the form of the experiment of 2012, which Linux speaks still */
	u8 tfo[16];
};

/*
 * Reads the options; those with a wrong length are skipped, an option that runs past the end stops
 * the reading (MUST-5, MUST-6, MUST-7, MUST-64). MSS, window scale and SACK-permitted count on a
 * SYN alone, and so does the cookie of TCP Fast Open. False when something was malformed; what came
 * before it is valid.
 */
bool tcp_options_parse(struct tcp_options *o, const u8 *data, u32 len, bool syn);

/* Writes what o->flags says to out[TCP_OPTIONS_MAX], padded to a multiple of 4 (MUST-69); returns
 * the length. SACK blocks fill the room left. */
u32 tcp_options_build(const struct tcp_options *o, u8 *out);

#endif
