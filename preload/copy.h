/*
 * Copying between the program's memory and ours, where a bad pointer is an error and not a crash
 * (guard_copy of guard.h).
 */
#ifndef PRELOAD_COPY_H
#define PRELOAD_COPY_H

#include <stdbool.h>

/*
 * For the handlers of SIGSEGV and SIGBUS, before anything else: when the fault happened inside
 * guard_copy, makes it return -EFAULT as soon as the handler returns, and answers true.
 * Async-signal-safe.
 */
bool copy_fault(void *ucontext);

#endif
