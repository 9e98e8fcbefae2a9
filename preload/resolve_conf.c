/*
 * Which name servers to ask, and how: the configuration's `dns` list, else resolv.conf(5), with the
 * options of that file, of RES_OPTIONS and LOCALDOMAIN. Read anew at each use: it is a page at
 * most, and DHCP clients rewrite it.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload/raw.h"
#include "preload/resolve_internal.h"

#define DNS_PORT 53
#define FILE_MAX (16u << 20)
#define BLANKS	 " \t\r"

char *resolve_conf_file(const char *path)
{
	size_t room = 4096, have = 0;
	char *text = NULL;
	int fd = raw_open(path, O_RDONLY | O_CLOEXEC, 0);
	ssize_t n = -EIO;

	if (fd < 0)
		return NULL;
	for (;; have += (size_t)n) {
		if (!text || have + 1 == room) {
			char *more = room > FILE_MAX ? NULL : realloc(text, room *= 2);

			if (!more)
				break;
			text = more;
		}
		n = raw_read(fd, text + have, room - 1 - have);
		if (n == -EINTR)
			n = 0;
		else if (n <= 0)
			break;
	}
	raw_close(fd);
	if (n) {
		free(text);
		return NULL;
	}
	text[have] = 0;
	return text;
}

static u32 number(const char *text, u32 max)
{
	unsigned long n = strtoul(text, NULL, 10);

	return n > max ? max : (u32)n;
}

static void parse_option(struct resolve_conf *conf, const char *word)
{
	if (!strncmp(word, "ndots:", 6))
		conf->ndots = number(word + 6, RES_MAXNDOTS);
	else if (!strncmp(word, "timeout:", 8))
		conf->timeout_ms = MAX(number(word + 8, RES_MAXRETRANS), 1u) * 1000;
	else if (!strncmp(word, "attempts:", 9))
		conf->tries = MAX(number(word + 9, RES_MAXRETRY), 1u);
	else if (!strcmp(word, "rotate"))
		conf->rotate = true;
	else if (!strcmp(word, "use-vc"))
		conf->tcp = true;
}

static void parse_options(struct resolve_conf *conf, char *words)
{
	char *save, *word;

	for (word = strtok_r(words, BLANKS, &save); word; word = strtok_r(NULL, BLANKS, &save))
		parse_option(conf, word);
}

static void parse_domains(struct resolve_conf *conf, char *words, u32 most)
{
	char *save, *word;

	conf->domains = 0;
	for (word = strtok_r(words, BLANKS, &save); word && conf->domains < most;
		word = strtok_r(NULL, BLANKS, &save))
		if (strlen(word) < sizeof(conf->domain[0]))
			strcpy(conf->domain[conf->domains++], word);
}

static void add_server(struct resolve_conf *conf, struct in_addr addr, u16 port)
{
	struct resolve_server *server = &conf->server[conf->servers];

	if (conf->servers == RESOLVE_SERVERS)
		return;
	server->addr = addr;
	server->port = port ? port : DNS_PORT;
	server->kernel = ntohl(addr.s_addr) >> 24 == 127;
	conf->servers++;
}

/* resolv.conf(5): the keyword stands at the line's start; at most three servers count. */
static void parse_line(struct resolve_conf *conf, char *line, u32 *servers)
{
	size_t n = strcspn(line, BLANKS);
	char *value = line + n + strspn(line + n, BLANKS), *end;
	struct in_addr addr;

	if (!n || !*value || *line == '#' || *line == ';')
		return;
	line[n] = 0;
	if (!strcmp(line, "nameserver")) {
		end = value + strcspn(value, BLANKS);
		*end = 0;
		if ((*servers)++ < MAXNS && inet_aton(value, &addr))
			add_server(conf, addr, 0);
	} else if (!strcmp(line, "domain")) {
		parse_domains(conf, value, 1);
	} else if (!strcmp(line, "search")) {
		parse_domains(conf, value, RESOLVE_DOMAINS);
	} else if (!strcmp(line, "options")) {
		parse_options(conf, value);
	}
}

void resolve_conf_init(struct resolve_conf *conf)
{
	*conf = (struct resolve_conf){.ndots = 1, .timeout_ms = 5000, .tries = 2};
}

void resolve_conf_parse(struct resolve_conf *conf, char *text)
{
	u32 servers = 0;
	char *save, *line;

	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		parse_line(conf, line, &servers);
}

/* Without a search list, names are completed with the domain part of the host's own name. */
static void default_domain(struct resolve_conf *conf)
{
	char host[HOST_NAME_MAX + 1], *dot;

	if (conf->domains || gethostname(host, sizeof(host) - 1))
		return;
	host[sizeof(host) - 1] = 0;
	dot = strchr(host, '.');
	if (dot && dot[1])
		strcpy(conf->domain[conf->domains++], dot + 1);
}

/* A copy of a variable that may be taken apart, or "" . */
static char *variable(const char *name, char *buf, size_t size)
{
	const char *value = getenv(name);

	if (!value || strlen(value) >= size)
		value = "";
	return strcpy(buf, value);
}

void resolve_conf_load(struct resolve_conf *conf)
{
	const struct config_list *dns = &config_get()->config.dns;
	char *text = resolve_conf_file("/etc/resolv.conf");
	char buf[1024];

	resolve_conf_init(conf);
	if (text)
		resolve_conf_parse(conf, text);
	free(text);
	if (*variable("LOCALDOMAIN", buf, sizeof(buf)))
		parse_domains(conf, buf, RESOLVE_DOMAINS);
	parse_options(conf, variable("RES_OPTIONS", buf, sizeof(buf)));
	default_domain(conf);
	if (dns->count) {
		conf->servers = 0;
		for (u32 i = 0; i < dns->count; i++) {
			add_server(conf, (struct in_addr){htonl(addr_get4(&dns->item[i].addr))},
				dns->item[i].port);
			/* The configuration means the stack's own loopback, unless it says
			 * otherwise. */
			conf->server[i].kernel = false;
		}
	} else if (!conf->servers) {
		add_server(conf, (struct in_addr){htonl(INADDR_LOOPBACK)}, 0);
	}
}

void resolve_conf_state(struct resolve_conf *conf, res_state state)
{
	struct resolve_conf file;
	u32 servers = 0;
	bool same = true;
	char *text;

	conf->ndots = state->ndots;
	conf->tcp = state->options & RES_USEVC;
	resolve_conf_init(&file);
	text = resolve_conf_file("/etc/resolv.conf");
	if (text)
		resolve_conf_parse(&file, text);
	free(text);
	for (int i = 0; i < state->nscount && i < MAXNS; i++) {
		const struct sockaddr_in *own = &state->nsaddr_list[i];

		if (own->sin_family != AF_INET)
			continue;
		same = same && servers < file.servers &&
		       own->sin_addr.s_addr == file.server[servers].addr.s_addr &&
		       ntohs(own->sin_port) == file.server[servers].port;
		servers++;
	}
	if (same || !servers)
		return;
	/* The program has put in servers of its own choice. */
	conf->servers = 0;
	for (int i = 0; i < state->nscount && i < MAXNS; i++)
		if (state->nsaddr_list[i].sin_family == AF_INET)
			add_server(conf, state->nsaddr_list[i].sin_addr,
				ntohs(state->nsaddr_list[i].sin_port));
}
