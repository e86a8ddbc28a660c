/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* policy_new.c: `taio policy new`: a policy to begin with, which loads as it stands. */
#include "cli/policy.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "policy/admin.h"

#define NEW_NAME_MAX 15 /* of a policy; its functions begin with it */

/* @ stands for the name of the policy. */
static const char new_text[] =
	"/*\n"
	" * @: say here in two lines what it goes by, where it wins and where it loses.\n"
	" *\n"
	" * A policy says what one more request would take on each candidate device, in nanoseconds;\n"
	" * the engine takes the cheapest. As it stands, this one learns a running mean for each\n"
	" * device and size class, and waits in turn behind what is in flight.\n"
	" *\n"
	" * Rules that the verifier holds you to: unsigned integers only, no division by what may be 0,\n"
	" * loops with a constant bound, array indices through taio_index(), no global variables.\n"
	" */\n"
	"#include \"policy.bpf.h\"\n"
	"\n"
	"/*\n"
	" * Knobs: name, default, least, most, unit, what it does. In the code tune(weight) is the value;\n"
	" * `taio policy load @.bpf.o weight=32` sets it.\n"
	" */\n"
	"#define @_tunables(T) T(weight, 16, 1, 255, \"completions\", \"weight of the past in the mean\")\n"
	"TAIO_TUNABLES(@_tunables)\n"
	"\n"
	"/*\n"
	" * State: route->word[] has 30 words for each candidate and size class, all 0 at the beginning and\n"
	" * never seen by another policy. (route->dev->state[8] is the same for a whole device.)\n"
	" */\n"
	"enum {\n"
	"\t@_own, /* what a request takes when it need not wait, ns; 0: not known */\n"
	"};\n"
	"\n"
	"/* How many turns until a request that meets this load is through. */\n"
	"static __always_inline u32 @_turns(const struct taio_route *route, u32 load)\n"
	"{\n"
	"\tu32 parallel = route->caps->parallel; /* as the driver publishes it */\n"
	"\n"
	"\treturn load / (parallel ? parallel : 1) + 1;\n"
	"}\n"
	"\n"
	"static __always_inline void @_learn(struct taio_route *route, u32 load, u32 ns)\n"
	"{\n"
	"\tu32 *own = &route->word[@_own], sample = taio_limit(ns / @_turns(route, load));\n"
	"\n"
	"\tif (*own)\n"
	"\t\ttaio_follow(own, sample, tune(weight)); /* own += (sample - own) / weight */\n"
	"\telse\n"
	"\t\t*own = sample;\n"
	"}\n"
	"\n"
	"/*\n"
	" * Optional: a whole, successful request took s->ns. When it was submitted, others were in flight:\n"
	" * s->bucket is their level. Errors, short transfers and absurd values never come here.\n"
	" */\n"
	"static void @_completed(struct taio_route *route, const struct taio_sample *s)\n"
	"{\n"
	"\t@_learn(route, taio_bucket_load(s->bucket), s->ns);\n"
	"}\n"
	"\n"
	"/*\n"
	" * Optional: after a swap, once for each level of load that was ever measured under any policy\n"
	" * (route->lat, kept by the core): begin with what is known.\n"
	" */\n"
	"static void @_seed(struct taio_route *route, u32 bucket)\n"
	"{\n"
	"\tu32 ns = route->lat->ewma_ns[taio_index(bucket, TAIO_BUCKETS)];\n"
	"\n"
	"\t@_learn(route, taio_bucket_load(bucket), ns);\n"
	"}\n"
	"\n"
	"/*\n"
	" * Needed: what would one more request take, ns, at this level of load? It is asked for all\n"
	" * levels, lowest first, each time something was learnt. 0: no price, the engine goes by what the\n"
	" * driver publishes.\n"
	" */\n"
	"static u64 @_price(struct taio_route *route, u32 bucket)\n"
	"{\n"
	"\tu32 load = taio_bucket_load(bucket);\n"
	"\n"
	"\tif (!route->word[@_own])\n"
	"\t\treturn taio_published_ns(route, load);\n"
	"\treturn (u64)route->word[@_own] * @_turns(route, load);\n"
	"}\n"
	"\n"
	"/*\n"
	" * Optional: may a device that is dearer than the best be tried, to learn what it costs now? The\n"
	" * engine still sees to it that probes take no more than 1/128 of the time.\n"
	" */\n"
	"static u32 @_probe(struct taio_route *route, u64 own_ns, u64 best_ns)\n"
	"{\n"
	"\tu64 last_ns = route->lat->last_ns;\n"
	"\n"
	"\treturn own_ns <= 16 * best_ns && last_ns < route->now_ns &&\n"
	"\t       route->now_ns - last_ns > 64 * own_ns;\n"
	"}\n"
	"\n"
	"TAIO_POLICY(@, \"running mean by size class, waiting in turn\", .completed = @_completed,\n"
	"\t    .seed = @_seed, .price = @_price, .probe = @_probe)\n";

/* The name becomes part of a program: a word in small letters. Return: 0, or a usage error. */
static int new_check(const char *name)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < length; i++)
		if (!islower((unsigned char)name[i]) &&
		    (i == 0 || (!isdigit((unsigned char)name[i]) && name[i] != '_')))
			return cli_usage_error("policy",
					       "new: '%s' is no name for a policy: small letters, "
					       "digits and _ only, a letter first",
					       name);
	if (length > NEW_NAME_MAX)
		return cli_usage_error("policy", "new: '%s' is longer than %d letters", name,
				       NEW_NAME_MAX);
	return 0;
}

static void new_fill(struct cli_out *out, const char *name)
{
	for (const char *text = new_text; *text;) {
		size_t length = strcspn(text, "@");

		out_bytes(out, text, length);
		text += length;
		if (*text) {
			out_text(out, name);
			text++;
		}
	}
}

/* Return: 0 or negative errno; then there is no file. */
static int new_write(const char *path, const char *name)
{
	struct cli_out out = { .fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666) };
	int err;

	if (out.fd < 0)
		return -errno;
	new_fill(&out, name);
	err = out_flush(&out);
	if (close(out.fd) && !err)
		err = -errno;
	if (err)
		unlink(path);
	return err;
}

/* In quotes where a shell needs them. */
static void new_say_include(struct cli_out *out, const char *directory)
{
	char quoted[PATH_MAX + 64];

	out_format(out, " -I%s", cli_quote(quoted, sizeof(quoted), directory));
}

int policy_cmd_new(const struct policy_args *args)
{
	struct cli_out out = { .fd = STDOUT_FILENO };
	const char *name = args->word[0];
	char path[64], bpf[PATH_MAX], include[PATH_MAX];
	int err = new_check(name), headers;

	if (err)
		return err;
	snprintf(path, sizeof(path), "%s.bpf.c", name);
	err = new_write(path, name);
	if (err) {
		cli_error("%s: %s", path, err == -EEXIST ? "it is there already" : strerror(-err));
		return CLI_FAILED;
	}
	headers = admin_headers(bpf, include, sizeof(bpf));
	out_format(&out, "wrote %s, a policy that works; make it yours\n", path);
	out_text(&out, "  build  clang -O2 -g -target bpf -mcpu=v3");
	new_say_include(&out, include);
	new_say_include(&out, bpf);
	out_format(&out, " -c %s -o %s.bpf.o\n", path, name);
	out_format(&out, "  check  taio policy check %s.bpf.o\n", name);
	out_format(&out, "  try    taio policy swap ./%s.bpf.o --canary 5%%\n", name);
	out_format(&out, "  run    taio policy load %s.bpf.o\n", name);
	if (out_done(&out, "policy") != CLI_OK)
		return CLI_FAILED;
	if (headers) {
		cli_error("policy.bpf.h was not found here; install taio, or give clang the "
			  "directories of its sources instead");
		return CLI_FAILED;
	}
	return CLI_OK;
}
