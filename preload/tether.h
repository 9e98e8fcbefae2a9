/*
 * Tethers: what tells the keeper that a descriptor lives on, wherever it is.
 *
 * A placeholder is a lone AF_UNIX socket: only the members that hold it know of it. Before one leaves the processes that
 * the library sees (an exec, a child that libc makes, SCM_RIGHTS), it is connected to a listener of the keeper. The inode, the
 * numbers and the duplicates stay as they are, and from then on
 *
 * - the end of the last descriptor anywhere, in any process or in flight, is a hang-up that the keeper sees: a socket with
 *   SOCK_TETHERED outlives its last holder until then;
 * - the peer's name says of which host it is, so that any process that loads the library can claim it: hold it and
 *   enter it in its table (tether_claim);
 * - a program without the library can read from it and write to it by plain system calls: the keeper moves the bytes between
 *   the connection and the stack (splice.h), once SOCK_SPLICED is set. There is no way back: members use the kernel's calls
 *   for the data, too, and the stack for everything else.
 *
 * The listener's name is that of the rendezvous (join_name) with "/tether" behind; a stream and a SOCK_SEQPACKET socket both have it. The
 * placeholder is bound to a name too, which names the socket and proves that a member has made it (tether_name.c): so nothing but the
 * program's bytes goes over the connection, and while that name is taken the placeholder exists.
 */
#ifndef PRELOAD_TETHER_H
#define PRELOAD_TETHER_H

#include <sys/socket.h>
#include <sys/un.h>

#include "preload/host.h"

/*
 * Ties the placeholder of a stack socket to the keeper. Without the lock. 0, also when it is tied already, or a negative
 * errno: it then stays as it was, and ends with its last holder.
 */
int tether_tie(int fd, ref sk);

/* The same for every stack socket in the table that would survive an exec (no FD_CLOEXEC). How many there are. */
u32 tether_tie_inherited(void);

/*
 * A number has turned up of which the table knows nothing: received, or inherited over exec. If it is a tethered placeholder, this process
 * becomes a member of its host (joining it if it is none yet) and a holder of the socket, and the number enters the table.
 * 1 done, 0 when it is none of ours (or of another host than this process's), or a negative errno.
 */
int tether_claim(int fd);

/* The same for a placeholder that is tied to nobody (pidfd_getfd): one of this process's host, as it knows by the inode. */
int tether_claim_untied(int fd);

/* At the start of a program: claims every tethered placeholder among its descriptors. Looks at /proc/self/fd once. */
void tether_claim_all(void);

/* --- names (tether_name.c) --- */

#define TETHER_SUFFIX "/tether"

/* The name that a socket's placeholder is bound to; what such a name says: the socket, or 0 when no member has made it. */
socklen_t tether_own_name(ref sk, u64 inode, struct sockaddr_un *name);
ref tether_named(const struct sockaddr_un *name, socklen_t len, u64 *inode);

/* --- keeper's side (watch.h) --- */

struct watch;
struct tether;

/* Makes the listeners, whose name is that of the rendezvous with TETHER_SUFFIX behind. 0 or a negative errno. */
int tether_listen(const struct sockaddr_un *rendezvous, socklen_t len);

/* The listener's event; a connection's event (hang-up, the first bytes of somebody without the library). */
void tether_accept(struct watch *listener);
void tether_event(u32 index, u32 events);

/* A tethered socket is to be spliced (pump.h), if its connection has come already; else when it comes. */
void tether_splice(ref sk);

/*
 * A connection accepted from a lent listener (lend.h): there is no placeholder but the program's
 * end. Takes the descriptor over, and splices it with the socket.
 */
void tether_lent(int fd, ref sk, u64 inode);

/* Is the placeholder still there? For after a hang-up. */
bool tether_exists(u32 index);

/*
 * From the pump: no descriptor of the socket is left anywhere (lost), or its connection has been
 * reset, and the keeper's end is closed to say so: the socket then ends with its last holder.
 */
void tether_ended(u32 index, bool lost);

/* There are tethers, or some are about to come. */
bool tether_pending(void);

/* No descriptor is left: what the socket's last close brings about. */
void tether_lost(const struct tether *t);

/* What is to be looked at by time. When to be called again, or NEVER. */
u64 tether_look(u64 now);

/* The same for sockets that are not tethered (unseen.c). */
u64 unseen_look(u64 now);

#endif
