/* A TCP peer made by hand: see peer.h. */
#include "tests/lib/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/tcp.h"
#include "tests/lib/sock_lib.h"

enum { IP = 14, STREAM = 1, LISTEN_PORT = 80, PEER_PORT = 4242 };

static u8 frame_in[NET_FRAME_MAX], frame_out[NET_FRAME_MAX];

static void must(bool so, const char *what)
{
	if (so)
		return;
	fprintf(stderr, "peer: %s\n", what);
	abort();
}

struct peer peer_new(struct stack *s)
{
	return (struct peer){.s = s,
		.port = PEER_PORT,
		.host_port = LISTEN_PORT,
		.seq = 1000000,
		.window = 65535};
}

static bool answer_arp(struct peer *p, u32 len)
{
	if (len < 42 || get16(frame_out + 12) != ETHERTYPE_ARP)
		return false;
	if (get16(frame_out + 20) == 1 && get32(frame_out + 38) == NET_PEER)
		engine_frame_in(p->s, frame_in,
			net_arp(frame_in, net_host_mac, 2, net_peer_mac, NET_PEER, net_host_mac,
				NET_HOST));
	return true;
}

/* Remembers the host's timestamp value, to echo it. */
static void read_timestamp(struct peer *p, const u8 *options, u32 len)
{
	for (u32 at = 0; at < len && options[at];) {
		u32 option_len = options[at] == 1 ? 1 : at + 1 < len ? options[at + 1] : 0;

		if (!option_len || option_len > len - at)
			return;
		if (options[at] == 8 && option_len == 10)
			p->ts_host = get32(options + at + 2);
		at += option_len;
	}
}

bool peer_next(struct peer *p, struct peer_segment *segment)
{
	u32 len, tcp_len, header_len;

	while ((len = engine_frame_out(p->s, frame_out, NULL))) {
		const u8 *h;

		if (answer_arp(p, len))
			continue;
		h = net_payload(frame_out, len, PROTO_TCP, &tcp_len);
		if (!h || tcp_len < 20 || get16(h + 2) != p->port || get16(h) != p->host_port)
			continue;
		header_len = (h[12] >> 4) * 4u;
		must(header_len >= 20 && header_len <= tcp_len,
			"a malformed segment from the host");
		read_timestamp(p, h + 20, header_len - 20);
		*segment = (struct peer_segment){
			.sport = get16(h),
			.dport = get16(h + 2),
			.seq = get32(h + 4),
			.ack = get32(h + 8),
			.flags = h[13],
			.window = get16(h + 14),
			.payload = h + header_len,
			.len = tcp_len - header_len,
			.frame = frame_out,
			.frame_len = len,
		};
		return true;
	}
	return false;
}

void peer_skip(struct peer *p)
{
	struct peer_segment segment;

	while (peer_next(p, &segment))
		;
}

void peer_send_at(struct peer *p, u16 flags, u32 seq, u32 ack, const void *payload, u32 len)
{
	u8 options[] = {1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 1460 >> 8, 1460 & 0xff, 1, 3, 3,
		7, 1, 1, 4, 2};
	struct net_tcp tcp = {.sport = p->port,
		.dport = p->host_port,
		.seq = seq,
		.ack = ack,
		.flags = flags,
		.window = p->window};
	struct peer_frame *kept = &p->sent[p->frames % PEER_FRAMES];
	u32 frame_len;

	put32(options + 4, (u32)(p->s->now_ns / NS_PER_MS) + 5000);
	put32(options + 8, p->ts_host);
	tcp.options = options + (p->rich ? 0 : 12);
	tcp.options_len = p->rich ? (flags & PEER_SYN ? 24 : 12) : flags & PEER_SYN ? 4 : 0;
	frame_len = net_tcp(frame_in, &(struct net_ip4){0}, &tcp, payload, len);
	if (frame_len <= sizeof(kept->bytes)) {
		kept->len = frame_len;
		memcpy(kept->bytes, frame_in, frame_len);
		p->frames++;
	}
	must(engine_frame_in(p->s, frame_in, frame_len), "no packet");
}

void peer_send(struct peer *p, u16 flags, const void *payload, u32 len)
{
	u32 seq = p->seq;

	p->seq += len + !!(flags & PEER_SYN) + !!(flags & PEER_FIN);
	peer_send_at(p, flags, seq, flags & PEER_ACK ? p->ack : 0, payload, len);
}

void peer_ack(struct peer *p)
{
	struct peer_segment segment;
	bool got = false;

	while (peer_next(p, &segment)) {
		u32 end = segment.seq + segment.len + !!(segment.flags & PEER_FIN);

		if (segment.seq != p->ack || end == segment.seq)
			continue;
		p->ack = end;
		got = true;
	}
	if (got)
		peer_send(p, PEER_ACK, NULL, 0);
}

void peer_connect(struct peer *p)
{
	struct peer_segment segment;
	int error;

	if (!p->listener) {
		p->listener = sock_lib_open(p->s, STREAM);
		must(sock_lib_bind(p->s, p->listener, 0, LISTEN_PORT) == 0, "bind");
		must(sock_listen(p->s, p->listener, 100) == 0, "listen");
	}
	peer_send(p, PEER_SYN, NULL, 0);
	must(peer_next(p, &segment) && segment.flags == (PEER_SYN | PEER_ACK) &&
			segment.ack == p->seq,
		"no SYN-ACK");
	p->ack = segment.seq + 1;
	peer_send(p, PEER_ACK, NULL, 0);
	p->sk = sock_accept(p->s, p->listener, &error);
	must(p->sk, "nothing to accept");
}

void peer_be_connected(struct peer *p)
{
	struct peer_segment segment;

	p->sk = sock_lib_open(p->s, STREAM);
	must(sock_lib_connect(p->s, p->sk, NET_PEER, p->port) == -EINPROGRESS, "connect");
	p->host_port = sock_lib_port(p->s, p->sk);
	must(peer_next(p, &segment) && segment.flags == PEER_SYN, "no SYN");
	p->ack = segment.seq + 1;
}

void peer_enter(struct peer *p, enum peer_stage stage)
{
	struct peer_segment segment;

	switch (stage) {
	case STAGE_NONE:
		return;
	case STAGE_LISTEN:
	case STAGE_SYN_RECEIVED:
		p->listener = sock_lib_open(p->s, STREAM);
		must(sock_lib_bind(p->s, p->listener, 0, LISTEN_PORT) == 0, "bind");
		must(sock_listen(p->s, p->listener, 10) == 0, "listen");
		if (stage == STAGE_SYN_RECEIVED) {
			peer_send(p, PEER_SYN, NULL, 0);
			must(peer_next(p, &segment), "no SYN-ACK");
			p->ack = segment.seq + 1;
		}
		return;
	case STAGE_SYN_SENT:
		peer_be_connected(p);
		return;
	default:
		peer_connect(p);
		must(peer_alive(p), "no connection");
	}
	if (stage == STAGE_CLOSE_WAIT || stage == STAGE_LAST_ACK)
		peer_send(p, PEER_ACK | PEER_FIN, NULL, 0);
	if (stage == STAGE_ESTABLISHED || stage == STAGE_CLOSE_WAIT)
		return;
	sock_shutdown(p->s, p->sk, 1);
	if (stage == STAGE_FIN_WAIT_2 || stage == STAGE_TIME_WAIT)
		peer_ack(p);
	if (stage == STAGE_CLOSING || stage == STAGE_TIME_WAIT)
		peer_send(p, PEER_ACK | PEER_FIN, NULL, 0);
}

enum peer_stage peer_stage(const struct peer *p)
{
	static const enum peer_stage stages[] = {
		[TCP_SYN_SENT] = STAGE_SYN_SENT,
		[TCP_SYN_RECEIVED] = STAGE_SYN_RECEIVED,
		[TCP_ESTABLISHED] = STAGE_ESTABLISHED,
		[TCP_FIN_WAIT_1] = STAGE_FIN_WAIT_1,
		[TCP_FIN_WAIT_2] = STAGE_FIN_WAIT_2,
		[TCP_CLOSE_WAIT] = STAGE_CLOSE_WAIT,
		[TCP_CLOSING] = STAGE_CLOSING,
		[TCP_LAST_ACK] = STAGE_LAST_ACK,
		[TCP_LISTEN] = STAGE_LISTEN,
		[TCP_CLOSED] = STAGE_NONE,
	};
	struct endpoint local = {.addr = addr_v4(NET_HOST), .port = p->host_port};
	struct endpoint remote = {.addr = addr_v4(NET_PEER), .port = p->port};
	ref owner = conn_lookup(p->s, PROTO_TCP, &local, &remote);
	struct sock *sk = sock_get(p->s, owner);
	struct tcp *t;

	if (slab_get(p->s, SLAB_TCP_REQUEST, owner))
		return STAGE_SYN_RECEIVED;
	if (slab_get(p->s, SLAB_TCP_TIMEWAIT, owner))
		return STAGE_TIME_WAIT;
	if (!sk)
		sk = sock_get(p->s, p->sk ? 0 : p->listener);
	t = sk ? slab_get(p->s, SLAB_TCP, sk->tcp) : NULL;
	return t ? stages[t->state] : STAGE_NONE;
}

void peer_icmp(struct peer *p, u8 type, u8 code, u32 rest, u32 seq)
{
	struct net_ip4 quoted = {.src = NET_HOST, .dst = NET_PEER, .fragment = 0x4000},
		       ip = {.src = 0x08080808};
	struct net_tcp tcp = {.sport = p->host_port,
		.dport = p->port,
		.seq = seq,
		.ack = p->seq,
		.flags = PEER_ACK};
	u8 quote[28];

	net_tcp(frame_in, &quoted, &tcp, frame_out, 1400);
	memcpy(quote, frame_in + IP, sizeof(quote));
	engine_frame_in(
		p->s, frame_in, net_icmp(frame_in, &ip, type, code, rest, quote, sizeof(quote)));
}

bool peer_alive(struct peer *p)
{
	u8 buf[16] = {0};
	u32 before;

	peer_ack(p);
	peer_send(p, PEER_ACK | PEER_PSH, "question", 8);
	if (sock_lib_recv(p->s, p->sk, buf, sizeof(buf), 0, NULL) != 8 ||
		memcmp(buf, "question", 8) != 0)
		return false;
	before = p->ack;
	if (sock_lib_send(p->s, p->sk, 0, 0, "answer", 6, 0) != 6)
		return false;
	engine_run(p->s, NS_PER_S);
	peer_ack(p);
	return p->ack == before + 6;
}
