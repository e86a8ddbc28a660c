/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* request.c: the pool, the queues and the state check of requests; see request.h. */
#include "request/request.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "util/clear.h"

int request_pool_open(struct request_pool *pool, uint32_t capacity)
{
	assert(capacity > 0);
	memset(pool, 0, sizeof(*pool));
	pool->slots = mmap(NULL, (size_t)capacity * sizeof(struct request), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (pool->slots == MAP_FAILED) {
		pool->slots = NULL;
		return -ENOMEM;
	}
	pool->capacity = capacity;
	pool->free_list = REQUEST_NONE;
	return 0;
}

void request_pool_close(struct request_pool *pool)
{
	if (pool->slots)
		munmap(pool->slots, (size_t)pool->capacity * sizeof(struct request));
	memset(pool, 0, sizeof(*pool));
}

struct request *request_get(struct request_pool *pool)
{
	struct request *r;

	if (pool->free_list != REQUEST_NONE) {
		r = &pool->slots[pool->free_list];
		pool->free_list = r->next;
		clear(r, sizeof(*r));
	} else if (pool->used < pool->capacity) {
		r = &pool->slots[pool->used++]; /* fresh from mmap: zero */
	} else {
		return NULL;
	}
	r->next = REQUEST_NONE;
	r->lane_next[0] = r->lane_next[1] = REQUEST_NONE;
	r->timer = REQUEST_NONE;
	r->main_device = 255;
	r->failed_device = 255;
	pool->busy++;
	return r;
}

void request_put(struct request_pool *pool, struct request *r)
{
	assert(r->state != REQUEST_FREE && pool->busy > 0);
	assert(r->timer == REQUEST_NONE);
	r->state = REQUEST_FREE;
	r->next = pool->free_list;
	pool->free_list = request_index(pool, r);
	pool->busy--;
}

#define TO(state) (1u << REQUEST_##state)

static const uint16_t request_legal[REQUEST_STATE_COUNT] = {
	[REQUEST_FREE] = TO(READY) | TO(WAIT_LANE) | TO(DONE),
	[REQUEST_READY] = TO(RUNNING) | TO(WAIT_FD) | TO(WAIT_LANE) | TO(WAIT_TIME) |
			  TO(WAIT_ROOM) | TO(DONE),
	[REQUEST_RUNNING] = TO(READY) | TO(WAIT_FD) | TO(DONE),
	[REQUEST_WAIT_FD] = TO(READY) | TO(DONE),
	[REQUEST_WAIT_LANE] = TO(READY) | TO(DONE),
	[REQUEST_WAIT_TIME] = TO(READY) | TO(DONE),
	[REQUEST_WAIT_ROOM] = TO(READY) | TO(DONE),
	[REQUEST_DONE] = 0, /* only request_put() */
};

void request_set_state(struct request *r, enum request_state state)
{
	assert(state < REQUEST_STATE_COUNT);
	assert(r->state == state || request_legal[r->state] & (1u << state));
	r->state = (uint8_t)state;
}

void request_queue_init(struct request_queue *queue)
{
	queue->head = queue->tail = REQUEST_NONE;
	queue->count = 0;
}

void request_queue_push(struct request_queue *queue, struct request_pool *pool, struct request *r)
{
	uint32_t index = request_index(pool, r);

	r->next = REQUEST_NONE;
	if (queue->tail == REQUEST_NONE)
		queue->head = index;
	else
		pool->slots[queue->tail].next = index;
	queue->tail = index;
	queue->count++;
}

struct request *request_queue_pop(struct request_queue *queue, struct request_pool *pool)
{
	struct request *r;

	if (queue->head == REQUEST_NONE)
		return NULL;
	r = &pool->slots[queue->head];
	queue->head = r->next;
	if (queue->head == REQUEST_NONE)
		queue->tail = REQUEST_NONE;
	r->next = REQUEST_NONE;
	queue->count--;
	return r;
}

bool request_queue_remove(struct request_queue *queue, struct request_pool *pool, struct request *r)
{
	uint32_t index = request_index(pool, r), at = queue->head, before = REQUEST_NONE;

	while (at != REQUEST_NONE && at != index) {
		before = at;
		at = pool->slots[at].next;
	}
	if (at == REQUEST_NONE)
		return false;
	if (before == REQUEST_NONE)
		queue->head = r->next;
	else
		pool->slots[before].next = r->next;
	if (queue->tail == index)
		queue->tail = before;
	r->next = REQUEST_NONE;
	queue->count--;
	return true;
}

void request_fifo_push(struct request *r, unsigned int step)
{
	assert(r->fifo_head + r->fifo_count < REQUEST_FIFO_MAX);
	r->fifo[r->fifo_head + r->fifo_count++] = (uint8_t)step;
}
