/*
 * Runs tests on one mutant after the other: all mutants are in the program, and `mutant` says which one is in force (tests/mutation/tcp
 * makes the sources so). Reads lines `NUMBER TEST...`, and answers each with `NUMBER` and what has killed that mutant, or `NUMBER -`.
 * Each mutant has a process of its own. The wire scripts run in an order that puts first what killed last.
 */
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/wire.h"

/* The processor time in which a script must end, and any other test. */
#define SCRIPT_S 5
#define TEST_S	 30
#define MEMORY	 (4ull << 30)

int mutant;

/* TEST("FOLDER/NAME", NAME_main) for each, by tests/mutation/tcp */
#define TEST(name, run) int run(int argc, char **argv);
#include "tests.h"
#undef TEST

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} tests[] = {
#define TEST(name, run) {name, run},
#include "tests.h"
};

static glob_t scripts;

static void limit(time_t seconds)
{
	const struct itimerval t = {.it_value.tv_sec = seconds};

	setitimer(ITIMER_PROF, &t, NULL);
}

static void move_to_front(size_t i)
{
	char *path = scripts.gl_pathv[i];

	memmove(scripts.gl_pathv + 1, scripts.gl_pathv, i * sizeof(path));
	scripts.gl_pathv[0] = path;
}

/* Ends the process with the killer, as its place among the scripts or behind them, in the pipe. */
static void killed_by(int out, size_t place)
{
	if (write(out, &place, sizeof(place)) < 0)
		_exit(2);
	_exit(1);
}

static void run_scripts(int out)
{
	const u32 wrap = UINT32_MAX - 50;
	char why[512];

	for (size_t i = 0; i < scripts.gl_pathc; i++) {
		limit(SCRIPT_S);
		if (!wire_run(scripts.gl_pathv[i], NULL, why, sizeof(why)) || !wire_run(scripts.gl_pathv[i], &wrap, why, sizeof(why)))
			killed_by(out, i);
	}
}

static void run_tests(int out, char *names)
{
	char *save, program[] = "test", *argv[] = {program, NULL};

	for (char *name = strtok_r(names, " \n", &save); name; name = strtok_r(NULL, " \n", &save)) {
		if (strcmp(name, "wire/scripts") == 0)
			run_scripts(out);
		for (size_t i = 0; i < ARRAY_LEN(tests); i++) {
			limit(TEST_S);
			if (strcmp(name, tests[i].name) == 0 && tests[i].run(1, argv))
				killed_by(out, scripts.gl_pathc + i);
		}
	}
	_exit(0);
}

static void try(int number, char *names)
{
	int ends[2], status = 0;
	size_t place;
	pid_t child;

	if (pipe(ends) < 0)
		exit(2);
	child = fork();
	if (child < 0)
		exit(2);
	if (child == 0) {
		const struct rlimit memory = {MEMORY, MEMORY}, none = {0, 0};
		int null = open("/dev/null", O_WRONLY);

		setrlimit(RLIMIT_AS, &memory);
		setrlimit(RLIMIT_CORE, &none);
		dup2(null, 1);
		dup2(null, 2);
		mutant = number;
		run_tests(ends[1], names);
	}
	close(ends[1]);
	if (read(ends[0], &place, sizeof(place)) != (ssize_t)sizeof(place))
		place = SIZE_MAX;
	close(ends[0]);
	waitpid(child, &status, 0);
	if (place == SIZE_MAX) {
		if (WIFSIGNALED(status))
			printf("%d %s\n", number, WTERMSIG(status) == SIGPROF ? "no end" : strsignal(WTERMSIG(status)));
		else
			printf("%d %s\n", number, status ? "its end" : "-");
		return;
	}
	printf("%d %s\n", number, place < scripts.gl_pathc ? scripts.gl_pathv[place] : tests[place - scripts.gl_pathc].name);
	if (place < scripts.gl_pathc)
		move_to_front(place);
}

int main(void)
{
	char line[512];

	setvbuf(stdout, NULL, _IOLBF, 0);
	setenv("CK_FORK", "no", 1);
	unsetenv("LONG");
	if (glob("tests/wire/scripts/*.wire", 0, NULL, &scripts) != 0)
		return 2;
	while (fgets(line, sizeof(line), stdin)) {
		char *names;
		int number = (int)strtol(line, &names, 10);

		try(number, names);
	}
	globfree(&scripts);
	return 0;
}
