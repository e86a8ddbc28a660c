/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * fuzz_endpoint.c: libFuzzer target for the text forms of endpoints. Any bytes may come in; what
 * comes out is checked against what taio.h and endpoint.h promise. Run by `make fuzz`.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "plan/endpoint.h"
#include "taio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(int kept)
{
	if (!kept)
		abort();
}

static void check_addr(const char *text, int accepted)
{
	const char *end = text + strlen(text);
	struct taio_addr addr;
	int err = addr_parse(text, &addr);

	promise(err == 0 || err == -EINVAL || err == -ENAMETOOLONG || err == -EPROTONOSUPPORT);
	promise(!accepted || err == 0);
	if (err)
		return;
	promise(addr.text == text || (addr.listen && addr.text == text + strlen("listen:")));
	promise(addr.fd == -1 && addr.listen_fd == -1 && addr.count == 0);
	if (addr.host) {
		promise(addr.host >= addr.text && addr.host_len > 0 && addr.port_len > 0);
		promise(addr.host + addr.host_len < addr.port);
		promise(addr.port + addr.port_len < end);
	}
	err = addr_numeric(&addr);
	promise(err == 0 || err == -ENOENT || err == -ENODEV);
	promise(err == -ENOENT ? addr.count == 0 && addr.host : 1);
	if (err)
		return;
	promise(addr.count == 1 && addr.current == 0);
	promise(addr.peer_len[0] > 0 && addr.peer_len[0] <= sizeof(addr.peer[0]));
	promise(addr.peer[0].ss_family == addr.family);
	promise((addr.family == AF_UNIX) == !addr.host);
}

static int endpoint_error_is_known(int err)
{
	return err == -EINVAL || err == -ENAMETOOLONG || err == -EPROTONOSUPPORT ||
	       err == -EOPNOTSUPP;
}

static void check_endpoint(const char *text, int is_destination)
{
	struct taio_endpoint ep, untouched;
	int err;

	memset(&ep, 0x5a, sizeof(ep));
	untouched = ep;
	err = taio_endpoint_parse(text, is_destination, &ep);
	if (err) {
		promise(endpoint_error_is_known(err));
		promise(memcmp(&ep, &untouched, sizeof(ep)) == 0);
		return;
	}
	switch (ep.type) {
	case TAIO_EP_PATH:
		promise(ep.ptr == text && strlen(text) < PATH_MAX);
		break;
	case TAIO_EP_ADDRESS:
		promise(ep.ptr == text && text[0] != '/');
		check_addr(text, 1);
		break;
	case TAIO_EP_FD:
		promise(strcmp(text, "-") == 0 && ep.fd == (is_destination ? 1 : 0));
		break;
	case TAIO_EP_NULL:
		promise(is_destination);
		break;
	case TAIO_EP_ZERO:
		promise(!is_destination && ep.length != TAIO_TO_END);
		break;
	case TAIO_EP_MIRROR:
		promise(!is_destination && strchr(ep.ptr, ','));
		break;
	default:
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1); /* exactly as long, so that a read beyond it is seen */

	if (!text)
		return -1;
	memcpy(text, data, size);
	text[size] = '\0';
	check_endpoint(text, 0);
	check_endpoint(text, 1);
	check_addr(text, 0);
	free(text);
	return 0;
}
