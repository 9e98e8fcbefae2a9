/*
 * Capture into a pcap file (draft-ietf-opsawg-pcap; magic 0xa1b23c4d: nanoseconds).
 *
 * The file is open for appending, and a record leaves in one writev: Linux holds the inode's lock
 * for the whole of it, so records of several threads and processes never mix. A record is gathered
 * from the frame's own pieces; only its checksum, where the device was to complete it, comes from
 * elsewhere. libpcap compiles the filter and is not needed otherwise. A disk that is full or a file
 * at RLIMIT_FSIZE ends the capture, not the program.
 */
#include "tapio/capture.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tapio/bpf.h"
#include "tapio/sys.h"
#include "tapio/tapio.h"

#define PCAP_MAGIC_NS 0xa1b23c4du

struct file_header {
	u32 magic;
	u16 version_major, version_minor;
	u32 reserved[2];
	u32 snaplen;
	u32 linktype;
};

struct record_header {
	u32 seconds, nanoseconds;
	u32 captured_len, original_len;
};

static int filter_compile_by(
	void *lib, struct capture *cap, const char *text, char *why, size_t why_size)
{
	pcap_t *(*open_dead)(int, int) = (pcap_t * (*)(int, int)) dlsym(lib, "pcap_open_dead");
	int (*compile)(pcap_t *, struct bpf_program *, const char *, int, bpf_u_int32) =
		(int (*)(pcap_t *, struct bpf_program *, const char *, int, bpf_u_int32))dlsym(
			lib, "pcap_compile");
	char *(*geterr)(pcap_t *) = (char *(*)(pcap_t *))dlsym(lib, "pcap_geterr");
	void (*freecode)(struct bpf_program *) =
		(void (*)(struct bpf_program *))dlsym(lib, "pcap_freecode");
	void (*close)(pcap_t *) = (void (*)(pcap_t *))dlsym(lib, "pcap_close");
	struct bpf_program prog = {0};
	pcap_t *dead;
	int ret = 0;

	if (!open_dead || !compile || !geterr || !freecode || !close ||
		!(dead = open_dead(DLT_EN10MB, TAPIO_FRAME_MAX))) {
		snprintf(why, why_size, "libpcap.so.0.8 lacks what a capture filter needs");
		return -ENOSYS;
	}
	if (compile(dead, &prog, text, 1, PCAP_NETMASK_UNKNOWN) != 0) {
		snprintf(why, why_size, "the capture filter `%s` is wrong: %s", text, geterr(dead));
		close(dead);
		return -EINVAL;
	}
	cap->filter = calloc(prog.bf_len, sizeof(*cap->filter));
	if (cap->filter) {
		memcpy(cap->filter, prog.bf_insns, prog.bf_len * sizeof(*cap->filter));
		cap->filter_len = prog.bf_len;
	} else {
		snprintf(why, why_size, "no memory for the capture filter");
		ret = -ENOMEM;
	}
	freecode(&prog);
	close(dead);
	return ret;
}

static int filter_compile(struct capture *cap, const char *text, char *why, size_t why_size)
{
	void *lib;
	int ret;

	if (!text || !*text)
		return 0;
	lib = dlopen("libpcap.so.0.8", RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		lib = dlopen("libpcap.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		snprintf(why, why_size,
			"a capture filter needs libpcap.so.0.8: install it (Debian: libpcap0.8)");
		return -ENOSYS;
	}
	ret = filter_compile_by(lib, cap, text, why, why_size);
	dlclose(lib);
	return ret;
}

/* Beyond RLIMIT_FSIZE a write would kill the program with SIGXFSZ. */
static int capture_has_room(int fd, size_t size)
{
	struct rlimit limit;
	struct stat st;

	if (sys_call(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, SYS_ARG(&limit), 0) < 0 ||
		limit.rlim_cur == RLIM_INFINITY)
		return 0;
	if (sys_call(SYS_fstat, fd, SYS_ARG(&st), 0, 0, 0) < 0 || !S_ISREG(st.st_mode))
		return 0;
	return (rlim_t)st.st_size + size > limit.rlim_cur ? -EFBIG : 0;
}

static int capture_append(struct capture *cap, const struct iovec *iov, int iovcnt, size_t size)
{
	long ret = capture_has_room(cap->fd, size);

	if (ret == 0)
		ret = sys_call(SYS_writev, cap->fd, SYS_ARG(iov), iovcnt, 0, 0);
	if (ret >= 0 && (size_t)ret < size)
		ret = -ENOSPC;
	if (ret < 0)
		cap->error = (int)ret;
	return cap->error;
}

int capture_open(
	struct capture *cap, const char *path, const char *filter, char *why, size_t why_size)
{
	struct file_header header = {
		.magic = PCAP_MAGIC_NS,
		.version_major = 2,
		.version_minor = 4,
		.snaplen = 262144, /* what tcpdump writes: larger than any frame of ours */
		.linktype = DLT_EN10MB,
	};
	struct iovec iov = {.iov_base = &header, .iov_len = sizeof(header)};
	int fd = (int)sys_call(SYS_openat, AT_FDCWD, SYS_ARG(path),
		O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644, 0);
	int ret;

	*cap = (struct capture){.fd = -1};
	if (fd < 0) {
		snprintf(
			why, why_size, "cannot write the capture file %s: %s", path, strerror(-fd));
		return fd;
	}
	ret = capture_attach(cap, fd, filter, why, why_size);
	if (ret < 0)
		return ret;
	ret = capture_append(cap, &iov, 1, sizeof(header));
	if (ret < 0) {
		snprintf(why, why_size, "cannot write the capture file %s: %s", path,
			strerror(-ret));
		capture_close(cap);
	}
	return ret;
}

int capture_attach(struct capture *cap, int fd, const char *filter, char *why, size_t why_size)
{
	int ret;

	*cap = (struct capture){.fd = fd};
	ret = filter_compile(cap, filter, why, why_size);
	if (ret < 0)
		capture_close(cap);
	return ret;
}

void capture_close(struct capture *cap)
{
	if (cap->fd >= 0)
		sys_call(SYS_close, cap->fd, 0, 0, 0, 0);
	free(cap->filter);
	*cap = (struct capture){.fd = -1};
}

/* RFC 1071 over the bytes from start to the end. The field itself holds the pseudo-header's sum. */
static u16 capture_checksum(const struct iovec *iov, int iovcnt, size_t start)
{
	size_t pos = 0;
	u64 sum = 0;

	for (int i = 0; i < iovcnt; i++) {
		const u8 *base = iov[i].iov_base;
		size_t from = start > pos ? MIN(start - pos, iov[i].iov_len) : 0;

		for (size_t j = from; j < iov[i].iov_len; j++)
			sum += (pos + j - start) & 1 ? base[j] : (u64)base[j] << 8;
		pos += iov[i].iov_len;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	/* A sum of 0 would mean "none" in UDP and equals 0xffff elsewhere. */
	return (u16)~sum ? (u16)~sum : 0xffff;
}

/*
 * Appends the frame's bytes [from, to) to a vector of *count pieces, of max at most. Returns how
 * many bytes found room.
 */
static size_t capture_gather(struct iovec *out, int *count, int max, const struct iovec *iov,
	int iovcnt, size_t from, size_t to)
{
	size_t pos = 0, taken = 0;

	for (int i = 0; i < iovcnt && pos < to && *count < max; i++) {
		size_t len = iov[i].iov_len;
		size_t begin = from > pos ? MIN(from - pos, len) : 0;
		size_t end = MIN(to - pos, len);

		if (end > begin) {
			out[*count].iov_base = (u8 *)iov[i].iov_base + begin;
			out[*count].iov_len = end - begin;
			(*count)++;
			taken += end - begin;
		}
		pos += len;
	}
	return taken;
}

int capture_frame(struct capture *cap, const struct iovec *iov, int iovcnt,
	const struct offload *offload, u64 realtime_ns)
{
	struct record_header record;
	struct iovec out[TAPIO_IOV_MAX + 4];
	size_t field = (size_t)offload->csum_start + offload->csum_offset;
	size_t len = 0, taken;
	u8 sum[2];
	int count = 1;

	if (cap->fd < 0 || cap->error)
		return cap->error;
	for (int i = 0; i < iovcnt; i++)
		len += iov[i].iov_len;
	if (cap->filter_len && !bpf_run(cap->filter, cap->filter_len, iov, iovcnt, (u32)len))
		return 0;
	if ((offload->flags & OFFLOAD_NEEDS_CSUM) && field + 2 <= len) {
		u16 value = capture_checksum(iov, iovcnt, offload->csum_start);

		sum[0] = (u8)(value >> 8);
		sum[1] = (u8)value;
		taken = capture_gather(out, &count, TAPIO_IOV_MAX, iov, iovcnt, 0, field);
		if (taken == field) {
			out[count++] = (struct iovec){.iov_base = sum, .iov_len = 2};
			taken += 2 + capture_gather(out, &count, ARRAY_LEN(out), iov, iovcnt,
					     field + 2, len);
		}
	} else {
		taken = capture_gather(out, &count, ARRAY_LEN(out), iov, iovcnt, 0, len);
	}
	record.seconds = (u32)(realtime_ns / NS_PER_S);
	record.nanoseconds = (u32)(realtime_ns % NS_PER_S);
	record.captured_len = (u32)taken;
	record.original_len = (u32)len;
	out[0] = (struct iovec){.iov_base = &record, .iov_len = sizeof(record)};
	return capture_append(cap, out, count, sizeof(record) + taken);
}
