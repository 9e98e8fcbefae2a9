/*
 * The host of this process: the shared region with the engine in it, its lock, the thread slots, who drives, and waking.
 *
 * The region is a memfd that every member process maps; struct host lies at its start and struct stack at the next
 * span. Nothing in the region is a pointer. All engine calls are made between host_enter() and host_leave(); neither
 * user memory nor a system call is touched in between.
 */
#ifndef PRELOAD_HOST_H
#define PRELOAD_HOST_H

#include <poll.h>
#include <signal.h>

#include "stack/stack.h"
#include "tapio/tapio.h"

/* --- life --- */

/*
 * Opens the host that the configuration names, or joins it when it runs already. 0, also when this process is a member
 * already. On failure -ENETDOWN after one line on stderr (once per process) that says what to do about it.
 */
int host_start(void);

/*
 * host_start by a program that has not asked for a socket yet, but is about to give up the rights that it takes. Not a word
 * when it fails: the first socket will say it.
 */
void host_start_early(void);

/* True when this process is a member. Cheap: one load. */
bool host_up(void);

/* The number of this process among the members. */
u32 host_member(void);

/* The engine as mapped in this process; only for what needs no lock (sock_span, counters). NULL when not a member. */
struct stack *host_stack(void);

/* --- the lock --- */

/*
 * Takes the lock, sets the engine's clock, frees transmitted frames. Signals handlers are held back from here to host_leave
 * by the caller's guard (guard.h), not by a system call.
 */
struct stack *host_enter(void);

/*
 * Hands out the sockets that changed (wait_dispatch), releases the lock, writes the frames that wait for the device, rings the bells
 * that are owed. Wakes a driver when an earlier timer than the sleeper's has been armed.
 */
void host_leave(void);

/* --- thread slots: what a thread holds in the region --- */

struct slot {
	u32 tid;          /* 0 free */
	u32 pid;
	u32 member;       /* its process's number among the members */
	u32 woken;        /* futex word: counts wake-ups; wait_sleep returns when it moves */
	u32 sleeping;     /* how the owner sleeps: 0 not, 1 futex, 2 in the kernel on its bell */
	u32 bell;         /* index of the bell claimed, + 1 */
	u32 owed;         /* a wake-up that has been decided but not yet delivered */
	u32 interrupted;  /* a signal handler or a cancellation is due: the running wait gives up (wait.c clears it) */
	u64 thread;       /* pthread_self(), meaningful in process `pid` only */
	ref waiters;      /* its waiters (struct waiter), so that its death can free them */
	ref made;         /* a socket that the running socket() has made and no descriptor names yet */
	struct plan plan; /* what the running send or receive holds */
};

/* The calling thread's slot, claimed at its first use and given back when the thread ends. NULL when all are taken. */
struct slot *slot_self(void);
u32 slot_index(const struct slot *slot);
struct slot *slot_at(u32 index); /* NULL beyond the last */

/* --- sleeping and waking --- */

/* Under the lock: the thread that owns the slot must look again. Delivered by host_leave. */
void host_wake(u32 slot_index);

/*
 * Sleeps until the slot is woken (its `woken` differs from `seen`, read under the lock before), one of the kernel descriptors in fds
 * has events, the deadline (monotonic ns, NEVER) has passed, or a signal handler is due. Drives meanwhile if nobody else does. Without the lock.
 * mask: as in ppoll, may be NULL. Returns 1 woken, 2 when descriptors have events (fds[].revents filled), 0 at the deadline, -EINTR.
 */
int host_sleep(struct slot *slot, u32 seen, struct pollfd *fds, u32 nfds, u64 deadline_ns, const sigset_t *mask);

/*
 * Makes the wait of a slot's owner give up with -EINTR, now or when it begins: sets `interrupted`, counts `woken` up, wakes the futex or rings
 * the bell. Async-signal-safe and without the lock: a signal handler calls it for its own thread, pthread_cancel for another one.
 */
void host_interrupt(struct slot *slot);

/* The calling thread's slot if it has one already, else NULL. Async-signal-safe. */
struct slot *slot_mine(void);

/* A non-blocking call found nothing: reads what the device has, once, if nobody else drives. Without the lock. True when something came. */
bool host_poll_device(void);

/* Monotonic time in ns. */
u64 host_now(void);

/*
 * Waits until the keeper has taken note of every process and descriptor that has ended before this call; 50 ms at most, false if it did
 * not come to it. For a refusal that such an end may have overtaken.
 */
bool host_settle(void);

/* How large the region is; and after a call that found no memory in a region of that size, whether
 * the keeper has made it larger meanwhile, which is waited for: as an allocation of the kernel's
 * sleeps, also for a socket that does not block. */
u64 host_memory(void);
bool host_grown(u64 size);

/* --- the descriptors of the library: high numbers, protected from the program --- */

/* True when fd is one of the library's own (device, region, bells, rendezvous): the program's close, dup2 and close_range skip it. */
bool host_owns_fd(int fd);

/* The first of them at or above a number, or -1. */
int host_next_fd(int from);

/*
 * In each process: one descriptor (or the last of several) of a socket was opened or closed here. The engine's sock_close is called
 * when no process holds it any more. Under the lock.
 */
void host_hold(struct stack *s, ref sk);
u64 host_unhold(struct stack *s, ref sk); /* returns what sock_close returns: ns to linger */

#endif
