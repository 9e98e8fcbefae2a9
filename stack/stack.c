/*
 * The engine's life: making a host in the memory given, its clock, its memory, its timers, its
 * queues to the device and to itself.
 *
 * The region is handed out in spans of 1 MiB, in order, and never taken back. Span 0 is struct
 * stack itself. The caller is asked for more (wants_memory) while there is still a quarter left, as
 * making the region larger takes its time.
 */
#include <string.h>

#include "stack/ip.h"
#include "stack/neigh.h"
#include "stack/reasm.h"
#include "stack/sock_memory.h"
#include "stack/stack.h"
#include "stack/tcp.h"

_Static_assert(
	offsetof(struct stack, slab) == 0, "slab.h takes the slabs from the start of the region");
_Static_assert(sizeof(struct stack) <= SLAB_SPAN_BYTES, "struct stack is span 0");
_Static_assert((STACK_TX_RING & (STACK_TX_RING - 1)) == 0, "indexes of the ring are masked");

#define SPANS_MIN    26u /* one for each kind and table, and some packets */
#define SPANS_MAX    65535u
#define EXPIRIES_MAX 65536u /* timers served, and packets looped, in one call */

void stack_default_tunables(struct stack_tunables *t)
{
	*t = (struct stack_tunables){
		.tcp_rmem = {4096, 131072, 6291456},
		.tcp_wmem = {4096, 16384, 4194304},
		.udp_rmem_min = 4096,
		.rmem_default = 212992,
		.rmem_max = 212992,
		.wmem_default = 212992,
		.wmem_max = 212992,
		.somaxconn = 4096,
		.tcp_max_syn_backlog = 1024,
		.tcp_syncookies = 1,
		.tcp_fastopen = 1,
		.tcp_no_ssthresh_metrics_save = 1,
		.tcp_sack = 1,
		.tcp_timestamps = 1,
		.tcp_window_scaling = 1,
		.tcp_congestion_control = TCP_CC_CUBIC,
		.tcp_allowed_congestion_control = (1 << TCP_CCS) - 1,
		.tcp_recovery = 1,
		.tcp_early_retrans = 3,
		.tcp_frto = 2,
		.tcp_tso_rtt_log = 9,
		.tcp_min_tso_segs = 2,
		.tcp_pacing_ss_ratio = 200,
		.tcp_pacing_ca_ratio = 120,
		.tcp_ecn = 2,
		.tcp_base_mss = 1024,
		.tcp_mtu_probe_floor = 48,
		.tcp_probe_threshold = 8,
		.tcp_probe_interval_s = 600,
		.min_pmtu = 552,
		.mtu_expires_s = 600,
		.tcp_ecn_fallback = 1,
		.tcp_syn_retries = 6,
		.tcp_synack_retries = 5,
		.tcp_retries1 = 3,
		.tcp_retries2 = 15,
		.tcp_keepalive_probes = 9,
		.tcp_slow_start_after_idle = 1,
		.tcp_fin_timeout_s = 60,
		.tcp_keepalive_time_s = 7200,
		.tcp_keepalive_intvl_s = 75,
		.tcp_max_orphans = 65536,
		.tcp_max_tw_buckets = 65536,
		.tcp_rfc1337 = 1,
		.tcp_reordering = 3,
		.tcp_max_reordering = 300,
		.tcp_notsent_lowat = UINT32_MAX,
		.tcp_invalid_ratelimit_ms = 500,
		.tcp_challenge_ack_limit = INT32_MAX,
		.tcp_tw_reuse_delay_ms = 1000,
		.tcp_rto_min_us = 200000,
		.tcp_rto_max_ms = 120000,
		.tcp_dsack = 1,
		.tcp_moderate_rcvbuf = 1,
		.tcp_tw_reuse = 2,
		.port_low = 32768,
		.port_high = 60999,
		.ip_default_ttl = 64,
		.icmp_echo_ignore_broadcasts = 1,
		.ipfrag_time_s = 30,
		.ipfrag_high_thresh = 4u << 20,
		.icmp_ratelimit_ms = 1000,
		.arp_table_max = 1024,
		.arp_queue_max = 101,
	};
}

u64 stack_min_size(void)
{
	return (u64)SPANS_MIN * SLAB_SPAN_BYTES;
}

static void stack_check_memory(struct stack *s)
{
	u32 spans = (u32)(s->size / SLAB_SPAN_BYTES);

	s->wants_memory = spans < s->span_limit && spans - s->spans_used < spans / 4;
}

u32 stack_span_alloc(struct stack *s)
{
	if (s->spans_used == s->size / SLAB_SPAN_BYTES) {
		stack_check_memory(s);
		return 0;
	}
	s->spans_used++;
	stack_check_memory(s);
	return s->spans_used - 1;
}

void stack_grow(struct stack *s, u64 size)
{
	size = MIN(size / SLAB_SPAN_BYTES, s->span_limit) * SLAB_SPAN_BYTES;
	if (size > s->size)
		s->size = size;
	stack_check_memory(s);
}

/* Secrets that are independent of each other: one drawn after the other from the seeded generator.
 */
static void stack_init_secrets(struct stack *s, const u8 seed[16])
{
	struct siphash_key *keys[] = {&s->hash_key, &s->isn_key, &s->port_key, &s->ts_key,
		&s->ipid_key, &s->cookie_key, &s->tfo_key};

	random_seed(&s->random, seed);
	for (u32 i = 0; i < ARRAY_LEN(keys); i++) {
		keys[i]->k[0] = random_u64(&s->random);
		keys[i]->k[1] = random_u64(&s->random);
	}
}

#define HUGE_SHARE 8u /* of the largest region */
/* That no other kind of object may take the memory of (tcp_memory_tight). */
#define RECEIVE_PACKETS 32u

/* Packets of one kind may fill three quarters of the largest region; no more, so that sockets can
 * still be made. */
static void stack_init_packets(struct stack *s, enum slab_kind kind, u32 room)
{
	u32 bytes = (u32)sizeof(struct pkt) + room;
	u64 limit = (u64)s->span_limit * 3 / 4 * (SLAB_SPAN_BYTES / bytes);

	slab_init_partial(
		s, kind, bytes, (u32)offsetof(struct pkt, data), (u32)MIN(limit, SLAB_INDEX_MAX));
}

static bool stack_init_memory(struct stack *s)
{
	stack_init_packets(s, SLAB_PKT_SMALL, PKT_SMALL_ROOM);
	stack_init_packets(s, SLAB_PKT_MEDIUM, PKT_MEDIUM_ROOM);
	stack_init_packets(s, SLAB_PKT_LARGE, PKT_LARGE_ROOM);
	slab_init_partial(s, SLAB_PKT_HUGE, (u32)sizeof(struct pkt) + PKT_HUGE_ROOM,
		(u32)offsetof(struct pkt, data), s->span_limit / HUGE_SHARE);
	slab_init_partial(s, SLAB_FRAME, sizeof(struct frame), (u32)offsetof(struct frame, piece),
		SLAB_INDEX_MAX);
	slab_init(s, SLAB_NEIGH, sizeof(struct neigh), SLAB_INDEX_MAX);
	slab_init(s, SLAB_REASM, sizeof(struct reasm), 4096);
	slab_init(s, SLAB_TASK, sizeof(struct task), NETIF_MAX * NETIF_ADDRS);
	return slab_reserve(s, SLAB_PKT_LARGE, RECEIVE_PACKETS) &&
	       hash_init(s, &s->neighs, (u32)offsetof(struct neigh, by_addr)) &&
	       hash_init(s, &s->reasms, (u32)offsetof(struct reasm, by_key));
}

static void stack_init_netifs(struct stack *s, const struct stack_config *config)
{
	struct netif *lo = &s->netif[NETIF_LOOPBACK], *device = &s->netif[NETIF_DEVICE];
	struct addr local = addr_v4(0x7f000001);

	memcpy(lo->name, "lo", 3);
	lo->mtu = 65535;
	lo->gso_max = 65535;
	lo->flags = NETIF_UP | NETIF_IS_LOOPBACK;
	lo->features = DEVICE_CSUM;
	netif_add_addr(s, NETIF_LOOPBACK, &local, 8);
	memcpy(device->name, config->device_name, sizeof(device->name));
	device->name[sizeof(device->name) - 1] = 0;
	memcpy(device->mac, config->mac, 6);
	device->mtu = config->mtu;
	device->features = config->features;
	device->gso_max = config->features & DEVICE_TSO4 ? 65535 : config->mtu;
	device->flags = NETIF_UP | NETIF_ARP;
}

static void stack_init_addresses(struct stack *s, const struct stack_config *config)
{
	static const struct addr none,
		any = {.b = {[10] = 0xff, [11] = 0xff}, .family = FAMILY_INET};
	u32 bits = config->prefix_len, mask = bits ? ~0u << (32 - bits) : 0;
	struct addr net = addr_v4(addr_get4(&config->addr) & mask);

	if (config->addr.family != FAMILY_INET)
		return;
	netif_add_addr(s, NETIF_DEVICE, &config->addr, config->prefix_len);
	stack_add_route(s, &net, config->prefix_len, &none, NETIF_DEVICE, 0);
	if (config->gateway.family == FAMILY_INET)
		stack_add_route(s, &any, 0, &config->gateway, NETIF_DEVICE, 0);
	arp_start(s, NETIF_DEVICE, config->arp_probe);
}

struct stack *stack_init(void *memory, u64 size, u64 limit, const struct stack_config *config)
{
	struct stack *s = memory;

	if (size < stack_min_size() || config->mtu < 576 || config->prefix_len > 32)
		return NULL;
	s->size = size / SLAB_SPAN_BYTES * SLAB_SPAN_BYTES;
	s->span_limit = (u32)MIN(MAX(limit, size) / SLAB_SPAN_BYTES, SPANS_MAX);
	s->spans_used = 1;
	s->now_ns = config->now_ns;
	s->realtime_offset_ns = config->realtime_offset_ns;
	s->tunables = config->tunables;
	stack_init_secrets(s, config->seed);
	wheel_init(s);
	if (!stack_init_memory(s))
		return NULL;
	sock_memory_init(s);
	sock_init(s);
	tcp_init(s);
	stack_init_netifs(s, config);
	stack_init_addresses(s, config);
	return s;
}

void stack_clock(struct stack *s, u64 now_ns)
{
	if (now_ns > s->now_ns)
		s->now_ns = now_ns;
}

ref stack_rx_alloc(struct stack *s)
{
	return pkt_alloc_receive(s);
}

void stack_input(struct stack *s, ref pkt)
{
	struct pkt *p = pkt_get(s, pkt);

	if (!p) {
		counter_inc(s, counter_invariant);
		return;
	}
	p->ifindex = NETIF_DEVICE;
	p->time_ns = s->now_ns + s->realtime_offset_ns;
	eth_input(s, pkt);
	stack_run_loopback(s);
}

static void stack_expire(struct stack *s, ref owner)
{
	switch (ref_kind(owner)) {
	case SLAB_SOCK:
	case SLAB_TCP_REQUEST:
	case SLAB_TCP_TIMEWAIT:
		tcp_timer(s, owner);
		break;
	case SLAB_NEIGH:
		neigh_expired(s, owner);
		break;
	case SLAB_REASM:
		reasm_expired(s, owner);
		break;
	case SLAB_TASK:
		arp_task(s, owner);
		break;
	default:
		counter_inc(s, counter_invariant);
	}
}

void stack_advance(struct stack *s)
{
	u32 bound = EXPIRIES_MAX;
	ref owner;

	stack_tx_reclaim(s);
	while (bound-- && (owner = wheel_expired(s, s->now_ns)))
		stack_expire(s, owner);
	stack_run_loopback(s);
}

void stack_loop(struct stack *s, ref pkt)
{
	struct pkt *p = pkt_get(s, pkt), *tail = pkt_get(s, s->loop_tail);

	if (!p)
		return;
	p->next = 0;
	*(tail ? &tail->next : &s->loop_head) = pkt;
	s->loop_tail = pkt;
}

void stack_run_loopback(struct stack *s)
{
	u32 bound = EXPIRIES_MAX;

	if (s->looping)
		return;
	s->looping = true;
	while (s->loop_head && bound--) {
		ref pkt = s->loop_head;
		struct pkt *p = pkt_get(s, pkt);

		s->loop_head = p ? p->next : 0;
		if (!s->loop_head)
			s->loop_tail = 0;
		if (!p) {
			counter_inc(s, counter_invariant);
			continue;
		}
		p->next = 0;
		ip4_input(s, pkt);
	}
	s->looping = false;
}

u64 stack_deadline(struct stack *s)
{
	return s->loop_head ? s->now_ns : wheel_next(s);
}

bool stack_tx_pending(const struct stack *s)
{
	return __atomic_load_n(&s->tx_head, __ATOMIC_ACQUIRE) !=
	       __atomic_load_n(&s->tx_done, __ATOMIC_RELAXED);
}

int stack_tx_pieces(struct stack *s, struct stack_piece *pieces, struct offload *offload)
{
	struct frame *f;
	int n = 0;

	for (;; stack_tx_done(s)) {
		if (!stack_tx_pending(s))
			return 0;
		f = frame_get(s, s->tx_ring[s->tx_done & (STACK_TX_RING - 1)]);
		if (f)
			break; /* else it was lost in a repair */
	}
	*offload = f->offload;
	pieces[n++] =
		(struct stack_piece){f->head + f->head_start, FRAME_HEAD_ROOM - f->head_start};
	for (u32 i = 0; i < f->pieces; i++) {
		struct pkt *p = pkt_get(s, f->piece[i].pkt);

		if (p)
			pieces[n++] =
				(struct stack_piece){p->data + f->piece[i].offset, f->piece[i].len};
	}
	return n;
}

void stack_tx_done(struct stack *s)
{
	__atomic_store_n(&s->tx_done, s->tx_done + 1, __ATOMIC_RELEASE);
}

void stack_tx_reclaim(struct stack *s)
{
	u32 done = __atomic_load_n(&s->tx_done, __ATOMIC_ACQUIRE);

	for (; s->tx_freed != done; s->tx_freed++) {
		ref frame = s->tx_ring[s->tx_freed & (STACK_TX_RING - 1)];

		if (frame) /* 0: freed in a repair */
			frame_free(s, frame);
	}
	sock_tx_room(s);
}

bool stack_tx_queue(struct stack *s, ref frame)
{
	struct frame *f = frame_get(s, frame);
	struct netif *n = f ? netif_get(s, f->ifindex) : NULL;

	if (!n) {
		counter_inc(s, counter_invariant);
		return false;
	}
	if (s->tx_head - s->tx_freed == STACK_TX_RING)
		stack_tx_reclaim(s);
	if (s->tx_head - s->tx_freed == STACK_TX_RING) {
		counter_inc(s, counter_tx_full);
		n->tx_dropped++;
		frame_free(s, frame);
		return false;
	}
	n->tx_packets++;
	n->tx_bytes += f->len;
	s->tx_ring[s->tx_head & (STACK_TX_RING - 1)] = frame;
	__atomic_store_n(&s->tx_head, s->tx_head + 1, __ATOMIC_RELEASE);
	return true;
}

ref stack_changed(struct stack *s, u32 *events)
{
	ref r = s->changed_head;
	struct sock *sk = slab_get(s, SLAB_SOCK, r);

	*events = 0;
	if (!sk) {
		if (r)
			counter_inc(s, counter_invariant);
		s->changed_head = s->changed_tail = 0;
		return 0;
	}
	s->changed_head = sk->changed_next;
	if (!s->changed_head)
		s->changed_tail = 0;
	sk->changed_next = 0;
	sk->flags &= ~(u32)SOCK_CHANGED;
	*events = sk->events;
	sk->events = 0;
	return r;
}

bool stack_idle(const struct stack *s)
{
	return !slab_in_use(s, SLAB_TCP) && !slab_in_use(s, SLAB_TCP_REQUEST) &&
	       !slab_in_use(s, SLAB_TCP_TIMEWAIT) && !s->tcp_orphans && !s->neigh_queued &&
	       !s->loop_head && !stack_tx_pending(s);
}
