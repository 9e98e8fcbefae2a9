/*
 * Row L of README.md: a seeded run of frames with one to three changes, in every TCP state. LONG=1 feeds five million.
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

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, L_mutated_frames_in_state, STAGE_NONE, STAGES);
}

int main(void)
{
	return check_lines_case("mutate", getenv("LONG") ? 1800 : 120, add_tests);
}
