/* Socket calls in one step, for tests. */
#include "tests/lib/sock_lib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct endpoint endpoint_of(u32 ip, u16 port)
{
	return (struct endpoint){.addr = addr_v4(ip), .port = port};
}

ref sock_lib_open(struct stack *s, int type)
{
	int error;
	ref sk = sock_open(s, FAMILY_INET, type, 0, &error);

	if (!sk) {
		fprintf(stderr, "sock_open: %d\n", error);
		exit(1);
	}
	return sk;
}

int sock_lib_bind(struct stack *s, ref sk, u32 ip, u16 port)
{
	struct endpoint local = endpoint_of(ip, port);

	return sock_bind(s, sk, &local);
}

int sock_lib_connect(struct stack *s, ref sk, u32 ip, u16 port)
{
	struct endpoint remote = endpoint_of(ip, port);

	return sock_connect(s, sk, &remote);
}

u16 sock_lib_port(struct stack *s, ref sk)
{
	struct endpoint local = {0};

	sock_name(s, sk, &local);
	return local.port;
}

void sock_lib_plan(struct plan *plan)
{
	memset(plan, 0, sizeof(*plan));
	plan->meta.tos = plan->meta.ttl = -1;
}

s64 sock_lib_send_plan(struct stack *s, ref sk, struct plan *plan, const void *data, u32 len)
{
	s64 ret = sock_send_reserve(s, sk, plan, len);
	const char *from = data;

	if (ret < 0)
		return ret;
	for (u32 i = 0; i < plan->count; i++) {
		if (plan->span[i].len)
			memcpy(sock_span(s, &plan->span[i]), from, plan->span[i].len);
		from += plan->span[i].len;
	}
	return sock_send_commit(s, plan, (u32)ret);
}

s64 sock_lib_send(struct stack *s, ref sk, u32 ip, u16 port, const void *data, u32 len, u32 flags)
{
	struct plan plan;

	sock_lib_plan(&plan);
	plan.flags = flags;
	if (ip || port)
		plan.to = endpoint_of(ip, port);
	return sock_lib_send_plan(s, sk, &plan, data, len);
}

s64 sock_lib_recv(struct stack *s, ref sk, void *data, u32 len, u32 flags, struct plan *plan)
{
	struct plan own;
	char *to = data;
	s64 ret;

	if (!plan)
		plan = &own;
	memset(plan, 0, sizeof(*plan));
	plan->flags = flags;
	ret = sock_recv_take(s, sk, plan, len, 1);
	if (ret < 0)
		return ret;
	for (u32 i = 0; i < plan->count; i++) {
		memcpy(to, sock_span(s, &plan->span[i]), plan->span[i].len);
		to += plan->span[i].len;
	}
	return sock_recv_commit(s, plan, (u32)ret);
}

int sock_lib_set(struct stack *s, ref sk, int level, int name, int value)
{
	return sock_setopt(s, sk, level, name, &value, sizeof(value));
}

int sock_lib_get(struct stack *s, ref sk, int level, int name)
{
	u32 len = sizeof(int);
	int value = 0, ret = sock_getopt(s, sk, level, name, &value, &len);

	return ret < 0 ? ret : value;
}
