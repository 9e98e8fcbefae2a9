/* TCP options: what a SYN and a data segment carry, and what hostile bytes do not. */
#include <stdlib.h>
#include <string.h>

#include "stack/tcp_options.h"
#include "tests/lib/check_lines.h"

static struct tcp_options o;

static bool parse(const void *bytes, u32 len, bool syn)
{
	/* On the heap, so that a read past the end is seen. */
	u8 *copy = malloc(len ? len : 1);
	bool good;

	memcpy(copy, bytes, len);
	good = tcp_options_parse(&o, copy, len, syn);
	free(copy);
	return good;
}

START_TEST(tcp_options_syn)
{
	/* As Linux sends it; unaligned on purpose in front. */
	static const u8 syn[] = {
		1, 2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9, 1, 3, 3, 15, 0, 99};

	ck_assert(parse(syn, sizeof(syn), true));
	ck_assert_uint_eq(
		o.flags, TCP_OPT_MSS | TCP_OPT_SACK_OK | TCP_OPT_TIMESTAMP | TCP_OPT_WSCALE);
	ck_assert_uint_eq(o.mss, 1460);
	ck_assert_uint_eq(o.tsval, 7);
	ck_assert_uint_eq(o.tsecr, 9);
	ck_assert_uint_eq(o.wscale, 14);	   /* RFC 7323 2.3: larger is taken for 14 */
	ck_assert(parse(syn, sizeof(syn), false)); /* MUST-65 and its like: on a SYN alone */
	ck_assert_uint_eq(o.flags, TCP_OPT_TIMESTAMP);
}
END_TEST

START_TEST(tcp_options_unknown_skipped)
{
	static const u8 bytes[] = {254, 4, 1, 2, 30, 2, 2, 4, 1, 0};

	ck_assert(parse(bytes, sizeof(bytes), true));
	ck_assert_uint_eq(o.mss, 256);
}
END_TEST

START_TEST(tcp_options_malformed)
{
	static const struct {
		u8 bytes[8];
		u32 len;
	} bad[] = {
		{{2, 0}, 2},
		{{2, 1}, 2},
		{{2}, 1},
		{{2, 4, 1}, 3},
		{{2, 3, 1}, 3},
		{{3, 2}, 2},
		{{3, 4, 1, 1}, 4},
		{{4, 3, 1}, 3},
		{{5, 2}, 2},
		{{5, 7, 0, 0, 0, 0, 0}, 7},
		{{8, 8, 0, 0, 0, 0, 0, 0}, 8},
		{{254}, 1},
		{{254, 255}, 2},
	};

	for (u32 i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert(!parse(bad[i].bytes, bad[i].len, true));
		ck_assert_uint_eq(o.flags, 0);
	}
}
END_TEST

/* Whatever the bytes are, it ends, and gives no more than four blocks. */
START_TEST(tcp_options_random)
{
	u8 bytes[TCP_OPTIONS_MAX];

	srand((unsigned)_i);
	for (int n = 0; n < 20000; n++) {
		for (u32 i = 0; i < sizeof(bytes); i++)
			bytes[i] = (u8)(rand() % 4 ? rand() % 12 : rand());
		parse(bytes, (u32)rand() % (TCP_OPTIONS_MAX + 1), n & 1);
		ck_assert_uint_le(o.sack_count, TCP_SACK_BLOCKS);
		ck_assert_uint_le(o.wscale, TCP_WSCALE_MAX);
	}
}
END_TEST

/* RFC 7413 4.1.1, and the experiment's form (RFC 6994): empty or 4 to 16 bytes, an even number, on a SYN. */
START_TEST(tcp_options_cookies)
{
	u8 out[TCP_OPTIONS_MAX], bytes[TCP_OPTIONS_MAX] = {254, 4, 0xf9, 0x89};

	for (u32 i = 0; i <= 16; i++) {
		struct tcp_options in = {.flags = TCP_OPT_TFO | TCP_OPT_MSS, .mss = 1400, .tfo_len = (u8)i / 2 * 2, .tfo_exp = i & 1};
		bool good = in.tfo_len != 2;
		u32 len;

		memset(in.tfo, 0xa5, in.tfo_len);
		len = tcp_options_build(&in, out);
		ck_assert_uint_eq(len % 4, 0);
		ck_assert(parse(out, len, true) == good);
		ck_assert_uint_eq(o.flags, good ? in.flags : TCP_OPT_MSS);
		if (good) {
			ck_assert_uint_eq(o.tfo_len, in.tfo_len);
			ck_assert_uint_eq(o.tfo_exp, in.tfo_exp);
			ck_assert_mem_eq(o.tfo, in.tfo, sizeof(o.tfo));
		}
		ck_assert(parse(out, len, false));
		ck_assert_uint_eq(o.flags, 0);
	}
	ck_assert(parse(bytes, 4, true));
	ck_assert_uint_eq(o.flags, TCP_OPT_TFO);
	bytes[1] = 3; /* too short for the number of an experiment: another one's */
	ck_assert(parse(bytes, 3, true));
	ck_assert_uint_eq(o.flags, 0);
	bytes[1] = 4;
	bytes[3] = 0x88;
	ck_assert(parse(bytes, 4, true));
	ck_assert_uint_eq(o.flags, 0);
	bytes[1] = 5;
	bytes[3] = 0x89;
	ck_assert(!parse(bytes, 5, true));
	ck_assert_uint_eq(o.flags, 0);
	memcpy(bytes, (const u8[]){34, 2, 254, 8, 0xf9, 0x89, 1, 2, 3, 4}, 10); /* the option itself goes before */
	ck_assert(parse(bytes, 10, true));
	ck_assert_uint_eq(o.flags, TCP_OPT_TFO);
	ck_assert_uint_eq(o.tfo_len, 0);
	ck_assert(!o.tfo_exp);
}
END_TEST

START_TEST(tcp_options_round_trip)
{
	struct tcp_options in = {.mss = 1400,
		.wscale = 7,
		.tsval = 1,
		.tsecr = 2,
		.sack_count = 4,
		.sack = {{1, 2}, {3, 4}, {5, 6}, {7, 8}}};
	u8 out[TCP_OPTIONS_MAX];
	u32 len;

	for (in.flags = 0; in.flags < 32; in.flags++) {
		len = tcp_options_build(&in, out);
		ck_assert_uint_le(len, TCP_OPTIONS_MAX);
		ck_assert_uint_eq(len % 4, 0);
		ck_assert(parse(out, len, true));
		if (in.flags != 31) /* all at once leave no room for a block */
			ck_assert_uint_eq(o.flags, in.flags);
		if (in.flags & TCP_OPT_SACK && !(in.flags & TCP_OPT_TIMESTAMP) && in.flags < 18)
			ck_assert_uint_eq(o.sack_count, 4);
	}
	in.flags = TCP_OPT_TIMESTAMP | TCP_OPT_SACK;
	parse(out, tcp_options_build(&in, out), false);
	ck_assert_uint_eq(o.sack_count, 3);
	ck_assert_uint_eq(o.sack[2].end, 6);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, tcp_options_syn);
	tcase_add_test(tc, tcp_options_unknown_skipped);
	tcase_add_test(tc, tcp_options_malformed);
	tcase_add_loop_test(tc, tcp_options_random, 0, 3);
	tcase_add_test(tc, tcp_options_round_trip);
	tcase_add_test(tc, tcp_options_cookies);
}

int main(void)
{
	return check_lines_case("tcp_options", 0, add_tests);
}
