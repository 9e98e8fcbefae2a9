/*
 * The region: a memfd that every member maps, and where the library's descriptors lie.
 *
 * It is mapped only as far as the file reaches, at an address high enough that nothing else lies
 * behind it, so that what is added later can be mapped behind what is there: pointers into it stay
 * good in threads that are copying. A large reserve would break `ulimit -v` and mlockall and write
 * core files of gigabytes. Should all the addresses tried be taken, the room for the whole limit is
 * reserved somewhere instead (PROT_NONE).
 *
 * The file begins sparse where memory is not limited: the first part costs what is touched of it.
 * Else, and for all that is added, the keeper allocates before anybody hears of it (fallocate), so
 * that memory which is not there means ENOBUFS, and not SIGBUS or the kernel's killer.
 */
#include "preload/region.h"

#include <linux/futex.h>
#include <sys/resource.h>

static const u64 region_bases[] = {0x550000000000, 0x540000000000, 0x530000000000, 0x510000000000};

#define SPARE_BYTES (16ull << 20) /* that growth leaves to the programs, and half of what is left  \
				   */
#define FDS_WANTED 64		  /* numbers that the library's descriptors may need */

u64 host_layout(void)
{
	u64 mix = HOST_MAGIC;
	const u64 sizes[] = {sizeof(struct host), sizeof(struct stack), sizeof(struct slot),
		sizeof(struct sock), sizeof(struct pkt), sizeof(struct config),
		offsetof(struct stack, tx_ring), offsetof(struct sock, holders), SLAB_KINDS,
		COUNTERS};

	for (u32 i = 0; i < ARRAY_LEN(sizes); i++)
		mix = (mix ^ sizes[i]) * 0x100000001b3ull;
	return mix;
}

static void *region_map(int fd, u64 size, u64 limit)
{
	long at = -ENOMEM;

	for (u32 i = 0; i < ARRAY_LEN(region_bases); i++) {
		at = raw_mmap((void *)(uintptr_t)region_bases[i], size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
		if (at == (long)region_bases[i])
			return (void *)at;
		if (!raw_failed(at)) /* a kernel before 4.17 takes the address for a hint */
			raw_munmap((void *)at, size);
	}
	at = raw_mmap(NULL, limit, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (raw_failed(at))
		return NULL;
	at = raw_mmap((void *)at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	return raw_failed(at) ? NULL : (void *)at;
}

int region_attach(struct host_local *local, int fd, u64 size)
{
	struct host *host = region_map(fd, size, size);

	if (!host)
		return -ENOMEM;
	raw_madvise(host, size, MADV_DONTDUMP);
	local->mapped = size;
	local->region_fd = fd;
	local->host = host;
	return 0;
}

int region_create(struct host_local *local, u64 size, u64 limit, bool whole)
{
	int fd = raw_memfd_create("ustack", MFD_CLOEXEC), ret;

	if (fd < 0)
		return fd;
	ret = raw_ftruncate(fd, (off_t)size);
	if (ret == 0 && whole)
		ret = memory_room() < size ? -ENOMEM
					   : (int)raw_syscall4(SYS_fallocate, fd, 0, 0, (long)size);
	if (ret == 0)
		ret = region_attach(local, fd, size);
	if (ret < 0) {
		raw_close(fd);
		return ret;
	}
	local->host->size = size;
	local->host->limit = limit;
	local->host->layout = host_layout();
	return 0;
}

/*
 * The rest of the file, behind what is mapped. In a process that has taken part until now there is
 * no way on without it: objects that it holds may refer to what lies there.
 */
void region_extend(struct host_local *local)
{
	u64 size = __atomic_load_n(&local->host->size, __ATOMIC_ACQUIRE);
	char *end = (char *)local->host + local->mapped;
	bool reserved = true;
	long at;

	for (u32 i = 0; i < ARRAY_LEN(region_bases); i++)
		reserved &= (u64)(uintptr_t)local->host != region_bases[i];
	at = raw_mmap(end, size - local->mapped, PROT_READ | PROT_WRITE,
		MAP_SHARED | (reserved ? MAP_FIXED : MAP_FIXED_NOREPLACE), local->region_fd,
		(off_t)local->mapped);
	/* The fork came between a thread's mapping of it and its saying so. */
	if (at == -EEXIST && local->epoch)
		at = raw_mmap(end, size - local->mapped, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_FIXED, local->region_fd, (off_t)local->mapped);
	if (at != (long)end) {
		host_complain(
			"ustack: no address space for the grown host: raise the limit (ulimit -v)");
		raw_syscall2(SYS_kill, raw_getpid(), SIGKILL);
	}
	raw_madvise(end, size - local->mapped, MADV_DONTDUMP);
	__atomic_store_n(&local->mapped, size, __ATOMIC_RELEASE);
}

u64 region_grow(struct host_local *local, u64 size)
{
	u64 have = local->host->size, room = memory_room();

	room -= MIN(room, MAX(room / 2, SPARE_BYTES));
	size = MIN(size, local->host->limit);
	if (size > have && size - have > room)
		size = have + room / SLAB_SPAN_BYTES * SLAB_SPAN_BYTES;
	if (size > have && raw_syscall4(SYS_fallocate, local->region_fd, 0, (long)have,
				   (long)(size - have)) < 0)
		return have;
	return MAX(size, have);
}

/*
 * The numbers of the library's descriptors: above those that select() knows where the limit allows,
 * but not far up, as the kernel's table of descriptors reaches to the highest one.
 */
int region_fd_floor(void)
{
	struct rlimit limit = {0, 0};

	raw_syscall4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit);
	if (limit.rlim_cur >= 1024 + FDS_WANTED)
		return 1024;
	return limit.rlim_cur >= 2 * FDS_WANTED ? (int)limit.rlim_cur - FDS_WANTED
						: (int)limit.rlim_cur / 2;
}

int region_fd_hide(int fd, int floor)
{
	int high = raw_fcntl(fd, F_DUPFD_CLOEXEC, floor);

	if (high == -EMFILE || high == -EINVAL)
		return raw_fcntl(fd, F_SETFD, FD_CLOEXEC) < 0
			       ? -EBADF
			       : fd; /* no room up there: stays where it is */
	raw_close(fd);
	return high;
}
