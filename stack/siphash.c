/* SipHash-2-4, after the paper "SipHash: a fast short-input PRF" (Aumasson, Bernstein 2012). */
#include <string.h>

#include "stack/siphash.h"

static u64 rotate(u64 x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void siphash_rounds(u64 v[4], int rounds)
{
	while (rounds--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

static u64 little_endian(u64 x)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? x : __builtin_bswap64(x);
}

u64 siphash(const struct siphash_key *key, const void *data, u32 len)
{
	const u8 *p = data;
	u64 last = (u64)len << 56, word = 0;
	u64 v[4] = {
		key->k[0] ^ 0x736f6d6570736575ull,
		key->k[1] ^ 0x646f72616e646f6dull,
		key->k[0] ^ 0x6c7967656e657261ull,
		key->k[1] ^ 0x7465646279746573ull,
	};

	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&word, p, 8);
		word = little_endian(word);
		v[3] ^= word;
		siphash_rounds(v, 2);
		v[0] ^= word;
	}
	word = 0;
	memcpy(&word, p, len);
	last |= little_endian(word);
	v[3] ^= last;
	siphash_rounds(v, 2);
	v[0] ^= last;
	v[2] ^= 0xff;
	siphash_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
