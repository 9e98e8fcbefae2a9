/* TCP in the log: every header at level trace, every change of state at level debug. */
#include "stack/tcp_conn.h"

static const char *const tcp_state_names[] = {
	[TCP_ESTABLISHED] = "ESTABLISHED",
	[TCP_SYN_SENT] = "SYN-SENT",
	[TCP_SYN_RECEIVED] = "SYN-RECEIVED",
	[TCP_FIN_WAIT_1] = "FIN-WAIT-1",
	[TCP_FIN_WAIT_2] = "FIN-WAIT-2",
	[TCP_TIME_WAIT] = "TIME-WAIT",
	[TCP_CLOSED] = "CLOSED",
	[TCP_CLOSE_WAIT] = "CLOSE-WAIT",
	[TCP_LAST_ACK] = "LAST-ACK",
	[TCP_LISTEN] = "LISTEN",
	[TCP_CLOSING] = "CLOSING",
};

void tcp_set_state(struct stack *s, const struct sock *sk, struct tcp *t, enum tcp_state state)
{
	if (t->state != state)
		LOG(s, LOG_TCP, LOG_DEBUG, "%E %E: %s to %s", &sk->conn.local, &sk->conn.remote,
			tcp_state_names[t->state], tcp_state_names[state]);
	t->state = (u8)state;
}

static void tcp_trace_options(struct stack *s, const struct tcp_options *o)
{
	if (o->flags & TCP_OPT_MSS)
		LOG(s, LOG_TCP, LOG_TRACE, "  option mss %u", (u32)o->mss);
	if (o->flags & TCP_OPT_WSCALE)
		LOG(s, LOG_TCP, LOG_TRACE, "  option window scale %u", (u32)o->wscale);
	if (o->flags & TCP_OPT_SACK_OK)
		LOG(s, LOG_TCP, LOG_TRACE, "  option SACK permitted");
	if (o->flags & TCP_OPT_TIMESTAMP)
		LOG(s, LOG_TCP, LOG_TRACE, "  option timestamp %u echo %u", o->tsval, o->tsecr);
	for (u32 i = 0; o->flags & TCP_OPT_SACK && i < o->sack_count; i++)
		LOG(s, LOG_TCP, LOG_TRACE, "  option SACK %u to %u", o->sack[i].start,
			o->sack[i].end);
}

static void tcp_trace(struct stack *s, const char *way, const struct tcp_header *h, u32 len)
{
	static const char letters[] = "FSRP.UEW";
	char flags[sizeof(letters)];
	u32 n = 0;

	for (u32 i = 0; letters[i]; i++)
		if (h->flags & 1u << i)
			flags[n++] = letters[i];
	flags[n] = 0;
	LOG(s, LOG_TCP, LOG_TRACE, "%s %E > %E [%s] seq %u ack %u win %u len %u", way, h->local,
		h->remote, flags, h->seq, h->ack, (u32)h->window, len);
	if (h->flags & TH_URG)
		LOG(s, LOG_TCP, LOG_TRACE, "  urgent pointer %u", (u32)h->urgent);
	tcp_trace_options(s, &h->opt);
}

void tcp_trace_out(struct stack *s, const struct tcp_header *h, u32 len)
{
	if (log_wants(s, LOG_TCP, LOG_TRACE))
		tcp_trace(s, "out", h, len);
}

void tcp_trace_in(struct stack *s, const struct tcp_segment *seg)
{
	struct tcp_header h = {
		.local = &seg->p->from,
		.remote = &seg->p->to,
		.seq = seg->seq,
		.ack = seg->ack,
		.window = seg->window,
		.urgent = seg->urgent,
		.flags = seg->flags,
		.opt = seg->opt,
	};

	if (log_wants(s, LOG_TCP, LOG_TRACE))
		tcp_trace(s, "in", &h, seg->len);
}
