/*
 * Interposed: stdio and directories, where they open or close descriptors.
 *
 * Streams on stack sockets are call_stdio.c's.
 */
#include <stdlib.h>
#include <unistd.h>

#include "preload/call_file.h"
#include "preload/export.h"
#include "preload/libc.h"

static FILE *opened(FILE *f)
{
	if (f)
		call_opened(fileno(f));
	return f;
}

EXPORT FILE *fdopen(int fd, const char *mode)
{
	ref sk = fdtable_sock(fd);

	libc_need();
	if (!sk || !call_checked(fd, sk))
		return libc.fdopen(fd, mode);
	return call_stdio_open(fd, mode);
}

EXPORT int fclose(FILE *f)
{
	int fd = f ? fileno(f) : -1, ret;
	ref sk = fdtable_sock(fd);

	libc_need();
	call_stdio_closing(f);
	ret = libc.fclose(f);
	/*
	 * libc closed the number by itself when the stream was not one of those above (stdin on a
	 * socket).
	 */
	if (sk)
		call_checked(fd, sk);
	return ret;
}

static FILE *reopened(const char *path, const char *mode, FILE *f)
{
	int fd = f ? fileno(f) : -1;
	ref sk = fdtable_sock(fd);
	FILE *again;

	libc_need();
	if (call_stdio_is_ours(f))
		return call_stdio_reopen(path, mode, f);
	again = libc.freopen(path, mode, f);
	if (sk)
		call_checked(fd, sk);
	return opened(again);
}

EXPORT FILE *freopen(const char *restrict path, const char *restrict mode, FILE *restrict f)
{
	return reopened(path, mode, f);
}

EXPORT FILE *freopen64(const char *restrict path, const char *restrict mode, FILE *restrict f)
{
	return reopened(path, mode, f);
}

EXPORT FILE *fopen(const char *restrict path, const char *restrict mode)
{
	libc_need();
	return opened(libc.fopen(path, mode));
}

EXPORT FILE *fopen64(const char *restrict path, const char *restrict mode)
{
	return fopen(path, mode);
}

EXPORT FILE *tmpfile(void)
{
	libc_need();
	return opened(libc.tmpfile());
}

EXPORT FILE *tmpfile64(void)
{
	return tmpfile();
}

EXPORT DIR *opendir(const char *path)
{
	DIR *dir;

	libc_need();
	dir = libc.opendir(path);
	if (dir)
		call_opened(dirfd(dir));
	return dir;
}

/* --- dprintf: formatted in memory, then written as a whole --- */

EXPORT int vdprintf(int fd, const char *restrict format, va_list args)
{
	size_t done = 0;
	char *text;
	int len;

	if (!fdtable_sock(fd)) {
		libc_need();
		return libc.vdprintf(fd, format, args);
	}
	len = vasprintf(&text, format, args);
	while (len > 0 && done < (size_t)len) {
		ssize_t n = write(fd, text + done, (size_t)len - done);

		if (n < 0)
			break;
		done += (size_t)n;
	}
	if (len < 0)
		return -1;
	free(text);
	return done == (size_t)len ? len : -1;
}

EXPORT int dprintf(int fd, const char *restrict format, ...)
{
	va_list args;
	int ret;

	va_start(args, format);
	ret = vdprintf(fd, format, args);
	va_end(args);
	return ret;
}

EXPORT int __vdprintf_chk(int fd, int flag, const char *format, va_list args)
{
	(void)flag;
	return vdprintf(fd, format, args);
}

EXPORT int __dprintf_chk(int fd, int flag, const char *format, ...)
{
	va_list args;
	int ret;

	(void)flag;
	va_start(args, format);
	ret = vdprintf(fd, format, args);
	va_end(args);
	return ret;
}
