/* The ustack command: finds the command named and hands over to its file. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "stack/types.h"
#include "tools/command.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"run", run_command, "run a program on the stack"},
	{"up", up_command, "start a host that no program uses yet"},
	{"down", down_command, "end a host"},
	{"stat", stat_command, "print the counters of a running host"},
	{"sysctl", sysctl_command, "read and set the tunables of a running host"},
	{"tap", tap_command, "make, show and remove TAP devices"},
	{"link", link_command, "join two devices, with the loss and delay of a real link"},
	{"keeper", keeper_command, NULL}, /* started by the library */
	{"doctor", doctor_command, "say what this machine lacks to run, and what mends it"},
};

static void main_help(FILE *out)
{
	fputs("usage: ustack COMMAND ...\n\n", out);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i].help)
			fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
	fputs("\n`ustack COMMAND --help` says more of each.\n", out);
}

bool command_wants_help(int argc, char **argv)
{
	return argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
}

int command_failed(const char *format, ...)
{
	va_list args;

	fputs("ustack: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return COMMAND_FAILED;
}

int command_misused(const char *command, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "ustack %s: ", command);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, " (`ustack %s --help` says more)\n", command);
	return COMMAND_USAGE;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		main_help(stderr);
		return COMMAND_USAGE;
	}
	if (command_wants_help(argc, argv) || strcmp(argv[1], "help") == 0) {
		main_help(stdout);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "ustack: there is no command `%s`\n\n", argv[1]);
	main_help(stderr);
	return COMMAND_USAGE;
}
