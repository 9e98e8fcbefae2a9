/* New programs: what kind of program a file is, and the environment that is passed on. */
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/exec.h"
#include "tests/lib/check_lines.h"

static char folder[] = "/tmp/ustack-exec.XXXXXX";

static const char *path_of(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static const char *file(const char *name, const void *bytes, size_t size)
{
	const char *path = path_of(name);
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0755);

	ck_assert(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
	close(fd);
	return path;
}

static const char *text(const char *name, const char *line)
{
	return file(name, line, strlen(line));
}

static int fate(const char *path)
{
	return exec_target(AT_FDCWD, path, 0);
}

struct program {
	ElfW(Ehdr) header;
	ElfW(Phdr) segment[2];
	char loader[40];
	ElfW(Nhdr) note;
	char owner[4], id[8];
};

static struct program program(const char *loader, const char *owner)
{
	struct program p = {.header = {.e_ident = ELFMAG,
				    .e_type = ET_EXEC,
#if defined(__x86_64__)
				    .e_machine = EM_X86_64,
#else
				    .e_machine = EM_AARCH64,
#endif
				    .e_phoff = offsetof(struct program, segment),
				    .e_phentsize = sizeof(ElfW(Phdr))}};

	p.header.e_ident[EI_CLASS] = ELFCLASS64;
	if (loader) {
		p.segment[p.header.e_phnum++] = (ElfW(Phdr)){.p_type = PT_INTERP,
			.p_offset = offsetof(struct program, loader),
			.p_filesz = strlen(loader) + 1};
		memcpy(p.loader, loader, strlen(loader) + 1);
	}
	if (owner) {
		p.segment[p.header.e_phnum++] = (ElfW(Phdr)){.p_type = PT_NOTE,
			.p_offset = offsetof(struct program, note),
			.p_filesz = sizeof(p) - offsetof(struct program, note)};
		p.note = (ElfW(Nhdr)){.n_namesz = 4, .n_descsz = 8, .n_type = 4};
		memcpy(p.owner, owner, 4);
	}
	return p;
}

#define GLIBC "/lib64/ld-linux-x86-64.so.2"

START_TEST(exec_target_elf)
{
	struct program p = program(GLIBC, NULL);

	ck_assert_int_eq(fate(file("a", &p, sizeof(p))), EXEC_LOADS);
	p = program(GLIBC, "GNU");
	ck_assert_int_eq(fate(file("a", &p, sizeof(p))), EXEC_LOADS);
	p = program(GLIBC, "Go\0");
	ck_assert_int_eq(fate(file("a", &p, sizeof(p))), EXEC_STRANGER);
	p = program(NULL, NULL);
	ck_assert_int_eq(fate(file("a", &p, sizeof(p))), EXEC_STRANGER);
	p = program("/lib/ld-musl-x86_64.so.1", NULL);
	ck_assert_int_eq(fate(file("a", &p, sizeof(p))), EXEC_FOREIGN);
	p = program(GLIBC, NULL);
	p.header.e_ident[EI_CLASS] = ELFCLASS32;
	ck_assert_int_eq(fate(file("a", &p, sizeof(p))), EXEC_FOREIGN);
	p = program(GLIBC, NULL);
	p.header.e_machine = EM_RISCV;
	ck_assert_int_eq(fate(file("a", &p, sizeof(p))), EXEC_FOREIGN);
}
END_TEST

/* What a broken file says does not lead astray. */
START_TEST(exec_target_broken)
{
	struct program p = program(GLIBC, "Go\0");

	for (size_t size = 0; size <= sizeof(p); size++)
		ck_assert_int_ge(fate(file("a", &p, size)), 0);
	p.note.n_namesz = UINT32_MAX;
	ck_assert_int_eq(fate(file("a", &p, sizeof(p))), EXEC_LOADS);
	p.header.e_phnum = UINT16_MAX;
	p.header.e_phoff = UINT64_MAX;
	ck_assert_int_eq(fate(file("a", &p, sizeof(p))), EXEC_LOADS);
	ck_assert_int_eq(fate(text("a", "no magic")), EXEC_LOADS);
	ck_assert_int_eq(fate(text("a", "#!")), EXEC_LOADS);
	ck_assert_int_eq(fate(text("a", "#!   \n")), EXEC_LOADS);
}
END_TEST

START_TEST(exec_target_secure)
{
	struct program p = program(GLIBC, NULL);
	const char *path = file("a", &p, sizeof(p));
	int status;

	if (getuid() != 0)
		return;
	ck_assert_int_eq(chmod(path, 04755), 0);
	ck_assert_int_eq(fate(path), EXEC_LOADS);
	ck_assert_int_eq(chown(path, 1, 1), 0);
	ck_assert_int_eq(chmod(path, 04755), 0);
	ck_assert_int_eq(fate(path), EXEC_STRANGER);
	ck_assert_int_eq(chmod(path, 02755), 0);
	ck_assert_int_eq(fate(path), EXEC_STRANGER);
	ck_assert_int_eq(chmod(path, 02745), 0);
	ck_assert_int_eq(fate(path), EXEC_LOADS);
	ck_assert_int_eq(chmod(path, 0755), 0);
	if (fork() == 0)
		_exit(setresuid(1, 2, 1) != 0 || fate("/bin/sh") != EXEC_STRANGER);
	ck_assert(wait(&status) > 0 && status == 0);
}
END_TEST

START_TEST(exec_target_scripts)
{
	char line[64];

	ck_assert_int_eq(fate(text("s1", "#!/bin/sh\n")), EXEC_LOADS);
	ck_assert_int_eq(fate(text("s1", "#! \t/bin/sh -e\n")), EXEC_LOADS);
	ck_assert_int_eq(fate(text("s1", "#!/bin/sh")), EXEC_LOADS);
	ck_assert_int_eq(fate(text("s1", "#!/nowhere/sh\n")), -ENOENT);
	ck_assert_int_eq(fate(text("s1", "#!/etc/passwd\n")), -EACCES);
	text("s0", "#!/bin/sh\n");
	for (int i = 1; i <= 6; i++) {
		char name[8];

		snprintf(line, sizeof(line), "#!%s/s%d\n", folder, i - 1);
		snprintf(name, sizeof(name), "s%d", i);
		/* The sixth script in a row is one too many. */
		ck_assert_int_eq(fate(text(name, line)), i < 5 ? EXEC_LOADS : -ELOOP);
	}
}
END_TEST

START_TEST(exec_target_errors)
{
	struct program p = program(NULL, NULL);
	const char *path = file("a", &p, sizeof(p));
	int fd;

	ck_assert_int_eq(fate("/nowhere"), -ENOENT);
	ck_assert_int_eq(fate("/etc/passwd/x"), -ENOTDIR);
	ck_assert_int_eq(fate("/etc/passwd"), -EACCES);
	ck_assert_int_eq(fate("/tmp"), -EACCES);
	ck_assert_int_eq(fate((const char *)8), -EFAULT);
	fd = open(path, O_PATH);
	ck_assert_int_eq(exec_target(fd, "", AT_EMPTY_PATH), EXEC_STRANGER);
	ck_assert_int_eq(exec_target(fd, "", 0), -ENOENT);
	close(fd);
	ck_assert_int_eq(symlink("a", path_of("link")), 0);
	ck_assert_int_eq(fate(path_of("link")), EXEC_STRANGER);
	ck_assert_int_eq(exec_target(AT_FDCWD, path_of("link"), AT_SYMLINK_NOFOLLOW), -ELOOP);
}
END_TEST

/* --- the environment --- */

static const char *own_path(void)
{
	static char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	ck_assert(n > 0);
	return path;
}

/* A variable that this program stands in for the library with, as the loader was told of it. */
static char *preload(const char *before, const char *path, const char *behind)
{
	static char made[3][PATH_MAX + 64];
	static int turn;
	char *p = made[turn++ % 3];

	snprintf(p, sizeof(made[0]), "LD_PRELOAD=%s%s%s", before, path, behind);
	return p;
}

static void keep(char *entry)
{
	char device[] = "USTACK_DEVICE=tap7", name[] = "USTACK_NAME=x", other[] = "HOME=/";
	char *env[] = {other, entry, device, name, NULL};

	exec_env_keep(env);
	memset(device, 0, sizeof(device)); /* as a program does that shows its state in ps */
	memset(name, 0, sizeof(name));
}

/* The variables of the environment made, in one line. */
static const char *passed(char *const *env, int kind, bool loads)
{
	static char line[3 * PATH_MAX];
	struct exec_env made;
	size_t n = 0;

	exec_env_make(&made, env, kind);
	line[0] = 0;
	for (char *const *v = made.env; v && *v; v++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%s", n ? " " : "", *v);
	ck_assert_int_eq(made.loads, loads);
	ck_assert(made.memory || made.env == env);
	exec_env_free(&made);
	return line;
}

static const char *line_of(const char *entry, const char *rest)
{
	static char line[3 * PATH_MAX];

	snprintf(line, sizeof(line), "%s%s", entry, rest);
	return line;
}

START_TEST(exec_env_scrubbed)
{
	char *own = preload("", own_path(), ""), a[] = "A=b", name[] = "USTACK_NAME=y";
	char *empty[] = {NULL}, *some[] = {a, name, NULL},
	     *others[] = {preload("x.so", "", ""), NULL};

	keep(own);
	ck_assert_str_eq(
		passed(NULL, EXEC_LOADS, true), line_of(own, " USTACK_DEVICE=tap7 USTACK_NAME=x"));
	ck_assert_str_eq(
		passed(empty, EXEC_LOADS, true), line_of(own, " USTACK_DEVICE=tap7 USTACK_NAME=x"));
	ck_assert_str_eq(passed(some, EXEC_STRANGER, true),
		line_of(own, " A=b USTACK_NAME=y USTACK_DEVICE=tap7"));
	ck_assert_str_eq(passed(others, EXEC_LOADS, true),
		line_of(own, ":x.so USTACK_DEVICE=tap7 USTACK_NAME=x"));
	ck_assert_str_eq(passed(empty, EXEC_FOREIGN, false), "");
}
END_TEST

/* What has all is passed on as it is. */
START_TEST(exec_env_complete)
{
	char *own = preload("y.so:", own_path(), " z.so"), a[] = "USTACK_DEVICE=q",
	     b[] = "USTACK_NAME=";
	char *env[] = {a, own, b, NULL};
	struct exec_env made;

	keep(own);
	exec_env_make(&made, env, EXEC_LOADS);
	ck_assert(made.env == env && made.loads && !made.memory);
	exec_env_make(&made, env, EXEC_FOREIGN);
	ck_assert(made.env != env && !made.loads);
	ck_assert_str_eq(made.env[0], "LD_PRELOAD=y.so:z.so");
	ck_assert_str_eq(made.env[1], a);
	ck_assert_str_eq(made.env[2], b);
	ck_assert_ptr_null(made.env[3]);
	exec_env_free(&made);
}
END_TEST

START_TEST(exec_env_switched_off)
{
	char *own = preload("", own_path(), ""), *empty[] = {NULL}, *env[] = {own, NULL};

	setenv("USTACK_FOLLOW_EXEC", "0", 1);
	keep(own);
	ck_assert_str_eq(passed(empty, EXEC_LOADS, false), "");
	ck_assert_str_eq(passed(env, EXEC_LOADS, true), own);
	ck_assert_str_eq(passed(env, EXEC_FOREIGN, false), "");
}
END_TEST

/* A relative path is passed on as a full one; a bare name is the loader's to find. */
START_TEST(exec_env_paths)
{
	const char *base = strrchr(own_path(), '/') + 1;
	char *relative, *empty[] = {NULL}, *env[2] = {NULL, NULL};
	char full[PATH_MAX + 80];

	relative = preload("../", base, "");
	ck_assert_int_eq(chdir("/tmp"), 0);
	snprintf(
		full, sizeof(full), "LD_PRELOAD=/tmp/../%s USTACK_DEVICE=tap7 USTACK_NAME=x", base);
	keep(relative);
	ck_assert_str_eq(passed(empty, EXEC_LOADS, true), full);
	env[0] = relative;
	ck_assert_str_eq(passed(env, EXEC_LOADS, true), full);
}
END_TEST

START_TEST(exec_env_bare_name)
{
	char *bare = preload("", strrchr(own_path(), '/') + 1, ""), *empty[] = {NULL};

	keep(bare);
	ck_assert_str_eq(passed(empty, EXEC_LOADS, true),
		line_of(bare, " USTACK_DEVICE=tap7 USTACK_NAME=x"));
}
END_TEST

/* Loaded by another way than LD_PRELOAD: every program loads it. */
START_TEST(exec_env_not_named)
{
	char *others = preload("x.so", "", ""), *empty[] = {NULL};

	keep(others);
	ck_assert_str_eq(passed(empty, EXEC_LOADS, true), "");
	ck_assert_str_eq(passed(empty, EXEC_FOREIGN, false), "");
}
END_TEST

static void put_back(const char *name, const char *value)
{
	setenv(name, value, 1);
}

START_TEST(exec_env_put_back)
{
	char *own = preload("", own_path(), "");

	keep(own);
	clearenv();
	setenv("A", "b", 1);
	exec_env_missing(environ, put_back);
	ck_assert_str_eq(getenv("LD_PRELOAD"), strchr(own, '=') + 1);
	ck_assert_str_eq(getenv("USTACK_DEVICE"), "tap7");
	ck_assert_str_eq(getenv("USTACK_NAME"), "x");
	ck_assert_str_eq(getenv("A"), "b");
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, exec_target_elf);
	tcase_add_test(tc, exec_target_broken);
	tcase_add_test(tc, exec_target_secure);
	tcase_add_test(tc, exec_target_scripts);
	tcase_add_test(tc, exec_target_errors);
	tcase_add_test(tc, exec_env_scrubbed);
	tcase_add_test(tc, exec_env_complete);
	tcase_add_test(tc, exec_env_switched_off);
	tcase_add_test(tc, exec_env_paths);
	tcase_add_test(tc, exec_env_bare_name);
	tcase_add_test(tc, exec_env_not_named);
	tcase_add_test(tc, exec_env_put_back);
}

static void remove_folder(void)
{
	static const char *const names[] = {"a", "link", "s0", "s1", "s2", "s3", "s4", "s5", "s6"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(path_of(names[i]));
	rmdir(folder);
}

int main(void)
{
	int ret;

	if (!mkdtemp(folder))
		return 1;
	ret = check_lines_case("exec", 0, add_tests);
	remove_folder();
	return ret;
}
