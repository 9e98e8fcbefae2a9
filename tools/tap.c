/* `ustack tap`: the TAP devices that stacks use, from the kernel's side. */
#include <arpa/inet.h>
#include <getopt.h>
#include <ifaddrs.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/host_side.h"
#include "tools/nat.h"
#include "tools/rtnl.h"
#include "tools/units.h"

static void tap_help(void)
{
	puts("usage: ustack tap up [NAME] [--address ADDRESS/PREFIX]... [--user USER] [--mtu "
	     "BYTES] [--nat]\n"
	     "       ustack tap down [NAME]\n"
	     "       ustack tap show [NAME]\n\n"
	     "up    makes the TAP NAME (tap0), gives the kernel's side its address and brings it "
	     "up. It stays until\n"
	     "      `tap down`. Can be repeated; what is right already is left alone. Needs root.\n"
	     "  --address ADDRESS/PREFIX  of the kernel's side (10.0.0.1/24, the stack's default "
	     "gateway); may be given\n"
	     "                            several times; `none` gives it none\n"
	     "  --user USER               who may use it without privilege (the user who called "
	     "sudo, else yourself)\n"
	     "  --mtu BYTES               its MTU\n"
	     "  --nat                     the stack reaches the world under this machine's "
	     "address: IPv4 forwarding\n"
	     "                            and masquerading, by nftables\n"
	     "down  removes it and all that `up` added\n"
	     "show  lists it, or all TAPs: owner, addresses, whether a program is attached\n");
}

static int tap_user(const char *name, uid_t *uid)
{
	struct passwd *user = getpwnam(name);
	u64 number;

	if (user)
		*uid = user->pw_uid;
	else if (units_number(name, UINT32_MAX - 1, &number))
		*uid = (uid_t)number;
	else
		return command_misused("tap", "there is no user `%s`", name);
	return 0;
}

static int tap_address(const char *text, struct host_side *want, bool *none)
{
	if (strcmp(text, "none") == 0) {
		*none = true;
		return 0;
	}
	if (want->address_count == ARRAY_LEN(want->address))
		return command_misused("tap", "too many addresses");
	if (!host_side_parse(text, &want->address[want->address_count]))
		return command_misused(
			"tap", "--address takes one as in 10.0.0.1/24, not `%s`", text);
	want->address_count++;
	return 0;
}

static int tap_up(int argc, char **argv)
{
	static const struct option options[] = {
		{"address", required_argument, NULL, 'a'},
		{"user", required_argument, NULL, 'u'},
		{"mtu", required_argument, NULL, 'm'},
		{"nat", no_argument, NULL, 'n'},
		{0},
	};
	struct host_side want = {.tap = "tap0"};
	bool nat = false, none = false;
	int opt, ret = 0;
	u64 mtu;

	while (ret == 0 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'a') {
			ret = tap_address(optarg, &want, &none);
		} else if (opt == 'u') {
			want.has_owner = true;
			ret = tap_user(optarg, &want.owner);
		} else if (opt == 'm') {
			if (!units_number(optarg, 65521, &mtu) || mtu < 68)
				return command_misused("tap", "--mtu takes 68 to 65521");
			want.mtu = (u32)mtu;
		} else if (opt == 'n') {
			nat = true;
		} else {
			return COMMAND_USAGE;
		}
	}
	if (ret)
		return ret;
	if (argc - optind > 1)
		return command_misused("tap", "one name is expected");
	if (argc > optind)
		want.tap = argv[optind];
	if (want.address_count == 0 && !none)
		tap_address("10.0.0.1/24", &want, &none);
	ret = host_side_up(&want);
	return ret == 0 && nat ? nat_up(want.tap) : ret;
}

static int tap_down(const char *name)
{
	int fd = rtnl_open(), ret;
	struct rtnl_link link;

	if (fd < 0)
		return command_failed("cannot open a netlink socket: %s", strerror(-fd));
	ret = rtnl_get(fd, name, &link);
	if (ret == 0 && !link.is_tap) {
		close(fd);
		return command_failed("%s is no TAP", name);
	}
	if (ret == 0)
		ret = rtnl_delete(fd, link.index);
	close(fd);
	if (ret == -EPERM)
		return command_failed("no permission to remove %s: run it as root", name);
	if (ret < 0 && ret != -ENODEV)
		return command_failed("cannot remove %s: %s", name, strerror(-ret));
	return nat_down(name);
}

static void tap_print_addresses(const char *name)
{
	struct ifaddrs *all;
	char text[INET6_ADDRSTRLEN];

	if (getifaddrs(&all) < 0)
		return;
	for (struct ifaddrs *ifa = all; ifa; ifa = ifa->ifa_next) {
		int family = ifa->ifa_addr ? ifa->ifa_addr->sa_family : AF_UNSPEC;
		const u8 *addr, *mask;
		u32 prefix = 0;

		if ((family != AF_INET && family != AF_INET6) || strcmp(ifa->ifa_name, name) != 0)
			continue;
		addr = (u8 *)ifa->ifa_addr + (family == AF_INET ? 4 : 8);
		mask = (u8 *)ifa->ifa_netmask + (family == AF_INET ? 4 : 8);
		for (u32 i = 0; i < (family == AF_INET ? 4u : 16u); i++)
			prefix += (u32)__builtin_popcount(mask[i]);
		printf(" %s/%u", inet_ntop(family, addr, text, sizeof(text)), prefix);
	}
	freeifaddrs(all);
}

static void tap_print(const struct rtnl_link *link)
{
	struct passwd *user = link->has_owner ? getpwuid(link->owner) : NULL;

	printf("%s: %s, %s, mtu %u, queue %u, ", link->name, link->up ? "up" : "down",
		link->running ? "in use" : "free", link->mtu, link->queue_len);
	if (user)
		printf("owner %s", user->pw_name);
	else if (link->has_owner)
		printf("owner %u", (unsigned)link->owner);
	else
		printf("anybody's");
	printf("%s%s, address", link->persistent ? "" : ", until its program ends",
		getuid() == 0 && nat_is_up(link->name) ? ", nat" : "");
	tap_print_addresses(link->name);
	putchar('\n');
}

static int tap_show(const char *name)
{
	struct if_nameindex *all = if_nameindex();
	int fd = rtnl_open();
	struct rtnl_link link;
	bool found = false;

	for (struct if_nameindex *i = all; fd >= 0 && i && i->if_index; i++) {
		if (name && strcmp(name, i->if_name) != 0)
			continue;
		if (rtnl_get(fd, i->if_name, &link) == 0 && link.is_tap) {
			found = true;
			tap_print(&link);
		}
	}
	if (all)
		if_freenameindex(all);
	if (fd >= 0)
		close(fd);
	if (name && !found)
		return command_failed("there is no TAP %s", name);
	return 0;
}

int tap_command(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			tap_help();
			return 0;
		}
	if (strcmp(what, "up") == 0)
		return tap_up(argc - 1, argv + 1);
	if (argc > 3 || (argc > 2 && argv[2][0] == '-'))
		return command_misused("tap", "`%s` takes one name", what);
	if (strcmp(what, "down") == 0)
		return tap_down(argc > 2 ? argv[2] : "tap0");
	if (strcmp(what, "show") == 0)
		return tap_show(argc > 2 ? argv[2] : NULL);
	return command_misused("tap", "up, down or show is expected");
}
