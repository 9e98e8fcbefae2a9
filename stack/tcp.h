/*
 * TCP's objects in the region: the transmission control block of a socket, a handshake that a
 * listener has begun, and TIME-WAIT; and what the engine calls. The code between the files of TCP
 * is in tcp_conn.h.
 */
#ifndef STACK_TCP_H
#define STACK_TCP_H

#include "stack/sock.h"
#include "stack/tcp_cc.h"
#include "stack/tcp_ecn.h"
#include "stack/tcp_mtup.h"
#include "stack/tcp_rtt.h"
#include "stack/tcp_sent.h"

/* Linux's numbers: TCP_INFO shows them. */
enum tcp_state {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECEIVED = 3,
	TCP_FIN_WAIT_1 = 4,
	TCP_FIN_WAIT_2 = 5,
	TCP_TIME_WAIT = 6,
	TCP_CLOSED = 7,
	TCP_CLOSE_WAIT = 8,
	TCP_LAST_ACK = 9,
	TCP_LISTEN = 10,
	TCP_CLOSING = 11,
};

enum tcp_flag {
	TCPF_TIMESTAMP = 1 << 0, /* RFC 7323 negotiated */
	TCPF_SACK = 1 << 1,	 /* RFC 2018 negotiated */
	TCPF_WSCALE = 1 << 2,
	TCPF_FIN = 1 << 3,     /* a FIN stands behind the last byte queued */
	TCPF_RCV_FIN = 1 << 4, /* the peer's FIN has been received in order */
	TCPF_NODELAY = 1 << 5,
	TCPF_CORK = 1 << 6,
	TCPF_MORE = 1 << 7,	   /* the last send said MSG_MORE */
	TCPF_ACK_NOW = 1 << 8,	   /* an ACK is due at the end of this entry */
	TCPF_ACK_DELAYED = 1 << 9, /* an ACK is owed by delack_at */
	TCPF_PINGPONG = 1 << 10,   /* the program answers: delay ACKs */
	TCPF_DSACK = 1 << 11,	   /* dsack_start.. holds a duplicate to report */
	TCPF_RTT_TIMING = 1 << 12, /* rtt_seq is being timed */
	TCPF_CWND_LIMITED = 1 << 13,
	TCPF_PASSIVE = 1 << 14,	      /* opened by a listener (MUST-11) */
	TCPF_RETRANSMITTED = 1 << 15, /* something below snd_nxt was sent twice */
	TCPF_URG_OUT = 1 << 16,	      /* snd_up is ahead of snd_una */
	TCPF_TAIL_HELD = 1 << 17,     /* a plan copies into the room of the last packet */
	TCPF_NOSPACE = 1 << 18,	      /* a writer found no room: EV_OUT when there is */
	TCPF_TX_FULL = 1 << 19,	      /* the device's queue was full: go on at resume_at */
	TCPF_QUICKACK_SET = 1 << 20,  /* TCP_QUICKACK was set */
	TCPF_LINGER2_SET = 1 << 21,
	TCPF_FIN_SENT = 1 << 22,
	TCPF_INQ = 1 << 23,
	TCPF_PUSH_ALL = 1 << 24, /* send what waits whatever Nagle says */
	TCPF_ACK_SOON =
		1 << 25, /* a small segment is waiting to be read (Linux's ICSK_ACK_PUSHED) */
	TCPF_PATH_SHRUNK = 1 << 28, /* a segment was too large for the path */
	TCPF_FIN_SEEN = 1 << 26,    /* the peer's FIN has come, in order or not */
	TCPF_NO_MEMORY = 1 << 27,   /* text in the window was dropped: the next one is shut */
};

enum tcp_recovery { TCP_OPEN, TCP_RECOVERY, TCP_LOSS };

enum tcp_rtx { TCP_RTX_NONE, TCP_RTX_RTO, TCP_RTX_PERSIST };

/* What TCP_INFO counts. */
struct tcp_totals {
	u64 bytes_sent, bytes_retrans, bytes_acked, bytes_received;
	u32 segs_out, segs_in, data_segs_out, data_segs_in;
	u32 retransmits, rcv_ooo, dsack_dups, delivered, reord_seen;
	u16 rto, rto_recoveries; /* timeouts; runs of them */
	u32 rto_time_ms;	 /* in all of these but the running one */
};

/* tcp_stamp.c: a send whose stamps are due */
#define TCP_STAMPS 8u
struct tcp_stamp {
	u32 end; /* one past its last byte */
	bool sent;
	u64 sent_ns;
};

enum tcp_rate { TCP_RATE_IDLE, TCP_RATE_BUSY, TCP_RATE_WINDOW, TCP_RATE_SNDBUF };

/* tcp_rates.c */
struct tcp_rates {
	u64 since_ns, busy_ns, window_ns, sndbuf_ns;
	u8 state; /* enum tcp_rate */
};

/* tcp_hystart.c: RFC 9406; least round trips, UINT32_MAX: none */
struct tcp_hystart {
	u32 last_us, current_us, baseline_us; /* of the round before, of this, of CSS's first */
	u32 window_end;			      /* the round ends when this is acknowledged */
	u8 samples, rounds;		      /* in this round; of CSS */
	bool css;
};

struct tcp {
	struct slab_head slab;
	ref sock;
	u8 state;      /* enum tcp_state */
	u8 snd_wscale; /* of windows that the peer sends */
	u8 rcv_wscale; /* of windows that we send */
	u8 recovery;   /* enum tcp_recovery */
	u32 flags;     /* enum tcp_flag */
	/* Sending: RFC 9293's variables, and the queue [snd_una .. snd_end) of bytes; a FIN has
	 * number snd_end. */
	u32 snd_una, snd_nxt, snd_end;
	u32 snd_wnd, snd_wl1, snd_wl2, snd_max_wnd;
	u32 snd_sml;		/* end of the last short segment (Minshall's form of Nagle) */
	u32 snd_up;		/* one past the urgent byte */
	u32 snd_push;		/* data below was pushed */
	ref snd_head, snd_tail; /* packets linked by pkt.next; pkt.seq numbers the first byte of the
				   view */
	ref snd_cursor; /* the packet that holds snd_nxt, or a packet in front of it, or 0: from the
			   head */
	u16 mss;	/* payload of a full segment, options allowed for */
	u16 peer_mss;	/* as the peer announced it */
	u16 adv_mss;	/* as we announced it */
	u16 gso_max;	/* largest IP packet for the device when it segments, else 0 */
	u16 rcv_mss;	/* estimate of what the peer sends */
	/* Congestion and loss. */
	u32 cwnd, ssthresh, cwnd_acked;
	ref sent;	/* packet that holds a struct tcp_sent: what is in flight */
	u32 recover;	/* recovery ends when this is acknowledged */
	u32 lost_hint;	/* nothing below is to be sent again */
	u32 dupacks;	/* bytes that duplicate ACKs stand for, without SACK */
	u32 dup_count;	/* duplicate ACKs in a row */
	u32 prr_delivered, prr_out, recover_fs; /* RFC 6937 */
	u32 prior_cwnd, prior_ssthresh;		/* before the last reduction, for undoing it */
	u32 undo_again;	 /* bytes sent again since, and not reported as duplicates */
	u32 undo_una;	 /* snd_una at that reduction */
	u32 again_stamp; /* timestamp of the first of these */
	/* RFC 8985 */
	u32 rack_sent_us, rack_end, rack_rtt_us, fack;
	u32 dsack_round; /* DSACKs widen the window once until this is acknowledged */
	u32 tlp_end;	 /* snd_nxt after the probe that is out */
	u8 reo_mult, reo_persist;
	bool rack_known; /* rack_sent_us and rack_end are set */
	bool reordering; /* the path has been seen to reorder, */
	u32 dup_thresh;	 /* by less than so many segments (tcp_reordering at first) */
	bool undoable;	 /* the prior_ values are set, */
	bool stamped;	 /* and again_stamp is */
	bool probe_out;	 /* a tail loss probe is not answered yet, */
	bool probe_again; /* and it was a retransmission */
	bool frto;	 /* the timeout may have been too early: RFC 5682 */
	bool frto_new;	 /* new data goes before what is lost */
	bool rescued;	 /* the rescue retransmission of this recovery has been sent */
	/* The delivery rate (tcp_delivery.c): bytes that have arrived and when the last did, bytes
	 * ever taken for lost, when the first of the flight was sent; the mark behind which the
	 * program uses the window again, 0: it does; and the last sample. */
	u32 delivered, delivered_us, lost, first_us, app_limited;
	u32 rate_delivered, rate_interval_us;
	bool rate_limited;
	/* Use of the window (tcp_cwnd.c): the most in flight until usage_end is acknowledged;
	 * pipeACK of this sampling period and the last, and the round that is being measured. */
	u32 usage_max, usage_end;
	u32 pipe_ack, pipe_before, pipe_start, pipe_end;
	u64 pipe_ns;
	u64 unvalidated_ns; /* since when less than half of the window is used, 0: it is */
	struct tcp_hystart hystart;
	u64 pacing_rate; /* bytes a second */
	u64 pace_ns;	 /* when the next segment may go, if segments are paced */
	bool cwr;	 /* a mark of congestion reduces the window; recovery is TCP_OPEN */
	struct tcp_ecn ecn;
	struct tcp_mtup mtup;
	/* Receiving. */
	u32 rcv_nxt;
	u32 rcv_wnd_end; /* right edge of the window as advertised */
	u32 rcv_acked;	 /* rcv_nxt of the last ACK sent */
	u32 copied_seq;	 /* the next byte for the program */
	u32 fin_seq;	 /* TCPF_FIN_SEEN: the number of the peer's FIN */
	u32 window_clamp;
	ref ooo; /* packet that holds a struct tcp_ranges */
	u32 ooo_bytes;
	u32 collapse_at; /* tcp_prune.c: what waits is put together at this charge, not before */
	u32 recent[4]; /* a number in each range that was reported last, newest first (RFC 2018 4)
			*/
	u32 dsack_start, dsack_end;
	u32 ts_recent;
	u32 ts_offset;
	u64 ts_recent_ns;
	/* Time. */
	struct tcp_rtt rtt;
	u32 rtt_seq;
	u8 rtx_mode; /* enum tcp_rtx */
	u8 backoff;  /* doublings of the timeout, until a valid sample (Karn) */
	u8 retries;  /* timeouts in a row without progress */
	u8 probes;   /* keepalive or zero-window probes that were not answered */
	u8 quick;    /* ACKs to send at once */
	u64 rtt_sent_ns;
	u64 rtx_at, reo_at, tlp_at, delack_at, keep_at, resume_at; /* deadlines; NEVER */
	u64 heard_ns;				   /* last segment received */
	u64 text_ns;				   /* last one with data */
	u64 confirmed_ns;			   /* when the next hop was last confirmed */
	u64 stalled_ns;	  /* since when nothing was acknowledged that waits, 0: not */
	u64 sent_ns;	  /* last data segment sent */
	u64 data_sent_ns; /* ... with text, FIN alone is none */
	u64 established_ns;
	u64 rto_since_ns; /* the first of a run of timeouts, 0: none */
	u64 acked_ns;	  /* last time something was acknowledged */
	u64 challenge_ns; /* RFC 5961 7: when the last one was sent */
	u8 cc;	      /* enum tcp_cc */
	u8 urg_state; /* enum tcp_urg */
	u8 urg_byte;
	u32 urg_seq;
	u64 cc_private[32];
	/* Receive buffer auto-tuning. */
	u64 drs_ns;
	u32 drs_seq, drs_space;
	u8 rcv_share; /* of the receive buffer that is window, in 1/256; 0: half */
	u8 rcv_seg_share; /* payload's part of what full segments occupy, in 1/256; 0: not known */
	u64 rcv_rtt_ns, rcv_rtt_at_ns;
	u32 rcv_rtt_seq;
	/* Options. */
	u32 keep_idle_s, keep_intvl_s; /* 0: the tunables */
	u32 user_timeout_ms, linger2_s, notsent_lowat, defer_accept_s;
	u32 delack_max_us; /* TCP_DELACK_MAX_US, 0: TCP_DELACK_NS */
	u16 user_mss;
	u8 keep_cnt, syn_retries;
	u8 save_syn;   /* TCP_SAVE_SYN */
	ref saved_syn; /* packet with the headers of the peer's SYN, until they are read */
	/* A listener's queues (state TCP_LISTEN); a connection's place in one. */
	ref listener;	 /* of a connection not yet accepted: the socket that listens */
	ref accept_next; /* of a connection; the head of a listener's queue */
	ref accept_tail;
	u32 accept_count, backlog;
	ref request_head;
	u32 request_count;
	u64 cookie_ns; /* when the last SYN cookie was sent, 0: never */
	/* TCP Fast Open (tcp_fastopen.c). */
	u32 iss, irs;
	u8 tfo;	     /* enum tcp_tfo */
	u8 tfo_fail; /* enum tcp_tfo_fail */
	bool tfo_connect, tfo_no_cookie; /* options */
	bool tfo_used;	/* our SYN had the option, or text */
	bool tfo_trial; /* the first to try again after a pause (tcp_blackhole.c) */
	bool tfo_exp;	/* in the form of the experiment */
	bool tfo_renew; /* the SYN-ACK brings a cookie of the key in use */
	bool syn_data_acked;
	u32 syn_end;	  /* one past the text of our SYN */
	ref tfo_listener; /* of a TFO_CHILD, accepted or not */
	/* A listener's: TFO_CHILDren in SYN-RECEIVED, those that were reset lately, its own keys. */
	u32 tfo_count, tfo_resets;
	u64 tfo_reset_ns;
	u8 tfo_keys;
	u8 tfo_key[32];
	struct tcp_totals totals;
	struct tcp_rates rates;
	u8 stamps; /* entries of stamp, oldest first */
	struct tcp_stamp stamp[TCP_STAMPS];
};

enum tcp_tfo {
	TFO_NONE,
	TFO_ASKS,     /* our SYN asks for a cookie */
	TFO_DEFERRED, /* connect has returned, and the SYN waits for text */
	TFO_SENT,     /* our SYN had a cookie */
	TFO_CHILD,    /* the peer's SYN had a good one, and the handshake is not over */
};

/* tcpi_fastopen_client_fail of Linux */
enum tcp_tfo_fail { TFO_UNSPEC, TFO_NO_COOKIE, TFO_DATA_NOT_ACKED, TFO_SYN_AGAIN };

/* The bits of tcp_fastopen. */
enum {
	TFO_CLIENT = 1,
	TFO_SERVER = 2,
	TFO_CLIENT_NO_COOKIE = 4,
	TFO_SERVER_NO_COOKIE = 0x200,
	TFO_SERVER_ALL = 0x400, /* listeners without the option too */
};

enum tcp_urg { TCP_URG_NONE, TCP_URG_NOT_YET, TCP_URG_VALID, TCP_URG_READ };

/* A handshake in a listener's SYN queue; it becomes a socket when its last ACK comes. */
struct tcp_request {
	struct conn conn; /* must be first */
	struct timer timer;
	ref listener;	/* struct sock */
	ref next, prev; /* in the listener's queue */
	u32 iss, irs, rcv_wnd, snd_wnd;
	u32 ts_recent, ts_offset;
	u64 began_ns, sent_ns;
	u16 peer_mss, adv_mss;
	u8 flags; /* enum tcp_option_flag that both sides have */
	u8 snd_wscale, rcv_wscale;
	u8 retries;
	u8 tos;
	ref saved_syn;
	bool cookie; /* lives in a SYN cookie alone (tcp_cookie.c) */
	u8 ecn;	    /* enum tcp_ecn_mode */
	u8 syn_ecn; /* enum ip_ecn with which the SYN came */
	bool acked; /* the bare ACK came while data is waited for (TCP_DEFER_ACCEPT) */
	u64 challenge_ns;
	u8 tfo_len; /* a cookie for the SYN-ACK */
	bool tfo_exp;
	u8 tfo[16];
};

struct tcp_timewait {
	struct conn conn; /* must be first */
	struct timer timer;
	ref next, prev; /* oldest first */
	u32 snd_nxt, rcv_nxt, rcv_wnd;
	u32 ts_recent, ts_offset;
	u64 ts_recent_ns, acked_ns;
	bool timestamps;
	u8 tos, ttl;
	u8 rcv_wscale;
};

/* For tests: counts a broken invariant and returns its name, or returns NULL. */
const char *tcp_check(struct stack *s, struct sock *sk);

#endif
