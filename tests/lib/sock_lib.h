/* For tests of the engine: socket calls in one step, with the copies that the shim would make in
 * between. */
#ifndef TESTS_LIB_SOCK_LIB_H
#define TESTS_LIB_SOCK_LIB_H

#include "stack/stack.h"

/* Errors come back as negative errno, refs as they are. */
ref sock_lib_open(struct stack *s, int type); /* fails the program when there is none */
int sock_lib_bind(struct stack *s, ref sk, u32 ip, u16 port);
int sock_lib_connect(struct stack *s, ref sk, u32 ip, u16 port);
u16 sock_lib_port(struct stack *s, ref sk); /* local port */

/* ip 0 and port 0: to the peer. */
s64 sock_lib_send(struct stack *s, ref sk, u32 ip, u16 port, const void *data, u32 len, u32 flags);

/* The same with a plan that the caller has begun to fill in. */
void sock_lib_plan(struct plan *plan);
s64 sock_lib_send_plan(struct stack *s, ref sk, struct plan *plan, const void *data, u32 len);

/* plan may be NULL; else it holds source, destination and metadata afterwards. */
s64 sock_lib_recv(struct stack *s, ref sk, void *data, u32 len, u32 flags, struct plan *plan);

/* Options that are an int. */
int sock_lib_set(struct stack *s, ref sk, int level, int name, int value);
int sock_lib_get(struct stack *s, ref sk, int level, int name); /* or negative errno */

#endif
