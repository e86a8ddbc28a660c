/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring.h: the io_uring that the devices uring, direct, zc and replicaN of one engine share, as those drivers
 * see it. The engine itself needs one thing of it, ring_register_buffers().
 *
 *   ring.c          permission, setting up, sharing, taking down
 *   ring_queue.c    telling, waiting, reaping, cancelling
 *   ring_plain.c    steps that are one entry of the submission queue
 *   ring_zc.c       steps that are zero-copy sends from memory
 *   ring_flow.c     steps that move bytes from descriptor to descriptor through bounce buffers,
 *   ring_chunk.c    piece by piece
 *   ring_buffer.c   registered memory and bounce buffers
 *   ring_seat.c     registered files
 *   ring_file.c     O_DIRECT descriptors of files that others opened without
 *   ring_control.c  sync, close, connect, accept
 *   ring_open.c     openat and statx of both ends of a copy
 *
 * Promises that hold everywhere here: an operation has a slot (struct ring_op) from the entry that
 * starts it to its last completion, and no step is given back while it owns one; slots are
 * promised (ring->room) before a step is accepted, so that an accepted step never lacks one; the
 * completion queue has room for two completions of every slot and one of every cancellation.
 */
#ifndef TAIO_DRIVERS_RING_H
#define TAIO_DRIVERS_RING_H

#include <assert.h>
#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "taio_driver.h"

/* Flags that are younger than liburing 2.3; the kernel refuses those that it does not know. */
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16) /* 6.6 */
#endif
#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE  (1U << 3)  /* 6.2 */
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31) /* 6.2 */
#endif
#ifndef IORING_FEAT_REG_REG_RING
#define IORING_FEAT_REG_REG_RING (1U << 13) /* 6.3: here a sign that USAGE is known */
#endif

#define RING_SLOTS_MAX   1024 /* entries of the submission queue */
#define RING_SLOTS_MIN   128
#define RING_SPARE       64 /* of them for cancellations, never for steps */
#define RING_FLOWS       128
#define RING_CHUNKS      8 /* of a flow */
#define RING_FILES       32
#define RING_SEAT_FDS    1024 /* descriptors below may have a seat */
#define RING_LOOKS       64   /* files that are being opened */
#define RING_LOOK_PATH   512  /* longer paths are left to others */
#define RING_FIXED_MAX   1024 /* registered buffers of the program */
#define RING_SLABS       16   /* of RING_SLAB_BYTES: bounce buffers */
#define RING_EXTRAS      16   /* memory of other devices: ring_buffer_add() */
#define RING_SLAB_BYTES  (2UL << 20)
#define RING_SMALL_BYTES 32768U
#define RING_LARGE_BYTES 524288U
#define RING_LEN_MAX     (1U << 30) /* of one operation; the kernel's own limit is just below 2^31 */

/* user_data of an entry whose completion tells nothing, and of the one that ends a long wait */
#define RING_NOBODY UINT64_MAX
#define RING_TIMER  (UINT64_MAX - 1)

enum ring_device {
	RING_URING,
	RING_DIRECT,
	RING_ZC,
	RING_XDP,
	RING_REPLICA,                               /* the first of TAIO_REPLICAS */
	RING_DEVICES = RING_REPLICA + TAIO_REPLICAS /* has_done is a mask of them */
};

struct ring;
struct ring_op;

typedef void (*ring_done_fn)(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags);

/* An operation in flight. */
struct ring_op {
	struct taio_step *step; /* NULL: a flow's, or only a notification is awaited */
	ring_done_fn done;      /* NULL: the completion is the result of the step */
	void *owner;            /* flow, file, burst or next free slot */
	uint32_t generation;    /* tells a late completion from one of the slot's next use */
	uint16_t chunk;
	uint8_t device; /* enum ring_device */
	uint8_t state;
};

/* Finished steps of one device, in order. */
struct ring_list {
	struct taio_step *head, *tail;
};

/* A file that is open with O_DIRECT. */
struct ring_file {
	uint64_t dev, ino;
	uint64_t used;  /* ring->clock of the last use */
	int32_t key_fd; /* the step's descriptor */
	int32_t fd;     /* what to use; -1: refused */
	int32_t error;
	uint32_t users;
	uint32_t mem_align, align;
	uint8_t state; /* enum ring_file_state */
	uint8_t writable, linger;
};

/* How bounce buffers are cut out of a slab. */
struct ring_slab {
	uint64_t free;   /* mask of free buffers */
	uint32_t size;   /* of a buffer; 0: slab unused */
	int32_t fixed;   /* index of registration; -1: not registered */
	uint8_t refused; /* registration failed: RLIMIT_MEMLOCK */
};

struct ring_buffer {
	uint8_t *data;
	uint32_t size;
	int32_t fixed;  /* index of the registration that holds it, else -1 */
	int16_t number; /* slab * 64 + place; -1: none */
};

struct ring_flow;
struct ring_look;

struct ring {
	/* what every step touches */
	struct io_uring uring;
	uint32_t head; /* completions seen; the kernel may be told of one less */
	uint32_t room; /* slots that are not promised to a step */
	struct ring_op *free_op;
	struct ring_op *ops;
	uint32_t slots;
	uint8_t has_done;  /* mask of devices with finished steps in done[] */
	uint8_t continued; /* reap() made entries that the kernel does not know yet */
	uint8_t cancels; /* cancellations and timers that the kernel does not know yet, see RING_SPARE */
	uint8_t quick; /* what is told is finished at once: see ring_wait() */
	uint8_t waits; /* counts them, free running */
	uint8_t has_zc, zc_report;
	struct ring_list done[RING_DEVICES];
	const struct iovec *fixed; /* registered memory as the kernel knows it */
	uint32_t fixed_count;

	struct taio_host *host;
	struct ring *next; /* in the registry */
	pthread_t owner;
	uint32_t users;          /* mask of devices */
	uint32_t strays;         /* completions of no operation: always 0 */
	int broken;              /* negative errno: the ring could not be made again */
	int event_fd;            /* -1 until somebody wants to poll: ring_descriptor() */
	uint8_t sigpipe_ignored; /* by the program, when the ring was made */
	uint8_t moved;           /* it was said that the engine changed its thread */
	uint64_t clock;          /* counts uses of files */
	struct __kernel_timespec timer_limit; /* read by the kernel when it is told */
	uint64_t timer_ns; /* when the timer in the ring ends, by the coarse clock; 0: none */

	struct ring_flow *flows, *free_flow;
	struct ring_look *looks, *free_look;
	struct ring_file files[RING_FILES];
	uint8_t last_file;     /* the one that was opened or found last */
	uint32_t direct_align; /* largest alignment seen on a file; for fits() */

	uint8_t *arena, *arena_base;
	size_t arena_size;
	struct ring_slab slab[RING_SLABS];
	struct iovec *fixed_copy;
	uint8_t table; /* the table of registered buffers exists */

	uint8_t has_seats;              /* the table of registered files exists */
	uint8_t seat[RING_SEAT_FDS];    /* of a descriptor, plus 1; 0: it has none */
	int16_t seated[TAIO_FILES_MAX]; /* the descriptor in a seat; -1: nobody */
};

/* ---- ring.c --------------------------------------------------------------------------------- */

/* Is io_uring permitted here? No ring is made. Return: 0, or negative errno and dev->reason. */
int ring_probe(struct taio_device *dev);
/* The engine's ring, made at first use; dev->priv becomes it. Return: 0; -EPERM, -ENOSYS, -ENOMEM,
 * -EMFILE and the like with dev->reason. */
int ring_open(struct taio_device *dev, enum ring_device device);
/* Ends what the device has in flight and gives the ring back. */
void ring_close(struct taio_device *dev, enum ring_device device);

/* The ring belongs to another thread and is idle: make it again here. Return: 0, -errno. */
int ring_adopt(struct ring *ring);

/*
 * For the engine, when host->buffers changed: registers them with the ring, if there is one. A
 * buffer that was registered before stays in use until this is called.
 * Return: 0; -ENOMEM: RLIMIT_MEMLOCK; -EOPNOTSUPP: this kernel cannot (before 5.19).
 */
int ring_register_buffers(struct taio_host *host);

/* The same for host->files. Return: 0; -EOPNOTSUPP: this kernel cannot (before 5.19); -ENOMEM. */
int ring_register_files(struct taio_host *host);

/* ---- ring_queue.c --------------------------------------------------------------------------- */

/* The hooks of the same names: see taio_driver.h. */
int ring_reap(struct ring *ring, enum ring_device device, struct taio_step **done, int max);
int ring_wait(struct ring *ring, int64_t timeout_ns);
/* The descriptor that polls readable when ring_reap() has something. */
int ring_descriptor(struct ring *ring);
/* Lets a new ring signal it, too. */
void ring_signal_descriptor(struct ring *ring);
/* Tells the kernel what was prepared. Return: 0, -EINTR. */
int ring_tell(struct ring *ring);
void ring_cancel(struct ring *ring, struct taio_step *step);
void ring_cancel_op(struct ring *ring, const struct ring_op *op);
/* The step is finished: it comes out of the next ring_reap() of its device. */
void ring_finish(struct ring *ring, enum ring_device device, struct taio_step *step);
/* After ring_finish() outside of a completion: lets the descriptor be readable. */
void ring_show(struct ring *ring);

/* The hooks that are the same in the three drivers, with the device as a constant. */
#define RING_HOOKS(name, device)                                                          \
	static void name##_close(struct taio_device *dev)                                 \
	{                                                                                 \
		ring_close(dev, device);                                                  \
	}                                                                                 \
	static int name##_reap(struct taio_device *dev, struct taio_step **done, int max) \
	{                                                                                 \
		return ring_reap(dev->priv, device, done, max);                           \
	}                                                                                 \
	static void name##_cancel(struct taio_device *dev, struct taio_step *step)        \
	{                                                                                 \
		ring_cancel(dev->priv, step);                                             \
	}                                                                                 \
	static int name##_fd(struct taio_device *dev)                                     \
	{                                                                                 \
		return ring_descriptor(dev->priv);                                        \
	}                                                                                 \
	static int name##_wait(struct taio_device *dev, int64_t timeout_ns)               \
	{                                                                                 \
		return ring_wait(dev->priv, timeout_ns);                                  \
	}

/* What a step keeps in priv[] while the ring has it. */
enum ring_priv {
	RING_PRIV_OP,                   /* slot, of a plain step */
	RING_PRIV_FLOW,                 /* struct ring_flow, 0: plain step, or RING_SENDS */
	RING_PRIV_FD,                   /* plain step: the descriptor to use */
	RING_PRIV_STATE,                /* the driver's */
	RING_PRIV_BYTES,                /* the driver's */
	RING_PRIV_COUNT,                /* the driver's */
	RING_PRIV_CANCEL,               /* ring_cancel() was called */
	RING_PRIV_FILE,                 /* struct ring_file, or 0 */
	RING_PRIV_LOOK = RING_PRIV_FILE /* ring_open.c: struct ring_look */
};
#define RING_SENDS 1 /* a step of ring_zc.c */
_Static_assert(RING_PRIV_FILE < TAIO_STEP_PRIVATE, "a step has so much private room");

/* Is there room for @count operations? A ring of another thread takes no new work; an idle one is
 * taken over. */
static inline bool ring_has_room(struct ring *ring, uint32_t count)
{
	if (__builtin_expect(!pthread_equal(ring->owner, pthread_self()), 0) &&
	    (ring->room < ring->slots || ring_adopt(ring)))
		return false;
	return ring->room >= count;
}

/* What submit() says when there was no room. */
static inline enum taio_submit ring_full(const struct ring *ring, struct taio_step *step)
{
	if (!ring->broken)
		return TAIO_BUSY;
	step->result = ring->broken;
	return TAIO_DONE;
}

/* A slot out of those that were promised to the step. */
static inline struct ring_op *ring_op_get(struct ring *ring, enum ring_device device,
					  struct taio_step *step, ring_done_fn done)
{
	struct ring_op *op = ring->free_op;

	assert(op);
	ring->free_op = op->owner;
	op->owner = NULL;
	op->step = step;
	op->done = done;
	op->device = (uint8_t)device;
	op->state = 0;
	return op;
}

static inline void ring_op_put(struct ring *ring, struct ring_op *op)
{
	op->generation++;
	op->step = NULL;
	op->owner = ring->free_op;
	ring->free_op = op;
}

static inline uint64_t ring_op_data(const struct ring *ring, const struct ring_op *op)
{
	return (uint64_t)op->generation << 32 | (uint32_t)(op - ring->ops);
}

/* An entry for an operation that has a slot: there is always one, see RING_SPARE. */
static inline struct io_uring_sqe *ring_sqe(struct ring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	assert(sqe);
	return sqe;
}

static inline void ring_sqe_done(struct ring *ring, struct io_uring_sqe *sqe,
				 const struct ring_op *op)
{
	io_uring_sqe_set_data64(sqe, ring_op_data(ring, op));
}

/* ---- ring_plain.c --------------------------------------------------------------------------- */

/* Starts a step between memory and a descriptor; @fd is what to use instead of the step's. */
enum taio_submit ring_plain_submit(struct ring *ring, enum ring_device device,
				   struct taio_step *step, int fd, ring_done_fn done);
/* The completion of a plain step that wants another try (-EAGAIN, -EINTR): starts it, or says in
 * @res what the result is. Return: whether it was started. */
bool ring_plain_retry(struct ring *ring, struct ring_op *op, int32_t *res);
void ring_prep_send_zc(const struct ring *ring, struct io_uring_sqe *sqe, int fd, const void *data,
		       size_t len, int msg_flags, int fixed);

/* Which side of a plain step is to blame: the one that is no memory. */
static inline uint8_t ring_plain_side(const struct taio_step *step)
{
	return step->from.kind == TAIO_KIND_MEM ? 2 : 1;
}

/* ---- ring_buffer.c -------------------------------------------------------------------------- */

int ring_buffers_open(struct ring *ring);
void ring_buffers_close(struct ring *ring);
/* After the ring was made again: nothing is registered any more. */
void ring_buffers_forget(struct ring *ring);
int ring_buffers_register(struct ring *ring);
/* @size: RING_SMALL_BYTES or RING_LARGE_BYTES. @fixed: it pays to register the memory.
 * Return: whether there was one. */
bool ring_buffer_get(struct ring *ring, uint32_t size, bool fixed, struct ring_buffer *ret_buffer);
void ring_buffer_put(struct ring *ring, struct ring_buffer *buffer);

/* Registers memory of a device, at place @extra. Return: its index for READ_FIXED; negative errno:
 * it is used like any other memory. */
int ring_buffer_add(struct ring *ring, uint32_t extra, const struct iovec *iov);
void ring_buffer_drop(struct ring *ring, uint32_t extra);

/* Is this memory within the buffer that the step names, as the kernel knows it? */
static inline bool ring_is_fixed(const struct ring *ring, const struct taio_end *end, uint64_t len)
{
	const struct iovec *have;

	if (end->fixed < 0 || (uint32_t)end->fixed >= ring->fixed_count)
		return false;
	have = &ring->fixed[end->fixed];
	return (uint8_t *)end->ptr >= (uint8_t *)have->iov_base &&
	       (uint64_t)((uint8_t *)end->ptr - (uint8_t *)have->iov_base) + len <= have->iov_len;
}

/* ---- ring_seat.c ---------------------------------------------------------------------------- */

int ring_seats_register(struct ring *ring);
void ring_seats_forget(struct ring *ring);

/* If the descriptor of this entry has a seat, the kernel need not look it up. */
static inline void ring_sqe_seat(const struct ring *ring, struct io_uring_sqe *sqe)
{
	const unsigned int fd = (unsigned int)sqe->fd;

	if (fd < RING_SEAT_FDS && ring->seat[fd]) {
		sqe->fd = ring->seat[fd] - 1;
		sqe->flags |= IOSQE_FIXED_FILE;
	}
}

/* ---- ring_flow.c ---------------------------------------------------------------------------- */

/* How a flow is run. */
struct ring_flow_how {
	uint8_t device;              /* enum ring_device */
	uint8_t depth;               /* chunks at most */
	bool fixed;                  /* registered bounce buffers */
	bool zero_copy;              /* SEND_ZC */
	struct ring_file *from, *to; /* O_DIRECT descriptors; NULL: the step's own */
};

int ring_flows_open(struct ring *ring);
void ring_flows_close(struct ring *ring);
enum taio_submit ring_flow_submit(struct ring *ring, struct taio_step *step,
				  const struct ring_flow_how *how);
void ring_flow_cancel(struct ring *ring, struct ring_flow *flow);
/* Cancels all flows of a device. Return: how many of them still have their step. */
unsigned int ring_flows_cancel(struct ring *ring, enum ring_device device);

/* ---- ring_zc.c ------------------------------------------------------------------------------ */

enum taio_submit ring_zc_submit(struct ring *ring, struct taio_step *step);
void ring_zc_cancel(struct ring *ring, struct taio_step *step);

/* Payload bytes of a datagram of this end. */
static inline uint32_t ring_zc_unit(const struct taio_end *end)
{
	const uint32_t most = 65507, usual = 1472;

	return !end->unit ? usual : end->unit < most ? end->unit : most;
}

/* ---- ring_file.c ---------------------------------------------------------------------------- */

/* The O_DIRECT descriptor of an end. Return: 0; -EBUSY: all places are in use; -EOPNOTSUPP: the
 * file cannot be had that way. */
int ring_file_get(struct ring *ring, const struct taio_end *end, bool writable,
		  struct ring_file **ret_file);
void ring_file_put(struct ring *ring, struct ring_file *file);
void ring_files_close(struct ring *ring);

/* ---- ring_control.c ------------------------------------------------------------------------- */

/* Can it be done by the ring? No system call. */
bool ring_control_fits(const struct taio_step *step);
enum taio_submit ring_control_submit(struct ring *ring, struct taio_step *step);
/* For control steps: takes one of the slots; ends the step and gives it back. */
struct ring_op *ring_control_op(struct ring *ring, struct taio_step *step, ring_done_fn done);
void ring_control_finish(struct ring *ring, struct ring_op *op, int64_t result);

/* ---- ring_open.c ---------------------------------------------------------------------------- */

int ring_looks_open(struct ring *ring);
void ring_looks_close(struct ring *ring);
bool ring_open_fits(const struct taio_file *file);
enum taio_submit ring_open_submit(struct ring *ring, struct taio_step *step);

#endif /* TAIO_DRIVERS_RING_H */
