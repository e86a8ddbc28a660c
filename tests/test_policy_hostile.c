/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_policy_hostile.c: policies that are broken or mean to be, tests/bad_policies/, and noise that
 * others write into the maps. What cannot be loaded is refused with one sentence that says what to
 * change; what can runs beside real copies without a wrong byte, and the watchdog puts the built-in
 * policy in its place and says why. In the kernel, so as root, in a mount namespace of its own.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "policy/bpf_sys.h"
#include "policy_world.h"

/* ---- refused ---- */

static const struct {
	const char *name, *sentence;
} hostile_refused[] = {
	{ "bad_name", "bad_name.bpf.o: refused: the name of the policy must be letters, digits, - "
		      "and _" },
	{ "missing_map", "missing_map.bpf.o: refused: policy 'missing_map' has no map taio_work" },
	{ "no_policy", "no_policy.bpf.o: refused: no taio_policy_abi (not a taio policy?)" },
	{ "no_start",
	  "no_start.bpf.o: refused: policy 'no_start' has no program taio_start of type "
	  "syscall" },
	{ "plain_map", "plain_map.bpf.o: refused: map taio_ctl of policy 'plain_map' is not an "
		       "mmapable array with __u32 keys" },
	{ "wrong_abi",
	  "wrong_abi.bpf.o: refused: policy 'wrong_abi' was built for ABI 999, this engine "
	  "is ABI " },
	{ "wrong_map",
	  "wrong_map.bpf.o: refused: map taio_lat of policy 'wrong_map' has 4096 values" },
	{ "endless", "endless.bpf.o: the kernel verifier refused policy 'endless': infinite loop "
		     "detected" },
	{ "no_null_check", "the kernel verifier refused policy 'no_null_check': R" },
	{ "too_much_work", "the kernel verifier refused policy 'too_much_work': " },
	{ "wild_index", "the kernel verifier refused policy 'wild_index': R" },
	{ "wild_pointer", "the kernel verifier refused policy 'wild_pointer': R" },
	{ "writes_beyond", "the kernel verifier refused policy 'writes_beyond': R" },
};

static void need_kernel(void)
{
	const char *lacks = world_lacks();

	if (lacks)
		cr_skip("%s", lacks);
	if (access(built("bad_policies/endless.bpf.o"), R_OK))
		cr_skip("bad policies were not built");
}

static const char *bad(const char *name)
{
	char file[64];

	snprintf(file, sizeof(file), "bad_policies/%s.bpf.o", name);
	return built(file);
}

Test(policy_hostile, what_cannot_run_is_refused_with_one_sentence_for_its_author,
     .init = need_kernel)
{
	cr_assert_eq(open_policy("tab", 1), 0, "%s", why);
	for (size_t i = 0; i < sizeof(hostile_refused) / sizeof(hostile_refused[0]); i++) {
		const char *name = hostile_refused[i].name;
		int err = policy_swap(policy, bad(name), 1, why, sizeof(why));

		cr_expect_eq(err, -EBADMSG, "%s: %d", name, err);
		cr_expect(strstr(why, hostile_refused[i].sentence), "%s: said: %s", name, why);
		cr_expect_null(strchr(why, '\n'), "%s: more than one line", name);
		cr_expect_str_eq(info().name, "tab");
	}
	push(9000);
	policy_tick(policy, policy_now_ns(), 0);
	cr_expect(drained(1000), "the running policy does not tick any more");
	policy_close(policy);
}

/* ---- run ---- */

#define FLIGHT 4
#define BYTES  (64 * 1024)

/* An engine at work. */
struct victim {
	const char *name, *sentence; /* NULL: it may stay, too */
	struct taio *engine;
	char log[4096];
	unsigned char *to[FLIGHT];
	size_t size[FLIGHT];
	unsigned int pending; /* mask */
	unsigned long long requests, wrong;
};

static unsigned char victim_from[BYTES];

static void victim_log(void *arg, const char *line)
{
	struct victim *v = arg;
	size_t used = strlen(v->log);

	snprintf(v->log + used, sizeof(v->log) - used, "%s\n", line);
}

static void victim_open(struct victim *v, const char *path, uint32_t flags)
{
	struct taio_engine_options options = { .size = sizeof(options),
					       .flags = flags,
					       .policy = "tab",
					       .log = victim_log,
					       .arg = v };

	v->log[0] = '\0';
	cr_assert_eq(taio_open(&v->engine, &options), 0);
	cr_assert_eq(taio_policy_load(v->engine, path), 0, "%s: %s", v->name,
		     taio_refusal(v->engine));
	for (unsigned int i = 0; i < FLIGHT; i++)
		v->to[i] = calloc(1, BYTES);
	for (size_t i = 0; i < BYTES; i++)
		victim_from[i] = (unsigned char)(i * 7 + i / 256);
}

static void victim_submit(struct victim *v, unsigned int slot)
{
	struct taio_endpoint from, to;

	v->size[slot] = 2048 + (size_t)(v->requests * 977 + slot * 131) % (BYTES - 2048);
	v->to[slot][v->size[slot] - 1] = (unsigned char)~victim_from[v->size[slot] - 1];
	from = taio_memory(victim_from, v->size[slot]);
	to = taio_memory(v->to[slot], v->size[slot]);
	if (slot == 0) {
		from = taio_path_at("/proc/self/exe", 0, v->size[slot]);
		to = taio_null();
	}
	if (taio_copy(v->engine, &from, &to, NULL, slot))
		v->wrong++;
	else
		v->pending |= 1U << slot;
}

static void victim_event(struct victim *v, const struct taio_event *event)
{
	unsigned int slot = (unsigned int)event->cookie;

	v->requests++;
	if (slot >= FLIGHT || !(v->pending & 1U << slot)) {
		v->wrong++;
		return;
	}
	v->pending &= ~(1U << slot);
	if (event->result != (int64_t)v->size[slot] || event->device == 255 ||
	    (slot && memcmp(v->to[slot], victim_from, v->size[slot])))
		v->wrong++;
}

static void victim_turn(struct victim *v, unsigned int min)
{
	struct taio_event events[FLIGHT];
	int n;

	n = taio_get_events(v->engine, events, min, FLIGHT, 1000000000);
	for (int i = 0; i < n; i++)
		victim_event(v, &events[i]);
}

static void victim_work(struct victim *v, unsigned int rounds)
{
	for (unsigned int r = 0; r < rounds; r++) {
		for (unsigned int slot = 0; slot < FLIGHT; slot++)
			if (!(v->pending & 1U << slot))
				victim_submit(v, slot);
		victim_turn(v, 1);
	}
}

static struct taio_policy_info victim_info(const struct victim *v)
{
	struct taio_policy_info ret;

	cr_assert_eq(taio_policy_show(v->engine, &ret, sizeof(ret)), 0);
	return ret;
}

static void victim_close(struct victim *v)
{
	for (unsigned int i = 0; v->pending && i < 100; i++)
		victim_turn(v, 1);
	cr_expect_eq(v->pending, 0, "%s: a request was lost", v->name);
	cr_expect_eq(v->wrong, 0, "%s: %llu of %llu requests went wrong", v->name, v->wrong,
		     v->requests);
	cr_expect_gt(v->requests, 100, "%s", v->name);
	taio_close(v->engine);
	for (unsigned int i = 0; i < FLIGHT; i++)
		free(v->to[i]);
}

static uint64_t now_ms(void)
{
	return policy_now_ns() / 1000000;
}

static struct victim victims[] = {
	{ .name = "zero_price", .sentence = "it makes no prices" },
	{ .name = "max_price", .sentence = "its prices are absurd" },
	{ .name = "constant_price", .sentence = "its prices are absurd" },
	{ .name = "random_price", .sentence = "its prices are absurd" },
	{ .name = "garbage_price", .sentence = "its prices are absurd" },
	{ .name = "dead_device", .sentence = "its prices are absurd" },
	{ .name = "flapping", .sentence = "its prices are absurd" },
	{ .name = "never_updates", .sentence = "its prices are stale" },
	{ .name = "usurper", .sentence = "its map taio_ctl was damaged" },
	{ .name = "vandal", .sentence = "its " },
	{ .name = "random_rank" },
	{ .name = "no_timer" },
	{ .name = "slow_price" },
};
#define VICTIMS (sizeof(victims) / sizeof(victims[0]))

static int all_bitten(void)
{
	for (size_t i = 0; i < VICTIMS; i++)
		if (victims[i].sentence && !victim_info(&victims[i]).fallbacks)
			return 0;
	return 1;
}

static void expect_bitten(struct victim *v)
{
	struct taio_policy_info now = victim_info(v);

	if (!v->sentence) {
		if (!now.fallbacks)
			cr_expect_str_eq(now.name, v->name);
		return;
	}
	cr_expect_eq(now.fallbacks, 1, "%s is still there", v->name);
	cr_expect_str_eq(now.name, "tab", "%s", v->name);
	cr_expect_eq(now.where, TAIO_POLICY_NATIVE);
	cr_expect(!strncmp(now.reason, v->sentence, strlen(v->sentence)), "%s: said: %s", v->name,
		  now.reason);
	cr_expect(strstr(v->log, "is replaced by the built-in 'tab': its ") ||
			  strstr(v->log, "is replaced by the built-in 'tab': it "),
		  "%s: logged: %s", v->name, v->log);
}

Test(policy_hostile, what_runs_moves_no_wrong_byte_and_is_replaced_with_a_reason,
     .init = need_kernel)
{
	uint64_t end = now_ms() + 20000;

	for (size_t i = 0; i < VICTIMS; i++)
		victim_open(&victims[i], bad(victims[i].name), TAIO_NO_CACHE);
	while (!all_bitten() && now_ms() < end)
		for (size_t i = 0; i < VICTIMS; i++)
			victim_work(&victims[i], 4);
	for (size_t i = 0; i < VICTIMS; i++) { /* and on, under the built-in policy */
		expect_bitten(&victims[i]);
		victim_work(&victims[i], 10);
		victim_close(&victims[i]);
	}
}

Test(policy_hostile, a_program_may_keep_a_bad_policy, .init = need_kernel)
{
	struct victim v = { .name = "constant_price" };
	uint64_t end = now_ms() + 1600; /* the watchdog would need one second */

	victim_open(&v, bad("constant_price"), TAIO_NO_CACHE | TAIO_NO_WATCHDOG);
	while (now_ms() < end)
		victim_work(&v, 4);
	cr_expect_str_eq(victim_info(&v).name, "constant_price");
	cr_expect_eq(victim_info(&v).watched, 0);
	victim_close(&v);
}

/* The honest ones must not be taken for bad. */
Test(policy_hostile, honest_policies_in_the_kernel_stay, .init = need_kernel)
{
	static struct victim honest[] = { { .name = "tab" }, { .name = "jsq" } };
	uint64_t end = now_ms() + 2000;
	char path[64];

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "../schedulers/%s.bpf.o", honest[i].name);
		victim_open(&honest[i], built(path), TAIO_NO_CACHE);
	}
	while (now_ms() < end)
		for (size_t i = 0; i < 2; i++)
			victim_work(&honest[i], 4);
	for (size_t i = 0; i < 2; i++) {
		cr_expect_eq(victim_info(&honest[i]).watched, 1);
		cr_expect_str_eq(victim_info(&honest[i]).name, honest[i].name, "%s: %s",
				 honest[i].name, victim_info(&honest[i]).reason);
		victim_close(&honest[i]);
	}
}

/* ---- noise from outside ---- */

struct noise {
	void *at[OBJECT_MAPS];
	size_t size[OBJECT_MAPS];
};

/* The maps of the running policy, found among our own descriptors, as another process would find
 * them under their pins. */
static void noise_open(struct noise *noise)
{
	memset(noise, 0, sizeof(*noise));
	for (int fd = 3; fd < 256; fd++) {
		struct bpf_sys_shape shape;

		if (bpf_sys_shape(fd, &shape))
			continue;
		for (unsigned int i = 0; i < OBJECT_MAPS; i++) {
			if (strcmp(shape.name, object_shapes[i].name) ||
			    object_shapes[i].use != OBJECT_SHARED || noise->at[i])
				continue;
			noise->size[i] = (size_t)shape.value_size * shape.max_entries;
			noise->at[i] = mmap(NULL, (noise->size[i] + 4095) & ~(size_t)4095,
					    PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
			cr_assert_neq(noise->at[i], MAP_FAILED);
		}
	}
	cr_assert_not_null(noise->at[OBJECT_PRICE]);
}

static void noise_close(struct noise *noise)
{
	for (unsigned int i = 0; i < OBJECT_MAPS; i++)
		if (noise->at[i])
			munmap(noise->at[i], (noise->size[i] + 4095) & ~(size_t)4095);
}

/* @part: every so many-th word is overwritten. */
static void noise_write(struct noise *noise, unsigned int map, unsigned int part)
{
	static uint64_t x = 88172645463325252ULL;
	volatile uint32_t *word = noise->at[map];

	for (size_t i = 0; i < noise->size[map] / 4; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		if (x % part == 0)
			word[i] = (x >> 60) == 0 ? 0xffffffff : (uint32_t)(x >> 24);
	}
}

/* Also what an engine remembers on disk at its end comes from these maps. */
static void noise_home(char *directory)
{
	cr_assert_not_null(mkdtemp(directory));
	setenv("XDG_CACHE_HOME", directory, 1);
}

static void noise_home_away(const char *directory)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	cr_expect_eq(system(command), 0);
}

Test(policy_hostile, noise_written_into_all_maps_while_running_moves_no_wrong_byte,
     .init = need_kernel)
{
	static const unsigned int map[] = { OBJECT_CTX,   OBJECT_CAPS,   OBJECT_DEV,   OBJECT_LAT,
					    OBJECT_PRICE, OBJECT_ENGINE, OBJECT_STATE, OBJECT_CTL };
	char home[] = "/tmp/taio-noise.XXXXXX";
	struct victim v = { .name = "noise" };
	struct noise noise;
	uint64_t end;

	noise_home(home);
	victim_open(&v, built("../schedulers/tab.bpf.o"), 0);
	noise_open(&noise);
	victim_work(&v, 200);
	for (unsigned int m = 0; m < sizeof(map) / sizeof(map[0]); m++) {
		if (!noise.at[map[m]])
			continue;
		for (unsigned int i = 0; i < 20; i++) {
			noise_write(&noise, map[m], i % 4 ? 64 : 1);
			victim_work(&v, 10);
		}
	}
	/* The control block stays damaged: the policy has to go. */
	end = now_ms() + 10000;
	while (!victim_info(&v).fallbacks && now_ms() < end)
		victim_work(&v, 10);
	cr_expect_str_eq(victim_info(&v).name, "tab");
	cr_expect_eq(victim_info(&v).where, TAIO_POLICY_NATIVE);
	cr_expect(victim_info(&v).reason[0]);
	victim_work(&v, 200);
	victim_close(&v);
	noise_close(&noise);
	noise_home_away(home);
}

Test(policy_hostile, an_engine_that_ends_amid_noise_ends_well, .init = need_kernel)
{
	char home[] = "/tmp/taio-noise.XXXXXX";
	struct victim v = { .name = "noise" };
	struct noise noise;
	uint64_t end = now_ms() + 250; /* old enough to remember what it learnt */

	noise_home(home);
	victim_open(&v, built("../schedulers/tab.bpf.o"), 0);
	noise_open(&noise);
	while (now_ms() < end || v.requests < 200) /* a busy machine needs longer */
		victim_work(&v, 20);
	noise_write(&noise, OBJECT_LAT, 1);
	noise_write(&noise, OBJECT_CAPS, 1);
	memset(noise.at[OBJECT_CTX], 'x', noise.size[OBJECT_CTX]); /* names without an end */
	victim_close(&v);
	noise_close(&noise);
	noise_home_away(home);
}

Test(policy_hostile, a_moment_of_noise_does_not_cost_a_policy_its_place, .init = need_kernel)
{
	struct victim v = { .name = "noise" };
	uint64_t end = now_ms() + 1500;
	struct noise noise;

	victim_open(&v, built("../schedulers/tab.bpf.o"), TAIO_NO_CACHE);
	noise_open(&noise);
	victim_work(&v, 200);
	noise_write(&noise, OBJECT_PRICE, 1);
	noise_write(&noise, OBJECT_CAPS, 1);
	while (now_ms() < end || v.requests < 200)
		victim_work(&v, 10);
	cr_expect_str_eq(victim_info(&v).name, "tab");
	cr_expect_eq(victim_info(&v).where, TAIO_POLICY_BPF, "%s", victim_info(&v).reason);
	victim_close(&v);
	noise_close(&noise);
}
