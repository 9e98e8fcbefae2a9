/*
 * TCP_INFO of both ends of a connection over the loopback, after the same steps on the kernel's
 * sockets and on ours: every field that the steps determine, the times rounded.
 */
#include <arpa/inet.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IPPROTO_TCP
#define IPPROTO_TCP 6
#endif

#define MSS  1000
#define FULL 10000

static char data[FULL];
static int sent;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void pause_ms(int ms)
{
	usleep((useconds_t)ms * 1000);
}

static void show(const char *when, const char *who, int fd)
{
	static const size_t newer[] = {236, 240, 244};
	unsigned char all[512] = {0};
	struct tcp_info i;
	socklen_t len = sizeof(all);
	unsigned value;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, all, &len) < 0)
		die("TCP_INFO");
	memcpy(&i, all, sizeof(i));
#define N(field) printf("%s %s " #field " %llu\n", when, who, (unsigned long long)i.tcpi_##field)
#define ABOUT(field, unit)                                                                         \
	printf("%s %s " #field "/" #unit " %llu\n", when, who,                                     \
		(unsigned long long)i.tcpi_##field / (unit))
	N(state);
	N(ca_state);
	N(retransmits);
	N(probes);
	N(backoff);
	N(options);
	N(snd_wscale);
	N(rcv_wscale);
	N(fastopen_client_fail);
	ABOUT(rto, 100000);
	N(snd_mss);
	N(unacked);
	N(sacked);
	N(lost);
	N(retrans);
	N(fackets);
	N(last_ack_sent);
	if (strcmp(when, "fresh") != 0) { /* since when is not defined before */
		ABOUT(last_data_sent, 1000);
		ABOUT(last_data_recv, 1000);
		ABOUT(last_ack_recv, 1000);
	}
	N(snd_ssthresh);
	N(advmss);
	N(reordering);
	N(total_retrans);
	N(max_pacing_rate);
	N(bytes_acked);
	N(bytes_received);
	N(notsent_bytes);
	N(data_segs_in);
	N(data_segs_out);
	ABOUT(rwnd_limited, 100000);
	ABOUT(sndbuf_limited, 100000);
	N(delivered);
	N(delivered_ce);
	N(bytes_sent);
	N(bytes_retrans);
	N(dsack_dups);
	N(reord_seen);
	N(rcv_ooopack);
	if (!sent) /* from then on it is the algorithm's business: RFC 7661 is not the kernel's rule */
		N(snd_cwnd);
	/* Newer than some <linux/tcp.h>: tcpi_rehash, total_rto, total_rto_recoveries, total_rto_time */
	for (size_t k = 0; k < sizeof(newer) / sizeof(newer[0]); k++) {
		memcpy(&value, all + newer[k], sizeof(value));
		printf("%s %s at %zu %u\n", when, who, newer[k], value);
	}
}

static void move(int from, int to, size_t bytes)
{
	size_t got = 0;
	ssize_t n;

	sent = 1;
	if (write(from, data, bytes) != (ssize_t)bytes)
		die("write");
	while (got < bytes) {
		n = read(to, data, bytes - got);
		if (n <= 0)
			die("read");
		got += (size_t)n;
	}
	pause_ms(60); /* delayed ACKs */
}

/* A connection of two ends with segments of MSS bytes. */
static void join(int *client, int *server)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0), mss = MSS, one = 1;

	*client = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss));
	setsockopt(*client, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss));
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(listener, 5) < 0)
		die("listen");
	getsockname(listener, (struct sockaddr *)&a, &len);
	show("fresh", "client", *client);
	show("fresh", "listener", listener);
	if (connect(*client, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("connect");
	pause_ms(20);
	show("one-waits", "listener", listener);
	*server = accept(listener, NULL, NULL);
	if (*server < 0)
		die("accept");
	setsockopt(*client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(*server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	close(listener);
}

static void both(const char *when, int client, int server)
{
	show(when, "client", client);
	show(when, "server", server);
}

int main(void)
{
	int client, server;

	join(&client, &server);
	both("connected", client, server);
	pause_ms(1300);
	both("idle", client, server);
	move(client, server, 100);
	both("small", client, server);
	move(server, client, FULL);
	both("ten-segments", client, server);
	move(client, server, FULL);
	both("ten-back", client, server);
	pause_ms(1300);
	both("idle-again", client, server);
	shutdown(client, SHUT_WR);
	pause_ms(60);
	both("half-closed", client, server);
	move(server, client, 100);
	both("half-closed-small", client, server);
	close(server);
	pause_ms(60);
	show("closed", "client", client);
	return 0;
}
