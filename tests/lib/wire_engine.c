/* The wire scripts' engine: its device, whose frames the script meets, and its virtual clock. */
#include "tests/lib/wire_state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stack/tcp_conn.h"

void wire_frame_in(struct wire *w, const u8 *bytes, u32 len, u32 ethertype)
{
	ref r = stack_rx_alloc(w->s);
	struct pkt *p = pkt_get(w->s, r);
	static const u8 peer_mac[6] = {2, 0, 0, 0, 0, 1};
	u8 *at;

	if (!p || !(at = pkt_put(p, len + 14)))
		wire_fail(w, "no packet for the incoming frame");
	memcpy(at, w->config.mac, 6);
	memcpy(at + 6, peer_mac, 6);
	at[12] = (u8)(ethertype >> 8);
	at[13] = (u8)ethertype;
	memcpy(at + 14, bytes, len);
	p->ifindex = NETIF_DEVICE;
	stack_input(w->s, r);
}

/* Answers an ARP request of the engine for any address but its own. */
static void answer_arp(struct wire *w, const u8 *arp, u32 len)
{
	u8 reply[28];

	if (len < 28 || arp[7] != 1 || memcmp(arp + 24, "\x0a\0\0\x02", 4) == 0)
		return;
	memcpy(reply, arp, 8);
	reply[7] = 2;
	memcpy(reply + 8, "\x02\0\0\0\0\x01", 6);
	memcpy(reply + 14, arp + 24, 4);
	memcpy(reply + 18, arp + 8, 10);
	wire_frame_in(w, reply, 28, ETHERTYPE_ARP);
}

static void take_frame(struct wire *w, const struct stack_piece *pieces, int count, const struct offload *o)
{
	static u8 bytes[FRAME_MAX_BYTES];
	u32 len = 0, sum = 0;
	struct sent *q;

	for (int i = 0; i < count; i++) {
		if (len + pieces[i].len > sizeof(bytes))
			wire_fail(w, "frame of more than %u bytes", (unsigned)sizeof(bytes));
		memcpy(bytes + len, pieces[i].base, pieces[i].len);
		len += (u32)pieces[i].len;
	}
	if (o->flags & OFFLOAD_NEEDS_CSUM) {
		u32 start = o->csum_start;

		for (u32 i = start; i < len; i++)
			sum += (i - start) & 1 ? bytes[i] : (u32)bytes[i] << 8;
		while (sum >> 16)
			sum = (sum & 0xffff) + (sum >> 16);
		bytes[start + o->csum_offset] = (u8)(~sum >> 8);
		bytes[start + o->csum_offset + 1] = (u8)~sum;
	}
	if (bytes[12] == 8 && bytes[13] == 6) {
		answer_arp(w, bytes + 14, len - 14);
		return;
	}
	q = &w->queue[w->queue_tail % QUEUE];
	if (w->queue_tail - w->queue_head == QUEUE)
		wire_fail(w, "more than %d packets that no line expects", QUEUE);
	q->time_ns = w->now_ns;
	q->len = len - 14;
	q->bytes = malloc(len);
	memcpy(q->bytes, bytes + 14, q->len);
	w->queue_tail++;
}

static void check_invariants(struct wire *w)
{
	u64 tcp, udp;

	for (u32 i = 0; i < slab_touched(w->s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(w->s, SLAB_SOCK, i);
		const char *broken = sk && sk->conn.proto == PROTO_TCP ? tcp_check(w->s, sk) : NULL;

		if (broken)
			wire_fail(w, "invariant broken: %s", broken);
	}
	sock_memory_count(w->s, &tcp, &udp);
	if (tcp != w->s->tcp_memory || udp != w->s->udp_memory)
		wire_fail(w, "invariant broken: memory of all sockets");
}

/* What the engine has to send leaves; done after every entry. */
void wire_settle(struct wire *w)
{
	struct stack_piece pieces[FRAME_PIECES + 1];
	struct offload offload;
	u32 events;
	int n;

	do {
		while ((n = stack_tx_pieces(w->s, pieces, &offload)) > 0) {
			take_frame(w, pieces, n, &offload);
			stack_tx_done(w->s);
		}
		stack_tx_reclaim(w->s);
	} while (stack_tx_pending(w->s));
	while (stack_changed(w->s, &events))
		;
	check_invariants(w);
}

/* Moves the clock to t, serving every timer at its moment; stops early when a packet comes out and `until_sent`. */
void wire_run_to(struct wire *w, u64 t, bool until_sent)
{
	for (;;) {
		u64 next = stack_deadline(w->s);

		if (until_sent && w->queue_head != w->queue_tail)
			return;
		if (next > t)
			break;
		w->now_ns = MAX(w->now_ns, next);
		stack_clock(w->s, w->now_ns);
		stack_advance(w->s);
		wire_settle(w);
	}
	w->now_ns = MAX(w->now_ns, t);
	stack_clock(w->s, w->now_ns);
	stack_advance(w->s);
	wire_settle(w);
}

void wire_none_waiting(struct wire *w)
{
	static struct wire_packet packet, *p = &packet;
	struct sent *q = &w->queue[w->queue_head % QUEUE];
	u32 src, dst;

	if (w->queue_head == w->queue_tail)
		return;
	wire_parse(p, q->bytes, q->len, &src, &dst);
	if (p->proto == PROTO_TCP)
		wire_fail(w, "unexpected packet at %.6f s: flags 0x%02x seq %u:%u ack %u win %u",
			(double)(q->time_ns - w->start_ns) / 1e9, p->flags, p->seq - w->flow.our_isn,
			p->seq - w->flow.our_isn + p->payload_len, p->ack - w->flow.peer_isn, p->window);
	wire_fail(w, "unexpected packet of protocol %u, type %u/%u", p->proto, p->icmp_type, p->icmp_code);
}

void wire_drop(struct wire *w)
{
	while (w->queue_head != w->queue_tail)
		free(w->queue[w->queue_head++ % QUEUE].bytes);
}

/* An initial number is a function of the four-tuple plus a clock: the clock goes to where the sum is the number wanted. */
void wire_opens(struct wire *w, u16 our_port, u16 peer_port)
{
	struct endpoint local = {.addr = addr_v4(OUR_ADDR), .port = our_port};
	struct endpoint remote = {.addr = addr_v4(PEER_ADDR), .port = peer_port};
	u64 forward;

	if (!w->wants_isn || w->flow.isn_known)
		return;
	w->wants_isn = false;
	forward = (u64)(w->isn - tcp_isn(w->s, &local, &remote)) * 4 * NS_PER_US;
	w->start_ns += forward;
	wire_run_to(w, w->now_ns + forward, false);
}

void wire_start(struct wire *w)
{
	u64 size = MAX(stack_min_size(), 64ull << 20);

	if (w->s)
		return;
	w->memory_size = size;
	w->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w->memory == MAP_FAILED)
		wire_fail(w, "no memory");
	w->config.now_ns = w->now_ns;
	w->s = stack_init(w->memory, size, size, &w->config);
	if (!w->s)
		wire_fail(w, "the engine does not start");
	log_set(w->s, LOG_AREAS, (enum log_level)w->log_level);
	wire_settle(w);
	wire_drop(w); /* the announcement of our address */
}

