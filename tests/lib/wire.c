/*
 * The interpreter of the wire scripts. A script's lines run in order; the virtual clock moves to each line's time, and every
 * timer of the engine on the way is served at its exact moment. Every packet that the engine sends must be met by an
 * expecting line: one that comes too early, too late, differs, or is not expected fails the script.
 */
#include "tests/lib/wire_state.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "preload/config.h"

void wire_fail(struct wire *w, const char *format, ...)
{
	va_list ap;
	int n = snprintf(w->why, w->why_size, "line %d at %.6f s: ", w->line, (double)(w->now_ns - w->start_ns) / 1e9);

	va_start(ap, format);
	vsnprintf(w->why + n, w->why_size - (size_t)n, format, ap);
	va_end(ap);
	longjmp(w->failed, 1);
}

/* One number of those that a tunable has: `tcp_rmem_max`. */
static bool set_part(struct stack_tunables *t, const char *key, const char *value)
{
	const struct {
		const char *key;
		u32 *value;
	} keys[] = {{"tcp_rmem_default", &t->tcp_rmem[1]}, {"tcp_rmem_max", &t->tcp_rmem[2]},
		{"tcp_wmem_default", &t->tcp_wmem[1]}, {"tcp_wmem_max", &t->tcp_wmem[2]}};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (strcmp(key, keys[i].key) == 0) {
			*keys[i].value = (u32)strtoul(value, NULL, 0);
			return true;
		}
	}
	return false;
}

/* A tunable by its name, as the configuration and `ustack sysctl` know it, with the rest of the line. */
static void set_sysctl(struct wire *w, struct stack_tunables *t, const char *name)
{
	static struct config config;
	const struct config_key *key = config_find_tunable(name);
	char value[256] = "", why[CONFIG_WHY_MAX] = "";

	if (!key)
		wire_fail(w, "setting '%s' is unknown", name);
	for (u32 i = 2; i < w->words; i++) {
		strncat(value, i > 2 ? " " : "", sizeof(value) - strlen(value) - 1);
		strncat(value, w->word[i], sizeof(value) - strlen(value) - 1);
	}
	config.sysctl = *t;
	if (config_set(&config, key, value, CONFIG_COMMAND_LINE, why, sizeof(why)))
		wire_fail(w, "%s", why);
	*t = config.sysctl;
}

static void set_tunable(struct wire *w, const char *key)
{
	struct stack_tunables *t = &w->config.tunables;
	u32 v;

	if (strncmp(key, "tcp_", 4) == 0 || strchr(key, '.')) {
		if (!set_part(t, key, wire_word(w, 2)))
			set_sysctl(w, t, key);
		return;
	}
	v = (u32)wire_number(w, wire_word(w, 2));
	if (strcmp(key, "mtu") == 0)
		w->config.mtu = (u16)v;
	else if (strcmp(key, "gso") == 0)
		w->config.features = v ? DEVICE_CSUM | DEVICE_TSO4 : 0;
	else if (strcmp(key, "peer_isn") == 0)
		w->flow.peer_isn = v;
	else if (strcmp(key, "peer_port") == 0)
		w->flow.peer_port = (u16)v;
	else if (strcmp(key, "seed") == 0)
		w->config.seed[0] = (u8)v;
	else if (strcmp(key, "log") == 0)
		w->log_level = v;
	else if (strcmp(key, "tolerance_us") == 0)
		w->tolerance_ns = v * NS_PER_US;
	else
		set_sysctl(w, t, key);
}

/* Splits at blanks; `<...>` stays one word unless it is the mark of an incoming packet. */
static void split(struct wire *w, char *line)
{
	w->words = 0;
	while (*line) {
		while (isspace((unsigned char)*line))
			*line++ = 0;
		if (!*line || *line == '#')
			break;
		if (w->words == WORDS)
			wire_fail(w, "too many words");
		w->word[w->words++] = line;
		if (*line == '<' && line[1] && !isspace((unsigned char)line[1])) {
			while (*line && *line != '>')
				line++;
			if (*line)
				line++;
			continue;
		}
		while (*line && !isspace((unsigned char)*line))
			line++;
	}
}

static void run_file(struct wire *w, FILE *file, bool included);

/* `include NAME`: the lines of scripts/include/NAME.wire in this place. */
static void include(struct wire *w)
{
	char path[256];
	FILE *file;
	int line = w->line;

	snprintf(path, sizeof(path), "tests/wire/scripts/include/%s.wire", wire_word(w, 1));
	file = fopen(path, "r");
	if (!file)
		wire_fail(w, "%s cannot be read", path);
	run_file(w, file, true);
	fclose(file);
	w->line = line;
}

static void run_line(struct wire *w)
{
	bool timed = w->word[0][0] == '+' || w->word[0][0] == '@';
	u64 at = w->now_ns;

	if (strcmp(w->word[0], "set") == 0) {
		if (w->s)
			wire_fail(w, "a setting comes before everything else");
		set_tunable(w, wire_word(w, 1));
		return;
	}
	if (strcmp(w->word[0], "clause") == 0)
		return;
	if (strcmp(w->word[0], "include") == 0) {
		include(w);
		return;
	}
	wire_start(w);
	if (strcmp(w->word[0], "sysctl") == 0) {
		set_sysctl(w, &w->s->tunables, wire_word(w, 1));
		return;
	}
	if (timed) {
		double seconds = strtod(w->word[0] + 1, NULL);

		at = (w->word[0][0] == '@' ? w->start_ns : w->now_ns) + (u64)(seconds * 1e9 + 0.5);
		w->words--;
		memmove(&w->word[0], &w->word[1], w->words * sizeof(w->word[0]));
	}
	if (strcmp(wire_word(w, 0), ">") == 0) {
		wire_meet(w, at, timed);
		return;
	}
	wire_run_to(w, w->now_ns, false);
	if (strcmp(w->word[0], "drop") == 0) {
		wire_run_to(w, at + (w->words > 1 ? (u64)(strtod(w->word[1], NULL) * 1e9) : 0), false);
		wire_drop(w);
		return;
	}
	if (strcmp(w->word[0], "quiet") == 0)
		at = w->now_ns + (u64)(strtod(wire_word(w, 1), NULL) * 1e9);
	wire_none_waiting(w);
	wire_run_to(w, at, true);
	wire_none_waiting(w);
	if (strcmp(w->word[0], "quiet") == 0)
		return;
	if (strcmp(w->word[0], "<") == 0)
		wire_inject(w);
	else
		wire_call(w);
}

static void run_file(struct wire *w, FILE *file, bool included)
{
	char line[1024];

	while (fgets(line, sizeof(line), file)) {
		w->line += !included;
		split(w, line);
		if (w->words)
			run_line(w);
	}
	if (included)
		return;
	if (!w->s)
		wire_fail(w, "the script is empty");
	wire_run_to(w, w->now_ns, false);
	wire_none_waiting(w);
}

static bool run_script(FILE *file, const u32 *isn, char *why, size_t why_size)
{
	struct wire *w = calloc(1, sizeof(*w));
	volatile bool passed = false;

	snprintf(why, why_size, "cannot be read");
	w->why = why;
	w->why_size = why_size;
	w->start_ns = w->now_ns = 1000 * NS_PER_S;
	w->tolerance_ns = NS_PER_MS;
	stack_default_tunables(&w->config.tunables);
	w->config.tunables.tcp_congestion_control = TCP_CC_RENO; /* whose windows can be told without a calculator */
	memcpy(w->config.device_name, "tap0", 5);
	memcpy(w->config.mac, "\x02\0\0\0\0\x02", 6);
	w->config.mtu = 1500;
	w->config.addr = addr_v4(OUR_ADDR);
	w->config.prefix_len = 24;
	w->config.gateway = addr_v4(PEER_ADDR);
	w->wants_isn = isn;
	w->isn = isn ? *isn : 0;
	w->flow.peer_isn = isn ? *isn : 1000000;
	w->flow.peer_port = 40000;
	if (file && setjmp(w->failed) == 0) {
		run_file(w, file, false);
		passed = true;
	}
	if (file)
		fclose(file);
	wire_drop(w);
	if (w->s)
		munmap(w->memory, w->memory_size);
	free(w);
	return passed;
}

bool wire_run(const char *path, const u32 *isn, char *why, size_t why_size)
{
	return run_script(fopen(path, "r"), isn, why, why_size);
}

bool wire_run_text(const char *text, size_t len, const u32 *isn, char *why, size_t why_size)
{
	return run_script(fmemopen((void *)(uintptr_t)text, len, "r"), isn, why, why_size);
}
