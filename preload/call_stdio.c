/*
 * stdio on stack sockets.
 *
 * The C library's streams read and write by system calls of their own, which no interposer sees. A
 * stream on a stack socket is therefore made with fopencookie over our calls, and told its number,
 * so that fileno() gives it. When standard input, output or error becomes a stack socket (dup2),
 * stdin, stdout or stderr is pointed at such a stream until it is another file again; what a stream
 * has buffered goes along, as it would with the number.
 */
#include <fcntl.h>
#include <stdio_ext.h>
#include <string.h>
#include <unistd.h>

#include "preload/call.h"
#include "preload/libc.h"
#include "preload/splice.h"
#include "preload/tether.h"

static ssize_t cookie_read(void *cookie, char *buf, size_t len)
{
	return read((int)(intptr_t)cookie, buf, len);
}

/* As much as the stream asks, as stdio's own files do; 0 is an error here. */
static ssize_t cookie_write(void *cookie, const char *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write((int)(intptr_t)cookie, buf + done, len - done);

		if (n < 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int cookie_seek(void *cookie, off64_t *offset, int whence)
{
	off64_t at = lseek64((int)(intptr_t)cookie, *offset, whence);

	if (at < 0)
		return -1;
	*offset = at;
	return 0;
}

static int cookie_close(void *cookie)
{
	return close((int)(intptr_t)cookie);
}

FILE *call_stdio_open(int fd, const char *mode)
{
	static const cookie_io_functions_t functions = {
		.read = cookie_read,
		.write = cookie_write,
		.seek = cookie_seek,
		.close = cookie_close,
	};
	FILE *f = fopencookie((void *)(intptr_t)fd, mode, functions);

	if (f)
		f->_fileno = fd;
	if (f && strchr(mode, 'e'))
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	return f;
}

/* --- the standard streams --- */

static FILE *theirs[3], *ours[3];

#define MODE_BITS (4 | 8) /* _IO_NO_READS, _IO_NO_WRITES */

static FILE **standard(int fd)
{
	return fd == 0 ? &stdin : fd == 1 ? &stdout : &stderr;
}

/* libstdc++'s, if it was loaded with the program. */
extern __attribute__((weak)) char call_stdio_cin __asm__("_ZSt3cin");

/*
 * Who has kept a pointer to the C library's stream from before makes plain system calls on the
 * number: what is written by them the keeper notices and serves (tether.h), but a read it can't
 * see. The streams of C++ keep such pointers, so they are served from the beginning.
 */
static void serve_kept(int fd)
{
	ref sk = fdtable_sock(fd);

	if (!&call_stdio_cin || splice_begin(fd, sk) < 0)
		tether_tie(fd, sk);
}

static void move_buffered(FILE *from, FILE *to)
{
	size_t n = from && to ? __fpending(from) : 0;

	if (n && fwrite(from->_IO_write_base, 1, n, to) == n)
		__fpurge(from);
}

void call_stdio_changed(int fd)
{
	bool socket = fdtable_sock(fd) != 0;
	FILE **stream = standard(fd);

	if (socket == (ours[fd] && *stream == ours[fd]))
		return;
	if (!socket) {
		move_buffered(ours[fd], theirs[fd]);
		*stream = theirs[fd];
		return;
	}
	if (!ours[fd])
		ours[fd] = call_stdio_open(fd, fd ? "w" : "r");
	if (!ours[fd])
		return;
	if (fd == 2)
		setvbuf(ours[fd], NULL, _IONBF, 0);
	serve_kept(fd);
	theirs[fd] = *stream;
	move_buffered(theirs[fd], ours[fd]);
	*stream = ours[fd];
}

bool call_stdio_is_ours(FILE *f)
{
	int fd = f ? fileno(f) : -1;

	return fdtable_sock(fd) && !(fd < 3 && f != ours[fd]);
}

static int open_flags(const char *mode)
{
	int flags = strchr(mode, '+') ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;

	if (*mode == 'w')
		flags |= O_CREAT | O_TRUNC;
	else if (*mode == 'a')
		flags |= O_CREAT | O_APPEND;
	return flags | (strchr(mode, 'e') ? O_CLOEXEC : 0);
}

FILE *call_stdio_reopen(const char *path, const char *mode, FILE *f)
{
	int fd = fileno(f), flags = open_flags(mode), file;

	fflush(f);
	file = path ? open(path, flags, 0666) : fd;
	if (file < 0) {
		int error = errno;

		fclose(f);
		errno = error;
		return NULL;
	}
	if (path) {
		dup3(file, fd, flags & O_CLOEXEC);
		close(file);
	}
	if (fd < 3)
		f = *standard(fd); /* which is the C library's own again */
	__fpurge(f);
	clearerr(f);
	if (fd >= 3)
		f->_flags = (f->_flags & ~MODE_BITS) | ((flags & O_ACCMODE) == O_RDONLY ? 8 : 0) |
			    ((flags & O_ACCMODE) == O_WRONLY ? 4 : 0);
	return f;
}

void call_stdio_closing(FILE *f)
{
	for (int fd = 0; fd < 3; fd++) {
		if (!f || f != ours[fd])
			continue;
		if (*standard(fd) == f)
			*standard(fd) = theirs[fd];
		ours[fd] = NULL;
	}
}
