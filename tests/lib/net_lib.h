/*
 * For tests of the engine without a device: makes a host in memory of its own, feeds it raw frames,
 * takes out what it sends as flat bytes, and runs its virtual clock.
 *
 * The host that net_config() describes is 10.0.0.2/24 at 02:00:00:00:00:02; its peer and
 * gateway 10.0.0.1 at 02:00:00:00:00:01.
 */
#ifndef TESTS_LIB_NET_LIB_H
#define TESTS_LIB_NET_LIB_H

#include "stack/bytes.h"
#include "stack/ip.h"
#include "stack/stack.h"

#define NET_HOST      0x0a000002u
#define NET_PEER      0x0a000001u
#define NET_FRAME_MAX 70000u

extern const u8 net_host_mac[6], net_peer_mac[6], net_everybody[6];

struct stack_config net_config(void);

/* A host of at most `limit` bytes of memory that it may use at once. NULL config: net_config().
 * Fails the program without memory. */
struct stack *engine_new_sized(const struct stack_config *config, u64 limit);
struct stack *engine_new(const struct stack_config *config); /* 64 MiB */
void engine_free(struct stack *s);

/* A host whose start-up announcements are over and whose peer is a resolved neighbour; no frame
 * waits. */
struct stack *engine_new_ready(const struct stack_config *config);

/* A frame from the wire; offload may be NULL. False when there was no packet for it. */
bool engine_frame_in(struct stack *s, const void *frame, u32 len);
bool engine_frame_in_offload(
	struct stack *s, const void *frame, u32 len, const struct offload *offload);

/* The next frame for the wire, copied to buf (NET_FRAME_MAX bytes), and its length; 0 when there is
 * none. offload may be NULL. */
u32 engine_frame_out(struct stack *s, u8 *buf, struct offload *offload);
u32 engine_frames_drop(struct stack *s); /* takes all; their number */

/* Lets time pass, serving every timer when it is due. */
void engine_run_until(struct stack *s, u64 now_ns);
void engine_run(struct stack *s, u64 duration_ns);

/* Frames as bytes. Each returns the frame's length. */
struct net_ip4 {
	u32 src, dst;	    /* 0: the peer's, the host's */
	u8 proto, ttl, tos; /* ttl 0: 64 */
	u16 id, fragment;   /* flags and offset as on the wire */
	const u8 *options;
	u32 options_len;
	const u8 *eth_src, *eth_dst; /* NULL: the peer's, the host's */
};
u32 net_eth(u8 *frame, const u8 *dst, const u8 *src, u16 type, const void *payload, u32 len);
u32 net_ip4(u8 *frame, const struct net_ip4 *ip, const void *payload, u32 len);
u32 net_arp(u8 *frame, const u8 *eth_dst, u16 op, const u8 *sender_mac, u32 sender,
	const u8 *target_mac, u32 target);
u32 net_udp(
	u8 *frame, const struct net_ip4 *ip, u16 sport, u16 dport, const void *payload, u32 len);
u32 net_icmp(u8 *frame, const struct net_ip4 *ip, u8 type, u8 code, u32 rest, const void *payload,
	u32 len);
struct net_tcp {
	u16 sport, dport;
	u32 seq, ack;
	u16 flags; /* FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128 */
	u16 window, urgent;
	const u8 *options;
	u32 options_len; /* a multiple of 4 */
};
u32 net_tcp(u8 *frame, const struct net_ip4 *ip, const struct net_tcp *tcp, const void *payload,
	u32 len);
void net_fix_ip4(u8 *frame); /* computes the header's checksum again after a change */

/*
 * Feeds a frame that must be dropped silently: NULL when exactly the named counter went up by one
 * (beside those that count arrivals), no object was made or freed and no frame sent; else what was
 * seen.
 */
const char *net_dropped(struct stack *s, const void *frame, u32 len, const char *name);

/* Fails a Check test unless the frame is dropped as net_dropped says. */
#define ck_assert_dropped(s, frame, len, name)                                                     \
	do {                                                                                       \
		const char *seen_ = net_dropped((s), (frame), (len), (name));                      \
		ck_assert_msg(!seen_, "want %s, seen:%s", (name), seen_);                          \
	} while (0)

/* The payload of the IPv4 packet in a frame, and its length in *len; NULL when it is none. */
const u8 *net_payload(const u8 *frame, u32 frame_len, u8 proto, u32 *len);

/* Counters by name, for comparison before and after: counter_read with a check that the name
 * exists. */
u64 net_count(const struct stack *s, const char *name);

#endif
