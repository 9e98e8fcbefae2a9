/* The host's lock: exclusion between threads and processes, and the deaths of owners and waiters.
 */
#include <check.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/lock.h"
#include "preload/raw.h"
#include "tests/lib/check_lines.h"

#define TURNS 100000

struct shared {
	struct lock lock;
	u64 count; /* changed under the lock only, and not atomically */
	u32 ready;
};

static struct shared *shared;

static void setup(void)
{
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
}

static void count_up(void)
{
	for (int i = 0; i < TURNS; i++) {
		lock_take(&shared->lock);
		shared->count++;
		lock_drop(&shared->lock);
	}
}

static void *count_thread(void *unused)
{
	(void)unused;
	count_up();
	return NULL;
}

START_TEST(lock_excludes_threads)
{
	pthread_t thread[4];

	for (size_t i = 0; i < ARRAY_LEN(thread); i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, count_thread, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(thread); i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(shared->count, ARRAY_LEN(thread) * TURNS);
	ck_assert_uint_eq(shared->lock.word, 0);
}
END_TEST

/* A child that runs the function; the lock must take its thread for another one than its parent's.
 */
static pid_t child(void (*run)(void))
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid)
		return pid;
	lock_forked();
	run();
	_exit(0);
}

START_TEST(lock_excludes_processes)
{
	pid_t pid[3];

	lock_tid(); /* what a child inherits is stale */
	for (size_t i = 0; i < ARRAY_LEN(pid); i++)
		pid[i] = child(count_up);
	for (size_t i = 0; i < ARRAY_LEN(pid); i++)
		waitpid(pid[i], NULL, 0);
	ck_assert_uint_eq(shared->count, ARRAY_LEN(pid) * TURNS);
}
END_TEST

static void take_and_wait(void)
{
	lock_take(&shared->lock);
	__atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
}

static void wait_ready(void)
{
	while (!__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE))
		sched_yield();
}

START_TEST(lock_owner_killed)
{
	pid_t pid = child(take_and_wait);

	wait_ready();
	ck_assert(!lock_mine(&shared->lock));
	kill(pid, SIGKILL);
	ck_assert(lock_take(&shared->lock));
	ck_assert(lock_mine(&shared->lock));
	lock_drop(&shared->lock);
	ck_assert(!lock_take(&shared->lock));
	lock_drop(&shared->lock);
	waitpid(pid, NULL, 0);
}
END_TEST

static void *take_and_end(void *unused)
{
	(void)unused;
	lock_take(&shared->lock);
	return NULL;
}

START_TEST(lock_owner_thread_ended)
{
	pthread_t thread;
	bool died = false;

	ck_assert_int_eq(pthread_create(&thread, NULL, take_and_end, NULL), 0);
	pthread_join(thread, NULL);
	/* The thread is joined when it clears its id, a moment before the kernel has gone through
	 * its locks. */
	while (!lock_try(&shared->lock, &died))
		sched_yield();
	ck_assert(died);
	lock_drop(&shared->lock);
}
END_TEST

/* Children of a raw clone have no robust list registered; a robust pthread mutex hangs here. */
START_TEST(lock_owner_of_raw_clone_killed)
{
	long pid = raw_syscall5(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0) {
		lock_forked();
		take_and_wait();
	}
	wait_ready();
	kill((pid_t)pid, SIGKILL);
	ck_assert(lock_take(&shared->lock));
	lock_drop(&shared->lock);
	waitpid((pid_t)pid, NULL, 0);
}
END_TEST

static void take_once(void)
{
	lock_take(&shared->lock);
	lock_drop(&shared->lock);
}

static void wait_until_asleep(u32 sleepers)
{
	while (__atomic_load_n(&shared->lock.contended, __ATOMIC_RELAXED) < sleepers)
		sched_yield();
	usleep(20000);
}

/* A waiter that is killed must not take another one's wake-up with it. */
static void stop_inside(void)
{
	lock_take(&shared->lock);
	raise(SIGSTOP);
	lock_drop(&shared->lock);
}

static void *continue_later(void *pid)
{
	usleep(50000);
	kill((pid_t)(intptr_t)pid, SIGCONT);
	return NULL;
}

/* Who stops inside makes the others wait, which is counted. */
START_TEST(lock_owner_stopped)
{
	pid_t pid = child(stop_inside);
	pthread_t thread;

	waitpid(pid, NULL, WUNTRACED);
	pthread_create(&thread, NULL, continue_later, (void *)(intptr_t)pid);
	ck_assert(!lock_take(&shared->lock));
	ck_assert_uint_eq(shared->lock.long_waits, 1);
	lock_drop(&shared->lock);
	pthread_join(thread, NULL);
	waitpid(pid, NULL, 0);
}
END_TEST

START_TEST(lock_waiter_killed)
{
	pid_t first, second;

	lock_take(&shared->lock);
	first = child(take_once);
	second = child(take_once);
	wait_until_asleep(2);
	kill(first, SIGKILL);
	lock_drop(&shared->lock);
	waitpid(second, NULL, 0);
	waitpid(first, NULL, 0);
	ck_assert(!lock_take(&shared->lock));
	lock_drop(&shared->lock);
}
END_TEST

/* Killed anywhere inside, thousands of times: nobody hangs, and the count is right but for what the
 * dead had begun. */
START_TEST(lock_random_deaths)
{
	pid_t other = child(count_up);
	u32 died = 0;

	for (int i = 0; i < 200; i++) {
		pid_t pid = child(count_up);

		usleep((useconds_t)(rand() % 500));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		died += lock_take(&shared->lock);
		lock_drop(&shared->lock);
	}
	waitpid(other, NULL, 0);
	died += lock_take(&shared->lock);
	ck_assert_uint_ge(shared->count, TURNS - 200);
	lock_drop(&shared->lock);
	ck_assert_uint_eq(shared->lock.word, 0);
	ck_assert_uint_le(died, 200);
}
END_TEST

/* The value of a robust mutex of the program, which a call of ours may interrupt, is put back. */
START_TEST(lock_keeps_pending_operation)
{
	struct robust_list_head *list = NULL;
	struct robust_list mark;
	size_t size = 0;

	ck_assert_int_eq(raw_syscall3(SYS_get_robust_list, 0, (long)&list, (long)&size), 0);
	list->list_op_pending = &mark;
	lock_take(&shared->lock);
	ck_assert_ptr_ne(list->list_op_pending, &mark);
	lock_drop(&shared->lock);
	ck_assert_ptr_eq(list->list_op_pending, &mark);
	list->list_op_pending = NULL;
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, lock_excludes_threads);
	tcase_add_test(tc, lock_excludes_processes);
	tcase_add_test(tc, lock_owner_killed);
	tcase_add_test(tc, lock_owner_thread_ended);
	tcase_add_test(tc, lock_owner_of_raw_clone_killed);
	tcase_add_test(tc, lock_owner_stopped);
	tcase_add_test(tc, lock_waiter_killed);
	tcase_add_test(tc, lock_random_deaths);
	tcase_add_test(tc, lock_keeps_pending_operation);
}

int main(void)
{
	return check_lines_case("lock", 0, add_tests);
}
