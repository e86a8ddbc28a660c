/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* features.c: see features.h. */
#include "xdp/features.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <unistd.h>

#include "xdp/netlink.h"

/* linux/netdev.h, which Debian 12 does not have */
#define NETDEV_DEV_GET        1
#define NETDEV_A_IFINDEX      1
#define NETDEV_A_XDP_FEATURES 3

/* Return: the number of the family "netdev"; negative errno. */
static int features_family(int fd)
{
	static const char name[] = "netdev";
	const struct genlmsghdr ask = { .cmd = CTRL_CMD_GETFAMILY, .version = 1 };
	const struct rtattr *at[CTRL_ATTR_FAMILY_NAME + 1];
	struct netlink_message message;
	uint16_t family = 0;
	int rc;

	netlink_begin(&message, GENL_ID_CTRL, 0, &ask, sizeof(ask));
	netlink_add(&message, CTRL_ATTR_FAMILY_NAME, name, sizeof(name));
	rc = netlink_ask(fd, &message);
	if (rc)
		return rc == -ENOENT ? -EOPNOTSUPP : rc;
	netlink_attributes(&message, sizeof(ask), at, CTRL_ATTR_FAMILY_NAME);
	netlink_get(at[CTRL_ATTR_FAMILY_ID], &family, sizeof(family));
	return family ? family : -EOPNOTSUPP;
}

int xdp_features(uint32_t ifindex, uint64_t *ret_features)
{
	const struct genlmsghdr ask = { .cmd = NETDEV_DEV_GET, .version = 1 };
	const struct rtattr *at[NETDEV_A_XDP_FEATURES + 1];
	struct netlink_message message;
	int fd = netlink_open(NETLINK_GENERIC, NULL), rc;

	if (fd < 0)
		return fd;
	rc = features_family(fd);
	if (rc > 0) {
		netlink_begin(&message, (uint16_t)rc, 0, &ask, sizeof(ask));
		netlink_add(&message, NETDEV_A_IFINDEX, &ifindex, sizeof(ifindex));
		rc = netlink_ask(fd, &message);
	}
	close(fd);
	if (rc)
		return rc;
	netlink_attributes(&message, sizeof(ask), at, NETDEV_A_XDP_FEATURES);
	if (!at[NETDEV_A_XDP_FEATURES])
		return -EOPNOTSUPP;
	netlink_get(at[NETDEV_A_XDP_FEATURES], ret_features, sizeof(*ret_features));
	return 0;
}
