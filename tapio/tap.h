/* The TAP driver's opener; only tapio.c and the ustack command include this. */
#ifndef TAPIO_TAP_H
#define TAPIO_TAP_H

#include "tapio/tapio.h"

/* As tapio_open, for the TAP called NAME or NAME@NAMESPACE. */
int tap_open(struct tapio *dev, const char *spec, char *why, size_t why_size);

/*
 * Restricts what the frames that the device delivers may need of us (DEVICE_*): the kernel segments
 * and completes checksums for the rest. Stores what was accepted in dev->features. Returns 0 or a
 * negative errno.
 */
int tap_set_offload(struct tapio *dev, u32 features);

#endif
