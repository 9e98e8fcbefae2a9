/*
 * Inside the shim: signal handlers that arrive meanwhile are recorded, and run when the call
 * leaves. Every interposed call that touches the host is bracketed by guard_enter and guard_leave;
 * they nest.
 */
#ifndef PRELOAD_GUARD_H
#define PRELOAD_GUARD_H

#include <stdbool.h>

void guard_enter(void);

/* Runs the recorded handlers when the outermost bracket closes, and honours a pending cancellation
 * when `cancel_point`. */
void guard_leave(bool cancel_point);

/* A handler is recorded: a blocking call gives up its wait. */
bool guard_pending(void);

/* Of the handlers recorded: all were installed with SA_RESTART, so the call is to be restarted
 * after they have run. */
bool guard_restart(void);

/*
 * Copies between memory of the program and ours; a bad pointer gives -EFAULT instead of a crash.
 * Never under the lock.
 */
int guard_copy(void *to, const void *from, unsigned long n);

#endif
