/*
 * Packet capture: every frame in and out into a pcap file with nanosecond timestamps, for tcpdump
 * and tshark. Several processes may hold the same descriptor: each appends whole records, so none
 * breaks another's.
 */
#ifndef TAPIO_CAPTURE_H
#define TAPIO_CAPTURE_H

#include <sys/uio.h>

#include "stack/offload.h"

struct bpf_insn;

struct capture {
	int fd;			 /* -1 when there is no capture */
	int error;		 /* the negative errno that ended it, 0 while it works */
	u32 filter_len;		 /* instructions; 0 takes every frame */
	struct bpf_insn *filter; /* on this process's heap */
};

/*
 * Starts a new file at path with the frames that match filter, an expression as in pcap-filter(7);
 * NULL or "" for all. libpcap is loaded only if there is a filter. Returns 0, or a negative errno
 * with one sentence for the user in why.
 */
int capture_open(
	struct capture *cap, const char *path, const char *filter, char *why, size_t why_size);

/*
 * Goes on with a capture that another process opened: fd is its descriptor, from now on ours.
 * Returns as capture_open does.
 */
int capture_attach(struct capture *cap, int fd, const char *filter, char *why, size_t why_size);

void capture_close(struct capture *cap);

/*
 * Appends one frame with the wall-clock time given. A partial checksum is completed in the file, so
 * that it is judged as the one on the wire would be. Returns 0, also for a frame that the filter
 * leaves out, or the negative errno (no space, file size limit) that ends the capture. May be
 * called by several threads at once; makes no allocation.
 */
int capture_frame(struct capture *cap, const struct iovec *iov, int iovcnt,
	const struct offload *offload, u64 realtime_ns);

#endif
