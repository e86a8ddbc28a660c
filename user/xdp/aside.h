/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * aside.h: what takes the kernel milliseconds, done by a thread of its own: loading and attaching a
 * program, closing sockets, waiting until packets that are half way through the kernel are through.
 */
#ifndef TAIO_XDP_ASIDE_H
#define TAIO_XDP_ASIDE_H

#include <pthread.h>
#include <stdbool.h>

struct xdp_aside {
	int (*work)(void *arg);
	void *arg;
	int event_fd; /* polls readable when the work is done; -1 */
	int result;   /* of work(), once it is done */
	bool running; /* the owner's: started and not taken back */
	pthread_t thread;
};

/* Starts @work. Return: 0; -EAGAIN, -EMFILE: no thread, no descriptor; nothing was started. */
int xdp_aside_start(struct xdp_aside *aside, int (*work)(void *arg), void *arg);

/* Is it done? Then its result is there and the thread is gone. Never waits. */
bool xdp_aside_done(struct xdp_aside *aside);

/* Waits for it, if it runs. */
void xdp_aside_wait(struct xdp_aside *aside);

/*
 * Returns when every packet that a processor was handling is where it belongs: in the ring of an
 * AF_XDP socket or in the queue of a socket. Receiving runs with softirqs off, so a processor that
 * runs this thread is not in the middle of it: the thread visits all of them. Where that is not
 * permitted, or a kernel can preempt softirqs (PREEMPT_RT), an RCU grace period says the same, ten
 * times slower. @arg: unused.
 */
int xdp_grace(void *arg);

#endif /* TAIO_XDP_ASIDE_H */
