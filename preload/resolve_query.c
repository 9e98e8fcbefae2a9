/*
 * resolver(3): res_query, res_search and their kin, for programs that read DNS answers themselves.
 *
 * State that a program has set (its servers, ndots, options) is honoured; without one the
 * configuration's servers are asked.
 */
#include <stdlib.h>
#include <string.h>

#include "preload/resolve_internal.h"

/* Reports a resolver error in both of its places. */
static int finish(
	res_state state, int error, struct resolve_answer *answer, unsigned char *out, int size)
{
	int len = answer->len;

	if (answer->data && size > 0)
		memcpy(out, answer->data, (size_t)MIN(len, size));
	free(answer->data);
	h_errno = error;
	if (state)
		state->res_h_errno = error;
	return error ? -1 : len;
}

static void load(struct resolve_conf *conf, res_state state)
{
	resolve_conf_load(conf);
	if (state && state->options & RES_INIT)
		resolve_conf_state(conf, state);
}

int resolve_query(
	res_state state, const char *name, int class, int type, unsigned char *answer, int size)
{
	struct resolve_answer found;
	struct resolve_conf conf;

	load(&conf, state);
	return finish(
		state, resolve_dns_query(&conf, name, class, type, &found), &found, answer, size);
}

int resolve_search(
	res_state state, const char *name, int class, int type, unsigned char *answer, int size)
{
	u_long options = state && state->options & RES_INIT ? state->options : RES_DEFAULT;
	struct resolve_answer found;
	struct resolve_conf conf;

	load(&conf, state);
	return finish(state, resolve_dns_search(&conf, name, class, type, options, &found), &found,
		answer, size);
}

int resolve_querydomain(res_state state, const char *name, const char *domain, int class, int type,
	unsigned char *answer, int size)
{
	char full[RESOLVE_NAME];
	size_t n = strlen(name), m = domain ? strlen(domain) : 0;

	if (!domain && n && name[n - 1] == '.')
		n--; /* a name that is complete already */
	if (n + m + 2 > sizeof(full)) {
		struct resolve_answer none = {0};

		return finish(state, NO_RECOVERY, &none, answer, size);
	}
	memcpy(full, name, n);
	full[n] = 0;
	if (domain) {
		full[n] = '.';
		memcpy(full + n + 1, domain, m + 1);
	}
	return resolve_query(state, full, class, type, answer, size);
}

int resolve_send(
	res_state state, const unsigned char *query, int query_len, unsigned char *answer, int size)
{
	struct resolve_answer found;
	struct resolve_conf conf;
	int error, len;

	load(&conf, state);
	error = resolve_dns_send(&conf, query, query_len, &found);
	if (error) {
		errno = error;
		return -1;
	}
	len = found.len;
	if (size > 0)
		memcpy(answer, found.data, (size_t)MIN(len, size));
	free(found.data);
	return len;
}
