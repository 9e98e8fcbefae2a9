/*
 * One nftables table a TAP holds all that was added, so that taking it away leaves nothing. Whether
 * forwarding had been off before stands in the table too, as the name of an empty chain: the last
 * such table to go turns it off again.
 */
#include "tools/nat.h"

#include <fcntl.h>
#include <net/if.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/command.h"

#define FORWARD_PATH "/proc/sys/net/ipv4/ip_forward"

extern char **environ;

/* Runs nft with its arguments; what it says on stderr goes to ours unless quiet. Returns its
 * status, -1 if it can't be run. */
static int nat_run(char *const argv[], bool quiet)
{
	posix_spawn_file_actions_t actions;
	int status = -1;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (quiet)
		posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ) != 0 ||
		waitpid(pid, &status, 0) < 0)
		status = -1;
	posix_spawn_file_actions_destroy(&actions);
	return status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) != 127 ? WEXITSTATUS(status)
									      : -1;
}

static int nat_script(char *text, bool quiet)
{
	char *argv[] = {"nft", text, NULL};

	return nat_run(argv, quiet);
}

/* nft takes letters, digits and few signs in a table's name. */
static void nat_table(const char *tap, char *out, size_t size)
{
	snprintf(out, size, "ustack_%s", tap);
	for (char *p = out; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *p))
			*p = '_';
}

static int nat_forwarding(void)
{
	int fd = open(FORWARD_PATH, O_RDONLY | O_CLOEXEC);
	char c = '0';

	if (fd >= 0) {
		if (read(fd, &c, 1) != 1)
			c = '0';
		close(fd);
	}
	return c != '0';
}

static int nat_set_forwarding(bool on)
{
	int fd = open(FORWARD_PATH, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, on ? "1" : "0", 1) != 1)
		ret = -errno;
	close(fd);
	return ret;
}

static bool nat_has_mark(const char *tap)
{
	char table[64], text[160];

	nat_table(tap, table, sizeof(table));
	snprintf(text, sizeof(text), "list chain ip %s forwarding_was_off", table);
	return nat_script(text, true) == 0;
}

/* Does any interface's table say so? */
static bool nat_any_mark(void)
{
	struct if_nameindex *all = if_nameindex();
	bool found = false;

	for (struct if_nameindex *i = all; i && i->if_index && !found; i++)
		found = nat_has_mark(i->if_name);
	if (all)
		if_freenameindex(all);
	return found;
}

bool nat_is_up(const char *tap)
{
	char table[64], text[128];

	nat_table(tap, table, sizeof(table));
	snprintf(text, sizeof(text), "list table ip %s", table);
	return nat_script(text, true) == 0;
}

int nat_up(const char *tap)
{
	char table[64], text[1024], mark[96] = "";
	int ret;

	if (nat_is_up(tap))
		return 0;
	if (strpbrk(tap, "\"\\$*"))
		return command_failed("--nat takes no TAP with such a name: %s", tap);
	nat_table(tap, table, sizeof(table));
	if (!nat_forwarding() || nat_any_mark())
		snprintf(mark, sizeof(mark), "add chain ip %s forwarding_was_off", table);
	/* Marked on the way in: what the host forwards for others is not ours to translate. */
	snprintf(text, sizeof(text),
		"add table ip %s; "
		"add chain ip %s out { type nat hook postrouting priority 100; }; "
		"add chain ip %s in { type filter hook prerouting priority -150; }; "
		"add rule ip %s in iifname \"%s\" ct mark set 0x75737461; "
		"add rule ip %s out ct mark 0x75737461 oifname != \"%s\" masquerade; "
		"%s",
		table, table, table, table, tap, table, tap, mark);
	ret = nat_script(text, false);
	if (ret < 0)
		return command_failed("--nat needs the program nft: install it (Debian: nftables)");
	if (ret > 0)
		return command_failed("nft refused the rules for %s", tap);
	ret = nat_set_forwarding(true);
	if (ret < 0)
		return command_failed("cannot write " FORWARD_PATH ": %s", strerror(-ret));
	return 0;
}

int nat_down(const char *tap)
{
	char table[64], text[160];
	bool was_off;

	if (!nat_is_up(tap))
		return 0;
	nat_table(tap, table, sizeof(table));
	was_off = nat_has_mark(tap);
	snprintf(text, sizeof(text), "delete table ip %s", table);
	if (nat_script(text, false) != 0)
		return command_failed("nft could not delete the table %s", table);
	if (was_off && !nat_any_mark())
		nat_set_forwarding(false);
	return 0;
}
