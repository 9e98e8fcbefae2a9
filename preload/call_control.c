/*
 * Control messages: what sendmsg asks for a datagram, and what recvmsg reports about one. They are
 * built and read in memory of ours, zeroed first, so that padding tells nothing.
 */
#include "preload/call_control.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#ifndef TCP_INQ
#define TCP_INQ 36
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* --- sent --- */

static int control_ip(const struct cmsghdr *cmsg, struct plan_meta *meta)
{
	const u8 *data = CMSG_DATA(cmsg);
	size_t len = cmsg->cmsg_len - CMSG_LEN(0);
	struct in_pktinfo info;
	int value = 0;

	switch (cmsg->cmsg_type) {
	case IP_PKTINFO:
		if (len != sizeof(info))
			return -EINVAL;
		memcpy(&info, data, sizeof(info));
		meta->ifindex = (u32)info.ipi_ifindex;
		if (info.ipi_spec_dst.s_addr)
			meta->spec = addr_v4(ntohl(info.ipi_spec_dst.s_addr));
		return 0;
	case IP_TTL:
		if (len != sizeof(value))
			return -EINVAL;
		memcpy(&value, data, sizeof(value));
		meta->ttl = value;
		return value < 1 || value > 255 ? -EINVAL : 0;
	case IP_TOS:
		if (len == sizeof(value))
			memcpy(&value, data, sizeof(value));
		else if (len == 1)
			value = *data;
		else
			return -EINVAL;
		meta->tos = value;
		return value < 0 || value > 255 ? -EINVAL : 0;
	case IP_RETOPTS:
		return len ? -EOPNOTSUPP : 0;
	default:
		return -EINVAL;
	}
}

static int control_one(const struct cmsghdr *cmsg, bool stream, struct plan_meta *meta)
{
	u16 segment;

	if (cmsg->cmsg_level == SOL_SOCKET) {
		switch (cmsg->cmsg_type) {
		case SCM_RIGHTS: /* mean something on AF_UNIX only, and are passed over
				    (__sock_cmsg_send) */
		case SCM_CREDENTIALS:
			return 0;
		default:
			return -EINVAL;
		}
	}
	if (stream)
		return 0;
	if (cmsg->cmsg_level == SOL_UDP) {
		if (cmsg->cmsg_type != UDP_SEGMENT || cmsg->cmsg_len != CMSG_LEN(sizeof(segment)))
			return -EINVAL;
		memcpy(&segment, CMSG_DATA(cmsg), sizeof(segment));
		meta->gso_size = segment;
		return 0;
	}
	return cmsg->cmsg_level == SOL_IP ? control_ip(cmsg, meta) : 0;
}

int call_control_in(const void *control, size_t len, bool stream, struct plan_meta *meta)
{
	union {
		struct cmsghdr align;
		u8 bytes[CONTROL_MAX];
	} copy;
	size_t at = 0;
	int ret = 0;

	if (len > sizeof(copy))
		return -ENOBUFS;
	if (guard_copy(copy.bytes, control, len) < 0)
		return -EFAULT;
	while (ret == 0 && len - at >= sizeof(struct cmsghdr)) {
		const struct cmsghdr *cmsg = (const struct cmsghdr *)(copy.bytes + at);

		if (cmsg->cmsg_len < sizeof(*cmsg) || cmsg->cmsg_len > len - at)
			return -EINVAL;
		ret = control_one(cmsg, stream, meta);
		at += MIN(CMSG_ALIGN(cmsg->cmsg_len), len - at);
	}
	return ret;
}

/* --- received --- */

/* put_cmsg of Linux: what does not fit is cut, and said. */
static void put(struct control_out *out, int level, int type, const void *data, size_t size)
{
	struct cmsghdr cmsg = {.cmsg_level = level, .cmsg_type = type};
	size_t room = out->room - out->used;
	size_t len = CMSG_LEN(size);

	if (room < sizeof(cmsg)) {
		out->flags |= MSG_CTRUNC;
		return;
	}
	if (room < len) {
		out->flags |= MSG_CTRUNC;
		len = room;
	}
	cmsg.cmsg_len = len;
	memcpy(out->bytes + out->used, &cmsg, sizeof(cmsg));
	memcpy(out->bytes + out->used + CMSG_LEN(0), data, len - CMSG_LEN(0));
	out->used += MIN(CMSG_SPACE(size), room);
}

static struct sockaddr_in name_of(const struct endpoint *end)
{
	struct sockaddr_storage addr;
	struct sockaddr_in in;

	call_sockaddr(end, &addr);
	memcpy(&in, &addr, sizeof(in));
	return in;
}

static void put_time(struct control_out *out, const struct call_data *d)
{
	u64 time_ns = d->meta->time_ns;
	u32 options = d->options;
	struct timespec ts = {(time_t)(time_ns / NS_PER_S), (long)(time_ns % NS_PER_S)};
	struct timeval tv = {ts.tv_sec, ts.tv_nsec / 1000};
	struct timespec stamps[3] = {ts};

	if (options & OPT_TIMESTAMPNS)
		put(out, SOL_SOCKET, SCM_TIMESTAMPNS, &ts, sizeof(ts));
	else if (options & OPT_TIMESTAMP)
		put(out, SOL_SOCKET, SCM_TIMESTAMP, &tv, sizeof(tv));
	if (!(d->stamps & TSTAMP_SOFTWARE) ||
		!(d->stamps & TSTAMP_RX_SOFTWARE || d->meta->msg_flags & MSG_ERRQUEUE))
		return;
	put(out, SOL_SOCKET, SCM_TIMESTAMPING, stamps, sizeof(stamps));
	if (d->meta->stats_len)
		put(out, SOL_SOCKET, SCM_TIMESTAMPING_OPT_STATS, d->stats, d->meta->stats_len);
}

static void put_report(struct control_out *out, const struct icmp_error_report *report)
{
	struct {
		struct sock_extended_err error;
		struct sockaddr_in offender;
	} value;

	memset(&value, 0, sizeof(value));
	value.error.ee_errno = report->error;
	value.error.ee_origin = report->origin;
	value.error.ee_type = report->type;
	value.error.ee_code = report->code;
	value.error.ee_info = report->info;
	value.error.ee_data = report->data;
	if (report->offender.addr.family == FAMILY_INET) {
		value.offender = name_of(&report->offender);
		value.offender.sin_port = 0;
	}
	put(out, SOL_IP, IP_RECVERR, &value, sizeof(value));
}

/* In the kernel's order (ip_cmsg_recv_offset). */
static void control_ip_meta(struct control_out *out, const struct call_data *d)
{
	const struct plan_meta *meta = d->meta;
	struct endpoint to = {.addr = meta->local, .port = (u16)meta->local_port};
	struct sockaddr_in name = name_of(&to);
	struct in_pktinfo info = {.ipi_ifindex = (int)meta->ifindex, .ipi_addr = name.sin_addr};
	u8 tos = (u8)meta->tos;

	if (d->options & OPT_PKTINFO) {
		to.addr = meta->spec;
		info.ipi_spec_dst = name_of(&to).sin_addr;
		put(out, SOL_IP, IP_PKTINFO, &info, sizeof(info));
	}
	if (d->options & OPT_RECVTTL && meta->ttl >= 0)
		put(out, SOL_IP, IP_TTL, &meta->ttl, sizeof(meta->ttl));
	if (d->options & OPT_RECVTOS && meta->tos >= 0)
		put(out, SOL_IP, IP_TOS, &tos, sizeof(tos));
	if (d->options & OPT_RECVORIGDSTADDR)
		put(out, SOL_IP, IP_ORIGDSTADDR, &name, sizeof(name));
}

/* In the kernel's order: time, drops, UDP's own, IP's (udp_recvmsg, ip_cmsg_recv_offset). */
void call_control_dgram(struct control_out *out, const struct call_data *d)
{
	const struct plan_meta *meta = d->meta;
	int gso = (int)meta->gso_size;

	put_time(out, d);
	if (meta->msg_flags & MSG_ERRQUEUE) {
		if (meta->report.origin == SO_EE_ORIGIN_ICMP)
			control_ip_meta(out, d);
		put_report(out, &meta->report);
		return;
	}
	if (d->options & OPT_RXQ_OVFL && meta->dropped)
		put(out, SOL_SOCKET, SO_RXQ_OVFL, &meta->dropped, sizeof(meta->dropped));
	if (d->options & OPT_UDP_GRO && gso)
		put(out, SOL_UDP, UDP_GRO, &gso, sizeof(gso));
	control_ip_meta(out, d);
}

/* When the last byte came, and under TCP_INQ how much is left to read. */
void call_control_stream(struct control_out *out, ref sk, const struct call_data *d)
{
	int on = 0, left = 0;
	u32 len = sizeof(on);
	struct stack *s;

	if (d->meta->time_ns)
		put_time(out, d);
	guard_enter();
	s = host_enter();
	if (sock_getopt(s, sk, SOL_TCP, TCP_INQ, &on, &len) < 0 || !on ||
		sock_ioctl(s, sk, FIONREAD, &left) < 0)
		on = 0;
	host_leave();
	guard_leave(false);
	if (on)
		put(out, SOL_TCP, TCP_INQ, &left, sizeof(left));
}
