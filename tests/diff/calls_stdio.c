/*
 * stdio on sockets: streams made with fdopen, and the standard streams of a program that is started
 * with a socket as its input and output.
 */
#include "tests/diff/calls.h"

#include <stdio_ext.h>
#include <sys/wait.h>

static char program[4096];

static void show_stream(const char *name, FILE *f)
{
	printf("%s: eof %d error %d\n", name, feof(f) != 0, ferror(f) != 0);
}

static void lines(void)
{
	FILE *f = fdopen(tcp_to('e'), "r+");
	char *line = NULL, word[16];
	size_t room = 0;
	int number = 0, c;

	SHOW(fputs("first line\nsecond 42 word\nx", f));
	SHOW(fflush(f));
	SHOW(getline(&line, &room, f));
	printf("line: %s", line);
	SHOW(fscanf(f, "%6s %d", word, &number));
	printf("scanned: %s %d\n", word, number);
	SHOW(getdelim(&line, &room, '\n', f));
	SHOW(c = fgetc(f));
	SHOW(ungetc(c, f));
	SHOW(fgetc(f));
	free(line);
	SHOW(fputc('a', f));
	SHOW(fputs("bc\n", f));
	SHOW(fwrite("1234", 2, 2, f));
	SHOW(fflush(f));
	SHOW(fread(word, 1, 8, f));
	show_text("read", word, 8);
	show_stream("lines", f);
	SHOW(fclose(f));
}

static void big(void)
{
	enum { SIZE = 300000 };
	int fd = tcp_to('e');
	FILE *out = fdopen(fd, "w"), *in = fdopen(dup(fd), "r");
	unsigned char *data = malloc(2 * SIZE);
	pid_t child;

	for (int i = 0; i < SIZE; i++)
		data[i] = (unsigned char)(i * 7 + i / 256);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		fwrite(data, 1, SIZE, out);
		_exit(fclose(out) != 0);
	}
	SHOW(fread(data + SIZE, 1, SIZE, in));
	SHOW(memcmp(data, data + SIZE, SIZE));
	waitpid(child, NULL, 0);
	SHOW(fclose(out));
	SHOW(fclose(in));
	free(data);
}

static void buffers(void)
{
	int fd = tcp_to('e');
	FILE *f = fdopen(fd, "w");
	static char buffer[8192];
	char got[16];

	SHOW(setvbuf(f, NULL, _IONBF, 0));
	SHOW(fputs("now", f));
	SHOW(recv(fd, got, 3, MSG_WAITALL));
	fclose(f);
	fd = tcp_to('e');
	f = fdopen(fd, "w");
	SHOW(setvbuf(f, NULL, _IOLBF, 0));
	SHOW(fputs("a line\nrest", f));
	nap_ms(100);
	SHOW(recv(fd, got, sizeof(got), 0));
	SHOW(fflush(f));
	SHOW(recv(fd, got, 4, MSG_WAITALL));
	fclose(f);
	fd = tcp_to('e');
	f = fdopen(fd, "w");
	SHOW(setvbuf(f, buffer, _IOFBF, sizeof(buffer)));
	SHOW(fputs("kept", f));
	SHOW(__fpending(f));
	nap_ms(50);
	SHOW(recv(fd, got, sizeof(got), MSG_DONTWAIT));
	SHOW(fflush(NULL) == 0);
	SHOW(recv(fd, got, 4, MSG_WAITALL));
	SHOW(fprintf(f, "%s %5.2f|%-4d|%x", "formatted", 3.14159, 7, 255));
	SHOW(fclose(f));
	SHOW(fcntl(fd, F_GETFD));
}

static void ends(void)
{
	FILE *f = fdopen(tcp_to('s'), "r");
	char got[16];
	int fd;

	SHOW(fread(got, 1, sizeof(got), f));
	show_stream("end", f);
	SHOW(fgetc(f));
	clearerr(f);
	show_stream("cleared", f);
	SHOW(fgetc(f));
	fclose(f);

	f = fdopen(tcp_to('r'), "r");
	nap_ms(100);
	SHOW(fgetc(f));
	show_stream("reset", f);
	fclose(f);

	fd = tcp_to('r');
	f = fdopen(fd, "w");
	nap_ms(100);
	SHOW(fputs("x", f));
	SHOW(fflush(f));
	show_stream("written", f);
	SHOW(fclose(f));

	fd = tcp_to('d');
	f = fdopen(fd, "r");
	set_timeout(fd, SO_RCVTIMEO, 50);
	SHOW(fgetc(f));
	show_stream("late", f);
	clearerr(f);
	set_timeout(fd, SO_RCVTIMEO, 5000);
	SHOW(fgetc(f));
	fclose(f);

	fd = tcp_to('h');
	f = fdopen(fd, "r");
	fcntl(fd, F_SETFL, O_NONBLOCK);
	SHOW(fgetc(f));
	show_stream("nothing", f);
	fclose(f);
}

static void modes(void)
{
	int fd = tcp_to('e');
	FILE *f = fdopen(fd, "r");

	SHOW(fputc('x', f));
	show_stream("read only", f);
	fclose(f);
	f = fdopen(fd = tcp_to('e'), "w");
	SHOW(fgetc(f));
	SHOW(ftell(f));
	SHOW(fseek(f, 1, SEEK_SET));
	fclose(f);
	fd = tcp_to('e');
	SHOW(fdopen(fd, "zzz") == NULL);
	f = fdopen(fd, "a+");
	SHOW(fputs("append", f));
	SHOW(fflush(f));
	f = freopen("/dev/null", "r", f);
	SHOW(f != NULL && fgetc(f) == EOF);
	fclose(f);
}

/* --- a program with a socket for 0, 1 and 2 --- */

/* Echoed back by the peer, what it prints comes in again. */
static int standard_child(const char *how)
{
	char line[64], *more = NULL;
	size_t room = 0;
	int a = 0, b = 0;

	if (strcmp(how, "printf") == 0) {
		printf("numbers %d %d\n", 3, 4);
		fflush(stdout);
		return scanf("numbers %d %d", &a, &b) == 2 && a == 3 && b == 4 ? 0 : 1;
	}
	if (strcmp(how, "chars") == 0) {
		putchar('a');
		puts("bc");
		fflush(NULL);
		return getchar() == 'a' && fgets(line, sizeof(line), stdin) &&
				       strcmp(line, "bc\n") == 0
			       ? 0
			       : 1;
	}
	if (strcmp(how, "getline") == 0) {
		fputs("one\ntwo\n", stdout);
		fflush(stdout);
		a = (int)getline(&more, &room, stdin);
		b = (int)getline(&more, &room, stdin);
		return a == 4 && b == 4 && strcmp(more, "two\n") == 0 ? 0 : 1;
	}
	if (strcmp(how, "stderr") == 0) {
		errno = ENOENT;
		perror("said");
		return fgets(line, sizeof(line), stdin) && strncmp(line, "said: No such", 13) == 0
			       ? 0
			       : 1;
	}
	if (strcmp(how, "exit") == 0) /* flushed by exit() */
		printf("left for exit");
	return 0;
}

static void standard(const char *how, bool both)
{
	int fd = tcp_to('e'), status;
	char got[32] = "";
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		int out = dup(1);

		dup2(fd, 0);
		dup2(fd, 1);
		if (both)
			dup2(fd, 2);
		close(fd);
		close(out);
		execl(program, program, "standard", how, NULL);
		_exit(9);
	}
	SHOW(waitpid(child, &status, 0) == child);
	printf("%s: %d\n", how, status);
	if (strcmp(how, "exit") == 0)
		SHOW(recv(fd, got, 13, MSG_WAITALL));
	SHOW(recv(fd, got, 1, MSG_DONTWAIT));
	close(fd);
}

/* A pointer to a stream that was kept from before the number became a socket. */
static void kept(void)
{
	int fd = tcp_to('e'), out = dup(1);
	FILE *before = stdout;
	char got[16];

	fflush(stdout);
	dup2(fd, 1);
	fprintf(before, "kept\n");
	fflush(before);
	dup2(out, 1);
	close(out);
	SHOW(recv(fd, got, 5, MSG_WAITALL));
	show_text("kept", got, 4);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "standard") == 0)
		return standard_child(argv[2]);
	if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
		return 2;
	begin(argc, argv);
	lines();
	big();
	buffers();
	ends();
	modes();
	standard("printf", false);
	standard("chars", false);
	standard("getline", false);
	standard("stderr", true);
	standard("exit", false);
	kept();
	return 0;
}
