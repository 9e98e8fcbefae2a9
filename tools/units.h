/* Quantities as people write them. Each function stores the value and returns true, or returns
 * false for anything else. */
#ifndef TOOLS_UNITS_H
#define TOOLS_UNITS_H

#include "stack/types.h"

bool units_time(const char *text, u64 *ns);		  /* 5ms, 1.5s, 20us, 100ns */
bool units_probability(const char *text, u64 *of_2_32);	  /* 0.1%, 100% */
bool units_rate(const char *text, u64 *bits_per_s);	  /* 10mbit, 1gbit, 64kbit, 9600bit */
bool units_size(const char *text, u64 *bytes);		  /* 1500, 64k, 1m, 2g */
bool units_number(const char *text, u64 max, u64 *value); /* 42, 0x2a */

#endif
