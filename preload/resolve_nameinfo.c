/*
 * getnameinfo(3): the names of an address and of a port.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "preload/resolve_internal.h"

#define NI_OLD_FLAGS                                                                               \
	0xc0 /* NI_IDN_ALLOW_UNASSIGNED and NI_IDN_USE_STD3_ASCII_RULES: without effect */
#define NI_KNOWN_FLAGS                                                                             \
	(NI_NUMERICHOST | NI_NUMERICSERV | NI_NOFQDN | NI_NAMEREQD | NI_DGRAM | NI_IDN |           \
		NI_OLD_FLAGS)

static int copy(char *out, socklen_t size, const char *text)
{
	size_t len = strlen(text);

	if (len >= size)
		return EAI_OVERFLOW;
	memcpy(out, text, len + 1);
	return 0;
}

/* NI_NOFQDN: cuts off the domain that is this host's own, by its name or by that name's entry in
 * /etc/hosts. */
static void cut_domain(char *name)
{
	struct resolve_names *own = calloc(1, sizeof(*own));
	char host[HOST_NAME_MAX + 1] = "", *dot = strchr(name, '.'), *domain;

	if (own && dot && !gethostname(host, sizeof(host) - 1)) {
		domain = strchr(host, '.');
		if (!domain && resolve_hosts_name(host, own))
			domain = strchr(own->name, '.');
		if (domain && !strcasecmp(dot, domain))
			*dot = 0;
	}
	free(own);
}

static int numeric_host(const struct sockaddr *addr, char *out, socklen_t size)
{
	char text[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE], name[IF_NAMESIZE];

	if (addr->sa_family == AF_INET) {
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)addr)->sin_addr,
			text, sizeof(text));
	} else {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)addr;
		bool linklocal = IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr) ||
				 IN6_IS_ADDR_MC_LINKLOCAL(&in6->sin6_addr);
		size_t n;

		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
		n = strlen(text);
		if (in6->sin6_scope_id && linklocal && if_indextoname(in6->sin6_scope_id, name))
			snprintf(text + n, sizeof(text) - n, "%%%s", name);
		else if (in6->sin6_scope_id)
			snprintf(text + n, sizeof(text) - n, "%%%u", in6->sin6_scope_id);
	}
	return copy(out, size, text);
}

static int host_name(const struct sockaddr *addr, char *out, socklen_t size, int flags)
{
	struct addr key = {.family = FAMILY_INET6};
	struct resolve_names *names;
	int error, ret;

	if (flags & NI_NUMERICHOST)
		return flags & NI_NAMEREQD ? EAI_NONAME : numeric_host(addr, out, size);
	if (addr->sa_family == AF_INET)
		key = addr_v4(
			ntohl(((const struct sockaddr_in *)(const void *)addr)->sin_addr.s_addr));
	else
		memcpy(key.b, &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr,
			sizeof(key.b));
	names = malloc(sizeof(*names));
	if (!names)
		return EAI_MEMORY;
	error = resolve_names_reverse(&key, names);
	if (!error) {
		if (flags & NI_NOFQDN)
			cut_domain(names->name);
		ret = copy(out, size, names->name);
	} else if (error == NETDB_INTERNAL) {
		ret = EAI_SYSTEM;
	} else if (error == TRY_AGAIN) {
		ret = EAI_AGAIN;
	} else {
		ret = flags & NI_NAMEREQD ? EAI_NONAME : numeric_host(addr, out, size);
	}
	free(names);
	return ret;
}

static int service_name(int port, char *out, socklen_t size, int flags)
{
	struct servent entry, *found = NULL;
	char buf[1024], text[8];

	if (!(flags & NI_NUMERICSERV) &&
		!getservbyport_r(
			port, flags & NI_DGRAM ? "udp" : "tcp", &entry, buf, sizeof(buf), &found) &&
		found)
		return copy(out, size, found->s_name);
	snprintf(text, sizeof(text), "%u", ntohs((u16)port));
	return copy(out, size, text);
}

/* An AF_UNIX address has the host's own name and its path. */
static int local_names(const struct sockaddr *addr, socklen_t len, char *host, socklen_t host_len,
	char *service, socklen_t service_len, int flags)
{
	struct sockaddr_un un = {0};
	struct utsname uts;
	int ret = 0;

	memcpy(&un, addr, MIN(len, sizeof(un)));
	if (host && host_len)
		ret = flags & NI_NUMERICHOST || uname(&uts)
			      ? (flags & NI_NAMEREQD ? EAI_NONAME
						     : copy(host, host_len, "localhost"))
			      : copy(host, host_len, uts.nodename);
	if (!ret && service && service_len) {
		un.sun_path[sizeof(un.sun_path) - 1] = 0;
		ret = copy(service, service_len, un.sun_path);
	}
	return ret;
}

int resolve_getnameinfo(const struct sockaddr *addr, socklen_t addr_len, char *host,
	socklen_t host_len, char *service, socklen_t service_len, int flags)
{
	int ret = 0, port;

	if (flags & ~NI_KNOWN_FLAGS)
		return EAI_BADFLAGS;
	if (!addr || addr_len < sizeof(sa_family_t))
		return EAI_FAMILY;
	if (flags & NI_NAMEREQD && !host && !service)
		return EAI_NONAME;
	if (addr->sa_family == AF_LOCAL)
		return local_names(addr, addr_len, host, host_len, service, service_len, flags);
	if ((addr->sa_family != AF_INET || addr_len < sizeof(struct sockaddr_in)) &&
		(addr->sa_family != AF_INET6 || addr_len < sizeof(struct sockaddr_in6)))
		return EAI_FAMILY;
	if (host && host_len)
		ret = host_name(addr, host, host_len, flags);
	if (ret || !service || !service_len)
		return ret;
	port = addr->sa_family == AF_INET
		       ? ((const struct sockaddr_in *)(const void *)addr)->sin_port
		       : ((const struct sockaddr_in6 *)(const void *)addr)->sin6_port;
	return service_name(port, service, service_len, flags);
}
