/*
 * Private to the host's files (host.c, region.c, slot.c, serve.c, bell.c, keeper.c, join.c): what
 * lies in the region, and what each process knows of it.
 *
 *     offset 0        struct host, the first slots behind it     1 MiB
 *     1 MiB           struct stack and the engine's spans        up to host->size, growing
 */
#ifndef PRELOAD_REGION_H
#define PRELOAD_REGION_H

#include "preload/config.h"
#include "preload/host.h"
#include "preload/lock.h"
#include "preload/raw.h"
#include "tapio/capture.h"

#include <sys/un.h>

#define HOST_MAGIC   0x75737461636b0000ull
#define HOST_BYTES   (1u << 20) /* of struct host; the engine follows */
#define HOST_BELLS   32		/* eventfds; number 0 is the keeper's own */
#define HOST_MEMBERS 1024
#define HOLD_PAGES   32	    /* of one member: as many sockets as a slab can have */
#define HOLD_BITS    32768u /* sockets of one page */
#define SLOTS_FIRST  1024
#define SLOT_SPANS   8 /* further spans of slots */
#define SLOTS_MAX    8192
#define KEEPER_GRACE_NS                                                                            \
	(NS_PER_MS) /* how long the keeper leaves frames and timers to the threads that drive */
#define RX_BATCH 32 /* frames read in one turn */
#define RX_SETS	 4

/* Buffers to read frames into. One set goes with the role of the driver; another is in use after a
 * takeover by force. */
struct rx_set {
	u32 used;
	u32 owner; /* slot + 1 of who lost the role while reading into it */
	ref buffer[RX_BATCH];
};

enum member_state { MEMBER_FREE, MEMBER_BORN, MEMBER_LIVE };

/* A process that uses the host. Its sockets are a bitmap by slab index, in pages of HOLD_BITS; page
 * numbers + 1. */
struct member {
	u32 state;  /* enum member_state; BORN while a fork is on its way */
	u32 pid;    /* as the member itself sees it */
	u32 parent; /* BORN: the member that forks */
	u16 page[HOLD_PAGES];
};

/* A signal that the keeper is to send. */
struct async_signal {
	int owner; /* process, or group as a negative number */
	u32 sig;
};

struct host_stats {
	u64 owners_died; /* deaths inside the lock */
	u64 members_died;
	u64 takeovers; /* the role taken by force */
	u64 keepers_died;
	u64 frames_refused; /* by the device */
	u64 grown;
};

struct host {
	u64 magic;
	u64 layout; /* host_layout() of who made it */
	u64 size;   /* bytes of the file that may be used */
	u64 limit;
	u32 down; /* the device is gone, or the host was ended: positive errno */
	u32 spin_us;
	struct lock lock;
	u32 owner_slot;	       /* of the lock's owner, + 1 */
	struct lock tx;	       /* who writes frames */
	_Alignas(64) u32 role; /* who drives: see serve.c */
	u32 reads;	       /* turns at reading the device, by anybody */
	u32 tx_since_read;   /* frames have been written that nobody has looked for an answer to */
	u64 next_ns;	     /* the engine's deadline as of the last release */
	u64 driver_until_ns; /* the driver sleeps until then; 0 when it does not sleep */
	u64 keeper_until_ns; /* the keeper sleeps until then */
	_Alignas(64) u32 bells_used;
	u32 keeper_rung; /* the keeper's bell has been rung and not been heard yet */
	u32 owed_count;
	u32 owed[64]; /* slots with a wake-up to deliver; beyond that all are searched */
	u64 sleeping[SLOTS_MAX / 64]; /* slots asleep behind the driver */
	u64 grow_after_ns;	      /* the keeper found no memory: when to ask again */
	u32 async_count; /* signals to owners of sockets (async.c) */
	struct async_signal async[64];
	u32 due_count; /* sockets that the keeper is to look at (splice.h); due_all: at every one */
	u32 due_all;
	ref due[256];
	u32 slots; /* that exist */
	u32 slot_spans;
	u32 slot_span[SLOT_SPANS];
	u32 slot_hint;
	struct rx_set rx[RX_SETS];
	u32 hold_spans;
	u32 hold_span[64];
	u32 hold_pages; /* handed out ever */
	u32 hold_free;	/* page + 1; the free ones are linked through their first word */
	struct host_stats stats;
	struct sockaddr_un tether_name; /* of the keeper's listener for tethers */
	u32 tether_name_len;
	struct siphash_key tether_key;
	u32 settle_asked, settle_done; /* host_settle */
	/* What a further keeper needs, should this one be killed (again.c). */
	struct config config;
	struct tapio dev;
	u32 has_capture, has_log, bells;
	u32 stay; /* `ustack up`: until it is told to end */
	struct member member[HOST_MEMBERS +
			     1]; /* the last stands for who has no number of its own: the keeper */
	_Alignas(64) struct slot slot[SLOTS_FIRST];
};

/* What this process has of the host. Written at joining only, except `mapped`, which the lock
 * guards. */
struct host_local {
	struct host *host; /* NULL: not a member */
	u64 mapped;
	u32 *alive; /* a page that is zero again in a forked child */
	u32 epoch;  /* counts forks: thread slots of older ones are the parent's */
	u32 member; /* index */
	u32 pid;
	u32 uid; /* whose host it is: effective when it was joined */
	int region_fd;
	int control_fd;		   /* to the keeper, -1 in the keeper */
	int log_fd;		   /* -1: lines stay in the region */
	int bell[HOST_BELLS];	   /* -1: not received */
	int lowest_fd, highest_fd; /* of all these */
	u64 again_ns;		   /* when a keeper that is gone may be looked for again */
	u64 short_until_ns; /* the limit forbids to poll device and bell beside what the program
			     * polls
			     */
	struct tapio dev;
	struct capture capture;
};

extern struct host_local host_local;

/* --- region.c --- */

/* What must agree between processes that share a region. */
u64 host_layout(void);

/* Makes the file and maps it here, `whole`: with all its memory. 0 or negative errno. */
int region_create(struct host_local *local, u64 size, u64 limit, bool whole);

/* Maps a region that another process has made. */
int region_attach(struct host_local *local, int fd, u64 size);

/* Under the lock: maps what has been added since. */
void region_extend(struct host_local *local);

/* Keeper only, without the lock: makes the file larger; the new size, or the old one when there is
 * no memory. */
u64 region_grow(struct host_local *local, u64 size);

static inline struct stack *region_stack(const struct host_local *local)
{
	return (struct stack *)(void *)((char *)local->host + HOST_BYTES);
}

/* Where the numbers of the library's descriptors begin in this process. */
int region_fd_floor(void);

/*
 * Moves a descriptor there, close-on-exec; closes the old one. The new number or negative errno.
 */
int region_fd_hide(int fd, int floor);

/* --- async.c --- */

/* Under the lock: a socket that has an owner has changed. */
void async_note(const struct sock *sk, u32 events);

/* Keeper: sends what was noted. */
void async_send(void);

/* --- memory.c --- */

/* Bytes that the memory control groups leave to this process; UINT64_MAX without a limit. */
u64 memory_room(void);

/* Memory that is only touched when it is used may be refused then. */
bool memory_limited(void);

/* --- slot.c --- */
void slot_forked(void);
/* Under the lock: frees a slot and all that its thread held. */
void slot_drop(struct stack *s, struct slot *slot);
/* Under the lock: drops all slots of a process. */
void slot_drop_process(struct stack *s, u32 member);
void slot_thread_init(void);

/* --- bell.c --- */

/* A bell of one's own, its index, or -1 when all are in use. */
int bell_claim(struct host *host);
void bell_release(struct host *host, u32 bell);
void bell_ring(u32 bell);
void bell_drain(u32 bell);
/* Wakes the thread of a slot in the way it sleeps. */
void bell_wake(struct slot *slot);
void bell_ring_keeper(struct host *host);
/* Under the lock, then after it: the wake-ups decided in this hold. */
struct bell_owed {
	u32 count;
	u32 slot[64];
	bool sweep;
	u32 driver; /* bell + 1 */
	bool keeper;
};
void bell_collect(struct host *host, struct bell_owed *owed);
void bell_deliver(struct host *host, const struct bell_owed *owed);
/* Delivers what dead processes still owed. */
void bell_sweep(struct host *host);

/* --- serve.c --- */

/* Writes the frames that wait for the device. */
void serve_transmit(void);

/* The host is at its end, with its device or by order: every socket learns it. */
void serve_end(const char *reason);

/* The loop of whoever stands behind the program's threads; returns when `stop` says so. `control`
 * is polled too. */
struct serve_loop {
	int control_fd;
	u64 grace_ns;
	void (*control)(bool readable, bool rung); /* after each sleep */
	bool (*done)(void);			   /* after each turn; true ends the loop */
};
void serve_run(const struct serve_loop *loop);

/* Under the lock, in a repair: the buffers that the driver reads into. */
void serve_repair(struct stack *s);

/* Under the lock: the role and the buffers of a slot that is gone. */
void serve_slot_dropped(struct stack *s, u32 slot_index);

/* --- host.c --- */

/* Makes the engine in a fresh region. 0 or a negative errno with a sentence in why. */
int host_create(const struct config *config, char *why, size_t why_size);

/* Maps what the region has grown by. */
void host_map_rest(void);

/* One line on stderr. */
void host_complain(const char *text);

/* A forked child finds itself. */
void host_forked(void);

/* Becomes a member of the running host with this rendezvous; says nothing when that fails. */
int host_start_at(const struct sockaddr_un *name, socklen_t len);

/* The keeper's part in host_settle: all that had ended when it was asked is dealt with. */
void host_settled(u32 asked);

/* Around a fork that pthread_atfork's handlers do not see; safe in signal handlers. */
void host_fork_prepare(void);
void host_fork_parent(void);
void host_fork_child(void);

/* --- repair.c --- */

/* Under the lock: puts right what the death of the lock's owner left behind. */
void host_repair(struct stack *s);

/* --- member.c --- */

/* Under the lock: an entry for a process; its number, or HOST_MEMBERS when there is no room. */
u32 member_new(struct stack *s, u32 state, u32 pid);

/* Under the lock: an entry that holds all that `parent` holds. */
u32 member_copy(struct stack *s, u32 parent);

/* Under the lock: a process is gone: its slots are freed, what it alone held is closed. */
void member_drop(struct stack *s, u32 member);

/* Under the lock, in a repair: who holds what, counted again; what nobody holds is closed. */
void member_repair(struct stack *s);
u32 member_count(const struct host *host);

/*
 * Under the lock: no descriptor of the socket is left anywhere. Whoever believes to hold it does so
 * no more, but for those with a call that sleeps on it, and when there are none it is closed.
 */
void member_unhold_all(struct stack *s, ref sk);

/* --- join.c --- */

/*
 * The keeper is gone: a member connects to another one, which it starts if there is none yet. At
 * most once in a second. 0 or a negative errno.
 */
int join_again(struct host_local *local);

/* Becomes a member of the host that the configuration names, making it when there is none. 0 or a
 * negative errno and a sentence. */
int join_host(struct host_local *local, const struct config *config, char *why, size_t why_size);

/* The same for the host with this rendezvous, whatever its configuration; makes none. */
int join_at(struct host_local *local, const struct sockaddr_un *name, socklen_t len);

/* The same, but makes none: -ECONNREFUSED when none is running. */
int join_running(struct host_local *local, const struct config *config, char *why, size_t why_size);

/*
 * Around a fork: before it, a member's number for the child, with all that this process holds
 * (HOST_MEMBERS: no room); behind it, in the parent and in the child.
 */
u32 join_fork(struct host_local *local);
void join_fork_parent(void);
void join_fork_child(struct host_local *local);

/* Talks to the keeper of the configuration's host. The connection, -ECONNREFUSED when there is
 * none, or another negative errno. */
int join_connect(const struct config *config);

/*
 * Tells the keeper something that needs no membership (JOIN_STAY, which starts one if there is
 * none, or JOIN_END, which waits for its end): 0, -EAGAIN when it was just ending or starting, or
 * another negative errno with a sentence in why.
 */
int join_tell(const struct config *config, u32 op, char *why, size_t why_size);

/* What goes over a connection to the keeper. One message each way; descriptors go along. */
enum join_op { JOIN_MEMBER = 1, JOIN_FORK, JOIN_BORN, JOIN_STAY, JOIN_END, JOIN_CLAIM, JOIN_AGAIN, JOIN_LEND };

struct join_request {
	u64 layout;
	u32 op; /* enum join_op */
	u32 pid;
	u32 member; /* JOIN_FORK, JOIN_AGAIN */
	struct addr address;
};

struct join_reply {
	int status; /* 0 or a negative errno; -EAGAIN: come again */
	u32 member;
	u64 size;
	u32 has_capture, has_log;
	struct tapio dev;
	char why[CONFIG_WHY_MAX];
};

#define JOIN_FDS (HOST_BELLS + 4) /* region, device, bells, capture, log */

/* Sends one message with descriptors; receives one. Bytes, 0 at the end, or a negative errno. */
ssize_t join_send(int fd, const void *data, size_t size, const int *fds, u32 count);
ssize_t join_recv(int fd, void *data, size_t size, int *fds, u32 *count);

/* The host's name in the abstract space of AF_UNIX: per user and network namespace. */
socklen_t join_name(const struct config *config, struct sockaddr_un *name);

/* --- keeper.c --- */

/*
 * Starts a keeper, detached from this process: the `ustack` command if it is found, else, or if
 * `in_place`, a copy of this process. The connection to it, or a negative errno.
 */
int keeper_start(const struct config *config, bool in_place);

/* The same for a host that lives: the keeper takes it over with the descriptors of this member. */
int keeper_start_again(const struct host_local *local);

/* Answers a request with a status and, when it is negative, a sentence. -ENOEXEC: start it in
 * place. */
void keeper_refuse(int fd, int status, const char *why);

/* --- again.c --- */

/*
 * A keeper takes over a host whose keeper has been killed, with a member's descriptors: region,
 * device, capture, log, bells. 0 or a negative errno and a sentence. Then again_members calls
 * `found` for each member that lives, and `gone` for the others.
 */
int again_take_over(int *fds, u32 count, char *why, size_t why_size);
void again_members(void (*found)(u32 member, int pidfd), void (*gone)(u32 member));

/* Where the `ustack` command is; NULL: to be found beside the library. */
extern const char *keeper_own_path;

/* The keeper's life, from its first message on the connection to the end of the host. Does not
 * return in time to be waited for. */
int keeper_run(int fd);

#endif
