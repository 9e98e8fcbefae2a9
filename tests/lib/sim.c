/*
 * The simulated link and the two programs at its ends.
 *
 * Frames on their way stand in a heap by the time at which they are due, equal times in the order
 * sent. Each turn serves whatever comes first, a frame or a timer of either host, then lets the
 * programs read and write as much as they can.
 */
#include "tests/lib/sim.h"

#include <stdlib.h>
#include <string.h>

#include "stack/link.h"
#include "stack/linux.h"
#include "stack/tcp.h"
#include "tests/lib/net_lib.h"

enum { PORT = 5000, FIRST_PORT = 6000, HEAP_MAX = 1 << 18 };

#define SIM_BEGIN_NS (1000 * NS_PER_S)

struct flight {
	u64 due_ns, order;
	u32 to, len;
	struct offload offload;
	u8 *bytes;
};

/* One end of a connection. */
struct end {
	struct stack *s;
	ref sock;
	u64 to_send, sent, received;
	u64 counted;	   /* of received, before the time that counts */
	u64 stream, other; /* what is sent, and what is expected: the seeds of their contents */
	bool sent_all, ended, closed;
};

struct sim {
	const struct sim_config *config;
	struct sim_result result;
	struct impair link[2];
	struct stack *host[2];
	struct end end[2][SIM_FLOWS];
	u32 flows;
	ref listener;
	u64 now_ns, order;
	u64 count_at_ns, bulk_end_ns; /* NEVER: has been, or there is none */
	struct flight *heap;
	u32 flights;
};

/* --- content --- */

static u64 hash_bytes(u64 h, const u8 *p, u32 len)
{
	while (len >= 8) {
		u64 v;

		memcpy(&v, p, 8);
		h = (h ^ v) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
		p += 8;
		len -= 8;
	}
	while (len--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

/* The n-th eight bytes of a stream (SplitMix64). */
static u64 content(u64 stream, u64 n)
{
	u64 z = stream + (n + 1) * 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* Writes the bytes of a stream from `at` on, or compares with them: false when they differ. */
static bool stream_bytes(u64 stream, u64 at, u8 *p, u32 len, bool compare)
{
	while (len) {
		u32 skip = at & 7, n = MIN(8 - skip, len);
		u64 word = content(stream, at >> 3);

		if (!compare)
			memcpy(p, (u8 *)&word + skip, n);
		else if (memcmp(p, (u8 *)&word + skip, n) != 0)
			return false;
		at += n;
		p += n;
		len -= n;
	}
	return true;
}

/* --- the link --- */

static bool earlier(const struct flight *a, const struct flight *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void heap_add(struct sim *m, struct flight f)
{
	u32 i = m->flights++;

	if (m->flights > HEAP_MAX)
		abort();
	for (; i && earlier(&f, &m->heap[(i - 1) / 2]); i = (i - 1) / 2)
		m->heap[i] = m->heap[(i - 1) / 2];
	m->heap[i] = f;
}

static struct flight heap_take(struct sim *m)
{
	struct flight first = m->heap[0], last = m->heap[--m->flights];
	u32 i = 0, child;

	while ((child = 2 * i + 1) < m->flights) {
		if (child + 1 < m->flights && earlier(&m->heap[child + 1], &m->heap[child]))
			child++;
		if (!earlier(&m->heap[child], &last))
			break;
		m->heap[i] = m->heap[child];
		i = child;
	}
	m->heap[i] = last;
	return first;
}

static void send_frame(struct sim *m, u32 from, u8 *frame, u32 len, const struct offload *offload)
{
	struct impair_fate fate = {.copies = 1, .flip = IMPAIR_NO_FLIP};

	if (m->config->change)
		m->config->change(&m->link[from], from, m->now_ns - SIM_BEGIN_NS);
	if (m->config->clear_arp && get16(frame + 12) == ETHERTYPE_ARP)
		fate.due_ns = m->now_ns;
	else
		fate = impair_frame(&m->link[from], m->now_ns, len);
	if (fate.mark && fate.copies)
		impair_mark(&m->link[from], frame, len);
	m->result.frames++;
	m->result.wire_hash = hash_bytes(m->result.wire_hash ^ m->now_ns, frame, len);
	for (u32 i = 0; i < fate.copies; i++) {
		struct flight f = {.due_ns = fate.due_ns,
			.order = m->order++,
			.to = !from,
			.len = len,
			.offload = *offload};

		f.bytes = malloc(len);
		memcpy(f.bytes, frame, len);
		if (i == 0 && fate.flip != IMPAIR_NO_FLIP)
			impair_flip(f.bytes, len, fate.flip);
		heap_add(m, f);
	}
}

static void drain(struct sim *m, u32 from)
{
	static u8 frame[NET_FRAME_MAX];
	struct offload offload;
	u32 len, events;

	while ((len = engine_frame_out(m->host[from], frame, &offload)) != 0)
		send_frame(m, from, frame, len, &offload);
	while (stack_changed(m->host[from], &events))
		;
}

/* --- the programs --- */

static void send_some(struct end *e)
{
	static struct plan plan;

	while (!e->sent_all && e->sent < e->to_send) {
		s64 n;

		memset(&plan, 0, sizeof(plan));
		plan.flags = LX_MSG_DONTWAIT;
		n = sock_send_reserve(e->s, e->sock, &plan, e->to_send - e->sent);
		if (n <= 0)
			return;
		for (u32 i = 0; i < plan.count; i++) {
			stream_bytes(e->stream, e->sent, sock_span(e->s, &plan.span[i]),
				plan.span[i].len, false);
			e->sent += plan.span[i].len;
		}
		sock_send_commit(e->s, &plan, (u32)n);
	}
	if (!e->sent_all && e->sent == e->to_send) {
		sock_shutdown(e->s, e->sock, 1);
		e->sent_all = true;
	}
}

static const char *receive_some(struct end *e)
{
	static struct plan plan;
	s64 n;

	while (!e->ended) {
		memset(&plan, 0, sizeof(plan));
		plan.flags = LX_MSG_DONTWAIT;
		n = sock_recv_take(e->s, e->sock, &plan, 1u << 20, 1);
		if (n == -EAGAIN)
			return NULL;
		if (n < 0)
			return "a receive failed";
		if (n == 0) {
			e->ended = true;
			return NULL;
		}
		for (u32 i = 0; i < plan.count; i++) {
			if (!stream_bytes(e->other, e->received, sock_span(e->s, &plan.span[i]),
				    plan.span[i].len, true))
				return "the content differs";
			e->received += plan.span[i].len;
		}
		sock_recv_commit(e->s, &plan, (u32)n);
	}
	return NULL;
}

static void accept_some(struct sim *m)
{
	int error = 0;
	ref r;

	while ((r = sock_accept(m->host[1], m->listener, &error)) != 0)
		m->end[1][sock_get(m->host[1], r)->conn.remote.port - FIRST_PORT].sock = r;
}

/* A careful program closes when all has been acknowledged, its FIN too: an orphan gives up after
 * eight tries. */
static bool all_acked(const struct end *e)
{
	struct sock *sk = sock_get(e->s, e->sock);
	struct tcp *t = slab_get(e->s, SLAB_TCP, sk->tcp);

	return !t || t->snd_una == t->snd_end + 1;
}

static const char *serve_end(struct sim *m, struct end *e)
{
	const char *failure;
	const struct tcp *t;

	if (!e->sock || sock_get(e->s, e->sock)->state == SOCK_CONNECTING)
		return NULL;
	if (sock_get(e->s, e->sock)->error) { /* the other end may have left before our FIN came */
		if (!e->ended || !e->sent_all)
			return "the connection died";
	} else {
		send_some(e);
		failure = receive_some(e);
		if (failure)
			return failure;
	}
	if (e->ended && e->sent_all && !e->closed &&
		(all_acked(e) || sock_get(e->s, e->sock)->error)) {
		m->result.duration_ns = MAX(m->result.duration_ns, m->now_ns);
		t = slab_get(e->s, SLAB_TCP, sock_get(e->s, e->sock)->tcp);
		m->result.retransmits += t->totals.retransmits;
		m->result.delivered_ce += t->ecn.delivered_ce;
		sock_close(e->s, e->sock);
		e->sock = 0;
		e->closed = true;
	}
	return NULL;
}

static const char *serve_programs(struct sim *m, u32 host)
{
	const char *failure = NULL;

	if (host == 1)
		accept_some(m);
	for (u32 i = 0; i < m->flows && !failure; i++)
		failure = serve_end(m, &m->end[host][i]);
	return failure;
}

/* --- turns --- */

static void open_host(struct sim *m, u32 i)
{
	struct stack_config c = net_config();

	c.addr = addr_v4(i ? NET_PEER : NET_HOST);
	memcpy(c.mac, i ? net_peer_mac : net_host_mac, 6);
	c.features = m->config->features;
	if (m->config->mtu)
		c.mtu = m->config->mtu;
	memcpy(c.seed, &m->config->seed, 8);
	c.seed[8] = (u8)i;
	c.now_ns = m->now_ns;
	if (m->config->tune)
		m->config->tune(&c.tunables);
	if (m->config->congestion)
		c.tunables.tcp_congestion_control = (u8)tcp_cc_by_name(
			m->config->congestion, (u32)strlen(m->config->congestion));
	m->host[i] = engine_new_sized(&c, m->config->memory ? m->config->memory : 256ull << 20);
	impair_init(&m->link[i], &m->config->link[i]);
}

static void open_hosts(struct sim *m)
{
	struct endpoint there = {.addr = addr_v4(NET_PEER), .port = PORT},
			any = {.addr = addr_v4(0), .port = PORT};
	int error = 0;

	open_host(m, 0);
	open_host(m, 1);
	m->listener = sock_open(m->host[1], FAMILY_INET, LX_SOCK_STREAM, 0, &error);
	sock_bind(m->host[1], m->listener, &any);
	sock_listen(m->host[1], m->listener, SIM_FLOWS);
	for (u32 k = 0; k < m->flows; k++) {
		for (u32 i = 0; i < 2; i++) {
			m->end[i][k].s = m->host[i];
			m->end[i][k].to_send = m->config->bytes[i];
			m->end[i][k].stream = content(m->config->seed, 2 * k + i);
			m->end[i][k].other = content(m->config->seed, 2 * k + !i);
		}
		if (m->config->bulk_ns)
			m->end[0][k].to_send = UINT64_MAX;
		any.port = (u16)(FIRST_PORT + k);
		m->end[0][k].sock = sock_open(m->host[0], FAMILY_INET, LX_SOCK_STREAM, 0, &error);
		sock_bind(m->host[0], m->end[0][k].sock, &any);
		sock_connect(m->host[0], m->end[0][k].sock, &there);
	}
}

static const char *check_ends(struct sim *m)
{
	for (u32 i = 0; i < 2 * m->flows; i++) {
		const struct end *e = &m->end[i & 1][i >> 1];
		struct sock *sk = sock_get(e->s, e->sock);
		const char *broken = sk ? tcp_check(e->s, sk) : NULL;

		if (broken)
			return broken;
	}
	return NULL;
}

/* The two moments of a bulk transfer: from now on it counts; it ends. */
static void bulk_moments(struct sim *m, u64 next)
{
	if (next > m->count_at_ns) {
		for (u32 k = 0; k < m->flows; k++)
			m->end[1][k].counted = m->end[1][k].received;
		m->count_at_ns = NEVER;
	}
	if (next > m->bulk_end_ns) {
		for (u32 k = 0; k < m->flows; k++) {
			m->result.received[k] = m->end[1][k].received - m->end[1][k].counted;
			m->end[0][k].to_send = m->end[0][k].sent;
		}
		m->now_ns = MAX(m->now_ns, m->bulk_end_ns);
		m->bulk_end_ns = NEVER;
		stack_clock(m->host[0], m->now_ns);
		serve_programs(m, 0);
		drain(m, 0);
	}
}

static bool all_closed(const struct sim *m)
{
	for (u32 k = 0; k < m->flows; k++)
		if (!m->end[0][k].closed || !m->end[1][k].closed)
			return false;
	return true;
}

/* Serves the next event; false when nothing will ever happen again. */
static bool turn(struct sim *m, const char **failure)
{
	u64 next = m->flights ? m->heap[0].due_ns : NEVER;
	u32 who = 2;

	for (u32 i = 0; i < 2; i++) {
		u64 at = stack_deadline(m->host[i]);

		if (at < next) {
			next = at;
			who = i;
		}
	}
	if (next == NEVER && m->bulk_end_ns == NEVER)
		return false;
	if (next > MIN(m->count_at_ns, m->bulk_end_ns)) {
		bulk_moments(m, next);
		return true;
	}
	m->now_ns = MAX(m->now_ns, next);
	for (u32 i = 0; i < 2; i++)
		stack_clock(m->host[i], m->now_ns);
	if (who == 2) {
		struct flight f = heap_take(m);

		who = f.to;
		engine_frame_in_offload(m->host[who], f.bytes, f.len, &f.offload);
		free(f.bytes);
	} else {
		stack_advance(m->host[who]);
	}
	*failure = serve_programs(m, who);
	drain(m, who);
	if (!*failure && (m->order & (m->config->bulk_ns ? 65535 : 255)) == 0)
		*failure = check_ends(m);
	return true;
}

static const char *check_left_over(struct sim *m)
{
	static const enum slab_kind kinds[] = {SLAB_TCP, SLAB_TCP_REQUEST, SLAB_TCP_TIMEWAIT,
		SLAB_FRAME, SLAB_PKT_SMALL, SLAB_PKT_MEDIUM, SLAB_PKT_LARGE, SLAB_PKT_HUGE};
	u32 allowed;

	for (u32 i = 0; i < 2; i++) {
		for (u32 k = 0; k < ARRAY_LEN(kinds); k++) {
			allowed = kinds[k] == SLAB_TCP ? i : 0; /* the listener's */
			if (slab_in_use(m->host[i], kinds[k]) > allowed)
				return "objects are left over";
		}
	}
	return NULL;
}

struct sim_result sim_transfer(const struct sim_config *config)
{
	struct sim *m = calloc(1, sizeof(*m));
	struct sim_result result;
	const char *failure = NULL;
	u64 begin;

	m->config = config;
	m->flows = MAX(config->flows, 1);
	m->now_ns = begin = SIM_BEGIN_NS;
	m->count_at_ns = m->bulk_end_ns = NEVER;
	if (config->bulk_ns) {
		m->count_at_ns = begin + config->bulk_from_ns;
		m->bulk_end_ns = begin + config->bulk_ns;
	}
	m->heap = malloc(HEAP_MAX * sizeof(*m->heap));
	open_hosts(m);
	drain(m, 0);
	drain(m, 1);
	while (!failure && !(all_closed(m) && !m->flights && !check_left_over(m))) {
		if (!turn(m, &failure))
			failure = all_closed(m) ? NULL : "both hosts wait for ever";
		else if (m->now_ns - begin > config->limit_ns + 300 * NS_PER_S)
			failure = "out of time";
		if (!failure && stack_deadline(m->host[0]) == NEVER &&
			stack_deadline(m->host[1]) == NEVER && !m->flights &&
			m->bulk_end_ns == NEVER)
			break;
	}
	for (u32 i = 0; i < 2; i++) {
		m->result.link[i] = m->link[i];
		for (u32 k = 0; k < m->flows; k++)
			if (!failure && m->end[!i][k].received != m->end[i][k].sent)
				failure = "bytes are missing";
	}
	if (!failure)
		failure = check_left_over(m);
	m->result.failure = failure;
	m->result.duration_ns -= MIN(begin, m->result.duration_ns);
	while (m->flights)
		free(heap_take(m).bytes);
	for (u32 i = 0; i < 2; i++) {
		m->result.undone += net_count(m->host[i], "tcp_full_undo") +
				    net_count(m->host[i], "tcp_loss_undo");
		engine_free(m->host[i]);
	}
	result = m->result;
	free(m->heap);
	free(m);
	return result;
}
