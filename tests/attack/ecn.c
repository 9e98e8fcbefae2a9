/* Bits of ECN that lie: row K10 of README.md. */
#include <string.h>

#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/peer.h"
#include "tests/lib/sock_lib.h"

enum { LISTEN_PORT = 80, ROUNDS = 200, AE = 256 };

static u8 data[8000], frame[NET_FRAME_MAX];

static u32 chance(u32 *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* A segment of the peer with these bits in both headers. */
static void marked(struct peer *p, u16 flags, u8 tos, const void *payload, u32 len)
{
	struct net_ip4 ip = {.tos = tos};
	struct net_tcp tcp = {.sport = p->port,
		.dport = p->host_port,
		.seq = p->seq,
		.ack = flags & PEER_ACK ? p->ack : 0,
		.flags = flags,
		.window = 60000};

	p->seq += len + !!(flags & PEER_SYN);
	ck_assert(engine_frame_in(p->s, frame, net_tcp(frame, &ip, &tcp, payload, len)));
}

static u16 any_bits(u32 *seed)
{
	return (u16)(chance(seed) & (TH_ECE | TH_CWR));
}

/* Bytes go both ways whatever the bits say, and the window does not fall below two segments. */
static void transfer(struct peer *p, u32 *seed, u16 always)
{
	struct peer_segment segment;
	u32 begin = p->ack;

	for (u32 i = 0; i < ROUNDS; i++) {
		const struct tcp *t = tcp_of(p->s, sock_get(p->s, p->sk));
		u16 bits = always ? always : any_bits(seed);

		sock_lib_send(p->s, p->sk, 0, 0, data, sizeof(data), 0);
		while (peer_next(p, &segment)) {
			if (segment.seq == p->ack)
				p->ack += segment.len;
		}
		marked(p, (u16)(PEER_ACK | bits), (u8)(chance(seed) & 3), data,
			i % 3 ? 0 : chance(seed) % 100 + 1);
		ck_assert_uint_ge(t->cwnd, t->mss);
		ck_assert_uint_ge(t->ssthresh, 2u * t->mss);
		ck_assert_ptr_null(tcp_check(p->s, sock_get(p->s, p->sk)));
		engine_run(p->s, 20 * NS_PER_MS);
	}
	ck_assert_uint_ge(p->ack - begin, ROUNDS / 2 * 1460);
	ck_assert_uint_eq(net_count(p->s, "invariant"), 0);
}

static struct peer accepted(u8 tcp_ecn, u16 bits, u8 tos, u16 ack_bits)
{
	struct peer p = peer_new(engine_new_ready(NULL));
	struct peer_segment segment;
	int error;

	p.s->tunables.tcp_ecn = tcp_ecn;
	p.listener = sock_lib_open(p.s, LX_SOCK_STREAM);
	ck_assert_int_eq(sock_lib_bind(p.s, p.listener, 0, LISTEN_PORT), 0);
	ck_assert_int_eq(sock_listen(p.s, p.listener, 10), 0);
	p.host_port = LISTEN_PORT;
	marked(&p, (u16)(PEER_SYN | bits), tos, NULL, 0);
	ck_assert(peer_next(&p, &segment));
	p.ack = segment.seq + 1;
	marked(&p, (u16)(PEER_ACK | ack_bits), tos, NULL, 0);
	p.sk = sock_accept(p.s, p.listener, &error);
	ck_assert(p.sk);
	return p;
}

START_TEST(K10_bits_that_lie)
{
	u32 seed = (u32)_i + 1;
	struct peer p = accepted((u8)(_i % 6), (u16)((_i * 64) & (TH_ECE | TH_CWR | AE)),
		(u8)(chance(&seed) & 3), any_bits(&seed));

	transfer(&p, &seed, 0);
	engine_free(p.s);
}
END_TEST

/* ECE for ever. */
START_TEST(K10_echo_that_sticks)
{
	u32 seed = 1;
	struct peer p = accepted(2, TH_ECE | TH_CWR, 0, 0);

	transfer(&p, &seed, TH_ECE);
	engine_free(p.s);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, K10_bits_that_lie, 0, 48);
	tcase_add_test(tc, K10_echo_that_sticks);
}

int main(void)
{
	return check_lines_case("ecn", 0, add_tests);
}
