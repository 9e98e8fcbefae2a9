/*
 * SO_TIMESTAMPING: what the program asks for. Stamps of what is sent go to the error queue
 * (sock_stamp), those of what is received into control messages. There is no hardware that stamps:
 * asking for that is accepted and gives none, as on Linux over a TAP.
 */
#include <string.h>

#include "stack/linux.h"
#include "stack/sock_proto.h"
#include "stack/tcp.h"

#define KNOWN_FLAGS ((1u << 19) - 1)

/* The stream's bytes are numbered from here on. */
static int number_from(struct stack *s, struct sock *sk, u32 flags)
{
	const struct tcp *t = slab_get(s, SLAB_TCP, sk->tcp);

	sk->tstamp_key = 0;
	if (sk->conn.proto != PROTO_TCP)
		return 0;
	if (!t || t->state == TCP_CLOSED || t->state == TCP_LISTEN)
		return -EINVAL;
	sk->tstamp_key = flags & TSTAMP_OPT_ID_TCP ? t->snd_end : t->snd_una;
	return 0;
}

/* Linux's sock_set_timestamping: the flags, and the clock of a hardware stamp. */
int sock_stamp_set(struct stack *s, struct sock *sk, const void *val, u32 len)
{
	u32 value[2] = {0, 0};
	int ret = 0;

	memcpy(value, val, MIN(len, sizeof(value)));
	if (value[0] & ~KNOWN_FLAGS ||
		(value[0] & TSTAMP_OPT_ID_TCP && !(value[0] & TSTAMP_OPT_ID)))
		return -EINVAL;
	if (value[0] & TSTAMP_OPT_ID && !(sk->tstamp_flags & TSTAMP_OPT_ID))
		ret = number_from(s, sk, value[0]);
	if (ret < 0)
		return ret;
	if (value[0] & TSTAMP_OPT_STATS && !(value[0] & TSTAMP_OPT_TSONLY))
		return -EINVAL;
	sk->tstamp_flags = value[0];
	return 0;
}
