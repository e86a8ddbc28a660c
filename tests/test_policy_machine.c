/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_policy_machine.c: the machine-wide policy: engines of several processes and users on the same
 * prices, slots of processes that died, change and removal while engines run. All of it in a mount
 * namespace of the test's own, so that nothing else on the machine sees it.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "policy/admin.h"
#include "policy/bpf_sys.h"
#include "policy/machine.h"
#include "policy_world.h"

#define NOBODY 65534

static void say(const char *line)
{
	(void)line;
}

/* The installer is another process, which is gone before anything else happens. */
static int install(const char *name)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int err = admin_machine_install(name, say, why, sizeof(why));

		if (err)
			fprintf(stderr, "%s\n", why);
		_exit(err ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	return status;
}

static void setup(void)
{
	const char *lacks = world_lacks();

	if (lacks)
		cr_skip("%s", lacks);
	unsetenv("TAIO_POLICY");
	cr_assert_eq(install("tab"), 0);
}

#define MACHINE_TEST(NAME) Test(policy_machine, NAME, .init = setup)

/* Joins without asking for a policy, as programs do. */
static void join(void)
{
	cr_assert_eq(open_policy(NULL, 0), 0, "%s", why);
	cr_assert_eq(info().where, TAIO_POLICY_MACHINE, "%s", info().reason);
}

static void become_nobody(void)
{
	if (setgid(NOBODY) || setuid(NOBODY))
		_exit(100);
}

/* Runs @work in a process of its own. Return: its status. */
static int apart(int (*work)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(work());
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

MACHINE_TEST(an_engine_that_asks_for_nothing_joins_it)
{
	join();
	cr_expect_str_eq(info().name, "tab");
	cr_expect_eq(policy_maps(policy)->shared, 1);
	cr_expect_str_eq(info().reason, "");
	policy_close(policy);
}

MACHINE_TEST(an_engine_that_asks_for_a_policy_stays_apart)
{
	cr_assert_eq(open_policy("jsq", 0), 0);
	cr_expect_eq(info().where, TAIO_POLICY_NATIVE);
	policy_close(policy);
}

MACHINE_TEST(engines_share_what_they_measure_although_the_installer_is_gone)
{
	struct taio_policy *first;
	uint32_t learnt;

	join();
	first = policy;
	for (unsigned int i = 0; i < 50; i++)
		push(9000);
	policy_tick(policy, policy_now_ns(), 1);
	cr_assert(drained(1000));
	learnt = price();
	cr_expect(learnt > 8900 && learnt < 9100, "%u", learnt);
	join();
	cr_expect_neq(policy_maps(policy)->engine, policy_maps(first)->engine);
	cr_expect_eq(price(), learnt);
	cr_expect_eq(lat()->count, 50);
	push(9000);
	policy_tick(policy, policy_now_ns(), 0);
	cr_expect(drained(1000));
	cr_expect_eq(policy_maps(first)->lat[TAIO_CLASSES * TAIO_SLOTS].count, 51);
	policy_close(policy);
	policy_close(first);
}

MACHINE_TEST(the_load_of_all_engines_is_seen_by_each)
{
	struct taio_policy *first;

	join();
	first = policy;
	push(9000);
	policy_maps(first)->engine->in_flight[0] = 5;
	join();
	policy_maps(policy)->engine->in_flight[0] = 7;
	policy_tick(first, policy_now_ns(), 0);
	push(9000);
	policy_tick(policy, policy_now_ns(), 1);
	cr_assert(drained(1000));
	cr_expect_eq(policy_maps(policy)->dev[0].in_flight, 12);
	policy_close(first);
	push(9000);
	policy_tick(policy, policy_now_ns(), 1);
	cr_assert(drained(1000));
	cr_expect_eq(policy_maps(policy)->dev[0].in_flight, 7, "the load of one that left counts");
	policy_close(policy);
}

static int nobody_learns(void)
{
	become_nobody();
	if (open_policy(NULL, 0) || info().where != TAIO_POLICY_MACHINE)
		return 1;
	for (unsigned int i = 0; i < 30; i++)
		push(9000);
	policy_tick(policy, policy_now_ns(), 0);
	if (!drained(2000))
		return 2;
	if (price() < 8900 || price() > 9100)
		return 3;
	policy_close(policy);
	return 0;
}

MACHINE_TEST(an_unprivileged_process_reads_prices_and_contributes)
{
	cr_expect_eq(apart(nobody_learns), 0);
	join();
	cr_expect_eq(lat()->count, 30);
	policy_close(policy);
}

static int cannot_write(const char *map, size_t size)
{
	char path[128];
	void *at;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", MACHINE_DIRECTORY, map);
	fd = bpf_sys_get(path);
	if (fd < 0)
		return 1; /* cannot even open it */
	at = mmap(NULL, (size + 4095) & ~(size_t)4095, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return at == MAP_FAILED;
}

static int nobody_is_kept_out(void)
{
	become_nobody();
	if (!cannot_write("taio_price", sizeof(struct taio_price)) ||
	    !cannot_write("taio_lat", sizeof(struct taio_lat)) ||
	    !cannot_write("taio_ctl", sizeof(struct taio_ctl)) ||
	    !cannot_write("taio_state", sizeof(struct taio_state)) ||
	    !cannot_write("taio_work", sizeof(struct taio_work)) ||
	    !cannot_write("taio_batch", sizeof(struct taio_batch)))
		return 1;
	if (bpf_sys_get(MACHINE_DIRECTORY "/taio_start") >= 0 ||
	    bpf_sys_get(MACHINE_DIRECTORY "/taio_pick") >= 0 ||
	    bpf_sys_get(MACHINE_DIRECTORY "/taio_stop") >= 0)
		return 2;
	if (admin_machine_install("jsq", say, why, sizeof(why)) != -EPERM)
		return 3;
	if (admin_machine_uninstall(why, sizeof(why)) != -EPERM)
		return 4;
	return 0;
}

MACHINE_TEST(an_unprivileged_process_can_neither_write_prices_nor_change_the_policy)
{
	cr_expect_eq(apart(nobody_is_kept_out), 0);
	cr_expect(cannot_write("taio_price", sizeof(struct taio_price)), "not even root");
}

static int picked_slot(uint64_t in_ns)
{
	const struct taio_maps *maps = policy_maps(policy);
	struct taio_batch *batch = maps->batch;

	batch->now_ns = policy_now_ns();
	batch->count = 1;
	batch->ask[0] = (struct taio_ask){ .cell = TAIO_CLASSES,
					   .may = 3,
					   .goal = TAIO_GOAL_CPU,
					   .deadline_ns = batch->now_ns + in_ns };
	return maps->pick(maps->pick_arg) < 0 ? -1 : batch->ask[0].slot;
}

static int nobody_picks(void)
{
	const struct taio_maps *maps;
	struct taio_policy *first;

	become_nobody();
	if (open_policy(NULL, 0) || info().where != TAIO_POLICY_MACHINE)
		return 1;
	first = policy;
	if (open_policy(NULL, 0) || policy_maps(first)->batch == policy_maps(policy)->batch)
		return 2; /* shared */
	maps = policy_maps(policy);
	if (!(maps->ctl->flags & TAIO_POLICY_PICKS) || maps->pick_crosses)
		return 3;
	push(9000); /* makes context and first candidate */
	maps->dev[1].hash = 2;
	maps->ctx[1].dev[1] = 2;
	maps->caps[TAIO_SLOTS] = (struct taio_caps){ .base_ns = 1000 };
	maps->caps[TAIO_SLOTS + 1] = (struct taio_caps){ .base_ns = 900 };
	/* Without prices the published times stand for them. */
	if (picked_slot(10000) != 1)
		return 4;
	if (maps->ctl->tune[5] != 50)
		return 5;
	policy_close(policy);
	policy_close(first);
	return 0;
}

MACHINE_TEST(an_unprivileged_process_asks_the_native_twin_of_a_policy_that_picks)
{
	cr_assert_eq(install("deadline margin_percent=50"), 0);
	cr_expect_eq(apart(nobody_picks), 0);
}

/* Eight users at the same time, each with samples of its own. */
MACHINE_TEST(eight_unprivileged_processes_lose_no_sample)
{
	pid_t pid[8];
	int status;

	for (unsigned int i = 0; i < 8; i++) {
		pid[i] = fork();
		if (pid[i] == 0)
			_exit(nobody_learns());
	}
	for (unsigned int i = 0; i < 8; i++) {
		waitpid(pid[i], &status, 0);
		cr_expect_eq(status, 0, "process %u: status %d", i, WEXITSTATUS(status));
	}
	join();
	cr_expect_eq(lat()->count, 8 * 30);
	cr_expect_eq(policy_maps(policy)->ctl->refused, 0);
	policy_close(policy);
}

MACHINE_TEST(the_slot_of_a_killed_process_is_used_again_but_not_at_once)
{
	const struct taio_engine *slot;
	int up[2], status;
	char c;
	pid_t pid;

	cr_assert_eq(pipe(up), 0);
	pid = fork();
	if (pid == 0) {
		become_nobody();
		if (open_policy(NULL, 0))
			_exit(1);
		policy_maps(policy)->engine->in_flight[0] = 9;
		policy_tick(policy, policy_now_ns(), 0);
		if (write(up[1], "x", 1) != 1)
			_exit(2);
		pause();
		_exit(3);
	}
	cr_assert_eq(read(up[0], &c, 1), 1);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	join();
	slot = policy_maps(policy)->engine;
	cr_expect_neq(slot, (const struct taio_engine *)NULL);
	cr_expect_eq((slot - 1)->pid, (uint32_t)pid, "it might only look dead from here");
	policy_close(policy);
	usleep(1200000);
	join();
	cr_expect_eq(policy_maps(policy)->engine->pid, (uint32_t)getpid());
	for (unsigned int d = 0; d < TAIO_DEVICES; d++)
		cr_expect_eq(policy_maps(policy)->engine->in_flight[d], 0);
	cr_expect_neq((policy_maps(policy)->engine + 1)->pid, (uint32_t)pid);
	policy_close(policy);
}

MACHINE_TEST(a_change_keeps_what_was_measured_and_engines_follow)
{
	struct taio_lat before;

	join();
	for (unsigned int i = 0; i < 50; i++)
		push(9000);
	policy_tick(policy, policy_now_ns(), 1);
	cr_assert(drained(1000));
	before = *lat();
	cr_assert_eq(install("jsq"), 0);
	policy_tick(policy, policy_now_ns(), 0);
	cr_expect_eq(policy_poll(policy), 1);
	cr_expect_str_eq(info().name, "jsq");
	cr_expect_eq(info().where, TAIO_POLICY_MACHINE);
	cr_expect_eq(memcmp(&before, lat(), sizeof(before)), 0);
	cr_expect_eq(price(), 1U << 20);
	/* The program that the engine has is stale: it must find the new one. */
	push(9000);
	policy_tick(policy, policy_now_ns(), 1);
	cr_expect(drained(1000));
	cr_assert_eq(install("tab"), 0);
	cr_expect(price() > 8900 && price() < 9100, "%u", price());
	policy_close(policy);
}

MACHINE_TEST(a_bad_object_changes_nothing)
{
	char path[PATH_MAX + 64];

	join();
	push(9000);
	snprintf(path, sizeof(path), "%s", built("bad_policies/no_null_check.bpf.o"));
	if (access(path, R_OK))
		cr_skip("bad policies were not built");
	cr_expect_eq(admin_machine_install(path, say, why, sizeof(why)), -EBADMSG, "%s", why);
	cr_expect(strstr(why, "verifier refused"), "%s", why);
	snprintf(path, sizeof(path), "%s", built("bad_policies/wrong_abi.bpf.o"));
	cr_expect_eq(admin_machine_install(path, say, why, sizeof(why)), -EBADMSG, "%s", why);
	policy_tick(policy, policy_now_ns(), 0);
	cr_expect(drained(1000));
	cr_expect_eq(policy_poll(policy), 0);
	cr_expect_str_eq(info().name, "tab");
	policy_close(policy);
}

MACHINE_TEST(removal_leaves_nothing_and_engines_go_on_with_what_they_knew)
{
	uint32_t learnt;

	join();
	for (unsigned int i = 0; i < 50; i++)
		push(9000);
	policy_tick(policy, policy_now_ns(), 1);
	cr_assert(drained(1000));
	learnt = price();
	cr_assert_eq(admin_machine_uninstall(why, sizeof(why)), 0, "%s", why);
	cr_expect_neq(access(MACHINE_DIRECTORY, F_OK), 0);
	policy_tick(policy, policy_now_ns(), 0);
	cr_expect_eq(policy_poll(policy), 1);
	cr_expect_eq(info().where, TAIO_POLICY_NATIVE);
	cr_expect_str_eq(info().name, "tab");
	cr_expect_str_eq(info().reason, "the machine-wide policy was uninstalled");
	cr_expect_eq(info().fallbacks, 1);
	cr_expect(strstr(logged, "uninstalled"), "%s", logged);
	cr_expect_eq(policy_maps(policy)->ctx[1].key, 77);
	cr_expect_eq(lat()->count, 50);
	cr_expect(price() + 100 > learnt && price() < learnt + 100, "%u, not %u", price(), learnt);
	push(9000);
	policy_tick(policy, policy_now_ns(), 0);
	cr_expect_eq(lat()->count, 51);
	policy_close(policy);
	cr_expect_eq(admin_machine_uninstall(why, sizeof(why)), -ENOENT);
}

MACHINE_TEST(what_another_version_installed_is_not_used_and_this_is_said)
{
	cr_assert_eq(
		system("rm /sys/fs/bpf/taio/taio_dev; "
		       "PATH=$PATH:/usr/sbin bpftool map create /sys/fs/bpf/taio/taio_dev type "
		       "array key 4 value 8 entries 64 name taio_dev"),
		0);
	cr_assert_eq(open_policy(NULL, 0), 0, "%s", why);
	cr_expect_eq(info().where, TAIO_POLICY_NATIVE);
	cr_expect(strstr(info().reason, "taio_dev has 64 values of 8 bytes"), "%s", info().reason);
	cr_expect(strstr(logged, "the machine-wide policy is not used"), "%s", logged);
	policy_close(policy);
}

/* Noise in what every user may write must not reach prices of others by more than hints can. */
MACHINE_TEST(noise_from_outside_is_refused)
{
	struct taio_engine *engine;
	uint32_t learnt;

	join();
	for (unsigned int i = 0; i < 50; i++)
		push(9000);
	policy_tick(policy, policy_now_ns(), 1);
	cr_assert(drained(1000));
	learnt = price();
	engine = policy_maps(policy)->engine;
	srand(1);
	for (unsigned int round = 0; round < 50; round++) {
		for (size_t i = 0; i < sizeof(engine->ring); i++)
			((unsigned char *)engine->ring)[i] = (unsigned char)rand();
		__atomic_store_n(&engine->head, engine->head + (uint32_t)rand() % TAIO_RING,
				 __ATOMIC_RELEASE);
		policy_tick(policy, policy_now_ns(), 1);
		cr_assert(drained(1000));
	}
	cr_expect_gt(policy_maps(policy)->ctl->refused, 1000);
	cr_expect(price() + 200 > learnt && price() < learnt + 200, "%u, not %u", price(), learnt);
	policy_close(policy);
}
