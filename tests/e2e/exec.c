/*
 * cat, for tests/e2e/exec: what comes on standard input goes to standard output. Built static, with
 * another C library, or (RAW) as a program that makes its system calls itself and says so by a
 * build id of Go's.
 */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef RAW

static const struct {
	unsigned name, id, type;
	char owner[4], text[8];
} build_id __attribute__((section(".note.go.buildid,\"a\",@note#"), used, aligned(4))) = {
	4, 8, 4, "Go", "0123456"};

static long call(long nr, long a, const void *b, long c)
{
#if defined(__x86_64__)
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return ret;
#else
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register const void *x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
#endif
}

static long get(void *to, long size)
{
	return call(SYS_read, 0, to, size);
}

static long put(const void *from, long size)
{
	return call(SYS_write, 1, from, size);
}

#else

static long get(void *to, long size)
{
	return read(0, to, (size_t)size);
}

static long put(const void *from, long size)
{
	return write(1, from, (size_t)size);
}

#endif

int main(void)
{
	static char buf[65536];
	long n;

	while ((n = get(buf, sizeof(buf))) > 0) {
		for (long done = 0, m; done < n; done += m) {
			m = put(buf + done, n - done);
			if (m <= 0)
				return 1;
		}
	}
	return n < 0;
}
