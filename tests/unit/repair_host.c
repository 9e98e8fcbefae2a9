/*
 * A process dies inside the lock of a host: what the library keeps in the region beside the engine
 * is put right, and what nobody names is given back. The device is `null:`.
 */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/epoll_set.h"
#include "preload/region.h"
#include "preload/wait.h"
#include "tests/lib/check_lines.h"

#define PORT 7

static struct config config;

static void setup(void)
{
	char name[64], why[CONFIG_WHY_MAX];

	snprintf(name, sizeof(name), "unit-repair-%d", getpid());
	setenv("USTACK_DEVICE", "null:", 1);
	setenv("USTACK_NAME", name, 1);
	ck_assert_int_eq(config_load(&config, environ, why, sizeof(why)), 0);
	ck_assert_int_eq(host_start(), 0);
}

static void teardown(void)
{
	char why[CONFIG_WHY_MAX];

	join_tell(&config, JOIN_END, why, sizeof(why));
}

static ref open_socket(u16 port)
{
	struct endpoint local = {.addr = addr_v4(0x7f000001), .port = port};
	struct stack *s = host_enter();
	int error;
	ref sk = sock_open(s, FAMILY_INET, SOCK_DGRAM, 0, &error);

	host_hold(s, sk);
	if (port)
		ck_assert_int_eq(sock_bind(s, sk, &local), 0);
	host_leave();
	return sk;
}

static void send_to(ref sk, u16 port)
{
	static struct plan plan;
	struct stack *s = host_enter();

	memset(&plan, 0, sizeof(plan));
	plan.to = (struct endpoint){.addr = addr_v4(0x7f000001), .port = port};
	plan.meta.tos = plan.meta.ttl = -1;
	ck_assert_int_eq(sock_send_reserve(s, sk, &plan, 10), 10);
	ck_assert_int_eq(sock_send_commit(s, &plan, 10), 10);
	host_leave();
}

/* A child runs this inside the lock and is killed there; the next one to enter repairs. */
static void die_inside(void (*run)(struct stack *s))
{
	u64 died = host_local.host->stats.owners_died;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		run(host_enter());
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
	host_enter();
	host_leave();
	ck_assert_uint_eq(host_local.host->stats.owners_died, died + 1);
}

static u32 in_use(enum slab_kind kind)
{
	u32 n = slab_in_use(host_enter(), kind);

	host_leave();
	return n;
}

static void await_in_use(enum slab_kind kind, u32 count)
{
	for (int i = 0; i < 2000 && in_use(kind) != count; i++)
		usleep(1000);
	ck_assert_uint_eq(in_use(kind), count);
}

static void nothing(struct stack *s)
{
	(void)s;
}

/* The driver reads into its buffers without the lock. */
START_TEST(repair_keeps_the_buffers_of_the_driver)
{
	struct rx_set *set = &host_local.host->rx[2];
	struct stack *s = host_enter();

	for (u32 i = 0; i < RX_BATCH - 1; i++)
		set->buffer[i] = stack_rx_alloc(s);
	host_leave();
	die_inside(nothing);
	s = host_enter();
	for (u32 i = 0; i < RX_BATCH - 1; i++) {
		ck_assert_ptr_nonnull(pkt_get(s, set->buffer[i]));
		ck_assert_uint_eq(pkt_get(s, set->buffer[i])->refs, 1);
	}
	ck_assert_uint_eq(set->buffer[RX_BATCH - 1], 0);
	host_leave();
}
END_TEST

static ref waited_for;

static void forget_waiters(struct stack *s)
{
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk)
			sk->waiters = sk->watch_items = 0;
	}
	for (u32 i = 0; i < slab_touched(s, SLAB_EPOLL_SET); i++) {
		struct epoll_set *es = slab_at(s, SLAB_EPOLL_SET, i);

		if (es)
			es->items = es->ready_head = es->waiters = 0;
	}
	slab_alloc(s, SLAB_WAITER); /* half made */
	slab_alloc(s, SLAB_EPOLL_ITEM);
	slab_alloc(s, SLAB_EPOLL_SET);
}

static void *wait_for_socket(void *unused)
{
	(void)unused;
	return (void *)(intptr_t)wait_one(waited_for, EV_IN, NEVER);
}

START_TEST(repair_hangs_up_waiters)
{
	ref sender = open_socket(0);
	pthread_t thread;
	void *result;

	waited_for = open_socket(PORT);
	pthread_create(&thread, NULL, wait_for_socket, NULL);
	await_in_use(SLAB_WAITER, 1);
	die_inside(forget_waiters);
	await_in_use(SLAB_WAITER, 1);
	send_to(sender, PORT);
	pthread_join(thread, &result);
	ck_assert_int_eq((int)(intptr_t)result, 1);
	await_in_use(SLAB_WAITER, 0);
}
END_TEST

START_TEST(repair_relinks_epoll_sets)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 77}, out[4] = {{0}};
	ref sender = open_socket(0), sk = open_socket(PORT), set;
	struct stack *s = host_enter();

	set = epoll_set_new(s, host_member());
	ck_assert_int_eq(epoll_set_ctl(s, set, EPOLL_CTL_ADD, sk, 5, &event), 0);
	host_leave();
	die_inside(forget_waiters);
	ck_assert_uint_eq(in_use(SLAB_EPOLL_SET), 1);
	ck_assert_uint_eq(in_use(SLAB_EPOLL_ITEM), 1);
	s = host_enter();
	ck_assert_uint_eq(epoll_collect(s, set, out, 4), 0);
	host_leave();
	send_to(sender, PORT);
	s = host_enter();
	ck_assert_uint_eq(epoll_collect(s, set, out, 4), 1);
	ck_assert_uint_eq(out[0].data.u64, 77);
	epoll_closed(s, set, host_member());
	host_leave();
	await_in_use(SLAB_EPOLL_SET, 0); /* the dead child had it too */
	await_in_use(SLAB_EPOLL_ITEM, 0);
}
END_TEST

static ref make_set(ref sk, u32 events)
{
	struct epoll_event event = {.events = events};
	struct stack *s = host_enter();
	ref set = epoll_set_new(s, host_member());

	ck_assert_int_eq(epoll_set_ctl(s, set, EPOLL_CTL_ADD, sk, 5, &event), 0);
	host_leave();
	return set;
}

/* A stopped child waits, is woken instead of this process's thread, and dies. */
static void woken_child_dies(ref own, bool its_own, ref sk)
{
	ref sender = open_socket(0);
	pthread_t thread;
	void *result;
	pid_t pid;

	waited_for = own;
	pthread_create(&thread, NULL, wait_for_socket, NULL);
	await_in_use(SLAB_WAITER, 1);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		wait_one(its_own ? make_set(sk, EPOLLIN | EPOLLEXCLUSIVE) : own, EV_IN, NEVER);
		_exit(0);
	}
	await_in_use(SLAB_WAITER, 2);
	kill(pid, SIGSTOP);
	waitpid(pid, NULL, WUNTRACED);
	send_to(sender, PORT);
	usleep(20000);
	ck_assert_uint_eq(in_use(SLAB_WAITER), 2);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	pthread_join(thread, &result);
	ck_assert_int_eq((int)(intptr_t)result, 1);
}

START_TEST(repair_passes_on_a_wake_up)
{
	ref sk = open_socket(PORT);

	woken_child_dies(make_set(sk, EPOLLIN), false, sk);
}
END_TEST

START_TEST(repair_passes_on_an_exclusive_event)
{
	ref sk = open_socket(PORT);

	woken_child_dies(make_set(sk, EPOLLIN | EPOLLEXCLUSIVE), true, sk);
}
END_TEST

static void make_and_miscount(struct stack *s)
{
	int error;

	sock_open(s, FAMILY_INET, SOCK_STREAM, 0, &error);
	host_local.host->hold_free = 0xffff;
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk)
			sk->holders = 17;
	}
}

/* Holders are counted again, and what nobody holds goes. */
START_TEST(repair_counts_holders)
{
	ref mine = open_socket(0);
	struct stack *s;

	die_inside(make_and_miscount);
	await_in_use(SLAB_SOCK, 1);
	for (int i = 0; i < 2000 && member_count(host_local.host) > 1; i++)
		usleep(1000);
	s = host_enter();
	ck_assert_ptr_nonnull(sock_get(s, mine));
	ck_assert_uint_eq(sock_get(s, mine)->holders, 1);
	host_unhold(s, mine);
	host_leave();
	ck_assert_uint_eq(in_use(SLAB_SOCK), 0);
}
END_TEST

static void fork_halfway(struct stack *s)
{
	member_copy(s, host_local.member);
}

/* A process that died before the child that it had announced was there. */
START_TEST(repair_of_a_fork_that_was_not)
{
	ref mine = open_socket(0);
	struct stack *s;

	die_inside(fork_halfway);
	for (int i = 0; i < 2000 && member_count(host_local.host) > 1; i++)
		usleep(1000);
	ck_assert_uint_eq(member_count(host_local.host), 1);
	s = host_enter();
	ck_assert_uint_eq(sock_get(s, mine)->holders, 1);
	host_leave();
}
END_TEST

/* Between the making of a socket and that of its number the lock is free. */
START_TEST(repair_of_a_socket_without_a_number)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct slot *slot = slot_self();
		int error;

		slot->made = sock_open(host_enter(), FAMILY_INET, SOCK_STREAM, 0, &error);
		host_leave();
		pause();
	}
	await_in_use(SLAB_SOCK, 1);
	die_inside(nothing);
	ck_assert_uint_eq(in_use(SLAB_SOCK), 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	await_in_use(SLAB_SOCK, 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, repair_keeps_the_buffers_of_the_driver);
	tcase_add_test(tc, repair_hangs_up_waiters);
	tcase_add_test(tc, repair_relinks_epoll_sets);
	tcase_add_test(tc, repair_passes_on_a_wake_up);
	tcase_add_test(tc, repair_passes_on_an_exclusive_event);
	tcase_add_test(tc, repair_counts_holders);
	tcase_add_test(tc, repair_of_a_fork_that_was_not);
	tcase_add_test(tc, repair_of_a_socket_without_a_number);
}

int main(void)
{
	return check_lines_case("repair", 60, add_tests);
}
