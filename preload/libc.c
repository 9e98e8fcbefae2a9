/*
 * The table of the C library's functions. A name is looked up with RTLD_NEXT, so that another
 * interposer behind this library still gets its calls. The pointers begin at functions that make
 * the system call themselves: relocation sets them before any constructor runs, and a malloc
 * library that opens a file while it sets itself up must not come back to itself through dlsym.
 */
#include "preload/libc.h"

#include <dlfcn.h>
#include <errno.h>

#include "preload/raw.h"

#define X(type, name, args, nr)                                                                    \
	static long early_##name(long a, long b, long c, long d, long e, long f)                   \
	{                                                                                          \
		long ret = nr < 0 ? -ENOSYS : raw_syscall6(nr, a, b, c, d, e, f);                  \
                                                                                                   \
		if (!raw_failed(ret))                                                              \
			return ret;                                                                \
		errno = (int)-ret;                                                                 \
		return -1;                                                                         \
	}
LIBC_CALLS(X)
#undef X

bool libc_resolved;

/*
 * ThreadSanitizer's own versions would report each number that one thread closes while another uses
 * it, which is what the tests do: its build keeps to the system calls.
 */
#ifdef __SANITIZE_THREAD__
#define LIBC_KEEPS(nr) ((nr) >= 0)
#else
#define LIBC_KEEPS(nr) false
#endif

/* All arguments are integers or pointers, so a function of six longs takes them as they come. */
struct libc libc = {
#define X(type, name, args, nr) .name = nr < 0 ? NULL : (__typeof__(libc.name))(void *)early_##name,
	LIBC_CALLS(X)
#undef X
};

/* Ahead of the constructors of the program and of libraries that were loaded after this one. */
__attribute__((constructor(101))) void libc_resolve(void)
{
#define X(type, name, args, nr)                                                                    \
	do {                                                                                       \
		void *real = LIBC_KEEPS(nr) ? NULL : dlsym(RTLD_NEXT, #name);                      \
                                                                                                   \
		if (real)                                                                          \
			libc.name = (__typeof__(libc.name))real;                                   \
	} while (0);
	LIBC_CALLS(X)
#undef X
	libc_resolved = true;
}
