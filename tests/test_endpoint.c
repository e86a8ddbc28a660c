/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_endpoint.c: every text form of endpoints and addresses, every refusal, and the edges
 * between. Nothing is opened and no name is resolved.
 */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

#include "plan/endpoint.h"
#include "taio.h"

enum {
	SOURCE = 0,
	DESTINATION = 1
};

static struct taio_endpoint parse_good(const char *text, int is_destination)
{
	struct taio_endpoint ep;
	int err;

	memset(&ep, 0xa5, sizeof(ep));
	err = taio_endpoint_parse(text, is_destination, &ep);
	cr_assert_eq(err, 0, "'%s' gave %d (%s)", text, err, strerror(-err));
	cr_assert_eq(ep.reserved, 0);
	return ep;
}

/* A refused text must leave the result alone. */
static void parse_bad(const char *text, int is_destination, int want)
{
	struct taio_endpoint ep, before;
	int err;

	memset(&ep, 0xa5, sizeof(ep));
	before = ep;
	err = taio_endpoint_parse(text, is_destination, &ep);
	cr_assert_eq(err, want, "'%s' gave %d, wanted %d", text, err, want);
	cr_assert(memcmp(&ep, &before, sizeof(ep)) == 0, "'%s' wrote a result", text);
}

static struct taio_addr addr_good(const char *text)
{
	struct taio_addr addr;
	int err;

	memset(&addr, 0xa5, sizeof(addr));
	err = addr_parse(text, &addr);
	cr_assert_eq(err, 0, "'%s' gave %d (%s)", text, err, strerror(-err));
	return addr;
}

static void addr_bad(const char *text, int want)
{
	struct taio_addr addr, before;
	int err;

	memset(&addr, 0xa5, sizeof(addr));
	before = addr;
	err = addr_parse(text, &addr);
	cr_assert_eq(err, want, "'%s' gave %d, wanted %d", text, err, want);
	cr_assert(memcmp(&addr, &before, sizeof(addr)) == 0, "'%s' wrote a result", text);
}

static void is_path(const char *text)
{
	for (int side = SOURCE; side <= DESTINATION; side++) {
		struct taio_endpoint ep = parse_good(text, side);

		cr_assert_eq(ep.type, TAIO_EP_PATH, "'%s'", text);
		cr_assert_eq(ep.ptr, text);
		cr_assert_eq(ep.fd, -1);
		cr_assert_eq(ep.offset, 0);
		cr_assert_eq(ep.length, TAIO_TO_END);
	}
}

static void is_address(const char *text)
{
	for (int side = SOURCE; side <= DESTINATION; side++) {
		struct taio_endpoint ep = parse_good(text, side);

		cr_assert_eq(ep.type, TAIO_EP_ADDRESS, "'%s'", text);
		cr_assert_eq(ep.ptr, text);
		cr_assert_eq(ep.fd, -1);
		cr_assert_eq(ep.length, TAIO_TO_END);
	}
}

static void host_is(const struct taio_addr *addr, const char *host, const char *port)
{
	cr_assert_eq(addr->host_len, strlen(host));
	cr_assert(strncmp(addr->host, host, addr->host_len) == 0);
	cr_assert_eq(addr->port_len, strlen(port));
	cr_assert(strncmp(addr->port, port, addr->port_len) == 0);
}

/* "<fill repeated n times><tail>", to be freed */
static char *long_text(const char *head, char fill, size_t n, const char *tail)
{
	size_t len = strlen(head);
	char *text = malloc(len + n + strlen(tail) + 1);

	cr_assert(text);
	memcpy(text, head, len);
	memset(text + len, fill, n);
	strcpy(text + len + n, tail);
	return text;
}

/* ---- files ---- */

Test(endpoint, any_name_without_prefix_or_suffix_is_a_path)
{
	is_path("/");
	is_path("/etc/passwd");
	is_path("file");
	is_path("dir/file");
	is_path("with space");
	is_path("--");
	is_path("-x");
	is_path("a:b");
	is_path("a:b:c");
	is_path("C:/x:y/z");
	is_path("host:80");
	is_path("tcp");
	is_path(":tcp");
	is_path("file:tcp");
	is_path("file:udp");
	is_path("2024:10:31");
	is_path("\xc3\xa9t\xc3\xa9");
}

Test(endpoint, a_leading_slash_or_dot_makes_a_path_of_anything)
{
	is_path("/host:80:tcp");
	is_path("./host:80:tcp");
	is_path("../host:80:tcp");
	is_path("./-");
	is_path("./null:");
	is_path("./zero:1K");
	is_path("./unix:/x");
	is_path("./listen:a:1:tcp");
}

Test(endpoint, words_that_only_resemble_a_prefix_are_paths)
{
	is_path("null");
	is_path("Null:");
	is_path("zero");
	is_path("unix");
	is_path("UNIX:/x");
	is_path("listening:x");
}

Test(endpoint, dash_is_standard_input_or_output_by_side)
{
	struct taio_endpoint ep = parse_good("-", SOURCE);

	cr_assert_eq(ep.type, TAIO_EP_FD);
	cr_assert_eq(ep.fd, 0);
	cr_assert_eq(ep.offset, TAIO_CURRENT);
	cr_assert_eq(ep.length, TAIO_TO_END);
	ep = parse_good("-", DESTINATION);
	cr_assert_eq(ep.type, TAIO_EP_FD);
	cr_assert_eq(ep.fd, 1);
}

Test(endpoint, nothing_is_no_endpoint)
{
	struct taio_endpoint ep;

	parse_bad("", SOURCE, -EINVAL);
	parse_bad("", DESTINATION, -EINVAL);
	cr_assert_eq(taio_endpoint_parse(NULL, SOURCE, &ep), -EINVAL);
	cr_assert_eq(taio_endpoint_parse("x", SOURCE, NULL), -EINVAL);
}

Test(endpoint, a_path_of_path_max_bytes_with_its_end_mark_is_the_longest)
{
	char *text = long_text("/", 'x', PATH_MAX - 2, "");

	cr_assert_eq(strlen(text), PATH_MAX - 1);
	is_path(text);
	free(text);
	text = long_text("/", 'x', PATH_MAX - 1, "");
	parse_bad(text, SOURCE, -ENAMETOOLONG);
	parse_bad(text, DESTINATION, -ENAMETOOLONG);
	free(text);
	text = long_text("listen:", 'x', PATH_MAX, ":1:tcp");
	parse_bad(text, SOURCE, -ENAMETOOLONG);
	addr_bad(text, -ENAMETOOLONG);
	free(text);
}

/* ---- null: and zero: ---- */

Test(endpoint, null_is_a_destination_only)
{
	struct taio_endpoint ep = parse_good("null:", DESTINATION);

	cr_assert_eq(ep.type, TAIO_EP_NULL);
	cr_assert_eq(ep.length, TAIO_TO_END);
	parse_bad("null:", SOURCE, -EOPNOTSUPP);
	parse_bad("null:x", DESTINATION, -EINVAL);
	parse_bad("null:x", SOURCE, -EINVAL);
}

Test(endpoint, zero_is_a_source_only)
{
	struct taio_endpoint ep = parse_good("zero:7", SOURCE);

	cr_assert_eq(ep.type, TAIO_EP_ZERO);
	cr_assert_eq(ep.length, 7);
	parse_bad("zero:7", DESTINATION, -EOPNOTSUPP);
}

Test(endpoint, mirror_is_a_source_of_two_to_four_names)
{
	struct taio_endpoint ep = parse_good("mirror:/a,b/c,d", SOURCE);

	cr_assert_eq(ep.type, TAIO_EP_MIRROR);
	cr_assert_str_eq(ep.ptr, "/a,b/c,d");
	cr_assert_eq(ep.length, TAIO_TO_END);
	parse_bad("mirror:a,b", DESTINATION, -EOPNOTSUPP);
	parse_bad("mirror:", SOURCE, -EINVAL);
	parse_bad("mirror:a", SOURCE, -EINVAL);
	parse_bad("mirror:a,", SOURCE, -EINVAL);
	parse_bad("mirror:,a", SOURCE, -EINVAL);
	parse_bad("mirror:a,,b", SOURCE, -EINVAL);
	parse_bad("mirror:a,b,c,d,e", SOURCE, -EINVAL);
	ep = parse_good("./mirror:a,b", SOURCE);
	cr_assert_eq(ep.type, TAIO_EP_PATH);
}

Test(endpoint, sizes_take_units_of_1024)
{
	static const struct {
		const char *text;
		uint64_t size;
	} good[] = {
		{ "zero:0", 0 },
		{ "zero:00", 0 },
		{ "zero:0T", 0 },
		{ "zero:1", 1 },
		{ "zero:4096", 4096 },
		{ "zero:0017", 17 },
		{ "zero:1K", 1024 },
		{ "zero:3M", 3 << 20 },
		{ "zero:2G", 2ULL << 30 },
		{ "zero:5T", 5ULL << 40 },
		{ "zero:9223372036854775807", INT64_MAX },
		{ "zero:8388607T", 8388607ULL << 40 },
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct taio_endpoint ep = parse_good(good[i].text, SOURCE);

		cr_assert_eq(ep.length, good[i].size, "%s", good[i].text);
	}
}

Test(endpoint, malformed_and_too_large_sizes_are_refused)
{
	static const char *const bad[] = {
		"zero:",
		"zero:K",
		"zero:1k",
		"zero:1KB",
		"zero:1KK",
		"zero:-1",
		"zero:+1",
		"zero: 1",
		"zero:1 ",
		"zero:1.5K",
		"zero:0x10",
		"zero:1P",
		"zero:80:tcp",
		"zero:8388608T",
		"zero:9223372036854775808",
		"zero:18446744073709551615",
		"zero:18446744073709551616",
		"zero:99999999999999999999999",
		"zero:18014398509481984K",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		parse_bad(bad[i], SOURCE, -EINVAL);
}

/* ---- addresses ---- */

Test(endpoint, tcp_and_udp_suffixes_make_an_address)
{
	is_address("192.168.0.1:80:tcp");
	is_address("192.168.0.1:80:udp");
	is_address("[::1]:80:tcp");
	is_address("localhost:65535:tcp");
	is_address("a:1:tcp");
	is_address("listen:0.0.0.0:0:tcp");
	is_address("listen:[::]:9:udp");
	is_address("unix:/run/x.sock");
	is_address("unix:@name");
	is_address("listen:unix:/run/x.sock");
}

Test(endpoint, address_errors_come_through)
{
	parse_bad("host:65536:tcp", SOURCE, -EINVAL);
	parse_bad("host:0:tcp", DESTINATION, -EINVAL);
	parse_bad("host::tcp", SOURCE, -EINVAL);
	parse_bad(":80:tcp", SOURCE, -EINVAL);
	parse_bad("dir/host:80:tcp", SOURCE, -EINVAL);
	parse_bad("listen:", SOURCE, -EINVAL);
	parse_bad("listen:file", SOURCE, -EINVAL);
	parse_bad("unix:", SOURCE, -EINVAL);
	parse_bad("listen:host:80:sctp", SOURCE, -EPROTONOSUPPORT);
}

Test(endpoint, unknown_protocol_behind_a_numeric_host_is_no_file_name)
{
	parse_bad("127.0.0.1:80:tpc", SOURCE, -EPROTONOSUPPORT);
	parse_bad("127.0.0.1:80:TCP", DESTINATION, -EPROTONOSUPPORT);
	parse_bad("[::1]:80:sctp", SOURCE, -EPROTONOSUPPORT);
	is_path("127.0.0.1:x:sctp");
	is_path("[x]:80:sctp");
	is_path("1.2.3:80:sctp");
}

Test(addr, parts_point_into_the_text)
{
	const char *text = "example.org:8080:tcp";
	struct taio_addr addr = addr_good(text);

	cr_assert_eq(addr.text, text);
	cr_assert_eq(addr.host, text);
	cr_assert_eq(addr.port, text + 12);
	host_is(&addr, "example.org", "8080");
	cr_assert_eq(addr.listen, 0);
	cr_assert_eq(addr.type, SOCK_STREAM);
	cr_assert_eq(addr.family, AF_UNSPEC);
	cr_assert_eq(addr.count, 0);
	cr_assert_eq(addr.current, 0);
	cr_assert_eq(addr.gai, 0);
	cr_assert_eq(addr.fd, -1);
	cr_assert_eq(addr.listen_fd, -1);
}

Test(addr, udp_is_a_datagram_socket)
{
	struct taio_addr addr = addr_good("h:5:udp");

	cr_assert_eq(addr.type, SOCK_DGRAM);
	host_is(&addr, "h", "5");
}

Test(addr, listen_is_taken_off_the_text)
{
	const char *text = "listen:127.0.0.1:0:tcp";
	struct taio_addr addr = addr_good(text);

	cr_assert_eq(addr.listen, 1);
	cr_assert_eq(addr.text, text + 7);
	host_is(&addr, "127.0.0.1", "0");
	addr = addr_good("listen:unix:@x");
	cr_assert_eq(addr.listen, 1);
	cr_assert_str_eq(addr.text, "unix:@x");
	/* a host may bear the name of a prefix, once */
	addr = addr_good("listen:listen:80:tcp");
	host_is(&addr, "listen", "80");
	addr_bad("listen:80:tcp", -EINVAL);
}

Test(addr, brackets_of_ipv6_are_taken_off)
{
	struct taio_addr addr = addr_good("[2001:db8::7]:443:tcp");

	host_is(&addr, "2001:db8::7", "443");
	addr = addr_good("[fe80::1%lo]:443:udp");
	host_is(&addr, "fe80::1%lo", "443");
	addr = addr_good("[::ffff:127.0.0.1]:1:tcp");
	host_is(&addr, "::ffff:127.0.0.1", "1");
	addr = addr_good("[0001:0002:0003:0004:0005:0006:255.255.255.255]:1:tcp");
	cr_assert_eq(addr.host_len, INET6_ADDRSTRLEN - 1);
}

Test(addr, unix_paths_have_no_host)
{
	struct taio_addr addr = addr_good("unix:/a/b:80:tcp");

	cr_assert_null(addr.host);
	cr_assert_null(addr.port);
	cr_assert_eq(addr.type, SOCK_STREAM);
	cr_assert_str_eq(addr.text, "unix:/a/b:80:tcp");
}

Test(addr, ports_from_0_to_65535_and_0_only_to_listen)
{
	addr_good("h:1:tcp");
	addr_good("h:65535:tcp");
	addr_good("h:00080:tcp");
	addr_good("listen:h:0:tcp");
	addr_good("listen:h:65535:udp");
	addr_bad("h:0:tcp", -EINVAL);
	addr_bad("h:000:tcp", -EINVAL);
	addr_bad("h:65536:tcp", -EINVAL);
	addr_bad("listen:h:65536:tcp", -EINVAL);
	addr_bad("h:4294967376:tcp", -EINVAL);
	addr_bad("h:18446744073709551696:tcp", -EINVAL);
	addr_bad("h:-1:tcp", -EINVAL);
	addr_bad("h:+1:tcp", -EINVAL);
	addr_bad("h: 1:tcp", -EINVAL);
	addr_bad("h:1 :tcp", -EINVAL);
	addr_bad("h:http:tcp", -EINVAL);
	addr_bad("h:0x50:tcp", -EINVAL);
}

Test(addr, missing_parts_are_malformed)
{
	addr_bad("", -EINVAL);
	addr_bad(":", -EINVAL);
	addr_bad("::", -EINVAL);
	addr_bad("h", -EINVAL);
	addr_bad("h:80", -EINVAL);
	addr_bad("h:80:", -EINVAL);
	addr_bad("h::tcp", -EINVAL);
	addr_bad(":80:tcp", -EINVAL);
	addr_bad("80:tcp", -EINVAL);
	addr_bad("listen:", -EINVAL);
	addr_bad("listen:h", -EINVAL);
	addr_bad("listen::80:tcp", -EINVAL);
	addr_bad("unix:", -EINVAL);
	addr_bad("unix:@", -EINVAL);
	addr_bad("listen:unix:", -EINVAL);
	addr_bad("/path", -EINVAL);
}

Test(addr, hosts_that_cannot_be_hosts_are_malformed)
{
	addr_bad("::1:80:tcp", -EINVAL);
	addr_bad("[]:80:tcp", -EINVAL);
	addr_bad("[:80:tcp", -EINVAL);
	addr_bad("]:80:tcp", -EINVAL);
	addr_bad("[::1:80:tcp", -EINVAL);
	addr_bad("::1]:80:tcp", -EINVAL);
	addr_bad("[::1]x:80:tcp", -EINVAL);
	addr_bad("[::g]:80:tcp", -EINVAL);
	addr_bad("[1:2:3]:80:tcp", -EINVAL);
	addr_bad("[127.0.0.1]:80:tcp", -EINVAL);
	addr_bad("[localhost]:80:tcp", -EINVAL);
	addr_bad("[fe80::1%]:80:tcp", -EINVAL);
	addr_bad("[%lo]:80:tcp", -EINVAL);
	addr_bad("[fe80::1%0123456789abcdef]:80:tcp", -EINVAL);
	addr_bad("[0000000000000000000000000000000000000000000000::1]:80:tcp", -EINVAL);
	addr_bad("a b:80:tcp", -EINVAL);
	addr_bad("a/b:80:tcp", -EINVAL);
	addr_bad("a\tb:80:tcp", -EINVAL);
	addr_bad("a\x7f:80:tcp", -EINVAL);
	addr_bad("fe80::1%lo:80:tcp", -EINVAL);
}

Test(addr, only_tcp_and_udp_are_known)
{
	addr_bad("h:80:sctp", -EPROTONOSUPPORT);
	addr_bad("h:80:TCP", -EPROTONOSUPPORT);
	addr_bad("h:80:tcp6", -EPROTONOSUPPORT);
	addr_bad("h:80:tc", -EPROTONOSUPPORT);
	addr_bad("listen:h:80:unix", -EPROTONOSUPPORT);
}

Test(addr, host_names_end_at_253_bytes)
{
	char *text = long_text("", 'h', 253, ":80:tcp");
	struct taio_addr addr = addr_good(text);

	cr_assert_eq(addr.host_len, 253);
	free(text);
	text = long_text("", 'h', 254, ":80:tcp");
	addr_bad(text, -ENAMETOOLONG);
	free(text);
}

Test(addr, unix_paths_end_at_the_size_of_sun_path)
{
	struct taio_addr addr;
	struct sockaddr_un sun;
	char *text = long_text("unix:/", 'p', sizeof(sun.sun_path) - 2, "");

	addr = addr_good(text);
	cr_assert_eq(addr_numeric(&addr), 0);
	cr_assert_eq(addr.peer_len[0], sizeof(sun));
	memcpy(&sun, &addr.peer[0], sizeof(sun));
	cr_assert_eq(strnlen(sun.sun_path, sizeof(sun.sun_path)), sizeof(sun.sun_path) - 1);
	free(text);
	text = long_text("unix:/", 'p', sizeof(sun.sun_path) - 1, "");
	addr_bad(text, -ENAMETOOLONG);
	free(text);
	text = long_text("unix:@", 'p', sizeof(sun.sun_path) - 1, "");
	addr_bad(text, -ENAMETOOLONG);
	free(text);
}

/* ---- numeric addresses ---- */

Test(numeric, ipv4)
{
	struct taio_addr addr = addr_good("192.168.0.1:80:tcp");
	struct sockaddr_in sin;

	cr_assert_eq(addr_numeric(&addr), 0);
	cr_assert_eq(addr.family, AF_INET);
	cr_assert_eq(addr.count, 1);
	cr_assert_eq(addr.current, 0);
	cr_assert_eq(addr.peer_len[0], sizeof(sin));
	memcpy(&sin, &addr.peer[0], sizeof(sin));
	cr_assert_eq(sin.sin_family, AF_INET);
	cr_assert_eq(ntohs(sin.sin_port), 80);
	cr_assert_eq(ntohl(sin.sin_addr.s_addr), 0xc0a80001);
}

Test(numeric, ipv6_with_and_without_scope)
{
	struct taio_addr addr = addr_good("[2001:db8::7]:65535:udp");
	struct sockaddr_in6 sin6;
	struct in6_addr want;

	cr_assert_eq(addr_numeric(&addr), 0);
	cr_assert_eq(addr.family, AF_INET6);
	cr_assert_eq(addr.peer_len[0], sizeof(sin6));
	memcpy(&sin6, &addr.peer[0], sizeof(sin6));
	inet_pton(AF_INET6, "2001:db8::7", &want);
	cr_assert(memcmp(&sin6.sin6_addr, &want, sizeof(want)) == 0);
	cr_assert_eq(ntohs(sin6.sin6_port), 65535);
	cr_assert_eq(sin6.sin6_scope_id, 0);

	addr = addr_good("[fe80::1%7]:80:tcp");
	cr_assert_eq(addr_numeric(&addr), 0);
	memcpy(&sin6, &addr.peer[0], sizeof(sin6));
	cr_assert_eq(sin6.sin6_scope_id, 7);
}

Test(numeric, scope_by_interface_name)
{
	struct taio_addr addr = addr_good("[fe80::1%lo]:80:tcp");
	struct taio_addr before;
	struct sockaddr_in6 sin6;

	if (if_nametoindex("lo") == 0)
		cr_skip_test("this network namespace has no interface lo");
	cr_assert_eq(addr_numeric(&addr), 0);
	memcpy(&sin6, &addr.peer[0], sizeof(sin6));
	cr_assert_eq(sin6.sin6_scope_id, if_nametoindex("lo"));

	addr = addr_good("[fe80::1%no-such-if]:80:tcp");
	before = addr;
	cr_assert_eq(addr_numeric(&addr), -ENODEV);
	cr_assert(memcmp(&addr, &before, sizeof(addr)) == 0);
}

Test(numeric, unix_path_and_abstract_name)
{
	struct taio_addr addr = addr_good("unix:/run/x.sock");
	struct sockaddr_un sun;

	cr_assert_eq(addr_numeric(&addr), 0);
	cr_assert_eq(addr.family, AF_UNIX);
	cr_assert_eq(addr.peer_len[0], offsetof(struct sockaddr_un, sun_path) + 12);
	memcpy(&sun, &addr.peer[0], sizeof(sun));
	cr_assert_str_eq(sun.sun_path, "/run/x.sock");

	addr = addr_good("listen:unix:@name");
	cr_assert_eq(addr_numeric(&addr), 0);
	cr_assert_eq(addr.peer_len[0], offsetof(struct sockaddr_un, sun_path) + 5);
	memcpy(&sun, &addr.peer[0], sizeof(sun));
	cr_assert(memcmp(sun.sun_path, "\0name", 5) == 0);
}

Test(numeric, names_are_left_to_a_resolver)
{
	static const char *const names[] = {
		"localhost:80:tcp", "example.org:80:udp", "127.1:80:tcp",    "1.2.3.4.5:80:tcp",
		"256.0.0.1:80:tcp", "1:80:tcp",           "01.2.3.4:80:tcp",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct taio_addr addr = addr_good(names[i]);
		struct taio_addr before = addr;

		cr_assert_eq(addr_numeric(&addr), -ENOENT, "%s", names[i]);
		cr_assert(memcmp(&addr, &before, sizeof(addr)) == 0, "%s", names[i]);
	}
}

/* Random texts made of the pieces that mean something: accepted or refused, never both, and what
 * was accepted keeps its promises. */
Test(endpoint, random_texts_keep_the_promises)
{
	static const char *const piece[] = {
		":",  ":",     "tcp", "udp", "unix:",     "listen:", "zero:", "null:",
		"[",  "]",     "/",   ".",   "-",         "@",       "%",     "0",
		"80", "65536", "K",   "::1", "127.0.0.1", "host",    " ",     "\xff",
	};
	unsigned int seed = (unsigned int)time(NULL);

	cr_log_info("seed %u", seed);
	fprintf(stderr, "# seed %u\n", seed);
	for (int round = 0; round < 200000; round++) {
		char text[128] = "";
		struct taio_endpoint ep;
		struct taio_addr addr;
		int pieces = rand_r(&seed) % 9;

		for (int i = 0; i < pieces; i++)
			strcat(text, piece[(unsigned int)rand_r(&seed) %
					   (sizeof(piece) / sizeof(piece[0]))]);
		if (taio_endpoint_parse(text, rand_r(&seed) & 1, &ep) < 0)
			continue;
		if (ep.type == TAIO_EP_PATH || ep.type == TAIO_EP_ADDRESS)
			cr_assert_eq(ep.ptr, text, "'%s'", text);
		if (ep.type != TAIO_EP_ADDRESS)
			continue;
		cr_assert_eq(addr_parse(text, &addr), 0, "'%s'", text);
		if (addr.host) {
			cr_assert(addr.host >= text, "'%s'", text);
			cr_assert(addr.host + addr.host_len < addr.port, "'%s'", text);
			cr_assert(addr.port + addr.port_len < text + strlen(text), "'%s'", text);
		}
		if (addr_numeric(&addr) == 0)
			cr_assert_leq(addr.peer_len[0], sizeof(addr.peer[0]), "'%s'", text);
	}
}
