/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * xdp.h: the parts of the device "afxdp", which sends UDP datagrams as Ethernet frames past the
 * kernel's stack. A kernel socket stays what it is for everybody else: it holds the port, receives,
 * and hears what hosts on the way report; whatever this device cannot carry for sure goes through it.
 *
 *   xdp.c        the device: hooks, capabilities, what it tells of itself
 *   xdp_peer.c   sockets and destinations: may frames be built for them, and how
 *   xdp_send.c   steps out of memory: frames, kicks, waiting for the kernel
 *   xdp_recv.h   steps out of a datagram socket: receiving
 *   xdp_file.c   steps out of files: read by the ring straight into frames
 */
#ifndef TAIO_DRIVERS_XDP_H
#define TAIO_DRIVERS_XDP_H

#include <stdbool.h>
#include <stdint.h>

#include "taio.h"
#include "taio_driver.h"
#include "drivers/ring.h"
#include "xdp/frame.h"
#include "xdp/port.h"
#include "xdp/route.h"

#define XDP_SOCKETS 64 /* remembered; powers of two */
#define XDP_PEERS   1024
#define XDP_PORTS   16  /* interfaces that are open at a time */
#define XDP_JOBS    64  /* steps that wait for the kernel */
#define XDP_FILES   8   /* steps out of files */
#define XDP_BATCH   64U /* datagrams of one read */
#define XDP_BATCHES 3U  /* of a step in flight */

struct xdp;

/* One open interface, or one that cannot be had just now. */
struct xdp_place {
	struct xdp_port port;
	struct xdp_job *first, *last; /* steps that wait, in order; the first one sends */
	struct xdp *xdp;
	int fixed;          /* its memory as a registered buffer; negative: it is none */
	bool kicking;       /* the ring has a kick of it */
	uint32_t kicked_at; /* what the kernel had taken before */
	uint32_t ifindex;   /* 0: unused */
	uint32_t users;     /* steps under way */
	uint64_t until_ns;  /* refused until then */
	bool open;
	char reason[128];
};

/* What a socket says about itself. */
struct xdp_socket {
	int32_t fd;                      /* -1: unused */
	uint32_t version;                /* grows when something below changes */
	uint32_t mark, bound, scope;     /* SO_MARK; interface it is bound to; that of its peer */
	int family;                      /* of the socket: AF_INET or AF_INET6 */
	struct frame_address self, peer; /* IPv4 as IPv4, also in IPv6 sockets */
	int self_family, peer_family;    /* 0: no peer; self: 0: any */
	uint32_t path_mtu;               /* connected: what the kernel thinks; 0: unknown */
	struct frame_options four, six;  /* for datagrams of each family */
	uint64_t looked_ns;
	char reason[96]; /* not for us; "": fine */
};

/* A destination of a socket. */
struct xdp_peer {
	int32_t fd; /* -1: unused */
	int family; /* AF_INET or AF_INET6 */
	struct frame_address from, to;
	uint32_t generation; /* of the routes, when it was looked at */
	uint32_t version;    /* of the socket, then */
	uint32_t payload_max;
	uint64_t until_ns; /* it is refused until then; 0: it is fine */
	struct xdp_place *place;
	struct frame_flow flow;
	enum netroute_verdict verdict; /* the last that was said */
	char reason[128];
};

/* A step under way. */
struct xdp_job {
	struct taio_step *step;
	struct xdp_place *place;
	struct xdp_job *next;
	struct frame_flow flow; /* bytes: of the peer; messages have one each */
	uint32_t generation;    /* as of which it holds */
	uint64_t count;         /* datagrams of the step, the end mark included */
	uint64_t put;           /* ... that are in the tx ring or beyond */
	uint64_t unit;          /* bytes: of each but the last */
	uint64_t bytes;         /* bytes: to be sent by this step */
	uint32_t first;         /* index in the tx ring of the first descriptor */
	bool end_mark;
	bool cancelled;
};

struct xdp_recv;

/* Some datagrams of a file, on their way. */
struct xdp_batch {
	struct iovec iov[XDP_BATCH];
	uint64_t at; /* of the first byte within the step */
	uint64_t want;
	uint32_t count;  /* chunks borrowed, then frames in the tx ring */
	uint32_t behind; /* index in the tx ring behind its last frame */
	uint32_t op;
	int32_t got;
	uint8_t state; /* enum batch_state of xdp_file.c */
};

struct xdp_file {
	struct taio_step *step; /* NULL: unused */
	struct xdp *xdp;
	struct xdp_place *place;
	struct frame_flow flow;
	uint32_t generation;
	struct ring_file *direct;  /* O_DIRECT; NULL: the step's own descriptor */
	uint64_t start, end, next; /* position; bytes of the step; where the next read starts */
	uint64_t moved;
	uint64_t unit;
	uint32_t datagrams;
	uint32_t payload_at;  /* in a chunk */
	uint32_t first, last; /* batches, free running */
	int32_t error;
	uint8_t error_side;
	bool ended, cancelled;
	bool at_end; /* of the file */
	bool lost;   /* some of its frames were not taken */
	bool plain;  /* READV, as this kernel has no READV_FIXED */
	struct xdp_batch batch[XDP_BATCHES];
};

struct xdp {
	struct ring *ring;
	struct xdp_recv *recv;
	struct taio_device *dev;
	struct netroute *route;
	uint32_t generation; /* of everything that a destination was judged by */
	uint32_t told, lost; /* changes that the kernel told of; interfaces that failed */
	uint64_t told_ns;    /* when route was last asked for news */
	uint64_t netns;      /* cookie; 0: kernel without */
	uint32_t ops;        /* of ours in the ring */
	bool timer;          /* one of them */
	uint32_t jobs_used;
	struct xdp_job *free_job;
	struct xdp_socket socket[XDP_SOCKETS];
	struct xdp_place place[XDP_PORTS];
	struct xdp_job job[XDP_JOBS];
	struct xdp_file *file; /* XDP_FILES, at first need */
	bool no_fixed_vectors; /* READV_FIXED was refused (before 6.15) */
	struct xdp_peer *peer; /* XDP_PEERS */
	char last_reason[160]; /* the last refusal, for people */
};

/* ---- xdp_peer.c ------------------------------------------------------------------------------ */

int xdp_peers_open(struct xdp *xdp);
void xdp_peers_close(struct xdp *xdp);

/*
 * The socket of a step. @anew: its addresses may have changed since the last step. At most some
 * system calls, none of which waits. Return: NULL: not for us, see xdp->last_reason.
 */
struct xdp_socket *xdp_socket_get(struct xdp *xdp, int fd, bool anew);

/* A destination: @to NULL: the connected peer. Return: NULL: not for us, see xdp->last_reason. */
struct xdp_peer *xdp_peer_get(struct xdp *xdp, struct xdp_socket *socket, const void *to,
			      socklen_t to_length);

/* Says why a step is left to the socket, if that is another reason than the last one. */
void xdp_refuse(struct xdp *xdp, const struct xdp_peer *peer, const char *reason);

/* Has the kernel told of changes? Then xdp->generation is another one. */
void xdp_news(struct xdp *xdp, uint64_t now_ns);

/* What is known without asking anybody: false: it was refused a moment ago. */
bool xdp_peer_may(const struct xdp *xdp, const struct taio_step *step, uint64_t now_ns);

/* The interface went away or is down: whoever used it is looked at again. */
void xdp_place_lost(struct xdp *xdp, struct xdp_place *place, int error);

/* ---- xdp_send.c ------------------------------------------------------------------------------ */

enum taio_submit xdp_send(struct xdp *xdp, struct taio_step *step);
/* Goes on with steps that wait. */
void xdp_send_more(struct xdp *xdp);
void xdp_send_cancel(struct xdp *xdp, struct taio_step *step);
/* Ends all of them: the device closes. */
void xdp_send_end(struct xdp *xdp);

/* A timer goes on with whatever waits. */
void xdp_send_watch(struct xdp *xdp);

/* ---- xdp_file.c ------------------------------------------------------------------------------ */

enum taio_submit xdp_file_submit(struct xdp *xdp, struct taio_step *step);
/* Whatever can go on does. */
void xdp_file_more(struct xdp *xdp);
/* Return: whether it is one of a file. */
bool xdp_file_cancel(struct xdp *xdp, struct taio_step *step);
bool xdp_file_fits(const struct taio_step *step);
/* A step waits for chunks, and nobody but the timer will call. */
bool xdp_file_waits(const struct xdp *xdp);
/* Ends all of them: the device closes. */
void xdp_file_end(struct xdp *xdp);

#endif /* TAIO_DRIVERS_XDP_H */
