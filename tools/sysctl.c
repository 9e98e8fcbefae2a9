/*
 * `ustack sysctl`: the tunables of a running host, in sysctl(8)'s ways. It becomes a member of the
 * host for the moment and reads and sets them under the host's lock; who may join may set.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "preload/region.h"
#include "tools/command.h"
#include "tools/settings.h"

#define SYSCTL_HELP                                                                                \
	"usage: ustack sysctl [--KEY VALUE]... [-n] [-a | NAME[=VALUE]...]\n\n"                    \
	"Prints tunables of the host of this configuration, or sets them until it ends: -a all, "  \
	"-n without\n"                                                                             \
	"names. A name is the kernel's, with dots or slashes; the parts in front may be left "     \
	"out: tcp_sack.\n"                                                                         \
	"preload/CONFIG.md lists them. Options of sockets that have been made before stay as "     \
	"they are.\n"                                                                              \
	"The keys are those of `ustack run --help`."

#define TEXT_MAX 1024

static struct config config;

/* What the host has now, in `config`. */
static void sysctl_read(void)
{
	struct stack *s = host_enter();

	config.sysctl = s->tunables;
	host_leave();
}

static void sysctl_print(const struct config_key *key, bool bare)
{
	char text[TEXT_MAX];

	config_text(&config, key, text, sizeof(text));
	if (bare)
		printf("%s\n", text);
	else
		printf("%s = %s\n", key->name, text);
}

static int sysctl_by_name(const void *a, const void *b)
{
	const struct config_key *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static int sysctl_all(bool bare)
{
	const struct config_key *keys[CONFIG_KEYS_MAX];
	u32 count = 0;

	for (u32 i = 0; i < config_key_count; i++)
		if (config_is_tunable(&config_keys[i]))
			keys[count++] = &config_keys[i];
	qsort(keys, count, sizeof(keys[0]), sysctl_by_name);
	sysctl_read();
	for (u32 i = 0; i < count; i++)
		sysctl_print(keys[i], bare);
	return 0;
}

/* Only this tunable changes: another may be set at the same time. */
static int sysctl_set(const struct config_key *key, const char *value)
{
	size_t at = key->offset - offsetof(struct config, sysctl);
	size_t size = (size_t)key->size * key->width;
	char why[CONFIG_WHY_MAX] = "";
	struct stack *s;

	if (!*value && key->type == CONFIG_PORTS)
		value = "none";
	if (config_set(&config, key, value, CONFIG_COMMAND_LINE, why, sizeof(why)))
		return command_failed("%s", why);
	s = host_enter();
	memcpy((char *)&s->tunables + at, (char *)&config.sysctl + at, size);
	host_leave();
	return 0;
}

/* One word of the command line: NAME or NAME=VALUE. */
static int sysctl_word(char *word, bool bare)
{
	char *value = strchr(word, '=');
	char *end = value ? value : word + strlen(word);
	const struct config_key *key;
	int ret = 0;

	while (end > word && end[-1] == ' ')
		end--;
	if (value)
		for (value++; *value == ' ';)
			value++;
	*end = 0;
	key = config_find_tunable(word);
	if (!key)
		return command_failed("the stack has no tunable `%s`", word);
	if (value)
		ret = sysctl_set(key, value);
	if (ret)
		return ret;
	sysctl_read();
	sysctl_print(key, bare);
	return 0;
}

static int sysctl_join(void)
{
	struct sockaddr_un name;
	socklen_t len = join_name(&config, &name);
	int ret = host_start_at(&name, len);

	if (ret == -ECONNREFUSED)
		return command_failed("no host %s is running", config.name);
	if (ret < 0)
		return command_failed("cannot join the host %s: %s", config.name, strerror(-ret));
	return 0;
}

int sysctl_command(int argc, char **argv)
{
	bool all = false, bare = false;
	int first, ret;

	if (command_wants_help(argc, argv)) {
		puts(SYSCTL_HELP);
		return 0;
	}
	first = settings_take(argc, argv);
	if (first < 0)
		return -first;
	for (; first < argc && argv[first][0] == '-'; first++) {
		if (strcmp(argv[first], "-a") == 0)
			all = true;
		else if (strcmp(argv[first], "-n") == 0)
			bare = true;
		else if (strcmp(argv[first], "-w") != 0)
			return command_misused(
				argv[0], "there is no option `%s`", argv[first]);
	}
	if (all == (first < argc))
		return command_misused(argv[0], "it takes -a or names");
	ret = settings_load(&config);
	if (ret == 0)
		ret = sysctl_join();
	if (ret)
		return ret;
	if (all)
		return sysctl_all(bare);
	for (; first < argc; first++)
		ret |= sysctl_word(argv[first], bare);
	return ret;
}
