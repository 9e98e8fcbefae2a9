/* Ranges of sequence numbers, compared with a bitmap over many random operations near the wrap of
 * the numbers. */
#include <stdlib.h>
#include <string.h>

#include "stack/tcp_ranges.h"
#include "tests/lib/check_lines.h"

#define BASE  0xffffff80u /* the space of the test wraps */
#define SPACE 256u

static union {
	struct tcp_ranges r;
	u8 bytes[2048];
} storage;
static struct tcp_ranges *r = &storage.r;

START_TEST(tcp_ranges_merge)
{
	tcp_ranges_init(r, sizeof(storage));
	ck_assert_uint_eq(tcp_ranges_add(r, 10, 20), 10);
	ck_assert_uint_eq(tcp_ranges_add(r, 30, 40), 10);
	ck_assert_uint_eq(r->count, 2);
	ck_assert_uint_eq(tcp_ranges_add(r, 20, 30), 10); /* touches both */
	ck_assert_uint_eq(r->count, 1);
	ck_assert_uint_eq(r->range[0].start, 10);
	ck_assert_uint_eq(r->range[0].end, 40);
	ck_assert_uint_eq(tcp_ranges_add(r, 15, 35), 0);
	ck_assert_uint_eq(tcp_ranges_add(r, 5, 50), 15);
	ck_assert_uint_eq(tcp_ranges_add(r, 7, 7), 0);
	ck_assert_uint_eq(tcp_ranges_add(r, 60, 55), 0); /* reversed */
	ck_assert_uint_eq(tcp_ranges_cut(r, 20), 15);
	ck_assert_uint_eq(tcp_ranges_skip(r, 25), 50);
	ck_assert_uint_eq(tcp_ranges_skip(r, 50), 50);
	ck_assert_uint_eq(tcp_ranges_cut(r, 50), 30);
	ck_assert_uint_eq(r->count, 0);
}
END_TEST

/* What is known of a hole stays with both halves when a range divides it. */
START_TEST(tcp_ranges_divided_hole)
{
	memset(&storage, 0xff, sizeof(storage)); /* what lies behind the last is of no account */
	tcp_ranges_init(r, sizeof(storage));
	tcp_ranges_add(r, 100, 110);
	ck_assert_uint_eq(r->range[0].last, 0);
	r->range[0].first = 77;
	r->range[0].last = 1;
	tcp_ranges_add(r, 50, 60);
	ck_assert_uint_eq(r->range[0].first, 77);
	ck_assert_uint_eq(r->range[0].last, 1);
	ck_assert_uint_eq(r->range[1].first, 77);
	tcp_ranges_add(r, 200, 210);
	ck_assert_uint_eq(r->range[2].last, 0);
}
END_TEST

START_TEST(tcp_ranges_full)
{
	u32 max;

	tcp_ranges_init(r, sizeof(storage));
	max = r->max;
	for (u32 i = 0; i < max; i++)
		ck_assert_uint_eq(tcp_ranges_add(r, i * 10, i * 10 + 5), 5);
	ck_assert_uint_eq(tcp_ranges_add(r, max * 10, max * 10 + 5), 0);
	ck_assert_uint_eq(tcp_ranges_add(r, 7, 8), 0);
	ck_assert_uint_eq(tcp_ranges_add(r, 5, 10), 5); /* no new range is needed */
	ck_assert_uint_eq(r->count, max - 1);
	ck_assert(tcp_ranges_valid(r));
}
END_TEST

START_TEST(tcp_ranges_against_bitmap)
{
	bool map[SPACE] = {0};

	srand((unsigned)_i);
	tcp_ranges_init(r, sizeof(storage));
	for (int n = 0; n < 2000; n++) {
		u32 a = (u32)rand() % SPACE, b = a + (u32)rand() % 12, count = 0, low, high;

		b = b < SPACE ? b : SPACE;
		if (rand() % 20 == 0) {
			for (u32 i = 0; i < a / 8; i++) {
				count += map[i];
				map[i] = false;
			}
			ck_assert_uint_eq(tcp_ranges_cut(r, BASE + a / 8), count);
		} else {
			for (u32 i = a; i < b; i++) {
				count += !map[i];
				map[i] = true;
			}
			ck_assert_uint_eq(tcp_ranges_add(r, BASE + a, BASE + b), count);
		}
		ck_assert(tcp_ranges_valid(r));
		low = (u32)rand() % SPACE;
		high = low + (u32)rand() % (SPACE - low);
		count = 0;
		for (u32 i = low; i < high; i++)
			count += map[i];
		ck_assert_uint_eq(tcp_ranges_covered(r, BASE + low, BASE + high), count);
		for (b = low; b < SPACE && map[b]; b++)
			;
		ck_assert_uint_eq(tcp_ranges_skip(r, BASE + low), BASE + b);
		if (n % 500 == 499) {
			tcp_ranges_init(r, sizeof(storage));
			memset(map, 0, sizeof(map));
		}
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("tcp_ranges");
	TCase *c = tcase_create("ranges");

	tcase_add_test(c, tcp_ranges_merge);
	tcase_add_test(c, tcp_ranges_divided_hole);
	tcase_add_test(c, tcp_ranges_full);
	tcase_add_loop_test(c, tcp_ranges_against_bitmap, 0, 10);
	suite_add_tcase(s, c);
	return s;
}

int main(void)
{
	return check_lines_main(suite);
}
