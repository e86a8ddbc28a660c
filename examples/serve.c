/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * serve.c: a small HTTP server for the files below a directory: one thread, one engine, and a
 * poll(2) loop of its own in which the engine is one more descriptor (taio_fd()). It answers GET
 * for regular files, and nothing else; it is an example, not a web server.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "taio.h"

#define CLIENTS 256
#define REQUEST 2048

struct client {
	int fd, file; /* -1: none */
	size_t used;
	char request[REQUEST];
};

struct server {
	struct taio *engine;
	int listen_fd, root;
	struct client client[CLIENTS];
	struct pollfd poll[CLIENTS + 2]; /* clients, the listening socket, the engine */
};

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	stopped = signal;
}

static void client_close(struct client *client)
{
	close(client->fd);
	if (client->file >= 0)
		close(client->file);
	client->fd = client->file = -1;
	client->used = 0;
}

static void client_refuse(struct client *client, const char *status)
{
	char text[160];
	int length =
		snprintf(text, sizeof(text), "HTTP/1.0 %s\r\nContent-Length: 0\r\n\r\n", status);

	(void)!send(client->fd, text, (size_t)length, MSG_NOSIGNAL);
	client_close(client);
}

/* The whole request is there: its file becomes one request to the engine. */
static void client_answer(struct server *server, struct client *client)
{
	uint64_t cookie = (uint64_t)(client - server->client);
	char *path = client->request + strlen("GET /");
	struct taio_endpoint from, to;
	char text[160];
	struct stat st;
	int length;

	if (strncmp(client->request, "GET /", 5) != 0) {
		client_refuse(client, "405 Method Not Allowed");
		return;
	}
	path[strcspn(path, " ?\r\n")] = '\0';
	if (path[0] == '\0' || path[0] == '/' || strstr(path, "..")) {
		client_refuse(client, "403 Forbidden");
		return;
	}
	client->file = openat(server->root, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (client->file < 0 || fstat(client->file, &st) < 0 || !S_ISREG(st.st_mode)) {
		client_refuse(client, "404 Not Found");
		return;
	}
	length = snprintf(text, sizeof(text), "HTTP/1.0 200 OK\r\nContent-Length: %lld\r\n\r\n",
			  (long long)st.st_size);
	(void)!send(client->fd, text, (size_t)length, MSG_NOSIGNAL | MSG_MORE);
	/* exactly as long as announced, whatever happens to the file meanwhile */
	from = taio_file(client->file, 0, (uint64_t)st.st_size);
	to = taio_descriptor(client->fd);
	if (taio_copy(server->engine, &from, &to, NULL, cookie) < 0)
		client_close(client);
}

static void client_read(struct server *server, struct client *client)
{
	ssize_t got = recv(client->fd, client->request + client->used, REQUEST - 1 - client->used,
			   MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		client_close(client);
		return;
	}
	client->used += (size_t)got;
	client->request[client->used] = '\0';
	if (strstr(client->request, "\r\n\r\n") || strstr(client->request, "\n\n"))
		client_answer(server, client);
	else if (client->used == REQUEST - 1)
		client_refuse(client, "431 Request Header Fields Too Large");
}

static void server_accept(struct server *server)
{
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	for (int i = 0; i < CLIENTS && fd >= 0; i++) {
		if (server->client[i].fd < 0) {
			server->client[i].fd = fd;
			return;
		}
	}
	if (fd >= 0)
		close(fd);
}

static void server_events(struct server *server)
{
	struct taio_event event[64];
	int count;

	do {
		count = taio_get_events(server->engine, event, 0, 64, 0);
		for (int i = 0; i < count; i++)
			client_close(&server->client[event[i].cookie]);
	} while (count > 0);
}

static void server_loop(struct server *server)
{
	struct pollfd *listening = &server->poll[CLIENTS], *engine = &server->poll[CLIENTS + 1];

	while (!stopped) {
		for (int i = 0; i < CLIENTS; i++) {
			struct client *client = &server->client[i];

			/* one whose file is on its way belongs to the engine */
			server->poll[i].fd = client->file < 0 ? client->fd : -1;
			server->poll[i].events = POLLIN;
		}
		/* hands over what was scheduled, takes what has ended */
		server_events(server);
		if (poll(server->poll, CLIENTS + 2, -1) < 0)
			continue;
		for (int i = 0; i < CLIENTS; i++) {
			if (server->poll[i].fd >= 0 && server->poll[i].revents)
				client_read(server, &server->client[i]);
		}
		if (listening->revents)
			server_accept(server);
		if (engine->revents)
			server_events(server);
	}
}

static int server_open(struct server *server, const char *root, const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)atoi(port)) };
	struct sigaction action = { .sa_handler = stop };
	int one = 1;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < CLIENTS; i++)
		server->client[i].fd = server->client[i].file = -1;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(server->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (server->root < 0 || server->listen_fd < 0 ||
	    bind(server->listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(server->listen_fd, 128) < 0 || taio_open(&server->engine, NULL) < 0)
		return -1;
	server->poll[CLIENTS].fd = server->listen_fd;
	server->poll[CLIENTS + 1].fd = taio_fd(server->engine);
	server->poll[CLIENTS].events = server->poll[CLIENTS + 1].events = POLLIN;
	return server->poll[CLIENTS + 1].fd < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	static struct server server;

	if (argc != 3) {
		fprintf(stderr, "usage: serve DIRECTORY PORT\n");
		return 2;
	}
	if (server_open(&server, argv[1], argv[2]) < 0) {
		perror("serve");
		return 1;
	}
	server_loop(&server);
	taio_close(server.engine);
	for (int i = 0; i < CLIENTS; i++) {
		if (server.client[i].fd >= 0)
			client_close(&server.client[i]);
	}
	return 0;
}
