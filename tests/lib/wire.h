/*
 * Scripts of packets and socket calls against one engine under a virtual clock (tests/wire/README.md describes the language).
 */
#ifndef TESTS_LIB_WIRE_H
#define TESTS_LIB_WIRE_H

#include <stdio.h>

#include "stack/stack.h"

/* One segment or message, as the scripts see it: numbers relative to the two initial sequence numbers. */
struct wire_packet {
	u8 proto; /* PROTO_TCP, PROTO_UDP, PROTO_ICMP */
	u16 sport, dport;
	u32 seq, ack;      /* on the wire */
	u16 window, urgent;
	u16 flags;         /* FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, AE 256 */
	u8 doff;           /* 0: by the options */
	u8 options[40];
	u32 options_len;
	u32 payload_len;
	u8 payload[70000];
	u8 icmp_type, icmp_code;
	u32 icmp_info;
	bool bad_checksum;
	bool df;
	u8 ttl, tos;
};

/* Builds an IPv4 packet from src to dst; returns its length. */
u32 wire_build(u8 *out, const struct wire_packet *p, u32 src, u32 dst);

/* Takes an IPv4 packet apart; false when it is malformed or a checksum is wrong. */
bool wire_parse(struct wire_packet *p, const u8 *data, u32 len, u32 *src, u32 *dst);

/* Byte `position` of every stream that the scripts send in either direction. */
static inline u8 wire_pattern(u32 position)
{
	return (u8)(position * 7 + 13 + (position >> 8) * 31);
}

/*
 * Runs one script: true when it passed; else why says the line and the reason. isn, if not NULL, is the initial sequence number of
 * both sides of the first connection.
 */
bool wire_run(const char *path, const u32 *isn, char *why, size_t why_size);

/* The same for a script in memory. */
bool wire_run_text(const char *text, size_t len, const u32 *isn, char *why, size_t why_size);

#endif
