/*
 * Opening a device by its specification, reading and writing frames, and the two devices that need
 * no driver.
 *
 * One read or write moves one frame; the virtio-net header goes beside it through writev, and
 * into the bytes before the frame by read, as sandboxes forbid readv: so a frame is never copied to
 * make room. `loop:` is a Unix datagram socket connected to itself:
 * its queue is bounded by the socket's send buffer (EAGAIN), and nobody else can send to it.
 * `null:` swallows frames and never becomes readable.
 *
 * How Linux reports trouble on a TAP (6.18): an interface that was deleted gives EBADFD on read and
 * write and POLLERR; one that is down gives EIO on write and no frames to read. So EIO is a pulled
 * cable, and only EBADFD is the end.
 */
#include "tapio/tapio.h"

#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "tapio/sys.h"
#include "tapio/tap.h"

#define ALL_FEATURES (DEVICE_CSUM | DEVICE_TSO4 | DEVICE_TSO6 | DEVICE_USO)

static int tapio_open_loop(struct tapio *dev)
{
	/* An address of the family alone binds to a free name in the abstract space. */
	struct sockaddr self = {.sa_family = AF_UNIX};
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	int fd = (int)sys_call(
		SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, 0, 0);
	long ret;

	if (fd < 0)
		return fd;
	ret = sys_call(SYS_bind, fd, SYS_ARG(&self), sizeof(self.sa_family), 0, 0);
	if (ret == 0)
		ret = sys_call(SYS_getsockname, fd, SYS_ARG(&name), SYS_ARG(&len), 0, 0);
	if (ret == 0)
		ret = sys_call(SYS_connect, fd, SYS_ARG(&name), (long)len, 0, 0);
	if (ret < 0) {
		sys_call(SYS_close, fd, 0, 0, 0, 0);
		return (int)ret;
	}
	dev->fd = fd;
	dev->kind = TAPIO_LOOP;
	return 0;
}

static int tapio_open_null(struct tapio *dev)
{
	int fd = (int)sys_call(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK, 0, 0, 0);

	if (fd < 0)
		return fd;
	dev->fd = fd;
	dev->kind = TAPIO_NULL;
	return 0;
}

static int tapio_open_own(struct tapio *dev, int (*opener)(struct tapio *), const char *name,
	char *why, size_t why_size)
{
	int ret = opener(dev);

	if (ret < 0) {
		snprintf(why, why_size, "cannot make a descriptor for the device: %s",
			strerror(-ret));
		return ret;
	}
	dev->vnet = 1;
	dev->mtu = 1500;
	dev->features = ALL_FEATURES;
	dev->mac[0] = 0x02;
	dev->mac[5] = 0x01;
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	return 0;
}

int tapio_open(struct tapio *dev, const char *spec, char *why, size_t why_size)
{
	const char *colon = strchr(spec, ':');
	const char *name = colon ? colon + 1 : spec;
	size_t kind = colon ? (size_t)(colon - spec) : 0;
	int ret;

	memset(dev, 0, sizeof(*dev));
	dev->fd = -1;
	if (why_size > 0)
		why[0] = '\0';
	if (!colon || (kind == 3 && strncmp(spec, "tap", 3) == 0)) {
		ret = tap_open(dev, name, why, why_size);
	} else if (kind == 4 && strncmp(spec, "loop", 4) == 0) {
		ret = tapio_open_own(dev, tapio_open_loop, name, why, why_size);
	} else if (kind == 4 && strncmp(spec, "null", 4) == 0) {
		ret = tapio_open_own(dev, tapio_open_null, name, why, why_size);
	} else {
		snprintf(why, why_size,
			"`%s` is no device: KIND:NAME with one of the kinds tap, loop, null is "
			"expected, or the "
			"name of a TAP",
			spec);
		ret = -EINVAL;
	}
	if (ret < 0)
		tapio_close(dev);
	return ret;
}

void tapio_close(struct tapio *dev)
{
	if (dev->fd >= 0)
		sys_call(SYS_close, dev->fd, 0, 0, 0, 0);
	dev->fd = -1;
	dev->kind = TAPIO_NONE;
}

_Static_assert(TAPIO_HEAD == sizeof(struct virtio_net_hdr), "what precedes a frame");

static void tapio_decode(struct offload *offload, const struct virtio_net_hdr *hdr)
{
	offload->flags = 0;
	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		offload->flags |= OFFLOAD_NEEDS_CSUM;
	if (hdr->flags & VIRTIO_NET_HDR_F_DATA_VALID)
		offload->flags |= OFFLOAD_DATA_VALID;
	offload->gso_type = hdr->gso_type & (u8)~VIRTIO_NET_HDR_GSO_ECN;
	offload->header_len = hdr->hdr_len;
	offload->gso_size = hdr->gso_size;
	offload->csum_start = hdr->csum_start;
	offload->csum_offset = hdr->csum_offset;
}

static void tapio_encode(struct virtio_net_hdr *hdr, const struct offload *offload)
{
	memset(hdr, 0, sizeof(*hdr));
	if (offload->flags & OFFLOAD_NEEDS_CSUM) {
		hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		hdr->csum_start = offload->csum_start;
		hdr->csum_offset = offload->csum_offset;
	}
	if (offload->gso_type != OFFLOAD_GSO_NONE) {
		hdr->gso_type = offload->gso_type;
		hdr->gso_size = offload->gso_size;
		hdr->hdr_len = offload->header_len;
	}
}

ssize_t tapio_read(struct tapio *dev, void *buf, size_t size, struct offload *offload)
{
	size_t head = dev->vnet ? TAPIO_HEAD : 0;
	char *from = (char *)buf - head;
	struct virtio_net_hdr hdr;
	ssize_t ret;

	memset(offload, 0, sizeof(*offload));
	if (dev->kind == TAPIO_NULL)
		return -EAGAIN;
	if (dev->kind == TAPIO_NONE)
		return -ENETDOWN;
	do {
		ret = sys_call(SYS_read, dev->fd, SYS_ARG(from), (long)(head + size), 0, 0);
	} while (ret == -EINTR);
	if (ret == -EBADFD)
		return -ENETDOWN;
	if (ret < 0)
		return ret;
	if ((size_t)ret < head)
		return -EIO;
	if (head) {
		memcpy(&hdr, from, sizeof(hdr));
		tapio_decode(offload, &hdr);
	}
	ret -= (ssize_t)head;
	/* The kernel cuts a long frame without a word: one that fills the buffer may have been. */
	return (size_t)ret == size ? -EMSGSIZE : ret;
}

int tapio_write(
	struct tapio *dev, const struct iovec *iov, int iovcnt, const struct offload *offload)
{
	struct virtio_net_hdr hdr;
	struct iovec all[TAPIO_IOV_MAX + 1];
	size_t head = dev->vnet ? 1 : 0;
	ssize_t ret;

	if (dev->kind == TAPIO_NONE)
		return -ENETDOWN;
	if (iovcnt < 0 || iovcnt > TAPIO_IOV_MAX)
		return -EMSGSIZE;
	if (dev->kind == TAPIO_NULL)
		return 0;
	if (head) {
		tapio_encode(&hdr, offload);
		all[0] = (struct iovec){.iov_base = &hdr, .iov_len = sizeof(hdr)};
	}
	memcpy(all + head, iov, (size_t)iovcnt * sizeof(*iov));
	do {
		ret = sys_call(SYS_writev, dev->fd, SYS_ARG(all), iovcnt + (long)head, 0, 0);
	} while (ret == -EINTR);
	if (ret == -EBADFD)
		return -ENETDOWN;
	if (ret == -ENOMEM)
		return -ENOBUFS;
	return ret < 0 ? (int)ret : 0;
}
