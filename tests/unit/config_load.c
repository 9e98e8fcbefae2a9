/* The configuration: each key from each source, precedence, and every kind of mistake with the
 * place it names. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload/config.h"
#include "tests/lib/check_lines.h"

static struct config config;
static char why[CONFIG_WHY_MAX];
static char path[64], path_variable[96];

static void write_file(const void *text, size_t size)
{
	int fd;

	snprintf(path, sizeof(path), "/tmp/ustack_config.XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, size), (ssize_t)size);
	close(fd);
	snprintf(path_variable, sizeof(path_variable), "USTACK_CONFIG=%s", path);
}

/* Loads a file of this text (NULL: none) with up to two variables. */
static int load(const char *text, const char *first, const char *second)
{
	char *env[] = {path_variable, (char *)first, (char *)(first ? second : NULL), NULL};
	int ret;

	if (text)
		write_file(text, strlen(text));
	ret = config_load(&config, text ? env : env + 1, why, sizeof(why));
	if (text)
		unlink(path);
	return ret;
}

/* The message with the file's name cut off its front. */
static const char *place(void)
{
	size_t n = strlen(path);

	return strncmp(why, path, n) ? why : why + n;
}

static const char *text_of(const struct config_ip *ip)
{
	static char text[4][64];
	static unsigned turn;
	char *out = text[turn++ % 4], addr[INET6_ADDRSTRLEN];

	if (!ip->addr.family)
		strcpy(addr, "*");
	else
		inet_ntop(ip->addr.family,
			ip->addr.family == FAMILY_INET ? ip->addr.b + 12 : ip->addr.b, addr,
			sizeof(addr));
	snprintf(out, sizeof(text[0]), "%s/%u:%u", addr, ip->prefix_len, ip->port);
	return out;
}

START_TEST(config_defaults_serve_the_common_case)
{
	ck_assert_int_eq(load(NULL, NULL, NULL), 0);
	ck_assert_str_eq(config.device, "tap0");
	ck_assert_str_eq(config.name, "tap0");
	ck_assert_uint_eq(config.address.count, 1);
	ck_assert_str_eq(text_of(&config.address.item[0]), "10.0.0.2/24:0");
	ck_assert_uint_eq(config.gateway.count, 1);
	ck_assert_str_eq(text_of(&config.gateway.item[0]), "10.0.0.1/32:0");
	ck_assert_uint_eq(config.sysctl.tcp_rmem[2], 6291456);
	ck_assert_uint_eq(config.sysctl.port_high, 60999);
	ck_assert_uint_eq(config.sysctl.tcp_retries2, 15);
	ck_assert_uint_eq(config.off, 0);
	ck_assert(!config_logs(&config));
	ck_assert_uint_eq(config.fallback, CONFIG_FALLBACK_NONE);
	ck_assert_uint_eq(config.dns.count + config.bypass.count + config.route.count, 0);
}
END_TEST

/* The table's defaults are the engine's. */
START_TEST(config_tunables_default_to_the_engines)
{
	struct stack_tunables tunables;

	stack_default_tunables(&tunables);
	config_defaults(&config);
	ck_assert_mem_eq(&config.sysctl, &tunables, sizeof(tunables));
}
END_TEST

START_TEST(config_file_sets_every_kind_of_key)
{
	static const char text[] =
		"# a comment\r\n; another\n\n"
		"device = tap:tap7\n"
		"  address=192.168.7.9/28 , 10.1.1.1/8\n"
		"route = 172.16.0.0/12 via 10.2.3.4\n"
		"route = 172.32.0.0/16\n"
		"dns = 10.0.0.53; 10.0.0.54:5353\n"
		"mac = 02:aB:00:00:00:01\n"
		"mtu = 9000\n"
		"bypass = 10.1.0.0/16:53, *:22, 10.9.9.9\n"
		"fallback = kernel\nloopback = kernel\nspin = 50\noff = yes\n"
		"log = tcp,arp:trace, udp\npcap_filter = tcp port 80 # not a comment\n"
		"net.ipv4.tcp_rmem = 4096\t100000  200000\n"
		"net.ipv4.tcp_sack = 0\nnet.core.somaxconn = 128";

	ck_assert_msg(!load(text, NULL, NULL), "%s", why);
	ck_assert_str_eq(config.device, "tap:tap7");
	ck_assert_str_eq(config.name, "tap7");
	ck_assert_str_eq(text_of(&config.address.item[1]), "10.1.1.1/8:0");
	ck_assert_str_eq(text_of(&config.gateway.item[0]), "192.168.7.1/32:0");
	ck_assert_uint_eq(config.route.count, 2);
	ck_assert_str_eq(text_of(&config.route.item[0].dest), "172.16.0.0/12:0");
	ck_assert_str_eq(text_of(&config.route.item[0].via), "10.2.3.4/32:0");
	ck_assert_uint_eq(config.route.item[1].via.addr.family, 0);
	ck_assert_str_eq(text_of(&config.dns.item[1]), "10.0.0.54/32:5353");
	ck_assert_mem_eq(config.mac, "\x02\xab\0\0\0\x01", 6);
	ck_assert_uint_eq(config.mtu, 9000);
	ck_assert_str_eq(text_of(&config.bypass.item[0]), "10.1.0.0/16:53");
	ck_assert_str_eq(text_of(&config.bypass.item[1]), "*/0:22");
	ck_assert_str_eq(text_of(&config.bypass.item[2]), "10.9.9.9/32:0");
	ck_assert_uint_eq(config.fallback, CONFIG_FALLBACK_KERNEL);
	ck_assert_uint_eq(config.loopback, CONFIG_LOOPBACK_KERNEL);
	ck_assert_uint_eq(config.spin_us, 50);
	ck_assert_uint_eq(config.off, 1);
	ck_assert_uint_eq(config.log[LOG_TCP], LOG_TRACE);
	ck_assert_uint_eq(config.log[LOG_ARP], LOG_TRACE);
	ck_assert_uint_eq(config.log[LOG_UDP], LOG_DEBUG);
	ck_assert_uint_eq(config.log[LOG_IP], LOG_NONE);
	ck_assert(config_logs(&config));
	ck_assert_str_eq(config.pcap_filter, "tcp port 80 # not a comment");
	ck_assert_uint_eq(config.sysctl.tcp_rmem[1], 100000);
	ck_assert_uint_eq(config.sysctl.tcp_sack, 0);
	ck_assert_uint_eq(config.sysctl.somaxconn, 128);
	ck_assert_str_eq(config.file, path);
}
END_TEST

START_TEST(config_environment_wins_over_file)
{
	static const char text[] =
		"address = 10.5.0.2/24, 10.6.0.2/24\nmtu = 1400\nnet.ipv4.tcp_sack = 0\n";

	ck_assert_msg(!load(text, "USTACK_ADDRESS= 10.7.0.2/24 ",
			      "USTACK_SYSCTL=net.ipv4.tcp_sack=1; "
			      "net.ipv4.tcp_rmem = 1 2 3;"),
		"%s", why);
	ck_assert_uint_eq(config.address.count, 1);
	ck_assert_str_eq(text_of(&config.address.item[0]), "10.7.0.2/24:0");
	ck_assert_uint_eq(config.mtu, 1400);
	ck_assert_uint_eq(config.sysctl.tcp_sack, 1);
	ck_assert_uint_eq(config.sysctl.tcp_rmem[2], 3);
}
END_TEST

START_TEST(config_command_line_wins_and_lists_extend)
{
	const struct config_key *address = config_find("address", 7);

	ck_assert_int_eq(load(NULL, "USTACK_ADDRESS=10.5.0.2/24", NULL), 0);
	ck_assert_int_eq(
		config_set(&config, address, "10.6.0.2/24", CONFIG_COMMAND_LINE, why, sizeof(why)),
		0);
	ck_assert_int_eq(
		config_set(&config, address, "10.7.0.2/24", CONFIG_COMMAND_LINE, why, sizeof(why)),
		0);
	ck_assert_uint_eq(config.address.count, 2);
	ck_assert_int_eq(config_finish(&config, why, sizeof(why)), 0);
	ck_assert_str_eq(text_of(&config.gateway.item[0]), "10.6.0.1/32:0");
	ck_assert_int_eq(config_set(&config, address, "x", CONFIG_COMMAND_LINE, NULL, 0), -EINVAL);
	ck_assert_ptr_eq(config_find("log-file", 8), config_find("log_file", 8));
	ck_assert_ptr_null(config_find("log-fil", 7));
}
END_TEST

START_TEST(config_empty_and_internal_variables_do_nothing)
{
	ck_assert_int_eq(load("mtu = 1400\n", "USTACK_MTU=", "USTACK__REGION=whatever"), 0);
	ck_assert_uint_eq(config.mtu, 1400);
	ck_assert_int_eq(load("gateway = none\n", "OTHER_USTACK_X=1", NULL), 0);
	ck_assert_uint_eq(config.gateway.count, 0);
}
END_TEST

START_TEST(config_gateway_default_leaves_no_room)
{
	ck_assert_int_eq(load(NULL, "USTACK_ADDRESS=10.0.0.1/24", NULL), 0);
	ck_assert_uint_eq(config.gateway.count, 0);
	ck_assert_int_eq(load(NULL, "USTACK_ADDRESS=10.0.0.4/31", NULL), 0);
	ck_assert_uint_eq(config.gateway.count, 0);
}
END_TEST

static const struct {
	const char *text;
	const char *message; /* behind the file's name */
} bad_files[] = {
	{"\n\nmtw = 1500\n", ":3: unknown key 'mtw'"},
	{"mtu\n", ":1: 'mtu' is not `name = value`"},
	{"mtu =\n", ":1: mtu: has no value"},
	{"mtu = 12x\n", ":1: mtu: '12x' is not BYTES, from 68 to 65535"},
	{"mtu = 67\n", ":1: mtu: '67' is not BYTES, from 68 to 65535"},
	{"mtu = 99999999999\n", ":1: mtu: '99999999999' is not BYTES, from 68 to 65535"},
	{"mtu = 1400\n\nmtu = 1500\n", ":3: mtu: set before, at line 1"},
	{"config = /x\n", ":1: unknown key 'config'"},
	{"[host]\n", ":1: '[host]' is not `name = value`"},
	{"address = 10.0.0.2\n",
		":1: address: '10.0.0.2' needs its network's prefix length, as in 10.0.0.2/24"},
	{"address = 10.0.0.0/24\n",
		":1: address: '10.0.0.0/24' is its network's own or broadcast address"},
	{"address = 10.0.0.255/24\n",
		":1: address: '10.0.0.255/24' is its network's own or broadcast address"},
	{"address = 127.0.0.1/8\n", ":1: address: '127.0.0.1/8' is not a host's address"},
	{"address = 224.0.0.1/8\n", ":1: address: '224.0.0.1/8' is not a host's address"},
	{"address = 10.0.0.2/33\n", ":1: address: '10.0.0.2/33' has no valid prefix length"},
	{"address = 10.0.0/24\n", ":1: address: '10.0.0/24' is not an address or network"},
	{"address = ::1/64\n",
		":1: address: '::1/64' is an IPv6 address, and the stack has IPv4 only"},
	{"address = 10.0.0.2/24,\n", ":1: address: an entry of the list is empty"},
	{"address = none\n", ":1: address: the stack needs one"},
	{"gateway = 10.9.0.1\n", ":1: gateway: a gateway is in no network that the stack is on"},
	{"gateway = 10.0.0.1, 10.0.0.3\n", ":1: gateway: more than one of a family"},
	{"gateway = 10.0.0.1, 10.0.0.3, 10.0.0.4\n", ":1: gateway: more than 2 entries"},
	{"\nroute = 10.3.0.0/16 via 10.9.0.1\n",
		":2: route: a gateway is in no network that the stack is on"},
	{"route = 10.3.0.1/16\n", ":1: route: '10.3.0.1/16' has bits set beyond its prefix length"},
	{"route = 10.3.0.0/16 dev x\n", ":1: route: 'dev x' is not `via ADDRESS`"},
	{"dns = 10.0.0.1:0\n", ":1: dns: '10.0.0.1:0' has no valid port"},
	{"dns = [fd00::1]:53\n",
		":1: dns: 'fd00::1' is an IPv6 address, and the stack has IPv4 only"},
	{"dns = example.org\n", ":1: dns: 'example.org' is not an address"},
	{"bypass = *\n", ":1: bypass: '*' lacks a network or a port"},
	{"bypass = 10.1.0.0/16:70000\n", ":1: bypass: '10.1.0.0/16:70000' has no valid port"},
	{"mac = 01:00:00:00:00:01\n", ":1: mac: '01:00:00:00:00:01' is not one station's address"},
	{"mac = 02:00:00:00:01\n", ":1: mac: '02:00:00:00:01' is not an Ethernet address"},
	{"mac = 02:00:00:00:00:0g\n", ":1: mac: '02:00:00:00:00:0g' is not an Ethernet address"},
	{"fallback = perhaps\n", ":1: fallback: 'perhaps' is not one of none|kernel"},
	{"log = tcp:loud\n", ":1: log: 'tcp:loud' is not PROTOCOL[:LEVEL]"},
	{"log = tpc\n", ":1: log: 'tpc' is not PROTOCOL[:LEVEL]"},
	{"off = 2\n", ":1: off: '2' is not 0 or 1"},
	{"net.ipv4.tcp_rmem = 1 2\n", ":1: net.ipv4.tcp_rmem: needs 3 numbers: MIN DEFAULT MAX"},
	{"net.ipv4.tcp_rmem = 1 3 2\n",
		":1: net.ipv4.tcp_rmem: needs rising numbers: MIN DEFAULT MAX"},
	{"net.ipv4.tcp_rmem = 1 2 3 4\n",
		":1: net.ipv4.tcp_rmem: '4' is not MIN DEFAULT MAX, from 1 to 2147483647"},
	{"net.ipv4.tcp_congestion_control = vegas\n",
		":1: net.ipv4.tcp_congestion_control: 'vegas' is not one of reno|cubic|bbr"},
	{"net.ipv4.tcp_autocorking = 1\n", ":1: unknown key 'net.ipv4.tcp_autocorking'"},
};

START_TEST(config_file_mistakes_name_file_line_and_key)
{
	ck_assert_int_eq(load(bad_files[_i].text, NULL, NULL), -EINVAL);
	ck_assert_str_eq(place(), bad_files[_i].message);
	ck_assert_ptr_ne(place(), why);
}
END_TEST

static const struct {
	const char *variable;
	const char *message;
} bad_variables[] = {
	{"USTACK_MTW=1", "USTACK_MTW: the stack has no such key"},
	{"USTACK_mtu=1", "USTACK_mtu: the stack has no such key"},
	{"USTACK_MTU=1", "USTACK_MTU: mtu: '1' is not BYTES, from 68 to 65535"},
	{"USTACK_GATEWAY=10.9.0.1",
		"USTACK_GATEWAY: gateway: a gateway is in no network that the stack is on"},
	{"USTACK_SYSCTL=net.ipv4.tcp_sack=7",
		"USTACK_SYSCTL: sysctl: net.ipv4.tcp_sack: '7' is not 0|1, from 0 to 1"},
	{"USTACK_SYSCTL=net.ipv4.tcp_sack",
		"USTACK_SYSCTL: sysctl: 'net.ipv4.tcp_sack' is not NAME=VALUE"},
	{"USTACK_SYSCTL=mtu=1400", "USTACK_SYSCTL: sysctl: 'mtu' is no tunable of the stack"},
	{"USTACK_CONFIG=/nonexistent/ustack.ini",
		"/nonexistent/ustack.ini: can't be opened: there is no such file"},
};

START_TEST(config_variable_mistakes_name_the_variable)
{
	const char *message = bad_variables[_i].message;

	ck_assert_int_lt(load(NULL, bad_variables[_i].variable, NULL), 0);
	ck_assert_str_eq(why, message);
}
END_TEST

START_TEST(config_file_limits)
{
	static char text[70000];

	memset(text, '\n', sizeof(text));
	write_file(text, 65536);
	ck_assert_int_eq(
		config_load(&config, (char *[]){path_variable, NULL}, why, sizeof(why)), 0);
	unlink(path);
	write_file(text, 65537);
	ck_assert_int_eq(
		config_load(&config, (char *[]){path_variable, NULL}, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(place(), ": longer than 64 KiB");
	unlink(path);
	write_file("mtu = 1400\n\0", 12);
	ck_assert_int_eq(
		config_load(&config, (char *[]){path_variable, NULL}, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(place(), ":2: a NUL character: this is no text file");
	unlink(path);
	memset(text, 'x', 60000);
	memcpy(text, "pcap= ", 6);
	write_file(text, 60000);
	ck_assert_int_eq(
		config_load(&config, (char *[]){path_variable, NULL}, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(place(), ":1: pcap: longer than 255 characters");
	unlink(path);
	memset(text, 'x', 60000);
	write_file(text, 60000);
	ck_assert_int_eq(
		config_load(&config, (char *[]){path_variable, NULL}, why, sizeof(why)), -EINVAL);
	ck_assert_uint_lt(strlen(why), sizeof(why));
	unlink(path);
}
END_TEST

START_TEST(config_file_is_found_in_the_users_directory)
{
	char home[] = "/tmp/ustack_home.XXXXXX", file[64], variable[64];

	ck_assert_ptr_nonnull(mkdtemp(home));
	snprintf(file, sizeof(file), "%s/ustack.ini", home);
	snprintf(variable, sizeof(variable), "XDG_CONFIG_HOME=%s", home);
	ck_assert_int_eq(config_load(&config, (char *[]){variable, NULL}, why, sizeof(why)), 0);
	ck_assert_str_ne(config.file, file);
	write_file("mtu = 1234\n", 11);
	ck_assert_int_eq(rename(path, file), 0);
	ck_assert_int_eq(config_load(&config, (char *[]){variable, NULL}, why, sizeof(why)), 0);
	ck_assert_uint_eq(config.mtu, 1234);
	unlink(file);
	rmdir(home);
}
END_TEST

static bool bypasses(const char *addr, u16 port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};

	inet_pton(AF_INET, addr, &in.sin_addr);
	return config_bypasses(&config, (struct sockaddr *)&in, sizeof(in));
}

START_TEST(config_bypass_rules_choose_by_network_and_port)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(22)};

	ck_assert_int_eq(load(NULL, "USTACK_BYPASS=10.1.0.0/16:53, *:22, 10.9.9.9",
				 "USTACK_LOOPBACK=kernel"),
		0);
	ck_assert(bypasses("10.1.255.1", 53));
	ck_assert(!bypasses("10.1.255.1", 54));
	ck_assert(!bypasses("10.2.0.1", 53));
	ck_assert(bypasses("1.2.3.4", 22));
	ck_assert(bypasses("10.9.9.9", 1));
	ck_assert(bypasses("127.3.2.1", 1));
	ck_assert(config_bypasses(&config, (struct sockaddr *)&in6, sizeof(in6)));
	ck_assert(!config_bypasses(&config, (struct sockaddr *)&in6, 8));
	ck_assert_int_eq(load(NULL, NULL, NULL), 0);
	ck_assert(!bypasses("127.3.2.1", 1));
}
END_TEST

START_TEST(config_every_key_has_help_and_a_valid_default)
{
	const struct config_key *key = &config_keys[_i];
	char variable[64];

	ck_assert_ptr_nonnull(key->help);
	ck_assert_ptr_nonnull(key->form);
	ck_assert_ptr_eq(config_find(key->name, strlen(key->name)), key);
	config_variable(key, variable, sizeof(variable));
	ck_assert(!strncmp(variable, "USTACK_", 7));
	if (key->initial)
		ck_assert_msg(
			!config_set(&config, key, key->initial, CONFIG_FILE, why, sizeof(why)),
			"%s", why);
}
END_TEST

START_TEST(config_of_the_process_is_loaded_once)
{
	const struct config_loaded *loaded;

	setenv("USTACK_MTU", "1400", 1);
	loaded = config_get();
	ck_assert_int_eq(loaded->error, 0);
	ck_assert_uint_eq(loaded->config.mtu, 1400);
	setenv("USTACK_MTU", "1300", 1);
	ck_assert_ptr_eq(config_get(), loaded);
}
END_TEST

START_TEST(config_error_keeps_fallback_and_off)
{
	const struct config_loaded *loaded;

	setenv("USTACK_MTU", "1", 1);
	setenv("USTACK_FALLBACK", "kernel", 1);
	setenv("USTACK_OFF", "1", 1);
	loaded = config_get();
	ck_assert_int_eq(loaded->error, -EINVAL);
	ck_assert_str_eq(loaded->why, "USTACK_MTU: mtu: '1' is not BYTES, from 68 to 65535");
	ck_assert_uint_eq(loaded->config.mtu, 0);
	ck_assert_uint_eq(loaded->config.fallback, CONFIG_FALLBACK_KERNEL);
	ck_assert_uint_eq(loaded->config.off, 1);
}
END_TEST

/* What a tunable's value is shown as sets it to the same again. */
START_TEST(config_text_of_a_tunable_is_its_value)
{
	const struct config_key *key = &config_keys[_i];
	struct config again;
	char text[1024];

	if (!config_is_tunable(key) || key->type == CONFIG_FIXED)
		return;
	ck_assert_ptr_eq(config_find_tunable(key->name), key);
	config_defaults(&config);
	config_text(&config, key, text, sizeof(text));
	again = config;
	memset((char *)&again + key->offset, 0, (size_t)key->size * key->width);
	ck_assert_int_eq(config_set(&again, key, *text ? text : "none", CONFIG_COMMAND_LINE, why,
				 sizeof(why)),
		0);
	ck_assert_mem_eq(&again.sysctl, &config.sysctl, sizeof(config.sysctl));
}
END_TEST

START_TEST(config_reserved_ports_are_sorted_and_joined)
{
	const struct config_key *key = config_find_tunable("ip_local_reserved_ports");
	char text[64];

	config_defaults(&config);
	ck_assert_int_eq(config_set(&config, key, "9000-9010,80, 9011,70-75,76-79,1-65535",
				 CONFIG_COMMAND_LINE, why, sizeof(why)),
		0);
	config_text(&config, key, text, sizeof(text));
	ck_assert_str_eq(text, "1-65535");
	ck_assert_int_eq(config_set(&config, key, "9000-9010,80,9011,70-75,77",
				 CONFIG_COMMAND_LINE, why, sizeof(why)),
		0);
	config_text(&config, key, text, sizeof(text));
	ck_assert_str_eq(text, "70-75,77,80,9000-9011");
	ck_assert_int_eq(config_set(&config, key, "0", CONFIG_COMMAND_LINE, why, sizeof(why)),
		-EINVAL);
	ck_assert_int_eq(config_set(&config, key, "9-8", CONFIG_COMMAND_LINE, why, sizeof(why)),
		-EINVAL);
}
END_TEST

/* The page has a row for each key, with its form, default and help. Runs at the top of the tree. */
START_TEST(config_page_has_every_key)
{
	const struct config_key *key = &config_keys[_i];
	char row[512], form[128], line[1024];
	size_t n = 0;
	FILE *page = fopen("preload/CONFIG.md", "r");
	bool found = false;

	ck_assert_ptr_nonnull(page);
	for (const char *p = key->form; *p; form[n++] = *p++)
		if (*p == '|')
			form[n++] = '\\';
	form[n] = 0;
	snprintf(row, sizeof(row), "| `%s` | `%s` | %s%s%s | %s |\n", key->name, form,
		key->initial ? "`" : "", key->initial ? key->initial : "", key->initial ? "`" : "",
		key->help);
	while (!found && fgets(line, sizeof(line), page))
		found = !strcmp(line, row);
	fclose(page);
	ck_assert_msg(found, "preload/CONFIG.md lacks the row %s", row);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, config_defaults_serve_the_common_case);
	tcase_add_test(tc, config_tunables_default_to_the_engines);
	tcase_add_loop_test(tc, config_text_of_a_tunable_is_its_value, 0, (int)config_key_count);
	tcase_add_test(tc, config_reserved_ports_are_sorted_and_joined);
	tcase_add_test(tc, config_file_sets_every_kind_of_key);
	tcase_add_test(tc, config_environment_wins_over_file);
	tcase_add_test(tc, config_command_line_wins_and_lists_extend);
	tcase_add_test(tc, config_empty_and_internal_variables_do_nothing);
	tcase_add_test(tc, config_gateway_default_leaves_no_room);
	tcase_add_loop_test(
		tc, config_file_mistakes_name_file_line_and_key, 0, ARRAY_LEN(bad_files));
	tcase_add_loop_test(
		tc, config_variable_mistakes_name_the_variable, 0, ARRAY_LEN(bad_variables));
	tcase_add_test(tc, config_file_limits);
	tcase_add_test(tc, config_file_is_found_in_the_users_directory);
	tcase_add_test(tc, config_bypass_rules_choose_by_network_and_port);
	tcase_add_loop_test(
		tc, config_every_key_has_help_and_a_valid_default, 0, (int)config_key_count);
	tcase_add_test(tc, config_of_the_process_is_loaded_once);
	tcase_add_test(tc, config_error_keeps_fallback_and_off);
	tcase_add_loop_test(tc, config_page_has_every_key, 0, (int)config_key_count);
}

int main(void)
{
	return check_lines_case("config", 0, add_tests);
}
