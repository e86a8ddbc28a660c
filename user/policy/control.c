/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* control.c: see control.h. */
#include "policy/control.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONTROL_NUMBERS 4096 /* engines of a process that can be reached */

static socklen_t control_address(struct sockaddr_un *ret_address, unsigned int pid,
				 unsigned int number)
{
	int n;

	memset(ret_address, 0, sizeof(*ret_address));
	ret_address->sun_family = AF_UNIX;
	n = snprintf(ret_address->sun_path + 1, sizeof(ret_address->sun_path) - 1, "taio/%u/%u",
		     pid, number);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static int control_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

int control_open(void)
{
	struct sockaddr_un address;
	int fd = control_socket(), on = 1;

	if (fd < 0)
		return fd;
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	for (unsigned int n = 0; n < CONTROL_NUMBERS; n++) {
		socklen_t length = control_address(&address, (unsigned int)getpid(), n);

		if (bind(fd, (struct sockaddr *)&address, length) == 0)
			return fd;
		if (errno != EADDRINUSE)
			break;
	}
	close(fd);
	return -EADDRINUSE;
}

static int control_is_allowed(struct msghdr *message)
{
	struct cmsghdr *part;
	struct ucred peer;

	for (part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_CREDENTIALS)
			continue;
		memcpy(&peer, CMSG_DATA(part), sizeof(peer));
		return peer.uid == 0 || peer.uid == geteuid();
	}
	return 0;
}

int control_receive(int fd, char *ret_line, size_t size, struct control_peer *ret_peer)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec part = { .iov_base = ret_line, .iov_len = size - 1 };
	struct msghdr message = { .msg_name = &ret_peer->address,
				  .msg_namelen = sizeof(ret_peer->address),
				  .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return 0;
	ret_line[n] = '\0';
	ret_peer->length = message.msg_namelen;
	if (control_is_allowed(&message))
		return 1;
	control_reply(fd, ret_peer, "error this engine belongs to another user");
	ret_line[0] = '\0';
	return 1;
}

void control_reply(int fd, const struct control_peer *peer, const char *line)
{
	if (peer->length > offsetof(struct sockaddr_un, sun_path))
		(void)sendto(fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL,
			     (const struct sockaddr *)&peer->address, peer->length);
}

void control_wake(int fd)
{
	struct sockaddr_un address;
	socklen_t length = sizeof(address);
	int from = control_socket();

	if (from < 0)
		return; /* it is looked at with the next tick anyhow */
	if (getsockname(fd, (struct sockaddr *)&address, &length) == 0)
		(void)sendto(from, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address,
			     length);
	close(from);
}

static int control_wait(int fd, char *ret_answer, size_t size, int timeout_ms)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	ssize_t n;
	int rc;

	do {
		rc = poll(&ready, 1, timeout_ms);
	} while (rc < 0 && errno == EINTR);
	if (rc <= 0)
		return rc < 0 ? -errno : -ETIMEDOUT;
	n = recv(fd, ret_answer, size - 1, 0);
	if (n < 0)
		return -errno;
	ret_answer[n] = '\0';
	return (int)n;
}

int control_ask(unsigned int pid, unsigned int number, const char *line, char *ret_answer,
		size_t size, int timeout_ms)
{
	struct sockaddr_un address, own = { .sun_family = AF_UNIX };
	socklen_t length = control_address(&address, pid, number);
	int fd = control_socket(), rc = 0;

	if (fd < 0)
		return fd;
	/* No path: the kernel gives us an abstract name, so that we can be answered. Connected, so
	 * that nobody else's datagram is taken for the answer. */
	if (bind(fd, (struct sockaddr *)&own, sizeof(own.sun_family)) < 0 ||
	    connect(fd, (struct sockaddr *)&address, length) < 0 ||
	    send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
		rc = errno == ECONNREFUSED ? -ESRCH : -errno;
	if (rc == 0)
		rc = control_wait(fd, ret_answer, size, timeout_ms);
	close(fd);
	return rc;
}

/* "PID/NUMBER" and the end of the line. */
static bool control_parse(const char *text, unsigned int *ret_pid, unsigned int *ret_number)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	*ret_pid = (unsigned int)value;
	if (end == text || *end != '/' || value > UINT32_MAX)
		return false;
	text = end + 1;
	value = strtoul(text, &end, 10);
	*ret_number = (unsigned int)value;
	return end != text && *end == '\n' && value <= UINT32_MAX;
}

int control_engines(void (*each)(void *arg, unsigned int pid, unsigned int number), void *arg)
{
	FILE *list = fopen("/proc/net/unix", "re");
	char line[512];
	int count = 0;

	if (!list)
		return -errno;
	while (fgets(line, sizeof(line), list)) {
		const char *name = strchr(line, '@');
		unsigned int pid, number;

		if (!name || strncmp(name, "@taio/", 6) || !control_parse(name + 6, &pid, &number))
			continue;
		each(arg, pid, number);
		count++;
	}
	fclose(list);
	return count;
}
