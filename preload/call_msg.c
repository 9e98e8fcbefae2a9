/* sendmsg and recvmsg: message headers and names, and the forms for several messages at once. */
#include "preload/call_control.h"
#include "stack/tcp.h"

#include <netinet/in.h>

/* --- one message --- */

/* The list of a message, in `brief` when it is short. The caller frees d->iov in any case. */
static s64 message_import(const struct msghdr *msg, struct iovec *brief, struct call_data *d)
{
	struct iovec *list = call_list(brief, msg->msg_iovlen);
	s64 len = list ? call_import(list, msg->msg_iov, msg->msg_iovlen) : -ENOMEM;

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

/*
 * Without the lock: the type never changes, and for a socket that is just being closed and its
 * memory given to another one either answer is as good, as the engine looks again.
 */
__attribute__((no_sanitize("thread"))) static bool is_stream(ref sk)
{
	const struct sock *sock = sock_get(host_stack(), sk);

	return sock && sock->type == SOCK_STREAM;
}

/* Whether MSG_FASTOPEN may go on; the connect that follows then waits for bytes if there is a
 * cookie. */
static s64 fast_open_begin(ref sk)
{
	struct stack *s;
	struct sock *sock;
	s64 ret = -EBADF;

	guard_enter();
	s = host_enter();
	sock = sock_get(s, sk);
	if (sock && !(s->tunables.tcp_fastopen & TFO_CLIENT))
		ret = -EOPNOTSUPP;
	else if (sock && sock->state != SOCK_CLOSED && sock->state != SOCK_CONNECTING)
		ret = -EISCONN;
	else if (sock)
		ret = 0;
	if (ret == 0 && sock->state == SOCK_CLOSED)
		sock->flags |= SOCK_FASTOPEN;
	host_leave();
	guard_leave(false);
	return ret;
}

static void fast_open_end(ref sk)
{
	struct sock *sock;

	guard_enter();
	sock = sock_get(host_enter(), sk);
	if (sock)
		sock->flags &= ~(u32)SOCK_FASTOPEN;
	host_leave();
	guard_leave(false);
}

/*
 * Sending with MSG_FASTOPEN connects first: with a cookie the bytes go with the SYN, without one
 * they follow the handshake (tcp_sendmsg_fastopen).
 */
static s64 fast_open(
	int fd, ref sk, struct call_data *d, const struct sockaddr_storage *name, socklen_t len)
{
	s64 ret;

	if (len >= sizeof(name->ss_family) && name->ss_family == AF_UNSPEC)
		return -EOPNOTSUPP;
	ret = fast_open_begin(sk);
	if (ret < 0)
		return ret;
	ret = call_connect(fd, sk, (const struct sockaddr *)name, len);
	fast_open_end(sk);
	d->flags &= ~MSG_FASTOPEN;
	return ret < 0 ? ret : call_send(fd, sk, d);
}

s64 call_send_to(int fd, ref sk, struct call_data *d, struct sockaddr_storage *name, socklen_t len)
{
	s64 ret;

	if (is_stream(sk))
		return d->flags & MSG_FASTOPEN ? fast_open(fd, sk, d, name, len)
					       : call_send(fd, sk, d);
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
		ret = call_control_in(msg->msg_control, msg->msg_controllen, is_stream(sk), &meta);
		d->meta = &meta;
	}
	if (ret == 0)
		ret = msg->msg_namelen || d->flags & MSG_FASTOPEN
			      ? call_send_to(fd, sk, d, &name, msg->msg_namelen)
			      : call_send(fd, sk, d);
	d->meta = NULL;
	return ret;
}

s64 call_sendmsg(int fd, ref sk, const struct msghdr *user, int flags)
{
	struct iovec brief[CALL_BRIEF];
	struct call_data d = {.flags = flags};
	struct msghdr msg;
	s64 ret = message_copy(&msg, user);

	if (ret < 0)
		return ret;
	ret = message_import(&msg, brief, &d);
	if (ret >= 0)
		ret = send_one(fd, sk, &msg, &d);
	call_list_free(d.iov, brief);
	return ret;
}

/* What goes back into the program's header. */
static s64 report(ref sk, struct msghdr *user, const struct msghdr *msg, const struct call_data *d,
	bool stream)
{
	struct control_out out = {.room = msg->msg_control ? msg->msg_controllen : 0};
	size_t used;

	out.room = MIN(out.room, sizeof(out.bytes));
	if (stream && out.room && !(d->meta->msg_flags & MSG_ERRQUEUE))
		call_control_stream(&out, sk, d);
	else if (!stream || d->meta->msg_flags & MSG_ERRQUEUE)
		call_control_dgram(&out, d);
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

static s64 recv_one(
	int fd, ref sk, struct msghdr *user, const struct msghdr *msg, struct call_data *d)
{
	struct plan_meta meta = {.tos = -1, .ttl = -1};
	u8 stats[PLAN_STATS];
	bool stream = is_stream(sk);
	socklen_t none = 0;
	s64 ret, fault = 0;

	d->meta = &meta;
	d->stats = stats;
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

s64 call_recvmsg(int fd, ref sk, struct msghdr *user, int flags)
{
	struct iovec brief[CALL_BRIEF];
	struct call_data d = {.flags = flags};
	struct msghdr msg;
	s64 ret = message_copy(&msg, user);

	if (ret < 0)
		return ret;
	ret = message_import(&msg, brief, &d);
	if (ret >= 0)
		ret = recv_one(fd, sk, user, &msg, &d);
	call_list_free(d.iov, brief);
	return ret;
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
