/* The timer wheel against a plain list of deadlines. */
#include "stack/neigh.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

enum { N = 1000 };

/* Tasks serve as owners: the engine's own are done when this returns. */
static struct stack *make(void)
{
	struct stack *s = engine_new(NULL);

	engine_run(s, 10 * NS_PER_S);
	s->slab[SLAB_TASK].limit = 2 * N;
	return s;
}

static ref owner(struct stack *s, u64 deadline_ns)
{
	ref r = slab_alloc(s, SLAB_TASK);

	ck_assert_uint_ne(r, 0);
	wheel_arm(s, r, deadline_ns);
	return r;
}

START_TEST(wheel_serves_in_order_of_deadline)
{
	struct stack *s = make();
	u64 base = s->now_ns;
	ref a = owner(s, base + 3000 * NS_PER_S), b = owner(s, base + NS_PER_MS),
	    c = owner(s, base + 40 * NS_PER_MS);

	ck_assert_uint_eq(wheel_next(s), base + NS_PER_MS);
	ck_assert_uint_eq(wheel_expired(s, base + NS_PER_MS - 1), 0);
	ck_assert_uint_eq(wheel_expired(s, base + NS_PER_MS), b);
	ck_assert_uint_eq(wheel_expired(s, base + NS_PER_MS), 0);
	ck_assert_uint_eq(wheel_next(s), base + 40 * NS_PER_MS);
	ck_assert_uint_eq(wheel_expired(s, base + 10000 * NS_PER_S), c);
	ck_assert_uint_eq(wheel_expired(s, base + 10000 * NS_PER_S), a);
	ck_assert_uint_eq(wheel_expired(s, base + 10000 * NS_PER_S), 0);
	ck_assert_uint_eq(wheel_next(s), NEVER);
}
END_TEST

START_TEST(wheel_serves_equal_deadlines_in_the_order_they_were_armed)
{
	struct stack *s = make();
	u64 at = s->now_ns + 7777 * NS_PER_MS;
	ref r[10];

	for (int i = 0; i < 10; i++)
		r[i] = owner(s, at);
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(wheel_expired(s, at), r[i]);
}
END_TEST

START_TEST(wheel_moves_and_cancels)
{
	struct stack *s = make();
	u64 base = s->now_ns;
	ref a = owner(s, base + NS_PER_S), b = owner(s, base + 2 * NS_PER_S);

	wheel_arm(s, a, base + 3 * NS_PER_S);
	ck_assert_uint_eq(wheel_next(s), base + 2 * NS_PER_S);
	wheel_cancel(s, b);
	wheel_cancel(s, b);
	ck_assert_uint_eq(wheel_next(s), base + 3 * NS_PER_S);
	ck_assert_uint_eq(wheel_expired(s, base + 3 * NS_PER_S), a);
	ck_assert_uint_eq(wheel_next(s), NEVER);
}
END_TEST

START_TEST(wheel_serves_deadlines_in_the_past_at_once)
{
	struct stack *s = make();
	ref a = owner(s, 5);

	ck_assert_uint_eq(wheel_next(s), 5);
	ck_assert_uint_eq(wheel_expired(s, s->now_ns), a);
}
END_TEST

START_TEST(wheel_takes_the_farthest_deadline)
{
	struct stack *s = make();
	ref a = owner(s, NEVER - 1);

	ck_assert_uint_eq(wheel_next(s), NEVER - 1);
	ck_assert_uint_eq(wheel_expired(s, NEVER - 2), 0);
	ck_assert_uint_eq(wheel_expired(s, NEVER - 1), a);
}
END_TEST

/*
 * Random arming, moving and cancelling over all levels, compared with a list: nothing early,
 * nothing lost, and nothing late by more than the tick that the wheel allows itself when many
 * timers share one.
 */
START_TEST(wheel_agrees_with_a_list)
{
	struct stack *s = make();
	static ref refs[N];
	static u64 due[N];
	const u64 tick_ns = 1ull << WHEEL_TICK_SHIFT;
	struct random random;
	u64 now = s->now_ns;
	u8 seed[16] = {(u8)_i};

	random_seed(&random, seed);
	for (u32 i = 0; i < N; i++) {
		refs[i] = slab_alloc(s, SLAB_TASK);
		due[i] = NEVER;
	}
	for (u32 step = 0; step < 20000; step++) {
		u32 i = random_below(&random, N);
		u64 span = 1ull << random_below(&random, 45), next, earliest = NEVER;
		ref r;

		due[i] = random_below(&random, 8) ? now + random_u64(&random) % span : NEVER;
		wheel_arm(s, refs[i], due[i]);
		if (step % 64)
			continue;
		for (u32 j = 0; j < N; j++)
			earliest = MIN(earliest, due[j]);
		next = wheel_next(s);
		ck_assert(earliest == NEVER || next < earliest + tick_ns);
		now = next != NEVER && random_below(&random, 2) ? MAX(now, next)
								: now + random_u64(&random) % span;
		while ((r = wheel_expired(s, now))) {
			for (i = 0; i < N && refs[i] != r; i++)
				;
			ck_assert_uint_lt(i, N);
			ck_assert_uint_le(due[i], now);
			due[i] = NEVER;
		}
		for (u32 j = 0; j < N; j++)
			ck_assert(due[j] == NEVER || due[j] + tick_ns > now);
	}
}
END_TEST

START_TEST(wheel_next_is_exact_while_few_timers_are_armed)
{
	struct stack *s = make();
	u64 base = s->now_ns, deadline = base + 123456789123ull;

	owner(s, deadline + NS_PER_S);
	owner(s, deadline);
	ck_assert_uint_eq(wheel_next(s), deadline);
	ck_assert_uint_eq(stack_deadline(s), deadline);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, wheel_serves_in_order_of_deadline);
	tcase_add_test(tc, wheel_serves_equal_deadlines_in_the_order_they_were_armed);
	tcase_add_test(tc, wheel_moves_and_cancels);
	tcase_add_test(tc, wheel_serves_deadlines_in_the_past_at_once);
	tcase_add_test(tc, wheel_takes_the_farthest_deadline);
	tcase_add_loop_test(tc, wheel_agrees_with_a_list, 0, 4);
	tcase_add_test(tc, wheel_next_is_exact_while_few_timers_are_armed);
}

int main(void)
{
	return check_lines_case("wheel", 0, add_tests);
}
