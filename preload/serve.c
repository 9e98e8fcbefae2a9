/*
 * Who drives: reading frames from the device, serving timers, writing frames.
 *
 * Theory of operation. One party at a time reads the device, so that frames stay in order: the
 * holder of the role. `role` is one word:
 *
 *     bits 13..0 holder's slot + 1, 0 vacant | 15..14 its buffers | 16 reading | 31..17 count
 *
 * The count moves at each change of hands, so that whoever wakes up late finds that the role is no
 * longer his. A program thread that would block takes the role if it is vacant and sleeps in
 * ppoll(device, its bell, the caller's descriptors) until the engine's next deadline; when a frame
 * comes it sets `reading`, reads a batch without the lock into buffers that the role owns, and
 * hands the batch to the engine under one hold of the lock. Threads that find the role taken sleep
 * behind it. A thread that leaves the role wakes one of those to take it.
 *
 * Behind them all stands the keeper's loop (serve_run). It is woken by the same frames and timers;
 * if nobody has driven since it last served, it serves at once, else it stays away from the device
 * for a grace and serves only what is still there then. It may take the role from a holder that
 * sleeps, as that one finds out when it wakes; from one that is in the middle of reading only when
 * that thread is stopped, with other buffers.
 *
 * Frames to send are written after the release of the lock by whoever holds `tx`, a lock of its
 * own; a thread that finds it taken leaves its frames to the holder, who looks again after giving
 * it up.
 */
#include "preload/role.h"

#include "stack/frame.h"
#include "stack/netif.h"

#define TX_WAIT_NS (NS_PER_MS) /* for a device without room, before its frame is dropped */

_Static_assert(sizeof(struct stack_piece) == sizeof(struct iovec),
	"pieces are handed to the driver as they are");

bool role_take(struct host *host, const struct slot *slot, u32 more, u32 *mine)
{
	u32 role = role_load(host);

	if (role & ROLE_HOLDER || __atomic_load_n(&host->down, __ATOMIC_RELAXED))
		return false;
	*mine = role_pass(role, slot_index(slot) + 1) | more;
	return role_change(host, role, *mine);
}

void role_leave(struct host *host, u32 role)
{
	if (!role_change(host, role, role_pass(role, 0)))
		return;
	for (u32 i = 0; i < (host->slots + 63) / 64; i++) {
		u64 asleep = __atomic_load_n(&host->sleeping[i], __ATOMIC_SEQ_CST);
		struct slot *slot;

		if (!asleep)
			continue;
		slot = slot_at(i * 64 + (u32)__builtin_ctzll(asleep));
		__atomic_add_fetch(&slot->woken, 1, __ATOMIC_SEQ_CST);
		bell_wake(slot);
		return;
	}
}

u64 host_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * NS_PER_S + (u64)now.tv_nsec;
}

int serve_poll(struct pollfd *fds, u32 count, u64 until_ns, const sigset_t *mask)
{
	struct timespec timeout;
	u64 now, ns;

	if (until_ns == NEVER)
		return raw_ppoll(fds, count, NULL, mask);
	now = host_now();
	ns = until_ns > now ? until_ns - now : 0;
	timeout = (struct timespec){
		.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
	return raw_ppoll(fds, count, &timeout, mask);
}

/* --- reading --- */

void serve_fill(struct stack *s, struct rx_set *set)
{
	for (u32 i = 0; i < RX_BATCH; i++) {
		if (!set->buffer[i])
			set->buffer[i] = stack_rx_alloc(s);
	}
}

static void serve_empty(struct stack *s, struct rx_set *set)
{
	for (u32 i = 0; i < RX_BATCH; i++) {
		if (set->buffer[i])
			pkt_release(s, set->buffer[i]);
		set->buffer[i] = 0;
	}
	set->used = 0;
	set->owner = 0;
}

void serve_slot_dropped(struct stack *s, u32 index)
{
	struct host *host = host_local.host;
	u32 role = role_load(host);

	for (u32 i = 0; i < RX_SETS; i++) {
		if (host->rx[i].owner == index + 1)
			serve_empty(s, &host->rx[i]);
	}
	if ((role & ROLE_HOLDER) == index + 1)
		role_leave(host, role);
}

void serve_repair(struct stack *s)
{
	for (u32 i = 0; i < RX_SETS; i++) {
		struct rx_set *set = &host_local.host->rx[i];

		for (u32 k = 0; k < RX_BATCH; k++) {
			if (!stack_repair_hold(s, set->buffer[k]))
				set->buffer[k] = 0;
		}
	}
}

static void serve_capture(const struct iovec *iov, int count, const struct offload *offload)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	capture_frame(&host_local.capture, iov, count, offload,
		(u64)now.tv_sec * NS_PER_S + (u64)now.tv_nsec);
}

void serve_end(const char *reason)
{
	struct stack *s = host_enter();

	if (!host_local.host->down) {
		__atomic_store_n(&host_local.host->down, ENETDOWN, __ATOMIC_RELAXED);
		for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
			struct sock *sk = slab_at(s, SLAB_SOCK, i);

			if (sk)
				sock_fail(s, sk, ENETDOWN);
		}
		LOG(s, LOG_DEVICE, LOG_ERROR, "the host ends: %s", reason);
	}
	host_leave();
	bell_ring_keeper(host_local.host);
}

/* One frame into a packet. Its length, or a negative errno. */
static ssize_t serve_read_frame(struct pkt *p)
{
	ssize_t ret =
		tapio_read(&host_local.dev, p->data + p->start, p->room - p->start, &p->offload);

	if (ret < 0)
		return ret;
	p->end = p->start + (u32)ret;
	p->ifindex = NETIF_DEVICE;
	if (host_local.capture.fd >= 0) {
		struct iovec iov = {p->data + p->start, (size_t)ret};

		serve_capture(&iov, 1, &p->offload);
	}
	return ret;
}

/* The engine has no room at all: one frame is read and lost, or the device would stay readable. */
static void serve_discard(void)
{
	struct offload offload;
	u8 head[TAPIO_HEAD + 64];

	tapio_read(&host_local.dev, head + TAPIO_HEAD, 64, &offload);
}

/* Reads up to a batch into the buffers; how many. The caller holds the role and reads. */
static u32 serve_read(struct host *host, struct rx_set *set)
{
	struct stack *s = region_stack(&host_local);
	u32 n = 0;

	if (__atomic_load_n(&host->size, __ATOMIC_ACQUIRE) !=
		__atomic_load_n(&host_local.mapped, __ATOMIC_ACQUIRE)) {
		host_map_rest(); /* where the buffers may lie */
	}
	__atomic_store_n(&host->tx_since_read, 0, __ATOMIC_RELAXED);
	__atomic_add_fetch(&host->reads, 1, __ATOMIC_RELEASE);
	while (n < RX_BATCH) {
		struct pkt *p = pkt_get(s, set->buffer[n]);
		ssize_t ret = p ? serve_read_frame(p) : -ENOBUFS;

		if (ret == -EMSGSIZE)
			continue;
		if (ret == -ENOBUFS && n == 0)
			serve_discard();
		if (ret == -ENETDOWN)
			serve_end("the device has gone");
		if (ret < 0)
			break;
		n++;
	}
	return n;
}

/* Hands the frames to the engine; serves its timers too, as the time has come to look at them
 * anyway. */
static void serve_input(struct rx_set *set, u32 count, u32 role)
{
	struct stack *s = host_enter();

	for (u32 i = 0; i < count; i++) {
		ref r = set->buffer[i];

		set->buffer[i] = 0;
		stack_input(s, r);
	}
	if (stack_deadline(s) <= s->now_ns)
		stack_advance(s);
	if (role_load(host_local.host) == role)
		serve_fill(s, set);
	else
		serve_empty(s, set); /* the role was taken by force meanwhile */
	host_leave();
}

bool serve_batch(struct host *host, u32 role)
{
	struct rx_set *set = role_set(host, role);
	u32 count;

	if (!pkt_get(region_stack(&host_local), set->buffer[0]))
		serve_input(set, 0, role);
	count = serve_read(host, set);
	if (count || role_load(host) != role)
		serve_input(set, count, role);
	return count;
}

void serve_timers(void)
{
	stack_advance(host_enter());
	host_leave();
}

bool host_poll_device(void)
{
	struct host *host = host_local.host;
	struct slot *slot = slot_self();
	u32 role;
	bool came;

	if (!slot || !role_take(host, slot, ROLE_READING, &role))
		return false;
	came = serve_batch(host, role);
	role_leave(host, role);
	return came;
}

/* --- writing --- */

/* Waits a moment for a device that has no room. */
static void serve_tx_wait(void)
{
	struct pollfd fd = {.fd = host_local.dev.fd, .events = POLLOUT};
	struct timespec wait = {0, TX_WAIT_NS};

	raw_ppoll(&fd, 1, &wait, NULL);
}

static void serve_write_frame(struct stack *s)
{
	struct stack_piece piece[FRAME_PIECES + 1];
	const struct iovec *iov = (const struct iovec *)(const void *)piece;
	struct offload offload;
	int count = stack_tx_pieces(s, piece, &offload), ret = -ENOBUFS;

	if (count > 0)
		ret = tapio_write(&host_local.dev, iov, count, &offload);
	if (ret == -EAGAIN) {
		serve_tx_wait();
		ret = tapio_write(&host_local.dev, iov, count, &offload);
	}
	if (ret < 0)
		host_local.host->stats.frames_refused++;
	else if (host_local.capture.fd >= 0)
		serve_capture(iov, count, &offload);
	stack_tx_done(s);
}

void serve_transmit(void)
{
	struct host *host = host_local.host;
	struct stack *s = region_stack(&host_local);
	bool died;

	while (stack_tx_pending(s)) {
		if (__atomic_load_n(&host->size, __ATOMIC_ACQUIRE) !=
			__atomic_load_n(&host_local.mapped, __ATOMIC_ACQUIRE)) {
			host_map_rest();
			continue;
		}
		if (!lock_try(&host->tx, &died))
			return;
		if (stack_tx_pending(s)) {
			__atomic_store_n(&host->tx_since_read, 1, __ATOMIC_RELAXED);
			serve_write_frame(s);
		}
		lock_drop(&host->tx);
	}
}
