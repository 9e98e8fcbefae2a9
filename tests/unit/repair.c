/*
 * A process dies somewhere within the engine: another repairs, and goes on.
 *
 * A child works on an engine in shared memory until it is killed at a moment that nothing
 * determines; this process repairs, and asks whether the invariants hold, new connections work, and
 * everything is given back in the end.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stack/tcp.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"
#include "tests/lib/sock_lib.h"

enum {
	STREAM = 1,
	DATAGRAM = 2,
	LISTEN_PORT = 80,
	UDP_PORT = 9,
	SOCKS = 12,
	LOOPBACK = 0x7f000001
};

#define REGION (64u << 20)

/* What the child and this process share beside the engine. */
struct shared {
	u32 rounds; /* of work that the child has done */
	ref listener, udp;
	struct plan plan; /* as in a thread's slot */
};

static u8 data[30000], frame[NET_FRAME_MAX];

static void *share(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	return p;
}

static struct stack *make(struct shared *shared)
{
	struct stack_config c = net_config();
	struct stack *s = stack_init(share(REGION), REGION, REGION, &c);

	ck_assert_ptr_nonnull(s);
	engine_run(s, 10 * NS_PER_S);
	engine_frames_drop(s);
	shared->listener = sock_lib_open(s, STREAM);
	ck_assert_int_eq(sock_lib_bind(s, shared->listener, 0, LISTEN_PORT), 0);
	ck_assert_int_eq(sock_listen(s, shared->listener, 50), 0);
	shared->udp = sock_lib_open(s, DATAGRAM);
	ck_assert_int_eq(sock_lib_bind(s, shared->udp, 0, UDP_PORT), 0);
	return s;
}

/* --- the child --- */

static void feed(struct stack *s, struct random *random)
{
	struct net_ip4 ip = {.id = (u16)random_below(random, 20),
		.src = NET_PEER + 256 * random_below(random, 4)};
	struct net_tcp tcp = {.sport = (u16)(5000 + random_below(random, 20)),
		.dport = LISTEN_PORT,
		.seq = 1000,
		.flags = 2,
		.window = 1000};
	u8 mac[6] = {2, 9, 9, 9, 9, (u8)random_below(random, 30)};

	switch (random_below(random, 5)) {
	case 0:
		engine_frame_in(s, frame, net_tcp(frame, &ip, &tcp, NULL, 0));
		return;
	case 1:
		engine_frame_in(s, frame,
			net_udp(frame, &ip, 5000, UDP_PORT, data, random_below(random, 1400)));
		return;
	case 2:
		ip.proto = PROTO_ICMP;
		ip.fragment = (u16)(random_below(random, 4) * 100 | 0x2000);
		engine_frame_in(s, frame, net_ip4(frame, &ip, data, 800));
		return;
	case 3:
		engine_frame_in(s, frame,
			net_arp(frame, net_everybody, 1, mac, NET_PEER + mac[5], net_host_mac,
				NET_HOST));
		return;
	default:
		engine_frame_in(s, frame, net_icmp(frame, &ip, 8, 0, 1, data, 500));
	}
}

static void transfer(struct stack *s, struct shared *shared, struct random *random, ref sk)
{
	s64 n;

	memset(&shared->plan, 0, sizeof(shared->plan));
	if (random_below(random, 2)) {
		n = sock_send_reserve(s, sk, &shared->plan, random_below(random, sizeof(data)));
		if (n >= 0 && shared->plan.kind)
			sock_send_commit(s, &shared->plan, (u32)random_below(random, (u32)n + 1));
	} else {
		n = sock_recv_take(s, sk, &shared->plan, random_below(random, sizeof(data)), 1);
		if (n >= 0 && shared->plan.kind)
			sock_recv_commit(s, &shared->plan, (u32)random_below(random, (u32)n + 1));
	}
}

/* Sockets come, connect, talk and go, over the loopback and to the link, while time passes. */
static void work(struct stack *s, struct shared *shared, u32 seed)
{
	struct random random;
	ref socks[SOCKS] = {0};
	u8 key[16] = {(u8)seed, (u8)(seed >> 8)};
	u32 events;
	int error;

	random_seed(&random, key);
	for (;; __atomic_add_fetch(&shared->rounds, 1, __ATOMIC_RELAXED)) {
		u32 i = random_below(&random, SOCKS);

		if (!socks[i] && random_below(&random, 2)) {
			socks[i] = sock_accept(s, shared->listener, &error);
		} else if (!socks[i]) {
			socks[i] = sock_lib_open(s, random_below(&random, 4) ? STREAM : DATAGRAM);
			sock_lib_connect(s, socks[i],
				random_below(&random, 4) ? LOOPBACK : NET_PEER + 77,
				sock_get(s, socks[i])->type == STREAM ? LISTEN_PORT : UDP_PORT);
		} else if (random_below(&random, 10)) {
			transfer(s, shared, &random, socks[i]);
		} else {
			sock_close(s, socks[i]);
			socks[i] = 0;
		}
		transfer(s, shared, &random, shared->udp);
		feed(s, &random);
		stack_run_loopback(s);
		stack_clock(s, s->now_ns + random_below(&random, 50) * NS_PER_MS);
		stack_advance(s);
		while (stack_changed(s, &events))
			;
		if (!random_below(&random, 3))
			engine_frames_drop(s);
	}
}

static void work_until_killed(struct stack *s, struct shared *shared, struct random *random)
{
	u32 seed = (u32)random_u64(random), before = shared->rounds;
	struct timespec wait = {0, 1000 * (long)random_below(random, 1500)};
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		work(s, shared, seed);
		_exit(0);
	}
	while (__atomic_load_n(&shared->rounds, __ATOMIC_RELAXED) == before)
		;
	nanosleep(&wait, NULL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* --- afterwards --- */

static void repair(struct stack *s, struct shared *shared)
{
	stack_repair_begin(s);
	stack_repair_plan(s, &shared->plan);
	stack_repair_end(s);
	sock_plan_drop(s, &shared->plan);
	stack_run_loopback(s);
}

static void check_sockets(struct stack *s)
{
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);
		const char *broken = sk ? tcp_check(s, sk) : NULL;

		ck_assert_msg(!broken, "%s", broken);
	}
	ck_assert_uint_eq(net_count(s, "stale_free"), 0);
	ck_assert_uint_eq(net_count(s, "invariant"), 0);
}

static void drain_events(struct stack *s)
{
	u32 events, n = 0;

	while (stack_changed(s, &events))
		ck_assert_uint_lt(n++, 100000);
}

/* A connection over the loopback carries bytes, whatever waits in the listener's queue. */
static void check_transfer(struct stack *s, ref listener)
{
	ref a = sock_lib_open(s, STREAM), b = 0;
	u16 port;
	u32 got = 0;
	int error;

	ck_assert_int_eq(sock_lib_connect(s, a, LOOPBACK, LISTEN_PORT), -EINPROGRESS);
	port = sock_lib_port(s, a);
	for (u32 i = 0; i < 200 && !b; i++) {
		struct endpoint peer = {0};
		ref sk;

		engine_run(s, 100 * NS_PER_MS);
		while (!b && (sk = sock_accept(s, listener, &error))) {
			if (sock_peer(s, sk, &peer) == 0 && peer.port == port &&
				addr_get4(&peer.addr) == LOOPBACK)
				b = sk;
			else
				sock_close(s, sk);
		}
	}
	ck_assert_uint_ne(b, 0);
	ck_assert_int_eq(sock_lib_send(s, a, 0, 0, data, 20000, 0), 20000);
	for (u32 i = 0; i < 100 && got < 20000; i++) {
		s64 n = sock_lib_recv(s, b, frame, sizeof(frame), 0, NULL);

		if (n > 0) {
			ck_assert_mem_eq(frame, data + got, (size_t)n);
			got += (u32)n;
		}
		engine_run(s, 100 * NS_PER_MS);
	}
	ck_assert_uint_eq(got, 20000);
}

static void check_all_given_back(struct stack *s)
{
	static const enum slab_kind kinds[] = {SLAB_PKT_SMALL, SLAB_PKT_MEDIUM, SLAB_PKT_LARGE, SLAB_PKT_HUGE,
		SLAB_FRAME, SLAB_SOCK, SLAB_TCP, SLAB_TCP_REQUEST, SLAB_TCP_TIMEWAIT, SLAB_REASM,
		SLAB_PORT, SLAB_TASK};

	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk && !(sk->flags & SOCK_ORPHAN))
			sock_close(s, sk->conn.slab.self);
	}
	stack_run_loopback(s);
	for (u32 minute = 0; minute < 60; minute++) {
		engine_run(s, 60 * NS_PER_S);
		engine_frames_drop(s);
	}
	for (u32 i = 0; i < ARRAY_LEN(kinds); i++)
		ck_assert_msg(!slab_in_use(s, kinds[i]), "%u objects of kind %u left",
			slab_in_use(s, kinds[i]), kinds[i]);
	ck_assert_uint_eq(s->conns.entries, 0);
	ck_assert_uint_eq(s->ports.entries, 0);
	ck_assert_uint_eq(s->reasm_bytes, 0);
	ck_assert_uint_eq(s->neigh_queued, 0);
}

START_TEST(repair_of_a_whole_engine_changes_nothing)
{
	struct shared *shared = share(sizeof(*shared));
	struct stack *s = make(shared);
	u64 reset;

	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 13 + i / 256);
	check_transfer(s, shared->listener);
	reset = net_count(s, "repair_reset");
	for (u32 i = 0; i < 10; i++) {
		repair(s, shared);
		check_sockets(s);
		drain_events(s);
		check_transfer(s, shared->listener);
	}
	ck_assert_uint_eq(net_count(s, "repair_reset"), reset);
	check_all_given_back(s);
}
END_TEST

START_TEST(repair_after_a_death_at_any_moment)
{
	u32 rounds = getenv("LONG") ? 3000 : 60;
	struct random random;
	u8 seed[16] = {(u8)_i, 'r'};

	random_seed(&random, seed);
	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 13 + i / 256);
	for (u32 round = 0; round < rounds; round++) {
		struct shared *shared = share(sizeof(*shared));
		struct stack *s = make(shared);

		/* The first repair is not the last. */
		for (u32 death = 0; death < 3; death++) {
			work_until_killed(s, shared, &random);
			repair(s, shared);
			check_sockets(s);
			drain_events(s);
			check_transfer(s, shared->listener);
		}
		check_all_given_back(s);
		munmap(s, REGION);
		munmap(shared, sizeof(*shared));
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_set_timeout(tc, getenv("LONG") ? 1800 : 120);
	tcase_add_test(tc, repair_of_a_whole_engine_changes_nothing);
	tcase_add_loop_test(tc, repair_after_a_death_at_any_moment, 0, 4);
}

int main(void)
{
	return check_lines_case("repair", 0, add_tests);
}
