/*
 * The names of tethers. A placeholder is bound to a name of its own before it is connected: it
 * names the socket, and holds a keyed hash that only members can make. So one connect() says
 * everything at once, whoever dies behind it; and while the name is taken, the placeholder exists.
 */
#include "preload/tether.h"

#include <stdio.h>

#include "preload/region.h"

static u64 tether_tag(ref sk, u64 inode)
{
	const u64 data[2] = {sk, inode};

	return siphash(&host_local.host->tether_key, data, sizeof(data));
}

socklen_t tether_own_name(ref sk, u64 inode, struct sockaddr_un *name)
{
	int n;

	memset(name, 0, sizeof(*name));
	name->sun_family = AF_UNIX;
	n = snprintf(name->sun_path + 1, sizeof(name->sun_path) - 1,
		"ustack-tether/%08x/%llx/%016llx", sk, (unsigned long long)inode,
		(unsigned long long)tether_tag(sk, inode));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (u32)n);
}

ref tether_named(const struct sockaddr_un *name, socklen_t len, u64 *inode)
{
	struct sockaddr_un again;
	unsigned long long ino;
	char text[sizeof(name->sun_path) + 1] = "";
	u32 start = offsetof(struct sockaddr_un, sun_path) + 1;
	ref sk;

	if (len <= start || len > sizeof(*name) || name->sun_family != AF_UNIX)
		return 0;
	memcpy(text, name->sun_path + 1, len - start);
	if (sscanf(text, "ustack-tether/%8x/%llx/", &sk, &ino) != 2)
		return 0;
	*inode = ino;
	return tether_own_name(sk, ino, &again) == len && memcmp(&again, name, len) == 0 ? sk : 0;
}
