/* Hostile Ethernet frames and ARP: rows A1 to A9 of README.md. */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

static const u8 evil_mac[6] = {2, 0, 0, 0, 0, 0x66};
static const u8 no_mac[6];
static u8 frame[NET_FRAME_MAX], out[NET_FRAME_MAX];

static u32 scale(u32 quick, u32 full)
{
	return getenv("LONG") ? full : quick;
}

/* Sends something to an address of ours on the link; the frames that leave are the test's to look
 * at. */
static void send_to(struct stack *s, u32 dst)
{
	struct ip_out ip = {.dst = addr_v4(dst), .proto = 253};
	ref r = frame_alloc(s);

	put32(frame_push(frame_get(s, r), 4), dst);
	ip_send(s, r, &ip);
}

static bool is_arp_request(const u8 *f, u32 len, u32 target)
{
	return len >= 42 && get16(f + 12) == ETHERTYPE_ARP && get16(f + 20) == 1 &&
	       get32(f + 38) == target;
}

/* Whether what is sent to dst now goes to that station at once. */
static bool goes_to(struct stack *s, u32 dst, const u8 *mac)
{
	bool there = false;

	send_to(s, dst);
	while (engine_frame_out(s, out, NULL)) {
		if (get16(out + 12) == ETHERTYPE_IP4 && !memcmp(out, mac, 6))
			there = true;
	}
	return there;
}

static void hear(struct stack *s, u16 op, const u8 *eth_dst, const u8 *mac, u32 sender, u32 target)
{
	engine_frame_in(s, frame, net_arp(frame, eth_dst, op, mac, sender, net_host_mac, target));
}

START_TEST(A1_runt_frames)
{
	struct stack *s = engine_new_ready(NULL);
	static const u16 types[] = {
		0, 0x2e, ETHERTYPE_IP4, ETHERTYPE_ARP, ETHERTYPE_IP6, 0x8100, 0xffff};

	for (u32 t = 0; t < ARRAY_LEN(types); t++) {
		for (u32 len = 0; len < 60; len++) {
			u64 in = net_count(s, "eth_in");

			memset(frame, 0, sizeof(frame));
			net_eth(frame, net_host_mac, net_peer_mac, types[t], NULL, 0);
			if (len < 14)
				ck_assert_dropped(s, frame, len, "eth_short");
			else if (types[t] != ETHERTYPE_IP4 && types[t] != ETHERTYPE_ARP)
				ck_assert_dropped(s, frame, len, "eth_type_unknown");
			else if (types[t] == ETHERTYPE_ARP)
				ck_assert_dropped(
					s, frame, len, len < 42 ? "arp_short" : "arp_malformed");
			else
				ck_assert_dropped(s, frame, len, "ip_header");
			ck_assert_uint_eq(net_count(s, "eth_in"), in + 1);
		}
	}
}
END_TEST

START_TEST(A1_frames_for_others)
{
	struct stack *s = engine_new_ready(NULL);
	static const u8 group_source[6] = {3, 0, 0, 0, 0, 1},
			ip6_group[6] = {0x33, 0x33, 0, 0, 0, 1};
	static const u8 spanning_tree[6] = {1, 0x80, 0xc2, 0, 0, 0};

	ck_assert_dropped(s, frame,
		net_eth(frame, evil_mac, net_peer_mac, ETHERTYPE_IP4, frame, 46), "eth_not_ours");
	ck_assert_dropped(s, frame,
		net_eth(frame, ip6_group, net_peer_mac, ETHERTYPE_IP4, frame, 46), "eth_not_ours");
	ck_assert_dropped(s, frame,
		net_eth(frame, spanning_tree, net_peer_mac, ETHERTYPE_IP4, frame, 46),
		"eth_not_ours");
	ck_assert_dropped(s, frame,
		net_eth(frame, net_host_mac, group_source, ETHERTYPE_IP4, frame, 46), "eth_source");
}
END_TEST

START_TEST(A2_short_arp)
{
	struct stack *s = engine_new_ready(NULL);

	net_arp(frame, net_host_mac, 1, net_peer_mac, NET_PEER, no_mac, NET_HOST);
	for (u32 len = 14; len < 42; len++)
		ck_assert_dropped(s, frame, len, "arp_short");
}
END_TEST

START_TEST(A3_arp_fields)
{
	struct stack *s = engine_new_ready(NULL);
	static const struct {
		u32 at;
		u16 value;
	} wrong[] = {{14, 0}, {14, 2}, {14, 0x100}, {16, 0}, {16, 0x0806}, {16, 0x86dd},
		{18, 0x0504}, {18, 0xff04}, {18, 0x0004}, {18, 0x0603}, {18, 0x0610}, {18, 0x0600},
		{20, 0}, {20, 3}, {20, 4}, {20, 8}, {20, 0x0100}, {20, 65535}};

	for (u32 i = 0; i < ARRAY_LEN(wrong); i++) {
		u32 len = net_arp(frame, net_host_mac, 1, net_peer_mac, NET_PEER, no_mac, NET_HOST);

		put16(frame + wrong[i].at, wrong[i].value);
		ck_assert_dropped(s, frame, len, "arp_malformed");
	}
}
END_TEST

START_TEST(A4_unsolicited_arp)
{
	struct stack *s = engine_new_ready(NULL);
	u32 in_use = slab_in_use(s, SLAB_NEIGH);

	ck_assert_dropped(s, frame,
		net_arp(frame, net_host_mac, 2, evil_mac, NET_HOST + 5, net_host_mac, NET_HOST),
		"arp_unsolicited");
	ck_assert_dropped(s, frame,
		net_arp(frame, net_everybody, 2, evil_mac, NET_HOST + 5, no_mac, NET_HOST + 5),
		"arp_unsolicited");
	/* A gratuitous request and a question to somebody else. */
	hear(s, 1, net_everybody, evil_mac, NET_HOST + 5, NET_HOST + 5);
	hear(s, 1, net_everybody, evil_mac, NET_HOST + 5, NET_HOST + 6);
	ck_assert_uint_eq(slab_in_use(s, SLAB_NEIGH), in_use);
	ck_assert(!stack_tx_pending(s));
}
END_TEST

/* The peer answers the unicast probe that another's claim brings about: nothing has changed. */
START_TEST(A5_changed_address_is_probed)
{
	struct stack *s = engine_new_ready(NULL);
	u32 len;

	ck_assert(goes_to(s, NET_PEER, net_peer_mac));
	engine_run(s, 2 * NS_PER_S);
	hear(s, 2, net_host_mac, evil_mac, NET_PEER, NET_HOST);
	ck_assert_uint_eq(net_count(s, "arp_change_held"), 1);
	len = engine_frame_out(s, out, NULL);
	ck_assert(is_arp_request(out, len, NET_PEER));
	ck_assert_mem_eq(out, net_peer_mac, 6);
	ck_assert(goes_to(s, NET_PEER, net_peer_mac));
	hear(s, 2, net_host_mac, net_peer_mac, NET_PEER, NET_HOST);
	engine_run(s, 10 * NS_PER_S);
	ck_assert(goes_to(s, NET_PEER, net_peer_mac));
}
END_TEST

START_TEST(A5_changed_address_is_taken_when_the_old_is_silent)
{
	struct stack *s = engine_new_ready(NULL);

	engine_run(s, 2 * NS_PER_S);
	hear(s, 2, net_host_mac, evil_mac, NET_PEER, NET_HOST);
	engine_run(s, 5 * NS_PER_S);
	engine_frames_drop(s);
	send_to(s, NET_PEER);
	ck_assert(is_arp_request(out, engine_frame_out(s, out, NULL), NET_PEER));
	hear(s, 2, net_host_mac, evil_mac, NET_PEER, NET_HOST);
	ck_assert(goes_to(s, NET_PEER, evil_mac));
}
END_TEST

START_TEST(A5_flood_of_changes)
{
	struct stack *s = engine_new_ready(NULL);
	u64 asked = net_count(s, "arp_out");

	for (u32 i = 0; i < 10000; i++) {
		engine_run(s, NS_PER_MS);
		hear(s, 2, net_host_mac, evil_mac, NET_PEER, NET_HOST);
		hear(s, 2, net_host_mac, net_peer_mac, NET_PEER, NET_HOST);
		ck_assert(goes_to(s, NET_PEER, net_peer_mac));
	}
	ck_assert_uint_le(net_count(s, "arp_out") - asked, 11);
	ck_assert_uint_eq(net_count(s, "arp_change_held"), 10000);
}
END_TEST

START_TEST(A6_impossible_senders)
{
	struct stack *s = engine_new_ready(NULL);
	static const u32 senders[] = {
		0xffffffff, 0x0a0000ff, 0xe0000001, 0xefffffff, 0xf0000001, 0x7f000001, 0x00000001};
	static const u8 group[6] = {1, 0, 0x5e, 0, 0, 1};

	for (u32 i = 0; i < ARRAY_LEN(senders); i++) {
		ck_assert_dropped(s, frame,
			net_arp(frame, net_host_mac, 1, evil_mac, senders[i], no_mac, NET_HOST),
			"arp_invalid");
		ck_assert_dropped(s, frame,
			net_arp(frame, net_host_mac, 2, evil_mac, senders[i], no_mac, NET_HOST),
			"arp_invalid");
	}
	ck_assert_dropped(s, frame, net_arp(frame, net_host_mac, 2, evil_mac, 0, no_mac, NET_HOST),
		"arp_invalid");
	net_arp(frame, net_host_mac, 1, no_mac, NET_HOST + 5, no_mac, NET_HOST);
	memcpy(frame + 6, evil_mac, 6);
	ck_assert_dropped(s, frame, 42, "arp_invalid");
	net_arp(frame, net_host_mac, 1, group, NET_HOST + 5, no_mac, NET_HOST);
	memcpy(frame + 6, evil_mac, 6);
	ck_assert_dropped(s, frame, 42, "arp_invalid");
	/* Our own frame, come back. */
	ck_assert_dropped(s, frame,
		net_arp(frame, net_everybody, 1, net_host_mac, NET_HOST, no_mac, NET_HOST),
		"arp_invalid");
}
END_TEST

START_TEST(A6_conflict_is_defended_once_in_ten_seconds)
{
	struct stack *s = engine_new_ready(NULL);
	u32 len;

	hear(s, 1, net_everybody, evil_mac, NET_HOST, NET_HOST);
	len = engine_frame_out(s, out, NULL);
	ck_assert(is_arp_request(out, len, NET_HOST));
	ck_assert_mem_eq(out, net_everybody, 6);
	ck_assert_mem_eq(out + 22, net_host_mac, 6);
	for (u32 i = 0; i < 1000; i++) {
		engine_run(s, NS_PER_MS);
		hear(s, 2, net_host_mac, evil_mac, NET_HOST, NET_HOST);
	}
	ck_assert(!stack_tx_pending(s));
	ck_assert_uint_eq(net_count(s, "arp_conflict"), 1001);
	engine_run(s, 10 * NS_PER_S);
	hear(s, 2, net_host_mac, evil_mac, NET_HOST, NET_HOST);
	ck_assert(stack_tx_pending(s));
	ck_assert_uint_eq(slab_in_use(s, SLAB_NEIGH), 1);
}
END_TEST

static struct stack *wide_host(void)
{
	struct stack_config c = net_config();

	c.prefix_len = 8;
	return engine_new_ready(&c);
}

static void give_mac(u8 mac[6], u32 ip)
{
	mac[0] = mac[1] = 2;
	put32(mac + 2, ip);
}

START_TEST(A7_requests_from_everybody)
{
	struct stack *s = wide_host();
	u32 n = scale(100000, 1000000);
	u8 mac[6];

	ck_assert(goes_to(s, NET_PEER, net_peer_mac));
	for (u32 i = 0; i < n; i++) {
		u32 ip = 0x0a010000 + i;

		give_mac(mac, ip);
		hear(s, 1, net_everybody, mac, ip, NET_HOST);
		engine_frames_drop(s);
	}
	ck_assert_uint_le(slab_in_use(s, SLAB_NEIGH), s->tunables.arp_table_max);
	ck_assert_uint_ge(net_count(s, "arp_evicted"), n - s->tunables.arp_table_max);
	ck_assert(goes_to(s, NET_PEER, net_peer_mac));
}
END_TEST

START_TEST(A7_packets_to_silent_neighbours)
{
	struct stack *s = wide_host();
	u32 n = scale(20000, 100000);

	ck_assert(goes_to(s, NET_PEER, net_peer_mac));
	for (u32 i = 0; i < n; i++) {
		send_to(s, 0x0a010000 + i);
		if (i % 1000 == 0)
			engine_frames_drop(s);
	}
	engine_frames_drop(s);
	ck_assert_uint_le(slab_in_use(s, SLAB_NEIGH), s->tunables.arp_table_max);
	ck_assert_uint_le(s->neigh_queued, s->tunables.arp_table_max);
	ck_assert(goes_to(s, NET_PEER, net_peer_mac));
	engine_run(s, 60 * NS_PER_S);
	ck_assert_uint_eq(s->neigh_queued, 0);
	ck_assert_uint_le(slab_in_use(s, SLAB_NEIGH), 1);
	engine_frames_drop(s);
	ck_assert_uint_eq(slab_in_use(s, SLAB_FRAME), 0);
}
END_TEST

START_TEST(A7_one_request_a_second_and_a_bounded_queue)
{
	struct stack *s = engine_new_ready(NULL);
	u32 requests = 0, len, target = NET_HOST + 5;

	for (u32 i = 0; i < 10000; i++) {
		send_to(s, target);
		engine_run(s, NS_PER_MS);
		while ((len = engine_frame_out(s, out, NULL)))
			requests += is_arp_request(out, len, target);
		ck_assert_uint_le(s->neigh_queued, s->tunables.arp_queue_max);
	}
	ck_assert_uint_ge(requests, 9);
	ck_assert_uint_le(requests, 11);
	ck_assert_uint_gt(net_count(s, "arp_queue_drop"), 0);
	hear(s, 2, net_host_mac, evil_mac, target, NET_HOST);
	ck_assert_uint_eq(s->neigh_queued, 0);
	ck_assert_uint_gt(engine_frames_drop(s), 1);
}
END_TEST

START_TEST(A8_frames_larger_than_the_mtu)
{
	struct stack *s = engine_new_ready(NULL);
	struct net_ip4 ip = {0};
	static u8 data[66000];
	u32 len;

	/* What a device that joins segments delivers, and what no wire can carry. */
	engine_frame_in(s, frame, net_icmp(frame, &ip, 8, 0, 1, data, 65000));
	ck_assert_uint_eq(net_count(s, "icmp_echo_out"), 1);
	engine_frames_drop(s);
	len = net_icmp(frame, &ip, 8, 0, 1, data, 65507);
	ck_assert(engine_frame_in(s, frame, len + 1000));
	ck_assert_uint_eq(net_count(s, "icmp_echo_out"), 2);
	engine_frames_drop(s);
	ck_assert(!engine_frame_in(s, frame, PKT_LARGE_ROOM));
}
END_TEST

START_TEST(A9_unicast_in_a_broadcast_frame)
{
	struct stack *s = engine_new_ready(NULL);
	static const u8 group[6] = {1, 0, 0x5e, 0, 0, 1};
	const u8 *macs[] = {net_everybody, group};

	for (u32 i = 0; i < ARRAY_LEN(macs); i++) {
		struct net_ip4 ip = {.eth_dst = macs[i]};
		struct net_tcp syn = {.sport = 1000, .dport = 80, .flags = 2};

		ck_assert_dropped(
			s, frame, net_tcp(frame, &ip, &syn, NULL, 0), "ip_link_broadcast");
		ck_assert_dropped(
			s, frame, net_udp(frame, &ip, 1000, 9, "x", 1), "ip_link_broadcast");
		ck_assert_dropped(
			s, frame, net_icmp(frame, &ip, 8, 0, 1, "x", 1), "ip_link_broadcast");
		ip.proto = 200;
		ck_assert_dropped(s, frame, net_ip4(frame, &ip, "x", 1), "ip_link_broadcast");
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, A1_runt_frames);
	tcase_add_test(tc, A1_frames_for_others);
	tcase_add_test(tc, A2_short_arp);
	tcase_add_test(tc, A3_arp_fields);
	tcase_add_test(tc, A4_unsolicited_arp);
	tcase_add_test(tc, A5_changed_address_is_probed);
	tcase_add_test(tc, A5_changed_address_is_taken_when_the_old_is_silent);
	tcase_add_test(tc, A5_flood_of_changes);
	tcase_add_test(tc, A6_impossible_senders);
	tcase_add_test(tc, A6_conflict_is_defended_once_in_ten_seconds);
	tcase_add_test(tc, A7_requests_from_everybody);
	tcase_add_test(tc, A7_packets_to_silent_neighbours);
	tcase_add_test(tc, A7_one_request_a_second_and_a_bounded_queue);
	tcase_add_test(tc, A8_frames_larger_than_the_mtu);
	tcase_add_test(tc, A9_unicast_in_a_broadcast_frame);
}

int main(void)
{
	return check_lines_case("ethernet", 0, add_tests);
}
