/*
 * The C library's names for interfaces, interposed: its own functions ask the kernel's rtnetlink.
 */
#include <dlfcn.h>

#include "preload/export.h"
#include "preload/ifaces.h"

static struct {
	int (*getifaddrs)(struct ifaddrs **);
	void (*freeifaddrs)(struct ifaddrs *);
	unsigned (*if_nametoindex)(const char *);
	char *(*if_indextoname)(unsigned, char[IF_NAMESIZE]);
	struct if_nameindex *(*if_nameindex)(void);
	void (*if_freenameindex)(struct if_nameindex *);
} real;

__attribute__((constructor)) static void look_up(void)
{
	real.getifaddrs = (__typeof__(real.getifaddrs))dlsym(RTLD_NEXT, "getifaddrs");
	real.freeifaddrs = (__typeof__(real.freeifaddrs))dlsym(RTLD_NEXT, "freeifaddrs");
	real.if_nametoindex = (__typeof__(real.if_nametoindex))dlsym(RTLD_NEXT, "if_nametoindex");
	real.if_indextoname = (__typeof__(real.if_indextoname))dlsym(RTLD_NEXT, "if_indextoname");
	real.if_nameindex = (__typeof__(real.if_nameindex))dlsym(RTLD_NEXT, "if_nameindex");
	real.if_freenameindex =
		(__typeof__(real.if_freenameindex))dlsym(RTLD_NEXT, "if_freenameindex");
}

EXPORT int getifaddrs(struct ifaddrs **list)
{
	return real.getifaddrs && !ifaces_ours() ? real.getifaddrs(list) : ifaces_getifaddrs(list);
}

EXPORT void freeifaddrs(struct ifaddrs *list)
{
	if (real.freeifaddrs && !ifaces_ours())
		real.freeifaddrs(list);
	else
		ifaces_freeifaddrs(list);
}

EXPORT unsigned if_nametoindex(const char *name)
{
	return real.if_nametoindex && !ifaces_ours() ? real.if_nametoindex(name)
						     : ifaces_nametoindex(name);
}

EXPORT char *if_indextoname(unsigned index, char name[IF_NAMESIZE])
{
	return real.if_indextoname && !ifaces_ours() ? real.if_indextoname(index, name)
						     : ifaces_indextoname(index, name);
}

EXPORT struct if_nameindex *if_nameindex(void)
{
	return real.if_nameindex && !ifaces_ours() ? real.if_nameindex() : ifaces_nameindex();
}

EXPORT void if_freenameindex(struct if_nameindex *list)
{
	if (real.if_freenameindex && !ifaces_ours())
		real.if_freenameindex(list);
	else
		ifaces_freenameindex(list);
}
