/*
 * The keeper: a small process that holds the host while nobody else does.
 *
 * It is started by the process that opens the first internet socket, detached from it (forked
 * twice, so that the program gets no SIGCHLD and no child to wait for; a session of its own; every
 * foreign descriptor closed), and does all that makes a host: the rendezvous first, as the arbiter
 * between two that start at once, then device, region, bells, engine. From then on it stands behind
 * the members (loop.c), makes the region larger, and watches the members: each has a connection to
 * it that is close-on-exec, and is known by a pidfd too. When a member's process ends or becomes
 * another program, its slots are freed and what it alone held is closed. When no member is left and
 * the engine is idle (TIME-WAIT included), the keeper gives back the device, then the name, and
 * ends.
 *
 * SIGTERM ends it as soon as no member is left and nothing waits to be delivered; `ustack down` at
 * once.
 */
#include "preload/watch.h"

#include <dlfcn.h>
#include <limits.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "preload/lend.h"
#include "preload/pump.h"
#include "preload/tether.h"

#define KEEPER_FD	3
#define BACKLOG		128
#define ROUNDS		64 /* of reading events, before the device has its turn */
#define UNSEEN_FIRST_NS (10 * NS_PER_S)
#define GROW_AGAIN_NS	NS_PER_S
#define GROW_STEP_MAX	(256ull << 20)

/* The state of the one keeper that a process can be. */
static struct keeper {
	struct config config;
	int epoll;
	int listener;
	int asker; /* of the end: its connection */
	bool end;  /* at once */
	bool soon; /* SIGTERM */
} keeper;

const char *keeper_own_path;
static const char keeper_here[] = ""; /* an address in this library */

/* --- becoming one --- */

struct keeper_sigaction {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	u64 mask;
};

/* No handler of the program may run here; what a terminal or a closed pipe sends is ignored;
 * SIGTERM comes as a descriptor. */
static void keeper_signals(void)
{
	static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGXFSZ, SIGTSTP, SIGTTIN,
		SIGTTOU, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD};
	u64 blocked = 1ull << (SIGTERM - 1);

	for (int i = 1; i <= 64; i++) {
		struct keeper_sigaction act = {.handler = SIG_DFL};

		raw_syscall4(SYS_rt_sigaction, i, (long)&act, 0, RAW_NSIG_BYTES);
	}
	for (u32 i = 0; i < ARRAY_LEN(ignored); i++) {
		struct keeper_sigaction act = {.handler = SIG_IGN};

		raw_syscall4(SYS_rt_sigaction, ignored[i], (long)&act, 0, RAW_NSIG_BYTES);
	}
	raw_sigprocmask(SIG_SETMASK, &blocked, NULL);
}

/* Keeps the connection (as KEEPER_FD) and nothing else that the program had open. */
static void keeper_descriptors(int fd)
{
	int null = raw_open("/dev/null", O_RDWR | O_CLOEXEC, 0);

	if (fd != KEEPER_FD)
		raw_dup3(fd, KEEPER_FD, 0);
	else
		raw_fcntl(fd, F_SETFD, 0);
	for (int i = 0; i < 3; i++) {
		if (null < 0)
			raw_close(i);
		else if (null != i)
			raw_dup3(null, i, 0);
	}
	if (raw_syscall3(SYS_close_range, KEEPER_FD + 1, UINT32_MAX, 0) < 0) {
		for (int i = KEEPER_FD + 1; i < 65536; i++)
			raw_close(i);
	}
}

/* When memory is short the programs go first, as far as the keeper may ask for that. */
static void keeper_spare(void)
{
	int fd = raw_open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return;
	raw_write(fd, "-900", 4);
	raw_close(fd);
}

/* The program's limits are not the keeper's: as far as they can be raised. */
static void keeper_limits(void)
{
	static const int kinds[] = {RLIMIT_FSIZE, RLIMIT_AS, RLIMIT_CPU, RLIMIT_DATA};
	struct rlimit files = {65536, 65536}, none = {RLIM_INFINITY, RLIM_INFINITY}, limit = {0, 0};

	for (u32 i = 0; i < ARRAY_LEN(kinds); i++) {
		if (raw_syscall4(SYS_prlimit64, 0, kinds[i], (long)&none, 0) == 0 ||
			raw_syscall4(SYS_prlimit64, 0, kinds[i], 0, (long)&limit) < 0)
			continue;
		limit.rlim_cur = limit.rlim_max;
		raw_syscall4(SYS_prlimit64, 0, kinds[i], (long)&limit, 0);
	}
	keeper_spare();
	if (raw_syscall4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit) < 0 ||
		limit.rlim_cur >= files.rlim_cur)
		return;
	if (raw_syscall4(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)&files, 0) < 0) {
		limit.rlim_cur = limit.rlim_max;
		raw_syscall4(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)&limit, 0);
	}
}

static long keeper_fork(int exit_signal)
{
	return raw_syscall5(SYS_clone, exit_signal, 0, 0, 0, 0);
}

static _Noreturn void keeper_exit(int status)
{
	for (;;)
		raw_syscall1(SYS_exit_group, status);
}

/* What the child needs to know to become the `ustack` command; made before the fork. */
struct keeper_program {
	char path[2][PATH_MAX]; /* where it may be */
	char layout[20];
	const char *name;
};

/* The command beside the library (build folder), or in ../bin (installed). */
static void keeper_find(struct keeper_program *program, const struct config *config)
{
	static const char *const places[] = {"ustack", "../bin/ustack"};
	const char *slash;
	Dl_info info;

	memset(program, 0, sizeof(*program));
	program->name = config->name;
	snprintf(program->layout, sizeof(program->layout), "%llx",
		(unsigned long long)host_layout());
	if (keeper_own_path) {
		snprintf(program->path[0], PATH_MAX, "%s", keeper_own_path);
		return;
	}
	if (!dladdr(keeper_here, &info) || !info.dli_fname)
		return;
	slash = strrchr(info.dli_fname, '/');
	for (u32 i = 0; slash && i < ARRAY_LEN(places); i++)
		snprintf(program->path[i], PATH_MAX, "%.*s/%s", (int)(slash - info.dli_fname),
			info.dli_fname, places[i]);
}

/*
 * Becoming the command gives back the memory copied from the program, its name and its locks. Where
 * that cannot be, the copy does as well: it makes no use of anything that a thread of the program
 * may have been in the middle of.
 */
static void keeper_exec(const struct keeper_program *program)
{
	const char *argv[] = {"ustack", "keeper", program->layout, program->name, NULL},
		   *env[] = {NULL};

	for (u32 i = 0; i < ARRAY_LEN(program->path); i++) {
		if (program->path[i][0])
			raw_syscall3(SYS_execve, (long)program->path[i], (long)argv, (long)env);
	}
}

/* In the child of the child. */
static _Noreturn void keeper_become(int fd, const struct keeper_program *program)
{
	raw_syscall0(SYS_setsid);
	keeper_signals();
	keeper_descriptors(fd);
	if (program)
		keeper_exec(program);
	lock_forked();
	keeper_exit(keeper_run(KEEPER_FD) < 0);
}

static int keeper_launch(const struct config *config, const int *fds, u32 count, bool in_place)
{
	struct keeper_program program;
	struct timeval patience = {.tv_sec = 10};
	u64 all = ~0ull, before;
	int pair[2] = {-1, -1},
	    ret = raw_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
	long child;

	if (ret < 0)
		return ret;
	raw_setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	join_send(pair[0], config, sizeof(*config), fds, count);
	keeper_find(&program, config);
	/* No handler of the program may run in the child: its memory is a copy, but its files are
	 * the same. */
	raw_sigprocmask(SIG_SETMASK, &all, &before);
	child = keeper_fork(0);
	if (child == 0) {
		long grandchild = keeper_fork(SIGCHLD);

		if (grandchild == 0)
			keeper_become(pair[1], in_place ? NULL : &program);
		keeper_exit(grandchild < 0);
	}
	if (child > 0) {
		while (raw_syscall4(SYS_wait4, child, 0, __WALL, 0) == -EINTR) {
		}
	}
	raw_sigprocmask(SIG_SETMASK, &before, NULL);
	raw_close(pair[1]);
	if (child < 0)
		raw_close(pair[0]);
	return child < 0 ? (int)child : pair[0];
}

int keeper_start(const struct config *config, bool in_place)
{
	return keeper_launch(config, NULL, 0, in_place);
}

int keeper_start_again(const struct host_local *local)
{
	const struct host *host = local->host;
	int fds[JOIN_FDS];
	u32 count = 0;

	fds[count++] = local->region_fd;
	fds[count++] = local->dev.fd;
	if (host->has_capture)
		fds[count++] = local->capture.fd;
	if (host->has_log)
		fds[count++] = local->log_fd;
	for (u32 i = 0; i < host->bells; i++)
		fds[count++] = local->bell[i];
	for (u32 i = 0; i < count; i++) {
		if (fds[i] < 0) /* a member that has not been given all can't pass it on */
			return -EBADF;
	}
	return keeper_launch(&host->config, fds, count, false);
}

/* --- what it watches --- */

static void keeper_asked_for(
	struct watch *w, const struct join_request *request, const int *fds, u32 count);

static struct watch *keeper_watch(int fd, enum watch_kind kind, u32 member)
{
	return watch_add(fd, kind, member, EPOLLIN);
}

/* What a member has still said before its end: above all, of children. */
static void keeper_last_words(u32 member)
{
	struct join_request request;
	struct watch *w, *next;
	int fds[JOIN_FDS];
	u32 count;

	for (w = watch_first(member); w; w = next) {
		next = watch_next(w);
		if (w->kind != WATCH_CONNECTION)
			continue;
		raw_fcntl(w->fd, F_SETFL, O_NONBLOCK);
		while (join_recv(w->fd, &request, sizeof(request), fds, &count) ==
			(ssize_t)sizeof(request))
			keeper_asked_for(w, &request, fds, count);
	}
}

/* A member is gone: everything of it goes, as do children that it has not come to make. */
static void keeper_member_gone(u32 member)
{
	struct watch *w;
	struct stack *s;

	keeper_last_words(member);
	while ((w = watch_first(member)))
		watch_end(w);
	s = host_enter();
	for (u32 i = 0; i < HOST_MEMBERS; i++) {
		const struct member *m = &host_local.host->member[i];

		if (m->state == MEMBER_BORN && m->parent == member && !watch_first(i))
			member_drop(s, i);
	}
	member_drop(s, member);
	host_local.host->stats.members_died++;
	host_leave();
	bell_sweep(host_local.host);
}

static bool keeper_dead(int pidfd)
{
	struct pollfd fd = {.fd = pidfd, .events = POLLIN};
	struct timespec none = {0, 0};

	return raw_ppoll(&fd, 1, &none, NULL) > 0;
}

/*
 * Does the process still have the region mapped? A connection also ends when the program closes
 * every descriptor by a raw system call; one that has become another program has the region no
 * more.
 */
static bool keeper_still_mapped(u32 pid)
{
	char text[4096], path[32];
	ssize_t n;
	u32 kept = 0;
	bool found = false;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/maps", pid);
	fd = raw_open(path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	while (!found && (n = raw_read(fd, text + kept, sizeof(text) - kept)) > 0) {
		size_t have = kept + (size_t)n;

		found = memmem(text, have, "memfd:ustack", 12);
		kept = (u32)MIN(have, 11);
		memmove(text, text + have - kept, kept);
	}
	raw_close(fd);
	return found;
}

/* The connection of a member has ended. */
static void keeper_hangup(struct watch *w)
{
	u32 member = w->member;

	watch_end(w);
	if (member == HOST_MEMBERS)
		return;
	for (const struct watch *p = watch_first(member); p; p = watch_next(p)) {
		if (p->kind == WATCH_PROCESS && !keeper_dead(p->fd) &&
			keeper_still_mapped(host_local.host->member[member].pid))
			return;
	}
	keeper_member_gone(member);
}

/* --- answering --- */

void keeper_refuse(int fd, int status, const char *why)
{
	struct join_reply reply = {.status = status};

	snprintf(reply.why, sizeof(reply.why), "%s", why);
	join_send(fd, &reply, sizeof(reply), NULL, 0);
}

static void keeper_accept_member(struct watch *w, const struct join_request *request, int pidfd)
{
	struct join_reply reply = {.status = 0};
	int fds[JOIN_FDS];
	u32 count = 0;

	reply.member = member_new(host_enter(), MEMBER_LIVE, request->pid);
	host_leave();
	if (reply.member == HOST_MEMBERS) {
		keeper_refuse(w->fd, -ENFILE, "the host has as many processes as it can have");
		raw_close(pidfd);
		return;
	}
	watch_give(w, reply.member);
	reply.size = host_local.host->size;
	reply.dev = host_local.dev;
	reply.has_capture = host_local.capture.fd >= 0;
	reply.has_log = host_local.log_fd >= 0;
	fds[count++] = host_local.region_fd;
	fds[count++] = host_local.dev.fd;
	if (reply.has_capture)
		fds[count++] = host_local.capture.fd;
	if (reply.has_log)
		fds[count++] = host_local.log_fd;
	for (u32 i = 0; i < HOST_BELLS && host_local.bell[i] >= 0; i++)
		fds[count++] = host_local.bell[i];
	if (pidfd >= 0)
		keeper_watch(pidfd, WATCH_PROCESS, reply.member);
	if (join_send(w->fd, &reply, sizeof(reply), fds, count) < 0)
		keeper_hangup(w);
}

/* Is it this host that is asked for? Refuses when not. */
static bool keeper_fits(const struct watch *w, const struct join_request *request)
{
	struct addr ours = keeper.config.address.item[0].addr;
	char why[CONFIG_WHY_MAX];
	u32 ip = addr_get4(&ours);

	if (request->layout != host_layout()) {
		keeper_refuse(w->fd, -EPROTO,
			"the host was started by another version of ustack: end it with `ustack "
			"down`");
		return false;
	}
	if (request->op == JOIN_CLAIM || addr_equal(&ours, &request->address))
		return true;
	snprintf(why, sizeof(why),
		"the host %s runs already, with the address %u.%u.%u.%u: use that address, or "
		"another device or name, or "
		"end it with `ustack down`",
		keeper.config.name, ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
	keeper_refuse(w->fd, -EADDRINUSE, why);
	return false;
}

/* Does what a request asks for; takes over the descriptor that came with it. */
static void keeper_answer(struct watch *w, const struct join_request *request, int fd)
{
	bool member = w->member != HOST_MEMBERS;

	if (request->op == JOIN_END) {
		keeper.end = true;
		keeper.asker = w->fd;
	} else if (request->op == JOIN_FORK && fd >= 0 && request->member < HOST_MEMBERS) {
		keeper_watch(fd, WATCH_CONNECTION, request->member);
		return;
	} else if (request->op == JOIN_BORN && fd >= 0 && member) {
		keeper_watch(fd, WATCH_PROCESS, w->member);
		return;
	} else if (request->op == JOIN_AGAIN && !member && request->member < HOST_MEMBERS) {
		if (host_local.host->member[request->member].state == MEMBER_FREE) {
			keeper_refuse(w->fd, -ESRCH, "taken for dead");
		} else {
			watch_give(w, request->member);
			keeper_refuse(w->fd, 0, "");
			if (fd >= 0)
				keeper_watch(fd, WATCH_PROCESS, w->member);
			return;
		}
	} else if (request->op == JOIN_STAY && keeper_fits(w, request)) {
		host_local.host->stay = 1;
		keeper_refuse(w->fd, 0, "");
	} else if ((request->op == JOIN_MEMBER || request->op == JOIN_CLAIM) && !member &&
		   keeper_fits(w, request)) {
		keeper_accept_member(w, request, fd);
		return;
	}
	if (fd >= 0)
		raw_close(fd);
}

static void keeper_asked_for(
	struct watch *w, const struct join_request *request, const int *fds, u32 count)
{
	if (request->op == JOIN_LEND && w->member != HOST_MEMBERS) {
		lend_answer(fds, count);
		return;
	}
	for (u32 i = 1; i < count; i++)
		raw_close(fds[i]);
	keeper_answer(w, request, count ? fds[0] : -1);
}

static void keeper_request(struct watch *w)
{
	struct join_request request;
	int fds[JOIN_FDS];
	u32 count = 0;
	ssize_t n = join_recv(w->fd, &request, sizeof(request), fds, &count);

	if (n == -EAGAIN)
		return;
	if (n < (ssize_t)sizeof(request)) {
		keeper_hangup(w);
		return;
	}
	keeper_asked_for(w, &request, fds, count);
}

static void keeper_connection(struct watch *listener)
{
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);
	int fd = (int)raw_syscall4(SYS_accept4, listener->fd, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd == -EMFILE || fd == -ENFILE)
		watch_pause(listener);
	if (fd < 0)
		return;
	raw_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	if (peer.uid == (uid_t)raw_syscall0(SYS_geteuid) || peer.uid == 0)
		keeper_watch(fd, WATCH_CONNECTION, HOST_MEMBERS);
	else
		raw_close(fd);
}

/* --- what comes by time --- */

static void keeper_timer(struct watch *w)
{
	u64 count, now = host_now();

	raw_read(w->fd, &count, sizeof(count));
	watch_timer(NEVER);
	watch_timer(tether_look(now));
	watch_timer(unseen_look(now));
	watch_timer(pump_look(now));
	watch_timer(lend_look(now));
}

static void keeper_event(struct watch *w, u32 events)
{
	switch (w ? w->kind : WATCH_NONE) {
	case WATCH_LISTENER:
		keeper_connection(w);
		break;
	case WATCH_SIGNAL:
		keeper.soon = true;
		watch_end(w);
		break;
	case WATCH_CONNECTION:
		keeper_request(w);
		break;
	case WATCH_PROCESS:
		keeper_member_gone(w->member);
		break;
	case WATCH_TETHERS:
		tether_accept(w);
		break;
	case WATCH_TETHER:
		tether_event(w->index, events);
		break;
	case WATCH_TIMER:
		keeper_timer(w);
		break;
	case WATCH_LENT:
		watch_end(w);
		lend_check();
		break;
	default:
		break;
	}
}

/* --- the loop --- */

static void keeper_grow(struct host *host)
{
	struct stack *s = region_stack(&host_local);
	u64 size = host->size;

	if (!s->wants_memory || size >= host->limit || host_now() < host->grow_after_ns)
		return;
	size = region_grow(&host_local, size + MIN(size, GROW_STEP_MAX));
	if (size == host->size) {
		host->grow_after_ns = host_now() + GROW_AGAIN_NS;
		return;
	}
	s = host_enter();
	__atomic_store_n(&host->size, size, __ATOMIC_RELEASE);
	region_extend(&host_local);
	stack_grow(s, size - HOST_BYTES);
	host->stats.grown++;
	host_leave();
}

/* Somebody has connected and is about to become a member, or to ask for something else. */
static bool keeper_asked(void)
{
	for (const struct watch *w = watch_first(HOST_MEMBERS); w; w = watch_next(w)) {
		if (w->kind == WATCH_CONNECTION)
			return true;
	}
	return false;
}

/* Nothing is left that needs a keeper. */
static bool keeper_done(void)
{
	const struct host *host = host_local.host;
	struct stack *s = region_stack(&host_local);

	if (keeper.end || host->down)
		return true;
	if ((host->stay && !keeper.soon) || member_count(host) || keeper_asked())
		return false;
	if (tether_pending())
		return false;
	return keeper.soon ? !s->tcp_orphans && !stack_tx_pending(s) : stack_idle(s);
}

/* Goes through all that the kernel has to tell. */
static void keeper_listen_to(void)
{
	struct epoll_event event[64];
	long n;

	for (u32 i = 0; i < ROUNDS; i++) {
		n = raw_syscall6(SYS_epoll_pwait, keeper.epoll, (long)event, ARRAY_LEN(event), 0, 0,
			RAW_NSIG_BYTES);
		for (long k = 0; k < n; k++)
			keeper_event(watch_event(event[k].data.u64), event[k].events);
		if (n <= 0)
			return;
	}
}

static void keeper_control(bool readable, bool rung)
{
	struct host *host = host_local.host;
	u32 asked = __atomic_load_n(&host->settle_asked, __ATOMIC_SEQ_CST);
	bool settle = asked != __atomic_load_n(&host->settle_done, __ATOMIC_SEQ_CST);

	if (rung || settle)
		keeper_grow(host);
	if (rung) {
		bell_sweep(host);
		async_send();
	}
	if (settle)
		lend_check();
	if (readable || settle)
		keeper_listen_to();
	if (readable || rung)
		pump_serve();
	if (settle)
		host_settled(asked);
}

/* Binds the rendezvous: -EADDRINUSE when another keeper has it. */
static int keeper_listen(void)
{
	struct sockaddr_un name;
	socklen_t len = join_name(&keeper.config, &name);
	int fd = raw_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), ret;

	if (fd < 0)
		return fd;
	ret = raw_bind(fd, (struct sockaddr *)&name, len);
	if (ret == 0)
		ret = (int)raw_syscall2(SYS_listen, fd, BACKLOG);
	if (ret < 0)
		raw_close(fd);
	return ret < 0 ? ret : fd;
}

static int keeper_watch_all(int fd)
{
	struct sockaddr_un name;
	u64 term = 1ull << (SIGTERM - 1);
	int signals = (int)raw_syscall4(
		SYS_signalfd4, -1, (long)&term, RAW_NSIG_BYTES, SFD_CLOEXEC | SFD_NONBLOCK);

	keeper.epoll = watch_init();
	if (keeper.epoll < 0)
		return keeper.epoll;
	if (signals >= 0)
		keeper_watch(signals, WATCH_SIGNAL, WATCH_NOBODY);
	keeper_watch(keeper.listener, WATCH_LISTENER, WATCH_NOBODY);
	raw_fcntl(fd, F_SETFL, O_NONBLOCK);
	keeper_watch(fd, WATCH_CONNECTION, HOST_MEMBERS);
	watch_timer(host_now() + UNSEEN_FIRST_NS);
	return tether_listen(&name, join_name(&keeper.config, &name));
}

static void keeper_found(u32 member, int pidfd)
{
	keeper_watch(pidfd, WATCH_PROCESS, member);
}

int keeper_run(int fd)
{
	struct serve_loop loop = {
		.grace_ns = KEEPER_GRACE_NS, .control = keeper_control, .done = keeper_done};
	char why[CONFIG_WHY_MAX] = "";
	u32 count = 0;
	int fds[JOIN_FDS], ret;

	raw_fcntl(fd, F_SETFD, FD_CLOEXEC);
	raw_syscall1(SYS_chdir, (long)"/");
	raw_syscall5(SYS_prctl, PR_SET_NAME, (long)"ustack-keeper", 0, 0, 0);
	keeper_limits();
	if (join_recv(fd, &keeper.config, sizeof(keeper.config), fds, &count) !=
		sizeof(keeper.config))
		return -EPROTO;
	keeper.listener = keeper_listen();
	if (keeper.listener < 0) {
		keeper_refuse(fd, keeper.listener == -EADDRINUSE ? -EAGAIN : keeper.listener,
			"cannot make the host's rendezvous socket");
		return keeper.listener;
	}
	ret = count ? again_take_over(fds, count, why, sizeof(why))
		    : host_create(&keeper.config, why, sizeof(why));
	if (ret == 0) {
		ret = keeper_watch_all(fd);
		if (ret < 0)
			snprintf(why, sizeof(why), "cannot start the host: %s", strerror(-ret));
	}
	if (ret < 0) {
		keeper_refuse(fd, ret, why);
		return ret;
	}
	if (count)
		again_members(keeper_found, keeper_member_gone);
	loop.control_fd = keeper.epoll;
	serve_run(&loop);
	if (keeper.end)
		serve_end("by order");
	/* The name last: who finds it free must find the device and the other names free, too. */
	tapio_close(&host_local.dev);
	/* Who asked for the end takes its connection's for the sign that the name is free. */
	if (keeper.end)
		raw_dup3(keeper.asker, keeper.listener + 1, O_CLOEXEC);
	raw_syscall3(SYS_close_range, 0, keeper.listener - 1, 0);
	raw_syscall3(SYS_close_range, keeper.listener + (keeper.end ? 2 : 1), UINT32_MAX, 0);
	raw_close(keeper.listener);
	return 0;
}
