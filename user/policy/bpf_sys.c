/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* bpf_sys.c: see bpf_sys.h. */
#include "policy/bpf_sys.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bpf_sys(int command, union bpf_attr *attr)
{
	long rc = syscall(SYS_bpf, command, attr, sizeof(*attr));

	return rc < 0 ? -errno : (int)rc;
}

int bpf_sys_get(const char *path)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.pathname = (uintptr_t)path;
	return bpf_sys(BPF_OBJ_GET, &attr);
}

int bpf_sys_pin(int fd, const char *path)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.pathname = (uintptr_t)path;
	attr.bpf_fd = (uint32_t)fd;
	return bpf_sys(BPF_OBJ_PIN, &attr);
}

int bpf_sys_freeze(int map_fd)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)map_fd;
	return bpf_sys(BPF_MAP_FREEZE, &attr);
}

int bpf_sys_run(int prog_fd)
{
	union bpf_attr attr;
	int rc;

	memset(&attr, 0, sizeof(attr));
	attr.test.prog_fd = (uint32_t)prog_fd;
	rc = bpf_sys(BPF_PROG_TEST_RUN, &attr);
	return rc < 0 ? rc : (int)attr.test.retval;
}

static int bpf_sys_info(int fd, void *info, uint32_t size)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = size;
	attr.info.info = (uintptr_t)info;
	return bpf_sys(BPF_OBJ_GET_INFO_BY_FD, &attr);
}

uint32_t bpf_sys_verified(int prog_fd)
{
	struct bpf_prog_info info;

	memset(&info, 0, sizeof(info));
	return bpf_sys_info(prog_fd, &info, sizeof(info)) < 0 ? 0 : info.verified_insns;
}

int bpf_sys_shape(int map_fd, struct bpf_sys_shape *ret_shape)
{
	struct bpf_map_info info;
	int rc;

	memset(&info, 0, sizeof(info));
	rc = bpf_sys_info(map_fd, &info, sizeof(info));
	if (rc < 0)
		return rc;
	ret_shape->type = info.type;
	ret_shape->key_size = info.key_size;
	ret_shape->value_size = info.value_size;
	ret_shape->max_entries = info.max_entries;
	ret_shape->flags = info.map_flags;
	ret_shape->id = info.id;
	memcpy(ret_shape->name, info.name, sizeof(ret_shape->name));
	return 0;
}

/* Return: the program's number, if it has that name and uses that map; else 0. */
static uint32_t bpf_sys_uses(int prog_fd, const char *name, uint32_t map_id)
{
	struct bpf_prog_info info;
	uint32_t ids[32] = { 0 };

	memset(&info, 0, sizeof(info));
	info.nr_map_ids = sizeof(ids) / sizeof(ids[0]);
	info.map_ids = (uintptr_t)ids;
	if (bpf_sys_info(prog_fd, &info, sizeof(info)) < 0 ||
	    strncmp(info.name, name, sizeof(info.name) - 1))
		return 0;
	for (uint32_t i = 0; i < info.nr_map_ids && i < sizeof(ids) / sizeof(ids[0]); i++)
		if (ids[i] == map_id)
			return info.id;
	return 0;
}

/* The next program after number *id. Return: its descriptor; -ENOENT: no more. */
static int bpf_sys_next(uint32_t *id)
{
	union bpf_attr attr;
	int rc;

	do {
		memset(&attr, 0, sizeof(attr));
		attr.start_id = *id;
		rc = bpf_sys(BPF_PROG_GET_NEXT_ID, &attr);
		if (rc < 0)
			return rc;
		*id = attr.next_id;
		memset(&attr, 0, sizeof(attr));
		attr.prog_id = *id;
		rc = bpf_sys(BPF_PROG_GET_FD_BY_ID, &attr);
	} while (rc == -ENOENT); /* it has just gone */
	return rc;
}

int bpf_sys_find_user(const char *name, int map_fd, int but)
{
	struct bpf_sys_shape shape;
	int fd, newest = -ENOENT, rc = bpf_sys_shape(map_fd, &shape);
	uint32_t id = 0, but_id;

	if (rc < 0)
		return rc;
	but_id = bpf_sys_uses(but, name, shape.id);
	while ((fd = bpf_sys_next(&id)) >= 0) {
		if (id != but_id && bpf_sys_uses(fd, name, shape.id)) {
			if (newest >= 0)
				close(newest);
			newest = fd;
		} else {
			close(fd);
		}
	}
	return newest >= 0 || fd == -ENOENT ? newest : fd;
}
