/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * netops.h: what the network drivers (net, dgram, gso) share, implemented in netops.c, netsend.c and
 * netrecv.c,
 * and what the engine itself does with a socket: end it, drop it, ask whether its peer is on this
 * machine. No state of its own: everything is kept in the socket or in the caller's structures.
 */
#ifndef TAIO_DRIVERS_NETOPS_H
#define TAIO_DRIVERS_NETOPS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "taio_driver.h"

/* ---- for the engine ------------------------------------------------------------------------- */

/*
 * Is the peer of this socket on this machine (then the end gets TAIO_END_LOCAL: there is no zero
 * copy towards it)? True for AF_UNIX, loopback and every address of this machine.
 * Return: 1 or 0; 0 also when there is no peer. At most four system calls, none of which waits.
 */
int netops_is_local(int fd);

/*
 * End of the bytes to the peer (TAIO_STEP_SHUTDOWN). A stream socket: shutdown(SHUT_WR), then an
 * error that is already pending is reported, because the last bytes did not get through; it does
 * not wait for the peer. What the peer sent and nobody read is thrown away: closing would turn it
 * into a reset. A datagram socket: with @end_mark, what the network said of the datagrams
 * before is reported, then the empty datagram that ends a transfer is sent (a full socket is given
 * 0.1 s for it); without, nothing. A pipe or file: nothing.
 * Return: 0; -ECONNRESET, -EPIPE, -ETIMEDOUT, -EHOSTUNREACH, -ECONNREFUSED: what became of the
 * connection, or of datagrams; -ETIMEDOUT: no room for the end mark; -EBADF.
 */
int netops_finish(int fd, bool end_mark);

/*
 * Drops whatever the steps on @addr left open, for requests that FAILED: a connected stream is
 * closed by a reset, so that the peer cannot take what it got for the whole. Removes the path of a
 * Unix socket that still listens. May be called in every state and again.
 */
void netops_abort(struct taio_addr *addr);

/*
 * A sentence for a failed TAIO_STEP_RESOLVE, @error as in the event (negative errno); NULL: say it
 * with strerror(3). The codes are those of net.c:
 *   -ENOENT        the name does not exist or has no address of this kind
 *   -EHOSTUNREACH  no name server answered
 *   -EREMOTEIO     the name server failed for good
 */
const char *netops_resolve_text(int error);

/* ---- for the network drivers ---------------------------------------------------------------- */

/* Same host and, with @ports, same port? Both of AF_INET or both of AF_INET6. */
bool netops_is_same(const struct sockaddr_storage *a, const struct sockaddr_storage *b, bool ports);

/* Takes the pending error of a socket. Return: 0 or negative errno. */
int netops_error(int fd);

/* The empty datagram that ends a transfer. Waits up to 0.1 s for room, as it ends steps that cannot
 * be given back as unfinished; it is rare, an empty datagram needs next to none.
 * Return: 0; -ETIMEDOUT: no room; other errors of send(2). */
int netops_end_mark(int fd);

/* ---- for the datagram drivers ---------------------------------------------------------------- */
/* They open and close a pool of rooms: syncops_open(), syncops_close(). */

#define NETOPS_UNIT_DEFAULT 1472
#define NETOPS_UNIT_MAX     65507

/* Payload bytes of a datagram of this end. */
static inline size_t netops_unit(const struct taio_end *end)
{
	if (!end->unit)
		return NETOPS_UNIT_DEFAULT;
	return end->unit < NETOPS_UNIT_MAX ? end->unit : NETOPS_UNIT_MAX;
}

/* Is it an error of a socket that is only full? @error: negative errno. */
static inline bool netops_is_full(int64_t error)
{
	return error == -EAGAIN || error == -EWOULDBLOCK || error == -ENOBUFS;
}

/* Is it what a host on the way says of datagrams that went before? It is said once, by whichever call
 * comes next, and they are lost. @error: negative errno. */
bool netops_is_report(int error);

/* -EAGAIN with the step saying what to wait for. */
int64_t netops_again(struct taio_step *step, int fd, uint32_t events);

/* Bytes are gone and cannot be moved again: an error by which the engine would try another device
 * for the same bytes becomes -ENOTRECOVERABLE. */
int netops_for_good(int error);

/* Sends a piece of the source in order as datagrams of netops_unit(&step->to), only the last of them
 * shorter, and adds what went to *moved. Return: 0; negative errno, -EAGAIN or -ENOBUFS: full. */
typedef int netops_send_fn(struct taio_step *step, const uint8_t *piece, size_t bytes,
			   uint64_t *moved);

/*
 * MEM, ZERO, FILE, STREAM or PIPE to DGRAM: the whole of a sending step. Pieces of the source, each
 * but the last a multiple of @whole bytes (netops_unit() times something), go to @send. Then an
 * error that the peer's host sent back is reported, and with TAIO_SF_LAST the empty end mark is sent.
 * While more bytes follow (TAIO_SF_MORE, or a flow), only whole datagrams are sent if there are any.
 * Return: bytes; 0: the source ended; -EAGAIN: the socket is full or the source has nothing yet;
 * what a host on the way reported (-ECONNREFUSED, -EHOSTUNREACH, ...), also after datagrams were
 * sent: they are lost as well; other errors of send(2) and read(2) with nothing sent; -ETIMEDOUT,
 * -ENOTRECOVERABLE: bytes were sent, but not the end mark, or are lost between source and socket.
 */
int64_t netops_send(struct taio_device *dev, struct taio_step *step, size_t whole,
		    netops_send_fn *send);

/*
 * DGRAM to MEM, FILE, NULL, STREAM or PIPE: appends datagrams in the order in which they come, until
 * step->len is full or none is there. A datagram that fits only in part is delivered in parts and
 * stays in the socket's queue until its last byte is; only memory that ends (no TAIO_SF_MORE) takes
 * whole datagrams or none. The empty end mark is a step of its own, with result 0.
 * Return: bytes; 0: end mark; -EAGAIN: none there, or the destination is full; -EMSGSIZE: the next
 * datagram is larger than the memory (it stays where it is); errors of write(2) to a pipe or stream,
 * with nothing lost, to a file, with datagrams lost; -ENOTRECOVERABLE: the same, but the error would
 * make the engine go on.
 */
int64_t netops_receive(struct taio_device *dev, struct taio_step *step);

#endif /* TAIO_DRIVERS_NETOPS_H */
