/* Hostile TCP headers and options: rows G1 to G10 of README.md; and how an initial sequence number is made. */
#include <stdlib.h>
#include <string.h>

#include "stack/checksum.h"
#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/peer.h"
#include "tests/lib/sock_lib.h"

enum { IP = 14, TCP = IP + 20, STREAM = 1 };

static u8 frame[NET_FRAME_MAX], data[2000];

/* A segment at the peer's numbers, with any field changed by the caller. */
static struct net_tcp at(const struct peer *p, u16 flags)
{
	return (struct net_tcp){
		.sport = p->port, .dport = p->host_port, .seq = p->seq, .ack = flags & PEER_ACK ? p->ack : 0, .flags = flags, .window = 65535};
}

static void put(const struct peer *p, const struct net_tcp *tcp, u32 len)
{
	engine_frame_in(p->s, frame, net_tcp(frame, &(struct net_ip4){0}, tcp, data, len));
}

/* Computes the checksum again over what was changed behind the IP header. */
static void fix_tcp(u32 len)
{
	struct addr src = addr_v4(get32(frame + IP + 12)), dst = addr_v4(get32(frame + IP + 16));

	put16(frame + TCP + 16, 0);
	put16(frame + TCP + 16,
		checksum_finish(checksum_add(checksum_pseudo(&src, &dst, PROTO_TCP, len - TCP), frame + TCP, len - TCP)));
}

static struct peer established(void)
{
	struct peer p = peer_new(engine_new_ready(NULL));

	peer_enter(&p, STAGE_ESTABLISHED);
	return p;
}

static void over(struct peer *p)
{
	u64 broken = net_count(p->s, "invariant");

	ck_assert_uint_eq(broken, 0);
	engine_free(p->s);
}

START_TEST(G1_data_offset)
{
	struct peer p = established();
	struct net_tcp tcp = at(&p, PEER_ACK);
	u32 len = net_tcp(frame, &(struct net_ip4){0}, &tcp, data, 10);

	for (u32 words = 0; words < 16; words++) {
		frame[TCP + 12] = (u8)(words << 4);
		fix_tcp(len);
		if (words < 5 || words > 7)
			ck_assert_dropped(p.s, frame, len, "tcp_malformed");
	}
	for (u32 cut = TCP; cut < TCP + 20; cut++) {
		len = net_tcp(frame, &(struct net_ip4){0}, &tcp, data, 0);
		put16(frame + IP + 2, cut - IP);
		net_fix_ip4(frame);
		ck_assert_dropped(p.s, frame, cut, "tcp_malformed");
	}
	ck_assert(peer_alive(&p));
	over(&p);
}
END_TEST

/* Every kind with every length, at every place of the option space. */
static void every_option(struct peer *p, u16 flags, void (*check)(struct peer *, u16))
{
	static const u8 kinds[] = {0, 1, 2, 3, 4, 5, 6, 8, 19, 30, 34, 253, 255};
	u8 options[40];

	for (u32 k = 0; k < sizeof(kinds); k++) {
		for (u32 n = 0; n < 256; n += n < 44 ? 1 : 53) {
			for (u32 place = 0; place < 40; place += 13) {
				struct net_tcp tcp = at(p, flags);

				memset(options, 1, sizeof(options));
				options[place] = kinds[k];
				if (place + 1 < sizeof(options))
					options[place + 1] = (u8)n;
				if (place + 2 < sizeof(options))
					memset(options + place + 2, n & 1 ? 0xff : 0, sizeof(options) - place - 2);
				tcp.options = options;
				tcp.options_len = sizeof(options);
				put(p, &tcp, 0);
				check(p, flags);
			}
		}
	}
}

static void syn_was_taken(struct peer *p, u16 flags)
{
	struct peer_segment segment;

	(void)flags;
	ck_assert_int_eq(peer_stage(p), STAGE_SYN_RECEIVED);
	ck_assert(peer_next(p, &segment));
	ck_assert_uint_eq(segment.flags, PEER_SYN | PEER_ACK);
	p->seq++;
	peer_send(p, PEER_RST, NULL, 0);
	ck_assert_int_eq(peer_stage(p), STAGE_LISTEN);
}

static void nothing_happened(struct peer *p, u16 flags)
{
	(void)flags;
	ck_assert_int_eq(peer_stage(p), STAGE_ESTABLISHED);
	engine_frames_drop(p->s);
}

START_TEST(G2_options)
{
	struct peer p = peer_new(engine_new_ready(NULL));

	peer_enter(&p, STAGE_LISTEN);
	every_option(&p, PEER_SYN, syn_was_taken);
	over(&p);
	p = established();
	every_option(&p, PEER_ACK, nothing_happened);
	ck_assert(peer_alive(&p));
	over(&p);
}
END_TEST

START_TEST(G3_mss)
{
	static const struct {
		u16 announced, used;
	} cases[] = {{0, 88}, {1, 88}, {47, 88}, {87, 88}, {88, 88}, {89, 89}, {1460, 1460}, {1461, 1460}, {65535, 1460}};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		struct peer p = peer_new(engine_new_ready(NULL));
		u8 options[] = {2, 4, (u8)(cases[i].announced >> 8), (u8)cases[i].announced};
		struct net_tcp tcp = at(&p, PEER_SYN);
		struct peer_segment segment;
		int error;

		tcp.options = options;
		tcp.options_len = sizeof(options);
		peer_enter(&p, STAGE_LISTEN);
		put(&p, &tcp, 0);
		ck_assert(peer_next(&p, &segment));
		p.seq++;
		p.ack = segment.seq + 1;
		/* An MSS that comes later counts for nothing. */
		tcp = at(&p, PEER_ACK);
		tcp.options = (const u8[]){2, 4, 0, 100};
		tcp.options_len = 4;
		put(&p, &tcp, 0);
		p.sk = sock_accept(p.s, p.listener, &error);
		ck_assert(p.sk);
		ck_assert_int_eq(sock_lib_send(p.s, p.sk, 0, 0, data, sizeof(data), 0), sizeof(data));
		ck_assert(peer_next(&p, &segment));
		ck_assert_uint_eq(segment.len, cases[i].used);
		over(&p);
	}
}
END_TEST

START_TEST(G4_window_scale)
{
	/* Shift offered (255 with a flag of its own: none), and the window that a field of 2 then means. */
	static const struct {
		int shift;
		u32 window;
	} cases[] = {{-1, 2}, {0, 2}, {1, 4}, {14, 32768}, {15, 32768}, {255, 32768}};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		struct peer p = peer_new(engine_new_ready(NULL));
		u8 options[] = {1, 3, 3, (u8)cases[i].shift};
		struct net_tcp tcp = at(&p, PEER_SYN);
		struct peer_segment segment;
		struct tcp *t;
		int error;

		tcp.options = options;
		tcp.options_len = cases[i].shift < 0 ? 0 : 4;
		tcp.window = 60000;
		peer_enter(&p, STAGE_LISTEN);
		put(&p, &tcp, 0);
		ck_assert(peer_next(&p, &segment));
		p.seq++;
		p.ack = segment.seq + 1;
		tcp = at(&p, PEER_ACK);
		tcp.window = 2;
		put(&p, &tcp, 0);
		p.sk = sock_accept(p.s, p.listener, &error);
		ck_assert(p.sk);
		t = slab_get(p.s, SLAB_TCP, sock_get(p.s, p.sk)->tcp);
		ck_assert_uint_eq(t->snd_wnd, cases[i].window);
		over(&p);
	}
}
END_TEST

START_TEST(G5_urgent_pointers)
{
	static const u16 pointers[] = {0, 1, 2, 9, 10, 11, 1000, 32767, 32768, 65534, 65535};
	struct peer p = established();
	u8 buf[4000];

	for (u32 round = 0; round < 4; round++) {
		for (u32 i = 0; i < ARRAY_LEN(pointers); i++) {
			struct net_tcp tcp = at(&p, PEER_ACK | PEER_URG);
			s64 n;

			tcp.urgent = pointers[i];
			tcp.seq += round == 1 ? 20 : round == 2 ? (u32)-20 : 0;
			put(&p, &tcp, round == 3 ? 0 : 10);
			if (round == 0)
				p.seq += 10;
			while ((n = sock_lib_recv(p.s, p.sk, buf, sizeof(buf), 0, NULL)) > 0)
				ck_assert_int_le(n, 40);
			sock_lib_recv(p.s, p.sk, buf, 1, LX_MSG_OOB, NULL);
			ck_assert_int_eq(peer_stage(&p), STAGE_ESTABLISHED);
			ck_assert_ptr_null(tcp_check(p.s, sock_get(p.s, p.sk)));
		}
	}
	over(&p);
	/* On a SYN it means nothing. */
	p = peer_new(engine_new_ready(NULL));
	peer_enter(&p, STAGE_LISTEN);
	p.host_port = 80;
	{
		struct net_tcp tcp = at(&p, PEER_SYN | PEER_URG);

		tcp.urgent = 65535;
		put(&p, &tcp, 0);
	}
	ck_assert_int_eq(peer_stage(&p), STAGE_SYN_RECEIVED);
	over(&p);
}
END_TEST

/* What comes back, and where the connection stands then. */
enum reply { SILENT, ACKED, RESET, SYN_ACKED };
struct outcome {
	enum reply reply;
	enum peer_stage stage;
};

/*
 * RFC 9293 3.10.7 for a segment without text at RCV.NXT, whose ACK, if it has one, is of all that the host has sent. What differs:
 * a SYN together with a FIN opens nothing; a SYN for a handshake that a listener has begun is challenged like any (RFC 5961 4),
 * and so is one in TIME-WAIT at RCV.NXT, which is not newer.
 */
static struct outcome expected(enum peer_stage stage, u16 flags)
{
	bool fin = flags & PEER_FIN, syn = flags & PEER_SYN, rst = flags & PEER_RST, ack = flags & PEER_ACK;

	switch (stage) {
	case STAGE_NONE: /* 3.10.7.1 */
		return (struct outcome){rst ? SILENT : RESET, STAGE_NONE};
	case STAGE_LISTEN: /* 3.10.7.2 */
		if (rst)
			return (struct outcome){SILENT, STAGE_LISTEN};
		if (ack)
			return (struct outcome){RESET, STAGE_LISTEN};
		return syn && !fin ? (struct outcome){SYN_ACKED, STAGE_SYN_RECEIVED} : (struct outcome){SILENT, STAGE_LISTEN};
	case STAGE_SYN_SENT: /* 3.10.7.3 */
		if (rst)
			return (struct outcome){SILENT, ack ? STAGE_NONE : STAGE_SYN_SENT};
		if (!syn || fin)
			return (struct outcome){SILENT, STAGE_SYN_SENT};
		return ack ? (struct outcome){ACKED, STAGE_ESTABLISHED} : (struct outcome){SYN_ACKED, STAGE_SYN_RECEIVED};
	case STAGE_TIME_WAIT:
		if (rst || (!syn && !ack)) /* RFC 1337 */
			return (struct outcome){SILENT, STAGE_TIME_WAIT};
		return (struct outcome){syn || fin ? ACKED : SILENT, STAGE_TIME_WAIT};
	default:
		break;
	}
	/* 3.10.7.4: RST, SYN, ACK, FIN in this order. */
	if (rst)
		return (struct outcome){SILENT, stage == STAGE_SYN_RECEIVED ? STAGE_LISTEN : STAGE_NONE};
	if (syn)
		return (struct outcome){ACKED, stage};
	if (!ack)
		return (struct outcome){SILENT, stage};
	switch (stage) {
	case STAGE_SYN_RECEIVED:
	case STAGE_ESTABLISHED:
		return fin ? (struct outcome){ACKED, STAGE_CLOSE_WAIT} : (struct outcome){SILENT, STAGE_ESTABLISHED};
	case STAGE_FIN_WAIT_1:
	case STAGE_FIN_WAIT_2:
		return fin ? (struct outcome){ACKED, STAGE_TIME_WAIT} : (struct outcome){SILENT, STAGE_FIN_WAIT_2};
	case STAGE_CLOSE_WAIT:
		return (struct outcome){fin ? ACKED : SILENT, STAGE_CLOSE_WAIT};
	case STAGE_CLOSING:
		return (struct outcome){SILENT, STAGE_TIME_WAIT};
	default: /* LAST-ACK */
		return (struct outcome){SILENT, STAGE_NONE};
	}
}

static enum reply reply_of(struct peer *p)
{
	struct peer_segment segment;
	enum reply reply = SILENT;

	while (peer_next(p, &segment)) {
		ck_assert_int_eq(reply, SILENT); /* one answer at most */
		if (segment.flags & PEER_RST)
			reply = RESET;
		else
			reply = segment.flags & PEER_SYN ? SYN_ACKED : ACKED;
	}
	return reply;
}

/* The states, and all flags of byte 13 of the header; above 255 those of the reserved bits and AE. */
static void flags_in_state(enum peer_stage stage, u16 flags, u16 reserved)
{
	struct peer p = peer_new(engine_new_ready(NULL));
	struct outcome want = expected(stage, flags), got;
	struct peer_segment segment;
	struct net_tcp tcp;

	peer_enter(&p, stage);
	while (peer_next(&p, &segment)) {
		if (segment.seq == p.ack)
			p.ack += segment.len + (segment.flags & PEER_FIN ? 1 : 0);
	}
	ck_assert_int_eq(peer_stage(&p), stage);
	tcp = at(&p, flags | reserved);
	put(&p, &tcp, 0);
	got.reply = reply_of(&p);
	got.stage = peer_stage(&p);
	ck_assert_msg(got.reply == want.reply && got.stage == want.stage, "state %u, flags 0x%03x: answer %u, state %u, not %u, %u",
		stage, flags | reserved, got.reply, got.stage, want.reply, want.stage);
	over(&p);
}

START_TEST(G6_flags_in_state)
{
	for (u32 flags = 0; flags < 256; flags++)
		flags_in_state((enum peer_stage)_i, (u16)flags, 0);
}
END_TEST

START_TEST(G7_checksums)
{
	struct peer p = established();
	struct net_tcp tcp = at(&p, PEER_ACK | PEER_PSH);
	u32 len, sum;
	u8 buf[64];

	/* Every other sum is wrong, 0 and 0xffff among them: 0 does not stand for "none". */
	for (u32 wrong = 0; wrong < 65536; wrong += wrong < 3 || wrong > 65530 ? 1 : 251) {
		len = net_tcp(frame, &(struct net_ip4){0}, &tcp, "0123456789", 10);
		sum = get16(frame + TCP + 16);
		if (wrong == sum)
			continue;
		put16(frame + TCP + 16, wrong);
		ck_assert_dropped(p.s, frame, len, "tcp_csum");
	}
	/* A payload whose right sum is 0 (or 0xffff, the same in one's complement) is accepted. */
	len = net_tcp(frame, &(struct net_ip4){0}, &tcp, "0123456789", 10);
	put16(frame + TCP + 20, checksum_fold(get16(frame + TCP + 20) + get16(frame + TCP + 16)));
	fix_tcp(len);
	sum = get16(frame + TCP + 16);
	ck_assert(sum == 0 || sum == 0xffff);
	engine_frame_in(p.s, frame, len);
	ck_assert_int_eq(sock_lib_recv(p.s, p.sk, buf, sizeof(buf), 0, NULL), 10);
	over(&p);
}
END_TEST

START_TEST(G8_groups)
{
	static const u32 groups[] = {0xffffffff, 0x0a0000ff, 0x0a000000, 0xe0000001, 0xefffffff};
	static const u32 sources[] = {0xffffffff, 0x0a0000ff, 0xe0000001, 0, 0x7f000001, NET_HOST};
	struct peer p = established();

	for (u32 i = 0; i < ARRAY_LEN(groups) + ARRAY_LEN(sources); i++) {
		bool to = i < ARRAY_LEN(groups);
		struct net_ip4 ip = {
			.dst = to ? groups[i] : 0,
			.eth_dst = to ? net_everybody : NULL,
			.src = to ? 0 : sources[i - ARRAY_LEN(groups)],
			.fragment = 0x4000,
		};
		static const u16 flags[] = {PEER_SYN, PEER_ACK, PEER_SYN | PEER_ACK, PEER_FIN, PEER_RST | PEER_ACK};

		for (u32 k = 0; k < ARRAY_LEN(flags); k++) {
			struct net_tcp tcp = at(&p, flags[k]);
			u32 len = net_tcp(frame, &ip, &tcp, NULL, 0);

			if (!to && !ip.src) /* net_ip4 takes 0 for the peer */
				put32(frame + IP + 12, 0), net_fix_ip4(frame), fix_tcp(len);
			engine_frame_in(p.s, frame, len);
			ck_assert_msg(!engine_frames_drop(p.s), "an answer to case %u, flags %x", i, flags[k]);
		}
	}
	ck_assert_int_eq(slab_in_use(p.s, SLAB_TCP_REQUEST), 0);
	ck_assert(peer_alive(&p));
	over(&p);
}
END_TEST

START_TEST(G9_reserved_bits)
{
	/* AE, and the three bits that are still reserved: each state goes on as if they were not there. */
	static const u16 flags[] = {PEER_ACK, PEER_SYN, PEER_FIN | PEER_ACK, PEER_RST | PEER_ACK, PEER_SYN | PEER_ACK, 0xc0 | PEER_SYN,
		0xd0, 0};

	for (u32 stage = 0; stage < STAGES; stage++) {
		for (u32 i = 0; i < ARRAY_LEN(flags); i++) {
			for (u16 reserved = 0x100; reserved < 0x1000; reserved = (u16)(reserved + 0x100))
				flags_in_state((enum peer_stage)stage, flags[i], reserved);
		}
	}
}
END_TEST

/* A data segment with a timestamp. */
static void stamped(struct peer *p, u32 tsval, u32 tsecr, u32 len)
{
	u8 options[12] = {1, 1, 8, 10};
	struct net_tcp tcp = at(p, PEER_ACK);

	put32(options + 4, tsval);
	put32(options + 8, tsecr);
	tcp.options = options;
	tcp.options_len = sizeof(options);
	put(p, &tcp, len);
}

START_TEST(G10_timestamps)
{
	struct peer p = peer_new(engine_new_ready(NULL));
	u32 now, ecr[] = {0, 1, 0x80000000u, 0xffffffffu};
	struct net_tcp tcp;
	struct tcp *t;
	u8 buf[100];

	p.rich = true;
	peer_enter(&p, STAGE_ESTABLISHED);
	t = slab_get(p.s, SLAB_TCP, sock_get(p.s, p.sk)->tcp);
	/* Without it, and half the number space away: dropped. */
	tcp = at(&p, PEER_ACK | PEER_PSH);
	net_tcp(frame, &(struct net_ip4){0}, &tcp, data, 10);
	ck_assert_dropped(p.s, frame, TCP + 20 + 10, "tcp_no_timestamp");
	now = (u32)(p.s->now_ns / NS_PER_MS) + 5000;
	stamped(&p, now + 0x80000001u, p.ts_host, 10);
	stamped(&p, now - 100000, p.ts_host, 10);
	ck_assert_uint_eq(net_count(p.s, "tcp_paws"), 2);
	ck_assert_int_eq(sock_lib_recv(p.s, p.sk, buf, sizeof(buf), 0, NULL), -EAGAIN);
	engine_frames_drop(p.s);
	ck_assert(peer_alive(&p));
	/* An echo of what was never sent: no time is made of it, nor does it stop the connection. */
	for (u32 i = 0; i < ARRAY_LEN(ecr); i++) {
		ck_assert_int_eq(sock_lib_send(p.s, p.sk, 0, 0, data, 100, 0), 100);
		engine_run(p.s, 10 * NS_PER_S); /* sent several times */
		engine_frames_drop(p.s);
		p.ack += 100;
		stamped(&p, (u32)(p.s->now_ns / NS_PER_MS) + 5000, i < 3 ? ecr[i] : p.ts_host + 1000000, 0);
		ck_assert_uint_eq(t->snd_una, p.ack);
		ck_assert_uint_le(t->rtt.srtt_ns, 10 * NS_PER_S); /* as long as it took, at most */
	}
	ck_assert(peer_alive(&p));
	over(&p);
}
END_TEST

/* --- initial sequence numbers: RFC 6528 --- */

static u32 isn(struct stack *s, u16 local, u32 addr, u16 remote)
{
	struct endpoint l = {.addr = addr_v4(NET_HOST), .port = local}, r = {.addr = addr_v4(addr), .port = remote};

	return tcp_isn(s, &l, &r);
}

START_TEST(tcp_isn_keyed)
{
	struct stack_config other = net_config();
	struct stack *s = engine_new(NULL), *same = engine_new(NULL), *keyed;
	u32 first = isn(s, 80, NET_PEER, 4242), differing = 0;

	other.seed[0] ^= 1;
	keyed = engine_new(&other);
	ck_assert_uint_eq(first, isn(same, 80, NET_PEER, 4242));
	for (u16 port = 1; port < 1000; port++)
		differing += isn(s, 80, NET_PEER, port) != isn(keyed, 80, NET_PEER, port);
	ck_assert_uint_ge(differing, 998);
	/* Within a tuple it moves on by one in 4 us. */
	stack_clock(s, s->now_ns + NS_PER_S);
	ck_assert_uint_eq(isn(s, 80, NET_PEER, 4242) - first, 250000);
	engine_free(s);
	engine_free(same);
	engine_free(keyed);
}
END_TEST

START_TEST(tcp_isn_of_many_tuples)
{
	/* The differences between neighbouring tuples fall evenly: 256 classes by the upper and by the lower byte, chi square with 255 degrees of freedom. */
	struct stack *s = engine_new(NULL);
	u32 upper[256] = {0}, lower[256] = {0}, last = 0, n = 65536;
	double chi_upper = 0, chi_lower = 0, mean = n / 256.0;

	for (u32 i = 0; i < n; i++) {
		u32 now = isn(s, 80, NET_PEER + (i >> 8 & 7), (u16)(1024 + (i & 0xff) + (i >> 11) * 256));

		upper[(now - last) >> 24]++;
		lower[(now - last) & 0xff]++;
		last = now;
	}
	for (u32 i = 0; i < 256; i++) {
		chi_upper += (upper[i] - mean) * (upper[i] - mean) / mean;
		chi_lower += (lower[i] - mean) * (lower[i] - mean) / mean;
	}
	ck_assert(chi_upper < 350 && chi_lower < 350); /* exceeded by chance once in 10,000 */
	ck_assert(chi_upper > 175 && chi_lower > 175); /* and not suspiciously even */
	engine_free(s);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, G1_data_offset);
	tcase_add_test(tc, G2_options);
	tcase_add_test(tc, G3_mss);
	tcase_add_test(tc, G4_window_scale);
	tcase_add_test(tc, G5_urgent_pointers);
	tcase_add_loop_test(tc, G6_flags_in_state, 0, STAGES);
	tcase_add_test(tc, G7_checksums);
	tcase_add_test(tc, G8_groups);
	tcase_add_test(tc, G9_reserved_bits);
	tcase_add_test(tc, G10_timestamps);
	tcase_add_test(tc, tcp_isn_keyed);
	tcase_add_test(tc, tcp_isn_of_many_tuples);
}

int main(void)
{
	return check_lines_case("tcp", 0, add_tests);
}
