/*
 * The environment of new programs.
 *
 * What this program was started with is kept from the start (the program may overwrite the memory
 * of its environment): the entry of LD_PRELOAD that names this library, and the variables USTACK_*.
 * An environment that a program makes for another one gets what it lacks of them, unless
 * `follow_exec` is off. A library that was named by a relative path is named by its full one from
 * then on.
 */
#include "preload/exec.h"

#include <dlfcn.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "preload/config.h"
#include "preload/raw.h"

#define PRELOAD	     "LD_PRELOAD="
#define PRELOAD_LEN  11
#define SETTINGS     "USTACK_"
#define SETTINGS_LEN 7
#define KEPT_MAX     64
#define SEPARATORS   ": " /* of the entries of LD_PRELOAD */

static const char env_here[] = ""; /* an address in this library */

static struct {
	const char *file;  /* the library */
	const char *given; /* its entry in LD_PRELOAD; NULL when something else loads it */
	const char *entry; /* the same as it is passed on */
	u32 count;
	const char *setting[KEPT_MAX]; /* NAME=VALUE */
} kept;

const char *exec_library(void)
{
	return kept.file;
}

static size_t env_name_len(const char *variable)
{
	return strcspn(variable, "=") + 1; /* with the = */
}

/* The variable of the same name, or NULL. */
static const char *env_find(char *const *env, const char *variable)
{
	size_t n = env_name_len(variable);

	for (; env && *env; env++) {
		if (!strncmp(*env, variable, n))
			return *env;
	}
	return NULL;
}

/* --- the entries of LD_PRELOAD --- */

/* The next entry at or behind *list: its length, 0 at the end. */
static size_t preload_next(const char **list)
{
	*list += strspn(*list, SEPARATORS);
	return strcspn(*list, SEPARATORS);
}

static bool preload_is(const char *entry, size_t n, const char *name)
{
	return name && strlen(name) == n && !memcmp(entry, name, n);
}

/* Its base name is that of this library's file. */
static bool preload_is_ours(const char *entry, size_t n, const char *file)
{
	const char *base = strrchr(file, '/');
	size_t len;

	base = base ? base + 1 : file;
	len = strlen(base);
	return n >= len && !memcmp(entry + n - len, base, len) &&
	       (n == len || entry[n - len - 1] == '/');
}

static bool preload_has(const char *list, const char *name)
{
	size_t n;

	for (; (n = preload_next(&list)); list += n) {
		if (preload_is(list, n, name))
			return true;
	}
	return false;
}

/* --- what is kept --- */

static char *env_copy(char **to, const char *text, size_t n)
{
	char *copy = *to;

	memcpy(copy, text, n);
	copy[n] = 0;
	*to += n + 1;
	return copy;
}

/* As env_copy; a relative path becomes a full one. */
static char *env_copy_path(char **to, const char *path, size_t n)
{
	char *copy = *to;
	long cwd;

	if (*path == '/' || !memchr(path, '/', n))
		return env_copy(to, path, n);
	cwd = raw_syscall2(SYS_getcwd, (long)copy, PATH_MAX); /* its length, with the NUL */
	if (cwd <= 0 || *copy != '/')
		return env_copy(to, path, n);
	copy[cwd - 1] = '/';
	memcpy(copy + cwd, path, n);
	copy[cwd + (long)n] = 0;
	*to += cwd + (long)n + 1;
	return copy;
}

/* Of the library's entry in LD_PRELOAD. */
static void env_keep_preload(char **to, const char *list)
{
	size_t n;

	for (; (n = preload_next(&list)); list += n) {
		if (!preload_is_ours(list, n, kept.file))
			continue;
		kept.given = env_copy(to, list, n);
		kept.entry = env_copy_path(to, list, n);
		return;
	}
}

void exec_env_keep(char *const *env)
{
	const char *preload = env_find(env, PRELOAD);
	size_t size = 3 * PATH_MAX;
	Dl_info info;
	long memory;
	char *to;

	if (!dladdr(env_here, &info) || !info.dli_fname)
		return;
	size += strlen(info.dli_fname) + (preload ? 2 * strlen(preload) : 0);
	for (char *const *v = env; v && *v; v++)
		size += strncmp(*v, SETTINGS, SETTINGS_LEN) ? 0 : strlen(*v) + 1;
	memory = raw_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (raw_failed(memory))
		return;
	to = (char *)memory;
	kept.file = env_copy_path(&to, info.dli_fname, strlen(info.dli_fname));
	if (preload)
		env_keep_preload(&to, preload + PRELOAD_LEN);
	for (char *const *v = env; v && *v && kept.count < KEPT_MAX; v++) {
		if (!strncmp(*v, SETTINGS, SETTINGS_LEN))
			kept.setting[kept.count++] = env_copy(&to, *v, strlen(*v));
	}
}

/* --- what is passed on --- */

/* LD_PRELOAD with this library in front (wanted) or without it; NULL when nothing is left. */
static char *env_preload(char **to, const char *old, bool wanted)
{
	const char *list = old ? old + PRELOAD_LEN : "";
	char *made = *to, *end = made + PRELOAD_LEN;
	size_t n;

	memcpy(made, PRELOAD, PRELOAD_LEN);
	if (wanted) {
		n = strlen(kept.entry);
		memcpy(end, kept.entry, n);
		end += n;
	}
	for (; (n = preload_next(&list)); list += n) {
		if (preload_is(list, n, kept.given) || preload_is(list, n, kept.entry))
			continue;
		if (end > made + PRELOAD_LEN)
			*end++ = ':';
		memcpy(end, list, n);
		end += n;
	}
	if (end == made + PRELOAD_LEN)
		return NULL;
	*end = 0;
	*to = end + 1;
	return made;
}

static bool env_lacks(char *const *env)
{
	const char *preload = env_find(env, PRELOAD);

	if (kept.entry && !(preload && preload_has(preload + PRELOAD_LEN, kept.entry)))
		return true;
	for (u32 i = 0; i < kept.count; i++) {
		if (!env_find(env, kept.setting[i]))
			return true;
	}
	return false;
}

static bool env_follows(void)
{
	return config_get()->config.follow_exec;
}

/* Writes the list behind its strings. */
static void env_fill(struct exec_env *made, char *const *env, bool wanted)
{
	const char *old = env_find(env, PRELOAD);
	u32 count = 0;
	char **list = made->memory, *to, *preload;

	while (env && env[count])
		count++;
	to = (char *)(list + count + kept.count + 2);
	preload = env_preload(&to, old, wanted);
	if (preload)
		*list++ = preload;
	for (u32 i = 0; i < count; i++) {
		if (env[i] != old)
			*list++ = env[i];
	}
	for (u32 i = 0; wanted && i < kept.count; i++) {
		if (!env_find(env, kept.setting[i]))
			*list++ = (char *)(uintptr_t)kept.setting[i];
	}
	*list = NULL;
	made->env = made->memory;
}

/* A list of its own: with all that is kept (wanted), or without the library. */
static bool env_make(struct exec_env *made, char *const *env, bool wanted)
{
	const char *old = env_find(env, PRELOAD);
	u32 count = 0;
	long memory;

	while (env && env[count])
		count++;
	made->size = (count + kept.count + 2) * sizeof(char *) + strlen(kept.entry) + PRELOAD_LEN +
		     2 + (old ? strlen(old) : 0);
	memory = raw_mmap(
		NULL, made->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (raw_failed(memory))
		return false;
	made->memory = (void *)memory;
	env_fill(made, env, wanted);
	return true;
}

void exec_env_make(struct exec_env *made, char *const *env, int fate)
{
	const char *old = env_find(env, PRELOAD);
	bool named = old && (preload_has(old + PRELOAD_LEN, kept.entry) ||
				    preload_has(old + PRELOAD_LEN, kept.given));
	bool wanted = fate != EXEC_FOREIGN;

	/* Loaded without LD_PRELOAD: by /etc/ld.so.preload, as every program. */
	*made = (struct exec_env){.env = env, .loads = wanted && (named || !kept.given)};
	if (!kept.given || (wanted ? !env_lacks(env) || !env_follows() : !named))
		return;
	if (env_make(made, env, wanted))
		made->loads = wanted;
}

void exec_env_own(struct exec_env *made)
{
	*made = (struct exec_env){.env = environ};
	if (kept.given && env_lacks(environ))
		env_make(made, environ, true);
}

void exec_env_free(struct exec_env *made)
{
	if (made->memory)
		raw_munmap(made->memory, made->size);
}

/* The environment itself is not looked at after the first visit, which may change it. */
void exec_env_missing(char *const *env, void (*visit)(const char *name, const char *value))
{
	struct exec_env made;

	exec_env_make(&made, env, EXEC_LOADS);
	for (char *const *v = made.memory; v && *v; v++) {
		bool added = *v >= (char *)made.memory && *v < (char *)made.memory + made.size;
		size_t n = env_name_len(*v);
		char name[64];

		for (u32 i = 0; i < kept.count; i++)
			added |= *v == kept.setting[i];
		if (!added || n > sizeof(name))
			continue;
		memcpy(name, *v, n - 1);
		name[n - 1] = 0;
		visit(name, *v + n);
	}
	exec_env_free(&made);
}
