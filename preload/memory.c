/*
 * How much memory the keeper may still take.
 *
 * A page of the region that is touched when the memory control group is full does not fail: the
 * kernel kills somebody. So under a limit nothing of the region is left to be allocated by being
 * touched, and before the keeper allocates more it looks what the groups above it leave. Files in
 * the page cache count as free: the kernel gives them up first. Where memory is not overcommitted
 * (vm.overcommit_memory = 2), touching a page may give SIGBUS; the same remedy applies.
 */
#include "preload/region.h"

#include <limits.h>
#include <stdio.h>

#define TEXT_BYTES 8192

/* Reads a small file; its length, 0 when there is none. */
static u32 memory_read(const char *folder, const char *name, char *text)
{
	char path[PATH_MAX];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s%s", folder, name);
	fd = raw_open(path, O_RDONLY | O_CLOEXEC, 0);
	n = fd < 0 ? 0 : raw_read(fd, text, TEXT_BYTES - 1);
	if (fd >= 0)
		raw_close(fd);
	text[MAX(n, 0)] = 0;
	return (u32)MAX(n, 0);
}

/* Decimal digits; UINT64_MAX when there are none, as in `max`. */
static u64 memory_number(const char *text)
{
	u64 value = 0;

	if (*text < '0' || *text > '9')
		return UINT64_MAX;
	for (; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (u64)(*text - '0');
	return value;
}

static u64 memory_stat(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, len) && line[len] == ' ')
			return memory_number(line + len + 1);
	}
	return 0;
}

/* What one group leaves, or UINT64_MAX. */
static u64 memory_left(const char *folder, bool v2)
{
	char text[TEXT_BYTES];
	u64 limit, used;

	if (!memory_read(folder, v2 ? "/memory.max" : "/memory.limit_in_bytes", text))
		return UINT64_MAX;
	limit = memory_number(text);
	if (limit >= (u64)INT64_MAX / 4096 * 4096)
		return UINT64_MAX;
	if (!memory_read(folder, v2 ? "/memory.current" : "/memory.usage_in_bytes", text))
		return UINT64_MAX;
	used = memory_number(text);
	if (memory_read(folder, "/memory.stat", text)) {
		u64 files = memory_stat(text, v2 ? "inactive_file" : "total_inactive_file") +
			    memory_stat(text, v2 ? "active_file" : "total_active_file");

		used -= MIN(used, files);
	}
	return limit - MIN(limit, used);
}

/* The group itself and those above it. */
static u64 memory_left_up(char *folder, size_t top, bool v2)
{
	u64 left = UINT64_MAX;

	for (;;) {
		char *slash = strrchr(folder, '/');
		u64 here = memory_left(folder, v2);

		left = MIN(left, here);
		if (strlen(folder) <= top || !slash)
			return left;
		*slash = 0;
	}
}

u64 memory_room(void)
{
	static const char mount[2][24] = {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"};
	char text[TEXT_BYTES], folder[TEXT_BYTES + 32];
	u64 left = UINT64_MAX, here;
	char *next;

	memory_read("", "/proc/self/cgroup", text);
	for (char *line = text; *line; line = next) {
		char *end = strchr(line, '\n'), *path = strchr(line, ':');
		bool v2 = !strncmp(line, "0::", 3);

		next = end ? end + 1 : line + strlen(line);
		if (end)
			*end = 0;
		path = path ? strchr(path + 1, ':') : NULL;
		if (!path || (!v2 && !strstr(line, ":memory:") && !strstr(line, ",memory")))
			continue;
		snprintf(folder, sizeof(folder), "%s%s", mount[v2],
			strcmp(path + 1, "/") ? path + 1 : "");
		here = memory_left_up(folder, strlen(mount[v2]), v2);
		left = MIN(left, here);
	}
	return left;
}

bool memory_limited(void)
{
	char text[TEXT_BYTES];

	if (memory_room() != UINT64_MAX)
		return true;
	memory_read("", "/proc/sys/vm/overcommit_memory", text);
	return text[0] == '2';
}
