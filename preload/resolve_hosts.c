/*
 * /etc/hosts (hosts(5)): an address, a canonical name, aliases. All lines that have the name count,
 * as with glibc's `multi on`: the first gives the canonical name, the others' names become aliases.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "preload/resolve_internal.h"

#define BLANKS " \t\r"

struct entry {
	struct addr addr;
	char *names; /* the rest of the line */
};

static bool parse_addr(const char *text, struct addr *out)
{
	struct in_addr v4;

	*out = (struct addr){0};
	if (inet_pton(AF_INET, text, &v4) == 1) {
		*out = addr_v4(ntohl(v4.s_addr));
		return true;
	}
	out->family = FAMILY_INET6;
	return inet_pton(AF_INET6, text, out->b) == 1;
}

/* Takes the next entry off the text. False at its end. */
static bool next_entry(char **text, struct entry *out)
{
	while (**text) {
		char *line = *text, *end = line + strcspn(line, "\n"), *address, *after;

		*text = *end ? end + 1 : end;
		*end = 0;
		line[strcspn(line, "#")] = 0;
		address = line + strspn(line, BLANKS);
		after = address + strcspn(address, BLANKS);
		if (!*after)
			continue;
		*after = 0;
		out->names = after + 1;
		if (parse_addr(address, &out->addr))
			return true;
	}
	return false;
}

static char *next_name(char **names)
{
	char *name = *names + strspn(*names, BLANKS);
	size_t n = strcspn(name, BLANKS);

	if (!n)
		return NULL;
	*names = name[n] ? name + n + 1 : name + n;
	name[n] = 0;
	return name;
}

/* Does a line's list of names have this one? Leaves the list as it was. */
static bool has_name(const char *names, const char *name)
{
	size_t len = strlen(name);

	for (names += strspn(names, BLANKS); *names; names += strspn(names, BLANKS)) {
		size_t n = strcspn(names, BLANKS);

		if (n == len && !strncasecmp(names, name, n))
			return true;
		names += n;
	}
	return false;
}

static void add_names(struct resolve_names *out, char *names)
{
	char *name = next_name(&names);

	if (name && !out->name[0] && strlen(name) < sizeof(out->name))
		strcpy(out->name, name);
	else if (name && strcmp(name, out->name))
		resolve_names_alias(out, name);
	while ((name = next_name(&names)))
		resolve_names_alias(out, name);
}

/* glibc takes ::1 for 127.0.0.1 when IPv4 addresses are wanted; once is enough. */
static bool as_ipv4(const struct addr *addr, struct in_addr *out)
{
	static const u8 mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (addr->family == FAMILY_INET || !memcmp(addr->b, mapped, sizeof(mapped)))
		memcpy(out, addr->b + 12, sizeof(*out));
	else if (addr_is_loopback(addr))
		out->s_addr = htonl(INADDR_LOOPBACK);
	else
		return false;
	return true;
}

bool resolve_hosts_parse_name(char *text, const char *name, struct resolve_names *out)
{
	struct entry entry;
	struct in_addr addr;
	bool have;

	out->name[0] = 0;
	out->aliases = out->addrs = 0;
	while (next_entry(&text, &entry)) {
		if (!has_name(entry.names, name) || !as_ipv4(&entry.addr, &addr))
			continue;
		have = false;
		for (u32 i = 0; i < out->addrs; i++)
			have = have || out->addr[i].s_addr == addr.s_addr;
		if (!have && out->addrs < RESOLVE_ADDRS)
			out->addr[out->addrs++] = addr;
		add_names(out, entry.names);
	}
	return out->addrs;
}

bool resolve_hosts_parse_addr(char *text, const struct addr *addr, struct resolve_names *out)
{
	struct entry entry;

	out->name[0] = 0;
	out->aliases = out->addrs = 0;
	while (next_entry(&text, &entry))
		if (addr_equal(&entry.addr, addr)) {
			add_names(out, entry.names);
			return out->name[0];
		}
	return false;
}

bool resolve_hosts_name(const char *name, struct resolve_names *out)
{
	char *text = resolve_conf_file("/etc/hosts");
	bool found = text && resolve_hosts_parse_name(text, name, out);

	free(text);
	return found;
}

bool resolve_hosts_addr(const struct addr *addr, struct resolve_names *out)
{
	char *text = resolve_conf_file("/etc/hosts");
	bool found = text && resolve_hosts_parse_addr(text, addr, out);

	free(text);
	return found;
}
