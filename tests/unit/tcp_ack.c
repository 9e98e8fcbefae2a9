/*
 * What an acknowledgement tells of the path (tcp_ack.c). Which give a sample of the round trip (RFC
 * 6298 3, RFC 7323 4): each row is text that is sent, perhaps again, and the acknowledgement that
 * comes for it; the smoothed round trip then is what RFC 6298 2 makes of the sample, or what it
 * was. And that the next hop works, once a second.
 */
#include <string.h>

#include "stack/linux.h"
#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/peer.h"
#include "tests/lib/sock_lib.h"

enum { TEXT = 1000, ROUND_US = 100000 };

enum echo { NOTHING, FIRST, LAST, ZERO, OLD }; /* the timestamp of which transmission */

static const struct row {
	const char *name;
	bool timestamps; /* are agreed */
	bool syn_lost;	 /* the handshake gave no sample */
	bool twice;	 /* the text is sent again, after a timeout */
	bool second;	 /* it is sent while another is timed, and not timed itself */
	u32 delay_us;	 /* sent so long after a whole millisecond */
	u32 after_us;	 /* the ACK comes so long after the last transmission */
	u32 ack;
	s32 start, end; /* its SACK block */
	enum echo echo;
	u32 sample_us; /* 0: none */
} rows[] = {
	{"timed", .after_us = 90000, .ack = TEXT, .sample_us = 90000},
	{"timed, a part", .after_us = 90000, .ack = TEXT - 1},
	{"timed, with an old echo", .timestamps = true, .after_us = 90000, .ack = TEXT, .echo = OLD,
		.sample_us = 90000},
	{"not timed", .second = true, .after_us = 90000, .ack = TEXT},
	{"not timed, with its echo", .timestamps = true, .second = true, .after_us = 90000,
		.ack = TEXT, .echo = LAST},
	/* Karn's algorithm, and how timestamps get round it. */
	{"twice", .twice = true, .after_us = 90000, .ack = TEXT},
	{"twice, echo not agreed", .twice = true, .after_us = 90000, .ack = TEXT, .echo = LAST},
	{"twice, no echo", .timestamps = true, .twice = true, .after_us = 90000, .ack = TEXT},
	{"twice, echo 0", .timestamps = true, .twice = true, .after_us = 90000, .ack = TEXT,
		.echo = ZERO},
	{"twice, echo of the last", .timestamps = true, .twice = true, .after_us = 90000,
		.ack = TEXT, .echo = LAST, .sample_us = 90000},
	{"twice, echo of the first", .timestamps = true, .twice = true, .after_us = 90000,
		.ack = TEXT, .echo = FIRST, .sample_us = 390000},
	{"twice, echo of the first, begun within a millisecond", .timestamps = true, .twice = true,
		.delay_us = 900, .after_us = 90100, .ack = TEXT, .echo = FIRST,
		.sample_us = 391000},
	{"twice, echo of something older", .timestamps = true, .twice = true, .after_us = 90000,
		.ack = TEXT, .echo = OLD},
	/* A DSACK for the first segment outstanding says that it answers the last transmission. */
	{"twice, both came", .twice = true, .after_us = 90000, .ack = TEXT, .end = TEXT,
		.sample_us = 90000},
	{"twice, both came, the first echoed", .timestamps = true, .twice = true, .after_us = 90000,
		.ack = TEXT, .end = TEXT, .echo = FIRST, .sample_us = 90000},
	{"twice, both came, no sample before", .syn_lost = true, .twice = true, .after_us = 10000,
		.ack = TEXT, .end = TEXT, .sample_us = 10000},
	{"twice, half of the least round trip", .twice = true, .after_us = 50000, .ack = TEXT,
		.end = TEXT, .sample_us = 50000},
	{"twice, less than that: the first's ACK", .twice = true, .after_us = 49999, .ack = TEXT,
		.end = TEXT},
	{"twice, its first byte came twice", .twice = true, .after_us = 90000, .ack = TEXT,
		.end = 1, .sample_us = 90000},
	{"twice, all but its first byte", .twice = true, .after_us = 90000, .ack = TEXT, .start = 1,
		.end = TEXT},
	{"twice, what was before it", .twice = true, .after_us = 90000, .ack = TEXT, .start = -1,
		.end = 0},
	{"twice, more than is acknowledged", .twice = true, .after_us = 90000, .ack = TEXT - 1,
		.end = TEXT},
	{"a duplicate of the network", .second = true, .after_us = 200000, .ack = TEXT,
		.end = TEXT},
};

static struct {
	struct peer p;
	struct tcp *t;
	u32 una;     /* of the text */
	u32 echo[5]; /* enum echo */
	u32 peer_ts;
} m;

static void send_frame(const struct row *row, u16 flags, u32 ack, enum echo echo, bool sack)
{
	u8 frame[256], options[40], len = 0;
	struct net_tcp tcp = {.sport = m.p.port,
		.dport = m.p.host_port,
		.seq = m.p.seq,
		.ack = ack,
		.flags = flags,
		.window = 65535};
	struct tcp_options opt = {.tsval = m.peer_ts++, .tsecr = m.echo[echo]};

	if (flags & PEER_SYN) {
		opt.flags =
			TCP_OPT_MSS | TCP_OPT_SACK_OK | (row->timestamps ? TCP_OPT_TIMESTAMP : 0);
		opt.mss = 1460;
	} else if (echo != NOTHING) {
		opt.flags = TCP_OPT_TIMESTAMP;
	}
	if (sack) {
		opt.flags |= TCP_OPT_SACK;
		opt.sack[opt.sack_count++] =
			(struct tcp_sack_block){m.una + (u32)row->start, m.una + (u32)row->end};
	}
	len = (u8)tcp_options_build(&opt, options);
	tcp.options = options;
	tcp.options_len = len;
	engine_frame_in(m.p.s, frame, net_tcp(frame, &(struct net_ip4){0}, &tcp, NULL, 0));
}

/* The next segment of the host, when it comes. */
static struct peer_segment wait_for(void)
{
	struct peer_segment segment;

	while (!peer_next(&m.p, &segment))
		engine_run_until(m.p.s, stack_deadline(m.p.s));
	m.echo[LAST] = m.t ? tcp_clock(m.p.s, m.t->ts_offset) : m.p.ts_host;
	return segment;
}

static void begin(const struct row *row)
{
	struct stack_config config = net_config();
	struct peer_segment segment;
	int error;

	config.tunables.tcp_early_retrans = 0;
	memset(&m, 0, sizeof(m));
	m.peer_ts = 1000;
	m.p = peer_new(engine_new_ready(&config));
	peer_enter(&m.p, STAGE_LISTEN);
	send_frame(row, PEER_SYN, 0, NOTHING, false);
	m.p.seq++;
	segment = wait_for();
	if (row->syn_lost)
		segment = wait_for();
	m.p.ack = segment.seq + 1;
	engine_run(m.p.s, ROUND_US * NS_PER_US);
	send_frame(row, PEER_ACK, m.p.ack, row->timestamps ? LAST : NOTHING, false);
	m.p.sk = sock_accept(m.p.s, m.p.listener, &error);
	m.t = tcp_of(m.p.s, sock_get(m.p.s, m.p.sk));
	ck_assert_uint_eq(m.t->rtt.srtt_ns, row->syn_lost ? 0 : ROUND_US * NS_PER_US);
	m.echo[OLD] = m.echo[LAST];
	engine_run(m.p.s, NS_PER_S + row->delay_us * NS_PER_US);
}

static void send_text(void)
{
	static const u8 text[TEXT];
	struct peer_segment segment;

	ck_assert_int_eq(sock_lib_send(m.p.s, m.p.sk, 0, 0, text, TEXT, 0), TEXT);
	segment = wait_for();
	ck_assert_uint_eq(segment.len, TEXT);
	m.una = segment.seq;
	m.echo[FIRST] = m.echo[LAST];
}

START_TEST(tcp_ack_sample)
{
	const struct row *row = &rows[_i];
	u64 before, sample = row->sample_us * NS_PER_US;

	begin(row);
	sock_lib_set(m.p.s, m.p.sk, LX_SOL_TCP, LX_TCP_NODELAY, 1);
	send_text();
	if (row->second) { /* just before the first is acknowledged */
		engine_run(m.p.s, (ROUND_US - 400) * NS_PER_US);
		send_text();
		engine_run(m.p.s, 400 * NS_PER_US);
		send_frame(row, PEER_ACK, m.una, row->timestamps ? OLD : NOTHING, false);
		peer_skip(&m.p);
	}
	if (row->twice)
		ck_assert_uint_eq(wait_for().seq, m.una);
	engine_run(m.p.s, row->after_us * NS_PER_US);
	before = m.t->rtt.srtt_ns;
	send_frame(row, PEER_ACK, m.una + row->ack, row->echo, row->end > row->start);
	if (sample && before)
		sample = before - before / 8 + sample / 8;
	ck_assert_msg(m.t->rtt.srtt_ns == (sample ? sample : before), "%s: %u us, not %u",
		row->name, (u32)(m.t->rtt.srtt_ns / 1000),
		(u32)((sample ? sample : before) / 1000));
	engine_free(m.p.s);
}
END_TEST

/* RFC 1122 2.3.2.1; the route is not looked up for every acknowledgement. */
START_TEST(tcp_ack_confirms_each_second)
{
	const struct row plain = {0};
	u64 at;

	begin(&plain);
	send_text();
	send_frame(&plain, PEER_ACK, m.una + TEXT, NOTHING, false);
	at = m.p.s->now_ns;
	ck_assert_uint_eq(m.t->confirmed_ns, at);
	for (u32 i = 0; i < 2; i++) { /* a nanosecond less than a second later, and a second */
		engine_run_until(m.p.s, at + NS_PER_S - 1 + i);
		send_text();
		send_frame(&plain, PEER_ACK, m.una + TEXT, NOTHING, false);
		ck_assert_uint_eq(m.t->confirmed_ns, i ? m.p.s->now_ns : at);
	}
	engine_free(m.p.s);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, tcp_ack_confirms_each_second);
	tcase_add_loop_test(tc, tcp_ack_sample, 0, ARRAY_LEN(rows));
}

int main(void)
{
	return check_lines_case("tcp_ack", 0, add);
}
