/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* api_info.c: the public calls by which an engine tells about itself: operations, devices, the
 * policy, words for events. */
#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "request/operation.h"

const char *taio_version(void)
{
	return TAIO_VERSION;
}

const char *taio_refusal(const struct taio *e)
{
	return e->refusal;
}

int taio_event_text(const struct taio_event *event, char *buffer, size_t size)
{
	if (event->result >= 0)
		return snprintf(buffer, size, "%lld bytes", (long long)event->result);
	if (event->step == TAIO_STEP_RESOLVE && event->result == -ENOENT)
		return snprintf(buffer, size, "resolve: the name is not known");
	return snprintf(buffer, size, "%s: %s", taio_step_name(event->step),
			strerror((int)-event->result));
}

const char *taio_device_name(struct taio *e, unsigned int number)
{
	return number < e->device_count ? e->device[number].name : "none";
}

int taio_device_mask(struct taio *e, const char *names, uint64_t *ret_mask)
{
	return names && ret_mask ? device_mask(e, names, ret_mask) : -EINVAL;
}

int taio_operations(struct taio *e, struct taio_operation_info *info, size_t size, unsigned int max)
{
	unsigned int n = 0;

	if (size < sizeof(*info) || (max && !info))
		return -EINVAL;
	for (unsigned int op = TAIO_OP_NONE + 1; op < TAIO_OP_COUNT; op++, n++) {
		struct taio_operation_info *row = (void *)((char *)info + n * size);

		if (n >= max)
			continue;
		memset(row, 0, size);
		snprintf(row->name, sizeof(row->name), "%s", operation_name(op));
		snprintf(row->suboptions, sizeof(row->suboptions), "%s", operation_suboptions(op));
		for (uint8_t i = 0; i < e->device_count; i++) {
			const struct taio_capability *cap = e->device[i].driver->caps;

			for (; cap->op != TAIO_OP_NONE; cap++)
				if (cap->op == op && device_available(e, i))
					row->devices |= 1ULL << i;
		}
	}
	return (int)n;
}

static void api_append(char *text, size_t size, const char *more)
{
	size_t used = strlen(text);

	snprintf(text + used, size - used, "%s%s", used ? "," : "", more);
}

static void api_append_pairs(char *text, size_t size, const struct taio_capability *cap,
			     bool mirrored)
{
	for (unsigned int from = 1; from < TAIO_KIND_COUNT; from++)
		for (unsigned int to = 1; to < TAIO_KIND_COUNT; to++) {
			char pair[24];

			if (!(cap->from & (1u << from)) || !(cap->to & (1u << to)))
				continue;
			snprintf(pair, sizeof(pair), "%s>%s",
				 mirrored ? "mirror" : operation_kind_name(from),
				 operation_kind_name(to));
			api_append(text, size, pair);
		}
}

static void api_figures(struct taio_device_info *row, uint32_t base_ns, uint32_t ps_per_byte,
			uint32_t source)
{
	row->base_ns = base_ns;
	row->bytes_per_s = ps_per_byte ? 1000000000000ULL / ps_per_byte : 0;
	row->source = source;
}

/* The latencies of a candidate by size class. Return: completions. */
static uint64_t api_latencies(const struct taio_maps *maps, uint32_t context, uint32_t slot,
			      const struct taio_lat *lat[TAIO_CLASSES])
{
	uint64_t count = 0;

	for (uint32_t k = 0; k < TAIO_CLASSES; k++) {
		lat[k] = &maps->lat[(context * TAIO_CLASSES + k) * TAIO_SLOTS + slot];
		count += lat[k]->count;
	}
	return count;
}

/* The figures that count for a device: measured in this engine, in the context with the most
 * completions; else remembered from earlier runs; else published. */
static void api_speed(struct taio *e, unsigned int number, struct taio_device_info *row)
{
	const struct taio_maps *maps = policy_maps(e->policy);
	const struct speed *known = NULL;
	uint64_t most = 0;

	if (!(e->flags & TAIO_NO_CACHE))
		known = speeds_of_device(&e->speeds, e->device[number].name);
	if (known)
		api_figures(row, known->base_ns, known->ps_per_byte, known->source);
	for (uint32_t i = 0; i < e->picker->context_count; i++) {
		const struct pick_context *context = &e->picker->context[i];

		for (unsigned int k = 0; k < context->count; k++) {
			const struct pick_candidate *c = &context->candidate[k];
			const struct taio_lat *lat[TAIO_CLASSES];
			uint32_t base_ns, ps_per_byte;
			uint64_t count;

			if (c->device != number || c->slot == PICK_NONE)
				continue;
			count = api_latencies(maps, context->index, c->slot, lat);
			if (count <= most || !speeds_fit(lat, 4, &base_ns, &ps_per_byte))
				continue;
			most = count;
			api_figures(row, base_ns, ps_per_byte, learn_source(e));
		}
	}
}

static void api_capability(const struct taio_device *device, struct taio_device_info *row)
{
	const struct taio_capability *cap = device->driver->caps;

	row->min_bytes = cap->min;
	row->max_bytes = cap->max;
	row->base_ns = cap->base_ns;
	row->bytes_per_s = cap->ps_per_byte ? 1000000000000ULL / cap->ps_per_byte : 0;
	row->parallel = cap->parallel ? cap->parallel : 1;
	row->align = 1;
	for (; cap->op != TAIO_OP_NONE; cap++) {
		if (cap->op == TAIO_OP_COPY)
			api_append_pairs(row->pairs, sizeof(row->pairs), cap,
					 device->driver->replica > 0);
		else if (!strstr(row->pairs, operation_name(cap->op)))
			api_append(row->pairs, sizeof(row->pairs), operation_name(cap->op));
		if (cap->align > row->align)
			row->align = cap->align;
		if (cap->flags & TAIO_CAP_BLOCKING && !device->worker && !device_is_async(device))
			row->flags |= TAIO_DEVICE_BLOCKING;
		if (cap->flags & TAIO_CAP_ZERO_COPY)
			row->flags |= TAIO_DEVICE_ZERO_COPY;
	}
}

static void api_device(struct taio *e, unsigned int number, struct taio_device_info *row)
{
	const struct taio_device *device = &e->device[number];
	const struct pick_device *state = &e->picker->device[number];

	row->number = number;
	snprintf(row->name, sizeof(row->name), "%s", device->name);
	snprintf(row->text, sizeof(row->text), "%s%s", device->driver->text,
		 device->worker ? ", on a worker thread" : "");
	api_capability(device, row);
	if (device_available(e, (uint8_t)number))
		row->flags |= TAIO_DEVICE_AVAILABLE;
	else
		snprintf(row->reason, sizeof(row->reason), "%s", device->reason);
	if (device->worker || device_is_async(device))
		row->flags |= TAIO_DEVICE_ASYNC;
	if (state->quarantine_ns > e->now_ns)
		row->flags |= TAIO_DEVICE_QUARANTINED;
	row->in_flight = state->in_flight;
	row->steps = e->count[number].steps;
	row->bytes = e->count[number].bytes;
	row->errors = e->count[number].errors;
	api_speed(e, number, row);
}

int taio_devices(struct taio *e, struct taio_device_info *info, size_t size, unsigned int max)
{
	if (size < sizeof(*info) || (max && !info))
		return -EINVAL;
	for (unsigned int i = 0; i < e->device_count && i < max; i++) {
		struct taio_device_info *row = (void *)((char *)info + i * size);

		memset(row, 0, size);
		api_device(e, i, row);
	}
	return (int)e->device_count;
}

static void api_count(struct taio *e, unsigned int number, struct taio_message_counters *sums)
{
	struct taio_device *device = &e->device[number];

	messages_add(sums, &e->count[number].messages);
	if (device->opened && device->driver->count && !device->worker)
		device->driver->count(device, sums);
}

int taio_message_count(struct taio *e, unsigned int device,
		       struct taio_message_counters *ret_counters, size_t size)
{
	if (!ret_counters || size < sizeof(*ret_counters) ||
	    (device >= e->device_count && device != PICK_NONE))
		return -EINVAL;
	memset(ret_counters, 0, size);
	if (device == PICK_NONE)
		messages_add(ret_counters, &e->messages);
	for (unsigned int i = 0; i < e->device_count; i++)
		if (device == PICK_NONE || device == i)
			api_count(e, i, ret_counters);
	return 0;
}

/* ---- policy ---- */

static int api_policy(struct taio *e, const char *policy, int force_bpf)
{
	int rc;

	if (!policy || !*policy)
		return -EINVAL;
	rc = policy_swap(e->policy, policy, force_bpf, e->refusal, sizeof(e->refusal));
	if (rc == 0)
		engine_policy_changed(e);
	return rc;
}

int taio_policy_swap(struct taio *e, const char *policy)
{
	return api_policy(e, policy, 0);
}

int taio_policy_load(struct taio *e, const char *policy)
{
	return api_policy(e, policy, 1);
}

int taio_policy_canary(struct taio *e, const char *policy, unsigned int permille, uint64_t ns)
{
	struct policy_share share = { .permille = permille, .ns = ns };

	if (!policy || !*policy)
		return -EINVAL;
	return policy_canary(e->policy, policy, &share, e->refusal, sizeof(e->refusal));
}

int taio_policy_decide(struct taio *e, int promote)
{
	int rc = policy_decide(e->policy, promote, e->refusal, sizeof(e->refusal));

	if (rc == 0)
		engine_policy_changed(e);
	return rc;
}

int taio_policy_compare(struct taio *e, struct taio_policy_comparison *rows, size_t size,
			unsigned int max)
{
	struct taio_policy_comparison row[TAIO_CLASSES];
	struct policy_comparison whole;
	unsigned int count;

	if (size < sizeof(row[0]) || (max && !rows))
		return -EINVAL;
	count = policy_compare(e->policy, &whole, row, max < TAIO_CLASSES ? max : TAIO_CLASSES);
	if (!whole.permille)
		return -ENOENT;
	for (unsigned int i = 0; i < count; i++) {
		struct taio_policy_comparison *to = (void *)((char *)rows + i * size);

		memset(to, 0, size);
		*to = row[i];
	}
	return (int)count;
}

int taio_policy_show(struct taio *e, struct taio_policy_info *ret_info, size_t size)
{
	if (!ret_info || size < sizeof(*ret_info))
		return -EINVAL;
	memset(ret_info, 0, size);
	policy_info(e->policy, ret_info);
	return 0;
}
