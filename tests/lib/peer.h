/*
 * A TCP peer made by hand, for tests that must say every field themselves: it speaks to one engine
 * through raw frames, remembers both sequence numbers, and answers ARP.
 */
#ifndef TESTS_LIB_PEER_H
#define TESTS_LIB_PEER_H

#include "tests/lib/net_lib.h"

enum { PEER_FIN = 1, PEER_SYN = 2, PEER_RST = 4, PEER_PSH = 8, PEER_ACK = 16, PEER_URG = 32 };

enum { PEER_FRAMES = 8 };

struct peer_frame {
	u32 len;
	u8 bytes[1600];
};

struct peer {
	struct stack *s;
	u16 port, host_port;
	u32 seq; /* the next byte that the peer sends */
	u32 ack; /* the next byte that it expects */
	u16 window;
	bool rich;    /* offers window scale 7, SACK and timestamps, and uses the last two */
	u32 ts_host;  /* the host's last timestamp value */
	ref listener; /* the host's sockets */
	ref sk;
	struct peer_frame sent[PEER_FRAMES]; /* the last frames of the peer */
	u32 frames;
};

/* A segment that the host has sent. */
struct peer_segment {
	u16 flags, window, sport, dport;
	u32 seq, ack;
	u32 len; /* bytes of payload */
	const u8 *payload;
	const u8 *frame;
	u32 frame_len;
};

struct peer peer_new(struct stack *s);

/* The next segment of this connection's ports, after frames for others; false when there is none.
 */
bool peer_next(struct peer *p, struct peer_segment *segment);
void peer_skip(struct peer *p); /* takes all frames */

/* A segment at the peer's numbers, which it moves on by what it occupies. */
void peer_send(struct peer *p, u16 flags, const void *payload, u32 len);

/* One with numbers of its own, which moves nothing. */
void peer_send_at(struct peer *p, u16 flags, u32 seq, u32 ack, const void *payload, u32 len);

/* Take all segments, and acknowledge what they occupy. */
void peer_ack(struct peer *p);

/* The handshake: the host listens on port 80 (the socket accepted is p->sk), or connects from a
 * port of its own. */
void peer_connect(struct peer *p);
void peer_be_connected(struct peer *p);

/* Where the host's end of the connection stands. */
enum peer_stage {
	STAGE_NONE, /* no socket */
	STAGE_LISTEN,
	STAGE_SYN_SENT,
	STAGE_SYN_RECEIVED,
	STAGE_ESTABLISHED,
	STAGE_FIN_WAIT_1,
	STAGE_FIN_WAIT_2,
	STAGE_CLOSE_WAIT,
	STAGE_CLOSING,
	STAGE_LAST_ACK,
	STAGE_TIME_WAIT,
	STAGES,
};

/* Brings the host there; frames of it may wait. */
void peer_enter(struct peer *p, enum peer_stage stage);

/* Where it stands now. */
enum peer_stage peer_stage(const struct peer *p);

/* An ICMP error from a router, that quotes a segment of the host with that sequence number. */
void peer_icmp(struct peer *p, u8 type, u8 code, u32 rest, u32 seq);

/* Bytes go both ways and arrive: the connection lives. */
bool peer_alive(struct peer *p);

#endif
