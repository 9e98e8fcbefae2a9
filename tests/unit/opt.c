/* Options: lengths, ranges, what is read back. The whole matrix is compared with the kernel's by
 * tests/diff. */
#include <check.h>
#include <string.h>

#include "stack/checksum.h"
#include "stack/linux.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"
#include "tests/lib/sock_lib.h"

static struct stack *s;
static ref udp, tcp;

static void setup(void)
{
	s = engine_new_ready(NULL);
	udp = sock_lib_open(s, LX_SOCK_DGRAM);
	tcp = sock_lib_open(s, LX_SOCK_STREAM);
}

static void teardown(void)
{
	engine_free(s);
}

static int set(int level, int name, int value)
{
	return sock_lib_set(s, udp, level, name, value);
}

static int get(int level, int name)
{
	return sock_lib_get(s, udp, level, name);
}

START_TEST(opt_socket_protocols)
{
	static const struct {
		int family, type, protocol, error;
	} cases[] = {
		{FAMILY_INET6, 1, 0, -EAFNOSUPPORT},
		{FAMILY_INET, 1, 6, 0},
		{FAMILY_INET, 1, 17, -EPROTONOSUPPORT},
		{FAMILY_INET, 1, 262, -EPROTONOSUPPORT},
		{FAMILY_INET, 2, 17, 0},
		{FAMILY_INET, 2, 1, -EACCES},
		{FAMILY_INET, 2, 6, -EPROTONOSUPPORT},
		{FAMILY_INET, 3, 0, -EPROTONOSUPPORT},
		{FAMILY_INET, 4, 0, -ESOCKTNOSUPPORT},
		{FAMILY_INET, 5, 0, -ESOCKTNOSUPPORT},
		{FAMILY_INET, 11, 0, -EINVAL},
		{FAMILY_INET, -1, 0, -EINVAL},
		{FAMILY_INET, 1, -1, -EINVAL},
		{FAMILY_INET, 1, 263, -EINVAL},
	};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		int error;

		sock_open(s, cases[i].family, cases[i].type, cases[i].protocol, &error);
		ck_assert_msg(error == cases[i].error, "case %u: %d", i, error);
	}
}
END_TEST

START_TEST(opt_buffers_doubled_and_clamped)
{
	ck_assert_int_eq(get(LX_SOL_SOCKET, LX_SO_RCVBUF), 212992);
	ck_assert_int_eq(set(LX_SOL_SOCKET, LX_SO_RCVBUF, 1), 0);
	ck_assert_int_eq(get(LX_SOL_SOCKET, LX_SO_RCVBUF), 2304);
	ck_assert_int_eq(set(LX_SOL_SOCKET, LX_SO_RCVBUF, 100000), 0);
	ck_assert_int_eq(get(LX_SOL_SOCKET, LX_SO_RCVBUF), 200000);
	ck_assert_int_eq(set(LX_SOL_SOCKET, LX_SO_RCVBUF, -1), 0);
	ck_assert_int_eq(get(LX_SOL_SOCKET, LX_SO_RCVBUF), 2 * 212992);
	ck_assert_int_eq(set(LX_SOL_SOCKET, LX_SO_RCVBUFFORCE, 1000000), 0);
	ck_assert_int_eq(get(LX_SOL_SOCKET, LX_SO_RCVBUF), 2000000);
	ck_assert_int_eq(set(LX_SOL_SOCKET, LX_SO_SNDBUF, 1), 0);
	ck_assert_int_eq(get(LX_SOL_SOCKET, LX_SO_SNDBUF), 4608);
	ck_assert_int_eq(get(LX_SOL_SOCKET, LX_SO_BUF_LOCK), 3);
}
END_TEST

START_TEST(opt_lengths)
{
	u8 val[64];
	u32 len = 3;

	memset(val, 0xee, sizeof(val));
	ck_assert_int_eq(sock_getopt(s, udp, LX_SOL_SOCKET, LX_SO_TYPE, val, &len), 0);
	ck_assert_uint_eq(len, 3);
	ck_assert_mem_eq(val, "\2\0\0\xee", 4);
	len = 0;
	ck_assert_int_eq(sock_getopt(s, udp, LX_SOL_SOCKET, LX_SO_TYPE, val, &len), 0);
	ck_assert_uint_eq(len, 0);
	/* Level IP: one byte where the value fits. */
	len = 3;
	ck_assert_int_eq(sock_getopt(s, udp, LX_SOL_IP, LX_IP_TTL, val, &len), 0);
	ck_assert_uint_eq(len, 1);
	ck_assert_uint_eq(val[0], 64);
	ck_assert_int_eq(sock_setopt(s, udp, LX_SOL_IP, LX_IP_TTL, "\x09", 1), 0);
	ck_assert_int_eq(get(LX_SOL_IP, LX_IP_TTL), 9);
	ck_assert_int_eq(sock_setopt(s, udp, LX_SOL_IP, LX_IP_TTL, "", 0), -EINVAL);
	ck_assert_int_eq(sock_setopt(s, udp, LX_SOL_SOCKET, LX_SO_REUSEADDR, "\1\0", 2), -EINVAL);
	/* sshd goes on only when there are no options. */
	len = 64;
	ck_assert_int_eq(sock_getopt(s, tcp, LX_SOL_IP, LX_IP_OPTIONS, val, &len), 0);
	ck_assert_uint_eq(len, 0);
	len = 4;
	ck_assert_int_eq(sock_getopt(s, udp, LX_SOL_SOCKET, LX_SO_COOKIE, val, &len), -EINVAL);
}
END_TEST

START_TEST(opt_linger_and_timeouts)
{
	int linger[2] = {1, 7}, back[2];
	s64 tv[2] = {3, 500000}, out[2];
	u32 len = sizeof(back);

	ck_assert_int_eq(sock_setopt(s, tcp, LX_SOL_SOCKET, LX_SO_LINGER, linger, 8), 0);
	ck_assert_int_eq(sock_getopt(s, tcp, LX_SOL_SOCKET, LX_SO_LINGER, back, &len), 0);
	ck_assert_mem_eq(linger, back, 8);
	ck_assert_int_eq(sock_setopt(s, tcp, LX_SOL_SOCKET, LX_SO_LINGER, linger, 4), -EINVAL);
	ck_assert_int_eq(sock_setopt(s, tcp, LX_SOL_SOCKET, LX_SO_RCVTIMEO, tv, 16), 0);
	ck_assert_uint_eq(sock_get(s, tcp)->rcvtimeo_ns, 3500 * NS_PER_MS);
	len = sizeof(out);
	ck_assert_int_eq(sock_getopt(s, tcp, LX_SOL_SOCKET, LX_SO_RCVTIMEO, out, &len), 0);
	ck_assert_mem_eq(tv, out, 16);
	tv[1] = 1000000;
	ck_assert_int_eq(sock_setopt(s, tcp, LX_SOL_SOCKET, LX_SO_SNDTIMEO, tv, 16), -EDOM);
	tv[0] = tv[1] = 0;
	ck_assert_int_eq(sock_setopt(s, tcp, LX_SOL_SOCKET, LX_SO_RCVTIMEO, tv, 16), 0);
	ck_assert_uint_eq(sock_get(s, tcp)->rcvtimeo_ns, 0);
}
END_TEST

START_TEST(opt_refusals)
{
	ck_assert_int_eq(set(LX_SOL_SOCKET, LX_SO_TYPE, 1), -ENOPROTOOPT);
	ck_assert_int_eq(set(LX_SOL_SOCKET, 999, 1), -ENOPROTOOPT);
	ck_assert_int_eq(get(LX_SOL_SOCKET, 999), -ENOPROTOOPT);
	ck_assert_int_eq(
		set(LX_SOL_IPV6, 26, 1), -ENOPROTOOPT); /* python3 and mosquitto expect it */
	ck_assert_int_eq(get(LX_SOL_IPV6, 26), -EOPNOTSUPP);
	ck_assert_int_eq(get(LX_SOL_TCP, LX_TCP_NODELAY), -EOPNOTSUPP);
	ck_assert_int_eq(set(LX_SOL_TCP, LX_TCP_NODELAY, 1), -ENOPROTOOPT);
	ck_assert_int_eq(
		sock_setopt(s, udp, LX_SOL_SOCKET, LX_SO_BINDTODEVICE, "nope0", 6), -ENODEV);
	ck_assert_int_eq(sock_setopt(s, udp, LX_SOL_SOCKET, LX_SO_BINDTODEVICE, "lo", 3), 0);
	ck_assert_int_eq(get(LX_SOL_SOCKET, LX_SO_BINDTOIFINDEX), NETIF_LOOPBACK);
	ck_assert_int_eq(sock_getopt(s, 999, LX_SOL_SOCKET, LX_SO_TYPE, NULL, &(u32){4}), -EBADF);
}
END_TEST

START_TEST(opt_tos_sets_priority)
{
	ck_assert_int_eq(set(LX_SOL_IP, LX_IP_TOS, 0x10), 0);
	ck_assert_int_eq(get(LX_SOL_SOCKET, LX_SO_PRIORITY), 6);
	/* TCP keeps the two bits of ECN for itself. */
	ck_assert_int_eq(sock_lib_set(s, tcp, LX_SOL_IP, LX_IP_TOS, 0xff), 0);
	ck_assert_int_eq(sock_lib_get(s, tcp, LX_SOL_IP, LX_IP_TOS), 0xfc);
}
END_TEST

START_TEST(opt_ip_options_checked)
{
	u8 back[40];
	u32 len = sizeof(back);

	ck_assert_int_eq(sock_setopt(s, udp, LX_SOL_IP, LX_IP_OPTIONS, "\x94\x05\0", 4), -EINVAL);
	ck_assert_int_eq(sock_setopt(s, udp, LX_SOL_IP, LX_IP_OPTIONS, "\x07\x01\0", 4), -EINVAL);
	ck_assert_int_eq(
		sock_setopt(s, udp, LX_SOL_IP, LX_IP_OPTIONS, "\x83\x04\x04\0", 4), -EINVAL);
	ck_assert_int_eq(sock_setopt(s, udp, LX_SOL_IP, LX_IP_OPTIONS, "\1\x94\x04\0\0", 5), 0);
	ck_assert_int_eq(sock_getopt(s, udp, LX_SOL_IP, LX_IP_OPTIONS, back, &len), 0);
	ck_assert_uint_eq(len, 8);
	ck_assert_mem_eq(back, "\1\x94\x04\0\0\0\0\0", 8);
	ck_assert_int_eq(sock_setopt(s, udp, LX_SOL_IP, LX_IP_OPTIONS, "", 0), 0);
	len = sizeof(back);
	ck_assert_int_eq(sock_getopt(s, udp, LX_SOL_IP, LX_IP_OPTIONS, back, &len), 0);
	ck_assert_uint_eq(len, 0);
}
END_TEST

/* A SYN from the peer with a TTL, and whether it is answered. */
static bool syn_answered(u8 ttl)
{
	u8 frame[NET_FRAME_MAX],
		syn[20] = {0x11, 0x11, 0x13, 0x88, [12] = 0x50, [13] = 2, [14] = 0xff};
	struct addr src = addr_v4(NET_PEER), dst = addr_v4(NET_HOST);
	u32 n;

	put16(syn + 16,
		checksum_finish(checksum_add(checksum_pseudo(&src, &dst, PROTO_TCP, 20), syn, 20)));
	n = net_ip4(frame, &(struct net_ip4){.proto = PROTO_TCP, .ttl = ttl}, syn, sizeof(syn));
	ck_assert(engine_frame_in(s, frame, n));
	return engine_frames_drop(s) != 0;
}

START_TEST(opt_min_ttl)
{
	ck_assert_int_eq(sock_lib_bind(s, tcp, 0, 5000), 0);
	ck_assert_int_eq(sock_listen(s, tcp, 1), 0);
	ck_assert_int_eq(sock_lib_set(s, tcp, LX_SOL_IP, LX_IP_MINTTL, 255), 0);
	ck_assert(!syn_answered(254));
	ck_assert_uint_eq(net_count(s, "tcp_min_ttl"), 1);
	ck_assert(syn_answered(255));
}
END_TEST

START_TEST(opt_filter_on_a_listener)
{
	/* ldh [2] (destination port); refuse 5000. */
	static const struct {
		u16 code;
		u8 jt, jf;
		u32 k;
	} program[] = {{0x28, 0, 0, 2}, {0x15, 0, 1, 5000}, {0x06, 0, 0, 0}, {0x06, 0, 0, 0xffff}};

	ck_assert_int_eq(sock_lib_bind(s, tcp, 0, 5000), 0);
	ck_assert_int_eq(sock_listen(s, tcp, 1), 0);
	ck_assert_int_eq(
		sock_setopt(s, tcp, LX_SOL_SOCKET, LX_SO_ATTACH_FILTER, program, sizeof(program)), 0);
	ck_assert(!syn_answered(64));
	ck_assert_uint_eq(net_count(s, "tcp_filtered"), 1);
	ck_assert_int_eq(sock_lib_set(s, tcp, LX_SOL_SOCKET, LX_SO_DETACH_FILTER, 0), 0);
	ck_assert(syn_answered(64));
}
END_TEST

/* Attack M12: nothing that was not written comes back, whatever is asked for. */
START_TEST(M12_no_memory_disclosed)
{
	static const int levels[] = {LX_SOL_IP, LX_SOL_SOCKET, LX_SOL_TCP, LX_SOL_UDP};
	u8 one[SOCK_OPT_MAX], two[SOCK_OPT_MAX];
	const ref both[] = {udp, tcp};

	for (u32 k = 0; k < 2; k++)
		for (u32 l = 0; l < ARRAY_LEN(levels); l++)
			for (int name = 0; name < 130; name++)
				for (u32 room = 0; room <= SOCK_OPT_MAX; room = room * 2 + 1) {
					u32 len = room, again = room;

					memset(one, 0x11, sizeof(one));
					memset(two, 0x11, sizeof(two));
					if (sock_getopt(s, both[k], levels[l], name, one, &len) < 0)
						continue;
					sock_getopt(s, both[k], levels[l], name, two, &again);
					if (levels[l] == LX_SOL_SOCKET &&
						name == LX_SO_ATTACH_FILTER)
						continue;
					ck_assert_uint_le(len, room);
					ck_assert_uint_eq(len, again);
					ck_assert_mem_eq(one, two, sizeof(one));
					for (u32 i = len; i < sizeof(one); i++)
						ck_assert_uint_eq(one[i], 0x11);
				}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, opt_socket_protocols);
	tcase_add_test(tc, opt_buffers_doubled_and_clamped);
	tcase_add_test(tc, opt_lengths);
	tcase_add_test(tc, opt_linger_and_timeouts);
	tcase_add_test(tc, opt_refusals);
	tcase_add_test(tc, opt_tos_sets_priority);
	tcase_add_test(tc, opt_ip_options_checked);
	tcase_add_test(tc, opt_min_ttl);
	tcase_add_test(tc, opt_filter_on_a_listener);
	tcase_add_test(tc, M12_no_memory_disclosed);
}

int main(void)
{
	return check_lines_case("opt", 0, add_tests);
}
