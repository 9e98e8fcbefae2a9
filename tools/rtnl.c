/* One request and one answer at a time, each built in a buffer on the stack. */
#include "tools/rtnl.h"

#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
	struct nlmsghdr head;
	u8 body[512];
};

int rtnl_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? -errno : fd;
}

static void rtnl_start(struct request *req, u16 type, u16 flags, const void *body, size_t size)
{
	memset(req, 0, sizeof(*req));
	req->head.nlmsg_type = type;
	req->head.nlmsg_flags = (u16)(flags | NLM_F_REQUEST);
	req->head.nlmsg_len = (u32)NLMSG_LENGTH(size);
	memcpy(NLMSG_DATA(&req->head), body, size);
}

static void rtnl_put(struct request *req, u16 type, const void *data, size_t size)
{
	size_t at = NLMSG_ALIGN(req->head.nlmsg_len);
	struct rtattr *attr = (struct rtattr *)(void *)((u8 *)req + at);

	attr->rta_type = type;
	attr->rta_len = (u16)RTA_LENGTH(size);
	memcpy(RTA_DATA(attr), data, size);
	req->head.nlmsg_len = (u32)(at + RTA_LENGTH(size));
}

/* Sends the request and reads the answer: the acknowledgement, or the one message asked for. */
static int rtnl_ask(int fd, const struct request *req, void *answer, size_t size)
{
	struct nlmsghdr *head = answer;
	struct nlmsgerr *err;
	ssize_t len;

	if (send(fd, req, req->head.nlmsg_len, 0) < 0)
		return -errno;
	len = recv(fd, answer, size, 0);
	if (len < 0)
		return -errno;
	if (!NLMSG_OK(head, (size_t)len))
		return -EPROTO;
	if (head->nlmsg_type != NLMSG_ERROR)
		return 0;
	err = NLMSG_DATA(head);
	return err->error;
}

static int rtnl_do(int fd, struct request *req)
{
	u8 answer[1024] __attribute__((aligned(8)));

	req->head.nlmsg_flags |= NLM_F_ACK;
	return rtnl_ask(fd, req, answer, sizeof(answer));
}

/* The payload of an attribute of the type; NULL when it is not there or shorter than size. */
static void *rtnl_find(void *attrs, size_t len, u16 type, size_t size, size_t *found)
{
	for (struct rtattr *a = attrs; RTA_OK(a, len); a = RTA_NEXT(a, len))
		if ((a->rta_type & NLA_TYPE_MASK) == type && RTA_PAYLOAD(a) >= size) {
			if (found)
				*found = RTA_PAYLOAD(a);
			return RTA_DATA(a);
		}
	return NULL;
}

static u32 rtnl_u32(void *attrs, size_t len, u16 type)
{
	void *data = rtnl_find(attrs, len, type, 4, NULL);
	u32 value = 0;

	if (data)
		memcpy(&value, data, 4);
	return value;
}

static void rtnl_parse_tun(struct rtnl_link *link, void *attrs, size_t len)
{
	size_t info_len, data_len;
	void *info = rtnl_find(attrs, len, IFLA_LINKINFO, 0, &info_len);
	char *kind = info ? rtnl_find(info, info_len, IFLA_INFO_KIND, 4, NULL) : NULL;
	void *data = info ? rtnl_find(info, info_len, IFLA_INFO_DATA, 0, &data_len) : NULL;
	u8 *type, *persist;

	if (!kind || !data || memcmp(kind, "tun", 4) != 0)
		return;
	type = rtnl_find(data, data_len, IFLA_TUN_TYPE, 1, NULL);
	persist = rtnl_find(data, data_len, IFLA_TUN_PERSIST, 1, NULL);
	link->is_tap = type && *type == IFF_TAP;
	link->persistent = persist && *persist;
	link->has_owner = rtnl_find(data, data_len, IFLA_TUN_OWNER, 4, NULL) != NULL;
	link->owner = rtnl_u32(data, data_len, IFLA_TUN_OWNER);
}

int rtnl_get(int fd, const char *name, struct rtnl_link *link)
{
	struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
	u8 answer[16384] __attribute__((aligned(8)));
	struct nlmsghdr *head = (void *)answer;
	struct ifinfomsg *got;
	struct request req;
	size_t len;
	int ret;

	memset(link, 0, sizeof(*link));
	if (strlen(name) >= IFNAMSIZ)
		return -ENODEV;
	memcpy(link->name, name, strlen(name));
	rtnl_start(&req, RTM_GETLINK, 0, &info, sizeof(info));
	rtnl_put(&req, IFLA_IFNAME, name, strlen(name) + 1);
	ret = rtnl_ask(fd, &req, answer, sizeof(answer));
	if (ret < 0)
		return ret;
	got = NLMSG_DATA(head);
	len = IFLA_PAYLOAD(head);
	link->index = (u32)got->ifi_index;
	link->up = got->ifi_flags & IFF_UP;
	link->running = got->ifi_flags & 1u << 16; /* IFF_LOWER_UP; <linux/if.h> clashes */
	link->mtu = rtnl_u32(IFLA_RTA(got), len, IFLA_MTU);
	link->queue_len = rtnl_u32(IFLA_RTA(got), len, IFLA_TXQLEN);
	rtnl_parse_tun(link, IFLA_RTA(got), len);
	return 0;
}

int rtnl_set_up(int fd, u32 index, u32 mtu, u32 queue_len)
{
	struct ifinfomsg info = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = (int)index,
		.ifi_flags = IFF_UP,
		.ifi_change = IFF_UP,
	};
	struct request req;

	rtnl_start(&req, RTM_NEWLINK, 0, &info, sizeof(info));
	if (mtu)
		rtnl_put(&req, IFLA_MTU, &mtu, sizeof(mtu));
	if (queue_len)
		rtnl_put(&req, IFLA_TXQLEN, &queue_len, sizeof(queue_len));
	return rtnl_do(fd, &req);
}

int rtnl_delete(int fd, u32 index)
{
	struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = (int)index};
	struct request req;

	rtnl_start(&req, RTM_DELLINK, 0, &info, sizeof(info));
	return rtnl_do(fd, &req);
}

int rtnl_add_address(int fd, u32 index, const struct rtnl_address *addr)
{
	struct ifaddrmsg msg = {
		.ifa_family = addr->family,
		.ifa_prefixlen = addr->prefix_len,
		.ifa_index = index,
		.ifa_flags = addr->family == AF_INET6 ? IFA_F_NODAD : 0,
	};
	size_t size = addr->family == AF_INET6 ? 16 : 4;
	struct request req;
	int ret;

	rtnl_start(&req, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &msg, sizeof(msg));
	rtnl_put(&req, IFA_LOCAL, addr->bytes, size);
	rtnl_put(&req, IFA_ADDRESS, addr->bytes, size);
	if (addr->family == AF_INET && addr->prefix_len < 31) {
		u8 broadcast[4];

		memcpy(broadcast, addr->bytes, 4);
		for (u32 bit = addr->prefix_len; bit < 32; bit++)
			broadcast[bit / 8] |= (u8)(0x80u >> bit % 8);
		rtnl_put(&req, IFA_BROADCAST, broadcast, 4);
	}
	ret = rtnl_do(fd, &req);
	return ret == -EEXIST ? 0 : ret;
}
