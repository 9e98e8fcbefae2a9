/*
 * The configuration's sources: defaults, ini file, environment.
 *
 * They are applied in rising precedence, each key remembering who set it, so that a list is
 * replaced by a stronger source and extended within one. The file (64 KiB at most) is read into
 * anonymous memory, as a mapping of it would fault when it is cut short meanwhile; a line is `name
 * = value`, blank, or a comment that begins with # or ;.
 */
#include "preload/config.h"

#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "preload/config_value.h"
#include "preload/exec.h"
#include "preload/raw.h"

#define FILE_MAX    65536
#define PREFIX	    "USTACK_"
#define PREFIX_LEN  7
#define SYSTEM_FILE "/etc/ustack.ini"
#define VALUE_MAX   2048

static struct config_why begin(char *text, size_t size)
{
	struct config_why why = {text, size};

	config_cut(&why, 0);
	return why;
}

const struct config_key *config_find(const char *name, size_t length)
{
	for (u32 i = 0; i < config_key_count; i++) {
		const char *have = config_keys[i].name;
		size_t n = 0;

		while (n < length && have[n] &&
			(have[n] == name[n] || (have[n] == '_' && name[n] == '-')))
			n++;
		if (n == length && !have[n])
			return &config_keys[i];
	}
	return NULL;
}

void config_variable(const struct config_key *key, char *out, size_t size)
{
	const char *name = config_is_tunable(key) ? "sysctl" : key->name;
	size_t n = 0;

	for (; n + 1 < size && n < PREFIX_LEN; n++)
		out[n] = PREFIX[n];
	for (; n + 1 < size && *name; n++, name++)
		out[n] = *name >= 'a' && *name <= 'z' ? (char)(*name - 32) : *name;
	if (size)
		out[n] = 0;
}

/* NAME=VALUE,... of the key `sysctl`. */
static int set_sysctls(
	struct config *config, const char *value, enum config_source source, struct config_why *why)
{
	char text[VALUE_MAX], *entry = text, *end, *equals, *name_end, *number;
	size_t have = why->size ? strlen(why->text) : 0;
	const struct config_key *key;

	if (strlen(value) >= sizeof(text))
		return config_say(why, "too long", NULL);
	memcpy(text, value, strlen(value) + 1);
	for (; entry; entry = end) {
		end = entry + strcspn(entry, ",;");
		end = *end ? (*end = 0, end + 1) : NULL;
		while (config_blank(*entry))
			entry++;
		if (!*entry && !end)
			return 0;
		equals = strchr(entry, '=');
		if (!equals)
			return config_say(why, "'", entry, "' is not NAME=VALUE", NULL);
		for (name_end = equals; name_end > entry && config_blank(name_end[-1]); name_end--)
			;
		key = config_find(entry, (size_t)(name_end - entry));
		*name_end = 0;
		if (!key || !config_is_tunable(key))
			return config_say(why, "'", entry, "' is no tunable of the stack", NULL);
		for (number = equals + 1; config_blank(*number); number++)
			;
		for (char *tail = number + strlen(number); tail > number && config_blank(tail[-1]);)
			*--tail = 0;
		config_say(why, key->name, ": ", NULL);
		if (config_value(config, key, number, false, why))
			return -EINVAL;
		config_cut(why, have);
		config->source[key - config_keys] = (u8)source;
	}
	return 0;
}

static int set(struct config *config, const struct config_key *key, const char *value,
	enum config_source source, struct config_why *why)
{
	u32 index = (u32)(key - config_keys);
	int ret;

	config_say(why, key->name, ": ", NULL);
	if (!*value)
		return config_say(why, "has no value", NULL);
	ret = key->type == CONFIG_SYSCTLS
		      ? set_sysctls(config, value, source, why)
		      : config_value(config, key, value,
				source != CONFIG_DEFAULT && config->source[index] == source, why);
	if (ret)
		return ret;
	config->source[index] = (u8)source;
	return 0;
}

int config_set(struct config *config, const struct config_key *key, const char *value,
	enum config_source source, char *why, size_t why_size)
{
	struct config_why reason = begin(why, why_size);
	int ret = set(config, key, value, source, &reason);

	if (!ret)
		begin(why, why_size);
	return ret;
}

void config_defaults(struct config *config)
{
	struct config_why nowhere = {NULL, 0};

	memset(config, 0, sizeof(*config));
	for (u32 i = 0; i < config_key_count; i++)
		if (config_keys[i].initial)
			set(config, &config_keys[i], config_keys[i].initial, CONFIG_DEFAULT,
				&nowhere);
}

bool config_logs(const struct config *config)
{
	u8 any = 0;

	for (u32 i = 0; i < LOG_AREAS; i++)
		any |= config->log[i];
	return any;
}

/* The value of a variable, or NULL when it is unset or empty. */
static const char *variable(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (!strncmp(*env, name, n) && (*env)[n] == '=')
			return (*env)[n + 1] ? *env + n + 1 : NULL;
	return NULL;
}

/* FILE:LINE: begins a message about the file. */
static int complain(struct config *config, u32 line, const char *message, struct config_why *why)
{
	char text[12];

	config_cut(why, 0);
	return config_say(why, config->file, ":", config_decimal(text, line), ": ", message, NULL);
}

/* One line of the file, terminated by NUL. */
static int read_line(struct config *config, char *line, u32 number, struct config_why *why)
{
	char reason[CONFIG_WHY_MAX] = "";
	struct config_why inner = {reason, sizeof(reason)};
	const struct config_key *key;
	char *equals, *end, *value;
	u32 index;

	while (config_blank(*line))
		line++;
	for (end = line + strlen(line); end > line && config_blank(end[-1]);)
		*--end = 0;
	if (!*line || *line == '#' || *line == ';')
		return 0;
	equals = strchr(line, '=');
	if (!equals) {
		config_say(&inner, "'", line, "' is not `name = value`", NULL);
		return complain(config, number, reason, why);
	}
	for (value = equals + 1; config_blank(*value); value++)
		;
	for (end = equals; end > line && config_blank(end[-1]); end--)
		;
	*end = 0;
	key = config_find(line, (size_t)(end - line));
	if (!key || key->type == CONFIG_PATH) {
		config_say(&inner, "unknown key '", line, "'", NULL);
		return complain(config, number, reason, why);
	}
	index = (u32)(key - config_keys);
	if (config->source[index] == CONFIG_FILE && key->type < CONFIG_ADDRESSES) {
		config_say(&inner, key->name, ": set before, at line ",
			config_decimal((char[12]){0}, config->line[index]), NULL);
		return complain(config, number, reason, why);
	}
	if (set(config, key, value, CONFIG_FILE, &inner))
		return complain(config, number, reason, why);
	config->line[index] = (u16)number;
	return 0;
}

static int read_lines(struct config *config, char *text, size_t size, struct config_why *why)
{
	u32 number = 1;

	for (char *line = text; line < text + size; number++) {
		char *end = memchr(line, '\n', (size_t)(text + size - line));

		if (!end)
			end = text + size; /* the buffer has room for one more */
		*end = 0;
		if (strlen(line) != (size_t)(end - line))
			return complain(
				config, number, "a NUL character: this is no text file", why);
		if (read_line(config, line, number, why))
			return -EINVAL;
		line = end + 1;
	}
	return 0;
}

static int read_descriptor(struct config *config, int fd, char *text, struct config_why *why)
{
	size_t have = 0;
	ssize_t n;

	while (have <= FILE_MAX && (n = raw_read(fd, text + have, FILE_MAX + 1 - have)) != 0) {
		if (n == -EINTR)
			continue;
		if (n < 0) {
			config_say(why, config->file, ": can't be read", NULL);
			return (int)n;
		}
		have += (size_t)n;
	}
	if (have > FILE_MAX)
		return config_say(why, config->file, ": longer than 64 KiB", NULL);
	return read_lines(config, text, have, why);
}

/* Reads the file named by directory and name. Returns 1 when there is none and it need not be. */
static int read_file(struct config *config, const char *directory, const char *name, bool must_be,
	struct config_why *why)
{
	struct config_why path = {config->file, sizeof(config->file)};
	long text;
	int fd, ret;

	config->file[0] = 0;
	config_say(&path, directory, name, NULL);
	if (strlen(directory) + strlen(name) >= sizeof(config->file))
		return must_be ? config_say(why, PREFIX "CONFIG: the path is too long", NULL) : 1;
	fd = raw_open(config->file, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
	if (fd < 0 && !must_be && (fd == -ENOENT || fd == -ENOTDIR || fd == -EACCES))
		return config->file[0] = 0, 1;
	if (fd < 0) {
		config_say(why, config->file, ": can't be opened",
			fd == -ENOENT ? ": there is no such file" : "", NULL);
		return fd;
	}
	text = raw_mmap(
		NULL, FILE_MAX + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (raw_failed(text)) {
		raw_close(fd);
		config_say(why, config->file, ": no memory to read it", NULL);
		return (int)text;
	}
	ret = read_descriptor(config, fd, (char *)text, why);
	raw_munmap((void *)text, FILE_MAX + 1);
	raw_close(fd);
	return ret;
}

static int load_file(struct config *config, char *const *env, struct config_why *why)
{
	const char *path = variable(env, PREFIX "CONFIG");
	const char *directory = variable(env, "XDG_CONFIG_HOME");
	const char *home = variable(env, "HOME");
	int ret = 1;

	if (path)
		return read_file(config, path, "", true, why);
	if (directory)
		ret = read_file(config, directory, "/ustack.ini", false, why);
	else if (home)
		ret = read_file(config, home, "/.config/ustack.ini", false, why);
	if (ret == 1)
		ret = read_file(config, SYSTEM_FILE, "", false, why);
	return MIN(ret, 0);
}

/* One variable, if it is one of ours. */
static int load_variable(struct config *config, const char *variable_text, struct config_why *why)
{
	const char *equals = strchr(variable_text, '=');
	char name[64], value[VALUE_MAX];
	const struct config_key *key;
	size_t n, len;

	if (strncmp(variable_text, PREFIX, PREFIX_LEN) || variable_text[PREFIX_LEN] == '_' ||
		!equals)
		return 0;
	n = (size_t)(equals - variable_text);
	if (n >= sizeof(name))
		return config_say(
			why, "a variable that begins with " PREFIX " is none of the stack's", NULL);
	for (size_t i = 0; i < n; i++) {
		name[i] = variable_text[i];
		if (i >= PREFIX_LEN && name[i] >= 'A' && name[i] <= 'Z')
			name[i] = (char)(name[i] + 32);
		else if (i >= PREFIX_LEN && (name[i] < '0' || name[i] > '9') && name[i] != '_')
			name[i] = '\n'; /* in no key's name */
	}
	key = config_find(name + PREFIX_LEN, n - PREFIX_LEN);
	memcpy(name, variable_text, n);
	name[n] = 0;
	if (!key)
		return config_say(why, name, ": the stack has no such key", NULL);
	for (variable_text = equals + 1; config_blank(*variable_text); variable_text++)
		;
	for (len = strlen(variable_text); len && config_blank(variable_text[len - 1]);)
		len--;
	config_say(why, name, ": ", NULL);
	if (len >= sizeof(value))
		return config_say(why, "too long", NULL);
	memcpy(value, variable_text, len);
	value[len] = 0;
	if (len && key->type != CONFIG_PATH && set(config, key, value, CONFIG_ENVIRONMENT, why))
		return -EINVAL;
	config_cut(why, 0);
	return 0;
}

/* Says where key was set, for a message about a value that contradicts another. */
static void locate(
	const struct config *config, const struct config_key *key, struct config_why *why)
{
	u32 index = (u32)(key - config_keys);
	char text[64];

	if (config->source[index] == CONFIG_FILE) {
		config_say(why, config->file, ":", config_decimal(text, config->line[index]), ": ",
			NULL);
	} else if (config->source[index] == CONFIG_ENVIRONMENT) {
		config_variable(key, text, sizeof(text));
		config_say(why, text, ": ", NULL);
	}
	config_say(why, key->name, ": ", NULL);
}

static bool on_link(const struct config *config, const struct config_ip *ip)
{
	for (u32 i = 0; i < config->address.count; i++)
		if (config_contains(&config->address.item[i], &ip->addr))
			return true;
	for (u32 i = 0; i < config->route.count; i++)
		if (!config->route.item[i].via.addr.family &&
			config_contains(&config->route.item[i].dest, &ip->addr))
			return true;
	return false;
}

/* The first address of the first network, unless it is our own or the network has none to spare. */
static void default_gateway(struct config *config)
{
	const struct config_ip *own = &config->address.item[0];
	struct addr first;

	config->gateway.count = 0;
	if (own->addr.family != FAMILY_INET || own->prefix_len > 30)
		return;
	first = addr_v4((addr_get4(&own->addr) & ~(UINT32_MAX >> own->prefix_len)) | 1);
	for (u32 i = 0; i < config->address.count; i++)
		if (addr_equal(&config->address.item[i].addr, &first))
			return;
	config->gateway.item[config->gateway.count++] =
		(struct config_ip){.addr = first, .prefix_len = 32};
}

int config_finish(struct config *config, char *why, size_t why_size)
{
	static const char no_network[] = "a gateway is in no network that the stack is on";
	const struct config_key *gateway = config_find("gateway", 7),
				*route = config_find("route", 5);
	const struct config_key *name = config_find("name", 4),
				*address = config_find("address", 7);
	struct config_why reason = begin(why, why_size);
	bool tap = !strncmp(config->device, "tap:", 4);

	if (config->source[name - config_keys] == CONFIG_DEFAULT)
		memmove(config->name, config->device + (tap ? 4 : 0),
			sizeof(config->name) - (tap ? 4 : 0));
	if (!config->address.count) {
		locate(config, address, &reason);
		return config_say(&reason, "the stack needs one", NULL);
	}
	if (config->source[gateway - config_keys] == CONFIG_DEFAULT)
		default_gateway(config);
	for (u32 i = 0; i < config->gateway.count; i++)
		if (!on_link(config, &config->gateway.item[i])) {
			locate(config, gateway, &reason);
			return config_say(&reason, no_network, NULL);
		}
	if (config->gateway.count > 1 &&
		config->gateway.item[0].addr.family == config->gateway.item[1].addr.family) {
		locate(config, gateway, &reason);
		return config_say(&reason, "more than one of a family", NULL);
	}
	for (u32 i = 0; i < config->route.count; i++)
		if (config->route.item[i].via.addr.family &&
			!on_link(config, &config->route.item[i].via)) {
			locate(config, route, &reason);
			return config_say(&reason, no_network, NULL);
		}
	return 0;
}

int config_load(struct config *config, char *const *env, char *why, size_t why_size)
{
	struct config_why reason = begin(why, why_size);
	int ret;

	config_defaults(config);
	ret = load_file(config, env, &reason);
	if (ret)
		return ret;
	for (; env && *env; env++)
		if (load_variable(config, *env, &reason))
			return -EINVAL;
	return config_finish(config, why, why_size);
}

/* After an error: who serves the sockets now, as far as the environment says. */
static void salvage(struct config *config, char *const *env)
{
	static const char *const names[] = {PREFIX "FALLBACK", PREFIX "OFF"};
	struct config_why nowhere = {NULL, 0};

	config_defaults(config);
	for (u32 i = 0; i < ARRAY_LEN(names); i++) {
		const char *value = variable(env, names[i]);

		if (value)
			set(config, config_find(i ? "off" : "fallback", i ? 3 : 8), value,
				CONFIG_ENVIRONMENT, &nowhere);
	}
	config_finish(config, NULL, 0);
}

const struct config_loaded *config_get(void)
{
	static const struct config_loaded no_memory = {
		.error = -ENOMEM, .why = "no memory for the configuration"};
	static struct config_loaded *current; /* written once */
	struct config_loaded *mine, *winner = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
	struct exec_env own;
	long memory;

	if (winner)
		return winner;
	memory = raw_mmap(
		NULL, sizeof(*mine), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (raw_failed(memory))
		return &no_memory;
	mine = (struct config_loaded *)memory;
	exec_env_own(&own);
	mine->error = config_load(&mine->config, own.env, mine->why, sizeof(mine->why));
	if (mine->error)
		salvage(&mine->config, own.env);
	exec_env_free(&own);
	if (__atomic_compare_exchange_n(
		    &current, &winner, mine, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return mine;
	raw_munmap(mine, sizeof(*mine)); /* another thread was first */
	return winner;
}

bool config_bypasses(const struct config *config, const struct sockaddr *addr, socklen_t len)
{
	struct addr a = {0};
	u16 port;

	if (len >= sizeof(struct sockaddr_in) && addr->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, addr, sizeof(in));
		a = addr_v4(ntohl(in.sin_addr.s_addr));
		port = ntohs(in.sin_port);
	} else if (len >= sizeof(struct sockaddr_in6) && addr->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, addr, sizeof(in6));
		a.family = FAMILY_INET6;
		memcpy(a.b, &in6.sin6_addr, 16);
		port = ntohs(in6.sin6_port);
	} else {
		return false;
	}
	if (config->loopback == CONFIG_LOOPBACK_KERNEL && addr_is_loopback(&a))
		return true;
	for (u32 i = 0; i < config->bypass.count; i++) {
		const struct config_ip *rule = &config->bypass.item[i];

		if ((!rule->port || rule->port == port) &&
			(!rule->addr.family || config_contains(rule, &a)))
			return true;
	}
	return false;
}
