/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* interface.c: see interface.h. */
#include "xdp/interface.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/capability.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 39 since 5.8; older headers lack it */
#ifndef CAP_BPF
#define CAP_BPF 39
#endif

static int interface_ethtool(int fd, const char *name, void *command)
{
	struct ifreq request = { .ifr_data = command };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

int xdp_interface_get(uint32_t ifindex, struct xdp_interface *ret)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	struct ethtool_drvinfo driver = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq request = { 0 };
	int fd, error = 0;

	memset(ret, 0, sizeof(*ret));
	if (!if_indextoname(ifindex, ret->name))
		return -ENODEV;
	ret->ifindex = ifindex;
	ret->queues = 1;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	memcpy(request.ifr_name, ret->name, sizeof(request.ifr_name));
	if (ioctl(fd, SIOCGIFMTU, &request) < 0)
		error = -errno;
	ret->mtu = (uint32_t)request.ifr_mtu;
	if (interface_ethtool(fd, ret->name, &driver) == 0)
		snprintf(ret->driver, sizeof(ret->driver), "%s", driver.driver);
	if (interface_ethtool(fd, ret->name, &channels) == 0 &&
	    channels.rx_count + channels.combined_count > 0)
		ret->queues = channels.rx_count + channels.combined_count;
	close(fd);
	return error;
}

static bool interface_has(const struct ifaddrs *entry, const struct sockaddr_storage *address)
{
	if (!entry->ifa_addr || entry->ifa_addr->sa_family != address->ss_family)
		return false;
	if (address->ss_family == AF_INET) {
		struct sockaddr_in have;

		memcpy(&have, entry->ifa_addr, sizeof(have));
		return have.sin_addr.s_addr ==
		       ((const struct sockaddr_in *)address)->sin_addr.s_addr;
	} else {
		struct sockaddr_in6 have;

		memcpy(&have, entry->ifa_addr, sizeof(have));
		return IN6_ARE_ADDR_EQUAL(&have.sin6_addr,
					  &((const struct sockaddr_in6 *)address)->sin6_addr);
	}
}

int xdp_interface_of(const struct sockaddr_storage *address)
{
	struct ifaddrs *all;
	int found = -ENODEV;

	if (address->ss_family != AF_INET && address->ss_family != AF_INET6)
		return -ENODEV;
	if (getifaddrs(&all) < 0)
		return -errno;
	for (const struct ifaddrs *entry = all; entry && found < 0; entry = entry->ifa_next)
		if (!(entry->ifa_flags & IFF_LOOPBACK) && interface_has(entry, address))
			found = (int)if_nametoindex(entry->ifa_name);
	freeifaddrs(all);
	return found > 0 ? found : -ENODEV;
}

static bool interface_is_one_of(const char *driver, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(driver, *list) == 0)
			return true;
	return false;
}

bool xdp_interface_is_virtual(const struct xdp_interface *interface)
{
	static const char *const drivers[] = { "veth", "virtio_net", "tun", NULL };

	return interface_is_one_of(interface->driver, drivers);
}

bool xdp_interface_is_named(const struct xdp_interface *interface)
{
	const char *named = secure_getenv("TAIO_XDP");
	const size_t length = strlen(interface->name);

	while (named && *named) {
		const size_t word = strcspn(named, ",");

		if (word == length && memcmp(named, interface->name, length) == 0)
			return true;
		named += word + (named[word] == ',');
	}
	return false;
}

bool xdp_interface_is_harmless(const struct xdp_interface *interface)
{
	static const char *const drivers[] = { "veth", "virtio_net", "tun", NULL };

	return xdp_interface_is_named(interface) || interface_is_one_of(interface->driver, drivers);
}

const char *xdp_missing(uint64_t wanted, char *room, size_t size)
{
	static const struct {
		uint8_t number;
		const char *name;
	} known[] = { { CAP_BPF, "CAP_BPF" },
		      { CAP_NET_ADMIN, "CAP_NET_ADMIN" },
		      { CAP_NET_RAW, "CAP_NET_RAW" } };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	uint64_t have;
	size_t used = 0;

	if (syscall(SYS_capget, &header, data))
		return NULL;
	have = data[0].effective | (uint64_t)data[1].effective << 32;
	if (have >> CAP_SYS_ADMIN & 1)
		have |= 1ULL << CAP_BPF;
	room[0] = '\0';
	for (unsigned int i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if ((wanted & ~have) >> known[i].number & 1)
			used += (size_t)snprintf(room + used, size - used, "%s%s",
						 used ? " and " : "", known[i].name);
	return used ? room : NULL;
}
