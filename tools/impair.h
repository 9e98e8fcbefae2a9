/*
 * What happens to the frames of one direction of a link: loss, delay, reordering, duplication,
 * corruption, a bandwidth with a queue that marks or drops. Pure: no clock, no input or output; the
 * caller says when a frame of which length comes and does as it is told.
 */
#ifndef TOOLS_IMPAIR_H
#define TOOLS_IMPAIR_H

#include "stack/types.h"

/* A probability is a share of 2^32. */
#define IMPAIR_ALWAYS (1ull << 32)

struct impair_config {
	u64 delay_ns;  /* added to every frame */
	u64 jitter_ns; /* the delay varies evenly by up to this much either way; keeps the order */
	u64 reorder_by_ns;   /* how long a reordered frame is held back at most; 0: chosen from the
				delay */
	u64 loss;	     /* probability that a frame is dropped */
	u64 reorder;	     /* ... is held back so that later ones overtake it */
	u64 duplicate;	     /* ... arrives twice */
	u64 corrupt;	     /* ... has one bit flipped */
	u64 rate_bits_per_s; /* 0: unlimited */
	u64 queue_bytes;     /* what may wait for the rate; 0: 100 ms of it */
	u64 ce_threshold_ns; /* ECN-capable packets that wait longer for the rate are marked; 0:
				none */
	u64 seed;	     /* the same seed gives the same fates */
};

struct impair {
	struct impair_config config;
	u64 random;
	u64 busy_until_ns; /* when the last byte queued will have left */
	u64 last_due_ns;   /* of a frame that was not reordered */
	u64 frames, lost, overflowed, reordered, duplicated, corrupted, marked;
};

#define IMPAIR_NO_FLIP UINT32_MAX

struct impair_fate {
	u32 copies; /* 0: dropped */
	u32 flip;   /* the bit of the first copy to flip (impair_flip), or IMPAIR_NO_FLIP */
	bool mark;  /* all copies, if they are ECN-capable (impair_mark) */
	u64 due_ns; /* when to deliver, all copies; equal times in the order of the calls */
};

void impair_init(struct impair *im, const struct impair_config *config);

/* True when frames pass as they are, at once. */
bool impair_is_clear(const struct impair_config *config);

/* The fate of the next frame: len bytes with the Ethernet header, at now_ns. */
struct impair_fate impair_frame(struct impair *im, u64 now_ns, size_t len);

/*
 * Flips one bit behind the Ethernet header. Frames other than IP have no checksum of their own that
 * would show it (on a wire, the frame check sequence does) and are left alone. Returns whether it
 * flipped.
 */
bool impair_flip(u8 *frame, size_t len, u32 bit);

/* Congestion experienced (RFC 3168 5), of an IP packet that is ECN-capable; counts it. */
void impair_mark(struct impair *im, u8 *frame, size_t len);

#endif
