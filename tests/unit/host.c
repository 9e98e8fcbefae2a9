/* The host without interposed calls: joining, sleeping and waking, forks, deaths, the keeper's end.
 * The device is `null:`. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/region.h"
#include "tests/lib/check_lines.h"

/* The word that children and the test agree over. */
static u32 *shared;
static struct config config;

static void setup(void)
{
	char name[64], why[CONFIG_WHY_MAX];

	snprintf(name, sizeof(name), "unit-host-%d", getpid());
	setenv("USTACK_DEVICE", "null:", 1);
	setenv("USTACK_NAME", name, 1);
	ck_assert_int_eq(config_load(&config, environ, why, sizeof(why)), 0);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
}

static void teardown(void)
{
	char why[CONFIG_WHY_MAX];

	join_tell(&config, JOIN_END, why, sizeof(why));
}

static pid_t child(void (*run)(void))
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid)
		return pid;
	run();
	_exit(0);
}

static void say(u32 value)
{
	__atomic_store_n(shared, value, __ATOMIC_SEQ_CST);
}

static void await(u32 value)
{
	while (__atomic_load_n(shared, __ATOMIC_SEQ_CST) != value)
		sched_yield();
}

static u32 sockets(void)
{
	u32 count = slab_in_use(host_enter(), SLAB_SOCK);

	host_leave();
	return count;
}

static void await_sockets(u32 count)
{
	for (int i = 0; i < 2000 && sockets() != count; i++)
		usleep(1000);
	ck_assert_uint_eq(sockets(), count);
}

static ref open_socket(void)
{
	int error = 0;
	struct stack *s = host_enter();
	ref sk = sock_open(s, FAMILY_INET, SOCK_DGRAM, 0, &error);

	host_hold(s, sk);
	host_leave();
	ck_assert_uint_ne(sk, 0);
	return sk;
}

static void close_socket(ref sk)
{
	host_unhold(host_enter(), sk);
	host_leave();
}

START_TEST(host_starts_once)
{
	ck_assert(!host_up());
	ck_assert_int_eq(host_start(), 0);
	ck_assert_int_eq(host_start(), 0);
	ck_assert(host_up());
	ck_assert_ptr_ne(slot_self(), NULL);
	ck_assert_ptr_eq(slot_at(slot_index(slot_self())), slot_self());
	ck_assert_uint_eq(member_count(host_local.host), 1);
	ck_assert(host_owns_fd(host_local.region_fd));
	ck_assert(!host_owns_fd(2));
	ck_assert_int_gt(host_local.region_fd, 40);
}
END_TEST

static void join_and_die(void)
{
	if (host_start() < 0)
		_exit(1);
	open_socket();
	say(1);
	for (;;)
		pause();
}

/* Two programs with the same configuration are one host; what a killed one held is closed. */
START_TEST(host_is_shared_and_outlives_a_member)
{
	pid_t pid = child(join_and_die);

	await(1);
	ck_assert_int_eq(host_start(), 0);
	ck_assert_uint_eq(sockets(), 1);
	ck_assert_uint_eq(member_count(host_local.host), 2);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	await_sockets(0);
	ck_assert_uint_eq(member_count(host_local.host), 1);
}
END_TEST

static void start_and_report(void)
{
	_exit(host_start() == 0 && member_count(host_local.host) >= 1 ? 0 : 1);
}

START_TEST(host_started_by_many_at_once)
{
	pid_t pid[8];
	int status;

	for (size_t i = 0; i < ARRAY_LEN(pid); i++)
		pid[i] = child(start_and_report);
	for (size_t i = 0; i < ARRAY_LEN(pid); i++) {
		waitpid(pid[i], &status, 0);
		ck_assert_int_eq(status, 0);
	}
}
END_TEST

/* One after the other, each finding the keeper of the one before staying, ending or gone. */
START_TEST(host_started_again_and_again)
{
	int status;

	for (int i = 0; i < 200; i++) {
		waitpid(child(start_and_report), &status, 0);
		ck_assert_int_eq(status, 0);
		usleep((useconds_t)(rand() % 400));
	}
}
END_TEST

static void start_elsewhere(void)
{
	setenv("USTACK_ADDRESS", "10.9.9.9/24", 1);
	dup2(open("/dev/null", O_WRONLY), 2);
	_exit(host_start() == -ENETDOWN ? 0 : 1);
}

START_TEST(host_address_must_agree)
{
	pid_t pid = child(join_and_die);
	int status;

	await(1);
	waitpid(child(start_elsewhere), &status, 0);
	ck_assert_int_eq(status, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
END_TEST

static ref forked_socket;

static void hold_until_told(void)
{
	say(1);
	await(2);
	close_socket(forked_socket);
	say(3);
	for (;;)
		pause();
}

/* A socket inherited over fork stays until the last of both lets go. */
START_TEST(host_fork_shares_sockets)
{
	pid_t pid;

	ck_assert_int_eq(host_start(), 0);
	forked_socket = open_socket();
	pid = child(hold_until_told);
	close_socket(forked_socket);
	await(1);
	ck_assert_uint_eq(sockets(), 1);
	say(2);
	await(3);
	ck_assert_uint_eq(sockets(), 0);
	ck_assert_uint_eq(member_count(host_local.host), 2);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	await_sockets(0);
}
END_TEST

static void wait_for_death(void)
{
	for (;;)
		pause();
}

START_TEST(host_fork_death_closes)
{
	pid_t pid;

	ck_assert_int_eq(host_start(), 0);
	forked_socket = open_socket();
	pid = child(wait_for_death);
	close_socket(forked_socket);
	ck_assert_uint_eq(sockets(), 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	await_sockets(0);
	ck_assert_uint_eq(member_count(host_local.host), 1);
}
END_TEST

/* A child that becomes another program lets go of what is close-on-exec. */
static void become_sleep(void)
{
	execl("/bin/sleep", "sleep", "100", (char *)NULL);
}

START_TEST(host_exec_lets_go)
{
	pid_t pid;

	ck_assert_int_eq(host_start(), 0);
	forked_socket = open_socket();
	pid = child(become_sleep);
	close_socket(forked_socket);
	await_sockets(0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
END_TEST

static void die_inside(void)
{
	struct stack *s;
	int error;

	if (host_start() < 0)
		_exit(1);
	s = host_enter();
	s->touched[0] = sock_open(s, FAMILY_INET, SOCK_DGRAM, 0, &error);
	host_hold(s, s->touched[0]);
	say(s->touched[0]);
	kill(getpid(), SIGKILL);
}

/* A death inside the lock: nobody hangs, the socket that was being changed fails, the rest goes on.
 */
START_TEST(host_death_in_the_lock)
{
	struct stack *s;
	ref mine;
	pid_t pid;

	ck_assert_int_eq(host_start(), 0);
	mine = open_socket();
	pid = fork();
	if (pid == 0)
		die_inside();
	waitpid(pid, NULL, 0);
	s = host_enter();
	ck_assert_ptr_ne(sock_get(s, mine), NULL);
	ck_assert_int_eq(sock_get(s, mine)->error, 0);
	ck_assert_uint_eq(s->touched[0], 0);
	host_leave();
	ck_assert_uint_eq(host_local.host->stats.owners_died, 1);
	await_sockets(1);
}
END_TEST

/* --- sleeping --- */

static u32 seen_now(void)
{
	return __atomic_load_n(&slot_self()->woken, __ATOMIC_ACQUIRE);
}

static void dies_before_it_rings(void)
{
	__atomic_store_n(&host_local.host->keeper_rung, 1, __ATOMIC_SEQ_CST);
}

static void rings_a_closed_bell(void)
{
	raw_close(host_local.bell[0]);
	bell_ring_keeper(host_local.host);
}

static bool keeper_hears(void)
{
	for (u32 i = 0; i < 200; i++) {
		if (!__atomic_load_n(&host_local.host->keeper_rung, __ATOMIC_SEQ_CST))
			return true;
		usleep(10000);
	}
	return false;
}

/* Whoever claimed the ringing of the keeper's bell and did not get to it leaves it for others. */
START_TEST(host_keeper_is_never_deaf)
{
	ck_assert_int_eq(host_start(), 0);
	ck_assert_int_eq(waitpid(child(dies_before_it_rings), NULL, 0) > 0, 1);
	ck_assert(keeper_hears());
	ck_assert_int_eq(waitpid(child(rings_a_closed_bell), NULL, 0) > 0, 1);
	ck_assert(keeper_hears());
}
END_TEST

START_TEST(host_sleep_ends_at_the_deadline)
{
	u64 start;

	ck_assert_int_eq(host_start(), 0);
	start = host_now();
	ck_assert_int_eq(
		host_sleep(slot_self(), seen_now(), NULL, 0, start + 20 * NS_PER_MS, NULL), 0);
	ck_assert_uint_ge(host_now() - start, 20 * NS_PER_MS);
	ck_assert_uint_lt(host_now() - start, 1000 * NS_PER_MS);
	ck_assert_uint_eq(host_local.host->role & 0x3fff, 0);
	ck_assert_uint_eq(host_local.host->bells_used, 1);
}
END_TEST

START_TEST(host_sleep_sees_descriptors)
{
	struct pollfd fds[80];
	int pair[2];

	ck_assert_int_eq(host_start(), 0);
	ck_assert_int_eq(pipe(pair), 0);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = (struct pollfd){.fd = pair[0], .events = POLLIN};
	ck_assert_int_eq(
		host_sleep(slot_self(), seen_now(), fds, 3, host_now() + NS_PER_MS, NULL), 0);
	ck_assert_int_eq(write(pair[1], "x", 1), 1);
	ck_assert_int_eq(host_sleep(slot_self(), seen_now(), fds, 3, NEVER, NULL), 2);
	ck_assert_int_eq(fds[2].revents, POLLIN);
	ck_assert_int_eq(host_sleep(slot_self(), seen_now(), fds, ARRAY_LEN(fds), NEVER, NULL), 2);
	ck_assert_int_eq(fds[79].revents, POLLIN);
}
END_TEST

START_TEST(host_sleep_is_interrupted)
{
	ck_assert_int_eq(host_start(), 0);
	u32 seen = seen_now();

	host_interrupt(slot_self());
	ck_assert_int_eq(host_sleep(slot_self(), seen, NULL, 0, NEVER, NULL), -EINTR);
}
END_TEST

/* Threads that pass a turn on: each wakes the next. What how each of them sleeps. */
#define RING   8
#define ROUNDS 500

struct player {
	pthread_t thread;
	u32 number;
	bool kernel; /* sleeps with a descriptor */
	u32 slot;
};

static struct player player[RING];
static u32 turn, ready;
static int quiet[2];

static void *play(void *arg)
{
	struct player *p = arg;
	struct slot *slot = slot_self();
	struct pollfd fd = {.fd = quiet[0], .events = POLLIN};
	bool done = false;

	p->slot = slot_index(slot);
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < RING)
		sched_yield();
	while (!done) {
		u32 seen;

		host_enter();
		done = turn >= RING * ROUNDS;
		if (turn % RING == p->number || done) {
			turn += !done;
			host_wake(player[(p->number + 1) % RING].slot);
		}
		seen = __atomic_load_n(&slot->woken, __ATOMIC_ACQUIRE);
		host_leave();
		if (!done)
			host_sleep(slot, seen, p->kernel ? &fd : NULL, p->kernel,
				host_now() + 5 * NS_PER_S, NULL);
	}
	return NULL;
}

START_TEST(host_wakes_threads)
{
	u64 start;

	ck_assert_int_eq(host_start(), 0);
	ck_assert_int_eq(pipe(quiet), 0);
	turn = 1; /* nobody's but the one we begin with */
	for (u32 i = 0; i < RING; i++)
		player[i] = (struct player){.number = i, .kernel = i % 3 == 1};
	for (u32 i = 0; i < RING; i++)
		ck_assert_int_eq(pthread_create(&player[i].thread, NULL, play, &player[i]), 0);
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < RING)
		sched_yield();
	start = host_now();
	host_enter();
	for (u32 i = 0; i < RING; i++)
		host_wake(player[i].slot);
	host_leave();
	for (u32 i = 0; i < RING; i++)
		pthread_join(player[i].thread, NULL);
	ck_assert_uint_ge(turn, RING * ROUNDS);
	ck_assert_uint_lt(
		host_now() - start, 4 * NS_PER_S); /* no sleep to the deadline among them */
	ck_assert_uint_eq(host_local.host->bells_used, 1);
}
END_TEST

static void *claim_slot(void *unused)
{
	(void)unused;
	slot_self();
	return NULL;
}

START_TEST(host_slots_come_back)
{
	ck_assert_int_eq(host_start(), 0);
	for (int i = 0; i < 3000; i++) {
		pthread_t thread;

		ck_assert_int_eq(pthread_create(&thread, NULL, claim_slot, NULL), 0);
		pthread_join(thread, NULL);
	}
	ck_assert_uint_lt(slot_index(slot_self()), 8);
	ck_assert_uint_eq(host_local.host->slots, SLOTS_FIRST);
}
END_TEST

START_TEST(host_grows)
{
	u64 size;

	ck_assert_int_eq(host_start(), 0);
	size = host_local.host->size;
	for (int i = 0; i < 60; i++) {
		struct stack *s = host_enter();
		u32 span = stack_span_alloc(s);

		if (span)
			memset(stack_span(s, span), 0xa5, SLAB_SPAN_BYTES);
		host_leave();
		usleep(1000);
	}
	for (int i = 0; i < 300 && host_local.host->size == size; i++)
		usleep(10000);
	host_enter();
	bool mapped = host_local.mapped == host_local.host->size;
	host_leave();
	ck_assert(mapped);
	ck_assert_uint_gt(host_local.host->size, size);
}
END_TEST

/* The keeper goes when nobody is left, and gives the name back. */
START_TEST(host_ends_with_its_last_member)
{
	int status, fd = -1;

	waitpid(child(start_and_report), &status, 0);
	ck_assert_int_eq(status, 0);
	for (int i = 0; i < 1000; i++) {
		fd = join_connect(&config);
		if (fd == -ECONNREFUSED)
			break;
		if (fd >= 0)
			close(fd);
		usleep(1000);
	}
	ck_assert_int_eq(fd, -ECONNREFUSED);
}
END_TEST

START_TEST(host_stays_when_told)
{
	char why[CONFIG_WHY_MAX];
	int fd;

	ck_assert_int_eq(join_tell(&config, JOIN_STAY, why, sizeof(why)), 0);
	usleep(50000);
	fd = join_connect(&config);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(join_tell(&config, JOIN_END, why, sizeof(why)), 0);
	ck_assert_int_eq(join_connect(&config), -ECONNREFUSED);
}
END_TEST

static void no_signal(int sig)
{
	(void)sig;
	say(99);
}

/* The program sees neither a child nor a SIGCHLD of the keeper's making. */
START_TEST(host_start_leaves_no_child)
{
	signal(SIGCHLD, no_signal);
	ck_assert_int_eq(host_start(), 0);
	usleep(20000);
	ck_assert_uint_ne(*shared, 99);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, host_starts_once);
	tcase_add_test(tc, host_is_shared_and_outlives_a_member);
	tcase_add_test(tc, host_started_by_many_at_once);
	tcase_add_test(tc, host_started_again_and_again);
	tcase_add_test(tc, host_address_must_agree);
	tcase_add_test(tc, host_fork_shares_sockets);
	tcase_add_test(tc, host_fork_death_closes);
	tcase_add_test(tc, host_exec_lets_go);
	tcase_add_test(tc, host_death_in_the_lock);
	tcase_add_test(tc, host_keeper_is_never_deaf);
	tcase_add_test(tc, host_sleep_ends_at_the_deadline);
	tcase_add_test(tc, host_sleep_sees_descriptors);
	tcase_add_test(tc, host_sleep_is_interrupted);
	tcase_add_test(tc, host_wakes_threads);
	tcase_add_test(tc, host_slots_come_back);
	tcase_add_test(tc, host_grows);
	tcase_add_test(tc, host_ends_with_its_last_member);
	tcase_add_test(tc, host_stays_when_told);
	tcase_add_test(tc, host_start_leaves_no_child);
}

int main(void)
{
	return check_lines_case("host", 0, add_tests);
}
