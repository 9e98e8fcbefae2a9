/*
 * The Internet checksum (RFC 1071). Words are summed in the machine's byte order and the result
 * turned round once: the sum is the same in either order (RFC 1071 2 (B)).
 */
#include <string.h>

#include "stack/checksum.h"

static u32 checksum_fold64(u64 sum)
{
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (u32)sum;
}

u32 checksum_add(u32 sum, const void *data, u32 len)
{
	const u8 *p = data;
	u64 low = 0, high = 0, word;
	u32 sum16;

	/* Halves of 32 bits cannot overflow 64 for any length; two sums run in parallel. */
	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&word, p, 8);
		low += word & 0xffffffffu;
		high += word >> 32;
	}
	word = 0;
	memcpy(&word, p, len); /* zero bytes pad an odd end */
	low += (word & 0xffffffffu) + (word >> 32);
	sum16 = checksum_fold64(low + high);
	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
		sum16 = (sum16 & 0xff) << 8 | sum16 >> 8;
	sum += sum16;
	return sum < sum16 ? sum + 1 : sum;
}

u16 checksum_fold(u32 sum)
{
	return (u16)checksum_fold64(sum);
}

u16 checksum_finish(u32 sum)
{
	return (u16)~checksum_fold64(sum);
}

u32 checksum_pseudo(const struct addr *src, const struct addr *dst, u8 proto, u32 len)
{
	u32 skip = src->family == FAMILY_INET ? 12 : 0;
	u32 sum = proto + (len >> 16) + (len & 0xffff);

	sum = checksum_add(sum, src->b + skip, 16 - skip);
	return checksum_add(sum, dst->b + skip, 16 - skip);
}
