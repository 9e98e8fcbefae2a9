/*
 * Frames of every protocol that would be right in the state of the host they come in, but for one to three changes, and the host
 * that they come to: one whose connection stands in a given state, with a program that uses it and time that passes.
 */
#ifndef TESTS_LIB_MUTATE_H
#define TESTS_LIB_MUTATE_H

#include "tests/lib/peer.h"

struct mutation {
	struct random random; /* makes all choices ... */
	const u8 *input;      /* ... unless these bytes do */
	size_t input_len, used;
	/* The host. */
	struct peer p;
	ref udp, spare;
};

/*
 * A new host in that state is fed so many frames, or until the input is used up. Then: are the invariants of all sockets whole, does
 * a new connection work, and is everything given back when all is closed and an hour has passed. NULL if so, else what is wrong.
 */
const char *mutation_run(struct mutation *m, enum peer_stage stage, u32 frames);

/*
 * A right segment with text, a SYN, a FIN or a RST, with two header fields (of MUTATION_FIELDS) set to an edge (of MUTATION_EDGES) of their
 * range; or one, if both are the same. It comes in; then the same questions, and: are the answers few?
 */
enum { MUTATION_KINDS = 4, MUTATION_FIELDS = 23, MUTATION_EDGES = 10 };
struct mutation_case {
	u32 kind, field, edge, field2, edge2;
};
const char *mutation_sweep(struct mutation *m, enum peer_stage stage, const struct mutation_case *c);

#endif
