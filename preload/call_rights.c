/*
 * Descriptors in messages of the kernel's sockets (SCM_RIGHTS), and others that turn up from
 * another process. A stack socket is tied to the keeper before it is sent (tether.h), so it lives
 * on in flight, and whoever receives it can claim it.
 */
#include "preload/call.h"
#include "preload/raw.h"
#include "preload/tether.h"

#define PIECE	 64u
#define MESSAGES 1024u /* that one sendmmsg takes: UIO_MAXIOV */

/* The descriptors of one control message, which lie in memory of the program. */
static void rights_visit(const char *from, size_t count, void (*visit)(int fd))
{
	int fd[PIECE];

	for (size_t n; count; count -= n, from += n * sizeof(int)) {
		n = MIN(count, PIECE);
		if (guard_copy(fd, from, n * sizeof(int)) < 0)
			return;
		for (size_t i = 0; i < n; i++)
			visit(fd[i]);
	}
}

static void rights_walk(const struct msghdr *msg, void (*visit)(int fd))
{
	const char *control = msg->msg_control;
	size_t left = control ? msg->msg_controllen : 0, len;
	struct cmsghdr c;

	for (; left >= sizeof(c); control += len, left -= len) {
		if (guard_copy(&c, control, sizeof(c)) < 0 || c.cmsg_len < sizeof(c) ||
			c.cmsg_len > left)
			return;
		if (c.cmsg_level == SOL_SOCKET && c.cmsg_type == SCM_RIGHTS)
			rights_visit(control + CMSG_LEN(0),
				(c.cmsg_len - CMSG_LEN(0)) / sizeof(int), visit);
		len = CMSG_ALIGN(c.cmsg_len);
		if (len > left)
			return;
	}
}

static void tie(int fd)
{
	ref sk = fdtable_sock(fd);

	if (sk)
		tether_tie(fd, sk);
}

void call_sending(const struct msghdr *user)
{
	struct msghdr msg;

	if (host_up() && guard_copy(&msg, user, sizeof(msg)) == 0 && msg.msg_controllen)
		rights_walk(&msg, tie);
}

void call_sending_all(const struct mmsghdr *user, unsigned count)
{
	for (unsigned i = 0; i < MIN(count, MESSAGES); i++)
		call_sending(&user[i].msg_hdr);
}

int call_came(int fd)
{
	call_opened(fd);
	if (fd >= 0 && tether_claim(fd) == 0)
		tether_claim_untied(fd);
	return fd;
}

static void came(int fd)
{
	call_came(fd);
}

void call_received(const struct msghdr *msg)
{
	rights_walk(msg, came);
}
