/* Frames that are almost right: see mutate.h. */
#include "tests/lib/mutate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/checksum.h"
#include "stack/linux.h"
#include "stack/neigh.h"
#include "stack/reasm.h"
#include "stack/tcp.h"
#include "tests/lib/sock_lib.h"

enum { IP = 14, STREAM = 1, DATAGRAM = 2, UDP_PORT = 9, SPARE_PORT = 81 };

#define GROUP 0xef010203u /* 239.1.2.3 */

static u8 frame[NET_FRAME_MAX], data[4000];

/* A choice below bound: the next of the input's bytes, 0 when they are used up; or by chance. */
static u32 pick(struct mutation *m, u32 bound)
{
	u32 value = 0;

	if (!m->input)
		return random_below(&m->random, bound);
	for (u32 i = 0; i < (bound > 256 ? 2 : 1); i++) {
		value <<= 8;
		if (m->used < m->input_len)
			value |= m->input[m->used++];
	}
	return value % bound;
}

static void enter(struct mutation *m, enum peer_stage stage)
{
	peer_enter(&m->p, stage);
	if (stage == STAGE_ESTABLISHED || stage == STAGE_CLOSE_WAIT)
		sock_lib_send(m->p.s, m->p.sk, 0, 0, data, 3000, 0);
}

/* --- frames as they might come --- */

static u32 make_tcp(struct mutation *m)
{
	static const u16 flags[] = {PEER_ACK, PEER_ACK | PEER_PSH, PEER_ACK | PEER_FIN, PEER_RST, PEER_RST | PEER_ACK, PEER_SYN,
		PEER_SYN | PEER_ACK, PEER_ACK | PEER_URG, 0, 0x1ff};
	u8 options[] = {1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 5, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4};
	static const s32 deltas[] = {0, 0, 0, 0, 1, -1, 1000, -1000, 65535, -65536, 0x7fffffff};
	struct net_tcp tcp = {
		.sport = m->p.port,
		.dport = m->p.host_port,
		.seq = m->p.seq + (u32)deltas[pick(m, ARRAY_LEN(deltas))],
		.ack = m->p.ack + (u32)deltas[pick(m, ARRAY_LEN(deltas))],
		.flags = flags[pick(m, ARRAY_LEN(flags))],
		.window = (u16)(pick(m, 4) ? 65535 : pick(m, 3)),
		.urgent = (u16)pick(m, 2000),
		.options = options,
		.options_len = m->p.rich ? 12 : 0,
	};

	if (!pick(m, 3))
		tcp.options_len = 4 * pick(m, sizeof(options) / 4 + 1);
	put32(options + 4, (u32)(m->p.s->now_ns / NS_PER_MS) + 5000 - (pick(m, 8) ? 0 : 10000));
	put32(options + 8, m->p.ts_host);
	for (u32 i = 16; i < 32; i += 4)
		put32(options + i, m->p.ack - 1460 + 730 * pick(m, 8));
	return net_tcp(frame, &(struct net_ip4){0}, &tcp, data, pick(m, 2) ? 0 : pick(m, 1400));
}

static u32 make_error(struct mutation *m)
{
	static const u8 types[] = {3, 3, 3, 11, 12, 4, 5};
	struct net_ip4 quoted = {.src = NET_HOST, .dst = NET_PEER}, ip = {0};
	struct net_tcp tcp = {.sport = m->p.host_port, .dport = m->p.port, .seq = m->p.ack - pick(m, 2000), .ack = m->p.seq};
	u32 len = pick(m, 4) ? net_tcp(frame, &quoted, &tcp, data, 100) : net_udp(frame, &quoted, (u16)(UDP_PORT + pick(m, 4)), 4242, data, 100);
	u8 quote[200];

	len = MIN(len - IP, 28 + pick(m, 20));
	memcpy(quote, frame + IP, len);
	return net_icmp(frame, &ip, types[pick(m, ARRAY_LEN(types))], (u8)pick(m, 16), pick(m, 2000), quote, len);
}

static u32 make_fragment(struct mutation *m)
{
	struct net_ip4 ip = {
		.proto = (u8)(pick(m, 2) ? PROTO_UDP : PROTO_TCP),
		.id = (u16)pick(m, 3),
		.fragment = (u16)(pick(m, 4) * 100 | (pick(m, 3) ? 0x2000 : 0)),
	};

	return net_ip4(frame, &ip, data, 800);
}

/* One of the session so far. */
static u32 make_captured(struct mutation *m)
{
	const struct peer_frame *f = &m->p.sent[pick(m, PEER_FRAMES)];

	memcpy(frame, f->bytes, f->len);
	if (!f->len)
		return make_tcp(m);
	return f->len;
}

static u32 make_datagram(struct mutation *m)
{
	static const u32 to[] = {0, 0, 0, GROUP, 0x0a0000ff, 0xffffffff};
	struct net_ip4 ip = {.dst = to[pick(m, ARRAY_LEN(to))]};

	if (ip.dst)
		ip.eth_dst = net_everybody;
	return net_udp(frame, &ip, (u16)(4242 + !pick(m, 4)), (u16)(UDP_PORT + pick(m, 4)), data, pick(m, 1400));
}

static u32 make_frame(struct mutation *m)
{
	struct net_ip4 ip = {0};

	switch (pick(m, 20)) {
	case 16:
	case 17:
	case 18:
	case 19:
		return make_captured(m);
	case 0:
		return make_datagram(m);
	case 1:
		return net_icmp(frame, &ip, 8, 0, 1, data, pick(m, 1400));
	case 2:
		return net_arp(frame, net_host_mac, (u16)(1 + pick(m, 2)), net_peer_mac, NET_PEER, net_host_mac, NET_HOST);
	case 3:
	case 4:
		return make_error(m);
	case 5:
		return make_fragment(m);
	default:
		return make_tcp(m);
	}
}

/* --- changes --- */

static u32 mutate_once(struct mutation *m, u32 len)
{
	static const u16 edges[] = {0, 1, 2, 3, 4, 7, 8, 19, 20, 21, 40, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xfffe, 0xffff};
	/* Mostly in the headers. */
	u32 at = IP + pick(m, pick(m, 4) ? 44 : MAX(len, 64u));

	switch (pick(m, 8)) {
	case 0:
		return pick(m, len + 1);
	case 1:
		memset(frame + len, (int)pick(m, 256), 64);
		return len + pick(m, 64);
	case 2:
	case 3:
		put16(frame + at, edges[pick(m, ARRAY_LEN(edges))]);
		return len;
	case 4:
		frame[at] = (u8)edges[pick(m, ARRAY_LEN(edges))];
		return len;
	case 5:
		frame[at] ^= (u8)(1 << pick(m, 8));
		return len;
	case 6:
		put16(frame + at, (u32)get16(frame + at) + pick(m, 5) - 2);
		return len;
	default:
		frame[pick(m, IP)] ^= (u8)(pick(m, 8) ? 0 : 1 << pick(m, 8));
		return len;
	}
}

/* Makes the checksums right again, as far as the lengths allow. */
static void fix_sums(u32 len)
{
	static const u8 places[256] = {[PROTO_TCP] = 16, [PROTO_UDP] = 6, [PROTO_ICMP] = 2};
	u8 *h = frame + IP;
	u32 header_len = (h[0] & 15u) * 4, total = get16(h + 2), place = places[h[9]], sum;
	struct addr src = addr_v4(get32(h + 12)), dst = addr_v4(get32(h + 16));

	if (len < IP + 20 || header_len < 20 || header_len > len - IP)
		return;
	net_fix_ip4(frame);
	if (!place || total > len - IP || total < header_len + place + 2 || get16(h + 6) & 0x3fff)
		return;
	put16(h + header_len + place, 0);
	sum = h[9] == PROTO_ICMP ? 0 : checksum_pseudo(&src, &dst, h[9], total - header_len);
	put16(h + header_len + place, checksum_finish(checksum_add(sum, h + header_len, total - header_len)));
}

/* --- what a program does meanwhile --- */

static void set_some_option(struct mutation *m)
{
	static const int names[][2] = {{LX_SOL_TCP, LX_TCP_NODELAY}, {LX_SOL_TCP, LX_TCP_CORK}, {LX_SOL_SOCKET, LX_SO_KEEPALIVE},
		{LX_SOL_TCP, LX_TCP_KEEPIDLE}, {LX_SOL_TCP, LX_TCP_USER_TIMEOUT}, {LX_SOL_TCP, LX_TCP_QUICKACK},
		{LX_SOL_TCP, LX_TCP_MAXSEG}, {LX_SOL_TCP, LX_TCP_WINDOW_CLAMP}, {LX_SOL_TCP, LX_TCP_LINGER2},
		{LX_SOL_SOCKET, LX_SO_RCVBUF}, {LX_SOL_SOCKET, LX_SO_SNDBUF}, {LX_SOL_SOCKET, LX_SO_OOBINLINE},
		{LX_SOL_TCP, LX_TCP_DEFER_ACCEPT}, {LX_SOL_IP, LX_IP_MTU_DISCOVER}};
	u32 i = pick(m, ARRAY_LEN(names));

	sock_lib_set(m->p.s, pick(m, 4) && m->p.sk ? m->p.sk : m->p.listener, names[i][0], names[i][1], (int)pick(m, 3000));
}

static void program(struct mutation *m)
{
	struct stack *s = m->p.s;
	int error;

	switch (pick(m, 16)) {
	case 0:
	case 1:
		sock_lib_recv(s, m->p.sk, data, pick(m, sizeof(data)), pick(m, 2) ? 0 : LX_MSG_PEEK, NULL);
		break;
	case 2:
	case 3:
		sock_lib_send(s, m->p.sk, 0, 0, data, pick(m, 3000), pick(m, 2) ? 0 : LX_MSG_MORE);
		break;
	case 4:
		sock_lib_send(s, m->p.sk, 0, 0, data, 1 + pick(m, 10), LX_MSG_OOB);
		break;
	case 5:
		sock_lib_recv(s, m->p.sk, data, 1, LX_MSG_OOB, NULL);
		break;
	case 6:
		sock_lib_recv(s, m->udp, data, sizeof(data), 0, NULL);
		break;
	case 7:
		set_some_option(m);
		break;
	case 8:
		if (!pick(m, 8))
			sock_shutdown(s, m->p.sk, (int)pick(m, 3));
		break;
	case 9:
		if (!m->p.sk && m->p.listener)
			m->p.sk = sock_accept(s, m->p.listener, &error);
		break;
	case 10:
		if (!pick(m, 16)) {
			sock_close(s, m->p.sk);
			m->p.sk = 0;
		}
		break;
	default:
		break;
	}
}

/*
 * A digest of what a frame may do: every counter but those of arrival in a layer, and the objects that protocols keep. A frame that changes
 * neither has been lost without a trace.
 */
static u64 digest(struct stack *s)
{
	static const enum slab_kind kinds[] = {SLAB_TCP, SLAB_TCP_REQUEST, SLAB_TCP_TIMEWAIT, SLAB_NEIGH, SLAB_REASM};
	static const u32 sizes[] = {sizeof(struct tcp), sizeof(struct tcp_request), sizeof(struct tcp_timewait), sizeof(struct neigh),
		sizeof(struct reasm)};
	u64 sum = 14695981039346656037u;

	for (enum counter i = 0; i < COUNTERS; i++) {
		if (i != counter_eth_in && i != counter_ip_in && i != counter_ip_delivered && i != counter_icmp_in && i != counter_tcp_in)
			sum = (sum ^ s->counters[i]) * 1099511628211u;
	}
	for (u32 i = 0; i < SLAB_KINDS; i++)
		sum = (sum ^ slab_in_use(s, (enum slab_kind)i)) * 1099511628211u;
	for (u32 k = 0; k < ARRAY_LEN(kinds); k++) {
		for (u32 i = 0; i < slab_touched(s, kinds[k]); i++) {
			const u8 *object = slab_at(s, kinds[k], i);

			for (u32 at = 0; object && at < sizes[k]; at++)
				sum = (sum ^ object[at]) * 1099511628211u;
		}
	}
	return sum;
}

static bool feed(struct mutation *m)
{
	u32 len = make_frame(m);
	struct offload offload = {0}; /* now and then what no device says */
	u64 before;
	bool traced;

	for (u32 n = pick(m, 4); n; n--)
		len = mutate_once(m, len);
	if (pick(m, 8))
		fix_sums(len);
	if (!pick(m, 8))
		offload = (struct offload){
			.flags = (u8)pick(m, 4),
			.gso_type = (u8)pick(m, 7),
			.gso_size = (u16)(pick(m, 2) ? pick(m, 65536) : pick(m, 100)),
			.header_len = (u16)pick(m, 100),
			.csum_start = (u16)(pick(m, 2) ? IP + 20 : pick(m, 65536)),
			.csum_offset = (u16)(pick(m, 2) ? 16 : pick(m, 65536)),
		};
	before = digest(m->p.s);
	engine_frame_in_offload(m->p.s, frame, len, &offload);
	traced = digest(m->p.s) != before;
	if (!pick(m, 3))
		program(m);
	if (!pick(m, 8))
		engine_run(m->p.s, pick(m, 300) * NS_PER_MS);
	if (!pick(m, 64))
		engine_run(m->p.s, pick(m, 200) * NS_PER_S);
	if (!pick(m, 4))
		engine_frames_drop(m->p.s);
	return traced;
}

/* --- questions --- */

static const char *broken_invariant(struct stack *s)
{
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);
		const char *broken = sk ? tcp_check(s, sk) : NULL;

		if (broken)
			return broken;
	}
	if (net_count(s, "invariant") || net_count(s, "stale_free"))
		return "an internal error was counted";
	return NULL;
}

static bool new_connection_works(struct mutation *m)
{
	struct peer other = peer_new(m->p.s);
	struct addr addr = addr_v4(NET_PEER);
	bool works;

	/* Whatever the frames made of the neighbour: it is there. */
	engine_frames_drop(m->p.s);
	engine_frame_in(m->p.s, frame, net_arp(frame, net_host_mac, 1, net_peer_mac, NET_PEER, net_host_mac, NET_HOST));
	neigh_confirm(m->p.s, &addr);
	engine_frames_drop(m->p.s);
	other.listener = m->spare;
	other.host_port = SPARE_PORT;
	other.port = 50000;
	other.seq = m->p.seq * 7;
	peer_connect(&other);
	works = peer_alive(&other);
	sock_close(m->p.s, other.sk);
	peer_send(&other, PEER_RST | PEER_ACK, NULL, 0);
	return works;
}

/* Closes everything, lets an hour pass, and says what is left over. */
static const char *left_over(struct mutation *m)
{
	static const enum slab_kind kinds[] = {SLAB_PKT_SMALL, SLAB_PKT_MEDIUM, SLAB_PKT_LARGE, SLAB_PKT_HUGE, SLAB_FRAME, SLAB_SOCK, SLAB_TCP,
		SLAB_TCP_REQUEST, SLAB_TCP_TIMEWAIT, SLAB_REASM, SLAB_PORT};
	static char what[64];
	struct stack *s = m->p.s;

	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk && !(sk->flags & SOCK_ORPHAN))
			sock_close(s, sk->conn.slab.self);
	}
	stack_run_loopback(s);
	for (u32 minute = 0; minute < 60; minute++) {
		engine_run(s, 60 * NS_PER_S);
		engine_frames_drop(s);
	}
	for (u32 i = 0; i < ARRAY_LEN(kinds); i++) {
		snprintf(what, sizeof(what), "%u objects of kind %u left", slab_in_use(s, kinds[i]), kinds[i]);
		if (slab_in_use(s, kinds[i]))
			return what;
	}
	return stack_idle(s) ? NULL : "the host is not idle";
}

static void begin(struct mutation *m, enum peer_stage stage)
{
	struct stack *s = engine_new_ready(NULL);

	m->p = peer_new(s);
	m->p.seq = pick(m, 2) ? (u32)-20 : pick(m, 65536) << 16;
	m->p.rich = pick(m, 2);
	m->udp = sock_lib_open(s, DATAGRAM);
	m->spare = sock_lib_open(s, STREAM);
	/* A datagram socket that is not connected and in a group, one that is, and one that asks for errors. */
	for (u16 i = 0; i < 3; i++) {
		ref udp = i ? sock_lib_open(s, DATAGRAM) : m->udp;
		u8 group[8] = {239, 1, 2, 3};

		if (sock_lib_bind(s, udp, 0, (u16)(UDP_PORT + i)) || (i && sock_lib_connect(s, udp, NET_PEER, 4242)))
			abort();
		if (!i && sock_setopt(s, udp, LX_SOL_IP, LX_IP_ADD_MEMBERSHIP, group, sizeof(group)))
			abort();
		sock_lib_set(s, udp, LX_SOL_IP, LX_IP_RECVERR, i == 2);
		sock_lib_set(s, udp, LX_SOL_SOCKET, LX_SO_RCVBUF, 4000);
		sock_lib_send(s, udp, i ? 0 : NET_PEER, i ? 0 : 4242, data, 10, 0);
	}
	if ( sock_lib_bind(s, m->spare, 0, SPARE_PORT) || sock_listen(s, m->spare, 100))
		abort();
	enter(m, stage);
	engine_frames_drop(s);
}

/* A repair (stack/repair.c) leaves alone what is whole. */
static const char *repair_resets(struct stack *s)
{
	u64 before = net_count(s, "repair_reset");

	stack_repair_begin(s);
	stack_repair_end(s);
	return net_count(s, "repair_reset") == before ? NULL : "a repair resets a connection that is whole";
}

static const char *end(struct mutation *m, const char *why)
{
	if (!why)
		why = broken_invariant(m->p.s);
	if (!why && !pick(m, 8))
		why = repair_resets(m->p.s);
	if (!why)
		why = broken_invariant(m->p.s);
	if (!why && !new_connection_works(m))
		why = "a new connection does not work";
	if (!why)
		why = left_over(m);
	if (!why)
		why = broken_invariant(m->p.s);
	engine_free(m->p.s);
	return why;
}

struct mutation_field {
	u32 offset, bytes;
};

static const struct mutation_field fields[MUTATION_FIELDS] = {
	{IP, 1}, {IP + 1, 1}, {IP + 2, 2}, {IP + 4, 2}, {IP + 6, 2}, {IP + 8, 1}, {IP + 9, 1}, {IP + 12, 4}, {IP + 16, 4}, /* IPv4 */
	{IP + 20, 2}, {IP + 22, 2}, {IP + 24, 4}, {IP + 28, 4}, {IP + 32, 1}, {IP + 33, 1}, {IP + 34, 2}, {IP + 38, 2}, /* TCP */
	{IP + 40, 1}, {IP + 41, 1}, {IP + 42, 1}, {IP + 43, 1}, {IP + 44, 4}, {IP + 48, 4}, /* its first options */
};

static u32 get_field(const struct mutation_field *f)
{
	return f->bytes == 1 ? frame[f->offset] : f->bytes == 2 ? get16(frame + f->offset) : get32(frame + f->offset);
}

/* The edges of a field of that size, and what lies beside the right value. */
static void set_edge(const struct mutation_field *f, u32 edge)
{
	u32 most = f->bytes == 4 ? UINT32_MAX : (1u << 8 * f->bytes) - 1, right = get_field(f);
	const u32 values[MUTATION_EDGES] = {0, 1, most, most - 1, most / 2, most / 2 + 1, right - 1, right + 1, right << 4, right ^ 0x10};

	if (f->bytes == 1)
		frame[f->offset] = (u8)values[edge];
	else if (f->bytes == 2)
		put16(frame + f->offset, values[edge]);
	else
		put32(frame + f->offset, values[edge]);
}

/* The answers to what has come in: one, and what the host has to say of itself (what it sends again, its own ARP). */
enum { ANSWERS_MAX = 8 };

const char *mutation_sweep(struct mutation *m, enum peer_stage stage, const struct mutation_case *c)
{
	static const u16 flags[MUTATION_KINDS] = {PEER_ACK | PEER_PSH, PEER_SYN, PEER_ACK | PEER_FIN, PEER_RST | PEER_ACK};
	u8 options[12] = {1, 1, 8, 10};
	struct net_tcp tcp;
	u32 len;

	begin(m, stage);
	tcp = (struct net_tcp){.sport = m->p.port, .dport = m->p.host_port, .seq = m->p.seq, .ack = m->p.ack,
		.flags = flags[c->kind], .window = 65535, .options = options, .options_len = sizeof(options)};
	put32(options + 4, (u32)(m->p.s->now_ns / NS_PER_MS) + 5000);
	put32(options + 8, m->p.ts_host);
	len = net_tcp(frame, &(struct net_ip4){0}, &tcp, data, c->kind == 0 ? 100 : 0);
	set_edge(&fields[c->field], c->edge);
	set_edge(&fields[c->field2], c->edge2);
	fix_sums(len);
	engine_frame_in(m->p.s, frame, len);
	engine_run(m->p.s, 50 * NS_PER_MS);
	return end(m, engine_frames_drop(m->p.s) > ANSWERS_MAX ? "too many answers" : NULL);
}

const char *mutation_run(struct mutation *m, enum peer_stage stage, u32 frames)
{
	const char *why = NULL;

	begin(m, stage);
	for (u32 i = 0; i < frames && !why && (!m->input || m->used < m->input_len); i++) {
		if (!feed(m))
			why = "a frame was lost without a trace";
		else if (m->input || !pick(m, 8))
			why = broken_invariant(m->p.s);
	}
	return end(m, why);
}
