/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * tab: a table of latencies by size class and load, learnt for each candidate. The table follows
 * slowly; a fast factor (taio_ctx.scale) says how the candidate runs just now against its table,
 * so a device that turns slow or fast changes all its prices within some completions and the table
 * keeps what is normal. Needs no hint about parallelism: load is part of the table. The default.
 * The table itself is bpf/table.bpf.h, which other policies build upon.
 */
#include "table.bpf.h"

TAIO_POLICY(tab, "latency by size class and load, learnt", .seed = table_seed,
	    .completed = table_completed, .price = table_price, .tail = table_tail,
	    .probe = table_probe)
