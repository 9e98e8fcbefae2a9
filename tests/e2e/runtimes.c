/*
 * A connection that echoes, for tests/e2e/runtimes: `runtimes ADDRESS PORT` makes it in main(); as a library (before.so, built by the
 * script) in a constructor, with ECHO_ADDRESS and ECHO_PORT from the environment.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int echo(const char *address, const char *port, size_t size)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *to;
	char *out = malloc(size), *in = malloc(size);
	size_t got = 0;
	ssize_t n = 1;
	int fd, err = getaddrinfo(address, port, &hints, &to);

	if (err || !out || !in) {
		puts(gai_strerror(err));
		return 1;
	}
	memset(out, 'x', size);
	fd = socket(to->ai_family, to->ai_socktype, 0);
	if (connect(fd, to->ai_addr, to->ai_addrlen) || write(fd, out, size) != (ssize_t)size) {
		perror("runtimes");
		return 1;
	}
	shutdown(fd, SHUT_WR);
	while (got < size && n > 0) {
		n = read(fd, in + got, size - got);
		got += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	freeaddrinfo(to);
	n = memcmp(in, out, size);
	free(in);
	free(out);
	puts(n ? "different" : "echoed");
	return n != 0;
}

#ifdef ECHO_LIBRARY
static void __attribute__((constructor(101))) early(void)
{
	echo(getenv("ECHO_ADDRESS"), getenv("ECHO_PORT"), 50000);
}
#else
int main(int argc, char **argv)
{
	return argc == 3 ? echo(argv[1], argv[2], 50000) : 2;
}
#endif
