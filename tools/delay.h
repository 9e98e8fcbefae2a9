/* Frames that wait for their time: a heap ordered by due time, first come first served among
 * equals. */
#ifndef TOOLS_DELAY_H
#define TOOLS_DELAY_H

#include "stack/types.h"

struct delayed {
	u64 due_ns;
	u64 order;
	u32 to; /* the caller's own: which end */
	u32 len;
	u8 *data; /* on the heap */
};

struct delay_line {
	struct delayed *entries;
	size_t count, room;
	u64 next_order;
	u64 bytes, max_bytes; /* what waits, and the most that may */
};

void delay_init(struct delay_line *line, u64 max_bytes);
void delay_free(struct delay_line *line);

/* Copies a frame in. Returns the copy, or NULL when the line is full or there is no memory. */
u8 *delay_push(struct delay_line *line, u64 due_ns, u32 to, const u8 *data, u32 len);

/* When the next frame is due, NEVER when none waits. */
u64 delay_next(const struct delay_line *line);

/* Takes the next frame if it is due; the caller frees its data. */
bool delay_pop(struct delay_line *line, u64 now_ns, struct delayed *out);

#endif
