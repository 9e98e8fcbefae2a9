/* The packet lines of the wire scripts: segments and messages from the peer, and those that the engine must send. */
#include "tests/lib/wire_state.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

static u16 tcp_flags(struct wire *w, const char *text)
{
	static const char letters[] = "FSRPAUECN";
	u16 flags = 0;

	for (; *text; text++) {
		const char *at = strchr(letters, *text);

		if (*text == '.')
			continue;
		if (!at)
			wire_fail(w, "flag '%c' is none of %s", *text, letters);
		flags |= (u16)(1u << (at - letters));
	}
	return flags;
}

static void put_option(struct wire_packet *p, const u8 *bytes, u32 len)
{
	if (p->options_len + len <= sizeof(p->options)) {
		memcpy(p->options + p->options_len, bytes, len);
		p->options_len += len;
	}
}

static void store(u8 *p, u32 v)
{
	p[0] = (u8)(v >> 24);
	p[1] = (u8)(v >> 16);
	p[2] = (u8)(v >> 8);
	p[3] = (u8)v;
}

/* One option of an incoming segment. TSecr is relative to the engine's first timestamp; SACK blocks to its initial number. */
static void option_in(struct wire *w, struct wire_packet *p, char *text)
{
	u8 bytes[40];
	unsigned a, b;
	int used;

	if (strcmp(text, "nop") == 0) {
		put_option(p, (const u8 *)"\1", 1);
	} else if (strcmp(text, "eol") == 0) {
		put_option(p, (const u8 *)"\0", 1);
	} else if (strcmp(text, "sackok") == 0) {
		put_option(p, (const u8 *)"\4\2", 2);
	} else if (sscanf(text, "mss %u", &a) == 1) {
		put_option(p, (u8[]){2, 4, (u8)(a >> 8), (u8)a}, 4);
	} else if (sscanf(text, "ws %u", &a) == 1) {
		put_option(p, (u8[]){3, 3, (u8)a}, 3);
	} else if (sscanf(text, "ts %u %u", &a, &b) == 2) {
		bytes[0] = 8;
		bytes[1] = 10;
		store(bytes + 2, a);
		store(bytes + 6, w->flow.ts_known ? b + w->flow.our_ts : b);
		put_option(p, bytes, 10);
	} else if (strncmp(text, "sack ", 5) == 0) {
		u32 n = 2;

		for (text += 5; sscanf(text, "%u:%u%n", &a, &b, &used) == 2; text += used, n += 8) {
			store(bytes + n, a + w->flow.our_isn);
			store(bytes + n + 4, b + w->flow.our_isn);
		}
		bytes[0] = 5;
		bytes[1] = (u8)n;
		put_option(p, bytes, n);
	} else if (strcmp(text, "tfo") == 0) {
		put_option(p, (const u8 *)"\42\2", 2);
	} else if (strcmp(text, "tfo given") == 0) {
		bytes[0] = 34;
		bytes[1] = (u8)(2 + w->cookie_len);
		memcpy(bytes + 2, w->cookie, w->cookie_len);
		put_option(p, bytes, 2 + w->cookie_len);
	} else if (strcmp(text, "tfo-exp given") == 0) {
		bytes[0] = 254;
		bytes[1] = (u8)(4 + w->cookie_len);
		memcpy(bytes + 2, "\xf9\x89", 2);
		memcpy(bytes + 4, w->cookie, w->cookie_len);
		put_option(p, bytes, 4 + w->cookie_len);
	} else if (strncmp(text, "hex ", 4) == 0) {
		u32 n = 0;

		for (text += 4; n < sizeof(bytes) && sscanf(text, "%2x%n", &a, &used) == 1; text += used)
			bytes[n++] = (u8)a;
		put_option(p, bytes, n);
	} else {
		wire_fail(w, "option '%s' is unknown", text);
	}
}

/* `<a,b,c>` was kept as one word by the splitter. */
static void options_in(struct wire *w, struct wire_packet *p, char *text)
{
	char *save, *o;

	text[strlen(text) - 1] = 0;
	for (o = strtok_r(text + 1, ",", &save); o; o = strtok_r(NULL, ",", &save))
		option_in(w, p, o);
	while (p->options_len % 4)
		put_option(p, (const u8 *)"\1", 1);
}

static void payload_pattern(struct wire_packet *p, u32 start, u32 end)
{
	p->payload_len = end - start;
	for (u32 i = 0; i < p->payload_len; i++)
		p->payload[i] = wire_pattern(start + i);
}

static void icmp_type(struct wire *w, struct wire_packet *p, const char *text)
{
	unsigned type, code;

	if (sscanf(text, "%u/%u", &type, &code) != 2)
		wire_fail(w, "'%s' is no type/code", text);
	p->icmp_type = (u8)type;
	p->icmp_code = (u8)code;
}

/* `< icmp 3/4 info 1000 [quote-seq N] [quote-len N]`: about the last packet that the engine sent. `< icmp 8/0 len N`: plain. */
static void inject_icmp(struct wire *w)
{
	static struct wire_packet packet, *p = &packet;
	static u8 bytes[FRAME_MAX_BYTES];
	u32 quote = 28;

	memset(p, 0, sizeof(*p));
	p->proto = PROTO_ICMP;
	icmp_type(w, p, wire_word(w, 2));
	memcpy(p->payload, w->last_bytes, MIN(w->last_len, 548u));
	p->payload_len = MIN(quote, w->last_len);
	for (u32 i = 3; i + 1 < w->words; i += 2) {
		u32 v = (u32)wire_number(w, w->word[i + 1]);

		if (strcmp(w->word[i], "info") == 0)
			p->icmp_info = v;
		else if (strcmp(w->word[i], "quote-seq") == 0)
			store(p->payload + 24, v + w->flow.our_isn);
		else if (strcmp(w->word[i], "quote-len") == 0)
			p->payload_len = MIN(v, w->last_len);
		else if (strcmp(w->word[i], "quote-sport") == 0) {
			p->payload[20] = (u8)(v >> 8);
			p->payload[21] = (u8)v;
		} else if (strcmp(w->word[i], "len") == 0)
			payload_pattern(p, 0, v);
		else
			wire_fail(w, "'%s' means nothing here", w->word[i]);
	}
	wire_frame_in(w, bytes, wire_build(bytes, p, PEER_ADDR, OUR_ADDR), ETHERTYPE_IP4);
	wire_settle(w);
}

/* `< udp 100 from 5000 to 53` */
static void inject_udp(struct wire *w)
{
	static struct wire_packet packet, *p = &packet;
	static u8 bytes[FRAME_MAX_BYTES];

	memset(p, 0, sizeof(*p));
	p->proto = PROTO_UDP;
	p->sport = w->flow.peer_port;
	p->dport = w->flow.our_port;
	payload_pattern(p, 0, (u32)wire_number(w, wire_word(w, 2)));
	for (u32 i = 3; i + 1 < w->words; i += 2) {
		if (strcmp(w->word[i], "from") == 0)
			p->sport = (u16)wire_number(w, w->word[i + 1]);
		else if (strcmp(w->word[i], "to") == 0)
			p->dport = (u16)wire_number(w, w->word[i + 1]);
	}
	wire_frame_in(w, bytes, wire_build(bytes, p, PEER_ADDR, OUR_ADDR), ETHERTYPE_IP4);
	wire_settle(w);
}

/* `< FLAGS seq[:end] [ack N] [win N] [urg N] [ttl N] [tos N] [doff N] [sport N] [dport N] [csum bad] [from A] [to A] [<options>]` */
static void inject_tcp(struct wire *w)
{
	static struct wire_packet packet, *p = &packet;
	static u8 bytes[FRAME_MAX_BYTES];
	const char *seq = wire_word(w, 2);
	u32 start, end, from = PEER_ADDR, to = OUR_ADDR;
	const char *colon = strchr(seq, ':');

	memset(p, 0, sizeof(*p));
	p->proto = PROTO_TCP;
	p->flags = tcp_flags(w, wire_word(w, 1));
	if (p->flags & 2)
		wire_opens(w, w->flow.our_port, w->flow.peer_port);
	start = (u32)strtoll(seq, NULL, 0);
	end = colon ? (u32)wire_number(w, colon + 1) : start;
	p->seq = start + w->flow.peer_isn;
	p->window = 65535;
	p->sport = w->flow.peer_port;
	p->dport = w->flow.our_port;
	payload_pattern(p, start - !(p->flags & 2), end - !(p->flags & 2)); /* the first byte is number 1 */
	for (u32 i = 3; i < w->words; i++) {
		const char *key = w->word[i];

		if (*key == '<') {
			options_in(w, p, w->word[i]);
			continue;
		}
		i++;
		if (strcmp(key, "csum") == 0)
			p->bad_checksum = true;
		else if (strcmp(key, "from") == 0)
			from = wire_address(w, wire_word(w, i));
		else if (strcmp(key, "to") == 0)
			to = wire_address(w, wire_word(w, i));
		else if (strcmp(key, "fill") == 0)
			memset(p->payload, (int)wire_number(w, wire_word(w, i)), p->payload_len);
		else if (strcmp(key, "ttl") == 0)
			p->ttl = (u8)wire_number(w, wire_word(w, i));
		else if (strcmp(key, "ack") == 0)
			p->ack = (u32)wire_number(w, wire_word(w, i)) + w->flow.our_isn;
		else if (strcmp(key, "win") == 0)
			p->window = (u16)wire_number(w, wire_word(w, i));
		else if (strcmp(key, "urg") == 0)
			p->urgent = (u16)wire_number(w, wire_word(w, i));
		else if (strcmp(key, "doff") == 0)
			p->doff = (u8)wire_number(w, wire_word(w, i));
		else if (strcmp(key, "sport") == 0)
			p->sport = (u16)wire_number(w, wire_word(w, i));
		else if (strcmp(key, "dport") == 0)
			p->dport = (u16)wire_number(w, wire_word(w, i));
		else if (strcmp(key, "tos") == 0)
			p->tos = (u8)wire_number(w, wire_word(w, i));
		else
			wire_fail(w, "'%s' means nothing here", key);
	}
	wire_frame_in(w, bytes, wire_build(bytes, p, from, to), ETHERTYPE_IP4);
	wire_settle(w);
}

/* The next packet of the engine, at `at` or now; NULL was a failure. */
static struct wire_packet *next_sent(struct wire *w, u64 at, bool timed)
{
	static struct wire_packet p;
	struct sent *q;
	u32 src, dst;

	if (timed)
		wire_run_to(w, at + w->tolerance_ns, true);
	else
		wire_run_to(w, w->now_ns, false);
	if (w->queue_head == w->queue_tail)
		wire_fail(w, "no packet was sent");
	q = &w->queue[w->queue_head++ % QUEUE];
	if (timed && q->time_ns + w->tolerance_ns < at)
		wire_fail(w, "the packet came at %.6f s, before its time", (double)(q->time_ns - w->start_ns) / 1e9);
	if (!wire_parse(&p, q->bytes, q->len, &src, &dst))
		wire_fail(w, "the packet is malformed, or a checksum is wrong");
	memcpy(w->last_bytes, q->bytes, q->len);
	w->last_len = q->len;
	free(q->bytes);
	if (src != OUR_ADDR)
		wire_fail(w, "the packet's source address is not ours");
	w->last = p;
	return &p;
}

static u32 load(const u8 *p)
{
	return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
}

static size_t cookie_text(
	struct wire *w, const char *kind, const u8 *cookie, u32 len, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "%s%s", kind, len ? " " : "");

	w->cookie_len = len;
	memcpy(w->cookie, cookie, len);
	for (u32 i = 0; i < len; i++)
		n += (size_t)snprintf(out + n, size - n, "%02x", cookie[i]);
	return n;
}

/* One option of the engine as text; fails the script when its length is wrong. */
static size_t option_text(struct wire *w, const u8 *o, u32 len, char *out, size_t size)
{
	size_t n = 0;

	if (o[0] == 2 && len == 4)
		return (size_t)snprintf(out, size, ",mss %u", (u32)o[2] << 8 | o[3]);
	if (o[0] == 3 && len == 3)
		return (size_t)snprintf(out, size, ",ws %u", o[2]);
	if (o[0] == 4 && len == 2)
		return (size_t)snprintf(out, size, ",sackok");
	if (o[0] == 8 && len == 10) {
		if (!w->flow.ts_known)
			w->flow.our_ts = load(o + 2);
		w->flow.ts_known = true;
		return (size_t)snprintf(out, size, ",ts %u %u", load(o + 2) - w->flow.our_ts, load(o + 6));
	}
	if (o[0] == 34 && len <= 18)
		return cookie_text(w, ",tfo", o + 2, len - 2, out, size);
	if (o[0] == 254 && len >= 4 && len <= 20 && o[2] == 0xf9 && o[3] == 0x89)
		return cookie_text(w, ",tfo-exp", o + 4, len - 4, out, size);
	if (o[0] != 5 || len < 10 || (len - 2) % 8)
		wire_fail(w, "option %u of %u bytes", o[0], len);
	n = (size_t)snprintf(out, size, ",sack");
	for (u32 i = 2; i < len; i += 8)
		n += (size_t)snprintf(out + n, size - n, " %u:%u", load(o + i) - w->flow.peer_isn,
			load(o + i + 4) - w->flow.peer_isn);
	return n;
}

/* All options of a segment: `mss 1460,sackok,...`. Every one but EOL and NOP has a length, and nothing but zeros follows EOL. */
static void options_text(struct wire *w, const struct wire_packet *p, char *out, size_t size)
{
	size_t n = 0;
	u32 i = 0;

	out[0] = 0;
	while (i < p->options_len && p->options[i] != 0) {
		u32 len = p->options[i] == 1 ? 1 : i + 1 < p->options_len ? p->options[i + 1] : 0;

		if (!len || len > p->options_len - i || (len == 1 && p->options[i] != 1))
			wire_fail(w, "option %u at byte %u has a wrong length", p->options[i], i);
		if (p->options[i] != 1)
			n += option_text(w, p->options + i, len, out + n, size - n);
		i += len;
	}
	for (; i < p->options_len; i++) {
		if (p->options[i])
			wire_fail(w, "the padding behind the options is not zero");
	}
	if (n)
		memmove(out, out + 1, n);
}

/* `<mss 1460,...>`: exactly these, in this order; `*` in an item matches any value. */
static void options_match(struct wire *w, const struct wire_packet *p, char *want)
{
	char got[256], *g, *x, *save_g, *save_w;

	options_text(w, p, got, sizeof(got));
	want[strlen(want) - 1] = 0;
	g = strtok_r(got, ",", &save_g);
	x = strtok_r(want + 1, ",", &save_w);
	while (g || x) {
		if (!g || !x || fnmatch(x, g, 0) != 0)
			wire_fail(w, "option '%s', not '%s'", g ? g : "none", x ? x : "none");
		g = strtok_r(NULL, ",", &save_g);
		x = strtok_r(NULL, ",", &save_w);
	}
}

/* A segment of the engine tells its own initial number and port the first time. */
static void learn_flow(struct wire *w, const struct wire_packet *p)
{
	if (p->flags & 2 && !w->flow.isn_known) {
		w->flow.our_isn = p->seq;
		w->flow.isn_known = true;
		w->flow.our_port = p->sport;
		w->flow.peer_port = p->dport;
	}
}

static void expect_tcp(struct wire *w, u64 at, bool timed)
{
	const struct wire_packet *p = next_sent(w, at, timed);
	const char *seq = wire_word(w, 2), *colon = strchr(seq, ':');
	u16 flags = tcp_flags(w, wire_word(w, 1));
	u32 start, end, got;
	char options[256];

	if (p->proto != PROTO_TCP)
		wire_fail(w, "a packet of protocol %u, not TCP", p->proto);
	learn_flow(w, p);
	options_text(w, p, options, sizeof(options)); /* well-formed, named or not; and the first timestamp is learnt */
	got = p->seq - w->flow.our_isn;
	if (p->flags != flags)
		wire_fail(w, "flags 0x%02x, not 0x%02x (seq %u:%u ack %u win %u)", p->flags, flags, got, got + p->payload_len,
			p->ack - w->flow.peer_isn, p->window);
	if (strcmp(seq, "*") != 0) {
		start = (u32)strtoll(seq, NULL, 0);
		end = colon ? (u32)wire_number(w, colon + 1) : start;
		if (got != start || got + p->payload_len != end)
			wire_fail(w, "seq %u:%u, not %u:%u", got, got + p->payload_len, start, end);
	}
	for (u32 i = 0; i < p->payload_len; i++) {
		if (p->payload[i] != wire_pattern(got - !(p->flags & 2) + i))
			wire_fail(w, "payload differs at byte %u", got + i);
	}
	for (u32 i = 3; i < w->words; i++) {
		const char *key = w->word[i];
		u32 v;

		if (*key == '<') {
			options_match(w, p, w->word[i]);
			continue;
		}
		if (strcmp(wire_word(w, ++i), "*") == 0)
			continue;
		v = (u32)wire_number(w, w->word[i]);
		if (strcmp(key, "ack") == 0) {
			if (p->ack - w->flow.peer_isn != v)
				wire_fail(w, "ack %u, not %u", p->ack - w->flow.peer_isn, v);
		} else if (strcmp(key, "win") == 0) {
			if (p->window != v)
				wire_fail(w, "window %u, not %u", p->window, v);
		} else if (strcmp(key, "urg") == 0) {
			if (p->urgent != v)
				wire_fail(w, "urgent pointer %u, not %u", p->urgent, v);
		} else if (strcmp(key, "ttl") == 0) {
			if (p->ttl != v)
				wire_fail(w, "TTL %u, not %u", p->ttl, v);
		} else if (strcmp(key, "df") == 0) {
			if (p->df != v)
				wire_fail(w, "DF %u, not %u", p->df, v);
		} else if (strcmp(key, "tos") == 0) {
			if (p->tos != v)
				wire_fail(w, "TOS %u, not %u", p->tos, v);
		} else {
			wire_fail(w, "'%s' means nothing here", key);
		}
	}
}

static void expect_other(struct wire *w, u64 at, bool timed)
{
	const struct wire_packet *p = next_sent(w, at, timed);

	if (strcmp(w->word[1], "icmp") == 0) {
		struct wire_packet want;

		if (p->proto != PROTO_ICMP)
			wire_fail(w, "a packet of protocol %u, not ICMP", p->proto);
		icmp_type(w, &want, wire_word(w, 2));
		if (p->icmp_type != want.icmp_type || p->icmp_code != want.icmp_code)
			wire_fail(w, "ICMP %u/%u, not %u/%u", p->icmp_type, p->icmp_code, want.icmp_type, want.icmp_code);
		return;
	}
	if (p->proto != PROTO_UDP)
		wire_fail(w, "a packet of protocol %u, not UDP", p->proto);
	if (p->payload_len != (u32)wire_number(w, wire_word(w, 2)))
		wire_fail(w, "a datagram of %u bytes, not %s", p->payload_len, w->word[2]);
	w->flow.our_port = p->sport;
	w->flow.peer_port = p->dport;
}

void wire_inject(struct wire *w)
{
	if (strcmp(wire_word(w, 1), "icmp") == 0)
		inject_icmp(w);
	else if (strcmp(w->word[1], "udp") == 0)
		inject_udp(w);
	else
		inject_tcp(w);
}

void wire_meet(struct wire *w, u64 at, bool timed)
{
	if (strcmp(wire_word(w, 1), "icmp") == 0 || strcmp(w->word[1], "udp") == 0)
		expect_other(w, at, timed);
	else
		expect_tcp(w, at, timed);
}
