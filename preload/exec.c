/*
 * The sockets that a new program inherits.
 *
 * All of them are tied to the keeper (tether.h), by which they outlive this process's hold of them.
 * A program that loads the library claims them at its start. For any other the keeper moves the
 * bytes (splice.h); there is no way back from that, so it is done only when the program file has
 * been looked at and can be run. A child that libc makes while this process goes on mostly knows
 * nothing of the sockets that it inherits by the way: there only what it gets as standard input,
 * output and error, or by a file action, is served so.
 */
#include "preload/exec.h"

#include "preload/fdtable.h"
#include "preload/guard.h"
#include "preload/lend.h"
#include "preload/raw.h"
#include "preload/region.h"
#include "preload/splice.h"
#include "preload/tether.h"

/* The program can become a member: it finds the library, and is of the user whose host it is. */
static bool exec_joins(int fate, bool loads)
{
	const char *file = exec_library();

	return fate == EXEC_LOADS && loads && file &&
	       (u32)raw_syscall0(SYS_geteuid) == host_local.uid &&
	       raw_syscall3(SYS_faccessat, AT_FDCWD, (long)file, R_OK) == 0;
}

static bool exec_passes(int fd)
{
	int flags = raw_fcntl(fd, F_GETFD, 0);

	return flags >= 0 && !(flags & FD_CLOEXEC);
}

/* lend: where a listener may be replaced; NULL where the numbers are those of a process that goes
 * on. */
static void exec_serve(int fd, struct lend *lend)
{
	ref sk = fdtable_sock_checked(fd);

	/* What cannot be served lives on at least. */
	guard_enter();
	if (sk && splice_begin(fd, sk) < 0 && (!lend || lend_begin(lend, fd, sk) < 0))
		tether_tie(fd, sk);
	guard_leave(false);
}

void exec_inherit(int fate, bool loads, struct lend *lend)
{
	lend->count = 0;
	if (!host_up() || fate < 0)
		return;
	if (exec_joins(fate, loads)) {
		tether_tie_inherited();
		return;
	}
	for (int fd = 0; fd < fdtable_limit(); fd++) {
		if (fdtable_sock(fd) && exec_passes(fd))
			exec_serve(fd, lend);
	}
}

void exec_inherit_child(int fate, bool loads, const int *given)
{
	bool joins;

	if (!host_up() || fate < 0)
		return;
	joins = exec_joins(fate, loads);
	tether_tie_inherited();
	for (int fd = 0; !joins && fd < 3; fd++) {
		if (fdtable_sock(fd) && exec_passes(fd))
			exec_serve(fd, NULL);
	}
	for (; given && *given >= 0; given++) {
		ref sk = fdtable_sock_checked(*given);

		if (sk && joins)
			tether_tie(*given, sk);
		else if (sk)
			exec_serve(*given, NULL);
	}
}
