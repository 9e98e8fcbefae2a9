/*
 * NETLINK_ROUTE sockets, whose answers about interfaces are the stack's.
 *
 * Towards the kernel, a request that we answer gets a message type that the kernel does not have.
 * The kernel refuses it with an NLMSG_ERROR datagram that quotes the request: this stands in the
 * socket's queue for our answer, and is replaced by it when the program receives it. The quote
 * tells all there is to know (what was asked, the sequence number, the socket's port), so nothing
 * is remembered here, and the order among answers, readiness and blocking are those of the kernel's
 * socket.
 */
#include <linux/netlink.h>
#include <string.h>

#include "preload/fdtable.h"
#include "preload/guard.h"
#include "preload/ifaces_internal.h"
#include "preload/raw.h"

#define MARK	    0x7500u /* added to the type of a request that we answer; beyond RTM_MAX */
#define REQUEST_MAX 1024
#define ANSWER_MAX  16384

/* The kernel's refusal of one of our requests. */
struct refusal {
	struct nlmsghdr header;
	struct nlmsgerr body;
	u8 payload[REQUEST_MAX];
};

/* Gathers a message from the program's memory. Its length, 0 when it is longer than any request we
 * answer, or -EFAULT. */
static ssize_t gather(const struct msghdr *msg, u8 *out, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < msg->msg_iovlen; i++) {
		struct iovec iov;

		if (guard_copy(&iov, &msg->msg_iov[i], sizeof(iov)))
			return -EFAULT;
		if (iov.iov_len > size - used)
			return 0;
		if (guard_copy(out + used, iov.iov_base, iov.iov_len))
			return -EFAULT;
		used += iov.iov_len;
	}
	return (ssize_t)used;
}

/* Marks the requests in a datagram that we answer. How many there are. */
static u32 mark(u8 *data, size_t len)
{
	u32 count = 0;

	for (size_t at = 0; len - at >= sizeof(struct nlmsghdr);) {
		struct nlmsghdr header;

		memcpy(&header, data + at, sizeof(header));
		if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > len - at)
			break;
		if (header.nlmsg_flags & NLM_F_REQUEST &&
			ifaces_message_answers(header.nlmsg_type)) {
			header.nlmsg_type = (u16)(header.nlmsg_type + MARK);
			memcpy(data + at, &header, sizeof(header));
			count++;
		}
		at += MIN(NLMSG_ALIGN(header.nlmsg_len), len - at);
	}
	return count;
}

ssize_t ifaces_netlink_send(int fd, const struct msghdr *msg, int flags)
{
	_Alignas(8) u8 data[REQUEST_MAX];
	ssize_t len = gather(msg, data, sizeof(data));
	struct msghdr marked = *msg;
	struct iovec iov;

	if (len < 0)
		return len;
	if (!len || !mark(data, (size_t)len))
		return raw_sendmsg(fd, msg, flags);
	iov = (struct iovec){data, (size_t)len};
	marked.msg_iov = &iov;
	marked.msg_iovlen = 1;
	return raw_sendmsg(fd, &marked, flags);
}

static bool is_refusal(const struct refusal *r, ssize_t len)
{
	if (len < (ssize_t)(sizeof(r->header) + sizeof(r->body)) ||
		r->header.nlmsg_type != NLMSG_ERROR || !r->body.error ||
		r->body.msg.nlmsg_type < MARK)
		return false;
	return ifaces_message_answers((u16)(r->body.msg.nlmsg_type - MARK));
}

static ssize_t scatter(const struct msghdr *msg, const u8 *data, size_t len)
{
	size_t used = 0;

	for (size_t i = 0; i < msg->msg_iovlen && used < len; i++) {
		struct iovec iov;
		size_t n;

		if (guard_copy(&iov, &msg->msg_iov[i], sizeof(iov)))
			return -EFAULT;
		n = MIN(iov.iov_len, len - used);
		if (guard_copy(iov.iov_base, data + used, n))
			return -EFAULT;
		used += n;
	}
	return (ssize_t)used;
}

/* Gives the program our answer to the request that the refusal quotes. */
static ssize_t deliver(struct refusal *r, size_t len, struct msghdr *msg, int flags)
{
	_Alignas(8) u8 answer[ANSWER_MAX];
	struct ifaces_view view;
	size_t quoted = MIN(len - sizeof(r->header) - sizeof(r->body),
		(size_t)MAX(r->body.msg.nlmsg_len, sizeof(r->body.msg)) - sizeof(r->body.msg));
	size_t used;
	ssize_t copied;

	r->body.msg.nlmsg_type = (u16)(r->body.msg.nlmsg_type - MARK);
	ifaces_view_take(&view);
	used = ifaces_message_answer(&view, &r->body.msg, r->payload, quoted, r->header.nlmsg_pid,
		answer, sizeof(answer));
	copied = scatter(msg, answer, used);
	if (copied < 0)
		return copied;
	if ((size_t)copied < used)
		msg->msg_flags |= MSG_TRUNC;
	return flags & MSG_TRUNC ? (ssize_t)used : copied;
}

ssize_t ifaces_netlink_recv(int fd, struct msghdr *msg, int flags)
{
	_Alignas(8) struct refusal r;
	struct iovec iov = {&r, sizeof(r)};
	struct msghdr peek = {.msg_iov = &iov, .msg_iovlen = 1};
	struct msghdr taken = *msg;
	ssize_t ret = raw_recvmsg(fd, &peek, (flags & ~(MSG_TRUNC | MSG_CMSG_CLOEXEC)) | MSG_PEEK);

	if (ret < 0)
		return ret;
	if (!is_refusal(&r, ret))
		return raw_recvmsg(fd, msg, flags);
	taken.msg_iov = &iov;
	taken.msg_iovlen = 1;
	ret = raw_recvmsg(fd, &taken, flags & ~MSG_TRUNC);
	if (ret < 0)
		return ret;
	msg->msg_namelen = taken.msg_namelen;
	msg->msg_controllen = taken.msg_controllen;
	msg->msg_flags = taken.msg_flags & ~MSG_TRUNC;
	/* Another thread was faster, and what we have taken is something else. */
	if (!is_refusal(&r, ret))
		return scatter(msg, (const u8 *)&r, (size_t)ret);
	return deliver(&r, (size_t)ret, msg, flags);
}

ssize_t ifaces_netlink_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct msghdr copy;

	return guard_copy(&copy, msg, sizeof(copy)) ? -EFAULT
						    : ifaces_netlink_send(fd, &copy, flags);
}

ssize_t ifaces_netlink_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct msghdr copy;
	ssize_t ret;

	if (guard_copy(&copy, msg, sizeof(copy)))
		return -EFAULT;
	ret = ifaces_netlink_recv(fd, &copy, flags);
	if (ret < 0)
		return ret;
	return guard_copy(msg, &copy, sizeof(copy)) ? -EFAULT : ret;
}

ssize_t ifaces_netlink_sendto(int fd, const void *buf, size_t len, int flags,
	const struct sockaddr *addr, socklen_t addr_len)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};
	struct msghdr msg = {.msg_name = (void *)(uintptr_t)addr,
		.msg_namelen = addr ? addr_len : 0,
		.msg_iov = &iov,
		.msg_iovlen = 1};

	return ifaces_netlink_send(fd, &msg, flags);
}

ssize_t ifaces_netlink_recvfrom(
	int fd, void *buf, size_t len, int flags, struct sockaddr *addr, socklen_t *addr_len)
{
	struct iovec iov = {buf, len};
	struct msghdr msg = {.msg_name = addr, .msg_iov = &iov, .msg_iovlen = 1};
	ssize_t ret;

	if (addr && guard_copy(&msg.msg_namelen, addr_len, sizeof(msg.msg_namelen)))
		return -EFAULT;
	ret = ifaces_netlink_recv(fd, &msg, flags);
	if (ret >= 0 && addr && guard_copy(addr_len, &msg.msg_namelen, sizeof(*addr_len)))
		return -EFAULT;
	return ret;
}

void ifaces_netlink_opened(int fd)
{
	struct stat st;

	if (ifaces_ours() && !raw_fstat(fd, &st))
		fdtable_set(fd, FD_NETLINK, 0, st.st_ino);
}
