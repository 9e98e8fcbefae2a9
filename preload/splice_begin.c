/*
 * Splicing, as a member begins it. Theory of operation: splice.c, pump.c.
 */
#include "preload/splice.h"

#include "preload/raw.h"
#include "preload/region.h"
#include "preload/tether.h"

/* What read and write look at in the kernel from now on. */
static void splice_timeouts(int fd, const struct sock *sk)
{
	const u64 ns[2] = {sk->rcvtimeo_ns, sk->sndtimeo_ns};
	const int name[2] = {SO_RCVTIMEO, SO_SNDTIMEO};

	for (u32 i = 0; i < 2; i++) {
		struct timeval tv = {.tv_sec = (time_t)(ns[i] / NS_PER_S),
			.tv_usec = (suseconds_t)(ns[i] % NS_PER_S / NS_PER_US)};

		if (ns[i])
			raw_setsockopt(fd, SOL_SOCKET, name[i], &tv, sizeof(tv));
	}
}

/*
 * The first byte on the connection: one that no program has sent, as a descriptor goes along. It
 * stays unread in the keeper's end, for the sake of a reset (pump.c).
 */
static void splice_mark(int fd)
{
	u8 byte = 0;

	join_send(fd, &byte, 1, &host_local.region_fd, 1);
}

/* Under the lock: this thread is the one that sends the mark. */
static bool splice_first(struct sock *sk)
{
	bool first = sk && sk->type == SOCK_STREAM && !(sk->flags & SOCK_SPLICE_MARKED);

	if (first)
		sk->flags |= SOCK_SPLICE_MARKED;
	return first;
}

int splice_begin(int fd, ref r)
{
	struct sock *sk, copy = {.type = 0};
	bool first;
	int ret;

	sk = sock_get(host_enter(), r);
	if (sk)
		copy = *sk;
	host_leave();
	if (!sk)
		return -EBADF;
	if (copy.state == SOCK_LISTENING)
		return -EOPNOTSUPP;
	if (copy.flags & SOCK_SPLICED)
		return 0;
	ret = tether_tie(fd, r);
	if (ret < 0)
		return ret;
	splice_timeouts(fd, &copy);
	first = splice_first(sock_get(host_enter(), r));
	host_leave();
	if (first)
		splice_mark(fd);
	sk = sock_get(host_enter(), r);
	if (sk)
		splice_set(host_stack(), sk);
	host_leave();
	return sk ? 0 : -EBADF;
}
