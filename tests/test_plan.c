/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_plan.c: every pair of ends with every flag that matters, and the FIFO of steps that it must
 * give, written out; and the pairs that make no sense.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "plan/plan.h"

static struct request_pool pool;

/* The FIFO in words: "open-from transfer close<"; "<" and ">" say whose address or descriptor. */
static const char *plan_text(enum plan_end from, enum plan_end to, uint32_t flags, bool whole)
{
	static char text[256];
	struct request *r;
	size_t used = 0;

	cr_assert_eq(request_pool_open(&pool, 1), 0);
	r = request_get(&pool);
	r->flags = flags;
	plan_build(r, from, to, whole);
	text[0] = '\0';
	for (; r->fifo_count; request_fifo_pop(r)) {
		enum taio_step_type step = request_fifo_head(r);
		const char *side = "";

		if (step == TAIO_STEP_RESOLVE || step == TAIO_STEP_CONNECT ||
		    step == TAIO_STEP_ACCEPT || step == TAIO_STEP_CLOSE)
			side = request_fifo_side(r) ? ">" : "<";
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s%s",
					 used ? " " : "", taio_step_name(step), side);
		cr_assert_lt(used, sizeof(text));
	}
	request_pool_close(&pool);
	return text;
}

#define ENDS 4
static const char *const end_names[ENDS] = {
	[PLAN_OPEN] = "open",
	[PLAN_PATH] = "path",
	[PLAN_CONNECT] = "connect",
	[PLAN_LISTEN] = "listen",
};

/* [from][to], no flags */
static const char *const plain[ENDS][ENDS] = {
	[PLAN_OPEN] = {
		[PLAN_OPEN] = "transfer",
		[PLAN_PATH] = "open-to transfer meta publish close>",
		[PLAN_CONNECT] = "resolve> connect> transfer shutdown close>",
		[PLAN_LISTEN] = "resolve> accept> transfer shutdown close>",
	},
	[PLAN_PATH] = {
		[PLAN_OPEN] = "open-from transfer close<",
		[PLAN_PATH] = "open-from open-to transfer meta publish close< close>",
		[PLAN_CONNECT] =
			"open-from resolve> connect> transfer shutdown close< close>",
		[PLAN_LISTEN] = "open-from resolve> accept> transfer shutdown close< close>",
	},
	[PLAN_CONNECT] = {
		[PLAN_OPEN] = "resolve< connect< transfer close<",
		[PLAN_PATH] =
			"open-to resolve< connect< transfer meta publish close< close>",
		[PLAN_CONNECT] = "resolve< connect< resolve> connect> transfer shutdown "
				 "close< close>",
		[PLAN_LISTEN] = "resolve< connect< resolve> accept> transfer shutdown "
				"close< close>",
	},
	[PLAN_LISTEN] = {
		[PLAN_OPEN] = "resolve< accept< transfer close<",
		[PLAN_PATH] = "open-to resolve< accept< transfer meta publish close< close>",
		[PLAN_CONNECT] = "resolve< accept< resolve> connect> transfer shutdown "
				 "close< close>",
		[PLAN_LISTEN] = "resolve< accept< resolve> accept> transfer shutdown "
				"close< close>",
	},
};

Test(plan, every_pair_of_ends_gives_its_steps_in_order)
{
	for (unsigned int from = 0; from < ENDS; from++)
		for (unsigned int to = 0; to < ENDS; to++)
			cr_expect_str_eq(plan_text(from, to, 0, false), plain[from][to],
					 "%s to %s: %s", end_names[from], end_names[to],
					 plan_text(from, to, 0, false));
}

Test(plan, a_whole_small_file_is_one_step_with_the_rest_behind_it)
{
	cr_assert_str_eq(plan_text(PLAN_PATH, PLAN_PATH, 0, true),
			 "file transfer meta publish close< close>");
	cr_assert_str_eq(plan_text(PLAN_PATH, PLAN_PATH, TAIO_DURABLE, true),
			 "file transfer meta sync publish sync-dir close< close>");
}

/* The file first, or its name could survive a power cut without its bytes. */
Test(plan, durable_syncs_the_file_before_and_the_directory_after_it_is_published)
{
	cr_assert_str_eq(plan_text(PLAN_PATH, PLAN_PATH, TAIO_DURABLE, false),
			 "open-from open-to transfer meta sync publish sync-dir close< close>");
	cr_assert_str_eq(plan_text(PLAN_LISTEN, PLAN_PATH, TAIO_DURABLE, false),
			 "open-to resolve< accept< transfer meta sync publish sync-dir close< "
			 "close>");
}

Test(plan, durable_syncs_a_descriptor_that_the_caller_opened)
{
	cr_assert_str_eq(plan_text(PLAN_PATH, PLAN_OPEN, TAIO_DURABLE, false),
			 "open-from transfer sync close<");
	cr_assert_str_eq(plan_text(PLAN_OPEN, PLAN_OPEN, TAIO_DURABLE, false), "transfer sync");
}

Test(plan, durable_means_nothing_to_a_peer)
{
	cr_assert_str_eq(plan_text(PLAN_PATH, PLAN_CONNECT, TAIO_DURABLE, false),
			 plain[PLAN_PATH][PLAN_CONNECT]);
}

Test(plan, a_stream_can_be_left_half_open)
{
	cr_assert_str_eq(plan_text(PLAN_PATH, PLAN_CONNECT, TAIO_NO_SHUTDOWN, false),
			 "open-from resolve> connect> transfer close< close>");
	cr_assert_str_eq(plan_text(PLAN_OPEN, PLAN_LISTEN, TAIO_NO_SHUTDOWN, false),
			 "resolve> accept> transfer close>");
}

/* ---- pairs that make no sense ---- */

static struct taio_endpoint sample(uint32_t type)
{
	static char memory[8];
	static struct iovec iov = { memory, sizeof(memory) };
	static struct taio_message message;

	switch (type) {
	case TAIO_EP_MEMORY:
		return taio_memory(memory, sizeof(memory));
	case TAIO_EP_VECTOR:
		return taio_vector(&iov, 1);
	case TAIO_EP_PATH:
		return taio_path("/tmp/x");
	case TAIO_EP_FD:
		return taio_descriptor(0);
	case TAIO_EP_ADDRESS:
		return taio_address("127.0.0.1:1:tcp");
	case TAIO_EP_NULL:
		return taio_null();
	case TAIO_EP_ZERO:
		return taio_zero(8);
	case TAIO_EP_MIRROR:
		return taio_mirror("/tmp/x,/tmp/y");
	case TAIO_EP_MESSAGES:
		return taio_messages(&message, 1);
	default:
		return taio_endpoint_make(type, -1, NULL, 0, 0);
	}
}

Test(plan, pairs_are_refused_with_a_sentence_only_where_they_make_no_sense)
{
	for (uint32_t from = 0; from <= TAIO_EP_MIRROR + 1; from++)
		for (uint32_t to = 0; to <= TAIO_EP_MIRROR + 1; to++) {
			struct taio_endpoint a = sample(from), b = sample(to);
			bool good = ((from > TAIO_EP_NONE && from <= TAIO_EP_ZERO) ||
				     from == TAIO_EP_MIRROR) &&
				    to > TAIO_EP_NONE && to < TAIO_EP_ZERO && from != TAIO_EP_NULL;
			bool socket[2] = { from == TAIO_EP_FD || from == TAIO_EP_ADDRESS,
					   to == TAIO_EP_FD || to == TAIO_EP_ADDRESS };
			const char *why = plan_refuse(&a, &b);

			good |= from == TAIO_EP_MESSAGES && socket[1];
			good |= to == TAIO_EP_MESSAGES && socket[0];
			cr_expect_eq(why == NULL, good, "%u to %u: %s", from, to, why ? why : "");
			cr_expect(good || (why && strlen(why) > 10));
		}
}

Test(plan, endless_zeros_are_only_for_what_has_a_size_itself)
{
	struct taio_endpoint zeros = taio_zero(TAIO_TO_END);

	for (uint32_t to = TAIO_EP_MEMORY; to < TAIO_EP_ZERO; to++) {
		struct taio_endpoint b = sample(to);

		cr_expect_eq(plan_refuse(&zeros, &b) == NULL,
			     to == TAIO_EP_MEMORY || to == TAIO_EP_VECTOR, "to %u", to);
	}
}
