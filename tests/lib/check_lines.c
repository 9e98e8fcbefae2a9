/*
 * One line per test of a Check suite.
 *
 * Check's public results carry no test name and its TAP log no loop index; its XML log has both. So
 * the XML goes to a memfd and is read back here: <test> elements with <fn>, <id>, <iteration> and
 * <message>.
 */
#include "tests/lib/check_lines.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct result {
	char id[128];
	char where[256];
	char message[1024];
	long index;
	bool passed;
};

static const struct {
	const char *entity;
	char c;
} entities[] = {
	{"&lt;", '<'},
	{"&gt;", '>'},
	{"&amp;", '&'},
	{"&quot;", '"'},
	{"&apos;", '\''},
};

/* Copies XML text without its entities and line breaks. */
static void copy_text(char *dst, size_t size, const char *src, const char *end)
{
	size_t n = 0;

	while (src < end && n + 1 < size) {
		char c = *src;
		size_t step = 1;

		for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
			size_t len = strlen(entities[i].entity);

			if (strncmp(src, entities[i].entity, len) == 0) {
				c = entities[i].c;
				step = len;
			}
		}
		dst[n++] = c == '\n' || c == '\r' ? ' ' : c;
		src += step;
	}
	dst[n] = '\0';
}

static void copy_element(
	char *dst, size_t size, const char *test, const char *end, const char *name)
{
	char open[32], close[32];
	const char *from, *to;

	dst[0] = '\0';
	snprintf(open, sizeof(open), "<%s>", name);
	snprintf(close, sizeof(close), "</%s>", name);
	from = strstr(test, open);
	if (!from || from >= end)
		return;
	from += strlen(open);
	to = strstr(from, close);
	if (to && to <= end)
		copy_text(dst, size, from, to);
}

/* Returns where to go on, NULL when there is no further test. */
static const char *read_result(const char *xml, struct result *r)
{
	const char *test = strstr(xml, "<test result=\"");
	const char *end = test ? strstr(test, "</test>") : NULL;
	char index[24];

	if (!end)
		return NULL;
	r->passed = strncmp(test, "<test result=\"success\"", 22) == 0;
	copy_element(r->id, sizeof(r->id), test, end, "id");
	copy_element(r->where, sizeof(r->where), test, end, "fn");
	copy_element(r->message, sizeof(r->message), test, end, "message");
	copy_element(index, sizeof(index), test, end, "iteration");
	r->index = strtol(index, NULL, 10);
	for (char *p = r->id; *p; p++)
		if (*p == '_')
			*p = '-';
	return end;
}

static void print_result(const struct result *r, bool loop)
{
	printf("%s %s", r->passed ? "ok" : "not ok", r->id);
	if (loop)
		printf("-%ld", r->index);
	if (!r->passed)
		printf(" %s: %s", r->where, r->message);
	putchar('\n');
}

/* A loop test is known by its neighbours: the log does not say how far a loop goes. */
static void print_results(const char *xml)
{
	struct result now, next;
	const char *p = read_result(xml, &now);

	while (p) {
		const char *after = read_result(p, &next);
		bool same = after && strcmp(now.id, next.id) == 0;

		print_result(&now, now.index > 0 || same);
		now = next;
		p = after;
	}
}

static char *read_all(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = size < 0 ? NULL : calloc(1, (size_t)size + 1);

	if (text && pread(fd, text, (size_t)size, 0) != size) {
		free(text);
		return NULL;
	}
	return text;
}

/* Before a case is created: it reads the timeout. */
static void prepare(void)
{
	setenv("CK_DEFAULT_TIMEOUT", "60", 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

static int run(Suite *suite)
{
	int fd = memfd_create("check", MFD_CLOEXEC);
	char path[48], *xml;
	SRunner *runner;
	int failed;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	runner = srunner_create(suite);
	srunner_set_xml(runner, path);
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	if (srunner_ntests_run(runner) == 0)
		failed = 1;
	srunner_free(runner);

	xml = fd < 0 ? NULL : read_all(fd);
	if (!xml) {
		puts("not ok check-lines cannot read back the results");
		return 1;
	}
	print_results(xml);
	free(xml);
	close(fd);
	return failed ? 1 : 0;
}

int check_lines_main(Suite *(*make_suite)(void))
{
	prepare();
	return run(make_suite());
}

int check_lines_case(const char *name, int timeout_s, void (*add)(TCase *tc))
{
	Suite *suite;
	TCase *tc;

	prepare();
	suite = suite_create(name);
	tc = tcase_create(name);
	suite_add_tcase(suite, tc);
	if (timeout_s)
		tcase_set_timeout(tc, timeout_s);
	add(tc);
	return run(suite);
}
