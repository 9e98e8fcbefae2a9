/*
 * Reassembly of IPv4 fragments (RFC 791 3.2, RFC 1122 3.3.2).
 *
 * A datagram is found by (source, destination, protocol, identification). Its fragments wait in a
 * list in order of offset; the usual in-order arrival is O(1), others walk at most FRAGMENTS_MAX.
 * The memory of all is capped by ipfrag_high_thresh: the oldest datagrams go first, so that a flood
 * of fragments cannot hold on to it. A datagram ends complete; by its timer (ipfrag_time, Time
 * Exceeded if its first fragment is there, RFC 1122 3.3.2); evicted; or by an impossible fragment.
 *
 * A fragment that is exactly one already held is ignored. Any other overlap makes the whole
 * datagram suspect: it is discarded, and the entry stays until its timer to swallow what follows of
 * it. Tiny first fragments of TCP, and those that would overwrite its header, are refused (RFC
 * 1858, RFC 3128).
 */
#include <string.h>

#include "stack/bytes.h"
#include "stack/checksum.h"
#include "stack/ip.h"
#include "stack/reasm.h"
#include "stack/stack.h"

enum { FRAGMENTS_MAX = 256, PAYLOAD_MAX = 65535 - 20, TCP_HEADER = 20 };
enum { ECN_NOT_ECT = 0, ECN_CE = 3, ECN_MASK = 3 };
enum { ICMP_TIME = 11, ICMP_TIME_REASSEMBLY = 1 };

struct reasm_key {
	struct addr src, dst;
	u32 id, proto;
};

static struct reasm *reasm_get(struct stack *s, ref r)
{
	return slab_get(s, SLAB_REASM, r);
}

static u32 reasm_hash(const struct stack *s, const struct reasm_key *key)
{
	return (u32)siphash(&s->hash_key, key, sizeof(*key));
}

static struct reasm *reasm_find(struct stack *s, const struct reasm_key *key, u32 hash)
{
	ref r = 0;

	while ((r = hash_find(s, &s->reasms, hash, r))) {
		struct reasm *d = reasm_get(s, r);

		if (d && d->id == key->id && d->proto == key->proto &&
			addr_equal(&d->src, &key->src) && addr_equal(&d->dst, &key->dst))
			return d;
	}
	return NULL;
}

/* Releases the fragments, and what they were charged. */
static void reasm_purge(struct stack *s, struct reasm *d)
{
	u32 bound = FRAGMENTS_MAX;
	struct pkt *p;

	while (bound-- && (p = pkt_get(s, d->head))) {
		ref r = d->head;

		d->head = p->next;
		pkt_release(s, r);
	}
	d->head = d->tail = 0;
	d->fragments = 0;
	s->reasm_bytes -= d->charged;
	d->charged = 0;
}

static void reasm_free(struct stack *s, struct reasm *d)
{
	struct reasm *older = reasm_get(s, d->older), *newer = reasm_get(s, d->newer);
	ref r = d->slab.self;

	reasm_purge(s, d);
	*(older ? &older->newer : &s->reasm_oldest) = d->newer;
	*(newer ? &newer->older : &s->reasm_newest) = d->older;
	hash_remove(s, &s->reasms, r);
	wheel_cancel(s, r);
	slab_free(s, r);
}

static void reasm_evict(struct stack *s)
{
	counter_inc(s, counter_reasm_evicted);
	reasm_free(s, reasm_get(s, s->reasm_oldest));
}

static struct reasm *reasm_make(struct stack *s, const struct reasm_key *key, u32 hash)
{
	struct reasm *d, *newest;

	if (slab_in_use(s, SLAB_REASM) == s->slab[SLAB_REASM].limit)
		reasm_evict(s);
	d = reasm_get(s, slab_alloc(s, SLAB_REASM));
	if (!d)
		return NULL;
	d->src = key->src;
	d->dst = key->dst;
	d->id = (u16)key->id;
	d->proto = (u8)key->proto;
	newest = reasm_get(s, s->reasm_newest);
	d->older = s->reasm_newest;
	*(newest ? &newest->newer : &s->reasm_oldest) = d->slab.self;
	s->reasm_newest = d->slab.self;
	hash_insert(s, &s->reasms, hash, d->slab.self);
	wheel_arm(s, d->slab.self, s->now_ns + s->tunables.ipfrag_time_s * NS_PER_S);
	return d;
}

void reasm_expired(struct stack *s, ref r)
{
	struct reasm *d = reasm_get(s, r);
	struct pkt *first;

	if (!d)
		return;
	first = pkt_get(s, d->head);
	if (!d->discard) {
		counter_inc(s, counter_reasm_timeout);
		if (first && first->seq == 0)
			icmp_send_error(s, first, ICMP_TIME, ICMP_TIME_REASSEMBLY, 0);
	}
	reasm_free(s, d);
}

/* Nothing more of this datagram is accepted, until its timer. */
static void reasm_discard(struct stack *s, struct reasm *d, enum counter why)
{
	counter_inc(s, why);
	LOG(s, LOG_IP, LOG_INFO, "%s (from %A, id %u)", counter_text(why), &d->src, (u32)d->id);
	reasm_purge(s, d);
	d->discard = true;
}

static bool same_bytes(struct pkt *a, struct pkt *b)
{
	u32 len = pkt_len(a);

	return len == pkt_len(b) && !memcmp(pkt_peek(a, 0, len), pkt_peek(b, 0, len), len);
}

/* The last fragment that begins at or before offset, 0 when there is none. */
static ref reasm_before(struct stack *s, const struct reasm *d, u32 offset)
{
	struct pkt *p = pkt_get(s, d->tail);
	ref at = 0;

	if (p && p->seq <= offset)
		return d->tail;
	for (ref r = d->head; (p = pkt_get(s, r)) && p->seq <= offset; r = p->next)
		at = r;
	return at;
}

/* Links a fragment in its place. counter_reasm_needed when it is in; else the reason, and it is not
 * taken over. */
static enum counter reasm_link(struct stack *s, struct reasm *d, ref pkt)
{
	struct pkt *p = pkt_get(s, pkt), *before, *after;
	u32 end = p->seq + pkt_len(p);
	ref at = reasm_before(s, d, p->seq);

	before = pkt_get(s, at);
	if (before && before->seq == p->seq && same_bytes(before, p))
		return counter_reasm_duplicate;
	if (before && before->seq + pkt_len(before) > p->seq)
		return counter_reasm_overlap;
	after = pkt_get(s, before ? before->next : d->head);
	if ((after && after->seq < end) || (d->total && end > d->total))
		return counter_reasm_overlap;
	if (d->fragments == FRAGMENTS_MAX)
		return counter_reasm_too_many;
	p->next = before ? before->next : d->head;
	*(before ? &before->next : &d->head) = pkt;
	if (!p->next)
		d->tail = pkt;
	d->fragments++;
	d->received += pkt_len(p);
	d->charged += pkt_truesize(p);
	s->reasm_bytes += pkt_truesize(p);
	return counter_reasm_needed;
}

/* RFC 3168 5.3: CE wins over ECT; CE together with not-ECT makes the datagram invalid. */
static bool reasm_ecn_valid(const struct reasm *d)
{
	return (d->ecn_seen & (1u << ECN_CE | 1u << ECN_NOT_ECT)) !=
	       (1u << ECN_CE | 1u << ECN_NOT_ECT);
}

/* The whole datagram behind the header of its first fragment, in one packet; 0 without room. */
static ref reasm_join(struct stack *s, struct reasm *d)
{
	struct pkt *first = pkt_get(s, d->head), *whole;
	u32 header_len = first->start - first->l3, total = header_len + d->total;
	ref r = total <= 65535 ? pkt_alloc(s, total) : 0;
	u8 *h;

	whole = pkt_get(s, r);
	if (!whole)
		return 0;
	whole->l3 = whole->start;
	h = pkt_put(whole, header_len);
	memcpy(h, first->data + first->l3, header_len);
	if (d->ecn_seen & 1u << ECN_CE)
		h[1] |= ECN_CE;
	put16(h + 2, total);
	put16(h + 6, 0);
	put16(h + 10, 0);
	put16(h + 10, checksum_finish(checksum_add(0, h, header_len)));
	whole->tos = h[1];
	whole->ttl = first->ttl;
	whole->ifindex = first->ifindex;
	whole->time_ns = s->now_ns + s->realtime_offset_ns;
	whole->flags = first->flags & ~(u32)PKT_CSUM_OK;
	whole->from = first->from;
	whole->to = first->to;
	for (struct pkt *p = first; p; p = pkt_get(s, p->next)) {
		u8 *to = pkt_put(whole, pkt_len(p));

		if (to)
			memcpy(to, pkt_peek(p, 0, pkt_len(p)), pkt_len(p));
	}
	pkt_pull(whole, header_len);
	return r;
}

static ref reasm_complete(struct stack *s, struct reasm *d)
{
	ref r = 0;

	if (!reasm_ecn_valid(d)) {
		counter_inc(s, counter_reasm_ecn);
	} else {
		r = reasm_join(s, d);
		counter_inc(s, r ? counter_reasm_ok : counter_reasm_no_memory);
	}
	reasm_free(s, d);
	return r;
}

/* What can be said of a fragment alone; counter_reasm_needed when it is possible. */
static enum counter reasm_check(const struct pkt *p, u32 offset, bool more, u8 proto)
{
	u32 len = pkt_len(p), header_len = p->start - p->l3;

	if (!len || (more && len % 8) || offset + len > PAYLOAD_MAX + 20u - header_len)
		return counter_reasm_malformed;
	if (proto == PROTO_TCP && (offset == 8 || (offset == 0 && len < TCP_HEADER)))
		return counter_reasm_tiny;
	return counter_reasm_needed;
}

/* Adds the fragment; true when the datagram is whole. The packet is taken over or released. */
static bool reasm_add(struct stack *s, struct reasm *d, ref pkt, bool more)
{
	struct pkt *p = pkt_get(s, pkt), *last = pkt_get(s, d->tail);
	u32 end = p->seq + pkt_len(p);
	enum counter why;

	why = reasm_link(s, d, pkt);
	if (why == counter_reasm_needed && !more) {
		/* The end of the datagram: there is one, and nothing behind it. */
		bool wrong =
			(d->total && d->total != end) || (last && last->seq + pkt_len(last) > end);

		d->total = end;
		if (wrong) {
			reasm_discard(s, d, counter_reasm_overlap);
			return false;
		}
	}
	if (why == counter_reasm_needed) {
		d->ecn_seen |= (u8)(1u << (p->tos & ECN_MASK));
		return d->total && d->received == d->total;
	}
	pkt_release(s, pkt);
	if (why == counter_reasm_duplicate)
		counter_inc(s, why);
	else
		reasm_discard(s, d, why);
	return false;
}

ref reasm_input(struct stack *s, ref pkt, u32 offset, bool more, u16 id, u8 proto)
{
	struct pkt *p = pkt_get(s, pkt);
	struct reasm_key key = {p->from.addr, p->to.addr, id, proto};
	u32 hash = reasm_hash(s, &key);
	struct reasm *d = reasm_find(s, &key, hash);
	enum counter why;

	counter_inc(s, counter_reasm_needed);
	why = reasm_check(p, offset, more, proto);
	if (why != counter_reasm_needed) {
		counter_inc(s, why);
		if (d && !d->discard)
			reasm_free(s, d);
		pkt_release(s, pkt);
		return 0;
	}
	if (d && d->discard) {
		counter_inc(s, counter_reasm_discarding);
		pkt_release(s, pkt);
		return 0;
	}
	p->seq = offset;
	while (s->reasm_oldest &&
		s->reasm_bytes + pkt_truesize(p) > s->tunables.ipfrag_high_thresh) {
		if (d && s->reasm_oldest == d->slab.self)
			d = NULL;
		reasm_evict(s);
	}
	if (!d && !pkt_scarce(s))
		d = reasm_make(s, &key, hash);
	if (!d || pkt_scarce(s)) {
		counter_inc(s, counter_reasm_no_memory);
		pkt_release(s, pkt);
		return 0;
	}
	return reasm_add(s, d, pkt, more) ? reasm_complete(s, d) : 0;
}

/* What a chain of fragments amounts to; false when it is out of order or overlaps. */
static bool reasm_recount(struct stack *s, struct reasm *d)
{
	u32 end = 0, bound = FRAGMENTS_MAX;

	d->fragments = d->received = d->charged = 0;
	d->tail = 0;
	for (ref r = d->head; r && bound--;) {
		struct pkt *p = pkt_get(s, r);

		if (!p || p->seq < end)
			return false;
		end = p->seq + pkt_len(p);
		d->fragments++;
		d->received += pkt_len(p);
		d->charged += pkt_truesize(p);
		d->tail = r;
		r = p->next;
	}
	return !d->total || end <= d->total;
}

void reasm_rebuild(struct stack *s)
{
	hash_clear(s, &s->reasms);
	s->reasm_oldest = s->reasm_newest = 0;
	s->reasm_bytes = 0;
	for (u32 i = 0; i < slab_touched(s, SLAB_REASM); i++) {
		struct reasm *d = slab_at(s, SLAB_REASM, i),
			     *newest = reasm_get(s, s->reasm_newest);
		struct reasm_key key;
		bool whole;

		if (!d)
			continue;
		whole = reasm_recount(s, d);
		s->reasm_bytes += d->charged;
		if (!whole)
			reasm_purge(s, d);
		d->discard |= !whole || (d->total && d->received == d->total);
		key = (struct reasm_key){d->src, d->dst, d->id, d->proto};
		d->newer = 0;
		d->older = s->reasm_newest;
		*(newest ? &newest->newer : &s->reasm_oldest) = d->slab.self;
		s->reasm_newest = d->slab.self;
		hash_insert(s, &s->reasms, reasm_hash(s, &key), d->slab.self);
		if (!wheel_armed(s, d->slab.self))
			wheel_arm(
				s, d->slab.self, s->now_ns + s->tunables.ipfrag_time_s * NS_PER_S);
	}
}
