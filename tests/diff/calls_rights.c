/*
 * Sockets passed between processes in messages (SCM_RIGHTS): the orders in which they are closed and
 * received, what can be passed, and what both processes have of it.
 */
#include "tests/diff/calls_rights.h"

#include <sys/epoll.h>
#include <sys/syscall.h>

/* --- the orders of things --- */

static void take_and_answer(void)
{
	int fd;

	await_order();
	fd = take();
	SAY(fd >= 0);
	SAY(answers(fd));
	await_order();
	SAY(close(fd));
}

static void close_before_receipt(void)
{
	int a, b;
	pid_t pid;

	ways();
	pid = receiver(take_and_answer);
	b = pair_of(&a);
	SHOW(pass(b));
	SHOW(close(b));
	SHOW(lives(a));
	go_on();
	SHOW(echoes(a));
	listen_to(2);
	SHOW(lives(a));
	go_on();
	listen_to(1);
	SHOW(ends(a));
	end(pid);
	close(a);
	no_ways();
}

static void close_after_receipt(void)
{
	int a, b;
	pid_t pid;

	ways();
	pid = receiver(take_and_answer);
	b = pair_of(&a);
	SHOW(pass(b));
	go_on();
	SHOW(echoes(a));
	listen_to(2);
	go_on();
	listen_to(1);
	end(pid);
	SHOW(lives(a));
	SHOW(send(a, "q", 1, 0));
	SHOW(answers(b));
	SHOW(close(b));
	SHOW(recv(a, (char[1]){0}, 1, 0));
	SHOW(ends(a));
	close(a);
	no_ways();
}

static in_port_t port_to;

static void connect_send_die(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = port_to};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) || pass(fd) != 1)
		_exit(1);
	kill(getpid(), SIGKILL);
}

static void sender_killed(void)
{
	int a, l, status;
	pid_t pid, sender;

	ways();
	pid = receiver(take_and_answer);
	l = listener(&port_to);
	sender = receiver(connect_send_die);
	waitpid(sender, &status, 0);
	SHOW(WTERMSIG(status));
	a = accept(l, NULL, NULL);
	SHOW(lives(a));
	go_on();
	SHOW(echoes(a));
	listen_to(2);
	go_on();
	listen_to(1);
	SHOW(ends(a));
	end(pid);
	close(a);
	close(l);
	no_ways();
}

static void wait_for_ever(void)
{
	for (;;)
		pause();
}

static void receiver_killed(void)
{
	int a, b, status;
	pid_t pid;

	ways();
	pid = receiver(wait_for_ever);
	close(way[1]);
	b = pair_of(&a);
	SHOW(pass(b));
	SHOW(close(b));
	SHOW(lives(a));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	SHOW(ends(a));
	close(a);
	no_ways();
}

static void take_and_wait(void)
{
	int fd = take();

	SAY(fd >= 0);
	wait_for_ever();
}

static void holder_killed(void)
{
	int a, b, status;
	pid_t pid;

	ways();
	pid = receiver(take_and_wait);
	b = pair_of(&a);
	SHOW(pass(b));
	SHOW(close(b));
	listen_to(1);
	SHOW(lives(a));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	SHOW(ends(a));
	close(a);
	no_ways();
}

static void to_oneself(void)
{
	int a, b, got, again;

	ways();
	b = pair_of(&a);
	SHOW(pass(b));
	got = take();
	SHOW(got >= 0 && got != b);
	SHOW(pass(b));
	SHOW(close(b));
	SHOW(close(got));
	SHOW(lives(a));
	again = take();
	SHOW(send(a, "q", 1, 0));
	SHOW(answers(again));
	SHOW(recv(a, (char[1]){0}, 1, 0));
	SHOW(pass(again));
	SHOW(close(again));
	no_ways(); /* never taken */
	SHOW(ends(a));
	close(a);
}

static void duplicate_passed(void)
{
	int a, b, copy;
	pid_t pid;

	ways();
	pid = receiver(take_and_answer);
	b = pair_of(&a);
	copy = dup(b);
	SHOW(pass(copy));
	SHOW(close(copy));
	go_on();
	SHOW(echoes(a));
	listen_to(2);
	SHOW(send(b, "h", 1, 0));
	SHOW(recv(a, (char[1]){0}, 1, 0));
	go_on();
	listen_to(1);
	end(pid);
	SHOW(lives(a));
	SHOW(close(b));
	SHOW(ends(a));
	close(a);
	no_ways();
}

static void passed_on(void)
{
	pid_t pid;
	int fd;

	fd = take();
	SAY(fd >= 0);
	SAY(pass(fd));
	SAY(close(fd));
	pid = fork();
	if (pid == 0) {
		fd = take();
		SAY(answers(fd));
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	SAY(0);
}

static void on_and_on(void)
{
	int a, b;
	pid_t pid;

	ways();
	pid = receiver(passed_on);
	b = pair_of(&a);
	SHOW(pass(b));
	SHOW(close(b));
	SHOW(echoes(a));
	listen_to(5);
	SHOW(ends(a));
	end(pid);
	close(a);
	no_ways();
}

/* --- what is passed --- */

static void take_listener(void)
{
	int l = take(), fd = accept(l, NULL, NULL);
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	SAY(l >= 0);
	SAY(fd >= 0);
	SAY(getsockname(l, (struct sockaddr *)&addr, &len));
	SAY(answers(fd));
	await_order();
}

/* The end of the last process that held a listener is noticed a moment later (DIFFERENCES.md). */
static bool refused(const struct sockaddr_in *addr)
{
	for (int i = 0; i < 300; i++, nap_ms(10)) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		bool no = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) &&
			  errno == ECONNREFUSED;

		close(fd);
		if (no)
			return true;
	}
	return false;
}

static void listener_passed(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	int l, a, on = 1;
	pid_t pid;

	ways();
	pid = receiver(take_listener);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	l = listener(&addr.sin_port);
	SHOW(pass(l));
	SHOW(close(l));
	a = socket(AF_INET, SOCK_STREAM, 0);
	SHOW(connect(a, (struct sockaddr *)&addr, sizeof(addr)));
	SHOW(echoes(a));
	listen_to(4);
	go_on();
	end(pid);
	SHOW(ends(a));
	close(a);
	SHOW(refused(&addr));
	a = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	SHOW(bind(a, (struct sockaddr *)&addr, sizeof(addr)));
	close(a);
	no_ways();
}

/* A port is free again as soon as nobody has the descriptor. */
static void port_free_again(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	int failed = 0, status, fd;
	pid_t pid;

	for (int i = 0; i < 40; i++) {
		ways();
		pid = receiver(i % 2 ? take_and_wait : wait_for_ever);
		if (i % 2 == 0)
			close(way[1]);
		fd = socket(AF_INET, i % 4 < 2 ? SOCK_DGRAM : SOCK_STREAM, 0);
		addr.sin_port = 0;
		if (bind(fd, (struct sockaddr *)&addr, len) ||
			getsockname(fd, (struct sockaddr *)&addr, &len) || pass(fd) != 1)
			exit(1);
		close(fd);
		fd = socket(AF_INET, i % 4 < 2 ? SOCK_DGRAM : SOCK_STREAM, 0);
		failed += !bind(fd, (struct sockaddr *)&addr, len);
		if (i % 2) {
			char line[32];

			failed += read(said[0], line, sizeof(line)) <= 0;
		}
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		failed += bind(fd, (struct sockaddr *)&addr, len) != 0;
		close(fd);
		no_ways();
	}
	SHOW(failed);
}

static void take_udp(void)
{
	char buf[16];
	int fd = take();

	SAY(fd >= 0);
	SAY(send(fd, "one", 3, 0));
	SAY(send(fd, "", 0, 0));
	SAY(send(fd, "three", 5, 0));
	SAY(recv(fd, buf, sizeof(buf), 0));
	SAY(recv(fd, buf, sizeof(buf), 0));
	SAY(recv(fd, buf, sizeof(buf), 0));
	SAY(recv(fd, buf, sizeof(buf), MSG_DONTWAIT));
}

static void udp_passed(void)
{
	pid_t pid;
	int fd;

	ways();
	pid = receiver(take_udp);
	fd = udp_to();
	SHOW(pass(fd));
	SHOW(close(fd));
	listen_to(8);
	end(pid);
	no_ways();
}

static int type_of(int fd)
{
	int type = -1;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) ? -1 : type;
}

static int family_of(int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);

	return getsockname(fd, (struct sockaddr *)&addr, &len) ? -1 : addr.ss_family;
}

static void take_several(void)
{
	struct parcel p;
	int fd[16];
	unsigned n;

	pack(&p, NULL, 16);
	SAY(recvmsg(way[1], &p.msg, MSG_CMSG_CLOEXEC));
	n = unpack(&p, fd);
	SAY(n);
	for (unsigned i = 0; i < n; i++) {
		SAY(type_of(fd[i]));
		SAY(family_of(fd[i]));
		SAY(fcntl(fd[i], F_GETFD));
	}
	SAY(answers(fd[1]));
}

static void several_passed(void)
{
	struct parcel p;
	int fd[5], a;
	pid_t pid;

	ways();
	pid = receiver(take_several);
	fd[0] = udp_to();
	fd[1] = pair_of(&a);
	fd[2] = open("/dev/null", O_RDWR);
	fd[3] = fd[1];
	fd[4] = way[0];
	SHOW(sendmsg(way[0], pack(&p, fd, 5), 0));
	close(fd[0]);
	close(fd[1]);
	close(fd[2]);
	SHOW(echoes(a));
	listen_to(18);
	end(pid);
	SHOW(ends(a));
	close(a);
	no_ways();
}

/* The receiver has room for one: the other is closed. */
static void cut(void)
{
	struct parcel p;
	int fd[16], a, b;

	ways();
	fd[0] = pair_of(&a);
	fd[1] = pair_of(&b);
	SHOW(sendmsg(way[0], pack(&p, fd, 2), 0));
	close(fd[0]);
	close(fd[1]);
	pack(&p, NULL, 1);
	p.msg.msg_controllen = CMSG_LEN(sizeof(int));
	SHOW(recvmsg(way[1], &p.msg, 0));
	SHOW(p.msg.msg_flags);
	SHOW(unpack(&p, fd));
	SHOW(ends(b));
	SHOW(lives(a));
	SHOW(send(a, "q", 1, 0));
	SHOW(answers(fd[0]));
	SHOW(recv(a, (char[1]){0}, 1, 0));
	close(fd[0]);
	SHOW(ends(a));
	close(a);
	close(b);
	no_ways();
}

static void no_room(void)
{
	int a, fd;

	ways();
	fd = pair_of(&a);
	SHOW(pass(fd));
	close(fd);
	SHOW(recv(way[1], (char[1]){0}, 1, 0));
	SHOW(ends(a));
	close(a);
	no_ways();
}

static void looked_at(void)
{
	struct parcel p;
	int fd[16], a, b, got;

	ways();
	b = pair_of(&a);
	SHOW(pass(b));
	close(b);
	pack(&p, NULL, 1);
	SHOW(recvmsg(way[1], &p.msg, MSG_PEEK));
	SHOW(unpack(&p, fd));
	got = take();
	SHOW(got != fd[0]);
	SHOW(close(fd[0]));
	SHOW(lives(a));
	SHOW(send(a, "q", 1, 0));
	SHOW(answers(got));
	SHOW(recv(a, (char[1]){0}, 1, 0));
	close(got);
	SHOW(ends(a));
	close(a);
	no_ways();
}

static void several_messages(void)
{
	struct parcel p[2], q[2];
	struct mmsghdr out[2] = {{{0}, 0}}, in[2] = {{{0}, 0}};
	int fd[2], a[2], got[16];

	ways();
	for (int i = 0; i < 2; i++) {
		fd[i] = pair_of(&a[i]);
		out[i].msg_hdr = *pack(&p[i], &fd[i], 1);
		in[i].msg_hdr = *pack(&q[i], NULL, 1);
	}
	SHOW(sendmmsg(way[0], out, 2, 0));
	close(fd[0]);
	close(fd[1]);
	SHOW(recvmmsg(way[1], in, 2, 0, NULL));
	for (int i = 0; i < 2; i++) {
		q[i].msg = in[i].msg_hdr;
		SHOW(unpack(&q[i], got));
		SHOW(send(a[i], "q", 1, 0));
		SHOW(answers(got[0]));
		SHOW(recv(a[i], (char[1]){0}, 1, 0));
		close(got[0]);
		SHOW(ends(a[i]));
		close(a[i]);
	}
	no_ways();
}

static void by_number(void)
{
	struct parcel p;
	int fd[16], a, b;

	ways();
	b = pair_of(&a);
	SHOW(syscall(SYS_sendmsg, way[0], pack(&p, &b, 1), 0));
	SHOW(syscall(SYS_close, b));
	pack(&p, NULL, 1);
	SHOW(syscall(SYS_recvmsg, way[1], &p.msg, 0));
	SHOW(unpack(&p, fd));
	SHOW(send(a, "q", 1, 0));
	SHOW(answers(fd[0]));
	SHOW(recv(a, (char[1]){0}, 1, 0));
	close(fd[0]);
	SHOW(ends(a));
	close(a);
	no_ways();
}

/* A bad message: nothing is sent, nothing crashes. */
static void bad_messages(void)
{
	struct parcel p;
	int a, b;

	ways();
	b = pair_of(&a);
	pack(&p, &b, 1);
	p.msg.msg_control = bad;
	SHOW(sendmsg(way[0], &p.msg, 0));
	SHOW(sendmsg(way[0], bad, 0));
	pack(&p, &b, 1);
	((struct cmsghdr *)p.control)->cmsg_len = 4000;
	SHOW(sendmsg(way[0], &p.msg, 0));
	((struct cmsghdr *)p.control)->cmsg_len = 3;
	SHOW(sendmsg(way[0], &p.msg, 0));
	pack(&p, (int[1]){-1}, 1);
	SHOW(sendmsg(way[0], &p.msg, 0));
	pack(&p, (int[1]){999}, 1);
	SHOW(sendmsg(way[0], &p.msg, 0));
	SHOW(lives(a));
	close(b);
	SHOW(ends(a));
	close(a);
	no_ways();
}

/* --- what both have of it --- */

static void take_and_change(void)
{
	struct epoll_event e = {.events = EPOLLIN};
	char buf[8];
	int fd = take(), ep = epoll_create1(0);

	SAY(fcntl(fd, F_GETFL) & O_NONBLOCK ? 1 : 0);
	SAY(recv(fd, buf, 4, 0));
	SAY(fcntl(fd, F_SETFL, O_RDWR));
	SAY(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	SAY(epoll_wait(ep, &e, 1, 3000));
	SAY(recv(fd, buf, sizeof(buf), 0));
	SAY(poll_now(fd));
	SAY(shutdown(fd, SHUT_WR));
	await_order();
}

static void shared(void)
{
	int a, b;
	pid_t pid;

	ways();
	pid = receiver(take_and_change);
	b = pair_of(&a);
	SHOW(fcntl(b, F_SETFL, O_RDWR | O_NONBLOCK));
	SHOW(pass(b));
	listen_to(4);
	SHOW(send(a, "hello", 5, 0));
	listen_to(4);
	SHOW(fcntl(b, F_GETFL) & O_NONBLOCK ? 1 : 0);
	SHOW(ends(a));
	SHOW(send(b, "x", 1, MSG_NOSIGNAL));
	SHOW(send(a, "more", 4, 0));
	SHOW(recv(b, (char[4]){0}, 4, MSG_WAITALL));
	go_on();
	end(pid);
	close(b);
	close(a);
	no_ways();
}

static void take_late(void)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP};
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	int fd, ep = epoll_create1(0), n = 0;
	char buf[8];

	await_order();
	fd = take();
	SAY(getpeername(fd, (struct sockaddr *)&addr, &len));
	SAY(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	SAY(epoll_wait(ep, &e, 1, 3000));
	SAY(ioctl(fd, FIONREAD, &n));
	SAY(n);
	SAY(recv(fd, buf, 2, MSG_PEEK));
	SAY(recv(fd, buf, 2, 0));
	SAY(recv(fd, buf, sizeof(buf), 0));
	SAY(recv(fd, buf, sizeof(buf), MSG_DONTWAIT));
	SAY(epoll_wait(ep, &e, 1, 0));
	SAY(poll_now(fd));
	SAY(send(fd, "answer", 6, 0));
	await_order();
	SAY(epoll_wait(ep, &e, 1, 3000));
	SAY(e.events);
	SAY(recv(fd, buf, sizeof(buf), 0));
	SAY(shutdown(fd, SHUT_WR));
	SAY(send(fd, "x", 1, MSG_NOSIGNAL));
	await_order();
}

/* The receiver takes its time, and nobody else has the socket meanwhile. */
static void received_late(void)
{
	int a, b;
	pid_t pid;

	ways();
	pid = receiver(take_late);
	b = pair_of(&a);
	SHOW(pass(b));
	SHOW(close(b));
	nap_ms(800);
	SHOW(send(a, "hello", 5, 0));
	go_on();
	listen_to(12);
	SHOW(recv(a, (char[6]){0}, 6, MSG_WAITALL));
	SHOW(shutdown(a, SHUT_WR));
	go_on();
	listen_to(5);
	SHOW(ends(a));
	go_on();
	end(pid);
	close(a);
	no_ways();
}

static void take_udp_late(void)
{
	struct sockaddr_in from = {0};
	socklen_t len = sizeof(from);
	char buf[8];
	int fd;

	await_order();
	fd = take();
	SAY(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len));
	SAY(len);
	SAY(sendto(fd, "back", 4, 0, (struct sockaddr *)&from, len));
	SAY(recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL));
	await_order();
}

static void udp_received_late(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	char buf[8];
	int fd, a;
	pid_t pid;

	ways();
	pid = receiver(take_udp_late);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	a = socket(AF_INET, SOCK_DGRAM, 0);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	SHOW(bind(fd, (struct sockaddr *)&addr, len));
	SHOW(getsockname(fd, (struct sockaddr *)&addr, &len));
	SHOW(connect(a, (struct sockaddr *)&addr, len));
	SHOW(pass(fd));
	SHOW(close(fd));
	nap_ms(800);
	SHOW(send(a, "hello", 5, 0));
	go_on();
	listen_to(4);
	SHOW(poll_for(a, POLLIN, 1000));
	SHOW(recv(a, buf, sizeof(buf), MSG_DONTWAIT));
	go_on();
	end(pid);
	nap_ms(100);
	SHOW(send(a, "hello", 5, 0));
	SHOW(recv(a, buf, sizeof(buf), 0));
	close(a);
	no_ways();
}

static void take_fresh_late(void)
{
	int fd;

	await_order();
	fd = take();
	SAY(connect(fd, (struct sockaddr *)&server, sizeof(server)));
	SAY(send(fd, "e", 1, 0));
	SAY(echoes(fd));
}

static void fresh_received_late(void)
{
	pid_t pid;
	int fd;

	ways();
	pid = receiver(take_fresh_late);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	SHOW(pass(fd));
	SHOW(close(fd));
	nap_ms(800);
	go_on();
	listen_to(3);
	end(pid);
	no_ways();
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	close_before_receipt();
	close_after_receipt();
	sender_killed();
	receiver_killed();
	holder_killed();
	to_oneself();
	duplicate_passed();
	on_and_on();
	listener_passed();
	port_free_again();
	udp_passed();
	several_passed();
	cut();
	no_room();
	looked_at();
	several_messages();
	by_number();
	bad_messages();
	shared();
	received_late();
	udp_received_late();
	fresh_received_late();
	return 0;
}
