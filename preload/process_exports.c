/*
 * Interposed: forks that pthread_atfork's handlers do not see, and what gives standard input and
 * output to other files inside libc.
 *
 * A child's hold of its parent's sockets is written down before the child exists (join_fork), or
 * the parent's close right after the fork would be the last one. A child that shares its parent's
 * memory would close and overwrite the parent's entries in the table of descriptors on its way to
 * exec; so vfork is run as fork, which POSIX allows. A clone() with CLONE_VM passes untouched.
 * posix_spawn, system and popen, whose children are made inside libc, are exec_exports.c's.
 *
 * The kernel closes a child's sockets before its parent learns of its end. So who has waited for a
 * child waits for the keeper, too, to have closed what the child alone held (host_settle).
 */
#include <pty.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

#include "preload/call.h"
#include "preload/export.h"
#include "preload/libc.h"
#include "preload/region.h"

pid_t __vfork(void);
pid_t __wait(int *status);
pid_t __waitpid(pid_t pid, int *status, int options);
int __clone(int (*run)(void *), void *stack, int flags, void *argument, ...);

EXPORT pid_t vfork(void)
{
	return fork();
}

EXPORT pid_t __vfork(void)
{
	return fork();
}

EXPORT pid_t _Fork(void)
{
	pid_t pid;

	libc_need();
	host_fork_prepare();
	pid = libc._Fork();
	if (pid == 0)
		host_fork_child();
	else
		host_fork_parent();
	return pid;
}

/* What a child made by clone() runs; it lies in the child's copy of its parent's stack. */
struct clone_start {
	int (*run)(void *);
	void *argument;
};

static int clone_begin(void *start)
{
	const struct clone_start *child = start;

	host_fork_child();
	return child->run(child->argument);
}

EXPORT int clone(int (*run)(void *), void *stack, int flags, void *argument, ...)
{
	struct clone_start start = {run, argument};
	void *parent_tid, *tls, *child_tid;
	va_list args;
	int pid;

	va_start(args, argument);
	parent_tid = va_arg(args, void *);
	tls = va_arg(args, void *);
	child_tid = va_arg(args, void *);
	va_end(args);
	libc_need();
	if (flags & CLONE_VM || !run || !stack)
		return libc.clone(run, stack, flags, argument, parent_tid, tls, child_tid);
	host_fork_prepare();
	pid = libc.clone(clone_begin, stack, flags, &start, parent_tid, tls, child_tid);
	host_fork_parent();
	return pid;
}

EXPORT int __clone(int (*run)(void *), void *stack, int flags, void *argument, ...)
{
	void *parent_tid, *tls, *child_tid;
	va_list args;

	va_start(args, argument);
	parent_tid = va_arg(args, void *);
	tls = va_arg(args, void *);
	child_tid = va_arg(args, void *);
	va_end(args);
	return clone(run, stack, flags, argument, parent_tid, tls, child_tid);
}

/* libc has put other files under the first three numbers. */
static void standard_changed(void)
{
	for (int fd = 0; fd < 3; fd++) {
		ref sk = fdtable_sock(fd);

		if (sk)
			call_checked(fd, sk);
	}
}

EXPORT int daemon(int keep_directory, int keep_files)
{
	int ret;

	libc_need();
	ret = libc.daemon(keep_directory, keep_files);
	standard_changed();
	return ret;
}

EXPORT int login_tty(int fd)
{
	int ret;

	libc_need();
	ret = libc.login_tty(fd);
	standard_changed();
	return ret;
}

EXPORT int forkpty(int *master, char *name, const struct termios *term, const struct winsize *size)
{
	int pid;

	libc_need();
	pid = libc.forkpty(master, name, term, size);
	if (pid > 0)
		call_opened(*master);
	else if (pid == 0)
		standard_changed();
	return pid;
}

/* --- the ends of children --- */

static void child_ended(void)
{
	int error = errno;

	if (!host_up() || host_local.host->down)
		return;
	guard_enter();
	host_settle();
	guard_leave(false);
	errno = error;
}

static pid_t wait_for(pid_t pid, int *status, int options, struct rusage *usage)
{
	int own = 0;
	pid_t ret;

	libc_need();
	if (!status)
		status = &own;
	ret = libc.wait4(pid, status, options, usage);
	if (ret > 0 && (WIFEXITED(*status) || WIFSIGNALED(*status)))
		child_ended();
	return ret;
}

EXPORT pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
	return wait_for(pid, status, options, usage);
}

EXPORT pid_t wait3(int *status, int options, struct rusage *usage)
{
	return wait_for(-1, status, options, usage);
}

EXPORT pid_t waitpid(pid_t pid, int *status, int options)
{
	return wait_for(pid, status, options, NULL);
}

EXPORT pid_t __waitpid(pid_t pid, int *status, int options)
{
	return wait_for(pid, status, options, NULL);
}

EXPORT pid_t wait(int *status)
{
	return wait_for(-1, status, 0, NULL);
}

EXPORT pid_t __wait(int *status)
{
	return wait_for(-1, status, 0, NULL);
}

EXPORT int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	siginfo_t own = {.si_pid = 0};
	int ret;

	libc_need();
	if (!info)
		info = &own;
	ret = libc.waitid(type, id, info, options);
	if (ret == 0 && info->si_pid &&
		(info->si_code == CLD_EXITED || info->si_code == CLD_KILLED ||
			info->si_code == CLD_DUMPED))
		child_ended();
	return ret;
}
