/*
 * `ustack stat`: the counters of a running host, under the kernel's SNMP names and under their own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "preload/region.h"
#include "tools/command.h"
#include "tools/settings.h"

#define STAT_HELP                                                                                  \
	"usage: ustack stat [--all] [--KEY VALUE]...\n\n"                                          \
	"Prints the counters of the host of this configuration: first those that the kernel has "  \
	"too, by the names of\n"                                                                   \
	"nstat(8), then every event by its own name with what it means. Those that are 0 are "     \
	"left out without --all.\n"                                                                \
	"The keys are those of `ustack run --help`."

/* Several events may share a name of the kernel's, which counts them together. */
static u64 stat_sum(const struct stack *s, u32 first)
{
	u64 sum = 0;

	for (u32 i = first; i < COUNTERS; i++)
		if (strcmp(counter_snmp(i), counter_snmp(first)) == 0)
			sum += counter_read(s, i);
	return sum;
}

static bool stat_is_first(u32 counter)
{
	for (u32 i = 0; i < counter; i++)
		if (strcmp(counter_snmp(i), counter_snmp(counter)) == 0)
			return false;
	return true;
}

static void stat_line(const char *name, u64 value, const char *text, bool all)
{
	if (value || all)
		printf("%-32s %-12llu%s%s\n", name, (unsigned long long)value, text[0] ? " " : "",
			text);
}

static void stat_print(const struct stack *s, const struct host_stats *host, bool all)
{
	puts("# by the kernel's names");
	for (u32 i = 0; i < COUNTERS; i++)
		if (counter_snmp(i)[0] && stat_is_first(i))
			stat_line(counter_snmp(i), stat_sum(s, i), "", all);
	puts("# by event");
	for (u32 i = 0; i < COUNTERS; i++)
		stat_line(counter_name(i), counter_read(s, i), counter_text(i), all);
	stat_line("host_owners_died", host->owners_died, "threads that died inside the lock", all);
	stat_line("host_members_died", host->members_died, "processes that have ended", all);
	stat_line("host_takeovers", host->takeovers, "device taken over from a driver that stopped",
		all);
	stat_line("host_grown", host->grown, "enlargements of the region", all);
}

int stat_command(int argc, char **argv)
{
	static struct config config;
	char why[CONFIG_WHY_MAX] = "";
	bool all = argc > 1 && strcmp(argv[1], "--all") == 0;
	int ret;

	if (command_wants_help(argc, argv)) {
		puts(STAT_HELP);
		return 0;
	}
	if (all) {
		argv[1] = argv[0];
		argc--;
		argv++;
	}
	ret = settings_take_all(argc, argv);
	if (ret == 0)
		ret = settings_load(&config);
	if (ret)
		return ret;
	if (join_running(&host_local, &config, why, sizeof(why)) < 0)
		return command_failed("%s", why);
	stat_print(host_stack(), &host_local.host->stats, all);
	return 0;
}
