/* Requests of sock_diag(7) for AF_UNIX sockets. */
#include "preload/unix_diag.h"

#include "preload/raw.h"

int unix_diag_open(void)
{
	return raw_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
}

int unix_diag_ask(int fd, u32 inode, u32 show)
{
	struct {
		struct nlmsghdr header;
		struct unix_diag_req req;
	} ask = {
		.header = {.nlmsg_len = sizeof(ask),
			.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = (u16)(NLM_F_REQUEST | (inode ? 0 : NLM_F_DUMP))},
		.req = {.sdiag_family = AF_UNIX,
			.udiag_states = ~0u,
			.udiag_ino = inode,
			.udiag_show = show,
			.udiag_cookie = {~0u, ~0u}},
	};
	ssize_t n = raw_sendto(fd, &ask, sizeof(ask), 0, NULL, 0);

	return n < 0 ? (int)n : 0;
}
