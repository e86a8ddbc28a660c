/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * taio.h: the whole public interface of libtaio.
 *
 * A program says what to move from where to where; the engine cuts the request into a FIFO of
 * small steps, chooses a device for every step by measured prices, and reports exactly one event
 * for every request that it accepted.
 *
 * Rules that hold for every function here:
 *   - One engine belongs to one thread at a time. Different engines are independent.
 *   - A function returns 0 or a count on success and a negative errno on failure, nothing else.
 *     That value only says whether the request was ACCEPTED; the event says how it ended.
 *   - Strings and option structures are copied before a function returns. Memory endpoints, iovec
 *     arrays, progress counters, traces and file descriptors stay the caller's and must stay valid
 *     until the event of their request was taken.
 *   - Sizes are bytes, times are nanoseconds; absolute times are CLOCK_MONOTONIC.
 */
#ifndef TAIO_H
#define TAIO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TAIO_VERSION_MAJOR 0
#define TAIO_VERSION_MINOR 1
#define TAIO_VERSION       "0.1.0"

#if defined(__GNUC__) && __GNUC__ >= 4
#define TAIO_API __attribute__((visibility("default")))
#else
#define TAIO_API
#endif

struct taio; /* an engine */
struct taio_event;
struct iovec; /* <sys/uio.h> */

/* ---- endpoints ------------------------------------------------------------------------------ */

/** What an endpoint names. */
enum taio_endpoint_type {
	TAIO_EP_NONE = 0,
	TAIO_EP_MEMORY,   /**< ptr, length */
	TAIO_EP_VECTOR,   /**< ptr to an array of struct iovec, length = number of elements */
	TAIO_EP_PATH,     /**< ptr to a file name; offset, length */
	TAIO_EP_FD,       /**< an open descriptor of any kind; offset, length */
	TAIO_EP_ADDRESS,  /**< ptr to "host:port:tcp", "unix:/path", "listen:..." */
	TAIO_EP_NULL,     /**< sink: everything is read and thrown away */
	TAIO_EP_ZERO,     /**< source of length zero bytes */
	TAIO_EP_MESSAGES, /**< ptr to an array of struct taio_message, length = number of elements */
	TAIO_EP_MIRROR    /**< source: ptr to the names of 2 to 4 files; offset, length */
};

/** "Up to the end" as a length; "the descriptor's own position" as an offset. */
#define TAIO_TO_END  UINT64_MAX
#define TAIO_CURRENT UINT64_MAX

/** One end of a request. Make it with the helpers below; plain data, may be copied and reused. */
struct taio_endpoint {
	uint32_t type;   /**< enum taio_endpoint_type */
	int32_t fd;      /**< TAIO_EP_FD */
	const void *ptr; /**< memory, iovec array, path or address */
	uint64_t offset; /**< files: first byte; TAIO_CURRENT: the descriptor's own position */
	uint64_t length; /**< bytes at most (TAIO_EP_VECTOR: elements); TAIO_TO_END: all there is */
	uint64_t reserved; /**< 0 */
};

static inline struct taio_endpoint taio_endpoint_make(uint32_t type, int32_t fd, const void *ptr,
						      uint64_t offset, uint64_t length)
{
	struct taio_endpoint ep;

	ep.type = type;
	ep.fd = fd;
	ep.ptr = ptr;
	ep.offset = offset;
	ep.length = length;
	ep.reserved = 0;
	return ep;
}

/** @len bytes of memory at @ptr. */
static inline struct taio_endpoint taio_memory(const void *ptr, size_t len)
{
	return taio_endpoint_make(TAIO_EP_MEMORY, -1, ptr, 0, len);
}

/** @count pieces of memory, taken in order. */
static inline struct taio_endpoint taio_vector(const struct iovec *iov, size_t count)
{
	return taio_endpoint_make(TAIO_EP_VECTOR, -1, iov, 0, count);
}

/** A file by name. As a destination it appears whole or not at all (see TAIO_IN_PLACE). */
static inline struct taio_endpoint taio_path(const char *path)
{
	return taio_endpoint_make(TAIO_EP_PATH, -1, path, 0, TAIO_TO_END);
}

/** A part of a file by name. A destination with an offset is written in place. */
static inline struct taio_endpoint taio_path_at(const char *path, uint64_t offset, uint64_t length)
{
	return taio_endpoint_make(TAIO_EP_PATH, -1, path, offset, length);
}

/** An open file, from @offset on (TAIO_CURRENT: from its position, which moves along). */
static inline struct taio_endpoint taio_file(int fd, uint64_t offset, uint64_t length)
{
	return taio_endpoint_make(TAIO_EP_FD, fd, NULL, offset, length);
}

/**
 * An open descriptor of any kind: socket, pipe, terminal, file. A socket or pipe is used
 * non-blocking while a request on it runs; its O_NONBLOCK flag is put back afterwards.
 */
static inline struct taio_endpoint taio_descriptor(int fd)
{
	return taio_endpoint_make(TAIO_EP_FD, fd, NULL, TAIO_CURRENT, TAIO_TO_END);
}

/**
 * A peer: "host:port:tcp", "[v6]:port:udp", "unix:/path"; with "listen:" in front the engine
 * binds, listens and takes the first peer that comes.
 */
static inline struct taio_endpoint taio_address(const char *address)
{
	return taio_endpoint_make(TAIO_EP_ADDRESS, -1, address, 0, TAIO_TO_END);
}

static inline struct taio_endpoint taio_null(void)
{
	return taio_endpoint_make(TAIO_EP_NULL, -1, NULL, 0, TAIO_TO_END);
}

static inline struct taio_endpoint taio_zero(uint64_t length)
{
	return taio_endpoint_make(TAIO_EP_ZERO, -1, NULL, 0, length);
}

/* ---- messages ------------------------------------------------------------------------------- */

/** flags of struct taio_message */
enum taio_message_flag {
	TAIO_MESSAGE_TRUNCATED = 1 << 0 /**< received: it was longer than the room for it */
};

/**
 * One datagram of a batch, sent or received as a whole. Zero it, then set what is wanted. The
 * array, the payloads and the addresses are the caller's and stay valid until the event was taken;
 * the same array may be used again and again without being zeroed.
 */
struct taio_message {
	void *data;      /**< payload; NULL only with length 0; not written when it is sent */
	void *address;   /**< a struct sockaddr: where to send it, or room for who sent it; may be
			  *   NULL: the peer of a connected socket, nobody asked */
	uint32_t length; /**< bytes to send, or room for a received one; at most 2 GiB - 1 */
	int32_t result;  /**< set: bytes sent, bytes received into data, or negative errno of this
			  *   message; -ECANCELED: the request ended before its turn came */
	uint32_t whole;  /**< set: received: length of the datagram itself, larger than result if it
			  *   was truncated */
	uint32_t flags;  /**< set: enum taio_message_flag */
	uint16_t address_room;   /**< receiving: bytes at address */
	uint16_t address_length; /**< sending: bytes at address; set: received: bytes of the
				  *   sender's address, more than the room if that was too small,
				  *   0 if it has none (Unix socket without a name) */
	uint32_t reserved;       /**< 0 */
};

/** Messages of one request at most. */
#define TAIO_MESSAGES_MAX 65536

/** Why a datagram did not arrive where it should. */
enum taio_drop {
	TAIO_DROP_REFUSED =
		0, /**< a host said: nobody listens there (ICMP); of those sent earlier */
	TAIO_DROP_UNREACHABLE, /**< no route, host or network unreachable; at once or of earlier ones */
	TAIO_DROP_TOO_LONG,  /**< larger than the socket, the protocol or the path takes */
	TAIO_DROP_FORBIDDEN, /**< firewall, missing permission (broadcast, privileged port) */
	TAIO_DROP_ADDRESS,   /**< no address, or one that this socket cannot send to */
	TAIO_DROP_FULL,      /**< a queue of the kernel or the device was full and lost it */
	TAIO_DROP_TRUNCATED, /**< received, but not the whole of it: room was too small */
	TAIO_DROP_STRANGER,  /**< received from somebody who is not the peer, thrown away */
	TAIO_DROP_CANCELLED, /**< its request ended before its turn came */
	TAIO_DROP_OTHER,
	TAIO_DROP_COUNT
};

/** A word for it ("refused", ...); "?" for a number that is none. Any thread. */
TAIO_API const char *taio_drop_name(unsigned int drop);

/**
 * What became of datagrams. All fields are only ever added to, so that one structure can serve many
 * requests. A datagram that was sent can still be lost on its way: only what a host reports back is
 * counted, under dropped, and such reports can be fewer than the losses.
 */
struct taio_message_counters {
	uint64_t sent;      /**< given to the network, or to a device's ring */
	uint64_t completed; /**< of these, those that the kernel has taken for good; what a device's
			     *   ring never gave back is missing here */
	uint64_t received;  /**< without the end marks of copies */
	uint64_t bytes;     /**< payload sent or received */
	uint64_t dropped[TAIO_DROP_COUNT]; /**< by enum taio_drop */
};

/** @count messages, in order: towards a datagram socket, or room for what comes from one. */
static inline struct taio_endpoint taio_messages(struct taio_message *messages, size_t count)
{
	return taio_endpoint_make(TAIO_EP_MESSAGES, -1, messages, 0, count);
}

/**
 * A source of which there are 2 to 4 equal copies, files or block devices: @names, separated by
 * commas (a name that holds one cannot be written here). Each piece of it is read from whichever
 * copy's disk is cheapest now, as a device "replica1" .. "replica4" (the number is that of the disk,
 * in the order in which this engine met them); what one copy cannot give is read from another. A copy
 * that cannot be opened is left out with a line to the log, as long as one is left. That they hold
 * the same bytes is the caller's promise: only their sizes are compared (-EINVAL at open-from).
 */
static inline struct taio_endpoint taio_mirror(const char *names)
{
	return taio_endpoint_make(TAIO_EP_MIRROR, -1, names, 0, TAIO_TO_END);
}

/**
 * Reads the text form of an endpoint as the command line knows it: "/path" (or any name without a
 * known prefix or suffix), "-" (standard input as a source, output as a destination),
 * "host:port:tcp|udp", "listen:host:port:tcp|udp", "unix:/path", "listen:unix:/path", "null:",
 * "mirror:/path,/path", "zero:SIZE" (SIZE with an optional K, M, G or T, powers of 1024).
 * @text: stays the caller's; the endpoint points into it.
 * @is_destination: 0 or 1, decides what "-" is and refuses what cannot be there.
 * @ret_endpoint: written only on success.
 * Return: 0; -EINVAL: malformed (port, size, missing part); -ENAMETOOLONG: longer than PATH_MAX;
 * -EPROTONOSUPPORT: a protocol that taio does not know; -EOPNOTSUPP: no source or destination of
 * that kind ("zero:" and "mirror:" as a destination, "null:" as a source). Any thread.
 */
TAIO_API int taio_endpoint_parse(const char *text, int is_destination,
				 struct taio_endpoint *ret_endpoint);

/* ---- engine --------------------------------------------------------------------------------- */

/** flags of struct taio_engine_options */
enum taio_engine_flag {
	TAIO_NO_URING = 1 << 0,    /**< never open an io_uring */
	TAIO_NO_WORKERS = 1 << 1,  /**< never start a thread */
	TAIO_NO_BPF = 1 << 2,      /**< never use BPF, not even a machine-wide policy */
	TAIO_NO_CACHE = 1 << 3,    /**< neither read nor write the learnt speeds on disk */
	TAIO_NO_CONTROL = 1 << 4,  /**< no control socket: `taio policy swap` cannot reach it */
	TAIO_MAY_BLOCK = 1 << 5,   /**< only total time matters: calls may block the thread, and
				    *   taio_copy() may have copied a small file when it returns */
	TAIO_BUSY_POLL = 1 << 6,   /**< taio_get_events() polls, it never sleeps */
	TAIO_NO_WATCHDOG = 1 << 7, /**< a policy stays, however bad its prices are */
	TAIO_HEDGE = 1 << 8        /**< a step that is late may run on a second device, too */
};

/** Options of taio_open(). Zero everything, set size, then what is wanted; 0 means default. */
struct taio_engine_options {
	size_t size;       /**< sizeof(struct taio_engine_options) */
	uint32_t requests; /**< requests in flight at most, 1..1048576; 0: 4096 */
	uint32_t workers;  /**< threads of the worker pool at most, 1..64; 0: cores, at least 2 */
	uint32_t flags;    /**< enum taio_engine_flag */
	uint32_t reserved;
	/** Name of a policy or path of an object; NULL: $TAIO_POLICY, else the machine-wide
	 *  policy, else the built-in one. */
	const char *policy;
	const char *pin;    /**< device names, comma separated: nothing else carries bytes */
	const char *forbid; /**< device names, comma separated: these never run */
	/** Called by taio_close() for every event that was not taken; may be NULL. */
	void (*undelivered)(void *arg, const struct taio_event *event);
	void *arg;
	/** Receives one line for each thing worth knowing (fall-back, quarantine, policy change);
	 *  may be NULL. Called on the engine's thread. */
	void (*log)(void *arg, const char *line);
};

/**
 * Opens an engine. Nothing is started before it is needed: no ring, no thread, no BPF object.
 * @ret_engine: the engine; give it to taio_close().
 * @options: may be NULL (all defaults).
 * Return: 0; -EINVAL: option out of range, unknown device name, options->size of a newer library
 * with unknown fields set; -ENOMEM; -ENOENT: no such policy; -EMFILE/-ENFILE: no descriptor left;
 * what the policy's loader says (-EPERM: BPF is not permitted; -EBADMSG: refused object).
 */
TAIO_API int taio_open(struct taio **ret_engine, const struct taio_engine_options *options);

/**
 * Ends an engine: cancels what is in flight, waits for it, hands every event that was not taken to
 * options->undelivered, frees everything. NULL is allowed.
 */
TAIO_API void taio_close(struct taio *engine);

/**
 * A descriptor that polls readable (POLLIN) when taio_get_events() has something to do or to give.
 * Belongs to the engine. Call taio_get_events() with timeout 0 then; before sleeping in your own
 * loop call it once more (it says 0 when all is handed to devices).
 * Return: the descriptor; -EMFILE, -ENFILE, -ENOMEM.
 */
TAIO_API int taio_fd(struct taio *engine);

/* ---- requests ------------------------------------------------------------------------------- */

/** flags of struct taio_options */
enum taio_flag {
	/** The event comes after fsync of the file and its directory: it survives a power cut. */
	TAIO_DURABLE = 1 << 0,
	/** Write into the destination file itself instead of replacing it whole at the end. */
	TAIO_IN_PLACE = 1 << 1,
	/** -EEXIST if the destination file exists. */
	TAIO_NO_CLOBBER = 1 << 2,
	/** Do not look for holes: write zeros where the source has a hole. */
	TAIO_NO_SPARSE = 1 << 3,
	/** No end on purpose: no shutdown before the close, no empty datagram after the last. */
	TAIO_NO_SHUTDOWN = 1 << 4,
	/** Keep mode, owner (where permitted) and times of the source file. */
	TAIO_PRESERVE = 1 << 5
};

/**
 * How datagrams stand in a file, pipe, stream or in memory, when they are copied from or to one.
 * Raw: their bytes follow each other, boundaries are lost; sent are pieces of options.datagram bytes. Length:
 * before each datagram stands the number of its bytes, 4 bytes, most significant first;
 * sent are datagrams of just those sizes. Who sent a datagram is not kept: that is what batches of
 * messages are for. An empty datagram is the end mark, in both directions, and stands in no file;
 * with TAIO_NO_SHUTDOWN there is no end mark, and an empty datagram is a length of 0.
 * -EBADMSG, at the source: a length above 65507, or a source that ends within a datagram; those before
 * it were sent. -EMSGSIZE: the next datagram, which is lost, does not fit into what is
 * left of the destination's length; those before it are there.
 */
enum taio_framing {
	TAIO_FRAMING_RAW = 0,
	TAIO_FRAMING_LENGTH = 1
};

/** What is to be kept small. */
enum taio_goal {
	TAIO_GOAL_LATENCY = 0,    /**< time of this request, tail included */
	TAIO_GOAL_THROUGHPUT = 1, /**< time of all requests together */
	TAIO_GOAL_CPU = 2         /**< processor time */
};

struct taio_trace;

/** Options of one request. Zero everything, set size, then what is wanted. */
struct taio_options {
	size_t size;          /**< sizeof(struct taio_options) */
	uint32_t flags;       /**< enum taio_flag */
	uint8_t goal;         /**< enum taio_goal */
	uint8_t priority;     /**< 0 (default) .. 7 (first); order among waiting requests */
	uint16_t tag;         /**< handed to the policy */
	uint64_t length;      /**< bytes at most; 0: all */
	uint64_t timeout_ns;  /**< -ETIMEDOUT after this long; 0: never */
	uint64_t deadline_ns; /**< absolute; a policy may choose by it; passing it is no error */
	uint64_t limit_rate;  /**< bytes per second at most; 0: unlimited */
	uint64_t pin;         /**< devices that may carry bytes (taio_device_mask()); 0: any */
	uint64_t forbid;      /**< devices that may not run */
	uint32_t datagram;    /**< payload bytes of a datagram, 1..65507; 0: 1472 */
	uint32_t least;       /**< received messages that complete a batch, up to its size; 0: 1 */
	uint64_t *progress;   /**< grows with the bytes moved; may be NULL; read it atomically */
	struct taio_trace *trace; /**< filled while the request runs; may be NULL */
	/** Datagrams per second at most; 0: unlimited. Towards datagrams, and in batches of messages,
	 *  it is kept for the socket, together with limit_rate: requests that follow each other
	 *  on it share what is allowed. */
	uint64_t limit_packets;
	/** What receives datagrams ends well, with what it has, when nothing came for this long; 0:
	 *  never. The time runs while the request waits for its socket; with "listen:" a copy
	 *  (not a batch of messages) waits for its first datagram without it. */
	uint64_t idle_ns;
	uint64_t datagrams; /**< copies from datagrams end well after so many; 0: never */
	uint32_t framing;   /**< enum taio_framing: copies between datagrams and bytes */
	uint32_t reserved;
	/** Added to while the request runs; may be NULL. Only datagrams are counted. */
	struct taio_message_counters *counters;
};

/** The steps of which a request consists; also the failed step of an event. */
enum taio_step_type {
	TAIO_STEP_NONE = 0,
	TAIO_STEP_RESOLVE,   /**< name to address */
	TAIO_STEP_CONNECT,   /**< socket and connect */
	TAIO_STEP_ACCEPT,    /**< bind, listen and accept */
	TAIO_STEP_OPEN_FROM, /**< open and stat the source file */
	TAIO_STEP_OPEN_TO,   /**< make the temporary, or open in place */
	TAIO_STEP_READ,      /**< transfer: the source failed */
	TAIO_STEP_WRITE,     /**< transfer: the destination failed */
	TAIO_STEP_TRANSFER,  /**< transfer: either */
	TAIO_STEP_META,      /**< mode, owner, times */
	TAIO_STEP_SYNC,      /**< fsync of the file */
	TAIO_STEP_PUBLISH,   /**< link or rename into place */
	TAIO_STEP_SYNC_DIR,  /**< fsync of the directory */
	TAIO_STEP_SHUTDOWN,  /**< end of stream to the peer */
	TAIO_STEP_CLOSE,     /**< close */
	TAIO_STEP_FILE,      /**< a whole small file in one step */
	TAIO_STEP_COUNT
};

/** The name of a step type ("open-from", ...); "?" for a number that is none. Any thread. */
TAIO_API const char *taio_step_name(unsigned int step);

/** The one event of a request. */
struct taio_event {
	uint64_t cookie;   /**< as given with the request */
	int64_t result;    /**< bytes moved, or negative errno */
	uint64_t bytes;    /**< bytes that had reached the destination, also on failure */
	uint64_t ns;       /**< from acceptance to the end */
	uint64_t devices;  /**< mask of the devices that carried bytes */
	uint8_t step;      /**< enum taio_step_type: the step that failed; 0 on success */
	uint8_t device;    /**< number of the device that carried most bytes; 255: none */
	uint8_t retries;   /**< times a step went to another device after an error (saturating) */
	uint8_t flags;     /**< enum taio_event_flag */
	uint32_t messages; /**< datagrams that were sent or received, also on failure: of a batch,
			    *   and of a copy with an option for datagrams */
};

enum taio_event_flag {
	TAIO_EVENT_INLINE = 1 << 0, /**< a small pointer copy that bypassed plan and policy */
	TAIO_EVENT_HEDGED = 1 << 1, /**< a step was run twice, the first result counted */
	TAIO_EVENT_SHRANK = 1 << 2, /**< the source file ended early */
	TAIO_EVENT_GREW = 1 << 3,   /**< the source file grew while it was read */
	TAIO_EVENT_PARTIAL =
		1 << 4, /**< a batch: not every message has a result that is no error */
	TAIO_EVENT_REFUSED =
		1 << 5 /**< a host reported that datagrams sent before did not arrive */
};

/** One row of a trace: a step on a device, neighbouring equal rows added up. */
struct taio_trace_step {
	uint8_t step;       /**< enum taio_step_type */
	uint8_t device;     /**< number; 255: none */
	uint8_t candidates; /**< used elements of candidate[] */
	uint8_t why;        /**< enum taio_why */
	uint32_t count;     /**< steps added up in this row */
	uint64_t bytes;
	uint64_t ns;           /**< measured */
	uint64_t predicted_ns; /**< predicted for the chosen device */
	struct {
		uint8_t device;
		uint8_t why_not; /**< enum taio_why; 0: was dearer */
		uint16_t in_flight;
		uint32_t predicted_us_q8; /**< predicted, microseconds times 256, saturating */
	} candidate[12];                  /**< of the last decision in this row */
};

/** Why a device was taken or left out. */
enum taio_why {
	TAIO_WHY_PRICE = 0, /**< taken: cheapest; left out: dearer */
	TAIO_WHY_ONLY,      /**< the only candidate */
	TAIO_WHY_PIN,       /**< pinned; left out: not among the pinned */
	TAIO_WHY_FORBIDDEN,
	TAIO_WHY_PROBE, /**< taken to learn its price */
	TAIO_WHY_HEDGE,
	TAIO_WHY_RETRY,       /**< another device failed first */
	TAIO_WHY_QUARANTINE,  /**< failed lately */
	TAIO_WHY_BLOCKING,    /**< would stop the thread while other requests wait */
	TAIO_WHY_FULL,        /**< its queue is full */
	TAIO_WHY_UNFIT,       /**< cannot do this pair, size, alignment or file system */
	TAIO_WHY_UNAVAILABLE, /**< not on this machine or not permitted */
	TAIO_WHY_SPREAD,      /**< taken beside the others: another core had nothing to do */
	TAIO_WHY_POLICY,      /**< the policy picked it for this very request */
	TAIO_WHY_DETOUR,      /**< left out: a thread, and nobody else wants this one */
	TAIO_WHY_TAKEN,       /**< left out: another device has taken the source over */
	TAIO_WHY_TAKING, /**< left out: it would have to take the source over, which does not pay yet */
	TAIO_WHY_COUNT
};

/** A word for a reason. Any thread. */
TAIO_API const char *taio_why_name(unsigned int why);

/** Room for the story of one request; the caller's memory. Zero it before use. */
struct taio_trace {
	uint32_t capacity; /**< set by the caller: elements of step[] */
	uint32_t used;     /**< rows written */
	uint32_t lost;     /**< steps that found no room */
	uint32_t reserved;
	struct taio_trace_step *step; /**< the caller's array */
};

/**
 * Copies from any endpoint to any endpoint that makes sense with it.
 * @engine: from taio_open().
 * @from, @to: what to move; copied.
 * @options: may be NULL.
 * @cookie: any value, comes back in the event; also names the request for taio_cancel().
 * Return: 0: accepted, exactly one event will follow. -EAGAIN: as many requests in flight (or
 * events not taken) as the engine has room for: take events first. -EINVAL: a field out of range,
 * memory endpoints of unequal length, a negative descriptor, malformed address. -EOPNOTSUPP: a pair
 * that makes no sense (taio_refusal() tells why). -ENOBUFS: no room for the strings of the request:
 * take events first. -ENAMETOOLONG. -EFAULT: NULL where memory is needed. -ESHUTDOWN: engine is
 * being closed.
 */
TAIO_API int taio_copy(struct taio *engine, const struct taio_endpoint *from,
		       const struct taio_endpoint *to, const struct taio_options *options,
		       uint64_t cookie);

/** taio_copy() of memory to memory; the ranges must not overlap. Errors as there. */
TAIO_API int taio_schedule_pointer(struct taio *engine, const void *from, void *to, size_t len,
				   uint64_t cookie);

/** taio_copy() of the file @path to the connected socket (or pipe) @fd. Errors as there. */
TAIO_API int taio_schedule_file_socket(struct taio *engine, const char *path, int fd,
				       uint64_t cookie);

/** taio_copy() of the file @path to a peer, "192.168.0.1:80:tcp". Errors as there. */
TAIO_API int taio_schedule_file_addr(struct taio *engine, const char *path, const char *address,
				     uint64_t cookie);

/**
 * Sends @count datagrams in the order of the array, each to its own address or to the peer of the
 * socket, with one event for all of them. taio_copy() of taio_messages() to @to is the same.
 * @messages: the caller's until the event was taken.
 * @to: a datagram socket (taio_descriptor()), UDP over IPv4 or IPv6, or Unix, connected or not; or
 * the address of a peer (taio_address(), "host:port:udp").
 * @options: may be NULL; limit_rate and limit_packets, timeout_ns, counters, pin, ... apply.
 *
 * How it ends. A message that cannot be sent (too long, bad address, no route, no permission) has its
 * own errno as its result, and the batch goes on behind it. A full socket is waited for. What a host
 * reports about datagrams sent earlier (-ECONNREFUSED) is counted and told by TAIO_EVENT_REFUSED;
 * it is no error of the message during which the report came, which is sent. event.result is the
 * sum of the bytes sent if at least one message was sent, else the errno of the first; event.bytes
 * and event.messages count those sent, TAIO_EVENT_PARTIAL says that some were not. When the request is
 * cancelled (-ECANCELED), its time is over (-ETIMEDOUT) or the socket itself fails (-EBADF, -EPIPE),
 * messages from some place on keep -ECANCELED as their result and were not sent. One that was
 * handed to a device's ring counts as sent.
 * Return: as taio_copy(); also -EINVAL: @count is 0 or above TAIO_MESSAGES_MAX, a length above
 * 2 GiB - 1; -EFAULT: data is missing; -EOPNOTSUPP: @to is no datagram socket.
 */
TAIO_API int taio_schedule_send_messages(struct taio *engine, struct taio_message *messages,
					 size_t count, const struct taio_endpoint *to,
					 const struct taio_options *options, uint64_t cookie);

/**
 * Receives datagrams, up to @count, in the order in which they come, with one event for all of them:
 * as soon as options->least are there (0: one) and no more can be had without waiting.
 * @from: a datagram socket; "listen:host:port:udp" binds a socket that takes what anybody sends, for
 * the time of this request only.
 * @messages: each used element says how long its datagram is, and with room at address who sent it.
 *
 * How it ends. event.result and event.bytes: payload bytes in @messages; event.messages: elements
 * used, from the first on. An empty datagram is a message of length 0. A datagram longer than its room
 * is truncated, and said so (TAIO_MESSAGE_TRUNCATED, whole); nothing else is lost. With
 * options->idle_ns a batch that gets nothing for that long ends well with what it has, be it nothing.
 * Cancelled or out of time, event.result is the errno, and event.messages elements are valid all the same.
 * A socket of the caller on which UDP_GRO is set is understood: datagrams that the kernel joined are
 * separated again.
 * Return: as taio_schedule_send_messages(); also -EINVAL: least is above @count.
 */
TAIO_API int taio_schedule_receive_messages(struct taio *engine, const struct taio_endpoint *from,
					    struct taio_message *messages, size_t count,
					    const struct taio_options *options, uint64_t cookie);

/** One sentence on the last -EOPNOTSUPP or -EINVAL of this engine; valid until the next call. */
TAIO_API const char *taio_refusal(const struct taio *engine);

/**
 * Copies memory now, on the cheapest device, and returns when it is done: no request, no event.
 * For copies whose size is not known to be small; behaves as memcpy(3).
 * Return: @to.
 */
TAIO_API void *taio_memcpy_large(struct taio *engine, void *to, const void *from, size_t len);

/** Below this many bytes taio_memcpy() is memcpy(3) itself. */
#define TAIO_MEMCPY_DIRECT 32768

/** taio_memcpy_large() for any size: small copies are memcpy(3) without a call into the library. */
static inline void *taio_memcpy(struct taio *engine, void *to, const void *from, size_t len)
{
	if (len < TAIO_MEMCPY_DIRECT)
		return __builtin_memcpy(to, from, len);
	return taio_memcpy_large(engine, to, from, len);
}

/**
 * Runs the engine and takes events.
 * @events: room for @max events.
 * @min: return as soon as this many are there, 0..@max; 0: only do what can be done now.
 * @timeout_ns: negative: no limit; 0: do not wait.
 * Return: events written (fewer than @min when the time is over or when fewer requests are in
 * flight); -EINVAL: @min > @max; -EINTR: a signal came before the first event.
 */
TAIO_API int taio_get_events(struct taio *engine, struct taio_event *events, unsigned int min,
			     unsigned int max, int64_t timeout_ns);

/** Requests accepted whose event was not taken yet. */
TAIO_API unsigned int taio_pending(const struct taio *engine);

/**
 * Cancels the requests with this cookie. Each still gives its one event: -ECANCELED, or its true
 * result if it was faster. Costs one look at each request in flight.
 * Return: requests found (0: none).
 */
TAIO_API int taio_cancel(struct taio *engine, uint64_t cookie);

/**
 * Tells the kernel of memory that will be used often, so that devices can use it without mapping
 * it each time. Replaces an earlier registration; @count 0 only removes it.
 * @buffers: copied; the memory itself must stay until it is unregistered or the engine closed.
 * Return: 0; -EINVAL: more than 1024 or an empty one; -EBUSY: requests are in flight; -ENOMEM:
 * RLIMIT_MEMLOCK; -EOPNOTSUPP: no device here can use it.
 */
TAIO_API int taio_register_buffers(struct taio *engine, const struct iovec *buffers,
				   unsigned int count);

/**
 * Makes an open file known to io_uring, which then need not look its descriptor up each time: worth
 * it for a file that very many small requests read or write. At most 64.
 * @fd: a regular file or block device. The engine keeps a descriptor of its own for the same open
 * file, so @fd may be closed; as that number is the engine's, it cannot come to mean another file.
 * Return: that descriptor, to be used in taio_file(), and never to be closed by the program; -EINVAL:
 * no such file; -EBUSY: requests are in flight; -ENOSPC: too many; -EBADF, -EMFILE: see dup(2).
 * Where io_uring cannot use it, the descriptor works as any other.
 */
TAIO_API int taio_register_file(struct taio *engine, int fd);

/**
 * Closes a descriptor that taio_register_file() returned (taio_close() closes those that are left).
 * As any close(2) it drops the POSIX record locks that this process holds on the file.
 * Return: 0; -EINVAL: not one of these; -EBUSY: requests are in flight.
 */
TAIO_API int taio_unregister_file(struct taio *engine, int fd);

/**
 * Says in words how a request ended: "open-from: No such file or directory".
 * @buffer: always terminated. Return: its length without the end mark, as snprintf(3). Any thread.
 */
TAIO_API int taio_event_text(const struct taio_event *event, char *buffer, size_t size);

/* ---- what there is -------------------------------------------------------------------------- */

/** An operation and its suboptions. */
struct taio_operation_info {
	char name[16];
	char suboptions[96]; /**< comma separated, may be empty */
	uint64_t devices;    /**< mask of the devices that can serve it here */
};

/** A device. */
struct taio_device_info {
	uint32_t number; /**< its bit in masks */
	uint32_t flags;  /**< enum taio_device_flag */
	char name[16];
	char text[80];                 /**< what it does */
	char reason[96];               /**< why it is not available, else empty */
	char pairs[512];               /**< endpoint pairs it serves: "file>file,file>stream" */
	uint64_t base_ns;              /**< cost of one step without the bytes */
	uint64_t bytes_per_s;          /**< speed on long steps; 0: unknown */
	uint64_t min_bytes, max_bytes; /**< size range of a step */
	uint32_t parallel;             /**< steps at a time */
	uint32_t align;                /**< alignment that it needs, bytes; 1: none */
	uint32_t source; /**< enum taio_speed_source: where the two figures come from */
	uint32_t in_flight;
	uint64_t steps, bytes, errors; /**< of this engine */
};

enum taio_device_flag {
	TAIO_DEVICE_AVAILABLE = 1 << 0,
	TAIO_DEVICE_BLOCKING = 1 << 1, /**< runs on the engine's thread and may sleep */
	TAIO_DEVICE_ASYNC = 1 << 2,    /**< completes later */
	TAIO_DEVICE_ZERO_COPY = 1 << 3,
	TAIO_DEVICE_QUARANTINED = 1 << 4
};

enum taio_speed_source {
	TAIO_SPEED_PUBLISHED = 0,  /**< the driver's word, never measured here */
	TAIO_SPEED_CALIBRATED = 1, /**< measured once on this machine */
	TAIO_SPEED_LEARNT = 2      /**< measured from requests */
};

/**
 * Lists operations.
 * @info: room for @max elements of @size bytes each (sizeof(struct taio_operation_info)).
 * Return: how many there are (may be more than @max); -EINVAL: @size is too small.
 */
TAIO_API int taio_operations(struct taio *engine, struct taio_operation_info *info, size_t size,
			     unsigned int max);

/** Lists devices, available or not; probes them all. As taio_operations(). */
TAIO_API int taio_devices(struct taio *engine, struct taio_device_info *info, size_t size,
			  unsigned int max);

/**
 * What became of the datagrams of this engine, added up since it was opened.
 * @device: number of a device, or 255 for all of them (then with those that no device had).
 * @size: sizeof(struct taio_message_counters).
 * Return: 0; -EINVAL: @size is too small, no such device.
 */
TAIO_API int taio_message_count(struct taio *engine, unsigned int device,
				struct taio_message_counters *ret_counters, size_t size);

/**
 * Turns device names ("sendfile,splice") into a mask; a name without "@worker" also names the same
 * device on a worker.
 * @ret_mask: written only on success.
 * Return: 0; -EINVAL: empty list; -ENODEV: a name that no device has.
 */
TAIO_API int taio_device_mask(struct taio *engine, const char *names, uint64_t *ret_mask);

/** The name of a device; "none" for 255 and for numbers that are none. */
TAIO_API const char *taio_device_name(struct taio *engine, unsigned int number);

/**
 * Measures the speed of each available device on this machine (about a second, temporary files in
 * $TMPDIR) and remembers it in the cache file.
 * Return: 0; -EBUSY: requests are in flight; -errno of the cache file or temporary file.
 */
TAIO_API int taio_calibrate(struct taio *engine);

/* ---- policy --------------------------------------------------------------------------------- */

/** Where a policy runs. */
enum taio_policy_where {
	TAIO_POLICY_NATIVE = 0, /**< inside this process */
	TAIO_POLICY_BPF = 1,    /**< in the kernel, loaded by this process */
	TAIO_POLICY_MACHINE = 2 /**< in the kernel, installed for the whole machine */
};

struct taio_policy_info {
	char name[16];
	char text[96];
	uint32_t abi;
	uint32_t where;     /**< enum taio_policy_where */
	uint64_t swaps;     /**< changes of policy in this engine */
	uint64_t ticks;     /**< times prices were made */
	uint64_t samples;   /**< completions that it learnt from */
	uint64_t fallbacks; /**< times the engine went back to the built-in policy */
	char reason[128];   /**< why it is not the one asked for; else empty */
	uint32_t watched;   /**< 1: a watchdog compares it with the built-in policy */
	uint32_t strikes;   /**< bad spans of 0.25 to 5 s in a row; four are the end of it */
	uint32_t
		regret_percent; /**< cost of its choices, 100: as the built-in policy's; 0: no say */
	uint32_t canary_permille; /**< share of the requests of a policy on trial; 0: none */
	char canary[16];          /**< the policy on trial */
};

/**
 * Changes the policy, requests in flight or not; what was learnt stays.
 * @policy: a name ("tab", "jsq", ...: `taio policy list`) or the path of an object.
 * Return: 0; -ENOENT: no such name or file; -EPERM: BPF is not permitted (a name then runs
 * natively, a path cannot); -EBADMSG: refused (wrong ABI, map sizes, verifier): taio_refusal() has
 * the sentence and the running policy stays.
 */
TAIO_API int taio_policy_swap(struct taio *engine, const char *policy);

/** As taio_policy_swap(), and always loads the BPF object of a name: no native twin. */
TAIO_API int taio_policy_load(struct taio *engine, const char *policy);

/**
 * Puts a policy on trial: it learns from all completions and decides for a share of the requests.
 * When the time is over the better of both stays (no worse in mean and slowest 1 %, size class by
 * size class); the log has the reason.
 * @policy: as for taio_policy_swap().
 * @permille: share in thousandths, 1..500.
 * @ns: for how long; 0: a minute.
 * Return: 0; -EBUSY: one is on trial already; -EINVAL: no such share; or as taio_policy_swap().
 */
TAIO_API int taio_policy_canary(struct taio *engine, const char *policy, unsigned int permille,
				uint64_t ns);

/**
 * Ends a trial now: the policy on trial becomes the policy (@promote not 0), or goes.
 * Return: 0; -ENOENT: none is on trial.
 */
TAIO_API int taio_policy_decide(struct taio *engine, int promote);

/** One size class of a trial. [0]: the running policy, [1]: the one on trial. */
struct taio_policy_comparison {
	uint64_t bytes;       /**< smallest request of the class */
	uint64_t requests[2]; /**< that ended well */
	uint64_t mean_ns[2];
	uint64_t p99_ns[2]; /**< slowest 1 %, within a fifth; 0: no requests */
};

/**
 * How the policy on trial does, or did: one element for each size class that has requests.
 * @rows: room for @max elements of @size bytes each (sizeof(struct taio_policy_comparison)); at
 * most 16 are needed.
 * Return: elements written; -EINVAL: @size is too small; -ENOENT: there was no trial.
 */
TAIO_API int taio_policy_compare(struct taio *engine, struct taio_policy_comparison *rows,
				 size_t size, unsigned int max);

/** @size: sizeof(struct taio_policy_info). Return: 0; -EINVAL: @size is too small. */
TAIO_API int taio_policy_show(struct taio *engine, struct taio_policy_info *ret_info, size_t size);

/** Library version "0.1.0". Any thread. */
TAIO_API const char *taio_version(void);

#ifdef __cplusplus
}
#endif
#endif /* TAIO_H */
