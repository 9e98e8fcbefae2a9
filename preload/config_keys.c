/*
 * The table of configuration keys.
 *
 * One row a key serves the ini file, the environment, the command line, `ustack run --help` and
 * CONFIG.md. Tunables carry the names, units and mainline defaults of the kernel's sysctls.
 */
#include "preload/config.h"

#define UNLIMITED  0, 0
#define OFF(m)	   (u16) offsetof(struct config, m)
#define WIDTH(m)   sizeof(((struct config *)0)->m)
#define TEXT(m)	   OFF(m), WIDTH(m), 1, UNLIMITED
#define LIST(m, n) OFF(m), n, 0, UNLIMITED
#define ONE(m)	   OFF(m), 1, WIDTH(m)
/* The index is the number of the algorithm: enum tcp_cc. */
#define CONGESTION_CONTROLS "reno|cubic|bbr"
#define NONE	   0, 0, 0, UNLIMITED
#define SYSCTL(prefix, member, min, max, form, initial, help)                                      \
	{                                                                                          \
		prefix #member, CONFIG_NUMBER, ONE(sysctl.member), min, max, form, initial, help   \
	}
/* Where the member's name has its unit, or is several. */
#define SYSCTL_AS(name, member, n, width, min, max, form, initial, help)                           \
	{                                                                                          \
		name, CONFIG_NUMBER, OFF(sysctl.member), n, width, min, max, form, initial, help   \
	}

const struct config_key config_keys[] = {
	{"config", CONFIG_PATH, NONE, "PATH", NULL,
		"ini file to read; default the first there is of $XDG_CONFIG_HOME/ustack.ini, "
		"$HOME/.config/ustack.ini, /etc/ustack.ini"},
	{"device", CONFIG_STRING, TEXT(device), "[KIND:]NAME", "tap0",
		"the frame device: a TAP by its name (tap0, tap:tap0), null:, loop:"},
	{"address", CONFIG_ADDRESSES, LIST(address, CONFIG_LIST_MAX), "ADDRESS/PREFIX,...",
		"10.0.0.2/24", "the stack's own addresses"},
	{"gateway", CONFIG_HOSTS, LIST(gateway, 2), "ADDRESS|none", NULL,
		"the default gateway; default the first address of the first network (10.0.0.1)"},
	{"route", CONFIG_ROUTES, LIST(route, CONFIG_LIST_MAX), "NETWORK [via ADDRESS],...", NULL,
		"further routes; without via the network is on the link"},
	{"dns", CONFIG_SERVERS, LIST(dns, 8), "ADDRESS[:PORT],...", NULL,
		"name servers; default those of /etc/resolv.conf"},
	{"mac", CONFIG_MAC, OFF(mac), 6, 1, UNLIMITED, "xx:xx:xx:xx:xx:xx", NULL,
		"the stack's Ethernet address; default one made from the device"},
	{"mtu", CONFIG_NUMBER, ONE(mtu), 68, 65535, "BYTES", NULL, "default the device's"},
	{"name", CONFIG_STRING, TEXT(name), "NAME", NULL,
		"the host's name: programs of one user with the same name share one host; default "
		"the device"},
	{"bypass", CONFIG_RULES, LIST(bypass, CONFIG_LIST_MAX), "NETWORK[:PORT]|*:PORT,...", NULL,
		"addresses and ports that go to the kernel"},
	{"fallback", CONFIG_CHOICE, ONE(fallback), UNLIMITED, "none|kernel", "none",
		"what serves sockets when the stack can't start: none (ENETDOWN) or the kernel"},
	{"loopback", CONFIG_CHOICE, ONE(loopback), UNLIMITED, "stack|kernel", "stack",
		"who serves 127.0.0.0/8"},
	{"spin", CONFIG_NUMBER, ONE(spin_us), 0, 1000000, "MICROSECONDS", "0",
		"how long a waiting thread polls before it sleeps"},
	{"follow_exec", CONFIG_BOOL, ONE(follow_exec), UNLIMITED, "0|1", "1",
		"programs started with a scrubbed environment get the library and these settings "
		"all the same"},
	{"off", CONFIG_BOOL, ONE(off), UNLIMITED, "0|1", "0", "1 sends everything to the kernel"},
	{"log", CONFIG_LOG, OFF(log), LOG_AREAS, 1, UNLIMITED, "PROTOCOL[:LEVEL],...", NULL,
		"what to log, as in tcp,arp:debug: device, eth, arp, ip, icmp, udp, tcp, sock, "
		"host or all, "
		"at error, warn, info, debug (without a level) or trace"},
	{"log_file", CONFIG_STRING, TEXT(log_file), "PATH", NULL,
		"where the log goes; default stderr"},
	{"pcap", CONFIG_STRING, TEXT(pcap), "PATH", NULL, "capture every frame to this file"},
	{"pcap_filter", CONFIG_STRING, TEXT(pcap_filter), "EXPRESSION", NULL,
		"capture only what this expression (pcap-filter(7)) matches"},
	{"sysctl", CONFIG_SYSCTLS, NONE, "NAME=VALUE,...", NULL, "tunables, by the names below"},

	SYSCTL_AS("net.ipv4.tcp_rmem", tcp_rmem, 3, 4, 1, INT32_MAX, "MIN DEFAULT MAX",
		"4096 131072 6291456", "receive buffer of a TCP socket, in bytes"),
	SYSCTL_AS("net.ipv4.tcp_wmem", tcp_wmem, 3, 4, 1, INT32_MAX, "MIN DEFAULT MAX",
		"4096 16384 4194304", "send buffer of a TCP socket, in bytes"),
	SYSCTL_AS("net.ipv4.tcp_mem", tcp_mem, 3, 4, 0, INT32_MAX, "LOW PRESSURE HIGH", NULL,
		"memory of all TCP sockets, in pages of 4 KiB: above PRESSURE buffers stop growing "
		"until LOW, above HIGH nobody gets more; default 3/8, 1/2 and 3/4 of the host's"),
	SYSCTL_AS("net.ipv4.udp_mem", udp_mem, 3, 4, 0, INT32_MAX, "LOW PRESSURE HIGH", NULL,
		"memory of all UDP sockets: above LOW only sockets below udp_rmem_min get more, above "
		"HIGH nobody; default as tcp_mem"),
	SYSCTL("net.ipv4.", udp_rmem_min, 1, INT32_MAX, "BYTES", "4096",
		"what a UDP socket may have when udp_mem is short"),
	{"net.ipv4.tcp_congestion_control", CONFIG_CHOICE, ONE(sysctl.tcp_congestion_control),
		UNLIMITED, CONGESTION_CONTROLS, "cubic", "congestion control of a new TCP socket"},
	{"net.ipv4.tcp_available_congestion_control", CONFIG_FIXED, NONE, CONGESTION_CONTROLS, NULL,
		"those that are built in; can only be read"},
	{"net.ipv4.tcp_allowed_congestion_control", CONFIG_WORDS,
		ONE(sysctl.tcp_allowed_congestion_control), UNLIMITED, CONGESTION_CONTROLS,
		"reno cubic bbr", "those that TCP_CONGESTION may choose; EPERM for others"},
	SYSCTL("net.ipv4.", tcp_sack, 0, 1, "0|1", "1", "selective acknowledgements (RFC 2018)"),
	SYSCTL("net.ipv4.", tcp_timestamps, 0, 2, "0|1|2", "1",
		"timestamps (RFC 7323): off, on with a random offset, on without"),
	SYSCTL("net.ipv4.", tcp_window_scaling, 0, 1, "0|1", "1", "window scaling (RFC 7323)"),
	SYSCTL("net.ipv4.", tcp_recovery, 0, 7, "0|1", "1",
		"losses found by time (RACK, RFC 8985), or 0: by counting (RFC 6675)"),
	SYSCTL("net.ipv4.", tcp_early_retrans, 0, 4, "0|3", "3",
		"tail loss probes (RFC 8985): 0 none"),
	SYSCTL("net.ipv4.", tcp_frto, 0, 2, "0|1|2", "2", "timeouts that came too early are found (RFC 5682): 0 not"),
	SYSCTL("net.ipv4.", tcp_min_tso_segs, 1, 65535, "COUNT", "2",
		"segments in a super-frame, however slow the connection"),
	SYSCTL("net.ipv4.", tcp_tso_rtt_log, 0, 31, "LOG", "9",
		"round trip, 2^LOG us, with each of which the size of super-frames halves; 0: not"),
	SYSCTL("net.ipv4.", tcp_pacing_ss_ratio, 0, 1000, "PERCENT", "200",
		"pacing rate in slow start, of a window in a round trip"),
	SYSCTL("net.ipv4.", tcp_pacing_ca_ratio, 0, 1000, "PERCENT", "120",
		"pacing rate in congestion avoidance"),
	SYSCTL("net.ipv4.", tcp_mtu_probing, 0, 2, "0|1|2", "0",
		"path MTU found by probing (RFC 4821): never, after timeouts that may be a black hole, always"),
	SYSCTL("net.ipv4.", tcp_base_mss, 48, 65535, "BYTES", "1024",
		"segment with which the search for a path MTU begins"),
	SYSCTL("net.ipv4.", tcp_mtu_probe_floor, 48, 65535, "BYTES", "48",
		"smallest segment that timeouts of a search lead to"),
	SYSCTL("net.ipv4.", tcp_probe_threshold, 0, 65535, "BYTES", "8",
		"the search ends when its bounds are this close"),
	SYSCTL_AS("net.ipv4.tcp_probe_interval", tcp_probe_interval_s, 1, 4, 0, 2147483, "SECONDS", "600",
		"time after which a path MTU is searched for again"),
	SYSCTL_AS("net.ipv4.route.min_pmtu", min_pmtu, 1, 4, 68, 65535, "BYTES", "552",
		"smallest path MTU that is believed (RFC 1191)"),
	SYSCTL_AS("net.ipv4.route.mtu_expires", mtu_expires_s, 1, 4, 1, 2147483, "SECONDS", "600",
		"how long a learnt path MTU is believed"),
	SYSCTL("net.ipv4.", tcp_ecn, 0, 5, "0..5", "2",
		"explicit congestion notification (RFC 3168): never, asked for, when the peer asks for "
		"it; 3, 4, 5: accurate (RFC 9768) asked for, agreed to with RFC 3168 asked for, agreed to"),
	SYSCTL("net.ipv4.", tcp_ecn_fallback, 0, 1, "0|1", "1",
		"a SYN that asked for ECN in vain goes again without"),
	SYSCTL("net.ipv4.", tcp_slow_start_after_idle, 0, 1, "0|1", "1",
		"start slowly again after an idle time"),
	SYSCTL("net.ipv4.", tcp_syn_retries, 1, 127, "COUNT", "6", "retransmissions of a SYN"),
	SYSCTL("net.ipv4.", tcp_synack_retries, 0, 255, "COUNT", "5",
		"retransmissions of a SYN-ACK"),
	SYSCTL("net.ipv4.", tcp_retries1, 0, 255, "COUNT", "3",
		"retransmissions after which the path is doubted"),
	SYSCTL("net.ipv4.", tcp_retries2, 0, 255, "COUNT", "15",
		"retransmissions after which a connection is given up"),
	SYSCTL_AS("net.ipv4.tcp_fin_timeout", tcp_fin_timeout_s, 1, 4, 0, INT32_MAX, "SECONDS",
		"60", "how long an orphaned connection stays in FIN-WAIT-2"),
	SYSCTL_AS("net.ipv4.tcp_keepalive_time", tcp_keepalive_time_s, 1, 4, 1, 2147483, "SECONDS",
		"7200", "idle time before the first keepalive probe"),
	SYSCTL_AS("net.ipv4.tcp_keepalive_intvl", tcp_keepalive_intvl_s, 1, 4, 1, 2147483,
		"SECONDS", "75", "time between keepalive probes"),
	SYSCTL("net.ipv4.", tcp_keepalive_probes, 0, 255, "COUNT", "9",
		"unanswered probes after which a connection is given up"),
	SYSCTL("net.ipv4.", tcp_max_syn_backlog, 1, INT32_MAX, "COUNT", "1024",
		"half-open connections of one listener"),
	SYSCTL("net.ipv4.", tcp_syncookies, 0, 2, "0|1|2", "1",
		"SYN cookies: never, when a listener's queue is full, always"),
	SYSCTL("net.ipv4.", tcp_fastopen, 0, 0x7ff, "BITS", "1",
		"TCP Fast Open: 1 client, 2 server, 4 client without cookie, 512 server without "
		"cookie, 1024 listeners without TCP_FASTOPEN too"),
	SYSCTL_AS("net.ipv4.tcp_fastopen_blackhole_timeout_sec", tcp_fastopen_blackhole_timeout_s,
		1, 4, 0, 2147483, "SECONDS", "0",
		"pause of TCP Fast Open after a path has swallowed what followed such a SYN; 0: "
		"none"),
	{"net.ipv4.tcp_fastopen_key", CONFIG_TFO_KEYS, OFF(sysctl.tcp_fastopen_keys), 33, 1,
		UNLIMITED, "KEY[,KEY]", NULL,
		"what the cookies of TCP Fast Open are made with, and what they were made with "
		"before: four times eight hexadecimal digits, with dashes; all zero: a random one"},
	SYSCTL("net.ipv4.", tcp_no_metrics_save, 0, 1, "0|1", "0",
		"do not remember round-trip times and the like of destinations"),
	SYSCTL("net.ipv4.", tcp_no_ssthresh_metrics_save, 0, 1, "0|1", "1",
		"do not remember slow start thresholds"),
	SYSCTL("net.ipv4.", tcp_abort_on_overflow, 0, 1, "0|1", "0",
		"reset connections that a full backlog can't take"),
	SYSCTL("net.ipv4.", tcp_max_orphans, 0, INT32_MAX, "COUNT", "65536",
		"connections that no program holds any more"),
	SYSCTL("net.ipv4.", tcp_max_tw_buckets, 0, INT32_MAX, "COUNT", "65536",
		"connections in TIME-WAIT"),
	SYSCTL("net.ipv4.", tcp_dsack, 0, 1, "0|1", "1", "duplicates are reported (RFC 2883)"),
	SYSCTL("net.ipv4.", tcp_reordering, 1, 1000, "SEGMENTS", "3",
		"duplicate ACKs that show a loss, until the path is seen to reorder"),
	SYSCTL("net.ipv4.", tcp_max_reordering, 1, 100000, "SEGMENTS", "300",
		"the most that number becomes on a path that reorders"),
	SYSCTL_AS("net.ipv4.tcp_rto_min_us", tcp_rto_min_us, 1, 4, 1, 1000000, "MICROSECONDS",
		"200000", "least retransmission timeout above the round trip"),
	SYSCTL_AS("net.ipv4.tcp_rto_max_ms", tcp_rto_max_ms, 1, 4, 1000, 120000, "MILLISECONDS",
		"120000", "longest retransmission timeout"),
	SYSCTL("net.ipv4.", tcp_thin_linear_timeouts, 0, 1, "0|1", "0",
		"up to six timeouts of a stream of few segments are not doubled"),
	SYSCTL("net.ipv4.", tcp_syn_linear_timeouts, 0, 127, "COUNT", "0",
		"timeouts of a SYN that are not doubled; mainline has 4, RFC 6298 5.5 none"),
	SYSCTL("net.ipv4.", tcp_orphan_retries, 0, 255, "COUNT", "0",
		"retransmissions after which an orphan is given up; 0: 8"),
	SYSCTL("net.ipv4.", tcp_notsent_lowat, 0, UINT32_MAX, "BYTES", "4294967295",
		"a socket is writable with less than this not yet sent"),
	SYSCTL("net.ipv4.", tcp_moderate_rcvbuf, 0, 1, "0|1", "1",
		"receive buffers grow with the path, up to tcp_rmem's MAX"),
	SYSCTL_AS("net.ipv4.tcp_invalid_ratelimit", tcp_invalid_ratelimit_ms, 1, 4, 0, INT32_MAX,
		"MILLISECONDS", "500",
		"shortest time between ACKs of one connection to what is not valid, challenges "
		"included; 0 no limit"),
	SYSCTL("net.ipv4.", tcp_challenge_ack_limit, 0, INT32_MAX, "COUNT", "2147483647",
		"challenge ACKs of the whole host in a second; a limit can be watched from "
		"outside"),
	SYSCTL("net.ipv4.", tcp_rfc1337, 0, 1, "0|1", "1",
		"a RST does not end TIME-WAIT (RFC 1337); mainline has 0"),
	SYSCTL("net.ipv4.", tcp_tw_reuse, 0, 2, "0|1|2", "2",
		"connect may take the port of a connection in TIME-WAIT (RFC 6191): never, always, "
		"on the loopback"),
	SYSCTL_AS("net.ipv4.tcp_tw_reuse_delay", tcp_tw_reuse_delay_ms, 1, 4, 0, 60000,
		"MILLISECONDS", "1000", "how long after its last segment"),
	SYSCTL("net.ipv4.", tcp_stdurg, 0, 1, "0|1", "0",
		"the urgent pointer names the byte itself (RFC 1122), not the one behind"),
	SYSCTL("net.ipv4.", tcp_reflect_tos, 0, 1, "0|1", "0",
		"connections have the DSCP of the peer's SYN"),
	SYSCTL("net.ipv4.", tcp_workaround_signed_windows, 0, 1, "0|1", "0",
		"windows that do not scale are below 32768"),
	SYSCTL("net.ipv4.", ip_nonlocal_bind, 0, 1, "0|1", "0",
		"bind takes addresses that are not the host's"),
	SYSCTL("net.core.", somaxconn, 0, INT32_MAX, "COUNT", "4096",
		"the longest backlog of listen(2)"),
	SYSCTL("net.core.", rmem_default, 2304, INT32_MAX, "BYTES", "212992",
		"receive buffer of sockets other than TCP"),
	SYSCTL("net.core.", rmem_max, 2304, INT32_MAX, "BYTES", "212992",
		"the most SO_RCVBUF may ask for"),
	SYSCTL("net.core.", wmem_default, 4608, INT32_MAX, "BYTES", "212992",
		"send buffer of sockets other than TCP"),
	SYSCTL("net.core.", wmem_max, 4608, INT32_MAX, "BYTES", "212992",
		"the most SO_SNDBUF may ask for"),
	SYSCTL_AS("net.ipv4.ip_local_port_range", port_low, 2, 2, 1, 65535, "LOW HIGH",
		"32768 60999", "ports given to sockets that did not bind one"),
	{"net.ipv4.ip_local_reserved_ports", CONFIG_PORTS, OFF(sysctl.reserved_ports),
		STACK_PORT_RANGES, 4, UNLIMITED, "PORT[-PORT],...", NULL,
		"ports of that range that are given only to who binds them by number"},
	SYSCTL("net.ipv4.", ip_default_ttl, 1, 255, "HOPS", "64", "TTL of packets sent"),
	SYSCTL_AS("net.ipv4.ipfrag_time", ipfrag_time_s, 1, 4, 1, 2147483, "SECONDS", "30",
		"how long fragments wait for the rest"),
	SYSCTL("net.ipv4.", ipfrag_high_thresh, 0, INT32_MAX, "BYTES", "4194304",
		"memory for incomplete datagrams"),
	SYSCTL_AS("net.ipv4.icmp_ratelimit", icmp_ratelimit_ms, 1, 4, 0, INT32_MAX, "MILLISECONDS",
		"1000", "shortest time between ICMP errors to one host"),
	SYSCTL("net.ipv4.", icmp_echo_ignore_all, 0, 1, "0|1", "0", "leave pings unanswered"),
	SYSCTL("net.ipv4.", icmp_echo_ignore_broadcasts, 0, 1, "0|1", "1",
		"leave broadcast pings unanswered"),
	SYSCTL_AS("net.ipv4.neigh.default.gc_thresh3", arp_table_max, 1, 4, 1, INT32_MAX, "COUNT",
		"1024", "neighbours remembered at most"),
	SYSCTL_AS("net.ipv4.neigh.default.unres_qlen", arp_queue_max, 1, 4, 0, INT32_MAX, "PACKETS",
		"101", "packets that wait for one neighbour's address"),
};

const u32 config_key_count = ARRAY_LEN(config_keys);

_Static_assert(ARRAY_LEN(config_keys) <= CONFIG_KEYS_MAX,
	"struct config has a source and line for each key");
_Static_assert(
	offsetof(struct stack_tunables, port_high) == offsetof(struct stack_tunables, port_low) + 2,
	"ip_local_port_range stores both");
