/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * lane_rate.h: a rate limit that belongs to a socket, so that batches that follow each other share
 * what is allowed (the generic cell rate algorithm of ITU-T I.371). One number says up to when
 * what has gone is paid for; ahead of the clock it may be by one burst.
 */
#ifndef TAIO_LANE_RATE_H
#define TAIO_LANE_RATE_H

#include <stdint.h>

#define LANE_BURST_NS (50ULL * 1000 * 1000)

struct lane_rate {
	uint64_t packets_ns, bytes_ns; /* paid up to */
};

static inline uint64_t lane_rate_ns(uint64_t amount, uint64_t per_s)
{
	unsigned __int128 ns = (unsigned __int128)amount * 1000000000u / per_s;

	return ns > UINT64_MAX / 4 ? UINT64_MAX / 4 : (uint64_t)ns;
}

static inline void lane_rate_pay(uint64_t *paid_ns, uint64_t now_ns, uint64_t amount,
				 uint64_t per_s)
{
	uint64_t from = *paid_ns > now_ns ? *paid_ns : now_ns;

	*paid_ns = from + lane_rate_ns(amount, per_s);
}

/*
 * How much of @amount may go now. It does not start for less than half a burst, unless that is all
 * there is: between two looks at the clock hardly anything falls due.
 * @ret_wait_ns: with 0: how long to wait.
 */
static inline uint64_t lane_rate_room(uint64_t paid_ns, uint64_t now_ns, uint64_t per_s,
				      uint64_t amount, uint64_t *ret_wait_ns)
{
	uint64_t from = paid_ns > now_ns ? paid_ns : now_ns;
	uint64_t burst = (uint64_t)((unsigned __int128)per_s * LANE_BURST_NS / 1000000000u);
	uint64_t least = amount < burst / 2 + 1 ? amount : burst / 2 + 1;
	uint64_t room, ready;

	if (burst == 0) { /* fewer than one in a burst: each when its time has come */
		*ret_wait_ns = from - now_ns;
		return from == now_ns ? 1 : 0;
	}
	room = from >= now_ns + LANE_BURST_NS
		       ? 0
		       : (uint64_t)((unsigned __int128)(now_ns + LANE_BURST_NS - from) * per_s /
				    1000000000u);
	if (room >= least)
		return room < amount ? room : amount;
	ready = from + lane_rate_ns(least, per_s);
	*ret_wait_ns = ready > now_ns + LANE_BURST_NS ? ready - now_ns - LANE_BURST_NS : 1;
	return 0;
}

#endif /* TAIO_LANE_RATE_H */
