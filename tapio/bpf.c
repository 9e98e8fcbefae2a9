/*
 * Classic BPF over a frame in pieces. libpcap compiles the filter; its own interpreter wants the
 * frame in one piece, and a copy of 64 KiB has no place on a program thread's stack.
 */
#include "tapio/bpf.h"

#include <pcap/bpf.h>

struct machine {
	const struct iovec *iov;
	int iovcnt;
	u32 len;
	u32 a, x;
	u32 mem[BPF_MEMWORDS];
};

/* Reads size bytes at off, big-endian. Returns false where the frame is shorter. */
static bool bpf_load(const struct machine *m, u64 off, u32 size, u32 *value)
{
	u32 got = 0;

	*value = 0;
	if (off + size > m->len)
		return false;
	for (int i = 0; i < m->iovcnt && got < size; i++) {
		const u8 *base = m->iov[i].iov_base;
		u64 len = m->iov[i].iov_len;

		while (off < len && got < size) {
			*value = *value << 8 | base[off++];
			got++;
		}
		off -= MIN(off, len);
	}
	return got == size;
}

static bool bpf_ld(struct machine *m, const struct bpf_insn *insn)
{
	u32 size = BPF_SIZE(insn->code) == BPF_W ? 4 : BPF_SIZE(insn->code) == BPF_H ? 2 : 1;

	switch (BPF_MODE(insn->code)) {
	case BPF_IMM:
		m->a = insn->k;
		return true;
	case BPF_LEN:
		m->a = m->len;
		return true;
	case BPF_MEM:
		m->a = m->mem[insn->k % BPF_MEMWORDS];
		return true;
	case BPF_ABS:
		return bpf_load(m, insn->k, size, &m->a);
	case BPF_IND:
		return bpf_load(m, (u64)m->x + insn->k, size, &m->a);
	default:
		return false;
	}
}

static bool bpf_ldx(struct machine *m, const struct bpf_insn *insn)
{
	switch (BPF_MODE(insn->code)) {
	case BPF_IMM:
		m->x = insn->k;
		return true;
	case BPF_LEN:
		m->x = m->len;
		return true;
	case BPF_MEM:
		m->x = m->mem[insn->k % BPF_MEMWORDS];
		return true;
	case BPF_MSH:
		if (!bpf_load(m, insn->k, 1, &m->x))
			return false;
		m->x = (m->x & 0xf) * 4;
		return true;
	default:
		return false;
	}
}

static bool bpf_alu(struct machine *m, const struct bpf_insn *insn)
{
	u32 b = BPF_SRC(insn->code) == BPF_X ? m->x : insn->k;

	switch (BPF_OP(insn->code)) {
	case BPF_ADD:
		m->a += b;
		return true;
	case BPF_SUB:
		m->a -= b;
		return true;
	case BPF_MUL:
		m->a *= b;
		return true;
	case BPF_DIV:
		m->a = b ? m->a / b : 0;
		return b != 0;
	case BPF_MOD:
		m->a = b ? m->a % b : 0;
		return b != 0;
	case BPF_AND:
		m->a &= b;
		return true;
	case BPF_OR:
		m->a |= b;
		return true;
	case BPF_XOR:
		m->a ^= b;
		return true;
	case BPF_LSH:
		m->a = b < 32 ? m->a << b : 0;
		return true;
	case BPF_RSH:
		m->a = b < 32 ? m->a >> b : 0;
		return true;
	case BPF_NEG:
		m->a = 0 - m->a;
		return true;
	default:
		return false;
	}
}

/* How far to jump from the next instruction: forward only, so a program ends. */
static u32 bpf_jump(const struct machine *m, const struct bpf_insn *insn)
{
	u32 b = BPF_SRC(insn->code) == BPF_X ? m->x : insn->k;

	switch (BPF_OP(insn->code)) {
	case BPF_JA:
		return insn->k;
	case BPF_JEQ:
		return m->a == b ? insn->jt : insn->jf;
	case BPF_JGT:
		return m->a > b ? insn->jt : insn->jf;
	case BPF_JGE:
		return m->a >= b ? insn->jt : insn->jf;
	case BPF_JSET:
		return m->a & b ? insn->jt : insn->jf;
	default:
		return UINT32_MAX;
	}
}

u32 bpf_run(const struct bpf_insn *prog, u32 prog_len, const struct iovec *iov, int iovcnt, u32 len)
{
	struct machine m = {.iov = iov, .iovcnt = iovcnt, .len = len};
	bool ok = true;

	for (u64 pc = 0; ok && pc < prog_len; pc++) {
		const struct bpf_insn *insn = &prog[pc];

		switch (BPF_CLASS(insn->code)) {
		case BPF_LD:
			ok = bpf_ld(&m, insn);
			break;
		case BPF_LDX:
			ok = bpf_ldx(&m, insn);
			break;
		case BPF_ST:
			m.mem[insn->k % BPF_MEMWORDS] = m.a;
			break;
		case BPF_STX:
			m.mem[insn->k % BPF_MEMWORDS] = m.x;
			break;
		case BPF_ALU:
			ok = bpf_alu(&m, insn);
			break;
		case BPF_JMP:
			pc += bpf_jump(&m, insn);
			break;
		case BPF_RET:
			return BPF_RVAL(insn->code) == BPF_A ? m.a : insn->k;
		default: /* BPF_MISC */
			if (BPF_MISCOP(insn->code) == BPF_TAX)
				m.x = m.a;
			else
				m.a = m.x;
		}
	}
	return 0;
}
