/*
 * Options and ioctl. Values are copied to and from memory of ours, which is zeroed first.
 */
#include "preload/call.h"

#include <asm/ioctls.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include "preload/ifaces.h"
#include "preload/libc.h"
#include "preload/raw.h"
#include "preload/splice.h"

/* SO_ATTACH_FILTER: the value names the program's instructions, which the engine wants themselves.
 */
static s64 attach_filter(ref sk, const void *val, socklen_t len)
{
	u8 program[512 * sizeof(struct sock_filter)];
	struct sock_fprog fprog;
	u32 size;
	s64 ret;

	if (len != sizeof(fprog))
		return -EINVAL;
	if (guard_copy(&fprog, val, sizeof(fprog)) < 0)
		return -EFAULT;
	size = (u32)(fprog.len * sizeof(struct sock_filter));
	if (!fprog.len || size > sizeof(program))
		return fprog.len ? -ENOMEM : -EINVAL;
	if (guard_copy(program, fprog.filter, size) < 0)
		return -EFAULT;
	guard_enter();
	ret = sock_setopt(host_enter(), sk, SOL_SOCKET, SO_ATTACH_FILTER, program, size);
	host_leave();
	guard_leave(false);
	return ret;
}

s64 call_setsockopt(int fd, ref sk, int level, int opt, const void *val, socklen_t len)
{
	u8 copy[SOCK_OPT_MAX] = {0};
	u32 size = MIN(len, (socklen_t)sizeof(copy));
	s64 ret;

	if ((int)len < 0)
		return -EINVAL;
	if (!call_checked(fd, sk))
		return CALL_NOT_OURS;
	if (level == SOL_SOCKET && opt == SO_ATTACH_FILTER)
		return attach_filter(sk, val, len);
	/* Linux reads an int where an int is meant, whatever length is given. */
	if (guard_copy(copy, val, size) < 0 &&
		(size <= sizeof(int) || guard_copy(copy, val, size = sizeof(int)) < 0))
		return -EFAULT;
	guard_enter();
	ret = sock_setopt(host_enter(), sk, level, opt, copy, size);
	host_leave();
	guard_leave(false);
	/* Who reads and writes in the kernel waits there. */
	if (ret == 0 && level == SOL_SOCKET &&
		(opt == SO_RCVTIMEO || opt == SO_SNDTIMEO || opt == SO_RCVLOWAT) && splice_is(sk))
		raw_setsockopt(fd, level, opt, copy, size);
	return ret;
}

s64 call_getsockopt(int fd, ref sk, int level, int opt, void *val, socklen_t *len)
{
	u8 copy[SOCK_OPT_MAX] = {0};
	socklen_t room;
	u32 size;
	s64 ret;

	(void)fd;
	if (guard_copy(&room, len, sizeof(room)) < 0)
		return -EFAULT;
	/* A negative size is the engine's to refuse: what Linux says depends on the level. */
	size = (int)room < 0 ? room : MIN(room, (socklen_t)sizeof(copy));
	/*
	 * The one option whose question stands in the answer's place: the group whose filter is
	 * wanted.
	 */
	if (level == SOL_IP && opt == IP_MSFILTER && (int)room > 0 &&
		guard_copy(copy, val, size) < 0)
		return -EFAULT;
	guard_enter();
	ret = sock_getopt(host_enter(), sk, level, opt, copy, &size);
	host_leave();
	guard_leave(false);
	/* With too little room for it the length needed comes back all the same. */
	if (ret < 0 && level == SOL_TCP && opt == TCP_SAVED_SYN && size > room)
		guard_copy(len, &size, sizeof(size));
	if (ret < 0)
		return ret;
	room = size;
	/* SO_GET_FILTER alone counts instructions, in both directions. */
	if (level == SOL_SOCKET && opt == SO_GET_FILTER)
		size = MIN(size * (u32)sizeof(struct sock_filter), (u32)sizeof(copy));
	if (guard_copy(val, copy, size) < 0 || guard_copy(len, &room, sizeof(room)) < 0)
		return -EFAULT;
	return 0;
}

/* The mode is kept in the socket for us, and in the placeholder for fcntl(F_GETFL). */
static s64 set_mode(int fd, ref sk, unsigned long request, const void *arg)
{
	int mode = request == FIOASYNC ? O_ASYNC : O_NONBLOCK, on, flags;
	struct sock *sock;

	if (!call_checked(fd, sk))
		return CALL_NOT_OURS;
	if (guard_copy(&on, arg, sizeof(on)) < 0)
		return -EFAULT;
	flags = raw_fcntl(fd, F_GETFL, 0);
	flags = on ? flags | mode : flags & ~mode;
	raw_fcntl(fd, F_SETFL, flags);
	guard_enter();
	sock = sock_get(host_enter(), sk);
	if (sock)
		sock->fd_flags = (u32)flags & (O_NONBLOCK | O_ASYNC);
	host_leave();
	guard_leave(false);
	return 0;
}

static s64 get_number(ref sk, unsigned long request, void *arg)
{
	int value = 0;
	s64 ret;

	guard_enter();
	ret = sock_ioctl(host_enter(), sk, (unsigned)request, &value);
	host_leave();
	guard_leave(false);
	if (ret < 0)
		return ret;
	return guard_copy(arg, &value, sizeof(value));
}

s64 call_mark(ref sk)
{
	int mark = 0;
	s64 ret = get_number(sk, SIOCATMARK, &mark);

	return ret < 0 ? ret : mark;
}

/* When the last packet was read that the program got (sock_gettstamp). */
static s64 get_stamp(ref sk, unsigned long request, void *arg)
{
	struct sock *sock;
	u64 stamp = 0;
	long pair[2];

	guard_enter();
	sock = sock_get(host_enter(), sk);
	if (sock)
		stamp = sock->stamp_ns;
	host_leave();
	guard_leave(false);
	if (!stamp)
		return -ENOENT;
	pair[0] = (long)(stamp / NS_PER_S);
	pair[1] = (long)(stamp % NS_PER_S) / (request == SIOCGSTAMP_OLD ? 1000 : 1);
	return guard_copy(arg, pair, sizeof(pair));
}

s64 call_ioctl(int fd, ref sk, unsigned long request, void *arg)
{
	int ret;

	switch (request) {
	case FIONBIO:
	case FIOASYNC:
		return set_mode(fd, sk, request, arg);
	case FIONREAD: /* SIOCINQ */
		if (splice_is(sk))
			return CALL_NOT_OURS;
		return get_number(sk, request, arg);
	case SIOCOUTQ:
	case SIOCOUTQNSD:
	case SIOCATMARK:
		return get_number(sk, request, arg);
	case SIOCGSTAMP_OLD:
	case SIOCGSTAMPNS_OLD:
		return get_stamp(sk, request, arg);
	case FIOSETOWN:
	case SIOCSPGRP:
		ret = raw_ioctl(fd, request, arg);
		if (ret == 0)
			async_update(fd, sk);
		return ret;
	case FIOCLEX:
	case FIONCLEX:
	case FIOGETOWN:
	case SIOCGPGRP:
	case FIOQSIZE:
		return CALL_NOT_OURS; /* the placeholder's file says the same */
	default:
		if (!call_checked(fd, sk))
			return CALL_NOT_OURS;
		ret = ifaces_ioctl(request, arg);
		/* Terminals' and all others: as a socket answers what it does not know. */
		return ret == IFACES_NOT_OURS ? -ENOTTY : ret;
	}
}
