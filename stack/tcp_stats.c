/*
 * SCM_TIMESTAMPING_OPT_STATS: how a connection fared by the time of a stamp, as netlink attributes
 * in the order of Linux's tcp_get_timestamping_opt_stats; the numbers are TCP_INFO's.
 */
#include <string.h>

#include "stack/tcp_conn.h"
#include "stack/tcp_info.h"

/* TCP_NLA_* of <linux/tcp.h> */
enum {
	STAT_BUSY = 1,
	STAT_RWND_LIMITED,
	STAT_SNDBUF_LIMITED,
	STAT_DATA_SEGS_OUT,
	STAT_TOTAL_RETRANS,
	STAT_PACING_RATE,
	STAT_DELIVERY_RATE,
	STAT_SND_CWND,
	STAT_REORDERING,
	STAT_MIN_RTT,
	STAT_RECUR_RETRANS,
	STAT_DELIVERY_RATE_APP_LMT,
	STAT_SNDQ_SIZE,
	STAT_CA_STATE,
	STAT_SND_SSTHRESH,
	STAT_DELIVERED,
	STAT_DELIVERED_CE,
	STAT_BYTES_SENT,
	STAT_BYTES_RETRANS,
	STAT_DSACK_DUPS,
	STAT_REORD_SEEN,
	STAT_SRTT,
	STAT_TIMEOUT_REHASH,
	STAT_BYTES_NOTSENT,
	STAT_EDT,
	STAT_TTL,
	STAT_REHASH,
};

#define ATTRIBUTE 4u /* bytes in front of a value: length, type */

struct stats {
	u8 *out;
	u32 len;
};

/* Values have the host's order; each begins at a multiple of four. */
static void put(struct stats *to, u16 type, const void *value, u16 size)
{
	u16 head[2] = {(u16)(ATTRIBUTE + size), type};
	u32 whole = ATTRIBUTE + ((size + 3u) & ~3u);

	if (whole > PLAN_STATS - to->len)
		return;
	memset(to->out + to->len, 0, whole);
	memcpy(to->out + to->len, head, sizeof(head));
	memcpy(to->out + to->len + ATTRIBUTE, value, size);
	to->len += whole;
}

static void put_u64(struct stats *to, u16 type, u64 value)
{
	put(to, type, &value, sizeof(value));
}

static void put_u32(struct stats *to, u16 type, u32 value)
{
	put(to, type, &value, sizeof(value));
}

static void put_u8(struct stats *to, u16 type, u8 value)
{
	put(to, type, &value, sizeof(value));
}

u32 tcp_stats_fill(
	struct stack *s, const struct sock *sk, const struct tcp *t, u64 sent_ns, u8 ttl, u8 *out)
{
	struct stats to = {.out = out};
	struct tcp_info_out i;
	u16 no_rehash = 0;

	tcp_info_fill(s, sk, t, &i);
	put_u64(&to, STAT_BUSY, i.busy_time);
	put_u64(&to, STAT_RWND_LIMITED, i.rwnd_limited);
	put_u64(&to, STAT_SNDBUF_LIMITED, i.sndbuf_limited);
	put_u64(&to, STAT_DATA_SEGS_OUT, i.data_segs_out);
	put_u64(&to, STAT_TOTAL_RETRANS, i.total_retrans);
	put_u64(&to, STAT_PACING_RATE, i.pacing_rate);
	put_u64(&to, STAT_DELIVERY_RATE, i.delivery_rate);
	put_u32(&to, STAT_SND_CWND, i.snd_cwnd);
	put_u32(&to, STAT_REORDERING, i.reordering);
	put_u32(&to, STAT_MIN_RTT, i.min_rtt);
	put_u8(&to, STAT_RECUR_RETRANS, i.retransmits);
	put_u8(&to, STAT_DELIVERY_RATE_APP_LMT, i.app_limited & 1);
	put_u32(&to, STAT_SND_SSTHRESH, i.snd_ssthresh);
	put_u32(&to, STAT_DELIVERED, i.delivered);
	put_u32(&to, STAT_DELIVERED_CE, i.delivered_ce);
	put_u32(&to, STAT_SNDQ_SIZE, t->snd_end - seq_min(t->snd_una, t->snd_end));
	put_u8(&to, STAT_CA_STATE, i.ca_state);
	put_u64(&to, STAT_BYTES_SENT, i.bytes_sent);
	put_u64(&to, STAT_BYTES_RETRANS, i.bytes_retrans);
	put_u32(&to, STAT_DSACK_DUPS, i.dsack_dups);
	put_u32(&to, STAT_REORD_SEEN, i.reord_seen);
	put_u32(&to, STAT_SRTT, i.rtt);
	put(&to, STAT_TIMEOUT_REHASH, &no_rehash, sizeof(no_rehash));
	put_u32(&to, STAT_BYTES_NOTSENT, i.notsent_bytes);
	put_u64(&to, STAT_EDT, sent_ns);
	if (ttl)
		put_u8(&to, STAT_TTL, ttl);
	put_u32(&to, STAT_REHASH, i.rehash);
	return to.len;
}
