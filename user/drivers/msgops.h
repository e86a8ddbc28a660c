/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * msgops.h: what the drivers share that move batches of messages (see "messages" in taio_driver.h)
 * through kernel sockets, implemented in msgops.c: plain ones in both directions, and what an error
 * of a socket means for a batch.
 */
#ifndef TAIO_DRIVERS_MSGOPS_H
#define TAIO_DRIVERS_MSGOPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "taio.h"
#include "taio_driver.h"

/* MESSAGES to DGRAM by sendmmsg(2), DGRAM to MESSAGES by recvmmsg(2): whole steps. Return: messages
 * dealt with; negative errno, as taio_driver.h says. */
int64_t msgops_send(struct taio_step *step);
int64_t msgops_receive(struct taio_step *step);

/* A batch being sent: what was dealt with, and what the socket said of the message at its front. */
struct msgops_front {
	struct taio_step *step;
	uint64_t done;
	int past;     /* error that may have been about datagrams sent earlier; 0: none */
	bool pressed; /* full, yet said to be writable: asked once more */
};

enum msgops_verdict {
	MSGOPS_GO_ON, /* the message at the front is over, or is to be sent again */
	MSGOPS_STOP   /* the step is: msgops_stop() */
};

/* @error: negative errno with which the message at the front (and no other) was refused. */
enum msgops_verdict msgops_refused(struct msgops_front *front, int error);
/* @count messages from the front on were sent. */
void msgops_sent(struct msgops_front *front, unsigned int count);
/* The result of a step that ends because of @error. */
int64_t msgops_stop(struct msgops_front *front, int error);

/* Notes one in the step. */
void msgops_report(struct taio_step *step, int error);

static inline void msgops_address(const struct taio_message *m, struct msghdr *hdr)
{
	hdr->msg_name = m->address;
	hdr->msg_namelen = m->address ? m->address_length : 0;
}

#endif /* TAIO_DRIVERS_MSGOPS_H */
