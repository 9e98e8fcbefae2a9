/* Parsing quantities: a decimal number with an optional fraction, and a unit that must be there
 * where one is listed. */
#include "tools/units.h"

#include <stdlib.h>
#include <string.h>

struct unit {
	const char *name;
	double factor;
};

static bool units_parse(const char *text, const struct unit *units, size_t count, u64 *value)
{
	size_t digits = strspn(text, "0123456789.");
	char *end;
	double number, result;

	/* strtod would take signs, spaces, hexadecimal, infinities and another locale's comma too.
	 */
	if (digits == 0 || digits > 30 || text[0] == '.')
		return false;
	number = strtod(text, &end);
	if (end != text + digits)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		result = number * units[i].factor + 0.5;
		if (result >= 9.2e18)
			return false;
		*value = (u64)result;
		return true;
	}
	return false;
}

bool units_time(const char *text, u64 *ns)
{
	static const struct unit units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};

	if (strcmp(text, "0") == 0) {
		*ns = 0;
		return true;
	}
	return units_parse(text, units, ARRAY_LEN(units), ns);
}

bool units_probability(const char *text, u64 *of_2_32)
{
	static const struct unit units[] = {{"%", 42949672.96}};
	u64 value = 0;

	if (strcmp(text, "0") != 0 && !units_parse(text, units, ARRAY_LEN(units), &value))
		return false;
	if (value > 1ull << 32)
		return false;
	*of_2_32 = value;
	return true;
}

bool units_rate(const char *text, u64 *bits_per_s)
{
	static const struct unit units[] = {
		{"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}};

	return units_parse(text, units, ARRAY_LEN(units), bits_per_s);
}

bool units_size(const char *text, u64 *bytes)
{
	static const struct unit units[] = {
		{"", 1}, {"k", 1024}, {"m", 1048576}, {"g", 1073741824}};

	return units_parse(text, units, ARRAY_LEN(units), bytes);
}

bool units_number(const char *text, u64 max, u64 *value)
{
	char *end;
	unsigned long long number;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno || *end || number > max)
		return false;
	*value = number;
	return true;
}
