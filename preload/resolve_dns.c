/*
 * Questions to name servers, asked by c-ares.
 *
 * Each exchange has a c-ares channel of its own, which knows nothing but the servers it is given:
 * it reads no file, completes no name, and its sockets are those that this library interposes, so
 * that they go to the stack and follow the bypass rules. (In a program linked against these objects
 * without the interposed names they are the kernel's.) A name server on a loopback address of
 * resolv.conf belongs to the kernel's loopback: its socket is replaced, at its number, when c-ares
 * connects it.
 */
#include <ares.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "preload/raw.h"
#include "preload/resolve_internal.h"

struct exchange {
	const struct resolve_conf *conf;
	struct resolve_answer *answer;
	int error; /* -1 while it runs */
};

static ares_socket_t open_socket(int domain, int type, int protocol, void *arg)
{
	(void)arg;
	return socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}

static int close_socket(ares_socket_t fd, void *arg)
{
	(void)arg;
	return close(fd);
}

static bool asks_kernel(const struct resolve_conf *conf, const struct sockaddr_in *to)
{
	for (u32 i = 0; i < conf->servers; i++)
		if (conf->server[i].kernel && conf->server[i].addr.s_addr == to->sin_addr.s_addr &&
			conf->server[i].port == ntohs(to->sin_port))
			return true;
	return false;
}

/* Puts a socket of the kernel in fd's place. */
static int replace_by_kernel(int fd)
{
	int type = 0, new;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
		return -1;
	new = raw_socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (new < 0) {
		errno = -new;
		return -1;
	}
	if (dup3(new, fd, O_CLOEXEC) < 0) {
		raw_close(new);
		return -1;
	}
	raw_close(new);
	return 0;
}

static int connect_socket(
	ares_socket_t fd, const struct sockaddr *addr, ares_socklen_t len, void *arg)
{
	const struct exchange *exchange = arg;
	struct sockaddr_in to;

	if (len != sizeof(to) || addr->sa_family != AF_INET) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	memcpy(&to, addr, sizeof(to));
	if (asks_kernel(exchange->conf, &to) && replace_by_kernel(fd))
		return -1;
	return connect(fd, addr, len);
}

static ares_ssize_t receive(ares_socket_t fd, void *buf, size_t size, int flags,
	struct sockaddr *from, ares_socklen_t *len, void *arg)
{
	(void)arg;
	return recvfrom(fd, buf, size, flags, from, len);
}

static ares_ssize_t send_pieces(ares_socket_t fd, const struct iovec *iov, int count, void *arg)
{
	struct msghdr msg = {
		.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};

	(void)arg;
	return sendmsg(fd, &msg, MSG_NOSIGNAL);
}

static const struct ares_socket_functions functions = {
	.asocket = open_socket,
	.aclose = close_socket,
	.aconnect = connect_socket,
	.arecvfrom = receive,
	.asendv = send_pieces,
};

/* Servers with their ports; the option of ares_init_options has one port for all. */
static int set_servers(ares_channel channel, const struct resolve_conf *conf)
{
	struct ares_addr_port_node node[RESOLVE_SERVERS] = {{0}};

	for (u32 i = 0; i < conf->servers; i++) {
		node[i].next = i + 1 < conf->servers ? &node[i + 1] : NULL;
		node[i].family = AF_INET;
		node[i].addr.addr4 = conf->server[i].addr;
		node[i].udp_port = node[i].tcp_port = conf->server[i].port;
	}
	return ares_set_servers_ports(channel, node);
}

/* Every option is given, so that c-ares reads neither files nor the environment. */
static int open_channel(ares_channel *channel, struct exchange *exchange)
{
	const struct resolve_conf *conf = exchange->conf;
	struct in_addr first = conf->server[0].addr;
	char lookups[] = "b";
	struct ares_options options = {
		.flags = ARES_FLAG_NOALIASES | ARES_FLAG_NOSEARCH |
			 (conf->tcp ? ARES_FLAG_USEVC : 0),
		.timeout = (int)conf->timeout_ms,
		.tries = 1,
		.ndots = 1,
		.servers = &first,
		.nservers = 1,
		.lookups = lookups,
	};
	static u8 initialised;
	int ret;

	/* Counts its callers, no more, on this system. */
	if (!__atomic_exchange_n(&initialised, 1, __ATOMIC_ACQ_REL))
		ares_library_init(ARES_LIB_INIT_ALL);
	ret = ares_init_options(channel, &options,
		ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
			ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS | ARES_OPT_SORTLIST |
			(conf->rotate ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE));
	if (ret != ARES_SUCCESS)
		return ENOMEM;
	ares_set_socket_functions(*channel, &functions, exchange);
	if (set_servers(*channel, conf) != ARES_SUCCESS) {
		ares_destroy(*channel);
		return ENOMEM;
	}
	return 0;
}

static int from_status(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return 0;
	case ARES_ENOMEM:
		return ENOMEM;
	case ARES_ETIMEOUT:
		return ETIMEDOUT;
	case ARES_EBADQUERY:
		return EINVAL;
	default:
		return ECONNREFUSED;
	}
}

static void finished(void *arg, int status, int timeouts, unsigned char *data, int len)
{
	struct exchange *exchange = arg;
	struct resolve_answer *answer = exchange->answer;

	(void)timeouts;
	if (status == ARES_EDESTRUCTION)
		return;
	exchange->error = from_status(status);
	if (exchange->error)
		return;
	if (!data || len < NS_HFIXEDSZ) {
		exchange->error = ECONNREFUSED;
		return;
	}
	answer->data = malloc((size_t)len);
	if (!answer->data) {
		exchange->error = ENOMEM;
		return;
	}
	memcpy(answer->data, data, (size_t)len);
	answer->len = len;
}

/* One wait for the channel's sockets or its next time-out. */
static void run(ares_channel channel)
{
	ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
	struct pollfd fds[ARES_GETSOCK_MAXNUM];
	int set = ares_getsock(channel, sockets, ARES_GETSOCK_MAXNUM);
	struct timeval longest = {.tv_sec = 60}, left,
		       *wait = ares_timeout(channel, &longest, &left);
	nfds_t count = 0;
	int ready;

	for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
		short events =
			(short)((ARES_GETSOCK_READABLE(set, i) ? POLLIN : 0) |
				((unsigned)set & 1u << (i + ARES_GETSOCK_MAXNUM) ? POLLOUT : 0));

		if (events)
			fds[count++] = (struct pollfd){.fd = sockets[i], .events = events};
	}
	ready = poll(fds, count, (int)(wait->tv_sec * 1000 + (wait->tv_usec + 999) / 1000));
	if (ready <= 0) {
		ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
		return;
	}
	for (nfds_t i = 0; i < count; i++)
		if (fds[i].revents)
			ares_process_fd(channel,
				fds[i].revents & ~POLLOUT ? fds[i].fd : ARES_SOCKET_BAD,
				fds[i].revents & POLLOUT ? fds[i].fd : ARES_SOCKET_BAD);
}

/* Asks each server once. 0 or an errno. */
static int ask_all(struct exchange *exchange, const u8 *query, int len)
{
	ares_channel channel;
	int error, state;

	/* A thread cancelled in here would leave the channel and its socket behind. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	error = open_channel(&channel, exchange);
	exchange->error = error ? error : -1;
	if (error)
		goto out;
	ares_send(channel, query, len, finished, exchange);
	while (exchange->error < 0)
		run(channel);
	ares_destroy(channel);
out:
	pthread_setcancelstate(state, NULL);
	return exchange->error;
}

/* The rounds are ours, as c-ares would double the time-out from one to the next and glibc does not.
 */
int resolve_dns_send(
	const struct resolve_conf *conf, const u8 *query, int len, struct resolve_answer *answer)
{
	struct exchange exchange = {.conf = conf, .answer = answer};
	int error = ECONNREFUSED;

	*answer = (struct resolve_answer){0};
	if (len < NS_HFIXEDSZ)
		return EINVAL;
	for (u32 i = 0; i < conf->tries && conf->servers; i++) {
		error = ask_all(&exchange, query, len);
		if (error != ETIMEDOUT && error != ECONNREFUSED)
			break;
	}
	return error;
}

/* What the header of an answer says: 0, or a resolver error. */
static int verdict(const struct resolve_answer *answer)
{
	switch (answer->data[3] & 0xf) {
	case ns_r_noerror:
		return answer->data[6] || answer->data[7] ? 0 : NO_DATA;
	case ns_r_nxdomain:
		return HOST_NOT_FOUND;
	case ns_r_servfail:
		return TRY_AGAIN;
	default:
		return NO_RECOVERY;
	}
}

int resolve_dns_query(const struct resolve_conf *conf, const char *name, int class, int type,
	struct resolve_answer *answer)
{
	unsigned char *query;
	unsigned short id;
	int len, error;

	*answer = (struct resolve_answer){0};
	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		return NETDB_INTERNAL;
	if (ares_create_query(name, class, type, id, 1, &query, &len, 0) != ARES_SUCCESS)
		return NO_RECOVERY;
	error = resolve_dns_send(conf, query, len, answer);
	ares_free_string(query);
	if (!error)
		return verdict(answer);
	errno = error;
	return error == EMFILE || error == ENOMEM ? NETDB_INTERNAL : TRY_AGAIN;
}

static int query_domain(const struct resolve_conf *conf, const char *name, const char *domain,
	int class, int type, struct resolve_answer *answer)
{
	char full[RESOLVE_NAME];
	size_t n = strlen(name), m = strlen(domain);

	free(answer->data);
	*answer = (struct resolve_answer){0};
	if (n + m + 2 > sizeof(full))
		return NO_RECOVERY;
	memcpy(full, name, n);
	full[n] = '.';
	memcpy(full + n + 1, domain, m + 1);
	return resolve_dns_query(conf, full, class, type, answer);
}

/* The search list, until a name is found or a server's answer says that going on is pointless. */
static int search_domains(const struct resolve_conf *conf, const char *name, int class, int type,
	u_long options, bool *root, struct resolve_answer *answer)
{
	bool no_data = false;
	int error = HOST_NOT_FOUND;

	for (u32 i = 0; i < conf->domains; i++) {
		const char *domain =
			conf->domain[i][0] == '.' ? conf->domain[i] + 1 : conf->domain[i];

		*root = *root || !*domain;
		error = query_domain(conf, name, domain, class, type, answer);
		if (!error)
			return 0;
		no_data = no_data || error == NO_DATA;
		if ((error != NO_DATA && error != HOST_NOT_FOUND) || !(options & RES_DNSRCH))
			break;
	}
	return no_data ? NO_DATA : error;
}

int resolve_dns_search(const struct resolve_conf *conf, const char *name, int class, int type,
	u_long options, struct resolve_answer *answer)
{
	bool trailing_dot = *name && name[strlen(name) - 1] == '.', root = false, searched = false;
	int as_is = -1, error = HOST_NOT_FOUND;
	u32 dots = 0;

	*answer = (struct resolve_answer){0};
	for (const char *p = name; *p; p++)
		dots += *p == '.';
	if (dots >= conf->ndots || trailing_dot) {
		as_is = resolve_dns_query(conf, name, class, type, answer);
		if (!as_is || trailing_dot)
			return as_is;
	}
	if (conf->domains &&
		(dots ? !trailing_dot && options & RES_DNSRCH : options & RES_DEFNAMES)) {
		searched = true;
		error = search_domains(conf, name, class, type, options, &root, answer);
		if (!error || (error == TRY_AGAIN && errno == ECONNREFUSED))
			return error;
	}
	if ((dots || !searched || !(options & RES_NOTLDQUERY)) && as_is < 0 && !root) {
		int last;

		free(answer->data);
		last = resolve_dns_query(conf, name, class, type, answer);
		if (!last || error != NO_DATA)
			return last;
	}
	return as_is >= 0 ? as_is : error;
}
