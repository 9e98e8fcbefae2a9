/*
 * What is done about losses: the state of recovery, what to send again, and how much at a time.
 *
 * tcp_rack.c finds what is lost and marks it in the record of what was sent (tcp_sent.h); without
 * SACK three duplicate ACKs, and then each partial one, mark the first segment outstanding (RFC
 * 6582). `pipe`, the estimate of what is in the network, is what is in flight without what has
 * arrived or is lost, and with what was sent again (RFC 6675 4).
 *
 *   TCP_OPEN      nothing is lost
 *
 *   TCP_RECOVERY  something is: it goes again at the pace of proportional rate reduction (RFC 9937:
 *                 cwnd follows pipe down to ssthresh as the ACKs come in, and up to it by
 *                 slow start when losses took it below)
 *
 *   TCP_LOSS      the timeout has struck: all that was not sent within the last round trip is lost,
 *                 and slow start begins
 *
 * A mark of congestion that the peer echoes (tcp_ecn.c) reduces the window in the same way, with
 * nothing to send again: `cwr`, until what was in flight and more has been acknowledged, so once in
 * a window of data (RFC 3168 6.1.2).
 *
 * Recovery ends when what was in flight at its begin (`recover`) is acknowledged. What turns out to
 * have been no loss is undone: all that was sent again is reported as a duplicate (RFC 3708), or an
 * ACK carries a timestamp from before it was (Eifel, RFC 3522, RFC 4015), or comes before anything
 * was sent again, or after a timeout the first ACKs are for what was not (F-RTO, RFC 5682).
 *
 * A peer that takes back what it has SACKed is noticed when its ACK stops at the begin of a SACKed
 * run (RFC 2018 8): all marks are cleared.
 */
#include <string.h>

#include "stack/tcp_conn.h"

/* --- the record --- */

struct tcp_sent *tcp_record(struct stack *s, const struct tcp *t)
{
	struct pkt *p = pkt_get(s, t->sent);

	return p ? (struct tcp_sent *)(void *)p->data : NULL;
}

/*
 * The record, with room for two more runs if that is to be had; NULL: no memory for a first one.
 * The largest is for paths of many segments, not for a peer that asks for tiny ones and makes each
 * SACK dear (CVE-2019-11478, CVE-2019-11479).
 */
struct tcp_sent *tcp_record_make(struct stack *s, struct tcp *t)
{
	static const u32 rooms[] = {PKT_SMALL_ROOM, PKT_MEDIUM_ROOM, PKT_LARGE_ROOM};
	struct tcp_sent *r = tcp_record(s, t);
	u32 kind = ref_kind(t->sent), larger = r ? kind - SLAB_PKT_SMALL + 1 : 0;
	struct pkt *p;
	ref next;

	if (r && (r->count + 2 <= r->max || kind == SLAB_PKT_HUGE ||
			 (kind == SLAB_PKT_LARGE && t->mss < TCP_MSS_DEFAULT)))
		return r;
	next = larger == ARRAY_LEN(rooms) ? pkt_alloc_huge(s)
					  : pkt_alloc(s, rooms[larger] - PKT_HEADROOM);
	p = pkt_get(s, next);
	if (!p)
		return r;
	tcp_sent_init((struct tcp_sent *)(void *)p->data, p->room);
	if (r) {
		tcp_sent_copy((struct tcp_sent *)(void *)p->data, r);
		pkt_release(s, t->sent);
	}
	t->sent = next;
	return tcp_record(s, t);
}

void tcp_record_lose(const struct stack *s, struct tcp *t, struct tcp_sent *r, u32 i)
{
	const struct tcp_sent_run *run = tcp_sent_at(r, i);

	if ((run->flags & (SENT_LOST | SENT_AGAIN)) != SENT_LOST) {
		t->lost += run->end - run->start;
		if (tcp_cc_of(t)->lost)
			tcp_cc_of(t)->lost(t, run, s->now_ns);
	}
	tcp_sent_mark(r, i, SENT_LOST, SENT_AGAIN);
}

void tcp_record_clear(struct stack *s, struct tcp *t)
{
	if (t->sent)
		pkt_release(s, t->sent);
	t->sent = 0;
}

void tcp_record_sent(struct stack *s, struct tcp *t, u32 seq, u32 end)
{
	struct tcp_sent *r = tcp_record(s, t);
	struct tcp_sent_run run = {.start = seq, .end = end};

	if (!r)
		return;
	tcp_delivery_sent(s, t, !r->count, &run);
	run.in_flight = tcp_pipe(s, t) + (end - seq);
	t->prr_out += end - seq;
	tcp_sent_add(r, &run);
}

/* Below the ACK: what it tells of each run. */
void tcp_record_acked(
	struct stack *s, struct tcp *t, const struct tcp_segment *seg, struct tcp_news *news)
{
	struct tcp_sent *r = tcp_record(s, t);

	for (u32 i = 0; r && i < r->count && seq_lt(tcp_sent_at(r, i)->start, seg->ack); i++) {
		struct tcp_sent_run run = *tcp_sent_at(r, i);

		run.end = seq_min(run.end, seg->ack);
		if (run.flags & SENT_SACKED)
			continue;
		news->delivered += run.end - run.start;
		if (!(run.flags & SENT_TWICE) && seq_leq(run.end, t->recover))
			news->original = true;
		tcp_rack_delivered(s, t, seg, &run);
		tcp_delivery_arrived(s, t, &run, &news->sample);
	}
	if (!r)
		return;
	tcp_sent_cut(r, seg->ack);
	if (!r->count) {
		tcp_record_clear(s, t);
	} else if (tcp_sent_at(r, 0)->flags & SENT_SACKED) {
		counter_inc(s, counter_tcp_sack_reneging);
		for (u32 i = 0; i < r->count; i++)
			tcp_sent_mark(r, i, 0, SENT_SACKED);
		t->lost_hint = seg->ack;
	}
}

/* RFC 2883 4: the first block reports a duplicate when it lies below the ACK or inside the second
 * block. */
static bool is_dsack(const struct tcp_segment *seg)
{
	const struct tcp_sack_block *b = seg->opt.sack;

	if (seq_lt(b[0].start, seg->ack))
		return true;
	return seg->opt.sack_count > 1 && seq_geq(b[0].start, b[1].start) &&
	       seq_leq(b[0].end, b[1].end);
}

/* The peer has start..end. */
static void record_sacked(struct stack *s, struct tcp *t, const struct tcp_segment *seg, u32 start,
	u32 end, struct tcp_news *news)
{
	struct tcp_sent *r = tcp_record_make(s, t);
	u32 from;

	if (!r || tcp_sent_split(r, end) == UINT32_MAX)
		return;
	from = tcp_sent_split(r, start); /* behind all runs if there is no room */
	for (u32 i = from; i < r->count && seq_lt(tcp_sent_at(r, i)->start, end); i++) {
		const struct tcp_sent_run *run = tcp_sent_at(r, i);

		if (run->flags & SENT_SACKED)
			continue;
		news->sacked += run->end - run->start;
		if (!(run->flags & SENT_TWICE) && seq_leq(run->end, t->recover))
			news->original = true;
		tcp_rack_delivered(s, t, seg, run);
		tcp_delivery_arrived(s, t, run, &news->sample);
		tcp_sent_mark(r, i, SENT_SACKED, SENT_LOST | SENT_AGAIN);
	}
	from = from ? from - 1 : 0;
	tcp_sent_join(r, from, MIN(tcp_sent_find(r, end), r->count));
}

/*
 * A duplicate is of something that has been sent: no longer than a window, and all of it below the
 * ACK, or else in flight. What lies below the flight that was reduced tells nothing about what was
 * sent again of it.
 */
static bool dsack_in(struct stack *s, struct tcp *t, const struct tcp_sack_block *b)
{
	u32 bytes = b->end - b->start;

	if (!seq_lt(b->start, b->end) || bytes > MAX(t->snd_max_wnd, t->undo_again) ||
		seq_gt(b->end, seq_lt(b->start, t->snd_una) ? t->snd_una : t->snd_nxt)) {
		counter_inc(s, counter_tcp_sack_invalid);
		return false;
	}
	counter_inc(s, counter_tcp_dsack_in);
	t->totals.dsack_dups++;
	if (seq_gt(b->end, t->undo_una))
		t->undo_again -= MIN(bytes, t->undo_again);
	tcp_rack_dsack(t);
	return true;
}

void tcp_record_sacks(
	struct stack *s, struct tcp *t, const struct tcp_segment *seg, struct tcp_news *news)
{
	if (!(t->flags & TCPF_SACK) || !(seg->opt.flags & TCP_OPT_SACK))
		return;
	for (u32 i = 0; i < seg->opt.sack_count; i++) {
		const struct tcp_sack_block *b = &seg->opt.sack[i];

		if (i == 0 && is_dsack(seg)) {
			news->dsack = dsack_in(s, t, b);
		} else if (b->end - t->snd_una > tcp_flight(t) ||
			   b->end - t->snd_una <= b->start - t->snd_una) {
			/* Only what is in flight, whatever the distance. */
			counter_inc(s, counter_tcp_sack_invalid);
		} else {
			record_sacked(s, t, seg, b->start, b->end, news);
		}
	}
	news->delivered += news->sacked;
}

u32 tcp_pipe(struct stack *s, const struct tcp *t)
{
	const struct tcp_sent *r = tcp_record(s, t);
	u32 gone = t->dupacks + (r ? r->sacked + r->lost : 0), flight = tcp_flight(t);

	return flight - MIN(gone, flight) + (r ? r->again : 0);
}

/* Takes the first `bytes` bytes outstanding for lost. */
static void lose_first(struct stack *s, struct tcp *t, u32 bytes)
{
	struct tcp_sent *r = tcp_record_make(s, t);

	if (!r || !r->count)
		return;
	tcp_sent_split(r, t->snd_una + MIN(bytes, tcp_flight(t)));
	if (tcp_sent_at(r, 0)->flags & SENT_SACKED)
		return;
	tcp_record_lose(s, t, r, 0);
	t->lost_hint = t->snd_una;
}

/* --- undoing --- */

/*
 * What is to be gone back to if this turns out to have been no loss. What was sent again before and
 * is still out belongs to it: its ACK tells nothing of what will be sent again from now on.
 */
static void undo_note(struct stack *s, struct tcp *t)
{
	struct tcp_sent *r = tcp_record(s, t);

	t->prior_cwnd = t->cwnd;
	t->prior_ssthresh = t->ssthresh;
	t->undo_again = r ? r->again : 0;
	t->undo_una = t->snd_una;
	t->undoable = true;
	if (!r || !r->count || !(r->again || tcp_sent_at(r, 0)->flags & SENT_TWICE))
		t->stamped = false;
}

/*
 * Nothing that was sent again was missing, or what was taken for lost has come before it was sent
 * again (Linux's tcp_packet_delayed). An ACK that acknowledges nothing new echoes the timestamp of
 * what was acknowledged last, however long ago that was sent.
 */
static bool undo_justified(
	const struct tcp *t, const struct tcp_segment *seg, const struct tcp_news *news)
{
	if (!t->undoable)
		return false;
	if (!t->stamped)
		return news->acked;
	if (!t->undo_again)
		return true;
	return news->acked && t->flags & TCPF_TIMESTAMP && seg->opt.flags & TCP_OPT_TIMESTAMP &&
	       seg->opt.tsecr && seq_lt(seg->opt.tsecr, t->again_stamp);
}

static void undo(struct stack *s, struct tcp *t)
{
	struct tcp_sent *r = tcp_record(s, t);

	tcp_timer_progress(s, t); /* what was answered is none of R2's retransmissions */
	counter_inc(s, t->recovery == TCP_LOSS ? counter_tcp_loss_undo : counter_tcp_full_undo);
	for (u32 i = 0; r && i < r->count; i++)
		tcp_sent_mark(r, i, 0, SENT_LOST);
	t->cwnd = MAX(t->cwnd, t->prior_cwnd);
	t->ssthresh = MAX(t->ssthresh, t->prior_ssthresh);
	t->recovery = TCP_OPEN;
	t->backoff = 0;
	t->dupacks = 0;
	t->dup_count = 0;
	t->undoable = t->stamped = t->frto = t->frto_new = false;
	if (tcp_cc_of(t)->undo)
		tcp_cc_of(t)->undo(t);
	else
		tcp_cc_of(t)->recovered(t);
}

/* --- the states --- */

static void recovery_reduce(struct stack *s, struct tcp *t, u32 in_flight)
{
	undo_note(s, t);
	t->ssthresh = tcp_cc_of(t)->ssthresh(t, in_flight);
	tcp_ecn_reduced(t);
}

/* Proportional rate reduction begins. */
static void prr_begin(struct tcp *t, const struct tcp_news *news)
{
	t->prr_delivered = t->prr_out = 0;
	t->recover_fs = MAX(news->flight - MIN(news->known, news->flight), t->mss);
	t->probe_out = false;
	t->tlp_at = NEVER;
}

static void cwr_enter(struct stack *s, struct tcp *t, const struct tcp_news *news)
{
	counter_inc(s, counter_tcp_ecn_reduced);
	recovery_reduce(s, t, MIN(news->flight, t->cwnd));
	t->undoable = false;
	t->recover = t->snd_nxt;
	prr_begin(t, news);
	t->cwr = true;
}

static void cwr_leave(struct tcp *t)
{
	t->cwr = false;
	if (!tcp_cc_of(t)->model)
		t->cwnd = t->ssthresh;
	tcp_cc_of(t)->recovered(t);
}

static void recovery_enter(struct stack *s, struct tcp *t, const struct tcp_news *news)
{
	counter_inc(
		s, t->flags & TCPF_SACK ? counter_tcp_sack_recovery : counter_tcp_reno_recovery);
	/* Not what limited transmit sent beyond the window (RFC 5681 3.2 step 2). A window that a
	 * mark is reducing is not reduced twice. */
	if (!t->cwr) {
		recovery_reduce(s, t, MIN(news->flight, t->cwnd));
		prr_begin(t, news);
	}
	t->cwr = false;
	t->recovery = TCP_RECOVERY;
	t->recover = t->snd_nxt;
	t->rescued = false;
	t->probe_out = false;
	t->tlp_at = NEVER;
}

static void recovery_leave(struct tcp *t)
{
	if (t->recovery == TCP_RECOVERY && !tcp_cc_of(t)->model)
		t->cwnd = t->ssthresh;
	tcp_cc_of(t)->recovered(t);
	tcp_rack_recovered(t);
	t->recovery = TCP_OPEN;
	t->dup_count = 0;
	t->dupacks = 0;
	t->flags &= ~(u32)TCPF_RETRANSMITTED;
	t->frto = t->frto_new = t->undoable = false;
}

/* The probe of the tail has mended a loss: the window answers for it (RFC 8985 7.4.2). */
void tcp_recovery_probe_mended(struct tcp *t)
{
	if (tcp_cc_of(t)->model)
		return;
	t->ssthresh = tcp_cc_of(t)->ssthresh(t, t->cwnd);
	t->cwnd = t->ssthresh;
	tcp_cc_of(t)->recovered(t);
	tcp_ecn_reduced(t);
}

/* RFC 5682 3.1: the answers to the first retransmission after a timeout tell whether that was one
 * too early. */
static void frto_ack(struct stack *s, struct tcp *t, const struct tcp_news *news)
{
	if (!t->frto)
		return;
	if (news->original) {
		counter_inc(s, counter_tcp_spurious_timeout);
		undo(s, t);
	} else if (seq_gt(t->snd_nxt, t->recover)) {
		if (news->sacked)
			t->frto = false; /* step 3a: it was real */
	} else if (news->acked) { /* of all: recovery ends, whatever is noted here */
		t->recover = t->snd_nxt;
		if (seq_lt(t->snd_nxt, t->snd_end) && seq_lt(t->snd_nxt, t->snd_una + t->snd_wnd))
			t->frto_new = true; /* step 2b */
		else
			t->frto = false;
	}
}

/*
 * Without SACK a duplicate stands for one more segment that has arrived. That one was sent at least
 * a round trip ago: there are no more of them in a round trip than there were segments in flight,
 * however many a receiver sends that wants more than its share (RFC 5681 3.2 step 4).
 */
static bool reno_arrived(struct stack *s, const struct tcp *t)
{
	struct tcp_sent *r = tcp_record(s, t);
	u32 i = r ? tcp_sent_find(r, t->snd_una + t->mss + t->dupacks)
		  : 0; /* the first is missing */

	if (!r || i >= r->count)
		return false;
	return t->rtt.min_ns == NEVER ||
	       tcp_us_now(s) - tcp_sent_at(r, i)->sent_us >= t->rtt.min_ns / 2 / NS_PER_US;
}

/* RFC 6582 without SACK: each duplicate stands for a segment that has left. */
static void reno_ack(struct stack *s, struct tcp *t, struct tcp_news *news)
{
	if (news->acked) { /* the segment sent again, and what had arrived behind it (3.2 step 3) */
		u32 known = MIN(t->dupacks, news->acked - MIN(news->acked, t->mss));

		t->dupacks = t->recovery == TCP_OPEN ? 0 : t->dupacks - known;
		news->delivered -= MIN(known, news->delivered);
		t->dup_count = 0;
	}
	if (news->duplicate) {
		t->dup_count++;
		if (reno_arrived(s, t)) {
			t->dupacks += t->mss;
			news->delivered += t->mss;
		}
	}
	t->dupacks = MIN(t->dupacks, tcp_flight(t));
	if (!tcp_flight(t))
		return;
	if ((t->recovery == TCP_OPEN && t->dup_count >= t->dup_thresh) ||
		(t->recovery == TCP_RECOVERY && news->acked)) /* of a part, or it had ended */
		lose_first(s, t, t->mss);
}

/* RFC 6937 3, with the safe bound of its successor: conservative while more is found lost. */
static void prr(struct stack *s, struct tcp *t, const struct tcp_news *news, u32 lost)
{
	u32 pipe = tcp_pipe(s, t), room;
	u64 goal;

	if (tcp_cc_of(t)->model)
		return;
	t->prr_delivered += news->delivered;
	if (pipe > t->ssthresh) {
		goal = ((u64)t->prr_delivered * t->ssthresh + t->recover_fs - 1) / t->recover_fs;
		room = (u32)(goal - MIN(goal, t->prr_out));
	} else {
		room = MAX(t->prr_delivered - MIN(t->prr_delivered, t->prr_out), news->delivered);
		if (news->acked && !lost)
			room += t->mss;
		room = MIN(room, t->ssthresh - pipe);
	}
	/* The first goes at once, and without SACK each one that a partial ACK shows (RFC 6582 3.2
	 * step 3). */
	if (!t->prr_out || (news->acked && !(t->flags & TCPF_SACK)))
		room = MAX(room, (u32)t->mss);
	t->cwnd = MAX(pipe + room, (u32)t->mss);
}

void tcp_recovery_ack(
	struct stack *s, struct tcp *t, const struct tcp_segment *seg, struct tcp_news *news)
{
	u32 lost = 0;

	if (news->ece)
		t->undoable = false; /* there is congestion, whatever was lost */
	if (t->recovery == TCP_LOSS)
		frto_ack(s, t, news);
	if ((news->acked || news->dsack) && undo_justified(t, seg, news))
		undo(s, t);
	if (t->recovery != TCP_OPEN && news->acked && seq_geq(t->snd_una, t->recover))
		recovery_leave(t);
	if (t->flags & TCPF_SACK)
		lost = tcp_rack_detect(s, t);
	else
		reno_ack(s, t, news);
	tcp_recovery_lost(s, t, news);
	if (t->cwr && news->acked && seq_gt(t->snd_una, t->recover))
		cwr_leave(t);
	/* Until the CWR is sent the peer only repeats what the window was reduced for. */
	if (news->ece && !t->cwr && t->recovery == TCP_OPEN && news->flight &&
		!(t->ecn.flags & TCP_ECN_SEND_CWR) && !tcp_cc_of(t)->marked)
		cwr_enter(s, t, news);
	if (t->recovery == TCP_RECOVERY || t->cwr)
		prr(s, t, news, lost);
}

void tcp_recovery_lost(struct stack *s, struct tcp *t, const struct tcp_news *news)
{
	const struct tcp_sent *r = tcp_record(s, t);

	if (t->recovery == TCP_OPEN && r && r->lost && !tcp_mtup_lost(s, t))
		recovery_enter(s, t, news);
}

/* What tcp_rack.c's timer has found lost. */
void tcp_recovery_late(struct stack *s, struct tcp *t)
{
	const struct tcp_sent *r = tcp_record(s, t);
	struct tcp_news news = {.flight = tcp_flight(t), .known = r ? r->sacked : 0};

	if (!tcp_rack_detect(s, t))
		return;
	tcp_recovery_lost(s, t, &news);
	if (t->recovery == TCP_RECOVERY)
		prr(s, t, &news, 1);
}

void tcp_recovery_timeout(struct stack *s, struct tcp *t)
{
	struct tcp_sent *r = tcp_record(s, t);
	bool fresh = t->recovery == TCP_OPEN;

	/* Once for the same flight (RFC 5681 3.1). */
	if ((fresh && !t->cwr) || seq_geq(t->snd_una, t->recover) ||
		(t->recovery == TCP_LOSS && !t->retries))
		recovery_reduce(s, t, tcp_flight(t));
	tcp_ecn_reduced(t);
	t->cwr = false;
	tcp_cc_of(t)->timeout(t);
	for (u32 i = 0; r && i < r->count; i++) {
		/* A second timeout: what was SACKed may have been dropped by the peer (RFC 2018 8).
		 */
		if (t->retries)
			tcp_sent_mark(r, i, 0, SENT_SACKED);
		if (!(tcp_sent_at(r, i)->flags & SENT_SACKED) &&
			(i == 0 || !tcp_rack_waits(s, t, tcp_sent_at(r, i))))
			tcp_record_lose(s, t, r, i);
	}
	t->flags &= ~(u32)TCPF_RTT_TIMING;
	t->probe_out = t->frto_new = t->frto = false; /* Karn */
	if (s->tunables.tcp_frto && t->flags & TCPF_SACK && (fresh || t->retries))
		t->frto = true;
	t->recovery = TCP_LOSS;
	t->recover = t->snd_nxt;
	t->lost_hint = t->snd_una;
	t->dup_count = 0;
	t->dupacks = 0;
	t->reo_at = t->tlp_at = NEVER;
	t->cwnd = tcp_pipe(s, t) + t->mss; /* RFC 5681 3.1: the loss window */
}

void tcp_recovery_resend(struct stack *s, struct tcp *t)
{
	tcp_recovery_resend_range(s, t, t->snd_una, t->snd_nxt);
}

/* The same for a part of it. */
void tcp_recovery_resend_range(struct stack *s, struct tcp *t, u32 start, u32 end)
{
	struct tcp_sent *r = tcp_record_make(s, t);

	if (!tcp_flight(t))
		return;
	if (r) {
		tcp_sent_split(r, end);
		tcp_sent_split(r, start);
	}
	for (u32 i = 0; r && i < r->count; i++) {
		struct tcp_sent_run *run = tcp_sent_at(r, i);

		if (!(run->flags & SENT_SACKED) && seq_lt(run->start, end) &&
			seq_gt(run->end, start))
			tcp_sent_mark(r, i, SENT_LOST, SENT_AGAIN);
	}
	t->recovery = TCP_LOSS;
	t->recover = t->snd_nxt;
	t->lost_hint = t->snd_una;
	t->dup_count = 0;
	t->dupacks = 0;
	t->flags &= ~(u32)TCPF_RTT_TIMING;
	t->undoable = t->cwr = false;
}

/* --- what to send --- */

bool tcp_recovery_next(struct stack *s, struct tcp *t, u32 *seq, u32 *end)
{
	struct tcp_sent *r = tcp_record(s, t);
	u32 i;

	if (!r || !r->lost || t->frto_new)
		return false;
	for (i = tcp_sent_find(r, seq_max(t->lost_hint, t->snd_una)); i < r->count; i++) {
		if ((tcp_sent_at(r, i)->flags & (SENT_LOST | SENT_AGAIN)) == SENT_LOST)
			break;
	}
	if (i >= r->count) {
		t->lost_hint = t->snd_nxt;
		return false;
	}
	*seq = t->lost_hint = tcp_sent_at(r, i)->start;
	while (i + 1 < r->count &&
		(tcp_sent_at(r, i + 1)->flags & (SENT_LOST | SENT_AGAIN)) == SENT_LOST)
		i++;
	*end = tcp_sent_at(r, i)->end;
	return true;
}

/* RFC 6675's NextSeg(), rule 3: below what is SACKed, and neither lost nor sent again. RACK would
 * know. */
static bool unproven(const struct tcp *t, struct tcp_sent *r, u32 *seq, u32 *end)
{
	for (u32 i = 0; i < r->count && seq_lt(tcp_sent_at(r, i)->start, t->fack); i++) {
		const struct tcp_sent_run *run = tcp_sent_at(r, i);

		if (run->flags & (SENT_SACKED | SENT_LOST | SENT_AGAIN))
			continue;
		*seq = run->start;
		*end = run->end;
		return true;
	}
	return false;
}

/* When there is no loss and nothing new to send: rule 3, and rule 4, once in a recovery the end of
 * what is in flight. */
bool tcp_recovery_rescue(struct stack *s, struct tcp *t, u32 *seq, u32 *end)
{
	struct tcp_sent *r = tcp_record(s, t);
	const struct tcp_sent_run *last;

	if (t->recovery != TCP_RECOVERY || !(t->flags & TCPF_SACK) || !r || !r->count)
		return false;
	if (!(s->tunables.tcp_recovery & 1) && unproven(t, r, seq, end))
		return true;
	if (t->rescued)
		return false;
	last = tcp_sent_at(r, r->count - 1);
	if (last->flags & (SENT_SACKED | SENT_TWICE) || seq_gt(last->end, t->recover))
		return false;
	t->rescued = true;
	*end = last->end;
	*seq = seq_max(last->start, last->end - MIN((u32)t->mss, last->end - last->start));
	return true;
}

void tcp_recovery_sent(struct stack *s, struct tcp *t, u32 seq, u32 end)
{
	struct tcp_sent *r = tcp_record_make(s, t);
	u32 from;

	if (!r)
		return;
	t->prr_out += end - seq;
	t->undo_again += end - seq;
	if (t->undoable && !t->stamped) {
		t->stamped = true;
		t->again_stamp = tcp_clock(s, t->ts_offset);
	}
	tcp_sent_split(r, end);
	tcp_sent_split(r, seq);
	/* Without room to tell the parts apart all of it counts as sent again. */
	from = tcp_sent_find(r, seq);
	for (u32 i = from; i < r->count && seq_lt(tcp_sent_at(r, i)->start, end); i++) {
		struct tcp_sent_run *run = tcp_sent_at(r, i);

		if (run->flags & SENT_SACKED)
			continue;
		tcp_sent_mark(r, i, SENT_AGAIN | SENT_TWICE, 0);
		tcp_delivery_sent(s, t, false, run);
		run->in_flight = tcp_pipe(s, t);
	}
	tcp_sent_join(r, from ? from - 1 : 0, MIN(tcp_sent_find(r, end), r->count));
}
