/*
 * getaddrinfo(3), with glibc's results for a host that has IPv4 only.
 *
 * Three steps: the socket types (with the port) that the hints and the service leave; the addresses
 * of the name; the product of both, the address outermost, in the order of RFC 6724 6. A numeric or
 * absent name opens no socket.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "preload/resolve_internal.h"

#define AI_DEFAULT_FLAGS (AI_V4MAPPED | AI_ADDRCONFIG)
/* AI_IDN_ALLOW_UNASSIGNED and AI_IDN_USE_STD3_ASCII_RULES: accepted and without effect, as in
 * glibc. */
#define AI_OLD_FLAGS 0x300
#define AI_KNOWN_FLAGS                                                                             \
	(AI_PASSIVE | AI_CANONNAME | AI_NUMERICHOST | AI_V4MAPPED | AI_ALL | AI_ADDRCONFIG |       \
		AI_IDN | AI_CANONIDN | AI_NUMERICSERV | AI_OLD_FLAGS)

struct kind {
	int socktype;
	int protocol;
	bool any_protocol; /* the protocol is the caller's */
	bool no_service;
	bool by_default; /* given when the hints say nothing */
	const char *name;
};

static const struct kind kinds[] = {
	{SOCK_STREAM, IPPROTO_TCP, false, false, true, "tcp"},
	{SOCK_DGRAM, IPPROTO_UDP, false, false, true, "udp"},
	{SOCK_DCCP, IPPROTO_DCCP, false, false, false, "dccp"},
	{SOCK_DGRAM, IPPROTO_UDPLITE, false, false, false, "udplite"},
	{SOCK_STREAM, IPPROTO_SCTP, false, false, false, "sctp"},
	{SOCK_SEQPACKET, IPPROTO_SCTP, false, false, false, "sctp"},
	{SOCK_RAW, 0, true, true, true, "raw"},
};

struct choice {
	int socktype, protocol;
	u16 port; /* network order */
};

struct request {
	const struct addrinfo *hints;
	int family; /* the hints', narrowed by AI_ADDRCONFIG */
	struct choice choice[ARRAY_LEN(kinds)];
	u32 choices;
	struct addr addr[RESOLVE_ADDRS];
	u32 addrs;
	u32 scope_id;
	char canonical[RESOLVE_NAME]; /* empty: none */
};

static bool suits(const struct kind *kind, const struct addrinfo *hints)
{
	return (!hints->ai_socktype || hints->ai_socktype == kind->socktype) &&
	       (!hints->ai_protocol || kind->any_protocol || hints->ai_protocol == kind->protocol);
}

static void add_choice(struct request *request, const struct kind *kind, u16 port)
{
	request->choice[request->choices++] = (struct choice){
		.socktype = kind->socktype,
		.protocol = kind->any_protocol ? request->hints->ai_protocol : kind->protocol,
		.port = port,
	};
}

/* The port of a service by its name, in network order, or -1. */
static int service_port(const char *service, const char *protocol)
{
	struct servent entry, *found = NULL;
	char buf[1024];

	if (getservbyname_r(service, protocol, &entry, buf, sizeof(buf), &found) || !found)
		return -1;
	return found->s_port;
}

/* A named service: each kind of socket that has it, or only the first that suits when the hints
 * choose. */
static int named_service(struct request *request, const char *service, const struct kind *first)
{
	for (u32 i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct kind *kind = &kinds[i];
		int port;

		if (kind->no_service || !suits(kind, request->hints) || (first && kind != first))
			continue;
		port = service_port(service, kind->name);
		if (port >= 0)
			add_choice(request, kind, (u16)port);
	}
	return request->choices ? 0 : EAI_SERVICE;
}

static int choose_kinds(struct request *request, const char *service)
{
	const struct addrinfo *hints = request->hints;
	bool chosen = hints->ai_socktype || hints->ai_protocol;
	const struct kind *first = NULL;
	int port = 0;
	char *end;

	for (u32 i = 0; chosen && !first && i < ARRAY_LEN(kinds); i++)
		first = suits(&kinds[i], hints) ? &kinds[i] : NULL;
	if (chosen && !first)
		return hints->ai_socktype ? EAI_SOCKTYPE : EAI_SERVICE;
	if (service && *service) {
		if (first && first->no_service)
			return EAI_SERVICE;
		port = (int)strtoul(service, &end, 10);
		if (*end || port < 0)
			return named_service(request, service, first);
	}
	if (first)
		add_choice(request, first, htons((u16)port));
	for (u32 i = 0; !first && i < ARRAY_LEN(kinds); i++)
		if (kinds[i].by_default)
			add_choice(request, &kinds[i], htons((u16)port));
	return 0;
}

static struct addr from_in_addr(struct in_addr in)
{
	return addr_v4(ntohl(in.s_addr));
}

/* An IPv4 address as the caller's family has it: plain, or mapped into IPv6. */
static int add_ipv4(struct request *request, struct in_addr in)
{
	struct addr addr = from_in_addr(in);

	if (request->family == AF_INET6 && !(request->hints->ai_flags & AI_V4MAPPED))
		return EAI_ADDRFAMILY;
	if (request->family == AF_INET6)
		addr.family = FAMILY_INET6; /* its bytes are the mapped form already */
	if (request->addrs < RESOLVE_ADDRS)
		request->addr[request->addrs++] = addr;
	return 0;
}

static int add_ipv6(struct request *request, const struct in6_addr *in, const char *scope)
{
	struct addr addr = {.family = FAMILY_INET6};
	char *end;

	memcpy(addr.b, in, sizeof(addr.b));
	if (request->family == AF_INET) {
		if (!IN6_IS_ADDR_V4MAPPED(in))
			return EAI_ADDRFAMILY;
		addr.family = FAMILY_INET;
	}
	if (scope) {
		if (IN6_IS_ADDR_LINKLOCAL(in) || IN6_IS_ADDR_MC_LINKLOCAL(in))
			request->scope_id = if_nametoindex(scope);
		if (!request->scope_id && *scope >= '0' && *scope <= '9') {
			request->scope_id = (u32)strtoul(scope, &end, 10);
			if (*end)
				return EAI_NONAME;
		} else if (!request->scope_id) {
			return EAI_NONAME;
		}
	}
	request->addr[request->addrs++] = addr;
	return 0;
}

/* 1 when name is no numeric address, else 0 or an EAI error. */
static int numeric_host(struct request *request, const char *name)
{
	const char *scope = strchr(name, '%');
	size_t len = scope ? (size_t)(scope - name) : strlen(name);
	char text[INET6_ADDRSTRLEN];
	struct in6_addr in6;
	struct in_addr in;

	/* inet_aton also takes an address followed by blanks and anything. */
	if (!strpbrk(name, " \t\n\v\f\r") && inet_aton(name, &in)) {
		strncpy(request->canonical, name, sizeof(request->canonical) - 1);
		return add_ipv4(request, in);
	}
	if (len >= sizeof(text))
		return 1;
	memcpy(text, name, len);
	text[len] = 0;
	if (inet_pton(AF_INET6, text, &in6) != 1)
		return 1;
	if (strlen(name) < sizeof(request->canonical))
		strcpy(request->canonical, name);
	return add_ipv6(request, &in6, scope ? scope + 1 : NULL);
}

static int from_resolver_error(int error)
{
	switch (error) {
	case NETDB_INTERNAL:
		return EAI_SYSTEM;
	case TRY_AGAIN:
		return EAI_AGAIN;
	case NO_DATA:
		return EAI_NODATA;
	default:
		return EAI_NONAME;
	}
}

static int named_host(struct request *request, const char *name)
{
	struct resolve_names *names;
	int ret;

	for (const char *p = name; *p; p++)
		if ((unsigned char)*p >= 0x80 && request->hints->ai_flags & AI_IDN)
			return EAI_IDN_ENCODE;
	names = malloc(sizeof(*names));
	if (!names)
		return EAI_MEMORY;
	ret = resolve_names_forward(name, names);
	ret = ret ? from_resolver_error(ret) : 0;
	for (u32 i = 0; !ret && i < names->addrs; i++)
		ret = add_ipv4(request, names->addr[i]);
	if (ret == EAI_ADDRFAMILY)
		ret = EAI_NODATA; /* the name is known, but has no address that the caller wants */
	if (!ret)
		strcpy(request->canonical, names->name[0] ? names->name : name);
	free(names);
	return ret;
}

/* No name: the wildcard for a server, the loopback for a client. */
static void absent_host(struct request *request)
{
	bool passive = request->hints->ai_flags & AI_PASSIVE;

	if (request->family != AF_INET6)
		request->addr[request->addrs++] = addr_v4(passive ? INADDR_ANY : INADDR_LOOPBACK);
	if (request->family != AF_INET)
		request->addr[request->addrs++] =
			(struct addr){.b = {[15] = !passive}, .family = FAMILY_INET6};
}

/* RFC 6724 3.2, with glibc's table: private addresses are global. */
static u32 scope(const struct addr *a)
{
	return addr_is_loopback(a) || addr_get4(a) >> 16 == 0xa9fe ? 2 : 14;
}

/* Is the address that we would use towards `to` of its scope? */
static bool scope_matches(const struct addr *to)
{
	const struct config_list *own = &config_get()->config.address;

	return addr_is_loopback(to) || !own->count || scope(to) == scope(&own->item[0].addr);
}

/*
 * Does a go before b? Of the rules of RFC 6724 6, those that can tell two IPv4 addresses apart in
 * glibc: 1 (IPv6 is unusable), 2 and 8.
 */
static bool precedes(const struct addr *a, const struct addr *b)
{
	if (a->family != FAMILY_INET || b->family != FAMILY_INET)
		return a->family == FAMILY_INET && b->family != FAMILY_INET;
	if (scope_matches(a) != scope_matches(b))
		return scope_matches(a);
	return scope(a) < scope(b);
}

/* Stable: what the rules leave equal keeps the order of the answer. */
static void sort(struct request *request)
{
	for (u32 i = 1; i < request->addrs; i++) {
		struct addr addr = request->addr[i];
		u32 j = i;

		for (; j && precedes(&addr, &request->addr[j - 1]); j--)
			request->addr[j] = request->addr[j - 1];
		request->addr[j] = addr;
	}
}

/* One block, as glibc makes it: either library's freeaddrinfo frees it. */
static struct addrinfo *make_entry(
	const struct request *request, const struct addr *addr, const struct choice *choice)
{
	bool v4 = addr->family == FAMILY_INET;
	socklen_t len = v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	struct addrinfo *entry = calloc(1, sizeof(*entry) + len);

	if (!entry)
		return NULL;
	entry->ai_flags = request->hints->ai_flags;
	entry->ai_family = v4 ? AF_INET : AF_INET6;
	entry->ai_socktype = choice->socktype;
	entry->ai_protocol = choice->protocol;
	entry->ai_addrlen = len;
	entry->ai_addr = (struct sockaddr *)(entry + 1);
	if (v4) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = choice->port};

		memcpy(&in.sin_addr, addr->b + 12, sizeof(in.sin_addr));
		memcpy(entry->ai_addr, &in, sizeof(in));
	} else {
		struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
			.sin6_port = choice->port,
			.sin6_scope_id = request->scope_id};

		memcpy(&in6.sin6_addr, addr->b, sizeof(in6.sin6_addr));
		memcpy(entry->ai_addr, &in6, sizeof(in6));
	}
	return entry;
}

static int make_list(const struct request *request, struct addrinfo **result)
{
	struct addrinfo *list = NULL, **tail = &list;

	for (u32 i = 0; i < request->addrs; i++)
		for (u32 j = 0; j < request->choices; j++) {
			*tail = make_entry(request, &request->addr[i], &request->choice[j]);
			if (!*tail) {
				resolve_freeaddrinfo(list);
				return EAI_MEMORY;
			}
			tail = &(*tail)->ai_next;
		}
	if (list && request->canonical[0] && request->hints->ai_flags & AI_CANONNAME) {
		list->ai_canonname = strdup(request->canonical);
		if (!list->ai_canonname) {
			resolve_freeaddrinfo(list);
			return EAI_MEMORY;
		}
	}
	*result = list;
	return 0;
}

static int check_hints(struct request *request, const char *name, const char *service)
{
	const struct addrinfo *hints = request->hints;
	char *end;

	if (hints->ai_flags & ~AI_KNOWN_FLAGS || (hints->ai_flags & AI_CANONNAME && !name))
		return EAI_BADFLAGS;
	if (hints->ai_family != AF_UNSPEC && hints->ai_family != AF_INET &&
		hints->ai_family != AF_INET6)
		return EAI_FAMILY;
	request->family = hints->ai_family;
	/* The stack has IPv4 addresses and no IPv6 one. */
	if (hints->ai_flags & AI_ADDRCONFIG && hints->ai_family == AF_INET6)
		return EAI_NONAME;
	if (hints->ai_flags & AI_ADDRCONFIG)
		request->family = AF_INET;
	if (service && *service && hints->ai_flags & AI_NUMERICSERV) {
		strtoul(service, &end, 10);
		if (*end)
			return EAI_NONAME;
	}
	return 0;
}

static int find_addresses(struct request *request, const char *name)
{
	int ret;

	if (!name) {
		absent_host(request);
		return 0;
	}
	ret = numeric_host(request, name);
	if (ret != 1)
		return ret;
	if (request->hints->ai_flags & AI_NUMERICHOST)
		return EAI_NONAME;
	return named_host(request, name);
}

int resolve_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
	struct addrinfo **result)
{
	static const struct addrinfo no_hints = {.ai_flags = AI_DEFAULT_FLAGS};
	struct request *request;
	int ret;

	if (name && !strcmp(name, "*"))
		name = NULL;
	if (service && !strcmp(service, "*"))
		service = NULL;
	if (!name && !service)
		return EAI_NONAME;
	request = calloc(1, sizeof(*request));
	if (!request)
		return EAI_MEMORY;
	request->hints = hints ? hints : &no_hints;
	ret = check_hints(request, name, service);
	if (!ret)
		ret = choose_kinds(request, service);
	if (!ret)
		ret = find_addresses(request, name);
	if (!ret) {
		sort(request);
		ret = make_list(request, result);
	}
	free(request);
	return ret;
}

void resolve_freeaddrinfo(struct addrinfo *list)
{
	while (list) {
		struct addrinfo *next = list->ai_next;

		free(list->ai_canonname);
		free(list);
		list = next;
	}
}
