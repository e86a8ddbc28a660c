/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * file.c: a whole small file in one step and as few system calls as possible. From name to name:
 * open, fstat, open a temporary, read, write, link, close, close; to a stream: open, fstat, read,
 * send, close. What is larger, or no regular file, is only opened; the engine then goes on in
 * segments.
 *
 * The old destination is not looked at beforehand: giving an unnamed file a name that is taken
 * fails, and only then the rules for old destinations are applied. Where the last files replaced
 * old ones it is looked at first, because the work is then less; both orders give the same result.
 * In place it is the same: first it is made, as one that was not there.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/fileops.h"
#include "drivers/filestream.h"
#include "drivers/filetemp.h"
#include "drivers/syncops.h"
#include "taio.h"

#define FILE_SMALL (512 * 1024)
#define FILE_SEND  (32 * 1024) /* from here on sendfile(2) beats pread and pwrite */
#define FILE_BLOCK 4096        /* a hole is at least this long */

/* What a device notes for the next file, see syncops_note(). */
enum file_note {
	FILE_LOOK_FIRST = 1 << 0, /* the last destination replaced an old one */
	FILE_WAS_THERE = 1 << 1   /* the last one that was written in place was there already */
};

/* ---- the bytes ---------------------------------------------------------------------------------- */

static int file_write(int fd, const uint8_t *data, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

static bool file_is_zero(const uint8_t *data, size_t len)
{
	return data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

/* Writes what is not zero, block by block: the source has holes, so the copy has them, too. */
static int file_write_sparse(int fd, const uint8_t *data, size_t len, uint64_t at)
{
	size_t done = 0, start = 0;

	while (done < len) {
		size_t block = len - done < FILE_BLOCK ? len - done : FILE_BLOCK;
		bool zero = file_is_zero(data + done, block);

		if (zero && start < done) {
			int rc = file_write(fd, data + start, done - start, at + start);

			if (rc)
				return rc;
		}
		done += block;
		if (zero)
			start = done;
	}
	return start < len ? file_write(fd, data + start, len - start, at + start) : 0;
}

/* How much to ask for: one byte more than is left, so that the end is seen without another call. */
static size_t file_ask(uint64_t done, uint64_t expected, uint64_t limit)
{
	uint64_t ask = done < expected ? expected - done + 1 : SYNCOPS_BUFFER_BYTES;

	if (ask > limit - done)
		ask = limit - done;
	return ask < SYNCOPS_BUFFER_BYTES ? ask : SYNCOPS_BUFFER_BYTES;
}

/* A dense file of known size by sendfile(2): no buffer between the two. Return: bytes copied, 0 also
 * if it cannot be done so; *ret_end: the end of the source was seen. */
static int64_t file_send(struct taio_file *file, uint64_t expected, bool *ret_end)
{
	uint64_t done = 0, limit = file->length;
	off_t at = (off_t)file->offset;

	*ret_end = false;
	while (done < expected) {
		uint64_t ask = limit - done < expected - done + 1 ? limit - done
								  : expected - done + 1;
		ssize_t n = sendfile(file->to_fd, file->from_fd, &at, ask);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && done) /* the other way will say whether it is the source */
			break;
		if (n < 0)
			return errno == ENOSPC || errno == EDQUOT
				       ? fileops_fail(file, TAIO_STEP_WRITE, -errno)
				       : 0;
		done += (uint64_t)n;
		if ((uint64_t)n < ask && done >= expected)
			*ret_end = true;
		if (n == 0)
			break;
	}
	return (int64_t)done;
}

/* Empty indeed: elsewhere (procfs) a size of 0 may be a lie. */
static bool file_is_empty(const struct taio_file *file)
{
	if (file->size)
		return false;
	switch (fileops_fs_of(file->from_fd, file->from_stat.dev)) {
	case TAIO_FS_EXT:
	case TAIO_FS_TMPFS:
	case TAIO_FS_XFS:
	case TAIO_FS_BTRFS:
		return true;
	default:
		return false;
	}
}

/* Copies up to the end of the source, whatever its size was. Return: bytes, negative errno. */
static int64_t file_copy(struct taio_file *file, uint8_t *buffer, uint64_t expected)
{
	bool sparse = file->from_stat.blocks * 512 < file->size &&
		      !(file->flags & (TAIO_NO_SPARSE | TAIO_IN_PLACE));
	uint64_t done = 0, limit = file->length;

	if (file_is_empty(file))
		return 0;
	if (expected >= FILE_SEND && !sparse) {
		bool end;
		int64_t sent = file_send(file, expected, &end);

		if (sent < 0 || end)
			return sent;
		done = (uint64_t)sent;
	}
	while (done < limit) {
		size_t ask = file_ask(done, expected, limit);
		ssize_t n = pread(file->from_fd, buffer, ask, (off_t)(file->offset + done));
		int rc;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) /* EAGAIN: a file that waits for events, trace_pipe and its like */
			return fileops_fail(file, TAIO_STEP_READ,
					    errno == EAGAIN ? -EOPNOTSUPP : -errno);
		if (n == 0)
			break;
		rc = sparse ? file_write_sparse(file->to_fd, buffer, (size_t)n, done)
			    : file_write(file->to_fd, buffer, (size_t)n, done);
		if (rc)
			return fileops_fail(file, TAIO_STEP_WRITE, rc);
		done += (uint64_t)n;
		if (done == expected && (size_t)n < ask)
			break;
	}
	if (sparse && ftruncate(file->to_fd, (off_t)done) < 0)
		return fileops_fail(file, TAIO_STEP_WRITE, -errno);
	return (int64_t)done;
}

/* ---- the steps around them ---------------------------------------------------------------------- */

/* Mode and so on, then onto the disk if that is wanted. */
static int file_finish(struct taio_file *file)
{
	int rc = fileops_meta(file);

	if (rc == 0 && (file->flags & TAIO_DURABLE)) {
		rc = fileops_sync(file->to_fd);
		if (rc)
			return fileops_fail(file, TAIO_STEP_SYNC, rc);
	}
	return rc;
}

/* Into a name that must be free. Return: 0, or -EEXIST with nothing changed, other errors. */
static int file_publish_new(struct taio_file *file)
{
	int rc = file_finish(file);

	if (rc)
		return rc;
	rc = filetemp_link(file, file->to_path);
	if (rc)
		return fileops_fail(file, TAIO_STEP_PUBLISH, rc);
	file->state &= ~(uint32_t)TAIO_FILE_TEMP;
	file->state |= TAIO_FILE_PUBLISHED;
	return 0;
}

/* Over what is there, which has been looked at. */
static int file_publish_over(struct taio_file *file)
{
	int rc = file_finish(file);

	if (rc)
		return rc;
	if (file->temp_name[0] && !(file->flags & TAIO_DURABLE)) {
		/* Some file systems tell only now that bytes did not get there. */
		rc = fileops_close(file->to_fd);
		file->to_fd = -1;
		if (rc)
			return fileops_fail(file, TAIO_STEP_WRITE, rc);
	}
	return fileops_publish(file);
}

static int file_end(struct taio_file *file)
{
	int rc = 0;

	if (file->flags & TAIO_DURABLE)
		rc = fileops_sync_dir(file);
	if (file->to_fd >= 0) {
		int closed = fileops_close(file->to_fd);

		file->to_fd = -1;
		if (closed && rc == 0)
			rc = fileops_fail(file, TAIO_STEP_CLOSE, closed);
	}
	(void)fileops_close(file->from_fd);
	file->from_fd = -1;
	return rc;
}

/* Both sides are opened, the engine goes on. */
static int file_large(struct taio_file *file, uint64_t offset)
{
	int rc = fileops_looked_at_from(file);

	if (rc == 0)
		rc = fileops_open_to(file, offset);
	return rc;
}

static bool file_to_device(const struct taio_file *file)
{
	return (file->state & TAIO_FILE_TO_EXISTED) && !S_ISREG(file->to_stat.mode);
}

/* Has a temporary made. *looked: the destination was looked at, before or now. */
static int file_temp(struct taio_file *file, bool *looked)
{
	int rc;

	if (!*looked) {
		rc = fileops_make_temp(file, FILEOPS_TEMP_UNNAMED);
		/* Where nothing may be made there may still be something to write to: /dev/full. */
		if (rc != -EOPNOTSUPP && rc != -EACCES && rc != -EPERM && rc != -EROFS)
			return rc;
		*looked = true; /* a rename will not ask whether the name is free */
	}
	rc = fileops_look_to(file);
	if (rc || file_to_device(file))
		return rc;
	return fileops_make_temp(file, file->state & TAIO_FILE_TO_EXISTED ? FILEOPS_TEMP_NAMED
									  : FILEOPS_TEMP_ANY);
}

/* Publishes what was copied. Return: 0, with state TAIO_FILE_TEMP: the destination is a device. */
static int file_publish(struct taio_file *file, bool looked)
{
	int rc;

	if (!looked) {
		rc = file_publish_new(file);
		if (rc != -EEXIST)
			return rc;
		file->failed_step = 0;
		rc = fileops_look_to(file);
		if (rc || file_to_device(file))
			return rc;
	}
	return file_publish_over(file);
}

static void file_note(struct taio_device *dev, uint32_t bit, bool set)
{
	_Atomic uint32_t *note = syncops_note(dev);
	uint32_t old = atomic_load_explicit(note, memory_order_relaxed);
	uint32_t want = set ? old | bit : old & ~bit;

	if (old != want)
		atomic_store_explicit(note, want, memory_order_relaxed);
}

static bool file_noted(struct taio_device *dev, uint32_t bit)
{
	return atomic_load_explicit(syncops_note(dev), memory_order_relaxed) & bit;
}

static int64_t file_small(struct taio_device *dev, struct taio_file *file, uint8_t *buffer,
			  uint64_t expected)
{
	bool looked = file_noted(dev, FILE_LOOK_FIRST) || (file->flags & TAIO_NO_CLOBBER);
	bool named;
	int64_t bytes = 0;
	int rc = file_temp(file, &looked);

	named = file->temp_name[0];
	if (rc == 0 && !file_to_device(file)) {
		bytes = file_copy(file, buffer, expected);
		if (bytes < 0)
			return bytes;
		rc = file_publish(file, looked);
	}
	if (rc == 0 && file_to_device(file)) {
		if (file->to_fd >= 0)
			close(file->to_fd); /* a temporary without a name */
		file->to_fd = -1;
		file->state = 0;
		return file_large(file, 0);
	}
	if (rc == 0)
		rc = file_end(file);
	if (rc)
		return rc;
	file_note(dev, FILE_LOOK_FIRST, named || (file->state & TAIO_FILE_TO_EXISTED));
	file->state |= TAIO_FILE_DONE;
	return bytes;
}

/* ---- into the file itself ------------------------------------------------------------------------- */

static int64_t file_small_in_place(struct taio_device *dev, struct taio_file *file, uint8_t *buffer,
				   uint64_t expected)
{
	int rc = file_noted(dev, FILE_WAS_THERE) ? -EEXIST : fileops_make_in_place(file);
	int64_t bytes;

	if (rc == -EEXIST) {
		file->failed_step = 0;
		rc = fileops_open_to(file, 0);
	}
	if (rc)
		return rc;
	if (file->to_kind != TAIO_KIND_FILE) /* a device: the engine goes on */
		return fileops_looked_at_from(file);
	bytes = file_copy(file, buffer, expected);
	if (bytes < 0)
		return bytes;
	rc = file_finish(file);
	if (rc == 0)
		rc = file_end(file);
	if (rc)
		return rc;
	file_note(dev, FILE_WAS_THERE, file->state & TAIO_FILE_TO_EXISTED);
	file->state |= TAIO_FILE_DONE;
	return bytes;
}

/* ---- the driver --------------------------------------------------------------------------------- */

static bool file_is_small(const struct taio_device *dev, const struct taio_step *step,
			  uint64_t *ret_expected)
{
	const struct taio_file *file = step->file;
	uint64_t rest = file->size > file->offset ? file->size - file->offset : 0;

	*ret_expected = rest < file->length ? rest : file->length;
	if (!S_ISREG(file->from_stat.mode) || ((file->flags & TAIO_IN_PLACE) && step->to.offset))
		return false;
	if (step->to.kind == TAIO_KIND_STREAM)
		return *ret_expected > 0 && *ret_expected <= filestream_max(dev);
	return *ret_expected <= FILE_SMALL;
}

static int64_t file_open_and_copy(struct taio_device *dev, struct taio_step *step)
{
	struct taio_file *file = step->file;
	struct syncops_room *room;
	uint64_t expected;
	int64_t result;
	struct stat st;
	int fd = fileops_open_source(file->from_path);

	if (fd < 0)
		return fileops_fail(file, TAIO_STEP_OPEN_FROM, fd);
	file->from_fd = fd;
	if (fstat(fd, &st) < 0)
		return fileops_fail(file, TAIO_STEP_OPEN_FROM, -errno);
	fileops_keep_stat(&st, &file->from_stat);
	file->from_kind = TAIO_KIND_FILE;
	file->size = (uint64_t)st.st_size;
	if (!file_is_small(dev, step, &expected))
		return step->to.kind == TAIO_KIND_STREAM ? filestream_leave(file, 0)
							 : file_large(file, step->to.offset);
	room = syncops_get(dev);
	if (!room || !syncops_buffer(room))
		result = fileops_fail(file, TAIO_STEP_FILE, -ENOMEM);
	else if (step->to.kind == TAIO_KIND_STREAM)
		result = filestream_send(dev, file, room->buffer, expected, step->to.fd);
	else if (file->flags & TAIO_IN_PLACE)
		result = file_small_in_place(dev, file, room->buffer, expected);
	else
		result = file_small(dev, file, room->buffer, expected);
	syncops_put(dev, room);
	return result;
}

static int64_t file_run(struct taio_device *dev, struct taio_step *step)
{
	struct taio_file *file = step->file;

	assert(step->op == TAIO_OP_FILE && file && file->from_path);
	assert(file->to_path || step->to.kind == TAIO_KIND_STREAM);
	assert(file->from_fd < 0 && file->to_fd < 0);
	step->result = file_open_and_copy(dev, step);
	if (step->result < 0)
		fileops_abort(file);
	return step->result;
}

static const struct taio_capability file_caps[] = {
	{ .op = TAIO_OP_FILE, .flags = TAIO_CAP_BLOCKING, .base_ns = 20000, .ps_per_byte = 400 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_file = {
	.abi = TAIO_DRIVER_ABI,
	.flags = TAIO_DRIVER_WORKER | TAIO_DRIVER_CONTROL,
	.name = "file",
	.text = "a whole small file in one step",
	.caps = file_caps,
	.open = syncops_open,
	.close = syncops_close,
	.run = file_run,
};
