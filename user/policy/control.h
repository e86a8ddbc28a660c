/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * control.h: how another process reaches a running engine: an abstract Unix datagram socket
 * "@taio/PID/N", one line of text in, one line out. Only root and the engine's own user are heard;
 * the kernel says who it is.
 */
#ifndef TAIO_USER_POLICY_CONTROL_H
#define TAIO_USER_POLICY_CONTROL_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONTROL_LINE 4200 /* a path and its tunables */

struct control_peer {
	struct sockaddr_un address;
	socklen_t length;
};

/* Return: the socket, non-blocking; negative errno. */
int control_open(void);

/* Return: 1: a line of somebody who may ask; 0: nothing there. */
int control_receive(int fd, char *ret_line, size_t size, struct control_peer *ret_peer);

/* Answers; nobody waits for a peer that does not listen. */
void control_reply(int fd, const struct control_peer *peer, const char *line);

/* Makes @fd readable for its owner. Any thread. */
void control_wake(int fd);

/* The other side: asks engine @number of process @pid. Return: length of the answer; -ESRCH: it is
 * gone; -ETIMEDOUT; -EACCES. */
int control_ask(unsigned int pid, unsigned int number, const char *line, char *ret_answer,
		size_t size, int timeout_ms);

/* Calls @each for every engine of this network namespace. Return: how many; negative errno. */
int control_engines(void (*each)(void *arg, unsigned int pid, unsigned int number), void *arg);

#endif /* TAIO_USER_POLICY_CONTROL_H */
