/*
 * Every option of every level, by name and length: what get gives, what set answers, and what get
 * gives afterwards; and what an accepted connection has of its listener's. One line per case; the
 * same program runs on the kernel's sockets and on ours.
 *
 *   options get|set tcp|udp
 *   options inherit tcp
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const int levels[] = {
	IPPROTO_IP, SOL_SOCKET, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_IPV6, 255, 99};

static const char *name_of(int error)
{
	return error ? strerrorname_np(error) : "0";
}

static int open_socket(const char *proto)
{
	int fd = socket(AF_INET, strcmp(proto, "tcp") ? SOCK_DGRAM : SOCK_STREAM, 0);

	if (fd < 0) {
		perror("socket");
		exit(1);
	}
	return fd;
}

/* Values that differ from run to run: only their size is compared. */
static int varies(int level, int name)
{
	return (level == SOL_SOCKET && (name == 57 || name == 71 || name == 49)) ||
	       (level == IPPROTO_TCP && (name == 13 || name == 24));
}

/* Structures that grow from release to release, and depend on the congestion control. */
static int grows(int level, int name)
{
	return level == IPPROTO_TCP && (name == 11 || name == 26);
}

static void show(int level, int name, const unsigned char *val, socklen_t len)
{
	if (grows(level, name))
		return;
	printf(" len %u", len);
	if (len > 64)
		len = 64;
	if (varies(level, name))
		return;
	printf(" ");
	for (socklen_t i = 0; i < len; i++)
		printf("%02x", val[i]);
}

static void get_one(int fd, int level, int name, socklen_t room)
{
	unsigned char val[600];
	socklen_t len = room;
	int ret;

	memset(val, 0xee, sizeof(val));
	ret = getsockopt(fd, level, name, val, &len);
	printf("get %d/%d room %d: %s", level, name, (int)room, name_of(ret ? errno : 0));
	if (ret == 0)
		show(level, name, val, len);
	printf("\n");
}

static void get_all(const char *proto)
{
	static const int rooms[] = {0, 1, 3, 4, 5, 8, 16, 512, -1};
	int fd = open_socket(proto);

	for (size_t l = 0; l < sizeof(levels) / sizeof(levels[0]); l++)
		for (int name = 0; name <= 130; name++)
			for (size_t r = 0; r < sizeof(rooms) / sizeof(rooms[0]); r++)
				get_one(fd, levels[l], name, (socklen_t)rooms[r]);
	close(fd);
}

static void set_one(const char *proto, int level, int name, long long value, socklen_t len)
{
	unsigned char val[600] = {0};
	int fd = open_socket(proto), ret;

	memcpy(val, &value, sizeof(value));
	ret = setsockopt(fd, level, name, val, len);
	printf("set %d/%d %lld len %d: %s\n  ", level, name, value, (int)len,
		name_of(ret ? errno : 0));
	get_one(fd, level, name, 16);
	close(fd);
}

/* Options whose argument is a program or a descriptor, and repair: they have cases of their own or
 * none. */
static int skipped(int level, int name)
{
	return level == SOL_SOCKET && (name == 26 || name == 50 || name == 51 || name == 52);
}

static void set_all(const char *proto)
{
	static const long long values[] = {
		0, 1, 2, 3, 7, 64, 255, 256, 1000, 65536, 0x7fffffff, -1, -2};
	static const int lens[] = {0, 1, 2, 3, 4, 8, 16, 64, -1};

	for (size_t l = 0; l < sizeof(levels) / sizeof(levels[0]); l++) {
		for (int name = 0; name <= 130; name++) {
			if (skipped(levels[l], name))
				continue;
			for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++)
				set_one(proto, levels[l], name, values[v], 4);
			for (size_t n = 0; n < sizeof(lens) / sizeof(lens[0]); n++)
				set_one(proto, levels[l], name, 1, (socklen_t)lens[n]);
		}
	}
}

/* What the child of a listener with this option says of it. */
static void inherit_one(int level, int name, long long value, socklen_t len)
{
	unsigned char val[16] = {0};
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);
	int listener = open_socket("tcp"), client = open_socket("tcp"), child, ret;

	memcpy(val, &value, sizeof(value));
	ret = setsockopt(listener, level, name, val, len);
	printf("inherit %d/%d %lld len %d: %s\n", level, name, value, (int)len,
		name_of(ret ? errno : 0));
	setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){.tv_usec = 50000},
		sizeof(struct timeval));
	if (ret == 0 && listen(listener, 1) == 0 &&
		getsockname(listener, (struct sockaddr *)&a, &size) == 0 &&
		connect(client, (struct sockaddr *)&a, size) == 0 && write(client, "x", 1) == 1) {
		child = accept(listener, NULL, NULL);
		printf("  ");
		get_one(child, level, name, 16);
		close(child);
	} else {
		printf("  no connection\n");
	}
	close(client);
	close(listener);
}

static void inherit_all(void)
{
	static const long long values[] = {1, 3, 100, 5000};

	alarm(60);
	for (size_t l = 0; l < sizeof(levels) / sizeof(levels[0]); l++) {
		for (int name = 0; name <= 130; name++) {
			if (skipped(levels[l], name))
				continue;
			for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++)
				inherit_one(levels[l], name, values[v], 4);
			inherit_one(levels[l], name, 3, 16);
		}
	}
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	if (argc != 3)
		return 2;
	if (!strcmp(argv[1], "get"))
		get_all(argv[2]);
	else if (!strcmp(argv[1], "inherit"))
		inherit_all();
	else
		set_all(argv[2]);
	return 0;
}
