/* Ethernet II (RFC 894): which received frames are for us, and the header of those sent. */
#include <string.h>

#include "stack/bytes.h"
#include "stack/stack.h"

#define ETH_HEADER 14u

static bool eth_is_group(const u8 *mac)
{
	return mac[0] & 1;
}

/* Broadcast, or the multicast addresses of IPv4 (RFC 1112 6.4). */
static bool eth_group_wanted(const u8 *mac)
{
	static const u8 all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	return !memcmp(mac, all, 6) ||
	       (mac[0] == 0x01 && mac[1] == 0x00 && mac[2] == 0x5e && !(mac[3] & 0x80));
}

static void eth_drop(struct stack *s, ref pkt, struct netif *n, enum counter why)
{
	counter_inc(s, why);
	n->rx_dropped++;
	LOG(s, LOG_ETH, LOG_DEBUG, "drop: %s", counter_text(why));
	pkt_release(s, pkt);
}

void eth_input(struct stack *s, ref pkt)
{
	struct pkt *p = pkt_get(s, pkt);
	struct netif *n = netif_get(s, p->ifindex);
	const u8 *h;
	u16 type;

	counter_inc(s, counter_eth_in);
	n->rx_packets++;
	n->rx_bytes += pkt_len(p);
	h = pkt_pull(p, ETH_HEADER);
	if (!h) {
		eth_drop(s, pkt, n, counter_eth_short);
		return;
	}
	type = get16(h + 12);
	LOG(s, LOG_ETH, LOG_TRACE, "in %M > %M type %x, %u bytes", h + 6, h, (u32)type, pkt_len(p));
	if (eth_is_group(h + 6)) {
		eth_drop(s, pkt, n, counter_eth_source);
		return;
	}
	if (eth_is_group(h) ? !eth_group_wanted(h) : memcmp(h, n->mac, 6) != 0) {
		eth_drop(s, pkt, n, counter_eth_not_ours);
		return;
	}
	p->flags = eth_is_group(h) ? PKT_LINK_BROADCAST : 0;
	if (p->offload.flags & (OFFLOAD_NEEDS_CSUM | OFFLOAD_DATA_VALID))
		p->flags |= PKT_CSUM_OK;
	if (type == ETHERTYPE_IP4)
		ip4_input(s, pkt);
	else if (type == ETHERTYPE_ARP)
		arp_input(s, pkt);
	else
		eth_drop(s, pkt, n, counter_eth_type_unknown);
}

void eth_output(struct stack *s, ref frame, const u8 dst[6], u16 ethertype)
{
	struct frame *f = frame_get(s, frame);
	struct netif *n = f ? netif_get(s, f->ifindex) : NULL;
	u8 *h = n ? frame_push(f, ETH_HEADER) : NULL;

	if (!h) {
		counter_inc(s, counter_invariant);
		if (f)
			frame_free(s, frame);
		return;
	}
	memcpy(h, dst, 6);
	memcpy(h + 6, n->mac, 6);
	put16(h + 12, ethertype);
	if (f->offload.flags & OFFLOAD_NEEDS_CSUM)
		f->offload.csum_start = (u16)(f->offload.csum_start + ETH_HEADER);
	if (f->offload.gso_type)
		f->offload.header_len = (u16)(f->offload.header_len + ETH_HEADER);
	LOG(s, LOG_ETH, LOG_TRACE, "out %M > %M type %x, %u bytes", h + 6, h, (u32)ethertype,
		f->len);
	if (stack_tx_queue(s, frame))
		counter_inc(s, counter_eth_out);
}
