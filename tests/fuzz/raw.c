/*
 * libFuzzer: the input is frames as they are, each behind two bytes of length, for a host with a connection, a listener and a datagram
 * socket; checksums are not made right, so what is found here is in the layers that look at frames before them. A device that
 * vouches for checksums takes the input further: the first byte says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/tcp.h"
#include "tests/lib/peer.h"
#include "tests/lib/sock_lib.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct offload offload = {0};
	struct peer p;
	struct sock *sk;

	if (size < 2)
		return 0;
	p = peer_new(engine_new_ready(NULL));
	peer_enter(&p, (enum peer_stage)(STAGE_LISTEN + data[0] % (STAGES - 1)));
	if (data[1] & 1)
		offload.flags = OFFLOAD_DATA_VALID;
	for (data += 2, size -= 2; size > 2;) {
		u32 len = (u32)get16(data) % 2048;

		data += 2;
		size -= 2;
		len = (u32)MIN(len, size);
		engine_frame_in_offload(p.s, data, len, &offload);
		data += len;
		size -= len;
		engine_run(p.s, 10 * NS_PER_MS);
		engine_frames_drop(p.s);
	}
	for (u32 i = 0; i < slab_touched(p.s, SLAB_SOCK); i++) {
		sk = slab_at(p.s, SLAB_SOCK, i);
		if (sk && tcp_check(p.s, sk)) {
			fprintf(stderr, "%s\n", tcp_check(p.s, sk));
			abort();
		}
	}
	engine_free(p.s);
	return 0;
}
