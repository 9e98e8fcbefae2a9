/*
 * Runs the wire scripts: all of tests/wire/scripts/, or those named. A script's id is its name; each runs three times, with initial
 * sequence numbers as they come, just below 2^32 (id ends in -wrap) and just below 2^31 (-sign).
 */
#include <glob.h>
#include <string.h>

#include "tests/lib/wire.h"

static int run_as(const char *path, const char *suffix, const u32 *isn)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char why[512];
	int len = (int)strcspn(name, ".");

	if (wire_run(path, isn, why, sizeof(why))) {
		printf("ok wire-%.*s%s\n", len, name, suffix);
		return 0;
	}
	printf("not ok wire-%.*s%s %s\n", len, name, suffix, why);
	return 1;
}

static int run(const char *path)
{
	const u32 wrap = UINT32_MAX - 50, sign = INT32_MAX - 50;

	return run_as(path, "", NULL) | run_as(path, "-wrap", &wrap) | run_as(path, "-sign", &sign);
}

int main(int argc, char **argv)
{
	glob_t found;
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++)
		failed |= run(argv[i]);
	if (argc > 1)
		return failed;
	if (glob("tests/wire/scripts/*.wire", 0, NULL, &found) != 0)
		return 2;
	for (size_t i = 0; i < found.gl_pathc; i++)
		failed |= run(found.gl_pathv[i]);
	globfree(&found);
	return failed;
}
