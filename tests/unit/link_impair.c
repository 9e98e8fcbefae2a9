/* The impaired link: its rates, its order, its determinism; and the quantities of the command line.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "stack/bytes.h"
#include "stack/checksum.h"
#include "tests/lib/check_lines.h"
#include "tools/impair.h"
#include "tools/units.h"

#define FRAMES 200000

static struct impair im;

static struct impair_config everything(u64 seed)
{
	return (struct impair_config){
		.delay_ns = 5 * NS_PER_MS,
		.jitter_ns = 2 * NS_PER_MS,
		.loss = IMPAIR_ALWAYS / 100,
		.reorder = IMPAIR_ALWAYS / 20,
		.duplicate = IMPAIR_ALWAYS / 50,
		.corrupt = IMPAIR_ALWAYS / 200,
		.rate_bits_per_s = 1000000000,
		.seed = seed,
	};
}

/* Counts the frames whose fate differs between two links under the same arrivals. */
static u32 differences(const struct impair_config *a, const struct impair_config *b)
{
	struct impair x, y;
	u32 count = 0;

	impair_init(&x, a);
	impair_init(&y, b);
	for (u64 i = 0; i < FRAMES; i++) {
		struct impair_fate f = impair_frame(&x, i * 20000, 60 + i % 1455);
		struct impair_fate g = impair_frame(&y, i * 20000, 60 + i % 1455);

		count += f.copies != g.copies || f.flip != g.flip || f.due_ns != g.due_ns;
	}
	return count;
}

START_TEST(link_same_seed_same_fates)
{
	struct impair_config a = everything(7), b = everything(7);

	ck_assert_uint_eq(differences(&a, &b), 0);
	b.seed = 8;
	ck_assert_uint_gt(differences(&a, &b), FRAMES / 2);
}
END_TEST

/* Without duplication the same frames are lost and damaged as with it. */
START_TEST(link_settings_are_independent)
{
	struct impair_config a = everything(7), b = everything(7);
	u32 differ;

	b.duplicate = 0;
	differ = differences(&a, &b);
	ck_assert_uint_gt(differ, FRAMES / 50 * 9 / 10);
	ck_assert_uint_lt(differ, FRAMES / 50 * 11 / 10);
}
END_TEST

static void expect_share(u64 count, u64 of, double share)
{
	double got = (double)count / (double)of;

	ck_assert_msg(got > share * 0.9 && got < share * 1.1, "%f instead of %f", got, share);
}

START_TEST(link_rates_are_as_asked)
{
	struct impair_config c = everything(1);

	c.rate_bits_per_s = 0;
	impair_init(&im, &c);
	for (u64 i = 0; i < FRAMES; i++)
		impair_frame(&im, i * 20000, 1000);
	expect_share(im.lost, FRAMES, 0.01);
	expect_share(im.reordered, im.frames - im.lost, 0.05);
	expect_share(im.duplicated, im.frames - im.lost, 0.02);
	expect_share(im.corrupted, im.frames - im.lost, 0.005);
	ck_assert_uint_eq(im.overflowed, 0);
}
END_TEST

static u16 header_sum(const u8 *header)
{
	return checksum_finish(checksum_add(0, header, 20));
}

/* An ECN-capable packet that waits longer than the threshold; a header's checksum stays right. */
START_TEST(link_marks)
{
	static const u8 ipv4[20] = {
		0x45, 0, 0, 40, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
	struct impair_config c = {.rate_bits_per_s = 8000000, .ce_threshold_ns = 2 * NS_PER_MS};
	u8 frame[64] = {0};
	u64 before;

	impair_init(&im, &c);
	for (u32 i = 0; i < 6; i++) /* 1 ms each */
		ck_assert_int_eq(impair_frame(&im, 0, 1000).mark, i > 2);
	for (u32 ecn = 0; ecn < 4; ecn++) {
		before = im.marked;
		put16(frame + 12, 0x0800);
		memcpy(frame + 14, ipv4, sizeof(ipv4));
		frame[15] = (u8)(0xb8 | ecn);
		put16(frame + 24, header_sum(frame + 14));
		impair_mark(&im, frame, sizeof(frame));
		ck_assert_uint_eq(frame[15], ecn ? 0xbb : 0xb8);
		ck_assert_uint_eq(header_sum(frame + 14), 0);
		ck_assert_uint_eq(im.marked - before, ecn != 0);
		before = im.marked;
		put16(frame + 12, 0x86dd);
		put16(frame + 14, 0x6b8f | ecn << 4);
		impair_mark(&im, frame, sizeof(frame));
		ck_assert_uint_eq(get16(frame + 14), ecn ? 0x6bbf : 0x6b8f);
		impair_mark(&im, frame, 53);
		ck_assert_uint_eq(im.marked - before, ecn != 0);
	}
}
END_TEST

START_TEST(link_extremes)
{
	struct impair_config c = {.loss = IMPAIR_ALWAYS};

	ck_assert(!impair_is_clear(&c));
	impair_init(&im, &c);
	for (u64 i = 0; i < 1000; i++)
		ck_assert_uint_eq(impair_frame(&im, i, 100).copies, 0);
	c = (struct impair_config){.seed = 3};
	ck_assert(impair_is_clear(&c));
	impair_init(&im, &c);
	for (u64 i = 0; i < 1000; i++) {
		struct impair_fate fate = impair_frame(&im, i, 100);

		ck_assert_uint_eq(fate.copies, 1);
		ck_assert_uint_eq(fate.flip, IMPAIR_NO_FLIP);
		ck_assert_uint_eq(fate.due_ns, i);
	}
}
END_TEST

START_TEST(link_jitter_keeps_order)
{
	struct impair_config c = {.delay_ns = 5 * NS_PER_MS, .jitter_ns = 5 * NS_PER_MS};
	u64 last = 0, min = NEVER, max = 0;

	impair_init(&im, &c);
	for (u64 i = 0; i < 10000; i++) {
		u64 now = i * NS_PER_MS * 20;
		u64 due = impair_frame(&im, now, 100).due_ns;

		ck_assert_uint_ge(due, last);
		last = due;
		min = MIN(min, due - now);
		max = MAX(max, due - now);
	}
	ck_assert_uint_lt(min, NS_PER_MS / 10);
	ck_assert_uint_gt(max, 9 * NS_PER_MS + 900 * NS_PER_US);
	ck_assert_uint_le(max, 10 * NS_PER_MS);
	for (u64 i = 0; i < 10000; i++) {
		u64 due = impair_frame(&im, last + i, 100).due_ns;

		ck_assert_uint_ge(due, last);
		last = due;
	}
}
END_TEST

START_TEST(link_reordered_frames_are_overtaken)
{
	struct impair_config c = {.delay_ns = 50 * NS_PER_MS, .reorder = IMPAIR_ALWAYS / 10};
	u64 last = 0, overtaken = 0;

	impair_init(&im, &c);
	for (u64 i = 0; i < 10000; i++) {
		u64 now = i * 100 * NS_PER_US;
		u64 due = impair_frame(&im, now, 100).due_ns;

		ck_assert_uint_le(due - now, 55 * NS_PER_MS);
		ck_assert_uint_ge(due - now, 50 * NS_PER_MS);
		overtaken += due < last;
		last = due;
	}
	expect_share(overtaken, 10000, 0.09);
}
END_TEST

START_TEST(link_rate_and_queue)
{
	struct impair_config c = {.rate_bits_per_s = 8000000, .queue_bytes = 10000};

	/* 1 Mbyte/s: a frame of 1000 bytes takes 1 ms; ten fit, the first of them on the wire. */
	impair_init(&im, &c);
	for (u64 i = 0; i < 12; i++) {
		struct impair_fate fate = impair_frame(&im, 0, 1000);

		ck_assert_uint_eq(fate.copies, i < 10 ? 1 : 0);
		if (fate.copies)
			ck_assert_uint_eq(fate.due_ns, (i + 1) * NS_PER_MS);
	}
	ck_assert_uint_eq(im.overflowed, 2);
	ck_assert_uint_eq(impair_frame(&im, 5 * NS_PER_MS, 1000).due_ns, 11 * NS_PER_MS);
	ck_assert_uint_eq(impair_frame(&im, 50 * NS_PER_MS, 1000).due_ns, 51 * NS_PER_MS);
	/* Larger than the queue, but nothing waits. */
	ck_assert_uint_eq(impair_frame(&im, NS_PER_S, 60000).copies, 1);
}
END_TEST

START_TEST(link_flips_one_bit_of_ip_only)
{
	u8 frame[64], copy[64];

	memset(frame, 0, sizeof(frame));
	frame[12] = 0x08;
	for (u32 bit = 0; bit < 50 * 8; bit++) {
		memcpy(copy, frame, sizeof(frame));
		ck_assert(impair_flip(copy, sizeof(copy), bit));
		ck_assert_mem_eq(copy, frame, 14);
		ck_assert_uint_eq(copy[14 + bit / 8], 1u << bit % 8);
	}
	ck_assert(!impair_flip(frame, sizeof(frame), 50 * 8));
	frame[13] = 0x06;
	ck_assert(!impair_flip(frame, sizeof(frame), 0));
}
END_TEST

START_TEST(link_quantities)
{
	u64 v = 0;

	ck_assert(units_time("5ms", &v) && v == 5 * NS_PER_MS);
	ck_assert(units_time("1.5s", &v) && v == 1500 * NS_PER_MS);
	ck_assert(units_time("0", &v) && v == 0);
	ck_assert(units_probability("0.1%", &v) && v == 4294967);
	ck_assert(units_probability("100%", &v) && v == IMPAIR_ALWAYS);
	ck_assert(units_rate("10mbit", &v) && v == 10000000);
	ck_assert(units_size("64k", &v) && v == 65536);
	ck_assert(units_number("0x2a", 100, &v) && v == 42);
	ck_assert(!units_number("101", 100, &v));
	ck_assert(!units_number("-1", 100, &v));
}
END_TEST

START_TEST(link_wrong_quantities)
{
	static const char *const wrong[] = {"", "5", "ms", "-5ms", "5 ms", "5msx", ".5s", "1e3s",
		"nan", "inf", "0x5ms", "5..5s", "99999999999s"};
	u64 v;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		ck_assert_msg(!units_time(wrong[i], &v), "%s", wrong[i]);
	ck_assert(!units_probability("101%", &v));
	ck_assert(!units_probability("0.1", &v));
	ck_assert(!units_rate("10", &v));
	ck_assert(!units_size("10x", &v));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, link_same_seed_same_fates);
	tcase_add_test(tc, link_settings_are_independent);
	tcase_add_test(tc, link_rates_are_as_asked);
	tcase_add_test(tc, link_marks);
	tcase_add_test(tc, link_extremes);
	tcase_add_test(tc, link_jitter_keeps_order);
	tcase_add_test(tc, link_reordered_frames_are_overtaken);
	tcase_add_test(tc, link_rate_and_queue);
	tcase_add_test(tc, link_flips_one_bit_of_ip_only);
	tcase_add_test(tc, link_quantities);
	tcase_add_test(tc, link_wrong_quantities);
}

int main(void)
{
	return check_lines_case("link", 0, add_tests);
}
