/* The Internet checksum (RFC 1071). */
#ifndef STACK_CHECKSUM_H
#define STACK_CHECKSUM_H

#include "stack/addr.h"

/* Adds len bytes to a running sum; every call but the last of a message must have an even length.
 */
u32 checksum_add(u32 sum, const void *data, u32 len);

/* The 16 bits to store, in host order (put16 them), from a running sum: folded and complemented. */
u16 checksum_finish(u32 sum);

/* The running sum of the pseudo-header of either family (RFC 9293 3.1, RFC 8200 8.1). */
u32 checksum_pseudo(const struct addr *src, const struct addr *dst, u8 proto, u32 len);

/* Folded, not complemented: what OFFLOAD_NEEDS_CSUM wants in the checksum field. */
u16 checksum_fold(u32 sum);

#endif
