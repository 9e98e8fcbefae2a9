/*
 * The network interfaces as programs ask for them: getifaddrs, if_*, SIOCGIF* and rtnetlink
 * describe the stack's lo and device, the live host's when there is one, else what the
 * configuration says.
 */
#ifndef PRELOAD_IFACES_H
#define PRELOAD_IFACES_H

#include "stack/types.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <sys/socket.h>

#define IFACES_NOT_OURS (-100000) /* the request is no interface's: the caller goes on */

/* False when programs are to see the kernel's interfaces: the library is off, or the kernel is its
 * fallback and in force. */
bool ifaces_ours(void);

/* A SIOC* request on a stack socket. 0, a negative errno, or IFACES_NOT_OURS. */
int ifaces_ioctl(unsigned long request, void *arg);

int ifaces_getifaddrs(struct ifaddrs **list); /* 0 or -1 with errno */
void ifaces_freeifaddrs(struct ifaddrs *list);
unsigned ifaces_nametoindex(const char *name); /* 0 with errno when there is none */
char *ifaces_indextoname(unsigned index, char *name);
struct if_nameindex *ifaces_nameindex(void);
void ifaces_freenameindex(struct if_nameindex *list);

/*
 * rtnetlink. The socket is the kernel's own. ifaces_netlink_send sends what the program does, but
 * turns requests for links, addresses, routes and neighbours into ones that the kernel refuses; the
 * refusal, which quotes the request, makes the socket readable, and ifaces_netlink_recv puts the
 * stack's answer in its place. So readiness, blocking, several readers, fork and exec are the
 * kernel's, and nothing is kept here. Both return as the system calls do: a count or a negative
 * errno.
 */
ssize_t ifaces_netlink_send(int fd, const struct msghdr *msg, int flags);
ssize_t ifaces_netlink_recv(int fd, struct msghdr *msg, int flags);

/* The same for the program's own header, and for the calls without one. */
ssize_t ifaces_netlink_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t ifaces_netlink_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t ifaces_netlink_sendto(int fd, const void *buf, size_t len, int flags,
	const struct sockaddr *addr, socklen_t addr_len);
ssize_t ifaces_netlink_recvfrom(
	int fd, void *buf, size_t len, int flags, struct sockaddr *addr, socklen_t *addr_len);

/* After socket(): fd is a NETLINK_ROUTE socket. Notes that its answers are ours, if they are. */
void ifaces_netlink_opened(int fd);

#endif
