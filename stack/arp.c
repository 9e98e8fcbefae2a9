/*
 * ARP for IPv4 over Ethernet (RFC 826), and address conflict detection (RFC 5227).
 *
 * An entry is made only for a station that asks for us, as it will be answered; what others say
 * updates entries that exist, in neigh.c. Our own address is announced twice when the host starts,
 * after three probes if the configuration asks for them (the address is usable only then). Another
 * station's claim to it is answered with one announcement in 10 s.
 */
#include <string.h>

#include "stack/bytes.h"
#include "stack/neigh.h"
#include "stack/stack.h"

enum { ARP_LEN = 28, ARP_REQUEST = 1, ARP_REPLY = 2 };

/* RFC 5227 1.1 */
enum { PROBE_NUM = 3, ANNOUNCE_NUM = 2 };
#define PROBE_WAIT_MS	   1000u
#define PROBE_MIN_MS	   1000u
#define PROBE_SPAN_MS	   1000u /* PROBE_MAX - PROBE_MIN */
#define ANNOUNCE_WAIT_NS   (2 * NS_PER_S)
#define ANNOUNCE_GAP_NS	   (2 * NS_PER_S)
#define DEFEND_INTERVAL_NS (10 * NS_PER_S)

static const u8 everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

struct arp {
	u16 op;
	struct addr sender, target;
	u8 sender_mac[6];
};

static void arp_send(struct stack *s, u32 ifindex, u16 op, const u8 dst[6],
	const struct addr *sender, const struct addr *target, const u8 target_mac[6])
{
	struct netif *n = netif_get(s, ifindex);
	ref frame = frame_alloc(s);
	struct frame *f = frame_get(s, frame);
	u8 *h = f ? frame_push(f, ARP_LEN) : NULL;

	if (!h)
		return;
	f->ifindex = (u16)ifindex;
	put16(h, 1);
	put16(h + 2, ETHERTYPE_IP4);
	h[4] = 6;
	h[5] = 4;
	put16(h + 6, op);
	memcpy(h + 8, n->mac, 6);
	put32(h + 14, addr_get4(sender));
	memcpy(h + 18, target_mac, 6);
	put32(h + 24, addr_get4(target));
	counter_inc(s, counter_arp_out);
	LOG(s, LOG_ARP, LOG_DEBUG, "out %s from %A for %A to %M",
		op == ARP_REQUEST ? "request" : "reply", sender, target, dst);
	eth_output(s, frame, dst, ETHERTYPE_ARP);
}

void arp_request(struct stack *s, u32 ifindex, const struct addr *target, const u8 *mac)
{
	static const u8 unknown[6];
	const struct netif_addr *na = netif_source(netif_get(s, ifindex), target);
	struct addr any = addr_v4(0);

	arp_send(s, ifindex, ARP_REQUEST, mac ? mac : everybody, na ? &na->addr : &any, target,
		unknown);
}

static void arp_claim(
	struct stack *s, u32 ifindex, const struct addr *sender, const struct addr *addr)
{
	static const u8 unknown[6];

	arp_send(s, ifindex, ARP_REQUEST, everybody, sender, addr, unknown);
}

void arp_announce(struct stack *s)
{
	for (u32 i = 1; i < NETIF_MAX; i++) {
		struct netif *n = &s->netif[i];

		for (u32 j = 0; j < n->addr_count && n->flags & NETIF_ARP; j++) {
			if (n->addrs[j].state == NETIF_ADDR_VALID)
				arp_claim(s, i, &n->addrs[j].addr, &n->addrs[j].addr);
		}
	}
}

void arp_start(struct stack *s, u32 ifindex, bool probe)
{
	struct netif *n = netif_get(s, ifindex);

	for (u32 j = 0; j < n->addr_count; j++) {
		ref r = slab_alloc(s, SLAB_TASK);
		struct task *task = slab_get(s, SLAB_TASK, r);
		u64 wait = probe ? random_below(&s->random, PROBE_WAIT_MS) * NS_PER_MS : 0;

		if (!task)
			return;
		task->ifindex = ifindex;
		task->nth = j;
		n->addrs[j].state = probe ? NETIF_ADDR_TENTATIVE : NETIF_ADDR_VALID;
		n->addrs[j].probes_sent = probe ? 0 : PROBE_NUM;
		wheel_arm(s, r, s->now_ns + wait);
	}
}

void arp_task(struct stack *s, ref r)
{
	struct task *task = slab_get(s, SLAB_TASK, r);
	struct netif *n = task ? netif_get(s, task->ifindex) : NULL;
	struct netif_addr *na = n ? &n->addrs[task->nth] : NULL;
	struct addr any = addr_v4(0);

	if (!na || na->state == NETIF_ADDR_FREE) {
		slab_free(s, r);
		return;
	}
	if (na->probes_sent < PROBE_NUM) {
		arp_claim(s, task->ifindex, &any, &na->addr);
		na->probes_sent++;
		wheel_arm(s, r,
			s->now_ns + (na->probes_sent == PROBE_NUM
						    ? ANNOUNCE_WAIT_NS
						    : (PROBE_MIN_MS + random_below(&s->random,
									      PROBE_SPAN_MS)) *
							      NS_PER_MS));
		return;
	}
	na->state = NETIF_ADDR_VALID;
	arp_claim(s, task->ifindex, &na->addr, &na->addr);
	if (++na->announces_sent < ANNOUNCE_NUM)
		wheel_arm(s, r, s->now_ns + ANNOUNCE_GAP_NS);
	else
		slab_free(s, r);
}

/* Our address of that value on the interface, usable or being probed. */
static struct netif_addr *arp_own(struct netif *n, const struct addr *a)
{
	for (u32 j = 0; j < n->addr_count; j++) {
		if (n->addrs[j].state != NETIF_ADDR_FREE && addr_equal(&n->addrs[j].addr, a))
			return &n->addrs[j];
	}
	return NULL;
}

static void arp_conflict(struct stack *s, u32 ifindex, struct netif_addr *na, const u8 *mac)
{
	counter_inc(s, counter_arp_conflict);
	LOG(s, LOG_ARP, LOG_ERROR, "our address %A is claimed by %M", &na->addr, mac);
	if (na->state == NETIF_ADDR_TENTATIVE) {
		/* RFC 5227 2.1.1: it must not be used. */
		na->state = NETIF_ADDR_FREE;
		return;
	}
	/* RFC 5227 2.4 (b), and (c) afterwards: we keep the address and never answer more often. */
	if (na->defended_ns && s->now_ns - na->defended_ns < DEFEND_INTERVAL_NS)
		return;
	na->defended_ns = s->now_ns;
	arp_claim(s, ifindex, &na->addr, &na->addr);
}

static bool arp_parse(struct stack *s, struct pkt *p, struct arp *a)
{
	const u8 *h = pkt_pull(p, ARP_LEN);

	if (!h) {
		counter_inc(s, counter_arp_short);
		return false;
	}
	a->op = get16(h + 6);
	if (get16(h) != 1 || get16(h + 2) != ETHERTYPE_IP4 || h[4] != 6 || h[5] != 4 ||
		(a->op != ARP_REQUEST && a->op != ARP_REPLY)) {
		counter_inc(s, counter_arp_malformed);
		return false;
	}
	memcpy(a->sender_mac, h + 8, 6);
	a->sender = addr_v4(get32(h + 14));
	a->target = addr_v4(get32(h + 24));
	return true;
}

/* A sender that can exist: a station with a unicast address of either layer. */
static bool arp_sender_valid(const struct stack *s, const struct netif *n, const struct arp *a)
{
	static const u8 none[6];
	u32 ip = addr_get4(&a->sender);

	return !(a->sender_mac[0] & 1) && memcmp(a->sender_mac, none, 6) != 0 &&
	       memcmp(a->sender_mac, n->mac, 6) != 0 &&
	       (ip == 0 || (ip >> 24 != 0 && ip >> 24 != 127 && ip >> 28 < 0xe &&
				   !netif_is_broadcast(s, &a->sender)));
}

static void arp_handle(struct stack *s, u32 ifindex, const struct arp *a, bool unicast)
{
	struct netif *n = netif_get(s, ifindex);
	struct netif_addr *claimed = arp_own(n, &a->sender), *wanted = arp_own(n, &a->target);
	bool probe = addr_is_any(&a->sender);

	if (claimed) {
		arp_conflict(s, ifindex, claimed, a->sender_mac);
		return;
	}
	if (wanted && wanted->state == NETIF_ADDR_TENTATIVE) {
		if (probe && a->op == ARP_REQUEST)
			arp_conflict(s, ifindex, wanted, a->sender_mac);
		return;
	}
	if (a->op == ARP_REPLY) {
		if (probe)
			counter_inc(s, counter_arp_invalid);
		else if (!neigh_heard(s, &a->sender, ifindex, a->sender_mac, wanted && unicast))
			counter_inc(s, counter_arp_unsolicited);
		return;
	}
	if (wanted) {
		if (!probe && netif_on_link(n, &a->sender))
			neigh_learn(s, &a->sender, ifindex, a->sender_mac);
		arp_send(s, ifindex, ARP_REPLY, a->sender_mac, &a->target, &a->sender,
			a->sender_mac);
	} else if (!probe) {
		neigh_heard(s, &a->sender, ifindex, a->sender_mac, false);
	}
}

void arp_input(struct stack *s, ref pkt)
{
	struct pkt *p = pkt_get(s, pkt);
	struct netif *n = netif_get(s, p->ifindex);
	struct arp a;

	counter_inc(s, counter_arp_in);
	if (arp_parse(s, p, &a)) {
		LOG(s, LOG_ARP, LOG_DEBUG, "in %s from %A at %M for %A",
			a.op == ARP_REQUEST ? "request" : "reply", &a.sender, a.sender_mac,
			&a.target);
		if (arp_sender_valid(s, n, &a))
			arp_handle(s, p->ifindex, &a, !(p->flags & PKT_LINK_BROADCAST));
		else
			counter_inc(s, counter_arp_invalid);
	}
	pkt_release(s, pkt);
}
