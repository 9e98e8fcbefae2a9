/*
 * Row L of README.md: the fields of the headers at the edges of their ranges, one and two at a time, and a seeded run of frames with one to
 * three changes, in every TCP state. LONG=1 feeds five million of these, and all pairs of fields.
 */
#include <stdlib.h>

#include "tests/lib/check_lines.h"
#include "tests/lib/mutate.h"

enum { BATCH = 40 };

START_TEST(L_mutated_frames_in_state)
{
	u32 batches = (getenv("LONG") ? 5500000u : 110000u) / STAGES / BATCH;
	u8 seed[16] = {(u8)_i, 'm', 'u', 't', 'a', 't', 'e'};
	struct mutation m = {0};

	random_seed(&m.random, seed);
	for (u32 i = 0; i < batches; i++) {
		const char *why = mutation_run(&m, (enum peer_stage)_i, BATCH);

		ck_assert_msg(!why, "batch %u: %s", i, why);
	}
}
END_TEST

/* Every field of the headers at every edge in every state; by LONG=1 every pair of fields, else a part of these. */
START_TEST(L_sweep_in_state)
{
	u32 pairs = MUTATION_FIELDS * MUTATION_EDGES, step = getenv("LONG") ? 1 : 37;
	u8 seed[16] = {(u8)_i, 's', 'w', 'e', 'e', 'p'};
	struct mutation m = {0};

	random_seed(&m.random, seed);
	for (u32 one = 0; one < pairs; one++) {
		for (u32 two = one; two < pairs; two += step) {
			u32 field = one / MUTATION_EDGES, edge = one % MUTATION_EDGES, field2 = two / MUTATION_EDGES, edge2 = two % MUTATION_EDGES;
			const char *why;

			if (two != one && field == field2)
				continue;
			why = mutation_sweep(&m, (enum peer_stage)_i, field, edge, field2, edge2);
			ck_assert_msg(!why, "fields %u and %u at edges %u and %u: %s", field, field2, edge, edge2, why);
		}
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("mutate");
	TCase *tc = tcase_create("mutate");

	suite_add_tcase(suite, tc);
	tcase_set_timeout(tc, getenv("LONG") ? 1800 : 120);
	tcase_add_loop_test(tc, L_mutated_frames_in_state, STAGE_NONE, STAGES);
	tcase_add_loop_test(tc, L_sweep_in_state, STAGE_NONE, STAGES);
	return suite;
}

int main(void)
{
	return check_lines_main(suite);
}
