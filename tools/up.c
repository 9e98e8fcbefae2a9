/*
 * `ustack up`: a host without a program. A process of ours runs with the library in front, like any
 * program, opens one socket and waits in poll() for the host's end, driving the stack meanwhile. So
 * it needs nothing that programs don't.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/library.h"
#include "tools/settings.h"

#define UP_READY "up"

/* `ustack hold`: standard output is the pipe to the one who called `up`. Ends when the stack does.
 */
int up_hold_command(int argc, char **argv)
{
	struct pollfd fd = {.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
	int null;

	(void)argv;
	/* The library has said why on standard error. */
	if (argc != 1 || fd.fd < 0)
		return COMMAND_FAILED;
	if (write(STDOUT_FILENO, UP_READY, sizeof(UP_READY)) < 0)
		return COMMAND_FAILED;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; null >= 0 && i < 3; i++)
		dup2(null, i);
	if (chdir("/") < 0)
		return COMMAND_FAILED;
	while (poll(&fd, 1, -1) <= 0 || !(fd.revents & (POLLERR | POLLHUP | POLLNVAL)))
		;
	return 0;
}

static void up_exec_hold(int ready)
{
	setsid();
	if (dup2(ready, STDOUT_FILENO) < 0 || library_preload() != 0)
		_exit(COMMAND_FAILED);
	execl("/proc/self/exe", "ustack", "hold", (char *)NULL);
	command_failed("cannot start: %s", strerror(errno));
	_exit(COMMAND_FAILED);
}

/* Returns an exit status when the host is there, or can't be. */
static int up_start(void)
{
	char word[sizeof(UP_READY)];
	int ready[2], status = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return command_failed("cannot make a pipe: %s", strerror(errno));
	pid = fork();
	if (pid == 0)
		up_exec_hold(ready[1]);
	close(ready[1]);
	n = pid > 0 ? read(ready[0], word, sizeof(word)) : -1;
	close(ready[0]);
	if (n > 0)
		return 0;
	if (pid > 0)
		waitpid(pid, &status, 0);
	return command_failed("the host did not start");
}

int up_command(int argc, char **argv)
{
	static struct config config;
	int first, ret;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		puts("usage: ustack up [--KEY VALUE]...\n\n"
		     "Starts a host that no program uses yet: it answers ping, and programs with "
		     "the same configuration\n"
		     "join it. It stays until `ustack down`. The keys are those of `ustack run "
		     "--help`.");
		return 0;
	}
	first = settings_take(argc, argv);
	if (first < 0)
		return -first;
	if (first < argc)
		return command_misused("up", "`%s` is one word too many", argv[first]);
	ret = settings_load(&config);
	if (ret == 0 && config.off)
		return command_misused("up", "the configuration says off = 1");
	if (ret == 0)
		ret = settings_make_device(&config);
	return ret ? ret : up_start();
}
