/*
 * gethostbyname(3), gethostbyaddr(3) and their re-entrant forms: the answers of resolve_names.c
 * laid out in the caller's buffer.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "preload/resolve_internal.h"

/* What is left of the caller's buffer. */
struct arena {
	char *at;
	size_t left;
};

static void *take(struct arena *arena, size_t size, size_t align)
{
	size_t skip = -(uintptr_t)arena->at & (align - 1);
	char *at = arena->at + skip;

	if (skip > arena->left || size > arena->left - skip)
		return NULL;
	arena->at = at + size;
	arena->left -= skip + size;
	return at;
}

static char *take_text(struct arena *arena, const char *text)
{
	size_t size = strlen(text) + 1;
	char *at = take(arena, size, 1);

	return at ? memcpy(at, text, size) : NULL;
}

static bool lay_out(const struct resolve_names *names, const void *addrs, u32 count, int family,
	struct hostent *entry, struct arena *arena)
{
	size_t length = family == AF_INET ? 4 : 16;
	char *addr;

	entry->h_addrtype = family;
	entry->h_length = (int)length;
	entry->h_aliases = take(arena, (names->aliases + 1) * sizeof(char *), sizeof(char *));
	entry->h_addr_list = take(arena, (count + 1) * sizeof(char *), sizeof(char *));
	addr = take(arena, count * length, 4);
	entry->h_name = take_text(arena, names->name);
	if (!entry->h_aliases || !entry->h_addr_list || !addr || !entry->h_name)
		return false;
	memcpy(addr, addrs, count * length);
	for (u32 i = 0; i < count; i++)
		entry->h_addr_list[i] = addr + i * length;
	entry->h_addr_list[count] = NULL;
	for (u32 i = 0; i < names->aliases; i++)
		if (!(entry->h_aliases[i] = take_text(arena, names->alias[i])))
			return false;
	entry->h_aliases[names->aliases] = NULL;
	return true;
}

/* What the re-entrant functions return with a resolver error. */
static int fail(int error, int *h_error)
{
	*h_error = error;
	if (error == TRY_AGAIN)
		return errno = EAGAIN;
	return error == NETDB_INTERNAL ? errno : 0;
}

static int too_small(int *h_error)
{
	*h_error = NETDB_INTERNAL;
	return errno = ERANGE;
}

/* A numeric name is its own answer. 0 or a resolver error, -1 when the name is not numeric. */
static int numeric(const char *name, int family, u8 *addr)
{
	size_t digits = strspn(name, "0123456789."), hex = strspn(name, "0123456789abcdefABCDEF:.");
	size_t len = strlen(name);

	if (digits == len && len && name[len - 1] != '.')
		return family == AF_INET && inet_aton(name, (struct in_addr *)(void *)addr)
			       ? 0
			       : HOST_NOT_FOUND;
	if (hex == len && memchr(name, ':', len))
		return family == AF_INET6 && inet_pton(AF_INET6, name, addr) == 1 ? 0
										  : HOST_NOT_FOUND;
	return -1;
}

int resolve_gethostbyname2_r(const char *name, int family, struct hostent *entry, char *buf,
	size_t size, struct hostent **result, int *h_error)
{
	struct arena arena = {buf, size};
	struct resolve_names names;
	_Alignas(4) u8 addr[16];
	int error;

	*result = NULL;
	if (family != AF_INET && family != AF_INET6) {
		*h_error = NO_DATA;
		return errno = EAFNOSUPPORT;
	}
	error = numeric(name, family, addr);
	if (error > 0 || strlen(name) >= sizeof(names.name))
		return fail(HOST_NOT_FOUND, h_error);
	if (!error) {
		names.aliases = 0;
		strcpy(names.name, name);
		if (!lay_out(&names, addr, 1, family, entry, &arena))
			return too_small(h_error);
	} else {
		error = resolve_names_forward(name, &names);
		if (error || family == AF_INET6)
			return fail(error ? error : NO_DATA, h_error);
		if (!lay_out(&names, names.addr, names.addrs, family, entry, &arena))
			return too_small(h_error);
	}
	*result = entry;
	*h_error = NETDB_SUCCESS;
	return 0;
}

int resolve_gethostbyaddr_r(const void *addr, socklen_t len, int family, struct hostent *entry,
	char *buf, size_t size, struct hostent **result, int *h_error)
{
	struct arena arena = {buf, size};
	struct resolve_names names;
	struct addr key = {.family = FAMILY_INET6};
	int error;

	*result = NULL;
	if ((family != AF_INET || len != 4) && (family != AF_INET6 || len != 16)) {
		*h_error = NETDB_INTERNAL;
		return errno = family == AF_INET || family == AF_INET6 ? EINVAL : EAFNOSUPPORT;
	}
	if (family == AF_INET) {
		struct in_addr in;

		memcpy(&in, addr, sizeof(in));
		key = addr_v4(ntohl(in.s_addr));
	} else {
		memcpy(key.b, addr, sizeof(key.b));
	}
	if (family == AF_INET6 && addr_is_any(&key)) {
		*h_error = HOST_NOT_FOUND;
		return errno = ENOENT;
	}
	error = resolve_names_reverse(&key, &names);
	if (error)
		return fail(error, h_error);
	if (!lay_out(&names, addr, 1, family, entry, &arena))
		return too_small(h_error);
	*result = entry;
	*h_error = NETDB_SUCCESS;
	return 0;
}

/* The functions that are not re-entrant answer in one place, as their contract has it. */
static struct hostent static_entry;
static char static_buf[8192];

struct hostent *resolve_gethostbyname2(const char *name, int family)
{
	struct hostent *result;
	int h_error;

	resolve_gethostbyname2_r(
		name, family, &static_entry, static_buf, sizeof(static_buf), &result, &h_error);
	if (!result)
		h_errno = h_error;
	return result;
}

struct hostent *resolve_gethostbyaddr(const void *addr, socklen_t len, int family)
{
	struct hostent *result;
	int h_error;

	resolve_gethostbyaddr_r(addr, len, family, &static_entry, static_buf, sizeof(static_buf),
		&result, &h_error);
	if (!result)
		h_errno = h_error;
	return result;
}
