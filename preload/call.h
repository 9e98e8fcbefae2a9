/*
 * What the interposed calls share; for call_*.c and the files of entry points only. A call on a
 * stack socket is a function call_<name> that returns what the system call would: 0 or positive, a
 * negative errno, or CALL_NOT_OURS when the number turned out to be another file's (it was closed
 * behind the shim's back and reused), or the call is one on data and the socket is spliced
 * (splice.h): the C library's function is called then.
 */
#ifndef PRELOAD_CALL_H
#define PRELOAD_CALL_H

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "preload/fdtable.h"
#include "preload/guard.h"
#include "preload/host.h"
#include "preload/wait.h"

#define CALL_NOT_OURS (-100000)
#define CALL_MOST     0x7ffff000ul /* bytes that one call moves at most (MAX_RW_COUNT of Linux) */

/* Sets errno, as every function of libc returns. */
static inline long call_result(s64 ret)
{
	if (ret >= 0)
		return (long)ret;
	errno = (int)-ret;
	return -1;
}

/* One running call: what it waits by, and where its plan is. */
struct call {
	int fd;
	ref sk;
	struct stack *stack;
	struct plan *plan;
	ref reader;
	int pin;
	bool waited;
	bool timed;  /* SO_RCVTIMEO or SO_SNDTIMEO: never restarted after a signal */
	bool polled; /* the device has been read once for a call that does not wait */
	bool stream; /* what call_look saw last */
	s64 gone;    /* call_look_data found no socket: the answer */
	bool nonblocking;
	u32 lowat; /* SO_RCVLOWAT */
	bool listening;
	u32 dissolved; /* before the first wait */
	u64 timeout_ns;
	u64 deadline_ns;
	struct plan spare;
};

/*
 * Brackets a call; between them handlers are put off (guard.h). A cancellation that is pending acts
 * before the first (the caller's pthread_testcancel) and after a call that failed, so that nothing
 * that was received or accepted is lost.
 */
void call_begin(struct call *c, int fd, ref sk);

/*
 * Ends it. True when the call is to be made again: it was interrupted by handlers with SA_RESTART,
 * which have run, and the number still is the same socket. Otherwise *ret is the answer.
 */
bool call_again(struct call *c, s64 *ret);

/*
 * Under the lock: notes the socket's type, mode and timeout (of sending or receiving). The socket,
 * or NULL when it is gone.
 */
struct sock *call_look(struct call *c, bool sending);

/* The same for data: NULL also for a spliced socket. The call's answer then is c->gone. */
struct sock *call_look_data(struct call *c, bool sending);

/*
 * After -EAGAIN, by what call_look saw: positive when the operation is to be tried again, else the
 * call's answer. A call that does not wait reads the device once.
 */
s64 call_block(struct call *c, u32 events, int flags);

/*
 * Checks the number, then waits for the events. Positive, or -EAGAIN (timeout), -EINTR,
 * CALL_NOT_OURS.
 */
s64 call_wait(struct call *c, u32 events);

/*
 * For what changes a socket's state: the number is checked against its inode, and forgotten when it
 * is another file's.
 */
bool call_checked(int fd, ref sk);

/*
 * Under the lock: one number less names the socket (or a pin less): what the last one brings about.
 * ns to linger, as sock_close.
 */
u64 call_release(struct stack *s, ref sk);

/*
 * Numbers that name a socket: after the kernel made `fd` a duplicate of it or its placeholder.
 * -EBADF when it is gone.
 */
int call_adopt(int fd, ref sk, u64 inode);

/*
 * Forgets whatever the number was, and does what the last close does. To be called before the
 * number is closed or overwritten.
 */
void call_forget(int fd);

/* The kernel has just given out this number: a stale entry is another file's. */
static inline int call_opened(int fd)
{
	if (fd >= 0 && fdtable_word(fd))
		call_forget(fd);
	return fd;
}

/* --- streams (call_stdio.c) --- */

/* A stream over our calls. */
FILE *call_stdio_open(int fd, const char *mode);

/* The number, 0 to 2, has become a stack socket or ceased to be one. */
void call_stdio_changed(int fd);
void call_stdio_closing(FILE *f);

/* Is it a stream over our calls? Such a one can't go through libc's freopen; this is what it does. */
bool call_stdio_is_ours(FILE *f);
FILE *call_stdio_reopen(const char *path, const char *mode, FILE *f);

static inline void call_changed(int fd)
{
	if (fd < 3)
		call_stdio_changed(fd);
}

/* --- program memory --- */

/*
 * An iovec list of the program, copied and checked as the kernel does: total length, or -EINVAL,
 * -EFAULT. At most UIO_MAXIOV entries.
 */
s64 call_import(struct iovec *to, const struct iovec *from, u64 count);

/* Room for a list: `brief`, of CALL_BRIEF entries, or memory of its own; NULL without memory. */
#define CALL_BRIEF 32u
struct iovec *call_list(struct iovec *brief, u64 count);
void call_list_free(const struct iovec *list, const struct iovec *brief);

/* A walk through an iovec list. */
struct cursor {
	const struct iovec *iov;
	u32 count;
	size_t offset; /* in the first */
};

/*
 * Between the spans of a plan and program memory: bytes copied, less than plan->bytes when memory
 * is bad.
 */
u32 call_copy_in(struct stack *s, const struct plan *plan, struct cursor *from);
u32 call_copy_out(struct stack *s, const struct plan *plan, struct cursor *to);

/*
 * sockaddr of the program. `out` goes back as the kernel does it: cut to the room, with the true
 * length.
 */
int call_addr_in(struct sockaddr_storage *to, const struct sockaddr *from, socklen_t len);
int call_addr_out(const struct endpoint *from, struct sockaddr *to, socklen_t *len);
u32 call_sockaddr(const struct endpoint *from, struct sockaddr_storage *to); /* its length */
int call_endpoint(const struct sockaddr_storage *from, socklen_t len, struct endpoint *to);

/* --- data --- */

struct call_data {
	const struct iovec *iov;
	u32 count;
	u64 len;
	int flags;
	struct endpoint peer; /* sent: family FAMILY_NONE when not given; received: the source */
	/* Sent: NULL when there is none; received: filled in when not NULL. */
	struct plan_meta *meta;
	u8 *stats;    /* received, with meta: PLAN_STATS bytes */
	u32 full_len; /* received: the datagram's true length */
	u32 options;  /* received: enum sock_option */
	u32 stamps;   /* received: enum sock_tstamp */
	bool ahead;   /* received: MSG_PEEK may begin behind what is there (SO_PEEK_OFF) */
	bool stream_end;
};

s64 call_send(int fd, ref sk, struct call_data *d);
s64 call_recv(int fd, ref sk, struct call_data *d);

/* Sending to a name, already copied from the program (and perhaps changed by this). */
s64 call_send_to(int fd, ref sk, struct call_data *d, struct sockaddr_storage *name, socklen_t len);

/* Raises SIGPIPE in the calling thread. */
void call_sigpipe(void);

s64 call_sendto(int fd, ref sk, const void *buf, size_t len, int flags, const struct sockaddr *addr,
	socklen_t addr_len);
s64 call_recvfrom(int fd, ref sk, void *buf, size_t len, int flags, struct sockaddr *addr,
	socklen_t *addr_len);
s64 call_readv(int fd, ref sk, const struct iovec *iov, int count, int flags);
s64 call_writev(int fd, ref sk, const struct iovec *iov, int count, int flags);
s64 call_sendmsg(int fd, ref sk, const struct msghdr *msg, int flags);
s64 call_recvmsg(int fd, ref sk, struct msghdr *msg, int flags);
s64 call_sendmmsg(int fd, ref sk, struct mmsghdr *msgs, unsigned count, int flags);
s64 call_recvmmsg(
	int fd, ref sk, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *timeout);

/* A message of a kernel socket is about to be sent, or has come: stack sockets in it are tied, or
 * claimed. */
void call_sending(const struct msghdr *user);
void call_sending_all(const struct mmsghdr *user, unsigned count);
void call_received(const struct msghdr *msg);

/* As call_opened, for a number that may be a stack socket: it has come from another process. */
int call_came(int fd);

/* --- sockets --- */

s64 call_socket(int domain, int type, int protocol);
s64 call_bind(int fd, ref sk, const struct sockaddr *addr, socklen_t len);
s64 call_connect(int fd, ref sk, const struct sockaddr *addr, socklen_t len);
s64 call_listen(int fd, ref sk, int backlog);
s64 call_accept(int fd, ref sk, struct sockaddr *addr, socklen_t *len, int flags);
s64 call_shutdown(int fd, ref sk, int how);
s64 call_getsockname(int fd, ref sk, struct sockaddr *addr, socklen_t *len);
s64 call_getpeername(int fd, ref sk, struct sockaddr *addr, socklen_t *len);
s64 call_setsockopt(int fd, ref sk, int level, int name, const void *val, socklen_t len);
s64 call_getsockopt(int fd, ref sk, int level, int name, void *val, socklen_t *len);
s64 call_mark(ref sk); /* SIOCATMARK */
s64 call_ioctl(int fd, ref sk, unsigned long request, void *arg);

/*
 * The address belongs to the kernel by the user's rules: replaces the placeholder by a socket of
 * the kernel's, with the same options, under every number it has. True when that was done: the call
 * goes on in libc.
 */
bool call_bypass(int fd, ref sk, const struct sockaddr_storage *addr, socklen_t len);

/* --- descriptors --- */

/* These return as libc's do, with errno set: they are for any number. */
int call_close(int fd);
int call_dup(int from);
int call_dup_to(int from, int to, int flags, bool dup3);
int call_fcntl(int fd, int cmd, void *arg);

/* Owner, signal or O_ASYNC of the descriptor's file have changed (async.c). */
void async_update(int fd, ref sk);
int call_close_range(unsigned first, unsigned last, int flags);

#endif
