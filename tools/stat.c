/*
 * `ustack stat`: what a running host has counted, under the kernel's SNMP names and under its own,
 * and what it has in use.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "preload/region.h"
#include "tools/command.h"
#include "tools/settings.h"

#define STAT_HELP                                                                                  \
	"usage: ustack stat [--all] [--KEY VALUE]...\n\n"                                          \
	"Prints the counters of the host of this configuration: those that the kernel has too, "   \
	"by the names of\n"                                                                        \
	"nstat(8); the objects in use; and every event by its own name with what it means. What "  \
	"is 0 is left\n"                                                                           \
	"out without --all. The keys are those of `ustack run --help`."

static const struct {
	const char *name, *text;
} stat_objects[SLAB_KINDS] = {
	[SLAB_PKT_SMALL] = {"packets_small", "packet buffers of wire size"},
	[SLAB_PKT_MEDIUM] = {"packets_medium", "packet buffers of 16 KiB"},
	[SLAB_PKT_LARGE] = {"packets_large", "packet buffers of 64 KiB"},
	[SLAB_PKT_HUGE] = {"packets_huge", "records of long flights with many losses, of 1 MiB"},
	[SLAB_FRAME] = {"frames", "frames on their way out"},
	[SLAB_SOCK] = {"sockets", ""},
	[SLAB_TCP] = {"tcp_connections", "and listeners"},
	[SLAB_TCP_REQUEST] = {"tcp_requests", "handshakes that listeners have begun"},
	[SLAB_TCP_TIMEWAIT] = {"tcp_timewaits", "connections in TIME-WAIT"},
	[SLAB_NEIGH] = {"neighbours", ""},
	[SLAB_REASM] = {"reassemblies", "datagrams being reassembled"},
	[SLAB_PORT] = {"ports", "local ports bound"},
	[SLAB_MEMBERSHIP] = {"memberships", "multicast groups joined"},
	[SLAB_EPOLL_SET] = {"epoll_sets", ""},
	[SLAB_EPOLL_ITEM] = {"epoll_items", "sockets in them"},
	[SLAB_WAITER] = {"waiters", "waits of threads for sockets"},
	[SLAB_TASK] = {"tasks", "things to do at a time"},
};

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

static void stat_print(const struct stack *s, const struct host *region, bool all)
{
	const struct host_stats *host = &region->stats;

	puts("# by the kernel's names");
	for (u32 i = 0; i < COUNTERS; i++)
		if (counter_snmp(i)[0] && stat_is_first(i))
			stat_line(counter_snmp(i), stat_sum(s, i), "", all);
	puts("# in use");
	for (u32 i = 1; i < SLAB_KINDS; i++)
		stat_line(stat_objects[i].name, slab_in_use(s, i), stat_objects[i].text, all);
	stat_line("memory", (u64)s->spans_used * SLAB_SPAN_BYTES, "bytes handed out", all);
	puts("# by event");
	for (u32 i = 0; i < COUNTERS; i++)
		stat_line(counter_name(i), counter_read(s, i), counter_text(i), all);
	stat_line("host_owners_died", host->owners_died, "threads that died inside the lock", all);
	stat_line("host_lock_waits", region->lock.contended, "sleeps for the lock", all);
	stat_line("host_lock_long_waits", region->lock.long_waits,
		"waits of over 10 ms: its owner was stopped, or had no processor", all);
	stat_line("host_members_died", host->members_died, "processes that have ended", all);
	stat_line("host_keepers_died", host->keepers_died,
		"keepers that were killed and followed by another", all);
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
	stat_print(host_stack(), host_local.host, all);
	return 0;
}
