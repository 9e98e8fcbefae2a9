/*
 * System calls without the C library in between. In libustack.so the names read, writev, ioctl, ...
 * are the interposed ones; a driver must reach the kernel itself, must not be a cancellation point
 * and must leave errno alone.
 */
#ifndef TAPIO_SYS_H
#define TAPIO_SYS_H

#include <stdint.h>
#include <sys/syscall.h>

/* Returns what the kernel returned: a result, or a negative errno. */
#if defined(__x86_64__)
static inline long sys_call(long nr, long a, long b, long c, long d, long e)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static inline long sys_call(long nr, long a, long b, long c, long d, long e)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
			 : "memory");
	return x0;
}
#else
#error "add this machine's system call instruction"
#endif

#define SYS_ARG(p) ((long)(uintptr_t)(p))

#endif
