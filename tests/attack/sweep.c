/*
 * Row L of README.md: every field of the IPv4 and TCP headers and of the first options at every edge of its range, alone and in pairs, in
 * segments of each kind, in every TCP state, each to a host of its own (tests/lib/mutate.h says what must hold then). LONG=1 makes all pairs
 * of fields and edges: more than a million cases.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/check_lines.h"
#include "tests/lib/mutate.h"

enum { SINGLES = MUTATION_FIELDS * MUTATION_EDGES, STEP = 131 };

START_TEST(L_sweep_in_state)
{
	u8 seed[16] = {(u8)_i, 's', 'w', 'e', 'e', 'p'};
	u32 step = getenv("LONG") ? 1 : STEP, n = 0, cases = 0;
	struct mutation m = {0};

	random_seed(&m.random, seed);
	for (u32 one = 0; one < SINGLES; one++) {
		for (u32 two = one; two < SINGLES; two++) {
			struct mutation_case c = {.field = one / MUTATION_EDGES, .edge = one % MUTATION_EDGES, .field2 = two / MUTATION_EDGES,
				.edge2 = two % MUTATION_EDGES};

			if (two != one && c.field == c.field2)
				continue;
			for (c.kind = 0; c.kind < MUTATION_KINDS; c.kind++) {
				const char *why;

				if (n++ % step && two != one)
					continue;
				why = mutation_sweep(&m, (enum peer_stage)_i, &c);
				ck_assert_msg(!why, "kind %u, fields %u and %u at edges %u and %u: %s", c.kind, c.field, c.field2, c.edge, c.edge2, why);
				cases++;
			}
		}
	}
	printf("# %u cases\n", cases);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, L_sweep_in_state, STAGE_NONE, STAGES);
}

int main(void)
{
	return check_lines_case("sweep", getenv("LONG") ? 3500 : 240, add_tests);
}
