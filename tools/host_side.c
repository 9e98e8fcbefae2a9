/* A persistent TAP with an owner, a long queue and an address, from whatever is there. */
#include "tools/host_side.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/units.h"

#define TAP_QUEUE_LEN 10000

bool host_side_parse(const char *text, struct rtnl_address *addr)
{
	const char *slash = strchr(text, '/');
	char host[INET6_ADDRSTRLEN];
	size_t len = slash ? (size_t)(slash - text) : 0;
	u64 prefix;

	if (len == 0 || len >= sizeof(host))
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	memset(addr, 0, sizeof(*addr));
	addr->family = strchr(host, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(addr->family, host, addr->bytes) != 1)
		return false;
	if (!units_number(slash + 1, addr->family == AF_INET ? 32 : 128, &prefix))
		return false;
	addr->prefix_len = (u8)prefix;
	return true;
}

static uid_t host_side_owner(const struct host_side *want)
{
	const char *sudo = getenv("SUDO_UID");
	u64 uid;

	if (want->has_owner)
		return want->owner;
	if (getuid() == 0 && sudo && units_number(sudo, UINT32_MAX - 1, &uid))
		return (uid_t)uid;
	return getuid();
}

/* Attaches for a moment to create the TAP or to change its owner. */
static int host_side_make(const struct host_side *want)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	uid_t owner = host_side_owner(want);
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return command_failed(
			"cannot open /dev/net/tun: %s (`ustack doctor` says what mends it)",
			strerror(errno));
	memcpy(ifr.ifr_name, want->tap, strlen(want->tap));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETOWNER, (long)owner) < 0 ||
		ioctl(fd, TUNSETPERSIST, 1) < 0)
		ret = -errno;
	close(fd);
	if (ret == -EPERM)
		return command_failed(
			"no permission to make the TAP %s: run it as root", want->tap);
	return ret ? command_failed("cannot make the TAP %s: %s", want->tap, strerror(-ret)) : 0;
}

/* Makes sure that there is a persistent TAP with the right owner, and stores its state. */
static int host_side_ensure(int fd, const struct host_side *want, struct rtnl_link *link)
{
	int ret = rtnl_get(fd, want->tap, link);

	if (ret == 0 && !link->is_tap)
		return command_failed("%s is there and is no TAP: choose another name", want->tap);
	if (ret == 0 && link->persistent &&
		(!want->has_owner || (link->has_owner && link->owner == want->owner)))
		return 0;
	if (ret == 0 && link->running)
		return command_failed("the TAP %s is in use and can't be changed", want->tap);
	ret = host_side_make(want);
	if (ret)
		return ret;
	ret = rtnl_get(fd, want->tap, link);
	return ret < 0 ? command_failed("the TAP %s vanished: %s", want->tap, strerror(-ret)) : 0;
}

int host_side_up(const struct host_side *want)
{
	struct rtnl_link link;
	int fd, ret;

	if (strlen(want->tap) >= IFNAMSIZ || !*want->tap || strpbrk(want->tap, "/:%@ \t\n"))
		return command_failed("`%s` is no interface name: one has 1 to %d characters",
			want->tap, IFNAMSIZ - 1);
	fd = rtnl_open();
	if (fd < 0)
		return command_failed("cannot open a netlink socket: %s", strerror(-fd));
	ret = host_side_ensure(fd, want, &link);
	for (u32 i = 0; ret == 0 && i < want->address_count; i++) {
		int err = rtnl_add_address(fd, link.index, &want->address[i]);

		if (err < 0)
			ret = command_failed(
				"cannot give %s its address: %s", want->tap, strerror(-err));
	}
	if (ret == 0 && (!link.up || link.queue_len < TAP_QUEUE_LEN ||
				(want->mtu && want->mtu != link.mtu))) {
		int err = rtnl_set_up(fd, link.index, want->mtu, TAP_QUEUE_LEN);

		if (err < 0)
			ret = command_failed("cannot bring %s up: %s", want->tap, strerror(-err));
	}
	close(fd);
	return ret;
}
