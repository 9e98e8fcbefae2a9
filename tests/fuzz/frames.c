/* libFuzzer: the input chooses a TCP state, then frames, their changes, what the program does and how time passes. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/mutate.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct mutation m;
	const char *why;

	if (size < 2)
		return 0;
	m.input = data + 1;
	m.input_len = size - 1;
	m.used = 0;
	why = mutation_run(&m, (enum peer_stage)(data[0] % STAGES), 200);
	if (why) {
		fprintf(stderr, "%s\n", why);
		abort();
	}
	return 0;
}
