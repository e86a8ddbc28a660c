/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* program.c: see program.h. */
#include "xdp/program.h"

#include <errno.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libbpf/bpf_place.h"
#include "libbpf/libbpf_dl.h"

#ifndef CAP_BPF
#define CAP_BPF 39
#endif

#define PROGRAM_LOG 65536

struct xdp_program {
	struct libbpf lib;
	struct bpf_object *object;
	struct taio_xdp_flow *flows; /* the program's map */
	uint64_t used;               /* mask of flows */
	int fd, link, keys, sockets;
};

static int program_why(int error, char *why, size_t size, const char *sentence)
{
	snprintf(why, size, "%s", sentence);
	return error;
}

static struct bpf_program *program_choose(struct xdp_program *p, bool frags)
{
	static const char *const names[] = { "taio_xdp_plain", "taio_xdp_frags" };
	struct bpf_program *wanted =
		p->lib.bpf_object__find_program_by_name(p->object, names[frags]);
	struct bpf_program *other =
		p->lib.bpf_object__find_program_by_name(p->object, names[!frags]);

	if (wanted && other)
		p->lib.bpf_program__set_autoload(other, false);
	return wanted;
}

/* The last line of the verifier's log that says what is wrong. */
static int program_refused(int error, const char *log, char *why, size_t size)
{
	char room[64];
	const char *missing =
		xdp_missing(1ULL << CAP_BPF | 1ULL << CAP_NET_ADMIN, room, sizeof(room));
	const char *at = log, *last = log;

	if (missing) {
		snprintf(why, size, "%s is missing", missing);
		return -EPERM;
	}
	for (const char *end; (end = strchr(at, '\n')); at = end + 1)
		if (strncmp(at, "processed ", 10) && strncmp(at, "verification ", 13) &&
		    strncmp(at, "stack depth ", 12) && end > at)
			last = at;
	if (*last)
		snprintf(why, size, "the kernel refused the program: %.*s",
			 (int)strcspn(last, "\n"), last);
	else
		snprintf(why, size, "the kernel refused the program: %s", strerror(-error));
	return error;
}

static int program_map(struct xdp_program *p, const char *name)
{
	struct bpf_map *map = p->lib.bpf_object__find_map_by_name(p->object, name);

	return map ? p->lib.bpf_map__fd(map) : -ENOENT;
}

static int program_start(struct xdp_program *p, bool frags, char *why, size_t size)
{
	char path[PATH_MAX], *log;
	struct bpf_program *program;
	int error, flows;

	if (bpf_place_find("bpf", "xdp_flow", path, sizeof(path)))
		return program_why(-ENOENT, why, size,
				   "xdp_flow.bpf.o is not installed (built without clang?)");
	p->object = p->lib.bpf_object__open_file(path, NULL);
	if (!p->object)
		return program_why(-EBADMSG, why, size, "libbpf cannot read xdp_flow.bpf.o");
	program = program_choose(p, frags);
	log = calloc(1, PROGRAM_LOG);
	if (!program || !log) {
		free(log);
		return program_why(-ENOMEM, why, size, "no memory, or another xdp_flow.bpf.o");
	}
	p->lib.bpf_program__set_log_buf(program, log, PROGRAM_LOG);
	error = p->lib.bpf_object__load(p->object);
	if (error)
		error = program_refused(error, log, why, size);
	p->lib.bpf_program__set_log_buf(program, NULL, 0);
	free(log);
	if (error)
		return error;
	p->fd = p->lib.bpf_program__fd(program);
	p->keys = program_map(p, "taio_xdp_keys");
	p->sockets = program_map(p, "taio_xdp_socks");
	flows = program_map(p, "taio_xdp_flow");
	if (p->keys < 0 || p->sockets < 0 || flows < 0)
		return program_why(-EBADMSG, why, size, "another xdp_flow.bpf.o");
	p->flows = mmap(NULL, TAIO_XDP_FLOWS * sizeof(*p->flows), PROT_READ | PROT_WRITE,
			MAP_SHARED, flows, 0);
	if (p->flows == MAP_FAILED) {
		p->flows = NULL;
		return program_why(-errno, why, size, "its map cannot be mapped");
	}
	return 0;
}

int xdp_program_load(struct xdp_program **ret, bool frags, char *why, size_t size)
{
	struct xdp_program *p = calloc(1, sizeof(*p));
	int error;

	if (!p)
		return program_why(-ENOMEM, why, size, "no memory");
	p->fd = p->link = -1;
	error = libbpf_dl_open(&p->lib, why, size);
	if (!error)
		error = program_start(p, frags, why, size);
	if (error) {
		xdp_program_close(p);
		return error;
	}
	*ret = p;
	return 0;
}

void xdp_program_close(struct xdp_program *p)
{
	if (!p)
		return;
	if (p->link >= 0)
		close(p->link);
	if (p->flows)
		munmap(p->flows, TAIO_XDP_FLOWS * sizeof(*p->flows));
	if (p->object)
		p->lib.bpf_object__close(p->object);
	libbpf_dl_close(&p->lib);
	free(p);
}

/* ---- attaching ------------------------------------------------------------------------------- */

/* Whose program is there already? */
static int program_busy(struct xdp_program *p, const struct xdp_interface *interface, char *why,
			size_t size)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	struct bpf_prog_info info = { 0 };
	__u32 length = sizeof(info);
	int fd = -1;

	if (p->lib.bpf_xdp_query((int)interface->ifindex, 0, &query) == 0 && query.prog_id)
		fd = p->lib.bpf_prog_get_fd_by_id(query.prog_id);
	if (fd >= 0 && p->lib.bpf_obj_get_info_by_fd(fd, &info, &length))
		info.name[0] = '\0';
	if (fd >= 0)
		close(fd);
	if (strcmp(info.name, "xdp_dispatcher") == 0)
		snprintf(why, size, "%s: libxdp's dispatcher is attached with other programs",
			 interface->name);
	else if (strncmp(info.name, "taio_xdp", 8) == 0)
		snprintf(why, size, "%s: another engine receives there", interface->name);
	else
		snprintf(why, size, "%s: another XDP program is attached%s%s", interface->name,
			 info.name[0] ? ": " : "", info.name);
	return -EBUSY;
}

int xdp_program_attach(struct xdp_program *p, const struct xdp_interface *interface, char *why,
		       size_t size)
{
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = XDP_FLAGS_DRV_MODE);
	char room[64];
	const char *missing;
	int fd = p->lib.bpf_link_create(p->fd, (int)interface->ifindex, BPF_XDP, &options);

	if (fd >= 0) {
		p->link = fd;
		return 0;
	}
	missing = xdp_missing(1ULL << CAP_NET_ADMIN, room, sizeof(room));
	switch (-fd) {
	case EBUSY:
	case EEXIST:
		return program_busy(p, interface, why, size);
	case EPERM:
		snprintf(why, size, "%s is missing", missing ? missing : "a permission");
		return fd;
	case ERANGE:
		snprintf(why, size, "%s: the driver has no native XDP for an MTU of %u",
			 interface->name, interface->mtu);
		return -EOPNOTSUPP;
	case EOPNOTSUPP:
		snprintf(why, size,
			 "%s: driver %s has no native XDP, and generic XDP would lose packets "
			 "that GSO or GRO joined",
			 interface->name, interface->driver[0] ? interface->driver : "unknown");
		return fd;
	default:
		snprintf(why, size, "%s: the program cannot be attached: %s", interface->name,
			 strerror(-fd));
		return fd;
	}
}

bool xdp_program_is_attached(const struct xdp_program *p)
{
	struct bpf_link_info info = { 0 };
	__u32 length = sizeof(info);

	return p->link >= 0 && p->lib.bpf_obj_get_info_by_fd(p->link, &info, &length) == 0 &&
	       info.xdp.ifindex != 0;
}

/* ---- maps ------------------------------------------------------------------------------------ */

int xdp_program_socket(struct xdp_program *p, uint32_t queue, int fd)
{
	if (fd < 0)
		return p->lib.bpf_map_delete_elem(p->sockets, &queue);
	return p->lib.bpf_map_update_elem(p->sockets, &queue, &fd, BPF_ANY);
}

int xdp_program_add(struct xdp_program *p, const struct taio_xdp_key *key)
{
	uint32_t flow;
	int error;

	_Static_assert(TAIO_XDP_FLOWS == 64, "a mask has a bit for each flow");
	if (p->used == UINT64_MAX)
		return -ENOSPC;
	flow = (uint32_t)__builtin_ctzll(~p->used);
	memset(&p->flows[flow], 0, sizeof(p->flows[flow]));
	error = p->lib.bpf_map_update_elem(p->keys, key, &flow, BPF_NOEXIST);
	if (error)
		return error == -E2BIG ? -ENOSPC : error;
	p->used |= 1ULL << flow;
	return (int)flow;
}

void xdp_program_remove(struct xdp_program *p, unsigned int flow, const struct taio_xdp_key *key)
{
	xdp_program_set(p, flow, TAIO_XDP_PASS);
	(void)p->lib.bpf_map_delete_elem(p->keys, key);
	p->used &= ~(1ULL << flow);
}

void xdp_program_set(struct xdp_program *p, unsigned int flow, enum taio_xdp_state state)
{
	__atomic_store_n(&p->flows[flow].state, (uint32_t)state, __ATOMIC_SEQ_CST);
}

const volatile struct taio_xdp_flow *xdp_program_flow(const struct xdp_program *p,
						      unsigned int flow)
{
	return &p->flows[flow];
}

int xdp_program_fd(const struct xdp_program *p)
{
	return p->fd;
}
