/*
 * Interposed: vfork, and what gives standard input and output to other files inside libc. A child
 * that shares its parent's memory would close and overwrite the parent's entries in the table of
 * descriptors on its way to exec; so vfork is run as fork, which POSIX allows. posix_spawn, system
 * and popen make their children inside libc, by system calls that do not pass here.
 */
#include <pty.h>
#include <unistd.h>
#include <utmp.h>

#include "preload/call.h"
#include "preload/export.h"
#include "preload/libc.h"

pid_t __vfork(void);

EXPORT pid_t vfork(void)
{
	return fork();
}

EXPORT pid_t __vfork(void)
{
	return fork();
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
