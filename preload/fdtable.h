/*
 * Which descriptor numbers of this process are stack sockets: a lock-free table by number, grown on demand. A call on
 * a number that is not in it costs one look-up. The placeholder's inode, kept in the entry and in struct sock, tells a number that the
 * kernel has reused after a close that the shim did not see.
 */
#ifndef PRELOAD_FDTABLE_H
#define PRELOAD_FDTABLE_H

#include "stack/types.h"

enum fd_kind { FD_OTHER, FD_SOCKET, FD_EPOLL, FD_NETLINK };

/* What the number is: FD_OTHER when it is none of ours. *object gets the sock (FD_SOCKET) or the epoll set (FD_EPOLL). */
enum fd_kind fdtable_find(int fd, ref *object);

/* The sock behind fd, or 0. */
ref fdtable_sock(int fd);

/* As fdtable_sock, with the inode checked (fstat): clears the entry and gives 0 when the number is another file now. */
ref fdtable_sock_checked(int fd);

int fdtable_set(int fd, enum fd_kind kind, ref object, u64 inode); /* 0 or -ENOMEM */

/* Forgets a number, and tells what it was. */
enum fd_kind fdtable_clear(int fd, ref *object);

/* How many numbers of this process name the object. */
u32 fdtable_count(enum fd_kind kind, ref object);

/* Highest number ever set, + 1: the bound for walks. */
int fdtable_limit(void);

#endif
