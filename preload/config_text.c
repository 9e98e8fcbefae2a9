/*
 * From a tunable's value to its text, as the kernel's files under /proc/sys show it; and the names
 * by which sysctl(8) would know it.
 */
#include <string.h>

#include "preload/config.h"

#define RANGES_MAX (STACK_PORT_RANGES * 2)

/* Text under construction: cut off at its size, always terminated. */
struct config_out {
	char *at;
	size_t room;
};

static void add(struct config_out *out, char c)
{
	if (out->room < 2)
		return;
	*out->at++ = c;
	*out->at = 0;
	out->room--;
}

static void add_number(struct config_out *out, u32 n)
{
	if (n >= 10)
		add_number(out, n / 10);
	add(out, (char)('0' + n % 10));
}

static u32 load(const char *at, u32 width)
{
	u8 byte;
	u16 half;
	u32 n;

	if (width == 1) {
		memcpy(&byte, at, 1);
		return byte;
	}
	if (width == 2) {
		memcpy(&half, at, 2);
		return half;
	}
	memcpy(&n, at, 4);
	return n;
}

static void add_numbers(struct config_out *out, const struct config_key *key, const char *member)
{
	for (u32 i = 0; i < key->size; i++) {
		u32 n = load(member + i * key->width, key->width);

		if (i)
			add(out, '\t');
		if (key->type == CONFIG_SIGNED && (s32)n < 0)
			add(out, '-');
		add_number(out, key->type == CONFIG_SIGNED && (s32)n < 0 ? 0 - n : n);
	}
}

/* The words of the form whose bits are set. */
static void add_words(struct config_out *out, const struct config_key *key, u32 bits)
{
	const char *form = key->form;
	bool any = false;

	for (u32 i = 0; *form; i++) {
		size_t len = strcspn(form, "|");

		if (i < 32 && bits & 1u << i) {
			if (any)
				add(out, ' ');
			for (size_t j = 0; j < len; j++)
				add(out, form[j]);
			any = true;
		}
		form += len + (form[len] != 0);
	}
}

static void add_ports(struct config_out *out, const char *member)
{
	for (u32 i = 0; i < RANGES_MAX; i += 2) {
		u32 first = load(member + 2ul * i, 2), last = load(member + 2ul * i + 2, 2);

		if (!last)
			return;
		if (i)
			add(out, ',');
		add_number(out, first);
		if (last != first)
			add(out, '-');
		if (last != first)
			add_number(out, last);
	}
}

static void add_tfo_keys(struct config_out *out, const char *member)
{
	u32 count = load(member, 1);

	for (u32 i = 0; i < MAX(count, 1u); i++) {
		if (i)
			add(out, ',');
		for (u32 k = 0; k < 16; k++) {
			u32 byte = load(member + 1 + 16ul * i + (k & ~3u) + (3 - k % 4), 1);

			if (k && k % 4 == 0)
				add(out, '-');
			add(out, "0123456789abcdef"[byte >> 4]);
			add(out, "0123456789abcdef"[byte & 15]);
		}
	}
}

void config_text(const struct config *config, const struct config_key *key, char *text, size_t size)
{
	const char *member = (const char *)config + key->offset;
	struct config_out out = {text, size};

	if (size)
		*text = 0;
	switch (key->type) {
	case CONFIG_NUMBER:
	case CONFIG_SIGNED:
	case CONFIG_BOOL:
		add_numbers(&out, key, member);
		break;
	case CONFIG_CHOICE:
		add_words(&out, key, 1u << load(member, key->width));
		break;
	case CONFIG_WORDS:
		add_words(&out, key, load(member, key->width));
		break;
	case CONFIG_FIXED:
		add_words(&out, key, UINT32_MAX);
		break;
	case CONFIG_TFO_KEYS:
		add_tfo_keys(&out, member);
		break;
	case CONFIG_PORTS:
		add_ports(&out, member);
		break;
	default:
		break;
	}
}

/* Does `have` end with the name, at a word's beginning, dots and slashes being the same? */
static bool named(const char *have, const char *name)
{
	size_t all = strlen(have), len = strlen(name), from = all - len;

	if (len > all || !len || (from && have[from - 1] != '.'))
		return false;
	for (size_t i = 0; i < len; i++)
		if (have[from + i] != name[i] && (have[from + i] != '.' || name[i] != '/'))
			return false;
	return true;
}

bool config_is_tunable(const struct config_key *key)
{
	return strchr(key->name, '.');
}

const struct config_key *config_find_tunable(const char *name)
{
	for (u32 i = 0; i < config_key_count; i++)
		if (config_is_tunable(&config_keys[i]) && named(config_keys[i].name, name))
			return &config_keys[i];
	return NULL;
}
