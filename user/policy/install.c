/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * install.c: puts the machine-wide policy into /sys/fs/bpf/taio, changes it and takes it away; see
 * machine.h. A new directory is filled under another name and renamed at the end, so an engine
 * finds all of it or nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "policy/bpf_source.h"
#include "policy/bpf_sys.h"
#include "policy/machine.h"

/* Who may open what: engines of everybody need these; the rest is the policy's and root's. */
static mode_t install_map_mode(unsigned int map)
{
	return object_shapes[map].use == OBJECT_SHARED ? 0666 : 0600;
}

static mode_t install_prog_mode(unsigned int prog)
{
	return prog == OBJECT_TICK ? 0666 : 0600;
}

static int install_is_frozen(unsigned int map)
{
	return map == OBJECT_CTL || map == OBJECT_LAT || map == OBJECT_PRICE;
}

/* ---- the file system ---- */

static int install_mount(void (*say)(const char *line), char *why, size_t why_size)
{
	struct statfs fs;
	struct stat st;

	if (statfs(MACHINE_BPFFS, &fs) < 0 || (unsigned long)fs.f_type != BPF_FS_MAGIC) {
		if (mount("bpf", MACHINE_BPFFS, "bpf", 0, "mode=0755") < 0)
			return policy_why(-errno, why, why_size,
					  "%s is no bpf file system and cannot be made one: %s",
					  MACHINE_BPFFS, strerror(errno));
		say("mounted the bpf file system on " MACHINE_BPFFS);
	}
	if (stat(MACHINE_BPFFS, &st) == 0 && !(st.st_mode & S_IXOTH)) {
		if (chmod(MACHINE_BPFFS, (st.st_mode & 07777) | S_IXUSR | S_IXGRP | S_IXOTH) < 0)
			return policy_why(-errno, why, why_size, "%s: %s", MACHINE_BPFFS,
					  strerror(errno));
		say("other users may now pass through " MACHINE_BPFFS
		    " (what others have pinned there keeps its own permissions)");
	}
	return 0;
}

static int install_pin(int fd, const char *directory, const char *name, mode_t mode, char *why,
		       size_t why_size)
{
	char path[128];
	int err;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	err = bpf_sys_pin(fd, path);
	if (!err && chmod(path, mode) < 0)
		err = -errno;
	if (err)
		return policy_why(err, why, why_size, "%s: %s", path, strerror(-err));
	return 0;
}

/* Return: 0 or the first errno. */
static int install_remove(const char *directory)
{
	struct dirent *entry;
	DIR *dir = opendir(directory);
	char path[512];
	int err = 0;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		if (unlink(path) < 0 && !err)
			err = -errno;
	}
	closedir(dir);
	if (rmdir(directory) < 0 && !err)
		err = -errno;
	return err;
}

/* ---- install ---- */

static int install_fill(const struct policy_object *object, const char *directory, char *why,
			size_t why_size)
{
	int err = 0;

	if (mkdir(directory, 0755) < 0)
		return policy_why(-errno, why, why_size, "%s: %s", directory, strerror(errno));
	if (chmod(directory, 0755) < 0)
		err = policy_why(-errno, why, why_size, "%s: %s", directory, strerror(errno));
	for (unsigned int i = 0; !err && i < OBJECT_MAPS; i++)
		err = install_pin(object->map[i], directory, object_shapes[i].name,
				  install_map_mode(i), why, why_size);
	for (unsigned int i = 0; !err && i < OBJECT_PROGS; i++)
		err = install_pin(object->prog[i], directory, object_programs[i],
				  install_prog_mode(i), why, why_size);
	for (unsigned int i = 0; !err && i < OBJECT_MAPS; i++) {
		if (!install_is_frozen(i))
			continue;
		err = bpf_sys_freeze(object->map[i]);
		if (err)
			policy_why(err, why, why_size, "%s cannot be made read-only: %s",
				   object_shapes[i].name, strerror(-err));
	}
	return err;
}

static int install_new(const struct policy_object *object, char *why, size_t why_size)
{
	char directory[64];
	int err;

	snprintf(directory, sizeof(directory), "%s_%d", MACHINE_DIRECTORY, (int)getpid());
	err = install_fill(object, directory, why, why_size);
	if (!err) {
		err = bpf_start(object->prog[OBJECT_START]);
		if (err)
			policy_why(err, why, why_size, "the policy does not start: %s",
				   strerror(-err));
	}
	if (!err && rename(directory, MACHINE_DIRECTORY) < 0)
		err = policy_why(-errno, why, why_size, "%s: %s", MACHINE_DIRECTORY,
				 strerror(errno));
	if (err)
		install_remove(directory);
	return err;
}

/* ---- change ---- */

static int install_open_maps(int *ret_map, char *why, size_t why_size)
{
	char path[128];

	for (unsigned int i = 0; i < OBJECT_MAPS; i++)
		ret_map[i] = -1;
	for (unsigned int i = 0; i < OBJECT_MAPS; i++) {
		snprintf(path, sizeof(path), "%s/%s", MACHINE_DIRECTORY, object_shapes[i].name);
		ret_map[i] = bpf_sys_get(path);
		if (ret_map[i] < 0)
			return policy_why(ret_map[i], why, why_size, "%s: %s", path,
					  strerror(-ret_map[i]));
	}
	return 0;
}

/* Programs change their names only once the new policy runs. An engine that meets the old one in
 * between is told that it is stale, and looks again. */
static int install_change(const struct policy_object *object, char *why, size_t why_size)
{
	char temporary[128], path[128];
	int err = 0;

	for (unsigned int i = 0; !err && i < OBJECT_PROGS; i++) {
		snprintf(temporary, sizeof(temporary), "%s_new", object_programs[i]);
		err = install_pin(object->prog[i], MACHINE_DIRECTORY, temporary,
				  install_prog_mode(i), why, why_size);
	}
	if (!err) {
		err = bpf_start(object->prog[OBJECT_START]);
		if (err)
			policy_why(err, why, why_size, "the policy does not start: %s",
				   strerror(-err));
	}
	for (unsigned int i = 0; i < OBJECT_PROGS; i++) {
		snprintf(temporary, sizeof(temporary), "%s/%s_new", MACHINE_DIRECTORY,
			 object_programs[i]);
		snprintf(path, sizeof(path), "%s/%s", MACHINE_DIRECTORY, object_programs[i]);
		if (!err && rename(temporary, path) < 0)
			err = policy_why(-errno, why, why_size, "%s: %s", path, strerror(errno));
		if (err)
			unlink(temporary);
	}
	return err;
}

int machine_install(const struct policy_request *request, void (*say)(const char *line), char *why,
		    size_t why_size)
{
	struct policy_object object;
	int map[OBJECT_MAPS], err, there;
	char path[PATH_MAX];

	err = object_find(request->name, path, sizeof(path), why, why_size);
	if (err)
		return err;
	if (geteuid() != 0)
		return policy_why(-EPERM, why, why_size,
				  "a machine-wide policy can only be installed by root");
	err = install_mount(say, why, why_size);
	if (err)
		return err;
	there = access(MACHINE_DIRECTORY, F_OK) == 0;
	for (unsigned int i = 0; i < OBJECT_MAPS; i++)
		map[i] = -1;
	if (there)
		err = install_open_maps(map, why, why_size);
	if (!err)
		err = object_load(&object, path, request, there ? map : NULL, TAIO_ENGINES, why,
				  why_size);
	if (!err) {
		err = there ? install_change(&object, why, why_size)
			    : install_new(&object, why, why_size);
		object_close(&object);
	}
	for (unsigned int i = 0; i < OBJECT_MAPS; i++)
		if (map[i] >= 0)
			close(map[i]);
	return err;
}

int machine_uninstall(char *why, size_t why_size)
{
	int err, fd;

	if (access(MACHINE_DIRECTORY, F_OK) < 0)
		return policy_why(-errno, why, why_size,
				  errno == ENOENT ? "no machine-wide policy is installed"
						  : "%s cannot be read",
				  MACHINE_DIRECTORY);
	if (geteuid() != 0)
		return policy_why(-EPERM, why, why_size,
				  "a machine-wide policy can only be removed by root");
	/* The word that it is over goes to engines through taio_ctl; without it they would keep
	 * prices that nobody makes any more. */
	fd = bpf_sys_get(MACHINE_DIRECTORY "/taio_stop");
	if (fd >= 0) {
		bpf_sys_run(fd);
		close(fd);
	}
	err = install_remove(MACHINE_DIRECTORY);
	if (err)
		return policy_why(err, why, why_size, "%s: %s", MACHINE_DIRECTORY, strerror(-err));
	return 0;
}
