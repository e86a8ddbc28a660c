/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* random.c: xorshift generators; the same numbers on every machine. */
#include "sim.h"

#include <math.h>

uint64_t random_next(struct sim_random *random)
{
	uint64_t x = random->state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	random->state = x;
	return x * 2685821657736338717ULL;
}

double random_unit(struct sim_random *random)
{
	return (double)(random_next(random) >> 11) / 9007199254740992.0;
}

uint32_t random_below(struct sim_random *random, uint32_t limit)
{
	return (uint32_t)(((random_next(random) >> 32) * limit) >> 32);
}

double random_normal(struct sim_random *random)
{
	double u = 1 - random_unit(random), v = random_unit(random);

	return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static uint64_t random_topology_next(struct sim_random *random)
{
	uint64_t x = random->state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	random->state = x;
	return x;
}

void random_start_topology(struct sim_random *random, uint32_t number)
{
	random->state = 0x9e3779b97f4a7c15ULL * (number + 1);
	for (int i = 0; i < 5; i++)
		random_topology_next(random);
}

double random_topology(struct sim_random *random, double low, double high)
{
	double u = (double)(random_topology_next(random) >> 40) / 16777216.0;

	return low * pow(high / low, u);
}
