/* Capture files: their form, checksums, filters, several writers at once, and what ends them. */
#include <check.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tapio/bpf.h"
#include "tapio/capture.h"
#include "tapio/tapio.h"
#include "tests/lib/check_lines.h"

static struct capture cap;
static char path[] = "/tmp/tapio-capture-XXXXXX";
static char why[256];
static u8 file[1 << 20];
static size_t file_len;

/* A UDP datagram 10.0.0.2:4660 -> 10.0.0.1:53 with 9 bytes of data; its checksum holds the
 * pseudo-header's sum. */
static const u8 datagram[] = {0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x08, 0x00,
	/* IPv4 */ 0x45, 0, 0, 37, 0, 1, 0, 0, 64, 17, 0x66, 0xc5, 10, 0, 0, 2, 10, 0, 0, 1,
	/* UDP */ 0x12, 0x34, 0, 53, 0, 17, 0x14, 0x25, 'e', 'i', 'g', 'h', 't', ' ', 'o', 'd',
	'd'};

static const struct offload partial = {
	.flags = OFFLOAD_NEEDS_CSUM,
	.csum_start = 34,
	.csum_offset = 6,
};

static void set_up(void)
{
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	close(fd);
}

static void tear_down(void)
{
	capture_close(&cap);
	unlink(path);
}

static void open_or_fail(const char *filter)
{
	int ret = capture_open(&cap, path, filter, why, sizeof(why));

	ck_assert_msg(ret == 0, "%s", why);
}

static u32 get32(const u8 *p)
{
	u32 v;

	memcpy(&v, p, 4);
	return v;
}

static void read_file(void)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, file, sizeof(file));

	ck_assert_int_ge(n, 24);
	ck_assert_uint_eq(get32(file), 0xa1b23c4d);
	file_len = (size_t)n;
	close(fd);
}

static int put(const u8 *frame, size_t len, size_t piece, const struct offload *offload, u64 when)
{
	struct iovec iov[64];
	int n = 0;

	for (size_t at = 0; at < len; at += piece, n++)
		iov[n] = (struct iovec){
			.iov_base = (u8 *)(uintptr_t)frame + at,
			.iov_len = MIN(piece, len - at),
		};
	return capture_frame(&cap, iov, n, offload, when);
}

START_TEST(tapio_capture_records)
{
	u64 when = 1700000000ull * NS_PER_S + 123456789;

	open_or_fail(NULL);
	ck_assert_int_eq(put(datagram, sizeof(datagram), 7, &(struct offload){0}, when), 0);
	ck_assert_int_eq(put(datagram, sizeof(datagram), 64, &(struct offload){0}, when + 1), 0);
	read_file();
	ck_assert_uint_eq(file_len, 24 + 2 * (16 + sizeof(datagram)));
	ck_assert_uint_eq(get32(file + 20), 1);
	ck_assert_uint_eq(get32(file + 24), 1700000000);
	ck_assert_uint_eq(get32(file + 28), 123456789);
	ck_assert_uint_eq(get32(file + 32), sizeof(datagram));
	ck_assert_uint_eq(get32(file + 36), sizeof(datagram));
	ck_assert_mem_eq(file + 40, datagram, sizeof(datagram));
	ck_assert_mem_eq(file + 24 + 16 + sizeof(datagram) + 16, datagram, sizeof(datagram));
}
END_TEST

static u32 udp_sum(const u8 *p)
{
	u32 sum = 17 + 17; /* protocol and length */

	for (size_t i = 26; i < sizeof(datagram); i++)
		sum += i & 1 ? p[i] : (u32)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* For each way to cut the frame into pieces. */
START_TEST(tapio_capture_completes_checksums)
{
	u8 frame[sizeof(datagram)];
	u32 sum = 10 * 256 + 0 + 2 + 10 * 256 + 0 + 1 + 17 + 17;

	memcpy(frame, datagram, sizeof(frame));
	frame[40] = (u8)(sum >> 8);
	frame[41] = (u8)sum;
	open_or_fail(NULL);
	ck_assert_int_eq(put(frame, sizeof(frame), (size_t)_i, &partial, 0), 0);
	read_file();
	ck_assert_uint_eq(file_len, 24 + 16 + sizeof(frame));
	ck_assert_uint_eq(udp_sum(file + 40), 0xffff);
	ck_assert_mem_eq(file + 40, frame, 40);
	ck_assert_mem_eq(file + 82, frame + 42, sizeof(frame) - 42);
}
END_TEST

START_TEST(tapio_capture_super_frame)
{
	static u8 frame[65535 + 18];
	struct iovec iov = {.iov_base = frame, .iov_len = sizeof(frame)};

	open_or_fail("ether[0] = 0");
	ck_assert_int_eq(capture_frame(&cap, &iov, 1, &partial, 0), 0);
	read_file();
	ck_assert_uint_eq(file_len, 24 + 16 + sizeof(frame));
	ck_assert_uint_eq(get32(file + 32), sizeof(frame));
}
END_TEST

START_TEST(tapio_capture_filters)
{
	struct offload none = {0};

	open_or_fail("udp and dst port 53");
	ck_assert_int_eq(put(datagram, sizeof(datagram), 5, &none, 0), 0);
	read_file();
	ck_assert_uint_eq(file_len, 24 + 16 + sizeof(datagram));
	capture_close(&cap);
	open_or_fail("tcp or src port 53");
	ck_assert_int_eq(put(datagram, sizeof(datagram), 5, &none, 0), 0);
	read_file();
	ck_assert_uint_eq(file_len, 24);
}
END_TEST

START_TEST(tapio_capture_refuses)
{
	ck_assert_int_eq(capture_open(&cap, path, "udp and and", why, sizeof(why)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "`udp and and` is wrong"));
	ck_assert_int_eq(cap.fd, -1);
	ck_assert_int_eq(capture_open(&cap, "/nowhere/x", NULL, why, sizeof(why)), -ENOENT);
	ck_assert_ptr_nonnull(strstr(why, "/nowhere/x"));
}
END_TEST

/* Walks the records; each writer's frames must be whole and in order. */
static void check_writers(u32 writers, u32 each)
{
	u32 next[8] = {0};
	size_t at = 24;

	while (at < file_len) {
		u32 len = get32(file + at + 8);
		const u8 *frame = file + at + 16;

		ck_assert_uint_eq(len, 60u + frame[0]);
		ck_assert_uint_le(at + 16 + len, file_len);
		ck_assert_uint_lt(frame[0], writers);
		ck_assert_uint_eq(get32(frame + 4), next[frame[0]]++);
		for (u32 i = 8; i < len; i++)
			ck_assert_uint_eq(frame[i], frame[0]);
		at += 16 + len;
	}
	for (u32 i = 0; i < writers; i++)
		ck_assert_uint_eq(next[i], each);
}

START_TEST(tapio_capture_writers_do_not_mix)
{
	const u32 writers = 4, each = 1000;

	open_or_fail("len > 0");
	for (u32 w = 0; w < writers; w++) {
		u8 frame[80];

		if (fork() != 0)
			continue;
		ck_assert_int_eq(capture_attach(&cap, cap.fd, NULL, why, sizeof(why)), 0);
		memset(frame, (int)w, sizeof(frame));
		for (u32 i = 0; i < each; i++) {
			memcpy(frame + 4, &i, 4);
			if (put(frame, 60 + w, 8, &(struct offload){0}, i) != 0)
				_exit(1);
		}
		_exit(0);
	}
	for (u32 w = 0; w < writers; w++) {
		int status = 1;

		wait(&status);
		ck_assert_int_eq(status, 0);
	}
	read_file();
	check_writers(writers, each);
}
END_TEST

START_TEST(tapio_capture_stops_at_file_limit)
{
	struct rlimit limit = {.rlim_cur = 24 + 70, .rlim_max = RLIM_INFINITY};
	int ret[3];

	open_or_fail(NULL);
	/* Check writes files of its own at every assertion. */
	setrlimit(RLIMIT_FSIZE, &limit);
	for (size_t i = 0; i < ARRAY_LEN(ret); i++)
		ret[i] = put(datagram, sizeof(datagram), 64, &partial, 0);
	limit.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &limit);
	ck_assert_int_eq(ret[0], 0);
	ck_assert_int_eq(ret[1], -EFBIG);
	ck_assert_int_eq(ret[2], -EFBIG);
	read_file();
	ck_assert_uint_eq(file_len, 24 + 16 + sizeof(datagram));
}
END_TEST

/* A TCP super-frame 10.0.0.2:1234 -> 10.0.0.1:80 as the stack hands it to a TAP. */
static size_t make_super_frame(u8 *frame, struct offload *offload)
{
	const size_t payload = 60000, tcp_len = 20 + payload, ip_len = 20 + tcp_len;
	u32 sum = 10 * 256 + 2 + 10 * 256 + 1 + 6 + (u32)tcp_len;
	u8 *ip = frame + 14, *tcp = ip + 20;

	memset(frame, 'x', 14 + ip_len);
	memcpy(frame, datagram, 14);
	memcpy(ip, datagram + 14, 20);
	ip[2] = (u8)(ip_len >> 8);
	ip[3] = (u8)ip_len;
	ip[9] = 6;
	ip[10] = ip[11] = 0;
	memset(tcp, 0, 20);
	memcpy(tcp, (u8[]){0x04, 0xd2, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0}, 16);
	sum = (sum & 0xffff) + (sum >> 16);
	tcp[16] = (u8)(sum >> 8);
	tcp[17] = (u8)sum;
	*offload = (struct offload){
		.flags = OFFLOAD_NEEDS_CSUM,
		.gso_type = OFFLOAD_GSO_TCP4,
		.header_len = 54,
		.gso_size = 1460,
		.csum_start = 34,
		.csum_offset = 16,
	};
	return 14 + ip_len;
}

static bool output_has(const char *command, const char *text)
{
	char line[512], whole[600];
	bool found = false;
	FILE *out;

	snprintf(whole, sizeof(whole), "%s %s 2>&1", command, path);
	out = popen(whole, "r");
	while (out && fgets(line, sizeof(line), out))
		found = found || strstr(line, text);
	if (out)
		pclose(out);
	return found;
}

START_TEST(tapio_capture_is_read_by_tcpdump_and_tshark)
{
	static u8 frame[TAPIO_FRAME_MAX];
	u64 when = 1700000000ull * NS_PER_S + 123456789;
	struct offload offload;
	size_t len = make_super_frame(frame, &offload);

	open_or_fail(NULL);
	ck_assert_int_eq(put(frame, len, 1514, &offload, when), 0);
	ck_assert_int_eq(put(frame, len, 65536, &(struct offload){0}, when), 0);
	ck_assert(output_has("tcpdump -nn -vv --nano -r", "cksum 0x"));
	ck_assert(output_has("tcpdump -nn -vv -c 1 -r", "(correct)"));
	ck_assert(output_has("tcpdump -nn -vv -r", "(incorrect"));
	ck_assert(output_has("tcpdump -nn --nano -tt -r", "1700000000.123456789"));
	ck_assert(output_has("tcpdump -nn -r", "length 60000"));
	ck_assert(output_has("tshark -o tcp.check_checksum:TRUE -T fields -e tcp.checksum.status "
			     "-e tcp.len -c 1 -r",
		"1\t60000"));
}
END_TEST

/* Our interpreter against libpcap's, over random frames cut anywhere. */
START_TEST(tapio_capture_bpf_as_libpcap)
{
	static const char *const expressions[] = {"tcp port 80", "udp and not src host 10.0.0.2",
		"tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "ip[2:2] > 40 and ip[6:2] & 0x1fff = 0",
		"len - 14 >= 40 and ether[len - 1] & 1 = 0", "net 10.0.0.0/8 or arp or icmp",
		"(ether[20] * 3 + ether[21] / 7) % 5 = 2 or ether[1] << 3 = 8", "greater 70",
		"portrange 50-60 or ip6 proto 6", "vlan 7 or ether multicast", "tcp[50:4] = 0"};
	void *lib = dlopen("libpcap.so.0.8", RTLD_NOW);
	struct bpf_program prog;
	__typeof__(pcap_open_dead) *open_dead;
	__typeof__(pcap_compile) *compile;
	__typeof__(pcap_offline_filter) *offline;
	__typeof__(pcap_freecode) *freecode;
	__typeof__(pcap_close) *pcap_end;
	u8 frame[96];
	u32 matched = 0;

	ck_assert_ptr_nonnull(lib);
	*(void **)&open_dead = dlsym(lib, "pcap_open_dead");
	*(void **)&compile = dlsym(lib, "pcap_compile");
	*(void **)&offline = dlsym(lib, "pcap_offline_filter");
	*(void **)&freecode = dlsym(lib, "pcap_freecode");
	*(void **)&pcap_end = dlsym(lib, "pcap_close");
	srandom(7);
	for (size_t e = 0; e < ARRAY_LEN(expressions); e++) {
		pcap_t *dead = open_dead(DLT_EN10MB, 65535);

		ck_assert_int_eq(compile(dead, &prog, expressions[e], (int)(e & 1), 0), 0);
		for (int round = 0; round < 3000; round++) {
			u32 len = 14 + (u32)random() % 80;
			u32 cut = (u32)random() % len;
			struct pcap_pkthdr hdr = {.caplen = len, .len = len};
			struct iovec iov[3] = {
				{frame, cut}, {frame + cut, 0}, {frame + cut, len - cut}};
			bool ours, theirs;

			memcpy(frame, datagram, sizeof(datagram));
			for (int i = 0; i < 6; i++)
				frame[(u32)random() % len] = (u8)random();
			frame[23] = random() & 1 ? 6 : frame[23];
			ours = bpf_run(prog.bf_insns, prog.bf_len, iov, 3, len) != 0;
			theirs = offline(&prog, &hdr, frame) != 0;
			ck_assert_msg(ours == theirs, "%s", expressions[e]);
			matched += ours;
		}
		freecode(&prog);
		pcap_end(dead);
	}
	ck_assert_uint_gt(matched, 1000);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, tapio_capture_records);
	tcase_add_loop_test(tc, tapio_capture_completes_checksums, 2, 60);
	tcase_add_test(tc, tapio_capture_super_frame);
	tcase_add_test(tc, tapio_capture_filters);
	tcase_add_test(tc, tapio_capture_refuses);
	tcase_add_test(tc, tapio_capture_writers_do_not_mix);
	tcase_add_test(tc, tapio_capture_stops_at_file_limit);
	tcase_add_test(tc, tapio_capture_is_read_by_tcpdump_and_tshark);
	tcase_add_test(tc, tapio_capture_bpf_as_libpcap);
}

int main(void)
{
	return check_lines_case("tapio-capture", 0, add_tests);
}
