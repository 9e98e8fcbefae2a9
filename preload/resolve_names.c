/*
 * What is known of a name or an address: /etc/hosts first, then DNS, `localhost` without either.
 * The order of nsswitch.conf's usual `hosts: files dns`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "preload/resolve_internal.h"

void resolve_names_alias(struct resolve_names *out, const char *alias)
{
	if (out->aliases == RESOLVE_ALIASES || strlen(alias) >= sizeof(out->alias[0]))
		return;
	strcpy(out->alias[out->aliases++], alias);
}

static bool is_localhost(const char *name)
{
	return !strcasecmp(name, "localhost") || !strcasecmp(name, "localhost.");
}

/* What libc asks a server about: letters, digits, '-' (not first), '_' and dots (res_hnok(3)). */
static bool is_host_name(const char *name)
{
	return *name != '-' &&
	       !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")];
}

int resolve_names_forward(const char *name, struct resolve_names *out)
{
	struct resolve_conf conf;
	struct resolve_answer answer;
	int error;

	if (!*name)
		return NO_RECOVERY;
	if (resolve_hosts_name(name, out))
		return 0;
	if (is_localhost(name)) {
		*out = (struct resolve_names){
			.name = "localhost", .addrs = 1, .addr = {{htonl(INADDR_LOOPBACK)}}};
		return 0;
	}
	if (!is_host_name(name))
		return HOST_NOT_FOUND;
	resolve_conf_load(&conf);
	error = resolve_dns_search(&conf, name, ns_c_in, ns_t_a, RES_DEFAULT, &answer);
	if (!error)
		error = resolve_dns_read(&answer, ns_t_a, out);
	free(answer.data);
	return error;
}

/* RFC 1035 3.5 and RFC 3596 2.5 */
static void reverse_name(const struct addr *addr, char *out, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	if (addr->family == FAMILY_INET) {
		snprintf(out, size, "%u.%u.%u.%u.in-addr.arpa", addr->b[15], addr->b[14],
			addr->b[13], addr->b[12]);
		return;
	}
	for (int i = 15; i >= 0; i--) {
		out[n++] = digits[addr->b[i] & 15];
		out[n++] = '.';
		out[n++] = digits[addr->b[i] >> 4];
		out[n++] = '.';
	}
	strcpy(out + n, "ip6.arpa");
}

int resolve_names_reverse(const struct addr *addr, struct resolve_names *out)
{
	struct resolve_conf conf;
	struct resolve_answer answer;
	char name[80];
	int error;

	if (resolve_hosts_addr(addr, out))
		return 0;
	resolve_conf_load(&conf);
	reverse_name(addr, name, sizeof(name));
	error = resolve_dns_query(&conf, name, ns_c_in, ns_t_ptr, &answer);
	if (!error)
		error = resolve_dns_read(&answer, ns_t_ptr, out);
	free(answer.data);
	return error;
}
