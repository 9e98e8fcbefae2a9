/* The Internet checksum. */
#include <string.h>

#include "stack/checksum.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

/* RFC 1071 4.1, as written there. */
static u16 reference(const u8 *p, u32 len)
{
	u32 sum = 0;

	for (; len > 1; len -= 2, p += 2)
		sum += (u32)p[0] << 8 | p[1];
	if (len)
		sum += (u32)p[0] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (u16)~sum;
}

START_TEST(checksum_example_of_rfc_1071)
{
	static const u8 data[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

	ck_assert_uint_eq(checksum_fold(checksum_add(0, data, 8)), 0xddf2);
	ck_assert_uint_eq(checksum_finish(checksum_add(0, data, 8)), 0x220d);
}
END_TEST

START_TEST(checksum_agrees_with_the_plain_loop)
{
	static u8 data[3000];
	struct random random;

	random_seed(&random, (const u8 *)"0123456789abcdef");
	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)random_u64(&random);
	for (u32 len = 0; len < 600; len++) {
		for (u32 at = 0; at < 9; at++)
			ck_assert_uint_eq(checksum_finish(checksum_add(0, data + at, len)),
				reference(data + at, len));
	}
	for (u32 cut = 0; cut < 2000; cut += 2) {
		u32 sum = checksum_add(checksum_add(0, data, cut), data + cut, 2999 - cut);

		ck_assert_uint_eq(checksum_finish(sum), reference(data, 2999));
	}
	memset(data, 0xff, sizeof(data));
	ck_assert_uint_eq(checksum_finish(checksum_add(0xffffffffu, data, 3000)), 0);
}
END_TEST

START_TEST(checksum_pseudo_header_of_both_families)
{
	struct addr a = addr_v4(0x0a000001), b = addr_v4(0x0a000002);
	static const u8 flat4[] = {10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0x12, 0x34};
	struct addr c = {.family = FAMILY_INET6, .b = {0xfe, 0x80, [15] = 1}},
		    d = {.family = FAMILY_INET6, .b = {0xfe, 0x80, [15] = 2}};
	u8 flat6[40] = {0};

	ck_assert_uint_eq(checksum_finish(checksum_pseudo(&a, &b, 6, 0x1234)),
		reference(flat4, sizeof(flat4)));
	memcpy(flat6, c.b, 16);
	memcpy(flat6 + 16, d.b, 16);
	put32(flat6 + 32, 0x12345);
	flat6[39] = 17;
	ck_assert_uint_eq(checksum_finish(checksum_pseudo(&c, &d, 17, 0x12345)),
		reference(flat6, sizeof(flat6)));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, checksum_example_of_rfc_1071);
	tcase_add_test(tc, checksum_agrees_with_the_plain_loop);
	tcase_add_test(tc, checksum_pseudo_header_of_both_families);
}

int main(void)
{
	return check_lines_case("checksum", 0, add_tests);
}
