/* Reassembly as it should go: any cut, any order, many datagrams at a time, and nothing left
 * behind. */
#include <string.h>

#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

enum { IP = 14, MF = 0x2000, PIECES = 120 };

static u8 frame[NET_FRAME_MAX], message[66000];

static u32 in_use(const struct stack *s)
{
	return slab_in_use(s, SLAB_REASM) + slab_in_use(s, SLAB_PKT_SMALL) +
	       slab_in_use(s, SLAB_PKT_MEDIUM) + slab_in_use(s, SLAB_PKT_LARGE);
}

static void fragment(struct stack *s, u16 id, u32 total, u32 at, u32 end)
{
	struct net_ip4 ip = {
		.proto = PROTO_ICMP, .id = id, .fragment = (u16)(at / 8 | (end < total ? MF : 0))};

	engine_frame_in(s, frame, net_ip4(frame, &ip, message + at, end - at));
}

/* An echo reply, which is only counted, of `total` bytes in message[]. */
static void make_message(u32 total)
{
	for (u32 i = 0; i < total; i++)
		message[i] = (u8)(i * 31 + i / 256);
	net_icmp(frame, &(struct net_ip4){0}, 0, 0, 1, message, total - 8);
	memcpy(message, frame + IP + 20, total);
}

START_TEST(reasm_of_random_cuts_in_random_order)
{
	struct stack *s = engine_new_ready(NULL);
	struct random random;
	u8 seed[16] = {(u8)_i, 1};

	random_seed(&random, seed);
	for (u32 round = 0; round < 50; round++) {
		u32 total = 9 + random_below(&random, 65515 - 9), at[PIECES + 1], n = 0;

		make_message(total);
		for (u32 end = 0; end < total && n < PIECES;) {
			at[n++] = end;
			end += n == PIECES ? total : 8 * (1 + random_below(&random, 300));
		}
		at[n] = total;
		for (u32 left = n; left;) {
			u32 i = random_below(&random, left), start = at[i], end = total;

			for (u32 j = 0; j <= n; j++) {
				if (at[j] > start && at[j] < end)
					end = at[j];
			}
			fragment(s, (u16)round, total, start, end);
			/* Those already sent stand behind the others. */
			at[i] = at[--left];
			at[left] = start;
		}
		ck_assert_uint_eq(net_count(s, "icmp_echo_reply_in"), round + 1);
		ck_assert_uint_eq(net_count(s, "icmp_csum"), 0);
	}
	ck_assert_uint_eq(in_use(s), 0);
	ck_assert_uint_eq(s->reasm_bytes, 0);
}
END_TEST

START_TEST(reasm_of_many_datagrams_at_a_time)
{
	struct stack *s = engine_new_ready(NULL);
	enum { DATAGRAMS = 500, TOTAL = 3000 };

	make_message(TOTAL);
	for (u32 at = 0; at < TOTAL; at += 1000) {
		for (u32 id = 0; id < DATAGRAMS; id++)
			fragment(s, (u16)id, TOTAL, at, at + 1000);
	}
	ck_assert_uint_eq(net_count(s, "icmp_echo_reply_in"), DATAGRAMS);
	ck_assert_uint_eq(in_use(s), 0);
}
END_TEST

START_TEST(reasm_keeps_the_first_header_for_errors)
{
	struct stack *s = engine_new_ready(NULL);
	static u8 out[NET_FRAME_MAX];
	struct net_ip4 ip = {.id = 5, .tos = 8};
	u32 len = net_udp(frame, &ip, 1000, 9, message, 2000) - IP - 20, got;
	static u8 datagram[3000];
	const u8 *error;

	memcpy(datagram, frame + IP + 20, len);
	ip.proto = PROTO_UDP;
	ip.fragment = MF;
	engine_frame_in(s, frame, net_ip4(frame, &ip, datagram, 1480));
	ip.fragment = 1480 / 8;
	engine_frame_in(s, frame, net_ip4(frame, &ip, datagram + 1480, len - 1480));
	ck_assert_uint_gt(engine_frame_out(s, out, NULL), 0);
	error = net_payload(out, NET_FRAME_MAX, PROTO_ICMP, &got);
	ck_assert_ptr_nonnull(error);
	ck_assert_uint_eq(error[0], 3);
	ck_assert_uint_eq(error[1], 3);
	ck_assert_uint_eq(get16(error + 8 + 2), len + 20);
	ck_assert_uint_eq(get16(error + 8 + 4), 5);
	ck_assert_uint_eq(get16(error + 8 + 6), 0);
	ck_assert_mem_eq(error + 28, datagram, got - 28);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, reasm_of_random_cuts_in_random_order, 0, 4);
	tcase_add_test(tc, reasm_of_many_datagrams_at_a_time);
	tcase_add_test(tc, reasm_keeps_the_first_header_for_errors);
}

int main(void)
{
	return check_lines_case("reasm", 0, add_tests);
}
