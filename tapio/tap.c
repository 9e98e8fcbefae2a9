/*
 * TAP devices: opening one, and what it does for us.
 *
 * A TAP that does not exist is created (CAP_NET_ADMIN), brought up and vanishes with its last
 * descriptor; one that exists is attached to, which its owner may do without privilege. Addresses
 * on the host's side are not set here. Every frame carries a virtio-net header: the kernel then
 * completes checksums and segments for us, and hands us whole super-frames. What we may send does
 * not depend on TUNSETOFFLOAD, but what we are sent does; a kernel that refuses an offload in one
 * direction is taken to lack it in both.
 */
#include "tapio/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tapio/sys.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* Frames the kernel queues towards us: the default of 1000 overflows when a reader is late by one
 * slow start. */
#define TAP_QUEUE_LEN 10000

static int tap_ioctl(int fd, unsigned long request, void *arg)
{
	return (int)sys_call(SYS_ioctl, fd, (long)request, SYS_ARG(arg), 0, 0);
}

static void tap_fill(struct ifreq *ifr, const char *name)
{
	memset(ifr, 0, sizeof(*ifr));
	memcpy(ifr->ifr_name, name, strnlen(name, IFNAMSIZ - 1));
}

static bool tap_name_ok(const char *name)
{
	size_t len = strlen(name);

	/* The kernel would cut a longer name and number a '%'. */
	return len > 0 && len < IFNAMSIZ && strpbrk(name, "/% \t\n:") == NULL &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int tap_open_node(char *why, size_t why_size)
{
	int fd = (int)sys_call(SYS_openat, AT_FDCWD, SYS_ARG("/dev/net/tun"),
		O_RDWR | O_NONBLOCK | O_CLOEXEC, 0, 0);

	if (fd >= 0)
		return fd;
	if (fd == -EACCES || fd == -EPERM)
		snprintf(why, why_size,
			"no permission to open /dev/net/tun: run as root, or allow it with "
			"`chmod 666 /dev/net/tun`");
	else if (fd == -ENOENT || fd == -ENXIO || fd == -ENODEV)
		snprintf(why, why_size,
			"there is no /dev/net/tun: `modprobe tun` loads the driver, in a container "
			"pass "
			"the device in (--device /dev/net/tun)");
	else
		snprintf(why, why_size, "cannot open /dev/net/tun: %s", strerror(-fd));
	return fd;
}

static void tap_explain(const char *name, int err, bool existed, char *why, size_t why_size)
{
	if (err == -EBUSY)
		snprintf(why, why_size,
			"the TAP %s is in use by another program: end that one, or choose another "
			"device",
			name);
	else if ((err == -EPERM || err == -EACCES) && existed)
		snprintf(why, why_size,
			"the TAP %s belongs to another user: make it yours with `ustack tap up %s "
			"--user USER` as root",
			name, name);
	else if (err == -EPERM || err == -EACCES)
		snprintf(why, why_size,
			"the TAP %s does not exist and may not be created: run `ustack tap up %s "
			"--user USER` as root",
			name, name);
	else if (err == -EINVAL && existed)
		snprintf(why, why_size,
			"%s is not a TAP, or one made for several queues: choose another name",
			name);
	else
		snprintf(why, why_size, "cannot attach to the TAP %s: %s", name, strerror(-err));
}

int tap_set_offload(struct tapio *dev, u32 features)
{
	/* Each step gives up the feature that came to the kernel last. */
	static const u32 steps[] = {
		DEVICE_CSUM | DEVICE_TSO4 | DEVICE_TSO6 | DEVICE_USO,
		DEVICE_CSUM | DEVICE_TSO4 | DEVICE_TSO6,
		DEVICE_CSUM | DEVICE_TSO4,
		DEVICE_CSUM,
		0,
	};
	int ret = -EINVAL;

	for (size_t i = 0; i < ARRAY_LEN(steps) && ret < 0; i++) {
		u32 want = steps[i] & features;
		unsigned long flags = 0;

		flags |= want & DEVICE_CSUM ? TUN_F_CSUM : 0;
		flags |= want & DEVICE_TSO4 ? TUN_F_TSO4 : 0;
		flags |= want & DEVICE_TSO6 ? TUN_F_TSO6 : 0;
		flags |= want & DEVICE_USO ? TUN_F_USO4 | TUN_F_USO6 : 0;
		ret = (int)sys_call(SYS_ioctl, dev->fd, TUNSETOFFLOAD, (long)flags, 0, 0);
		if (ret == 0)
			dev->features = want;
	}
	return ret;
}

/* Reads and sets what only the interface itself knows. All of it may fail in a sandbox; the
 * defaults then stand. */
static void tap_configure(struct tapio *dev, int sock, bool created)
{
	struct ifreq ifr;

	tap_fill(&ifr, dev->name);
	if (tap_ioctl(sock, SIOCGIFMTU, &ifr) == 0 && ifr.ifr_mtu > 0)
		dev->mtu = (u16)MIN(ifr.ifr_mtu, 65535);
	tap_fill(&ifr, dev->name);
	if (tap_ioctl(sock, SIOCGIFTXQLEN, &ifr) == 0 && ifr.ifr_qlen < TAP_QUEUE_LEN) {
		ifr.ifr_qlen = TAP_QUEUE_LEN;
		tap_ioctl(sock, SIOCSIFTXQLEN, &ifr);
	}
	tap_fill(&ifr, dev->name);
	if (created && tap_ioctl(sock, SIOCGIFFLAGS, &ifr) == 0) {
		ifr.ifr_flags |= IFF_UP;
		tap_ioctl(sock, SIOCSIFFLAGS, &ifr);
	}
}

/*
 * An address of ours that differs from the host side's own: the same for every start on the same
 * TAP, so that the host's neighbour cache stays right, and another on every other TAP, as the host
 * side's is random.
 */
static void tap_choose_mac(struct tapio *dev)
{
	struct ifreq ifr;
	u64 hash = 0xcbf29ce484222325ull; /* FNV-1a */

	tap_fill(&ifr, dev->name);
	tap_ioctl(dev->fd, SIOCGIFHWADDR, &ifr);
	for (size_t i = 0; dev->name[i]; i++)
		hash = (hash ^ (u8)dev->name[i]) * 0x100000001b3ull;
	for (size_t i = 0; i < 6; i++)
		hash = (hash ^ (u8)ifr.ifr_hwaddr.sa_data[i]) * 0x100000001b3ull;
	dev->mac[0] = 0x02; /* locally administered, unicast */
	for (size_t i = 1; i < 6; i++)
		dev->mac[i] = (u8)(hash >> (8 * i));
	if (memcmp(dev->mac, ifr.ifr_hwaddr.sa_data, 6) == 0)
		dev->mac[5] ^= 1;
}

static int tap_attach(struct tapio *dev, bool existed, char *why, size_t why_size)
{
	struct ifreq ifr;
	unsigned int kernel = 0;
	int vnet_size = sizeof(struct virtio_net_hdr);
	int ret;

	tap_ioctl(dev->fd, TUNGETFEATURES, &kernel);
	tap_fill(&ifr, dev->name);
	ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | (kernel & IFF_VNET_HDR));
	ret = tap_ioctl(dev->fd, TUNSETIFF, &ifr);
	if (ret < 0) {
		tap_explain(dev->name, ret, existed, why, why_size);
		return ret;
	}
	if (!(kernel & IFF_VNET_HDR))
		return 0;
	/* A persistent TAP remembers the size that its last user set. */
	ret = tap_ioctl(dev->fd, TUNSETVNETHDRSZ, &vnet_size);
	if (ret < 0) {
		snprintf(why, why_size, "the TAP %s takes no virtio-net header: %s", dev->name,
			strerror(-ret));
		return ret;
	}
	dev->vnet = 1;
	tap_set_offload(dev, DEVICE_CSUM | DEVICE_TSO4 | DEVICE_TSO6 | DEVICE_USO);
	return 0;
}

/*
 * Moves this thread into the network namespace called name (of ip-netns(8), or a path). Returns a
 * descriptor of the one it was in, for tap_leave.
 */
static int tap_enter(const char *name, char *why, size_t why_size)
{
	char path[TAPIO_NAME_MAX + 16];
	int old, new, ret;

	snprintf(path, sizeof(path), "%s%s", name[0] == '/' ? "" : "/run/netns/", name);
	new = (int)sys_call(SYS_openat, AT_FDCWD, SYS_ARG(path), O_RDONLY | O_CLOEXEC, 0, 0);
	old = (int)sys_call(SYS_openat, AT_FDCWD, SYS_ARG("/proc/thread-self/ns/net"),
		O_RDONLY | O_CLOEXEC, 0, 0);
	ret = new < 0 ? new : old;
	/* Only where the way back is open. */
	if (ret >= 0)
		ret = (int)sys_call(SYS_setns, old, CLONE_NEWNET, 0, 0, 0);
	if (ret >= 0)
		ret = (int)sys_call(SYS_setns, new, CLONE_NEWNET, 0, 0, 0);
	if (new >= 0)
		sys_call(SYS_close, new, 0, 0, 0, 0);
	if (ret >= 0)
		return old;
	if (old >= 0)
		sys_call(SYS_close, old, 0, 0, 0, 0);
	snprintf(why, why_size, "cannot enter the network namespace %s: %s%s", path, strerror(-ret),
		ret == -EPERM ? "; that needs CAP_SYS_ADMIN" : "");
	return ret;
}

static int tap_leave(int old)
{
	int ret = (int)sys_call(SYS_setns, old, CLONE_NEWNET, 0, 0, 0);

	sys_call(SYS_close, old, 0, 0, 0, 0);
	return ret;
}

/*
 * Opens the device node and a socket for interface ioctls in the namespace given, or in our own if
 * it is NULL: both keep belonging to the namespace they were opened in.
 */
static int tap_open_pair(struct tapio *dev, int *sock, const char *ns, char *why, size_t why_size)
{
	int old = ns ? tap_enter(ns, why, why_size) : -1;
	int ret = 0;

	if (ns && old < 0)
		return old;
	dev->fd = tap_open_node(why, why_size);
	*sock = (int)sys_call(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, 0, 0);
	if (ns)
		ret = tap_leave(old);
	if (ret < 0)
		snprintf(why, why_size, "cannot leave the network namespace %s: %s", ns,
			strerror(-ret));
	return dev->fd < 0 ? dev->fd : ret;
}

int tap_open(struct tapio *dev, const char *spec, char *why, size_t why_size)
{
	const char *at = strchr(spec, '@');
	size_t len = at ? (size_t)(at - spec) : strlen(spec);
	struct ifreq ifr;
	bool existed;
	int sock = -1, ret;

	if (len < sizeof(dev->name))
		memcpy(dev->name, spec, len);
	dev->name[MIN(len, sizeof(dev->name) - 1)] = '\0';
	if (len >= IFNAMSIZ || !tap_name_ok(dev->name)) {
		snprintf(why, why_size,
			"`%.*s` is no interface name: one has 1 to %d characters and no '/', '%%', "
			"':' or space",
			(int)len, spec, IFNAMSIZ - 1);
		return len >= IFNAMSIZ ? -ENAMETOOLONG : -EINVAL;
	}
	if (at && (at[1] == '\0' || strlen(at) > TAPIO_NAME_MAX)) {
		snprintf(why, why_size, "`%s`: behind the @ stands no network namespace", spec);
		return -EINVAL;
	}
	dev->mtu = 1500;
	ret = tap_open_pair(dev, &sock, at ? at + 1 : NULL, why, why_size);
	if (ret == 0) {
		tap_fill(&ifr, dev->name);
		existed = sock >= 0 && tap_ioctl(sock, SIOCGIFFLAGS, &ifr) == 0;
		ret = tap_attach(dev, existed, why, why_size);
	}
	if (ret == 0) {
		tap_configure(dev, sock, !existed);
		tap_choose_mac(dev);
		dev->kind = TAPIO_TAP;
	}
	if (sock >= 0)
		sys_call(SYS_close, sock, 0, 0, 0, 0);
	return ret;
}
