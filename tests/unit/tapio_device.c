/*
 * The frame drivers: loop and null without privilege; the TAP where /dev/net/tun may be used. The
 * TAP tests run in a network namespace of their own, with an AF_PACKET socket as the host's side,
 * so that they collide with nothing.
 */
#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tapio/tap.h"
#include "tapio/tapio.h"
#include "tests/lib/check_lines.h"

static struct tapio dev;
static char why[256];
static struct {
	u8 head[TAPIO_HEAD];
	u8 frame[TAPIO_FRAME_MAX + 1];
} in_buf;
#define buf in_buf.frame
static struct offload off;

static void open_or_fail(const char *spec)
{
	int ret = tapio_open(&dev, spec, why, sizeof(why));

	ck_assert_msg(ret == 0, "%s: %s", spec, why);
}

static int write_frame(const void *frame, size_t len, const struct offload *offload)
{
	struct iovec iov[2] = {
		{.iov_base = (void *)(uintptr_t)frame, .iov_len = 14},
		{.iov_base = (u8 *)(uintptr_t)frame + 14, .iov_len = len - 14},
	};

	return tapio_write(&dev, iov, 2, offload);
}

START_TEST(tapio_loop_returns_frames)
{
	static u8 frame[TAPIO_FRAME_MAX];
	struct offload in = {
		.flags = OFFLOAD_NEEDS_CSUM,
		.gso_type = OFFLOAD_GSO_TCP4,
		.header_len = 54,
		.gso_size = 1460,
		.csum_start = 34,
		.csum_offset = 16,
	};

	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (u8)(i * 7);
	open_or_fail("loop:");
	ck_assert_int_eq(tapio_read(&dev, buf, sizeof(buf), &off), -EAGAIN);
	ck_assert_int_eq(write_frame(frame, sizeof(frame), &in), 0);
	ck_assert_int_eq(write_frame(frame, 60, &(struct offload){0}), 0);
	ck_assert_int_eq(tapio_read(&dev, buf, sizeof(buf), &off), sizeof(frame));
	ck_assert_mem_eq(buf, frame, sizeof(frame));
	ck_assert_mem_eq(&off, &in, sizeof(in));
	ck_assert_int_eq(tapio_read(&dev, buf, sizeof(buf), &off), 60);
	ck_assert_int_eq(off.gso_type, OFFLOAD_GSO_NONE);
	ck_assert_int_eq(tapio_read(&dev, buf, sizeof(buf), &off), -EAGAIN);
	tapio_close(&dev);
	ck_assert_int_eq(tapio_read(&dev, buf, sizeof(buf), &off), -ENETDOWN);
}
END_TEST

START_TEST(tapio_loop_fills_up)
{
	struct offload none = {0};
	int sent = 0, ret, received = 0;

	open_or_fail("loop:");
	while ((ret = write_frame(buf, 1514, &none)) == 0 && sent < 100000)
		sent++;
	ck_assert_int_eq(ret, -EAGAIN);
	ck_assert_int_gt(sent, 10);
	while (tapio_read(&dev, buf, sizeof(buf), &off) == 1514)
		received++;
	ck_assert_int_eq(received, sent);
	ck_assert_int_eq(write_frame(buf, 1514, &none), 0);
	tapio_close(&dev);
}
END_TEST

START_TEST(tapio_long_frame_is_refused)
{
	struct offload none = {0};

	open_or_fail("loop:");
	ck_assert_int_eq(write_frame(buf, 101, &none), 0);
	ck_assert_int_eq(write_frame(buf, 100, &none), 0);
	ck_assert_int_eq(tapio_read(&dev, buf, 101, &off), -EMSGSIZE);
	ck_assert_int_eq(tapio_read(&dev, buf, 101, &off), 100);
	tapio_close(&dev);
}
END_TEST

START_TEST(tapio_null_swallows)
{
	struct pollfd poll_fd;

	open_or_fail("null:");
	ck_assert_int_eq(write_frame(buf, 1514, &(struct offload){0}), 0);
	ck_assert_int_eq(tapio_read(&dev, buf, sizeof(buf), &off), -EAGAIN);
	poll_fd = (struct pollfd){.fd = dev.fd, .events = POLLIN};
	ck_assert_int_eq(poll(&poll_fd, 1, 0), 0);
	tapio_close(&dev);
}
END_TEST

static void expect_refused(const char *spec, int err, const char *text)
{
	int ret = tapio_open(&dev, spec, why, sizeof(why));

	ck_assert_int_eq(ret, err);
	ck_assert_msg(strstr(why, text) != NULL, "%s: %s", spec, why);
	ck_assert_int_eq(dev.fd, -1);
}

START_TEST(tapio_bad_names_are_refused)
{
	expect_refused("radio:x", -EINVAL, "no device");
	expect_refused("", -EINVAL, "no interface name");
	expect_refused("tap:", -EINVAL, "no interface name");
	expect_refused("tap:a/b", -EINVAL, "no interface name");
	expect_refused("tap%d", -EINVAL, "no interface name");
	expect_refused("a-name-too-long-for-linux", -ENAMETOOLONG, "1 to 15 characters");
}
END_TEST

static bool may_use_tap(void)
{
	return access("/dev/net/tun", R_OK | W_OK) == 0 && geteuid() == 0;
}

/* Check forks each test, so the namespace ends with it. */
static void own_namespace(void)
{
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
}

static int host_ioctl(const char *name, unsigned long request, struct ifreq *ifr)
{
	int sock = socket(AF_UNIX, SOCK_DGRAM, 0);
	int ret;

	snprintf(ifr->ifr_name, IFNAMSIZ, "%s", name);
	ret = ioctl(sock, request, ifr);
	close(sock);
	return ret;
}

static void set_up(const char *name, bool up)
{
	struct ifreq ifr = {0};

	ck_assert_int_eq(host_ioctl(name, SIOCGIFFLAGS, &ifr), 0);
	ifr.ifr_flags = (short)(up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP);
	ck_assert_int_eq(host_ioctl(name, SIOCSIFFLAGS, &ifr), 0);
}

static int host_socket(const char *name)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(0x88b5)};
	int fd = socket(AF_PACKET, SOCK_RAW, htons(0x88b5));

	at.sll_ifindex = (int)if_nametoindex(name);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* Reads until a frame of the experimental ethertype comes: the host's IPv6 says things on its own.
 */
static ssize_t read_ours(void)
{
	struct pollfd poll_fd = {.fd = dev.fd, .events = POLLIN};
	ssize_t len;

	do {
		ck_assert_int_eq(poll(&poll_fd, 1, 2000), 1);
		len = tapio_read(&dev, buf, sizeof(buf), &off);
	} while (len > 14 && (buf[12] != 0x88 || buf[13] != 0xb5));
	return len;
}

START_TEST(tapio_tap_exchanges_frames)
{
	u8 frame[100] = {[0] = 0xff, [1] = 0xff, [2] = 0xff, [3] = 0xff, [4] = 0xff, [5] = 0xff};
	u8 got[200];
	struct ifreq ifr = {0};
	int host;

	open_or_fail("tap:ta0");
	frame[12] = 0x88;
	frame[13] = 0xb5;
	memset(frame + 14, 0x5a, sizeof(frame) - 14);
	ck_assert_int_eq(dev.mtu, 1500);
	ck_assert(dev.vnet);
	ck_assert_uint_eq(dev.features & (DEVICE_CSUM | DEVICE_TSO4), DEVICE_CSUM | DEVICE_TSO4);
	ck_assert_int_eq(host_ioctl("ta0", SIOCGIFFLAGS, &ifr), 0);
	ck_assert(ifr.ifr_flags & IFF_UP);
	ck_assert_int_eq(host_ioctl("ta0", SIOCGIFHWADDR, &ifr), 0);
	ck_assert(memcmp(ifr.ifr_hwaddr.sa_data, dev.mac, 6) != 0);
	ck_assert_int_eq(dev.mac[0], 0x02);
	host = host_socket("ta0");
	ck_assert_int_eq(write_frame(frame, sizeof(frame), &(struct offload){0}), 0);
	ck_assert_int_eq(recv(host, got, sizeof(got), 0), sizeof(frame));
	ck_assert_mem_eq(got, frame, sizeof(frame));
	ck_assert_int_eq(send(host, frame, sizeof(frame), 0), sizeof(frame));
	ck_assert_int_eq(read_ours(), sizeof(frame));
	ck_assert_mem_eq(buf, frame, sizeof(frame));
	close(host);
	tapio_close(&dev);
	ck_assert_int_eq(if_nametoindex("ta0"), 0);
}
END_TEST

START_TEST(tapio_tap_down_loses_frames_and_comes_back)
{
	u8 frame[60] = {0};

	open_or_fail("ta0");
	ck_assert_int_eq(write_frame(frame, sizeof(frame), &(struct offload){0}), 0);
	set_up("ta0", false);
	while (tapio_read(&dev, buf, sizeof(buf), &off) >= 0)
		;
	ck_assert_int_eq(tapio_read(&dev, buf, sizeof(buf), &off), -EAGAIN);
	ck_assert_int_eq(write_frame(frame, sizeof(frame), &(struct offload){0}), -EIO);
	set_up("ta0", true);
	ck_assert_int_eq(write_frame(frame, sizeof(frame), &(struct offload){0}), 0);
	tapio_close(&dev);
}
END_TEST

/* The kernel takes a frame of 60 KiB with an unfinished checksum as one piece, and refuses one
 * whose header lies. */
START_TEST(tapio_tap_takes_super_frames)
{
	static u8 frame[54 + 60000], got[70000];
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
	struct offload offload = {
		.flags = OFFLOAD_NEEDS_CSUM,
		.gso_type = OFFLOAD_GSO_TCP4,
		.header_len = 54,
		.gso_size = 1460,
		.csum_start = 34,
		.csum_offset = 16,
	};
	int host = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_IP));

	open_or_fail("ta0");
	at.sll_ifindex = (int)if_nametoindex("ta0");
	ck_assert_int_eq(bind(host, (struct sockaddr *)&at, sizeof(at)), 0);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, dev.mac, 6);
	memcpy(frame + 12, (u8[]){8, 0, 0x45, 0, (60040 >> 8) & 0xff, 60040 & 0xff}, 6);
	frame[23] = 6;
	frame[46] = 0x50;
	ck_assert_int_eq(write_frame(frame, sizeof(frame), &offload), 0);
	ck_assert_int_eq(recv(host, got, sizeof(got), 0), sizeof(frame));
	offload.csum_start = 60000;
	offload.csum_offset = 60000;
	ck_assert_int_eq(write_frame(frame, sizeof(frame), &offload), -EINVAL);
	close(host);
	tapio_close(&dev);
}
END_TEST

START_TEST(tapio_tap_takes_many_pieces)
{
	struct iovec iov[TAPIO_IOV_MAX + 1];

	open_or_fail("ta0");
	memset(buf, 0xff, 6);
	for (size_t i = 0; i < ARRAY_LEN(iov); i++)
		iov[i] = (struct iovec){.iov_base = buf, .iov_len = 10};
	ck_assert_int_eq(tapio_write(&dev, iov, TAPIO_IOV_MAX, &off), 0);
	ck_assert_int_eq(tapio_write(&dev, iov, TAPIO_IOV_MAX + 1, &off), -EMSGSIZE);
	tapio_close(&dev);
}
END_TEST

static void make_persistent(const char *name, short flags)
{
	struct ifreq ifr = {.ifr_flags = flags};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	ck_assert_int_eq(ioctl(fd, TUNSETIFF, &ifr), 0);
	ck_assert_int_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
}

START_TEST(tapio_tap_deleted_is_gone)
{
	u8 frame[60] = {0};
	struct pollfd poll_fd;

	open_or_fail("ta0");
	poll_fd = (struct pollfd){.fd = dev.fd, .events = POLLIN};
	ck_assert_int_eq(system("ip link del ta0"), 0);
	ck_assert_int_eq(poll(&poll_fd, 1, 2000), 1);
	ck_assert(poll_fd.revents & POLLERR);
	ck_assert_int_eq(tapio_read(&dev, buf, sizeof(buf), &off), -ENETDOWN);
	ck_assert_int_eq(write_frame(frame, sizeof(frame), &(struct offload){0}), -ENETDOWN);
	tapio_close(&dev);
}
END_TEST

START_TEST(tapio_tap_busy_or_foreign_is_explained)
{
	struct tapio first;
	u8 mac[6];

	make_persistent("ta0", IFF_TAP | IFF_NO_PI);
	make_persistent("tn0", IFF_TUN | IFF_NO_PI);
	open_or_fail("ta0");
	first = dev;
	memcpy(mac, dev.mac, 6);
	expect_refused("ta0", -EBUSY, "in use");
	expect_refused("tn0", -EINVAL, "not a TAP");
	expect_refused("lo", -EINVAL, "not a TAP");
	tapio_close(&first);
	open_or_fail("ta0");
	ck_assert_mem_eq(mac, dev.mac, 6);
	tapio_close(&dev);
	/* An owner's name in the kernel is a uid; nobody is 65534 everywhere. */
	ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	if (access("/dev/net/tun", R_OK | W_OK) == 0) {
		expect_refused("tb0", -EPERM, "may not be created");
		return;
	}
	expect_refused("ta0", -EACCES, "no permission to open /dev/net/tun");
}
END_TEST

/* The namespace of another process by its path; our own thread is back where it was. */
START_TEST(tapio_tap_in_other_namespace)
{
	char spec[TAPIO_NAME_MAX], own[64], now[64];
	ssize_t len = readlink("/proc/thread-self/ns/net", own, sizeof(own));
	int ready[2];
	char byte = 0;
	pid_t child;

	ck_assert_int_eq(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		if (unshare(CLONE_NEWNET) == 0 && write(ready[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	snprintf(spec, sizeof(spec), "tap:ta0@/proc/%d/ns/net", (int)child);
	open_or_fail(spec);
	ck_assert_str_eq(dev.name, "ta0");
	ck_assert_int_eq(if_nametoindex("ta0"), 0);
	ck_assert_int_eq(readlink("/proc/thread-self/ns/net", now, sizeof(now)), len);
	ck_assert_mem_eq(own, now, (size_t)len);
	tapio_close(&dev);
	kill(child, SIGKILL);
	expect_refused("tap:ta0@no-such-namespace", -ENOENT, "/run/netns/no-such-namespace");
	expect_refused("tap:ta0@", -EINVAL, "stands no network namespace");
}
END_TEST

START_TEST(tapio_tap_without_offloads)
{
	open_or_fail("ta0");
	ck_assert_int_eq(tap_set_offload(&dev, 0), 0);
	ck_assert_uint_eq(dev.features, 0);
	ck_assert_int_eq(tap_set_offload(&dev, DEVICE_CSUM), 0);
	ck_assert_uint_eq(dev.features, DEVICE_CSUM);
	tapio_close(&dev);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("tapio-device");
	TCase *plain = tcase_create("plain");
	TCase *tap = tcase_create("tap");

	tcase_add_test(plain, tapio_loop_returns_frames);
	tcase_add_test(plain, tapio_loop_fills_up);
	tcase_add_test(plain, tapio_long_frame_is_refused);
	tcase_add_test(plain, tapio_null_swallows);
	tcase_add_test(plain, tapio_bad_names_are_refused);
	suite_add_tcase(suite, plain);
	if (!may_use_tap()) {
		puts("skip tapio-tap no permission for /dev/net/tun and a network namespace");
		return suite;
	}
	tcase_add_checked_fixture(tap, own_namespace, NULL);
	tcase_add_test(tap, tapio_tap_exchanges_frames);
	tcase_add_test(tap, tapio_tap_down_loses_frames_and_comes_back);
	tcase_add_test(tap, tapio_tap_takes_super_frames);
	tcase_add_test(tap, tapio_tap_takes_many_pieces);
	tcase_add_test(tap, tapio_tap_deleted_is_gone);
	tcase_add_test(tap, tapio_tap_busy_or_foreign_is_explained);
	tcase_add_test(tap, tapio_tap_in_other_namespace);
	tcase_add_test(tap, tapio_tap_without_offloads);
	suite_add_tcase(suite, tap);
	return suite;
}

int main(void)
{
	return check_lines_main(make_suite);
}
