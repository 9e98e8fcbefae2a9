/* `ustack run`: a program with the library in front of it and its configuration in the environment.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/library.h"
#include "tools/settings.h"

static void run_help(void)
{
	puts("usage: ustack run [--KEY VALUE]... [--] PROGRAM [ARGUMENT]...\n\n"
	     "Runs the program with its internet sockets on a stack of its own. As root it makes "
	     "the TAP first if there is\n"
	     "none, with the gateway's address on the kernel's side. The keys, which may also "
	     "stand in the environment\n"
	     "(USTACK_KEY) and in an ini file:\n");
	settings_help();
}

int run_command(int argc, char **argv)
{
	static struct config config;
	int first, ret;

	if (command_wants_help(argc, argv)) {
		run_help();
		return 0;
	}
	first = settings_take(argc, argv);
	if (first < 0)
		return -first;
	if (first >= argc)
		return command_misused("run", "a program is expected");
	ret = settings_load(&config);
	if (ret == 0 && !config.off)
		ret = settings_make_device(&config);
	if (ret)
		return ret;
	ret = library_preload();
	if (ret)
		return ret;
	execvp(argv[first], argv + first);
	ret = errno == ENOENT ? 127 : 126; /* as a shell has it */
	command_failed("cannot run %s: %s", argv[first], strerror(errno));
	return ret;
}
