/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * taio_driver.h: what the author of a driver needs, and all that a driver may include of taio.
 *
 * A driver is one file that ends in one const struct taio_driver. It never calls the engine: it is
 * asked (run, or submit and reap) and answers. It may assume that
 *   - all hooks but run() are called on the engine's thread; run() also on a worker thread, but
 *     never twice at a time for the same step;
 *   - a step stays where it is, and its endpoints stay open, until the driver has given it back;
 *   - the engine has checked op, kinds and size against the driver's capability table.
 * Rules that a driver must keep:
 *   - report what happened: the bytes moved, or a negative errno with nothing moved; a short
 *     transfer is a success with a smaller result, the engine goes on from there;
 *   - never move a byte of a stream twice, never move bytes beyond step->len;
 *   - never sleep in submit(), reap() or cancel().
 */
#ifndef TAIO_DRIVER_H
#define TAIO_DRIVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>
#include <sys/socket.h>

struct taio_message;          /* taio.h */
struct taio_message_counters; /* taio.h */

#define TAIO_DRIVER_ABI 1

#define TAIO_FILES_MAX 64 /* taio_register_file() */

/** Operations. The registry (user/request/operation.c) gives them names and suboptions. */
enum taio_op {
	TAIO_OP_NONE = 0,
	TAIO_OP_COPY,     /* move step->len bytes from step->from to step->to */
	TAIO_OP_RESOLVE,  /* step->addr: text to socket address */
	TAIO_OP_CONNECT,  /* step->addr: a connected, non-blocking socket into step->addr->fd */
	TAIO_OP_ACCEPT,   /* step->addr: listen, then a peer's non-blocking socket into ->fd */
	TAIO_OP_OPEN,     /* step->file: open and stat the source, or make the temporary */
	TAIO_OP_META,     /* step->file: mode, owner, times onto the temporary */
	TAIO_OP_SYNC,     /* step->file: fsync of the destination file */
	TAIO_OP_PUBLISH,  /* step->file: give the temporary its name */
	TAIO_OP_SYNC_DIR, /* step->file: fsync of the destination's directory */
	TAIO_OP_CLOSE,    /* step->from.fd: close */
	TAIO_OP_FILE,     /* step->file: open, copy, meta, publish, close of a small file at once */
	TAIO_OP_COUNT
};

/*
 * Messages: TAIO_OP_COPY from MESSAGES to DGRAM sends, from DGRAM to MESSAGES receives. ptr is an
 * array of struct taio_message (taio.h), len counts elements, not bytes, and so does the result: how
 * many were dealt with, from the first one on, without a gap. For each of these the driver sets
 *   - sending: result: bytes sent, or the negative errno of this message if it concerns no other
 *     one (-EMSGSIZE, -EHOSTUNREACH, -EINVAL of its address, ...);
 *   - receiving: result, whole, flags, and address_length with up to address_room bytes at address;
 * and touches no other element. The socket may be connected or not; a message with an address goes
 * there. A step gives back what it has as soon as it would have to wait: receiving, one message is
 * enough; sending, a full socket after some messages is a short result. Other results:
 *   -EAGAIN with wait_fd: nothing there, or full; without: full in a way that the kernel has no
 *    event for: the engine tries again after a millisecond;
 *   -EXDEV: the first message is not one for this device (no neighbour, too large for a frame, local,
 *    ...): another device gets just this one, no mark is made;
 *   -EOPNOTSUPP and the like: this device can do nothing here; marks the context, as everywhere;
 *   other errors: the socket itself is broken (-EBADF, -EPIPE); ends the request.
 * What a host reports of datagrams sent before is nobody's result: it goes to step->reports.
 * Whatever a device knows that it cannot deliver it must refuse, not lose.
 * Prices: a message costs what it costs by its number more than by its bytes. A step is priced as if
 * each were 1 KiB (base_ns, ps_per_byte, size classes; min and max of the capability count
 * messages), in contexts for small, middle, large and huge ones by end.unit, the mean payload. A
 * device that queues a receiving step until somebody sends sets TAIO_SF_WAITED: its time is no
 * price.
 */

/** Kinds of endpoints as drivers see them. */
enum taio_kind {
	TAIO_KIND_NONE = 0,
	TAIO_KIND_MEM,    /* one contiguous piece of memory: ptr */
	TAIO_KIND_FILE,   /* regular file or block device: fd and offset */
	TAIO_KIND_STREAM, /* stream socket */
	TAIO_KIND_DGRAM,  /* connected datagram socket */
	TAIO_KIND_PIPE,   /* pipe, terminal, character device: read and write without a position */
	TAIO_KIND_NULL,   /* sink */
	TAIO_KIND_ZERO,   /* source of zeros */
	TAIO_KIND_MESSAGES, /* struct taio_message[]: ptr; see "messages" below */
	TAIO_KIND_COUNT
};
#define TAIO_K(kind) (1u << TAIO_KIND_##kind)

/** File systems that behave differently enough to be priced apart. */
enum taio_fs {
	TAIO_FS_NONE = 0, /* not a file */
	TAIO_FS_OTHER,
	TAIO_FS_EXT,
	TAIO_FS_TMPFS,
	TAIO_FS_XFS,
	TAIO_FS_BTRFS,
	TAIO_FS_OVERLAY,
	TAIO_FS_NET, /* NFS, CIFS, FUSE */
	TAIO_FS_COUNT
};

/** flags of struct taio_end */
enum taio_end_flag {
	TAIO_END_OWNED = 1 << 0,    /* opened by the engine: a driver may change its file flags */
	TAIO_END_LOCAL = 1 << 1,    /* a socket whose peer is on this machine */
	TAIO_END_COLD = 1 << 2,     /* a file range (or memory) that is probably not in the cache */
	TAIO_END_APPEND = 1 << 3,   /* O_APPEND: positions are ignored by the kernel */
	TAIO_END_STREAMED = 1 << 4, /* a file read or written at its own position: offset unused */
	TAIO_END_NONBLOCK = 1 << 5, /* engine's: a regular file that was opened with O_NONBLOCK */
	/* DGRAM: UDP_GRO is set, one recvmsg() may give many; a driver that sets it on a socket of
	 * the engine says so here */
	TAIO_END_JOINED = 1 << 6,
	TAIO_END_UDP = 1 << 7,   /* DGRAM: known to be a UDP socket */
	TAIO_END_MIRROR = 1 << 8 /* a source with replicas: fd is the one that the device reads */
};

#define TAIO_REPLICAS 4 /* of a mirrored source at most */

/** One end of a step. */
struct taio_end {
	uint8_t kind;    /* enum taio_kind */
	uint8_t fs;      /* enum taio_fs */
	uint16_t flags;  /* enum taio_end_flag */
	int32_t fd;      /* -1: none */
	int32_t fixed;   /* index of the registered buffer that holds ptr[0..len), else -1 */
	uint32_t unit;   /* datagrams: payload bytes of each; messages: of the mean one */
	uint64_t offset; /* files */
	void *ptr;       /* memory; a mirror: engine's */
};

/** What is kept of stat(2). */
struct taio_stat {
	uint64_t dev, ino, size, blocks;
	uint32_t mode, nlink, uid, gid;
	struct timespec atime, mtime;
};

/** The two files of a request, shared by its control steps. Strings are the engine's. */
struct taio_file {
	const char *from_path; /* NULL: source is no path */
	const char *to_path;   /* NULL: destination is no path */
	int from_fd, to_fd;    /* results of TAIO_OP_OPEN and TAIO_OP_FILE; -1 */
	int from_kind;         /* enum taio_kind after open: FILE or PIPE (character device) */
	int to_kind;
	uint8_t from_fs, to_fs; /* enum taio_fs */
	uint8_t side;           /* TAIO_OP_OPEN: 0 source, 1 destination */
	uint8_t failed_step; /* enum taio_step_type of taio.h, set by a driver that knows better */
	uint32_t flags;      /* enum taio_flag of taio.h: durable, in place, no clobber, ... */
	uint32_t state;      /* enum taio_file_state */
	mode_t umask;        /* of the process, read once by the engine */
	uint64_t size;       /* of the source when it was opened */
	uint64_t offset, length; /* of the source that is wanted: TAIO_OP_FILE */
	struct taio_stat from_stat;
	struct taio_stat to_stat; /* of the old destination, if state has TAIO_FILE_TO_EXISTED */
	char temp_name[40];       /* name of the temporary beside to_path; empty: O_TMPFILE */
};

enum taio_file_state {
	TAIO_FILE_TO_EXISTED = 1 << 0, /* there is an old destination */
	TAIO_FILE_TEMP = 1 << 1,       /* to_fd is a temporary that must be published or dropped */
	TAIO_FILE_DONE = 1 << 2,       /* TAIO_OP_FILE did everything, nothing is open any more */
	TAIO_FILE_PUBLISHED = 1 << 3,
	TAIO_FILE_FROM_NONBLOCK = 1 << 4 /* from_fd is a regular file and still O_NONBLOCK */
};

/** A peer, shared by the control steps of a request. */
struct taio_addr {
	const char *copy;        /* the engine's string that the next three point into */
	const char *text;        /* as the user gave it, without "listen:" */
	const char *host, *port; /* parts of it; host NULL: Unix path in text */
	uint16_t host_len, port_len;
	uint8_t listen;  /* bind, listen, accept; 2: datagrams of anybody, no peer is waited for */
	uint8_t type;    /* SOCK_STREAM or SOCK_DGRAM */
	uint8_t family;  /* AF_UNSPEC until resolved, AF_UNIX, AF_INET, AF_INET6 */
	uint8_t current; /* index of the address tried */
	uint8_t count;   /* addresses known */
	uint8_t reserved[3];
	uint64_t began_ns; /* engine's: first call of CONNECT or ACCEPT; 0: not yet */
	int listen_fd;     /* -1 */
	int fd;            /* -1; the connected socket */
	int gai;           /* getaddrinfo(3)'s code when RESOLVE failed, else 0 */
	struct sockaddr_storage peer[4];
	uint32_t peer_len[4];
};

#define TAIO_STEP_PRIVATE 8

/** A step in the hands of a driver. */
struct taio_step {
	uint8_t op;       /* enum taio_op */
	uint8_t goal;     /* enum taio_goal of taio.h */
	uint8_t device;   /* engine's */
	uint8_t why;      /* engine's */
	uint16_t cell;    /* engine's */
	uint8_t slot;     /* engine's */
	uint8_t bucket;   /* engine's */
	uint32_t request; /* engine's */
	uint32_t flags;   /* enum taio_step_flag */
	struct taio_end from, to;
	uint64_t len;           /* bytes (messages: elements) wanted, > 0 for TAIO_OP_COPY */
	struct taio_file *file; /* control steps */
	struct taio_addr *addr; /* control steps */

	/* set by the driver before it gives the step back */
	int64_t result;       /* bytes moved or 0, or negative errno */
	int32_t wait_fd;      /* with result -EAGAIN: ready when wait_events come on this fd */
	uint32_t wait_events; /* POLLIN or POLLOUT */
	uint8_t failed_side;  /* with an error: 0 unknown, 1 source, 2 destination */
	uint8_t copied;       /* a device that promised zero copy had to copy after all */
	uint8_t attempts;     /* engine's: of these bytes, after errors */
	uint8_t claim;      /* enum taio_claim: what the device has of the source, see release() */
	int16_t report;     /* errno (negative) of the last of ... */
	uint16_t reports;   /* ... so many reports of hosts about datagrams sent earlier */
	uint32_t packets;   /* datagrams of a step that moved bytes, without end marks, ... */
	uint32_t strangers; /* ... and those thrown away because they were not the peer's */
	uint8_t replicas;   /* engine's: of a mirrored source, mask of those that may be read */
	uint8_t tried;      /* engine's: mask of those that failed this step */
	uint8_t reserved[6];
	uint64_t cpu_ns; /* processor time, if the driver measured it; 0: unknown */

	uint64_t start_ns;      /* engine's: submission */
	uint64_t predicted_ns;  /* engine's */
	uint64_t position;      /* engine's: first byte (message) of the step in its request */
	uint64_t whole;         /* engine's: bytes of which len is tried as a piece; 0: it is all */
	uint64_t payload;       /* engine's: bytes that it moved, also where len counts messages */
	int32_t first_error;    /* engine's: why the device before this one failed */
	uint8_t in_flight;      /* engine's: a device has it */
	uint8_t hedge;          /* engine's: enum hedge_mark, or place in the table of pairs */
	uint8_t bounded;        /* engine's: it counts against the admission limit of its device */
	uint8_t picked;         /* engine's: what the policy's pick hook said */
	uint64_t excluded;      /* engine's: devices that failed it */
	struct taio_step *next; /* whoever owns the step */
	uint64_t priv[TAIO_STEP_PRIVATE]; /* the driver's, while it has the step */
};

/*
 * A claim. What comes for a descriptor can be taken before it gets there: a flow of datagrams out of
 * the network interface, say. From then on the descriptor is silent, and what it holds is older than
 * what the device has. A device that does so has a release() hook and says in step->claim, with
 * every answer, how far it is. While it has a claim, the engine offers the steps that read this
 * source to no other device, and waits where step->wait_fd says: for a descriptor of the device,
 * which must stay open until release(TAIO_RELEASE_NOW). The device reads the source's own descriptor
 * as well: what was in it before comes first, what gets past the device must not be forgotten. An
 * error other than -EAGAIN and -EINTR while there is a claim ends the request.
 */
enum taio_claim {
	TAIO_CLAIM_NONE = 0, /* the descriptor is the source, and everything taken was delivered */
	TAIO_CLAIM_TAKING, /* being taken: bytes still come by the descriptor, nothing to learn from */
	TAIO_CLAIM_HELD
};

enum taio_release {
	TAIO_RELEASE_SOON, /* another device is cheaper: give it back, deliver what was taken in its
			    * place, then answer a step with TAIO_CLAIM_NONE */
	TAIO_RELEASE_NOW   /* the claim is over and forgotten: after TAIO_CLAIM_NONE; or because the
			    * request is over, and nobody wants what is left */
};

enum taio_step_flag {
	TAIO_SF_CANCELLED = 1 << 0, /* cancel() was called: give it back soon */
	TAIO_SF_MORE = 1 << 1,      /* more bytes follow on the same stream (MSG_MORE) */
	TAIO_SF_LAST = 1 << 2,   /* last datagram of the request: the empty end mark may follow */
	TAIO_SF_SPARSE = 1 << 3, /* holes of the source may stay holes */
	TAIO_SF_WAITED = 1 << 4  /* set by the driver: it waited for a peer */
};

/** flags of struct taio_capability */
enum taio_capability_flag {
	TAIO_CAP_BLOCKING = 1 << 0,  /* run() may sleep for a disk or a lock */
	TAIO_CAP_ZERO_COPY = 1 << 1, /* the CPU does not touch the bytes */
	TAIO_CAP_ANY_FIT = 1 << 2,   /* universal: every pair that it lists works always */
	TAIO_CAP_SAME_FS = 1 << 3,   /* both files on one file system */
	TAIO_CAP_KEEPS_HOLES = 1 << 4,
	TAIO_CAP_ON_WORKER = 1 << 5 /* only NAME@worker does it: run(), not submit() */
};

/** What a driver can do; a table of them ends with op TAIO_OP_NONE. */
struct taio_capability {
	uint8_t op; /* enum taio_op */
	uint8_t reserved;
	uint16_t from, to;     /* masks of TAIO_K(...); 0 for control operations */
	uint16_t flags;        /* enum taio_capability_flag */
	uint16_t parallel;     /* steps that make progress at the same time; 0: 1 */
	uint16_t cpu_permille; /* share of the time that is processor time; 0: 1000 */
	uint64_t min, max;     /* bytes of a step; max 0: no limit */
	uint32_t align;        /* of offsets, length and memory; 0: none */
	uint32_t base_ns;      /* published cost of a step without its bytes */
	uint32_t ps_per_byte;  /* published picoseconds per byte */
};

/** How submit() ends. */
enum taio_submit {
	TAIO_DONE,   /* finished, step->result is set */
	TAIO_QUEUED, /* will come out of reap() */
	TAIO_BUSY    /* no room: not accepted, ask again after a completion */
};

/** What the engine offers to drivers. */
struct taio_host {
	uint64_t (*now_ns)(void); /* CLOCK_MONOTONIC */
	void (*log)(struct taio_host *host, const char *line);
	uint32_t cores;              /* that this process may use */
	uint32_t engine_flags;       /* enum taio_engine_flag */
	uint32_t requests;           /* size of the engine's pool */
	const struct iovec *buffers; /* registered memory */
	uint32_t buffer_count;
	uint32_t file_count;
	const int *files; /* that the engine keeps open, TAIO_FILES_MAX at most; -1: none */
};

struct taio_driver;

/** A device: a driver with its state in one engine. */
struct taio_device {
	const struct taio_driver *driver;
	struct taio_host *host;
	void *priv; /* the driver's */
	uint8_t number;
	uint8_t opened; /* engine's */
	uint8_t probed; /* engine's */
	uint8_t worker; /* engine's: this is DRIVER@worker */
	int error;      /* 0 or why it is unavailable, negative errno */
	char name[16];
	char reason[96]; /* probe() and open() write it when they fail */
};

/**
 * A driver. All hooks but the name and (run or submit+reap) may be NULL: the engine then does what
 * is written here. A hook that fails leaves nothing behind.
 */
struct taio_driver {
	uint32_t abi;     /* TAIO_DRIVER_ABI */
	uint32_t flags;   /* enum taio_driver_flag */
	uint32_t replica; /* > 0: reads mirrored sources only, from the disk at this place */
	uint32_t reserved;
	const char *name; /* <= 15 characters, no blank, comma or '@' */
	const char *text; /* what it does, one line */
	const struct taio_capability *caps;

	/* Is it usable here? Cheap, no side effect, may be called without open(). NULL: yes.
	 * Return: 0, or negative errno with dev->reason written. */
	int (*probe)(struct taio_device *dev);
	/* Before first use. NULL: nothing to do. Return: 0, or negative errno and dev->reason. */
	int (*open)(struct taio_device *dev);
	/* Releases what open() took; no step is in flight. NULL: nothing to do. */
	void (*close)(struct taio_device *dev);
	/* Can it do just this step (alignment, same file system, present load)? Called with the
	 * step filled in, at each decision: a few ns, no system call. NULL: yes. */
	int (*fits)(struct taio_device *dev, const struct taio_step *step);
	/* Does a whole step and returns step->result. May sleep if caps say BLOCKING, yet never
	 * for a peer: pipes are non-blocking, sockets are asked with MSG_DONTWAIT (or see
	 * TAIO_DRIVER_NONBLOCK); -EAGAIN with wait_fd set. Thread-safe
	 * if flags say TAIO_DRIVER_WORKER. */
	int64_t (*run)(struct taio_device *dev, struct taio_step *step);
	/* Asynchronous drivers: start a step; collect finished ones (at most max, returns how
	 * many); ask for an early end of one (it still comes out of reap(), once). */
	enum taio_submit (*submit)(struct taio_device *dev, struct taio_step *step);
	int (*reap)(struct taio_device *dev, struct taio_step **done, int max);
	void (*cancel)(struct taio_device *dev, struct taio_step *step);
	/* A descriptor that polls readable when reap() has something; -1: none. */
	int (*fd)(struct taio_device *dev);
	/* Datagrams that the device lost, or never got back, without any step of it being told (a
	 * receive ring that overflowed): added to *counters. NULL: there are none. */
	void (*count)(struct taio_device *dev, struct taio_message_counters *counters);
	/* Tell the kernel what submit() gathered, and wait up to timeout_ns for a completion:
	 * called when the engine has nothing else to do (timeout 0: only tell). NULL: no need.
	 * Return: 0, -EINTR, -ETIME. */
	int (*wait)(struct taio_device *dev, int64_t timeout_ns);
	/* For devices that claim sources: see enum taio_claim. Called for a source that a step said
	 * is claimed, with no step of it in flight when @how is TAIO_RELEASE_NOW. Never sleeps.
	 * NULL: the device never claims. */
	void (*release)(struct taio_device *dev, const struct taio_end *from,
			enum taio_release how);
};

enum taio_driver_flag {
	TAIO_DRIVER_WORKER = 1 << 0,  /* run() is thread-safe: the engine also offers NAME@worker */
	TAIO_DRIVER_CONTROL = 1 << 1, /* serves control steps, not offered for pins */
	TAIO_DRIVER_NONBLOCK =
		1 << 2 /* its calls know no MSG_DONTWAIT: sockets must be O_NONBLOCK */
};

#endif /* TAIO_DRIVER_H */
