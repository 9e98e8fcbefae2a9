/* A binary heap in an array that doubles. */
#include "tools/delay.h"

#include <stdlib.h>
#include <string.h>

void delay_init(struct delay_line *line, u64 max_bytes)
{
	*line = (struct delay_line){.max_bytes = max_bytes};
}

void delay_free(struct delay_line *line)
{
	for (size_t i = 0; i < line->count; i++)
		free(line->entries[i].data);
	free(line->entries);
	*line = (struct delay_line){0};
}

static bool delay_before(const struct delayed *a, const struct delayed *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static bool delay_grow(struct delay_line *line)
{
	size_t room = line->room ? 2 * line->room : 1024;
	struct delayed *entries;

	if (line->count < line->room)
		return true;
	entries = realloc(line->entries, room * sizeof(*entries));
	if (!entries)
		return false;
	line->entries = entries;
	line->room = room;
	return true;
}

u8 *delay_push(struct delay_line *line, u64 due_ns, u32 to, const u8 *data, u32 len)
{
	struct delayed new = {.due_ns = due_ns, .to = to, .len = len};
	size_t at = line->count;

	if (line->bytes + len > line->max_bytes || !delay_grow(line) || !(new.data = malloc(len)))
		return NULL;
	memcpy(new.data, data, len);
	new.order = line->next_order++;
	line->count++;
	line->bytes += len;
	for (; at > 0 && delay_before(&new, &line->entries[(at - 1) / 2]); at = (at - 1) / 2)
		line->entries[at] = line->entries[(at - 1) / 2];
	line->entries[at] = new;
	return new.data;
}

u64 delay_next(const struct delay_line *line)
{
	return line->count ? line->entries[0].due_ns : NEVER;
}

bool delay_pop(struct delay_line *line, u64 now_ns, struct delayed *out)
{
	struct delayed *e = line->entries;
	struct delayed last;
	size_t at = 0, child;

	if (delay_next(line) > now_ns || line->count == 0)
		return false;
	*out = e[0];
	line->bytes -= out->len;
	last = e[--line->count];
	while ((child = 2 * at + 1) < line->count) {
		if (child + 1 < line->count && delay_before(&e[child + 1], &e[child]))
			child++;
		if (!delay_before(&e[child], &last))
			break;
		e[at] = e[child];
		at = child;
	}
	e[at] = last;
	return true;
}
