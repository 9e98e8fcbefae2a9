/*
 * Programs that are started with sockets, and forks of every kind: which numbers go along, what can
 * be done with them, and when the connection ends for its other side.
 *
 *   calls_exec ADDRESS PORT [ROLE NUMBER]    the role is that of a program started by this one
 */
#include "tests/diff/calls.h"

#include <linux/sched.h>
#include <sched.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char **own;    /* argv */
static char path[64]; /* of this program */

/* Two ends of a connection to ourselves. */
static void pair(int fds[2])
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	in_port_t port;
	int l = listener(&port);

	getsockname(l, (struct sockaddr *)&addr, &len);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fds[0], (struct sockaddr *)&addr, sizeof(addr))) {
		perror("pair");
		exit(1);
	}
	fds[1] = accept(l, NULL, NULL);
	close(l);
}

static bool echoes(int fd)
{
	char c = 'e';

	return send(fd, &c, 1, MSG_NOSIGNAL) == 1 && recv(fd, &c, 1, 0) == 1 && c == 'e';
}

/* Whether the other side sees the end: at once, or not yet. */
static const char *state(int fd)
{
	char c;

	if (!poll_for(fd, POLLIN, 200))
		return "open";
	return recv(fd, &c, 1, MSG_DONTWAIT) == 0 ? "ended" : "data";
}

static void wait_end(int fd)
{
	char c;

	poll_for(fd, POLLIN, 3000);
	SHOW(recv(fd, &c, 1, MSG_DONTWAIT));
}

static void reap(const char *what, pid_t pid)
{
	int status = -1;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		show(what, -1);
	else
		printf("%s: exit %d signal %d\n", what, WEXITSTATUS(status), WTERMSIG(status));
}

/* --- what a started program does --- */

static void show_flags(int fd)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr), size = sizeof(int);
	int type = 0, nodelay = 0;

	SHOW(fcntl(fd, F_GETFD));
	SHOW(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE));
	SHOW(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size));
	SHOW(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size));
	printf("type %d nodelay %d\n", type, nodelay != 0);
	SHOW(getpeername(fd, (struct sockaddr *)&addr, &len));
	printf("peer: %s\n", addr.sin_port == server.sin_port ? "right" : "wrong");
}

static int play(const char *role, int fd)
{
	char buf[64];
	long n;

	if (!strcmp(role, "echo")) {
		printf("%s\n", echoes(fd) ? "echoed" : strerrorname_np(errno));
	} else if (!strcmp(role, "flags")) {
		show_flags(fd);
	} else if (!strcmp(role, "read")) {
		n = read(fd, buf, sizeof(buf));
		show_text("read", buf, n);
	} else if (!strcmp(role, "hold")) {
		nap_ms(600);
	} else if (!strcmp(role, "accept")) {
		int c = accept(fd, NULL, NULL);

		show("accepted", c < 0 ? -1 : 0);
		n = read(c, buf, sizeof(buf));
		show_text("read", buf, n);
		if (write(c, "answer", 6) != 6)
			return 1;
	} else if (!strcmp(role, "shutdown")) {
		SHOW(shutdown(fd, SHUT_WR));
		SHOW(write(fd, "x", 1));
		n = read(fd, buf, sizeof(buf));
		show_text("read", buf, n);
	} else if (!strcmp(role, "again")) {
		/* Once more to another program. */
		char number[12];

		snprintf(number, sizeof(number), "%d", fd);
		execl(path, path, own[1], own[2], "echo", number, NULL);
	} else if (!strcmp(role, "streams")) {
		if (!fgets(buf, sizeof(buf), stdin))
			return 1;
		printf("got %s", buf);
	}
	return 7;
}

/* --- starting one --- */

enum how {
	EXECVE,
	EXECL,
	EXECLE,
	EXECLP,
	EXECVP,
	EXECVPE,
	FEXECVE,
	EXECVEAT,
	BY_NUMBER,
	SPAWN,
	SPAWNP,
	HOWS
};

static char role_arg[16], number_arg[12];

static void become(enum how how, char *const argv[])
{
	int file = open(path, O_RDONLY | O_CLOEXEC), folder = open("/", O_PATH | O_CLOEXEC);

	switch (how) {
	case EXECL:
		execl(path, argv[0], argv[1], argv[2], argv[3], argv[4], NULL);
		break;
	case EXECLE:
		execle(path, argv[0], argv[1], argv[2], argv[3], argv[4], NULL, environ);
		break;
	case EXECLP:
		setenv("PATH", "/nowhere:/tmp:/proc/self:", 1);
		execlp("exe", argv[0], argv[1], argv[2], argv[3], argv[4], NULL);
		break;
	case EXECVP:
		execvp(path, argv);
		break;
	case EXECVPE:
		execvpe(path, argv, environ);
		break;
	case FEXECVE:
		fexecve(file, argv, environ);
		break;
	case EXECVEAT:
		execveat(folder, path + 1, argv, environ, 0);
		break;
	case BY_NUMBER:
		syscall(SYS_execve, path, argv, environ);
		break;
	default:
		execve(path, argv, environ);
		break;
	}
	show("exec", -1);
	_exit(99);
}

static pid_t start(enum how how, const char *role, int fd)
{
	char *argv[] = {own[0], own[1], own[2], role_arg, number_arg, NULL};
	pid_t pid = -1;

	snprintf(role_arg, sizeof(role_arg), "%s", role);
	snprintf(number_arg, sizeof(number_arg), "%d", fd);
	if (how == SPAWN || how == SPAWNP) {
		errno = (how == SPAWN ? posix_spawn : posix_spawnp)(
			&pid, path, NULL, NULL, argv, environ);
		return errno ? -1 : pid;
	}
	pid = fork();
	if (pid == 0)
		become(how, argv);
	return pid;
}

static void run(const char *what, enum how how, const char *role, int fd)
{
	printf("- %s\n", what);
	reap(what, start(how, role, fd));
}

static void ways(void)
{
	static const char *const names[] = {"execve", "execl", "execle", "execlp", "execvp",
		"execvpe", "fexecve", "execveat", "by number", "spawn", "spawnp"};
	int fd = tcp_to('e');

	for (int how = 0; how < HOWS; how++)
		run(names[how], (enum how)how, "echo", fd);
	run("twice", EXECVE, "again", fd);
	SHOW(echoes(fd));
	close(fd);
}

static void numbers(void)
{
	int fd = tcp_to('e'), high = dup2(fd, 77), closed = fcntl(fd, F_DUPFD_CLOEXEC, 30), on = 1,
	    late = tcp_to('s'), udp = udp_to();

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	run("high", EXECVE, "echo", high);
	run("close-on-exec", EXECVE, "echo", closed);
	run("close-on-exec", SPAWN, "echo", closed);
	run("flags", EXECVE, "flags", fd);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	run("flags", EXECVE, "flags", fd);
	fcntl(fd, F_SETFL, 0);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	run("set to close", EXECVE, "echo", fd);
	run("its duplicate", EXECVE, "echo", high);
	ioctl(fd, FIONCLEX);
	run("set back", EXECVE, "echo", fd);
	nap_ms(100);
	run("waiting data", EXECVE, "read", late);
	run("waiting end", EXECVE, "read", late);
	run("datagrams", EXECVE, "echo", udp);
	close(udp);
	close(late);
	run("closed", EXECVE, "echo", late);
	run("shut", EXECVE, "shutdown", high);
	SHOW(write(fd, "x", 1));
	close(fd);
	close(high);
	close(closed);
}

static void listening(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	in_port_t port;
	int l = listener(&port), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char buf[8];
	pid_t pid;

	printf("- listener\n");
	getsockname(l, (struct sockaddr *)&addr, &len);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	pid = start(EXECVE, "accept", l);
	close(l);
	if (connect(fd, (struct sockaddr *)&addr, len) || write(fd, "question", 8) != 8)
		exit(1);
	reap("listener", pid);
	SHOW(recv(fd, buf, 6, MSG_WAITALL));
	wait_end(fd);
	close(fd);
	nap_ms(200);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	SHOW(connect(fd, (struct sockaddr *)&addr, len));
	close(fd);
}

/* An exec that fails leaves everything as it was. */
static void failures(void)
{
	char *const argv[] = {(char *)"x", NULL};
	char name[] = "/tmp/ustack-exec.XXXXXX";
	int fd = tcp_to('e'), file = mkstemp(name);

	printf("- failures\n");
	SHOW(execv("/nowhere", argv));
	SHOW(execv("/etc/passwd", argv));
	SHOW(execv("/tmp", argv));
	SHOW(execv("", argv));
	SHOW(execvp("no-such-program", argv));
	SHOW(execvp("", argv));
	SHOW(execv("/etc/passwd/x", argv));
	SHOW(fexecve(-1, argv, environ));
	SHOW(fexecve(fd, argv, environ));
	SHOW(execv(bad, argv));
	SHOW(write(file, "nothing", 7));
	fchmod(file, 0755);
	close(file);
	SHOW(execv(name, argv));
	SHOW(posix_spawn(&(pid_t){0}, "/nowhere", NULL, NULL, argv, environ));
	SHOW(echoes(fd));
	unlink(name);
	close(fd);
}

static void spawned(void)
{
	posix_spawn_file_actions_t actions;
	char *argv[] = {own[0], own[1], own[2], (char *)"streams", (char *)"0", NULL};
	int fds[2], other[2], extra;
	char buf[64];
	long n;
	pid_t pid;

	printf("- file actions\n");
	pair(fds);
	pair(other);
	fcntl(fds[1], F_SETFD, FD_CLOEXEC);
	posix_spawn_file_actions_init(&actions);
	SHOW(posix_spawn_file_actions_adddup2(&actions, fds[1], 0));
	SHOW(posix_spawn_file_actions_adddup2(&actions, fds[1], 1));
	SHOW(posix_spawn_file_actions_addclose(&actions, other[1]));
	SHOW(posix_spawn(&pid, path, &actions, NULL, argv, environ));
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	close(other[1]);
	printf("closed in both: %s\n", state(other[0]));
	SHOW(write(fds[0], "line\n", 5));
	n = recv(fds[0], buf, 9, MSG_WAITALL);
	show_text("answer", buf, n);
	reap("streams", pid);
	wait_end(fds[0]);
	close(fds[0]);
	close(other[0]);

	printf("- held by a spawned program\n");
	pair(fds);
	pid = start(SPAWN, "hold", fds[1]);
	close(fds[1]);
	printf("running: %s\n", state(fds[0]));
	reap("hold", pid);
	wait_end(fds[0]);
	close(fds[0]);

	printf("- shells\n");
	extra = tcp_to('e');
	dup2(extra, 9);
	SHOW(system("echo from a shell >&9"));
	n = recv(9, buf, 13, MSG_WAITALL);
	show_text("echoed", buf, n);
	{
		FILE *f = popen("cat >&9; head -c 9 <&9", "w");

		SHOW(fputs("to shell\n", f));
		fflush(stdout);
		SHOW(pclose(f));
	}
	SHOW(echoes(extra));
	close(9);
	close(extra);
}

/* The other side sees the end when the last process has let go, whichever that is. */
static void last(void)
{
	int fds[2];
	pid_t pid;

	printf("- exec holds\n");
	pair(fds);
	pid = start(EXECVE, "hold", fds[1]);
	close(fds[1]);
	printf("running: %s\n", state(fds[0]));
	reap("hold", pid);
	wait_end(fds[0]);
	close(fds[0]);

	printf("- exec lets go\n");
	pair(fds);
	fcntl(fds[1], F_SETFD, FD_CLOEXEC);
	pid = start(EXECVE, "hold", fds[1]);
	close(fds[1]);
	wait_end(fds[0]);
	reap("hold", pid);
	close(fds[0]);

	printf("- double fork\n");
	pair(fds);
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		if (fork() == 0) {
			nap_ms(400);
			send(fds[1], "late", 4, 0);
			_exit(0);
		}
		_exit(0);
	}
	close(fds[1]);
	reap("first", pid);
	printf("grandchild: %s\n", state(fds[0]));
	nap_ms(500);
	printf("then: %s\n", state(fds[0]));
	close(fds[0]);

	printf("- daemon\n");
	pair(fds);
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		if (daemon(1, 0))
			_exit(1);
		nap_ms(400);
		_exit(echoes(fds[1]));
	}
	close(fds[1]);
	reap("first", pid);
	printf("daemon: %s\n", state(fds[0]));
	poll_for(fds[0], POLLIN, 3000);
	SHOW(read(fds[0], &(char){0}, 1));
	SHOW(write(fds[0], "e", 1));
	wait_end(fds[0]);
	close(fds[0]);

	printf("- killed\n");
	pair(fds);
	pid = start(EXECVE, "hold", fds[1]);
	close(fds[1]);
	nap_ms(100);
	SHOW(kill(pid, SIGKILL));
	reap("killed", pid);
	wait_end(fds[0]);
	close(fds[0]);
}

/* A child that listens, and has a connection of its own. */
static pid_t listens(int fds[2], struct sockaddr_in *addr)
{
	socklen_t len = sizeof(*addr);
	int port[2];
	pid_t pid;

	pair(fds);
	*addr = (struct sockaddr_in){.sin_family = AF_INET};
	if (pipe(port))
		exit(1);
	pid = fork();
	if (pid == 0) {
		in_port_t bound;

		close(fds[0]);
		listener(&bound);
		if (write(port[1], &bound, sizeof(bound)) < 0)
			_exit(1);
		pause();
	}
	close(fds[1]);
	getsockname(fds[0], (struct sockaddr *)addr, &len);
	if (read(port[0], &addr->sin_port, sizeof(addr->sin_port)) < 0)
		exit(1);
	close(port[0]);
	close(port[1]);
	return pid;
}

static pid_t by_wait(pid_t pid, int *status)
{
	(void)pid;
	return wait(status);
}

static pid_t by_wait3(pid_t pid, int *status)
{
	(void)pid;
	return wait3(status, 0, NULL);
}

static pid_t by_wait4(pid_t pid, int *status)
{
	struct rusage usage;

	return wait4(pid, status, 0, &usage);
}

static pid_t by_waitid(pid_t pid, int *status)
{
	siginfo_t info = {.si_pid = 0};

	if (waitid(P_PID, (id_t)pid, &info, WEXITED))
		return -1;
	*status = info.si_status;
	return info.si_pid;
}

static pid_t by_waitpid(pid_t pid, int *status)
{
	return waitpid(pid, status, 0);
}

static pid_t by_looking(pid_t pid, int *status)
{
	pid_t ret;

	while ((ret = waitpid(pid, status, WNOHANG)) == 0)
		;
	return ret;
}

/* Who has been told of a child's end finds its sockets closed. */
static void reaped(const char *name, pid_t (*way)(pid_t pid, int *status))
{
	int gone = 0, refused = 0, ended = 0;

	for (int i = 0; i < 20; i++) {
		struct sockaddr_in addr;
		int fds[2], status = -1, fd;
		pid_t pid = listens(fds, &addr);

		kill(pid, SIGKILL);
		gone += way(pid, &status) == pid && status == SIGKILL;
		fd = socket(AF_INET, SOCK_STREAM, 0);
		refused += connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 &&
			   errno == ECONNREFUSED;
		ended += recv(fds[0], &(char){0}, 1, MSG_DONTWAIT) == 0;
		close(fd);
		close(fds[0]);
	}
	printf("%s: gone %d refused %d ended %d\n", name, gone, refused, ended);
}

static void ends_of_children(void)
{
	printf("- reaped\n");
	reaped("wait", by_wait);
	reaped("wait3", by_wait3);
	reaped("wait4", by_wait4);
	reaped("waitid", by_waitid);
	reaped("waitpid", by_waitpid);
	reaped("looking", by_looking);
	errno = 0;
	SHOW(waitpid(-1, NULL, 0));
	SHOW(waitid(P_ALL, 0, NULL, WEXITED));
}

/* --- forks --- */

static int cloned(void *fd)
{
	nap_ms(400);
	_exit(echoes((int)(intptr_t)fd) ? 5 : 6);
}

static pid_t plain_fork(int fd)
{
	(void)fd;
	return fork();
}

static pid_t under_fork(int fd)
{
	(void)fd;
	return _Fork();
}

static pid_t v_fork(int fd)
{
	pid_t pid = vfork();

	if (pid == 0) {
		char number[12];

		snprintf(number, sizeof(number), "%d", fd);
		execl(path, path, own[1], own[2], "echo", number, NULL);
		_exit(9);
	}
	return pid;
}

static pid_t clone_call(int fd)
{
	static char stack[65536] __attribute__((aligned(16)));

	return clone(cloned, stack + sizeof(stack), SIGCHLD, (void *)(intptr_t)fd);
}

static int becomes(void *fd)
{
	char number[12];

	snprintf(number, sizeof(number), "%d", (int)(intptr_t)fd);
	execl(path, path, own[1], own[2], "echo", number, NULL);
	_exit(9);
}

/* What posix_spawn does inside libc. */
static pid_t clone_shared(int fd)
{
	static char stack[65536] __attribute__((aligned(16)));

	return clone(becomes, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD,
		(void *)(intptr_t)fd);
}

static pid_t number_clone(int fd)
{
	(void)fd;
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static pid_t number_clone3(int fd)
{
	struct clone_args args = {.exit_signal = SIGCHLD};

	(void)fd;
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

#ifdef SYS_fork
static pid_t number_fork(int fd)
{
	(void)fd;
	return (pid_t)syscall(SYS_fork);
}
#else
#define number_fork plain_fork
#endif

static void forks(void)
{
	static const struct {
		const char *name;
		pid_t (*make)(int fd);
	} kinds[] = {{"fork", plain_fork}, {"_Fork", under_fork}, {"vfork and exec", v_fork},
		{"clone", clone_call}, {"clone with shared memory", clone_shared},
		{"clone by number", number_clone}, {"clone3 by number", number_clone3},
		{"fork by number", number_fork}};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		int fd = tcp_to('e'), fds[2];
		pid_t pid;

		pair(fds);
		printf("- %s\n", kinds[i].name);
		pid = kinds[i].make(fd);
		if (pid == 0)
			cloned((void *)(intptr_t)fd);
		/* The child's hold is its own from the first moment. */
		close(fd);
		close(fds[1]);
		printf("other: %s\n", i == 2			     ? "open"
				      : poll_for(fds[0], POLLIN, 50) ? "ended"
								     : "open");
		reap(kinds[i].name, pid);
		wait_end(fds[0]);
		close(fds[0]);
	}
}

/* Clone arguments that are wrong are the kernel's to refuse. */
static void clone_errors(void)
{
	struct clone_args args = {.exit_signal = 4711};

	printf("- wrong clones\n");
	SHOW(syscall(SYS_clone3, &args, 8));
	SHOW(syscall(SYS_clone3, bad, sizeof(args)));
	SHOW(syscall(SYS_clone3, &args, sizeof(args)));
	SHOW(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	own = argv;
	snprintf(path, sizeof(path), "/proc/self/exe");
	if (argc > 4)
		return play(argv[3], atoi(argv[4]));
	ways();
	numbers();
	listening();
	failures();
	spawned();
	last();
	ends_of_children();
	forks();
	clone_errors();
	return 0;
}
