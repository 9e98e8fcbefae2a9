/* What the wire scripts look at beside packets: TCP_INFO, the log, and keys given as text. */
#include "tests/lib/wire_state.h"

#include "stack/tcp_info.h"

#include <stdlib.h>
#include <string.h>

#define FIELD(name) {"tcpi_" #name, offsetof(struct tcp_info_out, name), sizeof(((struct tcp_info_out *)0)->name)}

static const struct {
	const char *name;
	size_t at, size;
} fields[] = {FIELD(state), FIELD(ca_state), FIELD(retransmits), FIELD(probes), FIELD(options), FIELD(wscales), FIELD(ato), FIELD(snd_mss),
	FIELD(unacked), FIELD(sacked), FIELD(lost), FIELD(retrans), FIELD(rcv_ssthresh), FIELD(snd_ssthresh), FIELD(snd_cwnd),
	FIELD(advmss), FIELD(pmtu), FIELD(min_rtt), FIELD(notsent_bytes), FIELD(total_retrans), FIELD(dsack_dups), FIELD(snd_wnd)};

/* A field of TCP_INFO, as getsockopt gives it. */
s64 wire_tcp_info(struct wire *w, ref sock, const char *field)
{
	struct tcp_info_out info;
	u32 len = sizeof(info), i;
	u64 value = 0;

	for (i = 0; i < ARRAY_LEN(fields) && strcmp(fields[i].name, field) != 0; i++)
		;
	if (i == ARRAY_LEN(fields))
		wire_fail(w, "field '%s' is unknown", field);
	if (sock_getopt(w->s, sock, LX_SOL_TCP, LX_TCP_INFO, &info, &len) != 0)
		wire_fail(w, "no TCP_INFO");
	memcpy(&value, (const u8 *)&info + fields[i].at, fields[i].size);
	return (s64)value;
}

/* `setopt s TCP_FASTOPEN_KEY 0001..`: bytes in hexadecimal. */
void wire_fastopen_key(struct wire *w, ref sock, const char *hex, s64 want)
{
	u8 key[64];
	u32 len = 0;

	for (; hex[0] && hex[1] && len < sizeof(key); hex += 2) {
		const char byte[3] = {hex[0], hex[1], 0};

		key[len++] = (u8)strtoul(byte, NULL, 16);
	}
	wire_expect(w, sock_setopt(w->s, sock, LX_SOL_TCP, LX_TCP_FASTOPEN_KEY, key, len), want);
}

/* `log TEXT...`: one of the lines that were logged since the last look contains the words, one blank between two. */
void wire_log(struct wire *w)
{
	char line[1024], text[1024] = "";
	bool found = false;
	u32 len;

	for (u32 i = 1; i < w->words; i++) {
		strncat(text, i > 1 ? " " : "", sizeof(text) - strlen(text) - 1);
		strncat(text, w->word[i], sizeof(text) - strlen(text) - 1);
	}
	while (!found && (len = log_read(w->s, line, sizeof(line) - 1)) > 0) {
		line[len] = 0;
		found = strstr(line, text) != NULL;
	}
	if (!found)
		wire_fail(w, "nothing logged with '%s'", text);
}
