/*
 * How a thread of a program sleeps: as the driver, or behind one (theory of operation: serve.c,
 * bell.c).
 *
 * Each turn: say how one will sleep, look once more whether one has been woken, sleep, look what
 * came. Whoever sleeps behind shows itself in the bitmap of sleepers first and looks at the role
 * afterwards; whoever leaves the role vacates it first and looks for sleepers afterwards: the role
 * is never vacant while somebody sleeps behind it.
 */
#include "preload/role.h"

#include <linux/futex.h>

#include "preload/guard.h"

#define FDS_ON_STACK 61
#define SHORT_NS     NS_PER_S /* how long the limit of descriptors is taken for too low to drive */
#define BELL_LESS_NS                                                                               \
	(10 * NS_PER_MS) /* how often a sleeper in the kernel looks when all bells are taken */

enum { AWAKE, ON_FUTEX, ON_BELL }; /* slot->sleeping */

struct sleep {
	struct slot *slot;
	u32 seen;
	u32 nfds;
	u32 role;	    /* the word while we hold the role, else 0 */
	struct pollfd *fds; /* the caller's */
	struct pollfd *all; /* [0] the keeper, [1] the device, [2] the bell, then the caller's */
	u64 deadline_ns;
	const sigset_t *mask;
};

static inline bool sleep_woken(const struct sleep *w)
{
	return __atomic_load_n(&w->slot->woken, __ATOMIC_SEQ_CST) != w->seen;
}

static inline void sleep_say(struct sleep *w, u32 how)
{
	__atomic_store_n(&w->slot->sleeping, how, __ATOMIC_SEQ_CST);
}

static void sleep_show(struct host *host, const struct sleep *w, bool asleep)
{
	u32 index = slot_index(w->slot);
	u64 bit = 1ull << index % 64;

	if (asleep)
		__atomic_fetch_or(&host->sleeping[index / 64], bit, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(&host->sleeping[index / 64], ~bit, __ATOMIC_SEQ_CST);
}

/* The role is there for the taking. */
static bool sleep_role_vacant(const struct host *host)
{
	return !(role_load(host) & ROLE_HOLDER) && !__atomic_load_n(&host->down, __ATOMIC_RELAXED);
}

/*
 * poll takes no more descriptors than RLIMIT_NOFILE says, which may be one (sshd's sandbox). A
 * process so short of them never drives; the keeper does. Nor does one that has closed the device
 * by a system call that nobody sees.
 */
static bool sleep_short(void)
{
	u64 until = __atomic_load_n(&host_local.short_until_ns, __ATOMIC_RELAXED);

	return until && host_now() < until;
}

static void sleep_set_short(void)
{
	__atomic_store_n(&host_local.short_until_ns, host_now() + SHORT_NS, __ATOMIC_RELAXED);
}

static void sleep_bell(struct sleep *w, struct host *host)
{
	int bell;

	if (w->slot->bell)
		return;
	bell = bell_claim(host);
	__atomic_store_n(&w->slot->bell, (u32)(bell + 1), __ATOMIC_RELEASE);
}

/* Fills in what is polled beside the caller's descriptors. */
static void sleep_prepare(struct sleep *w, bool device)
{
	u32 bell = w->slot->bell;
	/* Its end shows without being asked for. */
	bool keeper = device && (!host_local.again_ns || host_now() >= host_local.again_ns);

	w->all[0] = (struct pollfd){.fd = keeper ? host_local.control_fd : -1};
	w->all[1] = (struct pollfd){.fd = device ? host_local.dev.fd : -1, .events = POLLIN};
	w->all[2] = (struct pollfd){.fd = bell ? host_local.bell[bell - 1] : -1, .events = POLLIN};
}

/* After ppoll: 2 when descriptors of the caller have events, else 0. */
static int sleep_look(struct sleep *w)
{
	bool any = false;

	if (w->all[2].revents)
		bell_drain(w->slot->bell - 1);
	for (u32 i = 0; i < w->nfds; i++) {
		w->fds[i].revents = w->all[i + 3].revents;
		any |= w->fds[i].revents != 0;
	}
	return any ? 2 : 0;
}

/* Spins on the device for as long as the configuration says. True when something came or woke us.
 */
static bool sleep_spin(struct sleep *w, struct host *host, u32 role)
{
	u64 end = host_now() + host->spin_us * NS_PER_US;

	do {
		if (sleep_woken(w) || serve_batch(host, role))
			return true;
	} while (host_now() < end);
	return false;
}

/*
 * Before the driver sleeps: the answer to a frame just written is often there already, as a TAP
 * runs the other side's receive path inside the write. True when there is no need to sleep.
 */
static bool sleep_look_first(struct sleep *w, struct host *host)
{
	u32 reading = w->role | ROLE_READING;
	bool came;

	if (!host->spin_us && !__atomic_load_n(&host->tx_since_read, __ATOMIC_RELAXED))
		return false;
	if (!role_change(host, w->role, reading)) {
		w->role = 0;
		return true;
	}
	came = host->spin_us ? sleep_spin(w, host, reading) : serve_batch(host, reading);
	if (!role_change(host, reading, w->role))
		w->role = 0;
	return came || !w->role;
}

/* What the driver woke up for: frames, or a timer. */
static void sleep_serve(struct sleep *w, struct host *host)
{
	u32 reading = w->role | ROLE_READING;

	if (w->all[0].revents & POLLHUP)
		join_again(&host_local);
	if (w->all[1].revents) {
		if (!role_change(host, w->role, reading)) {
			w->role = 0;
			return;
		}
		serve_batch(host, reading);
		if (!role_change(host, reading, w->role))
			w->role = 0;
	}
	if (__atomic_load_n(&host->next_ns, __ATOMIC_ACQUIRE) <= host_now())
		serve_timers();
}

static int sleep_driving(struct sleep *w, struct host *host)
{
	u64 next, until;
	int ret;

	if (__atomic_load_n(&host->down, __ATOMIC_RELAXED)) {
		role_leave(host, w->role); /* a device that is gone is always readable */
		w->role = 0;
		return 0;
	}
	if (sleep_look_first(w, host))
		return 0;
	sleep_prepare(w, true);
	sleep_say(w, ON_BELL);
	next = __atomic_load_n(&host->next_ns, __ATOMIC_SEQ_CST);
	until = MIN(w->deadline_ns, next);
	__atomic_store_n(&host->driver_until_ns, until, __ATOMIC_SEQ_CST);
	if (sleep_woken(w) || __atomic_load_n(&host->next_ns, __ATOMIC_SEQ_CST) < until)
		until = 0;
	ret = serve_poll(w->all, w->nfds + 3, until, w->mask);
	__atomic_store_n(&host->driver_until_ns, 0, __ATOMIC_SEQ_CST);
	sleep_say(w, AWAKE);
	if (ret == -EINVAL || (ret > 0 && w->all[1].revents & POLLNVAL)) {
		sleep_set_short();
		role_leave(host, w->role);
		w->role = 0;
		return 0;
	}
	if (ret < 0)
		return ret;
	sleep_serve(w, host);
	return sleep_look(w);
}

static int sleep_on_bell(struct sleep *w, struct host *host)
{
	u64 until = w->deadline_ns;
	int ret;

	sleep_prepare(w, false);
	sleep_say(w, ON_BELL);
	if (!w->slot->bell)
		until = MIN(until, host_now() + BELL_LESS_NS);
	if (sleep_woken(w) || (w->slot->bell && !sleep_short() && sleep_role_vacant(host)))
		until = 0;
	ret = serve_poll(w->all + 2, w->nfds + 1, until, w->mask);
	/* No room for a bell beside what the program polls, or it was closed behind our back. */
	if ((ret == -EINVAL && w->nfds) || (ret > 0 && w->all[2].revents & POLLNVAL)) {
		sleep_set_short();
		until = MIN(until, host_now() + BELL_LESS_NS);
		ret = serve_poll(w->all + 3, w->nfds, until, w->mask);
	}
	sleep_say(w, AWAKE);
	return ret < 0 ? ret : sleep_look(w);
}

static int sleep_on_futex(struct sleep *w, struct host *host)
{
	struct timespec until = {
		.tv_sec = (time_t)(w->deadline_ns / NS_PER_S),
		.tv_nsec = (long)(w->deadline_ns % NS_PER_S),
	};
	int ret = 0;

	sleep_say(w, ON_FUTEX);
	if (!sleep_woken(w) && !(w->slot->bell && !sleep_short() && sleep_role_vacant(host)))
		ret = raw_futex(&w->slot->woken, FUTEX_WAIT_BITSET, w->seen,
			w->deadline_ns == NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
	sleep_say(w, AWAKE);
	return ret == -EINTR ? ret : 0;
}

/* One sleep: 0 look again, 2 descriptors have events, or a negative errno. */
static int sleep_once(struct sleep *w, struct host *host)
{
	bool kernel = w->nfds || w->mask;
	int ret;

	if (!w->role && sleep_short()) {
		if (kernel)
			sleep_bell(w, host);
		return kernel ? sleep_on_bell(w, host) : sleep_on_futex(w, host);
	}
	if (!w->role && (kernel || sleep_role_vacant(host)))
		sleep_bell(w, host);
	if (!w->role && w->slot->bell && !role_take(host, w->slot, 0, &w->role))
		w->role = 0;
	if (w->role)
		return sleep_driving(w, host);
	sleep_show(host, w, true);
	if (sleep_role_vacant(host))
		sleep_bell(
			w, host); /* without one there is no driving, and no use in looking again */
	ret = kernel ? sleep_on_bell(w, host) : sleep_on_futex(w, host);
	sleep_show(host, w, false);
	return ret;
}

static int sleep_until_woken(struct sleep *w, struct host *host)
{
	for (;;) {
		int ret;

		if (__atomic_load_n(&w->slot->interrupted, __ATOMIC_ACQUIRE) || guard_pending())
			return -EINTR;
		if (sleep_woken(w))
			return 1;
		if (w->deadline_ns != NEVER && host_now() >= w->deadline_ns)
			return 0;
		ret = sleep_once(w, host);
		if (ret != 0 && ret != -EINTR)
			return ret;
	}
}

int host_sleep(struct slot *slot, u32 seen, struct pollfd *fds, u32 nfds, u64 deadline_ns,
	const sigset_t *mask)
{
	struct host *host = host_local.host;
	struct pollfd few[FDS_ON_STACK + 3];
	size_t bytes = (nfds + 3) * sizeof(few[0]);
	struct sleep w = {.slot = slot,
		.seen = seen,
		.fds = fds,
		.nfds = nfds,
		.deadline_ns = deadline_ns,
		.mask = mask};
	u32 bell;
	int ret;

	w.all = few;
	if (nfds > FDS_ON_STACK) {
		long at = raw_mmap(
			NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (raw_failed(at))
			return (int)at;
		w.all = (struct pollfd *)at;
	}
	if (nfds)
		memcpy(w.all + 3, fds, nfds * sizeof(few[0]));
	ret = sleep_until_woken(&w, host);
	if (w.role)
		role_leave(host, w.role);
	bell = slot->bell;
	if (bell) {
		__atomic_store_n(&slot->bell, 0, __ATOMIC_RELEASE);
		bell_release(host, bell - 1);
	}
	if (w.all != few)
		raw_munmap(w.all, bytes);
	return ret;
}
