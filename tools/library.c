/* Looks around the running program's own file. */
#include "tools/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/command.h"

bool library_find(char *out, size_t size)
{
	static const char *const places[] = {"", "../lib/"};
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[len > 0 ? len : 0] = '\0';
	slash = strrchr(self, '/');
	for (size_t i = 0; slash && i < ARRAY_LEN(places); i++) {
		int n = snprintf(
			out, size, "%.*s/%slibustack.so", (int)(slash - self), self, places[i]);

		/* The loader parts the list at these. */
		if (n > 0 && (size_t)n < size && !strpbrk(out, " :") && access(out, R_OK) == 0)
			return true;
	}
	snprintf(out, size, "libustack.so");
	return false;
}

/* The loader would go on without it, and the program would be on the kernel's stack. */
static bool library_loads(const char *name)
{
	void *handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL);

	if (handle)
		dlclose(handle);
	return handle != NULL;
}

int library_preload(void)
{
	char library[4096];
	const char *others = getenv("LD_PRELOAD");
	char *list = NULL;
	int ret;

	if (!library_find(library, sizeof(library)) && !library_loads(library))
		return command_failed(
			"cannot find libustack.so, neither beside this program nor in "
			"the loader's path: make install");
	if (others && *others && asprintf(&list, "%s:%s", library, others) < 0)
		return command_failed("no memory");
	ret = setenv("LD_PRELOAD", list ? list : library, 1);
	free(list);
	return ret ? command_failed("no memory") : 0;
}
