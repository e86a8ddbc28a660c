/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * lect: least expected completion time. For each candidate and size class it learns the time of
 * service alone; the wait is reckoned from what the requests in flight are expected to need and
 * from how many of them the device serves side by side, which its driver must publish truly.
 */
#include "policy.bpf.h"

#define LECT_TUNABLES(T)                                                                      \
	T(memory, 16, 1, 255, "completions", "weight of the past in a service time")          \
	T(parallel_percent, 100, 1, 400, "%", "share of the published parallelism to trust")  \
	T(parallel_most, 64, 1, 1024, "requests",                                             \
	  "a higher published parallelism is not believed")                                   \
	T(probe_every, 64, 1, 65535, "own costs", "how long a quiet candidate is left alone") \
	T(probe_small, 64, 1, 65535, "best costs", "how dear a probe may be, up to 128 KiB")  \
	T(probe_large, 8, 1, 65535, "best costs", "how dear a probe may be, above 128 KiB")
TAIO_TUNABLES(LECT_TUNABLES)

enum {
	LECT_SERVICE, /* word: ns; 0: never seen */
	LECT_SEEN     /* word: completions, up to memory */
};
#define LECT_MEAN      0 /* dev->state: service time of what completed lately, all sizes */
#define LECT_SCALE_MIN 512

/* Servers of the device, in 1/64. */
static __always_inline u32 lect_servers(const struct taio_route *route)
{
	u32 parallel = route->caps->parallel, most = tune(parallel_most), servers;

	parallel = parallel > most ? most : parallel;
	servers = parallel * 64 * tune(parallel_percent) / 100;
	return servers < 64 ? 64 : servers;
}

/* How long one more request waits behind @load others, each of which needs the mean. */
static __always_inline u64 lect_wait(const struct taio_route *route, u32 load)
{
	u64 servers = lect_servers(route), queue = (u64)load * 64;
	u64 backlog_ns = (u64)load * route->dev->state[LECT_MEAN];

	if (queue < servers)
		return 0;
	return backlog_ns * (queue - servers + 64) / queue * 64 / servers * 15 / 16;
}

static void lect_completed(struct taio_route *route, const struct taio_sample *s)
{
	u32 *service = &route->word[LECT_SERVICE], *seen = &route->word[LECT_SEEN], weight, normal;
	u32 *mean = &route->dev->state[LECT_MEAN];
	u64 wait = lect_wait(route, taio_bucket_load(s->bucket));

	normal = taio_rescale(route, s->ns, *service ? *service + wait : 0, LECT_SCALE_MIN);
	/* Never less than an eighth: the wait is an estimate. */
	normal = wait < normal - normal / 8 ? normal - (u32)wait : normal / 8;
	if (!normal)
		normal = 1;
	if (*seen < tune(memory))
		(*seen)++;
	weight = wait > *service ? 4 * *seen : *seen; /* the less it waited the more it tells */
	if (*service)
		taio_follow(service, normal, weight);
	else
		*service = normal;
	if (*mean)
		taio_follow(mean, normal, 32);
	else
		*mean = normal;
}

/* What is known of the service time: of this class, or guessed from the nearest. */
static __always_inline u32 lect_service(const struct taio_route *route, u32 class)
{
	const u32 *word = taio_words(route, class);

	return word && word[LECT_SERVICE] ? taio_convert(route, class, word[LECT_SERVICE]) : 0;
}

static __always_inline u32 lect_begin(const struct taio_route *route)
{
	u32 service = route->word[LECT_SERVICE];

	for (u32 n = 1; !service && n < TAIO_CLASSES; n++) {
		if (route->class >= n)
			service = lect_service(route, route->class - n);
		if (!service && route->class + n < TAIO_CLASSES)
			service = lect_service(route, route->class + n);
	}
	return service;
}

static u64 lect_price(struct taio_route *route, u32 bucket)
{
	u32 load = taio_bucket_load(bucket);
	u64 cost, quiet, last_ns = route->lat->last_ns;

	if (bucket == 0)
		route->memo[0] = lect_begin(route);
	if (!route->memo[0])
		return taio_published_ns(route, load);
	cost = route->memo[0] + lect_wait(route, load);
	/* Who was not heard of for long may have become better, by an eighth at most. */
	quiet = route->now_ns > last_ns ? (route->now_ns - last_ns) >> 17 : 0;
	return cost - (cost * (quiet < 128 ? quiet : 128) >> 10);
}

static void lect_seed(struct taio_route *route, u32 bucket)
{
	u32 load = taio_bucket_load(bucket), parallel = lect_servers(route) / 64;
	u64 ns = route->lat->ewma_ns[bucket];

	if (route->word[LECT_SERVICE])
		return;
	if (load >= parallel) /* most of it was the wait */
		ns = ns * parallel / (load + 1);
	route->word[LECT_SERVICE] = taio_limit(ns);
	route->word[LECT_SEEN] = tune(memory) < 8 ? tune(memory) : 8;
	if (!route->dev->state[LECT_MEAN])
		route->dev->state[LECT_MEAN] = route->word[LECT_SERVICE];
}

static u32 lect_probe(struct taio_route *route, u64 own_ns, u64 best_ns)
{
	return taio_is_quiet(route, own_ns, best_ns,
			     route->class <= 7 ? tune(probe_small) : tune(probe_large),
			     tune(probe_every));
}

TAIO_POLICY(lect, "learnt service time plus the expected wait", .seed = lect_seed,
	    .completed = lect_completed, .price = lect_price, .probe = lect_probe)
