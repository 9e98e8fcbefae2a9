/* Where libustack.so is. */
#ifndef TOOLS_LIBRARY_H
#define TOOLS_LIBRARY_H

#include "stack/types.h"

/*
 * Stores what LD_PRELOAD needs: the path of the library beside this program (build folder) or in
 * ../lib (installed), else its bare name for the loader to find. Returns true for a path.
 */
bool library_find(char *out, size_t size);

/* Puts it in LD_PRELOAD, in front of what is there already. Returns 0, or -1 when there is no
 * memory. */
int library_preload(void);

#endif
