/* TCP options: a bounded walk over kind and length octets, and the layouts that Linux sends. */
#include <string.h>

#include "stack/bytes.h"
#include "stack/tcp_options.h"

enum {
	KIND_EOL,
	KIND_NOP,
	KIND_MSS,
	KIND_WSCALE,
	KIND_SACK_OK,
	KIND_SACK,
	KIND_TIMESTAMP = 8,
	KIND_TFO = 34,
	KIND_EXPERIMENT = 254
};

#define TFO_MAGIC 0xf989u /* of the experiment, RFC 6994 */

static bool parse_sack(struct tcp_options *o, const u8 *body, u32 len)
{
	u32 blocks = len / 8;

	if (len == 0 || len % 8 != 0 || blocks > TCP_SACK_BLOCKS)
		return false;
	for (u32 i = 0; i < blocks; i++) {
		o->sack[i].start = get32(body + 8 * i);
		o->sack[i].end = get32(body + 8 * i + 4);
	}
	o->sack_count = blocks;
	o->flags |= TCP_OPT_SACK;
	return true;
}

/* RFC 7413 4.1.1: empty, or 4 to 16 bytes, an even number. */
static bool parse_tfo(struct tcp_options *o, const u8 *body, u32 len, bool exp)
{
	if (len > sizeof(o->tfo) || len % 2 || (len && len < 4))
		return false;
	memcpy(o->tfo, body, len);
	o->tfo_len = (u8)len;
	o->tfo_exp = exp;
	o->flags |= TCP_OPT_TFO;
	return true;
}

/* One option of a known kind; its body has `len` bytes. False when the length is wrong for the
 * kind. */
static bool parse_one(struct tcp_options *o, u8 kind, const u8 *body, u32 len, bool syn)
{
	switch (kind) {
	case KIND_MSS:
		if (len != 2)
			return false;
		if (syn) {
			o->mss = get16(body);
			o->flags |= TCP_OPT_MSS;
		}
		return true;
	case KIND_WSCALE:
		if (len != 1)
			return false;
		if (syn) {
			o->wscale = body[0] > TCP_WSCALE_MAX ? TCP_WSCALE_MAX : body[0];
			o->flags |= TCP_OPT_WSCALE;
		}
		return true;
	case KIND_SACK_OK:
		if (len != 0)
			return false;
		if (syn)
			o->flags |= TCP_OPT_SACK_OK;
		return true;
	case KIND_SACK:
		return parse_sack(o, body, len);
	case KIND_TIMESTAMP:
		if (len != 8)
			return false;
		o->tsval = get32(body);
		o->tsecr = get32(body + 4);
		o->flags |= TCP_OPT_TIMESTAMP;
		return true;
	case KIND_TFO:
		return !syn || parse_tfo(o, body, len, false);
	case KIND_EXPERIMENT: /* another one, or not beside the option itself */
		if (!syn || len < 2 || get16(body) != TFO_MAGIC || o->flags & TCP_OPT_TFO)
			return true;
		return parse_tfo(o, body + 2, len - 2, true);
	default:
		return true; /* MUST-6 */
	}
}

bool tcp_options_parse(struct tcp_options *o, const u8 *data, u32 len, bool syn)
{
	bool good = true;
	u32 at = 0;

	memset(o, 0, sizeof(*o));
	while (at < len) {
		u8 kind = data[at];
		u32 size;

		if (kind == KIND_EOL)
			break;
		if (kind == KIND_NOP) {
			at++;
			continue;
		}
		if (len - at < 2)
			return false;
		size = data[at + 1];
		if (size < 2 || size > len - at)
			return false;
		if (!parse_one(o, kind, data + at + 2, size - 2, syn))
			good = false;
		at += size;
	}
	return good;
}

static u32 build_timestamp(const struct tcp_options *o, u8 *out)
{
	out[0] = KIND_TIMESTAMP;
	out[1] = 10;
	put32(out + 2, o->tsval);
	put32(out + 6, o->tsecr);
	return 10;
}

static u32 build_sack(const struct tcp_options *o, u8 *out, u32 room)
{
	u32 blocks = MIN(o->sack_count, TCP_SACK_BLOCKS);

	if (room < 12)
		return 0;
	blocks = MIN(blocks, (room - 4) / 8);
	if (blocks == 0)
		return 0;
	out[0] = KIND_NOP;
	out[1] = KIND_NOP;
	out[2] = KIND_SACK;
	out[3] = (u8)(2 + 8 * blocks);
	for (u32 i = 0; i < blocks; i++) {
		put32(out + 4 + 8 * i, o->sack[i].start);
		put32(out + 8 + 8 * i, o->sack[i].end);
	}
	return 4 + 8 * blocks;
}

static u32 build_tfo(const struct tcp_options *o, u8 *out)
{
	u32 at = o->tfo_exp ? 4 : 2;

	out[0] = o->tfo_exp ? KIND_EXPERIMENT : KIND_TFO;
	out[1] = (u8)(at + o->tfo_len);
	if (o->tfo_exp)
		put16(out + 2, TFO_MAGIC);
	memcpy(out + at, o->tfo, o->tfo_len);
	for (at += o->tfo_len; at % 4; at++)
		out[at] = KIND_NOP;
	return at;
}

u32 tcp_options_build(const struct tcp_options *o, u8 *out)
{
	u32 at = 0;

	if (o->flags & TCP_OPT_MSS) {
		out[at++] = KIND_MSS;
		out[at++] = 4;
		put16(out + at, o->mss);
		at += 2;
	}
	if (o->flags & TCP_OPT_TIMESTAMP) {
		/* Aligned behind SACK-permitted, or behind two NOPs. */
		out[at++] = o->flags & TCP_OPT_SACK_OK ? KIND_SACK_OK : KIND_NOP;
		out[at++] = o->flags & TCP_OPT_SACK_OK ? 2 : KIND_NOP;
		at += build_timestamp(o, out + at);
	} else if (o->flags & TCP_OPT_SACK_OK) {
		out[at++] = KIND_NOP;
		out[at++] = KIND_NOP;
		out[at++] = KIND_SACK_OK;
		out[at++] = 2;
	}
	if (o->flags & TCP_OPT_WSCALE) {
		out[at++] = KIND_NOP;
		out[at++] = KIND_WSCALE;
		out[at++] = 3;
		out[at++] = o->wscale;
	}
	if (o->flags & TCP_OPT_TFO && at + 4u + o->tfo_len <= TCP_OPTIONS_MAX)
		at += build_tfo(o, out + at);
	if (o->flags & TCP_OPT_SACK)
		at += build_sack(o, out + at, TCP_OPTIONS_MAX - at);
	return at;
}
