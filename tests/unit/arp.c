/* Address resolution as it should go: asking, ageing, refreshing, failing; announcing and probing
 * our own address. */
#include <string.h>

#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

enum { TARGET = NET_HOST + 5 };

static const u8 target_mac[6] = {2, 0, 0, 0, 0, 7};
static u8 frame[NET_FRAME_MAX], out[NET_FRAME_MAX];
static u32 out_len;

static void send_to(struct stack *s, u32 dst)
{
	struct ip_out ip = {.dst = addr_v4(dst), .proto = 253};
	ref r = frame_alloc(s);

	put32(frame_push(frame_get(s, r), 4), dst);
	ck_assert_int_eq(ip_send(s, r, &ip), 0);
}

static bool next_frame(struct stack *s)
{
	out_len = engine_frame_out(s, out, NULL);
	return out_len > 0;
}

/* The frame in out[] is an ARP packet of that operation, to that station, from and about those
 * addresses. */
static bool is_arp(u16 op, const u8 *dst, u32 sender, u32 target)
{
	return out_len == 42 && get16(out + 12) == ETHERTYPE_ARP && !memcmp(out, dst, 6) &&
	       get16(out + 20) == op && get32(out + 28) == sender && get32(out + 38) == target;
}

static bool is_ip_to(const u8 *dst)
{
	return out_len > 34 && get16(out + 12) == ETHERTYPE_IP4 && !memcmp(out, dst, 6);
}

static void answer(struct stack *s, const u8 *mac)
{
	engine_frame_in(
		s, frame, net_arp(frame, net_host_mac, 2, mac, TARGET, net_host_mac, NET_HOST));
}

/* A host that knows TARGET, just now confirmed. */
static struct stack *resolved(void)
{
	struct stack *s = engine_new_ready(NULL);

	send_to(s, TARGET);
	answer(s, target_mac);
	engine_frames_drop(s);
	return s;
}

START_TEST(arp_answers_requests_for_us)
{
	struct stack *s = engine_new_ready(NULL);
	static const u8 zero[6];

	engine_frame_in(
		s, frame, net_arp(frame, net_everybody, 1, target_mac, TARGET, zero, NET_HOST));
	ck_assert(next_frame(s));
	ck_assert(is_arp(2, target_mac, NET_HOST, TARGET));
	ck_assert_mem_eq(out + 22, net_host_mac, 6);
	ck_assert_mem_eq(out + 32, target_mac, 6);
	/* A probe is answered too, and teaches nothing (RFC 5227 2.1.1). */
	engine_frame_in(
		s, frame, net_arp(frame, net_everybody, 1, net_peer_mac, 0, zero, NET_HOST));
	ck_assert(next_frame(s));
	ck_assert(is_arp(2, net_peer_mac, NET_HOST, 0));
	engine_frame_in(
		s, frame, net_arp(frame, net_everybody, 1, target_mac, TARGET, zero, TARGET + 1));
	ck_assert(!next_frame(s));
}
END_TEST

START_TEST(arp_resolves_and_sends_what_waits_in_order)
{
	struct stack *s = engine_new_ready(NULL);

	for (u32 i = 0; i < 3; i++)
		send_to(s, TARGET);
	ck_assert(next_frame(s));
	ck_assert(is_arp(1, net_everybody, NET_HOST, TARGET));
	ck_assert(!next_frame(s));
	ck_assert(!stack_idle(s));
	answer(s, target_mac);
	for (u32 i = 0; i < 3; i++) {
		ck_assert(next_frame(s));
		ck_assert(is_ip_to(target_mac));
	}
	ck_assert(!next_frame(s));
	ck_assert(stack_idle(s));
}
END_TEST

START_TEST(arp_asks_three_times_and_gives_up)
{
	struct stack *s = engine_new_ready(NULL);
	u64 start = s->now_ns;

	send_to(s, TARGET);
	for (u32 i = 0; i < 3; i++) {
		engine_run_until(s, start + i * NS_PER_S);
		ck_assert(next_frame(s));
		ck_assert(is_arp(1, net_everybody, NET_HOST, TARGET));
		ck_assert(!next_frame(s));
	}
	engine_run_until(s, start + 10 * NS_PER_S);
	ck_assert(!next_frame(s));
	ck_assert_uint_eq(net_count(s, "arp_failed"), 1);
	ck_assert_uint_eq(slab_in_use(s, SLAB_FRAME), 0);
	ck_assert_uint_eq(slab_in_use(s, SLAB_NEIGH), 1);
	send_to(s, TARGET);
	ck_assert(next_frame(s));
	ck_assert(is_arp(1, net_everybody, NET_HOST, TARGET));
}
END_TEST

START_TEST(arp_refreshes_by_unicast_only_what_is_used)
{
	struct stack *s = resolved();
	u64 asked = net_count(s, "arp_out");

	/* Nothing is sent for an hour: nobody is asked, and no timer is left. */
	engine_run(s, 3600 * NS_PER_S);
	ck_assert_uint_eq(net_count(s, "arp_out"), asked);
	ck_assert_uint_eq(stack_deadline(s), NEVER);
	send_to(s, TARGET);
	ck_assert(next_frame(s));
	ck_assert(is_ip_to(target_mac));
	engine_run(s, 4999 * NS_PER_MS);
	ck_assert(!next_frame(s));
	engine_run(s, NS_PER_MS);
	ck_assert(next_frame(s));
	ck_assert(is_arp(1, target_mac, NET_HOST, TARGET));
	answer(s, target_mac);
	engine_run(s, 60 * NS_PER_S);
	ck_assert(!next_frame(s));
}
END_TEST

START_TEST(arp_is_spared_where_a_transport_confirms)
{
	struct stack *s = resolved();
	struct addr target = addr_v4(TARGET);

	for (u32 i = 0; i < 1000; i++) {
		engine_run(s, NS_PER_S);
		send_to(s, TARGET);
		neigh_confirm(s, &target);
		ck_assert(next_frame(s));
		ck_assert(is_ip_to(target_mac));
		ck_assert(!next_frame(s));
	}
}
END_TEST

START_TEST(arp_forgets_who_does_not_answer_the_probe)
{
	struct stack *s = resolved();

	engine_run(s, 60 * NS_PER_S);
	send_to(s, TARGET);
	ck_assert(next_frame(s));
	for (u32 i = 0; i < 3; i++) {
		engine_run(s, i ? NS_PER_S : 5 * NS_PER_S);
		ck_assert(next_frame(s));
		ck_assert(is_arp(1, target_mac, NET_HOST, TARGET));
	}
	engine_run(s, NS_PER_S);
	send_to(s, TARGET);
	ck_assert(next_frame(s));
	ck_assert(is_arp(1, net_everybody, NET_HOST, TARGET));
}
END_TEST

START_TEST(arp_takes_a_new_address_of_a_stale_neighbour)
{
	struct stack *s = resolved();
	static const u8 moved[6] = {2, 0, 0, 0, 0, 8};

	engine_run(s, 60 * NS_PER_S);
	engine_frame_in(s, frame, net_arp(frame, net_everybody, 1, moved, TARGET, moved, TARGET));
	send_to(s, TARGET);
	ck_assert(next_frame(s));
	ck_assert(is_ip_to(moved));
}
END_TEST

START_TEST(arp_announces_twice)
{
	struct stack *s = engine_new(NULL);

	stack_advance(s);
	ck_assert(next_frame(s));
	ck_assert(is_arp(1, net_everybody, NET_HOST, NET_HOST));
	ck_assert_uint_eq(stack_deadline(s), s->now_ns + 2 * NS_PER_S);
	engine_run(s, 60 * NS_PER_S);
	ck_assert(next_frame(s));
	ck_assert(is_arp(1, net_everybody, NET_HOST, NET_HOST));
	ck_assert(!next_frame(s));
	ck_assert_uint_eq(slab_in_use(s, SLAB_TASK), 0);
	arp_announce(s);
	ck_assert(next_frame(s));
	ck_assert(is_arp(1, net_everybody, NET_HOST, NET_HOST));
}
END_TEST

static struct stack *probing(void)
{
	struct stack_config c = net_config();

	c.arp_probe = true;
	return engine_new(&c);
}

START_TEST(arp_probes_before_use_when_asked_to)
{
	struct stack *s = probing();
	struct addr own = addr_v4(NET_HOST);
	u64 start = s->now_ns;

	for (u32 i = 0; i < 3; i++) {
		engine_run_until(s, stack_deadline(s));
		ck_assert(!netif_is_local(s, &own));
		ck_assert(next_frame(s));
		ck_assert(is_arp(1, net_everybody, 0, NET_HOST));
	}
	ck_assert_uint_le(s->now_ns - start, 5 * NS_PER_S);
	engine_run_until(s, stack_deadline(s));
	ck_assert(next_frame(s));
	ck_assert(is_arp(1, net_everybody, NET_HOST, NET_HOST));
	ck_assert(netif_is_local(s, &own));
}
END_TEST

START_TEST(arp_gives_up_an_address_that_somebody_has)
{
	struct stack *s = probing();
	struct addr own = addr_v4(NET_HOST);

	engine_run_until(s, stack_deadline(s));
	engine_frame_in(
		s, frame, net_arp(frame, net_host_mac, 2, target_mac, NET_HOST, net_host_mac, 0));
	engine_frames_drop(s);
	engine_run(s, 60 * NS_PER_S);
	ck_assert(!next_frame(s));
	ck_assert(!netif_is_local(s, &own));
	ck_assert_uint_eq(net_count(s, "arp_conflict"), 1);
	/* Two that probe at the same time: both give up (RFC 5227 2.1.1). */
	s = probing();
	engine_frame_in(
		s, frame, net_arp(frame, net_everybody, 1, target_mac, 0, net_host_mac, NET_HOST));
	engine_run(s, 60 * NS_PER_S);
	ck_assert(!netif_is_local(s, &own));
}
END_TEST

/* The queue of a neighbour that never answers: its socket hears so, if it listens to soft errors
 * (IP_RECVERR), as on Linux. */
START_TEST(arp_failure_reaches_the_socket)
{
	struct stack *s = engine_new_ready(NULL);
	struct endpoint to = {.addr = addr_v4(TARGET), .port = 9};
	struct plan plan = {0};
	int error, on = 1;
	ref sk = sock_open(s, FAMILY_INET, 2, 0, &error);

	ck_assert_uint_ne(sk, 0);
	ck_assert_int_eq(sock_setopt(s, sk, 0, 11, &on, sizeof(on)), 0);
	ck_assert_int_eq(sock_connect(s, sk, &to), 0);
	ck_assert_int_ge(sock_send_reserve(s, sk, &plan, 1), 0);
	ck_assert_int_eq(sock_send_commit(s, &plan, 1), 1);
	engine_run(s, 10 * NS_PER_S);
	ck_assert_int_eq(sock_error(s, sk), EHOSTUNREACH);
	sock_close(s, sk);
	engine_frames_drop(s);
	ck_assert_uint_eq(slab_in_use(s, SLAB_FRAME), 0);
	ck_assert_uint_eq(slab_in_use(s, SLAB_PKT_SMALL), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, arp_answers_requests_for_us);
	tcase_add_test(tc, arp_resolves_and_sends_what_waits_in_order);
	tcase_add_test(tc, arp_asks_three_times_and_gives_up);
	tcase_add_test(tc, arp_refreshes_by_unicast_only_what_is_used);
	tcase_add_test(tc, arp_is_spared_where_a_transport_confirms);
	tcase_add_test(tc, arp_forgets_who_does_not_answer_the_probe);
	tcase_add_test(tc, arp_takes_a_new_address_of_a_stale_neighbour);
	tcase_add_test(tc, arp_announces_twice);
	tcase_add_test(tc, arp_probes_before_use_when_asked_to);
	tcase_add_test(tc, arp_gives_up_an_address_that_somebody_has);
	tcase_add_test(tc, arp_failure_reaches_the_socket);
}

int main(void)
{
	return check_lines_case("arp", 0, add_tests);
}
