/*
 * sendmsg and recvmsg: message headers, names and control messages, and the forms for several messages at once. Control messages
 * are built and read in memory of ours, zeroed first, so that padding tells nothing.
 */
#include "preload/call.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include "preload/raw.h"

#ifndef TCP_INQ
#define TCP_INQ 36
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define CONTROL_MAX 1024u
#define IOV_SHORT   16u

/* --- control messages sent --- */

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
		case SCM_RIGHTS: /* mean something on AF_UNIX only, and are passed over (__sock_cmsg_send) */
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

static int control_in(const void *control, size_t len, bool stream, struct plan_meta *meta)
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

/* --- control messages received --- */

struct control_out {
	u8 bytes[CONTROL_MAX];
	size_t room, used;
	int flags;
};

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

static void put_time(struct control_out *out, u32 options, u64 time_ns)
{
	struct timespec ts = {(time_t)(time_ns / NS_PER_S), (long)(time_ns % NS_PER_S)};
	struct timeval tv = {ts.tv_sec, ts.tv_nsec / 1000};

	if (options & OPT_TIMESTAMPNS)
		put(out, SOL_SOCKET, SCM_TIMESTAMPNS, &ts, sizeof(ts));
	else if (options & OPT_TIMESTAMP)
		put(out, SOL_SOCKET, SCM_TIMESTAMP, &tv, sizeof(tv));
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
static void control_dgram(struct control_out *out, const struct call_data *d)
{
	const struct plan_meta *meta = d->meta;
	int gso = (int)meta->gso_size;

	put_time(out, d->options, meta->time_ns);
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

/* Under TCP_INQ: how much is left to read. */
static void control_stream(struct control_out *out, ref sk)
{
	int on = 0, left = 0;
	u32 len = sizeof(on);
	struct stack *s;

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

/* --- one message --- */

/* The list of a message: in `brief` when it is short; longer ones are served by a function with a frame of its own. */
static s64 message_import(const struct msghdr *msg, struct iovec *list, struct call_data *d)
{
	s64 len = call_import(list, msg->msg_iov, msg->msg_iovlen);

	d->iov = list;
	d->count = (u32)msg->msg_iovlen;
	d->len = (u64)len;
	return len;
}

static int message_copy(struct msghdr *to, const struct msghdr *from)
{
	if (guard_copy(to, from, sizeof(*to)) < 0)
		return -EFAULT;
	if (!to->msg_name)
		to->msg_namelen = 0;
	if ((int)to->msg_namelen < 0)
		return -EINVAL;
	to->msg_namelen = MIN(to->msg_namelen, (socklen_t)sizeof(struct sockaddr_storage));
	return to->msg_iovlen > UIO_MAXIOV ? -EMSGSIZE : 0;
}

static bool is_stream(ref sk)
{
	const struct sock *sock = sock_get(host_stack(), sk);

	return sock && sock->type == SOCK_STREAM;
}

/* Sending with MSG_FASTOPEN connects first; without a cookie the data follow the handshake (tcp_sendmsg_fastopen). */
static s64 fast_open(int fd, ref sk, struct call_data *d, const struct sockaddr_storage *name, socklen_t len)
{
	s64 ret = call_connect(fd, sk, (const struct sockaddr *)name, len);

	d->flags &= ~MSG_FASTOPEN;
	return ret < 0 && ret != -EISCONN ? ret : call_send(fd, sk, d);
}

s64 call_send_to(int fd, ref sk, struct call_data *d, struct sockaddr_storage *name, socklen_t len)
{
	s64 ret;

	if (is_stream(sk))
		return d->flags & MSG_FASTOPEN ? fast_open(fd, sk, d, name, len) : call_send(fd, sk, d);
	if (len == 0)
		return call_send(fd, sk, d);
	if (len >= sizeof(struct sockaddr_in) && name->ss_family == AF_UNSPEC)
		name->ss_family = AF_INET; /* udp_sendmsg takes it so */
	ret = call_endpoint(name, len, &d->peer);
	if (ret < 0)
		return ret;
	if (d->peer.port == 0)
		return -EINVAL;
	if (call_bypass(fd, sk, name, len))
		return CALL_NOT_OURS;
	return call_send(fd, sk, d);
}

static s64 send_one(int fd, ref sk, const struct msghdr *msg, struct call_data *d)
{
	struct plan_meta meta = {.tos = -1, .ttl = -1};
	struct sockaddr_storage name;
	s64 ret = call_addr_in(&name, msg->msg_name, msg->msg_namelen);

	if (ret == 0 && msg->msg_controllen) {
		ret = control_in(msg->msg_control, msg->msg_controllen, is_stream(sk), &meta);
		d->meta = &meta;
	}
	if (ret == 0)
		ret = msg->msg_namelen ? call_send_to(fd, sk, d, &name, msg->msg_namelen)
				       : call_send(fd, sk, d);
	d->meta = NULL;
	return ret;
}

static __attribute__((noinline)) s64 send_long_list(
	int fd, ref sk, const struct msghdr *msg, struct call_data *d)
{
	struct iovec list[UIO_MAXIOV];
	s64 ret = message_import(msg, list, d);

	return ret < 0 ? ret : send_one(fd, sk, msg, d);
}

s64 call_sendmsg(int fd, ref sk, const struct msghdr *user, int flags)
{
	struct call_data d = {.flags = flags};
	struct iovec list[IOV_SHORT];
	struct msghdr msg;
	s64 ret = message_copy(&msg, user);

	if (ret < 0)
		return ret;
	if (msg.msg_iovlen > IOV_SHORT)
		return send_long_list(fd, sk, &msg, &d);
	ret = message_import(&msg, list, &d);
	return ret < 0 ? ret : send_one(fd, sk, &msg, &d);
}

/* What goes back into the program's header. */
static s64 report(ref sk, struct msghdr *user, const struct msghdr *msg, const struct call_data *d,
	bool stream)
{
	struct control_out out = {.room = msg->msg_control ? msg->msg_controllen : 0};
	size_t used;

	out.room = MIN(out.room, sizeof(out.bytes));
	if (stream && out.room)
		control_stream(&out, sk);
	else if (!stream)
		control_dgram(&out, d);
	out.flags |= (int)d->meta->msg_flags & ~MSG_CTRUNC;
	if (!stream && d->full_len > d->len)
		out.flags |= MSG_TRUNC;
	if (d->flags & MSG_CMSG_CLOEXEC)
		out.flags |= MSG_CMSG_CLOEXEC;
	used = out.used;
	if (out.used && guard_copy(msg->msg_control, out.bytes, out.used) < 0)
		return -EFAULT;
	if (guard_copy(&user->msg_flags, &out.flags, sizeof(out.flags)) < 0 ||
		guard_copy(&user->msg_controllen, &used, sizeof(used)) < 0)
		return -EFAULT;
	return 0;
}

static s64 recv_one(int fd, ref sk, struct msghdr *user, const struct msghdr *msg, struct call_data *d)
{
	struct plan_meta meta = {.tos = -1, .ttl = -1};
	bool stream = is_stream(sk);
	socklen_t none = 0;
	s64 ret, fault = 0;

	d->meta = &meta;
	ret = call_recv(fd, sk, d);
	if (ret < 0)
		return ret;
	if (!stream && d->flags & MSG_TRUNC && d->full_len > ret)
		ret = d->full_len;
	if (msg->msg_name && d->peer.addr.family != FAMILY_NONE && !stream)
		fault = call_addr_out(&d->peer, msg->msg_name, &user->msg_namelen);
	else if (msg->msg_name)
		fault = guard_copy(&user->msg_namelen, &none, sizeof(none));
	if (fault == 0)
		fault = report(sk, user, msg, d, stream);
	return fault < 0 ? fault : ret;
}

static __attribute__((noinline)) s64 recv_long_list(
	int fd, ref sk, struct msghdr *user, const struct msghdr *msg, struct call_data *d)
{
	struct iovec list[UIO_MAXIOV];
	s64 ret = message_import(msg, list, d);

	return ret < 0 ? ret : recv_one(fd, sk, user, msg, d);
}

s64 call_recvmsg(int fd, ref sk, struct msghdr *user, int flags)
{
	struct call_data d = {.flags = flags};
	struct iovec list[IOV_SHORT];
	struct msghdr msg;
	s64 ret = message_copy(&msg, user);

	if (ret < 0)
		return ret;
	if (msg.msg_iovlen > IOV_SHORT)
		return recv_long_list(fd, sk, user, &msg, &d);
	ret = message_import(&msg, list, &d);
	return ret < 0 ? ret : recv_one(fd, sk, user, &msg, &d);
}

/* --- several messages --- */

s64 call_sendmmsg(int fd, ref sk, struct mmsghdr *msgs, unsigned count, int flags)
{
	unsigned done = 0;
	s64 ret = 0;

	for (count = MIN(count, (unsigned)UIO_MAXIOV); done < count; done++) {
		unsigned len;

		ret = call_sendmsg(fd, sk, &msgs[done].msg_hdr, flags);
		if (ret < 0)
			break;
		len = (unsigned)ret;
		ret = guard_copy(&msgs[done].msg_len, &len, sizeof(len));
		if (ret < 0)
			break;
	}
	return done ? done : ret;
}

static int time_left(struct timespec *user, u64 deadline_ns)
{
	u64 now = host_now(), left = now < deadline_ns ? deadline_ns - now : 0;
	struct timespec ts = {(time_t)(left / NS_PER_S), (long)(left % NS_PER_S)};

	guard_copy(user, &ts, sizeof(ts));
	return left > 0;
}

/* The timeout is looked at after each message only, as recvmmsg(2) says under BUGS. */
s64 call_recvmmsg(
	int fd, ref sk, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *timeout)
{
	u64 deadline_ns = NEVER;
	struct timespec ts;
	unsigned done = 0;
	s64 ret = 0;

	if (timeout) {
		if (guard_copy(&ts, timeout, sizeof(ts)) < 0)
			return -EFAULT;
		if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= (long)NS_PER_S)
			return -EINVAL;
		deadline_ns = host_now() + (u64)ts.tv_sec * NS_PER_S + (u64)ts.tv_nsec;
	}
	for (count = MIN(count, (unsigned)UIO_MAXIOV); done < count; done++) {
		unsigned len;

		ret = call_recvmsg(fd, sk, &msgs[done].msg_hdr, flags & ~MSG_WAITFORONE);
		if (ret < 0)
			break;
		len = (unsigned)ret;
		ret = guard_copy(&msgs[done].msg_len, &len, sizeof(len));
		if (ret < 0)
			break;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		if (timeout && !time_left(timeout, deadline_ns)) {
			done++;
			break;
		}
	}
	return done ? done : ret;
}

/* --- messages of the kernel's sockets --- */

/* A number for a file that this process knows already under another number (a stack socket sent to ourselves), or for another. */
static void received_fd(int fd)
{
	struct stat st;

	call_opened(fd);
	if (!host_up() || raw_fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	for (int n = 0; n < fdtable_limit(); n++) {
		struct stat other;
		ref sk = fdtable_sock(n);

		if (sk && raw_fstat(n, &other) == 0 && other.st_ino == st.st_ino &&
			other.st_dev == st.st_dev) {
			call_adopt(fd, sk, st.st_ino);
			return;
		}
	}
}

void call_received(const struct msghdr *msg)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR((struct msghdr *)(uintptr_t)msg, cmsg)) {
		size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fd;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
			cmsg->cmsg_len < CMSG_LEN(0))
			continue;
		for (size_t i = 0; i < count; i++) {
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
			received_fd(fd);
		}
	}
}
