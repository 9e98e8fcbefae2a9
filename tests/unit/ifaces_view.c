/* What programs are told about the interfaces: lists, SIOCGIF* and rtnetlink, of a host that is
 * drawn up from a configuration. */
#include "preload/ifaces_internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "preload/config.h"
#include "preload/guard.h"
#include "preload/host.h"
#include "tests/lib/check_lines.h"

/* No host runs here: what refers to one is answered from the configuration. */
bool host_up(void)
{
	return false;
}

int host_start(void)
{
	return -ENETDOWN;
}

struct stack *host_enter(void)
{
	return NULL;
}

void host_leave(void)
{
}

void guard_enter(void)
{
}

void guard_leave(bool cancel_point)
{
	(void)cancel_point;
}

int guard_copy(void *to, const void *from, unsigned long n)
{
	if (!to || !from)
		return n ? -EFAULT : 0;
	memcpy(to, from, n);
	return 0;
}

static struct ifaces_view view;

static void setup(void)
{
	setenv("USTACK_CONFIG", "/dev/null", 1);
	setenv("USTACK_DEVICE", "tap:tap7", 1);
	setenv("USTACK_ADDRESS", "10.0.0.2/24, 10.5.0.2/31", 1);
	setenv("USTACK_ROUTE", "10.8.0.0/16 via 10.0.0.9", 1);
	setenv("USTACK_MAC", "02:00:00:00:00:07", 1);
	ifaces_view_take(&view);
}

static const char *text4(const struct sockaddr *addr)
{
	static char text[4][INET_ADDRSTRLEN];
	static unsigned turn;
	char *out = text[turn++ % 4];
	struct sockaddr_in in;

	memcpy(&in, addr, sizeof(in));
	if (in.sin_family != AF_INET)
		return "not AF_INET";
	inet_ntop(AF_INET, &in.sin_addr, out, INET_ADDRSTRLEN);
	return out;
}

START_TEST(ifaces_getifaddrs_lists_links_then_addresses)
{
	static const char *const names[] = {"lo", "tap7", "lo", "tap7", "tap7"};
	struct ifaddrs *list, *p;
	u32 n = 0;

	ck_assert_int_eq(ifaces_getifaddrs(&list), 0);
	for (p = list; p; p = p->ifa_next, n++) {
		ck_assert_uint_lt(n, 5);
		ck_assert_str_eq(p->ifa_name, names[n]);
		ck_assert_uint_eq(p->ifa_flags & IFF_UP, IFF_UP);
		if (n == 1) {
			struct sockaddr_ll *ll = (struct sockaddr_ll *)p->ifa_addr;

			ck_assert_int_eq(ll->sll_family, AF_PACKET);
			ck_assert_int_eq(ll->sll_ifindex, 2);
			ck_assert_mem_eq(ll->sll_addr, "\x02\0\0\0\0\x07", 6);
			ck_assert_ptr_nonnull(p->ifa_data);
		} else if (n == 3) {
			ck_assert_str_eq(text4(p->ifa_addr), "10.0.0.2");
			ck_assert_str_eq(text4(p->ifa_netmask), "255.255.255.0");
			ck_assert_str_eq(text4(p->ifa_broadaddr), "10.0.0.255");
		}
	}
	ck_assert_uint_eq(n, 5);
	ifaces_freeifaddrs(list);
}
END_TEST

START_TEST(ifaces_names_and_numbers)
{
	struct if_nameindex *list = ifaces_nameindex();
	char name[IF_NAMESIZE];

	ck_assert_uint_eq(ifaces_nametoindex("lo"), 1);
	ck_assert_uint_eq(ifaces_nametoindex("tap7"), 2);
	ck_assert_uint_eq(ifaces_nametoindex("tap"), 0);
	ck_assert_int_eq(errno, ENODEV);
	ck_assert_uint_eq(ifaces_nametoindex("a-name-longer-than-any"), 0);
	ck_assert_str_eq(ifaces_indextoname(2, name), "tap7");
	ck_assert_ptr_null(ifaces_indextoname(3, name));
	ck_assert_int_eq(errno, ENXIO);
	ck_assert_ptr_null(ifaces_indextoname(0, name));
	ck_assert_str_eq(list[1].if_name, "tap7");
	ck_assert_uint_eq(list[2].if_index, 0);
	ck_assert_ptr_null(list[2].if_name);
	ifaces_freenameindex(list);
}
END_TEST

static int ask(unsigned long request, const char *name, struct ifreq *entry)
{
	memset(entry, 0, sizeof(*entry));
	strcpy(entry->ifr_name, name);
	return ifaces_ioctl(request, entry);
}

START_TEST(ifaces_ioctl_describes_the_device)
{
	struct ifreq entry;

	ck_assert_int_eq(ask(SIOCGIFADDR, "tap7", &entry), 0);
	ck_assert_str_eq(text4(&entry.ifr_addr), "10.0.0.2");
	ck_assert_int_eq(ask(SIOCGIFADDR, "tap7:1", &entry), 0);
	ck_assert_int_eq(ask(SIOCGIFNETMASK, "tap7", &entry), 0);
	ck_assert_str_eq(text4(&entry.ifr_addr), "255.255.255.0");
	ck_assert_int_eq(ask(SIOCGIFBRDADDR, "tap7", &entry), 0);
	ck_assert_str_eq(text4(&entry.ifr_addr), "10.0.0.255");
	ck_assert_int_eq(ask(SIOCGIFFLAGS, "lo", &entry), 0);
	ck_assert_int_eq(entry.ifr_flags, IFF_UP | IFF_RUNNING | IFF_LOOPBACK);
	ck_assert_int_eq(ask(SIOCGIFINDEX, "tap7", &entry), 0);
	ck_assert_int_eq(entry.ifr_ifindex, 2);
	ck_assert_int_eq(ask(SIOCGIFMTU, "tap7", &entry), 0);
	ck_assert_int_eq(entry.ifr_mtu, 1500);
	ck_assert_int_eq(ask(SIOCGIFHWADDR, "tap7", &entry), 0);
	ck_assert_mem_eq(entry.ifr_hwaddr.sa_data, "\x02\0\0\0\0\x07", 6);
	entry.ifr_ifindex = 2;
	ck_assert_int_eq(ifaces_ioctl(SIOCGIFNAME, &entry), 0);
	ck_assert_str_eq(entry.ifr_name, "tap7");
	entry.ifr_ifindex = 9;
	ck_assert_int_eq(ifaces_ioctl(SIOCGIFNAME, &entry), -ENODEV);
	ck_assert_int_eq(ask(SIOCGIFADDR, "tap8", &entry), -ENODEV);
	ck_assert_int_eq(ask(SIOCSIFFLAGS, "tap7", &entry), -EPERM);
	ck_assert_int_eq(ask(SIOCETHTOOL, "tap7", &entry), -EOPNOTSUPP);
	ck_assert_int_eq(ifaces_ioctl(SIOCGIFADDR, NULL), -EFAULT);
	ck_assert_int_eq(ifaces_ioctl(FIONREAD, &entry), IFACES_NOT_OURS);
}
END_TEST

START_TEST(ifaces_ioctl_lists_what_fits)
{
	struct ifreq entries[4];
	struct ifconf conf = {.ifc_len = 0, .ifc_buf = NULL};

	ck_assert_int_eq(ifaces_ioctl(SIOCGIFCONF, &conf), 0);
	ck_assert_int_eq(conf.ifc_len, 3 * (int)sizeof(entries[0]));
	conf.ifc_req = entries;
	conf.ifc_len = sizeof(entries);
	ck_assert_int_eq(ifaces_ioctl(SIOCGIFCONF, &conf), 0);
	ck_assert_int_eq(conf.ifc_len, 3 * (int)sizeof(entries[0]));
	ck_assert_str_eq(entries[0].ifr_name, "lo");
	ck_assert_str_eq(text4(&entries[1].ifr_addr), "10.0.0.2");
	conf.ifc_len = 2 * (int)sizeof(entries[0]) + 5;
	ck_assert_int_eq(ifaces_ioctl(SIOCGIFCONF, &conf), 0);
	ck_assert_int_eq(conf.ifc_len, 2 * (int)sizeof(entries[0]));
	conf.ifc_len = -1;
	ck_assert_int_eq(ifaces_ioctl(SIOCGIFCONF, &conf), 0);
	ck_assert_int_eq(conf.ifc_len, 0);
}
END_TEST

struct request {
	struct nlmsghdr header;
	union {
		struct rtmsg route;
		struct ifinfomsg link;
		struct ifaddrmsg addr;
		struct rtgenmsg gen;
	};
	u8 more[16];
};

static struct request dump(u16 type)
{
	return (struct request){.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
					.nlmsg_type = type,
					.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
					.nlmsg_seq = 77}};
}

/* The types of the messages in a datagram, as letters. */
static const char *types(const u8 *data, size_t len)
{
	static char text[64];
	size_t n = 0;

	for (const struct nlmsghdr *h = (const void *)data; NLMSG_OK(h, len);
		h = NLMSG_NEXT(h, len)) {
		ck_assert_uint_eq(h->nlmsg_seq, 77);
		text[n++] = h->nlmsg_type == RTM_NEWLINK    ? 'L'
			    : h->nlmsg_type == RTM_NEWADDR  ? 'A'
			    : h->nlmsg_type == RTM_NEWROUTE ? 'R'
			    : h->nlmsg_type == NLMSG_DONE   ? '.'
			    : h->nlmsg_type == NLMSG_ERROR  ? '!'
							    : '?';
	}
	text[n] = 0;
	return text;
}

/* Asks over a socket of the kernel, as a program does. */
static ssize_t ask_kernel(struct request *request, u8 *answer, size_t size, int flags)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK}, from = {0};
	struct iovec out = {request, request->header.nlmsg_len}, in = {answer, size};
	struct msghdr send = {.msg_name = &kernel,
		.msg_namelen = sizeof(kernel),
		.msg_iov = &out,
		.msg_iovlen = 1};
	struct msghdr recv = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &in, .msg_iovlen = 1};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	ssize_t peeked, ret;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ifaces_netlink_recv(fd, &recv, MSG_DONTWAIT), -EAGAIN);
	ck_assert_int_eq(ifaces_netlink_send(fd, &send, 0), (ssize_t)out.iov_len);
	ck_assert_int_eq(poll(&ready, 1, 1000), 1);
	peeked = ifaces_netlink_recv(fd, &recv, MSG_PEEK | MSG_TRUNC);
	recv.msg_namelen = sizeof(from);
	ret = ifaces_netlink_recv(fd, &recv, flags);
	ck_assert_int_eq(from.nl_family, AF_NETLINK);
	ck_assert_uint_eq(from.nl_pid, 0);
	if (!(flags & MSG_TRUNC) && peeked > (ssize_t)size)
		ck_assert_int_eq(recv.msg_flags & MSG_TRUNC, MSG_TRUNC);
	else
		ck_assert_int_eq(ret, peeked);
	ck_assert_int_eq(poll(&ready, 1, 0), 0);
	close(fd);
	return ret;
}

START_TEST(ifaces_netlink_dumps)
{
	static const struct {
		u16 type;
		u8 family;
		const char *types;
	} dumps[] = {
		{RTM_GETLINK, AF_UNSPEC, "LL."},
		{RTM_GETADDR, AF_UNSPEC, "AAA."},
		{RTM_GETADDR, AF_INET, "AAA."},
		{RTM_GETADDR, AF_INET6, "."},
		{RTM_GETROUTE, AF_INET, "RRRR."},
		{RTM_GETROUTE, AF_INET6, "."},
		{RTM_GETNEIGH, AF_UNSPEC, "."},
	};

	for (size_t i = 0; i < ARRAY_LEN(dumps); i++) {
		struct request request = dump(dumps[i].type);
		_Alignas(8) u8 answer[8192];
		ssize_t len;

		request.gen.rtgen_family = dumps[i].family;
		len = ask_kernel(&request, answer, sizeof(answer), 0);
		ck_assert_str_eq(types(answer, (size_t)len), dumps[i].types);
	}
}
END_TEST

START_TEST(ifaces_netlink_cuts_what_does_not_fit)
{
	struct request request = dump(RTM_GETLINK);
	u8 answer[100];

	ck_assert_int_eq(ask_kernel(&request, answer, sizeof(answer), 0), sizeof(answer));
	ck_assert_int_gt(ask_kernel(&request, answer, sizeof(answer), MSG_TRUNC), sizeof(answer));
}
END_TEST

static struct request way(const char *to)
{
	struct rtattr attr = {.rta_type = RTA_DST, .rta_len = RTA_LENGTH(4)};
	struct request request = dump(RTM_GETROUTE);
	u8 *at = (u8 *)&request + NLMSG_LENGTH(sizeof(struct rtmsg));

	request.header.nlmsg_flags = NLM_F_REQUEST;
	request.route.rtm_family = AF_INET;
	memcpy(at, &attr, sizeof(attr));
	inet_pton(AF_INET, to, at + sizeof(attr));
	request.header.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)) + RTA_LENGTH(4);
	return request;
}

START_TEST(ifaces_netlink_says_the_way_to_an_address)
{
	static const struct {
		const char *to, *gateway, *source;
		u32 ifindex;
	} ways[] = {
		{"8.8.8.8", "10.0.0.1", "10.0.0.2", 2},
		{"10.8.1.1", "10.0.0.9", "10.0.0.2", 2},
		{"10.0.0.7", NULL, "10.0.0.2", 2},
		{"10.5.0.3", NULL, "10.5.0.2", 2},
		{"10.0.0.2", NULL, "10.0.0.2", 1},
		{"127.0.0.5", NULL, "127.0.0.5", 1},
	};

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct request request = way(ways[i].to);
		_Alignas(8) u8 answer[1024];
		ssize_t len = ask_kernel(&request, answer, sizeof(answer), 0);
		const struct nlmsghdr *header = (const void *)answer;
		size_t left = RTM_PAYLOAD(header);
		char gateway[16] = "", source[16] = "";
		u32 ifindex = 0;

		ck_assert_str_eq(types(answer, (size_t)len), "R");
		for (struct rtattr *a = RTM_RTA(NLMSG_DATA(header)); RTA_OK(a, left);
			a = RTA_NEXT(a, left))
			if (a->rta_type == RTA_GATEWAY)
				inet_ntop(AF_INET, RTA_DATA(a), gateway, sizeof(gateway));
			else if (a->rta_type == RTA_PREFSRC)
				inet_ntop(AF_INET, RTA_DATA(a), source, sizeof(source));
			else if (a->rta_type == RTA_OIF)
				memcpy(&ifindex, RTA_DATA(a), sizeof(ifindex));
		ck_assert_str_eq(gateway, ways[i].gateway ? ways[i].gateway : "");
		ck_assert_str_eq(source, ways[i].source);
		ck_assert_uint_eq(ifindex, ways[i].ifindex);
	}
}
END_TEST

START_TEST(ifaces_netlink_errors)
{
	struct request request = dump(RTM_GETLINK);
	_Alignas(8) u8 answer[1024];
	const struct nlmsgerr *error = NLMSG_DATA((struct nlmsghdr *)(void *)answer);

	request.header.nlmsg_flags = NLM_F_REQUEST;
	request.link.ifi_index = 9;
	request.header.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg));
	ck_assert_str_eq(
		types(answer, (size_t)ask_kernel(&request, answer, sizeof(answer), 0)), "!");
	ck_assert_int_eq(error->error, -ENODEV);
	ck_assert_uint_eq(error->msg.nlmsg_type, RTM_GETLINK);
	request.link.ifi_index = 2;
	ck_assert_str_eq(
		types(answer, (size_t)ask_kernel(&request, answer, sizeof(answer), 0)), "L");
}
END_TEST

/* A request may be of any length, and say any of its attributes. */
START_TEST(ifaces_message_survives_any_request)
{
	static const u16 kinds[] = {RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH};

	srandom(1);
	for (u32 i = 0; i < 200000; i++) {
		size_t len = (size_t)random() % 64, size = (size_t)random() % 3000, used;
		u8 *payload = malloc(len + 1), *out = malloc(size + 1);
		struct nlmsghdr header = {.nlmsg_type = kinds[i % 4],
			.nlmsg_flags = (u16)(NLM_F_REQUEST | (random() & 1 ? NLM_F_DUMP : 0))};

		ck_assert_ptr_nonnull(payload);
		ck_assert_ptr_nonnull(out);
		for (size_t j = 0; j < len; j++)
			payload[j] = (u8)(random() % 4 ? random() % 8 : random());
		used = ifaces_message_answer(&view, &header, payload, len, 5, out, size);
		ck_assert_uint_le(used, size);
		free(payload);
		free(out);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, ifaces_getifaddrs_lists_links_then_addresses);
	tcase_add_test(tc, ifaces_names_and_numbers);
	tcase_add_test(tc, ifaces_ioctl_describes_the_device);
	tcase_add_test(tc, ifaces_ioctl_lists_what_fits);
	tcase_add_test(tc, ifaces_netlink_dumps);
	tcase_add_test(tc, ifaces_netlink_cuts_what_does_not_fit);
	tcase_add_test(tc, ifaces_netlink_says_the_way_to_an_address);
	tcase_add_test(tc, ifaces_netlink_errors);
	tcase_add_test(tc, ifaces_message_survives_any_request);
}

int main(void)
{
	return check_lines_case("ifaces", 0, add_tests);
}
