/*
 * What has been lost and what to send again: RFC 6675 with SACK, RFC 6582 without.
 *
 * Everything is computed from sequence numbers: the scoreboard holds what the peer has SACKed above
 * snd_una; below lost_edge whatever is not SACKed is lost; below high_rxt it has been sent again in
 * this recovery. So `pipe`, the estimate of what is in the network, is a sum over ranges. Without
 * SACK each duplicate ACK stands for one segment that has left (dupacks), and only the first
 * outstanding segment is known to be lost. A timeout moves lost_edge to snd_nxt: all is lost, and
 * the same rules send it again under a window that starts at one segment.
 *
 * A retransmission is itself lost when data first sent after it has been SACKed, by more than the
 * usual reordering, and its hole is still there; without this only the timeout would help while the
 * queue that overflowed is still full. So the range behind a hole remembers (range.last is 1) that
 * the hole has been sent again to its end, and what snd_nxt was then (range.first).
 *
 * The scoreboard holds as many ranges as fit its packet buffer (tcp_sets.c). What a peer reports
 * beyond that is not remembered. A peer that takes back what it has SACKed is noticed when its ACK
 * stops at the begin of a SACKed range (RFC 2018 8): all marks are cleared.
 */
#include "stack/tcp_conn.h"

#define DUP_THRESH 3

struct tcp_ranges *tcp_scoreboard(struct stack *s, const struct tcp *t)
{
	return tcp_set_get(s, t->scoreboard);
}

void tcp_scoreboard_clear(struct stack *s, struct tcp *t)
{
	if (t->scoreboard)
		pkt_release(s, t->scoreboard);
	t->scoreboard = 0;
	t->sacked = 0;
}

void tcp_scoreboard_cut(struct stack *s, struct tcp *t)
{
	struct tcp_ranges *r = tcp_scoreboard(s, t);

	if (!r)
		return;
	t->sacked -= tcp_ranges_cut(r, t->snd_una);
	if (r->count == 0) {
		tcp_scoreboard_clear(s, t);
	} else if (seq_leq(r->range[0].start, t->snd_una)) {
		counter_inc(s, counter_tcp_sack_reneging);
		tcp_scoreboard_clear(s, t);
		t->high_rxt = t->snd_una;
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

u32 tcp_sack_update(struct stack *s, struct tcp *t, const struct tcp_segment *seg, bool *dsack)
{
	u32 added = 0;

	*dsack = false;
	if (!(t->flags & TCPF_SACK) || !(seg->opt.flags & TCP_OPT_SACK))
		return 0;
	for (u32 i = 0; i < seg->opt.sack_count; i++) {
		const struct tcp_sack_block *b = &seg->opt.sack[i];
		struct tcp_ranges *r;

		if (i == 0 && is_dsack(seg)) {
			*dsack = true;
			t->totals.dsack_dups++;
			counter_inc(s, counter_tcp_dsack_in);
			continue;
		}
		/* Only what is in flight: snd_una <= start < end <= snd_nxt, whatever the distance.
		 */
		if (b->start - t->snd_una >= tcp_flight(t) || b->end - t->snd_una > tcp_flight(t) ||
			b->end - t->snd_una <= b->start - t->snd_una) {
			counter_inc(s, counter_tcp_sack_invalid);
			continue;
		}
		r = tcp_set_make_room(s, &t->scoreboard);
		if (r)
			added += tcp_ranges_add(r, b->start, b->end);
	}
	t->sacked += added;
	return added;
}

/* Sequence numbers in start..end that are not SACKed. */
static u32 tcp_unsacked(struct stack *s, const struct tcp *t, u32 start, u32 end)
{
	struct tcp_ranges *r = tcp_scoreboard(s, t);

	if (seq_geq(start, end))
		return 0;
	return end - start - (r ? tcp_ranges_covered(r, start, end) : 0);
}

/* The hole in front of a range was sent again, and that may still arrive. */
static bool tcp_hole_waits(const struct tcp_ranges *r, const struct tcp_range *behind, u32 mss)
{
	return behind->last &&
	       !seq_gt(r->range[r->count - 1].end, behind->first + DUP_THRESH * mss);
}

/* Sequence numbers that were sent again and have not been SACKed. */
static u32 tcp_sent_again(struct stack *s, const struct tcp *t)
{
	struct tcp_ranges *r = tcp_scoreboard(s, t);
	u32 from = t->snd_una, bytes = 0;

	for (u32 i = 0; r && i < r->count; i++) {
		const struct tcp_range *range = &r->range[i];

		if (range->last)
			bytes += range->start - from;
		else if (seq_gt(t->high_rxt, from))
			bytes += seq_min(t->high_rxt, range->start) - from;
		from = range->end;
	}
	return bytes + (seq_gt(t->high_rxt, from) ? t->high_rxt - from : 0);
}

u32 tcp_pipe(struct stack *s, const struct tcp *t)
{
	u32 flight = tcp_flight(t), gone, again = 0;

	if (t->recovery == TCP_OPEN && !t->sacked && !t->dupacks)
		return flight;
	gone = t->sacked + t->dupacks + tcp_unsacked(s, t, t->snd_una, t->lost_edge);
	if (t->recovery != TCP_OPEN)
		again = tcp_sent_again(s, t);
	return flight - MIN(gone, flight) + again;
}

/* RFC 6675's IsLost(): three ranges, or more than two segments' bytes, SACKed above. */
static void tcp_update_lost(struct stack *s, struct tcp *t)
{
	struct tcp_ranges *r = tcp_scoreboard(s, t);
	u32 bytes = 0, ranges = 0;

	t->lost_edge = seq_max(t->lost_edge, t->snd_una);
	if (!(t->flags & TCPF_SACK)) {
		if (t->recovery == TCP_RECOVERY)
			t->lost_edge =
				seq_max(t->lost_edge, seq_min(t->snd_una + t->mss, t->snd_nxt));
		return;
	}
	for (u32 i = r ? r->count : 0; i-- > 0;) {
		bytes += r->range[i].end - r->range[i].start;
		ranges++;
		if (ranges >= DUP_THRESH || bytes > (DUP_THRESH - 1) * (u32)t->mss) {
			t->lost_edge = seq_max(t->lost_edge, r->range[i].start);
			return;
		}
	}
}

/* Holes whose retransmission was lost are to be sent again, from the first of them on. */
static void tcp_check_retransmissions(struct stack *s, struct tcp *t)
{
	struct tcp_ranges *r = tcp_scoreboard(s, t);
	u32 from = t->snd_una;
	bool found = false;

	for (u32 i = 0; r && t->recovery != TCP_OPEN && i < r->count; i++) {
		struct tcp_range *range = &r->range[i];

		if (range->last && !tcp_hole_waits(r, range, t->mss)) {
			counter_inc(s, counter_tcp_lost_retransmit);
			range->last = 0;
			if (!found)
				t->high_rxt = seq_min(t->high_rxt, from);
			found = true;
		}
		from = range->end;
	}
}

void tcp_recovery_sent(struct stack *s, struct tcp *t, u32 end)
{
	struct tcp_ranges *r = tcp_scoreboard(s, t);
	u32 i = r ? tcp_ranges_find(r, end) : 0;

	t->high_rxt = seq_max(t->high_rxt, end);
	if (!r || i == r->count || r->range[i].start != end)
		return;
	r->range[i].first = t->snd_nxt;
	r->range[i].last = 1;
}

static void tcp_recovery_enter(struct stack *s, struct tcp *t)
{
	counter_inc(
		s, t->flags & TCPF_SACK ? counter_tcp_sack_recovery : counter_tcp_reno_recovery);
	/* Not what limited transmit sent beyond the window (RFC 5681 3.2 step 2). */
	t->ssthresh = tcp_cc_of(t)->ssthresh(t, MIN(tcp_flight(t), t->cwnd));
	t->cwnd = t->ssthresh;
	t->recovery = TCP_RECOVERY;
	t->recover = t->snd_nxt;
	t->high_rxt = t->snd_una;
	t->rescue = t->snd_una;
	/* The first segment is sent again in any case (RFC 6675 5 (4.3)). */
	t->lost_edge = seq_max(t->lost_edge, seq_min(t->snd_una + t->mss, t->snd_nxt));
}

static void tcp_recovery_leave(struct tcp *t)
{
	if (t->recovery == TCP_RECOVERY)
		t->cwnd = t->ssthresh;
	tcp_cc_of(t)->recovered(t);
	t->recovery = TCP_OPEN;
	t->dup_count = 0;
	t->dupacks = 0;
	t->lost_edge = t->snd_una;
	t->flags &= ~(u32)(TCPF_RTO_SPENT | TCPF_RETRANSMITTED);
}

void tcp_recovery_ack(struct stack *s, struct tcp *t, u32 acked, bool duplicate)
{
	if (t->recovery != TCP_OPEN) {
		t->high_rxt = seq_max(t->high_rxt, t->snd_una);
		if (acked && seq_geq(t->snd_una, t->recover))
			tcp_recovery_leave(t);
		else if (acked) /* the segment sent again, and what had arrived behind it (RFC
				   6582 3.2 step 3) */
			t->dupacks -= MIN(t->dupacks, acked > t->mss ? acked - t->mss : 0);
	} else if (acked) {
		t->dup_count = 0;
		t->dupacks = 0;
	}
	if (duplicate) {
		t->dup_count++;
		if (!(t->flags & TCPF_SACK))
			t->dupacks = MIN(t->dupacks + t->mss, tcp_flight(t));
	}
	tcp_update_lost(s, t);
	tcp_check_retransmissions(s, t);
	if (t->recovery == TCP_OPEN &&
		(t->dup_count >= DUP_THRESH || seq_gt(t->lost_edge, t->snd_una)) && tcp_flight(t))
		tcp_recovery_enter(s, t);
}

void tcp_recovery_timeout(struct stack *s, struct tcp *t)
{
	struct tcp_ranges *r = tcp_scoreboard(s, t);

	if (!(t->flags & TCPF_RTO_SPENT)) {
		t->ssthresh = tcp_cc_of(t)->ssthresh(
			t, tcp_flight(t)); /* once for the same flight: RFC 5681 3.1 */
		t->flags |= TCPF_RTO_SPENT;
	}
	tcp_cc_of(t)->timeout(t);
	/* A second timeout: what was SACKed may have been dropped by the peer (RFC 2018 8). */
	if (r && t->retries)
		tcp_scoreboard_clear(s, t);
	else
		for (u32 i = 0; r && i < r->count; i++)
			r->range[i].last = 0;
	t->cwnd = t->mss; /* RFC 5681 3.1: the loss window */
	t->recovery = TCP_LOSS;
	t->recover = t->snd_nxt;
	t->lost_edge = t->snd_nxt;
	t->high_rxt = t->snd_una;
	t->rescue = t->snd_nxt;
	t->dup_count = 0;
	t->dupacks = 0;
	t->flags &= ~(u32)TCPF_RTT_TIMING; /* Karn */
}

void tcp_recovery_resend(struct tcp *t)
{
	if (!tcp_flight(t))
		return;
	t->recovery = TCP_LOSS;
	t->recover = t->snd_nxt;
	t->lost_edge = t->snd_nxt;
	t->high_rxt = t->snd_una;
	t->dup_count = 0;
	t->dupacks = 0;
	t->flags &= ~(u32)TCPF_RTT_TIMING;
}

/* The first hole at or behind `from` and below limit, but for those whose retransmission may still
 * arrive. */
static bool tcp_hole(struct stack *s, const struct tcp *t, u32 from, u32 limit, u32 *seq, u32 *end)
{
	struct tcp_ranges *r = tcp_scoreboard(s, t);

	*seq = seq_max(from, t->snd_una);
	*end = limit;
	for (u32 i = r ? tcp_ranges_find(r, *seq) : 0; r && i < r->count; i++) {
		const struct tcp_range *range = &r->range[i];

		if (seq_leq(range->end, *seq))
			continue;
		if (seq_gt(range->start, *seq) && !tcp_hole_waits(r, range, t->mss)) {
			*end = seq_min(limit, range->start);
			break;
		}
		*seq = range->end;
	}
	return seq_lt(*seq, *end);
}

/* RFC 6675's NextSeg(), rule 1 */
bool tcp_recovery_next(struct stack *s, const struct tcp *t, u32 *seq, u32 *end)
{
	return t->recovery != TCP_OPEN && tcp_hole(s, t, t->high_rxt, t->lost_edge, seq, end);
}

/* RFC 6675's NextSeg(), rules 3 and 4 */
bool tcp_recovery_rescue(struct stack *s, struct tcp *t, u32 *seq, u32 *end, bool *tail)
{
	struct tcp_ranges *r = tcp_scoreboard(s, t);
	u32 top;

	*tail = false;
	if (t->recovery != TCP_RECOVERY || !r || r->count == 0)
		return false;
	top = r->range[r->count - 1].end;
	if (tcp_hole(s, t, t->high_rxt, top, seq, end))
		return true;
	if (seq_geq(t->rescue, t->recover) || seq_geq(top, t->recover))
		return false;
	*end = t->recover;
	*seq = seq_max(top, t->recover - MIN((u32)t->mss, t->recover - top));
	t->rescue = t->recover;
	*tail = true; /* HighRxt stays */
	return true;
}
