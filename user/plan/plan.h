/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* plan.h: which steps a request consists of. Pure: no system call, no engine. */
#ifndef TAIO_PLAN_H
#define TAIO_PLAN_H

#include "request/request.h"

/* What accept.c found out about an end. */
enum plan_end {
	PLAN_OPEN,    /* usable as it is: memory, descriptor, null, zero */
	PLAN_PATH,    /* a file to open */
	PLAN_CONNECT, /* a peer to connect to */
	PLAN_LISTEN,  /* a peer to wait for */
	PLAN_MIRROR   /* a source with r->replicas files to open */
};

/* Fills the FIFO of @r by its ends and flags (enum taio_flag in r->flags). @whole_file: the source is
 * a file by name, the destination a whole file by name or an open stream, so that a small one can be
 * copied in a single step. */
void plan_build(struct request *r, enum plan_end from, enum plan_end to, bool whole_file);

/* Does a pair make sense? Return: NULL, or the reason why not, a sentence. */
const char *plan_refuse(const struct taio_endpoint *from, const struct taio_endpoint *to);

#endif /* TAIO_PLAN_H */
