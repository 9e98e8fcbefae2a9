/*
 * Explicit congestion notification (RFC 3168): a router that is about to be congested marks packets
 * (CE) instead of dropping them.
 *
 * The SYN asks with ECE and CWR, the SYN-ACK agrees with ECE alone. New data, and nothing else, then
 * goes out as ECN-capable: ECT(0). The receiver of a marked segment sets ECE on all that it sends
 * until a segment with CWR tells that the window has been reduced, which happens once in a window
 * of data (tcp_recovery.c). A SYN that is not answered goes again without the question, for a path
 * that drops it (tcp_ecn_fallback). As on Linux there is no ECT on a SYN-ACK (RFC 5562) or a
 * retransmission, and the answer to a mark is the answer to a loss (no RFC 8511).
 */
#include "stack/tcp_conn.h"

/* Values of tcp_ecn: what is asked for with an own SYN, and what a peer's may ask for. */
static bool ecn_asks(u8 tcp_ecn)
{
	return tcp_ecn == 1 || tcp_ecn == 3 || tcp_ecn == 4;
}

static bool ecn_asks_accurate(u8 tcp_ecn)
{
	return tcp_ecn == 3;
}

static bool ecn_accepts_accurate(u8 tcp_ecn)
{
	return tcp_ecn >= 3;
}

static bool ecn_accepts(u8 tcp_ecn)
{
	return tcp_ecn != 0;
}

static void ecn_agreed(struct stack *s, struct tcp *t, enum tcp_ecn_mode mode)
{
	t->ecn.mode = (u8)mode;
	if (mode != TCP_ECN_OFF)
		counter_inc(s, counter_tcp_ecn);
}

void tcp_ecn_send_syn(const struct stack *s, struct tcp *t, struct tcp_header *h)
{
	if (t->state == TCP_SYN_RECEIVED) { /* simultaneous open */
		if (t->ecn.mode == TCP_ECN_CLASSIC)
			h->flags |= TH_ECE;
		else if (t->ecn.mode == TCP_ECN_ACCURATE)
			tcp_accecn_set(h, tcp_accecn_handshake(t->ecn.syn));
		return;
	}
	if (!ecn_asks(s->tunables.tcp_ecn))
		return;
	if (t->retries && s->tunables.tcp_ecn_fallback) /* RFC 3168 6.1.1.1 */
		return;
	t->ecn.flags |= TCP_ECN_ASKED;
	h->flags |= TH_ECE | TH_CWR;
	if (ecn_asks_accurate(s->tunables.tcp_ecn)) {
		t->ecn.flags |= TCP_ECN_ASKED_ACCURATE;
		h->ae = true;
	}
}

/* RFC 9768 3.1.2, table 2: what the peer's SYN or SYN-ACK makes of our asking for accuracy. */
static enum tcp_ecn_mode ecn_answer(const struct tcp_segment *seg)
{
	u8 ace = tcp_accecn_ace(seg);

	if (!(seg->flags & TH_ACK)) /* simultaneous open: it asks too */
		return ace == 0 ? TCP_ECN_OFF : ace == 3 ? TCP_ECN_CLASSIC : TCP_ECN_ACCURATE;
	if (ace == 0 || ace == 7)
		return TCP_ECN_OFF;
	return ace == 1 || ace == 5 ? TCP_ECN_CLASSIC : TCP_ECN_ACCURATE;
}

void tcp_ecn_take_syn(struct stack *s, struct tcp *t, const struct tcp_segment *seg)
{
	u8 bits = seg->flags & (TH_ECE | TH_CWR),
	   agreed = seg->flags & TH_ACK ? TH_ECE : TH_ECE | TH_CWR;

	if (!(t->ecn.flags & TCP_ECN_ASKED))
		return;
	if (t->ecn.flags & TCP_ECN_ASKED_ACCURATE) {
		ecn_agreed(s, t, ecn_answer(seg));
		t->ecn.syn = seg->p->tos & ECN_BITS;
		if (t->ecn.mode == TCP_ECN_ACCURATE && seg->flags & TH_ACK)
			tcp_accecn_answered(t, seg);
		return;
	}
	/* A SYN-ACK that repeats both bits comes from a host that reflects what it does not know
	 * (RFC 3168 6.1.1). */
	ecn_agreed(s, t, bits == agreed ? TCP_ECN_CLASSIC : TCP_ECN_OFF);
}

void tcp_ecn_request(
	const struct stack *s, struct tcp_request *req, const struct tcp_segment *seg)
{
	u8 ace = tcp_accecn_ace(seg);

	req->ecn = TCP_ECN_OFF;
	req->syn_ecn = seg->p->tos & ECN_BITS;
	if (!ecn_accepts(s->tunables.tcp_ecn))
		return;
	/* Whatever combination is not RFC 3168's asks for accuracy (RFC 9768 3.1.2). */
	if (ecn_accepts_accurate(s->tunables.tcp_ecn) && ace && ace != 3)
		req->ecn = TCP_ECN_ACCURATE;
	/* A SYN is never ECN-capable (RFC 3168 6.1.1): ECT on it is a broken path's or host's. */
	else if (!req->syn_ecn && seg->flags & TH_ECE && seg->flags & TH_CWR)
		req->ecn = TCP_ECN_CLASSIC;
}

void tcp_ecn_send_syn_ack(const struct tcp_request *req, struct tcp_header *h)
{
	if (req->ecn == TCP_ECN_CLASSIC)
		h->flags |= TH_ECE;
	else if (req->ecn == TCP_ECN_ACCURATE)
		tcp_accecn_set(h, tcp_accecn_handshake(req->syn_ecn));
}

void tcp_ecn_child(struct stack *s, struct tcp *t, const struct tcp_request *req)
{
	ecn_agreed(s, t, req->ecn);
	t->ecn.syn = req->syn_ecn;
}

void tcp_ecn_header(struct tcp *t, struct tcp_header *h)
{
	if (t->ecn.mode == TCP_ECN_CLASSIC && t->ecn.flags & TCP_ECN_ECHO)
		h->flags |= TH_ECE; /* RFC 3168 6.1.3 */
	if (t->ecn.mode == TCP_ECN_ACCURATE)
		tcp_accecn_header(t, h);
}

void tcp_ecn_new_data(struct tcp *t, struct tcp_header *h)
{
	if (t->ecn.mode == TCP_ECN_OFF || t->ecn.flags & TCP_ECN_MANGLED)
		return;
	h->ecn = ECN_ECT0;
	if (t->ecn.flags & TCP_ECN_SEND_CWR) { /* RFC 3168 6.1.2 */
		t->ecn.flags &= (u8)~TCP_ECN_SEND_CWR;
		h->flags |= TH_CWR;
	}
}

/* The sender's window may be very small now: it needs its ACKs at once. */
static void ecn_quick(struct tcp *t)
{
	t->quick = MAX(t->quick, 2);
	t->flags &= ~(u32)TCPF_PINGPONG;
}

void tcp_ecn_text(struct tcp *t, const struct tcp_segment *seg)
{
	u8 ecn = seg->p->tos & ECN_BITS;

	if (t->ecn.mode != TCP_ECN_CLASSIC)
		return;
	if (seg->flags & TH_CWR) { /* RFC 3168 6.1.3; a CE on this very segment counts again */
		t->ecn.flags &= (u8)~TCP_ECN_ECHO;
		t->flags |= TCPF_ACK_NOW;
	}
	if (ecn == ECN_NOT_ECT) { /* after others that had it: sent again, so something was lost */
		if (t->ecn.flags & TCP_ECN_SEEN)
			ecn_quick(t);
		return;
	}
	t->ecn.flags |= TCP_ECN_SEEN;
	if (ecn == ECN_CE && !(t->ecn.flags & TCP_ECN_ECHO)) {
		t->ecn.flags |= TCP_ECN_ECHO;
		ecn_quick(t);
	}
}

/* Is a mark reported, and how many? */
void tcp_ecn_news(struct tcp *t, const struct tcp_segment *seg, struct tcp_news *news)
{
	u32 marks = 0, mss = MAX(t->mss, 1u);

	if (t->ecn.mode == TCP_ECN_CLASSIC && seg->flags & TH_ECE) {
		news->ece = true;
		marks = (news->delivered + mss - 1) / mss;
	} else if (t->ecn.mode == TCP_ECN_ACCURATE && news->delivered) {
		/* An ACK that is late tells of what is known. */
		marks = tcp_accecn_delta(t, seg);
		news->ece = marks != 0;
	}
	t->ecn.delivered_ce += marks;
}

void tcp_ecn_reduced(struct tcp *t)
{
	if (t->ecn.mode == TCP_ECN_CLASSIC)
		t->ecn.flags |= TCP_ECN_SEND_CWR;
}
