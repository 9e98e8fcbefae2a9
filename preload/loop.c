/*
 * The loop that stands behind the program's threads; the keeper runs it. Theory of operation:
 * serve.c.
 */
#include "preload/role.h"

#include <stdio.h>

#define GRACE_MAX_NS (4 * NS_PER_MS)
#define STUCK_NS                                                                                   \
	(100 * NS_PER_MS) /* in the middle of reading, without being known to be stopped           \
			   */

struct loop {
	const struct serve_loop *how;
	struct slot *slot;
	u32 served;	  /* the role as this loop left it when it last served */
	u32 stuck;	  /* the role as its holder was first seen reading at a grace's end */
	u64 stuck_ns;	  /* when that was */
	u64 grace_ns;	  /* the next grace */
	u64 grace_end_ns; /* not 0: staying away from the device until then */
	u32 reads;	  /* batches read, as of the grace's begin */
	u64 next_ns;	  /* the engine's deadline, as of then */
};

static bool loop_served_last(const struct loop *l, const struct host *host)
{
	return role_load(host) == l->served;
}

static bool loop_device_readable(void)
{
	struct pollfd fd = {.fd = host_local.dev.fd, .events = POLLIN};
	struct timespec none = {0, 0};

	return raw_ppoll(&fd, 1, &none, NULL) > 0;
}

/* The role from a holder that stopped while it was reading: his buffers stay with him, until he
 * wakes up or dies. */
static bool loop_take_by_force(struct loop *l, struct host *host, u32 role, u32 *mine)
{
	struct stack *s = host_enter();
	u32 set = 0;
	bool taken = false;

	while (set < RX_SETS && host->rx[set].used)
		set++;
	if (set < RX_SETS) {
		*mine = role_pass(role & ~(3u << ROLE_SET_SHIFT), slot_index(l->slot) + 1) |
			ROLE_READING | set << ROLE_SET_SHIFT;
		taken = role_change(host, role, *mine);
	}
	if (taken) {
		role_set(host, role)->owner = role & ROLE_HOLDER;
		host->rx[set].used = 1;
		serve_fill(s, &host->rx[set]);
		host->stats.takeovers++;
	}
	host_leave();
	return taken;
}

/* Is a thread stopped, and not merely waiting for a processor? Another pid namespace's threads
 * can't be looked up. */
static bool loop_stopped(const struct slot *slot)
{
	char path[48], text[128];
	const char *state;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/task/%u/stat", slot->pid, slot->tid);
	fd = raw_open(path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	n = raw_read(fd, text, sizeof(text) - 1);
	raw_close(fd);
	text[MAX(n, 0)] = 0;
	state = strrchr(text, ')');
	return state && strchr("TtZX", state[2]);
}

static bool loop_take(struct loop *l, struct host *host, u32 *mine)
{
	u32 role = role_load(host);
	u64 now;

	if (!(role & ROLE_READING)) {
		*mine = role_pass(role, slot_index(l->slot) + 1) | ROLE_READING;
		return role_change(host, role, *mine);
	}
	now = host_now();
	if (role != l->stuck) {
		l->stuck = role;
		l->stuck_ns = now;
	}
	if (now - l->stuck_ns < STUCK_NS && !loop_stopped(slot_at((role & ROLE_HOLDER) - 1)))
		return false;
	return loop_take_by_force(l, host, role, mine);
}

/* Serves what is there, once; false when somebody else is at it. */
static bool loop_serve(struct loop *l, struct host *host)
{
	u32 role;

	if (host->down)
		return true;
	if (!loop_take(l, host, &role))
		return false;
	serve_batch(host, role);
	l->served = role_pass(role, 0);
	l->grace_ns = l->how->grace_ns;
	role_leave(host, role);
	if (__atomic_load_n(&host->next_ns, __ATOMIC_ACQUIRE) <= host_now())
		serve_timers();
	return true;
}

static void loop_begin_grace(struct loop *l, struct host *host, u64 now)
{
	l->grace_end_ns = now + l->grace_ns;
	l->reads = __atomic_load_n(&host->reads, __ATOMIC_ACQUIRE);
	l->next_ns = __atomic_load_n(&host->next_ns, __ATOMIC_ACQUIRE);
}

/* Nobody has done what the grace was given for. */
static bool loop_grace_was_vain(const struct loop *l, struct host *host, u64 now)
{
	if (l->next_ns <= now && __atomic_load_n(&host->next_ns, __ATOMIC_ACQUIRE) == l->next_ns)
		return true;
	return __atomic_load_n(&host->reads, __ATOMIC_ACQUIRE) == l->reads &&
	       loop_device_readable();
}

/* Sleeps until the device, a timer (a grace later if others drive), the bell or the control
 * descriptor wants something. */
static void loop_sleep(struct loop *l, struct host *host, struct pollfd fds[3])
{
	u64 grace = loop_served_last(l, host) ? 0 : l->how->grace_ns;
	u64 next = __atomic_load_n(&host->next_ns, __ATOMIC_SEQ_CST);
	u64 until = next == NEVER ? NEVER : next + grace;

	fds[0] = (struct pollfd){.fd = host->down ? -1 : host_local.dev.fd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = host_local.bell[0], .events = POLLIN};
	fds[2] = (struct pollfd){.fd = l->how->control_fd, .events = POLLIN};
	if (l->grace_end_ns) {
		fds[0].fd = -1;
		serve_poll(fds, 3, l->grace_end_ns, NULL);
		return;
	}
	__atomic_store_n(&host->keeper_until_ns, until, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&host->next_ns, __ATOMIC_SEQ_CST) >= next)
		serve_poll(fds, 3, until, NULL);
	__atomic_store_n(&host->keeper_until_ns, 0, __ATOMIC_SEQ_CST);
}

/* One turn of the loop behind its sleep. */
static void loop_turn(struct loop *l, struct host *host, bool readable)
{
	u64 now = host_now();

	if (l->grace_end_ns) {
		if (now < l->grace_end_ns)
			return;
		l->grace_end_ns = 0;
		if (!loop_grace_was_vain(l, host, now))
			l->grace_ns = MIN(2 * l->grace_ns, GRACE_MAX_NS);
		else if (!loop_serve(l, host))
			loop_begin_grace(l, host, now);
	} else if (readable || __atomic_load_n(&host->next_ns, __ATOMIC_ACQUIRE) <= now) {
		if (!loop_served_last(l, host) || !loop_serve(l, host))
			loop_begin_grace(l, host, now);
	}
}

void serve_run(const struct serve_loop *how)
{
	struct host *host = host_local.host;
	struct loop l = {.how = how, .slot = slot_self(), .grace_ns = how->grace_ns};
	struct pollfd fds[3];
	bool rung;

	l.served = role_load(host);
	do {
		loop_sleep(&l, host, fds);
		rung = fds[1].revents;
		if (rung)
			bell_drain(0);
		/* Whoever was about to ring may have died: that woke us, and it counts as rung. */
		rung |= __atomic_exchange_n(&host->keeper_rung, 0, __ATOMIC_SEQ_CST) != 0;
		how->control(fds[2].revents, rung);
		loop_turn(&l, host, fds[0].revents);
	} while (!how->done());
}
