/*
 * For programs whose output is compared between the kernel's sockets and ours: each call is printed
 * with its result, in a form that does not depend on ports, times or descriptors.
 */
#ifndef TESTS_DIFF_SHOW_H
#define TESTS_DIFF_SHOW_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define LOOPBACK 0x7f000001u
#define OWN	 0x0a000002u /* the address of the device */

static volatile sig_atomic_t sigpipes;

static inline void on_sigpipe(int sig)
{
	(void)sig;
	sigpipes++;
}

static inline void start_case(const char *name)
{
	printf("--- %s\n", name);
	sigpipes = 0;
}

static inline void show_result(const char *what, long ret)
{
	int error = errno;

	if (ret < 0)
		printf("%s = %s", what, strerrorname_np(error));
	else
		printf("%s = %ld", what, ret);
	if (sigpipes)
		printf(" SIGPIPE");
	sigpipes = 0;
	printf("\n");
	errno = error;
}

/* Prints the call as written, and what came of it. */
#define TRY(call)                                                                                  \
	do {                                                                                       \
		errno = 0;                                                                         \
		show_result(#call, (long)(call));                                                  \
	} while (0)

/* For calls that return a descriptor: only whether it worked. */
#define TRY_FD(fd, call)                                                                           \
	do {                                                                                       \
		errno = 0;                                                                         \
		(fd) = (call);                                                                     \
		show_result(#call, (fd) < 0 ? -1 : 0);                                             \
	} while (0)

/* Lets what is on its way arrive. */
static inline void settle(void)
{
	struct timespec t = {.tv_nsec = 60000000}; /* longer than a delayed acknowledgement */

	nanosleep(&t, NULL);
}

static inline void show_poll(const char *what, int fd)
{
	static const struct {
		short bit;
		const char *name;
	} names[] = {{POLLIN, "IN"}, {POLLPRI, "PRI"}, {POLLOUT, "OUT"}, {POLLERR, "ERR"},
		{POLLHUP, "HUP"}, {POLLNVAL, "NVAL"}, {POLLRDNORM, "RDNORM"},
		{POLLRDBAND, "RDBAND"}, {POLLWRNORM, "WRNORM"}, {POLLWRBAND, "WRBAND"},
		{0x2000, "RDHUP"}};
	struct pollfd p = {.fd = fd, .events = 0x3fff};
	int ret;

	settle();
	ret = poll(&p, 1, 0);
	printf("poll %s = %d", what, ret);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (p.revents & names[i].bit)
			printf(" %s", names[i].name);
	printf("\n");
}
#define POLL(fd) show_poll(#fd, fd)

static inline void show_bytes(const char *what, const char *data, long n)
{
	printf("%s: ", what);
	for (long i = 0; i < n && i < 40; i++)
		printf("%c", data[i] >= ' ' && data[i] < 127 ? data[i] : '.');
	printf("\n");
}

/* Addresses by name; a port is one of those bound (0: none, +: some). */
static inline void show_addr(const char *what, const struct sockaddr_in *a, socklen_t len)
{
	printf("%s family %d len %d %s port %s\n", what, a->sin_family, (int)len,
		inet_ntoa(a->sin_addr), a->sin_port ? "+" : "0");
}

static inline void show_names(int fd)
{
	struct sockaddr_in a = {0};
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len) == 0)
		show_addr("  local", &a, len);
	else
		show_result("  getsockname", -1);
	memset(&a, 0, sizeof(a));
	len = sizeof(a);
	if (getpeername(fd, (struct sockaddr *)&a, &len) == 0)
		show_addr("  peer", &a, len);
	else
		show_result("  getpeername", -1);
}

static inline int opt(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, name, &value, &len) < 0 ? -1 : value;
}

static inline const char *so_error(int fd)
{
	int error = opt(fd, SOL_SOCKET, SO_ERROR);

	return error ? strerrorname_np(error) : "0";
}
#define SO_ERR(fd) printf("SO_ERROR " #fd " = %s\n", so_error(fd))

static inline int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

static inline struct sockaddr_in address(unsigned ip, int port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((unsigned short)port),
		.sin_addr.s_addr = htonl(ip),
	};
}

static inline int bind_to(int fd, unsigned ip, int port)
{
	struct sockaddr_in a = address(ip, port);

	return bind(fd, (struct sockaddr *)&a, sizeof(a));
}

static inline int connect_to(int fd, unsigned ip, int port)
{
	struct sockaddr_in a = address(ip, port);

	return connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static inline int disconnect(int fd)
{
	struct sockaddr a = {.sa_family = AF_UNSPEC};

	return connect(fd, &a, sizeof(a));
}

static inline int port_of(int fd)
{
	struct sockaddr_in a = {0};
	socklen_t len = sizeof(a);

	getsockname(fd, (struct sockaddr *)&a, &len);
	return ntohs(a.sin_port);
}

static inline long send_to(int fd, unsigned ip, int port, const char *data, size_t len, int flags)
{
	struct sockaddr_in a = address(ip, port);

	return sendto(fd, data, len, flags, (struct sockaddr *)&a, sizeof(a));
}

static inline int inq(int fd)
{
	int n = -1;

	return ioctl(fd, FIONREAD, &n) < 0 ? -1 : n;
}

static inline void program_begins(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, on_sigpipe);
	alarm(60);
}

#endif
