/*
 * The table of descriptor numbers: entries, numbers reused behind its back, counts, and sockets
 * pinned by blocking calls.
 */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "preload/fdtable.h"
#include "tests/lib/check_lines.h"

static u64 inode_of(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return st.st_ino;
}

START_TEST(fdtable_set_find_clear)
{
	ref object = 0;

	ck_assert_int_eq(fdtable_find(3, &object), FD_OTHER);
	ck_assert_int_eq(fdtable_set(3, FD_SOCKET, 0xdeadbeef, 77), 0);
	ck_assert_uint_eq(fdtable_sock(3), 0xdeadbeef);
	ck_assert_int_eq(fdtable_set(3, FD_EPOLL, 12, 0), 0);
	ck_assert_uint_eq(fdtable_sock(3), 0);
	ck_assert_int_eq(fdtable_find(3, &object), FD_EPOLL);
	ck_assert_uint_eq(object, 12);
	ck_assert_int_eq(fdtable_clear(3, &object), FD_EPOLL);
	ck_assert_int_eq(fdtable_find(3, &object), FD_OTHER);
	ck_assert_int_eq(fdtable_clear(3, NULL), FD_OTHER);
}
END_TEST

START_TEST(fdtable_any_number_may_be_asked)
{
	static const int numbers[] = {-1, -0x7fffffff - 1, 0x7fffffff, 1 << 24, 1 << 20};

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		ck_assert_uint_eq(fdtable_sock(numbers[i]), 0);
		ck_assert_uint_eq(fdtable_sock_checked(numbers[i]), 0);
		ck_assert_int_eq(fdtable_clear(numbers[i], NULL), FD_OTHER);
	}
	ck_assert_int_eq(fdtable_set(1 << 24, FD_SOCKET, 1, 1), -ENOMEM);
	ck_assert_int_eq(fdtable_set((1 << 24) - 1, FD_SOCKET, 1, 1), 0);
	ck_assert_uint_eq(fdtable_sock((1 << 24) - 1), 1);
}
END_TEST

START_TEST(fdtable_reused_number_is_noticed)
{
	int fd = open("/dev/null", O_RDONLY), other = open("/dev/zero", O_RDONLY);

	ck_assert_int_eq(fdtable_set(fd, FD_SOCKET, 9, inode_of(fd)), 0);
	ck_assert_uint_eq(fdtable_sock_checked(fd), 9);
	ck_assert_int_eq(dup2(other, fd), fd);
	ck_assert_uint_eq(fdtable_sock(fd), 9);
	ck_assert_uint_eq(fdtable_sock_checked(fd), 0);
	ck_assert_int_eq(fdtable_set(fd, FD_SOCKET, 9, inode_of(fd)), 0);
	ck_assert_uint_eq(fdtable_sock_checked(fd), 9);
	close(fd);
	ck_assert_uint_eq(fdtable_sock_checked(fd), 0);
}
END_TEST

START_TEST(fdtable_count_over_chunks)
{
	fdtable_set(5, FD_SOCKET, 4, 1);
	fdtable_set((int)FDTABLE_CHUNK * 3 + 1, FD_SOCKET, 4, 1);
	fdtable_set((int)FDTABLE_CHUNK * 3 + 2, FD_EPOLL, 4, 1);
	fdtable_set(6, FD_SOCKET, 5, 1);
	ck_assert_uint_eq(fdtable_count(FD_SOCKET, 4), 2);
	ck_assert_int_eq(fdtable_limit(), (int)FDTABLE_CHUNK * 3 + 3);
	fdtable_clear(5, NULL);
	ck_assert_uint_eq(fdtable_count(FD_SOCKET, 4), 1);
	fdtable_clear((int)FDTABLE_CHUNK * 3 + 1, NULL);
	ck_assert_uint_eq(fdtable_count(FD_SOCKET, 4), 0);
}
END_TEST

START_TEST(fdtable_pin_takes_the_close_over)
{
	int a = fdtable_pin(21), b = fdtable_pin(21), c = fdtable_pin(22);

	ck_assert(!fdtable_unpin(c));
	ck_assert(!fdtable_defer(22));
	ck_assert(fdtable_defer(21));
	ck_assert(fdtable_unpin(a) || fdtable_unpin(b));
	ck_assert(!fdtable_unpin(-1));
}
END_TEST

/* Of a close and the end of a blocking call, whichever order, exactly one is the last. */
#define ROUNDS 20000
static int pin;
static int lasts;
static pthread_barrier_t barrier;

static void *closer(void *unused)
{
	(void)unused;
	for (int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&barrier);
		if (!fdtable_defer(31))
			__atomic_add_fetch(&lasts, 1, __ATOMIC_RELAXED);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

START_TEST(fdtable_one_last_close)
{
	pthread_t thread;

	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, closer, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		pin = fdtable_pin(31);
		pthread_barrier_wait(&barrier);
		if (fdtable_unpin(pin))
			__atomic_add_fetch(&lasts, 1, __ATOMIC_RELAXED);
		pthread_barrier_wait(&barrier);
	}
	pthread_join(thread, NULL);
	ck_assert_int_eq(lasts, ROUNDS);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, fdtable_set_find_clear);
	tcase_add_test(tc, fdtable_any_number_may_be_asked);
	tcase_add_test(tc, fdtable_reused_number_is_noticed);
	tcase_add_test(tc, fdtable_count_over_chunks);
	tcase_add_test(tc, fdtable_pin_takes_the_close_over);
	tcase_add_test(tc, fdtable_one_last_close);
}

int main(void)
{
	return check_lines_case("fdtable", 0, add_tests);
}
