/*
 * Which descriptor numbers of this process are stack sockets: a lock-free table by number, grown on
 * demand. A call on a number that is not in it costs one look-up. The placeholder's inode, kept in
 * the entry and in struct sock, tells a number that the kernel has reused after a close that the
 * shim did not see.
 */
#ifndef PRELOAD_FDTABLE_H
#define PRELOAD_FDTABLE_H

#include "stack/types.h"

enum fd_kind { FD_OTHER, FD_SOCKET, FD_EPOLL, FD_NETLINK };

/*
 * The table itself, for the look-ups below: words of kind, inode (its low 30 bits) and ref, in
 * chunks that are made when the first number in them is set and stay.
 */
#define FDTABLE_CHUNK  8192u
#define FDTABLE_CHUNKS 2048u
extern u64 *fdtable_chunk[FDTABLE_CHUNKS];

static inline u64 fdtable_word(int fd)
{
	u64 *chunk;

	if ((unsigned)fd >= FDTABLE_CHUNK * FDTABLE_CHUNKS)
		return 0;
	chunk = __atomic_load_n(&fdtable_chunk[(unsigned)fd / FDTABLE_CHUNK], __ATOMIC_ACQUIRE);
	return chunk ? __atomic_load_n(&chunk[(unsigned)fd % FDTABLE_CHUNK], __ATOMIC_ACQUIRE) : 0;
}

/*
 * What the number is: FD_OTHER when it is none of ours. *object gets the sock (FD_SOCKET) or the
 * epoll set (FD_EPOLL).
 */
static inline enum fd_kind fdtable_find(int fd, ref *object)
{
	u64 word = fdtable_word(fd);

	*object = (ref)word;
	return (enum fd_kind)(word >> 62);
}

/* The sock behind fd, or 0. */
static inline ref fdtable_sock(int fd)
{
	u64 word = fdtable_word(fd);

	return word >> 62 == FD_SOCKET ? (ref)word : 0;
}

/*
 * As fdtable_sock, with the inode checked (fstat): 0 when the number is another file now. The entry
 * stays: call_forget (call.h) ends it.
 */
ref fdtable_sock_checked(int fd);

/* The same for any kind: FD_OTHER when the number is another file now. */
enum fd_kind fdtable_find_checked(int fd, ref *object);

int fdtable_set(int fd, enum fd_kind kind, ref object, u64 inode); /* 0 or -ENOMEM */

/* Makes room for the number, so that setting it cannot fail. */
int fdtable_reserve(int fd);

/* Forgets a number, and tells what it was. */
enum fd_kind fdtable_clear(int fd, ref *object);

/* How many numbers of this process name the object. */
u32 fdtable_count(enum fd_kind kind, ref object);

/*
 * A blocking call keeps its socket, as the kernel's reference to the open file does: a close of the
 * last number meanwhile takes effect when the call returns. fdtable_pin gives a slot for
 * fdtable_unpin, or -1 when all are taken (the call goes unprotected). Who closes the last number
 * asks fdtable_defer, under the host's lock: true when a call has taken the close over. Its
 * fdtable_unpin then answers true.
 */
int fdtable_pin(ref sock);
bool fdtable_unpin(int pin);
bool fdtable_defer(ref sock);

/* In a forked child: the calls of the parent's threads are not there. */
void fdtable_forked(void);

/* Highest number ever set, + 1: the bound for walks. */
int fdtable_limit(void);

#endif
