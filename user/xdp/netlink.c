/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* netlink.c: see netlink.h. The kernel handles a request within send(2), so its answer is there when
 * that returns, and nothing here waits. */
#include "xdp/netlink.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SKIPPED_MAX 16 /* answers to earlier requests */

int netlink_open(const int *groups)
{
	const struct sockaddr_nl any = { .nl_family = AF_NETLINK };
	const int on = 1;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), error;

	if (fd < 0)
		return -errno;
	/* errors come without the request, and dumps check what they are asked for */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	/* a socket without a number of its own is told of nothing that the kernel itself does */
	if (bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	for (; groups && *groups; groups++) {
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, groups, sizeof(*groups)) ==
		    0)
			continue;
		error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

void netlink_begin(struct netlink_message *message, uint16_t type, uint16_t flags, const void *body,
		   size_t size)
{
	static uint32_t sequence;

	assert(NLMSG_LENGTH(size) <= sizeof(message->bytes));
	memset(message->bytes, 0, NLMSG_SPACE(size));
	message->head.nlmsg_len = NLMSG_LENGTH((uint32_t)size);
	message->head.nlmsg_type = type;
	message->head.nlmsg_flags = NLM_F_REQUEST | flags;
	message->head.nlmsg_seq = __atomic_add_fetch(&sequence, 1, __ATOMIC_RELAXED);
	memcpy(NLMSG_DATA(&message->head), body, size);
}

void netlink_add(struct netlink_message *message, uint16_t type, const void *data, size_t size)
{
	const size_t at = NLMSG_ALIGN(message->head.nlmsg_len);
	struct rtattr *attribute = (struct rtattr *)(void *)(message->bytes + at);

	assert(at + RTA_SPACE(size) <= sizeof(message->bytes));
	memset(attribute, 0, RTA_SPACE(size));
	attribute->rta_type = type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(size);
	memcpy(RTA_DATA(attribute), data, size);
	message->head.nlmsg_len = (uint32_t)(at + RTA_LENGTH(size));
}

int netlink_ask(int fd, struct netlink_message *message)
{
	const struct nlmsghdr *head = &message->head;
	const uint32_t sequence = head->nlmsg_seq;

	if (send(fd, message->bytes, head->nlmsg_len, 0) < 0)
		return -errno;
	for (int i = 0; i < SKIPPED_MAX; i++) {
		ssize_t n = recv(fd, message->bytes, sizeof(message->bytes), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -EPROTO : -errno;
		if ((size_t)n < NLMSG_LENGTH(0) || head->nlmsg_len > (size_t)n ||
		    head->nlmsg_len < NLMSG_LENGTH(0))
			return -EPROTO;
		if (head->nlmsg_seq != sequence)
			continue;
		if (head->nlmsg_type != NLMSG_ERROR)
			return 0;
		if (head->nlmsg_len < NLMSG_LENGTH(sizeof(int)))
			return -EPROTO;
		return ((const struct nlmsgerr *)NLMSG_DATA(head))->error;
	}
	return -EPROTO;
}

static void attributes_clear(const struct rtattr **ret, unsigned int max)
{
	for (unsigned int i = 0; i <= max; i++)
		ret[i] = NULL;
}

static void attributes_walk(const struct rtattr *attribute, size_t left, const struct rtattr **ret,
			    unsigned int max)
{
	attributes_clear(ret, max);
	while (left >= sizeof(*attribute) && attribute->rta_len >= sizeof(*attribute) &&
	       attribute->rta_len <= left) {
		const unsigned int type = attribute->rta_type & NLA_TYPE_MASK;
		const size_t step = RTA_ALIGN(attribute->rta_len);

		if (type <= max)
			ret[type] = attribute;
		if (step >= left)
			break;
		left -= step;
		attribute =
			(const struct rtattr *)(const void *)((const uint8_t *)attribute + step);
	}
}

void netlink_attributes(const struct netlink_message *message, size_t size,
			const struct rtattr **ret, unsigned int max)
{
	const size_t at = NLMSG_SPACE(size), bytes = message->head.nlmsg_len;

	attributes_walk((const struct rtattr *)(const void *)(message->bytes + at),
			bytes > at ? bytes - at : 0, ret, max);
}

void netlink_nested(const struct rtattr *attribute, const struct rtattr **ret, unsigned int max)
{
	if (!attribute) {
		attributes_clear(ret, max);
		return;
	}
	attributes_walk(RTA_DATA(attribute), RTA_PAYLOAD(attribute), ret, max);
}

void netlink_get(const struct rtattr *attribute, void *to, size_t size)
{
	if (attribute && RTA_PAYLOAD(attribute) >= size)
		memcpy(to, RTA_DATA(attribute), size);
}

void netlink_get_text(const struct rtattr *attribute, char *to, size_t size)
{
	if (attribute)
		snprintf(to, size, "%.*s", (int)RTA_PAYLOAD(attribute),
			 (const char *)RTA_DATA(attribute));
}
