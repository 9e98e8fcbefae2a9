/*
 * Interposed: sockets, and the calls that move data. Each looks the number up; what is not ours, or
 * turns out not to be, is libc's.
 */
#include <linux/netlink.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include "preload/call.h"
#include "preload/call_file.h"
#include "preload/export.h"
#include "preload/ifaces.h"
#include "preload/libc.h"
#include "preload/raw.h"

/*
 * Returns from the caller with the answer of `expr` (which may use `sk`) when fd is a stack socket. One
 * that turns out not to be may be another one.
 */
#define TRY(type, fd, expr)                                                                        \
	for (ref sk = fdtable_sock(fd), again; sk; sk = again == sk ? 0 : again) {                 \
		s64 answer = (expr);                                                               \
                                                                                                   \
		if (answer != CALL_NOT_OURS)                                                       \
			return (type)call_result(answer);                                          \
		again = fdtable_sock(fd);                                                          \
	}

/* The same for a socket of the kernel whose answers about interfaces are ours. */
#define TRY_NETLINK(type, fd, expr)                                                                \
	do {                                                                                       \
		ref none;                                                                          \
                                                                                                   \
		if (fdtable_word(fd) >> 62 == FD_NETLINK &&                                        \
			fdtable_find_checked(fd, &none) == FD_NETLINK)                             \
			return (type)call_result(expr);                                            \
	} while (0)

EXPORT int socket(int domain, int type, int protocol)
{
	s64 answer = call_socket(domain, type, protocol);
	int fd;

	if (answer != CALL_NOT_OURS)
		return (int)call_result(answer);
	fd = call_opened(libc.socket(domain, type, protocol));
	if (fd >= 0 && domain == AF_NETLINK && protocol == NETLINK_ROUTE)
		ifaces_netlink_opened(fd);
	return fd;
}

EXPORT int socketpair(int domain, int type, int protocol, int fds[2])
{
	int ret = libc.socketpair(domain, type, protocol, fds);

	if (ret == 0) {
		call_opened(fds[0]);
		call_opened(fds[1]);
	}
	return ret;
}

EXPORT int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	TRY(int, fd, call_bind(fd, sk, addr, len));
	return libc.bind(fd, addr, len);
}

EXPORT int listen(int fd, int backlog)
{
	TRY(int, fd, call_listen(fd, sk, backlog));
	return libc.listen(fd, backlog);
}

EXPORT int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	TRY(int, fd, call_accept(fd, sk, addr, len, 0));
	return call_opened(libc.accept(fd, addr, len));
}

EXPORT int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	TRY(int, fd, call_accept(fd, sk, addr, len, flags));
	return call_opened(libc.accept4(fd, addr, len, flags));
}

EXPORT int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	TRY(int, fd, call_connect(fd, sk, addr, len));
	return libc.connect(fd, addr, len);
}

EXPORT int getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	TRY(int, fd, call_getsockname(fd, sk, addr, len));
	return libc.getsockname(fd, addr, len);
}

EXPORT int getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	TRY(int, fd, call_getpeername(fd, sk, addr, len));
	return libc.getpeername(fd, addr, len);
}

EXPORT int setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	TRY(int, fd, call_setsockopt(fd, sk, level, name, val, len));
	return libc.setsockopt(fd, level, name, val, len);
}

EXPORT int getsockopt(int fd, int level, int name, void *val, socklen_t *len)
{
	TRY(int, fd, call_getsockopt(fd, sk, level, name, val, len));
	return libc.getsockopt(fd, level, name, val, len);
}

EXPORT int shutdown(int fd, int how)
{
	TRY(int, fd, call_shutdown(fd, sk, how));
	return libc.shutdown(fd, how);
}

EXPORT int sockatmark(int fd)
{
	TRY(int, fd, call_mark(sk));
	libc_need();
	return libc.sockatmark(fd);
}

EXPORT ssize_t read(int fd, void *buf, size_t len)
{
	TRY(ssize_t, fd, len ? call_recvfrom(fd, sk, buf, len, 0, NULL, NULL) : 0);
	TRY_NETLINK(ssize_t, fd, ifaces_netlink_recvfrom(fd, buf, len, 0, NULL, NULL));
	return libc.read(fd, buf, len);
}

EXPORT ssize_t write(int fd, const void *buf, size_t len)
{
	TRY(ssize_t, fd, call_sendto(fd, sk, buf, len, 0, NULL, 0));
	TRY_NETLINK(ssize_t, fd, ifaces_netlink_sendto(fd, buf, len, 0, NULL, 0));
	return libc.write(fd, buf, len);
}

EXPORT ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	TRY(ssize_t, fd, call_sendto(fd, sk, buf, len, flags, NULL, 0));
	TRY_NETLINK(ssize_t, fd, ifaces_netlink_sendto(fd, buf, len, flags, NULL, 0));
	return libc.sendto(fd, buf, len, flags, NULL, 0);
}

EXPORT ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
	socklen_t addr_len)
{
	TRY(ssize_t, fd, call_sendto(fd, sk, buf, len, flags, addr, addr_len));
	TRY_NETLINK(ssize_t, fd, ifaces_netlink_sendto(fd, buf, len, flags, addr, addr_len));
	return libc.sendto(fd, buf, len, flags, addr, addr_len);
}

EXPORT ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	TRY(ssize_t, fd, call_recvfrom(fd, sk, buf, len, flags, NULL, NULL));
	TRY_NETLINK(ssize_t, fd, ifaces_netlink_recvfrom(fd, buf, len, flags, NULL, NULL));
	return libc.recvfrom(fd, buf, len, flags, NULL, NULL);
}

EXPORT ssize_t recvfrom(int fd, void *restrict buf, size_t len, int flags,
	struct sockaddr *restrict addr, socklen_t *restrict addr_len)
{
	TRY(ssize_t, fd, call_recvfrom(fd, sk, buf, len, flags, addr, addr_len));
	TRY_NETLINK(ssize_t, fd, ifaces_netlink_recvfrom(fd, buf, len, flags, addr, addr_len));
	return libc.recvfrom(fd, buf, len, flags, addr, addr_len);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	TRY(ssize_t, fd, call_sendmsg(fd, sk, msg, flags));
	TRY_NETLINK(ssize_t, fd, ifaces_netlink_sendmsg(fd, msg, flags));
	call_sending(msg);
	return libc.sendmsg(fd, msg, flags);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t ret;

	TRY(ssize_t, fd, call_recvmsg(fd, sk, msg, flags));
	TRY_NETLINK(ssize_t, fd, ifaces_netlink_recvmsg(fd, msg, flags));
	ret = libc.recvmsg(fd, msg, flags);
	if (ret >= 0 && msg->msg_controllen)
		call_received(msg);
	return ret;
}

EXPORT ssize_t readv(int fd, const struct iovec *iov, int count)
{
	TRY(ssize_t, fd, call_readv(fd, sk, iov, count, 0));
	return libc.readv(fd, iov, count);
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int count)
{
	TRY(ssize_t, fd, call_writev(fd, sk, iov, count, 0));
	return libc.writev(fd, iov, count);
}

/*
 * Offset -1 means the current position, which is all that a socket has; any other is ESPIPE, as the
 * placeholder says.
 */
EXPORT ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	if (offset == -1)
		TRY(ssize_t, fd,
			call_readv(fd, sk, iov, count, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0));
	libc_need();
	return libc.preadv2(fd, iov, count, offset, flags);
}

EXPORT ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	if (offset == -1)
		TRY(ssize_t, fd,
			call_writev(fd, sk, iov, count, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0));
	libc_need();
	return libc.pwritev2(fd, iov, count, offset, flags);
}

EXPORT ssize_t preadv64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
	return preadv2(fd, iov, count, offset, flags);
}

EXPORT ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
	return pwritev2(fd, iov, count, offset, flags);
}

EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t count)
{
	TRY(ssize_t, out, call_sendfile(out, sk, in, offset, count));
	TRY(ssize_t, in, call_sendfile_from(in, sk, out, offset, count));
	return libc.sendfile(out, in, offset, count);
}

EXPORT ssize_t sendfile64(int out, int in, off64_t *offset, size_t count)
{
	return sendfile(out, in, offset, count);
}

EXPORT ssize_t splice(
	int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len, unsigned flags)
{
	TRY(ssize_t, out, call_splice_out(in, in_offset, out, sk, out_offset, len, flags));
	TRY(ssize_t, in, call_splice_in(in, sk, in_offset, out, out_offset, len, flags));
	return libc.splice(in, in_offset, out, out_offset, len, flags);
}

EXPORT int sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
	TRY(int, fd, call_sendmmsg(fd, sk, msgs, count, flags));
	call_sending_all(msgs, count);
	return libc.sendmmsg(fd, msgs, count, flags);
}

EXPORT int recvmmsg(
	int fd, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *timeout)
{
	int ret;

	TRY(int, fd, call_recvmmsg(fd, sk, msgs, count, flags, timeout));
	ret = libc.recvmmsg(fd, msgs, count, flags, timeout);
	for (int i = 0; i < ret; i++) {
		if (msgs[i].msg_hdr.msg_controllen)
			call_received(&msgs[i].msg_hdr);
	}
	return ret;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	TRY(int, fd, call_ioctl(fd, sk, request, arg));
	return libc.ioctl(fd, request, arg);
}

/* --- fortified and private names --- */

extern void __chk_fail(void) __attribute__((noreturn));

EXPORT ssize_t __read_chk(int fd, void *buf, size_t len, size_t room)
{
	if (len > room)
		__chk_fail();
	return read(fd, buf, len);
}

EXPORT ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags)
{
	if (len > room)
		__chk_fail();
	return recv(fd, buf, len, flags);
}

EXPORT ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags,
	struct sockaddr *addr, socklen_t *addr_len)
{
	if (len > room)
		__chk_fail();
	return recvfrom(fd, buf, len, flags, addr, addr_len);
}

EXPORT int __socket(int domain, int type, int protocol)
{
	return socket(domain, type, protocol);
}

EXPORT int __connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return connect(fd, addr, len);
}

EXPORT ssize_t __read(int fd, void *buf, size_t len)
{
	return read(fd, buf, len);
}

EXPORT ssize_t __write(int fd, const void *buf, size_t len)
{
	return write(fd, buf, len);
}

EXPORT ssize_t __read_nocancel(int fd, void *buf, size_t len)
{
	return read(fd, buf, len);
}

EXPORT ssize_t __write_nocancel(int fd, const void *buf, size_t len)
{
	return write(fd, buf, len);
}

EXPORT ssize_t __send(int fd, const void *buf, size_t len, int flags)
{
	return send(fd, buf, len, flags);
}

EXPORT ssize_t __recv(int fd, void *buf, size_t len, int flags)
{
	return recv(fd, buf, len, flags);
}

EXPORT int __sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
	return sendmmsg(fd, msgs, count, flags);
}
