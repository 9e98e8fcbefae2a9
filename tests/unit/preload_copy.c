/* guard_copy: every length and alignment, and pages that are not there at every offset. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "preload/copy.h"
#include "preload/guard.h"
#include "stack/types.h"
#include "tests/lib/check_lines.h"

#define PAGE 4096

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)info;
	if (!copy_fault(context))
		signal(sig, SIG_DFL);
}

static void setup(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

/* A page with nothing behind it. */
static u8 *last_page(void)
{
	u8 *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_int_eq(munmap(p + PAGE, PAGE), 0);
	return p;
}

START_TEST(copy_every_length)
{
	static u8 from[700], to[700], want[700];

	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (u8)(i * 7 + 3);
	for (unsigned long n = 0; n <= 600; n++) {
		for (unsigned off = 0; off < 40; off += 13) {
			memset(to, 0xaa, sizeof(to));
			memset(want, 0xaa, sizeof(want));
			memcpy(want + off, from + 5, n);
			ck_assert_int_eq(guard_copy(to + off, from + 5, n), 0);
			ck_assert_msg(!memcmp(to, want, sizeof(to)), "length %lu at %u", n, off);
		}
	}
}
END_TEST

START_TEST(copy_large)
{
	size_t n = 3000001;
	u8 *from = malloc(n), *to = malloc(n);

	for (size_t i = 0; i < n; i++)
		from[i] = (u8)(i >> 3 ^ i);
	ck_assert_int_eq(guard_copy(to, from, n), 0);
	ck_assert(!memcmp(from, to, n));
	free(from);
	free(to);
}
END_TEST

START_TEST(copy_bad_pointer_is_efault)
{
	static u8 good[2 * PAGE];
	u8 *page = last_page();

	for (unsigned long n = 1; n <= 600; n++) {
		unsigned long inside = n - 1;

		ck_assert_int_eq(guard_copy(page + PAGE - n, good, n), 0);
		ck_assert_int_eq(guard_copy(page + PAGE - inside, good, n), -EFAULT);
		ck_assert_int_eq(guard_copy(good, page + PAGE - n, n), 0);
		ck_assert_int_eq(guard_copy(good, page + PAGE - inside, n), -EFAULT);
		ck_assert_int_eq(guard_copy(NULL, good, n), -EFAULT);
		ck_assert_int_eq(guard_copy(good, (void *)8, n), -EFAULT);
		ck_assert_int_eq(guard_copy((void *)0x8000000000000000ul, good, n), -EFAULT);
	}
	ck_assert_int_eq(guard_copy(NULL, NULL, 0), 0);
}
END_TEST

START_TEST(copy_file_beyond_its_end_is_efault)
{
	char name[] = "/tmp/ustack-copy.XXXXXX";
	int fd = mkstemp(name);
	u8 *p, buf[64];

	ck_assert_int_ge(fd, 0);
	unlink(name);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_int_eq(guard_copy(buf, p, sizeof(buf)), -EFAULT);
	ck_assert_int_eq(guard_copy(p, buf, sizeof(buf)), -EFAULT);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, copy_every_length);
	tcase_add_test(tc, copy_large);
	tcase_add_test(tc, copy_bad_pointer_is_efault);
	tcase_add_test(tc, copy_file_beyond_its_end_is_efault);
}

int main(void)
{
	return check_lines_case("copy", 0, add_tests);
}
