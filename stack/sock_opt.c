/*
 * setsockopt and getsockopt: the levels, and SOL_SOCKET.
 *
 * Booleans and plain numbers stand in tables; the rest has a case each. preload/OPTIONS.md says of
 * each option whether it works, is stored, or answers with Linux's errno. The order of the checks
 * is the kernel's (net/core/sock.c), as programs see which error comes first.
 */
#include "stack/linux.h"
#include "stack/sock_memory.h"

static const struct {
	u8 name;
	u32 option; /* enum sock_option */
} flag_options[] = {
	{LX_SO_DEBUG, OPT_DEBUG},
	{LX_SO_REUSEADDR, OPT_REUSEADDR},
	{LX_SO_REUSEPORT, OPT_REUSEPORT},
	{LX_SO_DONTROUTE, OPT_DONTROUTE},
	{LX_SO_BROADCAST, OPT_BROADCAST},
	{LX_SO_KEEPALIVE, OPT_KEEPALIVE},
	{LX_SO_OOBINLINE, OPT_OOBINLINE},
	{LX_SO_NO_CHECK, OPT_NO_CHECK},
	{LX_SO_RXQ_OVFL, OPT_RXQ_OVFL},
};

static const struct {
	u8 name;
	u8 bit; /* enum sock_stored */
} stored_options[] = {
	{LX_SO_WIFI_STATUS, STORED_WIFI_STATUS},
	{LX_SO_NOFCS, STORED_NOFCS},
	{LX_SO_SELECT_ERR_QUEUE, STORED_SELECT_ERR_QUEUE},
	{LX_SO_RCVMARK, STORED_RCVMARK},
	{LX_SO_RCVPRIORITY, STORED_RCVPRIORITY},
	{LX_SO_PREFER_BUSY_POLL, STORED_PREFER_BUSY_POLL},
};

int sock_opt_copy(void *val, u32 *len, const void *from, u32 size)
{
	*len = MIN(*len, size);
	memcpy(val, from, *len);
	return 0;
}

int sock_opt_int(void *val, u32 *len, int value)
{
	return sock_opt_copy(val, len, &value, sizeof(value));
}

int sock_opt_read(const void *val, u32 len, int *value)
{
	if (len < sizeof(*value))
		return -EINVAL;
	memcpy(value, val, sizeof(*value));
	return 0;
}

static void set_flag(struct sock *sk, u32 option, bool on)
{
	sk->options = on ? sk->options | option : sk->options & ~option;
	/* What bind() of other sockets looks at. */
	if (option == OPT_REUSEADDR)
		sk->conn.bind =
			(u8)(on ? sk->conn.bind | CONN_REUSEADDR : sk->conn.bind & ~CONN_REUSEADDR);
	if (option == OPT_REUSEPORT)
		sk->conn.bind =
			(u8)(on ? sk->conn.bind | CONN_REUSEPORT : sk->conn.bind & ~CONN_REUSEPORT);
}

static void set_stored(struct sock *sk, enum sock_stored bit, bool on)
{
	sk->stored = on ? sk->stored | 1ull << bit : sk->stored & ~(1ull << bit);
}

static bool set_by_table(struct sock *sk, int name, bool on)
{
	for (u32 i = 0; i < ARRAY_LEN(flag_options); i++)
		if (flag_options[i].name == name) {
			set_flag(sk, flag_options[i].option, on);
			return true;
		}
	for (u32 i = 0; i < ARRAY_LEN(stored_options); i++)
		if (stored_options[i].name == name) {
			set_stored(sk, stored_options[i].bit, on);
			return true;
		}
	return false;
}

static bool get_by_table(const struct sock *sk, int name, int *value)
{
	for (u32 i = 0; i < ARRAY_LEN(flag_options); i++)
		if (flag_options[i].name == name) {
			*value = !!(sk->options & flag_options[i].option);
			return true;
		}
	for (u32 i = 0; i < ARRAY_LEN(stored_options); i++)
		if (stored_options[i].name == name) {
			*value = sock_stored(sk, stored_options[i].bit);
			return true;
		}
	return false;
}

/* The value is doubled, as Linux counts its own book-keeping in. */
static void set_sndbuf(struct sock *sk, u32 value)
{
	sk->options |= OPT_SNDBUF_LOCKED;
	sk->sndbuf = MAX(MIN(value, 0x7fffffffu / 2) * 2, SOCK_SNDBUF_MIN);
}

static void set_rcvbuf(struct sock *sk, u32 value)
{
	sk->options |= OPT_RCVBUF_LOCKED;
	sk->rcvbuf = MAX(MIN(value, 0x7fffffffu / 2) * 2, SOCK_RCVBUF_MIN);
}

static void set_rcvlowat(struct stack *s, struct sock *sk, int value)
{
	u32 low = value < 0 ? 0x7fffffffu : (u32)value, cap;

	if (sk->conn.proto == PROTO_TCP) {
		cap = sk->options & OPT_RCVBUF_LOCKED ? sk->rcvbuf : s->tunables.tcp_rmem[2];
		low = MIN(low, cap / 2);
	}
	sk->rcvlowat = low ? low : 1;
}

/* struct timeval of 64-bit machines, in both the old and the new option. */
static int set_timeout(u64 *timeout_ns, const void *val, u32 len)
{
	s64 tv[2];

	if (len < sizeof(tv))
		return -EINVAL;
	memcpy(tv, val, sizeof(tv));
	if (tv[1] < 0 || tv[1] >= 1000000)
		return -EDOM;
	if (tv[0] < 0 || (u64)tv[0] > 4000000000ull)
		*timeout_ns = 0;
	else
		*timeout_ns = (u64)tv[0] * NS_PER_S + (u64)tv[1] * NS_PER_US;
	if (tv[0] < 0)
		*timeout_ns = 1; /* Linux: no wait at all */
	return 0;
}

static int get_timeout(u64 timeout_ns, void *val, u32 *len)
{
	s64 tv[2] = {(s64)(timeout_ns / NS_PER_S), (s64)(timeout_ns % NS_PER_S / NS_PER_US)};

	return sock_opt_copy(val, len, tv, sizeof(tv));
}

static int set_linger(struct sock *sk, const void *val, u32 len)
{
	int linger[2];

	if (len < sizeof(linger))
		return -EINVAL;
	memcpy(linger, val, sizeof(linger));
	set_flag(sk, OPT_LINGER, linger[0] != 0);
	if (linger[0])
		sk->linger_s = (u32)linger[1];
	return 0;
}

static void set_timestamp(struct sock *sk, int name, bool on)
{
	bool ns = name == LX_SO_TIMESTAMPNS || name == LX_SO_TIMESTAMPNS_NEW;

	sk->options &= ~(u32)(OPT_TIMESTAMP | OPT_TIMESTAMPNS);
	if (!on)
		return;
	sk->options |= ns ? OPT_TIMESTAMPNS : OPT_TIMESTAMP;
	set_stored(sk, STORED_TSTAMP_NEW,
		name == LX_SO_TIMESTAMP_NEW || name == LX_SO_TIMESTAMPNS_NEW);
}

static int get_timestamp(const struct sock *sk, int name)
{
	bool ns = sk->options & OPT_TIMESTAMPNS, us = sk->options & OPT_TIMESTAMP;
	bool new = sock_stored(sk, STORED_TSTAMP_NEW);

	switch (name) {
	case LX_SO_TIMESTAMP:
		return us && !new;
	case LX_SO_TIMESTAMPNS:
		return ns && !new;
	case LX_SO_TIMESTAMP_NEW:
		return (us || ns) && new;
	default:
		return ns && new;
	}
}

static int bind_to_device(struct stack *s, struct sock *sk, const void *val, u32 len)
{
	char name[16] = {0};

	memcpy(name, val, MIN(len, sizeof(name) - 1));
	if (!name[0]) {
		sk->conn.ifindex = 0;
		return 0;
	}
	for (u32 i = 1; i < NETIF_MAX; i++) {
		const struct netif *n = netif_get(s, i);

		if (n && memcmp(n->name, name, sizeof(name)) == 0) {
			sk->conn.ifindex = i;
			return 0;
		}
	}
	return -ENODEV;
}

static int get_device(struct stack *s, const struct sock *sk, void *val, u32 *len)
{
	const struct netif *n = netif_get(s, sk->conn.ifindex);
	u32 size = 0;

	if (!sk->conn.ifindex || !n) {
		*len = 0;
		return 0;
	}
	if (*len < sizeof(n->name))
		return -EINVAL;
	while (size < sizeof(n->name) - 1 && n->name[size])
		size++;
	return sock_opt_copy(val, len, n->name, size + 1);
}

static int set_pacing(struct sock *sk, const void *val, u32 len, int value)
{
	u64 rate = value == -1 ? ~0ull : (u32)value;

	if (len >= sizeof(rate))
		memcpy(&rate, val, sizeof(rate));
	sk->max_pacing_rate = rate;
	return 0;
}

static int set_txtime(struct sock *sk, const void *val, u32 len)
{
	u32 txtime[2];

	if (len != sizeof(txtime))
		return -EINVAL;
	memcpy(txtime, val, sizeof(txtime));
	if (txtime[1] & ~3u || txtime[0] > 11)
		return -EINVAL;
	sk->txtime_clock = txtime[0];
	sk->txtime_flags = txtime[1];
	return 0;
}

/* Those with a range, or an effect beyond a number; -ENOPROTOOPT: not among them. */
static int set_number(struct stack *s, struct sock *sk, int name, int value)
{
	switch (name) {
	case LX_SO_SNDBUF:
		set_sndbuf(sk, MIN((u32)value, s->tunables.wmem_max));
		return 0;
	case LX_SO_RCVBUF:
		set_rcvbuf(sk, MIN((u32)value, s->tunables.rmem_max));
		return 0;
	case LX_SO_SNDBUFFORCE:
		set_sndbuf(sk, value < 0 ? 0 : (u32)value);
		return 0;
	case LX_SO_RCVBUFFORCE:
		set_rcvbuf(sk, value < 0 ? 0 : (u32)value);
		return 0;
	case LX_SO_RCVLOWAT:
		set_rcvlowat(s, sk, value);
		return 0;
	case LX_SO_PRIORITY:
		sk->priority = (u32)value;
		return 0;
	case LX_SO_MARK:
		sk->mark = (u32)value;
		return 0;
	case LX_SO_INCOMING_CPU:
		sk->incoming_cpu = value;
		return 0;
	case LX_SO_TIMESTAMP:
	case LX_SO_TIMESTAMPNS:
	case LX_SO_TIMESTAMP_NEW:
	case LX_SO_TIMESTAMPNS_NEW:
		set_timestamp(sk, name, value != 0);
		return 0;
	case LX_SO_BINDTOIFINDEX:
		if (value < 0)
			return -EINVAL;
		sk->conn.ifindex = (u32)value;
		return 0;
	case LX_SO_BUSY_POLL:
		if (value < 0)
			return -EINVAL;
		sk->busy_poll_us = (u32)value;
		return 0;
	case LX_SO_BUSY_POLL_BUDGET:
		return value < 0 || value > 0xffff ? -EINVAL : 0;
	case LX_SO_BUF_LOCK:
		if (value & ~3)
			return -EINVAL;
		set_flag(sk, OPT_SNDBUF_LOCKED, value & 1);
		set_flag(sk, OPT_RCVBUF_LOCKED, value & 2);
		return 0;
	case LX_SO_BSDCOMPAT:
	case LX_SO_CNX_ADVICE:
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

/* Those that answer with an errno, always or for some values. */
static int set_refused(struct sock *sk, int name, int value)
{
	bool tcp = sk->conn.proto == PROTO_TCP;

	switch (name) {
	case LX_SO_TXREHASH:
		if (!tcp)
			return -EOPNOTSUPP;
		if (value < -1 || value > 1)
			return -EINVAL;
		set_stored(sk, STORED_NO_TXREHASH, value == 0);
		return 0;
	case LX_SO_RESERVE_MEM:
		return value < 0 ? -EINVAL : -EOPNOTSUPP;
	case LX_SO_ZEROCOPY:
		/* Every byte is copied once into the host's memory: there is nothing to save, and
		 * nothing to report. */
		return value < 0 || value > 1 ? -EINVAL : value ? -EOPNOTSUPP : 0;
	case LX_SO_PEEK_OFF:
		sk->peek_off = value;
		return 0;
	case LX_SO_PASSCRED:
	case LX_SO_PASSSEC:
	case LX_SO_PASSPIDFD:
	case LX_SO_PASSRIGHTS:
		return -EOPNOTSUPP;
	case LX_SO_DETACH_REUSEPORT_BPF:
		return -EINVAL;
	case LX_SO_LOCK_FILTER:
		if (sock_stored(sk, STORED_LOCK_FILTER) && !value)
			return -EPERM;
		set_stored(sk, STORED_LOCK_FILTER, value != 0);
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int set_socket(struct stack *s, struct sock *sk, int name, const void *val, u32 len)
{
	int value, ret;

	if (name == LX_SO_BINDTODEVICE)
		return bind_to_device(s, sk, val, len);
	if (name == LX_SO_ATTACH_FILTER)
		return filter_attach(s, sk, val, len);
	if (sock_opt_read(val, len, &value) < 0)
		return -EINVAL;
	if (set_by_table(sk, name, value != 0))
		return 0;
	switch (name) {
	case LX_SO_LINGER:
		return set_linger(sk, val, len);
	case LX_SO_RCVTIMEO:
	case LX_SO_RCVTIMEO_NEW:
		return set_timeout(&sk->rcvtimeo_ns, val, len);
	case LX_SO_SNDTIMEO:
	case LX_SO_SNDTIMEO_NEW:
		return set_timeout(&sk->sndtimeo_ns, val, len);
	case LX_SO_MAX_PACING_RATE:
		return set_pacing(sk, val, len, value);
	case LX_SO_TIMESTAMPING:
	case LX_SO_TIMESTAMPING_NEW:
		ret = sock_stamp_set(s, sk, val, len);
		if (ret == 0)
			set_stored(sk, STORED_TSTAMP_NEW, name == LX_SO_TIMESTAMPING_NEW);
		return ret;
	case LX_SO_TXTIME:
		return set_txtime(sk, val, len);
	case LX_SO_DETACH_FILTER:
		return filter_detach(s, sk);
	default:
		ret = set_number(s, sk, name, value);
		return ret == -ENOPROTOOPT ? set_refused(sk, name, value) : ret;
	}
}

static int get_number(struct sock *sk, int name, int *value)
{
	switch (name) {
	case LX_SO_TYPE:
		*value = sk->type;
		return 0;
	case LX_SO_DOMAIN:
		*value = sk->family;
		return 0;
	case LX_SO_PROTOCOL:
		*value = sk->conn.proto;
		return 0;
	case LX_SO_ERROR:
		*value = sk->error ? sk->error : sk->soft_error;
		if (!sk->error)
			sk->soft_error = 0;
		sk->error = 0;
		return 0;
	case LX_SO_SNDBUF:
		*value = (int)sk->sndbuf;
		return 0;
	case LX_SO_RCVBUF:
		*value = (int)sk->rcvbuf;
		return 0;
	case LX_SO_RCVLOWAT:
		*value = (int)sk->rcvlowat;
		return 0;
	case LX_SO_SNDLOWAT:
		*value = 1;
		return 0;
	case LX_SO_PRIORITY:
		*value = (int)sk->priority;
		return 0;
	case LX_SO_MARK:
		*value = (int)sk->mark;
		return 0;
	case LX_SO_ACCEPTCONN:
		*value = sk->state == SOCK_LISTENING;
		return 0;
	case LX_SO_BINDTOIFINDEX:
		*value = (int)sk->conn.ifindex;
		return 0;
	case LX_SO_BUSY_POLL:
		*value = (int)sk->busy_poll_us;
		return 0;
	case LX_SO_INCOMING_CPU:
		*value = sk->incoming_cpu;
		return 0;
	case LX_SO_PEEK_OFF:
		*value = sk->peek_off;
		return 0;
	case LX_SO_BPF_EXTENSIONS:
		*value = 64; /* SKF_AD_MAX */
		return 0;
	case LX_SO_BUF_LOCK:
		*value = (sk->options & OPT_SNDBUF_LOCKED ? 1 : 0) |
			 (sk->options & OPT_RCVBUF_LOCKED ? 2 : 0);
		return 0;
	case LX_SO_LOCK_FILTER:
		*value = sock_stored(sk, STORED_LOCK_FILTER);
		return 0;
	case LX_SO_TIMESTAMP:
	case LX_SO_TIMESTAMPNS:
	case LX_SO_TIMESTAMP_NEW:
	case LX_SO_TIMESTAMPNS_NEW:
		*value = get_timestamp(sk, name);
		return 0;
	case LX_SO_BSDCOMPAT:
	case LX_SO_INCOMING_NAPI_ID:
	case LX_SO_ZEROCOPY:
	case LX_SO_RESERVE_MEM:
		*value = 0;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

/* struct sockaddr_in of the peer, which must be asked for with the right size or less. */
static int get_peername(struct stack *s, const struct sock *sk, void *val, u32 *len)
{
	struct endpoint peer;
	u8 sin[16] = {FAMILY_INET & 0xff, FAMILY_INET >> 8};
	u16 family = FAMILY_INET;

	if (sock_peer(s, sk->conn.slab.self, &peer) < 0)
		return -ENOTCONN;
	if (*len > sizeof(sin))
		return -EINVAL;
	memcpy(sin, &family, sizeof(family));
	sin[2] = (u8)(peer.port >> 8);
	sin[3] = (u8)peer.port;
	memcpy(sin + 4, peer.addr.b + 12, 4);
	return sock_opt_copy(val, len, sin, sizeof(sin));
}

static int get_meminfo(const struct sock *sk, void *val, u32 *len)
{
	const u32 info[9] = {
		sk->rx_charged, sk->rcvbuf, 0, sk->sndbuf, 0, sk->tx_charged, 0, 0, sk->rx_dropped};

	return sock_opt_copy(val, len, info, sizeof(info));
}

static int get_pacing(const struct sock *sk, void *val, u32 *len)
{
	u32 narrow = (u32)MIN(sk->max_pacing_rate, 0xffffffffull);

	if (*len >= sizeof(sk->max_pacing_rate))
		return sock_opt_copy(val, len, &sk->max_pacing_rate, sizeof(sk->max_pacing_rate));
	return sock_opt_copy(val, len, &narrow, sizeof(narrow));
}

/* Those whose answer is no int. */
static int get_struct(struct stack *s, struct sock *sk, int name, void *val, u32 *len)
{
	static const u64 netns_cookie = 1;
	u32 stamping[2] = {sk->tstamp_flags, (u32)sk->tstamp_phc};
	static const u32 no_credentials[3] = {0, ~0u, ~0u};
	int linger[2] = {!!(sk->options & OPT_LINGER), (int)sk->linger_s};
	u32 txtime[2] = {sk->txtime_clock, sk->txtime_flags};

	switch (name) {
	case LX_SO_LINGER:
		return sock_opt_copy(val, len, linger, sizeof(linger));
	case LX_SO_RCVTIMEO:
	case LX_SO_RCVTIMEO_NEW:
		return get_timeout(sk->rcvtimeo_ns, val, len);
	case LX_SO_SNDTIMEO:
	case LX_SO_SNDTIMEO_NEW:
		return get_timeout(sk->sndtimeo_ns, val, len);
	case LX_SO_TIMESTAMPING:
	case LX_SO_TIMESTAMPING_NEW:
		if (name == LX_SO_TIMESTAMPING_NEW && !sock_stored(sk, STORED_TSTAMP_NEW))
			stamping[0] = stamping[1] = 0;
		return sock_opt_copy(val, len, stamping, sizeof(stamping));
	case LX_SO_TXTIME:
		return sock_opt_copy(val, len, txtime, sizeof(txtime));
	case LX_SO_PEERCRED:
		return sock_opt_copy(val, len, no_credentials, sizeof(no_credentials));
	case LX_SO_COOKIE:
		return *len < 8 ? -EINVAL : sock_opt_copy(val, len, &sk->cookie, 8);
	case LX_SO_NETNS_COOKIE:
		return *len != 8 ? -EINVAL : sock_opt_copy(val, len, &netns_cookie, 8);
	case LX_SO_MAX_PACING_RATE:
		return get_pacing(sk, val, len);
	case LX_SO_BINDTODEVICE:
		return get_device(s, sk, val, len);
	case LX_SO_PEERNAME:
		return get_peername(s, sk, val, len);
	case LX_SO_MEMINFO:
		return get_meminfo(sk, val, len);
	case LX_SO_ATTACH_FILTER:
		return filter_get(s, sk, val, len);
	case LX_SO_PEERGROUPS:
	case LX_SO_PEERPIDFD:
		return -ENODATA;
	case LX_SO_TXREHASH:
		if (sk->conn.proto == PROTO_TCP)
			return sock_opt_int(val, len, !sock_stored(sk, STORED_NO_TXREHASH));
		return -EOPNOTSUPP;
	case LX_SO_PASSCRED:
	case LX_SO_PASSSEC:
	case LX_SO_PASSPIDFD:
	case LX_SO_PASSRIGHTS:
		return -EOPNOTSUPP;
	default:
		return -ENOPROTOOPT;
	}
}

static int get_socket(struct stack *s, struct sock *sk, int name, void *val, u32 *len)
{
	int value;

	if (get_by_table(sk, name, &value) || get_number(sk, name, &value) == 0)
		return sock_opt_int(val, len, value);
	return get_struct(s, sk, name, val, len);
}

/* Is the level the protocol's own? UDP and UDP-Lite answer to both of theirs (udp_setsockopt). */
static bool own_level(const struct sock *sk, int level)
{
	return level == sk->conn.proto ||
	       (sk->conn.proto != PROTO_TCP && (level == LX_SOL_UDP || level == LX_SOL_UDPLITE));
}

int sock_setopt(struct stack *s, ref r, int level, int name, const void *val, u32 len)
{
	struct sock *sk = sock_get(s, r);
	const struct sock_ops *ops;
	int ret;

	if (!sk)
		return -EBADF;
	if (len > 0x7fffffffu)
		return -EINVAL;
	ops = sock_ops_of(sk->conn.proto);
	if (level == LX_SOL_SOCKET)
		ret = set_socket(s, sk, name, val, len);
	else if (level == LX_SOL_IP)
		ret = opt_ip_set(s, sk, name, val, len);
	else if (own_level(sk, level))
		ret = ops->setopt(s, sk, name, val, len);
	else
		ret = -ENOPROTOOPT;
	if (ret == 0 && ops->opt_changed && !own_level(sk, level))
		ops->opt_changed(s, sk, level, name);
	stack_run_loopback(s);
	return ret;
}

int sock_getopt(struct stack *s, ref r, int level, int name, void *val, u32 *len)
{
	struct sock *sk = sock_get(s, r);

	if (!sk)
		return -EBADF;
	if (level != LX_SOL_SOCKET && level != LX_SOL_IP && !own_level(sk, level))
		return -EOPNOTSUPP;
	if (*len > 0x7fffffffu)
		return -EINVAL;
	if (level == LX_SOL_SOCKET)
		return get_socket(s, sk, name, val, len);
	if (level == LX_SOL_IP)
		return opt_ip_get(s, sk, name, val, len);
	return sock_ops_of(sk->conn.proto)->getopt(s, sk, name, val, len);
}
