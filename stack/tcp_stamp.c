/*
 * SO_TIMESTAMPING of what TCP sends: for the last byte of each send, when it went to the device and
 * when the peer acknowledged it. The last few sends that are not finished are remembered; of more
 * the oldest are not reported, as with Linux sends that share a packet are not told apart.
 */
#include <string.h>

#include "stack/tcp_conn.h"

void tcp_stamp_queued(struct sock *sk, struct tcp *t)
{
	if (!(sk->tstamp_flags & TSTAMP_TX))
		return;
	if (t->stamps >= TCP_STAMPS) {
		t->stamps = TCP_STAMPS - 1;
		memmove(t->stamp, t->stamp + 1, t->stamps * sizeof(t->stamp[0]));
	}
	t->stamp[t->stamps] = (struct tcp_stamp){.end = t->snd_end};
	t->stamps++;
}

static u32 stamp_id(const struct sock *sk, const struct tcp_stamp *stamp)
{
	return sk->tstamp_flags & TSTAMP_OPT_ID ? stamp->end - 1 - sk->tstamp_key : 0;
}

/* ttl: of the ACK, 0: it is none that is reported */
static void tcp_stamp_report(struct stack *s, struct sock *sk, const struct tcp *t,
	const struct tcp_stamp *stamp, enum sock_tstamp_report point, u8 ttl)
{
	u8 stats[PLAN_STATS];
	u32 len = 0;

	if (sk->tstamp_flags & TSTAMP_OPT_STATS)
		len = tcp_stats_fill(s, sk, t, stamp->sent_ns, ttl, stats);
	sock_stamp_stats(s, sk, point, stamp_id(sk, stamp), stats, len);
}

void tcp_stamp_sent(struct stack *s, struct sock *sk, struct tcp *t, u32 seq, u32 end)
{
	for (u32 i = 0; i < MIN(t->stamps, TCP_STAMPS); i++) {
		struct tcp_stamp *stamp = &t->stamp[i];

		if (stamp->sent || seq_leq(stamp->end, seq) || seq_gt(stamp->end, end))
			continue;
		stamp->sent = true;
		stamp->sent_ns = s->now_ns;
		tcp_stamp_report(s, sk, t, stamp, TSTAMP_REPORT_SCHED, 0);
		tcp_stamp_report(s, sk, t, stamp, TSTAMP_REPORT_SND, 0);
	}
}

void tcp_stamp_acked(struct stack *s, struct sock *sk, struct tcp *t, u8 ttl)
{
	u32 kept = 0;

	for (u32 i = 0; i < MIN(t->stamps, TCP_STAMPS); i++) {
		if (seq_leq(t->stamp[i].end, t->snd_una))
			tcp_stamp_report(s, sk, t, &t->stamp[i], TSTAMP_REPORT_ACK, ttl);
		else
			t->stamp[kept++] = t->stamp[i];
	}
	t->stamps = (u8)kept;
}
