/*
 * RACK-TLP (RFC 8985): losses found by time, and a probe of the tail.
 *
 * RACK: of all that has arrived, what was sent last tells that whatever was sent before it, and a
 * reordering window longer ago, is lost. The window is zero until the path has been seen to reorder
 * (or while three segments or recovery speak for a loss), then a quarter of the least round trip, a
 * quarter more with each round trip in which the peer reports duplicates. What is not late enough
 * yet is looked at again when it will be (t->reo_at).
 *
 * TLP: when what is in flight has not been answered for two round trips, one more segment (new, or
 * the last again) asks for an answer, so that the loss of a tail is found by SACK and not by the
 * timeout. If the probe alone has mended it, the window is lowered as for any loss.
 *
 * Both need SACK. Times are microseconds, in the record of what was sent (tcp_sent.h).
 */
#include "stack/tcp_conn.h"

#define STATIC_WINDOW 2 /* bits of tcp_recovery, as Linux's TCP_RACK_STATIC_REO_WND */
#define NO_DUPTHRESH  4
#define TLP_MIN_NS (10 * NS_PER_MS)
#define TLP_ACK_DELAY_NS                                                                           \
	(200 * NS_PER_MS) /* a peer's delayed ACK: RFC 8985 7.2's TLP.max_ack_delay, Linux's value \
			   */
#define REO_PERSIST  16	  /* recoveries that a widened window lasts */
#define REO_MULT_MAX 254

u32 tcp_us_now(const struct stack *s)
{
	return (u32)(s->now_ns / NS_PER_US);
}

/* RFC 8985 6.2 step 1: RACK.segment was sent after this one. */
static bool sent_after(u32 a_us, u32 a_end, u32 b_us, u32 b_end)
{
	return (s32)(a_us - b_us) > 0 || (a_us == b_us && seq_gt(a_end, b_end));
}

/* The ACK may answer an earlier transmission of it (step 2). */
static bool ambiguous(const struct stack *s, const struct tcp *t, const struct tcp_segment *seg,
	const struct tcp_sent_run *run)
{
	u32 age_us = tcp_us_now(s) - run->sent_us;

	if (!(run->flags & SENT_TWICE))
		return false;
	if (t->flags & TCPF_TIMESTAMP && seg->opt.flags & TCP_OPT_TIMESTAMP && seg->opt.tsecr &&
		seq_lt(seg->opt.tsecr, tcp_clock(s, t->ts_offset) - age_us / 1000))
		return true;
	return t->rtt.min_ns != NEVER && age_us < t->rtt.min_ns / NS_PER_US;
}

/* Linux's tcp_check_sack_reordering: how far what has just arrived was behind. */
static void saw_reordering(struct stack *s, struct tcp *t, u32 start)
{
	u32 segments = (t->fack - start + t->mss - 1) / MAX(t->mss, 1u);

	t->reordering = true;
	t->totals.reord_seen++;
	if (segments > t->dup_thresh)
		t->dup_thresh = MIN(segments, s->tunables.tcp_max_reordering);
}

void tcp_rack_delivered(struct stack *s, struct tcp *t, const struct tcp_segment *seg,
	const struct tcp_sent_run *run)
{
	if (!ambiguous(s, t, seg, run)) {
		t->rack_rtt_us = tcp_us_now(s) - run->sent_us;
		if (!t->rack_known ||
			sent_after(run->sent_us, run->end, t->rack_sent_us, t->rack_end)) {
			t->rack_sent_us = run->sent_us;
			t->rack_end = run->end;
			t->rack_known = true;
		}
	}
	/* Step 3 */
	if (seq_gt(run->end, t->fack))
		t->fack = run->end;
	else if (seq_lt(run->end, t->fack) && !(run->flags & SENT_TWICE))
		saw_reordering(s, t, run->start);
}

/* Step 4: the reordering window. */
static u32 reo_window_us(const struct stack *s, const struct tcp *t, const struct tcp_sent *r)
{
	u32 mode = s->tunables.tcp_recovery;
	u64 us;

	if (!t->reordering &&
		(t->recovery != TCP_OPEN ||
			(r->sacked >= t->dup_thresh * (u32)t->mss && !(mode & NO_DUPTHRESH))))
		return 0;
	if (t->rtt.min_ns == NEVER)
		return 0;
	us = t->rtt.min_ns / NS_PER_US / 4 * (mode & STATIC_WINDOW ? 1 : t->reo_mult);
	return (u32)MIN(us, t->rtt.srtt_ns / NS_PER_US);
}

void tcp_rack_dsack(struct tcp *t)
{
	/* Once in a round trip; a mark that is none of this flight is from long ago. */
	if (seq_lt(t->snd_una, t->dsack_round) && seq_leq(t->dsack_round, t->snd_nxt))
		return;
	t->dsack_round = t->snd_nxt;
	t->reo_persist = REO_PERSIST;
	if (t->reo_mult < REO_MULT_MAX)
		t->reo_mult++;
}

void tcp_rack_recovered(struct tcp *t)
{
	if (t->reo_persist && --t->reo_persist == 0)
		t->reo_mult = 1;
}

/* RFC 6675's IsLost(), when RACK is switched off: above it three separate runs are SACKed, or more
 * than two segments' bytes. */
static u32 count_lost(const struct stack *s, struct tcp *t, struct tcp_sent *r)
{
	u32 above = 0, runs = 0, found = 0;
	bool joined = false; /* what is above it is SACKed */

	for (u32 i = r->count; i-- > 0;) {
		const struct tcp_sent_run *run = tcp_sent_at(r, i);

		if (run->flags & SENT_SACKED) {
			above += run->end - run->start;
			runs += !joined;
		} else if ((runs >= t->dup_thresh || above > (t->dup_thresh - 1) * (u32)t->mss) &&
			   !(run->flags & (SENT_LOST | SENT_AGAIN))) {
			found += run->end - run->start;
			tcp_record_lose(s, t, r, i);
			t->lost_hint = seq_min(t->lost_hint, run->start);
		}
		joined = run->flags & SENT_SACKED;
	}
	return found;
}

/* Step 5 */
u32 tcp_rack_detect(struct stack *s, struct tcp *t)
{
	struct tcp_sent *r = tcp_record(s, t);
	u32 now_us = tcp_us_now(s), found = 0, wait_us = 0, window_us;

	t->reo_at = NEVER;
	if (!r || !t->rack_known || !(t->flags & TCPF_SACK))
		return 0;
	if (!(s->tunables.tcp_recovery & 1))
		return count_lost(s, t, r);
	window_us = reo_window_us(s, t, r);
	for (u32 i = 0; i < r->count; i++) {
		const struct tcp_sent_run *run = tcp_sent_at(r, i);
		u32 age_us = now_us - run->sent_us, due_us = t->rack_rtt_us + window_us;

		if (run->flags & SENT_SACKED ||
			(run->flags & (SENT_LOST | SENT_AGAIN)) == SENT_LOST)
			continue;
		if (!sent_after(t->rack_sent_us, t->rack_end, run->sent_us, run->end)) {
			if (!(run->flags & SENT_TWICE))
				break; /* all that lies above was sent later still */
			continue;
		}
		if (age_us < due_us) {
			wait_us = MAX(wait_us, due_us - age_us);
			continue;
		}
		if (run->flags & SENT_AGAIN)
			counter_inc(s, counter_tcp_lost_retransmit);
		found += run->end - run->start;
		tcp_record_lose(s, t, r, i);
		t->lost_hint = seq_min(t->lost_hint, run->start);
	}
	if (wait_us)
		t->reo_at = s->now_ns + wait_us * NS_PER_US;
	return found;
}

bool tcp_rack_waits(struct stack *s, const struct tcp *t, const struct tcp_sent_run *run)
{
	const struct tcp_sent *r = tcp_record(s, t);

	return t->flags & TCPF_SACK && t->rack_known && r &&
	       tcp_us_now(s) - run->sent_us < t->rack_rtt_us + reo_window_us(s, t, r);
}

/* --- the tail loss probe --- */

void tcp_tlp_arm(struct stack *s, struct tcp *t)
{
	const struct tcp_sent *r = tcp_record(s, t);
	u64 pto = NS_PER_S;

	t->tlp_at = NEVER;
	if (!s->tunables.tcp_early_retrans || !(t->flags & TCPF_SACK) || t->recovery != TCP_OPEN ||
		!r || !r->count || r->sacked || t->probe_out || !tcp_synchronized(t) ||
		t->rtx_at == NEVER)
		return;
	if (seq_gt(t->snd_nxt, t->snd_una + t->snd_wnd)) /* a window that shrank: nothing may go */
		return;
	if (t->rtt.srtt_ns) {
		pto = 2 * t->rtt.srtt_ns;
		if (tcp_flight(t) <= t->mss)
			pto += TLP_ACK_DELAY_NS;
		pto = MAX(pto, TLP_MIN_NS);
	}
	t->tlp_at = MIN(MAX(MAX(t->sent_ns, t->acked_ns), t->pace_ns) + pto, t->rtx_at);
}

/* RFC 8985 7.3: the probe; false when there was nothing to send it with. */
bool tcp_tlp_send(struct stack *s, struct sock *sk, struct tcp *t)
{
	u32 before = t->snd_nxt, end = t->snd_nxt, sent_end;
	const struct tcp_sent *r = tcp_record(s, t);

	t->tlp_at = NEVER;
	if (!r || !r->count || t->recovery != TCP_OPEN || t->probe_out)
		return false;
	if (seq_lt(t->snd_nxt, t->snd_end))
		tcp_output_forced(s, sk, t);
	if (t->snd_nxt == before) {
		u32 start = r->run[r->first + r->count - 1].start;

		if (end - start > t->mss)
			start = end - t->mss;
		if (!tcp_retransmit(s, sk, t, start, end, &sent_end)) {
			t->tlp_at = NEVER;
			return false;
		}
		tcp_recovery_sent(s, t, start, sent_end);
		t->probe_again = true;
	} else {
		t->probe_again = false;
	}
	counter_inc(s, counter_tcp_loss_probe);
	t->probe_out = true;
	t->tlp_end = t->snd_nxt;
	t->rtx_at = NEVER; /* started anew */
	return true;
}

/*
 * RFC 8985 7.4.2: what became of the probe. When it was the last segment again it has mended a
 * loss, and this is true, unless the peer tells before it acknowledges anything that was sent later
 * that it had both copies: by a DSACK, or by the same ACK once more (`repeated`).
 */
bool tcp_tlp_ack(
	struct stack *s, struct tcp *t, const struct tcp_segment *seg, bool dsack, bool repeated)
{
	if (!t->probe_out || seq_lt(seg->ack, t->tlp_end))
		return false;
	if (!t->probe_again || dsack || repeated) {
		t->probe_out = false;
		return false;
	}
	if (seg->ack == t->tlp_end)
		return false;
	t->probe_out = false;
	counter_inc(s, counter_tcp_loss_probe_recovery);
	return true;
}
