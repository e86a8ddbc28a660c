/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * filestream.h: a small file to a stream socket, for TAIO_OP_FILE (file.c). The source is open and
 * has been looked at.
 */
#ifndef TAIO_DRIVERS_FILESTREAM_H
#define TAIO_DRIVERS_FILESTREAM_H

#include <stdint.h>

#include "taio_driver.h"

/* How much may be sent in one step. More where the thread may wait for a disk. */
uint64_t filestream_max(const struct taio_device *dev);

/* Sends @expected bytes from file->offset on, 1..filestream_max(). @buffer: SYNCOPS_BUFFER_BYTES.
 * Never waits for the peer. Return: bytes sent, with state TAIO_FILE_DONE if that is all and the source
 * is closed; else the source stays open for the rest. Negative errno. */
int64_t filestream_send(struct taio_device *dev, struct taio_file *file, uint8_t *buffer,
			uint64_t expected, int to);

/* What is left is the engine's: the source stays open. Return: @sent or negative errno. */
int64_t filestream_leave(struct taio_file *file, int64_t sent);

#endif /* TAIO_DRIVERS_FILESTREAM_H */
