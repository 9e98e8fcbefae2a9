/*
 * A keeper after one that was killed.
 *
 * Every member has all that makes a host: the region, the device, the bells. The one that drives
 * sees the end of its connection (sleep.c) and starts another keeper with copies of them
 * (join_again); of several that do so at once one binds the rendezvous, and the others join it.
 * The new keeper frees what the old one held, finds the members by their process ids, and is told
 * by each that looks for it. Until then the members go on by themselves.
 *
 * What only the old one had is lost: tethers, and with them the bytes of connections that programs
 * without the library use. Their sockets end with their last holder, as if they had not been tied.
 */
#include "preload/region.h"

#include <stdio.h>

#include "preload/splice.h"

/* The size of the host, as it says itself. */
static u64 again_size(int fd)
{
	long at = raw_mmap(NULL, HOST_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	const struct host *host = (const struct host *)at;
	u64 size = 0;

	if (raw_failed(at))
		return 0;
	if (host->layout == host_layout())
		size = host->size;
	raw_munmap((void *)at, HOST_BYTES);
	return size;
}

/* Under the lock: what the old keeper held. */
static void again_clean(struct stack *s)
{
	struct host *host = host_local.host;

	slot_drop_process(s, HOST_MEMBERS);
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk)
			sk->flags &=
				~(u32)(SOCK_TETHERED | SOCK_SPLICED | SOCK_LENT | SOCK_PUMP_DUE);
	}
	host->due_count = host->due_all = 0;
	host->keeper_rung = 0;
	host->keeper_until_ns = 0;
	member_repair(s); /* who has no holder and no tether either is closed */
	host->stats.keepers_died++;
}

int again_take_over(int *fds, u32 count, char *why, size_t why_size)
{
	static u32 alive = 1;
	struct host_local *local = &host_local;
	u64 size = again_size(fds[0]);
	struct host *host;
	u32 n = 2;
	int ret;

	ret = size ? region_attach(local, fds[0], size) : -EPROTO;
	if (ret < 0) {
		snprintf(why, why_size, "cannot map the host's memory: %s", strerror(-ret));
		return ret;
	}
	host = local->host;
	local->dev = host->dev;
	local->dev.fd = fds[1];
	local->alive = &alive;
	local->pid = (u32)raw_getpid();
	local->member = HOST_MEMBERS;
	if (host->has_capture)
		capture_attach(&local->capture, fds[n++], host->config.pcap_filter, why, why_size);
	if (host->has_log)
		local->log_fd = fds[n++];
	for (u32 i = 0; i < HOST_BELLS; i++)
		local->bell[i] = n < count ? fds[n++] : -1;
	again_clean(host_enter());
	host_leave();
	return 0;
}

void again_members(void (*found)(u32 member, int pidfd), void (*gone)(u32 member))
{
	for (u32 i = 0; i < HOST_MEMBERS; i++) {
		const struct member *m = &host_local.host->member[i];
		int fd = m->state == MEMBER_FREE ? -EBADF
						 : (int)raw_syscall2(SYS_pidfd_open, m->pid, 0);

		if (m->state == MEMBER_LIVE && fd >= 0)
			found(i, fd);
		else if (fd >= 0)
			raw_close(fd); /* of the parent: the child will tell of itself */
		else if (m->state != MEMBER_FREE)
			gone(i);
	}
}
