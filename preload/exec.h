/*
 * New programs: what an exec, or a child that libc makes, needs so that inherited stack sockets go
 * on. Nothing here allocates or takes a lock of the process: a forked child of a threaded program
 * may be on its way to exec.
 */
#ifndef PRELOAD_EXEC_H
#define PRELOAD_EXEC_H

#include "stack/types.h"

/* What becomes of the library in a program. */
enum exec_fate {
	EXEC_LOADS,    /* it is loaded */
	EXEC_STRANGER, /* it is not, or does not see the program's system calls */
	EXEC_FOREIGN,  /* the program's loader would fail on it: LD_PRELOAD must not name it */
};

/*
 * Looks at a program file, as execveat(2) finds it. An enum exec_fate (EXEC_LOADS when it cannot
 * tell), or the negative errno that the exec will fail with. (exec_target.c)
 */
int exec_target(int dir, const char *path, int flags);

/* --- the environment (exec_env.c) --- */

/* Once, at the start of the program: keeps its LD_PRELOAD entry of this library and USTACK_*. */
void exec_env_keep(char *const *env);

struct exec_env {
	char *const *env; /* to pass on */
	void *memory;	  /* of the list, when it is not the program's own */
	size_t size;
	bool loads; /* it makes the loader load this library */
};

/*
 * The environment for a program: the one given, with what is missing of the kept put in unless
 * `follow_exec` is off, and without this library for an EXEC_FOREIGN one.
 */
void exec_env_make(struct exec_env *made, char *const *env, int fate);
/* The environment of this program as the library is to see it: with what has been scrubbed of the
 * kept. */
void exec_env_own(struct exec_env *made);
void exec_env_free(struct exec_env *made);

/* Whether something that was kept is missing in the environment: calls visit for each of them. */
void exec_env_missing(char *const *env, void (*visit)(const char *name, const char *value));

/* The library's file, by a path that holds wherever the program has gone; NULL if unknown. */
const char *exec_library(void);

/* --- the sockets (exec.c) --- */

/*
 * This process becomes the program: ties what it inherits, and has the keeper serve it when the
 * program will not load the library. lend: which numbers have been replaced for that, which
 * lend_undo takes back when the exec has failed.
 */
struct lend;
void exec_inherit(int fate, bool loads, struct lend *lend);

/*
 * A child that libc makes will be the program while this process goes on. The numbers in `given`
 * are moved to others in the child (-1 ends the list).
 */
void exec_inherit_child(int fate, bool loads, const int *given);

#endif
