/*
 * The engine's log: a ring of text in the region. A line is stored with its newline; when the ring
 * is full the new line is lost and counted, and the loss is reported in the place where it
 * happened.
 */
#include <stdarg.h>
#include <string.h>

#include "stack/stack.h"

#define LINE_MAX_BYTES 400u

const char *const log_area_names[LOG_AREAS] = {
	"device",
	"eth",
	"arp",
	"ip",
	"icmp",
	"udp",
	"tcp",
	"sock",
	"host",
};

struct line {
	char text[LINE_MAX_BYTES];
	u32 len;
};

static void line_char(struct line *l, char c)
{
	if (l->len < LINE_MAX_BYTES - 1)
		l->text[l->len++] = c < ' ' && c != '\n' ? '?' : c;
}

static void line_text(struct line *l, const char *text)
{
	while (*text)
		line_char(l, *text++);
}

static void line_number(struct line *l, u64 v, u32 base, u32 width)
{
	char digits[20];
	u32 n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v || n < width);
	while (n)
		line_char(l, digits[--n]);
}

static void line_addr6(struct line *l, const u8 b[16])
{
	int best = -1, best_len = 1;

	/* RFC 5952: the longest run of at least two zero groups is left out. */
	for (int i = 0; i < 8; i++) {
		int n = 0;

		while (i + n < 8 && !b[2 * (i + n)] && !b[2 * (i + n) + 1])
			n++;
		if (n > best_len)
			best = i, best_len = n;
	}
	for (int i = 0; i < 8; i++) {
		if (i == best) {
			line_text(l, "::");
			i += best_len - 1;
			continue;
		}
		if (i && i != best + best_len)
			line_char(l, ':');
		line_number(l, (u32)b[2 * i] << 8 | b[2 * i + 1], 16, 1);
	}
}

static void line_addr(struct line *l, const struct addr *a)
{
	if (a->family != FAMILY_INET) {
		line_addr6(l, a->b);
		return;
	}
	for (int i = 12; i < 16; i++) {
		if (i > 12)
			line_char(l, '.');
		line_number(l, a->b[i], 10, 1);
	}
}

static void line_endpoint(struct line *l, const struct endpoint *e)
{
	bool brackets = e->addr.family == FAMILY_INET6;

	if (brackets)
		line_char(l, '[');
	line_addr(l, &e->addr);
	line_text(l, brackets ? "]:" : ":");
	line_number(l, e->port, 10, 1);
}

static void line_mac(struct line *l, const u8 *mac)
{
	for (int i = 0; i < 6; i++) {
		if (i)
			line_char(l, ':');
		line_number(l, mac[i], 16, 2);
	}
}

static void line_signed(struct line *l, int v)
{
	if (v < 0)
		line_char(l, '-');
	line_number(l, v < 0 ? 0 - (u64)v : (u64)v, 10, 1);
}

static void line_ms(struct line *l, u64 ns)
{
	line_number(l, ns / NS_PER_MS, 10, 1);
	line_char(l, '.');
	line_number(l, ns % NS_PER_MS / NS_PER_US, 10, 3);
	line_text(l, "ms");
}

static void line_format(struct line *l, const char *format, va_list *args)
{
	for (; *format; format++) {
		if (*format != '%') {
			line_char(l, *format);
			continue;
		}
		switch (*++format) {
		case 'u':
			line_number(l, va_arg(*args, u32), 10, 1);
			break;
		case 'd':
			line_signed(l, va_arg(*args, int));
			break;
		case 'x':
			line_number(l, va_arg(*args, u32), 16, 1);
			break;
		case 'U':
			line_number(l, va_arg(*args, u64), 10, 1);
			break;
		case 's':
			line_text(l, va_arg(*args, const char *));
			break;
		case 'c':
			line_char(l, (char)va_arg(*args, int));
			break;
		case 'A':
			line_addr(l, va_arg(*args, const struct addr *));
			break;
		case 'E':
			line_endpoint(l, va_arg(*args, const struct endpoint *));
			break;
		case 'M':
			line_mac(l, va_arg(*args, const u8 *));
			break;
		case 't':
			line_ms(l, va_arg(*args, u64));
			break;
		case '%':
			line_char(l, '%');
			break;
		default:
			return; /* not a conversion: the rest cannot be read */
		}
	}
}

/* Appends a line if `more` bytes behind it have room too. */
static bool log_append(struct stack *s, const struct line *l, u32 more)
{
	u32 size = sizeof(s->log_text), at = s->log_head % size, first = MIN(l->len, size - at);

	if (l->len + more > size - (s->log_head - s->log_tail))
		return false;
	memcpy(s->log_text + at, l->text, first);
	memcpy(s->log_text, l->text + first, l->len - first);
	s->log_head += l->len;
	return true;
}

static void log_report_loss(struct stack *s, u32 more)
{
	struct line l = {.len = 0};

	if (!s->log_lost)
		return;
	line_number(&l, s->log_lost, 10, 1);
	line_text(&l, " log lines lost\n");
	if (log_append(s, &l, more))
		s->log_lost = 0;
}

void log_line(struct stack *s, enum log_area area, enum log_level level, const char *format, ...)
{
	static const char letters[] = "-EWIDT";
	struct line l;
	va_list args;

	l.len = 0;
	line_number(&l, s->now_ns / NS_PER_S, 10, 1);
	line_char(&l, '.');
	line_number(&l, s->now_ns % NS_PER_S / NS_PER_US, 10, 6);
	line_char(&l, ' ');
	line_char(&l, letters[MIN((u32)level, (u32)LOG_TRACE)]);
	line_char(&l, ' ');
	line_text(&l, log_area_names[area]);
	line_text(&l, ": ");
	va_start(args, format);
	line_format(&l, format, &args);
	va_end(args);
	l.text[l.len++] = '\n'; /* line_char leaves room for it */
	log_report_loss(s, l.len);
	if (s->log_lost || !log_append(s, &l, 0))
		s->log_lost++;
}

bool log_wants(const struct stack *s, enum log_area area, enum log_level level)
{
	return s->log_level[area] >= level;
}

void log_set(struct stack *s, enum log_area area, enum log_level level)
{
	for (u32 i = 0; i < LOG_AREAS; i++) {
		if (area == LOG_AREAS || i == (u32)area)
			s->log_level[i] = (u8)level;
	}
}

u32 log_read(struct stack *s, char *line, u32 size)
{
	u32 n = 0;

	if (s->log_tail == s->log_head)
		log_report_loss(s, 0);
	while (s->log_tail != s->log_head) {
		char c = s->log_text[s->log_tail++ % sizeof(s->log_text)];

		if (c == '\n')
			break;
		if (n + 1 < size)
			line[n++] = c;
	}
	if (size)
		line[n] = 0;
	return n;
}
