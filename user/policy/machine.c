/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* machine.c: an engine's side of the machine-wide policy; see machine.h. */
#include "policy/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/bpf_source.h"
#include "policy/bpf_sys.h"
#include "policy/native.h"

#define MACHINE_FROZEN    (1U << OBJECT_CTL | 1U << OBJECT_LAT | 1U << OBJECT_PRICE)
#define MACHINE_SILENT_NS 1000000000 /* a slot is never taken from an engine that was seen since */

struct machine_source {
	struct policy_source base;
	struct bpf_view view;
	int tick;
	uint32_t pid;
	uint64_t started_ns;
	const struct taio_native_policy *twin; /* whose pick hook runs here, natively */
	struct taio_native_maps native;        /* what it sees of the maps */
	struct taio_batch batch;
};

/* ---- slots ---- */

/* When a process began, ns after boot. Return: 0: unknown. */
static uint64_t machine_started_ns(uint32_t pid)
{
	char path[32], text[1024], *field;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	field = strrchr(text, ')'); /* the name before it may hold anything */
	for (unsigned int i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	if (!field)
		return 0;
	return strtoull(field + 1, NULL, 10) * 1000000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

/* A process of another pid namespace looks dead from here, so a slot must also have been silent. */
static int machine_slot_is_dead(const struct taio_engine *slot, uint32_t pid)
{
	uint64_t now_ns = policy_now_ns(), alive_ns = slot->alive_ns, started_ns;

	if (alive_ns > now_ns || now_ns - alive_ns < MACHINE_SILENT_NS)
		return 0;
	if (kill((pid_t)pid, 0) < 0 && errno == ESRCH)
		return 1;
	started_ns = machine_started_ns(pid);
	return started_ns && started_ns != slot->started_ns;
}

static int machine_claim(struct machine_source *machine)
{
	struct taio_engine *slots = machine->view.at[OBJECT_ENGINE];

	for (unsigned int i = 0; i < TAIO_ENGINES; i++) {
		struct taio_engine *slot = &slots[i];
		uint32_t pid = __atomic_load_n(&slot->pid, __ATOMIC_ACQUIRE);

		if (pid && !machine_slot_is_dead(slot, pid))
			continue;
		if (!__atomic_compare_exchange_n(&slot->pid, &pid, machine->pid, 0,
						 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			continue;
		slot->started_ns = machine->started_ns;
		slot->alive_ns = policy_now_ns();
		slot->uid = (uint32_t)geteuid();
		memset(slot->in_flight, 0, sizeof(slot->in_flight));
		slot->decisions = slot->probes = slot->retries = slot->hedges = slot->dropped = 0;
		__atomic_store_n(&slot->head, slot->tail, __ATOMIC_RELEASE);
		machine->base.maps.engine = slot;
		return 0;
	}
	return -EUSERS;
}

static int machine_slot_is_mine(const struct machine_source *machine)
{
	const struct taio_engine *slot = machine->base.maps.engine;

	return slot->pid == machine->pid && slot->started_ns == machine->started_ns;
}

/* ---- source ---- */

static int machine_pin(char *ret_path, size_t size, const char *name)
{
	snprintf(ret_path, size, "%s/%s", MACHINE_DIRECTORY, name);
	return bpf_sys_get(ret_path);
}

static int machine_tick(struct policy_source *source, uint64_t now_ns, int urgent)
{
	struct machine_source *machine = (struct machine_source *)source;
	char path[64];
	int fd;

	(void)now_ns;
	if (source->maps.ctl->magic != TAIO_CTL_MAGIC)
		return 1; /* uninstalled */
	if (!machine_slot_is_mine(machine) && machine_claim(machine))
		return 1;
	if (!bpf_tick_is_due(&source->maps, urgent))
		return 0;
	if (bpf_sys_run(machine->tick) == -ESTALE) {
		fd = machine_pin(path, sizeof(path), object_programs[OBJECT_TICK]);
		if (fd >= 0) {
			close(machine->tick);
			machine->tick = fd;
			bpf_sys_run(fd);
		}
	}
	return 0;
}

/* A batch map that all users share would be overwritten by all users, so the pick hook of the
 * machine-wide policy runs in each process, if there is a native twin of that name; else prices
 * decide. Looked for anew at each change of policy, with the tunables of that. */
static void machine_find_twin(struct machine_source *machine)
{
	const struct taio_ctl *ctl = machine->base.maps.ctl;
	struct taio_native_maps *native = &machine->native;
	char name[sizeof(ctl->policy) + 1] = { 0 };

	memcpy(name, ctl->policy, sizeof(ctl->policy));
	machine->twin = native_find(name);
	native->generation = ctl->generation;
	for (unsigned int i = 0; machine->twin && i < TAIO_TUNABLES_MAX; i++) {
		const struct taio_tunable *t = &machine->twin->tunables[i];
		uint32_t value = ctl->tune[i];

		native->tune[i] = value < t->min ? t->min : value > t->max ? t->max : value;
	}
}

static int machine_pick(void *arg)
{
	struct machine_source *machine = arg;

	if (machine->native.generation != machine->base.maps.ctl->generation)
		machine_find_twin(machine);
	return machine->twin ? machine->twin->pick(&machine->native) : -ENOENT;
}

/* The twin may look, but not write: its maps are const where the kernel keeps them so. */
static void machine_bind_pick(struct machine_source *machine)
{
	struct taio_maps *maps = &machine->base.maps;

	machine->native.ctl = maps->ctl;
	machine->native.ctx = maps->ctx;
	machine->native.caps = maps->caps;
	machine->native.dev = maps->dev;
	machine->native.price = machine->view.at[OBJECT_PRICE];
	machine->native.lat = machine->view.at[OBJECT_LAT];
	machine->native.batch = maps->batch = &machine->batch;
	maps->pick = machine_pick;
	maps->pick_arg = machine;
	machine_find_twin(machine);
}

static void machine_close(struct policy_source *source)
{
	struct machine_source *machine = (struct machine_source *)source;
	struct taio_engine *slot = source->maps.engine;

	if (slot && machine_slot_is_mine(machine)) {
		memset(slot->in_flight, 0, sizeof(slot->in_flight));
		__atomic_store_n(&slot->pid, 0, __ATOMIC_RELEASE);
	}
	bpf_view_close(&machine->view);
	if (machine->tick >= 0)
		close(machine->tick);
	free(machine);
}

static const struct policy_source_ops machine_ops = {
	.where = TAIO_POLICY_MACHINE,
	.tick = machine_tick,
	.close = machine_close,
};

/* One map: opened, its shape checked. Return: descriptor or negative errno with a sentence. */
static int machine_get(unsigned int number, char *why, size_t why_size)
{
	const struct object_shape *want = &object_shapes[number];
	struct bpf_sys_shape shape;
	char path[64];
	int rc, fd = machine_pin(path, sizeof(path), want->name);

	if (fd < 0)
		return policy_why(fd, why, why_size, "%s: %s", path, strerror(-fd));
	rc = bpf_sys_shape(fd, &shape);
	if (rc == 0 &&
	    (shape.value_size != want->value_size || shape.max_entries != want->entries)) {
		rc = policy_why(-EBADMSG, why, why_size,
				"%s has %u values of %u bytes, this program needs %u of %u: it was "
				"installed by another version of taio",
				path, shape.max_entries, shape.value_size, want->entries,
				want->value_size);
	}
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

static int machine_map(struct bpf_view *ret_view, char *why, size_t why_size)
{
	int fd[OBJECT_MAPS], err = 0;

	for (unsigned int i = 0; i < OBJECT_MAPS; i++)
		fd[i] = -1;
	for (unsigned int i = 0; i < OBJECT_MAPS && err >= 0; i++)
		if (object_shapes[i].use == OBJECT_SHARED)
			err = fd[i] = machine_get(i, why, why_size);
	if (err >= 0) {
		err = bpf_view_open(ret_view, fd, TAIO_ENGINES, MACHINE_FROZEN);
		if (err)
			policy_why(err, why, why_size, "the maps in %s cannot be mapped: %s",
				   MACHINE_DIRECTORY, strerror(-err));
	}
	for (unsigned int i = 0; i < OBJECT_MAPS; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	return err < 0 ? err : 0;
}

static int machine_check(const struct taio_ctl *ctl, char *why, size_t why_size)
{
	if (ctl->magic != TAIO_CTL_MAGIC)
		return policy_why(-EBADMSG, why, why_size, "no policy runs in %s",
				  MACHINE_DIRECTORY);
	if (ctl->abi != TAIO_POLICY_ABI)
		return policy_why(-EBADMSG, why, why_size, "the policy in %s is ABI %u, this is %u",
				  MACHINE_DIRECTORY, ctl->abi, TAIO_POLICY_ABI);
	return 0;
}

int machine_open(struct policy_source **ret_source, char *why, size_t why_size)
{
	struct machine_source *machine;
	char path[64];
	int err;

	if (access(MACHINE_DIRECTORY "/taio_ctl", F_OK) < 0)
		return -ENOENT; /* or hidden from us, which is how a plain Debian mounts bpffs */
	machine = calloc(1, sizeof(*machine));
	if (!machine)
		return policy_why(-ENOMEM, why, why_size, "no memory");
	machine->base.ops = &machine_ops;
	machine->tick = -1;
	machine->pid = (uint32_t)getpid();
	machine->started_ns = machine_started_ns(machine->pid);
	err = machine_map(&machine->view, why, why_size);
	if (!err) {
		bpf_view_maps(&machine->view, &machine->base.maps);
		machine->base.maps.shared = 1;
		machine->base.maps.engine = NULL;
		machine_bind_pick(machine);
		err = machine_check(machine->base.maps.ctl, why, why_size);
	}
	if (!err) {
		machine->tick = machine_pin(path, sizeof(path), object_programs[OBJECT_TICK]);
		err = machine_claim(machine);
		if (err)
			policy_why(err, why, why_size, "all %d engine slots in %s are taken",
				   TAIO_ENGINES, MACHINE_DIRECTORY);
	}
	if (err) {
		machine_close(&machine->base);
		return err;
	}
	if (machine->tick >= 0)
		bpf_sys_run(machine->tick); /* so that it sees the new engine */
	memcpy(machine->base.name, machine->base.maps.ctl->policy, sizeof(machine->base.name) - 1);
	*ret_source = &machine->base;
	return 0;
}

int machine_show(struct taio_policy_info *ret_info, unsigned int *ret_engines)
{
	struct bpf_view view;
	struct taio_maps maps;
	struct taio_engine *slots;
	char why[256];
	int err;

	if (access(MACHINE_DIRECTORY "/taio_ctl", F_OK) < 0)
		return -errno;
	err = machine_map(&view, why, sizeof(why));
	if (err)
		return err;
	bpf_view_maps(&view, &maps);
	err = machine_check(maps.ctl, why, sizeof(why));
	if (!err) {
		memset(ret_info, 0, sizeof(*ret_info));
		memcpy(ret_info->name, maps.ctl->policy, sizeof(ret_info->name) - 1);
		ret_info->abi = maps.ctl->abi;
		ret_info->where = TAIO_POLICY_MACHINE;
		ret_info->swaps = maps.ctl->swaps;
		ret_info->ticks = maps.ctl->ticks;
		ret_info->samples = maps.ctl->samples;
		slots = view.at[OBJECT_ENGINE];
		*ret_engines = 0;
		for (unsigned int i = 0; i < TAIO_ENGINES; i++)
			*ret_engines += slots[i].pid &&
					!machine_slot_is_dead(&slots[i], slots[i].pid);
	}
	bpf_view_close(&view);
	return err;
}
