/* What the resolver reads: DNS answers, which are hostile, and the files, which may be anything. */
#include "preload/resolve_internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/check_lines.h"

static struct resolve_names names;

/* --- an answer under construction --- */

static u8 packet[4096];
static int used;

static void put16(u32 n)
{
	packet[used++] = (u8)(n >> 8);
	packet[used++] = (u8)n;
}

static void put_name(const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");

		packet[used++] = (u8)n;
		memcpy(packet + used, name, n);
		used += (int)n;
		name += n + (name[n] == '.');
	}
	packet[used++] = 0;
}

static void begin(const char *question, int type)
{
	memset(packet, 0, sizeof(packet));
	packet[2] = 0x81;
	packet[5] = 1;
	used = 12;
	put_name(question);
	put16((u32)type);
	put16(ns_c_in);
}

/* A record; its data follows, and then finish(). */
static int record(const char *name, int type)
{
	packet[7]++;
	put_name(name);
	put16((u32)type);
	put16(ns_c_in);
	put16(0);
	put16(60);
	put16(0);
	return used;
}

static void finish(int start)
{
	packet[start - 2] = (u8)((used - start) >> 8);
	packet[start - 1] = (u8)(used - start);
}

static void put_a(const char *name, const char *addr)
{
	int start = record(name, ns_t_a);

	inet_pton(AF_INET, addr, packet + used);
	used += 4;
	finish(start);
}

static void put_target(const char *name, int type, const char *target)
{
	int start = record(name, type);

	put_name(target);
	finish(start);
}

/* Reads the packet from memory of exactly its size. */
static int parse(int type)
{
	u8 *copy = malloc((size_t)used);
	struct resolve_answer answer = {copy, used};
	int ret;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, packet, (size_t)used);
	ret = resolve_dns_read(&answer, type, &names);
	free(copy);
	return ret;
}

START_TEST(resolve_answer_with_addresses)
{
	begin("www.test", ns_t_a);
	put_a("WWW.test", "10.0.0.1");
	put_a("www.test", "10.0.0.2");
	put_a("other.test", "10.0.0.3");
	ck_assert_int_eq(parse(ns_t_a), 0);
	ck_assert_uint_eq(names.addrs, 2);
	ck_assert_str_eq(names.name, "WWW.test");
}
END_TEST

START_TEST(resolve_answer_through_cnames)
{
	begin("a.test", ns_t_a);
	put_target("a.test", ns_t_cname, "b.test");
	put_target("b.test", ns_t_cname, "c.test");
	put_a("c.test", "10.0.0.1");
	put_a("a.test", "10.6.6.6");
	ck_assert_int_eq(parse(ns_t_a), 0);
	ck_assert_uint_eq(names.addrs, 1);
	ck_assert_str_eq(names.name, "c.test");
	ck_assert_uint_eq(names.aliases, 2);
	ck_assert_str_eq(names.alias[1], "b.test");
}
END_TEST

START_TEST(resolve_answer_without_the_name)
{
	begin("a.test", ns_t_a);
	ck_assert_int_eq(parse(ns_t_a), NO_DATA);
	put_a("b.test", "10.0.0.1");
	ck_assert_int_eq(parse(ns_t_a), NO_DATA);
	begin("a.test", ns_t_a);
	for (int i = 0; i < 40; i++) {
		put_target("a.test", ns_t_cname, "b.test");
		put_target("b.test", ns_t_cname, "a.test");
	}
	ck_assert_int_eq(parse(ns_t_a), NO_DATA);
	ck_assert_uint_le(names.aliases, RESOLVE_ALIASES);
}
END_TEST

START_TEST(resolve_answer_with_wrong_lengths)
{
	begin("a.test", ns_t_a);
	put_a("a.test", "10.0.0.1");
	for (int len = 0, whole = used; len < whole; len++) {
		used = len;
		ck_assert_int_eq(len ? parse(ns_t_a) : NO_RECOVERY, NO_RECOVERY);
	}
	begin("a.test", ns_t_a);
	finish(record("a.test", ns_t_a));
	ck_assert_int_eq(parse(ns_t_a), NO_DATA); /* an address of no bytes */
	begin("a.test", ns_t_a);
	put_a("a.test", "10.0.0.1");
	packet[used - 5] = 200; /* more than there is */
	ck_assert_int_eq(parse(ns_t_a), NO_RECOVERY);
	begin("a.test", ns_t_a);
	packet[12] = 0xc0; /* a name that points at itself */
	packet[13] = 12;
	ck_assert_int_eq(parse(ns_t_a), NO_RECOVERY);
	begin("a.test", ns_t_a);
	packet[5] = 2; /* two questions */
	ck_assert_int_eq(parse(ns_t_a), NO_RECOVERY);
}
END_TEST

START_TEST(resolve_answer_with_names)
{
	begin("1.0.0.10.in-addr.arpa", ns_t_ptr);
	put_target("1.0.0.10.in-addr.arpa", ns_t_cname, "1.sub.10.in-addr.arpa");
	put_target("1.sub.10.in-addr.arpa", ns_t_ptr, "one.test");
	put_target("1.sub.10.in-addr.arpa", ns_t_ptr, "uno.test");
	ck_assert_int_eq(parse(ns_t_ptr), 0);
	ck_assert_str_eq(names.name, "one.test");
	ck_assert_uint_eq(names.aliases, 1);
	ck_assert_str_eq(names.alias[0], "uno.test");
}
END_TEST

START_TEST(resolve_answer_has_more_than_is_kept)
{
	char addr[16];

	begin("a.test", ns_t_a);
	for (int i = 0; i < 100; i++) {
		snprintf(addr, sizeof(addr), "10.0.0.%d", i);
		put_a("a.test", addr);
	}
	ck_assert_int_eq(parse(ns_t_a), 0);
	ck_assert_uint_eq(names.addrs, 100);
}
END_TEST

START_TEST(resolve_answers_mutated)
{
	u8 good[sizeof(packet)];
	int whole;

	begin("a.test", ns_t_a);
	put_target("a.test", ns_t_cname, "b.example.test");
	put_a("b.example.test", "10.0.0.1");
	put_a("b.example.test", "10.0.0.2");
	put_target("4.3.2.1.in-addr.arpa", ns_t_ptr, "c.test");
	memcpy(good, packet, sizeof(good));
	whole = used;
	srandom(1);
	for (int i = 0; i < 100000; i++) {
		memcpy(packet, good, sizeof(good));
		used = random() % 4 ? whole : 1 + (int)(random() % whole);
		for (long n = 1 + random() % 4; n; n--)
			packet[random() % used] = random() % 3 ? (u8)random() : 0xc0;
		parse(i & 1 ? ns_t_a : ns_t_ptr);
		ck_assert_uint_le(names.addrs, RESOLVE_ADDRS);
		ck_assert_uint_le(names.aliases, RESOLVE_ALIASES);
	}
}
END_TEST

/* --- files --- */

START_TEST(resolve_conf_is_read_as_libc_reads_it)
{
	char text[] = "# comment\n; another\nnameserver 10.0.0.1\nnameserver  10.0.0.2 # first\r\n "
		      "nameserver 10.0.0.9\n"
		      "nameserver fd00::1\nnameserver 10.0.0.4\ndomain one.test two.test\nsearch "
		      "a.test b.test\t. \n"
		      "options ndots:99 timeout:0 attempts:200 rotate use-vc nonsense "
		      "ndots\nnameserver\nlookup file";
	struct resolve_conf conf;

	resolve_conf_init(&conf);
	resolve_conf_parse(&conf, text);
	ck_assert_uint_eq(conf.servers, 2); /* of the three that count, one is IPv6 */
	ck_assert_uint_eq(ntohl(conf.server[1].addr.s_addr), 0x0a000002);
	ck_assert_uint_eq(conf.server[0].port, 53);
	ck_assert(!conf.server[0].kernel);
	ck_assert_uint_eq(conf.domains, 3);
	ck_assert_str_eq(conf.domain[0], "a.test");
	ck_assert_str_eq(conf.domain[2], ".");
	ck_assert_uint_eq(conf.ndots, RES_MAXNDOTS);
	ck_assert_uint_eq(conf.timeout_ms, 1000);
	ck_assert_uint_eq(conf.tries, RES_MAXRETRY);
	ck_assert(conf.rotate && conf.tcp);
}
END_TEST

START_TEST(resolve_conf_loopback_is_the_kernels)
{
	char text[] = "nameserver 127.0.0.53\n";
	struct resolve_conf conf;

	resolve_conf_init(&conf);
	resolve_conf_parse(&conf, text);
	ck_assert(conf.server[0].kernel);
}
END_TEST

START_TEST(resolve_conf_takes_the_configurations_servers)
{
	struct resolve_conf conf;

	setenv("USTACK_CONFIG", "/dev/null", 1);
	setenv("USTACK_DNS", "10.0.0.7, 127.0.0.1:5353", 1);
	setenv("LOCALDOMAIN", "x.test y.test", 1);
	setenv("RES_OPTIONS", "ndots:3", 1);
	resolve_conf_load(&conf);
	ck_assert_uint_eq(conf.servers, 2);
	ck_assert_uint_eq(conf.server[1].port, 5353);
	ck_assert(!conf.server[1].kernel);
	ck_assert_uint_eq(conf.domains, 2);
	ck_assert_str_eq(conf.domain[1], "y.test");
	ck_assert_uint_eq(conf.ndots, 3);
}
END_TEST

START_TEST(resolve_hosts_lines)
{
	static const char file[] = "10.0.0.1\n10.0.0.2 a b # c\n\t10.0.0.3\ta\n#10.0.0.4 "
				   "a\nfd00::1 a\n::ffff:10.0.0.5 a\n300.1.1.1 a\n"
				   "10.0.0.6 last";
	struct addr addr = addr_v4(0x0a000002);
	char text[sizeof(file)];

	strcpy(text, file);
	ck_assert(resolve_hosts_parse_name(text, "A", &names));
	ck_assert_uint_eq(names.addrs, 3);
	ck_assert_str_eq(names.name, "a");
	ck_assert_uint_eq(names.aliases, 1);
	ck_assert_str_eq(names.alias[0], "b");
	strcpy(text, file);
	ck_assert(!resolve_hosts_parse_name(text, "c", &names));
	strcpy(text, file);
	ck_assert(resolve_hosts_parse_name(text, "last", &names));
	strcpy(text, file);
	ck_assert(resolve_hosts_parse_addr(text, &addr, &names));
	ck_assert_str_eq(names.name, "a");
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, resolve_answer_with_addresses);
	tcase_add_test(tc, resolve_answer_through_cnames);
	tcase_add_test(tc, resolve_answer_without_the_name);
	tcase_add_test(tc, resolve_answer_with_wrong_lengths);
	tcase_add_test(tc, resolve_answer_with_names);
	tcase_add_test(tc, resolve_answer_has_more_than_is_kept);
	tcase_add_test(tc, resolve_answers_mutated);
	tcase_add_test(tc, resolve_conf_is_read_as_libc_reads_it);
	tcase_add_test(tc, resolve_conf_loopback_is_the_kernels);
	tcase_add_test(tc, resolve_conf_takes_the_configurations_servers);
	tcase_add_test(tc, resolve_hosts_lines);
}

int main(void)
{
	return check_lines_case("resolve", 0, add_tests);
}
