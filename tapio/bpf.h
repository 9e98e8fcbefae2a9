/* Runs capture filters; only capture.c and its test include this. */
#ifndef TAPIO_BPF_H
#define TAPIO_BPF_H

#include <sys/uio.h>

#include "stack/types.h"

struct bpf_insn;

/*
 * Runs a classic BPF program over a frame of len bytes in pieces. Returns what the program returns:
 * 0 to leave the frame out. A load past the frame's end, a wrong instruction or a division by zero
 * gives 0, as in the kernel.
 */
u32 bpf_run(
	const struct bpf_insn *prog, u32 prog_len, const struct iovec *iov, int iovcnt, u32 len);

#endif
