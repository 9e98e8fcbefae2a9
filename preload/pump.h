/*
 * The keeper's side of splicing: moves the bytes of spliced sockets. Theory of operation: pump.c.
 * All without the lock.
 */
#ifndef PRELOAD_PUMP_H
#define PRELOAD_PUMP_H

#include "preload/host.h"

/*
 * Splices a tethered socket whose header has been read: because a member said so, because somebody
 * without the library has written to the connection or shut it down, or because no member holds it any more. Takes the
 * descriptor over: it must be watched by nobody else from now on, and is closed by the pump. Behind
 * it tether_ended(tether) is called once: no descriptor is left anywhere, or the connection was
 * reset.
 *
 * The header's last byte is best left unread in the connection (`rest` 1): by a byte that the keeper
 * has not read a program learns ECONNRESET when the keeper closes. `rest` 0: it sees the end instead, until it has written something.
 */
void pump_start(u32 tether, int fd, ref sk, u32 rest);

/* A descriptor to be polled for input beside the others: then, and when the keeper's bell was rung,
 * pump_serve is to be called. -1 without memory. */
int pump_open(void);
void pump_serve(void);

#endif
