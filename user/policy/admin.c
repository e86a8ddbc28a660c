/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* admin.c: see admin.h. */
#include "policy/admin.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libbpf/bpf_place.h"
#include "policy/bpf_object.h"
#include "policy/control.h"
#include "policy/machine.h"
#include "policy/native.h"

_Static_assert(ADMIN_PROGRAMS == OBJECT_PROGS, "each program of an object has its place");

#define ADMIN_SHOW_MS 1000
#define ADMIN_SWAP_MS 20000 /* the verifier may take its time */

/* ".seed = tab_seed, .price = tab_price" as "seed price". */
static void admin_hooks(const char *text, char *ret_names, size_t size)
{
	size_t used = 0;

	ret_names[0] = '\0';
	for (; *text; text++) {
		size_t length = 0;

		if (*text != '.')
			continue;
		while (isalnum((unsigned char)text[1 + length]) || text[1 + length] == '_')
			length++;
		if (length == 5 && !memcmp(text + 1, "flags", 5))
			continue;
		if (used + length + 2 > size)
			return;
		used += (size_t)snprintf(ret_names + used, size - used, "%s%.*s", used ? " " : "",
					 (int)length, text + 1);
	}
}

static void admin_from_object(struct admin_policy *policy, const struct policy_object *object)
{
	memcpy(policy->name, object->name, sizeof(policy->name));
	memcpy(policy->text, object->text, sizeof(policy->text));
	memcpy(policy->tunables, object->tunables, sizeof(policy->tunables));
	policy->abi = object->abi;
	admin_hooks(object->hooks, policy->hooks, sizeof(policy->hooks));
	for (unsigned int i = 0; i < OBJECT_PROGS; i++) {
		snprintf(policy->program[i].name, sizeof(policy->program[i].name), "%s",
			 object_programs[i]);
		policy->program[i].insns = object->insns[i];
		policy->program[i].verified = object->verified[i];
	}
}

static void admin_from_twin(struct admin_policy *policy, const struct taio_native_policy *twin)
{
	char why[512];

	memset(policy, 0, sizeof(*policy));
	snprintf(policy->name, sizeof(policy->name), "%s", twin->name);
	snprintf(policy->text, sizeof(policy->text), "%s", twin->text);
	admin_hooks(twin->hooks, policy->hooks, sizeof(policy->hooks));
	memcpy(policy->tunables, twin->tunables, sizeof(policy->tunables));
	policy->abi = twin->abi;
	policy->native = 1;
	if (object_find(twin->name, policy->path, sizeof(policy->path), why, sizeof(why)))
		policy->path[0] = '\0';
}

/* ---- what there is ---- */

struct admin_listing {
	void (*each)(void *arg, const struct admin_policy *policy);
	void *arg;
	struct admin_policy policy;
	char seen[64][16]; /* objects told already: the first place wins, as when they are run */
	unsigned int seen_count;
	int count;
};

static int admin_is_new(struct admin_listing *listing, const char *name)
{
	if (native_find(name))
		return 0;
	for (unsigned int i = 0; i < listing->seen_count; i++)
		if (!strcmp(listing->seen[i], name))
			return 0;
	if (listing->seen_count == 64)
		return 0;
	snprintf(listing->seen[listing->seen_count++], 16, "%s", name);
	return 1;
}

static void admin_list_place(struct admin_listing *listing, const char *directory)
{
	struct policy_object object;
	struct dirent *entry;
	DIR *dir = opendir(directory);
	char why[512];

	while (dir && (entry = readdir(dir))) {
		const char *end = strstr(entry->d_name, ".bpf.o");
		char name[16];

		if (!end || end[6] || end - entry->d_name >= (int)sizeof(name))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(end - entry->d_name), entry->d_name);
		memset(&listing->policy, 0, sizeof(listing->policy));
		if (snprintf(listing->policy.path, sizeof(listing->policy.path), "%s/%s", directory,
			     entry->d_name) >= (int)sizeof(listing->policy.path) ||
		    !admin_is_new(listing, name))
			continue;
		if (object_read(&object, listing->policy.path, why, sizeof(why)))
			continue;
		admin_from_object(&listing->policy, &object);
		listing->each(listing->arg, &listing->policy);
		listing->count++;
	}
	if (dir)
		closedir(dir);
}

int admin_list(void (*each)(void *arg, const struct admin_policy *policy), void *arg)
{
	struct admin_listing *listing = calloc(1, sizeof(*listing));
	char directory[PATH_MAX];
	int count;

	if (!listing)
		return -ENOMEM;
	listing->each = each;
	listing->arg = arg;
	for (; native_at((unsigned int)listing->count); listing->count++) {
		admin_from_twin(&listing->policy, native_at((unsigned int)listing->count));
		each(arg, &listing->policy);
	}
	for (unsigned int i = 0; bpf_place(i, "schedulers", directory, sizeof(directory)) == 0; i++)
		if (directory[0])
			admin_list_place(listing, directory);
	count = listing->count;
	free(listing);
	return count;
}

int admin_check(const char *name, struct admin_policy *ret_policy, char *why, size_t why_size)
{
	struct policy_object object;
	char other[512];
	int err;

	memset(ret_policy, 0, sizeof(*ret_policy));
	err = object_find(name, ret_policy->path, sizeof(ret_policy->path), why, why_size);
	if (err)
		return err;
	err = object_load(&object, ret_policy->path, NULL, NULL, 1, why, why_size);
	if (err && object_read(&object, ret_policy->path, other, sizeof(other)))
		return err;
	admin_from_object(ret_policy, &object);
	ret_policy->native = native_find(ret_policy->name) != NULL;
	object_close(&object);
	return err;
}

int admin_find(const char *name, char *ret_path, size_t size, char *why, size_t why_size)
{
	return object_find(name, ret_path, size, why, why_size);
}

int admin_headers(char *ret_bpf, char *ret_include, size_t size)
{
	return object_headers(ret_bpf, ret_include, size);
}

/* ---- engines ---- */

static void admin_command(unsigned int pid, char *ret_command, size_t size)
{
	char path[32];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, ret_command, size - 1);
		close(fd);
	}
	ret_command[n > 0 ? n : 0] = '\0';
	ret_command[strcspn(ret_command, "\n")] = '\0';
}

/* What comes over a socket may have been written by anybody. */
static void admin_clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			*text = '?';
}

static void admin_read_info(struct admin_engine *engine, const char *answer)
{
	unsigned long long swaps, ticks, samples, fallbacks;
	struct taio_policy_info *info = &engine->info;
	const char *reason = strstr(answer, "reason=");

	if (sscanf(answer,
		   "ok name=%15s where=%u abi=%u swaps=%llu ticks=%llu samples=%llu fallbacks=%llu "
		   "watched=%u strikes=%u regret=%u share=%u canary=%15s",
		   info->name, &info->where, &info->abi, &swaps, &ticks, &samples, &fallbacks,
		   &info->watched, &info->strikes, &info->regret_percent, &info->canary_permille,
		   info->canary) != 12) {
		snprintf(engine->error, sizeof(engine->error), "%.150s",
			 strncmp(answer, "error ", 6) ? "an answer that makes no sense"
						      : answer + 6);
		return;
	}
	info->swaps = swaps;
	info->ticks = ticks;
	info->samples = samples;
	info->fallbacks = fallbacks;
	if (!info->canary_permille)
		info->canary[0] = '\0';
	if (reason)
		snprintf(info->reason, sizeof(info->reason), "%.127s", reason + 7);
}

struct admin_search {
	void (*each)(void *arg, const struct admin_engine *engine);
	void *arg;
};

static void admin_engine(void *arg, unsigned int pid, unsigned int number)
{
	struct admin_engine engine = { .pid = pid, .number = number };
	struct admin_search *search = arg;
	char answer[1024];
	int rc;

	admin_command(pid, engine.command, sizeof(engine.command));
	admin_clean(engine.command);
	rc = control_ask(pid, number, "show", answer, sizeof(answer), ADMIN_SHOW_MS);
	if (rc >= 0) {
		admin_clean(answer);
		admin_read_info(&engine, answer);
	} else {
		snprintf(engine.error, sizeof(engine.error), "%s",
			 rc == -ETIMEDOUT ? "does not answer" : strerror(-rc));
	}
	search->each(search->arg, &engine);
}

int admin_engines(void (*each)(void *arg, const struct admin_engine *engine), void *arg)
{
	struct admin_search search = { .each = each, .arg = arg };

	return control_engines(admin_engine, &search);
}

/* Return: 0: @answer begins behind "ok "; or negative errno, and it is a sentence. */
static int admin_ask(const struct admin_engine *engine, const char *line, char *ret_answer,
		     size_t size, int timeout_ms)
{
	char answer[CONTROL_LINE];
	int rc;

	rc = control_ask(engine->pid, engine->number, line, answer, sizeof(answer), timeout_ms);
	if (rc < 0) {
		snprintf(ret_answer, size, "%s",
			 rc == -ETIMEDOUT ? "it does not answer"
			 : rc == -ESRCH   ? "it has gone"
					  : strerror(-rc));
		return rc;
	}
	if (!strncmp(answer, "ok ", 3)) {
		snprintf(ret_answer, size, "%s", answer + 3);
		return 0;
	}
	snprintf(ret_answer, size, "%s", strncmp(answer, "error ", 6) ? answer : answer + 6);
	admin_clean(ret_answer);
	return -EREMOTEIO;
}

int admin_swap(const struct admin_engine *engine, const char *policy, int force_bpf,
	       char *ret_answer, size_t size)
{
	char line[CONTROL_LINE];
	int rc;

	snprintf(line, sizeof(line), "%s %s", force_bpf ? "load" : "swap", policy);
	rc = admin_ask(engine, line, ret_answer, size, ADMIN_SWAP_MS);
	admin_clean(ret_answer);
	return rc;
}

/* ---- trials ---- */

int admin_canary(const struct admin_engine *engine, const char *policy, unsigned int permille,
		 unsigned long long ms, char *ret_answer, size_t size)
{
	char line[CONTROL_LINE];
	int rc;

	snprintf(line, sizeof(line), "canary %u %llu %s", permille, ms, policy);
	rc = admin_ask(engine, line, ret_answer, size, ADMIN_SWAP_MS);
	admin_clean(ret_answer);
	return rc;
}

int admin_decide(const struct admin_engine *engine, int promote, char *ret_answer, size_t size)
{
	int rc =
		admin_ask(engine, promote ? "promote" : "abandon", ret_answer, size, ADMIN_SWAP_MS);

	admin_clean(ret_answer);
	return rc;
}

static int admin_read_row(struct taio_policy_comparison *row, const char *line)
{
	unsigned long long n[7];

	if (sscanf(line, "%llu %llu %llu %llu %llu %llu %llu", &n[0], &n[1], &n[2], &n[3], &n[4],
		   &n[5], &n[6]) != 7)
		return 0;
	*row = (struct taio_policy_comparison){ .bytes = n[0],
						.requests = { n[1], n[4] },
						.mean_ns = { n[2], n[5] },
						.p99_ns = { n[3], n[6] } };
	return 1;
}

static int admin_read_comparison(struct admin_comparison *ret, char *answer)
{
	unsigned long long left, failed[2];
	char *line;

	memset(ret, 0, sizeof(*ret));
	if (sscanf(answer, "%d %u %llu %llu %llu %15s %15s", &ret->runs, &ret->permille, &left,
		   &failed[0], &failed[1], ret->name[0], ret->name[1]) != 7)
		return -EREMOTEIO;
	ret->left_ms = left;
	ret->failed[0] = failed[0];
	ret->failed[1] = failed[1];
	for (line = strchr(answer, '\n'); line; line = strchr(line + 1, '\n')) {
		if (line[1] == '=' && line[2])
			snprintf(ret->verdict, sizeof(ret->verdict), "%.159s", line + 3);
		else if (ret->rows < 16)
			ret->rows += (unsigned int)admin_read_row(&ret->row[ret->rows], line + 1);
	}
	admin_clean(ret->verdict);
	admin_clean(ret->name[0]);
	admin_clean(ret->name[1]);
	return 0;
}

int admin_compare(const struct admin_engine *engine, struct admin_comparison *ret_comparison,
		  char *why, size_t why_size)
{
	char answer[CONTROL_LINE];
	int rc = admin_ask(engine, "compare", answer, sizeof(answer), ADMIN_SHOW_MS);

	if (rc == 0)
		rc = admin_read_comparison(ret_comparison, answer);
	else
		snprintf(why, why_size, "%.*s", (int)why_size - 1, answer);
	if (rc && !*why)
		snprintf(why, why_size, "an answer that makes no sense");
	return rc;
}

/* ---- machine-wide ---- */

int admin_machine_show(struct taio_policy_info *ret_info, unsigned int *ret_engines)
{
	return machine_show(ret_info, ret_engines);
}

int admin_machine_install(const char *policy, void (*say)(const char *line), char *why,
			  size_t why_size)
{
	struct policy_request *request = malloc(sizeof(*request));
	int err;

	if (!request)
		return policy_why(-ENOMEM, why, why_size, "no memory");
	err = policy_request_parse(request, policy, why, why_size);
	if (!err)
		err = machine_install(request, say, why, why_size);
	free(request);
	return err;
}

int admin_machine_uninstall(char *why, size_t why_size)
{
	return machine_uninstall(why, why_size);
}
