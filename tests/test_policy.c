/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_policy.c: which policy an engine gets, and its change while it runs: policy.h, the text form
 * of a request, the control socket. Natively; objects in the kernel are in test_policy_bpf.c.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy/admin.h"
#include "policy/control.h"
#include "policy/policy.h"
#include "policy/source.h"
#include "taio.h"

#define NOBODY 65534

static struct taio_policy *policy;
static char why[512], logged[4096];

static void keep_log(void *arg, const char *line)
{
	(void)arg;
	snprintf(logged + strlen(logged), sizeof(logged) - strlen(logged), "%s\n", line);
}

static int open_policy(const char *name, uint32_t flags)
{
	struct policy_options options = { .name = name, .engine_flags = flags, .log = keep_log };

	logged[0] = why[0] = '\0';
	policy = NULL;
	return policy_open(&policy, &options, why, sizeof(why));
}

static void setup(void)
{
	unsetenv("TAIO_POLICY");
	cr_assert_eq(open_policy("tab", TAIO_NO_BPF), 0, "%s", why);
}

static void teardown(void)
{
	policy_close(policy);
}

static struct taio_policy_info info(void)
{
	struct taio_policy_info ret;

	policy_info(policy, &ret);
	return ret;
}

/* One candidate, and @count requests of @ns on it. */
static void learn(uint32_t ns, unsigned int count)
{
	const struct taio_maps *maps = policy_maps(policy);

	maps->dev[0].hash = 1;
	maps->ctx[1].key = 77;
	maps->ctx[1].dev[0] = 1;
	maps->caps[TAIO_SLOTS].base_ns = 1;
	for (unsigned int i = 0; i < count; i++) {
		uint64_t now_ns = policy_now_ns();
		struct taio_engine *engine = maps->engine;

		engine->ring[engine->head & (TAIO_RING - 1)] =
			(struct taio_sample){ .submit_ns = now_ns - ns,
					      .ns = ns,
					      .bytes = 4096,
					      .cell = TAIO_CLASSES,
					      .weight = 1 };
		__atomic_store_n(&engine->head, engine->head + 1, __ATOMIC_RELEASE);
		policy_tick(policy, now_ns, 0);
	}
}

/* ---- opening ---- */

Test(policy_open, no_wish_gives_tab_natively)
{
	unsetenv("TAIO_POLICY");
	cr_assert_eq(open_policy(NULL, TAIO_NO_BPF), 0, "%s", why);
	cr_expect_str_eq(info().name, "tab");
	cr_expect_eq(info().where, TAIO_POLICY_NATIVE);
	cr_expect_str_eq(info().reason, "");
	cr_expect_str_eq(logged, "");
	policy_close(policy);
}

Test(policy_open, the_environment_is_asked_before_the_default)
{
	setenv("TAIO_POLICY", "jsq", 1);
	cr_assert_eq(open_policy(NULL, TAIO_NO_BPF), 0, "%s", why);
	cr_expect_str_eq(info().name, "jsq");
	policy_close(policy);
}

Test(policy_open, a_wrong_environment_is_said_and_not_fatal)
{
	setenv("TAIO_POLICY", "nonsense", 1);
	cr_assert_eq(open_policy(NULL, TAIO_NO_BPF), 0, "%s", why);
	cr_expect_str_eq(info().name, "tab");
	cr_expect(strstr(info().reason, "nonsense"), "reason: %s", info().reason);
	cr_expect(strstr(logged, "$TAIO_POLICY"), "log: %s", logged);
	policy_close(policy);
}

Test(policy_open, the_option_is_asked_before_the_environment)
{
	setenv("TAIO_POLICY", "jsq", 1);
	cr_assert_eq(open_policy("static", TAIO_NO_BPF), 0, "%s", why);
	cr_expect_str_eq(info().name, "static");
	policy_close(policy);
}

Test(policy_open, an_unknown_name_is_refused_with_a_sentence)
{
	cr_expect_eq(open_policy("nonsense", 0), -ENOENT);
	cr_expect(strstr(why, "nonsense: no such policy"), "%s", why);
	cr_expect_null(policy);
}

Test(policy_open, a_path_without_bpf_is_refused_with_a_sentence)
{
	cr_expect_eq(open_policy("/tmp/none.bpf.o", TAIO_NO_BPF), -EPERM);
	cr_expect(strstr(why, "may not use BPF"), "%s", why);
}

/* ---- requests ---- */

static int parse(const char *text, struct policy_request *request)
{
	why[0] = '\0';
	return policy_request_parse(request, text, why, sizeof(why));
}

Test(policy_request, a_name_and_tunables_are_taken_apart)
{
	struct policy_request request;

	cr_assert_eq(parse("tab memory=64  probe_every=7 ", &request), 0, "%s", why);
	cr_expect_str_eq(request.name, "tab");
	cr_expect_eq(request.tunes, 2);
	cr_expect_str_eq(request.tune[0].key, "probe_every");
	cr_expect_eq(request.tune[0].value, 7);
	cr_expect_eq(request.tune[1].value, 64);
}

Test(policy_request, a_path_may_have_blanks_and_equal_signs)
{
	struct policy_request request;

	cr_assert_eq(parse("/a b/c=d.bpf.o", &request), 0, "%s", why);
	cr_expect_str_eq(request.name, "/a b/c=d.bpf.o");
	cr_expect_eq(request.tunes, 0);
}

Test(policy_request, what_is_no_number_is_refused)
{
	struct policy_request request;

	cr_expect_eq(parse("tab memory=", &request), -EINVAL);
	cr_expect_eq(parse("tab memory=x", &request), -EINVAL);
	cr_expect_eq(parse("tab memory=-1", &request), -EINVAL);
	cr_expect_eq(parse("tab memory=4294967296", &request), -EINVAL);
	cr_expect_eq(parse("  ", &request), -EINVAL);
	cr_expect(why[0]);
}

/* ---- swapping ---- */

Test(policy_swap, keeps_places_and_what_was_measured, .init = setup, .fini = teardown)
{
	const struct taio_maps *maps = policy_maps(policy);

	learn(9000, 50);
	cr_assert_eq(policy_swap(policy, "static", 0, why, sizeof(why)), 0, "%s", why);
	cr_expect_eq(maps, policy_maps(policy), "the address of the maps changed");
	cr_expect_eq(maps->ctx[1].key, 77);
	cr_expect_eq(maps->lat[TAIO_CLASSES * TAIO_SLOTS].count, 50);
	cr_expect_lt(maps->price[TAIO_CLASSES].cost[0][0][0], 100, "not the price of static");
	cr_assert_eq(policy_swap(policy, "tab", 0, why, sizeof(why)), 0, "%s", why);
	cr_expect_gt(maps->price[TAIO_CLASSES].cost[0][0][0], 8000, "what was measured is gone");
	cr_expect_eq(info().swaps, 2);
}

Test(policy_swap, a_wrong_name_or_tunable_leaves_the_running_policy, .init = setup,
     .fini = teardown)
{
	learn(9000, 10);
	cr_expect_eq(policy_swap(policy, "nonsense", 0, why, sizeof(why)), -ENOENT);
	cr_expect_eq(policy_swap(policy, "tab memory=0", 0, why, sizeof(why)), -EINVAL);
	cr_expect_str_eq(why, "policy 'tab': memory must be 1..255 completions, not 0");
	cr_expect_eq(policy_swap(policy, "tab color=1", 0, why, sizeof(why)), -EINVAL);
	cr_expect_str_eq(why, "policy 'tab' has no tunable 'color'");
	cr_expect_str_eq(info().name, "tab");
	cr_expect_eq(info().swaps, 0);
	learn(9000, 10);
	cr_expect_eq(info().samples, 20);
}

Test(policy_swap, a_tunable_changes_what_the_policy_does, .init = setup, .fini = teardown)
{
	const struct taio_maps *maps = policy_maps(policy);
	uint32_t slow, fast;

	learn(9000, 100);
	learn(11000, 1);
	slow = maps->price[TAIO_CLASSES].cost[0][0][0];
	cr_assert_eq(policy_swap(policy, "tab memory=1", 0, why, sizeof(why)), 0, "%s", why);
	learn(9000, 100);
	learn(11000, 1);
	fast = maps->price[TAIO_CLASSES].cost[0][0][0];
	cr_expect_gt(fast, slow + 500, "%u with a short memory, %u with a long one", fast, slow);
}

Test(policy_swap, a_thousand_swaps_lose_no_sample, .init = setup, .fini = teardown)
{
	static const char *const names[] = { "jsq", "static", "tab" };

	for (unsigned int i = 0; i < 1000; i++) {
		learn(9000, 3);
		cr_assert_eq(policy_swap(policy, names[i % 3], 0, why, sizeof(why)), 0, "%s", why);
	}
	cr_expect_eq(info().samples, 3000);
	cr_expect_eq(info().swaps, 1000);
	cr_expect_eq(policy_maps(policy)->ctl->refused, 0);
}

Test(policy_swap, a_rejected_policy_gives_way_to_the_built_in_one_and_says_why, .fini = teardown)
{
	cr_assert_eq(open_policy("jsq", TAIO_NO_BPF), 0);
	learn(9000, 10);
	cr_assert_eq(policy_reject(policy, "its prices are all the same"), 0);
	cr_expect_str_eq(info().name, "tab");
	cr_expect_str_eq(info().reason, "its prices are all the same");
	cr_expect_eq(info().fallbacks, 1);
	cr_expect(strstr(logged, "'jsq' is replaced"), "%s", logged);
	cr_expect_eq(info().samples, 10);
}

/* ---- control socket ---- */

struct ask {
	struct admin_engine engine;
	const char *policy;
	char answer[600];
	int rc, found;
};

static void ask_found(void *arg, const struct admin_engine *engine)
{
	struct ask *ask = arg;

	if (engine->pid != (unsigned int)getpid())
		return;
	ask->engine = *engine;
	ask->found++;
}

static void *ask_thread(void *arg)
{
	struct ask *ask = arg;

	if (admin_engines(ask_found, ask) < 0 || !ask->found)
		return NULL;
	if (ask->policy)
		ask->rc =
			admin_swap(&ask->engine, ask->policy, 0, ask->answer, sizeof(ask->answer));
	return NULL;
}

/* What an engine does while somebody asks it. */
static unsigned int serve(struct ask *ask)
{
	struct pollfd ready = { .fd = policy_fd(policy), .events = POLLIN };
	pthread_t thread;
	unsigned int changed = 0;

	cr_assert_geq(ready.fd, 0);
	pthread_create(&thread, NULL, ask_thread, ask);
	while (pthread_tryjoin_np(thread, NULL))
		if (poll(&ready, 1, 10) > 0)
			changed += (unsigned int)policy_poll(policy);
	return changed;
}

Test(policy_control, an_engine_tells_what_it_runs, .init = setup, .fini = teardown)
{
	struct ask ask = { 0 };

	learn(9000, 5);
	cr_expect_eq(serve(&ask), 0);
	cr_assert_eq(ask.found, 1);
	cr_expect_str_eq(ask.engine.error, "");
	cr_expect_str_eq(ask.engine.info.name, "tab");
	cr_expect_eq(ask.engine.info.samples, 5);
	cr_expect(ask.engine.command[0]);
}

Test(policy_control, a_swap_from_outside_is_done_and_answered, .init = setup, .fini = teardown)
{
	struct ask ask = { .policy = "jsq" };

	cr_expect_eq(serve(&ask), 1);
	cr_expect_eq(ask.rc, 0);
	cr_expect_str_eq(ask.answer, "jsq runs natively");
	cr_expect_str_eq(info().name, "jsq");
}

Test(policy_control, a_refused_swap_is_answered_and_nothing_changes, .init = setup,
     .fini = teardown)
{
	struct ask ask = { .policy = "nonsense" };

	cr_expect_eq(serve(&ask), 0);
	cr_expect_eq(ask.rc, -EREMOTEIO);
	cr_expect(strstr(ask.answer, "nonsense: no such policy"), "%s", ask.answer);
	cr_expect_str_eq(info().name, "tab");
}

Test(policy_control, polling_without_a_request_does_nothing, .init = setup, .fini = teardown)
{
	cr_assert_geq(policy_fd(policy), 0);
	for (unsigned int i = 0; i < 100; i++)
		cr_expect_eq(policy_poll(policy), 0);
}

Test(policy_control, an_engine_that_never_sleeps_can_be_reached_too, .init = setup,
     .fini = teardown)
{
	struct ask ask = { 0 };

	for (unsigned int i = 0; i < 60; i++)
		policy_poll(policy);
	cr_expect_eq(serve(&ask), 0);
	cr_expect_eq(ask.found, 1);
}

Test(policy_control, there_is_no_socket_where_none_is_wanted)
{
	struct ask ask = { 0 };

	cr_assert_eq(open_policy("tab", TAIO_NO_CONTROL), 0);
	cr_expect_eq(policy_fd(policy), -1);
	for (unsigned int i = 0; i < 60; i++)
		policy_poll(policy);
	ask_thread(&ask);
	cr_expect_eq(ask.found, 0);
	policy_close(policy);
}

Test(policy_control, engines_of_one_process_have_sockets_of_their_own, .init = setup,
     .fini = teardown)
{
	struct taio_policy *first = policy;
	char answer[200];
	pid_t pid;
	int status;

	cr_assert_geq(policy_fd(first), 0);
	cr_assert_eq(open_policy("static", TAIO_NO_BPF), 0);
	cr_assert_geq(policy_fd(policy), 0);
	pid = fork();
	if (pid == 0) {
		int n = control_ask((unsigned int)getppid(), 1, "show", answer, sizeof(answer),
				    5000);

		_exit(n > 0 && strstr(answer, "name=static") ? 0 : 1);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		policy_poll(policy);
		usleep(1000);
	}
	cr_expect_eq(status, 0);
	policy_close(first);
}

Test(policy_control, another_user_is_not_heard, .init = setup, .fini = teardown)
{
	char answer[200];
	int status;
	pid_t pid;

	if (geteuid() != 0)
		cr_skip("only root can become another user");
	cr_assert_geq(policy_fd(policy), 0);
	pid = fork();
	if (pid == 0) {
		if (setuid(NOBODY))
			_exit(2);
		if (control_ask((unsigned int)getppid(), 0, "swap jsq", answer, sizeof(answer),
				5000) < 0)
			_exit(3);
		_exit(strstr(answer, "another user") ? 0 : 4);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		policy_poll(policy);
		usleep(1000);
	}
	cr_expect_eq(status, 0, "status %d", WEXITSTATUS(status));
	cr_expect_str_eq(info().name, "tab");
}

Test(policy_control, root_may_change_the_engine_of_another_user)
{
	char answer[200] = "";
	int status, n = 0, up[2];
	pid_t pid;

	if (geteuid() != 0)
		cr_skip("only root can become another user");
	cr_assert_eq(pipe(up), 0);
	pid = fork();
	if (pid == 0) {
		if (setuid(NOBODY) || open_policy("tab", 0) || policy_fd(policy) < 0)
			_exit(2);
		cr_assert_eq(write(up[1], "x", 1), 1);
		for (unsigned int i = 0; i < 5000 && strcmp(info().name, "jsq"); i++) {
			policy_poll(policy);
			usleep(1000);
		}
		_exit(strcmp(info().name, "jsq") ? 3 : 0);
	}
	cr_assert_eq(read(up[0], answer, 1), 1);
	n = control_ask((unsigned int)pid, 0, "swap jsq", answer, sizeof(answer), 5000);
	cr_expect_gt(n, 0, "%s", strerror(-n));
	cr_expect_str_eq(answer, "ok jsq runs natively");
	waitpid(pid, &status, 0);
	cr_expect_eq(status, 0, "status %d", WEXITSTATUS(status));
}
