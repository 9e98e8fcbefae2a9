/*
 * Interposed: syscall(2) by number. The numbers that concern descriptors go to the interposed
 * functions; all others are made right here, without a frame, since a clone() on a new stack
 * returns through this function twice. One that is a fork is asked for first.
 */
#include <linux/sched.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include "preload/call.h"
#include "preload/raw.h"
#include "preload/region.h"

#if defined(__x86_64__)

#define NUMBERS 512
#define OPENS	3 /* gives out a number, and nothing else concerns us */

/* Those that syscall_dispatch knows; 2: if syscall_forks says so. */
__attribute__((used)) static const u8 syscall_known[NUMBERS] = {
	[SYS_read] = 1,
	[SYS_write] = 1,
	[SYS_close] = 1,
	[SYS_ioctl] = 1,
	[SYS_readv] = 1,
	[SYS_writev] = 1,
	[SYS_dup] = 1,
	[SYS_dup2] = 1,
	[SYS_dup3] = 1,
	[SYS_fcntl] = 1,
	[SYS_sendfile] = 1,
	[SYS_splice] = 1,
	[SYS_close_range] = 1,
	[SYS_poll] = 1,
	[SYS_ppoll] = 1,
	[SYS_select] = 1,
	[SYS_epoll_create] = 1,
	[SYS_epoll_create1] = 1,
	[SYS_epoll_ctl] = 1,
	[SYS_epoll_wait] = 1,
	[SYS_epoll_pwait] = 1,
	[SYS_socket] = 1,
	[SYS_bind] = 1,
	[SYS_listen] = 1,
	[SYS_accept] = 1,
	[SYS_accept4] = 1,
	[SYS_connect] = 1,
	[SYS_getsockname] = 1,
	[SYS_getpeername] = 1,
	[SYS_setsockopt] = 1,
	[SYS_getsockopt] = 1,
	[SYS_shutdown] = 1,
	[SYS_sendto] = 1,
	[SYS_recvfrom] = 1,
	[SYS_sendmsg] = 1,
	[SYS_recvmsg] = 1,
	[SYS_sendmmsg] = 1,
	[SYS_recvmmsg] = 1,
	[SYS_pidfd_getfd] = 1,
	[SYS_execve] = 1,
	[SYS_execveat] = 1,
	[SYS_fork] = 1,
	[SYS_vfork] = 1,
	[SYS_clone] = 2,
	[SYS_clone3] = 2,
	[SYS_pipe] = 1,
	[SYS_pipe2] = 1,
	[SYS_socketpair] = 1,
	[SYS_open] = OPENS,
	[SYS_openat] = OPENS,
	[SYS_openat2] = OPENS,
	[SYS_creat] = OPENS,
	[SYS_memfd_create] = OPENS,
	[SYS_memfd_secret] = OPENS,
	[SYS_eventfd] = OPENS,
	[SYS_eventfd2] = OPENS,
	[SYS_timerfd_create] = OPENS,
	[SYS_inotify_init] = OPENS,
	[SYS_inotify_init1] = OPENS,
	[SYS_fanotify_init] = OPENS,
	[SYS_pidfd_open] = OPENS,
	[SYS_perf_event_open] = OPENS,
	[SYS_userfaultfd] = OPENS,
	[SYS_io_uring_setup] = OPENS,
	[SYS_mq_open] = OPENS,
	[SYS_open_by_handle_at] = OPENS,
	[SYS_fsopen] = OPENS,
	[SYS_fsmount] = OPENS,
	[SYS_open_tree] = OPENS,
};

long syscall_dispatch(long nr, long a, long b, long c, long d, long e, long f);
long syscall_failed(long error);
bool syscall_forks(long nr, long a, long b);

/* The arguments move one place down; the seventh stands on the stack. */
__asm__(".text\n"
	".p2align 4\n"
	".globl syscall\n"
	".type syscall, @function\n"
	"syscall:\n"
	"	.cfi_startproc\n"
	"	cmpq $512, %rdi\n"
	"	jae 1f\n"
	"	leaq syscall_known(%rip), %rax\n"
	"	cmpb $0, (%rax,%rdi)\n"
	"	jne 3f\n"
	"1:	movq %rdi, %rax\n"
	"	movq %rsi, %rdi\n"
	"	movq %rdx, %rsi\n"
	"	movq %rcx, %rdx\n"
	"	movq %r8, %r10\n"
	"	movq %r9, %r8\n"
	"	movq 8(%rsp), %r9\n"
	"	syscall\n"
	"	cmpq $-4095, %rax\n"
	"	jae 2f\n"
	"	ret\n"
	"2:	movq %rax, %rdi\n"
	"	jmp syscall_failed\n"
	"3:	cmpb $2, (%rax,%rdi)\n"
	"	jne syscall_dispatch\n"
	"	pushq %rdi\n"
	"	pushq %rsi\n"
	"	pushq %rdx\n"
	"	pushq %rcx\n"
	"	pushq %r8\n"
	"	pushq %r9\n"
	"	subq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset 56\n"
	"	call syscall_forks\n"
	"	addq $8, %rsp\n"
	"	popq %r9\n"
	"	popq %r8\n"
	"	popq %rcx\n"
	"	popq %rdx\n"
	"	popq %rsi\n"
	"	popq %rdi\n"
	"	.cfi_adjust_cfa_offset -56\n"
	"	testb %al, %al\n"
	"	jne syscall_dispatch\n"
	"	jmp 1b\n"
	"	.cfi_endproc\n"
	".size syscall, .-syscall\n");

long syscall_failed(long error)
{
	return call_result(error);
}

/* A clone() that is a fork: the child goes on in a copy of the memory, on the same stack. */
bool syscall_forks(long nr, long a, long b)
{
	struct clone_args args = {.flags = (u64)a, .stack = (u64)b};

	if (!host_up() || (nr == SYS_clone3 &&
				  ((u64)b < CLONE_ARGS_SIZE_VER0 ||
					  guard_copy(&args, (void *)a, CLONE_ARGS_SIZE_VER0) < 0)))
		return false;
	return !(args.flags & CLONE_VM) && !args.stack;
}

static long dispatch_fork(long nr, long a, long b, long c, long d, long e)
{
	long pid;

	host_fork_prepare();
	pid = raw_syscall5(nr == SYS_vfork ? SYS_fork : nr, a, b, c, d, e);
	if (pid == 0)
		host_fork_child();
	else
		host_fork_parent();
	return call_result(pid);
}

static long dispatch_socket(long nr, long a, long b, long c, long d, long e, long f)
{
	switch (nr) {
	case SYS_socket:
		return socket((int)a, (int)b, (int)c);
	case SYS_bind:
		return bind((int)a, (struct sockaddr *)b, (socklen_t)c);
	case SYS_listen:
		return listen((int)a, (int)b);
	case SYS_accept:
		return accept((int)a, (struct sockaddr *)b, (socklen_t *)c);
	case SYS_accept4:
		return accept4((int)a, (struct sockaddr *)b, (socklen_t *)c, (int)d);
	case SYS_connect:
		return connect((int)a, (struct sockaddr *)b, (socklen_t)c);
	case SYS_getsockname:
		return getsockname((int)a, (struct sockaddr *)b, (socklen_t *)c);
	case SYS_getpeername:
		return getpeername((int)a, (struct sockaddr *)b, (socklen_t *)c);
	case SYS_setsockopt:
		return setsockopt((int)a, (int)b, (int)c, (void *)d, (socklen_t)e);
	case SYS_getsockopt:
		return getsockopt((int)a, (int)b, (int)c, (void *)d, (socklen_t *)e);
	case SYS_shutdown:
		return shutdown((int)a, (int)b);
	case SYS_sendto:
		return sendto(
			(int)a, (void *)b, (size_t)c, (int)d, (struct sockaddr *)e, (socklen_t)f);
	case SYS_recvfrom:
		return recvfrom(
			(int)a, (void *)b, (size_t)c, (int)d, (struct sockaddr *)e, (socklen_t *)f);
	case SYS_sendmsg:
		return sendmsg((int)a, (struct msghdr *)b, (int)c);
	case SYS_recvmsg:
		return recvmsg((int)a, (struct msghdr *)b, (int)c);
	case SYS_sendmmsg:
		return sendmmsg((int)a, (struct mmsghdr *)b, (unsigned)c, (int)d);
	default: /* SYS_recvmmsg */
		return recvmmsg(
			(int)a, (struct mmsghdr *)b, (unsigned)c, (int)d, (struct timespec *)e);
	}
}

/* The kernel's signal mask is shorter than libc's. */
static const sigset_t *mask_of(const void *kernel_mask, sigset_t *mask)
{
	if (!kernel_mask)
		return NULL;
	sigemptyset(mask);
	if (guard_copy(mask, kernel_mask, RAW_NSIG_BYTES) < 0)
		sigemptyset(mask);
	return mask;
}

static long dispatch_wait(long nr, long a, long b, long c, long d, long e)
{
	sigset_t mask;

	switch (nr) {
	case SYS_poll:
		return poll((struct pollfd *)a, (nfds_t)b, (int)c);
	case SYS_ppoll:
		return ppoll((struct pollfd *)a, (nfds_t)b, (struct timespec *)c,
			mask_of((void *)d, &mask));
	case SYS_select:
		return select((int)a, (fd_set *)b, (fd_set *)c, (fd_set *)d, (struct timeval *)e);
	case SYS_epoll_create:
		return epoll_create((int)a);
	case SYS_epoll_create1:
		return epoll_create1((int)a);
	case SYS_epoll_ctl:
		return epoll_ctl((int)a, (int)b, (int)c, (struct epoll_event *)d);
	case SYS_epoll_wait:
		return epoll_wait((int)a, (struct epoll_event *)b, (int)c, (int)d);
	default: /* SYS_epoll_pwait */
		return epoll_pwait(
			(int)a, (struct epoll_event *)b, (int)c, (int)d, mask_of((void *)e, &mask));
	}
}

long syscall_dispatch(long nr, long a, long b, long c, long d, long e, long f)
{
	if (syscall_known[nr] == OPENS)
		return call_opened((int)call_result(raw_syscall6(nr, a, b, c, d, e, f)));
	switch (nr) {
	case SYS_read:
		return read((int)a, (void *)b, (size_t)c);
	case SYS_write:
		return write((int)a, (void *)b, (size_t)c);
	case SYS_close:
		return close((int)a);
	case SYS_ioctl:
		return ioctl((int)a, (unsigned long)b, c);
	case SYS_readv:
		return readv((int)a, (struct iovec *)b, (int)c);
	case SYS_writev:
		return writev((int)a, (struct iovec *)b, (int)c);
	case SYS_dup:
		return dup((int)a);
	case SYS_dup2:
		return dup2((int)a, (int)b);
	case SYS_dup3:
		return dup3((int)a, (int)b, (int)c);
	case SYS_fcntl:
		return fcntl((int)a, (int)b, c);
	case SYS_sendfile:
		return sendfile((int)a, (int)b, (off_t *)c, (size_t)d);
	case SYS_splice:
		return splice((int)a, (off_t *)b, (int)c, (off_t *)d, (size_t)e, (unsigned)f);
	case SYS_pipe:
		return pipe((int *)a);
	case SYS_pipe2:
		return pipe2((int *)a, (int)b);
	case SYS_socketpair:
		return socketpair((int)a, (int)b, (int)c, (int *)d);
	case SYS_pidfd_getfd:
		return pidfd_getfd((int)a, (int)b, (unsigned)c);
	case SYS_close_range:
		return close_range((unsigned)a, (unsigned)b, (int)c);
	case SYS_poll:
	case SYS_ppoll:
	case SYS_select:
	case SYS_epoll_create:
	case SYS_epoll_create1:
	case SYS_epoll_ctl:
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
		return dispatch_wait(nr, a, b, c, d, e);
	case SYS_execve:
		return execve((char *)a, (char **)b, (char **)c);
	case SYS_execveat:
		return execveat((int)a, (char *)b, (char **)c, (char **)d, (int)e);
	case SYS_fork:
	case SYS_vfork:
	case SYS_clone:
	case SYS_clone3:
		return dispatch_fork(nr, a, b, c, d, e);
	default:
		return dispatch_socket(nr, a, b, c, d, e, f);
	}
}

#endif
