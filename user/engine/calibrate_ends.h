/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * calibrate_ends.h: the ends that a calibration copies between: memory, files without a name, a TCP
 * connection, a pair of UDP sockets and a pipe, and a directory for whole small files. What a
 * request shall take out of a queue is put in before, what it puts in is taken out afterwards, so
 * that it waits for nobody. Private to api_calibrate.c.
 */
#ifndef TAIO_CALIBRATE_ENDS_H
#define TAIO_CALIBRATE_ENDS_H

#include <stdint.h>

#include "taio.h"

#define CALIBRATE_BYTES (8u << 20)
#define CALIBRATE_QUEUE (64u << 10) /* what fits in a queue for certain */

struct calibrate_ends {
	char *memory[2];
	int file[2];
	int stream[2], dgram[2], pipe[2]; /* [0] is read by us or by the engine, [1] written */
	char directory[480];              /* empty: there is none */
	char whole[2][512];               /* in there: a small file, and its copy */
};

/* Return: 0, -errno: nothing is open. */
int calibrate_ends_open(struct calibrate_ends *ends);
void calibrate_ends_close(struct calibrate_ends *ends);

/* An end of enum taio_kind; side 0: source, 1: destination. */
struct taio_endpoint calibrate_end(const struct calibrate_ends *ends, unsigned int kind,
				   unsigned int side, uint64_t bytes);

/* Puts @bytes into the queue of a source. Return: 0, -errno: it holds nothing. */
int calibrate_feed(struct calibrate_ends *ends, unsigned int kind, uint64_t bytes);
/* Empties the queue of an end, if it has one. */
void calibrate_drain(struct calibrate_ends *ends, unsigned int kind);

/* Makes the small file so long. Return: 0, -errno. */
int calibrate_whole(struct calibrate_ends *ends, uint64_t bytes);

#endif /* TAIO_CALIBRATE_ENDS_H */
