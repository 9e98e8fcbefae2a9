/*
 * Frame drivers behind one small interface: TAP, loopback and null devices now; AF_PACKET, stream
 * sockets and switch ports fit the same shape. A device exchanges whole Ethernet frames, up to 64
 * KiB where it segments (offload.h). Nothing here allocates, starts a thread or keeps state outside
 * struct tapio, so that a process that receives the descriptor can go on with a copy of the struct.
 */
#ifndef TAPIO_TAPIO_H
#define TAPIO_TAPIO_H

#include <sys/types.h>
#include <sys/uio.h>

#include "stack/offload.h"

enum tapio_kind { TAPIO_NONE, TAPIO_TAP, TAPIO_LOOP, TAPIO_NULL };

#define TAPIO_NAME_MAX 64
#define TAPIO_FRAME_MAX                                                                            \
	(65535 + 18)	  /* the largest frame read or written, Ethernet header included */
#define TAPIO_IOV_MAX 128 /* pieces of one frame */

/* Plain data, position independent: copied between processes together with its descriptor. */
struct tapio {
	int fd;	      /* -1 when closed; poll for reading */
	u8 kind;      /* enum tapio_kind */
	u8 vnet;      /* frames carry a virtio-net header */
	u16 mtu;      /* the device's MTU in bytes */
	u32 features; /* DEVICE_* that the device accepted */
	u8 mac[6]; /* an address to use on it when none is configured (never the host side's own) */
	char name[TAPIO_NAME_MAX]; /* without the kind, e.g. "tap0" */
};

/*
 * Opens the device named by spec, `KIND:NAME` or a bare name for a TAP (`tap:tap0`, `null:`,
 * `loop:`). A TAP that does not exist is created where that is allowed. `tap0@NETNS` is the TAP of
 * another network namespace, by its name in /run/netns or a path; the calling thread is in that
 * namespace for a moment. Returns 0, or a negative errno with one sentence for the user, including
 * what to do about it, in why.
 */
int tapio_open(struct tapio *dev, const char *spec, char *why, size_t why_size);
void tapio_close(struct tapio *dev);

/*
 * Reads one frame. Returns its length, -EAGAIN when there is none, -ENETDOWN when the device is
 * gone for good, or another negative errno. A frame of size bytes or more is dropped and gives
 * -EMSGSIZE. The TAPIO_HEAD bytes in front of buf are overwritten.
 */
#define TAPIO_HEAD 10 /* a virtio-net header */
ssize_t tapio_read(struct tapio *dev, void *buf, size_t size, struct offload *offload);

/*
 * Writes one frame gathered from iov (up to TAPIO_IOV_MAX pieces). Returns 0, -EAGAIN or -ENOBUFS
 * when the device has no room now (nothing was sent), -ENETDOWN when it is gone for good, -EIO
 * while the link is down (the frame is lost, as on a pulled cable), or another negative errno when
 * it refuses the frame.
 */
int tapio_write(
	struct tapio *dev, const struct iovec *iov, int iovcnt, const struct offload *offload);

#endif
