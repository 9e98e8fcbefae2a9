/*
 * Interposed: root becomes another user. What opens the device and enters its network namespace is
 * gone then, so a program that opens its first socket afterwards (a daemon told its user, a package
 * manager's download) joins its host before. One that runs another program instead leaves the host
 * with that.
 */
#include <unistd.h>

#include "preload/export.h"
#include "preload/guard.h"
#include "preload/host.h"
#include "preload/libc.h"
#include "preload/raw.h"

static void user_leaves_root(uid_t euid)
{
	libc_need();
	if (euid == 0 || euid == (uid_t)-1 || raw_syscall0(SYS_geteuid) != 0 || host_up())
		return;
	guard_enter();
	host_start_early();
	guard_leave(false);
}

EXPORT int setuid(uid_t uid)
{
	user_leaves_root(uid);
	return libc.setuid(uid);
}

EXPORT int seteuid(uid_t euid)
{
	user_leaves_root(euid);
	return libc.seteuid(euid);
}

EXPORT int setreuid(uid_t ruid, uid_t euid)
{
	user_leaves_root(euid);
	return libc.setreuid(ruid, euid);
}

EXPORT int setresuid(uid_t ruid, uid_t euid, uid_t suid)
{
	user_leaves_root(euid);
	return libc.setresuid(ruid, euid, suid);
}
