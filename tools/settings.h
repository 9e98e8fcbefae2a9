/* Configuration keys as options of `ustack run`, `up` and `down`, handed on in the environment. */
#ifndef TOOLS_SETTINGS_H
#define TOOLS_SETTINGS_H

#include "preload/config.h"

/*
 * Takes the options at the front of argv (argv[0] is the command) and sets the environment
 * variables of the same keys; a list given twice is joined. Stops at the first word that is no
 * option, or behind `--`. Returns its index, or a negative exit status after a message.
 */
int settings_take(int argc, char **argv);

/* The same where nothing but options may come. Returns an exit status after a message. */
int settings_take_all(int argc, char **argv);

/* The configuration that a program with this environment would have. Returns an exit status after a
 * message. */
int settings_load(struct config *config);

/* Prints a line for each key, for --help. */
void settings_help(void);

/*
 * The device of the configuration, made ready if it is a TAP that is not there and may be made: the
 * kernel's side gets the gateway's address. Returns an exit status after a message.
 */
int settings_make_device(const struct config *config);

#endif
