/*
 * setsockopt and getsockopt of level SOL_IP (net/ipv4/ip_sockglue.c). Values may be one byte or an
 * int; what comes back is one byte when less than an int is asked for and the value fits.
 */
#include "stack/linux.h"
#include "stack/sock_proto.h"

static const struct {
	u8 name;
	bool needs_value; /* an empty value is an error, not 0 */
	u32 option;	  /* enum sock_option */
} ip_flags[] = {
	{LX_IP_RECVOPTS, false, OPT_RECVOPTS},
	{LX_IP_PKTINFO, false, OPT_PKTINFO},
	{LX_IP_RECVTTL, false, OPT_RECVTTL},
	{LX_IP_RECVTOS, false, OPT_RECVTOS},
	{LX_IP_RECVERR, false, OPT_RECVERR},
	{LX_IP_RECVORIGDSTADDR, false, OPT_RECVORIGDSTADDR},
	{LX_IP_FREEBIND, true, OPT_FREEBIND},
	{LX_IP_TRANSPARENT, true, OPT_TRANSPARENT},
	{LX_IP_BIND_ADDRESS_NO_PORT, false, OPT_BIND_NO_PORT},
	{LX_IP_MULTICAST_LOOP, true, OPT_MULTICAST_LOOP},
};

static const struct {
	u8 name;
	u8 bit; /* enum sock_stored */
} ip_stored[] = {
	{LX_IP_RETOPTS, STORED_RETOPTS},
	{LX_IP_PASSSEC, STORED_PASSSEC},
	{LX_IP_CHECKSUM, STORED_CHECKSUM},
	{LX_IP_RECVFRAGSIZE, STORED_RECVFRAGSIZE},
	{LX_IP_RECVERR_RFC4884, STORED_RECVERR_RFC4884},
};

/* An int from four bytes or more, or one byte; 0 from nothing. */
static int read_value(const void *val, u32 len)
{
	const u8 *byte = val;
	int value;

	if (sock_opt_read(val, len, &value) == 0)
		return value;
	return len ? byte[0] : 0;
}

static bool set_ip_flag(struct sock *sk, int name, int value, u32 len, int *ret)
{
	for (u32 i = 0; i < ARRAY_LEN(ip_flags); i++) {
		if (ip_flags[i].name != name)
			continue;
		*ret = ip_flags[i].needs_value && !len ? -EINVAL : 0;
		if (*ret == 0)
			sk->options = value ? sk->options | ip_flags[i].option
					    : sk->options & ~ip_flags[i].option;
		return true;
	}
	for (u32 i = 0; i < ARRAY_LEN(ip_stored); i++) {
		u64 bit = 1ull << ip_stored[i].bit;

		if (ip_stored[i].name != name)
			continue;
		*ret = 0;
		if ((name == LX_IP_RECVFRAGSIZE && sk->type == LX_SOCK_STREAM) ||
			(name == LX_IP_RECVERR_RFC4884 && (value < 0 || value > 1)))
			*ret = -EINVAL;
		else
			sk->stored = value ? sk->stored | bit : sk->stored & ~bit;
		return true;
	}
	return false;
}

/* The priority that Linux derives from the type of service (rt_tos2priority). */
static u32 tos_priority(u8 tos)
{
	static const u8 priority[16] = {0, 0, 0, 0, 2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4};

	return priority[(tos & 0x1e) >> 1];
}

static int set_tos(struct sock *sk, int value)
{
	u8 tos = (u8)value;

	/* The two low bits are ECN's, which TCP sets itself (RFC 3168). */
	if (sk->type == LX_SOCK_STREAM)
		tos = (u8)((tos & ~3) | (sk->tos & 3));
	if (sk->tos != tos) {
		sk->tos = tos;
		sk->priority = tos_priority(tos);
	}
	return 0;
}

static int set_unicast_if(struct stack *s, struct sock *sk, int value, u32 len)
{
	u32 ifindex;

	if (len != sizeof(value))
		return -EINVAL;
	ifindex = __builtin_bswap32((u32)value); /* the API has it in network order */
	if (ifindex && !netif_get(s, ifindex))
		return -EADDRNOTAVAIL;
	if (ifindex && sk->conn.ifindex && sk->conn.ifindex != ifindex)
		return -EINVAL;
	sk->unicast_if = ifindex;
	return 0;
}

static int set_port_range(struct sock *sk, int value, u32 len)
{
	u16 low = (u16)value, high = (u16)((u32)value >> 16);

	if (len != sizeof(value) || (low && high && low > high))
		return -EINVAL;
	sk->port_low = low;
	sk->port_high = high;
	return 0;
}

/*
 * The IP options of outgoing packets (ip_options_compile): lengths must fit, source routes are
 * refused as the host does not send what it drops itself (RFC 7126).
 */
static int set_options(struct sock *sk, const u8 *val, u32 len)
{
	u8 padded[40] = {0};
	u32 size = (len + 3) & ~3u, at = 0;

	if (len > sizeof(padded))
		return -EINVAL;
	memcpy(padded, val, len);
	while (at < size && padded[at] != 0) {
		u32 rest = size - at;

		if (padded[at] == 1) {
			at++;
			continue;
		}
		if (rest < 2 || padded[at + 1] < 2 || padded[at + 1] > rest)
			return -EINVAL;
		if (padded[at] == 131 || padded[at] == 137)
			return -EINVAL;
		/* Record route and timestamp: a pointer behind the fixed part. */
		if ((padded[at] == 7 || padded[at] == 68) &&
			(padded[at + 1] < 3 || padded[at + 2] < 4))
			return -EINVAL;
		at += padded[at + 1];
	}
	/* Behind the end of the list there are zeros only. */
	if (at < size)
		memset(padded + at, 0, size - at);
	memcpy(sk->ip_options, padded, sizeof(padded));
	sk->ip_options_len = (u8)size;
	return 0;
}

static int set_number(struct stack *s, struct sock *sk, int name, int value, u32 len)
{
	switch (name) {
	case LX_IP_TOS:
		return set_tos(sk, value);
	case LX_IP_TTL:
		if (!len || (value != -1 && (value < 1 || value > 255)))
			return -EINVAL;
		sk->ttl = value == -1 ? 0 : (u8)value;
		return 0;
	case LX_IP_MTU_DISCOVER:
		if (value < LX_IP_PMTUDISC_DONT || value > LX_IP_PMTUDISC_OMIT)
			return -EINVAL;
		sk->mtu_discover = (u8)value;
		return 0;
	case LX_IP_MINTTL:
		if (!len || value < 0 || value > 255)
			return -EINVAL;
		sk->min_ttl = (u8)value;
		return 0;
	case LX_IP_MULTICAST_TTL:
		if (sk->type == LX_SOCK_STREAM || !len || value < -1 || value > 255)
			return -EINVAL;
		sk->multicast_ttl = value == -1 ? 1 : (u8)value;
		return 0;
	case LX_IP_MULTICAST_ALL:
		if (!len || value < 0 || value > 1)
			return -EINVAL;
		sk->options = value ? sk->options | OPT_MULTICAST_ALL
				    : sk->options & ~(u32)OPT_MULTICAST_ALL;
		return 0;
	case LX_IP_UNICAST_IF:
		return set_unicast_if(s, sk, value, len);
	case LX_IP_LOCAL_PORT_RANGE:
		return set_port_range(sk, value, len);
	case LX_IP_ROUTER_ALERT:
		return -EINVAL; /* raw sockets only */
	case LX_IP_IPSEC_POLICY:
		return len ? -EOPNOTSUPP : -EMSGSIZE;
	case LX_IP_XFRM_POLICY:
		return len ? -EINVAL : -EMSGSIZE;
	default:
		return -ENOPROTOOPT; /* IP_HDRINCL and IP_NODEFRAG too: raw sockets only */
	}
}

static bool is_multicast_option(int name)
{
	return name == LX_IP_MULTICAST_IF ||
	       (name >= LX_IP_ADD_MEMBERSHIP && name <= LX_MCAST_MSFILTER);
}

int opt_ip_set(struct stack *s, struct sock *sk, int name, const void *val, u32 len)
{
	int value = read_value(val, len), ret;

	if (name == LX_IP_OPTIONS)
		return set_options(sk, val, len);
	if (is_multicast_option(name))
		return mcast_setopt(s, sk, name, val, len);
	if (set_ip_flag(sk, name, value, len, &ret)) {
		if (name == LX_IP_RECVERR && !value)
			pktq_purge(s, &sk->errq);
		return ret;
	}
	return set_number(s, sk, name, value, len);
}

static bool get_ip_flag(const struct sock *sk, int name, int *value)
{
	for (u32 i = 0; i < ARRAY_LEN(ip_flags); i++)
		if (ip_flags[i].name == name) {
			*value = !!(sk->options & ip_flags[i].option);
			return true;
		}
	for (u32 i = 0; i < ARRAY_LEN(ip_stored); i++)
		if (ip_stored[i].name == name) {
			*value = sock_stored(sk, ip_stored[i].bit);
			return true;
		}
	return false;
}

/* What the path to the peer carries; only of a connected socket. */
static int get_mtu(struct stack *s, const struct sock *sk, int *value)
{
	struct path path;

	if (sk->state != SOCK_CONNECTED && sk->state != SOCK_CONNECTING)
		return -ENOTCONN;
	if (ip_route(s, &sk->conn.remote.addr, sk->conn.ifindex, &path) < 0)
		return -ENOTCONN;
	*value = path.mtu;
	return 0;
}

static int get_number(struct stack *s, const struct sock *sk, int name, int *value)
{
	*value = 0;
	switch (name) {
	case LX_IP_TOS:
		*value = sk->tos;
		return 0;
	case LX_IP_TTL:
		*value = sk->ttl ? sk->ttl : s->tunables.ip_default_ttl;
		return 0;
	case LX_IP_MTU_DISCOVER:
		*value = sk->mtu_discover;
		return 0;
	case LX_IP_MTU:
		return get_mtu(s, sk, value);
	case LX_IP_MINTTL:
		*value = sk->min_ttl;
		return 0;
	case LX_IP_MULTICAST_TTL:
		*value = sk->multicast_ttl;
		return 0;
	case LX_IP_MULTICAST_ALL:
		*value = !!(sk->options & OPT_MULTICAST_ALL);
		return 0;
	case LX_IP_UNICAST_IF:
		*value = (int)__builtin_bswap32(sk->unicast_if);
		return 0;
	case LX_IP_LOCAL_PORT_RANGE:
		*value = (int)((u32)sk->port_high << 16 | sk->port_low);
		return 0;
	case LX_IP_PROTOCOL:
		*value = sk->conn.port ? sk->conn.local.port
				       : 0; /* what Linux gives for these sockets */
		return 0;
	case LX_IP_HDRINCL:
	case LX_IP_ROUTER_ALERT:
	case LX_IP_NODEFRAG:
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

int opt_ip_get(struct stack *s, struct sock *sk, int name, void *val, u32 *len)
{
	int value, ret = 0;
	u8 byte;

	if (name == LX_IP_OPTIONS)
		return sock_opt_copy(val, len, sk->ip_options, sk->ip_options_len);
	if (name == LX_IP_PKTOPTIONS) {
		if (sk->type != LX_SOCK_STREAM)
			return -ENOPROTOOPT;
		*len = 0;
		return 0;
	}
	if (is_multicast_option(name))
		return mcast_getopt(s, sk, name, val, len);
	if (!get_ip_flag(sk, name, &value))
		ret = get_number(s, sk, name, &value);
	if (ret < 0)
		return ret;
	if (*len < sizeof(value) && *len > 0 && value >= 0 && value <= 255) {
		byte = (u8)value;
		return sock_opt_copy(val, len, &byte, 1);
	}
	return sock_opt_int(val, len, value);
}
