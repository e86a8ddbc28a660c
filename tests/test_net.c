/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_net.c: the control steps on addresses (resolve, connect, accept) and what the engine does
 * with a socket (end, drop, "is it local"), driven through the driver's table by a host that only
 * waits. Peers are plain sockets of the kernel. Datagrams have a test of their own, test_dgram.c.
 */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/netops.h"
#include "plan/endpoint.h"

#define PATIENCE_MS 5000

static char log_line[128];

static void host_log(struct taio_host *host, const char *line)
{
	(void)host;
	snprintf(log_line, sizeof(log_line), "%s", line);
}

static struct taio_host host = { .log = host_log, .cores = 2, .requests = 16 };
static struct taio_device device = { .driver = &taio_driver_net, .host = &host };
static int fds_before;
static char directory[64];

static int fds_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	cr_assert(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void begin(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(directory, sizeof(directory), "%s/taio-net-XXXXXX", tmp ? tmp : "/tmp");
	cr_assert(mkdtemp(directory));
	fds_before = fds_open();
}

/* Nothing stays open, and nothing stays in the directory: rmdir() would refuse. */
static void end(void)
{
	cr_assert_eq(fds_open(), fds_before, "a descriptor was left open");
	cr_assert_eq(rmdir(directory), 0, "something is left in %s", directory);
}

TestSuite(net, .init = begin, .fini = end, .timeout = 30);

/* ---- words ----------------------------------------------------------------------------------- */

/* An address as the engine makes it; @text must stay. */
static struct taio_addr address(const char *text)
{
	struct taio_addr addr;

	cr_assert_eq(addr_parse(text, &addr), 0, "%s", text);
	(void)addr_numeric(&addr);
	return addr;
}

__attribute__((format(printf, 1, 2))) static const char *address_text(const char *format, ...)
{
	static char text[4][160];
	static unsigned int at;
	char *room = text[at++ % 4];
	va_list args;

	va_start(args, format);
	vsnprintf(room, sizeof(text[0]), format, args);
	va_end(args);
	return room;
}

static const char *unix_text(const char *prefix, const char *name)
{
	static char text[2][160];
	static unsigned int at;
	char *room = text[at++ % 2];

	snprintf(room, sizeof(text[0]), "%sunix:%s/%s", prefix, directory, name);
	return room;
}

static const char *unix_path(const char *name)
{
	static char path[sizeof(((struct sockaddr_un *)0)->sun_path)];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static int64_t step_once(struct taio_addr *addr, uint8_t op, struct taio_step *step)
{
	memset(step, 0, sizeof(*step));
	step->op = op;
	step->addr = addr;
	step->wait_fd = -1;
	return taio_driver_net.run(&device, step);
}

/* Runs a step to its end, as the engine does: waits where it is told to. */
static int64_t step_run(struct taio_addr *addr, uint8_t op)
{
	struct taio_step step;
	int64_t result;

	while ((result = step_once(addr, op, &step)) == -EAGAIN) {
		struct pollfd ready = { .fd = step.wait_fd, .events = (short)step.wait_events };

		cr_assert_geq(step.wait_fd, 0);
		cr_assert_neq(step.wait_events, 0);
		cr_assert_eq(poll(&ready, 1, PATIENCE_MS), 1, "nothing came");
	}
	return result;
}

/* A bound TCP socket on 127.0.0.1; it listens if @backlog >= 0. */
static int tcp_socket(int backlog, int *ret_port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	if (backlog >= 0)
		cr_assert_eq(listen(fd, backlog), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	*ret_port = ntohs(sin.sin_port);
	return fd;
}

static int socket_port(int fd)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	cr_assert_eq(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	return ntohs(sin.sin_port);
}

static int tcp_knock(int port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0)
		return fd;
	close(fd);
	return -errno;
}

static int unix_knock(const char *path, int type)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	memccpy(sun.sun_path, path, 0, sizeof(sun.sun_path) - 1);
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	close(fd);
	return -errno;
}

static int unix_listener(const char *path, int type, int backlog)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	memccpy(sun.sun_path, path, 0, sizeof(sun.sun_path) - 1);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	if (backlog >= 0)
		cr_assert_eq(listen(fd, backlog), 0);
	return fd;
}

static bool fd_is_nonblocking(int fd)
{
	return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

static void assert_clean(const struct taio_addr *addr)
{
	cr_assert_eq(addr->fd, -1);
	cr_assert_eq(addr->listen_fd, -1);
}

static void send_all(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Waits for bytes and compares them. */
static void recv_is(int fd, const char *text)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	char room[64] = "";

	cr_assert_eq(poll(&ready, 1, PATIENCE_MS), 1);
	cr_assert_eq(recv(fd, room, sizeof(room) - 1, 0), (ssize_t)strlen(text));
	cr_assert_str_eq(room, text);
}

/* ---- resolve --------------------------------------------------------------------------------- */

Test(net, numeric_address_needs_no_resolver)
{
	struct taio_addr addr = address("127.0.0.1:80:tcp");
	struct taio_addr before = addr;

	cr_assert_eq(addr.count, 1);
	cr_assert_eq(step_run(&addr, TAIO_OP_RESOLVE), 0);
	cr_assert(memcmp(&addr, &before, sizeof(addr)) == 0);
}

Test(net, localhost_resolves_to_loopback_with_its_port)
{
	struct taio_addr addr = address("localhost:8080:tcp");

	cr_assert_eq(addr.count, 0);
	cr_assert_eq(step_run(&addr, TAIO_OP_RESOLVE), 0);
	cr_assert_geq(addr.count, 1);
	cr_assert_leq(addr.count, 4);
	for (int i = 0; i < addr.count; i++) {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)&addr.peer[i];

		cr_assert(sin->sin_family == AF_INET || sin->sin_family == AF_INET6);
		cr_assert_eq(ntohs(sin->sin_port), 8080);
		cr_assert_gt(addr.peer_len[i], 0);
	}
}

Test(net, name_that_does_not_exist_says_so_or_that_nobody_answered)
{
	struct taio_addr addr = address("something.invalid:80:tcp");
	int64_t result = step_run(&addr, TAIO_OP_RESOLVE);

	/* which one depends on whether this machine reaches a name server */
	if (addr.gai == EAI_AGAIN)
		cr_assert_eq(result, -EHOSTUNREACH);
	else
		cr_assert_eq(result, -ENOENT, "%d", (int)result);
	cr_assert_neq(addr.gai, 0);
	cr_assert_eq(addr.count, 0);
	cr_assert_not_null(netops_resolve_text((int)result));
	assert_clean(&addr);
}

Test(net, unresolved_address_can_neither_connect_nor_listen)
{
	struct taio_addr addr = address("localhost:80:tcp");

	cr_assert_eq(step_run(&addr, TAIO_OP_CONNECT), -EDESTADDRREQ);
	cr_assert_eq(step_run(&addr, TAIO_OP_ACCEPT), -EDESTADDRREQ);
	assert_clean(&addr);
}

/* ---- connect --------------------------------------------------------------------------------- */

Test(net, connects_and_bytes_go_both_ways)
{
	int port, peer, on = 0, listener = tcp_socket(1, &port);
	socklen_t len = sizeof(on);
	struct taio_addr addr = address(address_text("127.0.0.1:%d:tcp", port));

	cr_assert_eq(step_run(&addr, TAIO_OP_CONNECT), 0);
	peer = accept(listener, NULL, NULL);
	cr_assert(fd_is_nonblocking(addr.fd));
	cr_assert(fcntl(addr.fd, F_GETFD) & FD_CLOEXEC);
	cr_assert_eq(getsockopt(addr.fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	cr_assert_eq(on != 0, true);
	send_all(addr.fd, "there");
	recv_is(peer, "there");
	send_all(peer, "and back");
	recv_is(addr.fd, "and back");
	close(addr.fd);
	close(peer);
	close(listener);
}

Test(net, refused_port_is_refused_and_leaves_nothing_open)
{
	int port, fd = tcp_socket(-1, &port);
	struct taio_addr addr = address(address_text("127.0.0.1:%d:tcp", port));

	cr_assert_eq(step_run(&addr, TAIO_OP_CONNECT), -ECONNREFUSED);
	assert_clean(&addr);
	close(fd);
}

/* Two addresses of one name, as RESOLVE would leave them. */
static struct taio_addr address_pair(const char *first, const char *second)
{
	struct taio_addr addr = address(first), other = address(second);

	addr.peer[1] = other.peer[0];
	addr.peer_len[1] = other.peer_len[0];
	addr.count = 2;
	return addr;
}

Test(net, second_address_is_tried_when_the_first_refuses)
{
	int closed_port, port;
	int closed = tcp_socket(-1, &closed_port), listener = tcp_socket(1, &port);
	struct taio_addr addr = address_pair(address_text("127.0.0.1:%d:tcp", closed_port),
					     address_text("127.0.0.1:%d:tcp", port));

	cr_assert_eq(step_run(&addr, TAIO_OP_CONNECT), 0);
	cr_assert_eq(addr.current, 1);
	close(addr.fd);
	close(listener);
	close(closed);
}

Test(net, error_of_the_last_address_is_reported)
{
	int port, fd = tcp_socket(-1, &port);
	struct taio_addr addr =
		address_pair("255.255.255.255:9:tcp", address_text("127.0.0.1:%d:tcp", port));

	cr_assert_eq(step_run(&addr, TAIO_OP_CONNECT), -ECONNREFUSED);
	assert_clean(&addr);
	close(fd);
}

Test(net, connect_waits_for_a_listener_with_a_full_backlog)
{
	int port, listener = tcp_socket(0, &port), first = tcp_knock(port), peer;
	struct taio_addr addr = address(address_text("127.0.0.1:%d:tcp", port));
	struct pollfd ready;
	struct taio_step step;

	cr_assert_geq(first, 0);
	/* the handshake hangs: the kernel drops the SYN until somebody takes the first */
	cr_assert_eq(step_once(&addr, TAIO_OP_CONNECT, &step), -EAGAIN);
	cr_assert_eq(step.wait_fd, addr.fd);
	cr_assert_eq(step.wait_events, POLLOUT);
	/* asked too early it still says the same, and the socket is the same */
	peer = addr.fd;
	cr_assert_eq(step_once(&addr, TAIO_OP_CONNECT, &step), -EAGAIN);
	cr_assert_eq(addr.fd, peer);
	peer = accept(listener, NULL, NULL);
	close(peer);
	close(first);
	ready = (struct pollfd){ .fd = step.wait_fd, .events = POLLOUT };
	cr_assert_eq(poll(&ready, 1, PATIENCE_MS), 1); /* the SYN is repeated after a second */
	cr_assert_eq(step_run(&addr, TAIO_OP_CONNECT), 0);
	close(addr.fd);
	close(listener);
}

Test(net, abort_while_connecting_leaves_nothing_open)
{
	int port, listener = tcp_socket(0, &port), first = tcp_knock(port);
	struct taio_addr addr = address(address_text("127.0.0.1:%d:tcp", port));
	struct taio_step step;

	cr_assert_eq(step_once(&addr, TAIO_OP_CONNECT, &step), -EAGAIN);
	netops_abort(&addr);
	assert_clean(&addr);
	netops_abort(&addr);
	assert_clean(&addr);
	close(first);
	close(listener);
}

Test(net, unix_listener_with_a_full_backlog_is_waited_for)
{
	const char *path = unix_path("full");
	int listener = unix_listener(path, SOCK_STREAM, 0), first = unix_knock(path, SOCK_STREAM);
	struct taio_addr addr = address(unix_text("", "full"));
	struct taio_step step;
	int peer;

	cr_assert_geq(first, 0);
	for (int i = 0; i < 3; i++) {
		struct pollfd ready;

		cr_assert_eq(step_once(&addr, TAIO_OP_CONNECT, &step), -EAGAIN);
		/* something that becomes ready, but not at once: no busy loop */
		ready = (struct pollfd){ .fd = step.wait_fd, .events = (short)step.wait_events };
		cr_assert_eq(poll(&ready, 1, 0), 0);
		cr_assert_eq(poll(&ready, 1, PATIENCE_MS), 1);
	}
	peer = accept(listener, NULL, NULL);
	cr_assert_eq(step_run(&addr, TAIO_OP_CONNECT), 0);
	cr_assert_eq(addr.listen_fd, -1);
	close(addr.fd);
	close(peer);
	close(first);
	close(listener);
	unlink(unix_path("full"));
}

Test(net, unix_path_that_nobody_has_is_enoent)
{
	struct taio_addr addr = address(unix_text("", "nobody"));

	cr_assert_eq(step_run(&addr, TAIO_OP_CONNECT), -ENOENT);
	assert_clean(&addr);
}

Test(net, udp_connects_at_once)
{
	struct taio_addr addr = address("127.0.0.1:9:udp");
	struct taio_step step;
	socklen_t len = sizeof(int);
	int type = 0;

	cr_assert_eq(step_once(&addr, TAIO_OP_CONNECT, &step), 0);
	cr_assert_eq(getsockopt(addr.fd, SOL_SOCKET, SO_TYPE, &type, &len), 0);
	cr_assert_eq(type, SOCK_DGRAM);
	cr_assert(fd_is_nonblocking(addr.fd));
	close(addr.fd);
}

/* ---- accept ---------------------------------------------------------------------------------- */

Test(net, accept_waits_takes_one_peer_and_stops_listening)
{
	struct taio_addr addr = address("listen:127.0.0.1:0:tcp");
	struct taio_step step;
	struct pollfd ready;
	int port, peer;
	char want[64];

	log_line[0] = '\0';
	cr_assert_eq(step_once(&addr, TAIO_OP_ACCEPT, &step), -EAGAIN);
	cr_assert_eq(step.wait_fd, addr.listen_fd);
	cr_assert_eq(step.wait_events, POLLIN);
	port = socket_port(addr.listen_fd);
	snprintf(want, sizeof(want), "listening on 127.0.0.1:%d:tcp", port);
	cr_assert_str_eq(log_line, want, "the port that the kernel chose is told");
	ready = (struct pollfd){ .fd = step.wait_fd, .events = POLLIN };
	cr_assert_eq(poll(&ready, 1, 20), 0, "nobody came, and yet");
	peer = tcp_knock(port);
	cr_assert_geq(peer, 0);
	cr_assert_eq(step_run(&addr, TAIO_OP_ACCEPT), 0);
	cr_assert_eq(addr.listen_fd, -1);
	cr_assert(fd_is_nonblocking(addr.fd));
	cr_assert_eq(tcp_knock(port), -ECONNREFUSED);
	send_all(peer, "hello");
	recv_is(addr.fd, "hello");
	close(peer);
	close(addr.fd);
}

Test(net, ipv6_loopback_can_be_listened_on)
{
	struct taio_addr addr = address("listen:[::1]:0:tcp"), to;
	struct taio_step step;
	int64_t result = step_once(&addr, TAIO_OP_ACCEPT, &step);

	if (result == -EADDRNOTAVAIL || result == -EAFNOSUPPORT)
		cr_skip_test("this machine has no IPv6");
	cr_assert_eq(result, -EAGAIN);
	to = address(address_text("[::1]:%d:tcp", socket_port(addr.listen_fd)));
	cr_assert_eq(step_run(&to, TAIO_OP_CONNECT), 0);
	cr_assert_eq(step_run(&addr, TAIO_OP_ACCEPT), 0);
	send_all(to.fd, "six");
	recv_is(addr.fd, "six");
	cr_assert_eq(netops_is_local(addr.fd), 1);
	close(to.fd);
	close(addr.fd);
}

Test(net, port_in_use_is_eaddrinuse_for_tcp_and_udp)
{
	struct taio_addr first = address("listen:127.0.0.1:0:udp"), second;
	int port, listener = tcp_socket(1, &port);
	struct taio_addr addr = address(address_text("listen:127.0.0.1:%d:tcp", port));
	struct taio_step step;

	cr_assert_eq(step_run(&addr, TAIO_OP_ACCEPT), -EADDRINUSE);
	assert_clean(&addr);
	cr_assert_eq(step_once(&first, TAIO_OP_ACCEPT, &step), -EAGAIN);
	second = address(address_text("listen:127.0.0.1:%d:udp", socket_port(first.listen_fd)));
	cr_assert_eq(step_run(&second, TAIO_OP_ACCEPT), -EADDRINUSE);
	assert_clean(&second);
	netops_abort(&first);
	close(listener);
}

Test(net, address_of_another_machine_cannot_be_listened_on)
{
	struct taio_addr addr = address("listen:192.0.2.1:0:tcp");

	cr_assert_eq(step_run(&addr, TAIO_OP_ACCEPT), -EADDRNOTAVAIL);
	assert_clean(&addr);
}

Test(net, abort_while_listening_frees_port_and_path)
{
	struct taio_addr tcp = address("listen:127.0.0.1:0:tcp");
	struct taio_addr un = address(unix_text("listen:", "mine"));
	struct taio_step step;
	int port;

	cr_assert_eq(step_once(&tcp, TAIO_OP_ACCEPT, &step), -EAGAIN);
	port = socket_port(tcp.listen_fd);
	cr_assert_eq(step_once(&un, TAIO_OP_ACCEPT, &step), -EAGAIN);
	cr_assert_eq(access(unix_path("mine"), F_OK), 0);
	netops_abort(&tcp);
	netops_abort(&un);
	assert_clean(&tcp);
	assert_clean(&un);
	cr_assert_eq(tcp_knock(port), -ECONNREFUSED);
	cr_assert_eq(access(unix_path("mine"), F_OK), -1);
}

Test(net, unix_stream_is_accepted_and_its_path_removed)
{
	struct taio_addr addr = address(unix_text("listen:", "s"));
	struct taio_addr to = address(unix_text("", "s"));
	struct taio_step step;

	cr_assert_eq(step_once(&addr, TAIO_OP_ACCEPT, &step), -EAGAIN);
	cr_assert_eq(step_run(&to, TAIO_OP_CONNECT), 0);
	cr_assert_eq(step_run(&addr, TAIO_OP_ACCEPT), 0);
	cr_assert_eq(access(unix_path("s"), F_OK), -1);
	send_all(to.fd, "through the file system");
	recv_is(addr.fd, "through the file system");
	close(to.fd);
	close(addr.fd);
}

Test(net, abstract_unix_name_works_and_leaves_no_path)
{
	char text[64];
	struct taio_addr addr, to;
	struct taio_step step;

	snprintf(text, sizeof(text), "listen:unix:@taio-net-%d", (int)getpid());
	addr = address(text);
	to = address(text + strlen("listen:"));
	cr_assert_eq(step_once(&addr, TAIO_OP_ACCEPT, &step), -EAGAIN);
	cr_assert_eq(step_run(&to, TAIO_OP_CONNECT), 0);
	cr_assert_eq(step_run(&addr, TAIO_OP_ACCEPT), 0);
	close(to.fd);
	close(addr.fd);
}

Test(net, stale_unix_path_is_replaced)
{
	struct taio_addr addr = address(unix_text("listen:", "stale"));
	struct taio_step step;

	close(unix_listener(unix_path("stale"), SOCK_STREAM, 1)); /* the file stays */
	cr_assert_eq(access(unix_path("stale"), F_OK), 0);
	cr_assert_eq(step_once(&addr, TAIO_OP_ACCEPT, &step), -EAGAIN);
	netops_abort(&addr);
	cr_assert_eq(access(unix_path("stale"), F_OK), -1);
}

Test(net, live_unix_path_is_left_alone)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM };

	for (unsigned int i = 0; i < 2; i++) {
		struct taio_addr addr = address(unix_text("listen:", "live"));
		/* bound, but not listening yet: alive all the same */
		int fd = unix_listener(unix_path("live"), types[i], -1);

		cr_assert_eq(step_run(&addr, TAIO_OP_ACCEPT), -EADDRINUSE);
		assert_clean(&addr);
		cr_assert_eq(access(unix_path("live"), F_OK), 0);
		close(fd);
		unlink(unix_path("live"));
	}
}

Test(net, live_unix_listener_is_not_disturbed_by_the_question)
{
	int listener = unix_listener(unix_path("busy"), SOCK_STREAM, 1);
	struct taio_addr addr = address(unix_text("listen:", "busy"));
	struct pollfd ready = { .fd = listener, .events = POLLIN };

	cr_assert_eq(step_run(&addr, TAIO_OP_ACCEPT), -EADDRINUSE);
	cr_assert_eq(poll(&ready, 1, 0), 0, "it got a connection that nobody wanted");
	close(listener);
	unlink(unix_path("busy"));
}

Test(net, file_that_is_no_socket_is_never_removed)
{
	struct taio_addr addr = address(unix_text("listen:", "file"));
	int fd = open(unix_path("file"), O_CREAT | O_WRONLY, 0600);

	close(fd);
	cr_assert_eq(step_run(&addr, TAIO_OP_ACCEPT), -EADDRINUSE);
	assert_clean(&addr);
	cr_assert_eq(unlink(unix_path("file")), 0);
}

Test(net, unix_path_in_a_missing_directory_is_enoent)
{
	struct taio_addr addr = address(unix_text("listen:", "no/where"));

	cr_assert_eq(step_run(&addr, TAIO_OP_ACCEPT), -ENOENT);
	assert_clean(&addr);
}

Test(net, first_datagram_chooses_the_peer_and_is_not_lost)
{
	struct taio_addr addr = address("listen:127.0.0.1:0:udp"), to, other;
	struct sockaddr_in self, peer;
	socklen_t len = sizeof(self);
	struct taio_step step;

	cr_assert_eq(step_once(&addr, TAIO_OP_ACCEPT, &step), -EAGAIN);
	to = address(address_text("127.0.0.1:%d:udp", socket_port(addr.listen_fd)));
	other = to;
	cr_assert_eq(step_run(&to, TAIO_OP_CONNECT), 0);
	cr_assert_eq(step_run(&other, TAIO_OP_CONNECT), 0);
	send_all(to.fd, "first");
	cr_assert_eq(step_run(&addr, TAIO_OP_ACCEPT), 0);
	cr_assert_eq(addr.listen_fd, -1);
	cr_assert_eq(getsockname(to.fd, (struct sockaddr *)&self, &len), 0);
	cr_assert_eq(getpeername(addr.fd, (struct sockaddr *)&peer, &len), 0);
	cr_assert_eq(peer.sin_port, self.sin_port);
	send_all(other.fd, "stranger");
	send_all(to.fd, "second");
	recv_is(addr.fd, "first");
	recv_is(addr.fd, "second");
	close(to.fd);
	close(other.fd);
	close(addr.fd);
}

Test(net, unix_datagrams_are_accepted)
{
	struct taio_addr addr = address(unix_text("listen:", "d"));
	struct taio_addr to = address(unix_text("", "d"));
	struct taio_step step;

	addr.type = to.type = SOCK_DGRAM;
	cr_assert_eq(step_once(&addr, TAIO_OP_ACCEPT, &step), -EAGAIN);
	cr_assert_eq(step_run(&to, TAIO_OP_CONNECT), 0);
	send_all(to.fd, "one");
	cr_assert_eq(step_run(&addr, TAIO_OP_ACCEPT), 0);
	cr_assert_eq(access(unix_path("d"), F_OK), -1);
	send_all(to.fd, "two");
	recv_is(addr.fd, "one");
	recv_is(addr.fd, "two");
	close(to.fd);
	close(addr.fd);
}

/* ---- what the engine does with a socket ------------------------------------------------------- */

/* A connected TCP pair. */
static void tcp_pair(int *ret_a, int *ret_b)
{
	int port, listener = tcp_socket(1, &port);

	*ret_a = tcp_knock(port);
	*ret_b = accept(listener, NULL, NULL);
	cr_assert_geq(*ret_a, 0);
	cr_assert_geq(*ret_b, 0);
	close(listener);
}

Test(net, finish_ends_the_stream_and_the_peer_can_still_answer)
{
	char byte;
	int a, b;

	tcp_pair(&a, &b);
	cr_assert_eq(netops_finish(a, false), 0);
	cr_assert_eq(recv(b, &byte, 1, 0), 0);
	send_all(b, "late");
	recv_is(a, "late");
	close(a);
	close(b);
}

Test(net, peer_that_talks_gets_all_bytes_and_an_orderly_end)
{
	char *bytes = calloc(1, 1 << 20);
	size_t got = 0;
	ssize_t n;
	int ends[2];

	cr_assert(bytes);
	for (int i = 0; i < 2; i++) {
		if (i == 0)
			tcp_pair(&ends[0], &ends[1]);
		else
			cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
		send_all(ends[1], "GET / HTTP/1.0\r\n\r\n");
		cr_assert_eq(send(ends[0], bytes, 150000, 0), 150000);
		cr_assert_eq(netops_finish(ends[0], false), 0);
		close(ends[0]);
		for (got = 0; (n = recv(ends[1], bytes, 1 << 20, 0)) > 0; got += (size_t)n)
			;
		cr_assert_eq(n, 0, "%s", strerror(errno));
		cr_assert_eq(got, 150000u);
		close(ends[1]);
	}
	free(bytes);
}

Test(net, finish_reports_a_reset_by_the_peer)
{
	const struct linger none = { .l_onoff = 1 };
	struct pollfd ready;
	int a, b;

	tcp_pair(&a, &b);
	send_all(a, "never read");
	cr_assert_eq(setsockopt(b, SOL_SOCKET, SO_LINGER, &none, sizeof(none)), 0);
	close(b);
	ready = (struct pollfd){ .fd = a, .events = POLLIN };
	cr_assert_eq(poll(&ready, 1, PATIENCE_MS), 1);
	cr_assert_eq(netops_finish(a, false), -ECONNRESET);
	/* the error was taken: the connection is dead all the same */
	cr_assert_eq(netops_finish(a, false), -ECONNRESET);
	close(a);
}

Test(net, finish_has_nothing_to_do_for_pipes_and_datagrams)
{
	struct taio_addr addr = address("127.0.0.1:9:udp");
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(netops_finish(ends[1], false), 0);
	cr_assert_eq(step_run(&addr, TAIO_OP_CONNECT), 0);
	cr_assert_eq(netops_finish(addr.fd, false), 0);
	close(addr.fd);
	close(ends[0]);
	close(ends[1]);
	cr_assert_eq(netops_finish(ends[0], false), -EBADF);
}

Test(net, abort_of_a_connection_is_a_reset_not_an_end)
{
	int port, listener = tcp_socket(1, &port), peer;
	struct taio_addr addr = address(address_text("127.0.0.1:%d:tcp", port));
	char room[16];

	cr_assert_eq(step_run(&addr, TAIO_OP_CONNECT), 0);
	peer = accept(listener, NULL, NULL);
	send_all(addr.fd, "half of it");
	netops_abort(&addr);
	assert_clean(&addr);
	/* a plain close would let the peer take ten bytes for the whole */
	while (recv(peer, room, sizeof(room), 0) > 0)
		;
	cr_assert_eq(errno, ECONNRESET);
	close(peer);
	close(listener);
}

Test(net, peers_on_this_machine_are_local)
{
	int a, b, pair[2], ends[2];

	tcp_pair(&a, &b);
	cr_assert_eq(netops_is_local(a), 1);
	cr_assert_eq(netops_is_local(b), 1);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	cr_assert_eq(netops_is_local(pair[0]), 1);
	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(netops_is_local(ends[0]), 0);
	for (int i = 0; i < 2; i++) {
		close(pair[i]);
		close(ends[i]);
	}
	close(a);
	close(b);
	cr_assert_eq(netops_is_local(a), 0);
}

Test(net, udp_peer_elsewhere_is_not_local)
{
	/* connecting a datagram socket sends nothing */
	struct taio_addr addr = address("192.0.2.1:9:udp");

	if (step_run(&addr, TAIO_OP_CONNECT) == -ENETUNREACH)
		cr_skip_test("this machine has no route to anywhere");
	cr_assert_eq(netops_is_local(addr.fd), 0);
	close(addr.fd);
}

Test(net, full_descriptor_table_is_emfile_at_once)
{
	struct taio_addr addr = address_pair("127.0.0.1:9:tcp", "127.0.0.1:10:tcp");
	struct taio_addr server = address("listen:127.0.0.1:0:tcp");
	const struct rlimit small = { 64, 64 };
	int fds[128], count = 0;

	/* the process of this case ends with it, and the limit with the process */
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &small), 0);
	while (count < 128 && (fds[count] = open("/dev/null", O_RDONLY)) >= 0)
		count++;
	cr_assert_lt(count, 128);
	cr_assert_eq(step_run(&addr, TAIO_OP_CONNECT), -EMFILE);
	cr_assert_eq(addr.current, 0, "another address does not help");
	cr_assert_eq(step_run(&server, TAIO_OP_ACCEPT), -EMFILE);
	assert_clean(&addr);
	assert_clean(&server);
	while (count > 0)
		close(fds[--count]);
}
