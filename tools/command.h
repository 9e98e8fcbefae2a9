/* The commands of `ustack`, and what they share. */
#ifndef TOOLS_COMMAND_H
#define TOOLS_COMMAND_H

#include <stdbool.h>

/* Exit statuses besides 0. */
enum {
	COMMAND_FAILED = 1, /* tried, and it went wrong */
	COMMAND_USAGE = 2,  /* not understood */
};

/* Each gets argv from its own name on and returns the exit status. */
int down_command(int argc, char **argv);
int doctor_command(int argc, char **argv);
int keeper_command(int argc, char **argv);
int link_command(int argc, char **argv);
int run_command(int argc, char **argv);
int stat_command(int argc, char **argv);
int sysctl_command(int argc, char **argv);
int tap_command(int argc, char **argv);
int up_command(int argc, char **argv);

/* The first argument asks for help. */
bool command_wants_help(int argc, char **argv);

/* Prints `ustack: ...` on stderr. Returns COMMAND_FAILED or COMMAND_USAGE, as named. */
int command_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
int command_misused(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
