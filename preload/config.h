/*
 * What the user asked for. Three sources, the later one winning key by key: an ini file, USTACK_*
 * environment variables, the command line of `ustack run` (which sets the variables). One const
 * table, config_keys, names every key for all three and carries its default and its help. struct
 * config is plain data without pointers: it is copied into the region.
 *
 * Nothing here allocates or uses stdio: it runs inside any program, at its first internet socket.
 */
#ifndef PRELOAD_CONFIG_H
#define PRELOAD_CONFIG_H

#include <sys/socket.h>

#include "stack/stack.h"

#define CONFIG_LIST_MAX	  32
#define CONFIG_TEXT_MAX	  256 /* strings, with their NUL */
#define CONFIG_DEVICE_MAX 128
#define CONFIG_KEYS_MAX	  192
#define CONFIG_WHY_MAX	  512 /* room for any message */

/* An address, a network or a rule: which parts mean something is the key's affair. */
struct config_ip {
	struct addr addr; /* family 0: any address (rules), or nothing here */
	u16 port;	  /* host order, 0 any or the usual one */
	u8 prefix_len;	  /* in bits of its family */
};

struct config_list {
	u32 count;
	struct config_ip item[CONFIG_LIST_MAX];
};

struct config_route {
	struct config_ip dest;
	struct config_ip via; /* addr.family 0: on the link */
};

struct config_routes {
	u32 count;
	struct config_route item[CONFIG_LIST_MAX];
};

enum config_fallback { CONFIG_FALLBACK_NONE, CONFIG_FALLBACK_KERNEL };
enum config_loopback { CONFIG_LOOPBACK_STACK, CONFIG_LOOPBACK_KERNEL };
enum config_source { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_COMMAND_LINE };

struct config {
	char device[CONFIG_DEVICE_MAX];
	struct config_list address;
	struct config_list gateway; /* at most one a family */
	struct config_routes route;
	struct config_list dns; /* empty: those of resolv.conf */
	u8 mac[6];		/* zero: the device's choice */
	u32 mtu;		/* 0: the device's */
	char name[CONFIG_DEVICE_MAX];
	struct config_list bypass;
	u32 fallback; /* enum config_fallback */
	u32 loopback; /* enum config_loopback */
	u32 spin_us;
	u32 follow_exec;
	u32 off;
	u8 log[LOG_AREAS]; /* enum log_level, by enum log_area */
	char log_file[CONFIG_TEXT_MAX];
	char pcap[CONFIG_TEXT_MAX];
	char pcap_filter[CONFIG_TEXT_MAX];
	struct stack_tunables sysctl;

	char file[CONFIG_TEXT_MAX]; /* the ini file that was read, or empty */
	u8 source[CONFIG_KEYS_MAX]; /* enum config_source, by the key's index */
	u16 line[CONFIG_KEYS_MAX];  /* in the file, where source is CONFIG_FILE */
};

enum config_type {
	CONFIG_STRING,
	CONFIG_NUMBER, /* size numbers, each from min to max */
	CONFIG_BOOL,   /* 0 or 1 */
	CONFIG_CHOICE, /* index of the word in form */
	CONFIG_MAC,
	CONFIG_SIGNED,	  /* as CONFIG_NUMBER; min and max are signed */
	CONFIG_WORDS,	  /* any of the words in form, separated by blanks: a bit each */
	CONFIG_TFO_KEYS,  /* one or two keys of 16 bytes, as tcp_fastopen_key has them */
	CONFIG_PORTS,	  /* ports and ranges of ports, separated by commas */
	CONFIG_FIXED,	  /* the words in form, which can't be set */
	CONFIG_LOG,	  /* PROTOCOL[:LEVEL],... */
	CONFIG_ADDRESSES, /* our own: an address with its prefix length */
	CONFIG_HOSTS,	  /* others': an address */
	CONFIG_SERVERS,	  /* an address, optionally with a port */
	CONFIG_RULES,	  /* a network, an address or *, optionally with a port */
	CONFIG_ROUTES,	  /* NETWORK [via ADDRESS] */
	CONFIG_PATH,	  /* `config`: read ahead of everything else */
	CONFIG_SYSCTLS,	  /* NAME=VALUE of the keys with a dot in their name */
};

/*
 * One key. In the file it is `name = value`, on the command line --name value (with - for _), in
 * the environment USTACK_NAME; a sysctl (its name has a dot) is set in the file by its name,
 * elsewhere by the key `sysctl`.
 */
struct config_key {
	const char *name;
	u8 type;	     /* enum config_type */
	u16 offset;	     /* of its member in struct config */
	u16 size;	     /* bytes of a string, entries of a list, count of numbers */
	u8 width;	     /* bytes of a number in its struct */
	u32 min, max;	     /* of a number */
	const char *form;    /* how a value looks, for help */
	const char *initial; /* the default as a value, or NULL */
	const char *help;
};

extern const struct config_key config_keys[];
extern const u32 config_key_count;

/* The key called name (length bytes; - counts as _), or NULL. */
const struct config_key *config_find(const char *name, size_t length);

/*
 * Sets key from a value that ends with NUL. A list takes entries separated by commas or semicolons
 * and is replaced when a source first names it, extended when the same source names it again;
 * `none` empties it. Returns 0 or -EINVAL with one sentence that begins with the key's name in why.
 */
int config_set(struct config *config, const struct config_key *key, const char *value,
	enum config_source source, char *why, size_t why_size);

void config_defaults(struct config *config);

/* --- config_text.c: the tunables as sysctl(8) shows them --- */

/* Is it a tunable: a key whose value is a member of `sysctl`? */
bool config_is_tunable(const struct config_key *key);

/* The tunable of that name, which may have slashes for dots and lack parts in front (`tcp_sack`),
 * or NULL. */
const struct config_key *config_find_tunable(const char *name);

/* A tunable's value as the kernel's file shows it, cut off at size. */
void config_text(
	const struct config *config, const struct config_key *key, char *text, size_t size);

/*
 * Defaults, then the file, then the variables of env (an environ; NULL reads as empty), then
 * config_finish. The file is that of USTACK_CONFIG (which must exist), else the first there is of
 * $XDG_CONFIG_HOME/ustack.ini, $HOME/.config/ustack.ini and /etc/ustack.ini. Variables that begin
 * with USTACK__ are the library's own and not read. Returns 0 or a negative errno with one sentence
 * for the user that names file and line, or the variable.
 */
int config_load(struct config *config, char *const *env, char *why, size_t why_size);

/*
 * Derives what depends on other keys (gateway, name) and checks keys against each other.
 * config_load has done it; a caller that sets keys afterwards does it again.
 */
int config_finish(struct config *config, char *why, size_t why_size);

/* The configuration of this process. */
struct config_loaded {
	struct config config;
	int error; /* of config_load; the config then holds the defaults, and fallback and off as
		      the environment has them */
	char why[CONFIG_WHY_MAX];
};

/*
 * Loads it from environ (and from what the program was started with) at the first call and gives
 * the same one ever after, in every thread. Never NULL; usable in signal handlers and after fork
 * (no lock, no allocation but its own mapping).
 */
const struct config_loaded *config_get(void);

/* Is any protocol to be logged? */
bool config_logs(const struct config *config);

/* Writes USTACK_NAME of a key, with its NUL. */
void config_variable(const struct config_key *key, char *out, size_t size);

/* Does a bypass rule, or `loopback = kernel`, send this address to the kernel? */
bool config_bypasses(const struct config *config, const struct sockaddr *addr, socklen_t len);

#endif
