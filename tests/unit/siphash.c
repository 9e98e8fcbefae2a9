/* SipHash-2-4 by the vectors of its paper, and the random numbers made of it. */
#include <string.h>

#include "stack/random.h"
#include "tests/lib/check_lines.h"

START_TEST(siphash_vectors_of_the_reference)
{
	/* Key 00..0f, message 00, 01, ... of that length; the result's bytes as the reference
	 * prints them, read little-endian. */
	static const struct {
		u32 len;
		u64 hash;
	} vectors[] = {
		{0, 0x726fdb47dd0e0e31ull},
		{1, 0x74f839c593dc67fdull},
		{7, 0xab0200f58b01d137ull},
		{8, 0x93f5f5799a932462ull},
		{15, 0xa129ca6149be45e5ull},
		{63, 0x958a324ceb064572ull},
	};
	struct siphash_key key;
	u8 bytes[64];

	for (u32 i = 0; i < sizeof(bytes); i++)
		bytes[i] = (u8)i;
	memcpy(key.k, bytes, 16);
	for (u32 i = 0; i < ARRAY_LEN(vectors); i++)
		ck_assert_uint_eq(siphash(&key, bytes, vectors[i].len), vectors[i].hash);
}
END_TEST

START_TEST(random_repeats_with_the_seed_and_differs_without)
{
	struct random a, b, c;

	random_seed(&a, (const u8 *)"0123456789abcdef");
	random_seed(&b, (const u8 *)"0123456789abcdef");
	random_seed(&c, (const u8 *)"0123456789abcdeF");
	for (int i = 0; i < 1000; i++) {
		u64 x = random_u64(&a);

		ck_assert_uint_eq(x, random_u64(&b));
		ck_assert_uint_ne(x, random_u64(&c));
	}
}
END_TEST

START_TEST(random_below_is_even)
{
	struct random r;
	u32 count[10] = {0};

	random_seed(&r, (const u8 *)"0123456789abcdef");
	for (int i = 0; i < 100000; i++)
		count[random_below(&r, 10)]++;
	for (int i = 0; i < 10; i++)
		ck_assert(count[i] > 9500 && count[i] < 10500);
	ck_assert_uint_eq(random_below(&r, 1), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, siphash_vectors_of_the_reference);
	tcase_add_test(tc, random_repeats_with_the_seed_and_differs_without);
	tcase_add_test(tc, random_below_is_even);
}

int main(void)
{
	return check_lines_case("siphash", 0, add_tests);
}
