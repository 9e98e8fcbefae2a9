/*
 * Log of the engine: a mask per protocol and a level, set at run time; lines go to a ring in the
 * region, which the caller drains (log_read) and writes where it likes. Nothing is formatted while
 * the mask is clear.
 */
#ifndef STACK_LOG_H
#define STACK_LOG_H

#include "stack/addr.h"

enum log_area {
	LOG_DEVICE,
	LOG_ETH,
	LOG_ARP,
	LOG_IP,
	LOG_ICMP,
	LOG_UDP,
	LOG_TCP,
	LOG_SOCK,
	LOG_HOST,
	LOG_AREAS
};

enum log_level { LOG_NONE, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

extern const char *const log_area_names[LOG_AREAS];

/*
 * Appends one line. The format knows %u %d %x (32 bits), %U (u64), %s, %c, %A (const struct addr
 * *), %E (const struct endpoint *), %M (const u8 mac[6]), %t (u64 duration in ns, printed in ms)
 * and %%.
 */
void log_line(struct stack *s, enum log_area area, enum log_level level, const char *format, ...);
bool log_wants(const struct stack *s, enum log_area area, enum log_level level);

#define LOG(s, area, level, ...)                                                                   \
	do {                                                                                       \
		if (log_wants((s), (area), (level)))                                               \
			log_line((s), (area), (level), __VA_ARGS__);                               \
	} while (0)

/* Sets one area's level, or every area's with LOG_AREAS. */
void log_set(struct stack *s, enum log_area area, enum log_level level);

/*
 * Copies the oldest line, without its newline, and takes it off the ring: its length, or 0 when
 * there is none. When lines were lost, says so in a line of its own.
 */
u32 log_read(struct stack *s, char *line, u32 size);

#endif
