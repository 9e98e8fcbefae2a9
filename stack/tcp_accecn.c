/*
 * Accurate ECN (RFC 9768): feedback of more than one mark in a round trip.
 *
 * A SYN with all three flags (AE, CWR, ECE) asks for it. The SYN-ACK tells by them with which code
 * point of IP's the SYN came, and the ACK of that the same of the SYN-ACK. From then on the flags
 * are a counter of three bits, ACE: how many segments have come with CE, from 5 on, so that zeros
 * are not mistaken for it. What cannot be, a code point that was not sent, or a count of zero at
 * the start, shows a path that changes the bits: then nothing of ours is ECN-capable, while the
 * peer's marks are counted and told as ever (3.2.2.3, 3.2.2.4).
 *
 * The options with counts of bytes are neither sent nor read, and a count that has gone up by less
 * than it seems is not assumed to have wrapped (3.2.2.5.2): the peer acknowledges before it does.
 */
#include "stack/tcp_conn.h"

#define ACE_FIRST  5u
#define ACE_MASK   7u
#define ACE_CWR	   2u
#define MARKS_TOLD 2u /* that many are not kept back by a delayed ACK (3.2.2.5.1) */

u8 tcp_accecn_ace(const struct tcp_segment *seg)
{
	return (u8)((seg->ae ? 4 : 0) | (seg->flags & TH_CWR ? 2 : 0) |
		    (seg->flags & TH_ECE ? 1 : 0));
}

void tcp_accecn_set(struct tcp_header *h, u32 ace)
{
	h->flags &= (u8) ~(TH_CWR | TH_ECE);
	h->flags |= (u8)((ace & 2 ? TH_CWR : 0) | (ace & 1 ? TH_ECE : 0));
	h->ae = ace & 4;
}

u8 tcp_accecn_handshake(u8 ecn)
{
	static const u8 codes[] = {[ECN_NOT_ECT] = 2, [ECN_ECT1] = 3, [ECN_ECT0] = 4, [ECN_CE] = 6};

	return codes[ecn & ECN_BITS];
}

/* Our SYN and SYN-ACK are not ECN-capable, so that is how they have to arrive (3.2.2.3). */
static void accecn_validate(struct tcp *t, u8 ace)
{
	if (ace != tcp_accecn_handshake(ECN_NOT_ECT))
		t->ecn.flags |= TCP_ECN_MANGLED;
}

void tcp_accecn_answered(struct tcp *t, const struct tcp_segment *seg)
{
	accecn_validate(t, tcp_accecn_ace(seg));
	t->ecn.flags |= TCP_ECN_REFLECT;
	if (t->ecn.syn == ECN_CE)
		t->ecn.received_ce++;
}

void tcp_accecn_header(struct tcp *t, struct tcp_header *h)
{
	t->ecn.reported_ce = t->ecn.received_ce;
	tcp_accecn_set(h, ACE_FIRST + t->ecn.received_ce);
}

void tcp_accecn_ack(struct tcp *t, struct tcp_header *h)
{
	if (t->ecn.mode != TCP_ECN_ACCURATE || !(t->ecn.flags & TCP_ECN_REFLECT))
		return;
	t->ecn.flags &= (u8)~TCP_ECN_REFLECT;
	tcp_accecn_set(h, tcp_accecn_handshake(t->ecn.syn));
}

/* The peer's first segment behind its SYN: to a listener's connection it is the last of the
 * handshake. */
static void accecn_first(struct tcp *t, const struct tcp_segment *seg)
{
	u8 ace = tcp_accecn_ace(seg);

	t->ecn.flags |= TCP_ECN_CHECKED;
	if (ace == 0)
		t->ecn.flags |= TCP_ECN_MANGLED; /* 3.2.2.4 */
	else if (t->state == TCP_SYN_RECEIVED && !seg->len && ace != 1 && ace != 5 && ace != 7)
		accecn_validate(t, ace);
}

void tcp_accecn_segment(struct tcp *t, const struct tcp_segment *seg)
{
	u8 ecn = seg->p->tos & ECN_BITS;
	bool edge = ecn != t->ecn.last;

	if (t->ecn.mode != TCP_ECN_ACCURATE)
		return;
	if (!(t->ecn.flags & TCP_ECN_CHECKED))
		accecn_first(t, seg);
	if (ecn != ECN_NOT_ECT)
		t->ecn.flags |= TCP_ECN_SEEN;
	if (ecn == ECN_CE)
		t->ecn.received_ce += seg->count; /* pure ACKs too */
	if (!seg->len)
		return;
	t->ecn.last = ecn;
	if ((edge && (ecn == ECN_CE || t->ecn.received_ce)) ||
		t->ecn.received_ce - t->ecn.reported_ce >= MARKS_TOLD)
		t->flags |= TCPF_ACK_NOW;
}

u32 tcp_accecn_delta(const struct tcp *t, const struct tcp_segment *seg)
{
	return (tcp_accecn_ace(seg) - ACE_FIRST - t->ecn.delivered_ce) & ACE_MASK;
}

/* Devices clear CWR behind the first segment of a super-frame: the count would change. */
bool tcp_accecn_one_by_one(const struct tcp *t)
{
	return t->ecn.mode == TCP_ECN_ACCURATE && (ACE_FIRST + t->ecn.received_ce) & ACE_CWR;
}
