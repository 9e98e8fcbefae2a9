/*
 * The interpreter of the wire scripts. A script's lines run in order; the virtual clock moves to each line's time, and every
 * timer of the engine on the way is served at its exact moment. Every packet that the engine sends must be met by an
 * expecting line: one that comes too early, too late, differs, or is not expected fails the script.
 */
#include "tests/lib/wire.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "stack/ip.h"
#include "stack/linux.h"
#include "stack/tcp.h"
#include "stack/tcp_options.h"

enum { WORDS = 48, SOCKS = 64, QUEUE = 4096, FRAME_MAX_BYTES = 70000 };

#define OUR_ADDR  0x0a000002u /* 10.0.0.2 */
#define PEER_ADDR 0x0a000001u /* 10.0.0.1 */

struct sent {
	u64 time_ns;
	u32 len;
	u8 *bytes; /* IPv4 packet */
};

struct named {
	char name[16];
	ref sock;
	u32 sent, received; /* bytes so far, for the pattern */
};

struct flow {
	u16 our_port, peer_port;
	u32 our_isn, peer_isn;
	bool isn_known;
	bool ts_known;
	u32 our_ts; /* of the first segment with a timestamp */
};

struct wire {
	struct stack *s;
	void *memory;
	struct stack_config config;
	struct flow flow;
	struct named sock[SOCKS];
	u32 socks;
	struct sent queue[QUEUE];
	u32 queue_head, queue_tail;
	u64 start_ns, now_ns, tolerance_ns;
	u64 counters[COUNTERS]; /* at the last look */
	int line;
	char *why;
	size_t why_size;
	jmp_buf failed;
	struct wire_packet last; /* the last packet from the engine, for ICMP that quotes it */
	u8 last_bytes[FRAME_MAX_BYTES];
	u32 last_len;
	char *word[WORDS];
	u32 words;
};

static void fail(struct wire *w, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
static void fail(struct wire *w, const char *format, ...)
{
	va_list ap;
	int n = snprintf(w->why, w->why_size, "line %d at %.6f s: ", w->line, (double)(w->now_ns - w->start_ns) / 1e9);

	va_start(ap, format);
	vsnprintf(w->why + n, w->why_size - (size_t)n, format, ap);
	va_end(ap);
	longjmp(w->failed, 1);
}

/* --- the engine's device --- */

static void engine_in(struct wire *w, const u8 *bytes, u32 len, u32 ethertype)
{
	ref r = stack_rx_alloc(w->s);
	struct pkt *p = pkt_get(w->s, r);
	static const u8 peer_mac[6] = {2, 0, 0, 0, 0, 1};
	u8 *at;

	if (!p || !(at = pkt_put(p, len + 14)))
		fail(w, "no packet for the incoming frame");
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
	engine_in(w, reply, 28, ETHERTYPE_ARP);
}

static void take_frame(struct wire *w, const struct stack_piece *pieces, int count, const struct offload *o)
{
	static u8 bytes[FRAME_MAX_BYTES];
	u32 len = 0, sum = 0;
	struct sent *q;

	for (int i = 0; i < count; i++) {
		if (len + pieces[i].len > sizeof(bytes))
			fail(w, "frame of more than %u bytes", (unsigned)sizeof(bytes));
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
		fail(w, "more than %d packets that no line expects", QUEUE);
	q->time_ns = w->now_ns;
	q->len = len - 14;
	q->bytes = malloc(len);
	memcpy(q->bytes, bytes + 14, q->len);
	w->queue_tail++;
}

static void check_invariants(struct wire *w)
{
	for (u32 i = 0; i < slab_touched(w->s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(w->s, SLAB_SOCK, i);
		const char *broken = sk && sk->conn.proto == PROTO_TCP ? tcp_check(w->s, sk) : NULL;

		if (broken)
			fail(w, "invariant broken: %s", broken);
	}
}

/* What the engine has to send leaves; done after every entry. */
static void settle(struct wire *w)
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
static void run_to(struct wire *w, u64 t, bool until_sent)
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
		settle(w);
	}
	w->now_ns = MAX(w->now_ns, t);
	stack_clock(w->s, w->now_ns);
	stack_advance(w->s);
	settle(w);
}

static void none_waiting(struct wire *w)
{
	struct wire_packet *p;
	struct sent *q = &w->queue[w->queue_head % QUEUE];
	u32 src, dst;

	if (w->queue_head == w->queue_tail)
		return;
	p = malloc(sizeof(*p));
	wire_parse(p, q->bytes, q->len, &src, &dst);
	if (p->proto == PROTO_TCP)
		fail(w, "unexpected packet at %.6f s: flags 0x%02x seq %u:%u ack %u win %u",
			(double)(q->time_ns - w->start_ns) / 1e9, p->flags, p->seq - w->flow.our_isn,
			p->seq - w->flow.our_isn + p->payload_len, p->ack - w->flow.peer_isn, p->window);
	fail(w, "unexpected packet of protocol %u, type %u/%u", p->proto, p->icmp_type, p->icmp_code);
}

/* --- words --- */

static s64 number(struct wire *w, const char *text)
{
	char *end;
	s64 v = strtoll(text, &end, 0);

	if (end == text || *end)
		fail(w, "'%s' is no number", text);
	return v;
}

static const struct {
	const char *name;
	int value;
} errnos[] = {{"EAGAIN", EAGAIN}, {"EINPROGRESS", EINPROGRESS}, {"ECONNREFUSED", ECONNREFUSED}, {"ECONNRESET", ECONNRESET},
	{"EPIPE", EPIPE}, {"ETIMEDOUT", ETIMEDOUT}, {"ENOTCONN", ENOTCONN}, {"EISCONN", EISCONN}, {"EINVAL", EINVAL},
	{"EADDRINUSE", EADDRINUSE}, {"EHOSTUNREACH", EHOSTUNREACH}, {"ENETUNREACH", ENETUNREACH}, {"EALREADY", EALREADY},
	{"EMSGSIZE", EMSGSIZE}, {"ECONNABORTED", ECONNABORTED}, {"ENOPROTOOPT", ENOPROTOOPT}, {"ENOBUFS", ENOBUFS},
	{"EACCES", EACCES}, {"EPROTO", EPROTO}, {"EADDRNOTAVAIL", EADDRNOTAVAIL}, {"EDESTADDRREQ", EDESTADDRREQ},
	{"EOPNOTSUPP", EOPNOTSUPP}, {"EBUSY", EBUSY}};

static s64 result_word(struct wire *w, const char *text)
{
	for (u32 i = 0; i < ARRAY_LEN(errnos); i++) {
		if (strcmp(text + (*text == '-'), errnos[i].name) == 0)
			return *text == '-' ? -errnos[i].value : errnos[i].value;
	}
	return number(w, text);
}

/* What stands behind `=` at the end of the line, or `otherwise` when nothing does. The words before it stay. */
static s64 expected_result(struct wire *w, s64 otherwise)
{
	if (w->words >= 2 && strcmp(w->word[w->words - 2], "=") == 0) {
		s64 v = result_word(w, w->word[w->words - 1]);

		w->words -= 2;
		return v;
	}
	return otherwise;
}

static void expect_result(struct wire *w, s64 got, s64 want)
{
	if (got != want)
		fail(w, "the call gave %" PRId64 ", not %" PRId64, got, want);
}

static const char *word(struct wire *w, u32 i)
{
	if (i >= w->words)
		fail(w, "a word is missing");
	return w->word[i];
}

static struct named *named(struct wire *w, const char *name)
{
	for (u32 i = 0; i < w->socks; i++) {
		if (strcmp(w->sock[i].name, name) == 0)
			return &w->sock[i];
	}
	fail(w, "no socket '%s'", name);
}

static struct named *name_new(struct wire *w, const char *name, ref sock)
{
	struct named *n = &w->sock[w->socks++];

	if (w->socks > SOCKS)
		fail(w, "too many sockets");
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->sock = sock;
	n->sent = n->received = 0;
	return n;
}

static struct endpoint endpoint_word(struct wire *w, const char *text)
{
	struct endpoint e = {.addr = addr_v4(0)};
	const char *colon = strrchr(text, ':');
	unsigned a, b, c, d;

	if (colon) {
		if (sscanf(text, "%u.%u.%u.%u", &a, &b, &c, &d) != 4)
			fail(w, "'%s' is no address", text);
		e.addr = addr_v4(a << 24 | b << 16 | c << 8 | d);
		text = colon + 1;
	}
	e.port = (u16)number(w, text);
	return e;
}

/* --- packet lines --- */

static u8 tcp_flags(struct wire *w, const char *text)
{
	static const char letters[] = "FSRPAUEC";
	u8 flags = 0;

	for (; *text; text++) {
		const char *at = strchr(letters, *text);

		if (*text == '.')
			continue;
		if (!at)
			fail(w, "flag '%c' is none of %s", *text, letters);
		flags |= (u8)(1u << (at - letters));
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
	} else if (strncmp(text, "hex ", 4) == 0) {
		u32 n = 0;

		for (text += 4; n < sizeof(bytes) && sscanf(text, "%2x%n", &a, &used) == 1; text += used)
			bytes[n++] = (u8)a;
		put_option(p, bytes, n);
	} else {
		fail(w, "option '%s' is unknown", text);
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
		fail(w, "'%s' is no type/code", text);
	p->icmp_type = (u8)type;
	p->icmp_code = (u8)code;
}

/* `< icmp 3/4 info 1000 [quote-seq N] [quote-len N]`: about the last packet that the engine sent. `< icmp 8/0 len N`: plain. */
static void inject_icmp(struct wire *w)
{
	struct wire_packet *p = calloc(1, sizeof(*p));
	static u8 bytes[FRAME_MAX_BYTES];
	u32 quote = 28;

	p->proto = PROTO_ICMP;
	icmp_type(w, p, word(w, 2));
	memcpy(p->payload, w->last_bytes, MIN(w->last_len, 548u));
	p->payload_len = MIN(quote, w->last_len);
	for (u32 i = 3; i + 1 < w->words; i += 2) {
		u32 v = (u32)number(w, w->word[i + 1]);

		if (strcmp(w->word[i], "info") == 0)
			p->icmp_info = v;
		else if (strcmp(w->word[i], "quote-seq") == 0)
			store(p->payload + 24, v + w->flow.our_isn);
		else if (strcmp(w->word[i], "quote-len") == 0)
			p->payload_len = MIN(v, w->last_len);
		else if (strcmp(w->word[i], "len") == 0)
			payload_pattern(p, 0, v);
		else
			fail(w, "'%s' means nothing here", w->word[i]);
	}
	engine_in(w, bytes, wire_build(bytes, p, PEER_ADDR, OUR_ADDR), ETHERTYPE_IP4);
	free(p);
	settle(w);
}

/* `< udp 100 from 5000 to 53` */
static void inject_udp(struct wire *w)
{
	struct wire_packet *p = calloc(1, sizeof(*p));
	static u8 bytes[FRAME_MAX_BYTES];

	p->proto = PROTO_UDP;
	p->sport = w->flow.peer_port;
	p->dport = w->flow.our_port;
	payload_pattern(p, 0, (u32)number(w, word(w, 2)));
	for (u32 i = 3; i + 1 < w->words; i += 2) {
		if (strcmp(w->word[i], "from") == 0)
			p->sport = (u16)number(w, w->word[i + 1]);
		else if (strcmp(w->word[i], "to") == 0)
			p->dport = (u16)number(w, w->word[i + 1]);
	}
	engine_in(w, bytes, wire_build(bytes, p, PEER_ADDR, OUR_ADDR), ETHERTYPE_IP4);
	free(p);
	settle(w);
}

/* `< FLAGS seq[:end] [ack N] [win N] [urg N] [doff N] [sport N] [dport N] [csum bad] [from A] [<options>]` */
static void inject_tcp(struct wire *w)
{
	struct wire_packet *p = calloc(1, sizeof(*p));
	static u8 bytes[FRAME_MAX_BYTES];
	const char *seq = word(w, 2);
	u32 start, end, from = PEER_ADDR;
	const char *colon = strchr(seq, ':');

	p->proto = PROTO_TCP;
	p->flags = tcp_flags(w, word(w, 1));
	start = (u32)strtoll(seq, NULL, 0);
	end = colon ? (u32)number(w, colon + 1) : start;
	p->seq = start + w->flow.peer_isn;
	p->window = 65535;
	p->sport = w->flow.peer_port;
	p->dport = w->flow.our_port;
	payload_pattern(p, start - 1, end - 1);
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
			from = (u32)number(w, word(w, i));
		else if (strcmp(key, "ack") == 0)
			p->ack = (u32)number(w, word(w, i)) + w->flow.our_isn;
		else if (strcmp(key, "win") == 0)
			p->window = (u16)number(w, word(w, i));
		else if (strcmp(key, "urg") == 0)
			p->urgent = (u16)number(w, word(w, i));
		else if (strcmp(key, "doff") == 0)
			p->doff = (u8)number(w, word(w, i));
		else if (strcmp(key, "sport") == 0)
			p->sport = (u16)number(w, word(w, i));
		else if (strcmp(key, "dport") == 0)
			p->dport = (u16)number(w, word(w, i));
		else if (strcmp(key, "tos") == 0)
			p->tos = (u8)number(w, word(w, i));
		else
			fail(w, "'%s' means nothing here", key);
	}
	engine_in(w, bytes, wire_build(bytes, p, from, OUR_ADDR), ETHERTYPE_IP4);
	free(p);
	settle(w);
}

/* The next packet of the engine, at `at` or now; NULL was a failure. */
static struct wire_packet *next_sent(struct wire *w, u64 at, bool timed)
{
	static struct wire_packet p;
	struct sent *q;
	u32 src, dst;

	if (timed)
		run_to(w, at + w->tolerance_ns, true);
	else
		run_to(w, w->now_ns, false);
	if (w->queue_head == w->queue_tail)
		fail(w, "no packet was sent");
	q = &w->queue[w->queue_head++ % QUEUE];
	if (timed && q->time_ns + w->tolerance_ns < at)
		fail(w, "the packet came at %.6f s, before its time", (double)(q->time_ns - w->start_ns) / 1e9);
	if (!wire_parse(&p, q->bytes, q->len, &src, &dst))
		fail(w, "the packet is malformed, or a checksum is wrong");
	memcpy(w->last_bytes, q->bytes, q->len);
	w->last_len = q->len;
	free(q->bytes);
	if (src != OUR_ADDR)
		fail(w, "the packet's source address is not ours");
	w->last = p;
	return &p;
}

static void options_text(struct wire *w, const struct wire_packet *p, char *out, size_t size)
{
	struct tcp_options o;
	size_t n = 0;

	memset(&o, 0, sizeof(o));
	tcp_options_parse(&o, p->options, p->options_len, true);
	out[0] = 0;
	if (o.flags & TCP_OPT_MSS)
		n += (size_t)snprintf(out + n, size - n, ",mss %u", o.mss);
	if (o.flags & TCP_OPT_SACK_OK)
		n += (size_t)snprintf(out + n, size - n, ",sackok");
	if (o.flags & TCP_OPT_TIMESTAMP) {
		if (!w->flow.ts_known) {
			w->flow.our_ts = o.tsval;
			w->flow.ts_known = true;
		}
		n += (size_t)snprintf(out + n, size - n, ",ts %u %u", o.tsval - w->flow.our_ts, o.tsecr);
	}
	if (o.flags & TCP_OPT_WSCALE)
		n += (size_t)snprintf(out + n, size - n, ",ws %u", o.wscale);
	if (o.flags & TCP_OPT_SACK) {
		n += (size_t)snprintf(out + n, size - n, ",sack");
		for (u32 i = 0; i < o.sack_count; i++)
			n += (size_t)snprintf(out + n, size - n, " %u:%u", o.sack[i].start - w->flow.peer_isn,
				o.sack[i].end - w->flow.peer_isn);
	}
	if (n)
		memmove(out, out + 1, n);
}

/* `<mss 1460,...>`: exactly these; an item that ends in `*` matches any value of its option. */
static void options_match(struct wire *w, const struct wire_packet *p, char *want)
{
	char got[256], *g, *x, *save_g, *save_w;

	options_text(w, p, got, sizeof(got));
	want[strlen(want) - 1] = 0;
	g = strtok_r(got, ",", &save_g);
	x = strtok_r(want + 1, ",", &save_w);
	while (g || x) {
		size_t n = x ? strlen(x) : 0;

		if (!g || !x || (x[n - 1] == '*' ? strncmp(g, x, n - 1) != 0 : strcmp(g, x) != 0))
			fail(w, "option '%s', not '%s'", g ? g : "none", x ? x : "none");
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
	const char *seq = word(w, 2), *colon = strchr(seq, ':');
	u8 flags = tcp_flags(w, word(w, 1));
	u32 start, end, got;

	if (p->proto != PROTO_TCP)
		fail(w, "a packet of protocol %u, not TCP", p->proto);
	learn_flow(w, p);
	got = p->seq - w->flow.our_isn;
	if (p->flags != flags)
		fail(w, "flags 0x%02x, not 0x%02x (seq %u:%u ack %u win %u)", p->flags, flags, got, got + p->payload_len,
			p->ack - w->flow.peer_isn, p->window);
	if (strcmp(seq, "*") != 0) {
		start = (u32)strtoll(seq, NULL, 0);
		end = colon ? (u32)number(w, colon + 1) : start;
		if (got != start || got + p->payload_len != end)
			fail(w, "seq %u:%u, not %u:%u", got, got + p->payload_len, start, end);
	}
	for (u32 i = 0; i < p->payload_len; i++) {
		if (p->payload[i] != wire_pattern(got - 1 + i))
			fail(w, "payload differs at byte %u", got + i);
	}
	for (u32 i = 3; i < w->words; i++) {
		const char *key = w->word[i];
		u32 v;

		if (*key == '<') {
			options_match(w, p, w->word[i]);
			continue;
		}
		v = (u32)number(w, word(w, ++i));
		if (strcmp(key, "ack") == 0) {
			if (p->ack - w->flow.peer_isn != v)
				fail(w, "ack %u, not %u", p->ack - w->flow.peer_isn, v);
		} else if (strcmp(key, "win") == 0) {
			if (p->window != v)
				fail(w, "window %u, not %u", p->window, v);
		} else if (strcmp(key, "urg") == 0) {
			if (p->urgent != v)
				fail(w, "urgent pointer %u, not %u", p->urgent, v);
		} else if (strcmp(key, "ttl") == 0) {
			if (p->ttl != v)
				fail(w, "TTL %u, not %u", p->ttl, v);
		} else if (strcmp(key, "tos") == 0) {
			if (p->tos != v)
				fail(w, "TOS %u, not %u", p->tos, v);
		} else {
			fail(w, "'%s' means nothing here", key);
		}
	}
}

static void expect_other(struct wire *w, u64 at, bool timed)
{
	const struct wire_packet *p = next_sent(w, at, timed);

	if (strcmp(w->word[1], "icmp") == 0) {
		struct wire_packet want;

		if (p->proto != PROTO_ICMP)
			fail(w, "a packet of protocol %u, not ICMP", p->proto);
		icmp_type(w, &want, word(w, 2));
		if (p->icmp_type != want.icmp_type || p->icmp_code != want.icmp_code)
			fail(w, "ICMP %u/%u, not %u/%u", p->icmp_type, p->icmp_code, want.icmp_type, want.icmp_code);
		return;
	}
	if (p->proto != PROTO_UDP)
		fail(w, "a packet of protocol %u, not UDP", p->proto);
	if (p->payload_len != (u32)number(w, word(w, 2)))
		fail(w, "a datagram of %u bytes, not %s", p->payload_len, w->word[2]);
	w->flow.our_port = p->sport;
	w->flow.peer_port = p->dport;
}

/* --- socket calls --- */

static void call_send(struct wire *w)
{
	s64 want = expected_result(w, INT64_MIN), n = 0;
	struct named *n_ = named(w, word(w, 1));
	u64 len = (u64)number(w, word(w, 2)), done = 0;
	static struct plan plan;

	while (done < len || !len) {
		memset(&plan, 0, sizeof(plan));
		for (u32 i = 3; i < w->words; i++) {
			if (strcmp(w->word[i], "oob") == 0)
				plan.flags |= LX_MSG_OOB;
			else if (strcmp(w->word[i], "more") == 0)
				plan.flags |= LX_MSG_MORE;
		}
		plan.flags |= LX_MSG_DONTWAIT;
		n = sock_send_reserve(w->s, n_->sock, &plan, len - done);
		if (n < 0)
			break;
		for (u32 i = 0; i < plan.count; i++) {
			u8 *at = sock_span(w->s, &plan.span[i]);

			for (u32 k = 0; k < plan.span[i].len; k++)
				at[k] = wire_pattern(n_->sent++);
		}
		n = sock_send_commit(w->s, &plan, (u32)n);
		settle(w);
		if (n <= 0)
			break;
		done += (u64)n;
	}
	settle(w);
	expect_result(w, done ? (s64)done : n, want == INT64_MIN ? (s64)len : want);
}

static void call_recv(struct wire *w)
{
	s64 want = expected_result(w, INT64_MIN), n;
	struct named *n_ = named(w, word(w, 1));
	u64 len = (u64)number(w, word(w, 2)), done = 0;
	static struct plan plan;

	do {
		memset(&plan, 0, sizeof(plan));
		for (u32 i = 3; i < w->words; i++) {
			if (strcmp(w->word[i], "peek") == 0)
				plan.flags |= LX_MSG_PEEK;
			else if (strcmp(w->word[i], "oob") == 0)
				plan.flags |= LX_MSG_OOB;
		}
		n = sock_recv_take(w->s, n_->sock, &plan, len - done, 1);
		if (n <= 0 && plan.kind == PLAN_NONE)
			break;
		for (u32 i = 0, at = n_->received; i < plan.count && !(plan.flags & LX_MSG_OOB); i++) {
			const u8 *p = sock_span(w->s, &plan.span[i]);

			for (u32 k = 0; k < plan.span[i].len; k++, at++) {
				if (p[k] != wire_pattern(at))
					fail(w, "received byte %u differs", at);
			}
		}
		if (!(plan.flags & (LX_MSG_PEEK | LX_MSG_OOB)))
			n_->received += (u32)n;
		n = sock_recv_commit(w->s, &plan, (u32)n);
		done += (u64)n;
		settle(w);
		if (plan.flags & (LX_MSG_PEEK | LX_MSG_OOB))
			break;
	} while (n > 0 && done < len);
	expect_result(w, done ? (s64)done : n, want == INT64_MIN ? (s64)len : want);
}

static void call_open(struct wire *w)
{
	bool udp = strcmp(word(w, 3), "udp") == 0;
	int error = 0;
	ref r = sock_open(w->s, FAMILY_INET, udp ? LX_SOCK_DGRAM : LX_SOCK_STREAM, 0, &error);

	if (!r)
		fail(w, "socket gave %d", error);
	sock_get(w->s, r)->fd_flags = LX_O_NONBLOCK;
	name_new(w, word(w, 0), r);
}

static void call_accept(struct wire *w)
{
	int error = 0;
	ref r = sock_accept(w->s, named(w, word(w, 3))->sock, &error);

	if (!r)
		fail(w, "accept gave %d", error);
	name_new(w, word(w, 0), r);
	settle(w);
}

static const struct {
	const char *name;
	int level, option;
} options[] = {{"TCP_NODELAY", LX_SOL_TCP, LX_TCP_NODELAY}, {"TCP_CORK", LX_SOL_TCP, LX_TCP_CORK}, {"TCP_MAXSEG", LX_SOL_TCP, LX_TCP_MAXSEG},
	{"TCP_KEEPIDLE", LX_SOL_TCP, LX_TCP_KEEPIDLE}, {"TCP_KEEPINTVL", LX_SOL_TCP, LX_TCP_KEEPINTVL}, {"TCP_KEEPCNT", LX_SOL_TCP, LX_TCP_KEEPCNT},
	{"TCP_SYNCNT", LX_SOL_TCP, LX_TCP_SYNCNT}, {"TCP_LINGER2", LX_SOL_TCP, LX_TCP_LINGER2}, {"TCP_USER_TIMEOUT", LX_SOL_TCP, LX_TCP_USER_TIMEOUT},
	{"TCP_QUICKACK", LX_SOL_TCP, LX_TCP_QUICKACK}, {"TCP_DEFER_ACCEPT", LX_SOL_TCP, LX_TCP_DEFER_ACCEPT},
	{"TCP_WINDOW_CLAMP", LX_SOL_TCP, LX_TCP_WINDOW_CLAMP}, {"TCP_NOTSENT_LOWAT", LX_SOL_TCP, LX_TCP_NOTSENT_LOWAT},
	{"SO_KEEPALIVE", LX_SOL_SOCKET, LX_SO_KEEPALIVE}, {"SO_RCVBUF", LX_SOL_SOCKET, LX_SO_RCVBUF}, {"SO_SNDBUF", LX_SOL_SOCKET, LX_SO_SNDBUF},
	{"SO_OOBINLINE", LX_SOL_SOCKET, LX_SO_OOBINLINE}, {"SO_REUSEADDR", LX_SOL_SOCKET, LX_SO_REUSEADDR},
	{"SO_RCVLOWAT", LX_SOL_SOCKET, LX_SO_RCVLOWAT}, {"SO_LINGER", LX_SOL_SOCKET, LX_SO_LINGER}, {"IP_TTL", LX_SOL_IP, LX_IP_TTL},
	{"IP_TOS", LX_SOL_IP, LX_IP_TOS}, {"IP_MTU", LX_SOL_IP, LX_IP_MTU}, {"IP_RECVERR", LX_SOL_IP, LX_IP_RECVERR},
	{"IP_MTU_DISCOVER", LX_SOL_IP, LX_IP_MTU_DISCOVER}, {"SO_REUSEPORT", LX_SOL_SOCKET, LX_SO_REUSEPORT}};

static void call_option(struct wire *w, bool set)
{
	s64 want = expected_result(w, set ? 0 : INT64_MIN);
	ref sock = named(w, word(w, 1))->sock;
	int value[2] = {0, 0};
	u32 len = sizeof(value[0]), i;

	for (i = 0; i < ARRAY_LEN(options) && strcmp(options[i].name, word(w, 2)) != 0; i++)
		;
	if (i == ARRAY_LEN(options))
		fail(w, "option '%s' is not known here", w->word[2]);
	if (set) {
		for (u32 k = 3; k < w->words && k < 5; k++, len = (k - 3) * 4)
			value[k - 3] = (int)number(w, w->word[k]);
		expect_result(w, sock_setopt(w->s, sock, options[i].level, options[i].option, value, w->words > 4 ? 8 : 4), want);
	} else {
		int err = sock_getopt(w->s, sock, options[i].level, options[i].option, value, &len);

		expect_result(w, err ? err : value[0], want);
	}
	settle(w);
}

static u32 event_bits(struct wire *w, char *text)
{
	static const struct {
		const char *name;
		u32 bit;
	} bits[] = {{"IN", EV_IN}, {"OUT", EV_OUT}, {"PRI", EV_PRI}, {"ERR", EV_ERR}, {"HUP", EV_HUP}, {"RDHUP", EV_RDHUP}, {"0", 0}};
	char *save, *t;
	u32 mask = 0, i;

	for (t = strtok_r(text, "|", &save); t; t = strtok_r(NULL, "|", &save)) {
		for (i = 0; i < ARRAY_LEN(bits) && strcmp(t, bits[i].name) != 0; i++)
			;
		if (i == ARRAY_LEN(bits))
			fail(w, "'%s' is no event", t);
		mask |= bits[i].bit;
	}
	return mask;
}

static void call_state(struct wire *w)
{
	static const char *const names[] = {"", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT",
		"CLOSED", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"};
	struct sock *sk = sock_get(w->s, named(w, word(w, 1))->sock);
	struct tcp *t = sk ? slab_get(w->s, SLAB_TCP, sk->tcp) : NULL;
	const char *got = t && t->state < ARRAY_LEN(names) ? names[t->state] : "CLOSED";

	if (strcmp(got, word(w, 2)) != 0)
		fail(w, "state %s, not %s", got, w->word[2]);
}

/* `info c cwnd = 10`: fields of the control block. */
static void call_info(struct wire *w)
{
	s64 want = expected_result(w, 0), got = 0;
	struct sock *sk = sock_get(w->s, named(w, word(w, 1))->sock);
	struct tcp *t = sk ? slab_get(w->s, SLAB_TCP, sk->tcp) : NULL;
	const char *field = word(w, 2);

	if (!t)
		fail(w, "the socket has no connection");
	if (strcmp(field, "cwnd") == 0)
		got = t->cwnd;
	else if (strcmp(field, "ssthresh") == 0)
		got = t->ssthresh;
	else if (strcmp(field, "mss") == 0)
		got = t->mss;
	else if (strcmp(field, "backoff") == 0)
		got = t->backoff;
	else
		fail(w, "field '%s' is unknown", field);
	expect_result(w, got, want);
}

/* `count tcp_csum +1`: since the counter was last looked at, or since the start. */
static void call_count(struct wire *w)
{
	int c = counter_by_name(word(w, 1));
	u64 got;

	if (c < 0)
		fail(w, "no counter '%s'", w->word[1]);
	got = counter_read(w->s, (enum counter)c) - w->counters[c];
	w->counters[c] += got;
	if (got != (u64)number(w, word(w, 2)))
		fail(w, "%s rose by %" PRIu64 ", not %s", w->word[1], got, w->word[2]);
}

static void call(struct wire *w)
{
	const char *verb = word(w, 0);
	struct endpoint e;
	s64 want;

	if (w->words > 2 && strcmp(w->word[1], "=") == 0) {
		if (strcmp(w->word[2], "socket") == 0)
			call_open(w);
		else if (strcmp(w->word[2], "accept") == 0)
			call_accept(w);
		else
			fail(w, "'%s' gives no socket", w->word[2]);
	} else if (strcmp(verb, "bind") == 0) {
		want = expected_result(w, 0);
		e = endpoint_word(w, word(w, 2));
		expect_result(w, sock_bind(w->s, named(w, word(w, 1))->sock, &e), want);
		w->flow.our_port = e.port;
	} else if (strcmp(verb, "listen") == 0) {
		want = expected_result(w, 0);
		expect_result(w, sock_listen(w->s, named(w, word(w, 1))->sock, (int)number(w, word(w, 2))), want);
	} else if (strcmp(verb, "accept") == 0) {
		int error = 0;

		want = expected_result(w, -EAGAIN);
		if (sock_accept(w->s, named(w, word(w, 1))->sock, &error))
			fail(w, "accept gave a connection");
		expect_result(w, error, want);
	} else if (strcmp(verb, "connect") == 0) {
		want = expected_result(w, -EINPROGRESS);
		e = endpoint_word(w, word(w, 2));
		expect_result(w, sock_connect(w->s, named(w, word(w, 1))->sock, &e), want);
		settle(w);
	} else if (strcmp(verb, "send") == 0) {
		call_send(w);
	} else if (strcmp(verb, "recv") == 0) {
		call_recv(w);
	} else if (strcmp(verb, "shutdown") == 0) {
		const char *how = word(w, 2);

		want = expected_result(w, 0);
		expect_result(w, sock_shutdown(w->s, named(w, word(w, 1))->sock,
			strcmp(how, "RD") == 0 ? 0 : strcmp(how, "WR") == 0 ? 1 : 2), want);
		settle(w);
	} else if (strcmp(verb, "close") == 0) {
		sock_close(w->s, named(w, word(w, 1))->sock);
		settle(w);
	} else if (strcmp(verb, "setopt") == 0) {
		call_option(w, true);
	} else if (strcmp(verb, "getopt") == 0) {
		call_option(w, false);
	} else if (strcmp(verb, "error") == 0) {
		want = expected_result(w, 0);
		expect_result(w, sock_error(w->s, named(w, word(w, 1))->sock), want);
	} else if (strcmp(verb, "poll") == 0) {
		u32 mask = sock_poll(w->s, named(w, word(w, 1))->sock);

		if (mask != event_bits(w, w->word[3 < w->words ? 3 : w->words - 1]))
			fail(w, "poll mask 0x%x is another one", mask);
	} else if (strcmp(verb, "state") == 0) {
		call_state(w);
	} else if (strcmp(verb, "info") == 0) {
		call_info(w);
	} else if (strcmp(verb, "count") == 0) {
		call_count(w);
	} else if (strcmp(verb, "gone") == 0) {
		if (sock_get(w->s, named(w, word(w, 1))->sock))
			fail(w, "the socket still exists");
	} else if (strcmp(verb, "idle") == 0) {
		if (!stack_idle(w->s))
			fail(w, "the host is not idle");
	} else if (strcmp(verb, "flow") == 0) { /* a further connection from another port */
		u16 our = w->flow.our_port;

		memset(&w->flow, 0, sizeof(w->flow));
		w->flow.our_port = our;
		w->flow.peer_port = (u16)number(w, word(w, 1));
		w->flow.peer_isn = w->words > 2 ? (u32)number(w, w->word[2]) : 1000000;
	} else {
		fail(w, "'%s' is unknown", verb);
	}
}

/* --- settings before the engine starts --- */

static void set_tunable(struct wire *w, const char *key, u32 v)
{
	struct stack_tunables *t = &w->config.tunables;

	if (strcmp(key, "mtu") == 0)
		w->config.mtu = (u16)v;
	else if (strcmp(key, "gso") == 0)
		w->config.features = v ? DEVICE_CSUM | DEVICE_TSO4 : 0;
	else if (strcmp(key, "peer_isn") == 0)
		w->flow.peer_isn = v;
	else if (strcmp(key, "peer_port") == 0)
		w->flow.peer_port = (u16)v;
	else if (strcmp(key, "seed") == 0)
		w->config.seed[0] = (u8)v;
	else if (strcmp(key, "tolerance_us") == 0)
		w->tolerance_ns = v * NS_PER_US;
	else if (strcmp(key, "tcp_timestamps") == 0)
		t->tcp_timestamps = (u8)v;
	else if (strcmp(key, "tcp_sack") == 0)
		t->tcp_sack = (u8)v;
	else if (strcmp(key, "tcp_window_scaling") == 0)
		t->tcp_window_scaling = (u8)v;
	else if (strcmp(key, "tcp_syn_retries") == 0)
		t->tcp_syn_retries = (u8)v;
	else if (strcmp(key, "tcp_synack_retries") == 0)
		t->tcp_synack_retries = (u8)v;
	else if (strcmp(key, "tcp_retries2") == 0)
		t->tcp_retries2 = (u8)v;
	else if (strcmp(key, "tcp_fin_timeout") == 0)
		t->tcp_fin_timeout_s = v;
	else if (strcmp(key, "tcp_rfc1337") == 0)
		t->tcp_rfc1337 = (u8)v;
	else if (strcmp(key, "tcp_abort_on_overflow") == 0)
		t->tcp_abort_on_overflow = (u8)v;
	else if (strcmp(key, "tcp_slow_start_after_idle") == 0)
		t->tcp_slow_start_after_idle = (u8)v;
	else if (strcmp(key, "tcp_rmem_default") == 0)
		t->tcp_rmem[1] = v;
	else if (strcmp(key, "tcp_rmem_max") == 0)
		t->tcp_rmem[2] = v;
	else if (strcmp(key, "tcp_wmem_default") == 0)
		t->tcp_wmem[1] = v;
	else if (strcmp(key, "somaxconn") == 0)
		t->somaxconn = v;
	else if (strcmp(key, "tcp_max_syn_backlog") == 0)
		t->tcp_max_syn_backlog = v;
	else
		fail(w, "setting '%s' is unknown", key);
}

static void start(struct wire *w)
{
	u64 size = MAX(stack_min_size(), 64ull << 20);

	if (w->s)
		return;
	w->memory = aligned_alloc(4096, size);
	memset(w->memory, 0, size);
	w->config.now_ns = w->now_ns;
	w->s = stack_init(w->memory, size, size, &w->config);
	if (!w->s)
		fail(w, "the engine does not start");
	settle(w);
	while (w->queue_head != w->queue_tail) /* the announcement of our address */
		free(w->queue[w->queue_head++ % QUEUE].bytes);
}

/* --- lines --- */

/* Splits at blanks; `<...>` stays one word unless it is the mark of an incoming packet. */
static void split(struct wire *w, char *line)
{
	w->words = 0;
	while (*line) {
		while (isspace((unsigned char)*line))
			*line++ = 0;
		if (!*line || *line == '#')
			break;
		if (w->words == WORDS)
			fail(w, "too many words");
		w->word[w->words++] = line;
		if (*line == '<' && line[1] && !isspace((unsigned char)line[1])) {
			while (*line && *line != '>')
				line++;
			if (*line)
				line++;
			continue;
		}
		while (*line && !isspace((unsigned char)*line))
			line++;
	}
}

static void run_line(struct wire *w)
{
	bool timed = w->word[0][0] == '+' || w->word[0][0] == '@';
	u64 at = w->now_ns;

	if (strcmp(w->word[0], "set") == 0) {
		if (w->s)
			fail(w, "a setting comes before everything else");
		set_tunable(w, word(w, 1), (u32)number(w, word(w, 2)));
		return;
	}
	if (strcmp(w->word[0], "clause") == 0)
		return;
	start(w);
	if (timed) {
		double seconds = strtod(w->word[0] + 1, NULL);

		at = (w->word[0][0] == '@' ? w->start_ns : w->now_ns) + (u64)(seconds * 1e9 + 0.5);
		w->words--;
		memmove(&w->word[0], &w->word[1], w->words * sizeof(w->word[0]));
	}
	if (strcmp(word(w, 0), ">") == 0) {
		if (strcmp(word(w, 1), "icmp") == 0 || strcmp(w->word[1], "udp") == 0)
			expect_other(w, at, timed);
		else
			expect_tcp(w, at, timed);
		return;
	}
	run_to(w, w->now_ns, false);
	if (strcmp(w->word[0], "quiet") == 0)
		at = w->now_ns + (u64)(strtod(word(w, 1), NULL) * 1e9);
	none_waiting(w);
	run_to(w, at, true);
	none_waiting(w);
	if (strcmp(w->word[0], "quiet") == 0)
		return;
	if (strcmp(w->word[0], "<") != 0)
		call(w);
	else if (strcmp(word(w, 1), "icmp") == 0)
		inject_icmp(w);
	else if (strcmp(w->word[1], "udp") == 0)
		inject_udp(w);
	else
		inject_tcp(w);
}

static void run_file(struct wire *w, FILE *file)
{
	char line[1024];

	while (fgets(line, sizeof(line), file)) {
		w->line++;
		split(w, line);
		if (w->words)
			run_line(w);
	}
	if (!w->s)
		fail(w, "the script is empty");
	run_to(w, w->now_ns, false);
	none_waiting(w);
}

bool wire_run(const char *path, char *why, size_t why_size)
{
	struct wire *w = calloc(1, sizeof(*w));
	FILE *file = fopen(path, "r");
	volatile bool passed = false;

	snprintf(why, why_size, "cannot be read");
	w->why = why;
	w->why_size = why_size;
	w->start_ns = w->now_ns = 1000 * NS_PER_S;
	w->tolerance_ns = NS_PER_MS;
	stack_default_tunables(&w->config.tunables);
	memcpy(w->config.device_name, "tap0", 5);
	memcpy(w->config.mac, "\x02\0\0\0\0\x02", 6);
	w->config.mtu = 1500;
	w->config.addr = addr_v4(OUR_ADDR);
	w->config.prefix_len = 24;
	w->config.gateway = addr_v4(PEER_ADDR);
	w->flow.peer_isn = 1000000;
	w->flow.peer_port = 40000;
	if (file && setjmp(w->failed) == 0) {
		run_file(w, file);
		passed = true;
	}
	if (file)
		fclose(file);
	while (w->queue_head != w->queue_tail)
		free(w->queue[w->queue_head++ % QUEUE].bytes);
	free(w->memory);
	free(w);
	return passed;
}
