/*
 * The guard: what happens to signals while a thread is inside the shim.
 *
 * From the first stack socket on, every handler that the program has installed is reached through a
 * trampoline. Outside the shim the trampoline calls it at once. Inside (depth > 0) it records
 * signal, siginfo and context, interrupts the thread's wait if there is one, and returns;
 * guard_leave runs what was recorded, under the mask that the kernel would have set. So a handler
 * may call socket functions, or siglongjmp out of a wait, without ever meeting the lock, a waiter
 * or the driver's role half given up.
 *
 * The trampoline itself runs with everything blocked, so that the signals that are pending at the
 * same time come one by one, and opens the mask as far as the action says before it calls a
 * handler. The last place for a record closes the mask of the interrupted code until the records
 * have run: further signals stay with the kernel.
 *
 * Never put off: faults (SEGV, BUS, FPE, ILL, TRAP, SYS raised by the processor), SIGPROF, and
 * glibc's own 32 and 33, which are not touched at all. A fault inside guard_copy is the program's
 * bad pointer: copy_fault sends it to the recovery point.
 */
#include "preload/guard.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "preload/copy.h"
#include "preload/guard_signal.h"
#include "preload/host.h"
#include "preload/libc.h"
#include "preload/raw.h"

enum { RECORDS = 8, SIGNALS = 65 };

struct record {
	int sig;
	int restart;
	struct sigaction action;
	siginfo_t info;
	ucontext_t context;
};

struct guard {
	volatile int depth;
	volatile int count;
	volatile int closed; /* all is blocked as the records are full; before: the mask until then
			      */
	sigset_t before;
	struct record record[RECORDS];
};

static __thread struct guard guard;

/* What the program has asked for, by signal. */
static struct sigaction wanted[SIGNALS];
static int installed;

static bool has_handler(const struct sigaction *a)
{
	return a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN;
}

void guard_enter(void)
{
	guard.depth++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

bool guard_pending(void)
{
	return guard.count != 0;
}

bool guard_restart(void)
{
	int i;

	for (i = 0; i < guard.count; i++) {
		if (!guard.record[i].restart)
			return false;
	}
	return true;
}

/* What the trampoline blocks: all but what the processor raises. */
static void all_but_faults(sigset_t *all)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};

	sigfillset(all);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(all, faults[i]);
}

static void block_all(sigset_t *before)
{
	sigset_t all;

	all_but_faults(&all);
	sigemptyset(before);
	raw_sigprocmask(SIG_SETMASK, &all, before);
}

/* Opens the mask for a handler as its action asks for. */
static void open_mask(int sig, const struct sigaction *a, const sigset_t *before)
{
	sigset_t mask;

	sigorset(&mask, before, &a->sa_mask);
	if (!(a->sa_flags & SA_NODEFER))
		sigaddset(&mask, sig);
	raw_sigprocmask(SIG_SETMASK, &mask, NULL);
}

static void run_recorded(void)
{
	int saved = errno;
	sigset_t before, ignored;

	block_all(&before);
	if (guard.closed)
		before = guard.before;
	guard.closed = 0;
	while (guard.count) {
		struct record r = guard.record[0];

		guard.count--;
		memmove(&guard.record[0], &guard.record[1],
			(size_t)guard.count * sizeof(guard.record[0]));
		open_mask(r.sig, &r.action, &before);
		r.action.sa_sigaction(r.sig, &r.info, &r.context);
		block_all(&ignored);
	}
	raw_sigprocmask(SIG_SETMASK, &before, NULL);
	errno = saved;
}

void guard_leave(bool cancel_point)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (--guard.depth)
		return;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (guard.count)
		run_recorded();
	if (cancel_point)
		pthread_testcancel();
}

static bool is_fault(int sig, const siginfo_t *info)
{
	switch (sig) {
	case SIGSEGV:
	case SIGBUS:
	case SIGFPE:
	case SIGILL:
	case SIGTRAP:
	case SIGSYS:
		return info->si_code > 0;
	default:
		return sig == SIGPROF;
	}
}

/* Puts off the handler's run. */
static void record(int sig, const siginfo_t *info, ucontext_t *context, const struct sigaction *a)
{
	struct slot *slot;
	struct record *r;
	sigset_t all;
	int i;

	for (i = 0; i < guard.count; i++) {
		if (guard.record[i].sig == sig && sig < SIGRTMIN)
			break;
	}
	if (i == guard.count) {
		r = &guard.record[i];
		r->sig = sig;
		r->restart = (a->sa_flags & SA_RESTART) != 0;
		r->action = *a;
		r->info = *info;
		memcpy(&r->context, context, sizeof(r->context));
		guard.count++;
	}
	if (guard.count == RECORDS && !guard.closed) {
		guard.closed = 1;
		sigemptyset(&guard.before);
		memcpy(&guard.before, &context->uc_sigmask, RAW_NSIG_BYTES);
		all_but_faults(&all);
		memcpy(&context->uc_sigmask, &all, RAW_NSIG_BYTES);
	}
	slot = slot_mine();
	if (slot)
		host_interrupt(slot);
}

/* The kernel's default for a signal that the program does not handle but that has a trampoline
 * (SEGV, BUS). */
static void take_default(int sig, const siginfo_t *info)
{
	struct sigaction dfl;

	memset(&dfl, 0, sizeof(dfl));
	dfl.sa_handler = SIG_DFL;
	libc.sigaction(sig, &dfl, NULL);
	if (info->si_code <= 0) /* sent by somebody: it does not come again by itself */
		raw_syscall3(SYS_tgkill, raw_getpid(), raw_gettid(), sig);
}

static void trampoline(int sig, siginfo_t *info, void *context)
{
	struct sigaction a = wanted[sig];
	struct sigaction dfl;
	sigset_t before;

	if ((sig == SIGSEGV || sig == SIGBUS) && info->si_code > 0 && copy_fault(context))
		return;
	if (!has_handler(&a)) {
		if (a.sa_handler == SIG_DFL || info->si_code > 0)
			take_default(sig, info);
		return;
	}
	if (a.sa_flags & (int)SA_RESETHAND) {
		wanted[sig].sa_handler = SIG_DFL;
		if (sig != SIGSEGV && sig != SIGBUS) {
			memset(&dfl, 0, sizeof(dfl));
			dfl.sa_handler = SIG_DFL;
			libc.sigaction(sig, &dfl, NULL);
		}
	}
	if (guard.depth && !is_fault(sig, info)) {
		record(sig, info, context, &a);
		return;
	}
	sigemptyset(&before);
	memcpy(&before, &((ucontext_t *)context)->uc_sigmask, RAW_NSIG_BYTES);
	open_mask(sig, &a, &before);
	a.sa_sigaction(sig, info, context);
}

/* Puts the trampoline in the kernel for an action of the program. */
static int set_trampoline(int sig, const struct sigaction *want)
{
	struct sigaction a = *want;

	a.sa_sigaction = trampoline;
	all_but_faults(&a.sa_mask);
	a.sa_flags = (a.sa_flags | SA_SIGINFO) & ~(int)SA_RESETHAND;
	if (!has_handler(want))
		a.sa_flags |= SA_ONSTACK;
	return libc.sigaction(sig, &a, NULL);
}

static bool untouched(int sig)
{
	return sig == SIGKILL || sig == SIGSTOP || sig == 32 || sig == 33;
}

void guard_install(void)
{
	int sig;

	if (__atomic_exchange_n(&installed, 1, __ATOMIC_ACQ_REL))
		return;
	libc_need();
	for (sig = 1; sig < SIGNALS; sig++) {
		if (untouched(sig) || libc.sigaction(sig, NULL, &wanted[sig]))
			continue;
		if (has_handler(&wanted[sig]) || sig == SIGSEGV || sig == SIGBUS)
			set_trampoline(sig, &wanted[sig]);
	}
}

int guard_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction before, want;
	int err;

	libc_need();
	if (!__atomic_load_n(&installed, __ATOMIC_ACQUIRE) || sig < 1 || sig >= SIGNALS ||
		untouched(sig))
		return libc.sigaction(sig, act, old);
	before = wanted[sig];
	if (act) {
		want = *act;
		wanted[sig] = want;
		err = has_handler(&want) || sig == SIGSEGV || sig == SIGBUS
			      ? set_trampoline(sig, &want)
			      : libc.sigaction(sig, &want, NULL);
		if (err) {
			wanted[sig] = before;
			return err;
		}
	}
	if (old)
		*old = before;
	return 0;
}
