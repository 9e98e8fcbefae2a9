/*
 * The C library's own functions behind the ones that are interposed. The constructor resolves them
 * once (libc_resolve); until then those with a system call of their own make it directly, so that a
 * call from another library's constructor, or from inside a malloc that is being set up, works
 * without any look-up. The others are NULL until then: libc_need() first.
 */
#ifndef PRELOAD_LIBC_H
#define PRELOAD_LIBC_H

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

struct termios;
struct winsize;

/*
 * X(return type, name, arguments, number of the system call that does the same with the same
 * arguments, or -1)
 */
#define LIBC_CALLS(X)                                                                              \
	X(int, socket, (int, int, int), SYS_socket)                                                \
	X(int, socketpair, (int, int, int, int *), SYS_socketpair)                                 \
	X(int, bind, (int, const struct sockaddr *, socklen_t), SYS_bind)                          \
	X(int, listen, (int, int), SYS_listen)                                                     \
	X(int, accept, (int, struct sockaddr *, socklen_t *), SYS_accept)                          \
	X(int, accept4, (int, struct sockaddr *, socklen_t *, int), SYS_accept4)                   \
	X(int, connect, (int, const struct sockaddr *, socklen_t), SYS_connect)                    \
	X(int, getsockname, (int, struct sockaddr *, socklen_t *), SYS_getsockname)                \
	X(int, getpeername, (int, struct sockaddr *, socklen_t *), SYS_getpeername)                \
	X(int, setsockopt, (int, int, int, const void *, socklen_t), SYS_setsockopt)               \
	X(int, getsockopt, (int, int, int, void *, socklen_t *), SYS_getsockopt)                   \
	X(int, shutdown, (int, int), SYS_shutdown)                                                 \
	X(int, sockatmark, (int), -1)                                                              \
	X(int, isfdtype, (int, int), -1)                                                           \
	X(ssize_t, sendto, (int, const void *, size_t, int, const struct sockaddr *, socklen_t),   \
		SYS_sendto)                                                                        \
	X(ssize_t, sendmsg, (int, const struct msghdr *, int), SYS_sendmsg)                        \
	X(int, sendmmsg, (int, struct mmsghdr *, unsigned, int), SYS_sendmmsg)                     \
	X(ssize_t, recvfrom, (int, void *, size_t, int, struct sockaddr *, socklen_t *),           \
		SYS_recvfrom)                                                                      \
	X(ssize_t, recvmsg, (int, struct msghdr *, int), SYS_recvmsg)                              \
	X(int, recvmmsg, (int, struct mmsghdr *, unsigned, int, struct timespec *), SYS_recvmmsg)  \
	X(ssize_t, read, (int, void *, size_t), SYS_read)                                          \
	X(ssize_t, write, (int, const void *, size_t), SYS_write)                                  \
	X(ssize_t, readv, (int, const struct iovec *, int), SYS_readv)                             \
	X(ssize_t, writev, (int, const struct iovec *, int), SYS_writev)                           \
	X(ssize_t, pread, (int, void *, size_t, off_t), SYS_pread64)                               \
	X(ssize_t, pwrite, (int, const void *, size_t, off_t), SYS_pwrite64)                       \
	X(ssize_t, preadv, (int, const struct iovec *, int, off_t), SYS_preadv)                    \
	X(ssize_t, pwritev, (int, const struct iovec *, int, off_t), SYS_pwritev)                  \
	X(ssize_t, preadv2, (int, const struct iovec *, int, off_t, int), -1)                      \
	X(ssize_t, pwritev2, (int, const struct iovec *, int, off_t, int), -1)                     \
	X(ssize_t, sendfile, (int, int, off_t *, size_t), SYS_sendfile)                            \
	X(ssize_t, splice, (int, off_t *, int, off_t *, size_t, unsigned), SYS_splice)             \
	X(ssize_t, tee, (int, int, size_t, unsigned), SYS_tee)                                     \
	X(ssize_t, vmsplice, (int, const struct iovec *, size_t, unsigned), SYS_vmsplice)          \
	X(ssize_t, copy_file_range, (int, off_t *, int, off_t *, size_t, unsigned),                \
		SYS_copy_file_range)                                                               \
	X(int, close, (int), SYS_close)                                                            \
	X(int, close_range, (unsigned, unsigned, int), SYS_close_range)                            \
	X(void, closefrom, (int), -1)                                                              \
	X(int, dup, (int), SYS_dup)                                                                \
	X(int, dup2, (int, int), SYS_dup2)                                                         \
	X(int, dup3, (int, int, int), SYS_dup3)                                                    \
	X(int, fcntl, (int, int, ...), SYS_fcntl)                                                  \
	X(int, ioctl, (int, unsigned long, ...), SYS_ioctl)                                        \
	X(int, open, (const char *, int, ...), SYS_open)                                           \
	X(int, openat, (int, const char *, int, ...), SYS_openat)                                  \
	X(int, pipe, (int *), SYS_pipe)                                                            \
	X(int, pipe2, (int *, int), SYS_pipe2)                                                     \
	X(int, eventfd, (unsigned, int), SYS_eventfd2)                                             \
	X(int, signalfd, (int, const sigset_t *, int), -1)                                         \
	X(int, timerfd_create, (int, int), SYS_timerfd_create)                                     \
	X(int, inotify_init, (void), SYS_inotify_init)                                             \
	X(int, inotify_init1, (int), SYS_inotify_init1)                                            \
	X(int, fanotify_init, (unsigned, unsigned), SYS_fanotify_init)                             \
	X(int, memfd_create, (const char *, unsigned), SYS_memfd_create)                           \
	X(int, pidfd_open, (pid_t, unsigned), SYS_pidfd_open)                                      \
	X(int, pidfd_getfd, (int, int, unsigned), SYS_pidfd_getfd)                                 \
	X(int, epoll_create, (int), SYS_epoll_create)                                              \
	X(int, epoll_create1, (int), SYS_epoll_create1)                                            \
	X(int, epoll_ctl, (int, int, int, struct epoll_event *), SYS_epoll_ctl)                    \
	X(int, epoll_wait, (int, struct epoll_event *, int, int), SYS_epoll_wait)                  \
	X(int, epoll_pwait, (int, struct epoll_event *, int, int, const sigset_t *), -1)           \
	X(int, epoll_pwait2,                                                                       \
		(int, struct epoll_event *, int, const struct timespec *, const sigset_t *), -1)   \
	X(int, poll, (struct pollfd *, nfds_t, int), SYS_poll)                                     \
	X(int, ppoll, (struct pollfd *, nfds_t, const struct timespec *, const sigset_t *), -1)    \
	X(int, select, (int, fd_set *, fd_set *, fd_set *, struct timeval *), SYS_select)          \
	X(int, pselect,                                                                            \
		(int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *),    \
		-1)                                                                                \
	X(int, fstat, (int, struct stat *), SYS_fstat)                                             \
	X(off_t, lseek, (int, off_t, int), SYS_lseek)                                              \
	X(int, mkstemp, (char *), -1)                                                              \
	X(int, mkostemp, (char *, int), -1)                                                        \
	X(int, mkstemps, (char *, int), -1)                                                        \
	X(int, mkostemps, (char *, int, int), -1)                                                  \
	X(int, shm_open, (const char *, int, mode_t), -1)                                          \
	X(int, posix_openpt, (int), -1)                                                            \
	X(int, getpt, (void), -1)                                                                  \
	X(int, openpty, (int *, int *, char *, const struct termios *, const struct winsize *),    \
		-1)                                                                                \
	X(int, daemon, (int, int), -1)                                                             \
	X(int, login_tty, (int), -1)                                                               \
	X(int, forkpty, (int *, char *, const struct termios *, const struct winsize *), -1)       \
	X(FILE *, fopen, (const char *, const char *), -1)                                         \
	X(FILE *, fdopen, (int, const char *), -1)                                                 \
	X(FILE *, freopen, (const char *, const char *, FILE *), -1)                               \
	X(FILE *, tmpfile, (void), -1)                                                             \
	X(FILE *, popen, (const char *, const char *), -1)                                         \
	X(int, system, (const char *), -1)                                                         \
	X(int, execve, (const char *, char *const *, char *const *), SYS_execve)                   \
	X(int, execveat, (int, const char *, char *const *, char *const *, int), SYS_execveat)     \
	X(int, posix_spawn,                                                                        \
		(pid_t *, const char *, const posix_spawn_file_actions_t *,                        \
			const posix_spawnattr_t *, char *const *, char *const *),                  \
		-1)                                                                                \
	X(int, posix_spawnp,                                                                       \
		(pid_t *, const char *, const posix_spawn_file_actions_t *,                        \
			const posix_spawnattr_t *, char *const *, char *const *),                  \
		-1)                                                                                \
	X(int, posix_spawn_file_actions_init, (posix_spawn_file_actions_t *), -1)                  \
	X(int, posix_spawn_file_actions_destroy, (posix_spawn_file_actions_t *), -1)               \
	X(int, posix_spawn_file_actions_adddup2, (posix_spawn_file_actions_t *, int, int), -1)     \
	X(pid_t, _Fork, (void), -1)                                                                \
	X(int, clone, (int (*)(void *), void *, int, void *, ...), -1)                             \
	X(pid_t, wait4, (pid_t, int *, int, struct rusage *), SYS_wait4)                           \
	X(int, waitid, (idtype_t, id_t, siginfo_t *, int), -1)                                     \
	X(int, setuid, (uid_t), -1)                                                                \
	X(int, seteuid, (uid_t), -1)                                                               \
	X(int, setreuid, (uid_t, uid_t), -1)                                                       \
	X(int, setresuid, (uid_t, uid_t, uid_t), -1)                                               \
	X(int, pclose, (FILE *), -1)                                                               \
	X(int, fclose, (FILE *), -1)                                                               \
	X(int, vdprintf, (int, const char *, va_list), -1)                                         \
	X(DIR *, opendir, (const char *), -1)                                                      \
	X(DIR *, fdopendir, (int), -1)                                                             \
	X(int, closedir, (DIR *), -1)                                                              \
	X(long, syscall, (long, ...), -1)                                                          \
	X(int, sigaction, (int, const struct sigaction *, struct sigaction *), -1)                 \
	X(int, pthread_cancel, (pthread_t), -1)

struct libc {
#define X(type, name, args, nr) type(*name) args;
	LIBC_CALLS(X)
#undef X
};

extern struct libc libc;

/*
 * Looks all of them up; the constructor does it. Calls nothing that allocates as long as the names
 * exist.
 */
void libc_resolve(void);

extern bool libc_resolved;

static inline void libc_need(void)
{
	if (!libc_resolved)
		libc_resolve();
}

#endif
