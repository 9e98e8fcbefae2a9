/* Private to guard.c, call_signal.c and call_socket.c: the program's signal actions behind the
 * trampoline. */
#ifndef PRELOAD_GUARD_SIGNAL_H
#define PRELOAD_GUARD_SIGNAL_H

#include <signal.h>

/* From the first stack socket on: puts every handler of the program behind the trampoline.
 * Idempotent. */
void guard_install(void);

/* sigaction(2) as the program sees it: 0, or -1 with errno. */
int guard_sigaction(int sig, const struct sigaction *act, struct sigaction *old);

#endif
