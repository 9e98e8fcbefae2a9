/*
 * Name resolution over the stack's sockets, with the contracts of the libc functions of the same
 * names: the C library's own resolver calls the kernel directly, past any interposition. DNS is
 * c-ares, a channel of its own for each call, so there is no lock and no state between calls;
 * numeric hosts, services and /etc/hosts open no socket.
 *
 * Differences from glibc: no NSS beside files and dns, IPv6 answers are dropped.
 */
#ifndef PRELOAD_RESOLVE_H
#define PRELOAD_RESOLVE_H

#include "stack/types.h"

#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <signal.h>
#include <sys/socket.h>

int resolve_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
	struct addrinfo **result);
void resolve_freeaddrinfo(struct addrinfo *list);
int resolve_getnameinfo(const struct sockaddr *addr, socklen_t addr_len, char *host,
	socklen_t host_len, char *service, socklen_t service_len, int flags);

int resolve_gethostbyname2_r(const char *name, int family, struct hostent *entry, char *buf,
	size_t size, struct hostent **result, int *h_error);
int resolve_gethostbyaddr_r(const void *addr, socklen_t len, int family, struct hostent *entry,
	char *buf, size_t size, struct hostent **result, int *h_error);
struct hostent *resolve_gethostbyname2(const char *name, int family);
struct hostent *resolve_gethostbyaddr(const void *addr, socklen_t len, int family);

/* state NULL: that of the process. They set h_errno (and state->res_h_errno) as libc does. */
int resolve_query(
	res_state state, const char *name, int class, int type, unsigned char *answer, int size);
int resolve_search(
	res_state state, const char *name, int class, int type, unsigned char *answer, int size);
int resolve_querydomain(res_state state, const char *name, const char *domain, int class, int type,
	unsigned char *answer, int size);
int resolve_send(res_state state, const unsigned char *query, int query_len, unsigned char *answer,
	int size);

int resolve_getaddrinfo_a(int mode, struct gaicb *list[], int count, struct sigevent *event);
int resolve_gai_suspend(
	const struct gaicb *const list[], int count, const struct timespec *timeout);
int resolve_gai_cancel(struct gaicb *request);
int resolve_gai_error(struct gaicb *request);

#endif
