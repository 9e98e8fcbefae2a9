/* What the options about segment sizes, the path's MTU and the type of service answer on each side of a connection, and
 * when they are set: TCP_MAXSEG, IP_TOS with the bits of ECN, IP_MTU, IP_MTU_DISCOVER. */
#include "tests/diff/show.h"

#include <netinet/tcp.h>

static void show_option(const char *what, int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);
	int ret = getsockopt(fd, level, name, &value, &len);

	if (ret < 0)
		printf("%s: error %d\n", what, errno);
	else if (name == TCP_MAXSEG && value > 30000 && value != 32767)
		printf("%s: large\n", what); /* of the loopback, by the buffers */
	else
		printf("%s = %d (%u)\n", what, value, (unsigned)len);
}

static void set_option(const char *what, int fd, int level, int name, int value)
{
	int ret = setsockopt(fd, level, name, &value, sizeof(value));

	printf("%s to %d: %d\n", what, value, ret < 0 ? errno : 0);
}

static void show_all(const char *who, int fd)
{
	printf("%s\n", who);
	show_option("  maxseg", fd, IPPROTO_TCP, TCP_MAXSEG);
	show_option("  tos", fd, IPPROTO_IP, IP_TOS);
	show_option("  mtu", fd, IPPROTO_IP, IP_MTU);
	show_option("  discover", fd, IPPROTO_IP, IP_MTU_DISCOVER);
}

static void set_all(int fd, int mss)
{
	static const int tos[] = {1, 2, 3, 0x10, 0x13, 0xff, 0xfc, 0};

	set_option("maxseg", fd, IPPROTO_TCP, TCP_MAXSEG, mss);
	for (size_t i = 0; i < sizeof(tos) / sizeof(tos[0]); i++) {
		set_option("tos", fd, IPPROTO_IP, IP_TOS, tos[i]);
		show_option("tos", fd, IPPROTO_IP, IP_TOS);
	}
	for (int i = -1; i <= 6; i++) {
		set_option("discover", fd, IPPROTO_IP, IP_MTU_DISCOVER, i);
		show_option("discover", fd, IPPROTO_IP, IP_MTU_DISCOVER);
	}
	set_option("discover", fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT);
}

static void case_values(void)
{
	static const int sizes[] = {-1, 0, 1, 87, 88, 89, 536, 1460, 32767, 32768, 65535};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	start_case("values");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		set_option("maxseg", fd, IPPROTO_TCP, TCP_MAXSEG, sizes[i]);
		show_option("maxseg", fd, IPPROTO_TCP, TCP_MAXSEG);
	}
	close(fd);
}

/* The sizes asked for on both sides, and again when there is a connection. */
static void case_connection(int listener_mss, int client_mss)
{
	int lsn = socket(AF_INET, SOCK_STREAM, 0), cli = socket(AF_INET, SOCK_STREAM, 0), srv;
	char data[4000] = {0};

	start_case("connection");
	bind_to(lsn, LOOPBACK, 0);
	set_all(lsn, listener_mss);
	listen(lsn, 5);
	show_all("listener", lsn);
	set_all(cli, client_mss);
	show_all("closed", cli);
	connect_to(cli, LOOPBACK, port_of(lsn));
	srv = accept(lsn, NULL, NULL);
	show_all("client", cli);
	show_all("server", srv);
	set_all(cli, 200);
	set_all(srv, 300);
	show_result("send", send(cli, data, sizeof(data), 0));
	settle();
	show_all("client", cli);
	show_all("server", srv);
	close(cli);
	close(srv);
	close(lsn);
}

int main(void)
{
	program_begins();
	case_values();
	case_connection(0, 0);
	case_connection(1000, 0);
	case_connection(0, 900);
	case_connection(700, 900);
	return 0;
}
