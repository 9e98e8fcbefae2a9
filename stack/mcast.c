/*
 * Multicast groups of sockets: joining and leaving in all of Linux's forms, filters by source, and
 * which socket wants a packet (net/ipv4/igmp.c: ip_mc_join_group, ip_mc_source, ip_mc_sf_allow).
 *
 * No IGMP is spoken: on a TAP the peer sees every frame.
 */
#include "stack/linux.h"
#include "stack/sock_proto.h"

#define MEMBERSHIPS_MAX 20u /* of one socket: igmp_max_memberships */

/* The parsed form of the arguments. */
struct request {
	struct addr group;
	struct addr source;
	struct addr local; /* interface by its address; the wildcard: by the routes */
	u32 ifindex;
};

enum source_op { SOURCE_BLOCK, SOURCE_UNBLOCK, SOURCE_JOIN, SOURCE_LEAVE };

u32 mcast_ifindex_of(struct stack *s, const struct addr *a)
{
	for (u32 i = 1; i < NETIF_MAX; i++) {
		const struct netif *n = netif_get(s, i);

		for (u32 j = 0; n && j < NETIF_ADDRS; j++)
			if (n->addrs[j].state != NETIF_ADDR_FREE &&
				addr_equal(&n->addrs[j].addr, a))
				return i;
	}
	return 0;
}

/* The interface of a request (ip_mc_find_dev): 0 when there is none. */
static u32 interface_of(struct stack *s, const struct request *r)
{
	struct path path;

	if (r->ifindex)
		return netif_get(s, r->ifindex) ? r->ifindex : 0;
	if (!addr_is_any(&r->local))
		return mcast_ifindex_of(s, &r->local);
	return ip_route(s, &r->group, 0, &path) == 0 ? path.ifindex : 0;
}

static struct membership *membership_get(struct stack *s, ref r)
{
	return slab_get(s, SLAB_MEMBERSHIP, r);
}

static struct membership *find(
	struct stack *s, const struct sock *sk, const struct addr *group, u32 ifindex)
{
	struct membership *m = membership_get(s, sk->memberships);

	for (; m; m = membership_get(s, m->next))
		if (addr_equal(&m->group, group) && m->ifindex == ifindex)
			return m;
	return NULL;
}

static int join(struct stack *s, struct sock *sk, const struct request *r, bool include)
{
	u32 ifindex = interface_of(s, r), count = 0;
	struct membership *m;

	if (!addr_is_multicast(&r->group))
		return -EINVAL;
	if (!ifindex)
		return -ENODEV;
	for (m = membership_get(s, sk->memberships); m; m = membership_get(s, m->next))
		count++;
	if (find(s, sk, &r->group, ifindex))
		return -EADDRINUSE;
	if (count >= MEMBERSHIPS_MAX)
		return -ENOBUFS;
	m = membership_get(s, slab_alloc(s, SLAB_MEMBERSHIP));
	if (!m)
		return -ENOBUFS;
	m->group = r->group;
	m->ifindex = ifindex;
	m->include = include;
	m->next = sk->memberships;
	sk->memberships = m->slab.self;
	return 0;
}

static void unlink_membership(struct stack *s, struct sock *sk, struct membership *gone)
{
	ref self = gone->slab.self;
	ref *at = &sk->memberships;

	for (struct membership *m; (m = membership_get(s, *at)) != NULL; at = &m->next)
		if (m == gone) {
			*at = m->next;
			slab_free(s, self);
			return;
		}
}

static int drop(struct stack *s, struct sock *sk, const struct request *r)
{
	u32 ifindex = interface_of(s, r);
	struct membership *m = ifindex ? find(s, sk, &r->group, ifindex) : NULL;

	if (m) {
		unlink_membership(s, sk, m);
		return 0;
	}
	return !ifindex && !r->ifindex && addr_is_any(&r->local) ? -ENODEV : -EADDRNOTAVAIL;
}

void mcast_drop_all(struct stack *s, struct sock *sk)
{
	for (struct membership *m; (m = membership_get(s, sk->memberships)) != NULL;)
		unlink_membership(s, sk, m);
}

static u32 source_at(const struct membership *m, const struct addr *source)
{
	u32 i = 0;

	while (i < m->sources && !addr_equal(&m->source[i], source))
		i++;
	return i;
}

static int source_remove(
	struct stack *s, struct sock *sk, struct membership *m, u32 at, bool include)
{
	if (at == m->sources)
		return -EADDRNOTAVAIL;
	/* The last source of an including membership takes the membership with it. */
	if (m->sources == 1 && include) {
		unlink_membership(s, sk, m);
		return 0;
	}
	m->sources--;
	memmove(&m->source[at], &m->source[at + 1], (m->sources - at) * sizeof(m->source[0]));
	return 0;
}

/* Adds or removes one source of a filter (ip_mc_source). */
static int change_source(
	struct stack *s, struct sock *sk, const struct request *r, enum source_op op)
{
	bool include = op == SOURCE_JOIN || op == SOURCE_LEAVE;
	u32 ifindex = interface_of(s, r), at;
	struct membership *m;
	int ret;

	if (!addr_is_multicast(&r->group))
		return -EINVAL;
	if (op == SOURCE_JOIN) {
		ret = join(s, sk, r, true);
		if (ret < 0 && ret != -EADDRINUSE)
			return ret;
	}
	if (!ifindex)
		return -ENODEV;
	m = find(s, sk, &r->group, ifindex);
	if (!m)
		return -EINVAL;
	if (m->include != include) {
		if (m->filtered)
			return -EINVAL;
		m->include = include;
	}
	at = source_at(m, &r->source);
	if (op == SOURCE_UNBLOCK || op == SOURCE_LEAVE)
		return source_remove(s, sk, m, at, include);
	if (at < m->sources)
		return -EADDRNOTAVAIL;
	if (m->sources == MEMBERSHIP_SOURCES)
		return -ENOBUFS;
	m->source[m->sources++] = r->source;
	m->filtered = true;
	return 0;
}

static struct addr read_addr(const u8 *at)
{
	return addr_v4((u32)at[0] << 24 | (u32)at[1] << 16 | (u32)at[2] << 8 | at[3]);
}

static u32 read_u32(const u8 *at)
{
	u32 v;

	memcpy(&v, at, sizeof(v));
	return v;
}

/* struct ip_mreq (8 bytes) or ip_mreqn (12). */
static int read_mreq(const u8 *val, u32 len, struct request *r)
{
	if (len < 8)
		return -EINVAL;
	*r = (struct request){.group = read_addr(val), .local = read_addr(val + 4)};
	if (len >= 12)
		r->ifindex = read_u32(val + 8);
	return 0;
}

/* struct ip_mreq_source: group, interface, source. */
static int read_mreq_source(const u8 *val, u32 len, struct request *r)
{
	if (len != 12)
		return -EINVAL;
	*r = (struct request){
		.group = read_addr(val), .local = read_addr(val + 4), .source = read_addr(val + 8)};
	return 0;
}

static bool read_sockaddr(const u8 *val, struct addr *a)
{
	u16 family;

	memcpy(&family, val, sizeof(family));
	*a = read_addr(val + 4);
	return family == FAMILY_INET;
}

/* struct group_req (136 bytes: interface, padding, address). */
static int read_group_req(const u8 *val, u32 len, struct request *r)
{
	*r = (struct request){.local = addr_v4(0)};
	if (len < 136)
		return -EINVAL;
	r->ifindex = read_u32(val);
	return read_sockaddr(val + 8, &r->group) ? 0 : -EINVAL;
}

/* struct group_source_req (264 bytes). */
static int read_group_source_req(const u8 *val, u32 len, struct request *r)
{
	*r = (struct request){.local = addr_v4(0)};
	if (len != 264)
		return -EINVAL;
	r->ifindex = read_u32(val);
	if (!read_sockaddr(val + 8, &r->group) || !read_sockaddr(val + 136, &r->source))
		return -EADDRNOTAVAIL;
	return 0;
}

/* IP_MULTICAST_IF: where to send; struct in_addr, ip_mreq or ip_mreqn. */
static int set_interface(struct stack *s, struct sock *sk, const u8 *val, u32 len)
{
	struct request r = {.local = addr_v4(0)};
	u32 ifindex;

	if (sk->type == LX_SOCK_STREAM || len < 4)
		return -EINVAL;
	if (len >= 8)
		read_mreq(val, len, &r);
	else
		r.local = read_addr(val);
	ifindex = r.ifindex;
	if (ifindex && !netif_get(s, ifindex))
		return -EADDRNOTAVAIL;
	if (!ifindex && !addr_is_any(&r.local)) {
		ifindex = mcast_ifindex_of(s, &r.local);
		if (!ifindex)
			return -EADDRNOTAVAIL;
	}
	if (ifindex && sk->conn.ifindex && sk->conn.ifindex != ifindex)
		return -EINVAL;
	sk->multicast_if = ifindex;
	sk->multicast_src = r.local;
	return 0;
}

/* IP_MSFILTER: group, interface, mode (MCAST_EXCLUDE 0, MCAST_INCLUDE 1), number of sources,
 * sources. */
static int set_filter(struct stack *s, struct sock *sk, const u8 *val, u32 len)
{
	struct request r = {.source = addr_v4(0)};
	struct membership *m;
	u32 mode, count;

	if (len < 16)
		return -EINVAL;
	r.group = read_addr(val);
	r.local = read_addr(val + 4);
	mode = read_u32(val + 8);
	count = read_u32(val + 12);
	if (count > (len - 16) / 4)
		return -EINVAL;
	if (count > MEMBERSHIP_SOURCES)
		return -ENOBUFS;
	if (!addr_is_multicast(&r.group) || mode > 1)
		return -EINVAL;
	r.ifindex = interface_of(s, &r);
	if (!r.ifindex)
		return -ENODEV;
	if (mode == 1 && count == 0)
		return drop(s, sk, &r);
	m = find(s, sk, &r.group, r.ifindex);
	if (!m)
		return -EINVAL;
	m->include = mode == 1;
	m->sources = (u8)count;
	m->filtered = count != 0;
	for (u32 i = 0; i < count; i++)
		m->source[i] = read_addr(val + 16 + 4 * i);
	return 0;
}

int mcast_setopt(struct stack *s, struct sock *sk, int name, const void *val, u32 len)
{
	static const enum source_op ops[] = {
		[0] = SOURCE_UNBLOCK,
		[LX_IP_BLOCK_SOURCE - LX_IP_UNBLOCK_SOURCE] = SOURCE_BLOCK,
		[LX_IP_ADD_SOURCE_MEMBERSHIP - LX_IP_UNBLOCK_SOURCE] = SOURCE_JOIN,
		[LX_IP_DROP_SOURCE_MEMBERSHIP - LX_IP_UNBLOCK_SOURCE] = SOURCE_LEAVE,
		[LX_MCAST_BLOCK_SOURCE - LX_IP_UNBLOCK_SOURCE] = SOURCE_BLOCK,
		[LX_MCAST_UNBLOCK_SOURCE - LX_IP_UNBLOCK_SOURCE] = SOURCE_UNBLOCK,
		[LX_MCAST_JOIN_SOURCE_GROUP - LX_IP_UNBLOCK_SOURCE] = SOURCE_JOIN,
		[LX_MCAST_LEAVE_SOURCE_GROUP - LX_IP_UNBLOCK_SOURCE] = SOURCE_LEAVE,
	};
	struct request r;
	int ret;

	switch (name) {
	case LX_IP_MULTICAST_IF:
		return set_interface(s, sk, val, len);
	case LX_IP_ADD_MEMBERSHIP:
	case LX_IP_DROP_MEMBERSHIP:
		if (sk->type == LX_SOCK_STREAM)
			return -EPROTO;
		ret = read_mreq(val, len, &r);
		if (ret < 0)
			return ret;
		return name == LX_IP_ADD_MEMBERSHIP ? join(s, sk, &r, false) : drop(s, sk, &r);
	case LX_MCAST_JOIN_GROUP:
	case LX_MCAST_LEAVE_GROUP:
		ret = read_group_req(val, len, &r);
		if (ret < 0)
			return ret;
		return name == LX_MCAST_JOIN_GROUP ? join(s, sk, &r, false) : drop(s, sk, &r);
	case LX_IP_UNBLOCK_SOURCE:
	case LX_IP_BLOCK_SOURCE:
	case LX_IP_ADD_SOURCE_MEMBERSHIP:
	case LX_IP_DROP_SOURCE_MEMBERSHIP:
		ret = read_mreq_source(val, len, &r);
		break;
	case LX_MCAST_BLOCK_SOURCE:
	case LX_MCAST_UNBLOCK_SOURCE:
	case LX_MCAST_JOIN_SOURCE_GROUP:
	case LX_MCAST_LEAVE_SOURCE_GROUP:
		ret = read_group_source_req(val, len, &r);
		break;
	case LX_IP_MSFILTER:
		return set_filter(s, sk, val, len);
	default:
		return -EINVAL; /* MCAST_MSFILTER: longer than an option may be here */
	}
	return ret < 0 ? ret : change_source(s, sk, &r, ops[name - LX_IP_UNBLOCK_SOURCE]);
}

/* IP_MSFILTER: room for the number of sources asked for, the number there is. */
static int get_filter(struct stack *s, const struct sock *sk, u8 *val, u32 *len)
{
	struct request r = {.source = addr_v4(0)};
	const struct membership *m;
	u32 include, count, fit;

	if (*len < 16)
		return -EINVAL;
	r.group = read_addr(val);
	r.local = read_addr(val + 4);
	if (!addr_is_multicast(&r.group))
		return -EINVAL;
	r.ifindex = interface_of(s, &r);
	if (!r.ifindex)
		return -ENODEV;
	m = find(s, sk, &r.group, r.ifindex);
	if (!m)
		return -EADDRNOTAVAIL;
	include = m->include;
	count = m->sources;
	fit = MIN(MIN(read_u32(val + 12), count), (*len - 16) / 4);
	memcpy(val + 8, &include, 4);
	memcpy(val + 12, &count, 4);
	for (u32 i = 0; i < fit; i++)
		memcpy(val + 16 + 4 * i, m->source[i].b + 12, 4);
	*len = 16 + 4 * fit;
	return 0;
}

int mcast_getopt(struct stack *s, struct sock *sk, int name, void *val, u32 *len)
{
	static const u8 any[4];

	switch (name) {
	case LX_IP_MULTICAST_IF:
		return sock_opt_copy(val, len,
			sk->multicast_src.family == FAMILY_NONE ? any : sk->multicast_src.b + 12,
			4);
	case LX_IP_MSFILTER:
		return get_filter(s, sk, val, len);
	case LX_MCAST_MSFILTER:
		return -EINVAL;
	default:
		return -ENOPROTOOPT;
	}
}

bool mcast_wants(struct stack *s, const struct sock *sk, const struct addr *group,
	const struct addr *source, u32 ifindex)
{
	const struct membership *m = find(s, sk, group, ifindex);

	if (!m)
		return sk->options & OPT_MULTICAST_ALL;
	return (source_at(m, source) < m->sources) == (m->include != 0);
}

bool sock_is_member(struct stack *s, const struct addr *group, u32 ifindex)
{
	for (u32 i = 0; i < slab_touched(s, SLAB_MEMBERSHIP); i++) {
		const struct membership *m = slab_at(s, SLAB_MEMBERSHIP, i);

		if (m && m->ifindex == ifindex && addr_equal(&m->group, group))
			return true;
	}
	return false;
}
