/*
 * Interposed: exec in every form, and the children that libc makes by itself (posix_spawn, system,
 * popen), which no other interposed call sees.
 *
 * Before the program changes, its file is looked at (exec_target.c), its environment completed
 * (exec_env.c), and what it inherits is made to live on (exec.c). execvp's search of PATH is done
 * here, as libc's would not come by here again. At the start of a program the sockets that it was
 * given are claimed.
 */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <paths.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload/call.h"
#include "preload/exec.h"
#include "preload/export.h"
#include "preload/lend.h"
#include "preload/libc.h"
#include "preload/raw.h"
#include "preload/splice.h"
#include "preload/tether.h"

#define GIVEN_MAX 64 /* numbers in file actions at the same time, in the whole process */
#define SHELL	  _PATH_BSHELL

/* --- exec --- */

static int exec_at(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	int fate = exec_target(dir, path, flags), error;
	struct exec_env made;
	struct lend lend;

	exec_env_make(&made, envp, fate);
	exec_inherit(fate, made.loads, &lend);
	if (dir == AT_FDCWD && !flags)
		libc.execve(path, argv, made.env);
	else
		libc.execveat(dir, path, argv, made.env, flags);
	error = errno;
	lend_undo(&lend);
	exec_env_free(&made);
	errno = error;
	return -1;
}

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	return exec_at(AT_FDCWD, path, argv, envp, 0);
}

EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	return exec_at(dir, path, argv, envp, flags);
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	if (fd < 0 || !envp) {
		errno = EINVAL;
		return -1;
	}
	return exec_at(fd, "", argv, envp, AT_EMPTY_PATH);
}

EXPORT int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

/* A file that the kernel does not know is the shell's. */
static int exec_or_shell(const char *path, char *const argv[], char *const envp[])
{
	size_t n = 0;

	execve(path, argv, envp);
	if (errno != ENOEXEC)
		return -1;
	while (argv[n])
		n++;
	{
		char *args[n + 3];

		args[0] = (char *)(uintptr_t)SHELL;
		args[1] = (char *)(uintptr_t)path;
		args[2] = NULL;
		if (n > 1)
			memcpy(args + 2, argv + 1, n * sizeof(args[0]));
		execve(SHELL, args, envp);
	}
	return -1;
}

/* The next place of PATH with the file's name behind; false at the end. */
static bool search_next(const char **path, const char *file, char *found)
{
	size_t file_len = strlen(file), n;

	while (*path) {
		const char *start = *path;

		n = strcspn(start, ":");
		*path = start[n] ? start + n + 1 : NULL;
		if (n + 1 + file_len >= PATH_MAX)
			continue;
		memcpy(found, start, n);
		if (n)
			found[n++] = '/';
		memcpy(found + n, file, file_len + 1);
		return true;
	}
	return false;
}

static const char *search_path(void)
{
	const char *path = getenv("PATH");

	return path ? path : "/bin:/usr/bin";
}

/* True for the errors after which the search goes on. */
static bool search_goes_on(int error)
{
	return error == EACCES || error == ENOENT || error == ESTALE || error == ENOTDIR ||
	       error == ENODEV || error == ETIMEDOUT;
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	char found[PATH_MAX];
	const char *path = search_path();
	bool refused = false;

	if (!*file) {
		errno = ENOENT;
		return -1;
	}
	if (strchr(file, '/'))
		return exec_or_shell(file, argv, envp);
	if (strlen(file) > NAME_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	errno = ENOENT;
	while (search_next(&path, file, found)) {
		exec_or_shell(found, argv, envp);
		if (!search_goes_on(errno))
			return -1;
		refused |= errno == EACCES;
	}
	if (refused)
		errno = EACCES;
	return -1;
}

EXPORT int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

static size_t count_args(va_list args)
{
	size_t n = 1;

	while (va_arg(args, const char *))
		n++;
	return n;
}

/* argv[0] to the NULL. */
static void take_args(char **argv, const char *first, va_list args)
{
	*argv++ = (char *)(uintptr_t)first;
	while ((*argv++ = va_arg(args, char *))) {
	}
}

#define EXECL(name, call, before_end)                                                              \
	EXPORT int name(const char *file, const char *first, ...)                                  \
	{                                                                                          \
		va_list args;                                                                      \
		size_t n;                                                                          \
                                                                                                   \
		va_start(args, first);                                                             \
		n = count_args(args);                                                              \
		va_end(args);                                                                      \
		{                                                                                  \
			char *argv[n + 1];                                                         \
			char *const *envp = environ;                                               \
                                                                                                   \
			va_start(args, first);                                                     \
			take_args(argv, first, args);                                              \
			before_end;                                                                \
			va_end(args);                                                              \
			return call(file, argv, envp);                                             \
		}                                                                                  \
	}
EXECL(execl, execve, (void)0)
EXECL(execlp, execvpe, (void)0)
EXECL(execle, execve, envp = va_arg(args, char *const *))

/* --- children that libc makes --- */

/* The numbers that file actions move in the child. A list with owner 0 is free. */
static struct given {
	const posix_spawn_file_actions_t *owner;
	int fd;
} given[GIVEN_MAX];

static void given_forget(const posix_spawn_file_actions_t *owner)
{
	for (u32 i = 0; i < GIVEN_MAX; i++) {
		const posix_spawn_file_actions_t *mine = owner;

		__atomic_compare_exchange_n(
			&given[i].owner, &mine, NULL, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	}
}

static void given_add(const posix_spawn_file_actions_t *owner, int fd)
{
	for (u32 i = 0; i < GIVEN_MAX; i++) {
		const posix_spawn_file_actions_t *none = NULL;

		if (!__atomic_compare_exchange_n(&given[i].owner, &none, owner, false,
			    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			continue;
		__atomic_store_n(&given[i].fd, fd, __ATOMIC_RELEASE);
		return;
	}
}

static const int *given_list(const posix_spawn_file_actions_t *owner, int list[GIVEN_MAX + 1])
{
	u32 count = 0;

	for (u32 i = 0; owner && i < GIVEN_MAX; i++) {
		if (__atomic_load_n(&given[i].owner, __ATOMIC_ACQUIRE) == owner)
			list[count++] = __atomic_load_n(&given[i].fd, __ATOMIC_ACQUIRE);
	}
	list[count] = -1;
	return list;
}

EXPORT int posix_spawn_file_actions_init(posix_spawn_file_actions_t *actions)
{
	libc_need();
	given_forget(actions);
	return libc.posix_spawn_file_actions_init(actions);
}

EXPORT int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t *actions)
{
	libc_need();
	given_forget(actions);
	return libc.posix_spawn_file_actions_destroy(actions);
}

EXPORT int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int from, int to)
{
	int ret;

	libc_need();
	ret = libc.posix_spawn_file_actions_adddup2(actions, from, to);
	if (ret == 0 && host_up())
		given_add(actions, from);
	return ret;
}

/* The first file of PATH that can be run. */
static int search_target(const char *file)
{
	char found[PATH_MAX];
	const char *path = search_path();
	int fate = -ENOENT;

	if (strchr(file, '/'))
		return exec_target(AT_FDCWD, file, 0);
	if (strlen(file) > NAME_MAX)
		return -ENAMETOOLONG;
	while (fate < 0 && search_next(&path, file, found))
		fate = exec_target(AT_FDCWD, found, 0);
	return fate;
}

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *,
	const posix_spawnattr_t *, char *const[], char *const[]);

static int spawn(spawn_function *call, int fate, pid_t *pid, const char *path,
	const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
	char *const argv[], char *const envp[])
{
	int list[GIVEN_MAX + 1], ret, error = errno;
	struct exec_env made;

	exec_env_make(&made, envp, fate);
	exec_inherit_child(fate, made.loads, given_list(actions, list));
	errno = error;
	ret = call(pid, path, actions, attributes, argv, made.env);
	error = errno;
	exec_env_free(&made);
	errno = error;
	return ret;
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	libc_need();
	return spawn(libc.posix_spawn, exec_target(AT_FDCWD, path, 0), pid, path, actions,
		attributes, argv, envp);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	libc_need();
	return spawn(
		libc.posix_spawnp, search_target(file), pid, file, actions, attributes, argv, envp);
}

static void put_back(const char *name, const char *value)
{
	setenv(name, value, 1);
}

/* Before libc runs the shell with the program's own environment. */
static void before_shell(void)
{
	int error = errno;

	libc_need();
	exec_env_missing(environ, put_back);
	exec_inherit_child(exec_target(AT_FDCWD, SHELL, 0), true, NULL);
	errno = error;
}

EXPORT int system(const char *command)
{
	libc_need();
	if (command)
		before_shell();
	return libc.system(command);
}

EXPORT FILE *popen(const char *command, const char *mode)
{
	FILE *f;

	before_shell();
	f = libc.popen(command, mode);
	if (f)
		call_opened(fileno(f));
	return f;
}

/* --- a new program --- */

/*
 * C++ streams keep stdin, stdout and stderr as they were when the first library that uses them was
 * initialised. If that was before this one, the keeper has to move the bytes.
 */
static bool streams_begun(void)
{
	void *const *cout = dlsym(RTLD_DEFAULT, "_ZSt4cout");

	return cout && *cout;
}

__attribute__((constructor(102))) static void exec_begin(int argc, char **argv, char **env)
{
	(void)argc;
	(void)argv;
	exec_env_keep(env);
	tether_claim_all();
	for (int fd = 0; fd < 3; fd++) {
		ref sk = fdtable_sock(fd);

		if (!sk || !streams_begun())
			continue;
		guard_enter();
		splice_begin(fd, sk);
		guard_leave(false);
	}
}
