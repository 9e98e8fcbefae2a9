/*
 * Forks in the middle of transfers: children close, shut down nothing, exit or are killed while the
 * parent's threads go on; what the parent's connections carry stays right.
 *
 *   forks ADDRESS PORT SECONDS THREADS      an echo of calls_peer
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in server;
static atomic_bool over;
static atomic_ulong moved, wrong;

static bool echo_once(int fd, unsigned *seed)
{
	static _Thread_local unsigned char out[20000], in[20000];
	size_t n = (size_t)rand_r(seed) % sizeof(out) + 1, got = 0;

	for (size_t i = 0; i < n; i++)
		out[i] = (unsigned char)rand_r(seed);
	if (send(fd, out, n, MSG_NOSIGNAL) != (ssize_t)n)
		return false;
	while (got < n) {
		ssize_t ret = recv(fd, in + got, n - got, 0);

		if (ret <= 0)
			return false;
		got += (size_t)ret;
	}
	moved += n;
	return memcmp(in, out, n) == 0;
}

static int open_echo(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&server, sizeof(server)) || send(fd, "e", 1, 0) != 1) {
		perror("connect");
		exit(1);
	}
	return fd;
}

static void *run(void *arg)
{
	unsigned seed = (unsigned)(size_t)arg;
	int fd = open_echo();

	while (!over) {
		if (!echo_once(fd, &seed)) {
			perror("echo");
			wrong++;
			break;
		}
	}
	close(fd);
	return NULL;
}

static void child(unsigned what, int own)
{
	unsigned seed = what;

	switch (what % 5) {
	case 0:
		_exit(0);
	case 1:
		for (int fd = 3; fd < 40; fd++)
			close(fd);
		_exit(0);
	case 2:
		close_range(3, ~0u, 0);
		_exit(0);
	case 3: /* a connection that only the child uses */
		_exit(echo_once(own, &seed) ? 0 : 1);
	default:
		for (;;)
			pause();
	}
}

int main(int argc, char **argv)
{
	unsigned long children = 0, failed = 0;
	pthread_t thread[64];
	time_t end;
	int n;

	if (argc < 5)
		return 2;
	server.sin_family = AF_INET;
	server.sin_addr.s_addr = inet_addr(argv[1]);
	server.sin_port = htons((unsigned short)atoi(argv[2]));
	n = atoi(argv[4]) > 64 ? 64 : atoi(argv[4]);
	for (int i = 0; i < n; i++)
		pthread_create(&thread[i], NULL, run, (void *)(size_t)(i + 1));
	end = time(NULL) + atoi(argv[3]);
	while (time(NULL) < end && !wrong) {
		int own = open_echo(), status;
		pid_t pid = fork();

		if (pid == 0)
			child((unsigned)children, own);
		if (pid > 0 && children % 5 == 4) {
			usleep(1000);
			kill(pid, SIGKILL);
		}
		close(own);
		if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
			WEXITSTATUS(status))
			failed++;
		children++;
	}
	over = true;
	for (int i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	printf("children %lu, failed %lu, bytes %lu, wrong %lu\n", children, failed,
		(unsigned long)moved, (unsigned long)wrong);
	return failed || wrong;
}
