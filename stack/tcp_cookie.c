/*
 * SYN cookies (RFC 4987 3.6): a listener whose SYN queue is full answers with a SYN-ACK that holds
 * all it would have to remember, and makes the connection out of the last ACK.
 *
 * The initial sequence number is that of Linux: a keyed hash of the four-tuple, plus the peer's
 * number, plus a count of minutes in the upper 8 bits, plus in the lower 24 another keyed hash, of
 * the tuple and the minute, plus the index of the peer's MSS in a table of four. The last ACK
 * returns it: it is ours if the minute is this one or the one before and the difference to the
 * hash is an index of the table, which a guess meets once in 2^29. What the SYN has offered besides
 * travels in the low 6 bits of the timestamp that the peer echoes: window scale (15: none), SACK,
 * ECN; without timestamps there is none of these.
 *
 * Cookies are sent while the queue is full alone (tcp_syncookies 1; 0: never, 2: always), and taken
 * for two minutes after the last one.
 */
#include <string.h>

#include "stack/bytes.h"
#include "stack/tcp_conn.h"

#define COOKIE_MINUTE_NS (60 * NS_PER_S)
#define COOKIE_MINUTES	 2u
#define COOKIE_LOW	 0xffffffu
#define STAMP_BITS	 0x3fu
#define STAMP_WSCALE	 0x0fu
#define STAMP_SACK	 0x10u
#define STAMP_ECN	 0x20u

static const u16 cookie_mss[] = {536, 1300, 1440, 1460};

enum tcp_cookie_use { COOKIE_BASE, COOKIE_MINUTE };

static u32 cookie_hash(const struct stack *s, const struct endpoint *local,
	const struct endpoint *remote, u32 minute, enum tcp_cookie_use use)
{
	u8 in[41];

	memcpy(in, local->addr.b, 16);
	memcpy(in + 16, remote->addr.b, 16);
	put16(in + 32, local->port);
	put16(in + 34, remote->port);
	put32(in + 36, minute);
	in[40] = (u8)use;
	return (u32)siphash(&s->cookie_key, in, sizeof(in));
}

static u32 cookie_minute(const struct stack *s)
{
	return (u32)(s->now_ns / COOKIE_MINUTE_NS);
}

static u32 cookie_make(const struct stack *s, const struct tcp_request *req)
{
	u32 minute = cookie_minute(s), index = (u32)ARRAY_LEN(cookie_mss) - 1;
	const struct endpoint *local = &req->conn.local, *remote = &req->conn.remote;

	while (index && req->peer_mss < cookie_mss[index])
		index--;
	return cookie_hash(s, local, remote, 0, COOKIE_BASE) + req->irs + (minute << 24) +
	       ((cookie_hash(s, local, remote, minute, COOKIE_MINUTE) + index) & COOKIE_LOW);
}

/* The MSS that a cookie holds; 0: it is none of ours. */
static u16 cookie_check(const struct stack *s, const struct tcp_segment *seg)
{
	const struct endpoint *local = &seg->p->to, *remote = &seg->p->from;
	u32 cookie = seg->ack - 1 - (seg->seq - 1) - cookie_hash(s, local, remote, 0, COOKIE_BASE);
	u32 minute = cookie_minute(s), age = (minute - (cookie >> 24)) & 0xff, index;

	if (age >= COOKIE_MINUTES)
		return 0;
	index = (cookie - cookie_hash(s, local, remote, minute - age, COOKIE_MINUTE)) & COOKIE_LOW;
	return index < ARRAY_LEN(cookie_mss) ? cookie_mss[index] : 0;
}

u32 tcp_cookie_clock(const struct stack *s, const struct tcp_request *req)
{
	u32 now = tcp_clock(s, 0), bits = STAMP_WSCALE, stamp;

	if (req->flags & TCP_OPT_WSCALE)
		bits = req->snd_wscale;
	if (req->flags & TCP_OPT_SACK_OK)
		bits |= STAMP_SACK;
	if (req->ecn == TCP_ECN_CLASSIC)
		bits |= STAMP_ECN;
	stamp = (now & ~STAMP_BITS) | bits;
	if (seq_gt(stamp, now)) /* never ahead of the clock that goes on from it */
		stamp -= STAMP_BITS + 1;
	return stamp + req->ts_offset;
}

void tcp_cookie_send(struct stack *s, struct tcp *t, struct tcp_request *req)
{
	if (req->ecn == TCP_ECN_ACCURATE) /* there is one bit for it */
		req->ecn = TCP_ECN_CLASSIC;
	if (!(req->flags & TCP_OPT_TIMESTAMP)) {
		req->flags = 0;
		req->snd_wscale = req->rcv_wscale = 0;
		req->ecn = TCP_ECN_OFF;
	}
	req->iss = cookie_make(s, req);
	req->cookie = true;
	t->cookie_ns = MAX(s->now_ns, 1);
	counter_inc(s, counter_tcp_cookie_sent);
	tcp_request_send(s, req, TH_SYN | TH_ACK);
}

/* What the echoed timestamp tells of the SYN's options. False: of what is switched off here. */
static bool cookie_options(
	const struct stack *s, const struct tcp_segment *seg, struct tcp_request *req)
{
	u32 bits = seg->opt.tsecr - req->ts_offset;

	if (!(seg->opt.flags & TCP_OPT_TIMESTAMP))
		return true;
	if (!s->tunables.tcp_timestamps)
		return false;
	req->flags = TCP_OPT_TIMESTAMP;
	req->ts_recent = seg->opt.tsval;
	if (bits & STAMP_SACK)
		req->flags |= TCP_OPT_SACK_OK;
	if ((bits & STAMP_WSCALE) != STAMP_WSCALE) {
		req->flags |= TCP_OPT_WSCALE;
		req->snd_wscale = bits & STAMP_WSCALE;
	}
	return (s->tunables.tcp_sack || !(req->flags & TCP_OPT_SACK_OK)) &&
	       (s->tunables.tcp_window_scaling || !(req->flags & TCP_OPT_WSCALE));
}

/* The request that the cookie stands for. */
static bool cookie_request(struct stack *s, struct sock *listener, struct tcp *t,
	const struct tcp_segment *seg, u16 mss, struct tcp_request *req)
{
	req->ts_offset = tcp_ts_offset(s, &seg->p->to, &seg->p->from);
	if (!cookie_options(s, seg, req))
		return false;
	tcp_request_fill(s, listener, t, seg, req);
	req->ecn = seg->opt.flags & TCP_OPT_TIMESTAMP && s->tunables.tcp_ecn &&
				   (seg->opt.tsecr - req->ts_offset) & STAMP_ECN
			   ? TCP_ECN_CLASSIC
			   : TCP_ECN_OFF;
	req->irs = seg->seq - 1;
	req->iss = seg->ack - 1;
	req->peer_mss = mss;
	req->cookie = true;
	req->snd_wnd = seg->window;
	return true;
}

bool tcp_cookie_input(
	struct stack *s, struct sock *listener, struct tcp *t, struct tcp_segment *seg)
{
	struct tcp_request *req;
	u16 mss;

	if (!s->tunables.tcp_syncookies || (seg->flags & (TH_SYN | TH_ACK | TH_RST)) != TH_ACK ||
		!t->cookie_ns || s->now_ns - t->cookie_ns > COOKIE_MINUTES * COOKIE_MINUTE_NS)
		return false;
	mss = cookie_check(s, seg);
	if (!mss) {
		counter_inc(s, counter_tcp_cookie_failed);
		return false;
	}
	if (tcp_accept_full(t)) { /* the peer's next segment tries again */
		counter_inc(s, counter_tcp_accept_overflow);
		return true;
	}
	req = slab_get(s, SLAB_TCP_REQUEST, slab_alloc(s, SLAB_TCP_REQUEST));
	if (!req) {
		counter_inc(s, counter_tcp_accept_overflow);
		return true;
	}
	if (!cookie_request(s, listener, t, seg, mss, req)) {
		counter_inc(s, counter_tcp_cookie_failed);
		slab_free(s, req->conn.slab.self);
		return false;
	}
	counter_inc(s, counter_tcp_cookie_recv);
	tcp_request_begin(s, listener, t, req);
	tcp_request_complete(s, req, listener, seg);
	return true;
}
