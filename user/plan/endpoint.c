/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * endpoint.c: reads the text forms of endpoints and addresses. It knows syntax only: whether a
 * file exists or a host answers is found out by the steps of a request.
 *
 * What makes a text an address and not a file name: a known prefix ("unix:", "listen:"), or the
 * ending ":tcp" or ":udp" behind a port field. A text that starts with "/", "./" or "../" is a
 * file name whatever else it holds.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/un.h>

#include "plan/endpoint.h"
#include "taio.h"

#define HOST_MAX 253 /* longest name that DNS can hold (RFC 1035, in text form) */
#define PORT_MAX 65535

static_assert(PATH_MAX <= UINT16_MAX, "host_len and port_len must hold any length");

/* A piece of a text. */
struct span {
	const char *at;
	size_t len;
};

/* The fields of HOST:PORT:PROTOCOL. */
struct fields {
	struct span host, port, protocol;
};

static const char *text_after(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

static bool span_is(struct span span, const char *word)
{
	return span.len == strlen(word) && memcmp(span.at, word, span.len) == 0;
}

/* Decimal number up to @max, any number of leading zeros. Return: 0 or -EINVAL. */
static int span_number(struct span span, uint64_t max, uint64_t *ret_number)
{
	uint64_t number = 0;

	assert(max >= 9);
	if (span.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < span.len; i++) {
		unsigned int digit = (unsigned int)(unsigned char)span.at[i] - '0';

		if (digit > 9 || number > (max - digit) / 10)
			return -EINVAL;
		number = number * 10 + digit;
	}
	*ret_number = number;
	return 0;
}

/* Splits at the last two colons, as the colons of an IPv6 address come before them. */
static bool fields_split(const char *text, struct fields *ret_fields)
{
	const char *second = strrchr(text, ':');
	const char *first;

	if (!second || second == text)
		return false;
	first = memrchr(text, ':', (size_t)(second - text));
	if (!first)
		return false;
	ret_fields->host = (struct span){ text, (size_t)(first - text) };
	ret_fields->port = (struct span){ first + 1, (size_t)(second - first - 1) };
	ret_fields->protocol = (struct span){ second + 1, strlen(second + 1) };
	return true;
}

static bool host_is_bracketed(struct span host)
{
	return host.len >= 2 && host.at[0] == '[' && host.at[host.len - 1] == ']';
}

/* An IPv6 address without brackets. The %SCOPE is cut off and given back. */
static bool host_is_ipv6(struct span host, struct in6_addr *ret_addr, struct span *ret_scope)
{
	const char *percent = memchr(host.at, '%', host.len);
	char digits[INET6_ADDRSTRLEN];
	struct span scope = { host.at + host.len, 0 };

	if (percent) {
		scope.at = percent + 1;
		scope.len = (size_t)(host.at + host.len - scope.at);
		host.len = (size_t)(percent - host.at);
		if (scope.len == 0 || scope.len >= IF_NAMESIZE)
			return false;
	}
	if (host.len >= sizeof(digits))
		return false;
	memcpy(digits, host.at, host.len);
	digits[host.len] = '\0';
	*ret_scope = scope;
	return inet_pton(AF_INET6, digits, ret_addr) == 1;
}

static bool host_is_ipv4(struct span host, struct in_addr *ret_addr)
{
	char digits[INET_ADDRSTRLEN];

	if (host.len >= sizeof(digits))
		return false;
	memcpy(digits, host.at, host.len);
	digits[host.len] = '\0';
	return inet_pton(AF_INET, digits, ret_addr) == 1;
}

/* Takes the brackets off. Return: 0, -EINVAL, -ENAMETOOLONG. */
static int host_check(struct span *host)
{
	struct in6_addr unused_addr;
	struct span unused_scope;

	if (host_is_bracketed(*host)) {
		host->at++;
		host->len -= 2;
		return host_is_ipv6(*host, &unused_addr, &unused_scope) ? 0 : -EINVAL;
	}
	if (host->len == 0)
		return -EINVAL;
	for (size_t i = 0; i < host->len; i++) {
		unsigned char c = (unsigned char)host->at[i];

		if (c <= ' ' || c == 0x7f || strchr("/:[]%", c))
			return -EINVAL;
	}
	return host->len > HOST_MAX ? -ENAMETOOLONG : 0;
}

/* "PATH" or "@NAME", behind "unix:". */
static int addr_check_unix(const char *path)
{
	const struct sockaddr_un *sun = NULL;
	size_t len = strlen(path);

	if (len == 0 || (path[0] == '@' && len == 1))
		return -EINVAL;
	/* one byte is kept for the end mark of a path and for the mark of an abstract name */
	return len >= sizeof(sun->sun_path) ? -ENAMETOOLONG : 0;
}

static int addr_parse_inet(struct taio_addr *addr)
{
	struct fields fields;
	uint64_t port;
	int err;

	if (!fields_split(addr->text, &fields))
		return -EINVAL;
	err = host_check(&fields.host);
	if (err)
		return err;
	err = span_number(fields.port, PORT_MAX, &port);
	if (err)
		return err;
	if (port == 0 && !addr->listen)
		return -EINVAL;
	if (fields.protocol.len == 0)
		return -EINVAL;
	if (span_is(fields.protocol, "tcp"))
		addr->type = SOCK_STREAM;
	else if (span_is(fields.protocol, "udp"))
		addr->type = SOCK_DGRAM;
	else
		return -EPROTONOSUPPORT;
	addr->host = fields.host.at;
	addr->host_len = (uint16_t)fields.host.len;
	addr->port = fields.port.at;
	addr->port_len = (uint16_t)fields.port.len;
	return 0;
}

int addr_parse(const char *text, struct taio_addr *ret_addr)
{
	struct taio_addr addr;
	const char *rest, *path;
	int err;

	assert(text);
	assert(ret_addr);
	if (strnlen(text, PATH_MAX) == PATH_MAX)
		return -ENAMETOOLONG;
	memset(&addr, 0, sizeof(addr));
	addr.fd = -1;
	addr.listen_fd = -1;
	addr.text = text;
	rest = text_after(text, "listen:");
	if (rest) {
		addr.listen = 1;
		addr.text = rest;
	}
	path = text_after(addr.text, "unix:");
	if (path) {
		addr.type = SOCK_STREAM;
		err = addr_check_unix(path);
	} else {
		err = addr_parse_inet(&addr);
	}
	if (err)
		return err;
	assert(addr.type == SOCK_STREAM || addr.type == SOCK_DGRAM);
	*ret_addr = addr;
	return 0;
}

static void addr_numeric_unix(struct taio_addr *addr)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)&addr->peer[0];
	const char *path = text_after(addr->text, "unix:");
	size_t len;

	assert(path);
	len = strlen(path);
	assert(len > 0);
	assert(len < sizeof(sun->sun_path));
	memset(&addr->peer[0], 0, sizeof(addr->peer[0]));
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path, path, len);
	addr->peer_len[0] = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + len);
	/* the length ends an abstract name, a zero byte ends a path */
	if (path[0] == '@')
		sun->sun_path[0] = '\0';
	else
		addr->peer_len[0]++;
	addr->family = AF_UNIX;
}

/* The index of a network interface by name or number. Return: 0: there is none. */
static uint32_t scope_index(struct span scope)
{
	char name[IF_NAMESIZE];
	uint64_t number;

	if (span_number(scope, UINT32_MAX, &number) == 0)
		return (uint32_t)number;
	memcpy(name, scope.at, scope.len);
	name[scope.len] = '\0';
	return if_nametoindex(name);
}

static int addr_numeric_inet(struct taio_addr *addr, uint16_t port)
{
	struct span host = { addr->host, addr->host_len };
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct span scope;

	if (host_is_ipv4(host, &sin.sin_addr)) {
		memset(&addr->peer[0], 0, sizeof(addr->peer[0]));
		memcpy(&addr->peer[0], &sin, sizeof(sin));
		addr->peer_len[0] = sizeof(sin);
		addr->family = AF_INET;
		return 0;
	}
	if (!host_is_ipv6(host, &sin6.sin6_addr, &scope))
		return -ENOENT;
	if (scope.len > 0) {
		sin6.sin6_scope_id = scope_index(scope);
		if (sin6.sin6_scope_id == 0)
			return -ENODEV;
	}
	memset(&addr->peer[0], 0, sizeof(addr->peer[0]));
	memcpy(&addr->peer[0], &sin6, sizeof(sin6));
	addr->peer_len[0] = sizeof(sin6);
	addr->family = AF_INET6;
	return 0;
}

int addr_numeric(struct taio_addr *addr)
{
	uint64_t port = 0;
	int err;

	assert(addr);
	assert(addr->text);
	if (!addr->host) {
		addr_numeric_unix(addr);
	} else {
		err = span_number((struct span){ addr->port, addr->port_len }, PORT_MAX, &port);
		assert(err == 0);
		err = addr_numeric_inet(addr, (uint16_t)port);
		if (err)
			return err;
	}
	addr->current = 0;
	addr->count = 1;
	return 0;
}

/*
 * Has it the shape of an address without a prefix? An unknown protocol behind a numeric host and
 * a port is no file name either: taking it for one would hide a slip of the pen.
 */
static bool text_is_address(const char *text)
{
	struct fields fields;
	struct in_addr ipv4;
	uint64_t port;

	if (!fields_split(text, &fields))
		return false;
	if (span_is(fields.protocol, "tcp") || span_is(fields.protocol, "udp"))
		return true;
	if (span_number(fields.port, PORT_MAX, &port) < 0)
		return false;
	return host_is_ipv4(fields.host, &ipv4) ||
	       (host_is_bracketed(fields.host) && host_check(&fields.host) == 0);
}

/* SIZE of "zero:SIZE". No larger than a file can be, so that it is never TAIO_TO_END. */
static int size_parse(const char *text, uint64_t *ret_size)
{
	static const char units[] = "KMGT";
	struct span digits = { text, strlen(text) };
	unsigned int shift = 0;
	uint64_t number;
	int err;

	if (digits.len > 0) {
		const char *unit = strchr(units, text[digits.len - 1]);

		if (unit) {
			shift = 10 * (unsigned int)(unit - units + 1);
			digits.len--;
		}
	}
	err = span_number(digits, (uint64_t)INT64_MAX >> shift, &number);
	if (err)
		return err;
	*ret_size = number << shift;
	return 0;
}

static int endpoint_parse_zero(const char *size_text, int is_destination,
			       struct taio_endpoint *ret_endpoint)
{
	uint64_t size;
	int err;

	if (is_destination)
		return -EOPNOTSUPP;
	err = size_parse(size_text, &size);
	if (err)
		return err;
	*ret_endpoint = taio_zero(size);
	return 0;
}

static int endpoint_parse_null(const char *rest, int is_destination,
			       struct taio_endpoint *ret_endpoint)
{
	if (rest[0] != '\0')
		return -EINVAL;
	if (!is_destination)
		return -EOPNOTSUPP;
	*ret_endpoint = taio_null();
	return 0;
}

/* How many names there are, and that none is empty. */
static int endpoint_parse_mirror(const char *names, int is_destination,
				 struct taio_endpoint *ret_endpoint)
{
	unsigned int count = 1;

	if (is_destination)
		return -EOPNOTSUPP;
	for (const char *comma = strchr(names, ','); comma; comma = strchr(comma + 1, ','))
		count++;
	if (count < 2 || count > TAIO_REPLICAS || names[0] == ',' || strstr(names, ",,") ||
	    names[strlen(names) - 1] == ',')
		return -EINVAL;
	*ret_endpoint = taio_mirror(names);
	return 0;
}

int taio_endpoint_parse(const char *text, int is_destination, struct taio_endpoint *ret_endpoint)
{
	struct taio_addr addr;
	const char *rest;
	int err;

	if (!text || !ret_endpoint || text[0] == '\0')
		return -EINVAL;
	if (strnlen(text, PATH_MAX) == PATH_MAX)
		return -ENAMETOOLONG;
	if (strcmp(text, "-") == 0) {
		*ret_endpoint = taio_descriptor(is_destination ? 1 : 0);
		return 0;
	}
	if (text[0] != '/' && !text_after(text, "./") && !text_after(text, "../")) {
		rest = text_after(text, "null:");
		if (rest)
			return endpoint_parse_null(rest, is_destination, ret_endpoint);
		rest = text_after(text, "zero:");
		if (rest)
			return endpoint_parse_zero(rest, is_destination, ret_endpoint);
		rest = text_after(text, "mirror:");
		if (rest)
			return endpoint_parse_mirror(rest, is_destination, ret_endpoint);
		if (text_after(text, "unix:") || text_after(text, "listen:") ||
		    text_is_address(text)) {
			err = addr_parse(text, &addr);
			if (err)
				return err;
			*ret_endpoint = taio_address(text);
			return 0;
		}
	}
	*ret_endpoint = taio_path(text);
	return 0;
}
