/*
 * Descriptors and files: duplicates, ranges, what a socket answers to file calls, sendfile and
 * splice, stdio, syscall(2).
 */
#include "tests/diff/calls.h"

#include <linux/sockios.h>
#include <spawn.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void file_calls(void)
{
	int fd = tcp_to('e'), other = open("/dev/null", O_RDWR);
	struct stat st;
	char buf[8];
	struct iovec iov = {buf, 1};

	SHOW(lseek(fd, 0, SEEK_CUR));
	SHOW(pread(fd, buf, 1, 0));
	SHOW(pwrite(fd, buf, 1, 0));
	SHOW(preadv(fd, &iov, 1, 0));
	SHOW(pwritev(fd, &iov, 1, 0));
	SHOW(preadv2(fd, &iov, 1, -1, RWF_NOWAIT));
	SHOW(fstat(fd, &st));
	printf("type: %o\n", st.st_mode & S_IFMT);
	SHOW(isatty(fd));
	SHOW(fsync(fd));
	SHOW(ftruncate(fd, 0));
	SHOW(copy_file_range(fd, NULL, other, NULL, 1, 0));
	SHOW(posix_fadvise(fd, 0, 0, POSIX_FADV_NORMAL));
	SHOW(fcntl(fd, F_GETFD));
	SHOW(fcntl(fd, F_SETFD, FD_CLOEXEC));
	SHOW(fcntl(fd, F_GETFD));
	SHOW(ioctl(fd, FIONCLEX));
	SHOW(fcntl(fd, F_GETFD));
	SHOW(fcntl(fd, 12345));
	SHOW(fcntl(fd, F_SETOWN, getpid()));
	SHOW(fcntl(fd, F_GETOWN) == getpid());
	close(other);
	close(fd);
}

static int echoes(int fd)
{
	char c = 'e';

	return send(fd, &c, 1, MSG_NOSIGNAL) == 1 && recv(fd, &c, 1, 0) == 1 && c == 'e';
}

static void duplicates(void)
{
	int fd = tcp_to('e'), a = dup(fd), b, c, null = open("/dev/null", O_RDWR), other;

	SHOW(a - fd);
	SHOW(dup2(fd, fd) == fd);
	SHOW(dup3(fd, fd, 0));
	SHOW(dup3(fd, 100, 0x77));
	SHOW(dup2(fd, -1));
	SHOW(dup2(fd, 1 << 28));
	SHOW(dup2(fd, 100));
	SHOW(dup3(fd, 101, O_CLOEXEC));
	SHOW(fcntl(101, F_GETFD));
	b = fcntl(fd, F_DUPFD, 90);
	c = fcntl(fd, F_DUPFD_CLOEXEC, 90);
	printf("dupfd: %d %d %d\n", b, c, fcntl(c, F_GETFD));
	SHOW(close(fd));
	SHOW(echoes(fd));
	SHOW(echoes(a) && echoes(100) && echoes(101) && echoes(b) && echoes(c));
	SHOW(dup2(null, 100));
	SHOW(write(100, "x", 1));
	SHOW(read(100, &b, 1));
	SHOW(echoes(a));
	other = tcp_to('s');
	nap_ms(100);
	SHOW(dup2(other, a) == a);
	SHOW(close(other));
	SHOW(recv(a, &b, 4, MSG_WAITALL));
	SHOW(echoes(101));
	SHOW(close_range(90, 200, 0));
	SHOW(echoes(101));
	SHOW(close_range(5, 4, 0));
	SHOW(close_range(3, 4, 0x40));
	SHOW(close(a));
	SHOW(close(a));
	close(null);
}

/* The last of several numbers ends the connection: the server's echo sees the end of the stream. */
static void last_close(void)
{
	in_port_t port;
	int l = listener(&port), keep = call_back(port), fd = accept(l, NULL, NULL), again;
	char c;

	again = dup(fd);
	SHOW(echoes(fd));
	close(fd);
	SHOW(echoes(again));
	fd = open("/dev/zero", O_RDONLY);
	SHOW(read(fd, &c, 1));
	close(fd);
	closefrom(again);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	SHOW(recv(fd, &c, 1, 0));
	SHOW(fd >= 3);
	(void)keep;
	close(fd);
}

static int file_with(size_t size)
{
	char name[] = "/tmp/ustack-calls.XXXXXX";
	int fd = mkstemp(name);

	unlink(name);
	for (size_t i = 0; i < size; i += 4) {
		uint32_t n = (uint32_t)(i * 2654435761u);

		if (write(fd, &n, 4) != 4)
			exit(1);
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* Reads what comes back and compares it with the file. */
static const char *same(int fd, int file, off_t offset, size_t size)
{
	static char a[65536], b[65536];

	while (size) {
		ssize_t n = recv(fd, a, size < sizeof(a) ? size : sizeof(a), 0);

		if (n <= 0)
			return "short";
		if (pread(file, b, (size_t)n, offset) != n || memcmp(a, b, (size_t)n) != 0)
			return "different";
		offset += n;
		size -= (size_t)n;
	}
	return "same";
}

/* More is asked for than the file has: nothing waits for the rest. */
static void send_short_file(void)
{
	int file = file_with(1000), fd = tcp_to('e'), unsent = -1, one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	nap_ms(100);
	SHOW(sendfile(fd, file, NULL, 1 << 20));
	SHOW(ioctl(fd, SIOCOUTQNSD, &unsent));
	printf("unsent: %d\n", unsent);
	close(fd);
	close(file);
}

/* From a socket to a pipe, as busybox's cat does; to nothing else. */
static void send_from_socket(void)
{
	int file = file_with(10), fd = tcp_to('e'), pipes_[2];
	off_t offset = 0;
	char line[16];

	if (pipe(pipes_))
		exit(1);
	SHOW(send(fd, "1234567890", 10, 0));
	nap_ms(200);
	SHOW(sendfile(pipes_[1], fd, NULL, 4));
	SHOW(sendfile(pipes_[1], fd, &offset, 4));
	SHOW(sendfile(pipes_[0], fd, NULL, 4));
	SHOW(sendfile(file, fd, NULL, 4));
	SHOW(sendfile(pipes_[1], fd, NULL, 1 << 24));
	SHOW(read(pipes_[0], line, sizeof(line)));
	show_text("read", line, 10);
	SHOW(shutdown(fd, SHUT_WR));
	SHOW(sendfile(pipes_[1], fd, NULL, 1 << 24));
	close(fd);
	close(file);
	close(pipes_[0]);
	close(pipes_[1]);
}

static void send_files(void)
{
	int file = file_with(300000), fd = tcp_to('e'), null = open("/dev/null", O_RDWR), pipes_[2];
	off_t offset = 100;

	SHOW(sendfile(fd, file, &offset, 100000));
	printf("offset: %ld %ld\n", (long)offset, (long)lseek(file, 0, SEEK_CUR));
	printf("echoed: %s\n", same(fd, file, 100, 100000));
	SHOW(sendfile(fd, file, NULL, 150000));
	printf("position: %ld\n", (long)lseek(file, 0, SEEK_CUR));
	printf("echoed: %s\n", same(fd, file, 0, 150000));
	SHOW(sendfile(fd, file, NULL, 400000));
	printf("position: %ld\n", (long)lseek(file, 0, SEEK_CUR));
	printf("echoed: %s\n", same(fd, file, 150000, 150000));
	SHOW(sendfile(fd, file, NULL, 10));
	SHOW(sendfile(fd, file, NULL, 0));
	offset = -1;
	SHOW(sendfile(fd, file, &offset, 10));
	offset = 1000000;
	SHOW(sendfile(fd, file, &offset, 10));
	SHOW(sendfile(fd, file, bad, 10));
	SHOW(sendfile(fd, -1, NULL, 10));
	SHOW(sendfile(fd, fd, NULL, 10));
	SHOW(sendfile(null, fd, NULL, 10));
	SHOW(sendfile(file, fd, NULL, 10));
	if (pipe(pipes_))
		exit(1);
	lseek(file, 0, SEEK_SET);
	SHOW(splice(file, NULL, pipes_[1], NULL, 60000, 0));
	SHOW(splice(pipes_[0], NULL, fd, NULL, 60000, 0));
	nap_ms(200);
	SHOW(splice(fd, NULL, pipes_[1], NULL, 60000, 0));
	SHOW(splice(pipes_[0], NULL, fd, NULL, 60000, SPLICE_F_NONBLOCK));
	printf("spliced: %s\n", same(fd, file, 0, 60000));
	SHOW(splice(pipes_[0], NULL, fd, NULL, 10, SPLICE_F_NONBLOCK));
	SHOW(fcntl(fd, F_SETFL, O_NONBLOCK));
	SHOW(splice(fd, NULL, pipes_[1], NULL, 10, 0));
	SHOW(splice(fd, NULL, fd, NULL, 10, 0));
	SHOW(splice(file, NULL, fd, NULL, 10, 0));
	SHOW(splice(pipes_[0], &offset, fd, NULL, 10, 0));
	SHOW(splice(pipes_[0], NULL, fd, &offset, 10, 0));
	SHOW(splice(pipes_[0], NULL, fd, NULL, 0, 0));
	SHOW(splice(pipes_[0], NULL, fd, NULL, 10, 0x100));
	SHOW(tee(fd, pipes_[1], 10, 0));
	close(pipes_[1]);
	SHOW(splice(pipes_[0], NULL, fd, NULL, 10, 0));
	close(fd);
}

static void streams(void)
{
	int fd = tcp_to('e');
	FILE *f = fdopen(fd, "r+");
	char line[64];

	SHOW(fileno(f) == fd);
	SHOW(fprintf(f, "hello %d\n", 5));
	SHOW(fflush(f));
	SHOW(fgets(line, sizeof(line), f) != NULL);
	printf("line: %s", line);
	SHOW(dprintf(fd, "number %d\n", 7));
	SHOW(fgets(line, sizeof(line), f) != NULL);
	printf("line: %s", line);
	SHOW(fseek(f, 0, SEEK_SET));
	SHOW(fclose(f));
	SHOW(write(fd, "x", 1));
	SHOW(fdopen(fd, "r") == NULL);
}

/* Standard output becomes a socket and goes back; what was buffered goes with the number. */
static void standard(void)
{
	int fd = tcp_to('e'), in = dup(0), out = dup(1);
	char line[64];

	fflush(stdout);
	setvbuf(stdout, NULL, _IOFBF, 4096);
	dup2(fd, 1);
	printf("to the socket %d\n", 1);
	fflush(stdout);
	dup2(out, 1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	SHOW(recv(fd, line, 16, MSG_WAITALL));
	show_text("echoed", line, 15);
	dup2(fd, 0);
	dprintf(fd, "one\ntwo\n");
	SHOW(fgets(line, sizeof(line), stdin) != NULL);
	printf("stdin: %s", line);
	SHOW(scanf("%3s", line));
	printf("stdin: %s\n", line);
	dup2(in, 0);
	SHOW(fileno(stdin));
	SHOW(fileno(stdout));
	SHOW(recv(fd, line, 1, MSG_DONTWAIT));
	close(in);
	close(out);
	close(fd);
}

static void by_number(void)
{
	long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	char c = 'e';

	SHOW(syscall(SYS_connect, fd, &server, sizeof(server)));
	SHOW(syscall(SYS_write, fd, &c, 1));
	SHOW(syscall(SYS_sendto, fd, "abc", 3, 0, NULL, 0));
	SHOW(syscall(SYS_recvfrom, fd, &c, 1, 0, NULL, NULL));
	SHOW(syscall(SYS_close, fd));
	SHOW(syscall(SYS_close, fd));
	SHOW(syscall(SYS_getpid) == getpid());
	SHOW(syscall(9999));
	SHOW(syscall(SYS_lseek, 1000, 0, 0));
}

static void passed(void)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec iov = {(char[1]){'x'}, 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *c = (struct cmsghdr *)control;
	int fd = tcp_to('e'), pair[2], got;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		exit(1);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	SHOW(sendmsg(pair[0], &msg, 0));
	SHOW(recvmsg(pair[1], &msg, 0));
	memcpy(&got, CMSG_DATA(c), sizeof(got));
	close(fd);
	SHOW(echoes(got));
	close(got);
	close(pair[0]);
	close(pair[1]);
}

/* What a child does with its numbers is its own affair, however it was made. */
static void children(void)
{
	char *const command[] = {(char *)"true", NULL};
	int fd = tcp_to('e'), status;
	pid_t pid;

	pid = vfork();
	if (pid == 0) {
		close(fd);
		dup2(0, fd);
		_exit(3);
	}
	SHOW(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3);
	SHOW(echoes(fd));
	pid = fork();
	if (pid == 0) {
		close_range(3, ~0u, 0);
		_exit(4);
	}
	SHOW(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 4);
	SHOW(echoes(fd));
	SHOW(posix_spawnp(&pid, "true", NULL, NULL, command, NULL));
	SHOW(waitpid(pid, &status, 0) == pid && status == 0);
	SHOW(system("true"));
	SHOW(echoes(fd));
	close(fd);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	file_calls();
	duplicates();
	last_close();
	send_short_file();
	send_from_socket();
	send_files();
	streams();
	standard();
	by_number();
	passed();
	children();
	return 0;
}
