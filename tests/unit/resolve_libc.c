/*
 * Our resolver beside libc's: the same inputs, in a namespace with a DNS server (dnsmasq) on its
 * loopback, an /etc/hosts and a resolv.conf of the test's own and no IPv6. Results must be the same
 * text, except where a row says what ours is and why.
 */
#include "preload/resolve.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define NONE -1 /* no hints at all */

static int failures;
static char dir[] = "/tmp/ustack_resolve.XXXXXX";

static const char hosts_file[] =
	"127.0.0.1\tlocalhost\n::1 localhost ip6-localhost\n"
	"10.1.0.1 one.hosts one  # a comment\n10.1.0.2 two.hosts Two\n10.1.0.3 two.hosts deux\n"
	"fd00::5 six.hosts\n10.2.0.9\tmulti.hosts\n10.0.0.77 multi.hosts\n127.0.0.9 multi.hosts\n"
	"garbage line\n\n";
static const char resolv_file[] = "# test\nnameserver 127.0.0.1\nsearch example.test "
				  "other.test\noptions timeout:1 attempts:1\n";
static const char nss_file[] =
	"hosts: files dns\nservices: files\nprotocols: files\nnetworks: files\n";
static const char zone_file[] =
	"10.3.0.1 plain.test\n10.3.0.2 www.example.test\n10.3.0.3 ftp.other.test\n"
	"10.3.1.1 many.test\n10.3.1.2 many.test\n10.3.1.3 many.test\n"
	"fd00::1 dual.test\n10.3.0.4 dual.test\nfd00::2 only6.test\n";

/* --- the table --- */

static const struct row {
	const char *id;
	const char *name, *service;
	int flags, family, socktype, protocol;
	const char *ours; /* where we differ from libc, and may */
} rows[] = {
	{"null", NULL, NULL, 0, 0, 0, 0, NULL},
	{"stars", "*", "*", 0, 0, 0, 0, NULL},
	{"null-port", NULL, "80", 0, 0, 0, 0, NULL},
	{"null-port-passive", NULL, "80", AI_PASSIVE, 0, SOCK_STREAM, 0, NULL},
	{"null-port-passive-4", NULL, "80", AI_PASSIVE, AF_INET, SOCK_STREAM, 0, NULL},
	{"null-port-passive-6", NULL, "80", AI_PASSIVE, AF_INET6, SOCK_STREAM, 0, NULL},
	{"null-passive-addrconfig", NULL, "80", AI_PASSIVE | AI_ADDRCONFIG, 0, SOCK_STREAM, 0,
		NULL},
	{"null-passive-addrconfig-6", NULL, "80", AI_PASSIVE | AI_ADDRCONFIG, AF_INET6, SOCK_STREAM,
		0, NULL},
	{"no-hints-null", NULL, "http", NONE, 0, 0, 0, NULL},
	{"no-hints-localhost", "localhost", "http", NONE, 0, 0, 0,
		"2 1 6 127.0.0.1 80\n"}, /* once */
	{"no-hints-name", "plain.test", NULL, NONE, 0, 0, 0, NULL},
	{"null-canonname", NULL, "80", AI_CANONNAME, 0, 0, 0, NULL},
	{"bad-flags", "1.2.3.4", "80", 0x10000000, 0, 0, 0, NULL},
	{"bad-family", "1.2.3.4", "80", 0, AF_UNIX, 0, 0, NULL},
	{"bad-family-localhost", "localhost", "80", 0, 77, 0, 0, NULL},
	{"bad-socktype", "1.2.3.4", "80", 0, 0, 99, 0, NULL},
	{"bad-protocol", "1.2.3.4", "80", 0, 0, 0, 99, NULL},
	{"bad-pair", "1.2.3.4", "80", 0, 0, SOCK_STREAM, IPPROTO_UDP, NULL},
	{"any-type", "1.2.3.4", "80", 0, 0, 0, 0, NULL},
	{"any-type-no-port", "1.2.3.4", NULL, 0, 0, 0, 0, NULL},
	{"empty-service", "1.2.3.4", "", 0, 0, 0, 0, NULL},
	{"empty-name", "", "80", 0, 0, SOCK_STREAM, 0, NULL},
	{"empty-name-4", "", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"raw", "1.2.3.4", NULL, 0, 0, SOCK_RAW, 0, NULL},
	{"raw-icmp", "1.2.3.4", NULL, 0, AF_INET, SOCK_RAW, IPPROTO_ICMP, NULL},
	{"raw-port", "1.2.3.4", "80", 0, 0, SOCK_RAW, 0, NULL},
	{"raw-service", "1.2.3.4", "http", 0, 0, SOCK_RAW, 0, NULL},
	{"udp", "1.2.3.4", "53", 0, 0, SOCK_DGRAM, 0, NULL},
	{"protocol-tcp", "1.2.3.4", "53", 0, 0, 0, IPPROTO_TCP, NULL},
	{"protocol-udplite", "1.2.3.4", "53", 0, 0, 0, IPPROTO_UDPLITE, NULL},
	{"protocol-sctp", "1.2.3.4", "53", 0, 0, 0, IPPROTO_SCTP, NULL},
	{"protocol-icmp", "1.2.3.4", NULL, 0, 0, 0, IPPROTO_ICMP, NULL},
	{"stream-cloexec", "1.2.3.4", "53", 0, 0, SOCK_STREAM | SOCK_CLOEXEC, 0, NULL},
	{"service-both", "1.2.3.4", "domain", 0, 0, 0, 0, NULL},
	{"service-tcp-only", "1.2.3.4", "ssh", 0, 0, 0, 0, NULL},
	{"service-udp-missing", "1.2.3.4", "ssh", 0, 0, SOCK_DGRAM, 0, NULL},
	{"service-unknown", "1.2.3.4", "nosuchservice", 0, 0, 0, 0, NULL},
	{"service-unknown-tcp", "1.2.3.4", "nosuchservice", 0, 0, SOCK_STREAM, 0, NULL},
	{"service-numericserv", "1.2.3.4", "http", AI_NUMERICSERV, 0, SOCK_STREAM, 0, NULL},
	{"service-trailing", "1.2.3.4", "80x", 0, 0, SOCK_STREAM, 0, NULL},
	{"service-big", "1.2.3.4", "65536", 0, 0, SOCK_STREAM, 0, NULL},
	{"service-huge", "1.2.3.4", "4294967376", 0, 0, SOCK_STREAM, 0, NULL},
	{"service-negative", "1.2.3.4", "-1", 0, 0, SOCK_STREAM, 0, NULL},
	{"service-blank", "1.2.3.4", " 80", 0, 0, SOCK_STREAM, 0, NULL},
	{"numeric-canon", "1.2.3.4", "80", AI_CANONNAME, 0, SOCK_STREAM, 0, NULL},
	{"numeric-short", "1.2", "80", AI_NUMERICHOST, 0, SOCK_STREAM, 0, NULL},
	{"numeric-hex", "0x7f.1", "80", AI_NUMERICHOST, 0, SOCK_STREAM, 0, NULL},
	{"numeric-octal", "0177.0.0.1", "80", AI_NUMERICHOST, 0, SOCK_STREAM, 0, NULL},
	{"numeric-word", "16909060", "80", AI_NUMERICHOST, 0, SOCK_STREAM, 0, NULL},
	{"numeric-too-big", "1.2.3.256", "80", AI_NUMERICHOST, 0, SOCK_STREAM, 0, NULL},
	{"numeric-blank", "1.2.3.4 x", "80", AI_NUMERICHOST, 0, SOCK_STREAM, 0, NULL},
	{"numeric-4-as-6", "1.2.3.4", "80", 0, AF_INET6, SOCK_STREAM, 0, NULL},
	{"numeric-4-mapped", "1.2.3.4", "80", AI_V4MAPPED, AF_INET6, SOCK_STREAM, 0, NULL},
	{"numeric-6", "::1", "80", 0, 0, SOCK_STREAM, 0, NULL},
	{"numeric-6-as-6", "fd00::1", "80", AI_NUMERICHOST | AI_CANONNAME, AF_INET6, SOCK_STREAM, 0,
		NULL},
	{"numeric-6-as-4", "::1", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"numeric-6-addrconfig", "::1", "80", AI_ADDRCONFIG, 0, SOCK_STREAM, 0, NULL},
	{"numeric-6-mapped-as-4", "::ffff:1.2.3.4", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"numeric-6-scope", "fe80::1%lo", "80", 0, 0, SOCK_STREAM, 0, NULL},
	{"numeric-6-scope-number", "fe80::1%7", "80", 0, 0, SOCK_STREAM, 0, NULL},
	{"numeric-6-scope-bad", "fe80::1%nosuch", "80", 0, 0, SOCK_STREAM, 0, NULL},
	{"numeric-6-scope-global", "fd00::1%lo", "80", 0, 0, SOCK_STREAM, 0, NULL},
	{"numeric-host-name", "plain.test", "80", AI_NUMERICHOST, 0, SOCK_STREAM, 0, NULL},
	{"numeric-host-bad-6", "fd00:::1", "80", AI_NUMERICHOST, 0, SOCK_STREAM, 0, NULL},
	{"hosts-4", "one.hosts", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"hosts-any", "one.hosts", "80", 0, 0, SOCK_STREAM, 0, NULL},
	{"hosts-alias-canon", "one", "80", AI_CANONNAME, 0, SOCK_STREAM, 0, NULL},
	{"hosts-alias-canon-4", "one", "80", AI_CANONNAME, AF_INET, SOCK_STREAM, 0, NULL},
	{"hosts-case", "OnE.HoStS", "80", AI_CANONNAME, AF_INET, SOCK_STREAM, 0, NULL},
	{"hosts-two-lines", "two.hosts", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"hosts-two-lines-any", "two.hosts", "80", 0, 0, SOCK_STREAM, 0, NULL},
	{"hosts-order", "multi.hosts", "80", AI_ADDRCONFIG, 0, SOCK_STREAM, 0, NULL},
	{"hosts-order-4", "multi.hosts", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"hosts-all-types", "one.hosts", "domain", 0, AF_INET, 0, 0, NULL},
	{"hosts-as-6", "one.hosts", "80", 0, AF_INET6, SOCK_STREAM, 0,
		"error -5\n"}, /* known, without such an address */
	{"hosts-as-6-mapped", "one.hosts", "80", AI_V4MAPPED, AF_INET6, SOCK_STREAM, 0, NULL},
	{"hosts-only-6", "six.hosts", "80", 0, AF_INET, SOCK_STREAM, 0,
		"error -3\n"}, /* a refusal is no answer, whatever the family */
	{"localhost-4", "localhost", "80", 0, AF_INET, SOCK_STREAM, 0,
		"2 1 6 127.0.0.1 80\n"}, /* once */
	{"localhost-addrconfig", "localhost", "80", AI_ADDRCONFIG, 0, SOCK_STREAM, 0,
		"2 1 6 127.0.0.1 80\n"}, /* once */
	{"localhost-any", "localhost", "80", 0, 0, SOCK_STREAM, 0,
		"2 1 6 127.0.0.1 80\n"}, /* no IPv6 */
	{"dns-4", "plain.test", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-any", "plain.test", "80", 0, 0, SOCK_STREAM, 0, NULL},
	{"dns-any-types", "plain.test", NULL, 0, 0, 0, 0, NULL},
	{"dns-dot", "plain.test.", "80", AI_CANONNAME, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-case", "PLAIN.Test", "80", AI_CANONNAME, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-canon", "plain.test", "80", AI_CANONNAME, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-cname", "alias.test", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-cname-canon", "alias.test", "80", AI_CANONNAME, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-cname-canon-any", "alias.test", "80", AI_CANONNAME, 0, SOCK_STREAM, 0, NULL},
	{"dns-cname-chain", "alias2.test", "80", AI_CANONNAME, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-many", "many.test", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-tcp-after-truncation", "big.test", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-dual", "dual.test", "80", 0, 0, SOCK_STREAM, 0, "2 1 6 10.3.0.4 80\n"}, /* no IPv6 */
	{"dns-dual-addrconfig", "dual.test", "80", AI_ADDRCONFIG, 0, SOCK_STREAM, 0, NULL},
	{"dns-dual-4", "dual.test", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-only-6", "only6.test", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-only-6-any", "only6.test", "80", 0, 0, SOCK_STREAM, 0, "error -5\n"}, /* no IPv6 */
	{"dns-as-6", "plain.test", "80", 0, AF_INET6, SOCK_STREAM, 0, NULL},
	{"dns-as-6-addrconfig", "plain.test", "80", AI_ADDRCONFIG, AF_INET6, SOCK_STREAM, 0, NULL},
	{"dns-as-6-mapped", "plain.test", "80", AI_V4MAPPED, AF_INET6, SOCK_STREAM, 0, NULL},
	{"dns-missing-4", "missing.test", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-missing-any", "missing.test", "80", 0, 0, SOCK_STREAM, 0, NULL},
	{"dns-missing-canon", "missing.test", "80", AI_CANONNAME, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-no-data-4", "text.test", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-no-data-any", "text.test", "80", 0, 0, SOCK_STREAM, 0, NULL},
	{"dns-refused-4", "www.elsewhere", "80", 0, AF_INET, SOCK_STREAM, 0,
		"error -3\n"}, /* a refusal is no answer, whatever the family */
	{"dns-refused-any", "www.elsewhere", "80", 0, 0, SOCK_STREAM, 0, NULL},
	{"dns-search-first", "www", "80", AI_CANONNAME, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-search-second", "ftp", "80", AI_CANONNAME, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-search-missing", "gopher", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-search-missing-any", "gopher", "80", 0, 0, SOCK_STREAM, 0, NULL},
	{"dns-digits", "1.2.3.256", "80", 0, AF_INET, SOCK_STREAM, 0,
		"error -3\n"}, /* a refusal is no answer, whatever the family */
	{"dns-long-label",
		"a123456789012345678901234567890123456789012345678901234567890123456789.test", "80",
		0, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-long-label-any",
		"a123456789012345678901234567890123456789012345678901234567890123456789.test", "80",
		0, 0, SOCK_STREAM, 0, NULL},
	{"dns-no-host-name", "a~b.elsewhere", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-no-host-name-dash", "-a.elsewhere", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-no-host-name-colon", "::1q", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
	{"dns-empty-label", "a..test", "80", 0, AF_INET, SOCK_STREAM, 0, NULL},
};

/* --- results as text --- */

static void put(char *out, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void put(char *out, size_t size, const char *format, ...)
{
	size_t n = strlen(out);
	va_list args;

	va_start(args, format);
	vsnprintf(out + n, size - n, format, args);
	va_end(args);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted where the server turns its records round. */
static void sort_lines(char *text)
{
	char copy[16384], *line[256], *save;
	size_t n = 0;

	strcpy(copy, text);
	for (char *p = strtok_r(copy, "\n", &save); p && n < ARRAY_LEN(line);
		p = strtok_r(NULL, "\n", &save))
		line[n++] = p;
	qsort(line, n, sizeof(line[0]), by_text);
	*text = 0;
	for (size_t i = 0; i < n; i++)
		put(text, sizeof(copy), "%s\n", line[i]);
}

static void show_addrinfo(char *out, size_t size, int ret, const struct addrinfo *list)
{
	*out = 0;
	if (ret) {
		put(out, size, "error %d\n", ret);
		return;
	}
	for (; list; list = list->ai_next) {
		char text[INET6_ADDRSTRLEN] = "?";
		int port = 0;
		u32 scope = 0;

		if (list->ai_addr->sa_family == AF_INET) {
			struct sockaddr_in *in = (struct sockaddr_in *)list->ai_addr;

			inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
			port = ntohs(in->sin_port);
		} else {
			struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)list->ai_addr;

			inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
			port = ntohs(in6->sin6_port);
			scope = in6->sin6_scope_id;
		}
		put(out, size, "%d %d %d %s", list->ai_family, list->ai_socktype, list->ai_protocol,
			text);
		if (scope)
			put(out, size, "%%%u", scope);
		put(out, size, " %d", port);
		if (list->ai_canonname)
			put(out, size, " %s", list->ai_canonname);
		put(out, size, "\n");
	}
}

static void judge(const char *id, const char *libc, const char *ours)
{
	if (!strcmp(libc, ours)) {
		printf("ok %s\n", id);
		return;
	}
	failures++;
	printf("not ok %s libc:", id);
	for (const char *p = libc; *p; p++)
		putchar(*p == '\n' ? '/' : *p);
	printf(" ours:");
	for (const char *p = ours; *p; p++)
		putchar(*p == '\n' ? '/' : *p);
	putchar('\n');
}

static void run_row(const struct row *row)
{
	struct addrinfo hints = {.ai_flags = row->flags,
		.ai_family = row->family,
		.ai_socktype = row->socktype,
		.ai_protocol = row->protocol};
	const struct addrinfo *given = row->flags == NONE ? NULL : &hints;
	struct addrinfo *list = NULL;
	char libc[16384], ours[16384], id[96];
	int ret;

	ret = getaddrinfo(row->name, row->service, given, &list);
	show_addrinfo(libc, sizeof(libc), ret, list);
	if (!ret)
		resolve_freeaddrinfo(list); /* either side frees the other's */
	list = NULL;
	ret = resolve_getaddrinfo(row->name, row->service, given, &list);
	show_addrinfo(ours, sizeof(ours), ret, list);
	if (!ret)
		freeaddrinfo(list);
	if (row->name && (!strcmp(row->name, "many.test") || !strcmp(row->name, "big.test"))) {
		sort_lines(libc);
		sort_lines(ours);
	}
	snprintf(id, sizeof(id), "resolve-getaddrinfo-%s", row->id);
	judge(id, row->ours ? row->ours : libc, ours);
}

/* --- gethostbyname and gethostbyaddr --- */

static void show_hostent(char *out, size_t size, int ret, const struct hostent *host, int h_error)
{
	*out = 0;
	if (!host) {
		put(out, size, "error %d %d\n", ret, h_error);
		return;
	}
	put(out, size, "%d %d %s", host->h_addrtype, host->h_length, host->h_name);
	for (char **p = host->h_aliases; *p; p++)
		put(out, size, " alias %s", *p);
	for (char **p = host->h_addr_list; *p; p++) {
		char text[INET6_ADDRSTRLEN];

		put(out, size, " %s", inet_ntop(host->h_addrtype, *p, text, sizeof(text)));
	}
	put(out, size, "\n");
}

static const struct {
	const char *id, *name;
	int family;
	const char *ours;
} names[] = {
	{"hosts", "one", AF_INET, NULL}, {"two-lines", "two.hosts", AF_INET, NULL},
	{"dns", "plain.test", AF_INET, NULL}, {"cname", "alias2.test", AF_INET, NULL},
	{"search", "ftp", AF_INET, NULL}, {"missing", "missing.test", AF_INET, NULL},
	{"no-data", "text.test", AF_INET, NULL},
	{"refused", "www.elsewhere", AF_INET, "error 11 2\n"},
	{"numeric", "1.2.3.4", AF_INET, NULL}, {"numeric-short", "1.2", AF_INET, NULL},
	{"numeric-bad", "1.2.3.256", AF_INET, NULL}, {"numeric-as-6", "1.2.3.4", AF_INET6, NULL},
	{"numeric-6", "fd00::1", AF_INET6, NULL}, {"numeric-6-as-4", "fd00::1", AF_INET, NULL},
	{"bad-family", "one", AF_UNIX, NULL}, {"as-6", "plain.test", AF_INET6, NULL},
	{"empty", "", AF_INET, NULL}, {"no-host-name", "1+.elsewhere", AF_INET, NULL},
	{"localhost", "localhost", AF_INET,
		"2 4 localhost alias ip6-localhost 127.0.0.1\n"}, /* once */
};

static void run_names(void)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char libc[4096], ours[4096], id[96], buf[2048];
		struct hostent entry, *host = NULL;
		int h_error = 77, ret;

		ret = gethostbyname2_r(
			names[i].name, names[i].family, &entry, buf, sizeof(buf), &host, &h_error);
		show_hostent(libc, sizeof(libc), ret, host, h_error);
		h_error = 77;
		ret = resolve_gethostbyname2_r(
			names[i].name, names[i].family, &entry, buf, sizeof(buf), &host, &h_error);
		show_hostent(ours, sizeof(ours), ret, host, h_error);
		snprintf(id, sizeof(id), "resolve-gethostbyname-%s", names[i].id);
		judge(id, names[i].ours ? names[i].ours : libc, ours);
	}
}

static void run_small_buffers(void)
{
	static const char *const name[] = {"1.2.3.4", "one", "plain.test"};

	for (size_t i = 0; i < ARRAY_LEN(name); i++)
		for (size_t size = 0; size < 200; size++) {
			struct hostent entry, *host = &entry;
			char buf[256], id[64];
			int h_error = 0, ret;

			memset(buf, 0x55, sizeof(buf));
			ret = resolve_gethostbyname2_r(
				name[i], AF_INET, &entry, buf, size, &host, &h_error);
			for (size_t j = size; j < sizeof(buf); j++)
				if (buf[j] != 0x55)
					ret = -1;
			if (!ret || (ret == ERANGE && !host && h_error == NETDB_INTERNAL))
				continue;
			snprintf(id, sizeof(id), "resolve-small-buffer-%zu", size);
			judge(id, "ERANGE", "another answer");
			return;
		}
	judge("resolve-small-buffers", "", "");
}

static void run_addresses(void)
{
	static const struct {
		const char *id, *text;
		int family;
		socklen_t len;
	} addrs[] = {
		{"hosts", "10.1.0.1", AF_INET, 4},
		{"localhost", "127.0.0.1", AF_INET, 4},
		{"dns", "10.3.0.2", AF_INET, 4},
		{"dns-6", "fd00::2", AF_INET6, 16},
		{"missing", "10.3.9.9", AF_INET, 4},
		{"any-6", "::", AF_INET6, 16},
		{"hosts-6", "::1", AF_INET6, 16},
		{"bad-family", "10.3.0.2", AF_UNIX, 4},
	};

	for (size_t i = 0; i < ARRAY_LEN(addrs); i++) {
		char libc[4096], ours[4096], id[96], buf[2048], addr[16] = {0};
		struct hostent entry, *host = NULL;
		int h_error = 77, ret;

		inet_pton(addrs[i].len == 16 ? AF_INET6 : AF_INET, addrs[i].text, addr);
		ret = gethostbyaddr_r(addr, addrs[i].len, addrs[i].family, &entry, buf, sizeof(buf),
			&host, &h_error);
		show_hostent(libc, sizeof(libc), ret, host, h_error);
		h_error = 77;
		ret = resolve_gethostbyaddr_r(addr, addrs[i].len, addrs[i].family, &entry, buf,
			sizeof(buf), &host, &h_error);
		show_hostent(ours, sizeof(ours), ret, host, h_error);
		snprintf(id, sizeof(id), "resolve-gethostbyaddr-%s", addrs[i].id);
		judge(id, libc, ours);
	}
}

/* --- getnameinfo --- */

static void run_nameinfo(void)
{
	static const struct {
		const char *id, *text;
		int port, flags;
		socklen_t host, service;
	} calls[] = {
		{"hosts", "10.1.0.1", 80, 0, 100, 100},
		{"dns", "10.3.0.2", 53, NI_DGRAM, 100, 100},
		{"dns-nofqdn", "10.3.0.2", 53, NI_NOFQDN, 100, 100},
		{"missing", "10.3.9.9", 9999, 0, 100, 100},
		{"missing-namereqd", "10.3.9.9", 80, NI_NAMEREQD, 100, 100},
		{"numeric", "10.3.0.2", 80, NI_NUMERICHOST | NI_NUMERICSERV, 100, 100},
		{"numeric-namereqd", "10.3.0.2", 80, NI_NUMERICHOST | NI_NAMEREQD, 100, 100},
		{"small-host", "10.1.0.1", 80, 0, 5, 100},
		{"small-host-numeric", "10.1.0.1", 80, NI_NUMERICHOST, 8, 100},
		{"fitting-host-numeric", "10.1.0.1", 80, NI_NUMERICHOST, 9, 100},
		{"small-service", "10.1.0.1", 80, 0, 100, 3},
		{"no-host", "10.1.0.1", 80, 0, 0, 100},
		{"no-service", "10.1.0.1", 80, 0, 100, 0},
		{"neither", "10.1.0.1", 80, 0, 0, 0},
		{"bad-flags", "10.1.0.1", 80, 0x100000, 100, 100},
		{"six-numeric", "fe80::1", 80, NI_NUMERICHOST, 100, 100},
		{"six", "fd00::2", 80, 0, 100, 100},
	};

	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		struct sockaddr_in in = {
			.sin_family = AF_INET, .sin_port = htons((u16)calls[i].port)};
		struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
			.sin6_port = htons((u16)calls[i].port),
			.sin6_scope_id = 1};
		bool six = strchr(calls[i].text, ':');
		const struct sockaddr *addr = six ? (void *)&in6 : (void *)&in;
		socklen_t len = six ? sizeof(in6) : sizeof(in);
		char libc[512] = "", ours[512] = "", host[128] = "", service[128] = "", id[96];
		int ret;

		inet_pton(AF_INET, calls[i].text, &in.sin_addr);
		inet_pton(AF_INET6, calls[i].text, &in6.sin6_addr);
		ret = getnameinfo(addr, len, calls[i].host ? host : NULL, calls[i].host,
			calls[i].service ? service : NULL, calls[i].service, calls[i].flags);
		put(libc, sizeof(libc), "%d %s %s\n", ret, ret ? "" : host, ret ? "" : service);
		*host = *service = 0;
		ret = resolve_getnameinfo(addr, len, calls[i].host ? host : NULL, calls[i].host,
			calls[i].service ? service : NULL, calls[i].service, calls[i].flags);
		put(ours, sizeof(ours), "%d %s %s\n", ret, ret ? "" : host, ret ? "" : service);
		snprintf(id, sizeof(id), "resolve-getnameinfo-%s", calls[i].id);
		judge(id, libc, ours);
	}
}

/* --- res_* --- */

static void show_answer(char *out, size_t size, int ret, int h_error, const unsigned char *answer)
{
	*out = 0;
	put(out, size, "%s %d", ret < 0 ? "error" : "answer", h_error);
	if (ret > 0)
		put(out, size, " length %d records %d rcode %d", ret, answer[6] << 8 | answer[7],
			answer[3] & 0xf);
	put(out, size, "\n");
}

static void run_queries(void)
{
	static const struct {
		const char *id, *name;
		int type;
	} queries[] = {
		{"a", "plain.test", ns_t_a},
		{"text", "text.test", ns_t_txt},
		{"mx", "mail.test", ns_t_mx},
		{"many", "many.test", ns_t_a},
		{"truncated", "big.test", ns_t_a},
		{"six", "only6.test", ns_t_aaaa},
		{"missing", "missing.test", ns_t_a},
		{"no-data", "text.test", ns_t_a},
		{"refused", "www.elsewhere", ns_t_a},
		{"relative", "www", ns_t_a},
		{"long-label",
			"a123456789012345678901234567890123456789012345678901234567890123456789."
			"test",
			ns_t_a},
	};

	for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
		unsigned char answer[8192];
		char libc[256], ours[256], id[64];
		int ret;

		ret = res_query(queries[i].name, ns_c_in, queries[i].type, answer, sizeof(answer));
		show_answer(libc, sizeof(libc), ret, ret < 0 ? h_errno : 0, answer);
		ret = resolve_query(
			NULL, queries[i].name, ns_c_in, queries[i].type, answer, sizeof(answer));
		show_answer(ours, sizeof(ours), ret, ret < 0 ? h_errno : 0, answer);
		snprintf(id, sizeof(id), "resolve-query-%s", queries[i].id);
		judge(id, libc, ours);
		ret = res_search(queries[i].name, ns_c_in, queries[i].type, answer, sizeof(answer));
		show_answer(libc, sizeof(libc), ret, ret < 0 ? h_errno : 0, answer);
		ret = resolve_search(
			NULL, queries[i].name, ns_c_in, queries[i].type, answer, sizeof(answer));
		show_answer(ours, sizeof(ours), ret, ret < 0 ? h_errno : 0, answer);
		snprintf(id, sizeof(id), "resolve-search-%s", queries[i].id);
		judge(id, libc, ours);
	}
}

static void run_state(void)
{
	unsigned char query[512], answer[512];
	char libc[256], ours[256];
	struct __res_state state = {0};
	int ret, len;

	res_ninit(&state);
	len = res_nmkquery(&state, ns_o_query, "plain.test", ns_c_in, ns_t_a, NULL, 0, NULL, query,
		sizeof(query));
	ret = res_nsend(&state, query, len, answer, sizeof(answer));
	show_answer(libc, sizeof(libc), ret, 0, answer);
	ret = resolve_send(&state, query, len, answer, sizeof(answer));
	show_answer(ours, sizeof(ours), ret, 0, answer);
	judge("resolve-nsend", libc, ours);
	/* A server of the program's own choice, where none listens. */
	state.nsaddr_list[0].sin_port = htons(54);
	ret = res_nquery(&state, "plain.test", ns_c_in, ns_t_a, answer, sizeof(answer));
	show_answer(libc, sizeof(libc), ret, state.res_h_errno, answer);
	ret = resolve_query(&state, "plain.test", ns_c_in, ns_t_a, answer, sizeof(answer));
	show_answer(ours, sizeof(ours), ret, state.res_h_errno, answer);
	judge("resolve-nquery-own-server", libc, ours);
	res_nclose(&state);
}

/* --- asynchronous requests, threads, and what must not be opened --- */

static void expect(const char *id, bool right, const char *what)
{
	judge(id, "", right ? "" : what);
}

static volatile sig_atomic_t signalled;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	signalled = info->si_code == SI_ASYNCNL && info->si_value.sival_int == 7 ? sig : -1;
}

static void run_async(void)
{
	struct gaicb a = {.ar_name = "plain.test"}, b = {.ar_name = "missing.test"},
		     c = {.ar_name = "one"};
	struct gaicb *list[] = {&a, NULL, &b, &c};
	const struct gaicb *pending[] = {&a};
	struct sigevent event = {
		.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value = {7}};
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
	int ret;

	ret = resolve_getaddrinfo_a(GAI_WAIT, list, 4, NULL);
	expect("resolve-async-wait",
		!ret && !resolve_gai_error(&a) && resolve_gai_error(&b) == EAI_NONAME &&
			!resolve_gai_error(&c) && a.ar_result && !b.ar_result && c.ar_result,
		"another result");
	resolve_freeaddrinfo(a.ar_result);
	resolve_freeaddrinfo(c.ar_result);
	sigaction(SIGUSR1, &action, NULL);
	ret = resolve_getaddrinfo_a(GAI_NOWAIT, list, 1, &event);
	while (!ret && resolve_gai_error(&a) == EAI_INPROGRESS) {
		int waited = resolve_gai_suspend(pending, 1, NULL);

		if (waited && waited != EAI_INTR && waited != EAI_ALLDONE)
			ret = waited;
	}
	for (int i = 0; i < 1000 && !signalled; i++)
		usleep(1000);
	expect("resolve-async-signal", !ret && signalled == SIGUSR1 && !resolve_gai_error(&a),
		"no signal");
	expect("resolve-async-done",
		resolve_gai_suspend(pending, 1, NULL) == EAI_ALLDONE &&
			resolve_gai_cancel(&a) == EAI_ALLDONE,
		"not done");
	resolve_freeaddrinfo(a.ar_result);
	expect("resolve-async-bad-mode",
		resolve_getaddrinfo_a(5, list, 1, NULL) == EAI_SYSTEM && errno == EINVAL, "taken");
}

static void *look_up_many(void *arg)
{
	static const char *const name[] = {"plain.test", "one", "www", "1.2.3.4"};
	uintptr_t wrong = 0;

	(void)arg;
	for (int i = 0; i < 40; i++) {
		struct addrinfo *found = NULL;

		wrong += resolve_getaddrinfo(name[i % 4], "80", NULL, &found) != 0;
		resolve_freeaddrinfo(found);
	}
	return (void *)wrong;
}

static void run_threads(void)
{
	pthread_t thread[8];
	uintptr_t wrong = 0;

	for (int i = 0; i < 8; i++)
		pthread_create(&thread[i], NULL, look_up_many, NULL);
	for (int i = 0; i < 8; i++) {
		void *result;

		pthread_join(thread[i], &result);
		wrong += (uintptr_t)result;
	}
	expect("resolve-threads", !wrong, "a lookup failed");
}

/* With no descriptor to be had: what needs none works, what needs one says so. */
static void run_without_descriptors(void)
{
	struct rlimit old, none = {0};
	struct addrinfo numeric = {.ai_flags = AI_NUMERICHOST}, passive = {.ai_flags = AI_PASSIVE},
			*list = NULL;
	struct sockaddr_in in = {.sin_family = AF_INET};
	char text[64];
	int ret;

	getrlimit(RLIMIT_NOFILE, &old);
	none.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_NOFILE, &none);
	ret = resolve_getaddrinfo("10.1.2.3", "80", &numeric, &list);
	resolve_freeaddrinfo(list);
	list = NULL;
	ret |= resolve_getaddrinfo(NULL, "80", &passive, &list);
	resolve_freeaddrinfo(list);
	ret |= resolve_getnameinfo(
		(struct sockaddr *)&in, sizeof(in), text, sizeof(text), NULL, 0, NI_NUMERICHOST);
	list = NULL;
	expect("resolve-numeric-opens-nothing", !ret, "it does");
	ret = resolve_getaddrinfo("plain.test", "80", NULL, &list);
	setrlimit(RLIMIT_NOFILE, &old);
	expect("resolve-without-descriptors", ret == EAI_SYSTEM || ret == EAI_AGAIN,
		gai_strerror(ret));
}

/* --- the namespace --- */

static void die(const char *what)
{
	printf("not ok resolve-libc-setup %s: %s\n", what, strerror(errno));
	exit(1);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(path);
	close(fd);
}

static void replace(const char *target, const char *name, const char *text)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	write_text(path, text);
	if (mount(path, target, NULL, MS_BIND, NULL))
		die(target);
}

static pid_t start_dnsmasq(void)
{
	char zone[96], big[16384];
	pid_t pid;

	snprintf(zone, sizeof(zone), "--addn-hosts=%s/zone", dir);
	snprintf(big, sizeof(big), "%s", zone_file);
	for (int i = 1; i <= 60; i++)
		put(big, sizeof(big), "10.4.0.%d big.test\n", i);
	write_text(zone + strlen("--addn-hosts="), big);
	pid = fork();
	if (!pid) {
		execlp("dnsmasq", "dnsmasq", "-k", "--conf-file=/dev/null", "--no-resolv",
			"--no-hosts", "--user=root", "--pid-file=", "--listen-address=127.0.0.1",
			"--bind-interfaces", "--local=/test/", "--local=/3.10.in-addr.arpa/",
			"--cname=alias.test,plain.test", "--cname=alias2.test,alias.test",
			"--txt-record=text.test,hello", "--mx-host=mail.test,plain.test,10", zone,
			"--log-facility=/dev/null", (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 100; i++) {
		struct sockaddr_in to = {.sin_family = AF_INET,
			.sin_port = htons(53),
			.sin_addr = {htonl(INADDR_LOOPBACK)}};
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int ret = connect(fd, (struct sockaddr *)&to, sizeof(to));

		close(fd);
		if (!ret)
			return pid;
		usleep(50000);
	}
	die("dnsmasq");
	return 0;
}

static void enter_namespace(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS))
		die("unshare");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("mount");
	write_text("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	if (system("ip link set lo up && ip addr add 10.0.0.2/24 dev lo && ip route add default "
		   "dev lo"))
		die("ip");
	if (!mkdtemp(dir))
		die(dir);
	replace("/etc/hosts", "hosts", hosts_file);
	replace("/etc/resolv.conf", "resolv", resolv_file);
	replace("/etc/nsswitch.conf", "nss", nss_file);
}

int main(void)
{
	char command[96];
	pid_t dnsmasq;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (geteuid()) {
		printf("skip resolve-libc needs root for a network namespace\n");
		return 0;
	}
	enter_namespace();
	dnsmasq = start_dnsmasq();
	setenv("USTACK_CONFIG", "/dev/null", 1);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		run_row(&rows[i]);
	run_names();
	run_small_buffers();
	run_addresses();
	run_nameinfo();
	run_queries();
	run_state();
	run_async();
	run_threads();
	run_without_descriptors();
	kill(dnsmasq, SIGKILL);
	waitpid(dnsmasq, NULL, 0);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	if (system(command))
		failures++;
	return failures != 0;
}
