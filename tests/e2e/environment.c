/*
 * A program in surroundings that take away what a library would like to have: each case echoes over
 * stack sockets before and after, and fails with a sentence.
 *
 *   environment CASE ADDRESS PORT      against tests/diff/calls_peer
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#define NOBODY 65534

static struct sockaddr_in peer;

static void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* By write alone, as it must work in the sandbox. */
static void die(const char *format, ...)
{
	char text[256];
	va_list args;
	int n, error = errno;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text) - 64, format, args);
	va_end(args);
	n += snprintf(text + n, 64, " (%s)\n", strerrorname_np(error));
	if (write(1, text, (size_t)n) < 0)
		_exit(2);
	_exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A connection to the peer, which does what the letter says. */
static int open_peer(char what)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	if (connect(fd, (struct sockaddr *)&peer, sizeof(peer)))
		die("connect");
	if (write(fd, &what, 1) != 1)
		die("first write");
	return fd;
}

static int open_peer_quiet(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || sendto(fd, "?", 1, 0, (struct sockaddr *)&peer, sizeof(peer)) != 1)
		die("socket");
	return fd;
}

static void echo(int fd, size_t size)
{
	static char out[65536], in[65536];
	static unsigned seed = 1;
	size_t got = 0;

	for (size_t i = 0; i < size; i++)
		out[i] = (char)rand_r(&seed);
	if (write(fd, out, size) != (ssize_t)size)
		die("write of %zu bytes", size);
	while (got < size) {
		ssize_t n = read(fd, in + got, size - got);

		if (n <= 0)
			die("read after %zu of %zu bytes gave %zd", got, size, n);
		got += (size_t)n;
	}
	if (memcmp(in, out, size) != 0)
		die("other bytes came back");
}

static void echo_all(int fd)
{
	echo(fd, 1);
	echo(fd, 1000);
	echo(fd, 60000);
}

static void echo_datagram(void)
{
	struct timeval second = {1, 0};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char buf[8];

	if (fd < 0)
		die("datagram socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
	if (sendto(fd, "hello", 5, 0, (struct sockaddr *)&peer, sizeof(peer)) != 5 ||
		recv(fd, buf, sizeof(buf), 0) != 5)
		die("datagram echo");
	close(fd);
}

static void echo_new(void)
{
	int fd = open_peer('e');

	echo_all(fd);
	if (close(fd))
		die("close");
	echo_datagram();
}

/* Status of a child: its own complaint has been printed by it. */
static void wait_for(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (WIFSIGNALED(status))
		die("the child died of signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status))
		_exit(1);
}

/* --- descriptors --- */

static void close_before(void)
{
	close_range(3, ~0u, 0);
	closefrom(3);
	echo_new();
}

static void close_after(void)
{
	int fd = open_peer('e');

	echo_all(fd);
	close_range(3, ~0u, 0);
	if (fcntl(fd, F_GETFD) != -1 || errno != EBADF)
		die("close_range left the socket open");
	fd = open_peer('e');
	if (fd != 3)
		die("the next number is %d", fd);
	echo_all(fd);
	closefrom(3);
	echo_new();
	close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	echo_new();
}

/* As daemons do it that know no close_range. */
static void close_each(void)
{
	echo_new();
	for (int fd = 3; fd < 20000; fd++)
		close(fd);
	echo_new();
	for (int fd = 3; fd < 20000; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	for (int fd = 900; fd < 1200; fd++) {
		if (dup2(0, fd) == fd)
			close(fd);
	}
	echo_new();
}

/* The number that a program's limit allows to poll is one: neither the device nor a bell beside it.
 */
static void one_number(void)
{
	struct rlimit one = {1, 1};
	struct timeval tenth = {0, 100000};
	int fd = open_peer('e'), late = open_peer('d'), quiet = open_peer('h');
	struct pollfd p = {.fd = quiet, .events = POLLIN};
	double start;

	setsockopt(quiet, SOL_SOCKET, SO_RCVTIMEO, &tenth, sizeof(tenth));
	if (setrlimit(RLIMIT_NOFILE, &one))
		die("setrlimit");
	for (int i = 0; i < 100; i++)
		echo(fd, 1000);
	echo_all(fd);
	start = now();
	if (poll(&p, 1, 100) != 0 || now() - start < 0.09 || now() - start > 1)
		die("poll of a quiet socket after %g s", now() - start);
	start = now();
	if (read(quiet, &tenth, 1) >= 0 || errno != EAGAIN || now() - start > 1)
		die("timed read of a quiet socket after %g s", now() - start);
	p.fd = late;
	if (poll(&p, 1, 2000) != 1 || read(late, &tenth, 4) != 4)
		die("no late answer");
	if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || errno != EMFILE)
		die("a socket beyond the limit");
	if (close(fd) || close(late) || close(quiet))
		die("close");
}

/* --- the sandbox of sshd's process before authentication --- */

#define ALLOW(nr)                                                                                  \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##nr, 0, 1),                                       \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define DENY(nr)                                                                                   \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##nr, 0, 1),                                       \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES)

static void sandbox(void)
{
	static struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		DENY(open),
		DENY(openat),
		DENY(stat),
		DENY(lstat),
		DENY(fstat),
		DENY(newfstatat),
		DENY(shmget),
		DENY(shmat),
		DENY(shmdt),
		ALLOW(brk),
		ALLOW(clock_gettime),
		ALLOW(close),
		ALLOW(exit),
		ALLOW(exit_group),
		ALLOW(futex),
		ALLOW(geteuid),
		ALLOW(getpgid),
		ALLOW(getpid),
		ALLOW(getrandom),
		ALLOW(gettid),
		ALLOW(gettimeofday),
		ALLOW(getuid),
		ALLOW(madvise),
		ALLOW(mremap),
		ALLOW(munmap),
		ALLOW(nanosleep),
		ALLOW(clock_nanosleep),
		ALLOW(ppoll),
		ALLOW(poll),
		ALLOW(pselect6),
		ALLOW(read),
		ALLOW(rt_sigprocmask),
		ALLOW(select),
		ALLOW(shutdown),
		ALLOW(time),
		ALLOW(write),
		ALLOW(writev),
		/* mmap of what is not to be executed */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
	struct rlimit none = {0, 0}, one = {1, 1};

	if (setrlimit(RLIMIT_FSIZE, &none) || setrlimit(RLIMIT_NOFILE, &one) ||
		setrlimit(RLIMIT_NPROC, &none))
		die("setrlimit");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
}

static void in_sandbox(int fd, int late, int quiet)
{
	struct pollfd p = {.fd = quiet, .events = POLLIN};
	struct timespec tenth = {0, 100000000};
	struct timeval soon = {0, 100000};
	double start = now();
	sigset_t none;
	fd_set set;
	char buf[16];

	sigemptyset(&none);
	for (int i = 0; i < 200; i++)
		echo(fd, 1000);
	echo_all(fd);
	if (read(quiet, buf, 1) != -1 || errno != EAGAIN)
		die("a read that does not block");
	start = now();
	if (poll(&p, 1, 100) != 0 || now() - start < 0.09)
		die("poll of a quiet socket after %g s", now() - start);
	if (ppoll(&p, 1, &tenth, &none) != 0 || now() - start < 0.19)
		die("ppoll of a quiet socket after %g s", now() - start);
	FD_ZERO(&set);
	FD_SET(quiet, &set);
	if (select(quiet + 1, &set, NULL, NULL, &soon) != 0 || now() - start < 0.29)
		die("select of a quiet socket after %g s", now() - start);
	if (read(late, buf, 4) != 4)
		die("no late answer");
	for (int i = 0; i < 20; i++) {
		p.fd = fd;
		if (write(fd, "abcd", 4) != 4 || poll(&p, 1, 2000) != 1 || read(fd, buf, 16) <= 0)
			die("polled echo");
	}
	if (shutdown(fd, SHUT_WR))
		die("shutdown");
	while (read(fd, buf, sizeof(buf)) > 0)
		;
	if (close(fd) || close(late) || close(quiet))
		die("close");
}

/* parent_drives: another process of the host waits on a stack socket meanwhile. */
static void sandboxed(bool parent_drives)
{
	int fd = open_peer('e'), late = open_peer('d'), quiet = open_peer('h');
	int other = parent_drives ? open_peer('e') : -1;
	struct pollfd p = {.fd = other, .events = POLLIN};
	pid_t pid;

	fcntl(quiet, F_SETFL, O_NONBLOCK);
	pid = fork();
	if (pid == 0) {
		if (chroot("/proc/self/fdinfo") || chdir("/") || setgroups(0, NULL) ||
			setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
			die("giving up privileges");
		sandbox();
		in_sandbox(fd, late, quiet);
		_exit(0);
	}
	close(fd);
	close(late);
	close(quiet);
	if (parent_drives) {
		for (int i = 0; i < 20; i++) {
			if (poll(&p, 1, 20) != 0)
				die("something came");
			echo(other, 1000);
		}
	}
	wait_for(pid);
	echo_new();
}

static void in_sandbox_alone(void)
{
	sandboxed(false);
}

static void in_sandbox_beside(void)
{
	sandboxed(true);
}

/* --- places and users --- */

static void chroot_after(void)
{
	char folder[] = "/tmp/ustack-chroot.XXXXXX";
	int fd;

	if (!mkdtemp(folder))
		die("mkdtemp");
	fd = open_peer('e');
	if (chroot(folder) || chdir("/") || rmdir("/../../../../nothing") == 0)
		die("chroot");
	echo_all(fd);
	echo_new();
}

/* The host runs already: nothing outside the new root is needed to join it. */
static void chroot_before(void)
{
	if (chroot("/proc/self/fdinfo") || chdir("/"))
		die("chroot");
	echo_new();
}

static void become_nobody(void)
{
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
		setresuid(NOBODY, NOBODY, NOBODY))
		die("setresuid");
}

/* A worker under another user goes on, and so do its children; one of them is killed. */
static void other_user(void)
{
	int fd = open_peer('e'), status;
	pid_t pid = fork();

	if (pid == 0) {
		become_nobody();
		echo_all(fd);
		echo_new();
		pid = fork();
		if (pid == 0) {
			echo_all(fd);
			echo_new();
			raise(SIGKILL);
		}
		if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
			die("the grandchild did not end as it should");
		echo_all(fd);
		echo_new();
		_exit(0);
	}
	wait_for(pid);
	echo_all(fd);
	if (setuid(NOBODY))
		die("setuid");
	echo_all(fd);
	echo_new();
}

/* A program that another user begins by exec has no part in the host. */
static void foreign_exec(void)
{
	extern char **environ;
	int fd = open_peer_quiet();

	fcntl(fd, F_SETFD, 0);
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
		setresuid(NOBODY, NOBODY, NOBODY))
		die("setresuid");
	execle("/proc/self/exe", "environment", "after-exec", "10.0.0.1", "7777", NULL, environ);
	die("exec");
}

static void after_exec(void)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");

	if (!maps)
		die("maps");
	while (fgets(line, sizeof(line), maps)) {
		if (strstr(line, "memfd:ustack"))
			die("the region is mapped");
	}
	fclose(maps);
	for (int fd = 4; fd < 65536; fd++) {
		char link[64], target[128] = "";

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		if (readlink(link, target, sizeof(target) - 1) > 0 &&
			(strstr(target, "ustack") || strstr(target, "/net/tun") ||
				strstr(target, "event")))
			die("%s is %s", link, target);
	}
	if (socket(AF_INET, SOCK_STREAM, 0) >= 0)
		die("a socket of the other user's host");
}

/* --- memory --- */

static void locked_memory(void)
{
	int fd = open_peer('e');

	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		die("mlockall");
	echo_all(fd);
	echo_new();
	munlockall();
}

static void locked_before(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		die("mlockall");
	echo_new();
}

static void any_place(void)
{
	echo_new();
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{"close-before", close_before},
	{"close-after", close_after},
	{"close-each", close_each},
	{"one-number", one_number},
	{"sandbox", in_sandbox_alone},
	{"sandbox-beside", in_sandbox_beside},
	{"chroot-after", chroot_after},
	{"chroot-before", chroot_before},
	{"other-user", other_user},
	{"foreign-exec", foreign_exec},
	{"after-exec", after_exec},
	{"locked-memory", locked_memory},
	{"locked-before", locked_before},
	{"echo", any_place},
};

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	peer.sin_family = AF_INET;
	peer.sin_addr.s_addr = inet_addr(argv[2]);
	peer.sin_port = htons((unsigned short)atoi(argv[3]));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!strcmp(cases[i].name, argv[1])) {
			cases[i].run();
			puts("well");
			return 0;
		}
	}
	return 2;
}
