/* Ranges of sequence numbers, compared with a map of random contents at the wrap of the numbers. */
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

/* The ranges of a map, one behind the other. */
static void fill(const bool *map)
{
	tcp_ranges_init(r, sizeof(storage));
	for (u32 i = 0; i < SPACE; i++) {
		if (!map[i])
			continue;
		if (i && map[i - 1]) {
			r->range[r->count - 1].end++;
		} else {
			tcp_ranges_open(r, r->count);
			r->range[r->count - 1] =
				(struct tcp_range){.start = BASE + i, .end = BASE + i + 1};
		}
	}
}

/* Index of the first range that ends at or behind a place. */
static u32 first_from(const bool *map, u32 at)
{
	u32 count = 0;

	for (u32 i = 1; i < at; i++)
		count += map[i - 1] && !map[i];
	return count;
}

START_TEST(tcp_ranges_against_map)
{
	bool map[SPACE] = {0};
	u32 end, i;

	srand((unsigned)_i);
	for (i = 0; i < SPACE; i++)
		map[i] = rand() % 4 > _i % 4;
	fill(map);
	for (;;) {
		ck_assert(tcp_ranges_valid(r));
		for (u32 at = 0; at < SPACE; at++) {
			ck_assert_uint_eq(tcp_ranges_find(r, BASE + at), first_from(map, at));
			for (end = at; end < SPACE && map[end]; end++)
				;
			ck_assert_uint_eq(tcp_ranges_skip(r, BASE + at), BASE + end);
		}
		if (!r->count)
			break;
		i = (u32)rand() % r->count;
		memset(map + (r->range[i].start - BASE), 0, r->range[i].end - r->range[i].start);
		tcp_ranges_close(r, i);
	}
}
END_TEST

/* A range opened before others moves them. */
START_TEST(tcp_ranges_opened)
{
	tcp_ranges_init(r, sizeof(storage));
	for (u32 i = 0; i < 3; i++) {
		tcp_ranges_open(r, 0);
		r->range[0] = (struct tcp_range){
			.start = BASE - 10 * i, .end = BASE - 10 * i + 5, .first = i};
	}
	for (u32 i = 0; i < 3; i++)
		ck_assert_uint_eq(r->range[i].first, 2 - i);
	ck_assert(tcp_ranges_valid(r));
}
END_TEST

/* What is no set: an empty range, one that begins behind its end, two that overlap, touch or are
 * not in order, too many. */
START_TEST(tcp_ranges_invalid)
{
	static const struct tcp_range wrong[][2] = {{{.start = 10, .end = 10}},
		{{.start = 11, .end = 10}}, {{.start = 10, .end = 20}, {.start = 19, .end = 30}},
		{{.start = 10, .end = 20}, {.start = 20, .end = 30}},
		{{.start = 30, .end = 40}, {.start = 10, .end = 20}}};

	for (u32 i = 0; i < ARRAY_LEN(wrong); i++) {
		tcp_ranges_init(r, sizeof(storage));
		r->count = wrong[i][1].end ? 2 : 1;
		memcpy(r->range, wrong[i], r->count * sizeof(r->range[0]));
		ck_assert(!tcp_ranges_valid(r));
	}
	tcp_ranges_init(r, sizeof(*r) + sizeof(r->range[0]));
	ck_assert_uint_eq(r->max, 1);
	r->count = 2;
	r->range[0] = (struct tcp_range){.start = 1, .end = 2};
	r->range[1] = (struct tcp_range){.start = 3, .end = 4};
	ck_assert(!tcp_ranges_valid(r));
	r->count = 1;
	ck_assert(tcp_ranges_valid(r));
	tcp_ranges_init(r, sizeof(*r) - 1);
	ck_assert_uint_eq(r->max, 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, tcp_ranges_against_map, 0, 16);
	tcase_add_test(tc, tcp_ranges_opened);
	tcase_add_test(tc, tcp_ranges_invalid);
}

int main(void)
{
	return check_lines_case("tcp_ranges", 0, add_tests);
}
