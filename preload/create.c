/*
 * Making a host, in its keeper: the device, the region, the bells, the engine, capture and log.
 */
#include "preload/region.h"

#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "preload/epoll.h"
#include "preload/role.h"
#include "preload/wait.h"
#include "stack/netif.h"

/*
 * What a host starts with. A burst of sends may use up what is left before the keeper has been
 * scheduled to make the region larger, on a busy processor some milliseconds later: 16 MiB are left
 * by then. Untouched, it costs addresses only.
 */
#define FIRST_BYTES (64ull << 20)

#define LIMIT_MIN (64ull << 20)
#define SPARE_FDS 24 /* that a keeper needs for little more than itself */
#define LIMIT_MAX (32ull << 30)

/* A region may take half of the machine's memory. */
static u64 create_limit(void)
{
	struct sysinfo info;
	u64 half;

	if (raw_syscall1(SYS_sysinfo, (long)&info) < 0)
		return LIMIT_MIN;
	half = (u64)info.totalram * info.mem_unit / 2;
	return MIN(MAX(half, LIMIT_MIN), LIMIT_MAX) / SLAB_SPAN_BYTES * SLAB_SPAN_BYTES;
}

/* Where descriptors are few there are fewer bells, and room is left for the members' connections.
 */
static int create_bells(struct host_local *local)
{
	struct rlimit limit = {HOST_BELLS + SPARE_FDS, 0};
	u32 n;

	raw_syscall4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit);
	n = limit.rlim_cur > SPARE_FDS + 2 ? (u32)MIN(limit.rlim_cur - SPARE_FDS, HOST_BELLS) : 2;
	for (u32 i = 0; i < HOST_BELLS; i++) {
		local->bell[i] = i < n ? raw_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
		if (i < n && local->bell[i] < 0)
			return local->bell[i];
	}
	return 0;
}

static int create_log(
	struct host_local *local, const struct config *config, char *why, size_t why_size)
{
	if (config->log_file[0]) {
		int fd = raw_open(config->log_file,
			O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);

		if (fd < 0) {
			snprintf(why, why_size, "cannot write the log file %s: %s",
				config->log_file, strerror(-fd));
			return fd;
		}
		local->log_fd = fd;
	}
	for (u32 i = 0; i < LOG_AREAS; i++)
		log_set(region_stack(local), (enum log_area)i, (enum log_level)config->log[i]);
	return 0;
}

static u64 create_realtime_offset(void)
{
	struct timespec real;

	clock_gettime(CLOCK_REALTIME, &real);
	return (u64)real.tv_sec * NS_PER_S + (u64)real.tv_nsec - host_now();
}

/* The first address and gateway of IPv4 are the engine's from the start; what else there is comes
 * behind them. */
static int create_engine(struct host_local *local, const struct config *config)
{
	struct stack_config engine = {
		.mtu = config->mtu ? (u16)config->mtu : local->dev.mtu,
		.features = local->dev.features,
		.now_ns = host_now(),
		.realtime_offset_ns = create_realtime_offset(),
		.tunables = config->sysctl,
	};
	struct stack *s;
	u8 none[6] = {0};

	snprintf(engine.device_name, sizeof(engine.device_name), "%.15s", local->dev.name);
	memcpy(engine.mac, memcmp(config->mac, none, 6) ? config->mac : local->dev.mac, 6);
	if (config->address.count) {
		engine.addr = config->address.item[0].addr;
		engine.prefix_len = config->address.item[0].prefix_len;
	}
	for (u32 i = 0; i < config->gateway.count; i++) {
		if (config->gateway.item[i].addr.family == FAMILY_INET)
			engine.gateway = config->gateway.item[i].addr;
	}
	if (raw_syscall3(SYS_getrandom, (long)engine.seed, sizeof(engine.seed), 0) !=
		sizeof(engine.seed))
		return -EIO;
	s = stack_init(region_stack(local), local->host->size - HOST_BYTES,
		local->host->limit - HOST_BYTES, &engine);
	return s ? 0 : -EINVAL;
}

static void create_more_addresses(struct stack *s, const struct config *config)
{
	static const struct addr none;

	for (u32 i = 1; i < config->address.count; i++) {
		const struct config_ip *ip = &config->address.item[i];
		u32 mask = ip->prefix_len ? ~0u << (32 - ip->prefix_len) : 0;
		struct addr net = addr_v4(addr_get4(&ip->addr) & mask);

		if (ip->addr.family != FAMILY_INET)
			continue;
		netif_add_addr(s, NETIF_DEVICE, &ip->addr, ip->prefix_len);
		stack_add_route(s, &net, ip->prefix_len, &none, NETIF_DEVICE, 0);
	}
	for (u32 i = 0; i < config->route.count; i++) {
		const struct config_route *r = &config->route.item[i];

		if (r->dest.addr.family == FAMILY_INET)
			stack_add_route(s, &r->dest.addr, r->dest.prefix_len, &r->via.addr,
				NETIF_DEVICE, 0);
	}
}

static int create_region(
	struct host_local *local, const struct config *config, char *why, size_t why_size)
{
	bool whole = memory_limited();
	u64 size = HOST_BYTES + (whole ? stack_min_size() : MAX(stack_min_size(), FIRST_BYTES)),
	    limit = MAX(create_limit(), size);
	struct host *host;
	int ret = region_create(local, size, limit, whole);

	if (ret < 0) {
		snprintf(why, why_size,
			ret == -EFBIG ? "no memory for the host: raise the file size limit (ulimit "
					"-f)"
			: ret == -ENOMEM && whole
				? "no memory for the host: raise the control group's limit"
				: "no memory for the host: %s",
			strerror(-ret));
		return ret;
	}
	host = local->host;
	host->slots = SLOTS_FIRST;
	host->bells_used = 1;
	host->spin_us = config->spin_us;
	host->next_ns = NEVER;
	ret = create_bells(local);
	if (ret == 0)
		ret = create_engine(local, config);
	if (ret < 0)
		snprintf(why, why_size, "cannot start the stack: %s", strerror(-ret));
	return ret;
}

int host_create(const struct config *config, char *why, size_t why_size)
{
	static u32 alive = 1; /* the keeper doesn't fork */
	struct host_local *local = &host_local;
	struct stack *s;
	int ret = tapio_open(&local->dev, config->device, why, why_size);

	if (ret < 0)
		return ret;
	local->alive = &alive;
	local->pid = (u32)raw_getpid();
	local->member = HOST_MEMBERS;
	ret = create_region(local, config, why, why_size);
	if (ret < 0)
		return ret;
	s = region_stack(local);
	create_more_addresses(s, config);
	wait_init(s);
	epoll_init(s);
	local->host->rx[0].used = 1;
	serve_fill(s, &local->host->rx[0]);
	ret = create_log(local, config, why, why_size);
	if (ret == 0 && config->pcap[0])
		ret = capture_open(
			&local->capture, config->pcap, config->pcap_filter, why, why_size);
	local->host->config = *config;
	local->host->dev = local->dev;
	local->host->has_capture = local->capture.fd >= 0;
	local->host->has_log = local->log_fd >= 0;
	while (local->host->bells < HOST_BELLS && local->bell[local->host->bells] >= 0)
		local->host->bells++;
	return ret;
}
