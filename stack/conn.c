/*
 * The connection table: whatever has both ends (sockets, handshakes, TIME-WAIT), by protocol and
 * four-tuple.
 *
 * The hash is keyed with the host's secret, so that nobody outside can choose tuples that collide
 * (attack J9). UDP sockets may stand in it twice with the same tuple (SO_REUSEADDR); the first
 * found is as good as the other.
 */
#include "stack/bytes.h"
#include "stack/sock_proto.h"

static u32 conn_hash(const struct stack *s, u8 proto, const struct endpoint *local,
	const struct endpoint *remote)
{
	u8 key[37];
	u32 len = 0;

	/* An IPv4 tuple fits two words of SipHash; the mapped prefix of its addresses says nothing.
	 */
	if (local->addr.family == FAMILY_INET) {
		memcpy(key, local->addr.b + 12, 4);
		memcpy(key + 4, remote->addr.b + 12, 4);
		len = 8;
	} else {
		memcpy(key, local->addr.b, 16);
		memcpy(key + 16, remote->addr.b, 16);
		len = 32;
	}
	put16(key + len, local->port);
	put16(key + len + 2, remote->port);
	key[len + 4] = proto;
	return (u32)siphash(&s->hash_key, key, len + 5);
}

struct conn *conn_get(struct stack *s, ref r)
{
	switch (ref_kind(r)) {
	case SLAB_SOCK:
	case SLAB_TCP_REQUEST:
	case SLAB_TCP_TIMEWAIT:
		return slab_get(s, ref_kind(r), r);
	default:
		return NULL;
	}
}

void conn_insert(struct stack *s, struct conn *c)
{
	hash_insert(s, &s->conns, conn_hash(s, c->proto, &c->local, &c->remote), c->slab.self);
	if (ref_kind(c->slab.self) == SLAB_SOCK)
		((struct sock *)(void *)c)->flags |= SOCK_HASHED;
	port_move(s, c, true);
}

void conn_remove(struct stack *s, struct conn *c)
{
	hash_remove(s, &s->conns, c->slab.self);
	if (ref_kind(c->slab.self) == SLAB_SOCK)
		((struct sock *)(void *)c)->flags &= ~(u32)SOCK_HASHED;
	port_move(s, c, false);
}

ref conn_lookup(
	struct stack *s, u8 proto, const struct endpoint *local, const struct endpoint *remote)
{
	u32 hash = conn_hash(s, proto, local, remote);

	for (ref r = hash_find(s, &s->conns, hash, 0); r; r = hash_find(s, &s->conns, hash, r)) {
		const struct conn *c = conn_get(s, r);

		if (c && c->proto == proto && endpoint_equal(&c->local, local) &&
			endpoint_equal(&c->remote, remote))
			return r;
	}
	return 0;
}

void conn_rebuild(struct stack *s)
{
	static const enum slab_kind kinds[] = {SLAB_SOCK, SLAB_TCP_REQUEST, SLAB_TCP_TIMEWAIT};

	hash_clear(s, &s->conns);
	for (u32 k = 0; k < ARRAY_LEN(kinds); k++) {
		for (u32 i = 0; i < slab_touched(s, kinds[k]); i++) {
			struct conn *c = slab_at(s, kinds[k], i);
			const struct sock *sk = (const struct sock *)(const void *)c;

			if (!c || (kinds[k] == SLAB_SOCK && !(sk->flags & SOCK_HASHED)))
				continue;
			hash_insert(s, &s->conns, conn_hash(s, c->proto, &c->local, &c->remote),
				c->slab.self);
		}
	}
}
