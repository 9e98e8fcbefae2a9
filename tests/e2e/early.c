/*
 * Sockets before main: in the program's preinit functions, which run before the constructors of any
 * library, in its own constructors, in a handler of exit; and raw closes that no interposer sees.
 *
 *   early ADDRESS PORT      an echo of calls_peer
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static char **arguments;

static void echo(const char *when)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	char buf[8] = {0};
	int fd;

	to.sin_addr.s_addr = inet_addr(arguments[1]);
	to.sin_port = htons((unsigned short)atoi(arguments[2]));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && send(fd, "ehello", 6, 0) == 6 &&
		recv(fd, buf, 5, MSG_WAITALL) == 5 && strcmp(buf, "hello") == 0)
		printf("%s: right\n", when);
	else
		printf("%s: %s\n", when, strerror(errno));
	close(fd);
}

static void in_preinit(int argc, char **argv, char **env)
{
	static char line[] = "preinit\n";
	char buf[4];
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	(void)argc;
	(void)env;
	arguments = argv;
	if (read(fd, buf, 4) != 4 || close(fd) || write(1, line, sizeof(line) - 1) < 0)
		_exit(3);
}
__attribute__((section(".preinit_array"), used)) static void (*preinit)(
	int, char **, char **) = in_preinit;

__attribute__((constructor)) static void in_constructor(void)
{
	echo("constructor");
}

static void at_exit(void)
{
	echo("exit");
	fflush(stdout);
}

static long raw_close(long fd)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(SYS_close), "D"(fd) : "rcx", "r11", "memory");
	return ret;
}

/*
 * The number of a stack socket is closed by a raw system call and given to a file: the file's calls
 * must reach the file.
 */
static const char *reused(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	char name[] = "/tmp/ustack-early.XXXXXX", buf[8] = {0};
	int file = mkstemp(name), fd = socket(AF_INET, SOCK_STREAM, 0);

	unlink(name);
	to.sin_addr.s_addr = inet_addr(arguments[1]);
	to.sin_port = htons((unsigned short)atoi(arguments[2]));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) || raw_close(fd) || dup(file) != fd)
		return "another number";
	if (write(fd, "file", 4) != 4 || lseek(file, 0, SEEK_SET) || read(fd, buf, 8) != 4 ||
		strcmp(buf, "file") != 0)
		return "not the file";
	if (close(fd) || fcntl(fd, F_GETFD) >= 0)
		return "not closed";
	fd = socket(AF_INET, SOCK_STREAM, 0);
	raw_close(fd);
	if (listen(fd, 1) == 0 || errno != EBADF)
		return "a closed number listens";
	close(file);
	return "right";
}

int main(void)
{
	(void)preinit;
	atexit(at_exit);
	echo("main");
	printf("reused: %s\n", reused());
	return 0;
}
