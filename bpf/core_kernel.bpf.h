/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * core_kernel.bpf.h: the programs of a policy object and its timer. Part of core.bpf.h, not to be
 * included alone.
 *
 *	taio_start  takes the maps over from whatever policy ran on them, and starts the timer; for
 *	            who loads the object. Return: 0, or negative errno.
 *	taio_tick   learns and prices at once, and wakes the timer if it sleeps; for engines.
 *	            Return: samples taken; -EBUSY: a tick runs just now, which does as well;
 *	            -ESTALE: another object took the maps over.
 *	taio_pick   lets the pick hook answer what stands in taio_batch; for the one engine that
 *	            the maps belong to. Return: answers; -ENOSYS: there is no such hook; -ESTALE.
 *	taio_stop   ends the timer and says in taio_ctl that nobody prices any more.
 *
 * Timer and programs may meet, on one CPU even, so none waits: who comes second leaves.
 */
#ifndef TAIO_CORE_KERNEL_BPF_H
#define TAIO_CORE_KERNEL_BPF_H

#define CORE_EBUSY  16
#define CORE_EINVAL 22
#define CORE_ENOSYS 38
#define CORE_ESTALE 116

#define CORE_CLOCK_MONOTONIC 1

/* A map of its own: a map with a timer cannot be mmapped. */
struct taio_timer {
	struct bpf_timer timer;
};
CORE_MAP(taio_timer, 1, 0)

const volatile struct taio_tunable taio_tunables[TAIO_TUNABLES_MAX]; /* by TAIO_TUNABLES() */

static __always_inline u32 core_lock(struct taio_work *work)
{
	return __sync_val_compare_and_swap(&work->busy, 0, 1) == 0;
}

static __always_inline void core_unlock(struct taio_work *work)
{
	__sync_lock_test_and_set(&work->busy, 0);
}

static __always_inline u64 core_now(const struct taio_work *work)
{
	return work->now_ns ? work->now_ns : bpf_ktime_get_ns();
}

static __always_inline u64 core_period(const struct taio_ctl *ctl)
{
	u32 period = ctl->tick_ns;

	if (!period)
		return CORE_TICK_NS;
	return period < CORE_TICK_MIN_NS   ? CORE_TICK_MIN_NS
	       : period > CORE_TICK_MAX_NS ? CORE_TICK_MAX_NS
					   : period;
}

static __always_inline void core_arm(struct taio_ctl *ctl, struct taio_timer *timer)
{
	ctl->idle = 0;
	ctl->armed = 1;
	if (bpf_timer_start(&timer->timer, core_period(ctl), 0))
		ctl->armed = 0; /* the next taio_tick tries again */
}

struct core_look {
	u32 waiting;
};

static long core_look_engine(u32 index, void *arg)
{
	struct core_look *look = arg;
	struct taio_engine *engine = core_at_taio_engine(index);

	if (!engine)
		return 1;
	look->waiting += CORE_VOLATILE(u32, engine->head) - engine->tail;
	return 0;
}

static int core_timer(void *map, u32 *key, struct taio_timer *timer)
{
	struct taio_work *work = core_at_taio_work(0);
	struct taio_ctl *ctl = core_at_taio_ctl(0);
	struct core_look look = { 0 };

	(void)map;
	(void)key;
	if (!work || !ctl || ctl->generation != taio_generation)
		return 0;
	if (core_lock(work)) {
		if (core_tick(work, ctl, core_now(work)) || work->dirty)
			ctl->idle = 0;
		else
			ctl->idle++;
		core_unlock(work);
	}
	if (ctl->idle >= CORE_IDLE_TICKS) {
		/* An engine that writes a sample now must see that we sleep, or we its sample. */
		__sync_lock_test_and_set(&ctl->armed, 0);
		core_loop(TAIO_ENGINES, core_look_engine, &look);
		if (!look.waiting)
			return 0;
		ctl->idle = 0;
	}
	ctl->armed = 1;
	bpf_timer_start(&timer->timer, core_period(ctl), 0);
	return 0;
}

SEC("syscall")
int taio_start(void *context)
{
	struct taio_timer *timer = core_at_taio_timer(0);
	struct taio_work *work = core_at_taio_work(0);
	struct taio_ctl *ctl = core_at_taio_ctl(0);
	int err;

	(void)context;
	if (!timer || !work || !ctl)
		return -CORE_EINVAL;
	if (!core_lock(work))
		return -CORE_EBUSY;
	core_take_over(ctl, core_now(work));
	core_unlock(work);
	err = bpf_timer_init(&timer->timer, &taio_timer, CORE_CLOCK_MONOTONIC);
	if (err && err != -CORE_EBUSY) /* busy: it was there, this is a swap */
		return err;
	err = bpf_timer_set_callback(&timer->timer, core_timer);
	if (err)
		return err;
	core_arm(ctl, timer);
	return 0;
}

SEC("syscall")
int taio_tick(void *context)
{
	struct taio_timer *timer = core_at_taio_timer(0);
	struct taio_work *work = core_at_taio_work(0);
	struct taio_ctl *ctl = core_at_taio_ctl(0);
	u32 taken;

	(void)context;
	if (!timer || !work || !ctl)
		return -CORE_EINVAL;
	if (ctl->generation != taio_generation)
		return -CORE_ESTALE;
	if (!core_lock(work))
		return -CORE_EBUSY;
	core_recount(ctl);
	taken = core_tick(work, ctl, core_now(work));
	core_unlock(work);
	if (!ctl->armed)
		core_arm(ctl, timer);
	return (int)taken;
}

SEC("syscall")
int taio_pick(void *context)
{
	struct taio_batch *batch = core_at_taio_batch(0);
	struct taio_ctl *ctl = core_at_taio_ctl(0);

	(void)context;
	if (!batch || !ctl)
		return -CORE_EINVAL;
	if (!taio_hooks.pick)
		return -CORE_ENOSYS;
	if (ctl->generation != taio_generation)
		return -CORE_ESTALE;
	core_pick_batch(batch);
	return (int)(batch->count & 127);
}

SEC("syscall")
int taio_stop(void *context)
{
	struct taio_timer *timer = core_at_taio_timer(0);
	struct taio_ctl *ctl = core_at_taio_ctl(0);

	(void)context;
	if (!timer || !ctl)
		return -CORE_EINVAL;
	ctl->generation++;
	ctl->magic = 0;
	bpf_timer_cancel(&timer->timer);
	ctl->armed = 0;
	return 0;
}

#define TAIO_POLICY(NAME, TEXT, ...)                                 \
	const volatile char taio_policy_name[16] = #NAME;            \
	const volatile char taio_policy_text[96] = TEXT;             \
	const volatile char taio_policy_hooks[256] = #__VA_ARGS__;   \
	const volatile u32 taio_policy_abi = TAIO_POLICY_ABI;        \
	static const struct taio_hooks taio_hooks = { __VA_ARGS__ }; \
	char taio_license[] SEC("license") = "Dual MIT/GPL";

#endif /* TAIO_CORE_KERNEL_BPF_H */
