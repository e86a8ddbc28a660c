/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_route_time.c: when a step of an asynchronous device was done, if inline devices held the
 * thread in the meantime.
 */
#include <criterion/criterion.h>

#include "engine/engine.h"

#define START 1000000

static struct taio *engine;

static void open_engine(void)
{
	engine = calloc(1, sizeof(*engine));
	cr_assert_not_null(engine);
}

static void close_engine(void)
{
	free(engine);
}

TestSuite(route_time, .init = open_engine, .fini = close_engine);

/* A step that is said to take @price_us was seen after @seen_us; before, inline devices had held
 * the thread for @held_us. Return: what it is taken to have taken, us. */
static uint64_t took_us(uint64_t price_us, uint64_t seen_us, uint64_t held_us)
{
	struct taio_step step = { .start_ns = START, .predicted_ns = price_us * 1000 };

	engine->taken_ns = START + seen_us * 1000;
	engine->late_ns = held_us * 1000;
	return (route_done_ns(engine, &step) - START) / 1000;
}

Test(route_time, is_when_it_was_seen_while_the_thread_was_free)
{
	cr_expect_eq(took_us(10, 25, 0), 25);
	cr_expect_eq(took_us(25, 10, 0), 10);
}

Test(route_time, is_as_foretold_where_it_cannot_be_known_better)
{
	cr_expect_eq(took_us(10, 150, 150), 10);
	cr_expect_eq(took_us(90, 150, 100), 90);
}

Test(route_time, is_the_nearest_that_can_be_where_the_price_cannot_be_right)
{
	cr_expect_eq(took_us(10, 150, 100), 50, "it was not there when the thread looked before");
	cr_expect_eq(took_us(300, 150, 100), 150, "it was there no later than that");
}

Test(route_time, is_when_it_was_seen_where_nothing_was_foretold)
{
	cr_expect_eq(took_us(0, 150, 150), 150);
}
