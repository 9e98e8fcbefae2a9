/* The kernel's side of a TAP: making it ready for a stack. */
#ifndef TOOLS_HOST_SIDE_H
#define TOOLS_HOST_SIDE_H

#include "tools/rtnl.h"

struct host_side {
	const char *tap;
	bool has_owner; /* else the user who called sudo, or the caller */
	uid_t owner;
	u32 mtu; /* 0: leave it */
	u32 address_count;
	struct rtnl_address address[8];
};

/* `10.0.0.1/24`. Returns false for anything else. */
bool host_side_parse(const char *text, struct rtnl_address *addr);

/*
 * Makes the TAP if it is not there, persistent and its owner's, gives it the addresses and brings
 * it up. What is so already stays, so it can be repeated. Returns an exit status after a message.
 */
int host_side_up(const struct host_side *want);

#endif
