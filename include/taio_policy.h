/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * taio_policy.h: what engines and policies share. Compiled for BPF and natively; fixed-size types,
 * no pointers, no holes. Every structure here is the value of a map with the same name that
 * `bpftool map dump` prints by fields; engines mmap all of them but taio_state and taio_work.
 *
 * A policy prices, the engine picks. A CELL is (route context, size class); a SLOT is a candidate
 * device within a context. For each cell and slot the policy writes the expected cost at each
 * level of load (bucket of requests in flight on that device). The engine takes the cheapest.
 *
 * Who writes what: engines write contexts, devices, capabilities (first use), their own engine
 * slot and samples. The core (bpf/core.bpf.h), on each tick, feeds the samples to taio_lat and to
 * the policy's hooks, and writes prices. Nothing written by anybody else is trusted: engines and
 * core clamp and mask every index.
 */
#ifndef TAIO_POLICY_H
#define TAIO_POLICY_H

#ifdef __bpf__
#include "bpf_types.h" /* bpf/: the few kernel names that are needed, no vmlinux.h */
#else
#include <linux/types.h>
#endif

#define TAIO_POLICY_ABI 2

#define TAIO_CONTEXTS     32 /* route contexts */
#define TAIO_CLASSES      16 /* size classes of a context */
#define TAIO_CELLS        (TAIO_CONTEXTS * TAIO_CLASSES)
#define TAIO_SLOTS        16 /* candidates of a context */
#define TAIO_ROUTES       (TAIO_CELLS * TAIO_SLOTS)
#define TAIO_DEVICES      64
#define TAIO_BUCKETS      16   /* levels of load */
#define TAIO_GOALS        3    /* latency, throughput, CPU: enum taio_goal of taio.h */
#define TAIO_ENGINES      64   /* engines that share machine-wide maps */
#define TAIO_RING         1024 /* samples of an engine on their way to the core */
#define TAIO_HIST         32   /* log2 buckets of a latency histogram: 2^i .. 2^(i+1) ns */
#define TAIO_TUNABLES_MAX 16   /* of a policy at most */
#define TAIO_ASKS         64   /* requests of a batch that a pick hook decides */

#define TAIO_SCALE_ONE 1024 /* taio_ctx.scale of a candidate at its normal speed */
#define TAIO_COST_MAX  0xfffffffeU
#define TAIO_COST_NONE 0 /* no price: the engine uses its own estimate */

/* Size class: 0: below 1 KiB, then powers of two, 15: from 16 MiB. */
static inline __u32 taio_class_of(__u64 bytes)
{
	__u32 c = 0;

	if (bytes >= 1024) {
		c = 63 - (__u32)__builtin_clzll(bytes) - 9;
		if (c > TAIO_CLASSES - 1)
			c = TAIO_CLASSES - 1;
	}
	return c;
}

/* Typical size of a class, bytes: its lower bound times 1.5. */
static inline __u64 taio_class_bytes(__u32 c)
{
	return c ? 768ULL << (c & 15) : 512;
}

/* Load bucket of q requests in flight: 0,1,2,3,4,6,8,12,16,24,32,48,64,96,128,192 and more. */
static inline __u32 taio_bucket_of(__u32 q)
{
	__u32 l, b;

	if (q < 4)
		return q;
	l = 31 - (__u32)__builtin_clz(q);
	b = 2 * l + ((q >> (l - 1)) & 1);
	return b > TAIO_BUCKETS - 1 ? TAIO_BUCKETS - 1 : b;
}

/* Smallest number of requests in flight of a bucket. */
static inline __u32 taio_bucket_load(__u32 b)
{
	return b < 4 ? b : (2 + (b & 1)) << ((b >> 1) - 1);
}

/* Map taio_ctx[TAIO_CONTEXTS]: route contexts, claimed by compare-and-swap of key. */
struct taio_ctx {
	__u64 key;            /* 0: free. user/pick/context.c packs it */
	char name[40];        /* "copy file>stream ext" */
	__u8 dev[TAIO_SLOTS]; /* number in taio_dev plus 1; 0: free slot */
	/* By policy: how the candidate runs at present against what its prices say, 1024: as they
	 * say. An engine multiplies latency and throughput prices by it (0: 1024). It is kept for
	 * each context and not for each device, since one device name may stand on a slow disk
	 * here and on memory there. */
	__u32 scale[TAIO_SLOTS];
	/* The policy's own for the candidate in all size classes (taio_route.common), zeroed when
	 * another policy takes over. */
	__u64 common[TAIO_SLOTS][2];
};

/* Map taio_caps[TAIO_CONTEXTS * TAIO_SLOTS]: what the driver of a candidate publishes. */
struct taio_caps {
	__u32 base_ns;
	__u32 ps_per_byte;
	__u32 parallel;
	__u32 cpu_permille;
	__u32 flags;  /* enum taio_caps_flag */
	__u32 source; /* enum taio_speed_source of taio.h */
};
enum taio_caps_flag {
	TAIO_CAPS_SYNC = 1,  /* occupies the caller while it runs */
	TAIO_CAPS_SHARES = 2 /* uses a second core */
};

/* Map taio_dev[TAIO_DEVICES]: devices by name, state that all policies and engines share. */
struct taio_dev {
	char name[16];
	__u32 hash;         /* of name; 0: free; claimed by compare-and-swap */
	__u32 scale;        /* always 1024: the factor in use is taio_ctx.scale */
	__u32 in_flight;    /* of all engines: they count, each tick recounts */
	__u32 health;       /* by core: 1024 well; falls with errors */
	__u64 progress_ns;  /* last completion on any engine */
	__u64 stall_end_ns; /* end of the last stall that was seen */
	__u64 steps, bytes, errors, cpu_ns;
	__u64 quarantines;
	__u32 owner; /* generation of the policy whose state follows */
	__u32 reserved;
	__u32 state[8]; /* the policy's own, zeroed when another policy takes over */
};

/* Map taio_lat[TAIO_ROUTES], index cell * TAIO_SLOTS + slot: completion latencies. */
struct taio_lat {
	__u64 count;
	__u64 bytes;
	__u64 cpu_ns; /* summed over count_cpu completions */
	__u64 count_cpu;
	__u64 errors;
	__u64 last_ns;               /* when the last completion came */
	__u32 ewma_ns[TAIO_BUCKETS]; /* weight 1/8; 0: nothing known */
	__u32 seen[TAIO_BUCKETS];    /* completions in that bucket, saturating */
	__u32 hist[TAIO_HIST];
	__u32 cpu_ewma_ns; /* processor time of a completion, weight 1/16; 0: never measured */
	__u32 reserved;
	__u32 dev; /* index in taio_dev, for readers of a dump */
	__u32 cell;
};

/* Map taio_state[TAIO_ROUTES]: the policy's own; zeroed when another policy takes over. */
#define TAIO_STATE_WORDS 30
struct taio_state {
	__u32 owner; /* generation of the policy whose state follows */
	__u32 cell;  /* for readers of a dump */
	__u32 word[TAIO_STATE_WORDS];
};

/* Map taio_price[TAIO_CELLS]: cost in ns of one more request, by goal, slot and load. */
struct taio_price {
	__u32 cost[TAIO_GOALS][TAIO_SLOTS][TAIO_BUCKETS];
	__u32 probe;   /* mask of slots that may be probed */
	__u32 version; /* grows with each re-pricing of the cell */
	__u64 when_ns; /* of the last re-pricing */
};

/* A completion, written by an engine into its ring. */
struct taio_sample {
	__u64 submit_ns;
	__u32 ns;     /* submission to completion, saturating */
	__u32 cpu_ns; /* 0: not measured */
	__u32 bytes;  /* saturating */
	__u32 predicted_ns;
	__u16 cell;
	__u8 slot;
	__u8 dev;     /* index in taio_dev */
	__u8 bucket;  /* load at submission */
	__u8 flags;   /* enum taio_sample_flag */
	__u16 weight; /* completions that it stands for, >= 1 */
};
enum taio_sample_flag {
	TAIO_SAMPLE_ERROR = 1, /* failed, cancelled or short: counted, never learnt from */
	TAIO_SAMPLE_PROBE = 2,
	TAIO_SAMPLE_URGENT = 4 /* far from its price: the engine asks for a tick at once */
};

/* Map taio_engine[1 or TAIO_ENGINES]: one engine's side; single writer, but for tail and seen. */
struct taio_engine {
	__u32 pid; /* 0: free; claimed by compare-and-swap */
	__u32 uid;
	__u64 started_ns; /* start time of the process, to tell it from a later one of that pid */
	__u64 alive_ns;   /* last time the engine was seen running */
	__u32 head;       /* samples written, free running, by the engine */
	__u32 tail;       /* samples consumed, by the core */
	__u64 dropped;    /* samples that found no room */
	__u64 decisions, probes, retries, hedges;
	__u32 watch_strikes; /* bad windows in a row, as the engine's watchdog sees the policy */
	__u32 watch_regret;  /* cost of its choices in % of what the built-in policy's would */
	__u16 in_flight[TAIO_DEVICES]; /* by index in taio_dev */
	struct taio_sample ring[TAIO_RING];
};

/* Map taio_ctl[1]: who decides, how often, and counters. */
struct taio_ctl {
	__u32 magic;      /* TAIO_CTL_MAGIC */
	__u32 abi;        /* TAIO_POLICY_ABI */
	char policy[16];  /* running policy */
	__u32 generation; /* grows at each take-over; programs of an earlier one do nothing */
	__u32 flags;      /* enum taio_policy_flag, of the running policy */
	__u32 engines;    /* highest used index in taio_engine plus 1; by core */
	__u32 armed;      /* the timer is running */
	__u32 idle;       /* ticks without a sample; the timer stops itself after some */
	__u32 tick_ns;    /* period; 0: 1 ms */
	__u64 last_tick_ns;
	__u64 ticks, samples, repriced, swaps;
	__u64 refused;                 /* samples that were refused */
	__u32 tune[TAIO_TUNABLES_MAX]; /* of the running policy, in the order of its table */
};
#define TAIO_CTL_MAGIC 0x7461696fU /* "taio" */

enum taio_policy_flag {
	TAIO_POLICY_RANKS = 1,  /* prices only rank devices (in units of TAIO_RANK), they predict no
				* time */
	TAIO_POLICY_TURNS = 2,  /* the engine takes turns among equally cheap candidates */
	TAIO_POLICY_COMMON = 4, /* a completion changes the prices of all size classes */
	TAIO_POLICY_PICKS = 8   /* by core: there is a pick hook */
};
#define TAIO_RANK (1U << 20) /* so large that the engine's noise terms do not reorder ranks */

/* The age term: what a price is worth when the device owes a completion for @age_ns. Learners that
 * are fed by completions alone cannot see a stall. */
static inline __u64 taio_aged(__u64 cost, __u64 age_ns)
{
	if (age_ns <= 2 * cost)
		return cost;
	return age_ns > 64 * cost ? 4 * age_ns : cost + age_ns;
}

/* A step that moves bytes and waits for its device. */
struct taio_ask {
	__u64 deadline_ns; /* of its request, CLOCK_MONOTONIC; 0: none */
	__u64 bytes;       /* of the step */
	__u64 rest;        /* bytes of its request behind the step */
	__u16 cell;
	__u16 may; /* mask of slots that may run it */
	__u16 tag; /* as given with the request: taio_options.tag */
	__u8 goal, priority;
	__u8 slot; /* answer: one of may, or TAIO_PICK_PRICE: the cheapest */
	__u8 reserved[7];
};
#define TAIO_PICK_PRICE 255
#define TAIO_PICK_BID   254 /* within a policy only: see bpf/policy.bpf.h */
#define TAIO_BID_MAX    (1ULL << 58)
#define TAIO_NO_BID     ~0ULL

/* Map taio_batch[1]: what an engine asks the pick hook, and its answers. One for each engine, never
 * shared: under a machine-wide policy engines ask the native twin. */
struct taio_batch {
	__u64 now_ns;
	__u32 count;  /* of ask[], in use */
	__u32 random; /* state of taio_random(), not 0 */
	__u64 batches, asked;
	__u64 picked;               /* answers that named a device that was then taken */
	__u64 by_price;             /* answers that left it to the prices */
	__u64 refused;              /* answers that named what may not run: prices decided */
	__u32 own[16];              /* the policy's own, zeroed when another policy takes over */
	__u32 owner;                /* generation of the policy whose own[] it is */
	__u32 load[TAIO_DEVICES];   /* in flight, by index in taio_dev; grows with each answer */
	__u8 bucket[TAIO_DEVICES];  /* taio_bucket_of() that */
	__u32 age_ns[TAIO_DEVICES]; /* how long it owes a completion, saturating; 0: nothing owed */
	__u32 reserved;
	struct taio_ask ask[TAIO_ASKS];
};

/* Map taio_work[1]: the core's own between ticks. */
struct taio_work {
	__u32 busy;              /* a tick is running: timer and BPF_PROG_RUN may meet */
	__u32 first;             /* position in list[] of the cell to be priced next */
	__u32 dirty;             /* cells in list[] */
	__u32 engine;            /* where the next tick starts to drain */
	__u64 now_ns;            /* tests: the time; 0: the kernel's clock */
	__u16 list[TAIO_CELLS];  /* ring of cells whose prices are out of date ... */
	__u16 slots[TAIO_CELLS]; /* ... and which of their slots */
	__u32 in_flight[TAIO_DEVICES];
	__u32 latency[TAIO_BUCKETS]; /* of the candidate at hand */
	__u32 memo[4];               /* taio_route.memo */
};

/* A knob of a policy, as its object describes it. */
struct taio_tunable {
	char name[24];
	char unit[16];
	char text[80];
	__u32 initial, min, max;
	__u32 reserved;
};
#endif /* TAIO_POLICY_H */
