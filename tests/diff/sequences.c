/*
 * Sequences of socket calls over several processes, told on standard input (by sequences.py), with
 * what came of each call on standard output: its result, and then of every descriptor of every
 * process the poll mask, the bytes that can be read and the state of TCP.
 *
 *   begin PORT MILLISECONDS   a new sequence: no worker runs; its ports; how long to let things
 * settle W start                   a new process becomes worker W W kill, W exit            it is
 * killed, ends W usr1, W usr2            a signal interrupts what it waits in (usr2: with
 * SA_RESTART) W CALL ...                it makes a call (sequences_worker.h)
 *
 * A call that does not return is "blocked"; its result comes in the state after a later command. A
 * command may have the expected answer after a tab: then the state is asked for again, for a while,
 * until it is that.
 */
#include "sequences.h"
#include "sequences_worker.h"

enum {
	ANSWER_FD = 130, /* + worker: the coordinator's end */
	PIDFD = 140,
};

static struct process {
	pid_t pid; /* 0: none */
	int pidfd;
	bool blocked;
	bool done; /* what it was blocked in has returned */
	char result[TEXT];
} workers[WORKERS];

static int base, settle_ms;
static unsigned long late; /* states that were as expected only after waiting */

static void nap_us(long us)
{
	struct timespec t = {us / 1000000, us % 1000000 * 1000};

	nanosleep(&t, NULL);
}

static long long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void move(int from, int to)
{
	dup2(from, to);
	close(from);
}

/* The pairs by which workers get commands and mail, on fixed numbers. */
static void make_pairs(void)
{
	for (int i = 0; i < WORKERS; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
			exit(3);
		move(pair[0], ANSWER_FD + i);
		move(pair[1], COMMAND_FD + i);
		if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
			exit(3);
		move(pair[0], MAIL_IN + i);
		move(pair[1], MAIL_OUT + i);
	}
}

static void born(int w, pid_t pid)
{
	workers[w].pid = pid;
	workers[w].pidfd = PIDFD + w;
	move((int)syscall(SYS_pidfd_open, pid, 0), PIDFD + w);
	workers[w].blocked = workers[w].done = false;
}

static void spawn(int w)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < WORKERS; i++)
			close(ANSWER_FD + i);
		close_range(PIDFD, PIDFD + WORKERS, 0);
		worker_run(w, base);
	}
	born(w, pid);
}

static void gone(int w)
{
	struct pollfd p = {.fd = workers[w].pidfd, .events = POLLIN};

	if (workers[w].pid <= 0)
		return;
	poll(&p, 1, 5000);
	close(workers[w].pidfd);
	workers[w].pid = 0;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static void kill_worker(int w)
{
	if (workers[w].pid > 0)
		syscall(SYS_pidfd_send_signal, workers[w].pidfd, SIGKILL, NULL, 0);
	gone(w);
}

/* The worker's answer, if it comes within that time. */
static bool answered(int w, struct answer *a, int ms)
{
	struct pollfd p[2] = {{.fd = ANSWER_FD + w, .events = POLLIN},
		{.fd = workers[w].pidfd, .events = POLLIN}};
	long n;

	if (poll(p, 2, ms) <= 0)
		return false;
	n = recv(ANSWER_FD + w, a, sizeof(*a), MSG_DONTWAIT);
	if (n > 0)
		return true;
	gone(w);
	a->child = 0;
	strcpy(a->text, "died");
	return true;
}

static void tell(int w, const char *line)
{
	send(ANSWER_FD + w, line, strlen(line), 0);
}

/* Those that were blocked and are not any more. */
static void look_at_blocked(int ms)
{
	struct answer a;

	for (int w = 0; w < WORKERS; w++) {
		struct process *p = &workers[w];

		if (!p->pid || !p->blocked || p->done || !answered(w, &a, ms))
			continue;
		p->done = true;
		snprintf(p->result, sizeof(p->result), "%s", a.text);
		if (a.child > 0)
			exit(4); /* a fork does not block */
	}
}

static bool some_blocked(void)
{
	for (int w = 0; w < WORKERS; w++)
		if (workers[w].pid && workers[w].blocked && !workers[w].done)
			return true;
	return false;
}

static void state(char *text, size_t size)
{
	struct text out = {text, size};
	struct answer a;
	char line[20];

	text[0] = 0;
	for (int w = 0; w < WORKERS; w++) {
		snprintf(line, sizeof(line), "%d state", w);
		if (workers[w].pid && (!workers[w].blocked || workers[w].done))
			tell(w, line);
	}
	for (int w = 0; w < WORKERS; w++) {
		struct process *p = &workers[w];

		if (!p->pid)
			continue;
		say(&out, "%s%d", out.at == text ? "" : " ", w);
		if (p->done)
			say(&out, "(%s)", p->result);
		if (p->blocked && !p->done) {
			say(&out, " blocked;");
			continue;
		}
		if (!answered(w, &a, 5000))
			say(&out, " hangs;");
		else
			say(&out, "%s;", a.text);
	}
}

/* Kinds of calls that may wait. */
static bool may_block(const char *line)
{
	static const char *const names[] = {"connect", "accept", "send", "write", "writev",
		"sendto", "recv", "read", "recvmsg", "poll", "select", "wait", "close", "dup2",
		"dup3", "close_range"};
	char name[20] = "";

	sscanf(line, "%*d %19s", name);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static void call(int w, const char *line, const char *expected, char *result)
{
	struct answer a;
	int patience = 2000, child = -1;

	if (workers[w].pid == 0 || workers[w].blocked) {
		strcpy(result, "no worker");
		return;
	}
	if (sscanf(line, "%*d fork %d", &child) == 1 &&
		(child < 0 || child >= WORKERS || workers[child].pid)) {
		strcpy(result, "no fork");
		return;
	}
	if (may_block(line) && (!*expected || strncmp(expected, "blocked\t", 8) == 0))
		patience = settle_ms + 4;
	tell(w, line);
	if (!answered(w, &a, patience)) {
		workers[w].blocked = true;
		strcpy(result, "blocked");
		return;
	}
	if (a.child > 0)
		born(child, a.child);
	snprintf(result, TEXT, "%s", a.text);
}

static void command(int w, const char *line, const char *expected, char *result)
{
	struct process *p = &workers[w];
	char what[20] = "";

	strcpy(result, "ok");
	sscanf(line, "%*d %19s", what);
	if (strcmp(what, "start") == 0) {
		if (p->pid)
			strcpy(result, "no start");
		else
			spawn(w);
	} else if (strcmp(what, "kill") == 0) {
		kill_worker(w);
	} else if (strcmp(what, "exit") == 0) {
		if (p->pid && !p->blocked) {
			tell(w, line);
			gone(w);
		}
	} else if (strncmp(what, "usr", 3) == 0) {
		if (p->blocked)
			syscall(SYS_pidfd_send_signal, p->pidfd, what[3] == '1' ? SIGUSR1 : SIGUSR2,
				NULL, 0);
	} else {
		call(w, line, expected, result);
	}
}

static void answer(int w, const char *line, const char *expected)
{
	static char whole[TEXT * (WORKERS + 2)];
	char result[TEXT];
	long long end;
	size_t n;

	for (int i = 0; i < WORKERS; i++)
		if (workers[i].done)
			workers[i].blocked = workers[i].done = false;
	command(w, line, expected, result);
	n = (size_t)snprintf(whole, sizeof(whole), "%s\t", result);
	if (settle_ms > 0)
		nap_us(settle_ms * 1000);
	end = now_us() + (*expected ? 200000 : settle_ms * 1000 + 3000);
	for (bool first = true;; first = false) {
		look_at_blocked(0);
		state(whole + n, sizeof(whole) - n);
		if (*expected ? strcmp(whole, expected) == 0 : !some_blocked()) {
			late += *expected && !first;
			if (*expected && !first && getenv("SEQUENCES_LATE"))
				fprintf(stderr, "late: %s\n", line);
			break;
		}
		if (now_us() > end || strncmp(whole, expected, *expected ? n : 0) != 0)
			break;
		nap_us(first ? 100 : 1000);
	}
	printf("%s\n", whole);
}

static void end_all(void)
{
	for (int w = 0; w < WORKERS; w++)
		kill_worker(w);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

/* Has the host live on between the sequences. */
static void hold_host(void)
{
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		socket(AF_INET, SOCK_DGRAM, 0);
		for (;;)
			pause();
	}
}

int main(int argc, char **argv)
{
	char line[TEXT * (WORKERS + 2)];

	if (argc > 3 && strcmp(argv[1], "worker") == 0)
		worker_run(atoi(argv[2]), atoi(argv[3]));
	close_range(FIRST_FD, COMMAND_FD - 1, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	hold_host();
	nap_us(300000);
	while (fgets(line, sizeof(line), stdin)) {
		char *expected = strchr(line, '\t');
		int w;

		line[strcspn(line, "\n")] = 0;
		if (expected)
			*expected++ = 0;
		if (sscanf(line, "begin %d %d", &base, &settle_ms) == 2) {
			end_all();
			make_pairs();
			printf("begun\n");
		} else if (sscanf(line, "%d", &w) == 1 && w >= 0 && w < WORKERS) {
			answer(w, line, expected ? expected : "");
		} else if (strcmp(line, "late") == 0) {
			printf("%lu\n", late);
		} else {
			return 5;
		}
	}
	end_all();
	return 0;
}
