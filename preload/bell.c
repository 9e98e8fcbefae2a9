/*
 * Waking threads, in this process and others.
 *
 * A thread sleeps on the futex word of its slot, or in ppoll with a bell: one of a pool of eventfds
 * that all members have, claimed for the time of the sleep. Who wakes it counts `woken` up first
 * and looks how it sleeps afterwards; the sleeper says how it will sleep first and looks at `woken`
 * afterwards: one of the two sees the other. A bell that is heard too late by its last owner wakes
 * the next one for nothing, which looks again.
 *
 * Under the lock a wake-up is only decided (host_wake): it is owed. host_leave delivers what is
 * owed after the release. A process that dies in between leaves `owed` set in the slot, and whoever
 * cleans up behind it delivers (bell_sweep).
 */
#include "preload/region.h"

#include <linux/futex.h>

int bell_claim(struct host *host)
{
	u32 used = __atomic_load_n(&host->bells_used, __ATOMIC_RELAXED);

	for (u32 i = 1; i < HOST_BELLS; i++) {
		if (used & 1u << i || host_local.bell[i] < 0)
			continue;
		used = __atomic_fetch_or(&host->bells_used, 1u << i, __ATOMIC_ACQUIRE);
		if (!(used & 1u << i))
			return (int)i;
	}
	return -1;
}

void bell_release(struct host *host, u32 bell)
{
	__atomic_fetch_and(&host->bells_used, ~(1u << bell), __ATOMIC_RELEASE);
}

void bell_ring(u32 bell)
{
	u64 one = 1;

	if (bell < HOST_BELLS && host_local.bell[bell] >= 0)
		raw_write(host_local.bell[bell], &one, sizeof(one));
	else
		bell_ring_keeper(host_local.host);
}

void bell_drain(u32 bell)
{
	u64 count;

	raw_read(host_local.bell[bell], &count, sizeof(count));
}

void bell_ring_keeper(struct host *host)
{
	u64 one = 1;

	if (__atomic_exchange_n(&host->keeper_rung, 1, __ATOMIC_SEQ_CST))
		return;
	/* A bell that this process has lost must not keep the others from ringing. */
	if (raw_write(host_local.bell[0], &one, sizeof(one)) < 0)
		__atomic_store_n(&host->keeper_rung, 0, __ATOMIC_SEQ_CST);
}

void bell_wake(struct slot *slot)
{
	u32 bell;

	switch (__atomic_load_n(&slot->sleeping, __ATOMIC_SEQ_CST)) {
	case 1:
		raw_futex(&slot->woken, FUTEX_WAKE, 1, NULL, NULL, 0);
		break;
	case 2:
		bell = __atomic_load_n(&slot->bell, __ATOMIC_ACQUIRE);
		/* A bell that this process was not given is rung by the keeper, which has all. */
		if (bell && host_local.bell[bell - 1] < 0)
			__atomic_store_n(&slot->owed, 1, __ATOMIC_SEQ_CST);
		if (bell)
			bell_ring(bell - 1);
		break;
	default:
		break;
	}
}

void host_wake(u32 index)
{
	struct host *host = host_local.host;
	struct slot *slot = slot_at(index);

	__atomic_add_fetch(&slot->woken, 1, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&slot->sleeping, __ATOMIC_SEQ_CST) ||
		__atomic_load_n(&slot->owed, __ATOMIC_SEQ_CST))
		return;
	__atomic_store_n(&slot->owed, 1, __ATOMIC_SEQ_CST);
	if (host->owed_count < ARRAY_LEN(host->owed))
		host->owed[host->owed_count] = index;
	host->owed_count++;
}

void host_interrupt(struct slot *slot)
{
	__atomic_store_n(&slot->interrupted, 1, __ATOMIC_RELEASE);
	__atomic_add_fetch(&slot->woken, 1, __ATOMIC_SEQ_CST);
	bell_wake(slot);
}

/* Under the lock: what host_leave has to deliver after the release. */
void bell_collect(struct host *host, struct bell_owed *owed)
{
	owed->sweep = host->owed_count > ARRAY_LEN(host->owed);
	owed->count = owed->sweep ? 0 : host->owed_count;
	memcpy(owed->slot, host->owed, owed->count * sizeof(owed->slot[0]));
	host->owed_count = 0;
}

static void bell_pay(struct slot *slot)
{
	if (__atomic_exchange_n(&slot->owed, 0, __ATOMIC_SEQ_CST))
		bell_wake(slot);
}

void bell_sweep(struct host *host)
{
	for (u32 i = 0; i < host->slots; i++)
		bell_pay(slot_at(i));
}

void bell_deliver(struct host *host, const struct bell_owed *owed)
{
	for (u32 i = 0; i < owed->count; i++)
		bell_pay(slot_at(owed->slot[i]));
	if (owed->sweep)
		bell_sweep(host);
	if (owed->driver)
		bell_ring(owed->driver - 1);
	if (owed->keeper)
		bell_ring_keeper(host);
}
