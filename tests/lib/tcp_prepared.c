/* A connection for tests that call TCP's inner functions. */
#include <check.h>

#include "stack/linux.h"
#include "tests/lib/net_lib.h"
#include "tests/lib/tcp_prepared.h"

#define BYTE_0 (UINT32_MAX - 2499u)

void prepared_begin(struct prepared *c)
{
	struct tcp *t;
	int error;

	prepared_end(c);
	c->s = engine_new(NULL);
	c->sk = sock_get(c->s, sock_open(c->s, FAMILY_INET, LX_SOCK_STREAM, 0, &error));
	ck_assert(c->sk != NULL);
	t = c->t = tcp_of(c->s, c->sk);
	t->state = TCP_ESTABLISHED;
	t->cc = TCP_CC_RENO;
	t->mss = PREPARED_MSS;
	t->flags = TCPF_SACK;
	t->snd_una = t->snd_nxt = t->snd_end = t->snd_sml = t->recover = t->undo_una =
		t->lost_hint = t->fack = BYTE_0;
	t->snd_wscale = 10;
	t->snd_wnd = t->snd_max_wnd = PREPARED_WINDOW << t->snd_wscale;
	t->confirmed_ns = c->s->now_ns;
	t->cwnd = 10 * PREPARED_MSS;
	t->ssthresh = UINT32_MAX;
}

void prepared_end(struct prepared *c)
{
	if (c->s)
		engine_free(c->s);
	c->s = NULL;
}

u32 prepared_at(u32 byte)
{
	return BYTE_0 + byte;
}

void prepared_wait(struct prepared *c, u64 ms)
{
	c->s->now_ns += ms * NS_PER_MS;
}

static void send_bytes(struct prepared *c, u32 bytes)
{
	struct tcp *t = c->t;

	ck_assert(tcp_record_make(c->s, t) != NULL);
	tcp_record_sent(c->s, t, t->snd_nxt, t->snd_nxt + bytes);
	t->snd_nxt += bytes;
	t->snd_end = t->snd_nxt;
}

void prepared_send(struct prepared *c, u32 segments)
{
	send_bytes(c, segments * PREPARED_MSS);
}

void prepared_send_apart(struct prepared *c, u32 segments)
{
	for (u32 i = 0; i < segments; i++) {
		prepared_wait(c, 1);
		send_bytes(c, PREPARED_MSS);
	}
}

void prepared_send_again(struct prepared *c, u32 from, u32 to)
{
	tcp_recovery_sent(c->s, c->t, prepared_at(from), prepared_at(to));
}

struct tcp_segment prepared_ack(u32 byte)
{
	return (struct tcp_segment){
		.ack = prepared_at(byte), .flags = TH_ACK, .window = PREPARED_WINDOW};
}

void prepared_sack(struct tcp_segment *seg, u32 from, u32 to)
{
	seg->opt.flags |= TCP_OPT_SACK;
	seg->opt.sack[seg->opt.sack_count++] =
		(struct tcp_sack_block){prepared_at(from), prepared_at(to)};
}

void prepared_answer(struct prepared *c, const struct tcp_segment *seg)
{
	tcp_ack(c->s, c->sk, c->t, seg);
	prepared_check(c);
}

u32 prepared_flags(const struct prepared *c, u32 byte)
{
	struct tcp_sent *r = tcp_record(c->s, c->t);
	u32 i = r ? tcp_sent_find(r, prepared_at(byte)) : 0;

	ck_assert_msg(r && i < r->count, "byte %u is not in flight", byte);
	return tcp_sent_at(r, i)->flags;
}

void prepared_poison(struct prepared *c, u32 flags)
{
	struct tcp_sent *r = tcp_record(c->s, c->t);

	ck_assert(r != NULL && tcp_sent_has_room(r));
	*tcp_sent_at(r, r->count) = (struct tcp_sent_run){
		.start = c->t->snd_una, .end = c->t->snd_nxt + 7, .flags = flags};
}

void prepared_check(const struct prepared *c)
{
	const struct tcp_sent *r = tcp_record(c->s, c->t);

	if (r)
		ck_assert(tcp_sent_valid(r, c->t->snd_una, c->t->snd_nxt));
	else
		ck_assert_uint_eq(tcp_flight(c->t), 0);
}
