/*
 * IPv4 input (RFC 791, RFC 1122 3.2.1): validation in the order version, lengths, checksum, source,
 * options, destination; reassembly; delivery. Sending is in ip4_out.c.
 *
 * Packets from the device and packets to ourselves (PKT_LOOPED) take the same way; what makes sense
 * only for the wire, such as refusing our own address as a source, is left out for the latter.
 * Source routes are refused (RFC 7126 4.3, 4.4).
 */
#include <string.h>

#include "stack/bytes.h"
#include "stack/checksum.h"
#include "stack/ip.h"
#include "stack/reasm.h"
#include "stack/stack.h"

enum {
	IP_HEADER = 20,
	OPT_END = 0,
	OPT_NOP = 1,
	OPT_RR = 7,
	OPT_TS = 68,
	OPT_LSRR = 131,
	OPT_SSRR = 137
};
enum { ICMP_UNREACH = 3, ICMP_UNREACH_PROTO = 2, ICMP_PARAM = 12 };
enum { FRAG_MF = 0x2000, FRAG_OFFSET = 0x1fff };

struct ip4_header {
	u32 header_len;
	u32 total_len;
	u16 id;
	u16 fragment;
	u8 proto;
};

static void ip4_drop(struct stack *s, ref pkt, enum counter why)
{
	struct pkt *p = pkt_get(s, pkt);
	struct netif *n = netif_get(s, p->ifindex);

	counter_inc(s, why);
	if (n)
		n->rx_dropped++;
	LOG(s, LOG_IP, LOG_DEBUG, "drop: %s (from %A to %A)", counter_text(why), &p->from.addr,
		&p->to.addr);
	pkt_release(s, pkt);
}

/* Reads the header and cuts the view to the packet's own length. Returns 0, or why the packet is
 * dropped. */
static enum counter ip4_parse(struct pkt *p, struct ip4_header *ip)
{
	const u8 *h = pkt_peek(p, 0, IP_HEADER);

	if (!h)
		return counter_ip_header;
	ip->header_len = (h[0] & 15u) * 4;
	ip->total_len = get16(h + 2);
	ip->id = get16(h + 4);
	ip->fragment = get16(h + 6);
	ip->proto = h[9];
	p->tos = h[1];
	p->ttl = h[8];
	p->from.addr = addr_v4(get32(h + 12));
	p->to.addr = addr_v4(get32(h + 16));
	if (h[0] >> 4 != 4 || ip->header_len < IP_HEADER || ip->header_len > ip->total_len)
		return counter_ip_header;
	/* Cuts off the padding of the link layer too. */
	if (!pkt_trim(p, ip->total_len))
		return counter_ip_truncated;
	if (!(p->flags & PKT_LOOPED) && checksum_finish(checksum_add(0, h, ip->header_len)))
		return counter_ip_csum;
	return counter_eth_in;
}

/* Addresses that no packet from the wire can come from (RFC 1122 3.2.1.3). */
static bool ip4_source_valid(const struct stack *s, const struct addr *src)
{
	u32 ip = addr_get4(src);

	return ip >> 24 != 0 && ip >> 24 != 127 && ip >> 28 < 0xe && !netif_is_local(s, src) &&
	       !netif_is_broadcast(s, src);
}

/* A route of n-byte slots behind a pointer that counts from 1: within the option, or just behind a
 * full one. */
static bool ip4_option_pointer_ok(const u8 *option, u8 len, u8 first)
{
	return len >= 3 && option[2] >= first && option[2] <= len + 1;
}

/*
 * Checks the options' form: nothing reads them afterwards. 0, or the offset in the header of the
 * octet that is wrong (what a parameter problem points at); *refused is set for source routes.
 */
static u32 ip4_check_options(const u8 *h, u32 header_len, bool *refused)
{
	for (u32 at = IP_HEADER; at < header_len && h[at] != OPT_END;) {
		u8 kind = h[at], len;

		if (kind == OPT_NOP) {
			at++;
			continue;
		}
		if (header_len - at < 2)
			return at;
		len = h[at + 1];
		if (len < 2 || len > header_len - at)
			return at + 1;
		if (kind == OPT_LSRR || kind == OPT_SSRR)
			*refused = true;
		if (kind == OPT_RR && !ip4_option_pointer_ok(h + at, len, 4))
			return at + 2;
		if (kind == OPT_TS && (len < 4 || !ip4_option_pointer_ok(h + at, len, 5)))
			return at + 2;
		at += len;
	}
	return 0;
}

/* Whether the destination is ours; counter_eth_in when it is, else why it is not. */
static enum counter ip4_check_destination(struct stack *s, struct pkt *p)
{
	static const u32 all_hosts = 0xe0000001; /* 224.0.0.1: everybody is a member (RFC 1112 4) */
	const struct addr *dst = &p->to.addr;

	if (addr_is_multicast(dst))
		return addr_get4(dst) == all_hosts || sock_is_member(s, dst, p->ifindex)
			       ? counter_eth_in
			       : counter_ip_no_member;
	if (netif_is_broadcast(s, dst))
		return counter_eth_in;
	if (!netif_is_local(s, dst) || (addr_is_loopback(dst) && !(p->flags & PKT_LOOPED)))
		return counter_ip_not_ours;
	/* RFC 1122 3.3.6 */
	return p->flags & PKT_LINK_BROADCAST ? counter_ip_link_broadcast : counter_eth_in;
}

static enum counter ip4_validate(struct stack *s, ref pkt, struct ip4_header *ip)
{
	struct pkt *p = pkt_get(s, pkt);
	enum counter why = ip4_parse(p, ip);
	bool refused = false;
	u32 wrong;

	if (why != counter_eth_in)
		return why;
	if (!(p->flags & PKT_LOOPED) && !ip4_source_valid(s, &p->from.addr))
		return counter_ip_source;
	why = ip4_check_destination(s, p);
	if (why != counter_eth_in || ip->header_len == IP_HEADER)
		return why;
	wrong = ip4_check_options(pkt_peek(p, 0, ip->header_len), ip->header_len, &refused);
	if (refused)
		return counter_ip_source_routed;
	if (wrong) {
		icmp_send_error(s, p, ICMP_PARAM, 0, wrong << 24);
		return counter_ip_options;
	}
	return counter_eth_in;
}

static void ip4_deliver(struct stack *s, ref pkt, u8 proto)
{
	struct pkt *p = pkt_get(s, pkt);

	switch (proto) {
	case PROTO_TCP:
		if (p->flags & PKT_LINK_BROADCAST || addr_is_multicast(&p->to.addr) ||
			netif_is_broadcast(s, &p->to.addr)) {
			ip4_drop(s, pkt, counter_ip_tcp_broadcast);
			return;
		}
		counter_inc(s, counter_ip_delivered);
		tcp_input(s, pkt);
		return;
	case PROTO_UDP:
	case PROTO_UDPLITE:
		counter_inc(s, counter_ip_delivered);
		udp_input(s, pkt, proto);
		return;
	case PROTO_ICMP:
		counter_inc(s, counter_ip_delivered);
		icmp_input(s, pkt);
		return;
	default:
		icmp_send_error(s, p, ICMP_UNREACH, ICMP_UNREACH_PROTO, 0);
		ip4_drop(s, pkt, counter_ip_proto_unknown);
	}
}

void ip4_input(struct stack *s, ref pkt)
{
	struct pkt *p = pkt_get(s, pkt);
	struct ip4_header ip;
	enum counter why;

	counter_inc(s, counter_ip_in);
	p->l3 = p->start;
	why = ip4_validate(s, pkt, &ip);
	if (why != counter_eth_in) {
		ip4_drop(s, pkt, why);
		return;
	}
	LOG(s, LOG_IP, LOG_TRACE, "in %A > %A proto %u len %u id %u ttl %u tos %x frag %x",
		&p->from.addr, &p->to.addr, (u32)ip.proto, ip.total_len, (u32)ip.id, (u32)p->ttl,
		(u32)p->tos, (u32)ip.fragment);
	if (ip.fragment & (FRAG_MF | FRAG_OFFSET)) {
		/* It may wait for long: not in a buffer made for super-frames. */
		pkt = pkt_compact(s, pkt);
		pkt_pull(pkt_get(s, pkt), ip.header_len);
		pkt = reasm_input(s, pkt, (ip.fragment & FRAG_OFFSET) * 8u, ip.fragment & FRAG_MF,
			ip.id, ip.proto);
		if (!pkt)
			return;
	} else {
		pkt_pull(p, ip.header_len);
	}
	ip4_deliver(s, pkt, ip.proto);
}
