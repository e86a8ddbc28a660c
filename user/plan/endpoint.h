/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * endpoint.h: the text forms of endpoints and addresses. Pure parsing: nothing is opened, looked
 * up or allocated here. taio_endpoint_parse() itself is declared in taio.h.
 */
#ifndef TAIO_USER_ENDPOINT_H
#define TAIO_USER_ENDPOINT_H

#include "taio_driver.h"

/*
 * Reads an address: "HOST:PORT:tcp" or ":udp", HOST a name, an IPv4 address or an IPv6 address in
 * brackets (with an optional %SCOPE); "unix:PATH"; "unix:@NAME" (abstract); "listen:" in front.
 * Fills text, host, port and their lengths (they point into @text, which stays the caller's),
 * listen and type, sets all descriptors to -1 and everything else to 0.
 * @ret_addr: written only on success.
 * Return: 0; -EINVAL: a part is missing or malformed, port above 65535, port 0 without "listen:";
 * -ENAMETOOLONG: host, Unix path or the whole is longer than the system takes;
 * -EPROTONOSUPPORT: neither tcp nor udp.
 */
int addr_parse(const char *text, struct taio_addr *ret_addr);

/*
 * Turns a numeric host, or a Unix path, of a parsed address into peer[0], peer_len[0], family and
 * count 1. No resolver is asked.
 * Return: 0; -ENOENT: the host is a name, which must be resolved; -ENODEV: no such network
 * interface as the %SCOPE names. @addr is unchanged on failure.
 */
int addr_numeric(struct taio_addr *addr);

#endif /* TAIO_USER_ENDPOINT_H */
