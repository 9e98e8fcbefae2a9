/*
 * SO_ATTACH_FILTER: classic BPF programs over received packets (McCanne and Jacobson;
 * Documentation/networking/filter.rst).
 *
 * A program is checked once: opcodes, forward jumps inside the program, a return at its end; so a
 * run ends after at most as many steps as it has instructions. Offsets count from the transport
 * header; those from SKF_NET_OFF count from the IP header, and SKF_AD_OFF reaches some metadata. A
 * load beyond the packet drops it, as Linux does. The program lies in a packet buffer, which
 * children of a listener share.
 */
#include "stack/bytes.h"
#include "stack/linux.h"
#include "stack/sock_proto.h"

#define FILTER_MAX 4096u /* instructions */
#define FILTER_MEM 16u

/* Opcode fields. */
enum { CLASS_LD, CLASS_LDX, CLASS_ST, CLASS_STX, CLASS_ALU, CLASS_JMP, CLASS_RET, CLASS_MISC };
enum {
	MODE_IMM = 0x00,
	MODE_ABS = 0x20,
	MODE_IND = 0x40,
	MODE_MEM = 0x60,
	MODE_LEN = 0x80,
	MODE_MSH = 0xa0
};
enum { SIZE_W = 0x00, SIZE_H = 0x08, SIZE_B = 0x10 };
enum { SOURCE_X = 0x08 };
enum {
	ALU_ADD = 0x00,
	ALU_SUB = 0x10,
	ALU_MUL = 0x20,
	ALU_DIV = 0x30,
	ALU_OR = 0x40,
	ALU_AND = 0x50,
	ALU_LSH = 0x60,
	ALU_RSH = 0x70,
	ALU_NEG = 0x80,
	ALU_MOD = 0x90,
	ALU_XOR = 0xa0,
};
enum { JMP_JA = 0x00, JMP_JEQ = 0x10, JMP_JGT = 0x20, JMP_JGE = 0x30, JMP_JSET = 0x40 };
enum { RET_A = 0x10, MISC_TXA = 0x80 };

#define NET_OFF 0xfff00000u /* SKF_NET_OFF */
#define AD_OFF	0xfffff000u /* SKF_AD_OFF */

enum { AD_PROTOCOL = 0, AD_PKTTYPE = 4, AD_IFINDEX = 8, AD_MARK = 20, AD_CPU = 36 };

struct insn {
	u16 code;
	u8 jt, jf;
	u32 k;
};

static struct insn insn_read(const u8 *at)
{
	struct insn i;

	memcpy(&i, at, sizeof(i));
	return i;
}

static bool load_ok(const struct insn *i)
{
	u16 mode = i->code & 0xe0, size = i->code & 0x18;

	if ((i->code & 7) == CLASS_LDX) {
		if (mode == MODE_MSH)
			return size == SIZE_B;
		return size == SIZE_W && (mode == MODE_IMM || mode == MODE_LEN ||
						 (mode == MODE_MEM && i->k < FILTER_MEM));
	}
	if (mode == MODE_ABS || mode == MODE_IND)
		return size != 0x18;
	return size == SIZE_W &&
	       (mode == MODE_IMM || mode == MODE_LEN || (mode == MODE_MEM && i->k < FILTER_MEM));
}

static bool alu_ok(const struct insn *i)
{
	u16 op = i->code & 0xf0;

	if (op > ALU_XOR || (op == ALU_NEG && i->code & SOURCE_X))
		return false;
	if (i->code & SOURCE_X)
		return true;
	if (op == ALU_DIV || op == ALU_MOD)
		return i->k != 0;
	return (op != ALU_LSH && op != ALU_RSH) || i->k < 32;
}

/* `rest`: instructions behind this one. */
static bool insn_ok(const struct insn *i, u32 rest)
{
	u16 op = i->code & 0xf0;

	if (i->code > 0xff)
		return false;
	switch (i->code & 7) {
	case CLASS_LD:
	case CLASS_LDX:
		return load_ok(i);
	case CLASS_ST:
	case CLASS_STX:
		return !(i->code & 0xf8) && i->k < FILTER_MEM;
	case CLASS_ALU:
		return alu_ok(i);
	case CLASS_JMP:
		if (op == JMP_JA)
			return !(i->code & SOURCE_X) && i->k < rest;
		return op <= JMP_JSET && i->jt < rest && i->jf < rest;
	case CLASS_RET:
		return i->code == CLASS_RET || i->code == (CLASS_RET | RET_A);
	default:
		return i->code == CLASS_MISC || i->code == (CLASS_MISC | MISC_TXA);
	}
}

static bool program_ok(const u8 *program, u32 count)
{
	for (u32 at = 0; at < count; at++) {
		struct insn i = insn_read(program + at * sizeof(i));

		if (!insn_ok(&i, count - at - 1))
			return false;
		if (at == count - 1 && (i.code & 7) != CLASS_RET)
			return false;
	}
	return true;
}

int filter_attach(struct stack *s, struct sock *sk, const void *val, u32 len)
{
	u32 count = len / (u32)sizeof(struct insn);
	struct pkt *p;
	ref r;

	if (sock_stored(sk, STORED_LOCK_FILTER))
		return -EPERM;
	if (!count || count > FILTER_MAX || len % sizeof(struct insn) || !program_ok(val, count))
		return -EINVAL;
	r = pkt_alloc(s, len);
	p = pkt_get(s, r);
	if (!p)
		return -ENOMEM;
	memcpy(pkt_put(p, len), val, len);
	if (sk->filter)
		pkt_release(s, sk->filter);
	sk->filter = r;
	return 0;
}

int filter_detach(struct stack *s, struct sock *sk)
{
	if (sock_stored(sk, STORED_LOCK_FILTER))
		return -EPERM;
	if (!sk->filter)
		return -ENOENT;
	pkt_release(s, sk->filter);
	sk->filter = 0;
	return 0;
}

/* SO_GET_FILTER: *len counts instructions, both ways. */
int filter_get(struct stack *s, const struct sock *sk, void *val, u32 *len)
{
	struct pkt *p = sk->filter ? pkt_get(s, sk->filter) : NULL;
	u32 count = p ? pkt_len(p) / (u32)sizeof(struct insn) : 0;

	if (count && *len) {
		if (*len < count)
			return -EINVAL;
		if (pkt_len(p) > SOCK_OPT_MAX)
			return -ENOBUFS;
		memcpy(val, pkt_peek(p, 0, pkt_len(p)), pkt_len(p));
	}
	*len = count;
	return 0;
}

struct machine {
	u32 a, x;
	u32 mem[FILTER_MEM];
	bool out; /* a load went beyond the packet */
};

static u32 load_metadata(const struct pkt *p, u32 what, bool *out)
{
	switch (what) {
	case AD_PROTOCOL:
		return ETHERTYPE_IP4;
	case AD_IFINDEX:
		return p->ifindex;
	case AD_PKTTYPE:
	case AD_MARK:
	case AD_CPU:
		return 0;
	default:
		*out = true;
		return 0;
	}
}

static u32 load(struct pkt *p, u32 at, u16 size, bool *out)
{
	u32 n = size == SIZE_W ? 4 : size == SIZE_H ? 2 : 1;
	const u8 *b = NULL;

	if (at >= AD_OFF)
		return load_metadata(p, at - AD_OFF, out);
	if (at >= NET_OFF) {
		at -= NET_OFF;
		if (p->l3 <= p->end && at <= p->end - p->l3 && n <= p->end - p->l3 - at)
			b = p->data + p->l3 + at;
	} else {
		b = pkt_peek(p, at, n);
	}
	if (!b) {
		*out = true;
		return 0;
	}
	return n == 4 ? get32(b) : n == 2 ? get16(b) : b[0];
}

static void run_load(struct machine *m, struct pkt *p, const struct insn *i)
{
	bool to_x = (i->code & 7) == CLASS_LDX;
	u32 v = 0;

	switch (i->code & 0xe0) {
	case MODE_IMM:
		v = i->k;
		break;
	case MODE_ABS:
		v = load(p, i->k, i->code & 0x18, &m->out);
		break;
	case MODE_IND:
		v = load(p, m->x + i->k, i->code & 0x18, &m->out);
		break;
	case MODE_MEM:
		v = m->mem[i->k];
		break;
	case MODE_LEN:
		v = pkt_len(p);
		break;
	case MODE_MSH:
		v = (load(p, i->k, SIZE_B, &m->out) & 15) * 4;
		break;
	}
	if (to_x)
		m->x = v;
	else
		m->a = v;
}

/* Division by a zero X ends the program with 0, as Linux does. */
static void run_alu(struct machine *m, const struct insn *i)
{
	u32 v = i->code & SOURCE_X ? m->x : i->k;
	u16 op = i->code & 0xf0;

	if ((op == ALU_DIV || op == ALU_MOD) && v == 0) {
		m->out = true;
		return;
	}
	switch (op) {
	case ALU_ADD:
		m->a += v;
		break;
	case ALU_SUB:
		m->a -= v;
		break;
	case ALU_MUL:
		m->a *= v;
		break;
	case ALU_DIV:
		m->a /= v;
		break;
	case ALU_OR:
		m->a |= v;
		break;
	case ALU_AND:
		m->a &= v;
		break;
	case ALU_LSH:
		m->a <<= v & 31;
		break;
	case ALU_RSH:
		m->a >>= v & 31;
		break;
	case ALU_NEG:
		m->a = 0 - m->a;
		break;
	case ALU_MOD:
		m->a %= v;
		break;
	case ALU_XOR:
		m->a ^= v;
		break;
	}
}

static u32 run_jump(const struct machine *m, const struct insn *i)
{
	u32 v = i->code & SOURCE_X ? m->x : i->k;
	bool yes = false;

	switch (i->code & 0xf0) {
	case JMP_JA:
		return i->k;
	case JMP_JEQ:
		yes = m->a == v;
		break;
	case JMP_JGT:
		yes = m->a > v;
		break;
	case JMP_JGE:
		yes = m->a >= v;
		break;
	case JMP_JSET:
		yes = (m->a & v) != 0;
		break;
	}
	return yes ? i->jt : i->jf;
}

static void run_misc(struct machine *m, const struct insn *i)
{
	switch (i->code & 7) {
	case CLASS_ST:
		m->mem[i->k] = m->a;
		break;
	case CLASS_STX:
		m->mem[i->k] = m->x;
		break;
	case CLASS_MISC:
		if (i->code & MISC_TXA)
			m->a = m->x;
		else
			m->x = m->a;
		break;
	}
}

u32 filter_run(struct stack *s, const struct sock *sk, struct pkt *p)
{
	struct pkt *program = sk->filter ? pkt_get(s, sk->filter) : NULL;
	struct machine m = {0};
	u32 count = program ? pkt_len(program) / (u32)sizeof(struct insn) : 0;

	if (!program)
		return pkt_len(p);
	for (u32 at = 0; at < count && !m.out; at++) {
		const u8 *bytes =
			pkt_peek(program, at * (u32)sizeof(struct insn), sizeof(struct insn));
		struct insn i = insn_read(bytes);

		switch (i.code & 7) {
		case CLASS_LD:
		case CLASS_LDX:
			run_load(&m, p, &i);
			break;
		case CLASS_ALU:
			run_alu(&m, &i);
			break;
		case CLASS_JMP:
			at += run_jump(&m, &i);
			break;
		case CLASS_RET:
			return i.code & RET_A ? m.a : i.k;
		default:
			run_misc(&m, &i);
		}
	}
	return 0;
}
