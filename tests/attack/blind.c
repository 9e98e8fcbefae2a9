/*
 * What somebody learns or wins who guesses at a connection, or whose acknowledgements lie: rows H4, H12 and J8 of README.md.
 */
#include <string.h>

#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/peer.h"
#include "tests/lib/sock_lib.h"

enum { LISTEN_PORT = 80, VICTIMS = 50 };

static u8 data[200000], frame[NET_FRAME_MAX];

static u32 chance(u32 *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static struct tcp *block(const struct peer *p)
{
	return tcp_of(p->s, sock_get(p->s, p->sk));
}

static struct peer established(struct stack *s, u16 port, ref listener)
{
	struct peer p = peer_new(s);

	p.port = port;
	p.listener = listener;
	peer_connect(&p);
	peer_skip(&p);
	return p;
}

/* A segment with numbers and flags of its own. */
static void spoof(const struct peer *p, u16 flags, u32 seq, u32 ack)
{
	struct net_tcp tcp = {.sport = p->port, .dport = p->host_port, .seq = seq, .ack = ack, .flags = flags, .window = 65535};

	engine_frame_in(p->s, frame, net_tcp(frame, &(struct net_ip4){0}, &tcp, NULL, 0));
}

/* All that waits for the wire is taken: how many segments of it go to this peer. */
static u32 answers_to(struct peer *p)
{
	struct peer_segment segment;
	u32 n = 0;

	while (peer_next(p, &segment))
		n++;
	return n;
}

/* --- H4: CVE-2016-5696 --- */

/*
 * Somebody with a connection of his own makes as many challenge ACKs as he can in each second, and sends in between what would be challenged
 * if his guess at others' ports or numbers were right. What he counts must be the same, right or wrong.
 */
START_TEST(H4_challenges_of_others_do_not_show)
{
	struct stack *s = engine_new_ready(NULL);
	struct peer own = established(s, 5000, 0), victim[VICTIMS];
	u32 seed = 1, usual = 0, made = 0;

	for (u32 i = 0; i < VICTIMS; i++)
		victim[i] = established(s, (u16)(6000 + i), own.listener);
	for (u32 second = 0; second < 60; second++) {
		bool right = chance(&seed) & 1;
		u32 count = 0, before = (u32)net_count(s, "tcp_challenge");

		for (u32 i = 0; i < 300; i++) {
			struct peer *v = &victim[i % VICTIMS];

			spoof(v, PEER_RST, v->seq + (right ? 1000 : 1u << 30), 0);
			spoof(&own, PEER_RST, own.seq + 1 + i, 0);
			engine_run(s, NS_PER_S / 300);
			count += answers_to(&own);
		}
		engine_run(s, NS_PER_S - s->now_ns % NS_PER_S);
		if (!second)
			usual = count;
		ck_assert_uint_eq(count, usual);
		if (right)
			made += (u32)net_count(s, "tcp_challenge") - before - count;
	}
	ck_assert_uint_gt(usual, 0);
	ck_assert_uint_gt(made, 1000); /* the others were challenged indeed */
	engine_free(s);
}
END_TEST

/* With a limit of the whole host it is one that nobody can foretell: the count tells nothing either. */
START_TEST(H4_limit_of_the_host_is_random)
{
	struct stack *s = engine_new_ready(NULL);
	ref listener = 0;
	static struct peer own[200];
	u32 least = UINT32_MAX, most = 0, differ = 0, last = 0;

	s->tunables.tcp_challenge_ack_limit = 100;
	for (u32 i = 0; i < ARRAY_LEN(own); i++) {
		own[i] = established(s, (u16)(5000 + i), listener);
		listener = own[i].listener;
	}
	for (u32 second = 0; second < 40; second++) {
		u32 before = (u32)net_count(s, "tcp_challenge"), count;

		engine_run(s, NS_PER_S - s->now_ns % NS_PER_S);
		for (u32 i = 0; i < ARRAY_LEN(own); i++)
			spoof(&own[i], PEER_RST, own[i].seq + 1000, 0);
		engine_frames_drop(s);
		count = (u32)net_count(s, "tcp_challenge") - before;
		least = MIN(least, count);
		most = MAX(most, count);
		differ += count != last;
		last = count;
	}
	ck_assert_uint_ge(least, 50);
	ck_assert_uint_lt(most, 150);
	ck_assert_uint_gt(most - least, 50);
	ck_assert_uint_gt(differ, 30);
	engine_free(s);
}
END_TEST

/* --- H12: acknowledgements that lie --- */

/* A round trip of 100 ms. */
static struct peer sender(const char *cc, bool rich)
{
	struct peer p = peer_new(engine_new_ready(NULL));
	struct peer_segment segment;
	int error;

	p.s->tunables.tcp_congestion_control = (u8)tcp_cc_by_name(cc, (u32)strlen(cc));
	p.rich = rich;
	p.s->tunables.tcp_wmem[1] = 4 << 20;
	peer_enter(&p, STAGE_SYN_RECEIVED);
	engine_run(p.s, 100 * NS_PER_MS);
	if (peer_next(&p, &segment))
		p.ack = segment.seq + 1;
	peer_send(&p, PEER_ACK, NULL, 0);
	p.sk = sock_accept(p.s, p.listener, &error);
	ck_assert(p.sk);
	peer_skip(&p);
	return p;
}

static const char *const algorithms[] = {"reno", "cubic", "bbr"};

/* Sends what fills the window; the bytes in flight. */
static u32 fill(struct peer *p)
{
	sock_lib_send(p->s, p->sk, 0, 0, data, sizeof(data), LX_MSG_DONTWAIT);
	engine_run(p->s, 50 * NS_PER_MS);
	engine_frames_drop(p->s);
	return tcp_flight(block(p));
}

/* One segment acknowledged byte by byte: cwnd grows by its bytes, and no more (RFC 3465 2.1). */
START_TEST(H12_split_acknowledgements)
{
	struct peer p = sender(algorithms[_i], false);
	struct tcp *t = block(&p);
	u32 before, una;

	fill(&p);
	before = t->cwnd;
	una = t->snd_una;
	for (u32 i = 1; i <= t->mss; i++) {
		spoof(&p, PEER_ACK, p.seq, una + i);
		engine_frames_drop(p.s);
	}
	ck_assert_uint_eq(t->snd_una - una, t->mss);
	ck_assert_uint_le(t->cwnd, before + t->mss);
	ck_assert_ptr_null(tcp_check(p.s, sock_get(p.s, p.sk)));
	engine_free(p.s);
}
END_TEST

/* Of what was not sent: neither the window nor anything else moves, and challenges are few. */
START_TEST(H12_acknowledgements_of_the_future)
{
	struct peer p = sender(algorithms[_i], _i & 1);
	struct tcp *t = block(&p);
	u32 flight = fill(&p), before = t->cwnd, una = t->snd_una, answers = 0;

	ck_assert_uint_gt(flight, 0);
	for (u32 i = 1; i <= 2000; i++) {
		peer_send_at(&p, PEER_ACK, p.seq, t->snd_nxt + i * 7, NULL, 0);
		peer_send_at(&p, PEER_ACK, p.seq, t->snd_nxt + (i << 19), "x", 1);
		answers += engine_frames_drop(p.s);
	}
	ck_assert_uint_eq(t->cwnd, before);
	ck_assert_uint_eq(t->snd_una, una);
	ck_assert_uint_eq(tcp_flight(t), flight);
	ck_assert_uint_eq(tcp_available(sock_get(p.s, p.sk), t), 0);
	ck_assert_uint_le(answers, 2);
	engine_free(p.s);
}
END_TEST

/*
 * Duplicates without end: one stands for a segment that has left the network, so there can't be more of them in a round trip than
 * there were segments in flight. What is in flight stays below twice what it was.
 */
START_TEST(H12_duplicates_without_end)
{
	struct peer p = sender(algorithms[_i % 3], _i >= 3);
	struct tcp *t = block(&p);
	u32 flight = fill(&p), most = 0;

	for (u32 i = 0; i < 5000; i++) {
		peer_send_at(&p, PEER_ACK, p.seq, t->snd_una, NULL, 0);
		engine_run(p.s, NS_PER_US); /* 5 ms in all: less than the round trip */
		engine_frames_drop(p.s);
		sock_lib_send(p.s, p.sk, 0, 0, data, sizeof(data), LX_MSG_DONTWAIT);
		most = MAX(most, tcp_flight(t));
	}
	ck_assert_msg(most <= 2 * flight, "%u bytes in flight, first %u", most, flight);
	ck_assert_uint_le(t->cwnd, 2 * flight);
	ck_assert_ptr_null(tcp_check(p.s, sock_get(p.s, p.sk)));
	engine_free(p.s);
}
END_TEST

/* All is acknowledged before it can have arrived: each byte counts once, and the window grows by no more than is acknowledged. */
START_TEST(H12_acknowledged_before_it_arrives)
{
	struct peer p = sender(algorithms[_i % 2], true);
	struct tcp *t = block(&p);

	for (u32 i = 0; i < 300; i++) {
		u32 before = t->cwnd, una = t->snd_una;

		sock_lib_send(p.s, p.sk, 0, 0, data, sizeof(data), LX_MSG_DONTWAIT);
		engine_frames_drop(p.s);
		peer_send_at(&p, PEER_ACK, p.seq, t->snd_nxt, NULL, 0);
		ck_assert_uint_le(t->cwnd, before + (t->snd_una - una));
		engine_run(p.s, NS_PER_MS);
	}
	ck_assert_uint_le(tcp_flight(t), t->snd_wnd);
	engine_free(p.s);
}
END_TEST

/* --- J8: ends that are out of step --- */

static void carry(struct stack *from, struct stack *to, u32 *frames)
{
	u32 len;

	while ((len = engine_frame_out(from, frame, NULL))) {
		++*frames;
		engine_frame_in(to, frame, len);
	}
}

static void run_both(struct stack *a, struct stack *b, u64 ns, u32 *frames)
{
	for (u64 end = a->now_ns + ns; a->now_ns < end;) {
		engine_run(a, NS_PER_MS);
		engine_run(b, NS_PER_MS);
		for (u32 i = 0; i < 20; i++) { /* a storm gets its chance */
			carry(a, b, frames);
			carry(b, a, frames);
		}
	}
}

static struct stack *other_host(void)
{
	struct stack_config c = net_config();
	struct stack *s;

	c.addr = addr_v4(NET_PEER);
	c.gateway = addr_v4(NET_HOST);
	memcpy(c.mac, net_peer_mac, 6);
	c.seed[0] ^= 1;
	s = engine_new(&c);
	engine_run(s, 10 * NS_PER_S);
	engine_frames_drop(s);
	return s;
}

/* Text that neither has sent is put in on both ways: each acknowledges what the other never sent. */
START_TEST(J8_storm_of_acknowledgements)
{
	struct stack *a = engine_new_ready(NULL), *b = other_host();
	ref listener = sock_lib_open(b, LX_SOCK_STREAM), ca = sock_lib_open(a, LX_SOCK_STREAM), cb;
	struct endpoint from;
	struct tcp *ta, *tb;
	u32 frames = 0;
	int error;

	a->tunables.tcp_timestamps = b->tunables.tcp_timestamps = 0;
	ck_assert_int_eq(sock_lib_bind(b, listener, 0, LISTEN_PORT), 0);
	ck_assert_int_eq(sock_listen(b, listener, 10), 0);
	ck_assert_int_eq(sock_lib_connect(a, ca, NET_PEER, LISTEN_PORT), -EINPROGRESS);
	run_both(a, b, 100 * NS_PER_MS, &frames);
	cb = sock_accept(b, listener, &error);
	ck_assert(cb);
	sock_name(a, ca, &from);
	ta = tcp_of(a, sock_get(a, ca));
	tb = tcp_of(b, sock_get(b, cb));
	for (u32 i = 0; i < 2; i++) {
		struct tcp *to = i ? tb : ta;
		struct net_tcp tcp = {.sport = i ? from.port : LISTEN_PORT,
			.dport = i ? LISTEN_PORT : from.port,
			.seq = to->rcv_nxt,
			.ack = to->snd_nxt,
			.flags = PEER_ACK | PEER_PSH,
			.window = 500};
		struct net_ip4 ip = {.src = i ? NET_HOST : NET_PEER,
			.dst = i ? NET_PEER : NET_HOST,
			.eth_dst = i ? net_peer_mac : net_host_mac,
			.eth_src = i ? net_host_mac : net_peer_mac};

		engine_frame_in(i ? b : a, frame, net_tcp(frame, &ip, &tcp, "0123456789", 10));
	}
	ck_assert_uint_eq(ta->rcv_nxt, tb->snd_nxt + 10);
	ck_assert_uint_eq(tb->rcv_nxt, ta->snd_nxt + 10);
	frames = 0;
	run_both(a, b, 30 * NS_PER_S, &frames);
	ck_assert_msg(frames <= 4 * 30 + 10, "%u frames in 30 s", frames); /* two a second and end */
	/* They have something to say as well. */
	sock_lib_send(a, ca, 0, 0, data, 10000, 0);
	sock_lib_send(b, cb, 0, 0, data, 10000, 0);
	frames = 0;
	run_both(a, b, 30 * NS_PER_S, &frames);
	ck_assert_msg(frames <= 10 * 30, "%u frames in 30 s", frames);
	engine_free(a);
	engine_free(b);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, H4_challenges_of_others_do_not_show);
	tcase_add_test(tc, H4_limit_of_the_host_is_random);
	tcase_add_loop_test(tc, H12_split_acknowledgements, 0, 3);
	tcase_add_loop_test(tc, H12_acknowledgements_of_the_future, 0, 3);
	tcase_add_loop_test(tc, H12_duplicates_without_end, 0, 6);
	tcase_add_loop_test(tc, H12_acknowledged_before_it_arrives, 0, 2);
	tcase_add_test(tc, J8_storm_of_acknowledgements);
}

int main(void)
{
	return check_lines_case("blind", 0, add_tests);
}
