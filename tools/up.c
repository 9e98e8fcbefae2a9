/*
 * `ustack up` and `ustack down`: a host without a program. The keeper, which stands behind every
 * host, is asked to stay when no program is left, or to end at once. `ustack keeper` is that
 * keeper.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload/region.h"
#include "tools/command.h"
#include "tools/settings.h"

#define UP_TRIES    500
#define UP_PAUSE_US 10000

int up_command(int argc, char **argv)
{
	static struct config config;
	char why[CONFIG_WHY_MAX] = "its keeper does not answer";
	int ret;

	if (command_wants_help(argc, argv)) {
		puts("usage: ustack up [--KEY VALUE]...\n\n"
		     "Starts a host that no program uses yet: it answers ping, and programs with "
		     "the same configuration\n"
		     "join it. It stays until `ustack down`. The keys are those of `ustack run "
		     "--help`.");
		return 0;
	}
	ret = settings_take_all(argc, argv);
	if (ret == 0)
		ret = settings_load(&config);
	if (ret == 0 && config.off)
		return command_misused("up", "the configuration says off = 1");
	if (ret == 0)
		ret = settings_make_device(&config);
	if (ret)
		return ret;
	keeper_own_path = "/proc/self/exe";
	for (int i = 0; i < UP_TRIES; i++) {
		ret = join_tell(&config, JOIN_STAY, why, sizeof(why));
		if (ret != -EAGAIN)
			break;
		usleep(UP_PAUSE_US);
	}
	return ret < 0 ? command_failed("%s", why) : 0;
}

int down_command(int argc, char **argv)
{
	static struct config config;
	char why[CONFIG_WHY_MAX] = "the host does not end";
	int ret;

	if (command_wants_help(argc, argv)) {
		puts("usage: ustack down [--KEY VALUE]...\n\n"
		     "Ends the host of this configuration at once: its connections are lost, "
		     "programs that use it get ENETDOWN.\n"
		     "The keys are those of `ustack run --help`. It is no error when no such host "
		     "runs.");
		return 0;
	}
	ret = settings_take_all(argc, argv);
	if (ret == 0)
		ret = settings_load(&config);
	if (ret)
		return ret;
	ret = join_tell(&config, JOIN_END, why, sizeof(why));
	return ret < 0 ? command_failed("%s", why) : 0;
}

/* `ustack keeper LAYOUT NAME`: started by the library, with the connection to the program that
 * needs a host as descriptor 3. */
int keeper_command(int argc, char **argv)
{
	if (argc != 3)
		return command_misused("keeper", "it is started by the library");
	if (strtoull(argv[1], NULL, 16) != host_layout()) {
		keeper_refuse(3, -ENOEXEC, "this `ustack` is of another version than the library");
		return COMMAND_FAILED;
	}
	return keeper_run(3) < 0 ? COMMAND_FAILED : 0;
}
