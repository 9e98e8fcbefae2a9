/* Tethers: a socket lives as long as any descriptor of its placeholder, wherever that is, and can
 * be claimed by any process. The device is `null:`. */
#include <check.h>
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/call.h"
#include "preload/region.h"
#include "preload/tether.h"
#include "tests/lib/check_lines.h"

static u32 *shared; /* words that children and the test agree over */
static struct config config;

void call_stdio_changed(int fd)
{
	(void)fd;
}

static void setup(void)
{
	char name[64], why[CONFIG_WHY_MAX];

	snprintf(name, sizeof(name), "unit-tether-%d", getpid());
	setenv("USTACK_DEVICE", "null:", 1);
	setenv("USTACK_NAME", name, 1);
	ck_assert_int_eq(config_load(&config, environ, why, sizeof(why)), 0);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
}

static void teardown(void)
{
	char why[CONFIG_WHY_MAX];

	join_tell(&config, JOIN_END, why, sizeof(why));
}

static void say(u32 value)
{
	__atomic_store_n(shared, value, __ATOMIC_SEQ_CST);
}

static void await(u32 value)
{
	while (__atomic_load_n(shared, __ATOMIC_SEQ_CST) != value)
		sched_yield();
}

static u32 sockets(void)
{
	u32 count = slab_in_use(host_enter(), SLAB_SOCK);

	host_leave();
	return count;
}

/* When the keeper has done its part; on a busy machine that takes more than one wait. */
static u32 sockets_left(void)
{
	u32 count = sockets();

	for (int i = 0; i < 2000 && count; i++) {
		host_settle();
		usleep(1000);
		count = sockets();
	}
	return count;
}

static u32 flags_of(ref sk)
{
	struct sock *sock = sock_get(host_enter(), sk);
	u32 flags = sock ? sock->flags : 0;

	host_leave();
	return flags;
}

static u32 holders_of(ref sk)
{
	struct sock *sock = sock_get(host_enter(), sk);
	u32 holders = sock ? sock->holders : 0;

	host_leave();
	return holders;
}

/* For children too, whose assertions would get into the test's own. */
static void must(bool holds)
{
	if (!holds)
		abort();
}

/* As socket() of the library does it. */
static int open_socket(int type, ref *sk)
{
	int fd = socket(AF_UNIX, type == SOCK_DGRAM ? SOCK_SEQPACKET : type, 0), error = 0;
	struct stack *s;
	struct stat st;

	must(host_start() == 0);
	must(fstat(fd, &st) == 0);
	s = host_enter();
	*sk = sock_open(s, FAMILY_INET, type, 0, &error);
	must(*sk);
	sock_get(s, *sk)->inode = st.st_ino;
	host_hold(s, *sk);
	host_leave();
	must(fdtable_set(fd, FD_SOCKET, *sk, st.st_ino) == 0);
	return fd;
}

static void close_socket(int fd)
{
	ref sk;

	fdtable_clear(fd, &sk);
	if (!fdtable_count(FD_SOCKET, sk)) {
		host_unhold(host_enter(), sk);
		host_leave();
	}
	close(fd);
}

/* A process without the host. */
static pid_t stranger(void (*run)(int fd), int fd)
{
	pid_t pid;

	fflush(stdout);
	pid = (pid_t)raw_syscall5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid)
		return pid;
	run(fd);
	_exit(0);
}

static int sent_over[2];

static void send_fd(int fd)
{
	ck_assert_int_ge((int)join_send(sent_over[0], "x", 1, &fd, 1), 0);
}

static int receive_fd(void)
{
	char byte;
	u32 count;
	int fd[JOIN_FDS];

	if (join_recv(sent_over[1], &byte, 1, fd, &count) != 1 || count != 1)
		return -1;
	return fd[0];
}

/* --- the last close --- */

START_TEST(tether_last_close)
{
	ref sk;
	int fd = open_socket(_i, &sk), other = dup(fd);

	ck_assert_int_eq(tether_tie(fd, sk), 0);
	ck_assert_int_eq(tether_tie(fd, sk), 0);
	ck_assert_uint_ne(flags_of(sk) & SOCK_TETHERED, 0);
	close_socket(fd);
	host_settle();
	ck_assert_uint_eq(sockets(), 1);
	ck_assert_uint_eq(holders_of(sk), 0);
	close(other);
	ck_assert_uint_eq(sockets_left(), 0);
}
END_TEST

/* A close that the library has not seen: the keeper knows better than the holders. */
START_TEST(tether_unseen_close)
{
	ref sk;
	int fd = open_socket(_i, &sk);

	ck_assert_int_eq(tether_tie(fd, sk), 0);
	close(fd);
	ck_assert_uint_eq(sockets_left(), 0);
	ck_assert_int_eq(tether_tie(fd, sk), -EBADF);
}
END_TEST

/* The same without a tether: found by asking the kernel, once it has shown the placeholder. */
START_TEST(unseen_close)
{
	u64 now = host_now();
	ref gone, kept, moved;
	int fd = open_socket(SOCK_STREAM, &gone), other = open_socket(SOCK_DGRAM, &kept), third;

	now = unseen_look(now + 1000 * NS_PER_S);
	third = open_socket(SOCK_STREAM, &moved);
	close(fd);
	close(third); /* the kernel has never shown it */
	ck_assert_uint_eq(sockets(), 3);
	now = unseen_look(now);
	ck_assert_uint_eq(sockets(), 2);
	ck_assert_uint_eq(holders_of(gone), 0);
	ck_assert_uint_eq(holders_of(kept), 1);
	for (int i = 0; i < 3; i++)
		now = unseen_look(now);
	ck_assert_uint_eq(sockets(), 2);
	ck_assert_uint_eq(holders_of(moved), 1);
	(void)other;
}
END_TEST

START_TEST(tether_not_the_socket)
{
	ref sk;
	int fd = open_socket(SOCK_STREAM, &sk), other = socket(AF_UNIX, SOCK_STREAM, 0);

	dup2(other, fd);
	ck_assert_int_eq(tether_tie(fd, sk), -EBADF);
	ck_assert_uint_eq(flags_of(sk) & SOCK_TETHERED, 0);
}
END_TEST

static void hold_until_told(int fd)
{
	say(1);
	await(2);
	close(fd);
	say(3);
}

static void hold_for_ever(int fd)
{
	(void)fd;
	say(1);
	for (;;)
		pause();
}

START_TEST(tether_held_by_a_stranger)
{
	ref sk;
	int fd = open_socket(_i, &sk);
	pid_t pid;

	ck_assert_int_eq(tether_tie(fd, sk), 0);
	pid = stranger(hold_until_told, fd);
	await(1);
	close_socket(fd);
	host_settle();
	ck_assert_uint_eq(sockets(), 1);
	say(2);
	await(3);
	ck_assert_uint_eq(sockets_left(), 0);
	waitpid(pid, NULL, 0);
}
END_TEST

START_TEST(tether_stranger_killed)
{
	ref sk;
	int fd = open_socket(_i, &sk);
	pid_t pid;

	ck_assert_int_eq(tether_tie(fd, sk), 0);
	pid = stranger(hold_for_ever, fd);
	await(1);
	close_socket(fd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ck_assert_uint_eq(sockets_left(), 0);
}
END_TEST

START_TEST(tether_in_flight)
{
	ref sk;
	int fd = open_socket(_i, &sk);

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sent_over), 0);
	ck_assert_int_eq(tether_tie(fd, sk), 0);
	send_fd(fd);
	close_socket(fd);
	host_settle();
	ck_assert_uint_eq(sockets(), 1);
	fd = receive_fd();
	ck_assert_int_eq(tether_claim(fd), 1);
	ck_assert_uint_eq(fdtable_sock(fd), sk);
	ck_assert_uint_eq(holders_of(sk), 1);
	send_fd(fd);
	close_socket(fd);
	close(sent_over[1]); /* never received */
	ck_assert_uint_eq(sockets_left(), 0);
}
END_TEST

/* Many, more than one event of the listener takes. */
START_TEST(tether_many)
{
	static ref sk[300];
	static int fd[300];

	for (size_t i = 0; i < ARRAY_LEN(fd); i++)
		fd[i] = open_socket(i % 2 ? SOCK_STREAM : SOCK_DGRAM, &sk[i]);
	ck_assert_uint_eq(tether_tie_inherited(), ARRAY_LEN(fd));
	for (size_t i = 0; i < ARRAY_LEN(fd); i++)
		close(fd[i]);
	ck_assert_uint_eq(sockets_left(), 0);
}
END_TEST

START_TEST(tether_inherited_are_those_without_cloexec)
{
	ref a, b;
	int first = open_socket(SOCK_STREAM, &a), second = open_socket(SOCK_STREAM, &b);

	fcntl(first, F_SETFD, FD_CLOEXEC);
	ck_assert_uint_eq(tether_tie_inherited(), 1);
	ck_assert_uint_eq(flags_of(a) & SOCK_TETHERED, 0);
	ck_assert_uint_ne(flags_of(b) & SOCK_TETHERED, 0);
	(void)second;
}
END_TEST

static int tied[50];

static void tie_and_report(void)
{
	for (u32 i = 0; i < ARRAY_LEN(tied); i++) {
		await(i + 1);
		if (tether_tie(tied[i], fdtable_sock(tied[i])) < 0)
			_exit(1);
		__atomic_add_fetch(&shared[1], 1, __ATOMIC_SEQ_CST);
	}
	_exit(0);
}

/* Several processes at once tie the same sockets. */
START_TEST(tether_tied_by_several)
{
	int status;
	pid_t pid[4];

	for (u32 i = 0; i < ARRAY_LEN(tied); i++) {
		ref sk;

		tied[i] = open_socket(SOCK_STREAM, &sk);
	}
	for (size_t i = 0; i < ARRAY_LEN(pid); i++) {
		pid[i] = fork();
		if (pid[i] == 0)
			tie_and_report();
	}
	for (u32 i = 0; i < ARRAY_LEN(tied); i++) {
		say(i + 1);
		while (__atomic_load_n(&shared[1], __ATOMIC_SEQ_CST) != (i + 1) * ARRAY_LEN(pid))
			sched_yield();
		close(tied[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(pid); i++) {
		ck_assert_int_eq(waitpid(pid[i], &status, 0), pid[i]);
		ck_assert_int_eq(status, 0);
	}
	ck_assert_uint_eq(sockets_left(), 0);
}
END_TEST

/* --- claims --- */

static void claim_and_hold(int fd)
{
	fd = receive_fd();
	if (tether_claim(fd) != 1 || !fdtable_sock(fd))
		_exit(1);
	say(1);
	await(2);
	close_socket(fd);
	say(3);
	for (;;)
		pause();
}

/* A process that was no member of the host, and would make another one by its configuration. */
START_TEST(tether_claim_joins)
{
	pid_t pid;
	ref sk;
	int fd;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sent_over), 0);
	pid = fork();
	if (pid == 0) {
		setenv("USTACK_NAME", "unit-tether-none", 1);
		setenv("USTACK_ADDRESS", "10.77.0.1/24", 1);
		claim_and_hold(-1);
	}
	fd = open_socket(_i, &sk);
	ck_assert_int_eq(tether_tie(fd, sk), 0);
	send_fd(fd);
	close_socket(fd);
	await(1);
	ck_assert_uint_eq(member_count(host_local.host), 2);
	ck_assert_uint_eq(holders_of(sk), 1);
	say(2);
	await(3);
	ck_assert_uint_eq(sockets_left(), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 100 && member_count(host_local.host) > 1; i++)
		host_settle();
	ck_assert_uint_eq(member_count(host_local.host), 1);
}
END_TEST

START_TEST(tether_claimer_killed)
{
	pid_t pid;
	ref sk;
	int fd;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sent_over), 0);
	pid = fork();
	if (pid == 0)
		claim_and_hold(-1);
	fd = open_socket(SOCK_STREAM, &sk);
	ck_assert_int_eq(tether_tie(fd, sk), 0);
	send_fd(fd);
	await(1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 100 && holders_of(sk) > 1; i++)
		host_settle();
	ck_assert_uint_eq(holders_of(sk), 1);
	close_socket(fd);
	ck_assert_uint_eq(sockets_left(), 0);
}
END_TEST

START_TEST(tether_claim_of_others)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	socklen_t len = offsetof(struct sockaddr_un, sun_path) + 1;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd = socket(AF_UNIX, SOCK_STREAM, 0),
	    pair[2];
	ref sk;

	ck_assert_int_eq(tether_claim(fd), 0);
	ck_assert_int_eq(tether_claim(-1), 0);
	ck_assert_int_eq(tether_claim(0), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(tether_claim(pair[0]), 0);
	/* A listener of somebody else. */
	len += (socklen_t)snprintf(name.sun_path + 1, 100, "ustack/%d/x/tether", getpid());
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&name, len), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&name, len), 0);
	ck_assert_int_eq(tether_claim(fd), -ECONNREFUSED);
	ck_assert(!host_up());
	open_socket(SOCK_STREAM, &sk);
	ck_assert_int_eq(tether_claim(fd), 0);
	/* One who connects to our keeper without being a member. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&host_local.host->tether_name,
				 host_local.host->tether_name_len),
		0);
	ck_assert_int_eq(tether_claim(fd), 0);
	host_settle();
	ck_assert_int_eq(recv(fd, &name, 1, 0), 0);
	ck_assert_uint_eq(sockets(), 1);
}
END_TEST

/* --- whoever has it without the library --- */

START_TEST(tether_shut_down_is_not_closed)
{
	ref sk;
	int fd = open_socket(_i, &sk);

	ck_assert_int_eq(tether_tie(fd, sk), 0);
	shutdown(fd, SHUT_RDWR);
	host_settle();
	usleep(600000);
	ck_assert_uint_eq(sockets(), 1);
	close(fd);
	ck_assert_uint_eq(sockets_left(), 0);
}
END_TEST

/* The keeper stays for a listener that nobody but a stranger has. */
START_TEST(tether_keeps_the_keeper)
{
	int up = socket(AF_UNIX, SOCK_SEQPACKET, 0), sent, status;
	struct sockaddr_un name;
	socklen_t len = join_name(&config, &name);
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		ref sk;
		int fd = open_socket(SOCK_DGRAM, &sk);

		tether_tie(fd, sk);
		stranger(hold_until_told, fd);
		await(1);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	usleep(100000);
	sent = connect(up, (struct sockaddr *)&name, len);
	ck_assert_int_eq(sent, 0);
	close(up);
	say(2);
	for (int i = 0; i < 2000 && sent == 0; i++) {
		usleep(1000);
		up = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		sent = connect(up, (struct sockaddr *)&name, len);
		close(up);
	}
	ck_assert_int_eq(sent, -1);
	(void)sent_over;
}
END_TEST

/* --- all at once --- */

#define RING 5

static int ring[RING][2];
static u32 seed;

static u32 chance(u32 of)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % of;
}

/* Lets go of a descriptor, in one way or another. */
static void drop(int fd)
{
	if (chance(4))
		close_socket(fd);
	else
		close(fd);
}

static void send_on(int fd)
{
	ref sk = fdtable_sock(fd);
	u32 to = chance(RING);

	if (sk && tether_tie(fd, sk) == 0)
		join_send(ring[to][0], "x", 1, &fd, 1);
}

static void take_in(u32 self)
{
	int fd[JOIN_FDS];
	char byte;
	u32 count;

	if (join_recv(ring[self][1], &byte, 1, fd, &count) != 1 || count != 1)
		return;
	fdtable_clear(fd[0], NULL);
	if (tether_claim(fd[0]) != 1 || !fdtable_sock(fd[0]))
		_exit(1);
	if (chance(2))
		send_on(fd[0]);
	drop(fd[0]);
}

static void live(u32 self)
{
	seed = (u32)getpid();
	for (;;) {
		ref sk;
		int fd = open_socket(chance(2) ? SOCK_STREAM : SOCK_DGRAM, &sk);

		if (chance(4))
			send_on(fd);
		drop(fd);
		take_in(self);
		take_in(self);
	}
}

static pid_t lives(u32 self)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		live(self);
	return pid;
}

/* How many descriptors the keeper has. */
static u32 keeper_files(void)
{
	struct ucred keeper = {0};
	socklen_t len = sizeof(keeper);
	char path[64];
	u32 count = 0;
	DIR *dir;

	getsockopt(host_local.control_fd, SOL_SOCKET, SO_PEERCRED, &keeper, &len);
	snprintf(path, sizeof(path), "/proc/%d/fd", keeper.pid);
	dir = opendir(path);
	ck_assert_ptr_ne(dir, NULL);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* Processes that pass sockets around are killed at any moment: what is left in the end is nothing.
 */
START_TEST(tether_storm)
{
	int kills = getenv("LONG") ? 3000 : 150, status;
	pid_t pid[RING];
	u32 files;

	for (u32 i = 0; i < RING; i++)
		ck_assert_int_eq(
			socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ring[i]), 0);
	ck_assert_int_eq(host_start(), 0);
	host_settle();
	files = keeper_files();
	for (u32 i = 0; i < RING; i++)
		pid[i] = lives(i);
	for (int i = 0; i < kills; i++) {
		u32 n = (u32)i % RING;

		usleep(3000);
		kill(pid[n], SIGKILL);
		waitpid(pid[n], &status, 0);
		ck_assert_int_eq(status, SIGKILL);
		pid[n] = lives(n);
	}
	for (u32 i = 0; i < RING; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], &status, 0);
		ck_assert_int_eq(status, SIGKILL);
		close(ring[i][0]);
		close(ring[i][1]);
	}
	for (int i = 0; i < 40 && sockets(); i++)
		ck_assert_uint_eq(sockets_left(), 0);
	ck_assert_uint_eq(member_count(host_local.host), 1);
	ck_assert_uint_le(keeper_files(), files + 1); /* a timer */
}
END_TEST

static void add_tests(TCase *tc)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, getenv("LONG") ? 600 : 60);
	tcase_add_loop_test(tc, tether_last_close, types[0], types[1] + 1);
	tcase_add_loop_test(tc, tether_unseen_close, types[0], types[1] + 1);
	tcase_add_test(tc, unseen_close);
	tcase_add_test(tc, tether_not_the_socket);
	tcase_add_loop_test(tc, tether_held_by_a_stranger, types[0], types[1] + 1);
	tcase_add_loop_test(tc, tether_stranger_killed, types[0], types[1] + 1);
	tcase_add_loop_test(tc, tether_in_flight, types[0], types[1] + 1);
	tcase_add_test(tc, tether_many);
	tcase_add_test(tc, tether_inherited_are_those_without_cloexec);
	tcase_add_test(tc, tether_tied_by_several);
	tcase_add_loop_test(tc, tether_claim_joins, types[0], types[1] + 1);
	tcase_add_test(tc, tether_claimer_killed);
	tcase_add_test(tc, tether_claim_of_others);
	tcase_add_loop_test(tc, tether_shut_down_is_not_closed, types[0], types[1] + 1);
	tcase_add_test(tc, tether_keeps_the_keeper);
	tcase_add_test(tc, tether_storm);
}

int main(void)
{
	return check_lines_case("tether", 0, add_tests);
}
