/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* gso_messages.h: batches of messages for gso.c. */
#ifndef TAIO_DRIVERS_GSO_MESSAGES_H
#define TAIO_DRIVERS_GSO_MESSAGES_H

#include "drivers/syncops.h"

#define GSO_SEGMENTS_MAX 64    /* the kernel's limit up to 6.8; later ones take 128 */
#define GSO_PACKET_MAX   65507 /* bytes of UDP payload that IPv4 can hold */

/* Is it worth while: do the first messages go to one peer with one size? */
bool gso_messages_fit(const struct taio_step *step);

/* Whole steps, as msgops_send() and msgops_receive(); the socket is a UDP socket. Sending:
 * -EOPNOTSUPP: not in this way. Receiving: UDP_GRO is set on it. */
int64_t gso_messages_send(struct taio_step *step);
int64_t gso_messages_receive(struct taio_device *dev, struct taio_step *step);

/* Errors that say "not in this way" rather than "not at all": a datagram larger than the path takes
 * whole, a device without checksums, a tunnel. dgram.c can still send it. */
bool gso_is_unfit(int error);

#endif /* TAIO_DRIVERS_GSO_MESSAGES_H */
