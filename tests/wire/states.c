/*
 * Every state x every kind of segment x where it lies in the window x what it acknowledges, as wire scripts that this program writes
 * and runs (`states NAME...` prints those whose ids contain a name instead).
 *
 * What must happen comes from tables that follow RFC 9293 3.10.7 with RFC 5961, row by row and in its order: `checks` are the steps
 * before the text (sequence number, RST, SYN, ACK field), of which the first row that matches decides; `texts` the rest. Every script
 * looks at the reply, the state, SND.UNA, SND.WND, what the program can read and its error, and at its end an old segment or one that
 * belongs nowhere makes the engine tell SND.NXT and RCV.NXT.
 *
 * Where the RFC leaves it open whether an ACK answers (text after the peer's FIN, say), either is right. Rows that deviate say so.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/wire.h"

enum state { CLOSED, LISTEN, SYN_SENT, SYN_PASSIVE, SYN_ACTIVE, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK,
	TIME_WAIT, STATES, STAY = STATES };
enum kind { SYN, SYN_ACK, ACK, FIN, RST, RST_ACK, DATA, DATA_FIN, URG, WINDOW, NONE, KINDS };
enum position { EXACT, IN, LEFT, RIGHT, EDGE, BEYOND, OLD, POSITIONS };
enum acks { ALL, PART, DUP, OLDER, ANCIENT, FUTURE, ACKS };
enum reply { NOTHING, SENDS_ACK, SENDS_RST, SENDS_RST_ACK, SENDS_SYN_ACK, EITHER };

#define BIT(n) (1u << (n))
#define EVERY  (~0u)

/* --- the dimensions --- */

/* Up to here the script brings the connection to its state. SND and RCV are the numbers of RFC 9293 3.3.1 then, relative to ISS and
 * IRS; max_wnd is the largest window that the peer has advertised. */
static const struct start {
	const char *name, *shown, *script;
	bool socket, has_part;
	s32 snd_una, snd_nxt, rcv_nxt, rcv_wnd, max_wnd;
} starts[STATES] = {
#define OPTIONS	 "set tcp_invalid_ratelimit 0\nset tcp_sack 0\nset tcp_early_retrans 0\nset tcp_timestamps 0\n"
#define LISTENER OPTIONS "s = socket tcp\nbind s 80\nlisten s 5\n"
#define SYN_IN	 "< S 0 win 1000 <mss 1460>\n> SA 0 ack 1 win 64240\n"
#define OPENED	 LISTENER SYN_IN "< A 1 ack 1 win 1000\nc = accept s\nsetopt c SO_OOBINLINE 1\n"
#define SENT                                                                                                                          \
	OPENED "send c 100\n> PA 1:101 ack 1\n< A 1 ack 101 win 1000\nsend c 100\n> PA 101:201 ack 1 win 65392\n" /* half of it acked */
#define SENT_FIN SENT "shutdown c WR\n> FA 201 ack 1 win 65392\n"
#define TOOK_FIN SENT "< FA 1 ack 101 win 1000\n> A 201 ack 2 win 65391\n"
	[CLOSED] = {"closed", "CLOSED", OPTIONS "s = socket tcp\nbind s 80\n", false, false, 0, 0, 0, 64240, 1000},
	[LISTEN] = {"listen", "LISTEN", LISTENER, false, false, 0, 0, 0, 64240, 1000},
	[SYN_SENT] = {"syn-sent", "SYN-SENT", OPTIONS "c = socket tcp\nsetopt c SO_OOBINLINE 1\nconnect c 10.0.0.1:80\n> S 0\n", true, false,
		0, 1, 0, 64240, 1000},
	[SYN_PASSIVE] = {"syn-received", "SYN-RECEIVED", LISTENER SYN_IN, false, false, 0, 1, 1, 64240, 1000},
	[SYN_ACTIVE] = {"syn-received-active", "SYN-RECEIVED",
		OPTIONS "c = socket tcp\nsetopt c SO_OOBINLINE 1\nconnect c 10.0.0.1:80\n> S 0\n" SYN_IN, true, false, 0, 1, 1, 64240, 1000},
	[ESTABLISHED] = {"established", "ESTABLISHED", SENT, true, true, 101, 201, 1, 65392, 1000},
	[FIN_WAIT_1] = {"fin-wait-1", "FIN-WAIT-1", SENT_FIN, true, true, 101, 202, 1, 65392, 1000},
	[FIN_WAIT_2] = {"fin-wait-2", "FIN-WAIT-2", SENT_FIN "< A 1 ack 202 win 1000\n", true, false, 202, 202, 1, 65392, 1000},
	[CLOSE_WAIT] = {"close-wait", "CLOSE-WAIT", TOOK_FIN, true, true, 101, 201, 2, 65391, 1000},
	[CLOSING] = {"closing", "CLOSING", SENT_FIN "< FA 1 ack 101 win 1000\n> A 202 ack 2 win 65391\n", true, true, 101, 202, 2, 65391,
		1000},
	[LAST_ACK] = {"last-ack", "LAST-ACK", TOOK_FIN "shutdown c WR\n> FA 201 ack 2 win 65391\n", true, true, 101, 202, 2, 65391, 1000},
	[TIME_WAIT] = {"time-wait", "CLOSED", SENT_FIN "< A 1 ack 202 win 1000\n< FA 1 ack 202 win 1000\n> A 202 ack 2 win 65391\n", true,
		false, 202, 202, 2, 65391, 1000},
};

static const struct {
	const char *name, *flags;
	s32 text, fin;
	bool syn, ack;
	const char *also;
} kinds[KINDS] = {
	[SYN] = {"syn", "S", 0, 0, true, false, " win 1000 <mss 1460>"},
	[SYN_ACK] = {"syn-ack", "SA", 0, 0, true, true, " win 1000 <mss 1460>"},
	[ACK] = {"ack", "A", 0, 0, false, true, " win 1000"},
	[FIN] = {"fin", "FA", 0, 1, false, true, " win 1000"},
	[RST] = {"rst", "R", 0, 0, false, false, ""},
	[RST_ACK] = {"rst-ack", "RA", 0, 0, false, true, ""},
	[DATA] = {"data", "PA", 10, 0, false, true, " win 1000"},
	[DATA_FIN] = {"data-fin", "FPA", 10, 1, false, true, " win 1000"},
	[URG] = {"urg", "UA", 10, 0, false, true, " win 1000 urg 10"},
	[WINDOW] = {"window", "A", 0, 0, false, true, " win 500"},
	[NONE] = {"none", ".", 10, 0, false, false, ""},
};
#define RSTS	(BIT(RST) | BIT(RST_ACK))
#define SYNS	(BIT(SYN) | BIT(SYN_ACK))
#define NO_ACKS (BIT(SYN) | BIT(RST) | BIT(NONE))

static const char *const position_names[] = {"exact", "in", "left", "right", "edge", "beyond", "old"};
static const char *const ack_names[] = {"all", "part", "dup", "old", "ancient", "future"};

static s32 position_of(const struct start *at, enum position p)
{
	switch (p) {
	case EXACT:
		return at->rcv_nxt;
	case IN:
		return at->rcv_nxt + 100;
	case LEFT:
		return at->rcv_nxt - 1;
	case RIGHT:
		return at->rcv_nxt + at->rcv_wnd - 1;
	case EDGE:
		return at->rcv_nxt + at->rcv_wnd;
	case BEYOND:
		return at->rcv_nxt + at->rcv_wnd + 1;
	default:
		return at->rcv_nxt - 500;
	}
}

static s32 ack_of(const struct start *at, enum acks a)
{
	switch (a) {
	case ALL:
		return at->snd_nxt;
	case PART:
		return at->snd_una + 50;
	case DUP:
		return at->snd_una;
	case OLDER:
		return at->snd_una - 50;
	case ANCIENT:
		return at->snd_una - at->max_wnd - 1;
	default:
		return at->snd_nxt + 1;
	}
}

/* --- the rules --- */

enum fit { FITS = 1, MISSES = 2 };

#define RECEIVED  (BIT(SYN_PASSIVE) | BIT(SYN_ACTIVE))
#define OPEN	  (BIT(ESTABLISHED) | BIT(FIN_WAIT_1) | BIT(FIN_WAIT_2))
#define SHUT	  (BIT(CLOSE_WAIT) | BIT(CLOSING) | BIT(LAST_ACK))
#define WITH_RCV  (RECEIVED | OPEN | SHUT | BIT(TIME_WAIT))

/* The first row that matches decides. `on`: the segment goes on to its text. */
static const struct check {
	u32 states, kinds, positions, acks;
	u8 fit;
	enum reply reply;
	enum state next;
	bool on;
	int error;
	const char *clause;
} checks[] = {
	{BIT(CLOSED), RSTS, EVERY, EVERY, 3, NOTHING, STAY, false, 0, "RFC9293-3.10.7.1"},
	{BIT(CLOSED), ~NO_ACKS, EVERY, EVERY, 3, SENDS_RST, STAY, false, 0, "RFC9293-3.10.7.1"},
	{BIT(CLOSED), EVERY, EVERY, EVERY, 3, SENDS_RST_ACK, STAY, false, 0, "RFC9293-3.10.7.1"},

	{BIT(LISTEN), RSTS, EVERY, EVERY, 3, NOTHING, STAY, false, 0, "RFC9293-3.10.7.2"},
	{BIT(LISTEN), ~NO_ACKS, EVERY, EVERY, 3, SENDS_RST, STAY, false, 0, "RFC9293-3.10.7.2"},
	{BIT(LISTEN), BIT(SYN), EVERY, EVERY, 3, SENDS_SYN_ACK, SYN_PASSIVE, false, 0, "RFC9293-3.10.7.2"},
	{BIT(LISTEN), EVERY, EVERY, EVERY, 3, NOTHING, STAY, false, 0, "RFC9293-3.10.7.2"},

	/* first, the ACK bit: anything but SND.NXT acknowledges what was not sent, or nothing */
	{BIT(SYN_SENT), BIT(RST_ACK), EVERY, ~BIT(ALL), 3, NOTHING, STAY, false, 0, "RFC9293-3.10.7.3"},
	{BIT(SYN_SENT), ~NO_ACKS, EVERY, ~BIT(ALL), 3, SENDS_RST, STAY, false, 0, "RFC9293-3.10.7.3"},
	/* second, RST: only with an ACK that is right */
	{BIT(SYN_SENT), BIT(RST), EVERY, EVERY, 3, NOTHING, STAY, false, 0, "RFC9293-3.10.7.3"},
	{BIT(SYN_SENT), BIT(RST_ACK), EVERY, EVERY, 3, NOTHING, CLOSED, false, 111, "RFC9293-3.10.7.3"},
	/* fourth and fifth */
	{BIT(SYN_SENT), BIT(SYN), EVERY, EVERY, 3, SENDS_SYN_ACK, SYN_ACTIVE, false, 0, "RFC9293-3.10.7.3"},
	{BIT(SYN_SENT), BIT(SYN_ACK), EVERY, EVERY, 3, SENDS_ACK, ESTABLISHED, false, 0, "RFC9293-3.10.7.3"},
	{BIT(SYN_SENT), EVERY, EVERY, EVERY, 3, NOTHING, STAY, false, 0, "RFC9293-3.10.7.3"},

	/* The SYN-ACK of a simultaneous open repeats the SYN (RFC 9293 3.5, figure 8). */
	{BIT(SYN_ACTIVE), BIT(SYN_ACK), BIT(LEFT), BIT(ALL), 3, EITHER, ESTABLISHED, false, 0, "RFC9293-3.5"},
	/* A deviation: a SYN that comes again has missed the SYN-ACK, which says what an ACK would and more (Linux: tcp_check_req). */
	{BIT(SYN_PASSIVE), BIT(SYN), BIT(LEFT), EVERY, 3, SENDS_SYN_ACK, STAY, false, 0, "RFC9293-3.10.7.4"},
	/* A new connection out of TIME-WAIT: the SYN lies above all that the old one used. */
	{BIT(TIME_WAIT), BIT(SYN), BIT(IN) | BIT(RIGHT) | BIT(EDGE) | BIT(BEYOND), EVERY, 3, SENDS_SYN_ACK, SYN_PASSIVE, false, 0,
		"RFC9293-MAY-2"},

	/* first, the sequence number */
	{WITH_RCV, RSTS, EVERY, EVERY, MISSES, NOTHING, STAY, false, 0, "RFC9293-3.10.7.4"},
	{WITH_RCV, EVERY, EVERY, EVERY, MISSES, SENDS_ACK, STAY, false, 0, "RFC9293-3.10.7.4"},
	/* second, RST, in the three ways of RFC 5961 3.2. A deviation: TIME-WAIT is not ended by one (RFC 1337 3, fix F1). */
	{BIT(TIME_WAIT), RSTS, EVERY, EVERY, FITS, NOTHING, STAY, false, 0, "RFC1337-3"},
	{WITH_RCV, RSTS, ~BIT(EXACT), EVERY, FITS, SENDS_ACK, STAY, false, 0, "RFC5961-3.2"},
	{BIT(SYN_PASSIVE), RSTS, BIT(EXACT), EVERY, FITS, NOTHING, LISTEN, false, 0, "RFC9293-3.10.7.4"},
	{BIT(SYN_ACTIVE), RSTS, BIT(EXACT), EVERY, FITS, NOTHING, CLOSED, false, 111, "RFC9293-3.10.7.4"},
	/* The error is ECONNRESET; the kernel says EPIPE where the peer has closed (tcp_reset). */
	{BIT(CLOSE_WAIT), RSTS, BIT(EXACT), EVERY, FITS, NOTHING, CLOSED, false, 32, "RFC5961-3.2"},
	{OPEN | SHUT, RSTS, BIT(EXACT), EVERY, FITS, NOTHING, CLOSED, false, 104, "RFC5961-3.2"},
	/* fourth, SYN */
	{WITH_RCV, SYNS, EVERY, EVERY, FITS, SENDS_ACK, STAY, false, 0, "RFC5961-4.2"},
	/* fifth, the ACK field */
	{WITH_RCV, NO_ACKS, EVERY, EVERY, FITS, NOTHING, STAY, false, 0, "RFC9293-3.10.7.4"},
	{RECEIVED, EVERY, EVERY, ~BIT(ALL), FITS, SENDS_RST, STAY, false, 0, "RFC9293-3.10.7.4"},
	{RECEIVED, EVERY, EVERY, EVERY, FITS, NOTHING, ESTABLISHED, true, 0, "RFC9293-3.10.7.4"},
	/* In TIME-WAIT a retransmitted FIN is all that can arrive: acknowledged above, as it misses the window. */
	{BIT(TIME_WAIT), BIT(ACK) | BIT(WINDOW), BIT(EXACT), EVERY, FITS, NOTHING, STAY, false, 0, "RFC9293-3.10.7.4"},
	{BIT(TIME_WAIT), EVERY, EVERY, EVERY, FITS, EITHER, STAY, false, 0, "RFC9293-3.10.7.4"},
	{OPEN | SHUT, EVERY, EVERY, BIT(FUTURE), FITS, SENDS_ACK, STAY, false, 0, "RFC9293-3.10.7.4"},
	{OPEN | SHUT, EVERY, EVERY, BIT(ANCIENT), FITS, SENDS_ACK, STAY, false, 0, "RFC5961-5.2"},
	{BIT(FIN_WAIT_1), EVERY, EVERY, BIT(ALL), FITS, NOTHING, FIN_WAIT_2, true, 0, "RFC9293-3.10.7.4"},
	{BIT(CLOSING), EVERY, EVERY, BIT(ALL), FITS, EITHER, TIME_WAIT, false, 0, "RFC9293-3.10.7.4"},
	{BIT(LAST_ACK), EVERY, EVERY, BIT(ALL), FITS, NOTHING, CLOSED, false, 0, "RFC9293-3.10.7.4"},
	{OPEN | SHUT, EVERY, EVERY, EVERY, FITS, NOTHING, STAY, true, 0, "RFC9293-3.10.7.4"},
};

/* Sixth to eighth: text and FIN, in the state that the ACK has led to. What lies at RCV.NXT, or over it, is taken. */
static const struct text {
	u32 states;
	enum reply reply; /* to whatever occupies sequence numbers */
	bool takes;
	enum state on_fin;
} texts[] = {
	{BIT(ESTABLISHED), SENDS_ACK, true, CLOSE_WAIT},
	{BIT(FIN_WAIT_1), SENDS_ACK, true, CLOSING},
	{BIT(FIN_WAIT_2), SENDS_ACK, true, TIME_WAIT},
	{SHUT | BIT(TIME_WAIT), EITHER, false, STAY}, /* "this should not occur": ignored */
};

/* One cell of the table: the segment, and what must come of it. */
struct cell {
	const struct start *at;
	enum state state, next;
	enum kind kind;
	enum position position;
	enum acks acks;
	s32 seq, end, ack;
	enum reply reply;
	const struct check *check;
	s32 snd_una, snd_nxt, rcv_nxt, snd_wnd, read;
};

/* RFC 9293 3.4, table 5. A deviation: an empty segment just behind the window is taken, where a peer that has used all of it stands
 * when its last segments are lost (Linux: tcp_sequence). */
static bool fits(const struct cell *c)
{
	s32 nxt = c->at->rcv_nxt, edge = nxt + c->at->rcv_wnd, last = c->end - 1;

	if (c->end == c->seq)
		return c->seq >= nxt && (c->seq < edge || (c->seq == edge && !(BIT(c->kind) & RSTS)));
	return (c->seq >= nxt && c->seq < edge) || (last >= nxt && last < edge);
}

static const struct check *check_of(const struct cell *c)
{
	u8 fit = fits(c) ? FITS : MISSES;

	for (u32 i = 0;; i++) {
		const struct check *k = &checks[i];

		if (k->states & BIT(c->state) && k->kinds & BIT(c->kind) && k->positions & BIT(c->position) && k->acks & BIT(c->acks) &&
			k->fit & fit)
			return k;
	}
}

static void judge_text(struct cell *c)
{
	const struct text *t = texts;

	while (!(t->states & BIT(c->next)))
		t++;
	if (c->end == c->seq)
		return;
	c->reply = t->reply;
	if (!t->takes || c->seq > c->rcv_nxt)
		return;
	c->read = c->seq + kinds[c->kind].text - c->rcv_nxt;
	c->rcv_nxt = c->end;
	if (kinds[c->kind].fin)
		c->next = t->on_fin;
}

/* RFC 9293 3.10.7.4, fifth: SND.UNA, and SND.WND from the newest segment. */
static void judge_ack(struct cell *c)
{
	bool synchronised = BIT(c->state) & (OPEN | SHUT | RECEIVED);

	if (c->acks == ALL || c->acks == PART)
		c->snd_una = c->ack;
	if (!synchronised || c->acks == OLDER)
		return;
	if (c->position != LEFT || c->acks != DUP) /* also if older, when it acknowledges more (Linux: tcp_may_update_window) */
		c->snd_wnd = c->kind == WINDOW ? 500 : 1000;
}

static void judge(struct cell *c)
{
	const struct start *at = c->at;

	c->seq = position_of(at, c->position);
	c->end = c->seq + kinds[c->kind].text + kinds[c->kind].fin + kinds[c->kind].syn;
	c->ack = ack_of(at, c->acks);
	c->check = check_of(c);
	c->reply = c->check->reply;
	c->next = c->check->next == STAY ? c->state : c->check->next;
	c->snd_una = at->snd_una;
	c->snd_nxt = at->snd_nxt;
	c->rcv_nxt = at->rcv_nxt;
	c->snd_wnd = 1000;
	c->read = 0;
	if (c->check->on || c->next == TIME_WAIT || (c->state == SYN_ACTIVE && c->next == ESTABLISHED))
		judge_ack(c);
	if (c->check->on)
		judge_text(c);
	if (c->reply == SENDS_SYN_ACK || (c->state == SYN_SENT && c->next == ESTABLISHED))
		c->rcv_nxt = c->seq + 1;
	if (c->state == SYN_SENT && c->next == ESTABLISHED)
		c->snd_una = c->snd_nxt;
}

/* --- the scripts --- */

static void write_reply(FILE *f, const struct cell *c)
{
	switch (c->reply) {
	case NOTHING:
		return;
	case SENDS_ACK:
		fprintf(f, "> A %d ack %d\n", c->snd_nxt, c->rcv_nxt);
		return;
	case SENDS_RST:
		fprintf(f, "> R %d\n", c->ack);
		return;
	case SENDS_RST_ACK:
		fprintf(f, "> RA * ack %d\n", c->end);
		return;
	case SENDS_SYN_ACK:
		if (c->state == TIME_WAIT) /* with an initial number above those of the old connection */
			fprintf(f, "> SA * ack %d\n", c->rcv_nxt);
		else
			fprintf(f, "> SA 0 ack %d\n", c->rcv_nxt);
		return;
	case EITHER:
		fprintf(f, "drop\n");
		return;
	}
}

/* What the program sees. */
static void write_socket(FILE *f, const struct cell *c)
{
	bool socket = c->at->socket;

	if (c->state == SYN_PASSIVE && !c->check->on) {
		fprintf(f, "accept s = -EAGAIN\n");
		return;
	}
	if (c->check->on && c->state == SYN_PASSIVE) {
		fprintf(f, "c = accept s\nsetopt c SO_OOBINLINE 1\n");
		socket = true;
	}
	if (!socket)
		return;
	fprintf(f, "state c %s\n", c->state == TIME_WAIT ? "CLOSED" : starts[c->next].shown);
	if (c->next != CLOSED && c->state != TIME_WAIT && c->next != TIME_WAIT) {
		fprintf(f, "info c snd_una = %d\n", c->snd_una);
		if (BIT(c->next) & (OPEN | SHUT))
			fprintf(f, "info c snd_wnd = %d\n", c->snd_wnd);
	}
	if (c->check->error) {
		fprintf(f, "error c = %s\n", c->check->error == 111 ? "ECONNREFUSED" : c->check->error == 32 ? "EPIPE" : "ECONNRESET");
		return;
	}
	fprintf(f, "error c = 0\n");
	if (c->read)
		fprintf(f, "recv c %d\n", c->read);
	if (BIT(c->next) & OPEN)
		fprintf(f, "recv c 1 = -EAGAIN\n");
	else if (BIT(c->next) & SHUT)
		fprintf(f, "recv c 1 = 0\n");
}

/* An old segment is answered with SND.NXT and RCV.NXT; where no connection is, a RST answers it. */
static void write_probe(FILE *f, const struct cell *c)
{
	if (c->next == TIME_WAIT) /* which answers ten times a second at most */
		fprintf(f, "+0.2 ");
	if (c->next == CLOSED || c->next == LISTEN)
		fprintf(f, "< A 7 ack 77\n> R 77\n");
	else if (c->next == SYN_SENT)
		fprintf(f, "+0.5 < SA 0 ack 1 win 1000 <mss 1460>\n> A 1 ack 1\n");
	else if (c->state != TIME_WAIT || c->next == TIME_WAIT)
		fprintf(f, "< A %d ack %d win 1000\n> A %d ack %d\n", c->rcv_nxt - 100, c->snd_una, c->snd_nxt, c->rcv_nxt);
}

static void write_script(FILE *f, const struct cell *c)
{
	char span[32] = "", ack[32] = "";

	fprintf(f, "clause %s\n%s", c->check->clause, c->at->script);
	if (kinds[c->kind].text)
		snprintf(span, sizeof(span), ":%d", c->seq + kinds[c->kind].text);
	if (kinds[c->kind].ack)
		snprintf(ack, sizeof(ack), " ack %d", c->ack);
	fprintf(f, "+0.01 < %s %d%s%s%s\n", kinds[c->kind].flags, c->seq, span, ack, kinds[c->kind].also);
	write_reply(f, c);
	write_socket(f, c);
	if (c->state == LISTEN && c->reply == SENDS_SYN_ACK) {
		fprintf(f, "accept s = -EAGAIN\n< A %d ack 1 win 1000\nc = accept s\nstate c ESTABLISHED\n", c->rcv_nxt);
		return;
	}
	write_probe(f, c);
}

/* With initial numbers as they come, and of both sides just below 2^32 and 2^31. */
static bool run_script(const char *script, size_t len, char *why, size_t why_size)
{
	static const u32 wrap = UINT32_MAX - 50, sign = INT32_MAX - 50;
	const u32 *isn[] = {NULL, &wrap, &sign};

	for (u32 i = 0; i < 3; i++) {
		if (!wire_run_text(script, len, isn[i], why, why_size))
			return false;
	}
	return true;
}

static int run_cell(struct cell *c, int argc, char **argv)
{
	char id[96], why[512], *script = NULL;
	size_t len = 0;
	FILE *f;
	bool passed = true, wanted = false;

	snprintf(id, sizeof(id), "wire-state-%s-%s-%s%s%s", c->at->name, kinds[c->kind].name, position_names[c->position],
		kinds[c->kind].ack ? "-" : "", kinds[c->kind].ack ? ack_names[c->acks] : "");
	judge(c);
	f = open_memstream(&script, &len);
	write_script(f, c);
	fclose(f);
	for (int i = 1; i < argc; i++)
		wanted |= strstr(id, argv[i]) != NULL;
	if (wanted)
		printf("# %s\n%s\n", id, script);
	if (wanted || argc == 1) {
		passed = run_script(script, len, why, sizeof(why));
		printf(passed ? "ok %s\n" : "not ok %s %s\n", id, why);
	}
	free(script);
	return !passed;
}

/* The numbers that an ACK can have in a state; without the ACK bit there is one segment alone. */
static bool has_ack(const struct start *at, enum kind kind, enum acks a)
{
	if (!kinds[kind].ack)
		return a == ALL;
	if (a == PART)
		return at->has_part;
	return a != DUP || at->snd_una != at->snd_nxt;
}

int main(int argc, char **argv)
{
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (u32 state = 0; state < STATES; state++) {
		for (u32 i = 0; i < KINDS * POSITIONS * ACKS; i++) {
			struct cell c = {.at = &starts[state], .state = state, .kind = i / ACKS / POSITIONS,
				.position = i / ACKS % POSITIONS, .acks = i % ACKS};

			if (has_ack(c.at, c.kind, c.acks))
				failed |= run_cell(&c, argc, argv);
		}
	}
	return failed;
}
