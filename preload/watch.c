/*
 * What the keeper watches: a table of descriptors by index, in chunks that are made as needed and
 * stay, with the free entries and those of each member in lists. So adding, ending and finding one
 * costs the same with a hundred thousand as with ten. No malloc: the keeper may be the copy of a
 * program with threads.
 */
#include "preload/watch.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#define CHUNK 1024u

static struct watches {
	int epoll;
	struct watch *chunk[WATCHES_MAX / CHUNK];
	u32 used;  /* entries ever used */
	u32 free_; /* index + 1 */
	u32 first[WATCH_NOBODY + 1];
	u32 count[WATCH_KINDS];
	u32 paused[4]; /* index + 1 */
	int timer;
	u64 timer_ns;
} watches = {.timer = -1, .timer_ns = NEVER};

int watch_init(void)
{
	watches.epoll = (int)raw_syscall1(SYS_epoll_create1, EPOLL_CLOEXEC);
	return watches.epoll;
}

struct watch *watch_of(u32 index)
{
	return index < watches.used ? &watches.chunk[index / CHUNK][index % CHUNK] : NULL;
}

struct watch *watch_event(u64 data)
{
	struct watch *w = watch_of((u32)data);

	return w && w->kind != WATCH_NONE && w->turn == (u32)(data >> 32) ? w : NULL;
}

struct watch *watch_first(u32 member)
{
	return watch_of(watches.first[member] - 1);
}

struct watch *watch_next(const struct watch *w)
{
	return watch_of(w->next - 1);
}

u32 watch_count(enum watch_kind kind)
{
	return watches.count[kind];
}

/* An entry that was never used. */
static struct watch *watch_fresh(void)
{
	struct watch **chunk = &watches.chunk[watches.used / CHUNK];
	struct watch *w;
	long made;

	if (watches.used == WATCHES_MAX)
		return NULL;
	if (!*chunk) {
		made = raw_mmap(NULL, CHUNK * sizeof(**chunk), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (raw_failed(made))
			return NULL;
		*chunk = (struct watch *)made;
	}
	w = &(*chunk)[watches.used % CHUNK];
	w->index = watches.used++;
	return w;
}

static void watch_link(struct watch *w, u32 member)
{
	u32 first = watches.first[member];

	w->member = member;
	w->prev = 0;
	w->next = first;
	if (first)
		watch_of(first - 1)->prev = w->index + 1;
	watches.first[member] = w->index + 1;
}

static void watch_unlink(struct watch *w)
{
	if (w->next)
		watch_of(w->next - 1)->prev = w->prev;
	if (w->prev)
		watch_of(w->prev - 1)->next = w->next;
	else
		watches.first[w->member] = w->next;
}

static long watch_control(const struct watch *w, int op, u32 events)
{
	struct epoll_event event = {.events = events, .data.u64 = w->index | (u64)w->turn << 32};

	return raw_syscall4(SYS_epoll_ctl, watches.epoll, op, w->fd, (long)&event);
}

struct watch *watch_add(int fd, enum watch_kind kind, u32 member, u32 events)
{
	struct watch *w = watch_of(watches.free_ - 1);

	if (w)
		watches.free_ = w->next;
	else
		w = watch_fresh();
	if (!w) {
		raw_close(fd);
		return NULL;
	}
	*w = (struct watch){.index = w->index, .fd = fd, .turn = w->turn + 1};
	if (watch_control(w, EPOLL_CTL_ADD, events) < 0) {
		w->next = watches.free_;
		watches.free_ = w->index + 1;
		raw_close(fd);
		return NULL;
	}
	w->kind = (u8)kind;
	watches.count[kind]++;
	watch_link(w, member);
	return w;
}

void watch_events(struct watch *w, u32 events)
{
	watch_control(w, EPOLL_CTL_MOD, events);
}

void watch_give(struct watch *w, u32 member)
{
	watch_unlink(w);
	watch_link(w, member);
}

void watch_timer(u64 until_ns)
{
	struct itimerspec at = {
		.it_value = {(time_t)(until_ns / NS_PER_S), (long)(until_ns % NS_PER_S)}};

	if (until_ns == NEVER)
		watches.timer_ns = NEVER;
	if (until_ns >= watches.timer_ns)
		return;
	if (watches.timer < 0) {
		watches.timer = (int)raw_syscall2(
			SYS_timerfd_create, CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		if (watches.timer < 0 ||
			!watch_add(watches.timer, WATCH_TIMER, WATCH_NOBODY, EPOLLIN)) {
			watches.timer = -1;
			return;
		}
	}
	watches.timer_ns = until_ns;
	raw_syscall4(SYS_timerfd_settime, watches.timer, TFD_TIMER_ABSTIME, (long)&at, 0);
}

void watch_pause(struct watch *w)
{
	u32 *place = watches.paused;

	while (*place && *place != w->index + 1)
		place++;
	*place = w->index + 1;
	watch_events(w, 0);
}

static void watch_resume(void)
{
	for (u32 i = 0; watches.paused[i]; i++) {
		watch_events(watch_of(watches.paused[i] - 1), EPOLLIN);
		watches.paused[i] = 0;
	}
}

void watch_end(struct watch *w)
{
	watch_control(w, EPOLL_CTL_DEL, 0);
	raw_close(w->fd);
	watch_unlink(w);
	watches.count[w->kind]--;
	w->kind = WATCH_NONE;
	w->next = watches.free_;
	watches.free_ = w->index + 1;
	watch_resume();
}
