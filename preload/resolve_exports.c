/*
 * The C library's names for resolution, interposed. With `off` they are the C library's own
 * functions, looked up when the library is loaded; before that, and where the C library lacks one,
 * ours, which then run over the kernel's sockets.
 *
 * Not here: res_init and res_ninit only read resolv.conf; gethostent and the lookups of networks,
 * protocols and services read files.
 */
#include <dlfcn.h>
#include <stddef.h>

#include "preload/config.h"
#include "preload/export.h"
#include "preload/resolve.h"

/* X(return type, name, parameters, arguments, ours) */
#define RESOLVE_CALLS(X)                                                                           \
	X(int, getaddrinfo,                                                                        \
		(const char *name, const char *service, const struct addrinfo *hints,              \
			struct addrinfo **result),                                                 \
		(name, service, hints, result), resolve_getaddrinfo(name, service, hints, result)) \
	X(int, getnameinfo,                                                                        \
		(const struct sockaddr *addr, socklen_t addr_len, char *host, socklen_t host_len,  \
			char *service, socklen_t service_len, int flags),                          \
		(addr, addr_len, host, host_len, service, service_len, flags),                     \
		resolve_getnameinfo(addr, addr_len, host, host_len, service, service_len, flags))  \
	X(struct hostent *, gethostbyname, (const char *name), (name),                             \
		resolve_gethostbyname2(name, AF_INET))                                             \
	X(struct hostent *, gethostbyname2, (const char *name, int family), (name, family),        \
		resolve_gethostbyname2(name, family))                                              \
	X(struct hostent *, gethostbyaddr, (const void *addr, socklen_t len, int family),          \
		(addr, len, family), resolve_gethostbyaddr(addr, len, family))                     \
	X(int, gethostbyname_r,                                                                    \
		(const char *name, struct hostent *entry, char *buf, size_t size,                  \
			struct hostent **result, int *h_error),                                    \
		(name, entry, buf, size, result, h_error),                                         \
		resolve_gethostbyname2_r(name, AF_INET, entry, buf, size, result, h_error))        \
	X(int, gethostbyname2_r,                                                                   \
		(const char *name, int family, struct hostent *entry, char *buf, size_t size,      \
			struct hostent **result, int *h_error),                                    \
		(name, family, entry, buf, size, result, h_error),                                 \
		resolve_gethostbyname2_r(name, family, entry, buf, size, result, h_error))         \
	X(int, gethostbyaddr_r,                                                                    \
		(const void *addr, socklen_t len, int family, struct hostent *entry, char *buf,    \
			size_t size, struct hostent **result, int *h_error),                       \
		(addr, len, family, entry, buf, size, result, h_error),                            \
		resolve_gethostbyaddr_r(addr, len, family, entry, buf, size, result, h_error))     \
	X(int, getaddrinfo_a, (int mode, struct gaicb *list[], int count, struct sigevent *event), \
		(mode, list, count, event), resolve_getaddrinfo_a(mode, list, count, event))       \
	X(int, gai_suspend,                                                                        \
		(const struct gaicb *const list[], int count, const struct timespec *timeout),     \
		(list, count, timeout), resolve_gai_suspend(list, count, timeout))                 \
	X(int, gai_cancel, (struct gaicb * request), (request), resolve_gai_cancel(request))       \
	X(int, gai_error, (struct gaicb * request), (request), resolve_gai_error(request))

/* The resolver(3) calls, each also under its older name with two underscores. */
#define RESOLVE_QUERIES(X, U)                                                                      \
	X(int, U##res_query,                                                                       \
		(const char *name, int class, int type, unsigned char *answer, int size),          \
		(name, class, type, answer, size),                                                 \
		resolve_query(NULL, name, class, type, answer, size))                              \
	X(int, U##res_search,                                                                      \
		(const char *name, int class, int type, unsigned char *answer, int size),          \
		(name, class, type, answer, size),                                                 \
		resolve_search(NULL, name, class, type, answer, size))                             \
	X(int, U##res_querydomain,                                                                 \
		(const char *name, const char *domain, int class, int type, unsigned char *answer, \
			int size),                                                                 \
		(name, domain, class, type, answer, size),                                         \
		resolve_querydomain(NULL, name, domain, class, type, answer, size))                \
	X(int, U##res_send,                                                                        \
		(const unsigned char *query, int len, unsigned char *answer, int size),            \
		(query, len, answer, size), resolve_send(NULL, query, len, answer, size))          \
	X(int, U##res_nquery,                                                                      \
		(res_state state, const char *name, int class, int type, unsigned char *answer,    \
			int size),                                                                 \
		(state, name, class, type, answer, size),                                          \
		resolve_query(state, name, class, type, answer, size))                             \
	X(int, U##res_nsearch,                                                                     \
		(res_state state, const char *name, int class, int type, unsigned char *answer,    \
			int size),                                                                 \
		(state, name, class, type, answer, size),                                          \
		resolve_search(state, name, class, type, answer, size))                            \
	X(int, U##res_nquerydomain,                                                                \
		(res_state state, const char *name, const char *domain, int class, int type,       \
			unsigned char *answer, int size),                                          \
		(state, name, domain, class, type, answer, size),                                  \
		resolve_querydomain(state, name, domain, class, type, answer, size))               \
	X(int, U##res_nsend,                                                                       \
		(res_state state, const unsigned char *query, int len, unsigned char *answer,      \
			int size),                                                                 \
		(state, query, len, answer, size), resolve_send(state, query, len, answer, size))

#define X(type, name, params, args, ours) EXPORT type name params;
RESOLVE_QUERIES(X, )
RESOLVE_QUERIES(X, __)
#undef X

static struct {
#define X(type, name, params, args, ours) type(*name) params;
	RESOLVE_CALLS(X)
	RESOLVE_QUERIES(X, )
	RESOLVE_QUERIES(X, __)
#undef X
	void (*freeaddrinfo)(struct addrinfo *);
} real;

__attribute__((constructor)) static void look_up(void)
{
#define X(type, name, params, args, ours)                                                          \
	real.name = (__typeof__(real.name))dlsym(RTLD_NEXT, #name);
	RESOLVE_CALLS(X)
	RESOLVE_QUERIES(X, )
	RESOLVE_QUERIES(X, __)
#undef X
	real.freeaddrinfo = (__typeof__(real.freeaddrinfo))dlsym(RTLD_NEXT, "freeaddrinfo");
}

static bool off(void)
{
	return config_get()->config.off;
}

#define X(type, name, params, args, ours)                                                          \
	EXPORT type name params                                                                    \
	{                                                                                          \
		return real.name && off() ? real.name args : ours;                                 \
	}
RESOLVE_CALLS(X)
RESOLVE_QUERIES(X, )
RESOLVE_QUERIES(X, __)
#undef X

EXPORT void freeaddrinfo(struct addrinfo *list)
{
	if (real.freeaddrinfo && off())
		real.freeaddrinfo(list);
	else
		resolve_freeaddrinfo(list);
}
