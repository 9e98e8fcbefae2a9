/* The kernel's interfaces, through rtnetlink. Functions return 0 or a negative errno. */
#ifndef TOOLS_RTNL_H
#define TOOLS_RTNL_H

#include <net/if.h>
#include <sys/types.h>

#include "stack/types.h"

struct rtnl_link {
	char name[IFNAMSIZ];
	u32 index;
	u32 mtu, queue_len;
	bool up, running; /* running: a program is attached to the TAP */
	bool is_tap, persistent;
	bool has_owner;
	uid_t owner;
};

struct rtnl_address {
	u8 family; /* AF_INET, AF_INET6 */
	u8 prefix_len;
	u8 bytes[16];
};

/* A netlink socket, to be closed by close(), or a negative errno. */
int rtnl_open(void);

/* The interface called name; -ENODEV when there is none. */
int rtnl_get(int fd, const char *name, struct rtnl_link *link);

/* Brings it up; mtu and queue_len are set too unless they are 0. */
int rtnl_set_up(int fd, u32 index, u32 mtu, u32 queue_len);
int rtnl_delete(int fd, u32 index);

/* Adds an address; one that is there already is no error. */
int rtnl_add_address(int fd, u32 index, const struct rtnl_address *addr);

#endif
