/* The packets of the wire scripts, to and from bytes. Written apart from the engine's own code, so that one checks the other. */
#include <string.h>

#include "stack/ip.h"
#include "tests/lib/wire.h"

static u32 sum16(u32 sum, const u8 *p, u32 len)
{
	for (u32 i = 0; i + 1 < len; i += 2)
		sum += (u32)p[i] << 8 | p[i + 1];
	if (len & 1)
		sum += (u32)p[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static u32 pseudo_sum(u32 src, u32 dst, u8 proto, u32 len)
{
	return (src >> 16) + (src & 0xffff) + (dst >> 16) + (dst & 0xffff) + proto + len;
}

static void store16(u8 *p, u32 v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}

static void store32(u8 *p, u32 v)
{
	store16(p, v >> 16);
	store16(p + 2, v);
}

static u32 load16(const u8 *p)
{
	return (u32)p[0] << 8 | p[1];
}

static u32 load32(const u8 *p)
{
	return load16(p) << 16 | load16(p + 2);
}

static u32 build_tcp(u8 *t, const struct wire_packet *p)
{
	u32 header = 20 + p->options_len;

	store16(t, p->sport);
	store16(t + 2, p->dport);
	store32(t + 4, p->seq);
	store32(t + 8, p->ack);
	t[12] = (u8)((p->doff ? p->doff : header / 4) << 4);
	t[12] |= (u8)(p->flags >> 8);
	t[13] = (u8)p->flags;
	store16(t + 14, p->window);
	store16(t + 16, 0);
	store16(t + 18, p->urgent);
	memcpy(t + 20, p->options, p->options_len);
	memcpy(t + header, p->payload, p->payload_len);
	return header + p->payload_len;
}

static u32 build_udp(u8 *t, const struct wire_packet *p)
{
	store16(t, p->sport);
	store16(t + 2, p->dport);
	store16(t + 4, 8 + p->payload_len);
	store16(t + 6, 0);
	memcpy(t + 8, p->payload, p->payload_len);
	return 8 + p->payload_len;
}

static u32 build_icmp(u8 *t, const struct wire_packet *p)
{
	t[0] = p->icmp_type;
	t[1] = p->icmp_code;
	store16(t + 2, 0);
	store32(t + 4, p->icmp_info);
	memcpy(t + 8, p->payload, p->payload_len);
	return 8 + p->payload_len;
}

u32 wire_build(u8 *out, const struct wire_packet *p, u32 src, u32 dst)
{
	u8 *t = out + 20;
	u32 len = p->proto == PROTO_TCP ? build_tcp(t, p) : p->proto == PROTO_UDP ? build_udp(t, p) : build_icmp(t, p);
	u32 at = p->proto == PROTO_TCP ? 16 : p->proto == PROTO_UDP ? 6 : 2;
	u32 sum = p->proto == PROTO_ICMP ? 0 : pseudo_sum(src, dst, p->proto, len);

	store16(t + at, (~sum16(sum, t, len) & 0xffff) ^ (p->bad_checksum ? 0x5555u : 0u));
	memset(out, 0, 20);
	out[0] = 0x45;
	out[1] = p->tos;
	store16(out + 2, 20 + len);
	store16(out + 6, 0x4000);
	out[8] = p->ttl ? p->ttl : 64;
	out[9] = p->proto;
	store32(out + 12, src);
	store32(out + 16, dst);
	store16(out + 10, ~sum16(0, out, 20));
	return 20 + len;
}

static bool parse_tcp(struct wire_packet *p, const u8 *t, u32 len)
{
	u32 header;

	if (len < 20)
		return false;
	header = (t[12] >> 4) * 4u;
	if (header < 20 || header > len)
		return false;
	p->sport = (u16)load16(t);
	p->dport = (u16)load16(t + 2);
	p->seq = load32(t + 4);
	p->ack = load32(t + 8);
	p->flags = (u16)((t[12] & 1u) << 8 | t[13]);
	p->window = (u16)load16(t + 14);
	p->urgent = (u16)load16(t + 18);
	p->options_len = header - 20;
	memcpy(p->options, t + 20, p->options_len);
	p->payload_len = len - header;
	memcpy(p->payload, t + header, p->payload_len);
	return true;
}

bool wire_parse(struct wire_packet *p, const u8 *data, u32 len, u32 *src, u32 *dst)
{
	u32 header, total;
	const u8 *t;

	memset(p, 0, offsetof(struct wire_packet, payload));
	if (len < 20 || data[0] >> 4 != 4)
		return false;
	header = (data[0] & 15) * 4u;
	total = load16(data + 2);
	if (header < 20 || total < header || total > len || sum16(0, data, header) != 0xffff)
		return false;
	*src = load32(data + 12);
	*dst = load32(data + 16);
	p->proto = data[9];
	p->tos = data[1];
	p->ttl = data[8];
	p->df = data[6] & 0x40;
	t = data + header;
	len = total - header;
	if (sum16(p->proto == PROTO_ICMP ? 0 : pseudo_sum(*src, *dst, p->proto, len), t, len) != 0xffff)
		return false;
	if (p->proto == PROTO_TCP)
		return parse_tcp(p, t, len);
	if (len < 8)
		return false;
	if (p->proto == PROTO_UDP) {
		p->sport = (u16)load16(t);
		p->dport = (u16)load16(t + 2);
	} else {
		p->icmp_type = t[0];
		p->icmp_code = t[1];
		p->icmp_info = load32(t + 4);
	}
	p->payload_len = len - 8;
	memcpy(p->payload, t + 8, p->payload_len);
	return true;
}
