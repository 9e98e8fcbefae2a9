/*
 * Local ports: binding under Linux's rules, automatic choice, and the socket that a packet is for.
 *
 * A struct port exists while something holds the port. Its holders stand in two lists: `open`,
 * which packets may find by sock_lookup (bound and listening sockets), and `connected`, which the
 * connection table finds. bind() looks at both. TIME-WAIT holds its port too, so that SO_REUSEADDR
 * means what it means everywhere.
 *
 * Automatic ports are RFC 6056's algorithm 1 with a generator that nobody outside can predict: a
 * random port, then the next free one. An active TCP open may share a port with other active opens
 * to other destinations, as on Linux.
 */
#include "stack/bytes.h"
#include "stack/sock_proto.h"

static u32 port_hash(const struct stack *s, u8 proto, u16 number)
{
	u8 key[3] = {proto, (u8)(number >> 8), (u8)number};

	return (u32)siphash(&s->hash_key, key, sizeof(key));
}

static struct port *port_find(struct stack *s, u8 proto, u16 number)
{
	u32 hash = port_hash(s, proto, number);

	for (ref r = hash_find(s, &s->ports, hash, 0); r; r = hash_find(s, &s->ports, hash, r)) {
		struct port *p = slab_get(s, SLAB_PORT, r);

		if (p && p->number == number && p->proto == proto)
			return p;
	}
	return NULL;
}

static struct port *port_make(struct stack *s, u8 proto, u16 number)
{
	struct port *p = slab_get(s, SLAB_PORT, slab_alloc(s, SLAB_PORT));

	if (!p)
		return NULL;
	p->number = number;
	p->proto = proto;
	hash_insert(s, &s->ports, port_hash(s, proto, number), p->slab.self);
	return p;
}

static void list_add(struct stack *s, struct port *p, struct conn *c, bool connected)
{
	ref *head = connected ? &p->connected : &p->open;
	struct conn *first = conn_get(s, *head);

	c->port_prev = 0;
	c->port_next = *head;
	if (first)
		first->port_prev = c->slab.self;
	*head = c->slab.self;
	c->bind = (u8)((c->bind & ~CONN_CONNECTED) | (connected ? CONN_CONNECTED : 0));
}

static void list_del(struct stack *s, struct port *p, struct conn *c)
{
	struct conn *next = conn_get(s, c->port_next);
	struct conn *prev = conn_get(s, c->port_prev);

	if (next)
		next->port_prev = c->port_prev;
	if (prev)
		prev->port_next = c->port_next;
	else if (c->bind & CONN_CONNECTED)
		p->connected = c->port_next;
	else
		p->open = c->port_next;
	c->port_next = c->port_prev = 0;
}

void port_attach(struct stack *s, ref port, struct conn *c, bool connected)
{
	struct port *p = slab_get(s, SLAB_PORT, port);

	if (!p)
		return;
	c->port = port;
	list_add(s, p, c, connected);
}

void port_detach(struct stack *s, struct conn *c)
{
	struct port *p = slab_get(s, SLAB_PORT, c->port);

	if (!p)
		return;
	list_del(s, p, c);
	c->port = 0;
	if (!p->open && !p->connected) {
		hash_remove(s, &s->ports, p->slab.self);
		slab_free(s, p->slab.self);
	}
}

void port_move(struct stack *s, struct conn *c, bool connected)
{
	struct port *p = slab_get(s, SLAB_PORT, c->port);

	if (!p || !!(c->bind & CONN_CONNECTED) == connected)
		return;
	list_del(s, p, c);
	list_add(s, p, c, connected);
}

ref port_first(struct stack *s, u8 proto, u16 number, bool connected)
{
	const struct port *p = port_find(s, proto, number);

	return !p ? 0 : connected ? p->connected : p->open;
}

static bool overlaps(const struct conn *a, const struct conn *b)
{
	if (a->ifindex && b->ifindex && a->ifindex != b->ifindex)
		return false;
	return addr_is_any(&a->local.addr) || addr_is_any(&b->local.addr) ||
	       addr_equal(&a->local.addr, &b->local.addr);
}

/* Whether holder b stands in the way of a binding the port that it names itself
 * (inet_csk_bind_conflict, udp_lib_lport_inuse). */
static bool conflicts(const struct conn *a, const struct conn *b)
{
	u8 both = a->bind & b->bind;

	if (a == b || !overlaps(a, b))
		return false;
	if (both & CONN_REUSEADDR && !(a->proto == PROTO_TCP && b->bind & CONN_LISTENING))
		return false;
	return !(both & CONN_REUSEPORT);
}

/* `any`: every overlap is a conflict, as when the system chooses the port. */
static bool port_conflicts(struct stack *s, const struct port *p, const struct conn *a, bool any)
{
	const ref heads[2] = {p->open, p->connected};

	for (u32 i = 0; i < 2; i++) {
		for (const struct conn *b = conn_get(s, heads[i]); b; b = conn_get(s, b->port_next))
			if (any ? a != b && overlaps(a, b) : conflicts(a, b))
				return true;
	}
	return false;
}

static void take(struct stack *s, struct sock *sk, struct port *p)
{
	sk->conn.local.port = p->number;
	port_attach(s, p->slab.self, &sk->conn, false);
}

static void port_range(const struct stack *s, const struct sock *sk, u32 *low, u32 *count)
{
	u32 first = s->tunables.port_low, last = s->tunables.port_high;

	/* IP_LOCAL_PORT_RANGE narrows the host's range; values outside of it are not used. */
	if (sk->port_low > first)
		first = sk->port_low;
	if (sk->port_high && sk->port_high < last)
		last = sk->port_high;
	if (first > last) {
		first = s->tunables.port_low;
		last = s->tunables.port_high;
	}
	*low = first;
	*count = last >= first ? last - first + 1 : 1;
}

/* ip_local_reserved_ports: who binds it by number gets it all the same. */
static bool port_reserved(const struct stack *s, u16 number)
{
	const u16(*range)[2] = s->tunables.reserved_ports;

	for (u32 i = 0; i < STACK_PORT_RANGES && range[i][1]; i++)
		if (number >= range[i][0] && number <= range[i][1])
			return true;
	return false;
}

/* A port nobody holds at this address: 0 or -EADDRINUSE. */
static int take_free(struct stack *s, struct sock *sk)
{
	u32 low, count, start;

	port_range(s, sk, &low, &count);
	start = random_below(&s->random, count);
	for (u32 i = 0; i < count; i++) {
		u16 number = (u16)(low + (start + i) % count);
		struct port *p = port_find(s, sk->conn.proto, number);

		if (port_reserved(s, number) || (p && port_conflicts(s, p, &sk->conn, true)))
			continue;
		if (!p && !(p = port_make(s, sk->conn.proto, number)))
			return -ENOBUFS;
		p->explicit = true;
		take(s, sk, p);
		return 0;
	}
	return -EADDRINUSE;
}

int port_bind(struct stack *s, struct sock *sk, u16 number)
{
	struct port *p;

	if (!number)
		return take_free(s, sk);
	p = port_find(s, sk->conn.proto, number);
	if (p && port_conflicts(s, p, &sk->conn, false))
		return -EADDRINUSE;
	if (!p && !(p = port_make(s, sk->conn.proto, number)))
		return -ENOBUFS;
	p->explicit = true;
	take(s, sk, p);
	return 0;
}

int port_listen_check(struct stack *s, struct sock *sk)
{
	const struct port *p = slab_get(s, SLAB_PORT, sk->conn.port);

	return p && port_conflicts(s, p, &sk->conn, false) ? -EADDRINUSE : 0;
}

/* Whether the four-tuple is free; a TIME-WAIT may make way (RFC 6191). */
static bool tuple_free(
	struct stack *s, struct sock *sk, u16 number, const struct endpoint *remote, bool chosen)
{
	struct endpoint local = sk->conn.local;
	const struct sock_ops *ops = sock_ops_of(sk->conn.proto);
	ref r;

	local.port = number;
	r = conn_lookup(s, sk->conn.proto, &local, remote);
	if (!r)
		return true;
	return ref_kind(r) == SLAB_TCP_TIMEWAIT && ops->yield && ops->yield(s, r, chosen);
}

/* An active open: ports may be shared with active opens to other destinations. */
static int take_for_tuple(struct stack *s, struct sock *sk, const struct endpoint *remote)
{
	u32 low, count, start;

	port_range(s, sk, &low, &count);
	start = random_below(&s->random, count);
	for (u32 i = 0; i < count; i++) {
		u16 number = (u16)(low + (start + i) % count);
		struct port *p = port_find(s, sk->conn.proto, number);

		if (port_reserved(s, number) || (p && p->explicit))
			continue;
		if (p && !tuple_free(s, sk, number, remote, false))
			continue;
		/* Again: the last holder may have gone with a TIME-WAIT that made way. */
		p = port_find(s, sk->conn.proto, number);
		if (!p && !(p = port_make(s, sk->conn.proto, number)))
			return -ENOBUFS;
		take(s, sk, p);
		return 0;
	}
	return -EADDRNOTAVAIL;
}

int sock_autobind(struct stack *s, struct sock *sk, const struct endpoint *remote)
{
	struct path path;
	int ret;

	if (remote && addr_is_any(&sk->conn.local.addr)) {
		ret = ip_route(s, &remote->addr, sk->conn.ifindex, &path);
		if (ret < 0)
			return ret;
		sk->conn.local.addr = path.source;
	}
	if (remote && sk->conn.proto == PROTO_TCP) {
		if (!sk->conn.port)
			return take_for_tuple(s, sk, remote);
		return tuple_free(s, sk, sk->conn.local.port, remote, true) ? 0 : -EADDRNOTAVAIL;
	}
	if (sk->conn.port)
		return 0;
	ret = take_free(s, sk);
	return ret == -EADDRINUSE ? -EAGAIN : ret;
}

/* How well an open socket suits a packet: 0 not at all. The address weighs more than the device, as
 * on Linux. */
static u32 score(const struct conn *c, const struct endpoint *local, u32 ifindex)
{
	u32 points = 1;

	if (c->proto == PROTO_TCP && !(c->bind & CONN_LISTENING))
		return 0;
	if (!addr_is_any(&c->local.addr)) {
		if (!addr_equal(&c->local.addr, &local->addr))
			return 0;
		points += 4;
	}
	if (c->ifindex) {
		if (c->ifindex != ifindex)
			return 0;
		points += 2;
	}
	return points;
}

/* SO_REUSEPORT: the sockets of the best score share by the hash of the remote end. */
static ref spread(struct stack *s, const struct port *p, const struct endpoint *local,
	const struct endpoint *remote, u32 ifindex, u32 best, u32 members)
{
	u8 key[24];
	u32 chosen;

	memcpy(key, remote->addr.b, 16);
	put16(key + 16, remote->port);
	put16(key + 18, local->port);
	memcpy(key + 20, local->addr.b + 12, 4);
	chosen = (u32)((siphash(&s->hash_key, key, sizeof(key)) & 0xffffffffu) * members >> 32);
	for (const struct conn *c = conn_get(s, p->open); c; c = conn_get(s, c->port_next))
		if (c->bind & CONN_REUSEPORT && score(c, local, ifindex) == best && chosen-- == 0)
			return c->slab.self;
	return 0;
}

ref sock_lookup(struct stack *s, u8 proto, const struct endpoint *local,
	const struct endpoint *remote, u32 ifindex)
{
	const struct port *p = port_find(s, proto, local->port);
	const struct conn *found = NULL;
	u32 best = 0, members = 0;

	for (const struct conn *c = conn_get(s, p ? p->open : 0); c;
		c = conn_get(s, c->port_next)) {
		u32 points = score(c, local, ifindex);

		if (!points || points < best)
			continue;
		if (points > best) {
			best = points;
			found = c;
			members = 0;
		}
		if (c->bind & CONN_REUSEPORT)
			members++;
	}
	if (!found)
		return 0;
	if (members > 1 && found->bind & CONN_REUSEPORT)
		return spread(s, p, local, remote, ifindex, best, members);
	return found->slab.self;
}

void port_rebuild(struct stack *s)
{
	static const enum slab_kind kinds[] = {SLAB_SOCK, SLAB_TCP_REQUEST, SLAB_TCP_TIMEWAIT};

	hash_clear(s, &s->ports);
	for (u32 i = 0; i < slab_touched(s, SLAB_PORT); i++) {
		struct port *p = slab_at(s, SLAB_PORT, i);

		if (p)
			p->open = p->connected = 0;
	}
	for (u32 k = 0; k < ARRAY_LEN(kinds); k++) {
		for (u32 i = 0; i < slab_touched(s, kinds[k]); i++) {
			struct conn *c = slab_at(s, kinds[k], i);
			struct port *p = c ? slab_get(s, SLAB_PORT, c->port) : NULL;

			if (p)
				list_add(s, p, c, c->bind & CONN_CONNECTED);
			else if (c)
				c->port = c->port_next = c->port_prev = 0;
		}
	}
	for (u32 i = 0; i < slab_touched(s, SLAB_PORT); i++) {
		struct port *p = slab_at(s, SLAB_PORT, i);

		if (p && (p->open || p->connected))
			hash_insert(s, &s->ports, port_hash(s, p->proto, p->number), p->slab.self);
		else if (p)
			slab_discard(s, p->slab.self);
	}
}
