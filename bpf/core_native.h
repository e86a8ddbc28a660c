/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * core_native.h: the entries of a native twin and what it exports; see taio_policy_native.h.
 * Part of core.bpf.h, not to be included alone.
 */
#ifndef TAIO_CORE_NATIVE_H
#define TAIO_CORE_NATIVE_H

static void core_native_start(struct taio_native_maps *maps, __u64 now_ns)
{
	taio_native = maps;
	core_take_over(maps->ctl, now_ns);
}

static int core_native_tick(struct taio_native_maps *maps, __u64 now_ns)
{
	taio_native = maps;
	if (maps->generation != maps->ctl->generation)
		return -ESTALE;
	return (int)core_tick(maps->work, maps->ctl, now_ns);
}

static int core_native_pick(struct taio_native_maps *maps)
{
	taio_native = maps;
	if (!taio_hooks.pick)
		return -ENOSYS;
	core_pick_batch(maps->batch);
	return (int)maps->batch->count;
}

#define TAIO_POLICY(NAME, TEXT, ...)                                 \
	static const char core_policy_name[16] = #NAME;              \
	static const struct taio_hooks taio_hooks = { __VA_ARGS__ }; \
	extern const struct taio_native_policy taio_policy_##NAME;   \
	const struct taio_native_policy taio_policy_##NAME = {       \
		.name = #NAME,                                       \
		.text = TEXT,                                        \
		.hooks = #__VA_ARGS__,                               \
		.abi = TAIO_POLICY_ABI,                              \
		.tunables = taio_tunables,                           \
		.start = core_native_start,                          \
		.tick = core_native_tick,                            \
		.pick = core_native_pick,                            \
	};

#endif /* TAIO_CORE_NATIVE_H */
