/* Interposed: sigaction and its kin, and pthread_cancel. The work is guard.c's. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "preload/export.h"
#include "preload/guard_signal.h"
#include "preload/host.h"
#include "preload/libc.h"
#include "preload/raw.h"

/* Signals that siginterrupt(3) has made interrupting: signal(3) leaves out SA_RESTART for them. */
static sigset_t interrupting;

EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return guard_sigaction(sig, act, old);
}

static sighandler_t set_handler(int sig, sighandler_t handler, int flags, bool mask_itself)
{
	struct sigaction act, old;

	if (handler == SIG_ERR || sig < 1 || sig >= 65) {
		errno = EINVAL;
		return SIG_ERR;
	}
	memset(&act, 0, sizeof(act));
	act.sa_handler = handler;
	act.sa_flags = flags;
	if (mask_itself)
		sigaddset(&act.sa_mask, sig);
	return guard_sigaction(sig, &act, &old) ? SIG_ERR : old.sa_handler;
}

static sighandler_t set_bsd(int sig, sighandler_t handler)
{
	return set_handler(
		sig, handler, sigismember(&interrupting, sig) == 1 ? 0 : SA_RESTART, true);
}

EXPORT sighandler_t signal(int sig, sighandler_t handler)
{
	return set_bsd(sig, handler);
}

sighandler_t bsd_signal(int sig, sighandler_t handler); /* gone from the headers, still called */

EXPORT sighandler_t bsd_signal(int sig, sighandler_t handler)
{
	return set_bsd(sig, handler);
}

EXPORT sighandler_t ssignal(int sig, sighandler_t handler)
{
	return set_bsd(sig, handler);
}

EXPORT sighandler_t sysv_signal(int sig, sighandler_t handler)
{
	return set_handler(sig, handler, (int)SA_RESETHAND | SA_NODEFER, false);
}

EXPORT sighandler_t __sysv_signal(int sig, sighandler_t handler)
{
	return set_handler(sig, handler, (int)SA_RESETHAND | SA_NODEFER, false);
}

/* System V's. */

EXPORT sighandler_t sigset(int sig, sighandler_t handler)
{
	struct sigaction before;
	sigset_t set, mask;

	sigemptyset(&set);
	if (handler == SIG_ERR || sigaddset(&set, sig) || guard_sigaction(sig, NULL, &before)) {
		errno = EINVAL;
		return SIG_ERR;
	}
	if (handler != SIG_HOLD && set_handler(sig, handler, 0, false) == SIG_ERR)
		return SIG_ERR;
	sigemptyset(&mask);
	raw_sigprocmask(handler == SIG_HOLD ? SIG_BLOCK : SIG_UNBLOCK, &set, &mask);
	return sigismember(&mask, sig) ? SIG_HOLD : before.sa_handler;
}

EXPORT int sigignore(int sig)
{
	return set_handler(sig, SIG_IGN, 0, false) == SIG_ERR ? -1 : 0;
}

EXPORT int siginterrupt(int sig, int interrupt)
{
	struct sigaction act;

	if (guard_sigaction(sig, NULL, &act))
		return -1;
	if (interrupt) {
		sigaddset(&interrupting, sig);
		act.sa_flags &= ~SA_RESTART;
	} else {
		sigdelset(&interrupting, sig);
		act.sa_flags |= SA_RESTART;
	}
	return guard_sigaction(sig, &act, NULL);
}

/* The kernel's and glibc's part is libc's; a thread that sleeps for a stack socket must be told
 * too. */
EXPORT int pthread_cancel(pthread_t thread)
{
	u32 i, pid = (u32)raw_getpid();
	struct slot *slot;
	int err;

	libc_need();
	err = libc.pthread_cancel(thread);
	if (err || !host_up())
		return err;
	for (i = 0; (slot = slot_at(i)) != NULL; i++) {
		if (slot->tid && slot->pid == pid && slot->thread == (u64)thread)
			host_interrupt(slot);
	}
	return 0;
}
