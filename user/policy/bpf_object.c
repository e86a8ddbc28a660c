/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* bpf_object.c: see bpf_object.h. */
#include "policy/bpf_object.h"

#include <assert.h>
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libbpf/libbpf_dl.h"
#include "policy/bpf_sys.h"
#include "policy/bpf_verdict.h"

#define OBJECT_TRIES    20
#define OBJECT_LOG_SIZE ((16U << 20) - 1) /* what a refused program of a million steps may say */

const struct object_shape object_shapes[OBJECT_MAPS] = {
	[OBJECT_CTL] = { "taio_ctl", sizeof(struct taio_ctl), 1, OBJECT_SHARED },
	[OBJECT_CTX] = { "taio_ctx", sizeof(struct taio_ctx), TAIO_CONTEXTS, OBJECT_SHARED },
	[OBJECT_CAPS] = { "taio_caps", sizeof(struct taio_caps), TAIO_CONTEXTS *TAIO_SLOTS,
			  OBJECT_SHARED },
	[OBJECT_DEV] = { "taio_dev", sizeof(struct taio_dev), TAIO_DEVICES, OBJECT_SHARED },
	[OBJECT_LAT] = { "taio_lat", sizeof(struct taio_lat), TAIO_ROUTES, OBJECT_SHARED },
	[OBJECT_PRICE] = { "taio_price", sizeof(struct taio_price), TAIO_CELLS, OBJECT_SHARED },
	[OBJECT_ENGINE] = { "taio_engine", sizeof(struct taio_engine), TAIO_ENGINES,
			    OBJECT_SHARED },
	[OBJECT_STATE] = { "taio_state", sizeof(struct taio_state), TAIO_ROUTES, OBJECT_KERNEL },
	[OBJECT_WORK] = { "taio_work", sizeof(struct taio_work), 1, OBJECT_KERNEL },
	[OBJECT_BATCH] = { "taio_batch", sizeof(struct taio_batch), 1, OBJECT_OWN },
	[OBJECT_TIMER] = { "taio_timer", 16, 1, OBJECT_KERNEL },
};

const char *const object_programs[OBJECT_PROGS] = { "taio_start", "taio_tick", "taio_pick",
						    "taio_stop" };

void object_init(struct policy_object *object)
{
	memset(object, 0, sizeof(*object));
	for (unsigned int i = 0; i < OBJECT_MAPS; i++)
		object->map[i] = -1;
	for (unsigned int i = 0; i < OBJECT_PROGS; i++)
		object->prog[i] = -1;
}

void object_close(struct policy_object *object)
{
	for (unsigned int i = 0; i < OBJECT_MAPS; i++)
		if (object->map[i] >= 0)
			close(object->map[i]);
	for (unsigned int i = 0; i < OBJECT_PROGS; i++)
		if (object->prog[i] >= 0)
			close(object->prog[i]);
	object_init(object);
}

/* One object on its way. */
struct object_job {
	const char *path;
	const char *file; /* last part of path, for sentences */
	struct libbpf lib;
	struct bpf_object *bpf;
	struct bpf_map *rodata;
	struct policy_object *out;
	char *why;
	size_t why_size;
};

static int object_check_file(struct object_job *job)
{
	Elf64_Ehdr header;
	ssize_t n;
	int fd = open(job->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return policy_why(-errno, job->why, job->why_size, "%s: %s", job->path,
				  strerror(errno));
	n = read(fd, &header, sizeof(header));
	close(fd);
	if (n != sizeof(header) || memcmp(header.e_ident, ELFMAG, SELFMAG) ||
	    header.e_machine != EM_BPF)
		return policy_why(
			-EBADMSG, job->why, job->why_size,
			"%s: refused: not a BPF object (compile with clang -target bpf -g)",
			job->file);
	return 0;
}

static int object_open(struct object_job *job)
{
	int err = object_check_file(job);

	if (!err)
		err = libbpf_dl_open(&job->lib, job->why, job->why_size);
	if (err)
		return err;
	job->bpf = job->lib.bpf_object__open_file(job->path, NULL);
	if (!job->bpf)
		return policy_why(-EBADMSG, job->why, job->why_size,
				  "%s: refused: libbpf cannot read it (%s)", job->file,
				  strerror(errno));
	if (!job->lib.bpf_object__btf(job->bpf))
		return policy_why(-EBADMSG, job->why, job->why_size,
				  "%s: refused: no type information (compile with -g)", job->file);
	return 0;
}

static void object_done(struct object_job *job)
{
	if (job->bpf)
		job->lib.bpf_object__close(job->bpf);
	libbpf_dl_close(&job->lib);
}

/* ---- what it says of itself ---- */

static struct bpf_map *object_find_rodata(struct object_job *job)
{
	struct bpf_map *map = NULL;

	while ((map = job->lib.bpf_object__next_map(job->bpf, map))) {
		const char *name = job->lib.bpf_map__name(map);
		size_t length = strlen(name);

		if (length >= 7 && !strcmp(name + length - 7, ".rodata"))
			return map;
	}
	return NULL;
}

/* A variable in .rodata. Return: NULL: it has none of that name and size. */
static const void *object_variable(struct object_job *job, const char *name, size_t size)
{
	const struct btf *btf = job->lib.bpf_object__btf(job->bpf);
	const struct btf_type *section;
	struct btf_var_secinfo *var;
	const char *data;
	size_t length;
	int id;

	if (!job->rodata)
		return NULL;
	data = job->lib.bpf_map__initial_value(job->rodata, &length);
	id = job->lib.btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
	if (!data || id < 0)
		return NULL;
	section = job->lib.btf__type_by_id(btf, (uint32_t)id);
	var = btf_var_secinfos(section);
	for (unsigned int i = 0; i < btf_vlen(section); i++, var++) {
		const struct btf_type *type = job->lib.btf__type_by_id(btf, var->type);

		if (!strcmp(job->lib.btf__name_by_offset(btf, type->name_off), name) &&
		    var->size == size && var->offset + size <= length)
			return data + var->offset;
	}
	return NULL;
}

static int object_identify(struct object_job *job)
{
	struct policy_object *out = job->out;
	const void *abi, *name, *text, *hooks, *tunables;

	job->rodata = object_find_rodata(job);
	abi = object_variable(job, "taio_policy_abi", sizeof(out->abi));
	name = object_variable(job, "taio_policy_name", sizeof(out->name));
	if (!abi || !name)
		return policy_why(-EBADMSG, job->why, job->why_size,
				  "%s: refused: no taio_policy_abi (not a taio policy?)",
				  job->file);
	memcpy(&out->abi, abi, sizeof(out->abi));
	memcpy(out->name, name, sizeof(out->name) - 1);
	for (unsigned int i = 0; out->name[i] || !i; i++)
		if (!isalnum((unsigned char)out->name[i]) && !strchr("_-", out->name[i] ?: ' '))
			return policy_why(-EBADMSG, job->why, job->why_size,
					  "%s: refused: the name of the policy must be letters, "
					  "digits, - and _",
					  job->file);
	if (out->abi != TAIO_POLICY_ABI)
		return policy_why(-EBADMSG, job->why, job->why_size,
				  "%s: refused: policy '%s' was built for ABI %u, this engine is "
				  "ABI %u: rebuild it against include/taio_policy.h",
				  job->file, out->name, out->abi, TAIO_POLICY_ABI);
	text = object_variable(job, "taio_policy_text", sizeof(out->text));
	hooks = object_variable(job, "taio_policy_hooks", sizeof(out->hooks));
	tunables = object_variable(job, "taio_tunables", sizeof(out->tunables));
	if (text)
		memcpy(out->text, text, sizeof(out->text) - 1);
	if (hooks)
		memcpy(out->hooks, hooks, sizeof(out->hooks) - 1);
	if (tunables)
		memcpy(out->tunables, tunables, sizeof(out->tunables));
	for (unsigned int i = 0; i < TAIO_TUNABLES_MAX; i++) {
		out->tunables[i].name[sizeof(out->tunables[i].name) - 1] = '\0';
		out->tunables[i].unit[sizeof(out->tunables[i].unit) - 1] = '\0';
		out->tunables[i].text[sizeof(out->tunables[i].text) - 1] = '\0';
	}
	return 0;
}

/* ---- what it must be ---- */

static int object_check_map(struct object_job *job, const struct object_shape *shape)
{
	struct bpf_map *map = job->lib.bpf_object__find_map_by_name(job->bpf, shape->name);
	uint32_t value_size, entries;

	if (!map)
		return policy_why(-EBADMSG, job->why, job->why_size,
				  "%s: refused: policy '%s' has no map %s", job->file,
				  job->out->name, shape->name);
	value_size = job->lib.bpf_map__value_size(map);
	entries = job->lib.bpf_map__max_entries(map);
	if (job->lib.bpf_map__type(map) != BPF_MAP_TYPE_ARRAY ||
	    job->lib.bpf_map__key_size(map) != sizeof(uint32_t) ||
	    (shape->use && !(job->lib.bpf_map__map_flags(map) & BPF_F_MMAPABLE)))
		return policy_why(-EBADMSG, job->why, job->why_size,
				  "%s: refused: map %s of policy '%s' is not a%s array with __u32 "
				  "keys",
				  job->file, shape->name, job->out->name,
				  shape->use ? "n mmapable" : "n");
	if (value_size != shape->value_size || entries != shape->entries)
		return policy_why(
			-EBADMSG, job->why, job->why_size,
			"%s: refused: map %s of policy '%s' has %u values of %u bytes, this "
			"engine needs %u of %u",
			job->file, shape->name, job->out->name, entries, value_size, shape->entries,
			shape->value_size);
	return 0;
}

static int object_check(struct object_job *job)
{
	int err = object_identify(job);

	for (unsigned int i = 0; !err && i < OBJECT_MAPS; i++)
		err = object_check_map(job, &object_shapes[i]);
	for (unsigned int i = 0; !err && i < OBJECT_PROGS; i++) {
		struct bpf_program *prog =
			job->lib.bpf_object__find_program_by_name(job->bpf, object_programs[i]);

		if (!prog || job->lib.bpf_program__type(prog) != BPF_PROG_TYPE_SYSCALL)
			return policy_why(-EBADMSG, job->why, job->why_size,
					  "%s: refused: policy '%s' has no program %s of type "
					  "syscall",
					  job->file, job->out->name, object_programs[i]);
		job->out->insns[i] = (uint32_t)job->lib.bpf_program__insn_cnt(prog);
	}
	return err;
}

static int object_tune(struct object_job *job, const struct policy_request *request)
{
	struct taio_tunable *table = job->out->tunables;
	uint32_t value[TAIO_TUNABLES_MAX];
	const char *data;
	size_t length;
	char *copy;
	int err;

	if (!request || !request->tunes)
		return 0;
	for (unsigned int i = 0; i < TAIO_TUNABLES_MAX; i++)
		value[i] = table[i].initial;
	err = policy_request_tune(request, job->out->name, table, value, job->why, job->why_size);
	if (err)
		return err;
	data = job->lib.bpf_map__initial_value(job->rodata, &length);
	copy = malloc(length);
	if (!copy)
		return policy_why(-ENOMEM, job->why, job->why_size, "no memory");
	memcpy(copy, data, length);
	for (unsigned int i = 0; i < TAIO_TUNABLES_MAX && table[i].name[0]; i++) {
		const char *variable = object_variable(job, table[i].name, sizeof(uint32_t));

		if (!variable) {
			err = policy_why(-EBADMSG, job->why, job->why_size,
					 "%s: refused: policy '%s' has no variable for its tunable "
					 "'%s'",
					 job->file, job->out->name, table[i].name);
			break;
		}
		memcpy(copy + (variable - data), &value[i], sizeof(value[i]));
	}
	if (!err)
		err = job->lib.bpf_map__set_initial_value(job->rodata, copy, length);
	free(copy);
	return err;
}

/* ---- into the kernel ---- */

static int object_refusal(struct object_job *job, int err, const char *log)
{
	char line[256];

	bpf_verdict(log, line, sizeof(line));
	if (line[0])
		return policy_why(-EBADMSG, job->why, job->why_size,
				  "%s: the kernel verifier refused policy '%s': %s", job->file,
				  job->out->name, line);
	if (err == -EPERM || err == -EACCES)
		return policy_why(-EPERM, job->why, job->why_size,
				  "%s: loading BPF is not permitted here (needs CAP_BPF or root)",
				  job->file);
	if (err == -ENOMEM)
		return policy_why(-ENOMEM, job->why, job->why_size, "%s: no memory for its maps",
				  job->file);
	return policy_why(-EBADMSG, job->why, job->why_size,
			  "%s: the kernel refused policy '%s': %s", job->file, job->out->name,
			  strerror(-err));
}

static int object_set_maps(struct object_job *job, const int *reuse, uint32_t engines)
{
	for (unsigned int i = 0; i < OBJECT_MAPS; i++) {
		struct bpf_map *map =
			job->lib.bpf_object__find_map_by_name(job->bpf, object_shapes[i].name);
		struct bpf_sys_shape shape;
		int err = 0;

		if (!reuse) {
			if (i == OBJECT_ENGINE)
				err = job->lib.bpf_map__set_max_entries(map, engines);
		} else {
			/* libbpf would take any map there. */
			err = bpf_sys_shape(reuse[i], &shape);
			if (!err &&
			    (shape.value_size != object_shapes[i].value_size ||
			     (i != OBJECT_ENGINE && shape.max_entries != object_shapes[i].entries)))
				err = -EBADMSG;
			if (!err)
				err = job->lib.bpf_map__reuse_fd(map, reuse[i]);
		}
		if (err)
			return policy_why(err, job->why, job->why_size,
					  "%s: map %s cannot be taken over: %s", job->file,
					  object_shapes[i].name, strerror(-err));
	}
	return 0;
}

/* libbpf only asks the kernel for a log when the first try failed. */
static int object_load_bpf(struct object_job *job)
{
	struct bpf_program *prog = NULL;
	char *log = malloc(OBJECT_LOG_SIZE);
	int err;

	if (!log)
		return policy_why(-ENOMEM, job->why, job->why_size, "no memory");
	log[0] = '\0';
	while ((prog = job->lib.bpf_object__next_program(job->bpf, prog)))
		job->lib.bpf_program__set_log_buf(prog, log, OBJECT_LOG_SIZE);
	err = job->lib.bpf_object__load(job->bpf);
	if (err && err != -EAGAIN)
		err = object_refusal(job, err, log);
	free(log);
	return err;
}

static int object_keep(struct object_job *job)
{
	for (unsigned int i = 0; i < OBJECT_MAPS + OBJECT_PROGS; i++) {
		int is_map = i < OBJECT_MAPS, from, fd;

		if (is_map)
			from = job->lib.bpf_map__fd(job->lib.bpf_object__find_map_by_name(
				job->bpf, object_shapes[i].name));
		else
			from = job->lib.bpf_program__fd(job->lib.bpf_object__find_program_by_name(
				job->bpf, object_programs[i - OBJECT_MAPS]));
		fd = fcntl(from, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return policy_why(-errno, job->why, job->why_size, "%s: no descriptor left",
					  job->file);
		if (is_map) {
			job->out->map[i] = fd;
		} else {
			job->out->prog[i - OBJECT_MAPS] = fd;
			job->out->verified[i - OBJECT_MAPS] = bpf_sys_verified(fd);
		}
	}
	return 0;
}

static void object_begin(struct object_job *job, struct policy_object *out, const char *path,
			 char *why, size_t why_size)
{
	const char *slash = strrchr(path, '/');

	memset(job, 0, sizeof(*job));
	object_init(out);
	job->path = path;
	job->file = slash ? slash + 1 : path;
	job->out = out;
	job->why = why;
	job->why_size = why_size;
}

static int object_try(struct policy_object *ret_object, const char *path,
		      const struct policy_request *request, const int *reuse, uint32_t engines,
		      char *why, size_t why_size)
{
	struct object_job job;
	int err;

	assert(engines >= 1 && engines <= TAIO_ENGINES);
	object_begin(&job, ret_object, path, why, why_size);
	err = object_open(&job);
	if (!err)
		err = object_check(&job);
	if (!err)
		err = object_tune(&job, request);
	if (!err)
		err = object_set_maps(&job, reuse, engines);
	if (!err)
		err = object_load_bpf(&job);
	if (!err)
		err = object_keep(&job);
	object_done(&job);
	if (err)
		object_close(ret_object);
	return err;
}

/* The verifier gives up with -EAGAIN when a signal is pending, and the completions of a ring are
 * signals, too: it is no verdict. */
int object_load(struct policy_object *ret_object, const char *path,
		const struct policy_request *request, const int *reuse, uint32_t engines, char *why,
		size_t why_size)
{
	int err = -EAGAIN;

	for (unsigned int i = 0; i < OBJECT_TRIES && err == -EAGAIN; i++)
		err = object_try(ret_object, path, request, reuse, engines, why, why_size);
	if (err == -EAGAIN)
		err = policy_why(-EBADMSG, why, why_size,
				 "%s: the kernel was interrupted each time that it looked at it",
				 path);
	return err;
}

int object_read(struct policy_object *ret_object, const char *path, char *why, size_t why_size)
{
	struct object_job job;
	int err;

	object_begin(&job, ret_object, path, why, why_size);
	err = object_open(&job);
	if (!err)
		err = object_check(&job);
	object_done(&job);
	return err;
}
