/*
 * What happens to a socket unseen, as no call of the C library makes it: another process takes it
 * (pidfd_getfd), system calls close it or put another file in its place.
 */
#include "tests/diff/calls_rights.h"

#include <sys/pidfd.h>
#include <sys/syscall.h>

static pid_t owner;
static int owned;

static void steal(void)
{
	int p, fd;

	await_order();
	if (read(order[0], &owned, sizeof(owned)) != sizeof(owned))
		_exit(1);
	p = pidfd_open(owner, 0);
	fd = pidfd_getfd(p, owned, 0);
	SAY(fd >= 0);
	SAY(answers(fd));
	await_order();
	SAY(close(fd));
}

static void stolen(void)
{
	int a, b;
	pid_t pid;

	ways();
	owner = getpid();
	close(socket(AF_INET, SOCK_STREAM, 0));
	pid = receiver(steal);
	b = pair_of(&a);
	go_on();
	if (write(order[1], &b, sizeof(b)) != sizeof(b))
		exit(1);
	SHOW(echoes(a));
	listen_to(2);
	SHOW(close(b));
	SHOW(lives(a));
	go_on();
	listen_to(1);
	SHOW(ends(a));
	end(pid);
	close(a);
	no_ways();
}

/* --- closes that no library sees --- */

static long kernel(long nr, long x, long y, long z)
{
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(x), "S"(y), "d"(z)
			 : "rcx", "r11", "memory");
	return ret;
}

static const char *const zero = "/dev/zero";

static int fill[33], filled;

/* Uses up the numbers below one. */
static void fill_below(int fd)
{
	while (filled < 32 && (fill[filled] = open(zero, O_RDWR)) < fd)
		filled++;
	close(fill[filled]);
}

static long opened(int fd)
{
	(void)fd;
	return open(zero, O_RDWR);
}

static long opened_raw(int fd)
{
	(void)fd;
	return syscall(SYS_open, zero, O_RDWR);
}

static long put_there(int fd)
{
	return kernel(SYS_dup2, fill[0], fd, 0);
}

/* The number is another file's now: what was the socket's there is not its. */
static void number_reused(long (*reuse)(int fd), bool closed)
{
	char c = 'c';
	int a, b;

	b = pair_of(&a);
	fill_below(b);
	if (closed)
		SHOW(kernel(SYS_close, b, 0, 0));
	SHOW(reuse(b) == b);
	SHOW(read(b, &c, 1));
	SHOW(c);
	SHOW(write(b, "x", 1));
	SHOW(ends(a));
	close(a);
	close(b);
}

static void number_changed(void)
{
	int a, b, other, far;

	b = pair_of(&a);
	other = pair_of(&far);
	SHOW(kernel(SYS_dup2, other, b, 0) == b);
	SHOW(send(far, "q", 1, 0));
	SHOW(answers(b));
	SHOW(recv(far, (char[1]){0}, 1, 0));
	SHOW(ends(a));
	close(a);
	close(other);
	SHOW(lives(far));
	close(b);
	SHOW(ends(far));
	close(far);
}

static void passed_and_closed(void)
{
	struct parcel p;
	int a, b, got[16];

	ways();
	b = pair_of(&a);
	SHOW(pass(b));
	SHOW(kernel(SYS_close, b, 0, 0));
	SHOW(lives(a));
	pack(&p, NULL, 1);
	SHOW(kernel(SYS_recvmsg, way[1], (long)&p.msg, 0));
	SHOW(unpack(&p, got));
	SHOW(lives(a));
	SHOW(kernel(SYS_close, got[0], 0, 0));
	SHOW(ends(a));
	close(a);
	no_ways();
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	stolen();
	number_reused(opened, true);
	number_reused(opened_raw, true);
	number_reused(put_there, false);
	while (filled)
		close(fill[--filled]);
	number_changed();
	passed_and_closed();
	return 0;
}
