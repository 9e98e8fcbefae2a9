/* The log ring: formats, masks, loss; and the names of counters. */
#include <string.h>

#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

static struct stack *make(void)
{
	struct stack *s = engine_new(NULL);

	stack_clock(s, 1001 * NS_PER_S + 2500 * NS_PER_US);
	log_set(s, LOG_TCP, LOG_DEBUG);
	return s;
}

static const char *next(struct stack *s)
{
	static char line[600];

	return log_read(s, line, sizeof(line)) ? line : "";
}

START_TEST(log_formats)
{
	struct stack *s = make();
	struct addr a = addr_v4(0x0a000002);
	struct endpoint e = {.addr = a, .port = 80};
	struct endpoint six = {
		.addr = {.family = FAMILY_INET6, .b = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}},
		.port = 443};
	struct addr any6 = {.family = FAMILY_INET6};

	LOG(s, LOG_TCP, LOG_DEBUG, "%u %d %x %U %s %c %A %E %E %A %M %t %%", 4000000000u, -5,
		0xbeefu, (u64)1 << 40, "text", 'c', &a, &e, &six, &any6, net_host_mac,
		1500 * NS_PER_US);
	ck_assert_str_eq(next(s),
		"1001.002500 D tcp: 4000000000 -5 beef 1099511627776 text c 10.0.0.2 10.0.0.2:80 "
		"[2001:db8::1]:443 :: 02:00:00:00:00:02 1.500ms %");
	ck_assert_str_eq(next(s), "");
}
END_TEST

START_TEST(log_obeys_the_mask)
{
	struct stack *s = make();

	LOG(s, LOG_TCP, LOG_TRACE, "too fine");
	LOG(s, LOG_UDP, LOG_ERROR, "other area");
	ck_assert_str_eq(next(s), "");
	log_set(s, LOG_AREAS, LOG_ERROR);
	LOG(s, LOG_UDP, LOG_ERROR, "now");
	ck_assert_str_eq(next(s), "1001.002500 E udp: now");
}
END_TEST

START_TEST(log_reports_lost_lines_in_place)
{
	struct stack *s = make();
	u32 lines = 0;
	const char *line;

	for (u32 i = 0; i < 5000; i++)
		LOG(s, LOG_TCP, LOG_DEBUG, "line %u of a ring that is too small for all of them",
			i);
	while (strstr(line = next(s), "ring"))
		lines++;
	ck_assert_uint_gt(lines, 300);
	ck_assert_ptr_nonnull(strstr(line, "log lines lost"));
	ck_assert_str_eq(next(s), "");
	LOG(s, LOG_TCP, LOG_DEBUG, "after");
	ck_assert_str_eq(next(s), "1001.002500 D tcp: after");
}
END_TEST

START_TEST(log_cuts_long_lines_and_control_characters)
{
	struct stack *s = make();
	static char text[1000];
	char small[10];

	memset(text, 'x', sizeof(text) - 1);
	LOG(s, LOG_TCP, LOG_DEBUG, "%s", text);
	ck_assert_uint_lt(strlen(next(s)), 400);
	LOG(s, LOG_TCP, LOG_DEBUG, "a%cb", 27);
	ck_assert_ptr_nonnull(strstr(next(s), "a?b"));
	LOG(s, LOG_TCP, LOG_DEBUG, "%s", "for a small buffer");
	ck_assert_uint_eq(log_read(s, small, sizeof(small)), 9);
	ck_assert_str_eq(next(s), "");
}
END_TEST

START_TEST(counters_have_names)
{
	struct stack *s = make();

	for (int i = 0; i < COUNTERS; i++) {
		ck_assert_int_eq(counter_by_name(counter_name((enum counter)i)), i);
		ck_assert_ptr_nonnull(counter_snmp((enum counter)i));
		ck_assert_uint_gt(strlen(counter_text((enum counter)i)), 3);
	}
	ck_assert_int_eq(counter_by_name("no_such_counter"), -1);
	ck_assert_int_eq(counter_by_name("udp_i"), -1);
	counter_add(s, counter_udp_in, 3);
	ck_assert_uint_eq(net_count(s, "udp_in"), 3);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, log_formats);
	tcase_add_test(tc, log_obeys_the_mask);
	tcase_add_test(tc, log_reports_lost_lines_in_place);
	tcase_add_test(tc, log_cuts_long_lines_and_control_characters);
	tcase_add_test(tc, counters_have_names);
}

int main(void)
{
	return check_lines_case("log", 0, add_tests);
}
