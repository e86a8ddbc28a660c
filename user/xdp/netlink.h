/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* netlink.h: as much of rtnetlink as route.c needs: one request, one answer, attributes. */
#ifndef TAIO_XDP_NETLINK_H
#define TAIO_XDP_NETLINK_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>

#define NETLINK_ROOM 8192 /* the kernel's answers about one object fit */

/* A request being written, then its answer. */
struct netlink_message {
	union {
		struct nlmsghdr head;
		uint8_t bytes[NETLINK_ROOM];
	};
};

/* @protocol: NETLINK_ROUTE, ...; @groups: to listen to, ending with 0; NULL: none. Return: descriptor,
 * negative errno. */
int netlink_open(int protocol, const int *groups);

/* @body: struct rtmsg and the like. */
void netlink_begin(struct netlink_message *message, uint16_t type, uint16_t flags, const void *body,
		   size_t size);
void netlink_add(struct netlink_message *message, uint16_t type, const void *data, size_t size);

/*
 * Sends the request and reads the answer into the same place. Return: 0; the kernel's own negative
 * errno (with an empty answer); -EPROTO: something else came.
 */
int netlink_ask(int fd, struct netlink_message *message);

/* Attributes of the answer behind @size bytes of body, by type up to @max; others are NULL. */
void netlink_attributes(const struct netlink_message *message, size_t size,
			const struct rtattr **ret, unsigned int max);
void netlink_nested(const struct rtattr *attribute, const struct rtattr **ret, unsigned int max);

/* An attribute of @size bytes into @to; NULL or shorter: @to is left alone. */
void netlink_get(const struct rtattr *attribute, void *to, size_t size);
void netlink_get_text(const struct rtattr *attribute, char *to, size_t size);

#endif /* TAIO_XDP_NETLINK_H */
