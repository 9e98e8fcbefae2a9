/* The socket layer as a whole: random calls on many sockets must leave nothing behind, with and
 * without memory. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "stack/linux.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"
#include "tests/lib/sock_lib.h"

enum { SOCKS = 24, HOGS = 20000, LO = 0x7f000001 };

static struct stack *s;
static ref sk[SOCKS];
static ref hog[HOGS];
static u32 hogs;
static u64 seed;
static u8 buf[70000];

static u32 below(u32 bound)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (u32)((seed >> 33) % bound);
}

/* Mostly where somebody is. */
static struct endpoint some_endpoint(void)
{
	static const u32 ips[] = {NET_HOST, NET_PEER, 0, 0xe1020304, 0x0a0000ff, 0x7f000002};
	u32 ip = below(4) ? LO : ips[below(ARRAY_LEN(ips))];
	struct endpoint e = {.addr = addr_v4(ip), .port = (u16)(5000 + below(3))};

	if (below(20) == 0)
		e = (struct endpoint){0};
	return e;
}

/* A new socket, often already useful. */
static ref open_some(void)
{
	int error;
	ref r = sock_open(s, FAMILY_INET, 1 + (int)below(2), 0, &error);
	struct endpoint e = some_endpoint();

	if (below(2))
		sock_lib_set(s, r, LX_SOL_SOCKET, LX_SO_REUSEADDR, 1);
	if (below(8) == 0)
		sock_lib_set(s, r, LX_SOL_SOCKET, LX_SO_RCVBUFFORCE, 64 << 20);
	switch (below(3)) {
	case 0:
		sock_lib_bind(s, r, below(2) ? 0 : LO, e.port);
		sock_listen(s, r, 3);
		break;
	case 1:
		sock_connect(s, r, &e);
		break;
	}
	return r;
}

static void do_option(ref r)
{
	static const int levels[] = {LX_SOL_SOCKET, LX_SOL_IP, LX_SOL_TCP, LX_SOL_UDP};
	static const int values[] = {0, 1, 2, 100, 5000, -1};
	int level = levels[below(ARRAY_LEN(levels))], name = (int)below(110);
	u32 len = below(16);

	if (below(2)) {
		int v = values[below(ARRAY_LEN(values))];

		sock_setopt(s, r, level, name, &v, sizeof(v));
	} else {
		u8 out[SOCK_OPT_MAX] = {0};

		sock_getopt(s, r, level, name, out, &len);
	}
}

/* A membership or filter of the right size. */
static void do_group(ref r)
{
	static const int names[] = {LX_IP_ADD_MEMBERSHIP, LX_IP_DROP_MEMBERSHIP,
		LX_IP_ADD_SOURCE_MEMBERSHIP, LX_IP_DROP_SOURCE_MEMBERSHIP, LX_IP_BLOCK_SOURCE,
		LX_IP_UNBLOCK_SOURCE};
	u8 req[12];

	put32(req, 0xe1020304 + below(3));
	put32(req + 4, NET_HOST);
	put32(req + 8, 0x0a000001 + below(3));
	sock_setopt(s, r, LX_SOL_IP, names[below(ARRAY_LEN(names))], req, below(2) ? 12 : 8);
}

static void do_send(ref r)
{
	static const u32 flags[] = {
		0, 0, 0, LX_MSG_MORE, LX_MSG_OOB, LX_MSG_DONTWAIT, LX_MSG_CONFIRM};
	struct endpoint to = some_endpoint();
	struct plan plan;
	s64 n;

	sock_lib_plan(&plan);
	plan.flags = flags[below(ARRAY_LEN(flags))];
	if (below(2))
		plan.to = to;
	if (below(10) == 0)
		plan.meta.gso_size = 1 + below(2000);
	n = sock_send_reserve(s, r, &plan, below(3) ? below(3000) : below(70000));
	if (n < 0)
		return;
	/* Between the two steps anything may happen to the socket; the thread may die. */
	if (below(30) == 0)
		sock_close(s, r);
	if (below(10) == 0)
		sock_plan_drop(s, &plan);
	else
		sock_send_commit(s, &plan, (u32)n);
}

static void do_recv(ref r)
{
	static const u32 flags[] = {
		0, 0, LX_MSG_PEEK, LX_MSG_TRUNC, LX_MSG_OOB, LX_MSG_ERRQUEUE, LX_MSG_DONTWAIT};
	struct plan plan = {.flags = flags[below(ARRAY_LEN(flags))]};
	s64 n = sock_recv_take(s, r, &plan, below(2) ? sizeof(buf) : below(100), 1 + below(2));
	u64 sum = 0;

	if (n < 0)
		return;
	for (u32 i = 0; i < plan.count; i++) {
		ck_assert_ptr_nonnull(sock_span(s, &plan.span[i]));
		memcpy(buf, sock_span(s, &plan.span[i]), plan.span[i].len);
		sum += plan.span[i].len;
	}
	ck_assert_uint_eq(sum, (u64)n);
	if (below(30) == 0)
		sock_close(s, r);
	if (below(10) == 0)
		sock_plan_drop(s, &plan);
	else
		sock_recv_commit(s, &plan, (u32)n);
}

static void do_connection(ref r, u32 i)
{
	struct endpoint e = some_endpoint();
	int error;
	ref child;

	switch (below(5)) {
	case 0:
		sock_bind(s, r, &e);
		break;
	case 1:
		sock_connect(s, r, &e);
		break;
	case 2:
		sock_listen(s, r, (int)below(4));
		break;
	case 3:
		child = sock_accept(s, r, &error);
		if (child) {
			sock_close(s, sk[(i + 1) % SOCKS]);
			sk[(i + 1) % SOCKS] = child;
		}
		break;
	default:
		sock_shutdown(s, r, (int)below(4));
	}
}

static void do_call(u32 i)
{
	ref r = sk[i];
	u32 events;

	switch (below(12)) {
	case 0:
		if (r && below(3))
			break;
		sock_close(s, r);
		sk[i] = open_some();
		break;
	case 1:
		do_option(r);
		break;
	case 2:
		do_group(r);
		break;
	case 3:
	case 4:
	case 5:
		do_connection(r, i);
		break;
	case 6:
	case 7:
	case 8:
		do_send(r);
		break;
	case 9:
	case 10:
		do_recv(r);
		break;
	default:
		sock_poll(s, r);
		sock_error(s, r);
		while (stack_changed(s, &events))
			;
	}
}

/* Takes all packets that there are, or gives some back. */
static void hog_take(void)
{
	static const u32 sizes[] = {60000, 10000, 100};
	ref r;

	for (u32 i = 0; i < ARRAY_LEN(sizes); i++)
		while (hogs < HOGS && (r = pkt_alloc(s, sizes[i])) != 0)
			hog[hogs++] = r;
}

static void hog_give(u32 n)
{
	for (; n && hogs; n--) {
		u32 i = below(hogs);

		pkt_release(s, hog[i]);
		hog[i] = hog[--hogs];
	}
}

static void run_calls(bool scarce, u32 calls)
{
	static const enum slab_kind kinds[] = {SLAB_SOCK, SLAB_TCP, SLAB_TCP_REQUEST,
		SLAB_TCP_TIMEWAIT, SLAB_PORT, SLAB_MEMBERSHIP, SLAB_FRAME, SLAB_PKT_SMALL,
		SLAB_PKT_MEDIUM, SLAB_PKT_LARGE};

	s = engine_new_sized(NULL, scarce ? 28u << 20 : 64u << 20);
	memset(sk, 0, sizeof(sk));
	for (u32 n = 0; n < calls; n++) {
		if (scarce && below(100) == 0)
			hog_take();
		if (scarce && below(10) == 0)
			hog_give(below(30));
		do_call(below(SOCKS));
		if (below(50) == 0)
			engine_run(s, below(2000) * NS_PER_MS);
		if (below(5) == 0)
			engine_frames_drop(s);
	}
	hog_give(HOGS);
	ck_assert(!scarce || net_count(s, "no_memory") > 0);
	for (u32 i = 0; i < SOCKS; i++)
		sock_close(s, sk[i]);
	/* Orphans give up, TIME-WAIT ends, neighbours that do not answer are forgotten. */
	for (u32 i = 0; i < 40; i++) {
		engine_run(s, 60 * NS_PER_S);
		engine_frames_drop(s);
	}
	stack_tx_reclaim(s);
	ck_assert_uint_eq(net_count(s, "invariant"), 0);
	ck_assert_uint_eq(net_count(s, "stale_free"), 0);
	for (u32 i = 0; i < ARRAY_LEN(kinds); i++)
		ck_assert_msg(slab_in_use(s, kinds[i]) == 0, "kind %u: %u left, seed %d", kinds[i],
			slab_in_use(s, kinds[i]), 0);
	engine_free(s);
}

static u32 rounds(void)
{
	return getenv("LONG") ? 400 : 20;
}

START_TEST(sock_random_calls)
{
	for (u32 round = 0; round < rounds(); round++) {
		seed = round * 7919 + 1;
		run_calls(false, 3000);
	}
}
END_TEST

/* Attack J10: calls that find no memory give an errno and leave nothing behind. */
START_TEST(sock_random_calls_without_memory)
{
	for (u32 round = 0; round < rounds(); round++) {
		seed = round * 104729 + 3;
		run_calls(true, 3000);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, sock_random_calls);
	tcase_add_test(tc, sock_random_calls_without_memory);
}

int main(void)
{
	return check_lines_case("sock", 600, add_tests);
}
