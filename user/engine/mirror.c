/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* mirror.c: mirrored sources; see mirror.h. */
#include "engine/mirror.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/engine.h"

#define MIRROR_QUIET_NS    (100ULL * 1000 * 1000)
#define MIRROR_SCOUT_SHARE 128
#define MIRROR_SCOUT       65536
#define MIRROR_SLOW_NS     (20ULL * 1000 * 1000)

struct mirror {
	int fd[TAIO_REPLICAS]; /* by place; -1: none */
	char *names;           /* ends of names are zeros now */
	size_t names_size;
	const char *name[TAIO_REPLICAS];                 /* in the caller's order */
	struct taio_file first;                          /* what opening the first one told */
	uint64_t dev[TAIO_REPLICAS], ino[TAIO_REPLICAS]; /* by place */
	uint8_t place_name[TAIO_REPLICAS];               /* by place: index of its name */
	uint8_t count, next; /* names; the one that is opened now is before next */
	uint8_t open;        /* mask of places */
	uint8_t owned;       /* of them, closed with the mirror; the first is the file record's */
	int first_error;
};

static struct mirror *mirror_of(const struct request *r)
{
	return mirror_is(&r->from) ? r->from.ptr : NULL;
}

/* ---- made and ended ---- */

int mirror_make(struct taio *e, struct request *r)
{
	struct mirror *m = slab_get(&e->slab, sizeof(*m));
	char *name = (char *)(uintptr_t)r->file->from_path;

	if (!m)
		return -ENOBUFS;
	memset(m, 0, sizeof(*m));
	memset(m->fd, 0xff, sizeof(m->fd));
	m->names = name;
	m->names_size = strlen(name) + 1;
	r->from.ptr = m;
	r->from.flags |= TAIO_END_MIRROR;
	for (; name; m->count++) {
		char *comma = strchr(name, ',');

		if (comma)
			*comma = '\0';
		if (m->count == TAIO_REPLICAS || !*name)
			return -EINVAL;
		m->name[m->count] = name;
		name = comma ? comma + 1 : NULL;
	}
	r->replicas = m->count;
	return m->count < 2 ? -EINVAL : 0;
}

void mirror_release(struct taio *e, struct request *r)
{
	struct mirror *m = mirror_of(r);

	if (!m)
		return;
	for (unsigned int i = 0; i < TAIO_REPLICAS; i++) {
		if (!(m->open >> i & 1))
			continue;
		if (m->owned >> i & 1)
			close(m->fd[i]);
		e->disk[i].users--;
	}
	slab_put(&e->slab, m->names, m->names_size);
	slab_put(&e->slab, m, sizeof(*m));
	r->file->from_path = NULL;
	r->from.ptr = NULL;
	r->from.flags &= (uint16_t)~TAIO_END_MIRROR;
}

/* ---- opened one after the other ---- */

void mirror_next(struct request *r)
{
	struct mirror *m = mirror_of(r);

	assert(m->next < m->count);
	r->file->from_path = m->name[m->next++];
}

/* The place of a disk: its own, else a new one, else that of the disk that was met longest ago. Two
 * replicas on one disk have two places all the same, since one may be bad. */
static unsigned int mirror_place(struct taio *e, const struct mirror *m, uint64_t dev)
{
	unsigned int best = TAIO_REPLICAS;

	for (unsigned int i = 0; i < TAIO_REPLICAS; i++) {
		const struct mirror_disk *disk = &e->disk[i],
					 *have = &e->disk[best % TAIO_REPLICAS];

		if (m->open >> i & 1)
			continue;
		if (disk->used && disk->dev == dev)
			return i;
		if (best == TAIO_REPLICAS || (!disk->users && have->users) ||
		    (!disk->users == !have->users && disk->used < have->used))
			best = i;
	}
	assert(best < TAIO_REPLICAS);
	return best;
}

static bool mirror_knows(const struct mirror *m, const struct taio_stat *st)
{
	for (unsigned int i = 0; i < TAIO_REPLICAS; i++)
		if ((m->open >> i & 1) && m->dev[i] == st->dev && m->ino[i] == st->ino)
			return true;
	return false;
}

static void mirror_leave_out(struct taio *e, struct mirror *m, const char *why, int error)
{
	engine_log(e, "mirror: %s is left out: %s", m->name[m->next - 1], why);
	if (!m->first_error)
		m->first_error = error;
}

static void mirror_keep(struct taio *e, struct request *r, struct mirror *m)
{
	struct taio_file *file = r->file;
	struct stat st;
	uint64_t dev = file->from_stat.dev;
	unsigned int place;

	if (file->from_stat.blocks == 0 && fstat(file->from_fd, &st) == 0 && S_ISBLK(st.st_mode))
		dev = st.st_rdev;
	if (file->state & TAIO_FILE_FROM_NONBLOCK) {
		(void)fcntl(file->from_fd, F_SETFL, 0); /* a ring would not wait for the disk */
		file->state &= ~(uint32_t)TAIO_FILE_FROM_NONBLOCK;
	}
	place = mirror_place(e, m, dev);
	e->disk[place].dev = dev;
	e->disk[place].used = ++e->disk_clock;
	e->disk[place].users++;
	m->fd[place] = file->from_fd;
	m->dev[place] = file->from_stat.dev;
	m->ino[place] = file->from_stat.ino;
	m->place_name[place] = (uint8_t)(m->next - 1);
	if (!m->open)
		m->first = *file;
	m->open |= (uint8_t)(1u << place);
	m->owned = m->open;
}

/* One replica was opened: its descriptor is the mirror's, or closed. */
static int mirror_take(struct taio *e, struct request *r, struct mirror *m)
{
	struct taio_file *file = r->file;
	int fd = file->from_fd, rc = 0;

	if (file->from_kind != TAIO_KIND_FILE) {
		mirror_leave_out(e, m, "not a file with a size", -EINVAL);
	} else if (mirror_knows(m, &file->from_stat)) {
		mirror_leave_out(e, m, "it is the same file as another one", -EINVAL);
	} else if (m->open && m->first.size != file->size) {
		engine_log(e, "mirror: %s has %llu bytes, another one %llu", m->name[m->next - 1],
			   (unsigned long long)file->size, (unsigned long long)m->first.size);
		rc = -EINVAL;
	} else {
		mirror_keep(e, r, m);
		fd = -1;
	}
	if (fd >= 0)
		close(fd);
	file->from_fd = -1;
	return rc;
}

/* All were tried: from now on the request has a source like others, with more places to read it. */
static int mirror_ready(struct request *r, struct mirror *m)
{
	struct taio_file *file = r->file;
	uint64_t rest;

	if (!m->open)
		return m->first_error;
	file->from_stat = m->first.from_stat;
	file->from_fs = m->first.from_fs;
	file->from_kind = m->first.from_kind;
	file->size = m->first.size;
	r->from.fd = file->from_fd = m->first.from_fd;
	for (unsigned int i = 0; i < TAIO_REPLICAS; i++)
		if (m->fd[i] == file->from_fd)
			m->owned &= (uint8_t) ~(1u << i);
	r->from.kind = TAIO_KIND_FILE;
	r->from.fs = file->from_fs;
	r->from.flags |= TAIO_END_OWNED;
	r->from.offset = file->offset;
	r->user_length = 1; /* one that grows is not followed: the others might not */
	rest = file->size > file->offset ? file->size - file->offset : 0;
	if (rest < r->length)
		r->length = rest;
	return 0;
}

int mirror_opened(struct taio *e, struct request *r, int error)
{
	struct mirror *m = mirror_of(r);
	int rc = 0;

	if (error < 0)
		mirror_leave_out(e, m, strerror(-error), error);
	else
		rc = mirror_take(e, r, m);
	if (rc == 0 && m->next == m->count)
		rc = mirror_ready(r, m);
	return rc;
}

bool mirror_has(const struct request *r, const char *path)
{
	const struct mirror *m = mirror_of(r);
	struct stat st;

	return m && stat(path, &st) == 0 &&
	       mirror_knows(m, &(struct taio_stat){ .dev = st.st_dev, .ino = st.st_ino });
}

/* ---- read ---- */

static bool mirror_is_warm(int fd, uint64_t offset)
{
	char byte;
	struct iovec iov = { &byte, 1 };

	return preadv2(fd, &iov, 1, (off_t)offset, RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

/* Is it time to ask this disk, whatever the policy thinks of it? */
static bool mirror_is_due(const struct taio *e, const struct mirror_disk *disk)
{
	uint64_t quiet_ns = disk->took_ns * MIRROR_SCOUT_SHARE;

	if (quiet_ns < MIRROR_QUIET_NS)
		quiet_ns = MIRROR_QUIET_NS;
	return disk->heard_ns && (disk->eager || e->now_ns - disk->heard_ns > quiet_ns);
}

static void mirror_scout(struct taio *e, struct taio_step *step)
{
	for (unsigned int i = 0; i < TAIO_REPLICAS; i++) {
		struct mirror_disk *disk = &e->disk[i];

		if (!(step->replicas >> i & 1) || !mirror_is_due(e, disk))
			continue;
		if (!disk->eager && disk->took_ns > MIRROR_SLOW_NS && step->len > MIRROR_SCOUT)
			step->len = MIRROR_SCOUT;
		disk->eager = 0;
		disk->heard_ns = e->now_ns;
		step->replicas = (uint8_t)(1u << i);
		return;
	}
}

void mirror_heard(struct taio *e, const struct taio_step *step)
{
	uint32_t replica = e->device[step->device].driver->replica;
	struct mirror_disk *disk = &e->disk[(replica - 1) % TAIO_REPLICAS];
	uint64_t ns = e->now_ns - step->start_ns;
	bool whole = step->len > MIRROR_SCOUT || disk->took_ns <= MIRROR_SLOW_NS;

	assert(replica > 0);
	if (step->result <= 0)
		return;
	/* a scout, that is: with nothing else to choose, and news of it */
	disk->eager = !(step->replicas & (step->replicas - 1)) &&
		      (whole ? ns * 2 < step->predicted_ns
			     : disk->took_ns > MIRROR_SLOW_NS && ns * 4 < disk->took_ns);
	disk->heard_ns = e->now_ns;
	if (whole || !disk->took_ns)
		disk->took_ns = ns;
}

void mirror_look(struct taio *e, struct taio_step *step)
{
	const struct mirror *m = step->from.ptr;
	uint8_t warm = 0;

	for (unsigned int i = 0; i < TAIO_REPLICAS; i++)
		if ((m->open >> i & 1) && mirror_is_warm(m->fd[i], step->from.offset) &&
		    mirror_is_warm(m->fd[i], step->from.offset + step->len - 1))
			warm |= (uint8_t)(1u << i);
	step->replicas = warm ? warm : m->open;
	if (!warm)
		step->from.flags |= TAIO_END_COLD;
	if (!warm || warm == m->open)
		mirror_scout(e, step);
}

bool mirror_reads(const struct taio_step *step, uint32_t replica)
{
	return replica && (step->replicas >> (replica - 1) & 1);
}

void mirror_aim(struct taio_step *step, uint32_t replica)
{
	const struct mirror *m = step->from.ptr;

	assert(replica > 0 && replica <= TAIO_REPLICAS);
	step->from.fd = m->fd[replica - 1];
}

bool mirror_retry(struct taio *e, const struct request *r, struct taio_step *step)
{
	const struct mirror *m = mirror_of(r);
	uint32_t replica = e->device[step->device].driver->replica;
	unsigned int i = replica - 1;

	if (step->failed_side == 2 || !replica || !(m->open & ~(step->tried | 1u << i)))
		return false;
	step->tried |= (uint8_t)(1u << i);
	step->replicas = (uint8_t)(m->open & ~step->tried);
	engine_log(e, "mirror: %s at byte %llu: %s; read from another one",
		   m->name[m->place_name[i]], (unsigned long long)step->from.offset,
		   step->result < 0 ? strerror((int)-step->result) : "it ends there");
	return true;
}
