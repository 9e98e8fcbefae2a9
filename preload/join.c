/*
 * Joining a host: the program's side of the rendezvous.
 *
 * The keeper listens on a name in the abstract space of AF_UNIX, which belongs to the network
 * namespace as the device does, leaves no file behind when its owner dies, and needs no folder. The
 * name carries the user's id, and both sides check the other's credentials. Whoever finds nobody
 * there starts a keeper; of two that do so at the same time, one fails to bind the name, and its
 * opener joins the other. The connection stays for the process's life: it is close-on-exec, so its
 * end tells the keeper that the program has ended or become another one. A fork makes a connection
 * for the child beforehand.
 */
#include "preload/region.h"

#include <stdio.h>

#include "preload/tether.h"

#define FEW_FDS		 128
#define JOIN_PATIENCE_NS (10 * NS_PER_S)
#define JOIN_PAUSE_NS	 (2 * NS_PER_MS)

socklen_t join_name(const struct config *config, struct sockaddr_un *name)
{
	u64 hash = 0xcbf29ce484222325ull; /* FNV-1a: of two long names that begin alike */
	u32 uid = (u32)raw_syscall0(SYS_geteuid);
	int n;

	for (const char *c = config->name; *c; c++)
		hash = (hash ^ (u8)*c) * 0x100000001b3ull;
	memset(name, 0, sizeof(*name));
	name->sun_family = AF_UNIX;
	n = snprintf(name->sun_path + 1, sizeof(name->sun_path) - 1, "ustack/%u/%08x/%.60s", uid,
		(u32)(hash ^ hash >> 32), config->name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (u32)n);
}

ssize_t join_send(int fd, const void *data, size_t size, const int *fds, u32 count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(JOIN_FDS * sizeof(int))];
	struct iovec iov = {(void *)(uintptr_t)data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count) {
		struct cmsghdr *cmsg = (struct cmsghdr *)(void *)control;

		memset(control, 0, sizeof(control));
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
	}
	return raw_sendmsg(fd, &msg, MSG_NOSIGNAL);
}

ssize_t join_recv(int fd, void *data, size_t size, int *fds, u32 *count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(JOIN_FDS * sizeof(int))];
	struct iovec iov = {data, size};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg = (struct cmsghdr *)(void *)control;
	ssize_t ret;

	*count = 0;
	do {
		ret = raw_recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	} while (ret == -EINTR);
	if (ret < 0 || msg.msg_controllen < sizeof(*cmsg) || cmsg->cmsg_type != SCM_RIGHTS)
		return ret;
	*count = (u32)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(fds, CMSG_DATA(cmsg), *count * sizeof(int));
	return ret;
}

static bool join_same_user(int fd)
{
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);

	return raw_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       peer.uid == (uid_t)raw_syscall0(SYS_geteuid);
}

static int join_connect_to(const struct sockaddr_un *name, socklen_t len)
{
	struct timeval patience = {.tv_sec = (time_t)(JOIN_PATIENCE_NS / NS_PER_S)};
	int fd = raw_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return fd;
	raw_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	raw_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	do {
		ret = raw_connect(fd, (const struct sockaddr *)name, len);
	} while (ret == -EINTR);
	if (ret == 0 && !join_same_user(fd))
		ret = -EACCES;
	if (ret < 0)
		raw_close(fd);
	return ret < 0 ? ret : fd;
}

int join_connect(const struct config *config)
{
	struct sockaddr_un name;
	socklen_t len = join_name(config, &name);

	return join_connect_to(&name, len);
}

/* Keeps what came with the reply, in the library's range. */
static int join_adopt(struct host_local *local, const struct join_reply *reply, int *fds, u32 count)
{
	int floor = region_fd_floor();
	u32 bells = 2 + reply->has_capture + reply->has_log; /* where they begin */
	/* A program with few descriptors to its name is not left without. */
	u32 keep = bells + (floor < FEW_FDS ? MAX((u32)floor / 8, 2) : HOST_BELLS);
	char why[CONFIG_WHY_MAX];

	for (u32 i = 0; i < count; i++) {
		if (i < keep)
			fds[i] = region_fd_hide(fds[i], floor);
		else
			raw_close(fds[i]);
	}
	for (u32 i = 0; i < HOST_BELLS; i++)
		local->bell[i] = bells + i < MIN(count, keep) ? fds[bells + i] : -1;
	local->dev = reply->dev;
	local->dev.fd = fds[1];
	local->member = reply->member;
	if (reply->has_capture)
		capture_attach(&local->capture, fds[2], config_get()->config.pcap_filter, why,
			sizeof(why));
	if (reply->has_log)
		local->log_fd = fds[2 + reply->has_capture];
	return region_attach(local, fds[0], reply->size);
}

/* Sends a request with the process's pidfd. */
static ssize_t join_request_with_pidfd(int fd, const struct join_request *request)
{
	int pidfd = (int)raw_syscall2(SYS_pidfd_open, raw_getpid(), 0);
	ssize_t ret = join_send(fd, request, sizeof(*request), &pidfd, pidfd >= 0);

	if (pidfd >= 0)
		raw_close(pidfd);
	return ret;
}

/* Asks the keeper on the connection, for the host it has when `config` is NULL: 0, -EAGAIN when it
 * has just gone, or another negative errno and a sentence. */
static int join_ask(
	struct host_local *local, int fd, const struct config *config, char *why, size_t why_size)
{
	struct join_request request = {
		.layout = host_layout(),
		.op = config ? JOIN_MEMBER : JOIN_CLAIM,
		.pid = (u32)raw_getpid(),
	};
	int fds[JOIN_FDS];
	struct join_reply reply;
	u32 count = 0;
	ssize_t ret;

	if (config)
		request.address = config->address.item[0].addr;
	ret = join_request_with_pidfd(fd, &request);
	if (ret >= 0)
		ret = join_recv(fd, &reply, sizeof(reply), fds, &count);
	if (ret == -EAGAIN) {
		snprintf(why, why_size, "the host %s does not answer: end it with `ustack down`",
			config ? config->name : "");
		return -ETIMEDOUT;
	}
	if (ret < (ssize_t)sizeof(reply))
		return -EAGAIN;
	if (reply.status == 0 && count > 2 + reply.has_capture + reply.has_log) {
		int adopted = join_adopt(local, &reply, fds, count);

		if (adopted < 0)
			snprintf(why, why_size, "cannot map the host's memory: %s",
				strerror(-adopted));
		return adopted;
	}
	for (u32 i = 0; i < count; i++)
		raw_close(fds[i]);
	if (reply.status == 0)
		snprintf(why, why_size,
			"no room for the host's descriptors: raise the limit (ulimit -n)");
	else
		snprintf(why, why_size, "%s", reply.why);
	return reply.status == 0 ? -EMFILE : reply.status;
}

int join_host(struct host_local *local, const struct config *config, char *why, size_t why_size)
{
	u64 end = host_now() + JOIN_PATIENCE_NS;
	struct timespec pause = {0, JOIN_PAUSE_NS};
	bool in_place = false;
	int fd, ret;

	do {
		fd = join_connect(config);
		if (fd == -ECONNREFUSED)
			fd = keeper_start(config, in_place);
		if (fd < 0) {
			snprintf(why, why_size, "cannot reach or start the host %s: %s",
				config->name, strerror(-fd));
			return fd;
		}
		fd = region_fd_hide(fd, region_fd_floor());
		ret = join_ask(local, fd, config, why, why_size);
		if (ret == 0) {
			local->control_fd = fd;
			return 0;
		}
		raw_close(fd);
		if (ret == -ENOEXEC && !in_place)
			in_place = true;
		else if (ret != -EAGAIN)
			return ret;
		raw_ppoll(NULL, 0, &pause, NULL);
		pause.tv_nsec = JOIN_PAUSE_NS;
	} while (host_now() < end);
	snprintf(why, why_size, "the host %s neither starts nor ends: end it with `ustack down`",
		config->name);
	return -ETIMEDOUT;
}

int join_at(struct host_local *local, const struct sockaddr_un *name, socklen_t len)
{
	char why[CONFIG_WHY_MAX];
	int fd = join_connect_to(name, len), ret;

	if (fd < 0)
		return fd;
	fd = region_fd_hide(fd, region_fd_floor());
	ret = join_ask(local, fd, NULL, why, sizeof(why));
	if (ret < 0)
		raw_close(fd);
	else
		local->control_fd = fd;
	return ret;
}

int join_again(struct host_local *local)
{
	struct join_request request = {.layout = host_layout(),
		.op = JOIN_AGAIN,
		.member = local->member,
		.pid = (u32)raw_getpid()};
	const struct host *host = local->host;
	struct timeval patience = {.tv_sec = 1};
	struct join_reply reply = {.status = -EAGAIN};
	u64 now = host_now();
	u32 count;
	int fds[JOIN_FDS], fd;

	if (host->down || now < local->again_ns)
		return -EAGAIN;
	local->again_ns = now + NS_PER_S; /* also where a keeper has refused */
	fd = join_connect_to(
		&host->tether_name, host->tether_name_len - (socklen_t)strlen(TETHER_SUFFIX));
	if (fd == -ECONNREFUSED)
		fd = keeper_start_again(local);
	if (fd < 0)
		return fd;
	raw_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (join_request_with_pidfd(fd, &request) > 0 &&
		join_recv(fd, &reply, sizeof(reply), fds, &count) == sizeof(reply) &&
		reply.status == 0)
		raw_dup3(fd, local->control_fd, O_CLOEXEC);
	raw_close(fd);
	return reply.status;
}

int join_running(struct host_local *local, const struct config *config, char *why, size_t why_size)
{
	int fd = join_connect(config), ret;

	if (fd == -ECONNREFUSED)
		snprintf(why, why_size, "no host %s is running", config->name);
	else if (fd < 0)
		snprintf(
			why, why_size, "cannot reach the host %s: %s", config->name, strerror(-fd));
	if (fd < 0)
		return fd;
	ret = join_ask(local, fd, config, why, why_size);
	if (ret == -EAGAIN)
		snprintf(why, why_size, "the host %s has just ended", config->name);
	if (ret < 0)
		raw_close(fd);
	else
		local->control_fd = fd;
	return ret;
}

int join_tell(const struct config *config, u32 op, char *why, size_t why_size)
{
	struct join_request request = {
		.layout = host_layout(), .op = op, .address = config->address.item[0].addr};
	int fds[JOIN_FDS], fd = join_connect(config);
	struct join_reply reply = {.status = -EAGAIN};
	u32 count;
	ssize_t ret;

	if (fd == -ECONNREFUSED && op != JOIN_END)
		fd = keeper_start(config, false);
	if (fd == -ECONNREFUSED)
		return 0;
	if (fd < 0) {
		snprintf(why, why_size, "cannot reach or start the host %s: %s", config->name,
			strerror(-fd));
		return fd;
	}
	ret = join_send(fd, &request, sizeof(request), NULL, 0);
	if (ret >= 0)
		ret = join_recv(fd, &reply, sizeof(reply), fds, &count);
	raw_close(fd);
	if (op == JOIN_END)
		return ret == 0 || ret == -ECONNRESET ? 0 : -EBUSY;
	if (ret < (ssize_t)sizeof(reply))
		return -EAGAIN;
	snprintf(why, why_size, "%s", reply.why);
	return reply.status;
}

/* --- forks --- */

static __thread int join_child_fd = -1; /* the child's connection, between the handlers */

u32 join_fork(struct host_local *local)
{
	struct join_request request = {.layout = host_layout(), .op = JOIN_FORK};
	struct stack *s;
	int pair[2] = {-1, -1};

	s = host_enter();
	request.member = member_copy(s, local->member);
	host_leave();
	join_child_fd = -1;
	if (request.member == HOST_MEMBERS ||
		raw_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return request.member;
	if (join_send(local->control_fd, &request, sizeof(request), &pair[1], 1) == -EPIPE &&
		join_again(local) == 0)
		join_send(local->control_fd, &request, sizeof(request), &pair[1], 1);
	raw_close(pair[1]);
	join_child_fd = region_fd_hide(pair[0], region_fd_floor());
	return request.member;
}

void join_fork_parent(void)
{
	if (join_child_fd >= 0)
		raw_close(join_child_fd);
	join_child_fd = -1;
}

void join_fork_child(struct host_local *local)
{
	struct join_request request = {.layout = host_layout(), .op = JOIN_BORN};
	struct member *m = &local->host->member[local->member];

	raw_close(local->control_fd);
	local->control_fd = join_child_fd;
	join_child_fd = -1;
	m->pid = local->pid;
	__atomic_store_n(&m->state, MEMBER_LIVE, __ATOMIC_RELEASE);
	join_request_with_pidfd(local->control_fd, &request);
}
