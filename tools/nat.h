/* Address translation for a TAP's network, by nftables. */
#ifndef TOOLS_NAT_H
#define TOOLS_NAT_H

#include "stack/types.h"

/* Lets what comes from the TAP out to the world under the host's address. Returns an exit status.
 */
int nat_up(const char *tap);

/* Takes that back, forwarding included. Nothing there is no error. */
int nat_down(const char *tap);

bool nat_is_up(const char *tap);

#endif
