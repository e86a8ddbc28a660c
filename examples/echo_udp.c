/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * echo_udp.c: sends every datagram back to whoever sent it, up to 64 of them with one request in
 * each direction. echo_udp PORT; SIGINT or SIGTERM ends it and prints what became of the datagrams.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "taio.h"

#define BATCH 64

static uint8_t data[BATCH][65536];
static struct sockaddr_storage sender[BATCH];
static struct taio_message message[BATCH];

/* Room for what comes. */
static void prepare(void)
{
	for (int i = 0; i < BATCH; i++) {
		message[i].data = data[i];
		message[i].length = sizeof(data[i]);
		message[i].address = &sender[i];
		message[i].address_room = sizeof(sender[i]);
	}
}

/* What came goes back: its length and its sender's address are where they are needed already. */
static void turn_round(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		message[i].length = (uint32_t)message[i].result;
}

/* The one event of the request before. Return: 0, -EINTR, or what went wrong. */
static int wait_for(struct taio *engine, struct taio_event *event)
{
	int n = taio_get_events(engine, event, 1, 1, -1);

	if (n < 0)
		return n;
	return event->result < 0 ? (int)event->result : 0;
}

static int echo(struct taio *engine, int fd)
{
	struct taio_endpoint socket = taio_descriptor(fd);
	struct taio_event event;
	int rc;

	for (;;) {
		prepare();
		rc = taio_schedule_receive_messages(engine, &socket, message, BATCH, NULL, 1);
		if (rc == 0)
			rc = wait_for(engine, &event);
		if (rc)
			return rc;
		turn_round(event.messages);
		rc = taio_schedule_send_messages(engine, message, event.messages, &socket, NULL, 2);
		if (rc == 0)
			rc = wait_for(engine, &event);
		if (rc == -EINTR)
			return rc;
		/* an answer that cannot be sent is counted, and no reason to stop */
	}
}

static void report(struct taio *engine)
{
	struct taio_message_counters counters;

	taio_message_count(engine, 255, &counters, sizeof(counters));
	printf("%llu received, %llu sent back\n", (unsigned long long)counters.received,
	       (unsigned long long)counters.sent);
	for (unsigned int i = 0; i < TAIO_DROP_COUNT; i++)
		if (counters.dropped[i])
			printf("%llu %s\n", (unsigned long long)counters.dropped[i],
			       taio_drop_name(i));
}

static void interrupt(int signal)
{
	(void)signal; /* taio_get_events() returns */
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 self = { .sin6_family = AF_INET6, .sin6_addr = in6addr_any };
	struct sigaction action = { .sa_handler = interrupt };
	struct taio *engine;
	int fd, rc;

	if (argc != 2) {
		fprintf(stderr, "Usage: echo_udp PORT\n");
		return 2;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	self.sin6_port = htons((uint16_t)atoi(argv[1]));
	fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* for IPv4, too */
	if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0) {
		fprintf(stderr, "echo_udp: port %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	rc = taio_open(&engine, NULL);
	if (rc == 0) {
		rc = echo(engine, fd);
		report(engine);
		taio_close(engine);
	}
	close(fd);
	if (rc != -EINTR)
		fprintf(stderr, "echo_udp: %s\n", strerror(-rc));
	return rc == -EINTR ? 0 : 1;
}
