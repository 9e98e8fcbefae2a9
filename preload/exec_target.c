/*
 * What kind of program a file is, told from its first bytes as the kernel and the loader will do:
 * the interpreter of a script is followed, the interpreter of an ELF file names the C library.
 *
 * The library is loaded into what glibc's loader starts, of this processor and word size, without
 * set-user-id, set-group-id or capabilities that the caller has not (the loader is then in secure
 * mode). Go's programs are known by their build id: they load it and make system calls by
 * themselves all the same.
 */
#include "preload/exec.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#include "preload/raw.h"

#define SCRIPT_BYTES 256 /* that the kernel looks at */
#define FILES_MAX    6	 /* scripts in a row, and the program */
#define HEADERS_MAX  32
#define NOTES_BYTES  1024

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#else
#define OWN_MACHINE EM_AARCH64
#endif

/* An open program file. */
struct target {
	int fd;
	struct stat st;
};

static ssize_t target_read(const struct target *t, void *to, size_t size, u64 offset)
{
	return raw_syscall4(SYS_pread64, t->fd, (long)to, (long)size, (long)offset);
}

/* The file behind a descriptor that may be there for nothing but exec (O_PATH). */
static int target_reopen(int fd)
{
	char path[32] = "/proc/self/fd/", digits[12];
	size_t n = strlen(path), i = sizeof(digits);

	do {
		digits[--i] = (char)('0' + fd % 10);
		fd /= 10;
	} while (fd > 0);
	memcpy(path + n, digits + i, sizeof(digits) - i);
	return raw_open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
}

/*
 * 0, or the errno of an exec. t->fd is -1 when the file may be run but not read.
 */
static int target_open(struct target *t, int dir, const char *path, int flags)
{
	int ret = (int)raw_syscall4(SYS_newfstatat, dir, (long)path, (long)&t->st, flags);

	t->fd = -1;
	if (ret < 0)
		return ret;
	if (S_ISLNK(t->st.st_mode))
		return -ELOOP;
	if (!S_ISREG(t->st.st_mode))
		return -EACCES;
	ret = (int)raw_syscall4(SYS_faccessat2, dir, (long)path, X_OK, flags | AT_EACCESS);
	if (ret == -EACCES || ret == -EPERM)
		return -EACCES;
	if (flags & AT_EMPTY_PATH && !*path)
		t->fd = target_reopen(dir);
	else
		t->fd = (int)raw_syscall4(SYS_openat, dir, (long)path,
			O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
	return 0;
}

/* The loader will be in secure mode, where it leaves out libraries with a path. */
static bool target_secure(const struct target *t)
{
	u32 uid = (u32)raw_syscall0(SYS_getuid), gid = (u32)raw_syscall0(SYS_getgid);
	u32 euid = t->st.st_mode & S_ISUID ? t->st.st_uid : (u32)raw_syscall0(SYS_geteuid);
	u32 egid = (t->st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)
			   ? t->st.st_gid
			   : (u32)raw_syscall0(SYS_getegid);

	if (euid != uid || egid != gid)
		return true;
	return uid != 0 && t->fd >= 0 &&
	       raw_syscall4(SYS_fgetxattr, t->fd, (long)"security.capability", 0, 0) > 0;
}

/* --- ELF --- */

/* Of two rows of notes: is one of them Go's build id? */
static bool target_go_note(const struct target *t, const ElfW(Phdr) * segment)
{
	_Alignas(8) char text[NOTES_BYTES];
	ssize_t have =
		target_read(t, text, MIN(sizeof(text), segment->p_filesz), segment->p_offset);
	size_t at = 0;
	ElfW(Nhdr) note;

	while (have > 0 && at + sizeof(note) <= (size_t)have) {
		memcpy(&note, text + at, sizeof(note));
		at += sizeof(note);
		if (note.n_namesz == 4 && note.n_type == 4 && at + 4 <= (size_t)have &&
			!memcmp(text + at, "Go\0", 4))
			return true;
		if (note.n_namesz > NOTES_BYTES || note.n_descsz > NOTES_BYTES)
			break;
		at += ((size_t)note.n_namesz + 3) / 4 * 4 + ((size_t)note.n_descsz + 3) / 4 * 4;
	}
	return false;
}

/* By the loader that the file asks for. */
static int target_loader(const struct target *t, const ElfW(Phdr) * segment)
{
	char path[SCRIPT_BYTES];
	ssize_t n =
		target_read(t, path, MIN(sizeof(path) - 1, segment->p_filesz), segment->p_offset);
	const char *name;

	path[MAX(n, 0)] = 0;
	name = strrchr(path, '/');
	name = name ? name + 1 : path;
	return !strncmp(name, "ld-linux", 8) ? EXEC_LOADS : EXEC_FOREIGN;
}

static int target_elf(const struct target *t, const ElfW(Ehdr) * header)
{
	ElfW(Phdr) segment[HEADERS_MAX];
	u32 count = MIN(header->e_phnum, HEADERS_MAX);
	ssize_t have = target_read(t, segment, count * sizeof(segment[0]), header->e_phoff);
	int fate = EXEC_STRANGER; /* static, until a loader is named */
	bool go = false;

	if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != OWN_MACHINE)
		return EXEC_FOREIGN;
	if (header->e_phentsize != sizeof(segment[0]) ||
		have != (ssize_t)(count * sizeof(segment[0])))
		return EXEC_LOADS;
	for (u32 i = 0; i < count; i++) {
		if (segment[i].p_type == PT_INTERP)
			fate = target_loader(t, &segment[i]);
		if (segment[i].p_type == PT_NOTE)
			go |= target_go_note(t, &segment[i]);
	}
	if (fate == EXEC_LOADS && (go || target_secure(t)))
		return EXEC_STRANGER;
	return fate;
}

/* --- scripts --- */

/* The interpreter in the first line, cut out of it; NULL when there is none. */
static char *target_interpreter(char *line, size_t size)
{
	char *start = line + 2, *end;

	line[size] = 0;
	start += strspn(start, " \t");
	end = start + strcspn(start, " \t\n");
	*end = 0;
	return end == start ? NULL : start;
}

int exec_target(int dir, const char *path, int flags)
{
	char line[SCRIPT_BYTES + 1];
	ElfW(Ehdr) header;
	int fate;

	for (u32 level = 0; level < FILES_MAX; level++) {
		char first[SCRIPT_BYTES + 1];
		struct target t;
		int ret = target_open(&t, dir, path, flags);
		ssize_t n;

		if (ret < 0)
			return ret;
		if (t.fd < 0)
			return target_secure(&t) ? EXEC_STRANGER : EXEC_LOADS;
		n = target_read(&t, first, SCRIPT_BYTES, 0);
		fate = EXEC_LOADS;
		if (n >= (ssize_t)sizeof(header) && !memcmp(first, ELFMAG, SELFMAG)) {
			memcpy(&header, first, sizeof(header));
			fate = target_elf(&t, &header);
		}
		raw_close(t.fd);
		if (n < 2 || first[0] != '#' || first[1] != '!')
			return fate;
		memcpy(line, first, (size_t)n);
		path = target_interpreter(line, (size_t)n);
		if (!path)
			return EXEC_LOADS;
		dir = AT_FDCWD;
		flags = 0;
	}
	return -ELOOP;
}
