/*
 * Addresses of either family. An address is 128 bits with its family; IPv4 stands in the last four
 * bytes, in the IPv4-mapped form of RFC 4291 2.5.5.2, so that equality and hashing are the same for
 * both.
 */
#ifndef STACK_ADDR_H
#define STACK_ADDR_H

#include <string.h>

#include "stack/types.h"

/* Linux's numbers: the socket API of the engine speaks them. */
enum { FAMILY_NONE = 0, FAMILY_INET = 2, FAMILY_INET6 = 10 };

struct addr {
	u8 b[16]; /* network order */
	u16 family;
	u16 zero; /* keeps the struct free of padding: it is compared and hashed as bytes */
};

struct endpoint {
	struct addr addr;
	u16 port; /* host order */
	u16 zero;
};

static inline struct addr addr_v4(u32 host_order)
{
	struct addr a = {.b = {[10] = 0xff, [11] = 0xff}, .family = FAMILY_INET};

	a.b[12] = (u8)(host_order >> 24);
	a.b[13] = (u8)(host_order >> 16);
	a.b[14] = (u8)(host_order >> 8);
	a.b[15] = (u8)host_order;
	return a;
}

/* The IPv4 address in host order; meaningful only for FAMILY_INET. */
static inline u32 addr_get4(const struct addr *a)
{
	return (u32)a->b[12] << 24 | (u32)a->b[13] << 16 | (u32)a->b[14] << 8 | a->b[15];
}

static inline bool addr_equal(const struct addr *a, const struct addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static inline bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return addr_equal(&a->addr, &b->addr) && a->port == b->port;
}

/* The wildcard address of its family, or no address at all. */
static inline bool addr_is_any(const struct addr *a)
{
	static const u8 zero[16];

	return a->family == FAMILY_INET ? addr_get4(a) == 0 : memcmp(a->b, zero, sizeof(zero)) == 0;
}

static inline bool addr_is_multicast(const struct addr *a)
{
	return a->family == FAMILY_INET ? a->b[12] >> 4 == 0xe
					: a->family == FAMILY_INET6 && a->b[0] == 0xff;
}

static inline bool addr_is_loopback(const struct addr *a)
{
	static const u8 one[16] = {[15] = 1};

	return a->family == FAMILY_INET ? a->b[12] == 127 : memcmp(a->b, one, sizeof(one)) == 0;
}

/* 255.255.255.255 */
static inline bool addr_is_limited_broadcast(const struct addr *a)
{
	return a->family == FAMILY_INET && addr_get4(a) == 0xffffffffu;
}

#endif
