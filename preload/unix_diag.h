/* What the kernel knows of AF_UNIX sockets (sock_diag(7)), for the keeper. */
#ifndef PRELOAD_UNIX_DIAG_H
#define PRELOAD_UNIX_DIAG_H

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>

#include "stack/types.h"

/* A descriptor to ask with, or a negative errno. */
int unix_diag_open(void);

/*
 * Asks for the socket with this inode, or for all of the network namespace (0); show: UDIAG_SHOW_*.
 * 0, or a negative errno. The answers are for the caller to read.
 */
int unix_diag_ask(int fd, u32 inode, u32 show);

#endif
