/*
 * Reading DNS answers (RFC 1035 4.1) for names and addresses. The bytes are hostile: each field is
 * compared with what is left before it is read, names are expanded by c-ares with the message as
 * their bound.
 */
#include <ares.h>
#include <string.h>
#include <strings.h>

#include "preload/resolve_internal.h"

#define HEADER_BYTES 12
#define RECORD_BYTES 10 /* type, class, TTL and length, behind the name */

struct reader {
	const u8 *data;
	int len;
	int at;
};

static u32 get16(const u8 *p)
{
	return (u32)p[0] << 8 | p[1];
}

/* The name at r->at as text. */
static bool read_name(struct reader *r, char *out, size_t size)
{
	char *text;
	long used;
	bool fits;

	if (r->at >= r->len ||
		ares_expand_name(r->data + r->at, r->data, r->len, &text, &used) != ARES_SUCCESS)
		return false;
	fits = used <= r->len - r->at && strlen(text) < size;
	if (fits) {
		strcpy(out, text);
		r->at += (int)used;
	}
	ares_free_string(text);
	return fits;
}

struct record {
	char name[RESOLVE_NAME];
	u32 type;
	const u8 *data;
	int len;
	int at; /* of data, in the message */
};

static bool read_record(struct reader *r, struct record *out)
{
	const u8 *p;

	if (!read_name(r, out->name, sizeof(out->name)) || r->len - r->at < RECORD_BYTES)
		return false;
	p = r->data + r->at;
	out->type = get16(p + 2) == ns_c_in ? get16(p) : 0;
	out->len = (int)get16(p + 8);
	out->at = r->at + RECORD_BYTES;
	out->data = r->data + out->at;
	if (out->len > r->len - out->at)
		return false;
	r->at = out->at + out->len;
	return true;
}

/* A name that a record holds. */
static bool read_target(const struct reader *r, const struct record *record, char *out, size_t size)
{
	struct reader inner = {r->data, r->len, record->at};

	return read_name(&inner, out, size);
}

/* Applies one record; `current` is the name that the CNAMEs so far lead to. */
static bool apply(const struct reader *r, const struct record *record, int type, char *current,
	struct resolve_names *out)
{
	char target[RESOLVE_NAME];

	if (strcasecmp(record->name, current))
		return true;
	if (record->type == ns_t_cname) {
		if (!read_target(r, record, target, sizeof(target)))
			return false;
		if (type == ns_t_a)
			resolve_names_alias(out, current);
		strcpy(current, target);
	} else if (record->type == ns_t_a && type == ns_t_a && record->len == 4) {
		if (!out->addrs)
			strcpy(out->name, record->name);
		if (out->addrs < RESOLVE_ADDRS)
			memcpy(&out->addr[out->addrs++], record->data, 4);
	} else if (record->type == ns_t_ptr && type == ns_t_ptr) {
		if (!read_target(r, record, target, sizeof(target)))
			return false;
		if (out->name[0])
			resolve_names_alias(out, target);
		else
			strcpy(out->name, target);
	}
	return true;
}

int resolve_dns_read(const struct resolve_answer *answer, int type, struct resolve_names *out)
{
	struct reader r = {answer->data, answer->len, HEADER_BYTES};
	char current[RESOLVE_NAME];
	struct record record;
	u32 answers;

	out->name[0] = 0;
	out->aliases = out->addrs = 0;
	if (r.len < HEADER_BYTES || get16(r.data + 4) != 1 ||
		!read_name(&r, current, sizeof(current)) || r.len - r.at < 4)
		return NO_RECOVERY;
	r.at += 4;
	answers = get16(r.data + 6);
	for (u32 i = 0; i < answers; i++)
		if (!read_record(&r, &record) || !apply(&r, &record, type, current, out))
			return NO_RECOVERY;
	return out->name[0] ? 0 : NO_DATA;
}
