/* Control messages of sendmsg and recvmsg; for call_msg.c only. */
#ifndef PRELOAD_CALL_CONTROL_H
#define PRELOAD_CALL_CONTROL_H

#include "preload/call.h"

#define CONTROL_MAX 1024u

/* What a received message reports, as it will stand in the program's memory. */
struct control_out {
	u8 bytes[CONTROL_MAX];
	size_t room, used;
	int flags; /* MSG_CTRUNC */
};

/* Reads what the program sends along: 0 or negative errno. */
int call_control_in(const void *control, size_t len, bool stream, struct plan_meta *meta);

void call_control_dgram(struct control_out *out, const struct call_data *d);
void call_control_stream(struct control_out *out, ref sk, const struct call_data *d);

#endif
