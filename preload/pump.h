/*
 * The keeper's side of splicing: moves the bytes of spliced sockets. Theory of operation: pump.c.
 * All without the lock.
 */
#ifndef PRELOAD_PUMP_H
#define PRELOAD_PUMP_H

#include "preload/host.h"

/*
 * Splices a tethered socket: because a member said so, because somebody without the library has
 * written to the connection or shut it down, or because no member holds it any more. The descriptor
 * is watched, edge-triggered, for everything (tether_event hands it to pump_event), until
 * tether_ended(tether, lost) is called: no descriptor is left anywhere (lost), or the connection
 * was reset. False when it can't be: it listens, or there is no memory.
 */
bool pump_start(u32 tether, int fd, ref sk);

/* EPOLL* of its descriptor. */
void pump_event(ref sk, u32 events);

/* After the keeper's descriptors have been looked at, or its bell was rung: moves what is to be
 * moved. */
void pump_serve(void);

/* What is to be looked at by time. When to be called again, or NEVER. */
u64 pump_look(u64 now);

#endif
