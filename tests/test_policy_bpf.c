/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_policy_bpf.c: policy objects in the kernel: load, tick, timer, swap, and objects that must be
 * refused with one clear sentence while the running policy stays.
 */
#include <fcntl.h>

#include "policy/bpf_sys.h"
#include "policy/native.h"
#include "policy_world.h"

static void setup(void)
{
	const char *lacks = world_lacks();

	if (lacks)
		cr_skip("%s", lacks);
	cr_assert_eq(open_policy("tab", 1), 0, "%s", why);
	cr_assert_eq(info().where, TAIO_POLICY_BPF);
}

static void teardown(void)
{
	policy_close(policy);
}

#define BPF_TEST(NAME) Test(policy_bpf, NAME, .init = setup, .fini = teardown)

static void tick_now(void)
{
	policy_tick(policy, policy_now_ns(), 1);
}

static void swap_to(const char *name, int force_bpf)
{
	cr_assert_eq(policy_swap(policy, name, force_bpf, why, sizeof(why)), 0, "%s: %s", name,
		     why);
}

BPF_TEST(an_object_runs_in_the_kernel_and_says_who_it_is)
{
	cr_expect_str_eq(info().name, "tab");
	cr_expect(info().text[0]);
	cr_expect_eq(info().abi, TAIO_POLICY_ABI);
	cr_expect_str_eq(policy_maps(policy)->ctl->policy, "tab");
	cr_expect_eq(policy_maps(policy)->shared, 0);
}

BPF_TEST(an_urgent_tick_learns_and_prices_at_once)
{
	for (unsigned int i = 0; i < 20; i++)
		push(9000);
	tick_now();
	cr_expect(drained(1000)); /* a tick of the timer may have been first */
	cr_expect_eq(lat()->count, 20);
	cr_expect(price() > 8900 && price() < 9100, "%u", price());
}

BPF_TEST(the_timer_learns_and_prices_by_itself)
{
	push(9000);
	cr_expect(drained(1000), "the timer does not tick");
	cr_expect(ticks(5));
	cr_expect_eq(lat()->count, 1);
	cr_expect_gt(price(), 0);
}

/* What `taio policy load NAME key=value` does. */
BPF_TEST(each_policy_of_the_library_loads_with_each_of_its_tunables)
{
	char text[128];

	for (unsigned int p = 0; native_at(p); p++) {
		const struct taio_native_policy *twin = native_at(p);
		const struct taio_tunable *t = twin->tunables;

		swap_to(twin->name, 1);
		cr_expect_str_eq(policy_maps(policy)->ctl->policy, twin->name);
		cr_expect_eq(info().where, TAIO_POLICY_BPF);
		for (unsigned int i = 0; i < TAIO_TUNABLES_MAX && t[i].name[0]; i++) {
			snprintf(text, sizeof(text), "%s %s=%u", twin->name, t[i].name, t[i].max);
			swap_to(text, 1);
			cr_expect_eq(policy_maps(policy)->ctl->tune[i], t[i].max, "%s", text);
			snprintf(text, sizeof(text), "%s %s=%llu", twin->name, t[i].name,
				 t[i].max + 1ULL);
			cr_expect_eq(policy_swap(policy, text, 1, why, sizeof(why)), -EINVAL, "%s",
				     text);
		}
	}
}

/* ---- the pick hook ---- */

BPF_TEST(a_pick_hook_in_the_kernel_answers_and_another_policy_has_none)
{
	const struct taio_maps *maps = policy_maps(policy);
	struct taio_batch *batch = maps->batch;

	cr_assert_not_null(batch);
	cr_expect_eq(maps->pick(maps->pick_arg), -ENOSYS, "tab has one");
	cr_expect_not(maps->ctl->flags & TAIO_POLICY_PICKS);
	push(9000); /* there is a context */
	swap_to("p2c", 1);
	maps = policy_maps(policy);
	cr_expect_eq(maps->batch, batch, "the maps changed");
	cr_expect(maps->ctl->flags & TAIO_POLICY_PICKS);
	batch->random = 1;
	batch->count = 2;
	batch->ask[0] = batch->ask[1] = (struct taio_ask){ .cell = TAIO_CLASSES, .may = 3 };
	cr_expect_eq(maps->pick(maps->pick_arg), 2);
	cr_expect_lt(batch->ask[0].slot, 2);
	batch->count = ~0U; /* no more than there are, whatever it says */
	cr_expect_geq(maps->pick(maps->pick_arg), 0);
}

static int sleeps_within(unsigned int ms)
{
	for (unsigned int i = 0; i < ms && policy_maps(policy)->ctl->armed; i++)
		usleep(1000);
	return !policy_maps(policy)->ctl->armed;
}

BPF_TEST(an_idle_timer_stops_and_the_next_tick_of_the_engine_wakes_it)
{
	uint64_t before;

	cr_assert(sleeps_within(5000), "it still ticks after 5 s without a sample");
	before = info().ticks;
	usleep(50000);
	cr_expect_eq(info().ticks, before);
	push(9000);
	policy_tick(policy, policy_now_ns(), 0);
	cr_expect(drained(1000));
	cr_expect_eq(policy_maps(policy)->ctl->armed, 1);
	cr_expect(ticks(5));
}

BPF_TEST(a_sample_that_comes_while_the_timer_falls_asleep_is_not_forgotten)
{
	for (unsigned int i = 0; i < 20; i++) {
		cr_assert(sleeps_within(5000));
		push(9000);
		policy_tick(policy, policy_now_ns(), 0);
		cr_assert(drained(1000));
		/* about when the 64 quiet ticks are over */
		usleep(60000 + 500 * i);
		push(9000);
		policy_tick(policy, policy_now_ns(), 0);
		cr_assert(drained(1000), "round %u", i);
	}
	cr_expect_eq(info().samples, 40);
}

BPF_TEST(a_swap_in_the_kernel_keeps_what_was_measured)
{
	const struct taio_maps *maps = policy_maps(policy);
	const void *at = maps->lat;
	struct taio_lat before;

	for (unsigned int i = 0; i < 50; i++)
		push(9000);
	cr_assert(drained(1000));
	before = *lat();
	swap_to("static", 1);
	cr_expect_str_eq(info().name, "static");
	cr_expect_eq(at, maps->lat, "the maps changed");
	cr_expect_eq(memcmp(&before, lat(), sizeof(before)), 0);
	cr_expect_lt(price(), 100, "not the price of static: %u", price());
	swap_to("tab", 1);
	cr_expect_gt(price(), 8000, "what was measured is gone: %u", price());
	cr_expect_eq(info().swaps, 2);
}

BPF_TEST(kernel_and_native_hand_over_to_each_other)
{
	for (unsigned int i = 0; i < 50; i++)
		push(9000);
	cr_assert(drained(1000));
	policy_close(policy);
	cr_assert_eq(open_policy("tab", 0), 0);
	cr_assert_eq(info().where, TAIO_POLICY_NATIVE);
	for (unsigned int i = 0; i < 30; i++)
		push(7000);
	swap_to("tab", 1);
	cr_expect_eq(info().where, TAIO_POLICY_BPF);
	cr_expect_eq(policy_maps(policy)->ctx[1].key, 77);
	cr_expect_eq(lat()->count, 30, "%lu", (unsigned long)lat()->count);
	cr_expect(price() > 6900 && price() < 7100, "%u", price());
	push(7000);
	cr_assert(drained(1000));
	cr_assert_eq(policy_reject(policy, "a test"), 0);
	cr_expect_eq(info().where, TAIO_POLICY_NATIVE);
	cr_expect_eq(lat()->count, 31);
	cr_expect(price() > 6900 && price() < 7100, "%u", price());
}

BPF_TEST(fifty_swaps_lose_no_sample)
{
	static const char *const names[] = { "jsq", "static", "tab" };
	unsigned int pushed = 0;

	for (unsigned int i = 0; i < 50; i++) {
		for (unsigned int k = 0; k < 40; k++, pushed++)
			push(9000);
		swap_to(names[i % 3], 1);
	}
	tick_now();
	cr_assert(drained(1000));
	cr_expect_eq(info().samples, pushed);
	cr_expect_eq(policy_maps(policy)->ctl->refused, 0);
}

BPF_TEST(a_tunable_is_set_before_load)
{
	swap_to("tab memory=1", 1);
	for (unsigned int i = 0; i < 50; i++)
		push(9000);
	push(11000);
	cr_assert(drained(1000));
	cr_expect_gt(price(), 10000, "%u", price());
	cr_expect_eq(policy_swap(policy, "tab memory=256", 1, why, sizeof(why)), -EINVAL);
	cr_expect_str_eq(why, "policy 'tab': memory must be 1..255 completions, not 256");
}

/* ---- what must be refused ---- */

static void expect_refusal(const char *file, int err, const char *sentence)
{
	char path[PATH_MAX + 64];
	uint64_t samples = info().samples;

	snprintf(path, sizeof(path), "%s", file[0] == '/' ? file : built(file));
	if (file[0] != '/' && access(path, R_OK))
		cr_skip("%s was not built", file);
	cr_expect_eq(policy_swap(policy, path, 1, why, sizeof(why)), err, "%s: %s", file, why);
	cr_expect(strstr(why, sentence), "%s: said: %s", file, why);
	cr_expect_null(strchr(why, '\n'));
	cr_expect_str_eq(info().name, "tab");
	cr_expect_eq(info().swaps, 0);
	push(9000);
	policy_tick(policy, policy_now_ns(), 0); /* the timer may sleep by now */
	cr_expect(drained(1000), "%s: the running policy does not tick any more", file);
	cr_expect_eq(info().samples, samples + 1);
}

BPF_TEST(an_object_of_another_abi_is_refused)
{
	expect_refusal("bad_policies/wrong_abi.bpf.o", -EBADMSG,
		       "wrong_abi.bpf.o: refused: policy 'wrong_abi' was built for ABI 999, this "
		       "engine is ABI 2: rebuild it against include/taio_policy.h");
}

BPF_TEST(an_object_with_maps_of_another_size_is_refused)
{
	expect_refusal("bad_policies/wrong_map.bpf.o", -EBADMSG,
		       "wrong_map.bpf.o: refused: map taio_lat of policy 'wrong_map' has 4096");
}

BPF_TEST(an_object_that_the_verifier_refuses_is_told_by_the_line_that_matters)
{
	expect_refusal("bad_policies/no_null_check.bpf.o", -EBADMSG,
		       "the kernel verifier refused policy 'no_null_check': R");
	expect_refusal("bad_policies/endless.bpf.o", -EBADMSG,
		       "the kernel verifier refused policy 'endless': infinite loop detected");
	expect_refusal("bad_policies/wild_index.bpf.o", -EBADMSG,
		       "the kernel verifier refused policy 'wild_index': R");
}

BPF_TEST(an_object_that_is_no_policy_is_refused)
{
	expect_refusal("bad_policies/no_policy.bpf.o", -EBADMSG,
		       "no_policy.bpf.o: refused: no taio_policy_abi (not a taio policy?)");
}

BPF_TEST(a_file_that_is_no_object_is_refused)
{
	char path[] = "/tmp/taio-policy.XXXXXX";
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	expect_refusal(path, -EBADMSG, "refused: not a BPF object (compile with clang -target bpf");
	cr_assert_eq(write(fd, "\177ELF", 4), 4);
	expect_refusal(path, -EBADMSG, "refused: not a BPF object");
	close(fd);
	unlink(path);
	expect_refusal(path, -ENOENT, "No such file");
	expect_refusal("/proc/self/exe", -EBADMSG, "refused: not a BPF object");
}

BPF_TEST(a_damaged_object_is_refused)
{
	char path[] = "/tmp/taio-policy.XXXXXX", bytes[4096];
	int from = open(built("../schedulers/tab.bpf.o"), O_RDONLY), to = mkstemp(path);

	cr_assert(from >= 0 && to >= 0);
	for (unsigned int i = 0; i < 5; i++) { /* not all of it */
		cr_assert_eq(read(from, bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
		cr_assert_eq(write(to, bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
	}
	expect_refusal(path, -EBADMSG, "refused: libbpf cannot read it");
	close(from);
	close(to);
	unlink(path);
}

/* ---- seen from outside ---- */

static int dump_has(int map_fd, const char *const *words)
{
	struct bpf_sys_shape shape;
	char command[128], *text = malloc(1 << 20);
	size_t n;
	FILE *pipe;
	int all = 1;

	cr_assert_eq(bpf_sys_shape(map_fd, &shape), 0);
	snprintf(command, sizeof(command),
		 "PATH=$PATH:/usr/sbin bpftool map dump id %u | head -c 1000000", shape.id);
	pipe = popen(command, "r");
	n = fread(text, 1, (1 << 20) - 1, pipe);
	text[n] = '\0';
	pclose(pipe);
	for (; *words; words++) {
		if (!strstr(text, *words)) {
			cr_log_error("no %s in: %.300s", *words, text);
			all = 0;
		}
	}
	free(text);
	return all;
}

BPF_TEST(bpftool_prints_every_map_by_its_fields)
{
	static const char *const words[][6] = {
		[OBJECT_CTL] = { "\"policy\": \"", "\"armed\":", "\"samples\":", "\"swaps\":" },
		[OBJECT_CTX] = { "\"name\": \"", "\"dev\":", "\"scale\":" },
		[OBJECT_CAPS] = { "\"base_ns\":", "\"ps_per_byte\":", "\"parallel\":" },
		[OBJECT_DEV] = { "\"name\": \"", "\"health\":", "\"progress_ns\":" },
		[OBJECT_LAT] = { "\"count\":", "\"ewma_ns\":", "\"hist\":", "\"errors\":" },
		[OBJECT_PRICE] = { "\"cost\":", "\"probe\":", "\"version\":" },
		[OBJECT_ENGINE] = { "\"pid\":", "\"ring\":", "\"predicted_ns\":", "\"weight\":" },
		[OBJECT_STATE] = { "\"owner\":", "\"word\":" },
		[OBJECT_WORK] = { "\"busy\":", "\"dirty\":" },
	};
	struct policy_object object;
	char path[PATH_MAX + 64];

	if (system("PATH=$PATH:/usr/sbin; command -v bpftool > /dev/null"))
		cr_skip("bpftool is not installed");
	snprintf(path, sizeof(path), "%s", built("../schedulers/tab.bpf.o"));
	cr_assert_eq(object_load(&object, path, NULL, NULL, 1, why, sizeof(why)), 0, "%s", why);
	for (unsigned int i = 0; i <= OBJECT_WORK; i++)
		cr_expect(dump_has(object.map[i], words[i]), "%s", object_shapes[i].name);
	object_close(&object);
}

/* The maps of the running policy, found among our own descriptors. Return: how many. */
static unsigned int own_maps(uint32_t *ret_id)
{
	unsigned int found = 0;

	memset(ret_id, 0, OBJECT_MAPS * sizeof(*ret_id));
	for (int fd = 3; fd < 256; fd++) {
		struct bpf_sys_shape shape;

		if (bpf_sys_shape(fd, &shape))
			continue;
		for (unsigned int i = 0; i < OBJECT_MAPS; i++) {
			if (!strcmp(shape.name, object_shapes[i].name)) {
				found += !ret_id[i];
				ret_id[i] = shape.id;
			}
		}
	}
	return found;
}

/* What schedulers/README.md tells to type, for maps that are not pinned. */
static int put_by_bpftool(const uint32_t *map_id, const char *path)
{
	char command[4096];
	int n = snprintf(command, sizeof(command),
			 "PATH=$PATH:/usr/sbin; bpftool prog loadall %s /sys/fs/bpf/next", path);

	for (unsigned int i = 0; i < OBJECT_MAPS; i++)
		n += snprintf(command + n, sizeof(command) - (size_t)n, " map name %s id %u",
			      object_shapes[i].name, map_id[i]);
	snprintf(
		command + n, sizeof(command) - (size_t)n,
		" > /dev/null 2>&1 && bpftool prog run pinned /sys/fs/bpf/next/taio_start repeat 0 "
		"> /dev/null");
	return system(command);
}

BPF_TEST(an_engine_goes_on_with_an_object_that_bpftool_put_onto_its_maps)
{
	uint32_t map_id[OBJECT_MAPS];

	if (system("PATH=$PATH:/usr/sbin; command -v bpftool > /dev/null"))
		cr_skip("bpftool is not installed");
	push(9000);
	/* looking for bpftool may have taken so long that the timer sleeps */
	policy_tick(policy, policy_now_ns(), 0);
	cr_assert(drained(1000));
	cr_assert_eq(own_maps(map_id), OBJECT_MAPS);
	cr_assert_eq(put_by_bpftool(map_id, built("../schedulers/jsq.bpf.o")), 0);
	cr_expect_eq(policy_poll(policy), 1);
	cr_expect_str_eq(info().name, "jsq");
	cr_expect_eq(info().swaps, 1);
	cr_expect_eq(price(), 1U << 20, "%u", price());
	cr_expect_eq(lat()->count, 1);
	cr_assert(sleeps_within(5000));
	push(9000);
	policy_tick(policy, policy_now_ns(), 0); /* with the old program it would stay asleep */
	cr_expect(drained(1000));
}
