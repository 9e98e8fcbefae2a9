/*
 * Processes of one host that are killed while they serve verified transfers.
 *
 *   kills run PORT KILLS INSIDE SEED TABLE
 *
 * 8 workers on the stack; kills one of them KILLS times, INSIDE of these at least within the host's
 * lock.
 *
 *   kills client ADDRESS PORT THREADS TABLE
 *
 * Transfers, until the run is over.
 *
 *   kills server PORT TABLE
 *
 * The same service by a process that nobody kills.
 *
 *   kills end TABLE
 *
 * Ends the clients where there is no run, and says whether they saw anything wrong.
 *
 * All map the file TABLE, in which the run notes when it killed which worker. A client's connection
 * may end early only if its worker was killed; what it carried until then must have been right. In
 * the end the host must have nothing more in use than in the beginning.
 *
 * A transfer is a request (seed, bytes up, bytes down), the bytes up, a word that says whether they
 * were right, the bytes down. A connection begins with the worker's number.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/region.h"
#include "stack/tcp.h"

#define WORKERS	  8
#define KILLS_MAX 20000
#define IMMORTAL  (KILLS_MAX + WORKERS + 1)
#define RIGHT	  0x600d600du
#define BYTES_MAX 300000u
#define STUCK_S	  20
#define SPINS	  300000u

struct table {
	u64 killed_ns[IMMORTAL + 1]; /* by worker, 0: not */
	u32 killed;
	u32 clients; /* that run */
	u32 over;    /* clients end */
	u64 transfers, bytes, lost, wrong;
	char why[200];
};

struct request {
	u32 seed, up, down;
};

static struct table *table;

static u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * NS_PER_S + (u64)now.tv_nsec;
}

static void table_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	if (fd < 0 || ftruncate(fd, sizeof(*table)) < 0)
		exit(2);
	table = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (table == MAP_FAILED)
		exit(2);
}

static void wrong(const char *format, u64 a, u64 b)
{
	if (__atomic_add_fetch(&table->wrong, 1, __ATOMIC_SEQ_CST) == 1)
		snprintf(table->why, sizeof(table->why), format, (unsigned long long)a,
			(unsigned long long)b);
}

/* Byte `at` of a stream. */
static u8 content(u32 seed, u32 at)
{
	u32 x = (at >> 2) * 2654435761u ^ seed;

	x ^= x >> 15;
	x *= 2246822519u;
	x ^= x >> 13;
	return (u8)(x >> 8 * (at & 3));
}

static void fill(u8 *p, u32 seed, u32 at, u32 n)
{
	for (u32 i = 0; i < n; i++)
		p[i] = content(seed, at + i);
}

static bool matches(const u8 *p, u32 seed, u32 at, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		if (p[i] != content(seed, at + i))
			return false;
	}
	return true;
}

static bool send_all(int fd, const void *p, size_t n)
{
	for (ssize_t ret; n; n -= (size_t)ret, p = (const char *)p + ret) {
		ret = send(fd, p, n, MSG_NOSIGNAL);
		if (ret <= 0)
			return false;
	}
	return true;
}

/* Bytes received; less than n at the end or an error. */
static size_t receive_all(int fd, void *p, size_t n)
{
	size_t got = 0;

	while (got < n) {
		ssize_t ret = recv(fd, (char *)p + got, n - got, 0);

		if (ret <= 0)
			break;
		got += (size_t)ret;
	}
	return got;
}

static bool send_stream(int fd, u32 seed, u32 n)
{
	u8 buf[16384];

	for (u32 at = 0, part; at < n; at += part) {
		part = MIN(n - at, (u32)sizeof(buf));
		fill(buf, seed, at, part);
		if (!send_all(fd, buf, part))
			return false;
	}
	return true;
}

/* False at the end or an error; *right tells of what came. */
static bool receive_stream(int fd, u32 seed, u32 n, bool *right)
{
	u8 buf[16384];

	for (u32 at = 0, part, got; at < n; at += part) {
		part = MIN(n - at, (u32)sizeof(buf));
		got = (u32)receive_all(fd, buf, part);
		*right &= matches(buf, seed, at, got);
		if (got < part)
			return false;
	}
	return true;
}

static struct sockaddr_in address(const char *ip, int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
		.sin_addr.s_addr = inet_addr(ip),
		.sin_port = htons((u16)port)};
}

/* --- a worker that blocks: a thread for each connection --- */

static u32 number; /* the worker's */

static void serve(int fd)
{
	struct request r;

	if (!send_all(fd, &number, sizeof(number)))
		return;
	while (receive_all(fd, &r, sizeof(r)) == sizeof(r)) {
		bool right = true;
		u32 answer;

		if (!receive_stream(fd, r.seed, r.up, &right))
			break;
		answer = right ? RIGHT : 0;
		if (!send_all(fd, &answer, sizeof(answer)) || !send_stream(fd, ~r.seed, r.down))
			break;
	}
}

static void *serve_thread(void *fd)
{
	serve((int)(intptr_t)fd);
	close((int)(intptr_t)fd);
	return NULL;
}

static void work_with_threads(int listener)
{
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		pthread_attr_t attr;
		pthread_t thread;

		if (fd < 0)
			_exit(3);
		pthread_attr_init(&attr);
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		pthread_create(&thread, &attr, serve_thread, (void *)(intptr_t)fd);
	}
}

/* --- a worker that multiplexes: one epoll set --- */

struct peer {
	int fd;
	enum { PEER_REQUEST, PEER_UP, PEER_DOWN } state;
	struct request r;
	u32 at; /* bytes of this state done */
	bool right;
	u32 head; /* the worker's number or the answer, before what is sent */
	u32 head_at;
};

/* Goes on until it would block: false when the connection is over. */
static bool peer_read(struct peer *p)
{
	u8 buf[16384];
	u32 want;
	ssize_t n;

	if (p->state == PEER_REQUEST) {
		n = recv(p->fd, (char *)&p->r + p->at, sizeof(p->r) - p->at, 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		p->at += (u32)n;
		if (p->at == sizeof(p->r)) {
			p->state = PEER_UP;
			p->at = 0;
			p->right = true;
		}
	}
	while (p->state == PEER_UP && p->at < p->r.up) {
		want = MIN(p->r.up - p->at, (u32)sizeof(buf));
		n = recv(p->fd, buf, want, 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		p->right &= matches(buf, p->r.seed, p->at, (u32)n);
		p->at += (u32)n;
	}
	if (p->state == PEER_UP && p->at == p->r.up) {
		p->state = PEER_DOWN;
		p->at = 0;
		p->head = p->right ? RIGHT : 0;
		p->head_at = 0;
	}
	return true;
}

static bool peer_write(struct peer *p)
{
	u8 buf[16384];
	u32 want;
	ssize_t n;

	while (p->head_at < sizeof(p->head)) {
		n = send(p->fd, (char *)&p->head + p->head_at, sizeof(p->head) - p->head_at,
			MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN;
		p->head_at += (u32)n;
	}
	while (p->state == PEER_DOWN && p->at < p->r.down) {
		want = MIN(p->r.down - p->at, (u32)sizeof(buf));
		fill(buf, ~p->r.seed, p->at, want);
		n = send(p->fd, buf, want, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN;
		p->at += (u32)n;
	}
	if (p->state == PEER_DOWN && p->at == p->r.down) {
		p->state = PEER_REQUEST;
		p->at = 0;
	}
	return true;
}

static void peer_run(int set, struct peer *p)
{
	struct epoll_event event = {.data.ptr = p};
	bool alive = peer_read(p) && peer_write(p);

	if (!alive) {
		close(p->fd);
		free(p);
		return;
	}
	event.events = p->state == PEER_DOWN || p->head_at < sizeof(p->head) ? EPOLLOUT : EPOLLIN;
	epoll_ctl(set, EPOLL_CTL_MOD, p->fd, &event);
}

static void work_with_epoll(int listener)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE}, out[16];
	int set = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(set, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int n = epoll_wait(set, out, 16, -1);

		for (int i = 0; i < n; i++) {
			struct peer *p = out[i].data.ptr;
			int fd = p ? -1 : accept4(listener, NULL, NULL, SOCK_NONBLOCK);

			if (fd >= 0) {
				p = calloc(1, sizeof(*p));
				p->fd = fd;
				p->head = number;
				event = (struct epoll_event){.events = EPOLLOUT, .data.ptr = p};
				epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
			} else if (p) {
				peer_run(set, p);
			}
		}
	}
}

/* --- a client --- */

struct client {
	struct sockaddr_in server;
	u32 seed;
};

static u32 draw(u32 *seed, u32 below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (u32)((u64)(*seed >> 4) * below >> 28);
}

static bool killed_between(u64 from, u64 to)
{
	for (u32 i = 0; i < IMMORTAL; i++) {
		u64 at = __atomic_load_n(&table->killed_ns[i], __ATOMIC_ACQUIRE);

		if (at >= from && at <= to)
			return true;
	}
	return false;
}

/* A connection ended early: was its worker killed before? */
static void lost(u32 worker, u64 began, const char *what)
{
	u64 now = now_ns();

	__atomic_add_fetch(&table->lost, 1, __ATOMIC_RELAXED);
	if (worker == UINT32_MAX ? !killed_between(began - NS_PER_S, now)
				 : worker > IMMORTAL || !table->killed_ns[worker])
		wrong(what, worker, (now - began) / NS_PER_MS);
}

/* One transfer: false when the connection ended. */
static bool transfer(int fd, u32 *seed)
{
	u32 most = draw(seed, 4) ? 3000 : BYTES_MAX;
	struct request r = {.seed = *seed, .up = draw(seed, most), .down = draw(seed, most)};
	bool right = true;
	u32 answer;

	if (!send_all(fd, &r, sizeof(r)) || !send_stream(fd, r.seed, r.up) ||
		receive_all(fd, &answer, sizeof(answer)) < sizeof(answer))
		return false;
	if (answer != RIGHT)
		wrong("what a worker received was wrong: %#llx of %llu bytes", answer, r.up);
	if (!receive_stream(fd, ~r.seed, r.down, &right) && right)
		return false;
	if (!right)
		wrong("what a client received was wrong (%llu bytes up, %llu down)", r.up, r.down);
	__atomic_add_fetch(&table->transfers, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&table->bytes, r.up + r.down, __ATOMIC_RELAXED);
	return right;
}

static void client_connection(struct client *c)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	u32 worker = UINT32_MAX, left = 1 + draw(&c->seed, 30);
	u64 began = now_ns();

	if (fd < 0) {
		wrong("no socket: %llu (%llu)", (u64)errno, 0);
	} else if (connect(fd, (struct sockaddr *)&c->server, sizeof(c->server)) < 0) {
		wrong("a connect failed: %llu (%llu)", (u64)errno, 0);
	} else if (receive_all(fd, &worker, sizeof(worker)) < sizeof(worker)) {
		lost(UINT32_MAX, began,
			"a connection was lost before it was served (%llu, %llu ms)");
	} else {
		while (left-- && !table->over && !table->wrong) {
			if (!transfer(fd, &c->seed)) {
				lost(worker, began,
					"a connection of worker %llu was lost after %llu ms");
				break;
			}
		}
	}
	close(fd);
}

static void *client_thread(void *arg)
{
	struct client *c = arg;

	while (!table->over && !table->wrong)
		client_connection(c);
	return NULL;
}

static int client(const char *ip, int port, int threads)
{
	struct client c[64];
	pthread_t thread[64];

	__atomic_add_fetch(&table->clients, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < threads; i++) {
		c[i] = (struct client){
			.server = address(ip, port), .seed = (u32)(getpid() * 64 + i)};
		pthread_create(&thread[i], NULL, client_thread, &c[i]);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	__atomic_sub_fetch(&table->clients, 1, __ATOMIC_SEQ_CST);
	return table->wrong != 0;
}

static int listen_on(int port)
{
	struct sockaddr_in name = address("0.0.0.0", port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0 || listen(fd, 500) < 0) {
		perror("listen");
		exit(2);
	}
	return fd;
}

/* --- the host, seen from outside --- */

static struct host *host;
static size_t host_mapped;
static unsigned long
	lock_address; /* where the library has mapped the lock's word, here and in the workers */

/* The region of this process's host, mapped again. */
static void host_map(void)
{
	char path[64], name[64];

	if (host)
		munmap(host, host_mapped);
	host = NULL;
	for (int fd = 3; fd < 65536 && !host; fd++) {
		ssize_t n;
		struct stat st;
		int again;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, name, sizeof(name) - 1);
		name[n > 0 ? n : 0] = 0;
		if (strncmp(name, "/memfd:ustack", 13) != 0)
			continue;
		again = open(path, O_RDONLY | O_CLOEXEC);
		fstat(again, &st);
		host_mapped = (size_t)st.st_size;
		host = mmap(NULL, host_mapped, PROT_READ, MAP_SHARED, again, 0);
		close(again);
	}
	if (!host || host == MAP_FAILED)
		exit(2);
}

static void find_lock(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[400];

	while (maps && fgets(line, sizeof(line), maps)) {
		if (strstr(line, "/memfd:ustack") && strstr(line, "rw-s 00000000"))
			lock_address = strtoul(line, NULL, 16) + offsetof(struct host, lock.word);
	}
	if (maps)
		fclose(maps);
}

static struct stack *engine(void)
{
	return (struct stack *)(void *)((char *)host + HOST_BYTES);
}

/* What must be given back: objects by kind, and more. */
enum { MEMBERS = SLAB_KINDS, SLOTS, BELLS, DESCRIPTORS, USAGES };
struct usage {
	u32 used[USAGES];
};

static pid_t keeper_pid(void)
{
	char path[300], text[64], mine[64] = "", theirs[64];
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	pid_t pid = 0;

	if (readlink("/proc/self/ns/net", mine, sizeof(mine) - 1) < 0)
		exit(2);
	while (dir && !pid && (entry = readdir(dir))) {
		FILE *f;

		memset(theirs, 0, sizeof(theirs));
		snprintf(path, sizeof(path), "/proc/%s/ns/net", entry->d_name);
		if (readlink(path, theirs, sizeof(theirs) - 1) < 0 || strcmp(mine, theirs) != 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		f = fopen(path, "r");
		if (f && fgets(text, sizeof(text), f) && strncmp(text, "ustack-keeper", 13) == 0)
			pid = atoi(entry->d_name);
		if (f)
			fclose(f);
	}
	closedir(dir);
	return pid;
}

static u32 descriptors(pid_t pid)
{
	char path[64];
	u32 n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

static struct usage usage(void)
{
	struct usage u = {.used[DESCRIPTORS] = descriptors(keeper_pid())};

	/* What is cached or bounded by time is none of it: neighbours, TIME-WAIT and its ports, and
	 * packets to receive into. */
	for (u32 kind = SLAB_PKT_SMALL; kind < SLAB_KINDS; kind++) {
		if (kind != SLAB_NEIGH && kind != SLAB_TCP_TIMEWAIT && kind != SLAB_PORT &&
			kind != SLAB_TASK)
			u.used[kind] = engine()->slab[kind].in_use;
	}
	for (u32 i = 0; i < RX_SETS; i++)
		for (u32 k = 0; k < RX_BATCH; k++)
			u.used[SLAB_PKT_LARGE] -= host->rx[i].buffer[k] != 0;
	for (u32 i = 0; i < HOST_MEMBERS; i++)
		u.used[MEMBERS] += host->member[i].state != MEMBER_FREE;
	for (u32 i = 0; i < SLOTS_FIRST; i++)
		u.used[SLOTS] += host->slot[i].tid != 0;
	u.used[BELLS] = (u32)__builtin_popcount(host->bells_used);
	return u;
}

static bool usage_grown(const struct usage *before, const struct usage *after, bool say)
{
	static const char *const names[USAGES] = {[SLAB_PKT_SMALL] = "small packets",
		[SLAB_PKT_MEDIUM] = "medium packets",
		[SLAB_PKT_LARGE] = "large packets",
		[SLAB_FRAME] = "frames",
		[SLAB_SOCK] = "sockets",
		[SLAB_TCP] = "connections",
		[SLAB_TCP_REQUEST] = "requests",
		[SLAB_EPOLL_SET] = "epoll sets",
		[SLAB_EPOLL_ITEM] = "epoll items",
		[SLAB_WAITER] = "waiters",
		[MEMBERS] = "members",
		[SLOTS] = "slots",
		[BELLS] = "bells",
		[DESCRIPTORS] = "descriptors of the keeper"};
	bool grown = false;

	for (u32 kind = 1; kind < USAGES; kind++) {
		if (after->used[kind] > before->used[kind] && say)
			printf("left over: %u %s (kind %u)\n",
				after->used[kind] - before->used[kind],
				names[kind] ? names[kind] : "objects", kind);
		grown |= after->used[kind] > before->used[kind];
	}
	return grown;
}

/* --- the run --- */

static struct {
	pid_t pid;
	u32 number;
} worker[WORKERS];
static u32 workers_made;

static void start_worker(u32 i, int listener)
{
	worker[i].number = workers_made++;
	worker[i].pid = fork();
	if (worker[i].pid < 0)
		exit(2);
	if (worker[i].pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	number = worker[i].number;
	if (number % 2)
		work_with_threads(listener);
	work_with_epoll(listener);
}

/* traced: a thread that may be traced, 0 none. */
static void kill_worker(u32 i, u32 traced)
{
	__atomic_store_n(&table->killed_ns[worker[i].number], now_ns(), __ATOMIC_RELEASE);
	kill(worker[i].pid, SIGKILL);
	if (traced && traced != (u32)worker[i].pid)
		while (waitpid((pid_t)traced, NULL, __WALL) > 0) {
		}
	waitpid(worker[i].pid, NULL, 0);
	__atomic_add_fetch(&table->killed, 1, __ATOMIC_RELAXED);
}

static bool inside(u32 tid)
{
	return (__atomic_load_n(&host->lock.word, __ATOMIC_RELAXED) & FUTEX_TID_MASK) == tid;
}

/* A thread of a worker that works, as it owns the host's lock just now; 0: none. */
static u32 busy_thread(u32 *its_worker)
{
	static struct {
		u32 tid, worker;
	} thread[256];
	u64 end = now_ns() + 30 * NS_PER_MS;
	u32 threads = 0;

	for (u32 k = 0; k < SLOTS_FIRST && threads < ARRAY_LEN(thread); k++) {
		for (u32 i = 0; host->slot[k].tid && i < WORKERS; i++) {
			if (host->slot[k].pid != (u32)worker[i].pid)
				continue;
			thread[threads].tid = host->slot[k].tid;
			thread[threads++].worker = i;
		}
	}
	while (now_ns() < end) {
		u32 word = __atomic_load_n(&host->lock.word, __ATOMIC_RELAXED) & FUTEX_TID_MASK;

		for (u32 k = 0; word && k < threads; k++) {
			*its_worker = thread[k].worker;
			if (thread[k].tid == word)
				return word;
		}
	}
	return 0;
}

/* A traced thread has stopped; false when it sleeps or has ended. */
static bool stopped(u32 tid)
{
	int status;

	for (u32 i = 0; i < 20000; i++) {
		pid_t pid = waitpid((pid_t)tid, &status, __WALL | WNOHANG);

		if (pid < 0)
			return false;
		if (pid)
			return WIFSTOPPED(status);
		if (i > 100)
			usleep(1);
	}
	return false;
}

static bool step(u32 tid, enum __ptrace_request request)
{
	return ptrace(request, tid, 0, 0) == 0 && stopped(tid);
}

/* Has a thread stop when it writes the lock's word; false: the machine cannot. */
static bool stop_at_lock(u32 tid)
{
#if defined(__x86_64__)
	const size_t address = offsetof(struct user, u_debugreg[0]),
		     control = offsetof(struct user, u_debugreg[7]);

	return ptrace(PTRACE_POKEUSER, tid, address, lock_address) == 0 &&
	       ptrace(PTRACE_POKEUSER, tid, control, 1 | 1 << 16 | 3 << 18) == 0;
#else
	(void)tid;
	return false;
#endif
}

/* Leads a thread into the lock, and some instructions on. */
static bool lead_inside(u32 tid, u32 *seed)
{
	u32 instructions = draw(seed, 1u << draw(seed, 13));
	bool ours;

	if (ptrace(PTRACE_SEIZE, tid, 0, 0) < 0 || ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0 ||
		!stopped(tid))
		return false;
	ours = stop_at_lock(tid);
	for (u32 tries = 0; tries < 100; tries++) {
		for (; instructions && inside(tid); instructions--) {
			if (!step(tid, PTRACE_SINGLESTEP))
				return false;
		}
		if (inside(tid))
			return true;
		if (!step(tid, ours ? PTRACE_CONT : PTRACE_SINGLESTEP))
			return false;
	}
	return false;
}

static u32 kill_inside(u32 *seed)
{
	u32 i = WORKERS, tid = busy_thread(&i);

	if (!tid)
		i = draw(seed, WORKERS);
	else
		lead_inside(tid, seed);
	kill_worker(i, tid);
	return i;
}

static void watch_progress(void)
{
	static u64 seen, since;

	if (seen != table->transfers || !since) {
		seen = table->transfers;
		since = now_ns();
	} else if (now_ns() - since > STUCK_S * NS_PER_S) {
		wrong("nothing is transferred any more, after %llu transfers (%llu s)", seen,
			STUCK_S);
	}
}

static void kill_workers(int listener, u32 kills, u32 inside_wanted, u32 seed)
{
	while ((table->killed < kills || host->stats.owners_died < inside_wanted) &&
		table->killed < KILLS_MAX && !table->wrong) {
		u32 i = draw(&seed, WORKERS);

		usleep(draw(&seed, 3000));
		if (host->stats.owners_died < inside_wanted && draw(&seed, 3))
			i = kill_inside(&seed);
		else
			kill_worker(i, 0);
		start_worker(i, listener);
		watch_progress();
	}
}

static void await_clients(void)
{
	u64 end = now_ns() + 10 * NS_PER_S;

	table->over = 1;
	while (table->clients && now_ns() < end)
		usleep(10000);
	if (table->clients)
		wrong("%llu clients do not end (%llu)", table->clients, 0);
}

/* What is still there, beside listeners. */
static void show_sockets(void)
{
	for (u32 i = 0; i < engine()->slab[SLAB_SOCK].touched; i++) {
		const struct sock *sk = (const struct sock *)(const void *)slab_address(
			engine(), slab_of(engine(), SLAB_SOCK), i);
		const struct tcp *t = slab_get(engine(), SLAB_TCP, sk->tcp);

		if (sk->conn.slab.self && sk->state != SOCK_LISTENING)
			printf("socket: ports %u %u, state %u, flags %x, holders %u, TCP %u\n",
				sk->conn.local.port, sk->conn.remote.port, sk->state, sk->flags,
				sk->holders, t ? t->state : 0u);
	}
}

static int report(const struct usage *before, u64 size)
{
	u64 end = now_ns() + 10 * NS_PER_S;
	struct usage after = usage();
	bool grown;

	while (usage_grown(before, &after, false) && now_ns() < end) {
		usleep(10000);
		after = usage();
	}
	grown = usage_grown(before, &after, true);
	host_map();
	if (grown)
		show_sockets();
	printf("killed %u, inside the lock %llu, resets by repairs %llu, broken invariants %llu, "
	       "transfers %llu, bytes %llu, lost with their workers %llu, memory %llu MiB before "
	       "and %llu "
	       "after\n",
		table->killed, (unsigned long long)host->stats.owners_died,
		(unsigned long long)engine()->counters[counter_repair_reset],
		(unsigned long long)engine()->counters[counter_invariant],
		(unsigned long long)table->transfers, (unsigned long long)table->bytes,
		(unsigned long long)table->lost, (unsigned long long)size >> 20,
		(unsigned long long)host->size >> 20);
	if (table->wrong)
		printf("wrong %llu: %s\n", (unsigned long long)table->wrong, table->why);
	else
		printf("wrong 0\n");
	return table->wrong || grown;
}

static int run(int port, u32 kills, u32 inside_wanted, u32 seed)
{
	int listener = listen_on(port);
	struct usage before;
	u64 size;

	host_map();
	find_lock();
	before = usage();
	size = host->size;
	for (u32 i = 0; i < WORKERS; i++)
		start_worker(i, listener);
	printf("ready\n");
	fflush(stdout);
	while (!table->transfers && !table->wrong) {
		usleep(1000);
		watch_progress();
	}
	kill_workers(listener, kills, inside_wanted, seed);
	await_clients();
	for (u32 i = 0; i < WORKERS; i++) {
		kill(worker[i].pid, SIGKILL);
		waitpid(worker[i].pid, NULL, 0);
	}
	return report(&before, size);
}

int main(int argc, char **argv)
{
	if (argc == 7 && strcmp(argv[1], "run") == 0) {
		table_open(argv[6]);
		return run(
			atoi(argv[2]), (u32)atoi(argv[3]), (u32)atoi(argv[4]), (u32)atoi(argv[5]));
	}
	if (argc == 6 && strcmp(argv[1], "client") == 0) {
		table_open(argv[5]);
		return client(argv[2], atoi(argv[3]), atoi(argv[4]));
	}
	if (argc == 4 && strcmp(argv[1], "server") == 0) {
		table_open(argv[3]);
		number = IMMORTAL;
		work_with_threads(listen_on(atoi(argv[2])));
	}
	if (argc == 3 && strcmp(argv[1], "end") == 0) {
		table_open(argv[2]);
		await_clients();
		printf("transfers %llu, lost %llu, wrong %llu %s\n",
			(unsigned long long)table->transfers, (unsigned long long)table->lost,
			(unsigned long long)table->wrong, table->why);
		return table->wrong != 0;
	}
	return 2;
}
