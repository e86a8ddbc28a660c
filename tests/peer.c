/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * peer.c: a peer that misbehaves in a chosen way, for the end-to-end tests; what good peers do is
 * tested with nc and curl. It binds 127.0.0.1 with a port that the kernel chooses and prints that as
 * its first line. It ends by itself after a minute, whatever happens.
 *
 *   peer port            a port that was free a moment ago, nobody has it
 *   peer deaf            bound but not listening: refuses
 *   peer reset N         takes a connection and N bytes, then resets it
 *   peer stall N         takes a connection and N bytes, then nothing until the other side gives up
 *   peer full            listens with a full queue: a handshake with it hangs
 *   peer give-reset N    takes a connection, sends N bytes, then resets it
 *   peer give-stall N    takes a connection, sends N bytes, then nothing
 *   peer ended           takes a connection, reads to its end; "fin", "reset" and the bytes as lines
 *   peer datagrams       plain recv(2) until the empty datagram; the size of each as a line
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIFETIME_S 60

static char room[65536];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int bound_socket(int type)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	const int bytes = 4 << 20;
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) < 0)
		fail("bind");
	if (type == SOCK_DGRAM &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	printf("%d\n", ntohs(sin.sin_port));
	return fd;
}

static void listen_told(int fd, int backlog)
{
	if (listen(fd, backlog) < 0)
		fail("listen");
	fflush(stdout); /* the port: from now on somebody is there */
}

static int accepted_socket(void)
{
	int listener = bound_socket(SOCK_STREAM), fd;

	listen_told(listener, 1);
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		fail("accept");
	close(listener);
	return fd;
}

static void reset(int fd)
{
	const struct linger none = { .l_onoff = 1, .l_linger = 0 };

	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)) < 0)
		fail("SO_LINGER");
	close(fd);
}

/* Reads @want bytes, no more. */
static void take(int fd, uint64_t want)
{
	while (want > 0) {
		ssize_t n = read(fd, room, want < sizeof(room) ? want : sizeof(room));

		if (n <= 0)
			fail("the other side ended first");
		want -= (uint64_t)n;
	}
}

static void give(int fd, uint64_t want)
{
	memset(room, 'x', sizeof(room));
	while (want > 0) {
		ssize_t n = write(fd, room, want < sizeof(room) ? want : sizeof(room));

		if (n <= 0)
			fail("write");
		want -= (uint64_t)n;
	}
}

static void full(void)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);
	int listener = bound_socket(SOCK_STREAM), first;

	if (listen(listener, 0) < 0 || getsockname(listener, (struct sockaddr *)&sin, &len) < 0)
		fail("listen");
	first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(first, (struct sockaddr *)&sin, len) < 0)
		fail("connect");
	fflush(stdout);
	pause();
}

static void ended(void)
{
	int fd = accepted_socket();
	uint64_t bytes = 0;
	ssize_t n;

	while ((n = read(fd, room, sizeof(room))) > 0)
		bytes += (uint64_t)n;
	puts(n == 0 ? "fin" : errno == ECONNRESET ? "reset" : strerror(errno));
	printf("%llu\n", (unsigned long long)bytes);
}

static void datagrams(void)
{
	int fd = bound_socket(SOCK_DGRAM);
	ssize_t n;

	fflush(stdout);
	while ((n = recv(fd, room, sizeof(room), 0)) > 0)
		printf("%zd\n", n);
	puts(n == 0 ? "end" : strerror(errno));
}

static void serve(const char *how, uint64_t bytes)
{
	int fd;

	if (strcmp(how, "port") == 0) {
		close(bound_socket(SOCK_STREAM));
	} else if (strcmp(how, "deaf") == 0) {
		(void)bound_socket(SOCK_STREAM);
		fflush(stdout);
		pause();
	} else if (strcmp(how, "full") == 0) {
		full();
	} else if (strcmp(how, "ended") == 0) {
		ended();
	} else if (strcmp(how, "datagrams") == 0) {
		datagrams();
	} else if (strcmp(how, "reset") == 0 || strcmp(how, "stall") == 0) {
		fd = accepted_socket();
		take(fd, bytes);
		if (strcmp(how, "reset") == 0)
			reset(fd);
		else
			pause();
	} else if (strcmp(how, "give-reset") == 0 || strcmp(how, "give-stall") == 0) {
		fd = accepted_socket();
		give(fd, bytes);
		if (strcmp(how, "give-reset") == 0) {
			usleep(100000); /* the bytes first: a reset overtakes what is on its way */
			reset(fd);
		} else {
			pause();
		}
	} else {
		fprintf(stderr, "peer: what is '%s'?\n", how);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fputs("usage: peer HOW [BYTES]\n", stderr);
		return 2;
	}
	alarm(LIFETIME_S);
	serve(argv[1], argc > 2 ? strtoull(argv[2], NULL, 10) : 0);
	return 0;
}
