/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_request.c: the pool of requests, the queues that link them, their states and their FIFO of
 * steps; and the words of the registry of operations.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "request/operation.h"
#include "request/request.h"

static struct request_pool pool;

static void open_pool(uint32_t capacity)
{
	cr_assert_eq(request_pool_open(&pool, capacity), 0);
}

static struct request *get(void)
{
	struct request *r = request_get(&pool);

	cr_assert_not_null(r);
	request_set_state(r, REQUEST_READY);
	return r;
}

/* ---- pool ---- */

Test(request, pool_gives_as_many_as_it_holds_and_no_more)
{
	struct request *r[100];

	open_pool(100);
	for (int i = 0; i < 100; i++)
		r[i] = get();
	cr_assert_eq(pool.busy, 100);
	cr_assert_null(request_get(&pool));
	for (int i = 0; i < 100; i++)
		for (int k = 0; k < i; k++)
			cr_assert_neq(r[i], r[k]);
	request_put(&pool, r[42]);
	cr_assert_eq(pool.busy, 99);
	cr_assert_eq(request_get(&pool), r[42]);
	request_pool_close(&pool);
}

Test(request, a_request_used_before_comes_back_clean)
{
	struct request *r, clean;

	open_pool(1);
	clean = *get();
	r = &pool.slots[0];
	memset(r, 0xa5, sizeof(*r));
	r->timer = REQUEST_NONE;
	request_put(&pool, r);
	cr_assert_eq(get(), r);
	cr_assert(memcmp(r, &clean, sizeof(clean)) == 0);
	cr_assert_eq(r->next, REQUEST_NONE);
	cr_assert_eq(r->lane_next[0], REQUEST_NONE);
	cr_assert_eq(r->lane_next[1], REQUEST_NONE);
	cr_assert_eq(r->timer, REQUEST_NONE);
	cr_assert_eq(r->main_device, 255);
	cr_assert_eq(r->failed_device, 255);
	request_pool_close(&pool);
}

Test(request, a_request_and_its_event_fit_in_512_bytes)
{
	cr_assert_leq(sizeof(struct request) + sizeof(struct taio_event), 512);
}

Test(request, an_unused_pool_costs_no_memory_but_address_space)
{
	open_pool(1 << 20);
	cr_assert_eq(pool.used, 0);
	get();
	cr_assert_eq(pool.used, 1);
	request_pool_close(&pool);
	cr_assert_null(pool.slots);
	request_pool_close(&pool);
}

/* ---- queues ---- */

Test(request, queue_keeps_order)
{
	struct request_queue queue;

	open_pool(1000);
	request_queue_init(&queue);
	cr_assert_null(request_queue_pop(&queue, &pool));
	for (int i = 0; i < 1000; i++) {
		struct request *r = get();

		r->cookie = (uint64_t)i;
		request_queue_push(&queue, &pool, r);
	}
	cr_assert_eq(queue.count, 1000);
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(request_queue_pop(&queue, &pool)->cookie, (uint64_t)i);
	cr_assert_null(request_queue_pop(&queue, &pool));
	cr_assert_eq(queue.count, 0);
	request_pool_close(&pool);
}

Test(request, queue_gives_up_its_first_middle_and_last)
{
	struct request_queue queue;
	struct request *r[5];

	open_pool(5);
	request_queue_init(&queue);
	for (int i = 0; i < 5; i++)
		request_queue_push(&queue, &pool, r[i] = get());
	cr_assert(request_queue_remove(&queue, &pool, r[0]));
	cr_assert(request_queue_remove(&queue, &pool, r[2]));
	cr_assert(request_queue_remove(&queue, &pool, r[4]));
	cr_assert_not(request_queue_remove(&queue, &pool, r[2]));
	cr_assert_eq(queue.count, 2);
	request_queue_push(&queue, &pool, r[4]); /* behind r[3] although the last was taken */
	cr_assert_eq(request_queue_pop(&queue, &pool), r[1]);
	cr_assert_eq(request_queue_pop(&queue, &pool), r[3]);
	cr_assert_eq(request_queue_pop(&queue, &pool), r[4]);
	cr_assert_null(request_queue_pop(&queue, &pool));
	request_pool_close(&pool);
}

Test(request, queue_agrees_with_a_plain_list_on_random_changes)
{
	enum {
		COUNT = 64,
		ROUNDS = 50000
	};
	struct request_queue queue;
	struct request *model[COUNT];
	unsigned int seed = (unsigned int)time(NULL), used = 0;

	cr_log_info("seed %u", seed);
	open_pool(COUNT);
	request_queue_init(&queue);
	for (int round = 0; round < ROUNDS; round++) {
		unsigned int what = (unsigned int)rand_r(&seed) % 4;

		if (what < 2 && used < COUNT) {
			model[used] = get();
			request_queue_push(&queue, &pool, model[used++]);
		} else if (used) {
			unsigned int at = what == 2 ? 0 : (unsigned int)rand_r(&seed) % used;

			if (what == 2)
				cr_assert_eq(request_queue_pop(&queue, &pool), model[0]);
			else
				cr_assert(request_queue_remove(&queue, &pool, model[at]));
			request_put(&pool, model[at]);
			memmove(&model[at], &model[at + 1], (--used - at) * sizeof(model[0]));
		}
		cr_assert_eq(queue.count, used);
		cr_assert_eq(pool.busy, used);
	}
	request_pool_close(&pool);
}

/* ---- states ---- */

Test(request, every_way_of_waiting_starts_from_ready_and_leads_back)
{
	static const enum request_state waiting[] = { REQUEST_WAIT_FD, REQUEST_WAIT_LANE,
						      REQUEST_WAIT_TIME, REQUEST_WAIT_ROOM,
						      REQUEST_RUNNING };
	struct request *r;

	open_pool(1);
	r = get();
	for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
		request_set_state(r, waiting[i]);
		request_set_state(r, REQUEST_READY);
	}
	request_set_state(r, REQUEST_DONE);
	request_put(&pool, r);
	request_pool_close(&pool);
}

Test(request, a_finished_request_cannot_become_ready_again, .signal = SIGABRT)
{
	struct request *r;

	open_pool(1);
	r = get();
	request_set_state(r, REQUEST_DONE);
	request_set_state(r, REQUEST_READY);
}

Test(request, a_request_cannot_run_while_it_waits_for_its_lane, .signal = SIGABRT)
{
	struct request *r;

	open_pool(1);
	r = get();
	request_set_state(r, REQUEST_WAIT_LANE);
	request_set_state(r, REQUEST_RUNNING);
}

Test(request, a_request_cannot_be_given_back_twice, .signal = SIGABRT)
{
	struct request *r;

	open_pool(2);
	get();
	r = get();
	request_put(&pool, r);
	request_put(&pool, r);
}

/* ---- FIFO ---- */

Test(request, fifo_of_steps_keeps_order_and_sides)
{
	struct request *r;

	open_pool(1);
	r = get();
	cr_assert_eq(request_fifo_head(r), TAIO_STEP_NONE);
	request_fifo_push(r, TAIO_STEP_CONNECT | REQUEST_FIFO_TO);
	request_fifo_push(r, TAIO_STEP_TRANSFER);
	request_fifo_push(r, TAIO_STEP_CLOSE | REQUEST_FIFO_TO);
	cr_assert_eq(request_fifo_head(r), TAIO_STEP_CONNECT);
	cr_assert_eq(request_fifo_side(r), 1);
	r->attempts = 3;
	request_fifo_pop(r);
	cr_assert_eq(r->attempts, 0, "attempts belong to one step");
	cr_assert_eq(request_fifo_head(r), TAIO_STEP_TRANSFER);
	cr_assert_eq(request_fifo_side(r), 0);
	request_fifo_pop(r);
	cr_assert_eq(request_fifo_head(r), TAIO_STEP_CLOSE);
	request_fifo_pop(r);
	cr_assert_eq(request_fifo_head(r), TAIO_STEP_NONE);
	cr_assert_eq(request_fifo_side(r), 0);
	request_pool_close(&pool);
}

Test(request, fifo_has_a_limit, .signal = SIGABRT)
{
	struct request *r;

	open_pool(1);
	r = get();
	for (int i = 0; i <= REQUEST_FIFO_MAX; i++)
		request_fifo_push(r, TAIO_STEP_CLOSE);
}

/* ---- words ---- */

static void check_words(const char *(*name)(unsigned int), unsigned int count, unsigned int empty)
{
	for (unsigned int i = 0; i < count; i++) {
		cr_assert_not_null(name(i), "%u", i);
		cr_assert(i == empty || *name(i), "%u has no name", i);
		for (unsigned int k = 0; k < i; k++)
			cr_assert_str_neq(name(i), name(k));
	}
	cr_assert_str_eq(name(count), "?");
	cr_assert_str_eq(name(UINT32_MAX), "?");
}

Test(request, every_number_has_its_own_word)
{
	check_words(operation_name, TAIO_OP_COUNT, UINT32_MAX);
	check_words(operation_kind_name, TAIO_KIND_COUNT, UINT32_MAX);
	check_words(operation_fs_name, TAIO_FS_COUNT, TAIO_FS_NONE);
	check_words(taio_step_name, TAIO_STEP_COUNT, UINT32_MAX);
	check_words(taio_why_name, TAIO_WHY_COUNT, UINT32_MAX);
	cr_assert_not_null(operation_suboptions(TAIO_OP_COPY));
	cr_assert_str_eq(operation_suboptions(TAIO_OP_COUNT), "");
}
