/* IPv4 as it should go: routes, path MTU, headers, fragments out, loopback, broadcast and
 * multicast, checksums. */
#include <string.h>

#include "stack/checksum.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

enum { IP = 14, MF = 0x2000, DF = 0x4000 };

static u8 frame[NET_FRAME_MAX], out[NET_FRAME_MAX], data[66000];
static u32 out_len;

static bool next_frame(struct stack *s)
{
	out_len = engine_frame_out(s, out, NULL);
	return out_len > 0;
}

/* A frame of `head` bytes in its head and the rest of len in pieces of 16,000 bytes, all out of
 * data[]. */
static ref make_frame(struct stack *s, u32 head, u32 len)
{
	ref r = frame_alloc(s);
	struct frame *f = frame_get(s, r);

	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 7 + i / 256);
	memcpy(frame_push(f, head), data, head);
	for (u32 at = head; at < len;) {
		u32 n = MIN(len - at, 16001u);
		ref pkt = pkt_alloc(s, n);
		struct pkt *p = pkt_get(s, pkt);

		memcpy(pkt_put(p, n), data + at, n);
		ck_assert(frame_add(s, f, pkt, p->start, n));
		pkt_release(s, pkt);
		at += n;
	}
	return r;
}

static int send_bytes(struct stack *s, const struct ip_out *ip, u32 len)
{
	return ip_send(s, make_frame(s, 8, len), ip);
}

static struct ip_out to(u32 dst)
{
	return (struct ip_out){.dst = addr_v4(dst), .proto = 253};
}

static bool header_sums(void)
{
	return checksum_finish(checksum_add(0, out + IP, (out[IP] & 15u) * 4)) == 0;
}

static int route(struct stack *s, u32 dst, u32 ifindex, struct path *path)
{
	struct addr a = addr_v4(dst);

	return ip_route(s, &a, ifindex, path);
}

START_TEST(route_longest_prefix_then_metric)
{
	struct stack *s = engine_new_ready(NULL);
	struct addr none = {0}, net = addr_v4(0x0b000000), narrow = addr_v4(0x0b0b0000),
		    a = addr_v4(0x0a000010), b = addr_v4(0x0a000020), c = addr_v4(0x0a000030);
	struct path p;

	ck_assert_int_eq(stack_add_route(s, &net, 8, &a, NETIF_DEVICE, 10), 0);
	ck_assert_int_eq(stack_add_route(s, &net, 8, &b, NETIF_DEVICE, 5), 0);
	ck_assert_int_eq(stack_add_route(s, &narrow, 16, &c, NETIF_DEVICE, 100), 0);
	ck_assert_int_eq(stack_add_route(s, &net, 8, &c, NETIF_DEVICE, 5), -EEXIST);
	ck_assert_int_eq(stack_add_route(s, &narrow, 8, &c, NETIF_DEVICE, 0), -EINVAL);
	ck_assert_int_eq(stack_add_route(s, &net, 33, &c, NETIF_DEVICE, 0), -EINVAL);
	ck_assert_int_eq(stack_add_route(s, &net, 8, &none, 7, 0), -EINVAL);
	ck_assert_int_eq(route(s, 0x0b000001, 0, &p), 0);
	ck_assert(addr_equal(&p.next_hop, &b));
	ck_assert_int_eq(route(s, 0x0b0b0001, 0, &p), 0);
	ck_assert(addr_equal(&p.next_hop, &c));
	ck_assert_int_eq(route(s, 0x08080808, 0, &p), 0);
	ck_assert_uint_eq(addr_get4(&p.next_hop), NET_PEER);
	ck_assert_int_eq(route(s, NET_HOST + 9, 0, &p), 0);
	ck_assert_uint_eq(addr_get4(&p.next_hop), NET_HOST + 9);
	ck_assert_uint_eq(addr_get4(&p.source), NET_HOST);
	ck_assert_uint_eq(p.mtu, 1500);
	ck_assert(!p.local && !p.broadcast);
	for (u32 i = 0; i < STACK_ROUTES; i++) {
		struct addr more = addr_v4(0x0c000000 + (i << 8));

		if (stack_add_route(s, &more, 24, &a, NETIF_DEVICE, 0))
			return;
	}
	ck_abort_msg("the table never fills");
}
END_TEST

START_TEST(route_kinds_of_destination)
{
	struct stack *s = engine_new_ready(NULL);
	struct path p;

	ck_assert_int_eq(route(s, NET_HOST, 0, &p), 0);
	ck_assert(p.local);
	ck_assert_uint_eq(addr_get4(&p.source), NET_HOST);
	ck_assert_uint_eq(p.mtu, 65535);
	ck_assert_int_eq(route(s, 0x7f010203, 0, &p), 0);
	ck_assert(p.local);
	ck_assert_uint_eq(addr_get4(&p.source), 0x7f000001);
	ck_assert_int_eq(route(s, 0xffffffff, 0, &p), 0);
	ck_assert(p.broadcast && p.ifindex == NETIF_DEVICE);
	ck_assert_int_eq(route(s, 0x0a0000ff, 0, &p), 0);
	ck_assert(p.broadcast);
	ck_assert_int_eq(route(s, 0xe0010203, 0, &p), 0);
	ck_assert(p.broadcast);
	ck_assert_uint_eq(addr_get4(&p.next_hop), 0xe0010203);
	ck_assert_int_eq(route(s, 0, 0, &p), -ENETUNREACH);
}
END_TEST

START_TEST(route_without_gateway)
{
	struct stack_config c = net_config();
	struct stack *s;
	struct path p;
	struct ip_out ip = to(0x08080808);

	c.gateway = (struct addr){0};
	s = engine_new_ready(&c);
	ck_assert_int_eq(route(s, 0x08080808, 0, &p), -ENETUNREACH);
	ck_assert_int_eq(send_bytes(s, &ip, 100), -ENETUNREACH);
	ck_assert_uint_eq(net_count(s, "ip_no_route"), 1);
	ck_assert_uint_eq(slab_in_use(s, SLAB_FRAME), 0);
	/* Bound to the device, everything is on the link. */
	ck_assert_int_eq(route(s, 0x08080808, NETIF_DEVICE, &p), 0);
	ck_assert_uint_eq(addr_get4(&p.next_hop), 0x08080808);
}
END_TEST

START_TEST(pmtu_is_learnt_with_bounds_and_forgotten)
{
	struct stack *s = engine_new_ready(NULL);
	struct addr dst = addr_v4(0x08080808), other = addr_v4(0x08080809), own = addr_v4(NET_HOST);
	struct path p;

	ip_pmtu_learn(s, &dst, 1500);
	ip_pmtu_learn(s, &dst, 9000);
	ip_pmtu_learn(s, &own, 1000);
	ck_assert_uint_eq(ip_pmtu_get(s, &dst), 0);
	ip_pmtu_learn(s, &dst, 1400);
	ck_assert_uint_eq(ip_pmtu_get(s, &dst), 1400);
	ck_assert_uint_eq(ip_pmtu_get(s, &other), 0);
	ck_assert_int_eq(ip_route(s, &dst, 0, &p), 0);
	ck_assert_uint_eq(p.mtu, 1400);
	ip_pmtu_learn(s, &dst, 1450);
	ck_assert_uint_eq(ip_pmtu_get(s, &dst), 1400);
	ip_pmtu_learn(s, &dst, 0);
	ck_assert_uint_eq(ip_pmtu_get(s, &dst), 552);
	engine_run(s, 599 * NS_PER_S);
	ck_assert_uint_eq(ip_pmtu_get(s, &dst), 552);
	engine_run(s, 2 * NS_PER_S);
	ck_assert_uint_eq(ip_pmtu_get(s, &dst), 0);
	/* At most eight changes a second. */
	for (u32 mtu = 1499; mtu > 1400; mtu--)
		ip_pmtu_learn(s, &dst, mtu);
	ck_assert_uint_eq(ip_pmtu_get(s, &dst), 1492);
}
END_TEST

START_TEST(pmtu_table_is_bounded)
{
	struct stack *s = engine_new_ready(NULL);
	u32 known = 0;

	for (u32 i = 0; i < 10000; i++) {
		struct addr dst = addr_v4(0x08000000 + i);

		ip_pmtu_learn(s, &dst, 1000);
		ck_assert_uint_eq(ip_pmtu_get(s, &dst), 1000);
	}
	for (u32 i = 0; i < 10000; i++) {
		struct addr dst = addr_v4(0x08000000 + i);

		known += ip_pmtu_get(s, &dst) != 0;
	}
	ck_assert_uint_le(known, STACK_PMTUS);
	ck_assert_uint_gt(known, STACK_PMTUS / 2);
}
END_TEST

START_TEST(ip_header_as_asked)
{
	struct stack *s = engine_new_ready(NULL);
	struct ip_out ip = to(NET_PEER);
	static const u8 options[] = {7, 7, 4, 0, 0, 0, 0, 0};

	ck_assert_int_eq(send_bytes(s, &ip, 100), 0);
	ck_assert(next_frame(s) && header_sums());
	ck_assert_uint_eq(out_len, 134);
	ck_assert_mem_eq(out, net_peer_mac, 6);
	ck_assert_mem_eq(out + 6, net_host_mac, 6);
	ck_assert_uint_eq(out[IP], 0x45);
	ck_assert_uint_eq(get16(out + IP + 2), 120);
	ck_assert_uint_eq(get16(out + IP + 6), 0);
	ck_assert_uint_eq(out[IP + 8], 64);
	ck_assert_uint_eq(get32(out + IP + 12), NET_HOST);
	ck_assert_mem_eq(out + IP + 20, data, 100);
	ip.ttl = 3;
	ip.tos = 0xb8;
	ip.dont_fragment = true;
	ip.options_len = 8;
	memcpy(ip.options, options, 8);
	ck_assert_int_eq(send_bytes(s, &ip, 100), 0);
	ck_assert(next_frame(s) && header_sums());
	ck_assert_uint_eq(out[IP], 0x47);
	ck_assert_uint_eq(out[IP + 1], 0xb8);
	ck_assert_uint_eq(out[IP + 8], 3);
	ck_assert_uint_eq(get16(out + IP + 4), 0);
	ck_assert_uint_eq(get16(out + IP + 6), DF);
	ck_assert_mem_eq(out + IP + 20, options, 8);
	ck_assert_mem_eq(out + IP + 28, data, 100);
}
END_TEST

START_TEST(ip_identification_is_no_counter)
{
	struct stack *s = engine_new_ready(NULL);
	u16 last[2] = {0};
	u32 by_one = 0, equal = 0;

	for (u32 i = 0; i < 1000; i++) {
		struct ip_out ip = to(i % 2 ? NET_PEER : NET_PEER + 256 * 256);
		u16 id;

		send_bytes(s, &ip, 10);
		ck_assert(next_frame(s));
		id = get16(out + IP + 4);
		by_one += id == (u16)(last[i % 2] + 1);
		equal += id == last[i % 2];
		last[i % 2] = id;
	}
	ck_assert_uint_eq(equal, 0);
	ck_assert_uint_lt(by_one, 300);
}
END_TEST

/* What is sent in fragments comes together at another host. */
START_TEST(ip_fragments_what_is_too_large)
{
	static const u32 sizes[] = {1480, 1481, 2959, 2960, 2961, 9000, 20000, 65515};
	struct stack *s = engine_new_ready(NULL);

	for (u32 i = 0; i < ARRAY_LEN(sizes); i++) {
		struct ip_out ip = to(NET_PEER);
		u32 at = 0;
		u16 id = 0;

		ck_assert_int_eq(send_bytes(s, &ip, sizes[i]), 0);
		while (next_frame(s)) {
			u32 len = get16(out + IP + 2) - 20, fragment = get16(out + IP + 6);

			ck_assert(header_sums());
			ck_assert_uint_le(out_len, 1514);
			ck_assert_uint_eq((fragment & 0x1fff) * 8, at);
			ck_assert_uint_eq(fragment & MF, at + len < sizes[i] ? MF : 0);
			ck_assert_mem_eq(out + IP + 20, data + at, len);
			ck_assert(at == 0 || get16(out + IP + 4) == id);
			id = get16(out + IP + 4);
			at += len;
		}
		ck_assert_uint_eq(at, sizes[i]);
	}
	ck_assert_uint_eq(slab_in_use(s, SLAB_FRAME), 0);
	ck_assert_uint_eq(slab_in_use(s, SLAB_PKT_MEDIUM), 0);
	ck_assert_uint_eq(net_count(s, "ip_frag_ok"), ARRAY_LEN(sizes) - 1);
}
END_TEST

START_TEST(ip_fragments_copy_the_options_that_ask_for_it)
{
	struct stack *s = engine_new_ready(NULL);
	struct ip_out ip = to(NET_PEER);
	static const u8 options[] = {7, 7, 4, 0, 0, 0, 0, 1, 148, 4, 0, 0};

	ip.options_len = sizeof(options);
	memcpy(ip.options, options, sizeof(options));
	ck_assert_int_eq(send_bytes(s, &ip, 2000), 0);
	ck_assert(next_frame(s) && header_sums());
	ck_assert_uint_eq(out[IP], 0x48);
	ck_assert(next_frame(s) && header_sums());
	ck_assert_uint_eq(out[IP], 0x46);
	ck_assert_mem_eq(out + IP + 20, options + 8, 4);
}
END_TEST

START_TEST(ip_refuses_what_may_not_be_fragmented)
{
	struct stack *s = engine_new_ready(NULL);
	struct ip_out ip = to(NET_PEER);
	struct addr far = addr_v4(0x08080808);

	ip.dont_fragment = true;
	ck_assert_int_eq(send_bytes(s, &ip, 1480), 0);
	ck_assert_int_eq(send_bytes(s, &ip, 1481), -EMSGSIZE);
	ip_pmtu_learn(s, &far, 1000);
	ip.dst = far;
	ck_assert_int_eq(send_bytes(s, &ip, 981), -EMSGSIZE);
	ck_assert_uint_eq(net_count(s, "ip_frag_needed"), 2);
	ip.dont_fragment = false;
	ck_assert_int_eq(send_bytes(s, &ip, 65516), -EMSGSIZE);
}
END_TEST

START_TEST(ip_completes_the_checksum_where_the_device_does_not)
{
	static const struct {
		u32 features, len;
		bool completed;
	} cases[] = {{0, 101, true}, {DEVICE_CSUM, 101, false}, {DEVICE_CSUM, 3001, true},
		{0, 3001, true}};
	struct addr src = addr_v4(NET_HOST), dst = addr_v4(NET_PEER);

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		struct stack_config c = net_config();
		struct ip_out ip = to(NET_PEER);
		struct offload offload;
		struct stack *s;
		struct frame *f;
		u32 pseudo = checksum_pseudo(&src, &dst, PROTO_UDP, cases[i].len);
		ref r;

		c.features = cases[i].features;
		s = engine_new_ready(&c);
		ip.proto = PROTO_UDP;
		r = make_frame(s, 8, cases[i].len);
		f = frame_get(s, r);
		f->offload = (struct offload){.flags = OFFLOAD_NEEDS_CSUM, .csum_offset = 6};
		put16(f->head + f->head_start + 6, checksum_fold(pseudo));
		put16(data + 6, checksum_fold(pseudo));
		ck_assert_int_eq(ip_send(s, r, &ip), 0);
		ck_assert_uint_gt(out_len = engine_frame_out(s, out, &offload), 0);
		if (cases[i].completed) {
			ck_assert_uint_eq(offload.flags, 0);
			ck_assert_uint_eq(get16(out + IP + 26),
				checksum_finish(checksum_add(0, data, cases[i].len)));
		} else {
			ck_assert_uint_eq(offload.flags, OFFLOAD_NEEDS_CSUM);
			ck_assert_uint_eq(offload.csum_start, 34);
			ck_assert_uint_eq(get16(out + IP + 26), checksum_fold(pseudo));
		}
		engine_free(s);
	}
}
END_TEST

START_TEST(ip_passes_super_frames_to_a_device_that_segments)
{
	struct stack_config c = net_config();
	struct ip_out ip = to(NET_PEER);
	struct offload offload;
	struct stack *s;
	ref r;

	c.features = DEVICE_CSUM | DEVICE_TSO4;
	s = engine_new_ready(&c);
	ip.dont_fragment = true;
	r = make_frame(s, 20, 60000);
	frame_get(s, r)->offload = (struct offload){.flags = OFFLOAD_NEEDS_CSUM,
		.gso_type = OFFLOAD_GSO_TCP4,
		.gso_size = 1460,
		.header_len = 20,
		.csum_offset = 16};
	ck_assert_int_eq(ip_send(s, r, &ip), 0);
	ck_assert_uint_eq(engine_frame_out(s, out, &offload), 60034);
	ck_assert_uint_eq(offload.header_len, 54);
	ck_assert_uint_eq(offload.csum_start, 34);
	ck_assert_uint_eq(offload.gso_size, 1460);
	ck_assert_mem_eq(out + IP + 20, data, 60000);
}
END_TEST

START_TEST(ip_group_and_broadcast_stations)
{
	struct stack *s = engine_new_ready(NULL);
	struct ip_out ip = to(0xe0810203);
	static const u8 group[6] = {1, 0, 0x5e, 1, 2, 3};

	send_bytes(s, &ip, 10);
	ck_assert(next_frame(s));
	ck_assert_mem_eq(out, group, 6);
	ip = to(0xffffffff);
	send_bytes(s, &ip, 10);
	ck_assert(next_frame(s));
	ck_assert_mem_eq(out, net_everybody, 6);
	ip = to(0x0a0000ff);
	send_bytes(s, &ip, 10);
	ck_assert(next_frame(s));
	ck_assert_mem_eq(out, net_everybody, 6);
	ck_assert_uint_eq(net_count(s, "ip_looped"), 2);
	ck_assert(!next_frame(s));
}
END_TEST

START_TEST(ip_loops_what_is_for_us)
{
	struct stack *s = engine_new_ready(NULL);
	static const u32 own[] = {NET_HOST, 0x7f000001, 0x7f123456};

	for (u32 i = 0; i < ARRAY_LEN(own); i++) {
		struct ip_out ip = to(own[i]);

		ck_assert_int_eq(send_bytes(s, &ip, 60000), 0);
		ck_assert_uint_eq(stack_deadline(s), s->now_ns);
		stack_run_loopback(s);
	}
	ck_assert_uint_eq(
		net_count(s, "ip_looped"), 6); /* each is answered: protocol unreachable */
	ck_assert_uint_eq(net_count(s, "ip_proto_unknown"), 3);
	ck_assert_uint_eq(net_count(s, "icmp_unreach_in"), 3);
	ck_assert(!stack_tx_pending(s));
	ck_assert_uint_eq(slab_in_use(s, SLAB_PKT_LARGE), 0);
}
END_TEST

START_TEST(ip_keeps_loopback_addresses_off_the_wire)
{
	struct stack *s = engine_new_ready(NULL);
	struct ip_out ip = to(NET_PEER);

	ip.src = addr_v4(0x7f000001);
	ck_assert_int_eq(send_bytes(s, &ip, 10), -EINVAL);
	ck_assert(!stack_tx_pending(s));
}
END_TEST

START_TEST(ip_accepts_super_frames)
{
	struct stack *s = engine_new_ready(NULL);
	struct offload offload = {.flags = OFFLOAD_NEEDS_CSUM,
		.gso_type = OFFLOAD_GSO_TCP4,
		.gso_size = 1460,
		.header_len = 54,
		.csum_start = 34,
		.csum_offset = 16};
	struct net_tcp tcp = {.sport = 1, .dport = 2, .flags = 16};
	u64 delivered = net_count(s, "ip_delivered");

	engine_frame_in_offload(
		s, frame, net_tcp(frame, &(struct net_ip4){0}, &tcp, data, 60000), &offload);
	ck_assert_uint_eq(net_count(s, "ip_delivered"), delivered + 1);
	ck_assert_uint_eq(slab_in_use(s, SLAB_PKT_LARGE), 0);
}
END_TEST

START_TEST(netif_subnets)
{
	struct stack *s = engine_new_ready(NULL);
	struct addr a = addr_v4(0xc0a80001), b = addr_v4(0xc0a800ff), point = addr_v4(0xac100001),
		    point_end = addr_v4(0xac100001);

	ck_assert_int_eq(netif_add_addr(s, NETIF_DEVICE, &a, 24), 0);
	ck_assert_int_eq(netif_add_addr(s, NETIF_DEVICE, &a, 24), -EEXIST);
	ck_assert_int_eq(netif_add_addr(s, NETIF_DEVICE, &a, 33), -EINVAL);
	ck_assert_int_eq(netif_add_addr(s, 9, &b, 24), -EINVAL);
	ck_assert(netif_is_local(s, &a));
	ck_assert(netif_is_broadcast(s, &b));
	ck_assert(!netif_is_broadcast(s, &a));
	/* RFC 3021: a point-to-point link has no broadcast address. */
	ck_assert_int_eq(netif_add_addr(s, NETIF_DEVICE, &point, 31), 0);
	ck_assert(!netif_is_broadcast(s, &point_end));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, route_longest_prefix_then_metric);
	tcase_add_test(tc, route_kinds_of_destination);
	tcase_add_test(tc, route_without_gateway);
	tcase_add_test(tc, pmtu_is_learnt_with_bounds_and_forgotten);
	tcase_add_test(tc, pmtu_table_is_bounded);
	tcase_add_test(tc, ip_header_as_asked);
	tcase_add_test(tc, ip_identification_is_no_counter);
	tcase_add_test(tc, ip_fragments_what_is_too_large);
	tcase_add_test(tc, ip_fragments_copy_the_options_that_ask_for_it);
	tcase_add_test(tc, ip_refuses_what_may_not_be_fragmented);
	tcase_add_test(tc, ip_completes_the_checksum_where_the_device_does_not);
	tcase_add_test(tc, ip_passes_super_frames_to_a_device_that_segments);
	tcase_add_test(tc, ip_group_and_broadcast_stations);
	tcase_add_test(tc, ip_loops_what_is_for_us);
	tcase_add_test(tc, ip_keeps_loopback_addresses_off_the_wire);
	tcase_add_test(tc, ip_accepts_super_frames);
	tcase_add_test(tc, netif_subnets);
}

int main(void)
{
	return check_lines_case("ip4", 0, add_tests);
}
