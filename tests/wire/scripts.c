/* Runs the wire scripts: all of tests/wire/scripts/, or those named. A script's id is its name. */
#include <glob.h>
#include <string.h>

#include "tests/lib/wire.h"

static int run(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char why[512];
	int len = (int)strcspn(name, ".");

	if (wire_run(path, why, sizeof(why))) {
		printf("ok wire-%.*s\n", len, name);
		return 0;
	}
	printf("not ok wire-%.*s %s\n", len, name, why);
	return 1;
}

int main(int argc, char **argv)
{
	glob_t found;
	int failed = 0;

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
