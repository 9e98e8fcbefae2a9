/* Slabs: refs, generations, limits, exhaustion of the region. */
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

/* A kind that the engine itself does not set up. */
#define KIND SLAB_WAITER

struct object {
	struct slab_head slab;
	u64 value[4];
};

static struct stack *make(u32 limit)
{
	struct stack *s = engine_new(NULL);

	slab_init(s, KIND, sizeof(struct object), limit);
	return s;
}

START_TEST(slab_gives_zeroed_objects)
{
	struct stack *s = make(10);
	ref r = slab_alloc(s, KIND);
	struct object *o = slab_get(s, KIND, r);

	ck_assert_ptr_nonnull(o);
	ck_assert_uint_eq(o->slab.self, r);
	ck_assert_uint_eq(ref_kind(r), KIND);
	o->value[3] = 7;
	slab_free(s, r);
	ck_assert_uint_eq(slab_alloc(s, KIND) & 0xfffffu, r & 0xfffffu);
	ck_assert_uint_eq(o->value[3], 0);
}
END_TEST

START_TEST(slab_catches_stale_refs)
{
	struct stack *s = make(10);
	ref r = slab_alloc(s, KIND), again;

	slab_free(s, r);
	ck_assert_ptr_null(slab_get(s, KIND, r));
	again = slab_alloc(s, KIND);
	ck_assert_uint_ne(again, r);
	ck_assert_ptr_null(slab_get(s, KIND, r));
	ck_assert_ptr_nonnull(slab_get(s, KIND, again));
	slab_free(s, r);
	ck_assert_uint_eq(net_count(s, "stale_free"), 1);
	ck_assert_ptr_nonnull(slab_get(s, KIND, again));
}
END_TEST

START_TEST(slab_refuses_foreign_refs)
{
	struct stack *s = make(10);
	ref r = slab_alloc(s, KIND);

	ck_assert_ptr_null(slab_get(s, KIND, 0));
	ck_assert_ptr_null(slab_get(s, SLAB_SOCK, r));
	ck_assert_ptr_null(slab_get(s, KIND, r + 1));
	ck_assert_ptr_null(slab_any(s, 0xffffffffu));
	ck_assert_ptr_null(pkt_get(s, r));
	ck_assert_ptr_null(frame_get(s, r));
}
END_TEST

START_TEST(slab_keeps_its_limit)
{
	struct stack *s = make(3);
	ref r = 0;

	for (int i = 0; i < 3; i++)
		ck_assert_uint_ne(r = slab_alloc(s, KIND), 0);
	ck_assert_uint_eq(slab_alloc(s, KIND), 0);
	ck_assert_uint_eq(net_count(s, "no_memory"), 1);
	slab_free(s, r);
	ck_assert_uint_ne(slab_alloc(s, KIND), 0);
	ck_assert_uint_eq(slab_in_use(s, KIND), 3);
}
END_TEST

START_TEST(slab_finds_every_object_over_many_spans)
{
	struct stack *s = engine_new(NULL);
	enum { N = 100000 };
	static ref refs[N];

	slab_init(s, KIND, 336, N);
	for (u32 i = 0; i < N; i++) {
		struct object *o = slab_get(s, KIND, refs[i] = slab_alloc(s, KIND));

		ck_assert_ptr_nonnull(o);
		o->value[0] = i;
	}
	for (u32 i = 0; i < N; i++) {
		struct object *o = slab_get(s, KIND, refs[i]);

		ck_assert_ptr_nonnull(o);
		ck_assert_uint_eq(o->value[0], i);
		ck_assert_ptr_eq(slab_at(s, KIND, i), o);
	}
	ck_assert_uint_eq(slab_touched(s, KIND), N);
	ck_assert_ptr_null(slab_at(s, KIND, N));
}
END_TEST

START_TEST(slab_reports_a_full_region_and_goes_on_when_it_grows)
{
	struct stack_config c = net_config();
	struct stack *s = engine_new_sized(&c, 64u << 20);
	u32 n = 0;

	/* As the caller would have made it: smaller than what is mapped. */
	s->size = stack_min_size();
	slab_init(s, KIND, 1u << 19, 1000);
	while (slab_alloc(s, KIND))
		n++;
	ck_assert_uint_gt(n, 0);
	ck_assert(s->wants_memory);
	stack_grow(s, 64u << 20);
	ck_assert_uint_ne(slab_alloc(s, KIND), 0);
}
END_TEST

START_TEST(stack_refuses_too_little_memory)
{
	struct stack_config c = net_config();
	_Alignas(4096) static u8 little[8192];

	ck_assert_ptr_null(stack_init(little, sizeof(little), sizeof(little), &c));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, slab_gives_zeroed_objects);
	tcase_add_test(tc, slab_catches_stale_refs);
	tcase_add_test(tc, slab_refuses_foreign_refs);
	tcase_add_test(tc, slab_keeps_its_limit);
	tcase_add_test(tc, slab_finds_every_object_over_many_spans);
	tcase_add_test(tc, slab_reports_a_full_region_and_goes_on_when_it_grows);
	tcase_add_test(tc, stack_refuses_too_little_memory);
}

int main(void)
{
	return check_lines_case("slab", 0, add_tests);
}
