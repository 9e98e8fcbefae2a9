/*
 * From the text of a configuration value to the value.
 *
 * A value is taken apart with cursors over its bytes, never changed. A list is entries between
 * commas or semicolons, each parsed by its key's type. Addresses of both families are understood;
 * only IPv4 ones are accepted, as the stack has no other.
 */
#include "preload/config_value.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <string.h>

struct word {
	const char *at;
	size_t len;
};

int config_say(struct config_why *why, ...)
{
	va_list parts;
	const char *part;
	size_t have = why->size ? strnlen(why->text, why->size - 1) : 0;

	if (!why->size)
		return -EINVAL;
	va_start(parts, why);
	while ((part = va_arg(parts, const char *))) {
		size_t n = MIN(strlen(part), why->size - 1 - have);

		memcpy(why->text + have, part, n);
		have += n;
	}
	va_end(parts);
	why->text[have] = 0;
	return -EINVAL;
}

void config_cut(struct config_why *why, size_t length)
{
	if (why->size)
		why->text[MIN(length, why->size - 1)] = 0;
}

const char *config_decimal(char buf[12], u32 n)
{
	char *p = buf + 11;

	*p = 0;
	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	return p;
}

/* An address's prefix length within the 128 bits that hold both families. */
static u32 prefix_bits(const struct config_ip *network)
{
	return network->prefix_len + (network->addr.family == FAMILY_INET ? 96u : 0u);
}

bool config_contains(const struct config_ip *network, const struct addr *addr)
{
	u32 bits = prefix_bits(network), rest = bits % 8;

	if (network->addr.family != addr->family || memcmp(network->addr.b, addr->b, bits / 8))
		return false;
	return !rest || !((network->addr.b[bits / 8] ^ addr->b[bits / 8]) >> (8 - rest));
}

static struct word trim(const char *at, size_t len)
{
	while (len && config_blank(*at))
		at++, len--;
	while (len && config_blank(at[len - 1]))
		len--;
	return (struct word){at, len};
}

/* Takes the part up to the next of the separators off rest. False when there is nothing left. */
static bool next(const char **rest, const char *separators, struct word *out)
{
	size_t len;

	if (!*rest)
		return false;
	len = strcspn(*rest, separators);
	*out = trim(*rest, len);
	*rest = (*rest)[len] ? *rest + len + 1 : NULL;
	return true;
}

static bool is_word(struct word w, const char *text)
{
	return w.len == strlen(text) && !memcmp(w.at, text, w.len);
}

/* "'what' is no ..." about one word of the value. */
static int bad(struct config_why *why, struct word w, const char *reason)
{
	char text[64];
	size_t n = MIN(w.len, sizeof(text) - 1);

	memcpy(text, w.at, n);
	text[n] = 0;
	return config_say(why, "'", text, "' ", reason, NULL);
}

static bool number(struct word w, u32 max, u32 *out)
{
	u64 n = 0;

	if (!w.len || w.len > 10)
		return false;
	for (size_t i = 0; i < w.len; i++) {
		if (w.at[i] < '0' || w.at[i] > '9')
			return false;
		n = n * 10 + (u64)(w.at[i] - '0');
	}
	*out = (u32)n;
	return n <= max;
}

static bool address(struct word w, struct config_ip *ip)
{
	char text[INET6_ADDRSTRLEN];
	u8 v4[4];

	memset(ip, 0, sizeof(*ip));
	if (!w.len || w.len >= sizeof(text))
		return false;
	memcpy(text, w.at, w.len);
	text[w.len] = 0;
	if (inet_pton(AF_INET, text, v4) == 1) {
		ip->addr = addr_v4((u32)v4[0] << 24 | (u32)v4[1] << 16 | (u32)v4[2] << 8 | v4[3]);
		ip->prefix_len = 32;
		return true;
	}
	ip->addr.family = FAMILY_INET6;
	ip->prefix_len = 128;
	return inet_pton(AF_INET6, text, ip->addr.b) == 1;
}

/* Addresses that no interface can have: this network, multicast and beyond. */
static bool is_no_host(const struct addr *a)
{
	return addr_get4(a) >> 24 == 0 || addr_get4(a) >> 24 >= 224;
}

static int host(struct word w, struct config_ip *ip, struct config_why *why)
{
	if (!address(w, ip))
		return bad(why, w, "is not an address");
	if (ip->addr.family != FAMILY_INET)
		return bad(why, w, "is an IPv6 address, and the stack has IPv4 only");
	if (is_no_host(&ip->addr))
		return bad(why, w, "is not a host's address");
	return 0;
}

/* ADDRESS[/PREFIX]; without a prefix length the whole address counts. */
static int network(struct word w, struct config_ip *ip, bool *has_prefix, struct config_why *why)
{
	const char *slash = memchr(w.at, '/', w.len);
	size_t len = slash ? (size_t)(slash - w.at) : w.len;
	u32 bits;

	if (!address((struct word){w.at, len}, ip))
		return bad(why, w, "is not an address or network");
	if (ip->addr.family != FAMILY_INET)
		return bad(why, w, "is an IPv6 address, and the stack has IPv4 only");
	*has_prefix = slash;
	if (!slash)
		return 0;
	if (!number((struct word){slash + 1, w.len - len - 1}, ip->prefix_len, &bits))
		return bad(why, w, "has no valid prefix length");
	ip->prefix_len = (u8)bits;
	return 0;
}

/* Bits beyond the prefix: a network with some is a mistake, as `ip route` holds it. */
static bool has_host_bits(const struct config_ip *ip)
{
	for (u32 i = prefix_bits(ip); i < 128; i++)
		if (ip->addr.b[i / 8] & (0x80 >> i % 8))
			return true;
	return false;
}

static int own_address(struct word w, struct config_ip *ip, struct config_why *why)
{
	bool has_prefix = false;
	u32 mask, addr;
	int ret = network(w, ip, &has_prefix, why);

	if (ret)
		return ret;
	if (!has_prefix || !ip->prefix_len)
		return bad(why, w, "needs its network's prefix length, as in 10.0.0.2/24");
	addr = addr_get4(&ip->addr);
	mask = (u32)(UINT64_C(0xffffffff) << (32 - ip->prefix_len));
	if (is_no_host(&ip->addr) || addr_is_loopback(&ip->addr))
		return bad(why, w, "is not a host's address");
	if (ip->prefix_len < 31 && (!(addr & ~mask) || (addr | mask) == UINT32_MAX))
		return bad(why, w, "is its network's own or broadcast address");
	return 0;
}

/* Splits ":PORT" off w; a colon inside [] or in a bare IPv6 address is none. */
static int split_port(struct word *w, u16 *port, struct config_why *why)
{
	const char *colon = memrchr(w->at, ':', w->len);
	struct word all = *w;
	u32 n;

	*port = 0;
	if (w->len > 1 && w->at[0] == '[') {
		const char *end = memchr(w->at, ']', w->len);

		if (!end || (end + 1 != all.at + all.len && end[1] != ':'))
			return bad(why, all, "lacks a ]");
		*w = (struct word){all.at + 1, (size_t)(end - all.at) - 1};
		if (end + 1 == all.at + all.len)
			return 0;
		colon = end + 1;
	} else if (!colon || memchr(w->at, ':', w->len) != colon) {
		return 0;
	} else {
		w->len = (size_t)(colon - w->at);
	}
	if (!number((struct word){colon + 1, (size_t)(all.at + all.len - colon) - 1}, 65535, &n) ||
		!n)
		return bad(why, all, "has no valid port");
	*port = (u16)n;
	return 0;
}

static int server(struct word w, struct config_ip *ip, struct config_why *why)
{
	u16 port;
	int ret = split_port(&w, &port, why);

	if (!ret)
		ret = host(w, ip, why);
	ip->port = port;
	return ret;
}

static int rule(struct word w, struct config_ip *ip, struct config_why *why)
{
	struct word all = w;
	bool has_prefix = false;
	u16 port;
	int ret = split_port(&w, &port, why);

	if (ret)
		return ret;
	memset(ip, 0, sizeof(*ip));
	if (!is_word(w, "*") && w.len)
		ret = network(w, ip, &has_prefix, why);
	else if (!port)
		return bad(why, all, "lacks a network or a port");
	if (!ret && ip->addr.family && has_host_bits(ip))
		return bad(why, all, "has bits set beyond its prefix length");
	ip->port = port;
	return ret;
}

static int route(struct word w, struct config_route *out, struct config_why *why)
{
	size_t n = 0;
	bool has_prefix = false;
	struct word dest, via;
	int ret;

	while (n < w.len && !config_blank(w.at[n]))
		n++;
	dest = (struct word){w.at, n};
	memset(out, 0, sizeof(*out));
	ret = network(is_word(dest, "default") ? (struct word){"0.0.0.0/0", 9} : dest, &out->dest,
		&has_prefix, why);
	if (ret)
		return ret;
	if (has_host_bits(&out->dest))
		return bad(why, dest, "has bits set beyond its prefix length");
	via = trim(w.at + n, w.len - n);
	if (!via.len)
		return 0;
	if (via.len < 4 || memcmp(via.at, "via", 3) || !config_blank(via.at[3]))
		return bad(why, via, "is not `via ADDRESS`");
	return host(trim(via.at + 3, via.len - 3), &out->via, why);
}

static int list_entry(
	struct config *config, const struct config_key *key, struct word w, struct config_why *why)
{
	struct config_list *list = (struct config_list *)(void *)((char *)config + key->offset);
	struct config_routes *routes = (struct config_routes *)(void *)list;
	char text[12];
	int ret;

	if (!w.len)
		return config_say(why, "an entry of the list is empty", NULL);
	if (list->count >= key->size)
		return config_say(
			why, "more than ", config_decimal(text, key->size), " entries", NULL);
	switch (key->type) {
	case CONFIG_ROUTES:
		ret = route(w, &routes->item[routes->count], why);
		break;
	case CONFIG_ADDRESSES:
		ret = own_address(w, &list->item[list->count], why);
		break;
	case CONFIG_SERVERS:
		ret = server(w, &list->item[list->count], why);
		break;
	case CONFIG_RULES:
		ret = rule(w, &list->item[list->count], why);
		break;
	default:
		ret = host(w, &list->item[list->count], why);
		break;
	}
	if (!ret)
		list->count++; /* the first member of both kinds of list */
	return ret;
}

static int list(struct config *config, const struct config_key *key, const char *value, bool append,
	struct config_why *why)
{
	u32 *count = (u32 *)(void *)((char *)config + key->offset);
	struct word w;
	int ret;

	_Static_assert(offsetof(struct config_list, count) == offsetof(struct config_routes, count),
		"one cast for both");
	if (!append || !strcmp(value, "none"))
		*count = 0;
	if (!strcmp(value, "none"))
		return 0;
	while (next(&value, ",;", &w))
		if ((ret = list_entry(config, key, w, why)))
			return ret;
	return 0;
}

/* Stores n, which the key's range keeps within width bytes. */
static void store(char *out, u8 width, u32 n)
{
	u8 byte = (u8)n;
	u16 half = (u16)n;

	memcpy(out, width == 1 ? (void *)&byte : width == 2 ? (void *)&half : (void *)&n, width);
}

static int numbers(
	char *out, const struct config_key *key, const char *value, struct config_why *why)
{
	char low[12], high[12];
	u32 n[3] = {0}, count = 0;

	while (*value) {
		size_t len = strcspn(value, " \t");

		if (count == key->size || !number((struct word){value, len}, key->max, &n[count]) ||
			n[count] < key->min)
			return config_say(why, "'", value, "' is not ", key->form, ", from ",
				config_decimal(low, key->min), " to ",
				config_decimal(high, key->max), NULL);
		count++;
		value += len;
		value += strspn(value, " \t");
	}
	if (count != key->size)
		return config_say(why, "needs ", config_decimal(low, key->size),
			" numbers: ", key->form, NULL);
	for (u32 i = 1; i < count; i++)
		if (n[i] < n[i - 1])
			return config_say(why, "needs rising numbers: ", key->form, NULL);
	for (u32 i = 0; i < count; i++)
		store(out + i * key->width, key->width, n[i]);
	return 0;
}

static int choice(
	char *out, const struct config_key *key, const char *value, struct config_why *why)
{
	const char *rest = key->form;
	struct word w;

	for (u32 i = 0; next(&rest, "|", &w); i++)
		if (is_word(w, value)) {
			store(out, key->width, i);
			return 0;
		}
	return config_say(why, "'", value, "' is not one of ", key->form, NULL);
}

static int signed_number(
	char *out, const struct config_key *key, const char *value, struct config_why *why)
{
	bool minus = *value == '-';
	u32 n;

	if (!number((struct word){value + minus, strlen(value + minus)}, INT32_MAX, &n) ||
		(minus ? (s64)n > -(s64)(s32)key->min : n > key->max))
		return config_say(why, "'", value, "' is not ", key->form, NULL);
	store(out, key->width, minus ? 0 - n : n);
	return 0;
}

/* Which of the words in form stand in value. */
static int words(
	char *out, const struct config_key *key, const char *value, struct config_why *why)
{
	u32 bits = 0, i;
	struct word w, have;

	while (next(&value, " \t", &w)) {
		const char *rest = key->form;
		bool found = !w.len;

		for (i = 0; !found && next(&rest, "|", &have); i++)
			if (have.len == w.len && !memcmp(have.at, w.at, w.len)) {
				bits |= 1u << i;
				found = true;
			}
		if (!found)
			return bad(why, w, "is not there");
	}
	store(out, key->width, bits);
	return 0;
}

static bool port_range(struct word w, u32 *first, u32 *last)
{
	const char *dash = memchr(w.at, '-', w.len);
	size_t len = dash ? (size_t)(dash - w.at) : w.len;

	if (!number((struct word){w.at, len}, 65535, first))
		return false;
	*last = *first;
	if (dash && !number((struct word){dash + 1, w.len - len - 1}, 65535, last))
		return false;
	return *first && *last >= *first;
}

/* Inserts a range into those that are there, in order and apart: it swallows what it touches. */
static u32 add_range(u16 (*ranges)[2], u32 count, u32 first, u32 last)
{
	u32 kept = 0;

	for (u32 i = 0; i < count; i++) {
		if (ranges[i][0] <= last + 1 && ranges[i][1] + 1u >= first) {
			first = MIN(first, ranges[i][0]);
			last = MAX(last, ranges[i][1]);
		} else {
			memmove(ranges[kept++], ranges[i], sizeof(*ranges));
		}
	}
	for (count = kept; kept && ranges[kept - 1][0] > first; kept--)
		memmove(ranges[kept], ranges[kept - 1], sizeof(*ranges));
	ranges[kept][0] = (u16)first;
	ranges[kept][1] = (u16)last;
	return count + 1;
}

static int ports(char *out, const char *value, struct config_why *why)
{
	u16 ranges[STACK_PORT_RANGES + 1][2];
	u32 count = 0, first, last;
	struct word w;

	while (next(&value, ",; \t", &w)) {
		if (!w.len || is_word(w, "none"))
			continue;
		if (!port_range(w, &first, &last))
			return bad(why, w, "is not a port or FIRST-LAST");
		count = add_range(ranges, count, first, last);
		if (count > STACK_PORT_RANGES)
			return bad(why, w, "is one range too many");
	}
	memset(ranges + count, 0, sizeof(ranges) - count * sizeof(*ranges));
	memcpy(out, ranges, STACK_PORT_RANGES * sizeof(*ranges));
	return 0;
}

/* Four numbers of eight hexadecimal digits, with dashes between them: little-endian in the key, as
 * with Linux. */
static bool tfo_key(struct word w, u8 key[16])
{
	if (w.len != 35)
		return false;
	for (u32 i = 0; i < 4; i++) {
		const char *at = w.at + 9 * i;
		u32 n = 0;

		if (i && at[-1] != '-')
			return false;
		for (u32 k = 0; k < 8; k++) {
			char c = at[k];
			u32 digit = c >= '0' && c <= '9'   ? (u32)(c - '0')
				    : c >= 'a' && c <= 'f' ? (u32)(c - 'a') + 10
				    : c >= 'A' && c <= 'F' ? (u32)(c - 'A') + 10
							   : 16;

			if (digit > 15)
				return false;
			n = n << 4 | digit;
		}
		for (u32 k = 0; k < 4; k++)
			key[4 * i + k] = (u8)(n >> 8 * k);
	}
	return true;
}

/* The number of keys, then room for two. */
static int tfo_keys(char *out, const char *value, struct config_why *why)
{
	static const u8 none[16];
	u8 keys[33] = {0};
	struct word w;

	while (next(&value, ",; \t", &w)) {
		if (!w.len)
			continue;
		if (keys[0] == 2 || !tfo_key(w, keys + 1 + 16 * keys[0]))
			return bad(why, w,
				"is not a key of the form 01234567-89abcdef-01234567-89abcdef, or "
				"one too many");
		keys[0]++;
	}
	if (keys[0] == 1 && !memcmp(keys + 1, none, sizeof(none)))
		keys[0] = 0; /* as it reads when there is none */
	memcpy(out, keys, sizeof(keys));
	return 0;
}

static int boolean(
	char *out, const struct config_key *key, const char *value, struct config_why *why)
{
	static const char words[2][4][6] = {
		{"0", "no", "off", "false"}, {"1", "yes", "on", "true"}};

	for (u32 i = 0; i < 2; i++)
		for (u32 j = 0; j < 4; j++)
			if (!strcmp(value, words[i][j])) {
				store(out, key->width, i);
				return 0;
			}
	return config_say(why, "'", value, "' is not 0 or 1", NULL);
}

static int mac(u8 *out, const char *value, struct config_why *why)
{
	static const char digits[] = "0123456789abcdef";
	u8 bytes[6] = {0};
	u32 any = 0;

	if (strlen(value) != 17)
		return config_say(why, "'", value, "' is not an Ethernet address", NULL);
	for (u32 i = 0; i < 17; i++) {
		char c = value[i] >= 'A' && value[i] <= 'F' ? (char)(value[i] + 32) : value[i];
		const char *digit = memchr(digits, c, 16);

		if (i % 3 == 2 ? c != ':' : !digit)
			return config_say(why, "'", value, "' is not an Ethernet address", NULL);
		if (digit)
			bytes[i / 3] = (u8)(bytes[i / 3] * 16 + (digit - digits));
	}
	for (u32 i = 0; i < 6; i++)
		any |= bytes[i];
	if (!any || bytes[0] & 1)
		return config_say(why, "'", value, "' is not one station's address", NULL);
	memcpy(out, bytes, 6);
	return 0;
}

static int area(struct word w)
{
	if (is_word(w, "all"))
		return LOG_AREAS;
	for (int i = 0; i < LOG_AREAS; i++)
		if (is_word(w, log_area_names[i]))
			return i;
	return -1;
}

static int level(struct word w)
{
	static const char *const names[] = {"none", "error", "warn", "info", "debug", "trace"};

	for (int i = 0; i < (int)ARRAY_LEN(names); i++)
		if (is_word(w, names[i]))
			return i;
	return -1;
}

static void set_levels(u8 *out, u32 areas, u8 value)
{
	for (u32 i = 0; i < LOG_AREAS; i++)
		if (areas & (1u << i | 1u << LOG_AREAS))
			out[i] = value;
}

/* A level holds for the areas before it that have none of their own; the last ones without are at
 * debug. */
static int log_levels(u8 *out, const char *value, struct config_why *why)
{
	u8 levels[LOG_AREAS] = {0};
	u32 waiting = 0;
	struct word w;

	while (next(&value, ",; ", &w)) {
		const char *colon = memchr(w.at, ':', w.len);
		size_t len = colon ? (size_t)(colon - w.at) : w.len;
		int which = area((struct word){w.at, len});
		int at = colon ? level((struct word){colon + 1, w.len - len - 1}) : 0;

		if (!w.len)
			continue;
		if (which < 0 || at < 0)
			return bad(why, w, "is not PROTOCOL[:LEVEL]");
		waiting |= 1u << which;
		if (colon) {
			set_levels(levels, waiting, (u8)at);
			waiting = 0;
		}
	}
	set_levels(levels, waiting, LOG_DEBUG);
	memcpy(out, levels, sizeof(levels));
	return 0;
}

static int string(
	char *out, const struct config_key *key, const char *value, struct config_why *why)
{
	char text[12];
	size_t len = strlen(value);

	if (len >= key->size)
		return config_say(why, "longer than ", config_decimal(text, key->size - 1u),
			" characters", NULL);
	memcpy(out, value, len + 1);
	return 0;
}

int config_value(struct config *config, const struct config_key *key, const char *value,
	bool append, struct config_why *why)
{
	char *member = (char *)config + key->offset;

	switch (key->type) {
	case CONFIG_STRING:
		return string(member, key, value, why);
	case CONFIG_NUMBER:
		return numbers(member, key, value, why);
	case CONFIG_BOOL:
		return boolean(member, key, value, why);
	case CONFIG_CHOICE:
		return choice(member, key, value, why);
	case CONFIG_LOG:
		return log_levels((u8 *)member, value, why);
	case CONFIG_MAC:
		return mac((u8 *)member, value, why);
	case CONFIG_PATH:
		return 0;
	case CONFIG_SIGNED:
		return signed_number(member, key, value, why);
	case CONFIG_WORDS:
		return words(member, key, value, why);
	case CONFIG_PORTS:
		return ports(member, value, why);
	case CONFIG_TFO_KEYS:
		return tfo_keys(member, value, why);
	case CONFIG_FIXED:
		return config_say(why, "can only be read", NULL);
	default:
		return list(config, key, value, append, why);
	}
}
