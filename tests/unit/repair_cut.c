/*
 * A process dies at any instruction of an entry of the engine, and another repairs.
 *
 * A child carries out one operation instruction by instruction. Between two of them another child
 * takes what the host's memory holds at that moment, in pages of its own: it repairs, and asks
 * whether a connection that is none of the dead process's carries the rest of its bytes both ways,
 * whatever was being done to it; whether a new connection can be made; and whether everything is
 * given back in the end. LONG=1 cuts at one instruction in three, else at one of many.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stack/sock_memory.h"
#include "stack/tcp.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"
#include "tests/lib/sock_lib.h"

enum { STREAM = 1, DATAGRAM = 2, PORT = 80, CAUGHT = 64, TOTAL = 60000 };

#define REGION	 (64u << 20)
#define LOOPBACK 0x7f000001u
#define STEP_NS	 (10 * NS_PER_MS)
#define SLOW_NS	 (5 * NS_PER_MS) /* of a cut */

/* Shared with the child that dies, as threads' slots are. */
struct shared {
	u32 began, over;
	struct plan live, dead;
};

struct end {
	struct stack *s;
	ref sk;
	u32 seed, sent, got;
};

static struct world {
	int fd;
	struct stack *a, *b;	/* the host that is cut, and its peer */
	struct end end[2];	/* of the connection between them */
	ref listener, own, udp; /* of a; own: the dead process's */
	ref other;		/* own's peer in b */
	u64 aborted;		/* what has been lost is lost for both */
} w;
static struct shared *shared;
static struct {
	u32 len;
	u8 bytes[1600];
} caught[CAUGHT];
static u32 catches;
static u8 buffer[NET_FRAME_MAX];
static char why[200];

static u8 content(u32 seed, u32 at)
{
	u32 x = (at ^ seed) * 2654435761u;

	return (u8)(x >> 24 ^ x >> 11);
}

/* --- the wire --- */

static void pass(struct stack *from, struct stack *to)
{
	u32 len, events;

	while ((len = engine_frame_out(from, buffer, NULL)))
		engine_frame_in(to, buffer, len);
	while (stack_changed(from, &events))
		;
}

static void exchange(void)
{
	for (u32 i = 0; i < 1000 && (stack_tx_pending(w.a) || stack_tx_pending(w.b)); i++) {
		pass(w.a, w.b);
		pass(w.b, w.a);
	}
}

static void run(u64 ns)
{
	for (u64 t = 0; t < ns; t += STEP_NS) {
		engine_run(w.a, STEP_NS);
		engine_run(w.b, STEP_NS);
		exchange();
	}
}

/* Keeps the frames that a host has sent. */
static void catch (struct stack *from)
{
	u32 len;

	catches = 0;
	while ((len = engine_frame_out(from, buffer, NULL)) && catches < CAUGHT) {
		memcpy(caught[catches].bytes, buffer, len);
		caught[catches++].len = len;
	}
}

static void deliver(struct stack *to, u32 first, u32 end)
{
	for (u32 i = first; i < MIN(end, catches); i++)
		engine_frame_in(to, caught[i].bytes, caught[i].len);
}

/* --- the programs --- */

static u32 send_planned(struct end *e, struct plan *plan, s64 n)
{
	if (n <= 0)
		return 0;
	for (u32 i = 0, at = e->sent; i < plan->count; i++) {
		u8 *to = sock_span(e->s, &plan->span[i]);

		for (u32 k = 0; to && k < plan->span[i].len; k++)
			to[k] = content(e->seed, at++);
	}
	n = sock_send_commit(e->s, plan, (u32)n);
	e->sent += n > 0 ? (u32)n : 0;
	return n > 0 ? (u32)n : 0;
}

static u32 send_some(struct end *e, u32 most)
{
	static struct plan plan;

	sock_lib_plan(&plan);
	return send_planned(e, &plan, sock_send_reserve(e->s, e->sk, &plan, most));
}

/* False when something is wrong with what came. */
static bool receive_some(struct end *e, u32 seed)
{
	static u8 in[TOTAL];
	s64 n;

	while ((n = sock_lib_recv(e->s, e->sk, in, sizeof(in), 0, NULL)) > 0) {
		for (u32 i = 0; i < n; i++) {
			if (in[i] != content(seed, e->got + i)) {
				snprintf(why, sizeof(why), "byte %u is wrong", e->got + i);
				return false;
			}
		}
		e->got += (u32)n;
	}
	if (n < 0 && n != -EAGAIN) {
		snprintf(why, sizeof(why), "a receive gives %d after %u bytes", (int)n, e->got);
		return false;
	}
	return true;
}

/* --- the world --- */

static void world_make(void)
{
	struct stack_config c = net_config();
	struct addr peer = addr_v4(NET_PEER), host = addr_v4(NET_HOST);
	void *at;
	int error;

	w.fd = memfd_create("cut", 0);
	ck_assert_int_eq(ftruncate(w.fd, REGION), 0);
	at = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED, w.fd, 0);
	ck_assert_ptr_ne(at, MAP_FAILED);
	w.a = stack_init(at, REGION, REGION, &c);
	c.addr = peer;
	c.gateway = (struct addr){0};
	memcpy(c.mac, net_peer_mac, 6);
	c.seed[0]++;
	w.b = engine_new(&c);
	run(NS_PER_S);
	w.listener = sock_lib_open(w.a, STREAM);
	ck_assert_int_eq(sock_lib_bind(w.a, w.listener, 0, PORT), 0);
	ck_assert_int_eq(sock_listen(w.a, w.listener, 50), 0);
	w.udp = sock_lib_open(w.a, DATAGRAM);
	ck_assert_int_eq(sock_lib_bind(w.a, w.udp, 0, PORT), 0);
	for (u32 i = 0; i < 2; i++) {
		ref sk = sock_lib_open(w.b, STREAM), accepted;

		ck_assert_int_eq(sock_lib_connect(w.b, sk, NET_HOST, PORT), -EINPROGRESS);
		run(STEP_NS);
		accepted = sock_accept(w.a, w.listener, &error);
		ck_assert_uint_ne(accepted, 0);
		if (i == 0) {
			w.end[0] = (struct end){w.a, accepted, 1, 0, 0};
			w.end[1] = (struct end){w.b, sk, 2, 0, 0};
		} else {
			w.own = accepted;
			w.other = sk;
		}
	}
	neigh_confirm(w.a, &peer);
	neigh_confirm(w.b, &host);
	send_some(&w.end[0], 7000);
	send_some(&w.end[1], 9000);
	run(STEP_NS);
	receive_some(&w.end[0], 2);
	receive_some(&w.end[1], 1);
	run(10 * STEP_NS);
	memset(shared, 0, sizeof(*shared));
}

static void world_end(void)
{
	munmap(w.a, REGION);
	close(w.fd);
	engine_free(w.b);
}

/* --- what is done while the process dies --- */

struct scene {
	const char *name;
	void (*prepare)(void);
	void (*operate)(void);
	bool pending; /* what a thread that lives has reserved stays so until after the repair */
};

static void input(void)
{
	deliver(w.a, 0, catches);
}

static void data_comes(void)
{
	send_some(&w.end[1], 4000);
	catch (w.b);
}

static void small_data_comes(void)
{
	send_some(&w.end[1], 100);
	exchange();
	send_some(&w.end[1], 200);
	catch (w.b);
}

static void gap_comes(void)
{
	send_some(&w.end[1], 9000);
	catch (w.b);
	deliver(w.a, 0, 1);
	memmove(caught, caught + 2, (catches - 2) * sizeof(caught[0]));
	catches -= 2;
}

static void gap_is_filled(void)
{
	send_some(&w.end[1], 9000);
	catch (w.b);
	deliver(w.a, 0, 1);
	deliver(w.a, 2, 4);
	deliver(w.a, 5, catches);
	caught[0] = caught[1];
	caught[1] = caught[4];
	catches = 2;
}

static void overlap_comes(void)
{
	send_some(&w.end[1], 6000);
	catch (w.b);
	deliver(w.a, 0, 1);
	deliver(w.a, 3, 4);
	/* The same again from the start, as after a timeout. */
}

static void ack_comes(void)
{
	send_some(&w.end[0], 9000);
	pass(w.a, w.b);
	receive_some(&w.end[1], 1);
	catch (w.b);
}

static void part_is_acked(void)
{
	send_some(&w.end[0], 9000);
	catch (w.a);
	deliver(w.b, 0, 2);
	catch (w.b);
}

static void sack_comes(void)
{
	send_some(&w.end[0], 13000);
	catch (w.a);
	deliver(w.b, 0, 1);
	deliver(w.b, 2, 4);
	deliver(w.b, 5, catches);
	catch (w.b);
}

static void repeated_in_recovery(void)
{
	sack_comes();
	deliver(w.a, 0, catches);
	catch (w.a);
	deliver(w.b, 0, catches);
	catch (w.b);
}

static void fin_comes(void)
{
	send_some(&w.end[1], 2000);
	while (w.end[1].sent < TOTAL && send_some(&w.end[1], TOTAL - w.end[1].sent))
		run(STEP_NS), receive_some(&w.end[0], 2);
	sock_shutdown(w.b, w.end[1].sk, 1);
	catch (w.b);
}

static void syn_comes(void)
{
	sock_lib_connect(w.b, sock_lib_open(w.b, STREAM), NET_HOST, PORT);
	catch (w.b);
}

static void handshake_ends(void)
{
	syn_comes();
	input();
	pass(w.a, w.b);
	catch (w.b);
}

static void timeout_comes(void)
{
	send_some(&w.end[0], 9000);
	engine_frames_drop(w.a);
}

static void time_passes(void)
{
	stack_clock(w.a, w.a->now_ns + NS_PER_S);
	stack_advance(w.a);
}

static void nothing(void)
{
}

static void own_sends(void)
{
	sock_lib_plan(&shared->dead);
	if (sock_send_reserve(w.a, w.own, &shared->dead, 5000) > 0)
		sock_send_commit(w.a, &shared->dead, 5000);
	sock_lib_plan(&shared->dead);
	if (sock_send_reserve(w.a, w.own, &shared->dead, 300) > 0)
		sock_send_commit(w.a, &shared->dead, 200);
}

static void own_has_data(void)
{
	sock_lib_send(w.b, w.other, 0, 0, buffer, 5000, 0);
	exchange();
}

static void own_receives(void)
{
	for (u32 i = 0; i < 3; i++) {
		sock_lib_plan(&shared->dead);
		if (sock_recv_take(w.a, w.own, &shared->dead, 2000, 1) > 0)
			sock_recv_commit(w.a, &shared->dead, 1700);
	}
}

static void own_closes(void)
{
	sock_close(w.a, w.own);
}

static void own_opens(void)
{
	ref sk = sock_lib_open(w.a, STREAM), datagram = sock_lib_open(w.a, DATAGRAM);

	sock_lib_bind(w.a, sk, 0, 99);
	sock_listen(w.a, sk, 5);
	sock_lib_connect(w.a, datagram, NET_PEER, 7);
	sock_close(w.a, sk);
	sock_close(w.a, datagram);
}

static void own_accepts(void)
{
	int error;

	sock_accept(w.a, w.listener, &error);
}

static void connection_waits(void)
{
	handshake_ends();
	input();
	exchange();
}

/* Handshake, data and end over the loopback. */
static void own_loops(void)
{
	ref sk = sock_lib_open(w.a, STREAM), accepted;
	int error;

	sock_lib_connect(w.a, sk, LOOPBACK, PORT);
	accepted = sock_accept(w.a, w.listener, &error);
	sock_lib_send(w.a, sk, 0, 0, buffer, 3000, 0);
	sock_close(w.a, accepted);
	sock_close(w.a, sk);
}

static void own_datagrams(void)
{
	sock_lib_send(w.a, w.udp, LOOPBACK, PORT, buffer, 1000, 0);
	sock_lib_plan(&shared->dead);
	if (sock_recv_take(w.a, w.udp, &shared->dead, 2000, 1) > 0)
		sock_recv_commit(w.a, &shared->dead, 1000);
	sock_lib_send(w.a, w.udp, NET_PEER, PORT, buffer, 3000, 0);
}

static void frames_are_done(void)
{
	send_some(&w.end[0], 9000);
	catches = 0;
	while (stack_tx_pending(w.a)) {
		struct stack_piece pieces[FRAME_PIECES + 1];
		struct offload offload;
		int n = stack_tx_pieces(w.a, pieces, &offload);

		caught[catches].len = 0;
		for (int i = 0; i < n; i++) {
			memcpy(caught[catches].bytes + caught[catches].len, pieces[i].base,
				pieces[i].len);
			caught[catches].len += (u32)pieces[i].len;
		}
		stack_tx_done(w.a);
		catches++;
	}
	deliver(w.b, 0, catches);
	catch (w.b);
}

static void reclaim_and_input(void)
{
	stack_tx_reclaim(w.a);
	input();
}

static const struct scene scenes[] = {
	{"data", data_comes, input, true},
	{"small-data", small_data_comes, input, false},
	{"gap", gap_comes, input, false},
	{"gap-filled", gap_is_filled, input, true},
	{"overlap", overlap_comes, input, false},
	{"ack", ack_comes, input, true},
	{"ack-of-a-part", part_is_acked, input, true},
	{"sack", sack_comes, input, true},
	{"recovery", repeated_in_recovery, input, false},
	{"fin", fin_comes, input, false},
	{"syn", syn_comes, input, false},
	{"handshake", handshake_ends, input, true},
	{"timeout", timeout_comes, time_passes, false},
	{"send", nothing, own_sends, true},
	{"receive", own_has_data, own_receives, false},
	{"close", nothing, own_closes, false},
	{"close-unread", own_has_data, own_closes, false},
	{"open", nothing, own_opens, false},
	{"accept", connection_waits, own_accepts, false},
	{"loopback", nothing, own_loops, true},
	{"datagrams", nothing, own_datagrams, false},
	{"reclaim", frames_are_done, reclaim_and_input, true},
};

/* --- afterwards --- */

static bool repair(void)
{
	u64 tcp, udp;

	stack_repair_begin(w.a);
	stack_repair_plan(w.a, &shared->live);
	stack_repair_plan(w.a, &shared->dead);
	stack_repair_end(w.a);
	sock_plan_drop(w.a, &shared->dead);
	stack_run_loopback(w.a);
	sock_memory_count(w.a, &tcp, &udp);
	if (tcp != w.a->tcp_memory || udp != w.a->udp_memory) {
		snprintf(why, sizeof(why), "after the repair: memory of all sockets");
		return false;
	}
	for (u32 i = 0; i < slab_touched(w.a, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(w.a, SLAB_SOCK, i);
		const char *broken = sk ? tcp_check(w.a, sk) : NULL;

		if (broken) {
			snprintf(why, sizeof(why), "after the repair: %s", broken);
			return false;
		}
	}
	return true;
}

/* The rest of the bytes goes both ways over the connection. */
static bool connection_goes_on(void)
{
	struct end *a = &w.end[0], *b = &w.end[1];

	if (shared->live.kind == PLAN_SEND)
		send_planned(a, &shared->live, shared->live.bytes);
	for (u32 i = 0; i < 20000 && (a->got < TOTAL || b->got < TOTAL); i++) {
		if (a->sent < TOTAL)
			send_some(a, TOTAL - a->sent);
		if (b->sent < TOTAL)
			send_some(b, TOTAL - b->sent);
		if (!receive_some(a, 2) || !receive_some(b, 1))
			return false;
		run(STEP_NS);
	}
	if (a->got < TOTAL || b->got < TOTAL) {
		snprintf(why, sizeof(why), "stopped: %u and %u bytes received", a->got, b->got);
		return false;
	}
	return true;
}

static bool new_connection_works(void)
{
	ref sk = sock_lib_open(w.b, STREAM), accepted = 0;
	u16 port;
	int error;

	sock_lib_connect(w.b, sk, NET_HOST, PORT);
	port = sock_lib_port(w.b, sk);
	for (u32 i = 0; i < 2000 && !accepted; i++) {
		struct endpoint peer = {0};

		run(STEP_NS);
		accepted = sock_accept(w.a, w.listener, &error);
		if (accepted && (sock_peer(w.a, accepted, &peer) < 0 || peer.port != port))
			accepted = 0; /* one that was on its way before; closed in the end */
	}
	if (!accepted)
		snprintf(why, sizeof(why), "no new connection can be made");
	return accepted != 0;
}

static bool all_is_given_back(void)
{
	static const enum slab_kind kinds[] = {SLAB_PKT_SMALL, SLAB_PKT_MEDIUM, SLAB_PKT_LARGE, SLAB_PKT_HUGE,
		SLAB_FRAME, SLAB_SOCK, SLAB_TCP, SLAB_TCP_REQUEST, SLAB_TCP_TIMEWAIT, SLAB_PORT};

	for (u32 k = 0; k < 2; k++) {
		struct stack *s = k ? w.b : w.a;

		for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
			struct sock *sk = slab_at(s, SLAB_SOCK, i);

			if (sk && !(sk->flags & SOCK_ORPHAN))
				sock_close(s, sk->conn.slab.self);
		}
	}
	for (u32 i = 0; i < 20; i++) {
		exchange();
		engine_run(w.a, 60 * NS_PER_S);
		engine_run(w.b, 60 * NS_PER_S);
	}
	engine_frames_drop(w.a);
	for (u32 i = 0; i < ARRAY_LEN(kinds); i++) {
		if (slab_in_use(w.a, kinds[i])) {
			snprintf(why, sizeof(why), "%u objects of kind %u are left",
				slab_in_use(w.a, kinds[i]), kinds[i]);
			return false;
		}
	}
	if (net_count(w.a, "stale_free") || net_count(w.a, "invariant")) {
		snprintf(why, sizeof(why), "%u stale frees, %u broken invariants",
			(u32)net_count(w.a, "stale_free"), (u32)net_count(w.a, "invariant"));
		return false;
	}
	return true;
}

/* In a child: 0 when all is well after a death at this moment. */
static int look(void)
{
	void *copy = mmap(w.a, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, w.fd, 0);
	static struct shared mine;

	mine = *shared;
	shared = &mine;
	if (copy == w.a && repair() && connection_goes_on() && new_connection_works() &&
		all_is_given_back())
		return 0;
	return 1;
}

static u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * NS_PER_S + (u64)now.tv_nsec;
}

static bool cut(const char *scene, u32 instruction)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		int bad;

		alarm(20);
		bad = look();
		if (bad)
			printf("# %s cut at instruction %u: %s\n", scene, instruction, why);
		fflush(stdout);
		_exit(bad);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		printf("# %s cut at instruction %u: signal %d\n", scene, instruction,
			WTERMSIG(status));
	fflush(stdout);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static pid_t start(const struct scene *scene)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		shared->began = 1;
		scene->operate();
		shared->over = 1;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return pid;
}

START_TEST(repair_after_a_cut)
{
	const struct scene *scene = &scenes[_i];
	u32 every = getenv("LONG") ? 3 : 97, at = 0, next = 0, cuts = 0, bad = 0;
	const char *only = getenv("AT");
	int status;
	pid_t pid;

	world_make();
	scene->prepare();
	if (scene->pending) {
		sock_lib_plan(&shared->live);
		ck_assert_int_gt(sock_send_reserve(w.a, w.end[0].sk, &shared->live, 3000), 0);
	}
	pid = start(scene);
	while (!shared->over) {
		if (shared->began && (only ? at == (u32)atoi(only) : at >= next)) {
			u64 began = now_ns();

			cuts++;
			bad += !cut(scene->name, at);
			/* On a slow machine fewer of them. */
			next = at +
			       every * (getenv("LONG") ? 1
						       : 1 + (u32)((now_ns() - began) / SLOW_NS));
		}
		at += shared->began;
		ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, pid, 0, 0), 0);
		waitpid(pid, &status, 0);
		ck_assert(WIFSTOPPED(status));
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	world_end();
	ck_assert_msg(bad == 0, "%s: %u of %u cuts in %u instructions", scene->name, bad, cuts, at);
}
END_TEST

static void setup(void)
{
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
}

static void add_tests(TCase *tc)
{
	tcase_set_timeout(tc, getenv("LONG") ? 1800 : 120);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, repair_after_a_cut, 0, ARRAY_LEN(scenes));
}

int main(void)
{
	return check_lines_case("repair", 0, add_tests);
}
