/*
 * Closes that nobody has told of.
 *
 * A program may close a socket by a system call of its own. When the number is used again, the
 * library notices; when it is not, the connection would stay open until the process ends. So the
 * keeper asks the kernel from time to time for the AF_UNIX sockets that there are, in one request
 * (NETLINK_SOCK_DIAG), and compares: a placeholder that was there once and is there no more has
 * been closed. It must have been seen there first, since one of another network namespace never
 * shows. Tethered sockets tell by themselves.
 *
 * This is done every 10 s while sockets come, and less and less often up to every 80 s while there
 * are only old ones; with none, the kernel is not asked.
 */
#include "preload/tether.h"
#include "preload/unix_diag.h"
#include "preload/watch.h"

#define SOONEST_NS  (10 * NS_PER_S)
#define LATEST_NS   (80 * NS_PER_S)
#define COST_FACTOR 1000 /* the share of time that it may take */
#define SLICE	    512	 /* sockets under one hold of the lock */
#define GONE	    64	 /* closed ones found at once */
#define INODES	    (1u << 18)
#define INODES_FULL (INODES / 4 * 3)

static struct unseen {
	u64 next_ns;
	u64 interval_ns;
	u64 newest; /* what the next socket's cookie was */
	u32 *there; /* by slab index: the inode that the kernel has shown */
	u32 *inode; /* hash table of what it shows now */
	u32 inodes;
} unseen;

struct gone {
	u32 count;
	struct tether socket[GONE];
};

/* Under the lock: does it rest on the members' word alone that the socket is open? */
static bool unseen_trusted(const struct sock *sk)
{
	return sk->holders && sk->inode && !(sk->flags & (SOCK_TETHERED | SOCK_ORPHAN));
}

/* --- the kernel's answer --- */

static u32 *unseen_place(u32 inode)
{
	u32 at = inode * 2654435761u % INODES;

	while (unseen.inode[at] && unseen.inode[at] != inode)
		at = (at + 1) % INODES;
	return &unseen.inode[at];
}

static void unseen_add(u32 inode)
{
	u32 *place = unseen_place(inode);

	unseen.inodes += *place == 0;
	*place = inode;
}

/* One datagram of the answer: positive while there is more to come, 0 at the end, or a negative
 * errno. */
static int unseen_read(int fd)
{
	_Alignas(struct nlmsghdr) char buf[16384];
	ssize_t n = raw_recvfrom(fd, buf, sizeof(buf), 0, NULL, NULL);
	u32 left = n < 0 ? 0 : (u32)n;
	int ret = n < 0 ? (int)n : 1;

	for (const struct nlmsghdr *h = (const void *)buf; ret > 0 && NLMSG_OK(h, left);
		h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_type == NLMSG_ERROR)
			ret = ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
		else if (h->nlmsg_type == NLMSG_DONE)
			ret = 0;
		else
			unseen_add(((const struct unix_diag_msg *)NLMSG_DATA(h))->udiag_ino);
		if (unseen.inodes > INODES_FULL)
			ret = -ENOSPC;
	}
	return ret;
}

static int unseen_dump(int fd)
{
	int ret = unix_diag_ask(fd, 0, 0);

	if (ret < 0)
		return ret;
	do {
		ret = unseen_read(fd);
	} while (ret > 0 || ret == -EINTR);
	return ret;
}

/* --- the comparison --- */

/* Under the lock: looks at one socket. */
static void unseen_compare(const struct sock *sk, u32 index, struct gone *gone)
{
	u32 inode = (u32)sk->inode;

	if (!unseen_trusted(sk))
		return;
	if (*unseen_place(inode) == inode)
		unseen.there[index] = inode;
	else if (unseen.there[index] == inode && gone->count < GONE)
		gone->socket[gone->count++] =
			(struct tether){.sock = sk->conn.slab.self, .inode = sk->inode};
}

static void unseen_compare_all(struct gone *gone)
{
	struct stack *s = host_enter();

	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		const struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk)
			unseen_compare(sk, i, gone);
		if (i % SLICE == SLICE - 1) {
			host_leave();
			s = host_enter();
		}
	}
	host_leave();
}

/* One that was bound while the kernel went through its tables may have been passed over: it is
 * asked for by name. */
static void unseen_close(int fd, const struct tether *t)
{
	struct sock *sk;

	if (unix_diag_ask(fd, (u32)t->inode, 0) < 0 || unseen_read(fd) != -ENOENT)
		return;
	sk = sock_get(host_enter(), t->sock);
	if (sk && sk->inode == t->inode && unseen_trusted(sk))
		member_unhold_all(host_stack(), t->sock);
	host_leave();
}

static u32 unseen_look_now(int fd)
{
	struct gone gone = {0};

	if (unseen_dump(fd) < 0)
		return 0;
	unseen_compare_all(&gone);
	for (u32 i = 0; i < gone.count; i++)
		unseen_close(fd, &gone.socket[i]);
	return gone.count;
}

/* --- when --- */

static bool unseen_any(void)
{
	struct stack *s = host_enter();
	bool any = false;

	for (u32 i = 0; !any && i < slab_touched(s, SLAB_SOCK); i++) {
		const struct sock *sk = slab_at(s, SLAB_SOCK, i);

		any = sk && unseen_trusted(sk);
		if (i % SLICE == SLICE - 1) {
			host_leave();
			s = host_enter();
		}
	}
	host_leave();
	return any;
}

static long unseen_memory(u64 size)
{
	return raw_mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static u32 unseen_begin(void)
{
	long table = unseen_memory(INODES * sizeof(u32)), there;
	u32 closed = 0;
	int fd;

	if (raw_failed(table))
		return 0;
	if (!unseen.there) {
		there = unseen_memory((u64)HOLD_PAGES * HOLD_BITS * sizeof(u32));
		unseen.there = raw_failed(there) ? NULL : (u32 *)there;
	}
	unseen.inode = (u32 *)table;
	unseen.inodes = 0;
	fd = unix_diag_open();
	if (unseen.there && fd >= 0)
		closed = unseen_look_now(fd);
	if (fd >= 0)
		raw_close(fd);
	raw_munmap((void *)table, INODES * sizeof(u32));
	return closed;
}

u64 unseen_look(u64 now)
{
	u64 newest = host_stack()->next_cookie, took;
	bool news = newest != unseen.newest;

	if (now < unseen.next_ns)
		return unseen.next_ns;
	if (unseen_any())
		news |= unseen_begin() != 0;
	unseen.newest = newest;
	took = host_now() - now;
	unseen.interval_ns = news ? SOONEST_NS : MIN(2 * unseen.interval_ns, LATEST_NS);
	unseen.interval_ns = MAX(MAX(unseen.interval_ns, SOONEST_NS), took * COST_FACTOR);
	unseen.next_ns = now + unseen.interval_ns;
	return unseen.next_ns;
}
