/*
 * System calls without libc: no errno, no cancellation point, no symbol that a program or the shim
 * itself could interpose, and nothing that must have been initialised. Each returns the kernel's
 * answer: 0 or positive, or a negative errno.
 */
#ifndef PRELOAD_RAW_H
#define PRELOAD_RAW_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#if defined(__x86_64__)

static inline long raw_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__)

static inline long raw_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}

#else
#error "raw.h: no system call sequence for this processor"
#endif

#define RAW_NSIG_BYTES 8 /* the kernel's sigset_t, shorter than libc's */

static inline long raw_syscall0(long nr)
{
	return raw_syscall6(nr, 0, 0, 0, 0, 0, 0);
}

static inline long raw_syscall1(long nr, long a)
{
	return raw_syscall6(nr, a, 0, 0, 0, 0, 0);
}

static inline long raw_syscall2(long nr, long a, long b)
{
	return raw_syscall6(nr, a, b, 0, 0, 0, 0);
}

static inline long raw_syscall3(long nr, long a, long b, long c)
{
	return raw_syscall6(nr, a, b, c, 0, 0, 0);
}

static inline long raw_syscall4(long nr, long a, long b, long c, long d)
{
	return raw_syscall6(nr, a, b, c, d, 0, 0);
}

static inline long raw_syscall5(long nr, long a, long b, long c, long d, long e)
{
	return raw_syscall6(nr, a, b, c, d, e, 0);
}

/* Files and descriptors. */

static inline int raw_open(const char *path, int flags, mode_t mode)
{
	return (int)raw_syscall4(SYS_openat, AT_FDCWD, (long)path, flags, (long)mode);
}

static inline int raw_close(int fd)
{
	return (int)raw_syscall1(SYS_close, fd);
}

static inline ssize_t raw_read(int fd, void *buf, size_t size)
{
	return raw_syscall3(SYS_read, fd, (long)buf, (long)size);
}

static inline ssize_t raw_write(int fd, const void *buf, size_t size)
{
	return raw_syscall3(SYS_write, fd, (long)buf, (long)size);
}

static inline ssize_t raw_readv(int fd, const struct iovec *iov, int count)
{
	return raw_syscall3(SYS_readv, fd, (long)iov, count);
}

static inline ssize_t raw_writev(int fd, const struct iovec *iov, int count)
{
	return raw_syscall3(SYS_writev, fd, (long)iov, count);
}

static inline int raw_fstat(int fd, struct stat *st)
{
	return (int)raw_syscall2(SYS_fstat, fd, (long)st);
}

static inline int raw_fcntl(int fd, int cmd, long arg)
{
	return (int)raw_syscall3(SYS_fcntl, fd, cmd, arg);
}

static inline int raw_ioctl(int fd, unsigned long request, void *arg)
{
	return (int)raw_syscall3(SYS_ioctl, fd, (long)request, (long)arg);
}

static inline int raw_dup3(int from, int to, int flags)
{
	return (int)raw_syscall3(SYS_dup3, from, to, flags);
}

static inline int raw_ftruncate(int fd, off_t size)
{
	return (int)raw_syscall2(SYS_ftruncate, fd, (long)size);
}

/* Memory. raw_mmap's answer is an address, or a negative errno that raw_failed recognises. */

static inline long raw_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	return raw_syscall6(SYS_mmap, (long)addr, (long)size, prot, flags, fd, (long)offset);
}

static inline int raw_failed(long ret)
{
	return ret < 0 && ret >= -4095;
}

static inline int raw_munmap(void *addr, size_t size)
{
	return (int)raw_syscall2(SYS_munmap, (long)addr, (long)size);
}

static inline int raw_madvise(void *addr, size_t size, int advice)
{
	return (int)raw_syscall3(SYS_madvise, (long)addr, (long)size, advice);
}

static inline int raw_memfd_create(const char *name, unsigned flags)
{
	return (int)raw_syscall2(SYS_memfd_create, (long)name, (long)flags);
}

/* Waiting. timeout is relative and may be NULL; the kernel writes the rest back into ppoll's. */

static inline int raw_ppoll(
	struct pollfd *fds, nfds_t count, struct timespec *timeout, const sigset_t *mask)
{
	return (int)raw_syscall5(
		SYS_ppoll, (long)fds, (long)count, (long)timeout, (long)mask, RAW_NSIG_BYTES);
}

static inline int raw_futex(unsigned *word, int op, unsigned value, const struct timespec *timeout,
	unsigned *word2, unsigned value3)
{
	return (int)raw_syscall6(
		SYS_futex, (long)word, op, (long)value, (long)timeout, (long)word2, (long)value3);
}

static inline int raw_eventfd(unsigned value, int flags)
{
	return (int)raw_syscall2(SYS_eventfd2, (long)value, flags);
}

/* Sockets of the kernel. */

static inline int raw_socket(int domain, int type, int protocol)
{
	return (int)raw_syscall3(SYS_socket, domain, type, protocol);
}

static inline int raw_socketpair(int domain, int type, int protocol, int fds[2])
{
	return (int)raw_syscall4(SYS_socketpair, domain, type, protocol, (long)fds);
}

static inline int raw_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	return (int)raw_syscall3(SYS_bind, fd, (long)addr, (long)len);
}

static inline int raw_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return (int)raw_syscall3(SYS_connect, fd, (long)addr, (long)len);
}

static inline int raw_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	return (int)raw_syscall3(SYS_getsockname, fd, (long)addr, (long)len);
}

static inline int raw_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	return (int)raw_syscall3(SYS_getpeername, fd, (long)addr, (long)len);
}

static inline int raw_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	return (int)raw_syscall5(SYS_setsockopt, fd, level, name, (long)value, (long)len);
}

static inline int raw_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	return (int)raw_syscall5(SYS_getsockopt, fd, level, name, (long)value, (long)len);
}

static inline ssize_t raw_sendto(
	int fd, const void *buf, size_t size, int flags, const struct sockaddr *addr, socklen_t len)
{
	return raw_syscall6(SYS_sendto, fd, (long)buf, (long)size, flags, (long)addr, (long)len);
}

static inline ssize_t raw_recvfrom(
	int fd, void *buf, size_t size, int flags, struct sockaddr *addr, socklen_t *len)
{
	return raw_syscall6(SYS_recvfrom, fd, (long)buf, (long)size, flags, (long)addr, (long)len);
}

static inline ssize_t raw_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return raw_syscall3(SYS_sendmsg, fd, (long)msg, flags);
}

static inline ssize_t raw_recvmsg(int fd, struct msghdr *msg, int flags)
{
	return raw_syscall3(SYS_recvmsg, fd, (long)msg, flags);
}

/* Processes and time. */

static inline pid_t raw_getpid(void)
{
	return (pid_t)raw_syscall0(SYS_getpid);
}

static inline pid_t raw_gettid(void)
{
	return (pid_t)raw_syscall0(SYS_gettid);
}

static inline int raw_clock_gettime(clockid_t clock, struct timespec *now)
{
	return (int)raw_syscall2(SYS_clock_gettime, clock, (long)now);
}

static inline int raw_sigprocmask(int how, const void *set, void *old)
{
	return (int)raw_syscall4(SYS_rt_sigprocmask, how, (long)set, (long)old, RAW_NSIG_BYTES);
}

#endif
