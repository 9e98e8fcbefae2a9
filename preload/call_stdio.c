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
	(void)cookie;
	(void)offset;
	(void)whence;
	errno = ESPIPE;
	return -1;
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

static FILE **standard(int fd)
{
	return fd == 0 ? &stdin : fd == 1 ? &stdout : &stderr;
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
	theirs[fd] = *stream;
	move_buffered(theirs[fd], ours[fd]);
	*stream = ours[fd];
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
