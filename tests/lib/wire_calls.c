/* The socket calls of the wire scripts. */
#include "tests/lib/wire_state.h"

#include "stack/tcp_bbr.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void call_send(struct wire *w)
{
	s64 want = wire_expected(w, INT64_MIN), n = 0;
	struct named *n_ = wire_named(w, wire_word(w, 1));
	u64 len = (u64)wire_number(w, wire_word(w, 2)), done = 0;
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
		wire_settle(w);
		if (n <= 0)
			break;
		done += (u64)n;
	}
	wire_settle(w);
	if (want == WIRE_ANY && done && done < len)
		return;
	wire_expect(w, done ? (s64)done : n, want == INT64_MIN ? (s64)len : want);
}

/* The bytes of a plan are those of the pattern from *at on. */
static void compare_received(struct wire *w, const struct plan *plan, u32 *at)
{
	for (u32 i = 0; i < plan->count; i++) {
		const u8 *p = sock_span(w->s, &plan->span[i]);

		for (u32 k = 0; k < plan->span[i].len; k++, (*at)++) {
			if (p[k] != wire_pattern(*at))
				wire_fail(w, "received byte %u differs", *at);
		}
	}
}

static void call_recv(struct wire *w)
{
	s64 want = wire_expected(w, INT64_MIN), n;
	bool once = false, placed = false;
	struct named *n_ = wire_named(w, wire_word(w, 1));
	u64 len = (u64)wire_number(w, wire_word(w, 2)), done = 0;
	u32 at = n_->received, flags = 0;
	static struct plan plan;

	for (u32 i = 3; i < w->words; i++) {
		once |= strcmp(w->word[i], "once") == 0;
		if (strcmp(w->word[i], "peek") == 0)
			flags |= LX_MSG_PEEK;
		else if (strcmp(w->word[i], "oob") == 0)
			flags |= LX_MSG_OOB;
		else if (strcmp(w->word[i], "at") == 0) {
			at = (u32)wire_number(w, wire_word(w, ++i)) - 1;
			placed = true;
		}
	}
	do {
		memset(&plan, 0, sizeof(plan));
		plan.flags = flags;
		n = sock_recv_take(w->s, n_->sock, &plan, len - done, 1);
		if (n <= 0 && plan.kind == PLAN_NONE)
			break;
		if (placed || !(flags & LX_MSG_OOB))
			compare_received(w, &plan, &at);
		if (!(flags & (LX_MSG_PEEK | LX_MSG_OOB)))
			n_->received = at;
		n = sock_recv_commit(w->s, &plan, (u32)n);
		done += (u64)n;
		wire_settle(w);
		if (flags & (LX_MSG_PEEK | LX_MSG_OOB))
			break;
	} while (n > 0 && done < len && !once);
	wire_expect(w, done ? (s64)done : n, want == INT64_MIN ? (s64)len : want);
}

static void call_open(struct wire *w)
{
	bool udp = strcmp(wire_word(w, 3), "udp") == 0;
	int error = 0;
	ref r = sock_open(w->s, FAMILY_INET, udp ? LX_SOCK_DGRAM : LX_SOCK_STREAM, 0, &error);

	if (!r)
		wire_fail(w, "socket gave %d", error);
	wire_name_new(w, wire_word(w, 0), r);
}

static void call_accept(struct wire *w)
{
	int error = 0;
	ref r = sock_accept(w->s, wire_named(w, wire_word(w, 3))->sock, &error);

	if (!r)
		wire_fail(w, "accept gave %d", error);
	wire_name_new(w, wire_word(w, 0), r);
	wire_settle(w);
}

static const struct {
	const char *name;
	int level, option;
} options[] = {{"TCP_NODELAY", LX_SOL_TCP, LX_TCP_NODELAY}, {"TCP_CORK", LX_SOL_TCP, LX_TCP_CORK}, {"TCP_MAXSEG", LX_SOL_TCP, LX_TCP_MAXSEG},
	{"TCP_KEEPIDLE", LX_SOL_TCP, LX_TCP_KEEPIDLE}, {"TCP_KEEPINTVL", LX_SOL_TCP, LX_TCP_KEEPINTVL}, {"TCP_KEEPCNT", LX_SOL_TCP, LX_TCP_KEEPCNT},
	{"TCP_SYNCNT", LX_SOL_TCP, LX_TCP_SYNCNT}, {"TCP_LINGER2", LX_SOL_TCP, LX_TCP_LINGER2}, {"TCP_USER_TIMEOUT", LX_SOL_TCP, LX_TCP_USER_TIMEOUT},
	{"TCP_QUICKACK", LX_SOL_TCP, LX_TCP_QUICKACK}, {"TCP_DEFER_ACCEPT", LX_SOL_TCP, LX_TCP_DEFER_ACCEPT},
	{"TCP_WINDOW_CLAMP", LX_SOL_TCP, LX_TCP_WINDOW_CLAMP}, {"TCP_NOTSENT_LOWAT", LX_SOL_TCP, LX_TCP_NOTSENT_LOWAT},
	{"TCP_THIN_LINEAR_TIMEOUTS", LX_SOL_TCP, LX_TCP_THIN_LINEAR_TIMEOUTS}, {"TCP_RTO_MAX_MS", LX_SOL_TCP, LX_TCP_RTO_MAX_MS},
	{"TCP_RTO_MIN_US", LX_SOL_TCP, LX_TCP_RTO_MIN_US}, {"TCP_DELACK_MAX_US", LX_SOL_TCP, LX_TCP_DELACK_MAX_US},
	{"TCP_SAVE_SYN", LX_SOL_TCP, LX_TCP_SAVE_SYN}, {"TCP_INQ", LX_SOL_TCP, LX_TCP_INQ}, {"SO_PEEK_OFF", LX_SOL_SOCKET, LX_SO_PEEK_OFF},
	{"SO_TIMESTAMPING", LX_SOL_SOCKET, LX_SO_TIMESTAMPING},
	{"TCP_THIN_DUPACK", LX_SOL_TCP, LX_TCP_THIN_DUPACK}, {"TCP_SAVED_SYN", LX_SOL_TCP, LX_TCP_SAVED_SYN},
	{"TCP_CC_INFO", LX_SOL_TCP, LX_TCP_CC_INFO},
	{"TCP_FASTOPEN", LX_SOL_TCP, LX_TCP_FASTOPEN}, {"TCP_FASTOPEN_CONNECT", LX_SOL_TCP, LX_TCP_FASTOPEN_CONNECT},
	{"TCP_FASTOPEN_NO_COOKIE", LX_SOL_TCP, LX_TCP_FASTOPEN_NO_COOKIE},
	{"SO_KEEPALIVE", LX_SOL_SOCKET, LX_SO_KEEPALIVE}, {"SO_RCVBUF", LX_SOL_SOCKET, LX_SO_RCVBUF}, {"SO_SNDBUF", LX_SOL_SOCKET, LX_SO_SNDBUF},
	{"SO_OOBINLINE", LX_SOL_SOCKET, LX_SO_OOBINLINE}, {"SO_REUSEADDR", LX_SOL_SOCKET, LX_SO_REUSEADDR},
	{"SO_RCVLOWAT", LX_SOL_SOCKET, LX_SO_RCVLOWAT}, {"SO_LINGER", LX_SOL_SOCKET, LX_SO_LINGER}, {"IP_TTL", LX_SOL_IP, LX_IP_TTL}, {"IP_MINTTL", LX_SOL_IP, LX_IP_MINTTL},
	{"IP_TOS", LX_SOL_IP, LX_IP_TOS}, {"IP_MTU", LX_SOL_IP, LX_IP_MTU}, {"IP_RECVERR", LX_SOL_IP, LX_IP_RECVERR},
	{"IP_MTU_DISCOVER", LX_SOL_IP, LX_IP_MTU_DISCOVER}, {"SO_REUSEPORT", LX_SOL_SOCKET, LX_SO_REUSEPORT},
	{"SO_MAX_PACING_RATE", LX_SOL_SOCKET, LX_SO_MAX_PACING_RATE}};

/* `setopt c TCP_CONGESTION bbr`, `getopt c TCP_CONGESTION = bbr` */
static void call_congestion(struct wire *w, ref sock, bool set, s64 want)
{
	char name[16] = {0};
	u32 len = sizeof(name);

	if (set) {
		wire_expect(w, sock_setopt(w->s, sock, LX_SOL_TCP, LX_TCP_CONGESTION, wire_word(w, 3), (u32)strlen(w->word[3])), want);
		return;
	}
	if (sock_getopt(w->s, sock, LX_SOL_TCP, LX_TCP_CONGESTION, name, &len) < 0 || strcmp(name, wire_word(w, 4)) != 0)
		wire_fail(w, "congestion control %s, not %s", name, w->word[4]);
}

static void call_option(struct wire *w, bool set)
{
	bool congestion = strcmp(wire_word(w, 2), "TCP_CONGESTION") == 0;
	s64 want = congestion && !set ? 0 : wire_expected(w, set ? 0 : INT64_MIN);
	ref sock = wire_named(w, wire_word(w, 1))->sock;
	int value[2] = {0, 0};
	u32 len = sizeof(value[0]), i;

	if (congestion) {
		call_congestion(w, sock, set, want);
		return;
	}
	if (strcmp(w->word[2], "TCP_FASTOPEN_KEY") == 0) {
		wire_fastopen_key(w, sock, wire_word(w, 3), want);
		return;
	}
	for (i = 0; i < ARRAY_LEN(options) && strcmp(options[i].name, wire_word(w, 2)) != 0; i++)
		;
	if (i == ARRAY_LEN(options))
		wire_fail(w, "option '%s' is not known here", w->word[2]);
	if (set) {
		for (u32 k = 3; k < w->words && k < 5; k++, len = (k - 3) * 4)
			value[k - 3] = (int)wire_number(w, w->word[k]);
		wire_expect(w, sock_setopt(w->s, sock, options[i].level, options[i].option, value, w->words > 4 ? 8 : 4), want);
	} else {
		int err = sock_getopt(w->s, sock, options[i].level, options[i].option, value, &len);

		wire_expect(w, err ? err : value[0], want);
	}
	wire_settle(w);
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
			wire_fail(w, "'%s' is no event", t);
		mask |= bits[i].bit;
	}
	return mask;
}

static void call_state(struct wire *w)
{
	static const char *const names[] = {"", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT",
		"CLOSED", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"};
	struct sock *sk = sock_get(w->s, wire_named(w, wire_word(w, 1))->sock);
	struct tcp *t = sk ? slab_get(w->s, SLAB_TCP, sk->tcp) : NULL;
	const char *got = t && t->state < ARRAY_LEN(names) ? names[t->state] : "CLOSED";

	if (strcmp(got, wire_word(w, 2)) != 0)
		wire_fail(w, "state %s, not %s", got, w->word[2]);
}

/* `info c cwnd = 10`: fields of the control block. */
static void call_info(struct wire *w)
{
	s64 want = wire_expected(w, 0), got = 0;
	struct sock *sk = sock_get(w->s, wire_named(w, wire_word(w, 1))->sock);
	struct tcp *t = sk ? slab_get(w->s, SLAB_TCP, sk->tcp) : NULL;
	const char *field = wire_word(w, 2);

	if (!t)
		wire_fail(w, "the socket has no connection");
	if (strcmp(field, "cwnd") == 0)
		got = t->cwnd;
	else if (strcmp(field, "ssthresh") == 0)
		got = t->ssthresh;
	else if (strcmp(field, "pacing_rate") == 0)
		got = (s64)t->pacing_rate;
	else if (strcmp(field, "delivery_rate") == 0)
		got = (s64)tcp_delivery_rate(t);
	else if (strcmp(field, "bbr_state") == 0)
		got = bbr_of(t)->state;
	else if (strcmp(field, "bbr_min_rtt_us") == 0)
		got = bbr_of(t)->min_rtt_us;
	else if (strcmp(field, "saved_syn") == 0) /* bytes */
		got = t->saved_syn ? pkt_len(pkt_get(w->s, t->saved_syn)) : 0;
	else if (strcmp(field, "app_limited") == 0)
		got = t->rate_limited;
	else if (strcmp(field, "mss") == 0)
		got = t->mss;
	else if (strcmp(field, "backoff") == 0)
		got = t->backoff;
	else if (strcmp(field, "rto_ms") == 0)
		got = (s64)(t->rtt.rto_ns / NS_PER_MS);
	else if (strcmp(field, "srtt_ms") == 0)
		got = (s64)(t->rtt.srtt_ns / NS_PER_MS);
	else if (strcmp(field, "snd_wnd") == 0)
		got = t->snd_wnd;
	else if (strcmp(field, "in_flight") == 0)
		got = t->snd_nxt - t->snd_una;
	else if (strcmp(field, "snd_una") == 0)
		got = t->snd_una - w->flow.our_isn;
	else
		got = wire_tcp_info(w, wire_named(w, w->word[1])->sock, field);
	wire_expect(w, got, want);
}

/* `count tcp_csum +1`: since the counter was last looked at, or since the start. */
static void call_count(struct wire *w)
{
	int c = counter_by_name(wire_word(w, 1));
	u64 got;

	if (c < 0)
		wire_fail(w, "no counter '%s'", w->word[1]);
	got = counter_read(w->s, (enum counter)c) - w->counters[c];
	w->counters[c] += got;
	if (strcmp(wire_word(w, 2), "*") != 0 && got != (u64)wire_number(w, w->word[2]))
		wire_fail(w, "%s rose by %" PRIu64 ", not %s", w->word[1], got, w->word[2]);
}

/* Segments belong to the connection with another port of the peer from here on: a new one, or back to one named before. */
static void call_flow(struct wire *w)
{
	u16 our = w->flow.our_port, peer = (u16)wire_number(w, wire_word(w, 1));
	u32 i;

	for (i = 0; i < w->flows && w->kept[i].peer_port != w->flow.peer_port; i++)
		;
	if (i == FLOWS)
		wire_fail(w, "too many flows");
	w->flows += i == w->flows;
	w->kept[i] = w->flow;
	for (i = 0; i < w->flows && w->kept[i].peer_port != peer; i++)
		;
	if (i < w->flows && w->words == 2) {
		w->flow = w->kept[i];
		return;
	}
	memset(&w->flow, 0, sizeof(w->flow));
	w->flow.our_port = our;
	w->flow.peer_port = peer;
	w->flow.peer_isn = w->words > 2 ? (u32)wire_number(w, w->word[2]) : 1000000;
}

/* The initial number can be foretold only for a port that is known. */
static void choose_port(struct wire *w, ref sock, u16 peer_port)
{
	struct endpoint local = {.addr = addr_v4(0), .port = 50000};

	sock_name(w->s, sock, &local);
	if (!local.port && w->s->tunables.port_low == w->s->tunables.port_high) {
		local.port = w->s->tunables.port_low;
	} else if (!local.port) {
		local = (struct endpoint){.addr = addr_v4(0), .port = 50000};
		if (sock_bind(w->s, sock, &local) != 0)
			wire_fail(w, "no port");
	}
	wire_opens(w, local.port, peer_port);
}

/* The socket that the line's second word names. */
static ref subject(struct wire *w)
{
	return wire_named(w, wire_word(w, 1))->sock;
}

static void call_bind(struct wire *w)
{
	s64 want = wire_expected(w, 0);
	struct endpoint e = wire_endpoint(w, wire_word(w, 2));

	wire_expect(w, sock_bind(w->s, subject(w), &e), want);
	w->flow.our_port = e.port;
}

static void call_listen(struct wire *w)
{
	s64 want = wire_expected(w, 0);

	wire_expect(w, sock_listen(w->s, subject(w), (int)wire_number(w, wire_word(w, 2))), want);
}

/* `accept s`: there is nothing to accept, or an error. */
static void call_no_accept(struct wire *w)
{
	s64 want = wire_expected(w, -EAGAIN);
	int error = 0;

	if (sock_accept(w->s, subject(w), &error))
		wire_fail(w, "accept gave a connection");
	wire_expect(w, error, want);
}

static void call_connect(struct wire *w)
{
	s64 want = wire_expected(w, -EINPROGRESS);
	struct endpoint e = wire_endpoint(w, wire_word(w, 2));

	if (w->wants_isn && want == -EINPROGRESS)
		choose_port(w, subject(w), e.port);
	wire_expect(w, sock_connect(w->s, subject(w), &e), want);
	wire_settle(w);
}

static void call_shutdown(struct wire *w)
{
	s64 want = wire_expected(w, 0);
	const char *how = wire_word(w, 2);

	wire_expect(w, sock_shutdown(w->s, subject(w), strcmp(how, "RD") == 0 ? 0 : strcmp(how, "WR") == 0 ? 1 : 2), want);
	wire_settle(w);
}

static void call_close(struct wire *w)
{
	sock_close(w->s, subject(w));
	wire_settle(w);
}

static void call_setopt(struct wire *w)
{
	call_option(w, true);
}

static void call_getopt(struct wire *w)
{
	call_option(w, false);
}

static void call_error(struct wire *w)
{
	s64 want = wire_expected(w, 0);

	wire_expect(w, sock_error(w->s, subject(w)), want);
}

static void call_poll(struct wire *w)
{
	u32 mask = sock_poll(w->s, subject(w));

	if (mask != event_bits(w, w->word[3 < w->words ? 3 : w->words - 1]))
		wire_fail(w, "poll mask 0x%x is another one", mask);
}

static void call_gone(struct wire *w)
{
	if (sock_get(w->s, subject(w)))
		wire_fail(w, "the socket still exists");
}

static void call_idle(struct wire *w)
{
	if (!stack_idle(w->s))
		wire_fail(w, "the host is not idle");
}

static void call_ioctl(struct wire *w)
{
	static const struct {
		const char *name;
		unsigned request;
	} requests[] = {{"SIOCATMARK", LX_SIOCATMARK}, {"SIOCINQ", LX_FIONREAD}, {"SIOCOUTQ", LX_SIOCOUTQ},
		{"SIOCOUTQNSD", LX_SIOCOUTQNSD}, {"SIOCGSTAMP", 0x8906}};
	s64 want = wire_expected(w, 0);
	int value = 0, error = -EINVAL;

	for (u32 i = 0; i < ARRAY_LEN(requests); i++) {
		if (strcmp(requests[i].name, wire_word(w, 2)) == 0)
			error = sock_ioctl(w->s, subject(w), requests[i].request, &value);
	}
	wire_expect(w, error ? error : value, want);
}

static const struct {
	const char *verb;
	void (*call)(struct wire *w);
} calls[] = {{"bind", call_bind}, {"listen", call_listen}, {"accept", call_no_accept}, {"connect", call_connect},
	{"send", call_send}, {"recv", call_recv}, {"shutdown", call_shutdown}, {"close", call_close}, {"setopt", call_setopt},
	{"getopt", call_getopt}, {"error", call_error}, {"poll", call_poll}, {"state", call_state}, {"info", call_info},
	{"count", call_count}, {"gone", call_gone}, {"idle", call_idle}, {"ioctl", call_ioctl}, {"flow", call_flow},
	{"log", wire_log}};

void wire_call(struct wire *w)
{
	const char *verb = wire_word(w, 0);
	u32 i;

	if (w->words > 2 && strcmp(w->word[1], "=") == 0) {
		if (strcmp(w->word[2], "socket") == 0)
			call_open(w);
		else if (strcmp(w->word[2], "accept") == 0)
			call_accept(w);
		else
			wire_fail(w, "'%s' gives no socket", w->word[2]);
		return;
	}
	for (i = 0; i < ARRAY_LEN(calls) && strcmp(calls[i].verb, verb) != 0; i++)
		;
	if (i == ARRAY_LEN(calls))
		wire_fail(w, "'%s' is unknown", verb);
	calls[i].call(w);
}
