/* For resolve*.c only: what the public functions are made of. */
#ifndef PRELOAD_RESOLVE_INTERNAL_H
#define PRELOAD_RESOLVE_INTERNAL_H

#include "preload/config.h"
#include "preload/resolve.h"

#define RESOLVE_SERVERS 8
#define RESOLVE_DOMAINS 16
#define RESOLVE_NAME	1025 /* NI_MAXHOST: any name in text, with its NUL */
#define RESOLVE_ADDRS	256  /* addresses kept of one name */
#define RESOLVE_ALIASES 16

/* --- resolve_conf.c: whom to ask, and how names are completed --- */

struct resolve_server {
	struct in_addr addr;
	u16 port;
	bool kernel; /* a loopback address of resolv.conf: asked through the kernel */
};

struct resolve_conf {
	struct resolve_server server[RESOLVE_SERVERS];
	u32 servers;
	char domain[RESOLVE_DOMAINS][256];
	u32 domains;
	u32 ndots;
	u32 timeout_ms, tries;
	bool rotate, tcp;
};

/* From the configuration, resolv.conf and RES_OPTIONS and LOCALDOMAIN of the environment. */
void resolve_conf_load(struct resolve_conf *conf);
/* The same from text of resolv.conf's form; conf keeps what the text does not say. */
void resolve_conf_parse(struct resolve_conf *conf, char *text);
void resolve_conf_init(struct resolve_conf *conf);
/* Takes over what a program has set in its own resolver state. */
void resolve_conf_state(struct resolve_conf *conf, res_state state);

/* Reads a whole file, with a NUL behind it, into memory that the caller frees. NULL when it can't
 * be read or is over 16 MiB. */
char *resolve_conf_file(const char *path);

/* A name's addresses, or an address's names. */
struct resolve_names {
	char name[RESOLVE_NAME]; /* canonical */
	char alias[RESOLVE_ALIASES][256];
	u32 aliases;
	struct in_addr addr[RESOLVE_ADDRS];
	u32 addrs;
};

void resolve_names_alias(struct resolve_names *out, const char *alias);

/* --- resolve_dns.c: questions --- */

/* A resolver error is one of netdb.h's: HOST_NOT_FOUND, NO_DATA, TRY_AGAIN, NO_RECOVERY,
 * NETDB_INTERNAL (with errno). */

struct resolve_answer {
	u8 *data; /* from malloc; NULL when there is none */
	int len;
};

/* Sends one query as it is. 0, or an errno with no answer. */
int resolve_dns_send(
	const struct resolve_conf *conf, const u8 *query, int len, struct resolve_answer *answer);
/* Asks for one complete name. 0 when there are records, else a resolver error; the answer may be
 * there in both cases. */
int resolve_dns_query(const struct resolve_conf *conf, const char *name, int class, int type,
	struct resolve_answer *answer);
/*
 * Reads the A or PTR records that belong to name, through its CNAMEs: canonical name, aliases and
 * addresses, or names. 0 or a resolver error.
 */
int resolve_dns_read(const struct resolve_answer *answer, int type, struct resolve_names *out);
/* Tries the name as it is and in the search domains, in the order that ndots asks for. */
int resolve_dns_search(const struct resolve_conf *conf, const char *name, int class, int type,
	u_long options, struct resolve_answer *answer);

/* --- resolve_hosts.c, resolve_names.c: what is known of a name --- */

/* From /etc/hosts. True when found. */
bool resolve_hosts_name(const char *name, struct resolve_names *out);
bool resolve_hosts_addr(const struct addr *addr, struct resolve_names *out);
/* The same from text, which is changed. */
bool resolve_hosts_parse_name(char *text, const char *name, struct resolve_names *out);
bool resolve_hosts_parse_addr(char *text, const struct addr *addr, struct resolve_names *out);

/* The IPv4 addresses of a name: /etc/hosts, then DNS. 0 or a resolver error. */
int resolve_names_forward(const char *name, struct resolve_names *out);
/* The names of an address. 0 or a resolver error. */
int resolve_names_reverse(const struct addr *addr, struct resolve_names *out);

#endif
