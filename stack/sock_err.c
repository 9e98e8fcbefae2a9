/*
 * The error queue (IP_RECVERR): errors about packets sent, with what they quote, read by
 * MSG_ERRQUEUE.
 *
 * An entry is a packet whose view is the quoted payload; its other fields hold the report: `to`
 * where the packet in question went, `from` who complains, `seq` ee_info, `l3` ee_data, and `mark`
 * ee_errno, ee_origin, ee_type and ee_code, a byte each. The head room begins with the address of
 * ours that the packet came from.
 */
#include "stack/linux.h"
#include "stack/sock_memory.h"

#define QUOTE_MAX 576u

static u32 pack(const struct icmp_error_report *r)
{
	return (r->error & 0xff) << 24 | (u32)r->origin << 16 | (u32)r->type << 8 | r->code;
}

static struct icmp_error_report unpack(const struct pkt *p)
{
	return (struct icmp_error_report){
		.error = p->mark >> 24,
		.origin = (u8)(p->mark >> 16),
		.type = (u8)(p->mark >> 8),
		.code = (u8)p->mark,
		.info = p->seq,
		.data = p->l3,
		.offender = p->from,
	};
}

static struct pkt *queue_report(struct stack *s, struct sock *sk, struct pkt *about,
	const struct icmp_error_report *report, const struct endpoint *dst)
{
	u32 len = about ? MIN(pkt_len(about), QUOTE_MAX) : 0;
	struct pkt *p;
	ref r;

	r = sk->rx_charged < sk->rcvbuf ? pkt_alloc(s, len) : 0;
	p = r ? pkt_get(s, r) : NULL;
	if (!p)
		return NULL;
	if (len)
		memcpy(pkt_put(p, len), pkt_peek(about, 0, len), len);
	memset(p->data, 0, sizeof(struct addr));
	p->to = *dst;
	p->from = report->offender;
	p->seq = report->info;
	p->l3 = report->data;
	p->mark = pack(report);
	p->time_ns = s->now_ns + s->realtime_offset_ns;
	if (about) {
		p->ttl = about->ttl;
		p->tos = about->tos;
		p->ifindex = about->ifindex;
		memcpy(p->data, &about->to.addr, sizeof(about->to.addr));
	}
	sock_memory_queued(s, sk, p, pkt_truesize(p));
	pktq_push(s, &sk->errq, r);
	sock_raise(s, sk, EV_ERR);
	return p;
}

void sock_queue_error(struct stack *s, struct sock *sk, struct pkt *about,
	const struct icmp_error_report *report, const struct endpoint *dst)
{
	if (sk->options & OPT_RECVERR)
		queue_report(s, sk, about, report, dst);
}

void sock_stamp(struct stack *s, struct sock *sk, enum sock_tstamp_report point, u32 id)
{
	sock_stamp_stats(s, sk, point, id, NULL, 0);
}

void sock_stamp_stats(struct stack *s, struct sock *sk, enum sock_tstamp_report point, u32 id,
	const void *stats, u32 len)
{
	static const u32 asked[] = {[TSTAMP_REPORT_SND] = TSTAMP_TX_SOFTWARE,
		[TSTAMP_REPORT_SCHED] = TSTAMP_TX_SCHED,
		[TSTAMP_REPORT_ACK] = TSTAMP_TX_ACK};
	struct icmp_error_report report = {
		.error = ENOMSG, .origin = LX_EE_ORIGIN_TIMESTAMPING, .info = point, .data = id};
	struct pkt *p;

	if (!(sk->tstamp_flags & asked[point]))
		return;
	p = queue_report(s, sk, NULL, &report, &sk->conn.remote);
	if (!p || !len)
		return;
	memcpy(pkt_put(p, len), stats, len);
	p->flags |= PKT_STATS;
}

/* The pending error follows the queue: that of the next entry if ICMP sent it
 * (sock_dequeue_err_skb). */
static void update_pending(struct stack *s, struct sock *sk, const struct icmp_error_report *taken)
{
	struct pkt *next = sk->errq.head ? pkt_get(s, sk->errq.head) : NULL;
	struct icmp_error_report report = {0};

	if (next)
		report = unpack(next);
	if (report.origin == LX_EE_ORIGIN_ICMP)
		sk->error = (int)report.error;
	else if (taken->origin == LX_EE_ORIGIN_ICMP)
		sk->error = 0;
	if (next)
		sock_raise(s, sk, EV_ERR);
}

s64 sock_errqueue_take(struct stack *s, struct sock *sk, struct plan *plan, u64 len)
{
	ref r = pktq_pop(s, &sk->errq);
	struct pkt *p = r ? pkt_get(s, r) : NULL;
	struct addr local;
	u32 take;

	if (!p)
		return -EAGAIN;
	memcpy(&local, p->data, sizeof(local));
	take = (u32)MIN(len, (u64)pkt_len(p));
	sock_plan_begin(s, sk, plan, PLAN_RECV);
	plan->full_len = pkt_len(p);
	plan->from = plan->to = p->to;
	plan->meta = (struct plan_meta){
		.local = local,
		.spec = local,
		.ifindex = p->ifindex,
		.tos = p->tos,
		.ttl = p->ttl,
		.time_ns = p->time_ns,
		.msg_flags = LX_MSG_ERRQUEUE | (take < pkt_len(p) ? LX_MSG_TRUNC : 0),
		.report = unpack(p),
	};
	if (p->flags & PKT_STATS) { /* in a control message and, as on Linux, as the payload */
		plan->meta.stats_len = MIN(pkt_len(p), PLAN_STATS);
		memcpy(plan->stats, p->data + p->start, plan->meta.stats_len);
	}
	if (take)
		sock_plan_add(s, plan, r, p->start, take);
	sock_memory_taken(s, sk, p, pkt_truesize(p));
	update_pending(s, sk, &plan->meta.report);
	pkt_release(s, r);
	return take;
}
