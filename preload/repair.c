/*
 * After a death inside the lock: the next owner puts the host right.
 *
 * The engine makes anew what follows from its objects, and mends what was cut in the middle
 * (stack/repair.c). The same is done here for what this folder keeps in the region. What is trusted
 * are the entries themselves, each of which gets the field by which it counts last: a waiter its
 * object, an item of epoll its set, a member its state. Made anew are the lists that they hang in,
 * the counts of holders, and the free pages of bitmaps. What the dead thread had made and nobody
 * names is closed. Whoever waits is woken and looks again.
 *
 * Others go on meanwhile outside of the lock: they copy into and from the packets of their plans,
 * and the driver reads into its buffers. Those keep their places.
 */
#include "preload/region.h"

#include "preload/epoll.h"
#include "preload/splice.h"
#include "preload/wait.h"

void host_repair(struct stack *s)
{
	struct host *host = host_local.host;
	struct slot *slot;

	host->stats.owners_died++;
	stack_repair_begin(s);
	for (u32 i = 0; (slot = slot_at(i)); i++)
		stack_repair_plan(s, &slot->plan);
	serve_repair(s);
	stack_repair_end(s);
	wait_repair(s);
	epoll_repair(s);
	member_repair(s);
	splice_repair();
	LOG(s, LOG_HOST, LOG_WARN, "a thread died inside the lock");
	/* Whom the dead one wanted to wake; whoever looks next has something to do. */
	host->owed_count = ARRAY_LEN(host->owed) + 1;
	__atomic_store_n(&host->next_ns, 0, __ATOMIC_SEQ_CST);
	bell_ring_keeper(host);
}
