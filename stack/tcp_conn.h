/*
 * Private to TCP (tcp*.c): what its files call of each other. In the order of a segment's way:
 * tcp_input.c parses and finds the owner; tcp_listen.c (and tcp_cookie.c), tcp_timewait.c and
 * tcp_segment.c are the owners' rules; tcp_ack.c, tcp_recovery.c and tcp_receive.c work on acknowledgements and data;
 * tcp_output.c sends; tcp_timer.c has the deadlines; tcp_close.c ends; tcp_api.c, tcp_data.c and
 * tcp_sockopt.c are the program's calls.
 */
#ifndef STACK_TCP_CONN_H
#define STACK_TCP_CONN_H

#include "stack/linux.h"
#include "stack/seq.h"
#include "stack/sock_memory.h"
#include "stack/tcp.h"
#include "stack/tcp_metrics.h"
#include "stack/tcp_options.h"
#include "stack/tcp_ranges.h"

enum {
	TH_FIN = 1,
	TH_SYN = 2,
	TH_RST = 4,
	TH_PSH = 8,
	TH_ACK = 16,
	TH_URG = 32,
	TH_ECE = 64,
	TH_CWR = 128,
};

#define TCP_HEADER_LEN	  20u
#define TCP_TIMESTAMP_LEN 12u /* with two NOPs */
#define TCP_MSS_MIN                                                                                \
	88u /* a peer's smaller announcement is taken for this: no flood of tiny segments          \
	       (CVE-2019-11479) */
#define TCP_MSS_DEFAULT	 536u /* RFC 9293 3.7.1 (MUST-15) */
#define TCP_MSS_DEFAULT6 1220u
#define TCP_DELACK_NS	 (40 * NS_PER_MS)
#define TCP_TIMEWAIT_NS	 (60 * NS_PER_S)	 /* 2 MSL, as Linux */
#define TCP_PAWS_NS	 (24 * 86400 * NS_PER_S) /* RFC 7323 5.5 */
#define TCP_QUICK_ACKS	 16u
#define TCP_TX_RETRY_NS	 NS_PER_MS
#define TCP_LINGER2_NONE UINT32_MAX

/* A segment as it came in, in host order. */
struct tcp_segment {
	ref pkt; /* its view is the payload; 0 once somebody has taken it over */
	struct pkt *p;
	u32 seq, ack;
	u32 len;    /* payload bytes */
	u32 count;  /* segments on the wire that it stands for */
	u16 window; /* not scaled */
	u16 urgent;
	u8 flags;      /* TH_* */
	bool ae;       /* the ninth flag (RFC 9768) */
	u8 header_len; /* bytes of TCP header, in front of the view */
	u32 isn_above; /* a SYN that ends a TIME-WAIT: our sequence numbers have to begin above
			  this; 0 none */
	struct tcp_options opt;
};

/* One past the last sequence number that the segment occupies. */
static inline u32 tcp_segment_end(const struct tcp_segment *seg)
{
	return seg->seq + seg->len + (seg->flags & TH_SYN ? 1 : 0) + (seg->flags & TH_FIN ? 1 : 0);
}

/* How many segments of gso_size bytes a payload makes on the wire. */
static inline u32 tcp_segment_count(u32 len, u32 gso_size)
{
	return gso_size && len ? (len + gso_size - 1) / gso_size : 1;
}

/* A header to send. */
struct tcp_header {
	const struct endpoint *local, *remote;
	u32 seq, ack;
	u16 window;
	u16 urgent;
	u8 flags;
	bool ae;
	u8 ecn; /* enum ip_ecn */
	struct tcp_options opt;
};

/* IP and TCP headers without options. */
static inline u32 tcp_headers_len(const struct addr *remote)
{
	return (remote->family == FAMILY_INET6 ? 40u : 20u) + TCP_HEADER_LEN;
}

static inline u16 tcp_default_mss(const struct addr *remote)
{
	return remote->family == FAMILY_INET6 ? TCP_MSS_DEFAULT6 : TCP_MSS_DEFAULT;
}

static inline struct tcp *tcp_of(struct stack *s, const struct sock *sk)
{
	return slab_get(s, SLAB_TCP, sk->tcp);
}

static inline bool tcp_synchronized(const struct tcp *t)
{
	return t->state != TCP_CLOSED && t->state != TCP_LISTEN && t->state != TCP_SYN_SENT &&
	       t->state != TCP_SYN_RECEIVED;
}

/* Bytes sent and not acknowledged, a SYN or FIN counted. */
static inline u32 tcp_flight(const struct tcp *t)
{
	return t->snd_nxt - t->snd_una;
}

/* Nothing is left to be sent for the first time. */
static inline bool tcp_all_sent(const struct tcp *t)
{
	return t->flags & TCPF_FIN ? t->flags & TCPF_FIN_SENT : t->snd_nxt == t->snd_end;
}

/* How long an ACK may wait. */
static inline u64 tcp_delack_ns(const struct tcp *t)
{
	return t->delack_max_us ? MIN(t->delack_max_us * NS_PER_US, TCP_DELACK_NS) : TCP_DELACK_NS;
}

/* TCP_NOTSENT_LOWAT */
static inline u32 tcp_notsent_lowat(const struct stack *s, const struct tcp *t)
{
	return t->notsent_lowat ? t->notsent_lowat : s->tunables.tcp_notsent_lowat;
}

/* --- tcp_rates.c --- */
void tcp_rates_sent(struct stack *s, struct tcp *t); /* after everything that could be sent was */
struct tcp_rates tcp_rates_now(const struct stack *s, const struct tcp *t);

/* --- tcp_delivery.c: the delivery rate --- */
/* Stamps what is being sent; `first`: nothing else is in flight. */
void tcp_delivery_sent(const struct stack *s, struct tcp *t, bool first, struct tcp_sent_run *run);
void tcp_delivery_arrived(
	const struct stack *s, struct tcp *t, const struct tcp_sent_run *run, struct tcp_sample *a);
void tcp_delivery_sample(struct tcp *t, struct tcp_sample *a); /* completes an ACK's sample */
void tcp_delivery_limited(struct stack *s, struct tcp *t);     /* before the program's bytes */
u64 tcp_delivery_rate(const struct tcp *t);		       /* bytes a second */

/* --- tcp_cwnd.c: is the congestion window used --- */
void tcp_cwnd_used(struct tcp *t, bool limited); /* after sending */
bool tcp_cwnd_limited(const struct tcp *t);
void tcp_cwnd_idle(const struct stack *s, struct tcp *t);
void tcp_cwnd_validate(const struct stack *s, struct tcp *t);

/* --- tcp_pace.c: pacing --- */
void tcp_pace_update(const struct stack *s, const struct sock *sk, struct tcp *t);
bool tcp_pace_wait(struct stack *s, const struct sock *sk, struct tcp *t);
void tcp_pace_sent(const struct stack *s, const struct sock *sk, struct tcp *t, u32 len);
u32 tcp_pace_quantum(const struct stack *s, const struct tcp *t, u32 mss, u32 most);

/* --- tcp_stamp.c: SO_TIMESTAMPING --- */
void tcp_stamp_queued(struct sock *sk, struct tcp *t);
void tcp_stamp_sent(struct stack *s, struct sock *sk, struct tcp *t, u32 seq, u32 end);
void tcp_stamp_acked(struct stack *s, struct sock *sk, struct tcp *t, u8 ttl);

/* --- tcp_stats.c: SCM_TIMESTAMPING_OPT_STATS; at most PLAN_STATS bytes --- */
u32 tcp_stats_fill(struct stack *s, const struct sock *sk, const struct tcp *t, u64 sent_ns, u8 ttl,
	u8 *out);

/* --- tcp_trace.c: the log --- */
void tcp_set_state(struct stack *s, const struct sock *sk, struct tcp *t, enum tcp_state state);
void tcp_trace_in(struct stack *s, const struct tcp_segment *seg);
void tcp_trace_out(struct stack *s, const struct tcp_header *h, u32 len);

/* --- tcp_wire.c: headers, and answers that belong to no connection --- */

/* Puts header, options and checksum before what the frame holds, and sends it. Result of ip_send.
 */
int tcp_send_header(struct stack *s, ref frame, const struct tcp_header *h, const struct ip_out *ip,
	u16 gso_size);

/* A segment without payload from one end to another; ip->src, dst and proto are set here. */
void tcp_send_bare(struct stack *s, const struct tcp_header *h, u8 tos, u32 ifindex);

/* RFC 9293 3.10.7.1: the RST that answers a segment for which there is no connection; none to a
 * RST. */
void tcp_refuse(struct stack *s, const struct tcp_segment *seg);

u32 tcp_isn(struct stack *s, const struct endpoint *local,
	const struct endpoint *remote); /* RFC 6528 */
u32 tcp_ts_offset(struct stack *s, const struct endpoint *local,
	const struct endpoint *remote); /* RFC 7323 7.1 */
u32 tcp_clock(const struct stack *s,
	u32 offset); /* timestamps: milliseconds, behind a connection's own offset */

/* RFC 7323 5.3: true when the timestamp is old, and ours not outdated. */
bool tcp_paws_reject(
	const struct stack *s, u32 ts_recent, u64 ts_recent_ns, const struct tcp_options *opt);

/* RFC 5961 7: true when a challenge may be sent; last_ns is when the connection's last one was.
 * For every answer to what is not valid. */
bool tcp_challenge_allowed(struct stack *s, u64 *last_ns);

/* --- tcp_listen.c --- */
void tcp_listen_input(struct stack *s, struct sock *listener, struct tcp_segment *seg);
void tcp_request_input(struct stack *s, struct tcp_request *req, struct tcp_segment *seg);
void tcp_request_timer(struct stack *s, struct tcp_request *req);
void tcp_request_free(struct stack *s, struct tcp_request *req);
void tcp_listen_close(struct stack *s, struct sock *listener, struct tcp *t);
int tcp_listen(struct stack *s, struct sock *sk, u32 backlog);
ref tcp_accept(struct stack *s, struct sock *sk, int *error);
void tcp_accept_enqueue(struct stack *s, struct sock *sk,
	struct tcp *t); /* the handshake of a listener's connection is complete */
void tcp_accept_forget(
	struct stack *s, struct sock *sk, struct tcp *t); /* it has ended before it was accepted */

bool tcp_accept_full(const struct tcp *t);
ref tcp_save_syn(struct stack *s, u32 mode, const struct tcp_segment *seg); /* 0: none */
void tcp_request_fill(struct stack *s, struct sock *listener, const struct tcp *t,
	const struct tcp_segment *seg, struct tcp_request *req);
void tcp_request_begin(
	struct stack *s, struct sock *listener, struct tcp *t, struct tcp_request *req);
void tcp_request_send(
	struct stack *s, struct tcp_request *req, u8 flags); /* a SYN-ACK or a bare ACK */
void tcp_request_complete(
	struct stack *s, struct tcp_request *req, struct sock *listener, struct tcp_segment *seg);

void tcp_child_inherit(struct tcp *t, const struct tcp *from);
void tcp_child_init(
	struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_request *req);

/* --- tcp_cookie.c --- */
void tcp_cookie_send(struct stack *s, struct tcp *t, struct tcp_request *req);
u32 tcp_cookie_clock(const struct stack *s, const struct tcp_request *req);
/* An ACK to a listener. False: it returns no cookie. */
bool tcp_cookie_input(
	struct stack *s, struct sock *listener, struct tcp *t, struct tcp_segment *seg);

/* --- tcp_blackhole.c --- */

bool tcp_blackhole_paused(const struct stack *s, struct tcp *t); /* no Fast Open now */
void tcp_blackhole_timeout(struct stack *s, const struct tcp *t, bool last); /* last: gives up */
void tcp_blackhole_reset(struct stack *s, const struct tcp *t); /* a RST that is not in order */
void tcp_blackhole_end(struct stack *s, const struct sock *sk, const struct tcp *t);

/* --- tcp_fastopen.c --- */
/* True: the SYN has made a connection; else req may have got a cookie to send. */
bool tcp_fastopen_syn(struct stack *s, struct sock *listener, struct tcp *t,
	struct tcp_segment *seg, struct tcp_request *req);
void tcp_fastopen_over(struct stack *s, struct tcp *t, bool reset);
bool tcp_fastopen_connect(
	struct stack *s, struct sock *sk, struct tcp *t); /* true: the SYN waits for text */
u32 tcp_fastopen_room(
	struct stack *s, const struct sock *sk, const struct tcp *t); /* bytes for a SYN */
/* Puts into a SYN what belongs there; bytes of text. */
u32 tcp_fastopen_fill(struct stack *s, struct sock *sk, struct tcp *t, struct frame *f,
	struct tcp_options *opt);
bool tcp_fastopen_acks(const struct tcp *t, u32 ack); /* text of our SYN */
void tcp_fastopen_syn_ack(
	struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg);

/* --- tcp_metrics.c --- */
struct tcp_metric *tcp_metric_find(struct stack *s, const struct addr *dst); /* or NULL */
struct tcp_metric *tcp_metric_make(struct stack *s, const struct addr *dst);
bool tcp_metric_proven(struct stack *s, const struct addr *dst); /* it has answered before */
void tcp_metrics_save(struct stack *s, const struct sock *sk, const struct tcp *t);
void tcp_metrics_load(struct stack *s, const struct sock *sk, struct tcp *t);

/* --- tcp_timewait.c --- */
void tcp_timewait_enter(struct stack *s, struct sock *sk, struct tcp *t);
/* True when the segment is a SYN that may begin a new connection: the object has been freed. */
bool tcp_timewait_input(struct stack *s, struct tcp_timewait *tw, struct tcp_segment *seg);
void tcp_timewait_free(struct stack *s, struct tcp_timewait *tw);
bool tcp_timewait_yield(struct stack *s, ref conn, bool chosen);

/* --- tcp_segment.c: RFC 9293 3.10.7.3 and 3.10.7.4; sk may be gone afterwards --- */
void tcp_segment_arrives(struct stack *s, struct sock *sk, struct tcp *t, struct tcp_segment *seg);
void tcp_established(
	struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg);
void tcp_challenge(struct stack *s, struct sock *sk, struct tcp *t);
/* What the peer's FIN, and the acknowledgement of ours, lead to. False: the connection has ended.
 */
bool tcp_take_fin(struct stack *s, struct sock *sk, struct tcp *t);
bool tcp_advance_close(struct stack *s, struct sock *sk, struct tcp *t);

/* --- tcp_mend.c: after a death in the middle of an entry. False: it can't be mended. --- */
bool tcp_mend(struct stack *s, struct sock *sk, struct tcp *t);

/* --- tcp_ack.c --- */
/* Works on the segment's acknowledgement, which lies in snd_una .. snd_nxt, window and SACK. */
void tcp_ack(struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg);

/* What one acknowledgement has told, for recovery. */
struct tcp_news {
	u32 flight;	/* before it, and of that: */
	u32 known;	/* SACKed before */
	u32 acked;	/* newly acknowledged */
	u32 sacked;	/* newly SACKed */
	u32 delivered;	/* arrived, and not known before */
	bool duplicate; /* RFC 5681 2 */
	bool dsack;
	bool original; /* something that was sent only once has arrived */
	struct tcp_sample sample;
	bool ece;      /* the peer reports a mark of congestion */
};

/* --- tcp_ecn.c: RFC 3168 --- */
void tcp_ecn_send_syn(const struct stack *s, struct tcp *t, struct tcp_header *h);
void tcp_ecn_take_syn(struct stack *s, struct tcp *t, const struct tcp_segment *seg);
void tcp_ecn_request(
	const struct stack *s, struct tcp_request *req, const struct tcp_segment *seg);
void tcp_ecn_send_syn_ack(const struct tcp_request *req, struct tcp_header *h);
void tcp_ecn_child(struct stack *s, struct tcp *t, const struct tcp_request *req);
void tcp_ecn_header(struct tcp *t, struct tcp_header *h);	 /* every segment */
void tcp_ecn_new_data(struct tcp *t, struct tcp_header *h);	 /* data sent for the first time */
void tcp_ecn_text(struct tcp *t, const struct tcp_segment *seg); /* in the window */
void tcp_ecn_news(struct tcp *t, const struct tcp_segment *seg, struct tcp_news *news);
void tcp_ecn_reduced(struct tcp *t); /* the congestion window has been */

/* --- tcp_accecn.c: RFC 9768 --- */
u8 tcp_accecn_ace(const struct tcp_segment *seg);
void tcp_accecn_set(struct tcp_header *h, u32 ace);
u8 tcp_accecn_handshake(u8 ecn); /* the code for how a SYN came */
void tcp_accecn_answered(struct tcp *t, const struct tcp_segment *seg); /* the peer's SYN-ACK */
void tcp_accecn_header(struct tcp *t, struct tcp_header *h);
void tcp_accecn_ack(struct tcp *t, struct tcp_header *h);	       /* without text */
void tcp_accecn_segment(struct tcp *t, const struct tcp_segment *seg); /* one that is in order */
u32 tcp_accecn_delta(const struct tcp *t, const struct tcp_segment *seg); /* marks newly reported */
bool tcp_accecn_one_by_one(const struct tcp *t);		       /* no super-frames now */

/* --- tcp_mtup.c: RFC 4821 --- */
#define TCP_MTUP_WAIT UINT32_MAX
void tcp_mtup_begin(struct stack *s, struct sock *sk, struct tcp *t);
u32 tcp_mtup_limit(struct tcp *t, u32 path_mtu); /* the size to make packets for */
void tcp_mtup_timeout(struct stack *s, struct sock *sk, struct tcp *t); /* the R1st, or a later one */
/* Bytes to send as a probe now: 0 none, TCP_MTUP_WAIT none yet, nor anything else new. */
u32 tcp_mtup_wanted(struct stack *s, struct sock *sk, struct tcp *t, u32 room);
void tcp_mtup_out(const struct sock *sk, struct tcp *t, u32 seq, u32 len);
bool tcp_mtup_is_probe(const struct tcp *t, u32 seq); /* ... that begins there */
void tcp_mtup_acked(struct stack *s, struct sock *sk, struct tcp *t);
bool tcp_mtup_lost(struct stack *s, struct tcp *t); /* true: the loss was the probe's */
bool tcp_mtup_too_big(struct stack *s, struct tcp *t, u32 mtu); /* ... says a router */

/* --- tcp_recovery.c: the record of what is in flight, and what is done about losses --- */
struct tcp_sent *tcp_record(struct stack *s, const struct tcp *t); /* NULL: nothing is in flight */
struct tcp_sent *tcp_record_make(struct stack *s, struct tcp *t);  /* NULL: no memory */
void tcp_record_clear(struct stack *s, struct tcp *t);
void tcp_record_lose(const struct stack *s, struct tcp *t, struct tcp_sent *r,
	u32 i); /* takes a run for lost */
void tcp_record_sent(struct stack *s, struct tcp *t, u32 seq, u32 end); /* for the first time */
void tcp_record_acked(
	struct stack *s, struct tcp *t, const struct tcp_segment *seg, struct tcp_news *news);
void tcp_record_sacks(
	struct stack *s, struct tcp *t, const struct tcp_segment *seg, struct tcp_news *news);
u32 tcp_pipe(struct stack *s, const struct tcp *t);
void tcp_recovery_ack(
	struct stack *s, struct tcp *t, const struct tcp_segment *seg, struct tcp_news *news);
void tcp_recovery_lost(
	struct stack *s, struct tcp *t, const struct tcp_news *news); /* enters when something is */
void tcp_recovery_late(struct stack *s, struct tcp *t);		      /* reo_at has come */
void tcp_recovery_probe_mended(struct tcp *t);
void tcp_recovery_timeout(struct stack *s, struct tcp *t);
bool tcp_recovery_next(
	struct stack *s, struct tcp *t, u32 *seq, u32 *end); /* what to send again next */
bool tcp_recovery_rescue(
	struct stack *s, struct tcp *t, u32 *seq, u32 *end); /* ... and when nothing else is left */
void tcp_recovery_sent(
	struct stack *s, struct tcp *t, u32 seq, u32 end); /* this has been sent again */
void tcp_recovery_resend_range(struct stack *s, struct tcp *t, u32 start, u32 end);
void tcp_recovery_resend(struct stack *s,
	struct tcp *t); /* everything in flight again, without a change of the window */

/* --- tcp_rack.c: RFC 8985 --- */
u32 tcp_us_now(const struct stack *s);
void tcp_rack_delivered(struct stack *s, struct tcp *t, const struct tcp_segment *seg,
	const struct tcp_sent_run *run);
void tcp_rack_dsack(struct tcp *t);
void tcp_rack_recovered(struct tcp *t);
u32 tcp_rack_detect(struct stack *s, struct tcp *t); /* bytes newly found lost; sets reo_at */
bool tcp_rack_waits(struct stack *s, const struct tcp *t,
	const struct tcp_sent_run *run); /* sent so lately that it may still be answered */
void tcp_tlp_arm(struct stack *s, struct tcp *t);
bool tcp_tlp_send(struct stack *s, struct sock *sk, struct tcp *t);
bool tcp_tlp_ack(
	struct stack *s, struct tcp *t, const struct tcp_segment *seg, bool dsack, bool repeated);

/* --- tcp_sets.c --- */
struct tcp_ranges *tcp_set_get(struct stack *s, ref set); /* NULL: there is none, it is empty */
/* The set with room for one more range if that is to be had; NULL: no memory for a first one. */
struct tcp_ranges *tcp_set_make_room(struct stack *s, ref *set);

/* --- tcp_receive.c --- */
void tcp_receive(struct stack *s, struct sock *sk, struct tcp *t, struct tcp_segment *seg);
void tcp_consume(struct stack *s, struct sock *sk, struct tcp *t,
	u32 n); /* takes bytes off the receive queue */
/* The next ACK goes at once and, where SACK is agreed on, reports these bytes (RFC 2883). */
void tcp_note_duplicate(const struct stack *s, struct tcp *t, u32 start, u32 end);
void tcp_urgent(struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg);
u32 tcp_rcv_window(const struct tcp *t); /* what is left of the window advertised */
void tcp_sack_blocks(struct stack *s, struct tcp *t, struct tcp_options *opt, u32 room);
void tcp_ooo_purge(struct stack *s, struct sock *sk, struct tcp *t);
void tcp_ooo_drop_last(struct stack *s, struct sock *sk, struct tcp *t); /* there is one */
struct tcp_ranges *tcp_ooo(struct stack *s, const struct tcp *t);

/* --- tcp_prune.c, tcp_evict.c: when memory is short --- */
/* Is there room for the segment's text? False: it is to be dropped. */
bool tcp_prune(struct stack *s, struct sock *sk, struct tcp *t, struct tcp_segment *seg);
/* Is there memory for so many bytes of text, whatever the receive buffer says? */
bool tcp_prune_allows(struct stack *s, const struct sock *sk, u32 len);
void tcp_prune_read(const struct sock *sk, struct tcp *t); /* the program has taken bytes */
bool tcp_evict(struct stack *s, const struct sock *asks); /* true: somebody has given some back */
void tcp_evict_out(struct stack *s, struct sock *sk, struct tcp *t); /* reset: memory is short */
bool tcp_evict_orphan(struct stack *s, struct sock *sk, struct tcp *t); /* true: it was too much */

/* --- tcp_window.c: the receive window and its growth --- */
/* What is window of so many bytes of receive buffer. */
static inline u32 tcp_share(const struct tcp *t, u32 bytes)
{
	return t && t->rcv_share ? (u32)((u64)bytes * t->rcv_share / 256) : bytes / 2;
}
/* bytes of window that the receive buffer has room for */
u32 tcp_space(const struct sock *sk, const struct tcp *t);
void tcp_window_init(struct stack *s, const struct sock *sk, u32 mss, u32 *wnd, u8 *wscale);
u32 tcp_window_select(struct stack *s, struct sock *sk,
	struct tcp *t); /* the window to advertise now, in bytes; moves rcv_wnd_end */
void tcp_window_read(struct stack *s, struct sock *sk, struct tcp *t,
	u32 copied); /* the program has taken bytes */
void tcp_window_measure(
	struct tcp *t, u32 len, u32 charged); /* len bytes that came in occupy charged bytes */
void tcp_window_arrived(struct stack *s, struct tcp *t);

/* --- tcp_output.c --- */
void tcp_output(struct stack *s, struct sock *sk,
	struct tcp *t); /* whatever may be sent, an ACK that is due, and the timers */
void tcp_output_all(struct stack *s, struct sock *sk,
	struct tcp *t); /* the same, short segments too, whatever Nagle and TCP_CORK say */
void tcp_output_forced(struct stack *s, struct sock *sk,
	struct tcp *t); /* one segment however short the window keeps it */
void tcp_send_ack(struct stack *s, struct sock *sk, struct tcp *t);
void tcp_send_syn(
	struct stack *s, struct sock *sk, struct tcp *t); /* SYN, or SYN-ACK in SYN-RECEIVED */
void tcp_send_reset(struct stack *s, struct sock *sk, struct tcp *t);
void tcp_send_probe(struct stack *s, struct sock *sk, struct tcp *t, bool keepalive);
bool tcp_retransmit(
	struct stack *s, struct sock *sk, struct tcp *t, u32 seq, u32 end, u32 *sent_end);
void tcp_ack_later(struct stack *s, struct tcp *t);
void tcp_mss_update(struct stack *s, struct sock *sk,
	struct tcp *t); /* effective send MSS from path and peer */
void tcp_queue_free(struct stack *s, struct sock *sk, struct tcp *t); /* drops the send queue */
void tcp_queue_acked(
	struct stack *s, struct sock *sk, struct tcp *t); /* releases what is below snd_una */
u16 tcp_adv_mss(
	struct stack *s, const struct sock *sk, const struct tcp *t, const struct addr *remote);

/* --- tcp_timer.c --- */
void tcp_timer_update(struct stack *s, struct sock *sk,
	struct tcp *t); /* arms the wheel for the earliest deadline */
void tcp_timer_rto(struct stack *s, struct sock *sk,
	struct tcp *t); /* (re)starts, changes or stops the retransmission timer */
void tcp_timer_keepalive(struct stack *s, struct sock *sk, struct tcp *t);

void tcp_timer_progress(const struct stack *s, struct tcp *t); /* the timeouts have an end */

/* --- tcp_close.c --- */
void tcp_block_reset(struct tcp *t);
bool tcp_fin_wait_2(
	struct stack *s, struct sock *sk, struct tcp *t); /* false: the socket is gone */
void tcp_done(struct stack *s, struct sock *sk, struct tcp *t,
	int error); /* over; sk is gone if it was an orphan */
void tcp_abort(struct stack *s, struct sock *sk, struct tcp *t); /* RST, then over */
u64 tcp_close(struct stack *s, struct sock *sk);
int tcp_shutdown(struct stack *s, struct sock *sk, int how);
int tcp_disconnect(struct stack *s, struct sock *sk);

/* --- tcp_api.c, tcp_data.c, tcp_sockopt.c --- */
void tcp_writable(struct stack *s, struct sock *sk,
	struct tcp *t); /* raises EV_OUT when a writer waits and there is room */
bool tcp_readable(const struct sock *sk, const struct tcp *t);
u32 tcp_poll(struct stack *s, struct sock *sk);
s64 tcp_send_reserve(struct stack *s, struct sock *sk, struct plan *plan, u64 len);
s64 tcp_send_commit(struct stack *s, struct sock *sk, struct plan *plan, u32 copied);
void tcp_send_drop(struct stack *s, struct sock *sk, struct plan *plan);
s64 tcp_recv_take(struct stack *s, struct sock *sk, struct plan *plan, u64 len);
s64 tcp_recv_commit(struct stack *s, struct sock *sk, struct plan *plan, u32 copied);
int tcp_setopt(struct stack *s, struct sock *sk, int name, const void *val, u32 len);
int tcp_getopt(struct stack *s, struct sock *sk, int name, void *val, u32 *len);
int tcp_ioctl(struct stack *s, struct sock *sk, unsigned request, int *value);
void tcp_opt_changed(struct stack *s, struct sock *sk, int level, int name);
bool tcp_memory_tight(const struct stack *s);
bool tcp_send_allows(const struct stack *s, const struct sock *sk); /* more than one small packet */
void tcp_sndbuf_grow(struct stack *s, struct sock *sk, struct tcp *t);
u32 tcp_available(
	const struct sock *sk, const struct tcp *t); /* in-order bytes that wait for the program */

#endif
