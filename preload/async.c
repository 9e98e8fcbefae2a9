/*
 * Signals of a socket's owner (F_SETOWN): SIGURG when urgent data come, and with O_ASYNC SIGIO, or
 * the signal of F_SETSIG, when the socket's readiness changes.
 *
 * The placeholder's file keeps owner, signal and flag, as any file does; what it has is copied to
 * the socket when it changes. Whoever makes the engine report a change notes the signal under the
 * lock, and the keeper sends it: kill(2) is forbidden to sandboxed programs, and means something
 * else in another pid namespace. The siginfo of F_SETSIG, with the descriptor, is not filled in.
 */
#include "preload/call.h"
#include "preload/raw.h"
#include "preload/watch.h"

void async_update(int fd, ref sk)
{
	struct f_owner_ex owner = {.type = F_OWNER_PID};
	int flags = raw_fcntl(fd, F_GETFL, 0), sig = raw_fcntl(fd, F_GETSIG, 0);
	struct sock *sock;

	raw_fcntl(fd, F_GETOWN_EX, (long)&owner);
	guard_enter();
	sock = sock_get(host_enter(), sk);
	if (sock) {
		sock->owner = owner.type == F_OWNER_PGRP ? -owner.pid : owner.pid;
		sock->owner_signal = (u8)MAX(sig, 0);
		sock->fd_flags = (u32)MAX(flags, 0) & (O_NONBLOCK | O_ASYNC);
	}
	host_leave();
	guard_leave(false);
}

static void async_add(struct host *host, int owner, u32 sig)
{
	struct async_signal *a;

	for (u32 i = 0; i < host->async_count; i++) {
		if (host->async[i].owner == owner && host->async[i].sig == sig)
			return;
	}
	if (host->async_count == ARRAY_LEN(host->async))
		return;
	a = &host->async[host->async_count];
	*a = (struct async_signal){.owner = owner, .sig = sig};
	__atomic_store_n(&host->async_count, host->async_count + 1, __ATOMIC_RELEASE);
}

void async_note(const struct sock *sk, u32 events)
{
	struct host *host = host_local.host;

	if (events & EV_PRI && sk->type == SOCK_STREAM)
		async_add(host, sk->owner, SIGURG);
	if (sk->type != SOCK_STREAM)
		events &= ~(u32)EV_OUT; /* datagrams have gone at once */
	if (sk->fd_flags & O_ASYNC && events & (EV_IN | EV_OUT | EV_ERR | EV_HUP | EV_RDHUP))
		async_add(host, sk->owner, sk->owner_signal ? sk->owner_signal : SIGIO);
}

/* To a member by its pidfd. */
static bool async_send_member(u32 pid, u32 sig)
{
	for (u32 i = 0; i < HOST_MEMBERS; i++) {
		const struct member *m = &host_local.host->member[i];

		if (m->state == MEMBER_FREE || m->pid != pid)
			continue;
		for (struct watch *w = watch_first(i); w; w = watch_next(w)) {
			if (w->kind == WATCH_PROCESS)
				return raw_syscall4(
					       SYS_pidfd_send_signal, w->fd, (long)sig, 0, 0) == 0;
		}
	}
	return false;
}

void async_send(void)
{
	struct host *host = host_local.host;
	struct async_signal due[ARRAY_LEN(host->async)];
	u32 count;

	if (!__atomic_load_n(&host->async_count, __ATOMIC_ACQUIRE))
		return;
	host_enter();
	count = host->async_count;
	memcpy(due, host->async, count * sizeof(due[0]));
	host->async_count = 0;
	host_leave();
	for (u32 i = 0; i < count; i++) {
		if (due[i].owner < 0 || !async_send_member((u32)due[i].owner, due[i].sig))
			raw_syscall2(SYS_kill, due[i].owner, (long)due[i].sig);
	}
}
