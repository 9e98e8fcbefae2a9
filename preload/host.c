/*
 * The host of this process: entering and leaving the engine, joining and forking, making a host.
 *
 * host_enter takes the lock, maps what the region has grown by, repairs what a dead owner left, and
 * sets the clock. host_leave hands out what changed, decides under the lock whom to wake, releases
 * it, and only then makes system calls: frames to the device, bells, log lines.
 */
#include "preload/region.h"

#include "preload/epoll.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>

#include "preload/fdtable.h"
#include "preload/guard.h"
#include "preload/wait.h"

#define LOG_BYTES   4096
#define STARTING    1u /* values of host_state */
#define STARTED	    2u
#define SETTLE_NS   (50 * NS_PER_MS)
#define GROWN_TRIES 10	     /* of SETTLE_NS each: the keeper of a busy machine comes late */
#define RETRY_NS    NS_PER_S /* after a failure to start, how long the next calls fail at once */

struct host_local host_local = {
	.region_fd = -1, .control_fd = -1, .log_fd = -1, .dev = {.fd = -1}, .capture = {.fd = -1}};

static __thread u32 fork_member; /* the child's number + 1, from the handler before a fork to the
				    one behind it */

void host_complain(const char *text)
{
	struct iovec iov[2] = {
		{(void *)(uintptr_t)text, strlen(text)}, {(void *)(uintptr_t) "\n", 1}};

	raw_writev(2, iov, 2);
}

bool host_up(void)
{
	return __atomic_load_n(&host_local.host, __ATOMIC_ACQUIRE) != NULL;
}

struct stack *host_stack(void)
{
	return host_local.host ? region_stack(&host_local) : NULL;
}

/* --- the lock --- */

static inline void host_lock(struct host *host)
{
	bool died = lock_take(&host->lock);

	if (host->size != host_local.mapped)
		region_extend(&host_local);
	if (__builtin_expect(died, 0))
		host_repair(region_stack(&host_local));
}

struct stack *host_enter(void)
{
	struct host *host = host_local.host;
	struct stack *s = region_stack(&host_local);
	u64 now = host_now();

	if (__builtin_expect(!*host_local.alive, 0))
		host_forked();
	host_lock(host);
	stack_clock(s, now);
	stack_tx_reclaim(s);
	return s;
}

void host_map_rest(void)
{
	host_enter();
	host_leave();
}

/* Under the lock: the log's lines, as many as fit. */
static u32 host_log_take(struct stack *s, char *text)
{
	u32 used = 0, n;

	while (s->log_head != s->log_tail && used < LOG_BYTES - 512) {
		n = log_read(s, text + used, LOG_BYTES - used - 1);
		if (!n)
			break;
		text[used + n] = '\n';
		used += n + 1;
	}
	return used;
}

static __attribute__((noinline, cold)) void host_log(struct stack *s)
{
	char text[LOG_BYTES];
	u32 n;

	do {
		host_lock(host_local.host);
		n = host_log_take(s, text);
		lock_drop(&host_local.host->lock);
		raw_write(host_local.log_fd, text, n);
	} while (n >= LOG_BYTES - 512);
}

/* Under the lock: who sleeps too long for the engine's next deadline. */
static void host_look_ahead(struct host *host, struct stack *s, struct bell_owed *owed)
{
	u64 next = stack_deadline(s);
	u32 holder;

	owed->driver = 0;
	owed->keeper = false;
	__atomic_store_n(&host->next_ns, next, __ATOMIC_SEQ_CST);
	if (next < __atomic_load_n(&host->driver_until_ns, __ATOMIC_SEQ_CST)) {
		holder = __atomic_load_n(&host->role, __ATOMIC_SEQ_CST) & 0x3fff;
		owed->driver =
			holder ? __atomic_load_n(&slot_at(holder - 1)->bell, __ATOMIC_ACQUIRE) : 0;
		__atomic_store_n(&host->driver_until_ns, next, __ATOMIC_SEQ_CST);
	}
	if (next != NEVER && next + KEEPER_GRACE_NS <
				     __atomic_load_n(&host->keeper_until_ns, __ATOMIC_SEQ_CST)) {
		owed->keeper = true;
		__atomic_store_n(&host->keeper_until_ns, next + KEEPER_GRACE_NS, __ATOMIC_SEQ_CST);
	}
	if ((s->wants_memory && host->size < host->limit) || host->due_count || host->due_all ||
		host->async_count)
		owed->keeper = true;
}

void host_leave(void)
{
	struct host *host = host_local.host;
	struct stack *s = region_stack(&host_local);
	struct bell_owed owed;
	bool log;

	wait_dispatch(s);
	bell_collect(host, &owed);
	host_look_ahead(host, s, &owed);
	log = host_local.log_fd >= 0 && s->log_head != s->log_tail;
	lock_drop(&host->lock);
	serve_transmit();
	bell_deliver(host, &owed);
	if (log)
		host_log(s);
}

/* --- starting --- */

/* In the page that a fork empties: a child starts over. */
struct host_page {
	u32 alive;
	u32 state; /* futex word: 0, STARTING or STARTED */
	u64 failed_ns;
};

static struct host_page *host_page;
static u32 host_complained;

static struct host_page *host_page_get(void)
{
	struct host_page *page = __atomic_load_n(&host_page, __ATOMIC_ACQUIRE), *none = NULL;
	long at;

	if (page)
		return page;
	at = raw_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (raw_failed(at))
		return NULL;
	raw_madvise((void *)at, 4096, MADV_WIPEONFORK);
	if (__atomic_compare_exchange_n(&host_page, &none, (struct host_page *)at, false,
		    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return (struct host_page *)at;
	raw_munmap((void *)at, 4096);
	return none;
}

/* Between which numbers the library's descriptors lie, for a quick answer. */
static void host_bound_fds(struct host_local *local)
{
	const int few[] = {local->region_fd, local->control_fd, local->dev.fd, local->capture.fd,
		local->log_fd};

	local->lowest_fd = INT32_MAX;
	local->highest_fd = -1;
	for (u32 i = 0; i < ARRAY_LEN(few) + HOST_BELLS; i++) {
		int fd = i < HOST_BELLS ? local->bell[i] : few[i - HOST_BELLS];

		if (fd >= 0 && fd < local->lowest_fd)
			local->lowest_fd = fd;
		if (fd > local->highest_fd)
			local->highest_fd = fd;
	}
}

void host_fork_prepare(void)
{
	if (!host_up())
		return;
	guard_enter();
	if (epoll_before_fork)
		epoll_before_fork();
	fork_member = join_fork(&host_local) + 1;
}

void host_fork_parent(void)
{
	if (!fork_member)
		return;
	fork_member = 0;
	join_fork_parent();
	guard_leave(false);
}

void host_fork_child(void)
{
	if (!fork_member)
		return;
	host_forked();
	guard_leave(false);
}

/*
 * A forked child finds itself: through the handler of fork, or at its first use of the host when it
 * came by other ways. Its number among the members, with all that its parent holds, was made before
 * the fork, or is made now.
 */
void host_forked(void)
{
	u32 none = 0, number = fork_member;

	if (!__atomic_compare_exchange_n(
		    &host_page->alive, &none, 2, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		while (__atomic_load_n(&host_page->alive, __ATOMIC_ACQUIRE) == 2)
			raw_syscall0(SYS_sched_yield);
		return;
	}
	fork_member = 0;
	lock_forked();
	lock_tid(); /* looks up this thread's robust list: a sandbox may forbid it later */
	fdtable_forked();
	host_local.epoch++;
	host_local.pid = (u32)raw_getpid();
	if (!number)
		number = join_fork(&host_local) + 1;
	host_local.member = number - 1;
	join_fork_child(&host_local);
	host_bound_fds(&host_local);
	__atomic_store_n(&host_page->state, STARTED, __ATOMIC_RELEASE);
	__atomic_store_n(&host_page->alive, 1, __ATOMIC_RELEASE);
}

/* What follows a join: from here on this process is a member. */
static int host_joined(struct host_page *page, struct host_local *local)
{
	const struct config_loaded *loaded = config_get();

	local->alive = &page->alive;
	local->pid = (u32)raw_getpid();
	local->uid = (u32)raw_syscall0(SYS_geteuid);
	if (local->log_fd < 0 && loaded->error == 0 && config_logs(&loaded->config))
		local->log_fd = raw_fcntl(2, F_DUPFD_CLOEXEC, local->control_fd);
	host_bound_fds(local);
	page->alive = 1;
	slot_thread_init();
	pthread_atfork(host_fork_prepare, host_fork_parent, host_fork_child);
	/* `host` comes first in it, and nobody looks at the rest before it is set. */
	memcpy(&host_local.mapped, &local->mapped,
		sizeof(*local) - offsetof(struct host_local, mapped));
	__atomic_store_n(&host_local.host, local->host, __ATOMIC_RELEASE);
	return 0;
}

/* early: nobody has asked yet, so nobody is told why not. */
static int host_try(struct host_page *page, bool early)
{
	const struct config_loaded *loaded = config_get();
	struct host_local local = host_local;
	char why[CONFIG_WHY_MAX + 32] = "ustack: ";
	size_t at = strlen(why);
	int ret = loaded->error;

	if (ret < 0)
		snprintf(why + at, sizeof(why) - at, "%s", loaded->why);
	else
		ret = join_host(&local, &loaded->config, why + at, sizeof(why) - at);
	if (ret == 0)
		return host_joined(page, &local);
	if (early)
		return ret;
	page->failed_ns = host_now();
	if (loaded->config.fallback != CONFIG_FALLBACK_KERNEL &&
		!__atomic_exchange_n(&host_complained, 1, __ATOMIC_RELAXED))
		host_complain(why);
	return -ENETDOWN;
}

/* Of several threads one starts, the others wait for it: true for that one. */
static bool host_begin(struct host_page *page)
{
	u32 state = 0;

	while (!__atomic_compare_exchange_n(
		&page->state, &state, STARTING, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		if (state == STARTED)
			return false;
		raw_futex(&page->state, FUTEX_WAIT, STARTING, NULL, NULL, 0);
		state = 0;
	}
	return true;
}

static int host_begun(struct host_page *page, int ret)
{
	__atomic_store_n(&page->state, ret == 0 ? STARTED : 0, __ATOMIC_RELEASE);
	raw_futex(&page->state, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	return ret;
}

int host_start(void)
{
	struct host_page *page = host_page_get();

	if (!page)
		return -ENETDOWN;
	if (host_up())
		return host_local.host->down ? -ENETDOWN : 0;
	if (!host_begin(page))
		return 0;
	if (page->failed_ns && host_now() - page->failed_ns < RETRY_NS)
		return host_begun(page, -ENETDOWN);
	return host_begun(page, host_try(page, false));
}

void host_start_early(void)
{
	struct host_page *page = host_page_get();

	if (page && !host_up() && host_begin(page))
		host_begun(page, host_try(page, true));
}

int host_start_at(const struct sockaddr_un *name, socklen_t len)
{
	struct host_page *page = host_page_get();
	struct host_local local;
	int ret;

	if (!page)
		return -ENOMEM;
	if (host_up() || !host_begin(page))
		return 0;
	local = host_local;
	ret = join_at(&local, name, len);
	return host_begun(page, ret < 0 ? ret : host_joined(page, &local));
}

/* --- the keeper's knowledge --- */

/*
 * What the kernel tells the keeper (a hang-up, the end of a process) is there before close() or
 * wait() return: so when the keeper has gone through what it was told, it knows.
 */
bool host_settle(void)
{
	struct host *host = host_local.host;
	u32 asked = __atomic_add_fetch(&host->settle_asked, 1, __ATOMIC_SEQ_CST), done;
	u64 end = host_now() + SETTLE_NS, now;

	bell_ring_keeper(host);
	while ((now = host_now()) < end) {
		struct timespec left = {0, (long)(end - now)};

		done = __atomic_load_n(&host->settle_done, __ATOMIC_SEQ_CST);
		if ((s32)(done - asked) >= 0)
			return true;
		raw_futex(&host->settle_done, FUTEX_WAIT, done, &left, NULL, 0);
	}
	return false;
}

u64 host_memory(void)
{
	return __atomic_load_n(&host_local.host->size, __ATOMIC_ACQUIRE);
}

bool host_grown(u64 size)
{
	const struct host *host = host_local.host;

	for (u32 i = 0; i < GROWN_TRIES && host_memory() == size; i++) {
		if (size >= host->limit || host_now() < host->grow_after_ns || host_settle())
			break;
	}
	return host_memory() != size;
}

void host_settled(u32 asked)
{
	__atomic_store_n(&host_local.host->settle_done, asked, __ATOMIC_SEQ_CST);
	raw_futex(&host_local.host->settle_done, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

int host_next_fd(int from)
{
	const int own[] = {host_local.region_fd, host_local.control_fd, host_local.dev.fd,
		host_local.capture.fd, host_local.log_fd};
	int next = INT32_MAX;

	if (!host_up() || from > host_local.highest_fd)
		return -1;
	for (u32 i = 0; i < ARRAY_LEN(own); i++)
		next = own[i] >= from ? MIN(next, own[i]) : next;
	for (u32 i = 0; i < HOST_BELLS; i++)
		next = host_local.bell[i] >= from ? MIN(next, host_local.bell[i]) : next;
	return next == INT32_MAX ? -1 : next;
}

bool host_owns_fd(int fd)
{
	if (!host_up() || fd < host_local.lowest_fd || fd > host_local.highest_fd)
		return false;
	return host_next_fd(fd) == fd;
}
