/* The heap of frames under way. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/check_lines.h"
#include "tools/delay.h"

START_TEST(link_delay_orders_by_time_then_arrival)
{
	struct delay_line line;
	struct delayed out;
	u64 last_due = 0;
	u32 last_number = 0, popped = 0;

	delay_init(&line, 1 << 30);
	srandom(1);
	for (u32 i = 0; i < 20000; i++) {
		ck_assert_ptr_nonnull(delay_push(&line, (u64)random() % 500, i & 1, (u8 *)&i, 4));
		/* Take some out in between. */
		if (i % 3 == 0 && delay_pop(&line, NEVER, &out)) {
			free(out.data);
			popped++;
		}
	}
	while (delay_pop(&line, 1000, &out)) {
		u32 number;

		memcpy(&number, out.data, 4);
		ck_assert_uint_eq(out.to, number & 1);
		ck_assert_uint_ge(out.due_ns, last_due);
		if (out.due_ns == last_due)
			ck_assert_uint_gt(number, last_number);
		last_due = out.due_ns;
		last_number = number;
		free(out.data);
		popped++;
	}
	ck_assert_uint_eq(popped, 20000);
	ck_assert_uint_eq(line.bytes, 0);
	delay_free(&line);
}
END_TEST

START_TEST(link_delay_waits_until_due)
{
	struct delay_line line;
	struct delayed out;

	delay_init(&line, 100);
	ck_assert_uint_eq(delay_next(&line), NEVER);
	ck_assert(!delay_pop(&line, NEVER, &out));
	ck_assert_ptr_nonnull(delay_push(&line, 50, 0, (const u8 *)"abc", 3));
	ck_assert_uint_eq(delay_next(&line), 50);
	ck_assert(!delay_pop(&line, 49, &out));
	ck_assert(delay_pop(&line, 50, &out));
	ck_assert_mem_eq(out.data, "abc", 3);
	free(out.data);
	delay_free(&line);
}
END_TEST

START_TEST(link_delay_is_bounded)
{
	static const u8 frame[60];
	struct delay_line line;

	delay_init(&line, 150);
	ck_assert_ptr_nonnull(delay_push(&line, 1, 0, frame, 60));
	ck_assert_ptr_nonnull(delay_push(&line, 1, 0, frame, 60));
	ck_assert_ptr_null(delay_push(&line, 1, 0, frame, 60));
	ck_assert_ptr_nonnull(delay_push(&line, 1, 0, frame, 30));
	delay_free(&line);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, link_delay_orders_by_time_then_arrival);
	tcase_add_test(tc, link_delay_waits_until_due);
	tcase_add_test(tc, link_delay_is_bounded);
}

int main(void)
{
	return check_lines_case("link-delay", 0, add_tests);
}
