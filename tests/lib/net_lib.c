/* A host under test, without a device: see net_lib.h. */
#include "tests/lib/net_lib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stack/checksum.h"

enum { ETH_HEADER = 14, IP_HEADER = 20, ARP_LEN = 28 };

const u8 net_host_mac[6] = {2, 0, 0, 0, 0, 2};
const u8 net_peer_mac[6] = {2, 0, 0, 0, 0, 1};
const u8 net_everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

struct stack_config net_config(void)
{
	struct stack_config c = {
		.device_name = "test0",
		.mtu = 1500,
		.addr = addr_v4(NET_HOST),
		.prefix_len = 24,
		.gateway = addr_v4(NET_PEER),
		.seed = "not so secret",
		.now_ns = 1000 * NS_PER_S,
		.realtime_offset_ns = 1700000000 * NS_PER_S,
	};

	memcpy(c.mac, net_host_mac, 6);
	stack_default_tunables(&c.tunables);
	return c;
}

struct stack *engine_new_sized(const struct stack_config *config, u64 limit)
{
	struct stack_config standard = net_config();
	void *memory = mmap(NULL, limit, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct stack *s = memory == MAP_FAILED
				  ? NULL
				  : stack_init(memory, limit, limit, config ? config : &standard);

	if (!s) {
		fprintf(stderr, "engine_new: no host\n");
		abort();
	}
	return s;
}

struct stack *engine_new(const struct stack_config *config)
{
	return engine_new_sized(config, 64u << 20);
}

void engine_free(struct stack *s)
{
	munmap(s, s->size);
}

struct stack *engine_new_ready(const struct stack_config *config)
{
	struct stack *s = engine_new(config);
	struct addr peer = addr_v4(NET_PEER);
	u8 frame[64];

	engine_run(s, 10 * NS_PER_S);
	engine_frame_in(s, frame,
		net_arp(frame, net_host_mac, 1, net_peer_mac, NET_PEER, net_host_mac, NET_HOST));
	neigh_confirm(s, &peer);
	engine_frames_drop(s);
	return s;
}

bool engine_frame_in_offload(
	struct stack *s, const void *frame, u32 len, const struct offload *offload)
{
	ref r = stack_rx_alloc(s);
	struct pkt *p = pkt_get(s, r);
	u8 *to = p ? pkt_put(p, len) : NULL;

	if (!to) {
		if (p)
			pkt_release(s, r);
		return false;
	}
	memcpy(to, frame, len);
	if (offload)
		p->offload = *offload;
	stack_input(s, r);
	return true;
}

bool engine_frame_in(struct stack *s, const void *frame, u32 len)
{
	return engine_frame_in_offload(s, frame, len, NULL);
}

u32 engine_frame_out(struct stack *s, u8 *buf, struct offload *offload)
{
	struct stack_piece pieces[FRAME_PIECES + 1];
	struct offload unwanted;
	int n = stack_tx_pieces(s, pieces, offload ? offload : &unwanted);
	u32 len = 0;

	if (!n)
		return 0;
	for (int i = 0; i < n; i++) {
		if (pieces[i].len > NET_FRAME_MAX - len)
			abort();
		memcpy(buf + len, pieces[i].base, pieces[i].len);
		len += (u32)pieces[i].len;
	}
	stack_tx_done(s);
	stack_tx_reclaim(s);
	return len;
}

u32 engine_frames_drop(struct stack *s)
{
	static u8 buf[NET_FRAME_MAX];
	u32 n = 0;

	while (engine_frame_out(s, buf, NULL))
		n++;
	return n;
}

void engine_run_until(struct stack *s, u64 now_ns)
{
	u64 next;

	while ((next = stack_deadline(s)) <= now_ns) {
		stack_clock(s, next);
		stack_advance(s);
	}
	stack_clock(s, now_ns);
}

void engine_run(struct stack *s, u64 duration_ns)
{
	engine_run_until(s, s->now_ns + duration_ns);
}

u32 net_eth(u8 *frame, const u8 *dst, const u8 *src, u16 type, const void *payload, u32 len)
{
	memcpy(frame, dst, 6);
	memcpy(frame + 6, src, 6);
	put16(frame + 12, type);
	if (len)
		memmove(frame + ETH_HEADER, payload, len);
	return ETH_HEADER + len;
}

void net_fix_ip4(u8 *frame)
{
	u8 *h = frame + ETH_HEADER;

	put16(h + 10, 0);
	put16(h + 10, checksum_finish(checksum_add(0, h, (h[0] & 15u) * 4)));
}

u32 net_ip4(u8 *frame, const struct net_ip4 *ip, const void *payload, u32 len)
{
	u8 *h = frame + ETH_HEADER;
	u32 header_len = IP_HEADER + ip->options_len;

	if (len)
		memmove(h + header_len, payload, len);
	if (ip->options_len)
		memcpy(h + IP_HEADER, ip->options, ip->options_len);
	h[0] = (u8)(0x40 | header_len / 4);
	h[1] = ip->tos;
	put16(h + 2, header_len + len);
	put16(h + 4, ip->id);
	put16(h + 6, ip->fragment);
	h[8] = ip->ttl ? ip->ttl : 64;
	h[9] = ip->proto;
	put32(h + 12, ip->src ? ip->src : NET_PEER);
	put32(h + 16, ip->dst ? ip->dst : NET_HOST);
	net_fix_ip4(frame);
	net_eth(frame, ip->eth_dst ? ip->eth_dst : net_host_mac,
		ip->eth_src ? ip->eth_src : net_peer_mac, ETHERTYPE_IP4, NULL, 0);
	return ETH_HEADER + header_len + len;
}

u32 net_arp(u8 *frame, const u8 *eth_dst, u16 op, const u8 *sender_mac, u32 sender,
	const u8 *target_mac, u32 target)
{
	u8 body[ARP_LEN] = {0, 1, 8, 0, 6, 4};

	put16(body + 6, op);
	memcpy(body + 8, sender_mac, 6);
	put32(body + 14, sender);
	memcpy(body + 18, target_mac, 6);
	put32(body + 24, target);
	return net_eth(frame, eth_dst, sender_mac, ETHERTYPE_ARP, body, ARP_LEN);
}

u32 net_udp(u8 *frame, const struct net_ip4 *ip, u16 sport, u16 dport, const void *payload, u32 len)
{
	static u8 datagram[NET_FRAME_MAX];
	struct net_ip4 udp = *ip;
	struct addr src = addr_v4(ip->src ? ip->src : NET_PEER),
		    dst = addr_v4(ip->dst ? ip->dst : NET_HOST);
	u16 sum;

	udp.proto = PROTO_UDP;
	put16(datagram, sport);
	put16(datagram + 2, dport);
	put16(datagram + 4, 8 + len);
	put16(datagram + 6, 0);
	if (len)
		memcpy(datagram + 8, payload, len);
	sum = checksum_finish(
		checksum_add(checksum_pseudo(&src, &dst, PROTO_UDP, 8 + len), datagram, 8 + len));
	put16(datagram + 6, sum ? sum : 0xffffu);
	return net_ip4(frame, &udp, datagram, 8 + len);
}

u32 net_icmp(u8 *frame, const struct net_ip4 *ip, u8 type, u8 code, u32 rest, const void *payload,
	u32 len)
{
	static u8 message[NET_FRAME_MAX];
	struct net_ip4 icmp = *ip;

	icmp.proto = PROTO_ICMP;
	message[0] = type;
	message[1] = code;
	put16(message + 2, 0);
	put32(message + 4, rest);
	if (len)
		memcpy(message + 8, payload, len);
	put16(message + 2, checksum_finish(checksum_add(0, message, 8 + len)));
	return net_ip4(frame, &icmp, message, 8 + len);
}

u64 net_count(const struct stack *s, const char *name)
{
	int i = counter_by_name(name);

	if (i < 0) {
		fprintf(stderr, "no counter %s\n", name);
		abort();
	}
	return counter_read(s, (enum counter)i);
}

u32 net_tcp(u8 *frame, const struct net_ip4 *ip, const struct net_tcp *tcp, const void *payload,
	u32 len)
{
	static u8 segment[NET_FRAME_MAX];
	struct net_ip4 header = *ip;
	struct addr src = addr_v4(ip->src ? ip->src : NET_PEER),
		    dst = addr_v4(ip->dst ? ip->dst : NET_HOST);
	u32 header_len = 20 + tcp->options_len, total = header_len + len;

	header.proto = PROTO_TCP;
	put16(segment, tcp->sport);
	put16(segment + 2, tcp->dport);
	put32(segment + 4, tcp->seq);
	put32(segment + 8, tcp->ack);
	put16(segment + 12, header_len / 4 << 12 | tcp->flags);
	put16(segment + 14, tcp->window);
	put16(segment + 16, 0);
	put16(segment + 18, tcp->urgent);
	if (tcp->options_len)
		memcpy(segment + 20, tcp->options, tcp->options_len);
	if (len)
		memcpy(segment + header_len, payload, len);
	put16(segment + 16,
		checksum_finish(checksum_add(
			checksum_pseudo(&src, &dst, PROTO_TCP, total), segment, total)));
	return net_ip4(frame, &header, segment, total);
}

/* Counters of arrivals: they go up whatever becomes of a frame. */
static bool counts_arrival(enum counter c)
{
	static const enum counter arrivals[] = {
		counter_eth_in,
		counter_arp_in,
		counter_ip_in,
		counter_ip_delivered,
		counter_reasm_needed,
		counter_icmp_in,
		counter_icmp_unreach_in,
		counter_icmp_time_in,
		counter_icmp_param_in,
		counter_icmp_echo_in,
		counter_tcp_in,
	};

	for (u32 i = 0; i < ARRAY_LEN(arrivals); i++) {
		if (arrivals[i] == c)
			return true;
	}
	return false;
}

const char *net_dropped(struct stack *s, const void *frame, u32 len, const char *name)
{
	static char seen[500];
	u64 counters[COUNTERS];
	u32 in_use[SLAB_KINDS];
	size_t n = 0;
	bool wanted = false;

	memcpy(counters, s->counters, sizeof(counters));
	for (u32 i = 0; i < SLAB_KINDS; i++)
		in_use[i] = slab_in_use(s, (enum slab_kind)i);
	engine_frame_in(s, frame, len);
	seen[0] = 0;
	for (u32 i = 0; i < COUNTERS; i++) {
		u64 more = s->counters[i] - counters[i];

		if (!more || counts_arrival((enum counter)i))
			continue;
		if (more == 1 && !strcmp(counter_name((enum counter)i), name))
			wanted = true;
		else if (n < sizeof(seen) - 50)
			n += (size_t)sprintf(
				seen + n, " %.30s+%u", counter_name((enum counter)i), (u32)more);
	}
	for (u32 i = 0; i < SLAB_KINDS; i++) {
		if (slab_in_use(s, (enum slab_kind)i) != in_use[i])
			n += (size_t)sprintf(seen + n, " kind%u", i);
	}
	if (stack_tx_pending(s))
		n += (size_t)sprintf(seen + n, " frame sent");
	if (!wanted && !n)
		n = (size_t)sprintf(seen, " nothing");
	return wanted && !n ? NULL : seen;
}

const u8 *net_payload(const u8 *frame, u32 frame_len, u8 proto, u32 *len)
{
	const u8 *h = frame + ETH_HEADER;
	u32 header_len;

	if (frame_len < ETH_HEADER + IP_HEADER || get16(frame + 12) != ETHERTYPE_IP4 ||
		h[9] != proto)
		return NULL;
	header_len = (h[0] & 15u) * 4;
	if (get16(h + 2) < header_len || get16(h + 2) > frame_len - ETH_HEADER)
		return NULL;
	*len = get16(h + 2) - header_len;
	return h + header_len;
}
