/*
 * Interposed calls between sockets and files or pipes, and the prototypes of interposed functions
 * that no header declares.
 */
#ifndef PRELOAD_CALL_FILE_H
#define PRELOAD_CALL_FILE_H

#include <stdarg.h>

#include "preload/call.h"

s64 call_sendfile(int out, ref sk, int in, off_t *offset, size_t count);
/* From a socket: `out` is not one of ours. */
s64 call_sendfile_from(int in, ref sk, int out, const off_t *offset, size_t count);
s64 call_splice_out(int in, const off_t *in_offset, int out, ref sk, const off_t *out_offset,
	size_t len, unsigned flags);
s64 call_splice_in(int in, ref sk, const off_t *in_offset, int out, const off_t *out_offset,
	size_t len, unsigned flags);

ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
int __socket(int, int, int);
int __connect(int, const struct sockaddr *, socklen_t);
ssize_t __read(int, void *, size_t);
ssize_t __write(int, const void *, size_t);
ssize_t __read_nocancel(int, void *, size_t);
ssize_t __write_nocancel(int, const void *, size_t);
ssize_t __send(int, const void *, size_t, int);
ssize_t __recv(int, void *, size_t, int);
int __sendmmsg(int, struct mmsghdr *, unsigned, int);
int __close(int);
int __close_nocancel(int);
int __dup2(int, int);
int __fcntl(int, int, ...);
int __open(const char *, int, ...);
int __open64(const char *, int, ...);
int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);
int __pipe(int[2]);
int __vdprintf_chk(int, int, const char *, va_list);
int __dprintf_chk(int, int, const char *, ...);

#endif
