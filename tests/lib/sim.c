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

#include "stack/linux.h"
#include "stack/tcp.h"
#include "tests/lib/net_lib.h"

enum { PORT = 5000, HEAP_MAX = 1 << 18 };

struct flight {
	u64 due_ns, order;
	u32 to, len;
	struct offload offload;
	u8 *bytes;
};

struct end {
	struct stack *s;
	ref sock;
	u64 to_send, sent, received;
	u64 sent_hash, received_hash;
	u64 stream; /* generator of the content sent */
	bool sent_all, ended, closed;
};

struct sim {
	const struct sim_config *config;
	struct sim_result result;
	struct impair link[2];
	struct end end[2];
	ref listener;
	u64 now_ns, order;
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

/* A hash of the stream that does not depend on how it is cut: byte by byte. */
static u64 hash_stream(u64 h, const u8 *p, u32 len)
{
	while (len--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

static void fill(struct end *e, u8 *p, u32 len)
{
	for (u32 i = 0; i < len; i++) {
		e->stream = e->stream * 6364136223846793005ull + 1442695040888963407ull;
		p[i] = (u8)(e->stream >> 56);
	}
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

static void send_frame(
	struct sim *m, u32 from, const u8 *bytes, u32 len, const struct offload *offload)
{
	struct impair_fate fate = impair_frame(&m->link[from], m->now_ns, len);

	m->result.frames++;
	m->result.wire_hash = hash_bytes(m->result.wire_hash ^ m->now_ns, bytes, len);
	for (u32 i = 0; i < fate.copies; i++) {
		struct flight f = {.due_ns = fate.due_ns,
			.order = m->order++,
			.to = !from,
			.len = len,
			.offload = *offload};

		f.bytes = malloc(len);
		memcpy(f.bytes, bytes, len);
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

	while ((len = engine_frame_out(m->end[from].s, frame, &offload)) != 0)
		send_frame(m, from, frame, len, &offload);
	while (stack_changed(m->end[from].s, &events))
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
			u8 *at = sock_span(e->s, &plan.span[i]);

			fill(e, at, plan.span[i].len);
			e->sent_hash = hash_stream(e->sent_hash, at, plan.span[i].len);
		}
		sock_send_commit(e->s, &plan, (u32)n);
		e->sent += (u64)n;
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
		for (u32 i = 0; i < plan.count; i++)
			e->received_hash = hash_stream(
				e->received_hash, sock_span(e->s, &plan.span[i]), plan.span[i].len);
		sock_recv_commit(e->s, &plan, (u32)n);
		e->received += (u64)n;
	}
	return NULL;
}

static const char *serve_program(struct sim *m, u32 i)
{
	struct end *e = &m->end[i];
	const char *failure;
	int error = 0;

	if (i == 1 && !e->sock && !e->closed)
		e->sock = sock_accept(e->s, m->listener, &error);
	if (!e->sock || sock_get(e->s, e->sock)->state == SOCK_CONNECTING)
		return NULL;
	if (sock_get(e->s, e->sock)->error)
		return "the connection died";
	send_some(e);
	failure = receive_some(e);
	if (failure)
		return failure;
	if (e->ended && e->sent_all && !e->closed) {
		m->result.duration_ns = MAX(m->result.duration_ns, m->now_ns);
		m->result.retransmits +=
			((struct tcp *)slab_get(e->s, SLAB_TCP, sock_get(e->s, e->sock)->tcp))
				->totals.retransmits;
		sock_close(e->s, e->sock);
		e->sock = 0;
		e->closed = true;
	}
	return NULL;
}

/* --- turns --- */

static void open_hosts(struct sim *m)
{
	struct endpoint there = {.addr = addr_v4(NET_PEER), .port = PORT},
			any = {.addr = addr_v4(0), .port = PORT};
	int error = 0;

	for (u32 i = 0; i < 2; i++) {
		struct stack_config c = net_config();
		struct end *e = &m->end[i];

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
		e->s = engine_new_sized(&c, 256ull << 20);
		e->to_send = m->config->bytes[i];
		e->stream = m->config->seed ^ (i + 1);
		e->sent_hash = e->received_hash = 0xcbf29ce484222325ull;
		impair_init(&m->link[i], &m->config->link[i]);
	}
	m->listener = sock_open(m->end[1].s, FAMILY_INET, LX_SOCK_STREAM, 0, &error);
	sock_bind(m->end[1].s, m->listener, &any);
	sock_listen(m->end[1].s, m->listener, 5);
	m->end[0].sock = sock_open(m->end[0].s, FAMILY_INET, LX_SOCK_STREAM, 0, &error);
	sock_connect(m->end[0].s, m->end[0].sock, &there);
}

static const char *check_ends(struct sim *m)
{
	for (u32 i = 0; i < 2; i++) {
		const struct end *e = &m->end[i];
		struct sock *sk = sock_get(e->s, e->sock);
		const char *broken = sk ? tcp_check(e->s, sk) : NULL;

		if (broken)
			return broken;
	}
	return NULL;
}

/* Serves the next event; false when nothing will ever happen again. */
static bool turn(struct sim *m, const char **failure)
{
	u64 next = m->flights ? m->heap[0].due_ns : NEVER;
	u32 who = 2;

	for (u32 i = 0; i < 2; i++) {
		u64 at = stack_deadline(m->end[i].s);

		if (at < next) {
			next = at;
			who = i;
		}
	}
	if (next == NEVER)
		return false;
	m->now_ns = MAX(m->now_ns, next);
	for (u32 i = 0; i < 2; i++)
		stack_clock(m->end[i].s, m->now_ns);
	if (who == 2) {
		struct flight f = heap_take(m);

		who = f.to;
		engine_frame_in_offload(m->end[who].s, f.bytes, f.len, &f.offload);
		free(f.bytes);
	} else {
		stack_advance(m->end[who].s);
	}
	*failure = serve_program(m, who);
	drain(m, who);
	if (!*failure && (m->order & 255) == 0)
		*failure = check_ends(m);
	return true;
}

static const char *check_left_over(struct sim *m)
{
	static const enum slab_kind kinds[] = {SLAB_TCP, SLAB_TCP_REQUEST, SLAB_TCP_TIMEWAIT,
		SLAB_FRAME, SLAB_PKT_SMALL, SLAB_PKT_MEDIUM, SLAB_PKT_LARGE};
	u32 allowed;

	for (u32 i = 0; i < 2; i++) {
		for (u32 k = 0; k < ARRAY_LEN(kinds); k++) {
			allowed = kinds[k] == SLAB_TCP ? i : 0; /* the listener's */
			if (slab_in_use(m->end[i].s, kinds[k]) > allowed)
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
	m->now_ns = begin = 1000 * NS_PER_S;
	m->heap = malloc(HEAP_MAX * sizeof(*m->heap));
	open_hosts(m);
	drain(m, 0);
	drain(m, 1);
	while (!failure && !(m->end[0].closed && m->end[1].closed && stack_idle(m->end[0].s) &&
				   !slab_in_use(m->end[1].s, SLAB_TCP_TIMEWAIT) && !m->flights)) {
		if (!turn(m, &failure))
			failure = m->end[0].closed && m->end[1].closed ? NULL
								       : "both hosts wait for ever";
		else if (m->now_ns - begin > config->limit_ns + 300 * NS_PER_S)
			failure = "out of time";
		if (!failure && stack_deadline(m->end[0].s) == NEVER &&
			stack_deadline(m->end[1].s) == NEVER && !m->flights)
			break;
	}
	for (u32 i = 0; i < 2; i++) {
		m->result.sent_hash[i] = m->end[i].sent_hash;
		m->result.received_hash[i] = m->end[!i].received_hash;
		m->result.link[i] = m->link[i];
		if (!failure && (m->end[i].sent_hash != m->end[!i].received_hash ||
					m->end[!i].received != config->bytes[i]))
			failure = "the content differs";
	}
	if (!failure)
		failure = check_left_over(m);
	m->result.failure = failure;
	m->result.duration_ns -= MIN(begin, m->result.duration_ns);
	while (m->flights)
		free(heap_take(m).bytes);
	for (u32 i = 0; i < 2; i++)
		engine_free(m->end[i].s);
	result = m->result;
	free(m->heap);
	free(m);
	return result;
}
