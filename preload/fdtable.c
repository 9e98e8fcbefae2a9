/*
 * The table of descriptor numbers. Chunks are mapped with a system call of our own, so setting an
 * entry never enters a malloc; a word is written and read atomically as a whole, so a reader sees
 * an old entry or a new one, never a mixture.
 */
#include "preload/fdtable.h"

#include "preload/raw.h"

#define INODE_BITS 30
#define INODE_MASK ((1ull << INODE_BITS) - 1)
#define PINS	   1024
#define PIN_LAST   (1ull << 32)

u64 *fdtable_chunk[FDTABLE_CHUNKS];
static int limit;
static u64 pins[PINS]; /* a sock, and PIN_LAST when the close of its last number is left to this
			  call */
static int pin_limit;

static u64 word_of(enum fd_kind kind, ref object, u64 inode)
{
	return (u64)kind << 62 | (inode & INODE_MASK) << 32 | object;
}

static u64 *slot_of(int fd)
{
	u64 *chunk;

	if ((unsigned)fd >= FDTABLE_CHUNK * FDTABLE_CHUNKS)
		return NULL;
	chunk = __atomic_load_n(&fdtable_chunk[(unsigned)fd / FDTABLE_CHUNK], __ATOMIC_ACQUIRE);
	return chunk ? chunk + (unsigned)fd % FDTABLE_CHUNK : NULL;
}

int fdtable_reserve(int fd)
{
	size_t size = FDTABLE_CHUNK * sizeof(u64);
	u64 *expected = NULL;
	long made;

	if ((unsigned)fd >= FDTABLE_CHUNK * FDTABLE_CHUNKS)
		return -ENOMEM;
	if (slot_of(fd))
		return 0;
	made = raw_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (raw_failed(made))
		return -ENOMEM;
	if (!__atomic_compare_exchange_n(&fdtable_chunk[(unsigned)fd / FDTABLE_CHUNK], &expected,
		    (u64 *)made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		raw_munmap((void *)made, size);
	return 0;
}

int fdtable_set(int fd, enum fd_kind kind, ref object, u64 inode)
{
	int old = __atomic_load_n(&limit, __ATOMIC_SEQ_CST);
	u64 *slot;

	if (fdtable_reserve(fd) < 0)
		return -ENOMEM;
	slot = slot_of(fd);
	while (old <= fd && !__atomic_compare_exchange_n(
				    &limit, &old, fd + 1, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	__atomic_store_n(slot, word_of(kind, object, inode), __ATOMIC_SEQ_CST);
	return 0;
}

enum fd_kind fdtable_clear(int fd, ref *object)
{
	u64 *slot = slot_of(fd);
	u64 word = slot && __atomic_load_n(slot, __ATOMIC_RELAXED)
			   ? __atomic_exchange_n(slot, 0, __ATOMIC_SEQ_CST)
			   : 0;

	if (object)
		*object = (ref)word;
	return (enum fd_kind)(word >> 62);
}

enum fd_kind fdtable_find_checked(int fd, ref *object)
{
	u64 word = fdtable_word(fd);
	struct stat st;
	int ret;

	*object = 0;
	if (!word)
		return FD_OTHER;
	/* Epoll descriptors share one inode: there is nothing to check. */
	if (word >> 32 & INODE_MASK) {
		ret = raw_fstat(fd, &st);
		/* A sandbox that forbids the look forbids the calls that make descriptors, too. */
		if (ret == -EBADF ||
			(ret == 0 && (st.st_ino & INODE_MASK) != (word >> 32 & INODE_MASK)))
			return FD_OTHER;
	}
	*object = (ref)word;
	return (enum fd_kind)(word >> 62);
}

ref fdtable_sock_checked(int fd)
{
	ref object;

	return fdtable_find_checked(fd, &object) == FD_SOCKET ? object : 0;
}

u32 fdtable_count(enum fd_kind kind, ref object)
{
	u32 count = 0;
	int end = __atomic_load_n(&limit, __ATOMIC_SEQ_CST);

	for (int first = 0; first < end; first += (int)FDTABLE_CHUNK) {
		u64 *chunk = slot_of(first);
		int n = MIN(end - first, (int)FDTABLE_CHUNK);

		for (int i = 0; chunk && i < n; i++) {
			u64 word = __atomic_load_n(&chunk[i], __ATOMIC_RELAXED);

			count += (ref)word == object && word >> 62 == kind;
		}
	}
	return count;
}

int fdtable_pin(ref sock)
{
	for (int i = 0; i < PINS; i++) {
		u64 none = 0;

		if (__atomic_load_n(&pins[i], __ATOMIC_SEQ_CST) ||
			!__atomic_compare_exchange_n(&pins[i], &none, (u64)sock, false,
				__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		if (__atomic_load_n(&pin_limit, __ATOMIC_SEQ_CST) <= i)
			__atomic_store_n(&pin_limit, i + 1, __ATOMIC_SEQ_CST);
		return i;
	}
	return -1;
}

bool fdtable_unpin(int pin)
{
	return pin >= 0 && __atomic_exchange_n(&pins[pin], 0, __ATOMIC_SEQ_CST) & PIN_LAST;
}

bool fdtable_defer(ref sock)
{
	for (int i = 0; i < __atomic_load_n(&pin_limit, __ATOMIC_SEQ_CST); i++) {
		u64 pinned = sock;

		if (__atomic_load_n(&pins[i], __ATOMIC_SEQ_CST) == pinned &&
			__atomic_compare_exchange_n(&pins[i], &pinned, pinned | PIN_LAST, false,
				__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return true;
	}
	return false;
}

void fdtable_forked(void)
{
	for (int i = 0; i < __atomic_load_n(&pin_limit, __ATOMIC_SEQ_CST); i++)
		pins[i] = 0;
	pin_limit = 0;
}

int fdtable_limit(void)
{
	return __atomic_load_n(&limit, __ATOMIC_SEQ_CST);
}
