/*
 * What a frame asks of the device, or what the device says of a frame it delivers: the content of a
 * virtio-net header (virtio 1.2, 5.1.6) in host order. tapio/ and stack/ share it.
 */
#ifndef STACK_OFFLOAD_H
#define STACK_OFFLOAD_H

#include "stack/types.h"

enum offload_gso {
	OFFLOAD_GSO_NONE = 0,
	OFFLOAD_GSO_TCP4 = 1,
	OFFLOAD_GSO_UDP = 3, /* fragmentation offload; never sent, may be received */
	OFFLOAD_GSO_TCP6 = 4,
	OFFLOAD_GSO_UDP_L4 = 5, /* USO: one datagram each gso_size bytes */
};

enum {
	OFFLOAD_NEEDS_CSUM =
		1, /* the 16 bits at csum_start + csum_offset hold the pseudo-header's sum only */
	OFFLOAD_DATA_VALID = 2, /* received: the device has verified the checksum */
};

struct offload {
	u8 flags;	 /* OFFLOAD_NEEDS_CSUM, OFFLOAD_DATA_VALID */
	u8 gso_type;	 /* enum offload_gso */
	u16 header_len;	 /* bytes of Ethernet, IP and transport headers, when gso_type is set */
	u16 gso_size;	 /* payload bytes of each wire segment, when gso_type is set */
	u16 csum_start;	 /* offset in the frame where summing starts */
	u16 csum_offset; /* where the sum goes, from csum_start */
};

/* What a device can do for us; a capability that is absent is done in software by the stack. */
enum {
	DEVICE_CSUM = 1 << 0, /* completes checksums (OFFLOAD_NEEDS_CSUM) */
	DEVICE_TSO4 = 1 << 1,
	DEVICE_TSO6 = 1 << 2,
	DEVICE_USO = 1 << 3,
};

#endif
