/*
 * `ustack link`: a cable between two devices, good or bad.
 *
 * A good cable hands each frame over as it came, virtio-net header and all, so super-frames stay
 * whole. A bad one takes the offloads away from both devices: the kernel then gives frames of wire
 * size with complete checksums, of which each meets its fate in impair.c and waits in one heap for
 * its time. One thread serves both directions.
 */
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "tapio/tap.h"
#include "tapio/tapio.h"
#include "tools/command.h"
#include "tools/delay.h"
#include "tools/impair.h"
#include "tools/units.h"

#define LINK_BATCH     64	   /* frames of one direction before the other is looked at */
#define LINK_MAX_BYTES (256 << 20) /* what may be under way */

struct link_end {
	struct tapio dev;
	struct impair impair; /* of what this end sends */
	u64 frames, bytes;    /* handed to this end */
	u64 refused;	      /* it had no room, or was down */
};

struct link {
	struct link_end end[2];
	struct delay_line line;
	bool clear;
	u8 head[TAPIO_HEAD];
	u8 buf[TAPIO_FRAME_MAX + 1];
};

static volatile sig_atomic_t link_ended, link_asked;

static void link_signal(int sig)
{
	if (sig == SIGUSR1)
		link_asked = 1;
	else
		link_ended = 1;
}

static u64 link_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * NS_PER_S + (u64)ts.tv_nsec;
}

static void link_help(void)
{
	puts("usage: ustack link A B [OPTION]...\n\n"
	     "Joins two devices until it is ended by a signal: what comes from one goes to the "
	     "other. A device is\n"
	     "the name of a TAP (made if it does not exist), or NAME@NETNS for one in another "
	     "network namespace.\n"
	     "Prints a line when it is ready, and its counts at the end and at SIGUSR1.\n\n"
	     "Each of these applies to both directions:\n"
	     "  --delay TIME           of every frame: 5ms, 300us\n"
	     "  --jitter TIME          the delay varies evenly by up to this much either way; the "
	     "order is kept\n"
	     "  --loss SHARE           of the frames is dropped: 0.1%\n"
	     "  --reorder SHARE        is held back so that later frames overtake\n"
	     "  --reorder-by TIME      for how long at most (a tenth of the delay, at least 1ms)\n"
	     "  --duplicate SHARE      arrives twice\n"
	     "  --corrupt SHARE        has one bit flipped, behind the Ethernet header of IP "
	     "packets\n"
	     "  --rate RATE            of the link: 10mbit, 1gbit\n"
	     "  --queue BYTES          may wait for the rate, the rest is dropped: 64k (100 ms of "
	     "the rate)\n"
	     "  --ce-threshold TIME    ECN-capable packets that wait longer for the rate are "
	     "marked\n"
	     "  --seed N               of the chances (1): the same seed gives the n-th frame the "
	     "same fate\n\n"
	     "With any of them frames are cut to wire size with complete checksums; without, "
	     "super-frames pass whole.");
}

static int link_wrong(const char *option, const char *value, const char *form)
{
	return command_misused("link", "--%s takes %s, not `%s`", option, form, value);
}

static int link_option(struct impair_config *c, const char *name, const char *value)
{
	static const char *const time_form = "a time as in 5ms";
	static const char *const share_form = "a share as in 0.1%";
	const struct {
		const char *name;
		u64 *field;
		bool (*parse)(const char *, u64 *);
		const char *form;
	} options[] = {
		{"delay", &c->delay_ns, units_time, time_form},
		{"jitter", &c->jitter_ns, units_time, time_form},
		{"reorder-by", &c->reorder_by_ns, units_time, time_form},
		{"loss", &c->loss, units_probability, share_form},
		{"reorder", &c->reorder, units_probability, share_form},
		{"duplicate", &c->duplicate, units_probability, share_form},
		{"corrupt", &c->corrupt, units_probability, share_form},
		{"rate", &c->rate_bits_per_s, units_rate, "a rate as in 10mbit"},
		{"queue", &c->queue_bytes, units_size, "bytes as in 64k"},
		{"ce-threshold", &c->ce_threshold_ns, units_time, time_form},
	};

	if (strcmp(name, "seed") == 0)
		return units_number(value, UINT64_MAX, &c->seed)
			       ? 0
			       : link_wrong(name, value, "a number");
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (strcmp(name, options[i].name) == 0)
			return options[i].parse(value, options[i].field)
				       ? 0
				       : link_wrong(name, value, options[i].form);
	return COMMAND_USAGE;
}

/* Returns 0, a positive exit status, or -1 when help was asked for. */
static int link_options(int argc, char **argv, struct impair_config *config)
{
	static const struct option options[] = {
		{"delay", required_argument, NULL, 'o'},
		{"jitter", required_argument, NULL, 'o'},
		{"reorder-by", required_argument, NULL, 'o'},
		{"loss", required_argument, NULL, 'o'},
		{"reorder", required_argument, NULL, 'o'},
		{"duplicate", required_argument, NULL, 'o'},
		{"corrupt", required_argument, NULL, 'o'},
		{"rate", required_argument, NULL, 'o'},
		{"queue", required_argument, NULL, 'o'},
		{"ce-threshold", required_argument, NULL, 'o'},
		{"seed", required_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int opt, index, ret;

	while ((opt = getopt_long(argc, argv, "h", options, &index)) != -1) {
		if (opt == 'h')
			return -1;
		if (opt != 'o')
			return COMMAND_USAGE;
		ret = link_option(config, options[index].name, optarg);
		if (ret)
			return ret;
	}
	if (config->queue_bytes && !config->rate_bits_per_s)
		return command_misused("link", "--queue needs --rate");
	if (config->ce_threshold_ns && !config->rate_bits_per_s)
		return command_misused("link", "--ce-threshold needs --rate");
	if (config->jitter_ns > config->delay_ns)
		return command_misused("link", "--jitter is larger than --delay");
	if (argc - optind != 2)
		return command_misused("link", "two devices are expected");
	return 0;
}

static int link_open(struct link *link, char **names, const struct impair_config *config)
{
	struct impair_config c = *config;
	char why[256];

	for (int i = 0; i < 2; i++) {
		struct tapio *dev = &link->end[i].dev;

		if (tapio_open(dev, names[i], why, sizeof(why)) < 0)
			return command_failed("%s", why);
		if (dev->kind != TAPIO_TAP)
			return command_failed("%s is no TAP", names[i]);
		/* Each direction has chances of its own. */
		c.seed = config->seed ^ (u64)i << 63;
		impair_init(&link->end[i].impair, &c);
	}
	for (int i = 0; i < 2; i++) {
		u32 both = link->end[0].dev.features & link->end[1].dev.features;

		if (tap_set_offload(&link->end[i].dev, link->clear ? both : 0) < 0)
			return command_failed("cannot set the offloads of %s", names[i]);
	}
	return 0;
}

/* Returns 0, or -ENETDOWN when the device is gone. */
static int link_hand_over(struct link_end *to, u8 *data, size_t len, const struct offload *off)
{
	struct iovec iov = {.iov_base = data, .iov_len = len};
	int ret = tapio_write(&to->dev, &iov, 1, off);

	if (ret == 0) {
		to->frames++;
		to->bytes += len;
	} else {
		to->refused++;
	}
	return ret == -ENETDOWN ? ret : 0;
}

static void link_delay(struct link *link, int from, u64 now_ns, size_t len)
{
	struct impair_fate fate = impair_frame(&link->end[from].impair, now_ns, len);

	if (fate.mark && fate.copies)
		impair_mark(&link->end[from].impair, link->buf, len);
	for (u32 i = 0; i < fate.copies; i++) {
		u8 *copy = delay_push(&link->line, fate.due_ns, (u32)!from, link->buf, (u32)len);

		if (!copy)
			link->end[!from].refused++;
		else if (i == 0 && fate.flip != IMPAIR_NO_FLIP)
			impair_flip(copy, len, fate.flip);
	}
}

/* Takes a batch from one end. */
static int link_receive(struct link *link, int from)
{
	struct link_end *end = &link->end[from];
	struct offload offload;
	ssize_t len = 0;
	int ret = 0;

	for (int i = 0; i < LINK_BATCH && ret == 0; i++) {
		len = tapio_read(&end->dev, link->buf, sizeof(link->buf), &offload);
		if (len == -ENETDOWN)
			return (int)len;
		if (len < 0)
			break;
		if (link->clear)
			ret = link_hand_over(&link->end[!from], link->buf, (size_t)len, &offload);
		else
			link_delay(link, from, link_now(), (size_t)len);
	}
	return ret;
}

static int link_deliver(struct link *link)
{
	static const struct offload none;
	struct delayed frame;
	int ret = 0;

	while (ret == 0 && delay_pop(&link->line, link_now(), &frame)) {
		ret = link_hand_over(&link->end[frame.to], frame.data, frame.len, &none);
		free(frame.data);
	}
	return ret;
}

static void link_print(const struct link *link)
{
	for (int i = 0; i < 2; i++) {
		const struct impair *im = &link->end[i].impair;
		const struct link_end *to = &link->end[!i];

		printf("%s -> %s: %llu frames, %llu bytes delivered, %llu refused",
			link->end[i].dev.name, to->dev.name, (unsigned long long)to->frames,
			(unsigned long long)to->bytes, (unsigned long long)to->refused);
		if (!link->clear)
			printf("; of %llu: %llu lost, %llu over the queue, %llu reordered, %llu "
			       "duplicated, %llu corrupted, %llu marked",
				(unsigned long long)im->frames, (unsigned long long)im->lost,
				(unsigned long long)im->overflowed,
				(unsigned long long)im->reordered,
				(unsigned long long)im->duplicated,
				(unsigned long long)im->corrupted, (unsigned long long)im->marked);
		putchar('\n');
	}
	fflush(stdout);
}

/* Waits with the signals open that are blocked otherwise, so that none is missed. */
static int link_wait(struct link *link, struct pollfd *fds, const sigset_t *open)
{
	u64 next = delay_next(&link->line), now = link_now();
	u64 wait = next > now ? next - now : 0;
	struct timespec ts = {
		.tv_sec = (time_t)(wait / NS_PER_S),
		.tv_nsec = (long)(wait % NS_PER_S),
	};

	return ppoll(fds, 2, next == NEVER ? NULL : &ts, open);
}

static int link_serve(struct link *link)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
	struct pollfd fds[2] = {
		{.fd = link->end[0].dev.fd, .events = POLLIN},
		{.fd = link->end[1].dev.fd, .events = POLLIN},
	};
	struct sigaction action = {.sa_handler = link_signal};
	sigset_t blocked, open;
	int ret = 0;

	sigemptyset(&blocked);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		sigaddset(&blocked, signals[i]);
		sigaction(signals[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &blocked, &open);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		sigdelset(&open, signals[i]);
	while (!link_ended && ret == 0) {
		if (link_wait(link, fds, &open) < 0) {
			fds[0].revents = 0;
			fds[1].revents = 0;
		}
		for (int i = 0; i < 2 && ret == 0; i++)
			ret = fds[i].revents ? link_receive(link, i) : 0;
		if (ret == 0)
			ret = link_deliver(link);
		if (link_asked)
			link_print(link);
		link_asked = 0;
	}
	link_print(link);
	return ret < 0 ? command_failed("a device of the link is gone") : 0;
}

int link_command(int argc, char **argv)
{
	static struct link link;
	struct impair_config config = {.seed = 1};
	int ret = link_options(argc, argv, &config);

	if (ret == -1) {
		link_help();
		return 0;
	}
	if (ret)
		return ret;
	link.clear = impair_is_clear(&config);
	delay_init(&link.line, LINK_MAX_BYTES);
	ret = link_open(&link, argv + optind, &config);
	if (ret == 0) {
		/* The kernel rounds waits up by 50 us otherwise. */
		prctl(PR_SET_TIMERSLACK, 1);
		printf("%s and %s are joined%s\n", link.end[0].dev.name, link.end[1].dev.name,
			link.clear ? "" : ", impaired");
		fflush(stdout);
		ret = link_serve(&link);
	}
	tapio_close(&link.end[0].dev);
	tapio_close(&link.end[1].dev);
	delay_free(&link.line);
	return ret;
}
