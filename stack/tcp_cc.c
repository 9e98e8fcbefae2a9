/* The table of congestion control algorithms. */
#include <string.h>

#include "stack/tcp.h"

static const struct tcp_cc_ops *const algorithms[TCP_CCS] = {
	[TCP_CC_RENO] = &tcp_reno,
	[TCP_CC_CUBIC] = &tcp_cubic,
	[TCP_CC_BBR] = &tcp_bbr,
};

const struct tcp_cc_ops *tcp_cc_of(const struct tcp *t)
{
	return algorithms[t->cc < TCP_CCS ? t->cc : TCP_CC_RENO];
}

const char *tcp_cc_name(u32 cc)
{
	return algorithms[cc < TCP_CCS ? cc : TCP_CC_RENO]->name;
}

int tcp_cc_by_name(const char *name, u32 len)
{
	for (u32 i = 0; i < TCP_CCS; i++) {
		const char *have = algorithms[i]->name;
		u32 n = 0;

		while (n < len && name[n] && have[n] == name[n])
			n++;
		if (have[n] == 0 && (n == len || name[n] == 0))
			return (int)i;
	}
	return -1;
}

u32 tcp_cc_initial_window(u32 mss)
{
	return MIN(10 * mss, MAX(2 * mss, 14600u));
}
