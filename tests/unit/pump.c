/*
 * Spliced sockets: two of them, connected over the host's loopback, are used by plain system calls;
 * the keeper moves the bytes of both. The device is `null:`.
 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/call.h"
#include "preload/region.h"
#include "preload/splice.h"
#include "preload/tether.h"
#include "tests/lib/check_lines.h"

#define PATIENCE_MS 20000
#define LOCALHOST   0x7f000001u

static struct config config;

void call_stdio_changed(int fd)
{
	(void)fd;
}

static void setup(void)
{
	char name[64], why[CONFIG_WHY_MAX];

	signal(SIGPIPE, SIG_IGN);
	snprintf(name, sizeof(name), "unit-pump-%d", getpid());
	setenv("USTACK_DEVICE", "null:", 1);
	setenv("USTACK_NAME", name, 1);
	ck_assert_int_eq(config_load(&config, environ, why, sizeof(why)), 0);
	ck_assert_int_eq(host_start(), 0);
}

static void teardown(void)
{
	char why[CONFIG_WHY_MAX];

	join_tell(&config, JOIN_END, why, sizeof(why));
}

static u32 sockets(void)
{
	u32 count = slab_in_use(host_enter(), SLAB_SOCK);

	host_leave();
	return count;
}

/* As the library's socket() and accept() do it. */
static int placeholder(ref sk, int type)
{
	int fd = socket(AF_UNIX, type == SOCK_DGRAM ? SOCK_SEQPACKET : type, 0);
	struct stack *s;
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	s = host_enter();
	sock_get(s, sk)->inode = st.st_ino;
	host_hold(s, sk);
	host_leave();
	ck_assert_int_eq(fdtable_set(fd, FD_SOCKET, sk, st.st_ino), 0);
	return fd;
}

struct pair {
	int fd[2];
	ref sk[2];
};

static void pair_open(struct pair *p)
{
	struct endpoint at = {.addr = addr_v4(LOCALHOST)};
	struct stack *s = host_enter();
	int error = 0, ret;
	ref listener = sock_open(s, FAMILY_INET, SOCK_STREAM, 0, &error);

	ck_assert_int_eq(sock_bind(s, listener, &at), 0);
	ck_assert_int_eq(sock_listen(s, listener, 8), 0);
	ck_assert_int_eq(sock_name(s, listener, &at), 0);
	p->sk[0] = sock_open(s, FAMILY_INET, SOCK_STREAM, 0, &error);
	ret = sock_connect(s, p->sk[0], &at);
	ck_assert(ret == 0 || ret == -EINPROGRESS);
	p->sk[1] = sock_accept(s, listener, &error);
	ck_assert_uint_ne(p->sk[1], 0);
	sock_connect(s, p->sk[0], &at); /* takes the outcome */
	sock_close(s, listener);
	host_leave();
	for (int i = 0; i < 2; i++)
		p->fd[i] = placeholder(p->sk[i], SOCK_STREAM);
}

static void pair_splice(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(splice_begin(p->fd[i], p->sk[i]), 0);
		ck_assert(splice_is(p->sk[i]));
		fcntl(p->fd[i], F_SETFL, O_NONBLOCK);
	}
}

static void end_close(struct pair *p, int i)
{
	fdtable_clear(p->fd[i], NULL);
	host_unhold(host_enter(), p->sk[i]);
	host_leave();
	close(p->fd[i]);
}

static short await(int fd, short events)
{
	struct pollfd f = {.fd = fd, .events = events};

	ck_assert_int_eq(poll(&f, 1, PATIENCE_MS), 1);
	return f.revents;
}

/* Byte number n of the stream that one end sends. */
static u8 byte_of(int end, u64 n)
{
	return (u8)((n * 2654435761u >> 13) + (u64)end * 101 + n);
}

struct progress {
	u64 sent[2], received[2]; /* by that end */
};

static void send_some(const struct pair *p, int i, struct progress *at, u32 most)
{
	static u8 data[200000];
	u32 len = 1 + (u32)rand() % most;
	ssize_t n;

	for (u32 k = 0; k < len; k++)
		data[k] = byte_of(i, at->sent[i] + k);
	n = write(p->fd[i], data, len);
	ck_assert(n > 0 || errno == EAGAIN);
	at->sent[i] += n > 0 ? (u64)n : 0;
}

static ssize_t receive_some(const struct pair *p, int i, struct progress *at, u32 most)
{
	static u8 data[200000];
	ssize_t n = read(p->fd[i], data, 1 + (u32)rand() % most);
	u32 wrong = 0;

	ck_assert(n >= 0 || errno == EAGAIN);
	for (ssize_t k = 0; k < n; k++)
		wrong += data[k] != byte_of(!i, at->received[i] + (u64)k);
	ck_assert_uint_eq(wrong, 0);
	at->received[i] += n > 0 ? (u64)n : 0;
	return n;
}

static void receive_rest(const struct pair *p, int i, struct progress *at)
{
	while (at->received[i] < at->sent[!i]) {
		await(p->fd[i], POLLIN);
		ck_assert_int_ne((int)receive_some(p, i, at, 200000), 0);
	}
}

static void receive_end(const struct pair *p, int i, struct progress *at)
{
	receive_rest(p, i, at);
	await(p->fd[i], POLLIN);
	ck_assert_int_eq((int)receive_some(p, i, at, 100), 0);
}

/* Pieces of all sizes in both directions, and the two half-closes in either order. */
START_TEST(pump_random_transfer)
{
	struct progress at = {{0}, {0}};
	u32 most = (u32[]){1, 100, 5000, 200000}[_i % 4];
	int first = _i / 4;
	struct pair p;

	srand((unsigned)_i);
	pair_open(&p);
	pair_splice(&p);
	for (int k = 0; k < 400; k++) {
		int i = rand() & 1;

		if (rand() & 1)
			send_some(&p, i, &at, most);
		else
			receive_some(&p, i, &at, most);
	}
	for (int k = 0; k < 2; k++) {
		int i = k ? !first : first;

		send_some(&p, i, &at, most);
		shutdown(p.fd[i], SHUT_WR);
		receive_end(&p, !i, &at);
	}
	end_close(&p, 0);
	end_close(&p, 1);
}
END_TEST

/* What was sent before the last close arrives, then the end. */
START_TEST(pump_close_delivers)
{
	struct progress at = {{0}, {0}};
	struct pair p;

	pair_open(&p);
	pair_splice(&p);
	for (int k = 0; k < 30; k++)
		send_some(&p, 0, &at, 200000);
	end_close(&p, 0);
	receive_end(&p, 1, &at);
	end_close(&p, 1);
}
END_TEST

/* Bytes left unread at the close reset the connection. */
START_TEST(pump_unread_resets)
{
	struct progress at = {{0}, {0}};
	struct pair p;
	char byte;

	pair_open(&p);
	pair_splice(&p);
	send_some(&p, 0, &at, 1000);
	await(p.fd[1], POLLIN);
	end_close(&p, 1);
	ck_assert(await(p.fd[0], POLLIN) & POLLERR);
	ck_assert_int_eq((int)read(p.fd[0], &byte, 1), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	ck_assert_int_eq((int)write(p.fd[0], &byte, 1), -1);
	ck_assert_int_eq(errno, EPIPE);
	end_close(&p, 0);
}
END_TEST

/* A reader that stops holds the writer up, and gets everything later. */
START_TEST(pump_back_pressure)
{
	struct progress at = {{0}, {0}};
	struct pair p;
	u64 before;

	pair_open(&p);
	pair_splice(&p);
	do {
		struct pollfd f = {.fd = p.fd[0], .events = POLLOUT};

		before = at.sent[0];
		send_some(&p, 0, &at, 200000);
		if (at.sent[0] == before && poll(&f, 1, 300) == 0)
			break;
	} while (at.sent[0] < 200000000);
	ck_assert_uint_lt(at.sent[0], 50000000);
	shutdown(p.fd[0], SHUT_WR);
	receive_end(&p, 1, &at);
	end_close(&p, 0);
	end_close(&p, 1);
}
END_TEST

/* Bytes that the engine has already come first; a receive that is between its two steps is waited
 * for. */
START_TEST(pump_switch_keeps_order)
{
	struct progress at = {{0}, {0}};
	struct slot *slot = slot_self();
	struct pair p;
	u8 *data;
	s64 n;

	pair_open(&p);
	ck_assert_int_eq(splice_begin(p.fd[0], p.sk[0]), 0);
	fcntl(p.fd[0], F_SETFL, O_NONBLOCK);
	send_some(&p, 0, &at, 1);
	await(p.fd[0], POLLOUT);
	while (at.sent[0] < 1000)
		send_some(&p, 0, &at, 300);
	do {
		slot->plan.flags = 0;
		n = sock_recv_take(host_enter(), p.sk[1], &slot->plan, 100, slot_index(slot) + 1);
		host_leave();
	} while (n == -EAGAIN);
	ck_assert_int_gt((int)n, 0);
	ck_assert_int_eq(splice_begin(p.fd[1], p.sk[1]), 0);
	fcntl(p.fd[1], F_SETFL, O_NONBLOCK);
	usleep(20000);
	data = sock_span(host_stack(), &slot->plan.span[0]);
	ck_assert_uint_eq(data[0], byte_of(0, 0));
	sock_recv_commit(host_enter(), &slot->plan, 1);
	host_leave();
	at.received[1] = 1;
	receive_rest(&p, 1, &at);
	end_close(&p, 0);
	end_close(&p, 1);
}
END_TEST

/* After shutdown(SHUT_RDWR) the socket stays until it is closed. */
START_TEST(pump_shut_down_is_not_closed)
{
	struct progress at = {{0}, {0}};
	u32 before = sockets();
	struct pair p;

	pair_open(&p);
	pair_splice(&p);
	send_some(&p, 0, &at, 1000);
	shutdown(p.fd[0], SHUT_RDWR);
	receive_end(&p, 1, &at);
	usleep(50000);
	ck_assert_ptr_nonnull(sock_get(host_stack(), p.sk[0]));
	end_close(&p, 0);
	end_close(&p, 1);
	for (int i = 0; i < 2000 && sockets() != before; i++)
		usleep(1000);
	ck_assert_uint_eq(sockets(), before);
}
END_TEST

/* Many at once, and nothing is left of them. */
START_TEST(pump_many)
{
	enum { PAIRS = 100 };
	static struct progress at[PAIRS];
	static struct pair p[PAIRS];
	u32 before = sockets();

	for (int k = 0; k < PAIRS; k++) {
		pair_open(&p[k]);
		pair_splice(&p[k]);
	}
	for (int k = 0; k < 4 * PAIRS; k++) {
		send_some(&p[k % PAIRS], 0, &at[k % PAIRS], 20000);
		send_some(&p[k % PAIRS], 1, &at[k % PAIRS], 20000);
	}
	for (int k = 0; k < PAIRS; k++) {
		shutdown(p[k].fd[0], SHUT_WR);
		receive_end(&p[k], 1, &at[k]);
		end_close(&p[k], 1);
		receive_end(&p[k], 0, &at[k]);
		end_close(&p[k], 0);
	}
	for (int i = 0; i < 5000 && sockets() != before; i++)
		usleep(1000);
	ck_assert_uint_eq(sockets(), before);
}
END_TEST

/* What listens can't be, and stays as it was. */
START_TEST(pump_listener_is_refused)
{
	struct endpoint at = {.addr = addr_v4(LOCALHOST)};
	struct stack *s = host_enter();
	int error = 0, fd;
	ref sk = sock_open(s, FAMILY_INET, SOCK_STREAM, 0, &error);

	ck_assert_int_eq(sock_bind(s, sk, &at), 0);
	ck_assert_int_eq(sock_listen(s, sk, 8), 0);
	host_leave();
	fd = placeholder(sk, SOCK_STREAM);
	ck_assert_int_eq(splice_begin(fd, sk), -EOPNOTSUPP);
	ck_assert(!splice_is(sk));
	fdtable_clear(fd, NULL);
	host_unhold(host_enter(), sk);
	host_leave();
	close(fd);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, pump_random_transfer, 0, 8);
	tcase_add_test(tc, pump_close_delivers);
	tcase_add_test(tc, pump_unread_resets);
	tcase_add_test(tc, pump_back_pressure);
	tcase_add_test(tc, pump_switch_keeps_order);
	tcase_add_test(tc, pump_shut_down_is_not_closed);
	tcase_add_test(tc, pump_many);
	tcase_add_test(tc, pump_listener_is_refused);
}

int main(void)
{
	return check_lines_case("pump", 60, add_tests);
}
