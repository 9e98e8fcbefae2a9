/*
 * `ustack doctor`: tries what the library will do, one thing after the other, and says of each
 * whether it works; if not, with the command that mends it. What is only slower or less without it
 * is a note.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <net/if.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tapio/tapio.h"
#include "tools/command.h"
#include "tools/library.h"
#include "tools/rtnl.h"
#include "tools/settings.h"

enum verdict { GOOD, NOTE, MISSING };

static int doctor_missing;

static void doctor_say(enum verdict verdict, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void doctor_say(enum verdict verdict, const char *format, ...)
{
	static const char *const words[] = {"ok      ", "note    ", "MISSING "};
	va_list args;

	fputs(words[verdict], stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	if (verdict == MISSING)
		doctor_missing++;
}

static void doctor_features(const struct tapio *dev)
{
	u32 want = DEVICE_CSUM | DEVICE_TSO4 | DEVICE_TSO6;

	if (!dev->vnet)
		doctor_say(NOTE, "offloads: none, this kernel's TAP knows no virtio-net header; it "
				 "works, slower");
	else if ((dev->features & want) != want)
		doctor_say(NOTE, "offloads: only%s%s%s; it works, slower",
			dev->features & DEVICE_CSUM ? " checksums" : " none",
			dev->features & DEVICE_TSO4 ? " TSO4" : "",
			dev->features & DEVICE_TSO6 ? " TSO6" : "");
	else
		doctor_say(GOOD, "offloads: checksums, TSO4, TSO6%s",
			dev->features & DEVICE_USO ? ", USO" : "; no USO (Linux 6.2 has it)");
}

/* Whether a TAP may be attached to, and made. */
enum tun { TUN_NOT, TUN_ATTACH, TUN_MAKE };

static enum tun doctor_tun(void)
{
	struct tapio dev;
	char name[IFNAMSIZ], why[256];
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0 && (errno == EACCES || errno == EPERM)) {
		doctor_say(MISSING, "/dev/net/tun may not be opened: chmod 666 /dev/net/tun");
		return TUN_NOT;
	}
	if (fd < 0) {
		doctor_say(MISSING,
			"/dev/net/tun: %s: modprobe tun; in a container start it with --device "
			"/dev/net/tun",
			strerror(errno));
		return TUN_NOT;
	}
	close(fd);
	doctor_say(GOOD, "/dev/net/tun may be opened");
	snprintf(name, sizeof(name), "usdoc%d", (int)getpid());
	if (tapio_open(&dev, name, why, sizeof(why)) < 0) {
		doctor_say(NOTE,
			"TAP devices may not be made here: root makes one with `ustack tap up`, or "
			"give CAP_NET_ADMIN (in a container --cap-add NET_ADMIN)");
		return TUN_ATTACH;
	}
	doctor_say(GOOD, "TAP devices may be made");
	doctor_features(&dev);
	tapio_close(&dev);
	return TUN_MAKE;
}

static void doctor_attach(const struct config *config, enum tun tun)
{
	struct tapio dev;
	char why[256];

	if (tapio_open(&dev, config->device, why, sizeof(why)) < 0) {
		doctor_say(MISSING, "%s", why);
		return;
	}
	doctor_say(GOOD, "device %s: may be attached to", config->device);
	if (tun != TUN_MAKE && dev.kind == TAPIO_TAP)
		doctor_features(&dev);
	tapio_close(&dev);
}

static void doctor_device(const struct config *config, enum tun tun)
{
	const struct passwd *user = getpwuid(getuid());
	const char *name = config->device;
	struct rtnl_link link;
	int fd = -1, ret = -ENODEV;

	if (strncmp(name, "tap:", 4) == 0)
		name += 4;
	if (!strpbrk(name, ":@")) {
		fd = rtnl_open();
		ret = fd < 0 ? fd : rtnl_get(fd, name, &link);
	}
	if (fd >= 0)
		close(fd);
	if (strpbrk(name, ":@")) {
		doctor_attach(config, tun);
	} else if (ret == -ENODEV) {
		doctor_say(tun == TUN_MAKE ? NOTE : MISSING,
			"there is no device %s yet: ustack tap up %s --user %s   (as root)", name,
			name, user ? user->pw_name : "USER");
	} else if (ret == 0 && link.is_tap && link.running) {
		doctor_say(NOTE, "device %s is in use by a program", name);
	} else {
		doctor_attach(config, tun);
		if (ret == 0 && !link.up)
			doctor_say(MISSING, "device %s is down: ip link set %s up", name, name);
	}
}

static void doctor_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		if (limit.rlim_cur < 256)
			doctor_say(MISSING, "only %llu open files allowed: ulimit -n 1024",
				(unsigned long long)limit.rlim_cur);
		else
			doctor_say(GOOD,
				"open files: %llu, may be raised to %llu (one a socket, and 40)",
				(unsigned long long)limit.rlim_cur,
				(unsigned long long)limit.rlim_max);
	}
	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur < 256u << 20)
		doctor_say(MISSING, "address space of only %llu bytes: ulimit -v unlimited",
			(unsigned long long)limit.rlim_cur);
}

static void doctor_memory(void)
{
	int fd = memfd_create("ustack-doctor", MFD_CLOEXEC);
	void *map = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, 1 << 20) == 0)
		map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		doctor_say(MISSING,
			"shared memory (memfd_create): %s: allow it in the sandbox or container",
			strerror(errno));
	else
		doctor_say(GOOD, "shared memory (memfd_create)");
	if (map != MAP_FAILED)
		munmap(map, 1 << 20);
	if (fd >= 0)
		close(fd);
}

static void doctor_kernel(void)
{
	long fd = syscall(SYS_pidfd_open, getpid(), 0);

	if (fd < 0)
		doctor_say(MISSING,
			"pidfd_open: %s: Linux 5.3 has it; a container may have to allow it",
			strerror(errno));
	else
		doctor_say(GOOD, "pidfd_open");
	if (fd >= 0)
		close((int)fd);
	fd = eventfd(0, EFD_CLOEXEC);
	if (fd < 0)
		doctor_say(MISSING, "eventfd: %s", strerror(errno));
	else
		close((int)fd);
	if (access("/proc/self/fd", X_OK) < 0)
		doctor_say(MISSING, "/proc is not there: mount -t proc proc /proc");
}

static bool doctor_in_path(const char *program)
{
	const char *set = getenv("PATH");
	char *path = strdup(set ? set : "/usr/sbin:/usr/bin:/sbin:/bin");
	char *rest = path, *folder, file[4096];
	bool found = false;

	while (path && (folder = strsep(&rest, ":"))) {
		snprintf(file, sizeof(file), "%s/%s", folder, program);
		found = found || access(file, X_OK) == 0;
	}
	free(path);
	return found;
}

static void doctor_programs(void)
{
	char library[4096];
	void *pcap = dlopen("libpcap.so.0.8", RTLD_NOW);

	if (library_find(library, sizeof(library)))
		doctor_say(GOOD, "library: %s", library);
	else
		doctor_say(MISSING,
			"libustack.so is not beside this program nor in ../lib: make install");
	if (pcap)
		doctor_say(GOOD, "libpcap, for capture filters");
	else
		doctor_say(NOTE,
			"no libpcap: --pcap-filter does not work: apt-get install libpcap0.8");
	if (pcap)
		dlclose(pcap);
	if (!doctor_in_path("ip"))
		doctor_say(NOTE, "no program ip, to look at devices: apt-get install iproute2");
	if (!doctor_in_path("nft"))
		doctor_say(NOTE, "no program nft: `ustack tap up --nat` does not work: apt-get "
				 "install nftables");
}

int doctor_command(int argc, char **argv)
{
	static struct config config;
	enum tun tun;
	int ret;

	if (command_wants_help(argc, argv)) {
		puts("usage: ustack doctor [--KEY VALUE]...\n\n"
		     "Says what this machine lacks to run programs on the stack, with the "
		     "configuration that\n"
		     "`ustack run` would use, and the command that mends it. Exit status 0: "
		     "nothing, 1: something.");
		return 0;
	}
	ret = settings_take_all(argc, argv);
	if (ret)
		return ret;
	if (settings_load(&config) == 0) {
		doctor_say(GOOD, "configuration%s%s", config.file[0] ? ": " : "", config.file);
		tun = doctor_tun();
		if (tun != TUN_NOT)
			doctor_device(&config, tun);
	} else {
		doctor_missing++;
	}
	doctor_limits();
	doctor_memory();
	doctor_kernel();
	doctor_programs();
	printf("%s\n", doctor_missing ? "something is missing" : "everything needed is there");
	return doctor_missing ? COMMAND_FAILED : 0;
}
