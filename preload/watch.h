/*
 * Private to the keeper's files (keeper.c, watch.c, keeper_tether.c, keeper_lend.c): the descriptors
 * that the keeper watches.
 *
 * A watch is named by its index, and lives in a table that grows up to WATCHES_MAX. Those of one
 * member are a list.
 */
#ifndef PRELOAD_WATCH_H
#define PRELOAD_WATCH_H

#include "preload/region.h"

#define WATCHES_MAX 131072u
#define WATCH_NOBODY                                                                               \
	(HOST_MEMBERS + 1) /* in place of a member: what belongs to the keeper itself */

enum watch_kind {
	WATCH_NONE,
	WATCH_LISTENER,
	WATCH_SIGNAL,
	WATCH_CONNECTION,
	WATCH_PROCESS,
	WATCH_TETHERS, /* a listener for tethers */
	WATCH_TETHER,
	WATCH_TIMER,
	WATCH_LENT, /* a process that was given a lent listener */
	WATCH_KINDS
};

enum tether_flag {
	TETHER_SHUT = 1, /* a program without the library has shut it down in both directions; not
			    yet closed */
	TETHER_PUMPED = 2, /* spliced: pump.c moves its bytes */
	TETHER_LENT = 4,   /* no placeholder: accepted from a lent listener (lend.h) */
};

/* What is at the other end of a WATCH_TETHER. */
struct tether {
	ref sock;
	u64 inode;
	u32 flags; /* enum tether_flag */
};

struct watch {
	u32 index;
	int fd;
	u8 kind;    /* enum watch_kind */
	u32 member; /* HOST_MEMBERS: none yet */
	u32 turn;   /* tells an event of this use from one of an earlier use of the entry */
	u32 next;   /* index + 1, of the same member; of the free ones */
	u32 prev;
	struct tether tether;
};

/* The epoll descriptor that all are in, or a negative errno. */
int watch_init(void);

/*
 * Takes the descriptor over and watches it for the events (EPOLLIN, ...). NULL when there is no
 * room: it is closed then.
 */
struct watch *watch_add(int fd, enum watch_kind kind, u32 member, u32 events);

/* Other events from now on. */
void watch_events(struct watch *w, u32 events);

/* Watches it no more, and closes it. */
void watch_end(struct watch *w);

/* A listener can't accept for want of descriptors: left alone until the next watch ends. */
void watch_pause(struct watch *w);

/* It belongs to this member from now on. */
void watch_give(struct watch *w, u32 member);

/* An event of the WATCH_TIMER by that time (monotonic ns) or, if asked for before, earlier; NEVER:
 * forgets what was asked for. */
void watch_timer(u64 until_ns);

struct watch *watch_of(u32 index);
struct watch *watch_first(u32 member);
struct watch *watch_next(const struct watch *w);
u32 watch_count(enum watch_kind kind);

/* The entry of an event from epoll; NULL when it has ended meanwhile. */
struct watch *watch_event(u64 data);

#endif
