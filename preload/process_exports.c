/*
 * Interposed: vfork. A child that shares its parent's memory would close and overwrite the parent's entries in the table of descriptors on its way to
 * exec; so vfork is run as fork, which POSIX allows. posix_spawn, system and popen make their children inside libc, by
 * system calls that do not pass here.
 */
#include <unistd.h>

#include "preload/export.h"

pid_t __vfork(void);

EXPORT pid_t vfork(void)
{
	return fork();
}

EXPORT pid_t __vfork(void)
{
	return fork();
}
