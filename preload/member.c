/*
 * Members: the processes that use the host, and which sockets each of them holds.
 *
 * A process holds a socket while any of its descriptor numbers names it. Its sockets are a bitmap
 * by slab index, in pages of 4 KiB that are handed out as needed; struct sock counts the processes.
 * The last process to let go closes the socket. A fork copies the bitmap before the child exists,
 * so that the parent's close right after it finds the child's hold; the death of a process lets go
 * of all that stands in its bitmap.
 */
#include "preload/region.h"

#include "preload/epoll.h"
#include "preload/splice.h"
#include "preload/wait.h"
#include "stack/tcp.h"

#define PAGE_BYTES     (HOLD_BITS / 8)
#define PAGES_PER_SPAN (SLAB_SPAN_BYTES / PAGE_BYTES)

static u64 *hold_page(const struct host *host, u32 page)
{
	char *span = stack_span(region_stack(&host_local), host->hold_span[page / PAGES_PER_SPAN]);

	return (u64 *)(void *)(span + (u64)(page % PAGES_PER_SPAN) * PAGE_BYTES);
}

/* A zeroed page: its number + 1, or 0 when there is no memory. */
static u16 hold_page_new(struct stack *s)
{
	struct host *host = host_local.host;
	u32 page = host->hold_free, span;

	if (page) {
		host->hold_free = (u32)*hold_page(host, page - 1);
		memset(hold_page(host, page - 1), 0, PAGE_BYTES);
		return (u16)page;
	}
	if (host->hold_pages == host->hold_spans * PAGES_PER_SPAN) {
		span = host->hold_spans < ARRAY_LEN(host->hold_span) ? stack_span_alloc(s) : 0;
		if (!span)
			return 0;
		host->hold_span[host->hold_spans] = span;
		host->hold_spans++;
	}
	return (u16)++host->hold_pages;
}

static void hold_page_free(struct host *host, u32 page)
{
	*hold_page(host, page - 1) = host->hold_free;
	host->hold_free = page;
}

/* The word and bit of a socket in a member's bitmap; NULL when there is no page for it. */
static u64 *hold_find(struct stack *s, u32 number, u32 index, bool make, u64 *bit)
{
	struct member *m = &host_local.host->member[number];
	u16 *page = &m->page[index / HOLD_BITS];

	if (!*page && make)
		*page = hold_page_new(s);
	if (!*page)
		return NULL;
	*bit = 1ull << index % 64;
	return hold_page(host_local.host, *page - 1u) + index % HOLD_BITS / 64;
}

u32 host_member(void)
{
	return host_local.member;
}

void host_hold(struct stack *s, ref r)
{
	struct sock *sk = sock_get(s, r);
	u64 bit, *word;

	if (!sk)
		return;
	word = hold_find(s, host_local.member, ref_index(r), true, &bit);
	if (word && *word & bit)
		return;
	if (word)
		*word |= bit;
	sk->holders++;
}

/* No process holds it any more. Whether a descriptor is left elsewhere a tether will tell. */
static u64 hold_ended(struct stack *s, struct sock *sk)
{
	if (sk->flags & SOCK_TETHERED)
		splice_due(s, sk);
	if (sk->flags & (SOCK_TETHERED | SOCK_ORPHAN))
		return 0;
	epoll_forget(s, sk->conn.slab.self);
	return sock_close(s, sk->conn.slab.self);
}

u64 host_unhold(struct stack *s, ref r)
{
	struct sock *sk = sock_get(s, r);
	u64 bit, *word;

	if (!sk)
		return 0;
	word = hold_find(s, host_local.member, ref_index(r), false, &bit);
	if (word && !(*word & bit))
		return 0;
	if (word)
		*word &= ~bit;
	if (sk->holders && --sk->holders)
		return 0;
	return hold_ended(s, sk);
}

void member_unhold_all(struct stack *s, ref r)
{
	struct host *host = host_local.host;
	struct sock *sk = sock_get(s, r);
	u32 kept = 0;

	epoll_forget(s, r);
	for (u32 i = 0; i < HOST_MEMBERS; i++) {
		u64 bit, *word = host->member[i].state == MEMBER_FREE
					 ? NULL
					 : hold_find(s, i, ref_index(r), false, &bit);

		if (!word || !(*word & bit))
			continue;
		if (wait_of_member(s, r, i))
			kept++;
		else
			*word &= ~bit;
	}
	sk->holders = kept;
	if (!kept)
		hold_ended(s, sk);
}

u32 member_new(struct stack *s, u32 state, u32 pid)
{
	struct host *host = host_local.host;
	u32 number = 0;

	while (number < HOST_MEMBERS && host->member[number].state != MEMBER_FREE)
		number++;
	if (number == HOST_MEMBERS)
		return number;
	memset(host->member[number].page, 0, sizeof(host->member[number].page));
	host->member[number].pid = pid;
	host->member[number].parent = HOST_MEMBERS;
	host->member[number].page[0] = hold_page_new(s);
	/* From here on it counts in a repair. */
	__atomic_store_n(&host->member[number].state, state, __ATOMIC_RELEASE);
	return number;
}

/* Calls visit for every socket of a page; the youngest first, as the kernel closes the files of a
 * process that ends. */
static void hold_walk(
	struct stack *s, u32 number, u32 nth, void (*visit)(struct stack *s, struct sock *sk))
{
	u32 page = host_local.host->member[number].page[nth];

	for (u32 i = HOLD_BITS / 64; page && i-- > 0;) {
		u64 bits = hold_page(host_local.host, page - 1)[i];

		while (bits) {
			u32 bit = 63u - (u32)__builtin_clzll(bits);
			struct sock *sk = slab_at(s, SLAB_SOCK, nth * HOLD_BITS + i * 64 + bit);

			bits &= ~(1ull << bit);
			if (sk)
				visit(s, sk);
		}
	}
}

static void hold_more(struct stack *s, struct sock *sk)
{
	(void)s;
	sk->holders++;
}

static void hold_less(struct stack *s, struct sock *sk)
{
	if (!sk->holders || --sk->holders == 0)
		hold_ended(s, sk);
}

u32 member_copy(struct stack *s, u32 parent)
{
	struct host *host = host_local.host;
	u32 number = member_new(s, MEMBER_BORN, host->member[parent].pid);

	if (number == HOST_MEMBERS)
		return number;
	host->member[number].parent = parent;
	epoll_forked(s, parent, number);
	for (u32 i = 0; i < HOLD_PAGES; i++) {
		u32 from = host->member[parent].page[i];
		u16 *to = &host->member[number].page[i];

		if (from && !*to)
			*to = hold_page_new(s);
		if (!from || !*to)
			continue;
		memcpy(hold_page(host, *to - 1u), hold_page(host, from - 1), PAGE_BYTES);
		hold_walk(s, number, i, hold_more);
	}
	return number;
}

void member_drop(struct stack *s, u32 number)
{
	struct host *host = host_local.host;
	struct member *m = &host->member[number];

	slot_drop_process(s, number);
	epoll_member_gone(s, number, member_count(host) == 1);
	for (u32 i = 0; i < HOLD_PAGES; i++) {
		u32 page = m->page[i];

		hold_walk(s, number, i, hold_less);
		m->page[i] = 0;
		if (page)
			hold_page_free(host, page);
	}
	m->state = MEMBER_FREE;
}

u32 member_count(const struct host *host)
{
	u32 count = 0;

	for (u32 i = 0; i < HOST_MEMBERS; i++)
		count += host->member[i].state != MEMBER_FREE;
	return count;
}

/* --- after a death inside the lock --- */

/* Pages that a member refers to are its own; all others are free. */
static void member_repair_pages(struct host *host)
{
	u64 used[ARRAY_LEN(host->hold_span) * PAGES_PER_SPAN / 64] = {0};

	host->hold_pages = MIN(host->hold_pages, host->hold_spans * PAGES_PER_SPAN);
	for (u32 i = 0; i < HOST_MEMBERS; i++) {
		u16 *page = host->member[i].page;

		for (u32 k = 0; k < HOLD_PAGES; k++) {
			u32 n = page[k] - 1u;

			if (host->member[i].state == MEMBER_FREE || n >= host->hold_pages)
				page[k] = 0;
			else
				used[n / 64] |= 1ull << n % 64;
		}
	}
	host->hold_free = 0;
	for (u32 n = 0; n < host->hold_pages; n++) {
		if (!(used[n / 64] >> n % 64 & 1))
			hold_page_free(host, n + 1);
	}
}

/* A connection that waits to be accepted is its listener's. */
static bool member_unaccepted(struct stack *s, const struct sock *sk)
{
	const struct tcp *t = slab_get(s, SLAB_TCP, sk->tcp);

	return t && t->listener;
}

void member_repair(struct stack *s)
{
	struct host *host = host_local.host;
	struct slot *slot;

	member_repair_pages(host);
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk)
			sk->holders = 0;
	}
	for (u32 i = 0; i < HOST_MEMBERS; i++) {
		for (u32 k = 0; k < HOLD_PAGES; k++)
			hold_walk(s, i, k, hold_more);
	}
	for (u32 i = 0; (slot = slot_at(i)); i++) {
		if (sock_get(s, slot->made))
			hold_more(s, sock_get(s, slot->made));
	}
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk && !sk->holders && !member_unaccepted(s, sk))
			hold_ended(s, sk);
	}
	for (u32 i = 0; (slot = slot_at(i)); i++) {
		struct sock *sk = sock_get(s, slot->made);

		if (sk)
			sk->holders--;
	}
}
