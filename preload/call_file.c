/*
 * sendfile and splice: data between a socket and a file or pipe without the program in between. The
 * kernel reads the file straight into the packet memory that was reserved, and writes the pipe
 * straight from the packets that were taken: no copy of our own, and no system call under the lock.
 */
#include "preload/call_file.h"

#include <limits.h>
#include <sys/ioctl.h>

#include "preload/raw.h"

#define PIECE 262144u

static int vector(struct stack *s, const struct plan *plan, struct iovec *iov)
{
	for (u32 i = 0; i < plan->count; i++) {
		iov[i].iov_base = sock_span(s, &plan->span[i]);
		iov[i].iov_len = plan->span[i].len;
	}
	return (int)plan->count;
}

/* Reads or writes a pipe without ever sleeping: another process may have been faster. */
static s64 pipe_move(long nr, int pipe, const struct iovec *iov, int count)
{
	s64 ret = raw_syscall6(nr, pipe, (long)iov, count, -1, -1, RWF_NOWAIT);

	if (ret == -EOPNOTSUPP)
		ret = raw_syscall6(nr, pipe, (long)iov, count, -1, -1, 0);
	return ret;
}

static s64 reserve(struct call *c, u64 len, int flags)
{
	struct sock *sock;
	s64 n;

	host_enter();
	sock = call_look_data(c, true);
	n = c->gone;
	if (sock) {
		c->plan->flags = (u32)flags;
		c->plan->to.addr.family = FAMILY_NONE;
		c->plan->meta = (struct plan_meta){.tos = -1, .ttl = -1};
		n = sock_send_reserve(c->stack, c->sk, c->plan, len);
	}
	host_leave();
	return n;
}

static s64 commit(struct call *c, s64 filled)
{
	s64 n = filled;

	host_enter();
	if (filled > 0)
		n = sock_send_commit(c->stack, c->plan, (u32)filled);
	else
		sock_plan_drop(c->stack, c->plan);
	host_leave();
	return n;
}

/* Reads into the spans: at `offset`, or from a pipe when that is -1. */
static s64 fill(struct call *c, int in, off_t offset)
{
	struct iovec iov[PLAN_SPANS];
	int count = vector(c->stack, c->plan, iov);

	if (offset < 0)
		return pipe_move(SYS_preadv2, in, iov, count);
	return raw_syscall5(SYS_preadv, in, (long)iov, count, offset, 0);
}

/* One reserved piece, filled from the descriptor. 0 at its end. */
static s64 send_piece(struct call *c, int in, off_t offset, u64 len, int flags)
{
	u64 memory;
	s64 n;

	do {
		memory = host_memory();
		n = reserve(c, len, flags);
	} while (n == -ENOBUFS && host_grown(memory));
	if (n < 0 || c->plan->kind == PLAN_NONE)
		return n;
	return commit(c, fill(c, in, offset));
}

/* MSG_MORE when the file goes on behind the piece: nothing must wait for bytes that do not come. */
static int more(int in, off_t offset, u64 left)
{
	struct stat st;

	return left > PIECE && raw_fstat(in, &st) == 0 && st.st_size - offset > (off_t)PIECE
		       ? MSG_MORE
		       : 0;
}

static s64 sendfile_once(struct call *c, int in, off_t offset, u64 count)
{
	u64 done = 0;
	s64 n = 0;

	while (done < count) {
		u64 left = count - done;
		off_t at = offset + (off_t)done;

		n = send_piece(c, in, at, MIN(left, PIECE), more(in, at, left));
		if (n == 0)
			break;
		if (n > 0)
			done += (u64)n;
		else if (n == -EAGAIN)
			n = call_block(c, EV_OUT, 0);
		if (n < 0)
			break;
	}
	return done ? (s64)done : n;
}

/*
 * Where to read: the program's offset, or the file's own. What cannot be read at an offset is not
 * for sendfile.
 */
static s64 source(int in, const off_t *offset, off_t *at)
{
	int mode = raw_fcntl(in, F_GETFL, 0);
	struct stat st;

	if (mode < 0 || (mode & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	if (raw_fstat(in, &st) < 0)
		return -EBADF;
	if (offset) {
		if (guard_copy(at, offset, sizeof(*at)) < 0)
			return -EFAULT;
		if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
			return S_ISCHR(st.st_mode) ? -EINVAL : -ESPIPE;
		return *at < 0 ? -EINVAL : 0;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -EINVAL;
	*at = raw_syscall3(SYS_lseek, in, 0, SEEK_CUR);
	return *at < 0 ? -EINVAL : 0;
}

s64 call_sendfile(int out, ref sk, int in, off_t *offset, size_t count)
{
	struct call c;
	off_t at = 0;
	s64 ret = source(in, offset, &at);

	if (ret < 0)
		return ret;
	if ((ssize_t)count < 0)
		return -EINVAL;
	do {
		call_begin(&c, out, sk);
		ret = sendfile_once(&c, in, at, MIN(count, CALL_MOST));
	} while (call_again(&c, &ret));
	if (ret == -EPIPE && c.stream)
		call_sigpipe();
	if (ret <= 0)
		return ret;
	at += ret;
	if (!offset)
		raw_syscall3(SYS_lseek, in, at, SEEK_SET);
	else if (guard_copy(offset, &at, sizeof(at)) < 0)
		return -EFAULT;
	return ret;
}

/* --- splice: SPLICE_F_NONBLOCK is about the pipe; the socket waits or not by its own mode --- */

/* splice(2) moves between a pipe and something else: 0 when that is what this is. */
static s64 splice_check(
	int pipe, const off_t *pipe_offset, const off_t *sock_offset, size_t len, unsigned flags)
{
	struct stat st;

	if (len == 0)
		return 0;
	if (flags & ~(unsigned)(SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT))
		return -EINVAL;
	if (raw_fstat(pipe, &st) < 0)
		return -EBADF;
	if (!S_ISFIFO(st.st_mode))
		return -EINVAL;
	if (pipe_offset)
		return -ESPIPE;
	return sock_offset ? -EINVAL : 0;
}

/* Waits for the pipe, unless the call or the pipe does not wait. Positive when it is ready. */
static s64 pipe_wait(int fd, short events, unsigned flags)
{
	struct pollfd p = {.fd = fd, .events = events};
	int mode = raw_fcntl(fd, F_GETFL, 0), ret;

	if (mode < 0)
		return -EBADF;
	if (flags & SPLICE_F_NONBLOCK || mode & O_NONBLOCK) {
		struct timespec none = {0};

		ret = raw_ppoll(&p, 1, &none, NULL);
		return ret == 0 ? -EAGAIN : ret;
	}
	ret = wait_any(NULL, 0, &p, 1, NEVER, NULL);
	return ret;
}

static int splice_bytes(int pipe)
{
	int n = 0;

	raw_ioctl(pipe, FIONREAD, &n);
	return n;
}

static s64 splice_out_once(struct call *c, int in, u64 len, unsigned flags)
{
	int more = flags & SPLICE_F_MORE ? MSG_MORE : 0;

	for (;;) {
		s64 n = pipe_wait(in, POLLIN, flags);
		int ready;

		if (n <= 0)
			return n;
		ready = splice_bytes(in);
		if (ready <= 0)
			return 0; /* all writers have closed */
		n = send_piece(c, in, -1, MIN(MIN(len, PIECE), (u64)ready), more);
		if (n != -EAGAIN)
			return n;
		n = call_block(c, EV_OUT, 0);
		if (n < 0)
			return n;
	}
}

s64 call_splice_out(int in, const off_t *in_offset, int out, ref sk, const off_t *out_offset,
	size_t len, unsigned flags)
{
	struct call c;
	s64 ret = splice_check(in, in_offset, out_offset, len, flags);

	if (ret < 0 || len == 0)
		return ret;
	do {
		call_begin(&c, out, sk);
		ret = splice_out_once(&c, in, len, flags);
	} while (call_again(&c, &ret));
	if (ret == -EPIPE && c.stream)
		call_sigpipe();
	return ret;
}

static s64 take(struct call *c, u64 len)
{
	struct sock *sock;
	s64 n;

	host_enter();
	sock = call_look_data(c, false);
	n = c->gone;
	if (sock && !c->stream) {
		n = -EINVAL;
	} else if (sock) {
		c->plan->flags = 0;
		n = sock_recv_take(c->stack, c->sk, c->plan, len, c->reader);
	}
	host_leave();
	return n == -EBUSY ? -EAGAIN : n;
}

/* Room of a pipe, so that writing does not wait while a plan is held. */
static u64 pipe_room(int pipe)
{
	int size = raw_fcntl(pipe, F_GETPIPE_SZ, 0), used = splice_bytes(pipe);

	return size > used ? (u64)(size - used) : 0;
}

static s64 splice_in_piece(struct call *c, int out, u64 len)
{
	struct iovec iov[PLAN_SPANS];
	s64 n = take(c, len), written;

	if (n < 0 || c->plan->kind == PLAN_NONE)
		return n;
	written = pipe_move(SYS_pwritev2, out, iov, vector(c->stack, c->plan, iov));
	host_enter();
	if (written > 0)
		n = sock_recv_commit(c->stack, c->plan, (u32)written);
	else
		sock_plan_drop(c->stack, c->plan);
	host_leave();
	return written > 0 ? n : written;
}

static s64 splice_in_once(struct call *c, int out, u64 len, unsigned flags)
{
	for (;;) {
		s64 n = pipe_wait(out, POLLOUT, flags);
		u64 room;

		if (n <= 0)
			return n;
		room = pipe_room(out);
		n = splice_in_piece(c, out, MIN(len, room ? MIN(room, PIECE) : PIPE_BUF));
		if (n != -EAGAIN)
			return n;
		n = call_block(c, EV_IN, 0);
		if (n < 0)
			return n;
	}
}

s64 call_splice_in(int in, ref sk, const off_t *in_offset, int out, const off_t *out_offset,
	size_t len, unsigned flags)
{
	struct call c;
	s64 ret = splice_check(out, out_offset, in_offset, len, flags);

	if (ret < 0 || len == 0)
		return ret;
	do {
		call_begin(&c, in, sk);
		ret = splice_in_once(&c, out, len, flags);
	} while (call_again(&c, &ret));
	if (ret == -EPIPE)
		call_sigpipe();
	return ret;
}

/* Linux sends from a socket to a pipe alone, and that is a splice (busybox's cat is such a
 * program). */
s64 call_sendfile_from(int in, ref sk, int out, const off_t *offset, size_t count)
{
	int mode = raw_fcntl(out, F_GETFL, 0);

	if (mode < 0 || (mode & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if (offset)
		return -ESPIPE;
	if ((ssize_t)count < 0)
		return -EINVAL;
	return call_splice_in(
		in, sk, NULL, out, NULL, count, mode & O_NONBLOCK ? SPLICE_F_NONBLOCK : 0);
}
