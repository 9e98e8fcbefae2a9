/*
 * Sending IPv4: the header, checksums that the device does not complete, fragments, and the way to
 * the device or back to ourselves.
 *
 * Identification (RFC 6864): packets that cannot be fragmented carry 0; others a counter that
 * destinations share by keyed hash and that advances by random steps, behind a keyed offset per
 * destination, so that it tells nothing about other traffic.
 */
#include <string.h>

#include "stack/bytes.h"
#include "stack/checksum.h"
#include "stack/ip.h"
#include "stack/stack.h"

enum {
	IP_HEADER = 20,
	IP_MAX = 65535,
	OPT_END = 0,
	OPT_NOP = 1,
	OPT_COPY = 0x80,
	OPTIONS_MAX = 40
};
enum { FRAG_DF = 0x4000, FRAG_MF = 0x2000, ID_STEP = 8 };

static u16 ip4_next_id(struct stack *s, const struct ip_out *ip)
{
	struct {
		struct addr src, dst;
		u32 proto;
	} key = {ip->src, ip->dst, ip->proto};
	u64 hash = siphash(&s->ipid_key, &key, sizeof(key));
	u16 *id = &s->ip_id[hash & (STACK_IP_IDS - 1)];

	*id = (u16)(*id + 1 + random_below(&s->random, ID_STEP));
	return (u16)(*id + (hash >> 32));
}

/* Writes a header in front of the frame; fragment holds the flags and offset. */
static bool ip4_push_header(struct stack *s, struct frame *f, const struct ip_out *ip,
	const u8 *options, u32 options_len, u16 id, u32 fragment)
{
	u32 header_len = IP_HEADER + options_len;
	u8 *h;

	f->l4 = (u16)f->len;
	h = frame_push(f, header_len);
	if (!h) {
		counter_inc(s, counter_invariant);
		return false;
	}
	h[0] = (u8)(0x40 | header_len / 4);
	h[1] = ip->tos;
	put16(h + 2, f->len);
	put16(h + 4, id);
	put16(h + 6, fragment);
	h[8] = ip->ttl ? ip->ttl : s->tunables.ip_default_ttl;
	h[9] = ip->proto;
	put16(h + 10, 0);
	put32(h + 12, addr_get4(&ip->src));
	put32(h + 16, addr_get4(&ip->dst));
	memcpy(h + IP_HEADER, options, options_len);
	put16(h + 10, checksum_finish(checksum_add(0, h, header_len)));
	f->offload.csum_start = (u16)(f->offload.csum_start +
				      (f->offload.flags & OFFLOAD_NEEDS_CSUM ? header_len : 0));
	f->offload.header_len =
		(u16)(f->offload.header_len + (f->offload.gso_type ? header_len : 0));
	return true;
}

/* The two bytes at an offset of the frame, when they lie together. */
static u8 *frame_bytes(struct stack *s, struct frame *f, u32 offset)
{
	u32 head = FRAME_HEAD_ROOM - f->head_start;
	struct pkt *p;

	if (offset + 2 <= head)
		return f->head + f->head_start + offset;
	offset -= head;
	if (!f->pieces || offset + 2 > f->piece[0].len)
		return NULL;
	p = pkt_get(s, f->piece[0].pkt);
	return p ? p->data + f->piece[0].offset + offset : NULL;
}

/* Completes the transport checksum of a frame that begins at its transport header. */
static void ip4_complete_checksum(struct stack *s, struct frame *f, u8 proto)
{
	u32 start = f->offload.csum_start;
	u8 *at = frame_bytes(s, f, start + f->offload.csum_offset);
	u16 sum;

	if (!(f->offload.flags & OFFLOAD_NEEDS_CSUM) || !at || start > f->len)
		return;
	sum = checksum_finish(frame_sum(s, f, f->len - start, 0));
	/* RFC 768: 0 means none; RFC 3828 3.1: never 0. */
	put16(at, sum == 0 && (proto == PROTO_UDP || proto == PROTO_UDPLITE) ? 0xffffu : sum);
	f->offload.flags &= (u8)~OFFLOAD_NEEDS_CSUM;
	f->offload.csum_start = f->offload.csum_offset = 0;
}

/* Copies a frame that begins at its IP header into a packet for ourselves. */
static ref ip4_copy(struct stack *s, const struct frame *f)
{
	ref r = pkt_alloc(s, f->len);
	struct pkt *p = pkt_get(s, r);
	u32 head = FRAME_HEAD_ROOM - f->head_start;

	if (!p)
		return 0;
	memcpy(pkt_put(p, head), f->head + f->head_start, head);
	for (u32 i = 0; i < f->pieces; i++) {
		const struct frame_piece *piece = &f->piece[i];
		struct pkt *from = pkt_get(s, piece->pkt);
		u8 *to = pkt_put(p, piece->len);

		if (from && to)
			memcpy(to, from->data + piece->offset, piece->len);
	}
	p->flags = PKT_LOOPED | PKT_CSUM_OK;
	p->time_ns = s->now_ns + s->realtime_offset_ns;
	return r;
}

static void ip4_loop(struct stack *s, const struct frame *f, u32 ifindex)
{
	ref r = ip4_copy(s, f);
	struct pkt *p = pkt_get(s, r);

	if (!p)
		return;
	p->ifindex = (u16)ifindex;
	counter_inc(s, counter_ip_looped);
	stack_loop(s, r);
}

/* RFC 1112 6.4: the low 23 bits of the group stand in the station's address. */
static void ip4_group_mac(const struct addr *dst, u8 mac[6])
{
	u32 ip = addr_get4(dst);

	memset(mac, 0xff, 6);
	if (!addr_is_multicast(dst))
		return;
	mac[0] = 0x01;
	mac[1] = 0x00;
	mac[2] = 0x5e;
	mac[3] = (u8)(ip >> 16 & 0x7f);
	mac[4] = (u8)(ip >> 8);
	mac[5] = (u8)ip;
}

/* The last step: a frame with its IP header goes to the device, to ourselves, or both. */
static int ip4_emit(struct stack *s, ref frame, const struct ip_out *ip, const struct path *path)
{
	struct frame *f = frame_get(s, frame);
	u8 mac[6];

	f->ifindex = path->ifindex;
	LOG(s, LOG_IP, LOG_TRACE, "out %A > %A proto %u len %u ttl %u tos %x", &ip->src, &ip->dst,
		(u32)ip->proto, f->len, (u32)f->head[f->head_start + 8], (u32)ip->tos);
	if (path->local) {
		ip4_loop(s, f, NETIF_LOOPBACK);
		frame_free(s, frame);
		return 0;
	}
	if (!path->broadcast)
		return neigh_output(s, frame, &path->next_hop, path->ifindex);
	/* What goes to everybody goes to us too; to a group, when the sender wants it. */
	if (!addr_is_multicast(&ip->dst) ||
		(ip->multicast_loop && sock_is_member(s, &ip->dst, path->ifindex)))
		ip4_loop(s, f, path->ifindex);
	ip4_group_mac(&ip->dst, mac);
	eth_output(s, frame, mac, ETHERTYPE_IP4);
	return 0;
}

/* The options that every fragment carries (RFC 791 3.1: those with the copied flag), padded;
 * returns their length. */
static u32 ip4_copied_options(const struct ip_out *ip, u8 copied[OPTIONS_MAX])
{
	u32 n = 0;

	memset(copied, OPT_END, OPTIONS_MAX);
	for (u32 at = 0; at < ip->options_len && ip->options[at] != OPT_END;) {
		u32 len = ip->options[at] == OPT_NOP ? 1
			  : at + 1 < ip->options_len ? ip->options[at + 1]
						     : 0;

		if (!len || len > ip->options_len - at)
			break;
		if (ip->options[at] & OPT_COPY) {
			memcpy(copied + n, ip->options + at, len);
			n += len;
		}
		at += len;
	}
	return (n + 3) & ~3u;
}

/* A frame with bytes [offset, offset + len) of another: headers are copied, pieces shared. */
static ref ip4_slice(struct stack *s, const struct frame *f, u32 offset, u32 len)
{
	ref r = frame_alloc(s);
	struct frame *g = frame_get(s, r);
	u32 head = FRAME_HEAD_ROOM - f->head_start;

	if (!g)
		return 0;
	if (offset < head) {
		u32 n = MIN(head - offset, len);

		memcpy(frame_push(g, n), f->head + f->head_start + offset, n);
		len -= n;
		offset = head;
	}
	offset -= head;
	for (u32 i = 0; i < f->pieces && len; i++) {
		const struct frame_piece *piece = &f->piece[i];
		u32 n;

		if (offset >= piece->len) {
			offset -= piece->len;
			continue;
		}
		n = MIN(piece->len - offset, len);
		frame_add(s, g, piece->pkt, piece->offset + offset, n);
		len -= n;
		offset = 0;
	}
	return r;
}

static int ip4_send_fragments(
	struct stack *s, ref frame, const struct ip_out *ip, const struct path *path)
{
	struct frame *f = frame_get(s, frame);
	u16 id = ip4_next_id(s, ip);
	u8 copied[OPTIONS_MAX];
	u32 copied_len = ip4_copied_options(ip, copied), len, options_len;
	int error = 0;

	for (u32 at = 0; at < f->len && !error; at += len) {
		ref part;

		options_len = at ? copied_len : ip->options_len;
		len = (path->mtu - IP_HEADER - options_len) & ~7u;
		len = MIN(len, f->len - at);
		part = ip4_slice(s, f, at, len);
		if (!part) {
			error = -ENOBUFS;
			break;
		}
		if (!ip4_push_header(s, frame_get(s, part), ip, at ? copied : ip->options,
			    options_len, id, at / 8 | (at + len < f->len ? FRAG_MF : 0u))) {
			frame_free(s, part);
			error = -ENOBUFS;
			break;
		}
		counter_inc(s, counter_ip_frag_created);
		error = ip4_emit(s, part, ip, path);
	}
	if (!error)
		counter_inc(s, counter_ip_frag_ok);
	frame_free(s, frame);
	return error;
}

/* Fails a send: the frame goes, the error is passed on. */
static int ip4_refuse(struct stack *s, ref frame, enum counter why, int error)
{
	counter_inc(s, why);
	frame_free(s, frame);
	return error;
}

int ip_send(struct stack *s, ref frame, const struct ip_out *wanted)
{
	struct frame *f = frame_get(s, frame);
	struct ip_out ip = *wanted;
	struct path path;
	u32 total;
	u16 id;

	if (!f)
		return -ENOBUFS;
	if (ip_route(s, &ip.dst, ip.ifindex, &path))
		return ip4_refuse(s, frame, counter_ip_no_route, -ENETUNREACH);
	if (ip.beyond_path && !path.local)
		path.mtu = netif_get(s, path.ifindex)->mtu;
	if (ip.src.family != FAMILY_INET)
		ip.src = path.source;
	if (!path.local && addr_is_loopback(&ip.src))
		return ip4_refuse(s, frame, counter_ip_martian_out, -EINVAL);
	total = f->len + IP_HEADER + ip.options_len;
	if (total > IP_MAX || ip.options_len > OPTIONS_MAX)
		return ip4_refuse(s, frame, counter_ip_frag_needed, -EMSGSIZE);
	counter_inc(s, counter_ip_out);
	if (!path.local && (!(netif_get(s, path.ifindex)->features & DEVICE_CSUM) ||
				   (total > path.mtu && !f->offload.gso_type)))
		ip4_complete_checksum(s, f, ip.proto);
	if (total > path.mtu && !f->offload.gso_type) {
		if (ip.dont_fragment)
			return ip4_refuse(s, frame, counter_ip_frag_needed, -EMSGSIZE);
		return ip4_send_fragments(s, frame, &ip, &path);
	}
	id = ip.dont_fragment ? 0 : ip4_next_id(s, &ip);
	if (!ip4_push_header(
		    s, f, &ip, ip.options, ip.options_len, id, ip.dont_fragment ? FRAG_DF : 0u))
		return ip4_refuse(s, frame, counter_invariant, -ENOBUFS);
	return ip4_emit(s, frame, &ip, &path);
}
