/*
 * The options are the rows of config_keys: nothing here knows one by name, apart from what making a
 * device needs. Values are checked by config_load, as the library will do, so that a mistake is
 * told before the program starts.
 */
#include "tools/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/host_side.h"

extern char **environ;

static bool settings_is_list(const struct config_key *key)
{
	switch (key->type) {
	case CONFIG_ADDRESSES:
	case CONFIG_HOSTS:
	case CONFIG_SERVERS:
	case CONFIG_RULES:
	case CONFIG_ROUTES:
	case CONFIG_SYSCTLS:
		return true;
	default:
		return false;
	}
}

/* given: which keys the command line has named; another source's value is replaced, its own
 * extended. */
static int settings_set(const struct config_key *key, const char *value, bool *given)
{
	char variable[128];
	const char *old;
	char *joined = NULL;
	bool *mine = &given[key - config_keys];
	int ret;

	config_variable(key, variable, sizeof(variable));
	old = getenv(variable);
	if (*mine && old && settings_is_list(key) && asprintf(&joined, "%s, %s", old, value) < 0)
		return -COMMAND_FAILED;
	ret = setenv(variable, joined ? joined : value, 1);
	free(joined);
	*mine = true;
	return ret < 0 ? -command_failed("no memory") : 0;
}

/* One option: name of length len, with its value. */
static int settings_option(
	const char *command, const char *name, size_t len, const char *value, bool *given)
{
	const struct config_key *key = config_find(name, len);
	char entry[256];

	if (!key)
		return -command_misused(command, "there is no option `--%.*s`", (int)len, name);
	if (!value)
		return -command_misused(command, "--%s takes a value: %s", key->name, key->form);
	if (!strchr(key->name, '.'))
		return settings_set(key, value, given);
	/* The tunables stand in one variable. */
	if (snprintf(entry, sizeof(entry), "%s=%s", key->name, value) >= (int)sizeof(entry))
		return -command_misused(command, "the value of --%s is too long", key->name);
	return settings_set(config_find("sysctl", 6), entry, given);
}

int settings_take(int argc, char **argv)
{
	bool given[CONFIG_KEYS_MAX] = {false};
	int i = 1;

	while (i < argc && strncmp(argv[i], "--", 2) == 0) {
		const char *name = argv[i++] + 2;
		const char *value = strchr(name, '=');
		size_t len = value ? (size_t)(value - name) : strlen(name);
		int ret;

		if (len == 0 && !value)
			break; /* -- */
		value = value ? value + 1 : i < argc ? argv[i++] : NULL;
		ret = settings_option(argv[0], name, len, value, given);
		if (ret < 0)
			return ret;
	}
	return i;
}

int settings_take_all(int argc, char **argv)
{
	int first = settings_take(argc, argv);

	if (first < 0)
		return -first;
	return first < argc ? command_misused(argv[0], "`%s` is one word too many", argv[first])
			    : 0;
}

int settings_load(struct config *config)
{
	char why[CONFIG_WHY_MAX];

	if (config_load(config, environ, why, sizeof(why)) < 0)
		return command_failed("%s", why);
	return 0;
}

void settings_help(void)
{
	for (u32 i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];
		char option[80];
		char *dash;

		if (strchr(key->name, '.'))
			continue;
		snprintf(option, sizeof(option), "--%s %s", key->name, key->form);
		while ((dash = strchr(option, '_')))
			*dash = '-';
		printf("  %-36s %s%s%s%s\n", option, key->help, key->initial ? " (" : "",
			key->initial ? key->initial : "", key->initial ? ")" : "");
	}
	puts("  tunables for --sysctl, with the kernel's names:");
	for (u32 i = 0; i < config_key_count; i++)
		if (strchr(config_keys[i].name, '.'))
			printf("    %s=%s\n", config_keys[i].name,
				config_keys[i].initial ? config_keys[i].initial
						       : config_keys[i].form);
}

/* The gateway of the address's family, with the address's prefix length. */
static bool settings_host_address(
	const struct config *config, const struct config_ip *own, struct rtnl_address *out)
{
	for (u32 i = 0; i < config->gateway.count; i++) {
		const struct addr *gateway = &config->gateway.item[i].addr;
		size_t skip = gateway->family == FAMILY_INET ? 12 : 0;

		if (gateway->family != own->addr.family)
			continue;
		memset(out, 0, sizeof(*out));
		out->family = (u8)gateway->family;
		out->prefix_len = own->prefix_len;
		memcpy(out->bytes, gateway->b + skip, 16 - skip);
		return true;
	}
	return false;
}

int settings_make_device(const struct config *config)
{
	const char *name = config->device;
	struct host_side want = {0};
	struct rtnl_link link;
	int fd, ret;

	if (strncmp(name, "tap:", 4) == 0)
		name += 4;
	/* Another kind, or a place where others see to it. */
	if (strpbrk(name, ":@") || geteuid() != 0)
		return 0;
	fd = rtnl_open();
	ret = fd < 0 ? fd : rtnl_get(fd, name, &link);
	if (fd >= 0)
		close(fd);
	if (ret != -ENODEV)
		return 0;
	want.tap = name;
	for (u32 i = 0; i < config->address.count; i++)
		if (want.address_count < ARRAY_LEN(want.address) &&
			settings_host_address(config, &config->address.item[i],
				&want.address[want.address_count]))
			want.address_count++;
	ret = host_side_up(&want);
	if (ret == 0)
		fprintf(stderr, "ustack: made the TAP %s; `ustack tap down %s` removes it\n", name,
			name);
	return ret;
}
