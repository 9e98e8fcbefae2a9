/* For config.c and config_value.c only: how the text of a value becomes the value. */
#ifndef PRELOAD_CONFIG_VALUE_H
#define PRELOAD_CONFIG_VALUE_H

#include "preload/config.h"

/* A message under construction: appended to, cut off at its size, always terminated. */
struct config_why {
	char *text;
	size_t size;
};

/* Appends strings up to a NULL and returns -EINVAL, so that a caller can return it. */
int config_say(struct config_why *why, ...) __attribute__((sentinel));
/* Shortens the message to its first length bytes. */
void config_cut(struct config_why *why, size_t length);
/* n in decimal, in buf; for config_say. */
const char *config_decimal(char buf[12], u32 n);

/*
 * Stores value (terminated, without surrounding blanks) in key's member. append: a list keeps what
 * it has. Returns 0, or -EINVAL with the reason appended to why.
 */
int config_value(struct config *config, const struct config_key *key, const char *value,
	bool append, struct config_why *why);

/* Is addr in the network? */
bool config_contains(const struct config_ip *network, const struct addr *addr);

static inline bool config_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

#endif
