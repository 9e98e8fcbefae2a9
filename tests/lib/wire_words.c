/* The words of the wire scripts' lines. */
#include "tests/lib/wire_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

s64 wire_number(struct wire *w, const char *text)
{
	char *end;
	s64 v = strtoll(text, &end, 0);

	if (end == text || *end)
		wire_fail(w, "'%s' is no number", text);
	return v;
}

static const struct {
	const char *name;
	int value;
} errnos[] = {{"EAGAIN", EAGAIN}, {"EINPROGRESS", EINPROGRESS}, {"ECONNREFUSED", ECONNREFUSED}, {"ECONNRESET", ECONNRESET},
	{"EPIPE", EPIPE}, {"ETIMEDOUT", ETIMEDOUT}, {"ENOTCONN", ENOTCONN}, {"EISCONN", EISCONN}, {"EINVAL", EINVAL}, {"EPERM", EPERM}, {"ENOENT", ENOENT},
	{"EADDRINUSE", EADDRINUSE}, {"EHOSTUNREACH", EHOSTUNREACH}, {"ENETUNREACH", ENETUNREACH}, {"EALREADY", EALREADY},
	{"EMSGSIZE", EMSGSIZE}, {"ECONNABORTED", ECONNABORTED}, {"ENOPROTOOPT", ENOPROTOOPT}, {"ENOBUFS", ENOBUFS},
	{"EACCES", EACCES}, {"EPROTO", EPROTO}, {"EADDRNOTAVAIL", EADDRNOTAVAIL}, {"EDESTADDRREQ", EDESTADDRREQ},
	{"EOPNOTSUPP", EOPNOTSUPP}, {"EBUSY", EBUSY}, {"ENOENT", ENOENT}};

static s64 result_word(struct wire *w, const char *text)
{
	if (strcmp(text, "*") == 0)
		return WIRE_ANY;
	for (u32 i = 0; i < ARRAY_LEN(errnos); i++) {
		if (strcmp(text + (*text == '-'), errnos[i].name) == 0)
			return *text == '-' ? -errnos[i].value : errnos[i].value;
	}
	return wire_number(w, text);
}

/* What stands behind `=` at the end of the line, or `otherwise` when nothing does. The words before it stay. */
s64 wire_expected(struct wire *w, s64 otherwise)
{
	if (w->words >= 2 && strcmp(w->word[w->words - 2], "=") == 0) {
		s64 v = result_word(w, w->word[w->words - 1]);

		w->words -= 2;
		return v;
	}
	return otherwise;
}

void wire_expect(struct wire *w, s64 got, s64 want)
{
	if (got != want)
		wire_fail(w, "the call gave %" PRId64 ", not %" PRId64, got, want);
}

const char *wire_word(struct wire *w, u32 i)
{
	if (i >= w->words)
		wire_fail(w, "a word is missing");
	return w->word[i];
}

struct named *wire_named(struct wire *w, const char *name)
{
	for (u32 i = 0; i < w->socks; i++) {
		if (strcmp(w->sock[i].name, name) == 0)
			return &w->sock[i];
	}
	wire_fail(w, "no socket '%s'", name);
}

struct named *wire_name_new(struct wire *w, const char *name, ref sock)
{
	struct named *n = &w->sock[w->socks++];

	if (w->socks > SOCKS)
		wire_fail(w, "too many sockets");
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->sock = sock;
	n->sent = n->received = 0;
	return n;
}

u32 wire_address(struct wire *w, const char *text)
{
	unsigned a, b, c, d;

	if (sscanf(text, "%u.%u.%u.%u", &a, &b, &c, &d) != 4)
		wire_fail(w, "'%s' is no address", text);
	return a << 24 | b << 16 | c << 8 | d;
}

struct endpoint wire_endpoint(struct wire *w, const char *text)
{
	struct endpoint e = {.addr = addr_v4(0)};
	const char *colon = strrchr(text, ':');

	if (colon) {
		e.addr = addr_v4(wire_address(w, text));
		text = colon + 1;
	}
	e.port = (u16)wire_number(w, text);
	return e;
}

