/*
 * Waiting: connects and accepts in both modes, signals with and without SA_RESTART, close and
 * shutdown in another thread.
 */
#include "tests/diff/calls.h"

#include <setjmp.h>

static int nonblocking(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
}

static void connects(void)
{
	struct sockaddr_in closed = server, any = {.sin_family = AF_UNSPEC};
	int fd = nonblocking();

	SHOW(connect(fd, (struct sockaddr *)&server, sizeof(server)));
	printf("connect poll: %x\n", poll_for(fd, POLLOUT, 2000));
	SHOW(error_of(fd));
	SHOW(connect(fd, (struct sockaddr *)&server, sizeof(server)));
	SHOW(connect(fd, (struct sockaddr *)&server, sizeof(server)));
	close(fd);
	closed.sin_port = htons(9);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	SHOW(connect(fd, (struct sockaddr *)&closed, sizeof(closed)));
	SHOW(error_of(fd));
	printf("refused poll: %x\n", poll_now(fd));
	SHOW(connect(fd, (struct sockaddr *)&server, sizeof(server)));
	SHOW(connect(fd, (struct sockaddr *)&any, sizeof(any)));
	SHOW(connect(fd, (struct sockaddr *)&server, sizeof(server)));
	close(fd);
	fd = nonblocking();
	SHOW(connect(fd, (struct sockaddr *)&closed, sizeof(closed)));
	printf("refused poll: %x\n", poll_for(fd, POLLOUT, 2000));
	SHOW(connect(fd, (struct sockaddr *)&closed, sizeof(closed)));
	SHOW(error_of(fd));
	close(fd);
	fd = nonblocking();
	SHOW(connect(fd, (struct sockaddr *)&closed, sizeof(closed)));
	poll_for(fd, POLLOUT, 2000);
	SHOW(error_of(fd));
	SHOW(error_of(fd));
	SHOW(recv(fd, &any, 1, 0));
	SHOW(send(fd, &any, 1, MSG_NOSIGNAL));
	close(fd);
}

static void fast_open(void)
{
	struct sockaddr_in any = {.sin_family = AF_UNSPEC};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(server);
	char buf[8];

	SHOW(sendto(fd, "eabc", 4, MSG_FASTOPEN, NULL, 0));
	SHOW(sendto(fd, "eabc", 4, MSG_FASTOPEN, (struct sockaddr *)&any, sizeof(any)));
	SHOW(sendto(fd, "eabc", 4, MSG_FASTOPEN, (struct sockaddr *)&server, 3));
	SHOW(sendto(fd, "eabc", 4, MSG_FASTOPEN, (struct sockaddr *)&server, len));
	SHOW(recv(fd, buf, 3, MSG_WAITALL));
	SHOW(sendto(fd, "eabc", 4, MSG_FASTOPEN, (struct sockaddr *)&server, len));
	SHOW(sendto(fd, "eabc", 4, MSG_FASTOPEN | MSG_NOSIGNAL, NULL, 0));
	close(fd);
	fd = nonblocking();
	SHOW(sendto(fd, "eabc", 4, MSG_FASTOPEN, (struct sockaddr *)&server, len));
	poll_for(fd, POLLOUT, 2000);
	SHOW(send(fd, "eabc", 4, 0));
	poll_for(fd, POLLIN, 2000);
	SHOW(recv(fd, buf, 3, 0));
	close(fd);
}

/* Nobody answers there: the last address of the network. */
static void unanswered(void)
{
	struct sockaddr_in nobody = server;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	double t = now_s();

	nobody.sin_addr.s_addr = (server.sin_addr.s_addr & htonl(0xffffff00)) | htonl(77);
	SHOW(set_timeout(fd, SO_SNDTIMEO, 200));
	SHOW(connect(fd, (struct sockaddr *)&nobody, sizeof(nobody)));
	show_wait("connect", t, 0.2);
	SHOW(connect(fd, (struct sockaddr *)&nobody, sizeof(nobody)));
	SHOW(fcntl(fd, F_SETFL, O_NONBLOCK));
	SHOW(connect(fd, (struct sockaddr *)&nobody, sizeof(nobody)));
	SHOW(send(fd, "x", 1, MSG_NOSIGNAL));
	SHOW(recv(fd, &t, 1, 0));
	printf("connecting poll: %x\n", poll_now(fd));
	close(fd);
}

static void accepts(void)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	in_port_t port;
	int fd = listener(&port), peer, keep[8], n = 0;
	double t = now_s();
	char buf[8];

	printf("listen poll: %x\n", poll_now(fd));
	SHOW(set_timeout(fd, SO_RCVTIMEO, 100));
	SHOW(accept(fd, NULL, NULL));
	show_wait("accept", t, 0.1);
	SHOW(set_timeout(fd, SO_RCVTIMEO, 0));
	SHOW(accept4(fd, NULL, NULL, 0x10));
	keep[n++] = call_back(port);
	peer = accept4(fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	SHOW(peer >= 0);
	printf("accepted: %u %d %x %x\n", len, from.sin_addr.s_addr == server.sin_addr.s_addr,
		(unsigned)fcntl(peer, F_GETFL), (unsigned)fcntl(peer, F_GETFD));
	SHOW(recv(peer, buf, 1, 0));
	SHOW(send(peer, "hi", 2, 0));
	poll_for(peer, POLLIN, 2000);
	SHOW(recv(peer, buf, 8, 0));
	close(peer);
	keep[n++] = call_back(port);
	len = 1;
	peer = accept(fd, (struct sockaddr *)&from, &len);
	printf("short name: %d %u\n", peer >= 0, len);
	printf("flags: %x %x\n", (unsigned)fcntl(peer, F_GETFL), (unsigned)fcntl(peer, F_GETFD));
	close(peer);
	keep[n++] = call_back(port);
	SHOW(accept(fd, bad, &len));
	keep[n++] = call_back(port);
	len = (socklen_t)-1;
	SHOW(accept(fd, (struct sockaddr *)&from, &len));
	SHOW(fcntl(fd, F_SETFL, O_NONBLOCK));
	SHOW(accept(fd, NULL, NULL));
	SHOW(recv(fd, buf, 1, 0));
	SHOW(send(fd, buf, 1, MSG_NOSIGNAL));
	SHOW(shutdown(fd, SHUT_RD));
	SHOW(accept(fd, NULL, NULL));
	while (n)
		close(keep[--n]);
	close(fd);
}

/* A connection is not lost when there is no number for it. */
static void no_numbers(void)
{
	struct rlimit old, small;
	in_port_t port;
	int fd = listener(&port), keep = call_back(port), peer;

	getrlimit(RLIMIT_NOFILE, &old);
	small = old;
	small.rlim_cur = 3;
	nap_ms(100);
	setrlimit(RLIMIT_NOFILE, &small);
	SHOW(accept(fd, NULL, NULL));
	SHOW(socket(AF_INET, SOCK_STREAM, 0));
	SHOW(dup(fd));
	setrlimit(RLIMIT_NOFILE, &old);
	peer = accept(fd, NULL, NULL);
	SHOW(peer >= 0);
	close(peer);
	close(keep);
	close(fd);
}

static volatile int alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void alarm_in(int ms, int flags)
{
	struct sigaction act = {.sa_handler = on_alarm, .sa_flags = flags};
	struct itimerval when = {.it_value = {0, ms * 1000}};

	alarms = 0;
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &when, NULL);
}

static void signals(void)
{
	struct sockaddr_in nobody = server;
	in_port_t port;
	char buf[8];
	int fd = tcp_to('d'), l = listener(&port), keep;

	alarm_in(100, 0);
	SHOW(recv(fd, buf, 8, 0));
	SHOW(alarms);
	alarm_in(50, SA_RESTART);
	SHOW(recv(fd, buf, 8, 0));
	SHOW(alarms);
	show_text("restarted", buf, 4);
	SHOW(set_timeout(fd, SO_RCVTIMEO, 500));
	alarm_in(50, SA_RESTART);
	SHOW(recv(fd, buf, 8, 0));
	alarm_in(50, 0);
	SHOW(accept(l, NULL, NULL));
	alarm_in(50, SA_RESTART);
	keep = call_back(port);
	nap_ms(100);
	SHOW(accept(l, NULL, NULL) >= 0);
	close(keep);
	close(fd);
	nobody.sin_addr.s_addr = (server.sin_addr.s_addr & htonl(0xffffff00)) | htonl(77);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	alarm_in(50, 0);
	SHOW(connect(fd, (struct sockaddr *)&nobody, sizeof(nobody)));
	SHOW(fcntl(fd, F_SETFL, O_NONBLOCK));
	SHOW(connect(fd, (struct sockaddr *)&nobody, sizeof(nobody)));
	alarm_in(50, 0);
	SHOW(poll_for(l, POLLIN, 1000));
	alarm_in(50, SA_RESTART);
	SHOW(poll_for(l, POLLIN, 1000));
	close(fd);
	close(l);
}

/* Handlers that use sockets themselves, and that never return. */
static int handler_fd;
static char handler_got[8];
static sigjmp_buf jump;

static void on_alarm_echo(int sig)
{
	struct pollfd p = {.fd = handler_fd, .events = POLLIN};

	(void)sig;
	alarms++;
	if (send(handler_fd, "sig", 3, 0) == 3 && poll(&p, 1, 1000) == 1)
		recv(handler_fd, handler_got, 3, MSG_WAITALL);
}

static void on_alarm_jump(int sig)
{
	(void)sig;
	siglongjmp(jump, 1);
}

static void on_alarm_close(int sig)
{
	(void)sig;
	alarms++;
	close(handler_fd);
}

static void handlers(void)
{
	char buf[8];
	int fd = tcp_to('d');

	handler_fd = tcp_to('e');
	alarm_in(100, SA_RESTART);
	signal(SIGALRM, on_alarm_echo);
	SHOW(recv(fd, buf, 8, 0));
	SHOW(alarms);
	show_text("in the handler", handler_got, 3);
	alarm_in(100, 0);
	signal(SIGALRM, on_alarm_jump);
	if (sigsetjmp(jump, 1) == 0)
		SHOW(recv(fd, buf, 8, 0));
	else
		printf("jumped out\n");
	alarm_in(100, 0);
	signal(SIGALRM, on_alarm_jump);
	if (sigsetjmp(jump, 1) == 0)
		SHOW(poll_for(fd, POLLIN, 3000));
	else
		printf("jumped out\n");
	SHOW(send(handler_fd, "abc", 3, 0));
	SHOW(recv(handler_fd, buf, 3, MSG_WAITALL));
	close(fd);
	fd = handler_fd;
	alarm_in(100, SA_RESTART);
	signal(SIGALRM, on_alarm_close);
	SHOW(recv(fd, buf, 8, 0));
	SHOW(alarms);
}

/* A peer that does not read: how much fits differs, not what happens then. */
static void full(void)
{
	static char big[16 << 20];
	struct linger linger = {1, 1};
	int fd = tcp_to('h');
	double t;
	long n;

	SHOW(set_timeout(fd, SO_SNDTIMEO, 200));
	t = now_s();
	n = send(fd, big, sizeof(big), 0);
	show_wait("full", t, 0.2);
	SHOW(n > 0 && n < (long)sizeof(big));
	for (int i = 0; i < 10 && n > 0; i++) /* the kernel's buffer may still grow */
		n = send(fd, big, sizeof(big), 0);
	show("full", n);
	SHOW(send(fd, big, 1, MSG_DONTWAIT));
	SHOW(set_timeout(fd, SO_SNDTIMEO, 0));
	alarm_in(100, 0);
	SHOW(send(fd, big, sizeof(big), 0));
	alarm_in(100, SA_RESTART);
	SHOW(send(fd, big, sizeof(big), 0) > 0); /* until the peer closes */
	close(fd);
	fd = tcp_to('h');
	SHOW(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	send(fd, big, sizeof(big), MSG_DONTWAIT);
	t = now_s();
	SHOW(close(fd));
	show_wait("linger", t, 1);
	fd = tcp_to('e');
	SHOW(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	t = now_s();
	SHOW(close(fd));
	show_wait("short linger", t, 0);
	fd = tcp_to('h');
	SHOW(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	send(fd, big, sizeof(big), MSG_DONTWAIT);
	n = open("/dev/null", O_RDWR);
	t = now_s();
	SHOW(dup2((int)n, fd) == fd);
	show_wait("dup2 lingers", t, 1);
	SHOW(fcntl(fd, F_GETFD));
	close(fd);
	close((int)n);
}

/* MSG_WAITALL: cut short by a signal, by a timeout; looking without taking. */
static void wait_all(void)
{
	char buf[16];
	int fd = tcp_to('e');

	send(fd, "abc", 3, 0);
	alarm_in(100, 0);
	SHOW(recv(fd, buf, 10, MSG_WAITALL));
	alarm_in(100, SA_RESTART);
	send(fd, "abc", 3, 0);
	SHOW(set_timeout(fd, SO_RCVTIMEO, 300));
	SHOW(recv(fd, buf, 10, MSG_WAITALL));
	send(fd, "abc", 3, 0);
	SHOW(recv(fd, buf, 10, MSG_WAITALL | MSG_PEEK));
	SHOW(recv(fd, buf, 10, MSG_DONTWAIT));
	close(fd);
	fd = tcp_to('o');
	SHOW(recv(fd, buf, 3, MSG_WAITALL | MSG_PEEK));
	show_text("peeked", buf, 3);
	SHOW(recv(fd, buf, 3, MSG_WAITALL));
	close(fd);
	fd = tcp_to('s');
	SHOW(recv(fd, buf, 10, MSG_WAITALL | MSG_PEEK));
	SHOW(recv(fd, buf, 10, MSG_WAITALL));
	close(fd);
}

/* --- another thread acts while one waits --- */

struct act {
	int fd, other;
	char what;
};

static void *act(void *arg)
{
	struct act *a = arg;

	nap_ms(150);
	switch (a->what) {
	case 'c':
		close(a->fd);
		break;
	case 's':
		shutdown(a->fd, SHUT_RDWR);
		break;
	case 'd':
		dup2(a->other, a->fd);
		break;
	default:
		break;
	}
	return NULL;
}

static long while_waiting(char what, int fd, long (*wait)(int fd))
{
	struct act a = {.fd = fd, .other = open("/dev/null", O_RDWR), .what = what};
	pthread_t thread;
	long ret;
	int error;

	pthread_create(&thread, NULL, act, &a);
	errno = 0;
	ret = wait(fd);
	error = errno;
	pthread_join(thread, NULL);
	close(a.other);
	errno = error;
	return ret;
}

static long wait_recv(int fd)
{
	char buf[8];

	return recv(fd, buf, sizeof(buf), 0);
}

static long wait_accept(int fd)
{
	return accept(fd, NULL, NULL) >= 0 ? 0 : -1;
}

static long wait_poll(int fd)
{
	return poll_for(fd, POLLIN, 600);
}

static void threads(void)
{
	in_port_t port;
	char c;
	int fd = tcp_to('d'); /* "late" comes after the close */

	SHOW(while_waiting('c', fd, wait_recv));
	SHOW(recv(fd, &c, 1, 0));
	fd = tcp_to('d');
	SHOW(while_waiting('d', fd, wait_recv));
	SHOW(read(fd, &c, 1));
	close(fd);
	fd = tcp_to('e');
	SHOW(while_waiting('s', fd, wait_recv));
	close(fd);
	fd = tcp_to('e');
	SHOW(while_waiting('s', fd, wait_poll));
	close(fd);
	fd = udp_to();
	SHOW(while_waiting('s', fd, wait_recv));
	close(fd);
	fd = listener(&port);
	SHOW(while_waiting('s', fd, wait_accept));
	close(fd);
	fd = tcp_to('e');
	SHOW(while_waiting('c', fd, wait_poll));
}

/* --- cancellation --- */

static volatile int cleaned;

static void clean(void *arg)
{
	(void)arg;
	cleaned++;
}

struct victim {
	int fd;
	long (*wait)(int fd);
	int nap_ms;
};

static void *be_cancelled(void *arg)
{
	struct victim *v = arg;
	long ret;

	pthread_cleanup_push(clean, NULL);
	for (double until = now_s() + v->nap_ms * 1e-3; v->nap_ms && now_s() < until;)
		; /* no cancellation point: the request waits for the call */
	ret = v->wait(v->fd);
	pthread_cleanup_pop(0);
	return (void *)ret;
}

static void cancelled(const char *name, int fd, long (*wait)(int fd), int nap)
{
	struct victim v = {.fd = fd, .wait = wait, .nap_ms = nap};
	pthread_t thread;
	void *ret;

	cleaned = 0;
	pthread_create(&thread, NULL, be_cancelled, &v);
	nap_ms(100);
	pthread_cancel(thread);
	pthread_join(thread, &ret);
	printf("cancelled in %s: %d, cleaned %d\n", name, ret == PTHREAD_CANCELED, cleaned);
}

static long wait_send(int fd)
{
	static char big[8 << 20];
	long ret = 1;

	while (ret > 0)
		ret = send(fd, big, sizeof(big), 0);
	return ret;
}

static long wait_connect(int fd)
{
	struct sockaddr_in nobody = server;

	nobody.sin_addr.s_addr = (server.sin_addr.s_addr & htonl(0xffffff00)) | htonl(78);
	return connect(fd, (struct sockaddr *)&nobody, sizeof(nobody));
}

static void cancellation(void)
{
	in_port_t port;
	char buf[8];
	int fd = tcp_to('e'), other;

	cancelled("recv", fd, wait_recv, 0);
	cancelled("poll", fd, wait_poll, 0);
	SHOW(send(fd, "abc", 3, 0));
	SHOW(recv(fd, buf, 3, MSG_WAITALL));
	SHOW(send(fd, "abc", 3, 0));
	cancelled("recv with data", fd, wait_recv, 300);
	SHOW(recv(fd, buf, 3, MSG_WAITALL));
	close(fd);
	fd = listener(&port);
	cancelled("accept", fd, wait_accept, 0);
	other = call_back(port);
	SHOW(wait_accept(fd));
	close(other);
	close(fd);
	fd = tcp_to('h');
	cancelled("send", fd, wait_send, 0);
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	cancelled("connect", fd, wait_connect, 0);
	close(fd);
}

/* The peer's end comes when the blocked call has returned, not when the number is closed. */
static void held(void)
{
	in_port_t port;
	int fd = listener(&port), keep;

	keep = call_back(port);
	nap_ms(100);
	SHOW(while_waiting('c', fd, wait_accept));
	close(keep);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	connects();
	fast_open();
	unanswered();
	accepts();
	no_numbers();
	signals();
	handlers();
	full();
	wait_all();
	threads();
	cancellation();
	held();
	return 0;
}
