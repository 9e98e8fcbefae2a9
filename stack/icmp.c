/*
 * ICMP (RFC 792, RFC 1122 3.2.2): echo, errors received and passed to the socket concerned, errors
 * sent.
 *
 * Errors received are believed only as far as the transport protocol can verify the quoted packet
 * (RFC 5927); nothing here changes a route or a path MTU. Source quench, redirects, timestamps,
 * address masks and router advertisements are ignored (RFC 6633, RFC 6918). Errors sent are limited
 * per destination as Linux does (a burst of six, then one per icmp_ratelimit), but the cost of each
 * is drawn at random, so that the limit cannot serve to count what others were told
 * (CVE-2020-25705); errors to ourselves are not limited.
 */
#include <string.h>

#include "stack/bytes.h"
#include "stack/checksum.h"
#include "stack/ip.h"
#include "stack/stack.h"

enum { ICMP_HEADER = 8, IP_HEADER = 20, QUOTE_MIN = 8, ERROR_MAX = 576 };
enum {
	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACH = 3,
	ICMP_ECHO = 8,
	ICMP_TIME = 11,
	ICMP_PARAM = 12,
	ICMP_TIMESTAMP = 13,
	ICMP_TIMESTAMP_REPLY = 14,
};
enum { UNREACH_FRAG_NEEDED = 4, BURST = 6, TOS_INTERNETWORK_CONTROL = 0xc0, FRAG_OFFSET = 0x1fff };

struct icmp_errno {
	u8 error;
	bool fatal;
};

/* Linux's icmp_err_convert, for destination unreachable. */
static const struct icmp_errno unreach_errors[] = {
	{ENETUNREACH, false},  /* net unreachable */
	{EHOSTUNREACH, false}, /* host unreachable */
	{ENOPROTOOPT, true},   /* protocol unreachable */
	{ECONNREFUSED, true},  /* port unreachable */
	{EMSGSIZE, false},     /* fragmentation needed */
	{EOPNOTSUPP, false},   /* source route failed */
	{ENETUNREACH, true},   /* destination net unknown */
	{EHOSTDOWN, true},     /* destination host unknown */
	{ENONET, true},	       /* source host isolated */
	{ENETUNREACH, true},   /* net prohibited */
	{EHOSTUNREACH, true},  /* host prohibited */
	{ENETUNREACH, false},  /* net unreachable for this type of service */
	{EHOSTUNREACH, false}, /* host unreachable for this type of service */
	{EHOSTUNREACH, true},  /* communication prohibited by filtering */
	{EHOSTUNREACH, true},  /* host precedence violation */
	{EHOSTUNREACH, true},  /* precedence cutoff */
};

/* Fills in what the error means to a socket; false for a code that means nothing. */
static bool icmp_convert(struct icmp_error *e)
{
	switch (e->type) {
	case ICMP_UNREACH:
		if (e->code >= ARRAY_LEN(unreach_errors))
			return false;
		e->error = unreach_errors[e->code].error;
		e->fatal = unreach_errors[e->code].fatal;
		return true;
	case ICMP_TIME:
		e->error = EHOSTUNREACH;
		e->fatal = false;
		return true;
	case ICMP_PARAM:
		e->error = EPROTO;
		e->fatal = true;
		return true;
	default:
		return false;
	}
}

/* For routers that do not give the next hop's MTU: the next plateau below the quoted packet's
 * length (RFC 1191 7.1). */
static u32 icmp_plateau(u32 len)
{
	static const u16 plateaus[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296};

	for (u32 i = 0; i < ARRAY_LEN(plateaus); i++) {
		if (plateaus[i] < len)
			return plateaus[i];
	}
	return 68;
}

/* --- errors received --- */

/*
 * The view is at the quoted IP header. Makes pkt.to and pkt.from the quoted packet's ends, leaves
 * the view at its transport header; false when it is no packet of ours, or not enough of one.
 */
static bool icmp_parse_quote(struct stack *s, struct pkt *p, struct icmp_error *e)
{
	const u8 *h = pkt_peek(p, 0, IP_HEADER);
	u32 header_len;
	const u8 *ports;

	if (!h || h[0] >> 4 != 4)
		return false;
	header_len = (h[0] & 15u) * 4;
	if (header_len < IP_HEADER || get16(h + 2) < header_len + QUOTE_MIN)
		return false;
	/* Only the first fragment says whose it is. */
	if (get16(h + 6) & FRAG_OFFSET)
		return false;
	e->proto = h[9];
	p->to.addr = addr_v4(get32(h + 12));
	p->from.addr = addr_v4(get32(h + 16));
	if (e->type == ICMP_UNREACH && e->code == UNREACH_FRAG_NEEDED && e->info == 0)
		e->info = icmp_plateau(get16(h + 2));
	if (!netif_is_local(s, &p->to.addr) || !pkt_pull(p, header_len))
		return false;
	ports = pkt_peek(p, 0, QUOTE_MIN);
	if (!ports)
		return false;
	p->to.port = get16(ports);
	p->from.port = get16(ports + 2);
	return true;
}

static void icmp_report(struct stack *s, struct pkt *quoted, struct icmp_error *e)
{
	if (!icmp_convert(e) || !icmp_parse_quote(s, quoted, e)) {
		counter_inc(s, counter_icmp_quote);
		return;
	}
	LOG(s, LOG_ICMP, LOG_DEBUG, "error type %u code %u from %A about %E > %E", (u32)e->type,
		(u32)e->code, &e->offender, &quoted->to, &quoted->from);
	if (e->proto == PROTO_TCP)
		tcp_icmp_error(s, quoted, e);
	else if (e->proto == PROTO_UDP || e->proto == PROTO_UDPLITE)
		udp_icmp_error(s, quoted, e);
	else
		counter_inc(s, counter_icmp_quote);
}

static void icmp_error_input(struct stack *s, struct pkt *p)
{
	const u8 *h = pkt_pull(p, ICMP_HEADER);
	struct icmp_error e = {
		.family = FAMILY_INET, .type = h[0], .code = h[1], .offender = p->from.addr};

	if (e.type == ICMP_UNREACH && e.code == UNREACH_FRAG_NEEDED)
		e.info = get16(h + 6);
	else if (e.type == ICMP_PARAM)
		e.info = h[4];
	icmp_report(s, p, &e);
}

void icmp_report_unsent(struct stack *s, struct frame *f, u8 type, u8 code)
{
	struct icmp_error e = {.family = FAMILY_INET, .type = type, .code = code};
	ref r = pkt_alloc(s, ERROR_MAX);
	struct pkt *p = pkt_get(s, r);
	u32 n;

	if (!p || !f) {
		if (p)
			pkt_release(s, r);
		return;
	}
	n = FRAME_HEAD_ROOM - f->head_start;
	memcpy(pkt_put(p, n), f->head + f->head_start, n);
	for (u32 i = 0; i < f->pieces; i++) {
		struct pkt *from = pkt_get(s, f->piece[i].pkt);

		n = MIN(f->piece[i].len, ERROR_MAX - pkt_len(p));
		if (from)
			memcpy(pkt_put(p, n), from->data + f->piece[i].offset, n);
	}
	e.offender = addr_v4(get32(p->data + p->start + 12));
	icmp_report(s, p, &e);
	pkt_release(s, r);
}

/* --- echo --- */

/* Answers with the same bytes (RFC 1122 3.2.2.6), in the same buffer; consumes the packet. */
static void icmp_echo(struct stack *s, ref pkt)
{
	struct pkt *p = pkt_get(s, pkt);
	bool group = p->flags & PKT_LINK_BROADCAST || addr_is_multicast(&p->to.addr) ||
		     netif_is_broadcast(s, &p->to.addr);
	struct ip_out ip = {.dst = p->from.addr, .proto = PROTO_ICMP, .tos = p->tos};
	ref frame;
	u8 *h;

	counter_inc(s, counter_icmp_echo_in);
	if (s->tunables.icmp_echo_ignore_all ||
		(group && s->tunables.icmp_echo_ignore_broadcasts)) {
		counter_inc(s, group ? counter_icmp_broadcast : counter_icmp_echo_ignored);
		pkt_release(s, pkt);
		return;
	}
	if (!group)
		ip.src = p->to.addr;
	h = pkt_peek(p, 0, ICMP_HEADER);
	h[0] = ICMP_ECHO_REPLY;
	/* Only the type has changed (RFC 1624, equation 3). */
	put16(h + 2, checksum_finish((u16)~get16(h + 2) + (u32)(u16) ~(ICMP_ECHO << 8)));
	frame = frame_from_pkt(s, pkt);
	if (!frame)
		return;
	counter_inc(s, counter_icmp_echo_out);
	counter_inc(s, counter_icmp_out);
	ip_send(s, frame, &ip);
}

static bool icmp_check(struct stack *s, struct pkt *p)
{
	u32 len = pkt_len(p);

	if (len < ICMP_HEADER) {
		counter_inc(s, counter_icmp_short);
		return false;
	}
	if (!(p->flags & PKT_LOOPED) &&
		checksum_finish(checksum_add(0, pkt_peek(p, 0, len), len))) {
		counter_inc(s, counter_icmp_csum);
		return false;
	}
	return true;
}

void icmp_input(struct stack *s, ref pkt)
{
	struct pkt *p = pkt_get(s, pkt);
	u8 type;

	counter_inc(s, counter_icmp_in);
	if (!icmp_check(s, p)) {
		pkt_release(s, pkt);
		return;
	}
	type = *pkt_peek(p, 0, 1);
	LOG(s, LOG_ICMP, LOG_TRACE, "in %A > %A type %u code %u len %u", &p->from.addr, &p->to.addr,
		(u32)type, (u32)*pkt_peek(p, 1, 1), pkt_len(p));
	switch (type) {
	case ICMP_ECHO:
		icmp_echo(s, pkt);
		return;
	case ICMP_ECHO_REPLY:
		counter_inc(s, counter_icmp_echo_reply_in);
		break;
	case ICMP_UNREACH:
		counter_inc(s, counter_icmp_unreach_in);
		icmp_error_input(s, p);
		break;
	case ICMP_TIME:
		counter_inc(s, counter_icmp_time_in);
		icmp_error_input(s, p);
		break;
	case ICMP_PARAM:
		counter_inc(s, counter_icmp_param_in);
		icmp_error_input(s, p);
		break;
	default:
		counter_inc(s, counter_icmp_type);
	}
	pkt_release(s, pkt);
}

/* --- errors sent --- */

/* Takes the price of one error from the destination's bucket. */
static bool icmp_allowed(struct stack *s, const struct addr *dst)
{
	u64 limit = s->tunables.icmp_ratelimit_ms * NS_PER_MS, cost;
	struct icmp_bucket *b;

	if (!limit)
		return true;
	b = &s->icmp_bucket[siphash(&s->hash_key, dst, sizeof(*dst)) & (STACK_ICMP_BUCKETS - 1)];
	if (!b->filled_ns)
		b->credit_ns = BURST * limit;
	else
		b->credit_ns = MIN(b->credit_ns + (s->now_ns - b->filled_ns), BURST * limit);
	b->filled_ns = s->now_ns ? s->now_ns : 1;
	cost = limit / 2 + random_u64(&s->random) % limit;
	if (b->credit_ns < cost)
		return false;
	b->credit_ns -= cost;
	return true;
}

/* RFC 1122 3.2.2: not about errors, broadcasts, fragments but the first, or a source that is no
 * single host. */
static bool icmp_suppressed(
	const struct stack *s, const struct pkt *about, const u8 *h, u32 header_len, u32 len)
{
	struct addr src = addr_v4(get32(h + 12)), dst = addr_v4(get32(h + 16));
	bool looped = about->flags & PKT_LOOPED;
	u8 type;

	if (about->flags & PKT_LINK_BROADCAST || addr_is_multicast(&dst) ||
		netif_is_broadcast(s, &dst))
		return true;
	if (addr_is_any(&src) || addr_is_multicast(&src) || netif_is_broadcast(s, &src) ||
		addr_get4(&src) >> 28 == 0xf || (addr_is_loopback(&src) && !looped))
		return true;
	if (get16(h + 6) & FRAG_OFFSET)
		return true;
	if (h[9] != PROTO_ICMP)
		return false;
	if (len <= header_len)
		return true;
	type = h[header_len];
	return type != ICMP_ECHO && type != ICMP_ECHO_REPLY && type != ICMP_TIMESTAMP &&
	       type != ICMP_TIMESTAMP_REPLY;
}

static void icmp_count_out(struct stack *s, u8 type)
{
	counter_inc(s, counter_icmp_out);
	counter_inc(s, type == ICMP_UNREACH ? counter_icmp_unreach_out
		       : type == ICMP_TIME  ? counter_icmp_time_out
					    : counter_icmp_param_out);
}

static void icmp_emit_error(
	struct stack *s, const u8 *quote, u32 quote_len, u8 type, u8 code, u32 info)
{
	struct ip_out ip = {
		.dst = addr_v4(get32(quote + 12)),
		.src = addr_v4(get32(quote + 16)),
		.proto = PROTO_ICMP,
		.tos = TOS_INTERNETWORK_CONTROL,
	};
	ref r = pkt_alloc(s, ICMP_HEADER + quote_len);
	struct pkt *p = pkt_get(s, r);
	ref frame;
	u8 *h;

	if (!p)
		return;
	h = pkt_put(p, ICMP_HEADER);
	h[0] = type;
	h[1] = code;
	put16(h + 2, 0);
	put32(h + 4, info);
	memcpy(pkt_put(p, quote_len), quote, quote_len);
	put16(h + 2, checksum_finish(checksum_add(0, h, ICMP_HEADER + quote_len)));
	frame = frame_from_pkt(s, r);
	if (!frame)
		return;
	icmp_count_out(s, type);
	LOG(s, LOG_ICMP, LOG_DEBUG, "out type %u code %u to %A", (u32)type, (u32)code, &ip.dst);
	ip_send(s, frame, &ip);
}

void icmp_send_error(struct stack *s, struct pkt *about, u8 type, u8 code, u32 info)
{
	const u8 *h = about->data + about->l3;
	u32 len, header_len;
	struct addr dst;

	if (about->l3 > about->end || about->end - about->l3 < IP_HEADER) {
		counter_inc(s, counter_invariant);
		return;
	}
	len = about->end - about->l3;
	header_len = MIN((h[0] & 15u) * 4u, len);
	if (icmp_suppressed(s, about, h, header_len, len)) {
		counter_inc(s, counter_icmp_suppressed);
		return;
	}
	dst = addr_v4(get32(h + 12));
	if (!(about->flags & PKT_LOOPED) && !icmp_allowed(s, &dst)) {
		counter_inc(s, counter_icmp_limited);
		return;
	}
	icmp_emit_error(s, h, MIN(len, ERROR_MAX - IP_HEADER - ICMP_HEADER), type, code, info);
}
