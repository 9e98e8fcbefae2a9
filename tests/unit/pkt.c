/* Packet buffers and frames. */
#include <string.h>

#include "stack/checksum.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

START_TEST(pkt_takes_the_smallest_kind_that_fits)
{
	struct stack *s = engine_new(NULL);

	ck_assert_uint_eq(ref_kind(pkt_alloc(s, 0)), SLAB_PKT_SMALL);
	ck_assert_uint_eq(ref_kind(pkt_alloc(s, PKT_SMALL_ROOM - PKT_HEADROOM)), SLAB_PKT_SMALL);
	ck_assert_uint_eq(
		ref_kind(pkt_alloc(s, PKT_SMALL_ROOM - PKT_HEADROOM + 1)), SLAB_PKT_MEDIUM);
	ck_assert_uint_eq(ref_kind(pkt_alloc(s, PKT_MEDIUM_ROOM)), SLAB_PKT_LARGE);
	ck_assert_uint_eq(ref_kind(pkt_alloc(s, PKT_LARGE_ROOM - PKT_HEADROOM)), SLAB_PKT_LARGE);
	ck_assert_uint_eq(pkt_alloc(s, PKT_LARGE_ROOM), 0);
	ck_assert_uint_eq(pkt_alloc(s, ~0u), 0);
}
END_TEST

START_TEST(pkt_takes_a_larger_kind_when_memory_has_gone_there)
{
	static ref taken[20000];
	struct stack *s = engine_new(NULL);
	u32 n = 0;
	ref small;

	while (n < 20000 && (taken[n] = pkt_alloc(s, PKT_LARGE_ROOM - PKT_HEADROOM)) != 0)
		n++;
	ck_assert_uint_lt(n, 20000);
	while (pkt_alloc(s, 10))
		;
	pkt_release(s, taken[0]);
	small = pkt_alloc(s, 10);
	ck_assert_uint_eq(ref_kind(small), SLAB_PKT_LARGE);
	ck_assert_uint_eq(pkt_compact(s, small), small);
}
END_TEST

START_TEST(pkt_accessors_check_bounds)
{
	struct stack *s = engine_new(NULL);
	struct pkt *p = pkt_get(s, pkt_alloc(s, 100));

	ck_assert_ptr_null(pkt_pull(p, 1));
	ck_assert_ptr_nonnull(pkt_put(p, 100));
	ck_assert_ptr_null(pkt_put(p, p->room));
	ck_assert_ptr_null(pkt_put(p, ~0u));
	ck_assert_ptr_nonnull(pkt_peek(p, 0, 100));
	ck_assert_ptr_nonnull(pkt_peek(p, 100, 0));
	ck_assert_ptr_null(pkt_peek(p, 101, 0));
	ck_assert_ptr_null(pkt_peek(p, 1, 100));
	ck_assert_ptr_null(pkt_peek(p, 1, ~0u));
	ck_assert_ptr_null(pkt_peek(p, ~0u, 2));
	ck_assert(!pkt_trim(p, 101));
	ck_assert(pkt_trim(p, 50));
	ck_assert_ptr_nonnull(pkt_pull(p, 50));
	ck_assert_uint_eq(pkt_len(p), 0);
	ck_assert_ptr_nonnull(pkt_push(p, 50 + PKT_HEADROOM));
	ck_assert_ptr_null(pkt_push(p, 1));
}
END_TEST

START_TEST(pkt_lives_as_long_as_its_last_holder)
{
	struct stack *s = engine_new(NULL);
	ref r = pkt_alloc(s, 10);

	pkt_hold(s, r);
	pkt_release(s, r);
	ck_assert_ptr_nonnull(pkt_get(s, r));
	pkt_release(s, r);
	ck_assert_ptr_null(pkt_get(s, r));
	ck_assert_uint_eq(slab_in_use(s, SLAB_PKT_SMALL), 0);
	pkt_release(s, r);
	ck_assert_uint_eq(net_count(s, "stale_free"), 1);
}
END_TEST

START_TEST(pkt_compact_keeps_view_and_metadata)
{
	struct stack *s = engine_new(NULL);
	ref r = stack_rx_alloc(s), q;
	struct pkt *p = pkt_get(s, r);

	memcpy(pkt_put(p, 5), "hello", 5);
	pkt_pull(p, 1);
	p->from.port = 99;
	p->flags = PKT_CSUM_OK;
	q = pkt_compact(s, r);
	p = pkt_get(s, q);
	ck_assert_uint_eq(ref_kind(q), SLAB_PKT_SMALL);
	ck_assert_ptr_null(pkt_get(s, r));
	ck_assert_uint_eq(pkt_len(p), 4);
	ck_assert_mem_eq(pkt_peek(p, 0, 4), "ello", 4);
	ck_assert_uint_eq(p->from.port, 99);
	ck_assert_uint_eq(p->flags, PKT_CSUM_OK);
	ck_assert_uint_eq(pkt_compact(s, q), q);
}
END_TEST

START_TEST(pktq_is_first_in_first_out)
{
	struct stack *s = engine_new(NULL);
	struct pktq q = {0};
	ref a = pkt_alloc(s, 10), b = pkt_alloc(s, 10);

	pkt_put(pkt_get(s, a), 3);
	pkt_put(pkt_get(s, b), 4);
	pktq_push(s, &q, a);
	pktq_push(s, &q, b);
	ck_assert_uint_eq(q.count, 2);
	ck_assert_uint_eq(q.bytes, 7);
	ck_assert_uint_eq(pktq_pop(s, &q), a);
	ck_assert_uint_eq(pktq_pop(s, &q), b);
	ck_assert_uint_eq(pktq_pop(s, &q), 0);
	pktq_push(s, &q, a);
	pktq_push(s, &q, b);
	pktq_purge(s, &q);
	ck_assert_uint_eq(slab_in_use(s, SLAB_PKT_SMALL), 0);
	ck_assert_uint_eq(q.count + q.bytes + q.head + q.tail, 0);
}
END_TEST

START_TEST(frame_shares_packets_and_sums_over_odd_pieces)
{
	struct stack *s = engine_new(NULL);
	u8 flat[64];
	ref r = frame_alloc(s), pkt = pkt_alloc(s, 100);
	struct frame *f = frame_get(s, r);
	struct pkt *p = pkt_get(s, pkt);

	for (u32 i = 0; i < sizeof(flat); i++)
		flat[i] = (u8)(i * 37 + 11);
	memcpy(pkt_put(p, 61), flat + 3, 61);
	memcpy(frame_push(f, 3), flat, 3);
	ck_assert(frame_add(s, f, pkt, p->start, 10));
	ck_assert(frame_add(s, f, pkt, p->start + 10, 7));
	ck_assert(frame_add(s, f, pkt, p->start + 17, 44));
	ck_assert(!frame_add(s, f, pkt, p->room - 1, 2));
	ck_assert_uint_eq(f->len, 64);
	for (u32 n = 0; n <= 64; n++)
		ck_assert_uint_eq(checksum_finish(frame_sum(s, f, n, 0)),
			checksum_finish(checksum_add(0, flat + 64 - n, n)));
	pkt_release(s, pkt);
	ck_assert_ptr_nonnull(pkt_get(s, pkt));
	frame_free(s, r);
	ck_assert_ptr_null(pkt_get(s, pkt));
}
END_TEST

START_TEST(frame_bounds)
{
	struct stack *s = engine_new(NULL);
	ref pkt = pkt_alloc(s, 100), r = frame_alloc(s);
	struct frame *f = frame_get(s, r);

	ck_assert_ptr_null(frame_push(f, FRAME_HEAD_ROOM + 1));
	ck_assert_ptr_nonnull(frame_push(f, FRAME_HEAD_ROOM));
	ck_assert_ptr_null(frame_push(f, 1));
	for (u32 i = 0; i < FRAME_PIECES; i++)
		ck_assert(frame_add(s, f, pkt, 0, 1));
	ck_assert(!frame_add(s, f, pkt, 0, 1));
}
END_TEST

START_TEST(tx_ring_hands_out_in_order_and_refuses_when_full)
{
	struct stack *s = engine_new_ready(NULL);
	u8 out[NET_FRAME_MAX];
	u32 n = 0;

	for (;;) {
		ref r = frame_alloc(s);
		struct frame *f = frame_get(s, r);

		ck_assert_ptr_nonnull(f);
		f->ifindex = NETIF_DEVICE;
		put32(frame_push(f, 60), n);
		if (!stack_tx_queue(s, r))
			break;
		n++;
	}
	ck_assert_uint_eq(n, STACK_TX_RING);
	ck_assert_uint_eq(net_count(s, "tx_full"), 1);
	for (u32 i = 0; i < n; i++) {
		ck_assert_uint_eq(engine_frame_out(s, out, NULL), 60);
		ck_assert_uint_eq(get32(out), i);
	}
	ck_assert(!stack_tx_pending(s));
	ck_assert_uint_eq(slab_in_use(s, SLAB_FRAME), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, pkt_takes_the_smallest_kind_that_fits);
	tcase_add_test(tc, pkt_takes_a_larger_kind_when_memory_has_gone_there);
	tcase_add_test(tc, pkt_accessors_check_bounds);
	tcase_add_test(tc, pkt_lives_as_long_as_its_last_holder);
	tcase_add_test(tc, pkt_compact_keeps_view_and_metadata);
	tcase_add_test(tc, pktq_is_first_in_first_out);
	tcase_add_test(tc, frame_shares_packets_and_sums_over_odd_pieces);
	tcase_add_test(tc, frame_bounds);
	tcase_add_test(tc, tx_ring_hands_out_in_order_and_refuses_when_full);
}

int main(void)
{
	return check_lines_case("pkt", 0, add_tests);
}
