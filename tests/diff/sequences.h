/*
 * What the coordinator of sequences.c and its workers share, and how answers are written so that
 * they do not depend on ports, addresses of the run, times or process ids.
 */
#ifndef TESTS_DIFF_SEQUENCES_H
#define TESTS_DIFF_SEQUENCES_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	WORKERS = 4,
	FIRST_FD = 3, /* the numbers that a sequence uses */
	LAST_FD = 23,
	COMMAND_FD = 100, /* + worker: where it takes its commands */
	MAIL_IN = 110,	  /* + worker: where it takes descriptors passed to it */
	MAIL_OUT = 120,	  /* + worker: where others put them */
	PORTS = 8,	  /* p0 to p7 of a sequence */
	TEXT = 3000,
};

/* A worker's answer. */
struct answer {
	pid_t child; /* fork: the new worker's process */
	char text[TEXT];
};

struct text {
	char *at;
	size_t left;
};

__attribute__((format(printf, 2, 3))) static inline void say(struct text *t, const char *form, ...)
{
	va_list args;
	int n;

	va_start(args, form);
	n = vsnprintf(t->at, t->left, form, args);
	va_end(args);
	if (n < 0 || (size_t)n >= t->left)
		return;
	t->at += n;
	t->left -= (size_t)n;
}

static inline void say_result(struct text *t, long ret)
{
	int error = errno;

	if (ret < 0)
		say(t, "= %ld %s", ret, strerrorname_np(error));
	else
		say(t, "= %ld", ret);
}

#endif
