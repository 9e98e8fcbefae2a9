/* Frames on their way out: a small header buffer and references to pieces of packets. */
#include <string.h>

#include "stack/checksum.h"
#include "stack/stack.h"

ref frame_alloc(struct stack *s)
{
	ref r = slab_alloc(s, SLAB_FRAME);
	struct frame *f = frame_get(s, r);

	if (f)
		f->head_start = FRAME_HEAD_ROOM;
	return r;
}

void frame_free(struct stack *s, ref r)
{
	struct frame *f = frame_get(s, r);

	if (!f) {
		counter_inc(s, counter_stale_free);
		return;
	}
	for (u32 i = 0; i < f->pieces; i++)
		pkt_release(s, f->piece[i].pkt);
	slab_free(s, r);
}

u8 *frame_push(struct frame *f, u32 n)
{
	if (n > f->head_start)
		return NULL;
	f->head_start = (u16)(f->head_start - n);
	f->len += n;
	return f->head + f->head_start;
}

bool frame_add(struct stack *s, struct frame *f, ref pkt, u32 offset, u32 len)
{
	struct pkt *p = pkt_get(s, pkt);

	if (!p || f->pieces == FRAME_PIECES || offset > p->room || len > p->room - offset)
		return false;
	p->refs++;
	f->piece[f->pieces++] = (struct frame_piece){pkt, offset, len};
	f->len += len;
	return true;
}

ref frame_from_pkt(struct stack *s, ref pkt)
{
	struct pkt *p = pkt_get(s, pkt);
	ref r = frame_alloc(s);
	struct frame *f = frame_get(s, r);

	if (f && p && !frame_add(s, f, pkt, p->start, pkt_len(p))) {
		frame_free(s, r);
		r = 0;
	}
	pkt_release(s, pkt);
	return r;
}

/* Adds bytes that lie at an odd or even distance from the start of what is summed. */
static u32 frame_sum_part(u32 sum, bool odd, const u8 *p, u32 len)
{
	u32 part;

	if (!odd)
		return checksum_add(sum, p, len);
	part = checksum_fold(checksum_add(0, p, len));
	part = (part & 0xff) << 8 | part >> 8;
	sum += part;
	return sum < part ? sum + 1 : sum;
}

u32 frame_sum(struct stack *s, const struct frame *f, u32 bytes, u32 sum)
{
	u32 skip = f->len - MIN(bytes, f->len), at = 0;
	u32 n = FRAME_HEAD_ROOM - f->head_start;

	if (skip < n) {
		sum = checksum_add(sum, f->head + f->head_start + skip, n - skip);
		at = n - skip;
		skip = n;
	}
	skip -= n;
	for (u32 i = 0; i < f->pieces; i++) {
		const struct frame_piece *piece = &f->piece[i];
		struct pkt *p = pkt_get(s, piece->pkt);
		u32 cut = MIN(skip, piece->len);

		skip -= cut;
		if (!p || cut == piece->len)
			continue;
		sum = frame_sum_part(sum, at & 1, p->data + piece->offset + cut, piece->len - cut);
		at += piece->len - cut;
	}
	return sum;
}
