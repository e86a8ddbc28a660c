/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * speeds.h: what devices cost on this machine, remembered between runs in
 * $XDG_CACHE_HOME/taio/speeds (else $HOME/.cache/taio/speeds), one line for each route context and
 * device. A file that is missing, damaged or of another machine is as good as an empty one: then
 * the drivers' published figures count.
 */
#ifndef TAIO_SPEEDS_H
#define TAIO_SPEEDS_H

#include <stdbool.h>
#include <stdint.h>

#include "taio_policy.h"

#define SPEEDS_MAX 256

struct speed {
	char context[40], device[16];
	uint32_t base_ns, ps_per_byte;
	uint32_t source; /* enum taio_speed_source */
};

struct speeds {
	struct speed *entry; /* SPEEDS_MAX of them, made at first use */
	uint32_t count;
	bool loaded, dirty;
};

/* Puts remembered figures in the place of published ones. Reads the file at its first call. */
void speeds_apply(struct speeds *speeds, const char *context, const char *device,
		  struct taio_caps *caps);

/* What is remembered of a device in the first context of the file that has it; NULL: nothing. Reads
 * the file at its first call. */
const struct speed *speeds_of_device(struct speeds *speeds, const char *device);

/* Remembers. Kept in memory until speeds_save(). */
void speeds_set(struct speeds *speeds, const char *context, const char *device, uint32_t base_ns,
		uint32_t ps_per_byte, uint32_t source);

/* Fits base and per-byte cost to the latencies of one device in one context, an array over size
 * classes; least squares on relative error. Return: true if there was enough to fit (two classes
 * with @min_count completions each). */
bool speeds_fit(const struct taio_lat *const lat[TAIO_CLASSES], uint64_t min_count,
		uint32_t *ret_base_ns, uint32_t *ret_ps_per_byte);

/* Writes the file whole (temporary and rename). Return: 0 or negative errno. */
int speeds_save(struct speeds *speeds);
void speeds_close(struct speeds *speeds);

#endif /* TAIO_SPEEDS_H */
