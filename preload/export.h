/* Marks the functions that are interposed: defined in this library and visible in its dynamic symbol table (exports.map). */
#ifndef PRELOAD_EXPORT_H
#define PRELOAD_EXPORT_H

#define EXPORT __attribute__((visibility("default")))

#endif
