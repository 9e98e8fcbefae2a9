/* Where libustack.so is. */
#ifndef TOOLS_LIBRARY_H
#define TOOLS_LIBRARY_H

#include "stack/types.h"

/*
 * Stores what LD_PRELOAD needs: the path of the library beside this program (build folder) or in
 * ../lib (installed), else its bare name for the loader to find. Returns true for a path.
 */
bool library_find(char *out, size_t size);

#endif
