/* TCP sockets through every form of call: fresh, connected, at their end; modes, flags, bad memory.
 */
#include "tests/diff/calls.h"

static void socket_arguments(void)
{
	SHOW(socket(AF_INET, 99, 0));
	SHOW(socket(AF_INET, SOCK_STREAM, 17));
	SHOW(socket(AF_INET, SOCK_DGRAM, 6));
	SHOW(socket(AF_INET, SOCK_STREAM, -1));
	SHOW(socket(AF_INET, SOCK_STREAM, 9999));
	SHOW(socket(AF_INET, SOCK_SEQPACKET, 0));
	SHOW(socket(AF_INET, SOCK_RDM, 0));
	SHOW(socket(AF_INET, 0, 0));
	SHOW(socket(AF_INET, 7, 0));
	SHOW(socket(AF_INET, SOCK_STREAM | 0x100, 0));
	SHOW(socket(AF_INET, SOCK_STREAM | 0x10000000, 0));
}

static void fresh(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0), mark;
	char c = 0;

	printf("fresh poll: %x\n", poll_now(fd));
	SHOW(recv(fd, &c, 1, 0));
	SHOW(read(fd, &c, 1));
	SHOW(read(fd, &c, 0));
	SHOW(recv(fd, &c, 0, 0));
	SHOW(recv(fd, &c, 1, MSG_OOB));
	SHOW(recv(fd, &c, 1, MSG_ERRQUEUE));
	SHOW(send(fd, &c, 1, MSG_NOSIGNAL));
	SHOW(send(fd, &c, 0, MSG_NOSIGNAL));
	pipes = 0;
	SHOW(write(fd, &c, 1));
	SHOW(write(fd, &c, 0));
	SHOW(sendto(fd, &c, 1, 0, (struct sockaddr *)&server, sizeof(server)));
	SHOW(pipes);
	SHOW(getpeername(fd, (struct sockaddr *)&a, &len));
	SHOW(getsockname(fd, (struct sockaddr *)&a, &len));
	printf("fresh name: %u %d %x %d\n", len, a.sin_family, a.sin_addr.s_addr, a.sin_port);
	SHOW(accept(fd, NULL, NULL));
	SHOW(shutdown(fd, SHUT_WR));
	SHOW(shutdown(fd, 7));
	SHOW(sockatmark(fd));
	SHOW(ioctl(fd, FIONREAD, &mark));
	SHOW(ioctl(fd, TIOCOUTQ, &mark));
	SHOW(ioctl(fd, 0x1234, &mark));
	SHOW(listen(fd, 5));
	SHOW(listen(fd, 0));
	SHOW(connect(fd, (struct sockaddr *)&server, sizeof(server)));
	SHOW(recv(fd, &c, 1, 0));
	SHOW(send(fd, &c, 1, MSG_NOSIGNAL));
	SHOW(ioctl(fd, FIONREAD, &mark));
	close(fd);
	SHOW(recv(fd, &c, 1, 0));
	SHOW(close(fd));
}

static void names(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET}, b;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len;

	SHOW(bind(fd, (struct sockaddr *)&a, 15));
	SHOW(bind(fd, (struct sockaddr *)&a, 1000));
	SHOW(bind(fd, bad, sizeof(a)));
	SHOW(bind(fd, NULL, 0));
	a.sin_family = AF_UNIX;
	SHOW(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	a.sin_family = AF_UNSPEC;
	a.sin_addr.s_addr = htonl(0x08080808);
	SHOW(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	a.sin_family = AF_INET;
	SHOW(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	a.sin_addr.s_addr = 0;
	a.sin_family = AF_UNSPEC;
	a.sin_port = htons(5555);
	SHOW(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	SHOW(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	len = sizeof(b);
	SHOW(getsockname(fd, (struct sockaddr *)&b, &len));
	printf("bound: %u %d %x %d\n", len, b.sin_family, b.sin_addr.s_addr, ntohs(b.sin_port));
	len = 3;
	memset(&b, 0xee, sizeof(b));
	SHOW(getsockname(fd, (struct sockaddr *)&b, &len));
	printf("short: %u %02x\n", len, ((unsigned char *)&b)[3]);
	len = 0;
	SHOW(getsockname(fd, NULL, &len));
	printf("empty: %u\n", len);
	len = 128;
	SHOW(getsockname(fd, (struct sockaddr *)&b, &len));
	printf("long: %u\n", len);
	len = (socklen_t)-1;
	SHOW(getsockname(fd, (struct sockaddr *)&b, &len));
	SHOW(getsockname(fd, (struct sockaddr *)&b, bad));
	len = sizeof(b);
	SHOW(getsockname(fd, bad, &len));
	SHOW(getsockname(fd, NULL, NULL));
	SHOW(connect(fd, NULL, 0));
	SHOW(connect(fd, bad, 16));
	SHOW(connect(fd, (struct sockaddr *)&a, 1));
	a.sin_family = AF_INET;
	SHOW(connect(fd, (struct sockaddr *)&a, 15));
	SHOW(connect(fd, (struct sockaddr *)&a, 1000));
	a.sin_family = AF_UNIX;
	SHOW(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	a.sin_family = AF_UNSPEC;
	SHOW(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	close(fd);
}

static void echoes(void)
{
	char buf[64], c = 'x';
	struct iovec iov[3] = {{buf, 1}, {buf + 1, 0}, {buf + 2, 3}};
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	int fd = tcp_to('e'), n;

	printf("connected poll: %x\n", poll_now(fd));
	SHOW(send(fd, "abcdef", 6, 0));
	poll_for(fd, POLLIN, 2000);
	SHOW(ioctl(fd, FIONREAD, &n));
	SHOW(n);
	SHOW(recv(fd, buf, 3, MSG_PEEK));
	show_text("peeked", buf, 3);
	SHOW(recvfrom(fd, buf, 2, 0, (struct sockaddr *)&from, &len));
	SHOW(len);
	show_text("got", buf, 2);
	SHOW(readv(fd, iov, 3));
	printf("readv: %c %.3s\n", buf[0], buf + 2);
	SHOW(recv(fd, buf, 1, MSG_DONTWAIT));
	SHOW(recv(fd, buf, 0, MSG_DONTWAIT));
	SHOW(read(fd, buf, 0));
	SHOW(recv(fd, buf, 1, MSG_OOB));
	SHOW(recv(fd, buf, 1, MSG_ERRQUEUE));
	SHOW(writev(fd, iov, 3));
	SHOW(recv(fd, buf, 4, MSG_WAITALL));
	SHOW(sendto(fd, "12", 2, 0, (struct sockaddr *)&from, 99999));
	SHOW(sendto(fd, "12", 2, 0, (struct sockaddr *)&server, 3));
	SHOW(recv(fd, buf, 2, MSG_WAITALL));
	SHOW(send(fd, "0123456789", 10, MSG_MORE));
	SHOW(send(fd, "0123456789", 10, 0));
	SHOW(recv(fd, buf, 15, MSG_TRUNC | MSG_WAITALL));
	SHOW(recv(fd, buf, 5, MSG_WAITALL));
	show_text("after trunc", buf, 5);
	SHOW(connect(fd, (struct sockaddr *)&server, sizeof(server)));
	SHOW(listen(fd, 1));
	SHOW(bind(fd, (struct sockaddr *)&server, sizeof(server)));
	SHOW(accept(fd, NULL, NULL));
	SHOW(shutdown(fd, SHUT_WR));
	pipes = 0;
	SHOW(send(fd, &c, 1, 0));
	SHOW(send(fd, &c, 1, MSG_NOSIGNAL));
	SHOW(pipes);
	SHOW(recv(fd, &c, 1, 0));
	SHOW(recv(fd, &c, 1, 0));
	nap_ms(50);
	printf("closed poll: %x\n", poll_now(fd));
	SHOW(shutdown(fd, SHUT_WR));
	SHOW(getpeername(fd, (struct sockaddr *)&from, &len));
	close(fd);
}

/* Bad memory gives EFAULT, and nothing is lost. */
static void memory(void)
{
	struct iovec iov[2], many[1025];
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	char buf[64] = {0};
	int fd = tcp_to('e'), n;

	for (n = 0; n < 1025; n++)
		many[n] = (struct iovec){buf, 1};
	iov[0] = (struct iovec){buf, 2};
	iov[1] = (struct iovec){bad, 2};
	SHOW(send(fd, bad, 5, 0));
	SHOW(send(fd, bad, 100000, 0));
	SHOW(write(fd, none, 1));
	SHOW(writev(fd, bad, 1));
	SHOW(writev(fd, iov, minus));
	SHOW(writev(fd, iov, 0));
	SHOW(readv(fd, iov, 0));
	SHOW(writev(fd, many, 1025));
	SHOW(writev(fd, many, 1024));
	SHOW(recv(fd, bad, 1, 0));
	SHOW(recv(fd, none, 5, 0));
	SHOW(recvmsg(fd, bad, 0));
	SHOW(sendmsg(fd, bad, 0));
	msg.msg_iovlen = 1025;
	SHOW(sendmsg(fd, &msg, 0));
	SHOW(recvmsg(fd, &msg, 0));
	msg.msg_iovlen = 1;
	msg.msg_iov = bad;
	SHOW(sendmsg(fd, &msg, 0));
	SHOW(recvmsg(fd, &msg, 0));
	for (n = 0; n < 1024;) {
		ssize_t got = recv(fd, buf, sizeof(buf), 0);

		if (got <= 0)
			break;
		n += (int)got;
	}
	SHOW(n);
	iov[1].iov_len = (size_t)-1;
	SHOW(writev(fd, iov, 2));
	SHOW(readv(fd, iov, 2));
	iov[1].iov_len = SIZE_MAX >> 1;
	SHOW(writev(fd, iov, 2));
	SHOW(readv(fd, iov, 2));
	SHOW(send(fd, "abcd", 4, 0));
	poll_for(fd, POLLIN, 2000);
	nap_ms(20);
	iov[1].iov_len = 2;
	SHOW(recv(fd, bad, 4, 0));
	SHOW(recv(fd, buf, 4, MSG_DONTWAIT));
	show_text("kept", buf, 4);
	SHOW(recv(fd, buf, (size_t)-minus << 40, MSG_DONTWAIT));
	SHOW(recv(fd, buf, (size_t)minus, MSG_DONTWAIT));
	SHOW(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, bad, 4));
	SHOW(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &n, (socklen_t)-1));
	SHOW(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &n, bad));
	SHOW(ioctl(fd, FIONREAD, bad));
	SHOW(ioctl(fd, FIONBIO, bad));
	close(fd);
}

static void messages(void)
{
	char buf[16], control[64] __attribute__((aligned(8)));
	struct iovec iov = {buf, sizeof(buf)};
	struct sockaddr_in from;
	struct msghdr msg = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
		.msg_flags = 0x7777,
	};
	struct mmsghdr mm[2] = {{.msg_hdr = msg}, {.msg_hdr = msg}};
	struct timespec wait = {0, 1000000};
	int fd = tcp_to('e');

	SHOW(send(fd, "12345", 5, 0));
	SHOW(recvmsg(fd, &msg, 0));
	printf("msg: %u %zu %x\n", msg.msg_namelen, msg.msg_controllen, (unsigned)msg.msg_flags);
	iov.iov_len = 4;
	mm[0].msg_hdr.msg_controllen = mm[1].msg_hdr.msg_controllen = 0;
	SHOW(sendmmsg(fd, mm, 2, 0));
	nap_ms(50);
	SHOW(recvmmsg(fd, mm, 2, MSG_DONTWAIT, NULL));
	printf("mmsg: %u %u\n", mm[0].msg_len, mm[1].msg_len);
	SHOW(recvmmsg(fd, mm, 2, MSG_DONTWAIT, &wait));
	wait.tv_nsec = -1;
	SHOW(recvmmsg(fd, mm, 2, MSG_DONTWAIT, &wait));
	SHOW(recvmmsg(fd, mm, 0, MSG_DONTWAIT, NULL));
	memset(control, 0, sizeof(control));
	((struct cmsghdr *)control)->cmsg_len = 5;
	msg.msg_controllen = sizeof(control);
	SHOW(sendmsg(fd, &msg, 0));
	((struct cmsghdr *)control)->cmsg_len = 20;
	((struct cmsghdr *)control)->cmsg_level = SOL_IP;
	((struct cmsghdr *)control)->cmsg_type = 99;
	msg.msg_controllen = 20;
	SHOW(sendmsg(fd, &msg, 0));
	((struct cmsghdr *)control)->cmsg_level = SOL_SOCKET;
	SHOW(sendmsg(fd, &msg, 0));
	close(fd);
}

static void modes(void)
{
	int fd = tcp_to('e'), copy = dup(fd), on = 1;
	char buf[16];
	double t;

	printf("flags: %x\n", (unsigned)fcntl(fd, F_GETFL));
	SHOW(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK));
	printf("flags: %x %x\n", (unsigned)fcntl(fd, F_GETFL), (unsigned)fcntl(copy, F_GETFL));
	SHOW(recv(copy, buf, 1, 0));
	SHOW(fcntl(copy, F_SETFL, 0));
	printf("flags: %x\n", (unsigned)fcntl(fd, F_GETFL));
	SHOW(ioctl(fd, FIONBIO, &on));
	SHOW(read(copy, buf, 1));
	on = 0;
	SHOW(ioctl(fd, FIONBIO, &on));
	SHOW(set_timeout(fd, SO_RCVTIMEO, 100));
	t = now_s();
	SHOW(recv(fd, buf, 1, 0));
	show_wait("timeout", t, 0.1);
	SHOW(send(fd, "abc", 3, 0));
	t = now_s();
	SHOW(recv(fd, buf, 10, MSG_WAITALL));
	show_wait("partial", t, 0.1);
	on = 5;
	SHOW(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &on, sizeof(on)));
	SHOW(send(fd, "abc", 3, 0));
	SHOW(recv(fd, buf, 10, 0));
	SHOW(close(copy));
	SHOW(send(fd, "abc", 3, 0));
	SHOW(recv(fd, buf, 3, MSG_WAITALL));
	close(fd);
}

static void ends(void)
{
	char buf[16];
	int fd = tcp_to('f');

	nap_ms(100);
	printf("fin poll: %x\n", poll_now(fd));
	SHOW(recv(fd, buf, 1, 0));
	SHOW(error_of(fd));
	close(fd);
	fd = tcp_to('s');
	nap_ms(100);
	printf("hello poll: %x\n", poll_now(fd));
	SHOW(recv(fd, buf, 16, MSG_WAITALL));
	SHOW(recv(fd, buf, 16, 0));
	close(fd);
	fd = tcp_to('r');
	nap_ms(100);
	printf("reset poll: %x\n", poll_now(fd));
	SHOW(recv(fd, buf, 1, 0));
	SHOW(recv(fd, buf, 1, 0));
	SHOW(send(fd, buf, 1, MSG_NOSIGNAL));
	printf("reset poll: %x\n", poll_now(fd));
	SHOW(error_of(fd));
	close(fd);
	fd = tcp_to('r');
	nap_ms(100);
	pipes = 0;
	SHOW(write(fd, buf, 1));
	SHOW(write(fd, buf, 1));
	SHOW(pipes);
	SHOW(read(fd, buf, 1));
	close(fd);
	fd = tcp_to('r');
	nap_ms(100);
	SHOW(error_of(fd));
	SHOW(read(fd, buf, 1));
	close(fd);
	fd = tcp_to('e');
	SHOW(shutdown(fd, SHUT_RD));
	SHOW(recv(fd, buf, 1, 0));
	printf("shut rd poll: %x\n", poll_now(fd));
	SHOW(send(fd, "x", 1, 0));
	SHOW(shutdown(fd, SHUT_RDWR));
	SHOW(recv(fd, buf, 1, MSG_DONTWAIT) >= 0);
	close(fd);
}

static void urgent(void)
{
	char buf[16];
	int fd = tcp_to('o'), on = 1;

	nap_ms(250);
	printf("urgent poll: %x\n", poll_now(fd));
	SHOW(sockatmark(fd));
	SHOW(recv(fd, buf, 16, MSG_DONTWAIT));
	SHOW(sockatmark(fd));
	SHOW(recv(fd, buf, 16, MSG_OOB | MSG_PEEK));
	SHOW(recv(fd, buf, 16, MSG_OOB));
	show_text("urgent", buf, 1);
	SHOW(recv(fd, buf, 16, MSG_OOB));
	SHOW(recv(fd, buf, 16, MSG_DONTWAIT));
	show_text("behind", buf, 1);
	SHOW(sockatmark(fd));
	close(fd);
	fd = tcp_to('o');
	SHOW(setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)));
	nap_ms(250);
	SHOW(recv(fd, buf, 16, MSG_DONTWAIT));
	SHOW(sockatmark(fd));
	SHOW(recv(fd, buf, 16, MSG_OOB));
	SHOW(recv(fd, buf, 16, MSG_DONTWAIT));
	SHOW(send(fd, "u", 1, MSG_OOB));
	close(fd);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	socket_arguments();
	fresh();
	names();
	echoes();
	memory();
	messages();
	modes();
	ends();
	urgent();
	return 0;
}
