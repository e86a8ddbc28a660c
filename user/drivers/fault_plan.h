/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* fault_plan.h: a schedule of faults as fault_text.c reads it and fault.c carries it out. */
#ifndef TAIO_FAULT_PLAN_H
#define TAIO_FAULT_PLAN_H

#include <stdint.h>

#define FAULT_RULES 32 /* of a schedule */

enum fault_kind {
	FAULT_DELAY,
	FAULT_STALL,
	FAULT_ERROR,
	FAULT_SHORT
};

struct fault_rule {
	char device[16];
	uint8_t kind;  /* enum fault_kind */
	uint8_t known; /* a device of that name was wrapped */
	int error;     /* positive errno */
	uint32_t every;
	uint32_t part, whole;       /* SHORT */
	uint64_t factor_milli;      /* DELAY; 1000: as long as it takes */
	uint64_t ns, period_ns;     /* DELAY: longer by; STALL */
	uint64_t from_ns, until_ns; /* since start_ns */
};

struct fault_device;

struct fault_plan {
	uint64_t start_ns;
	unsigned int count;
	struct fault_rule rule[FAULT_RULES];
	struct fault_device *devices; /* linked through next */
};

#endif /* TAIO_FAULT_PLAN_H */
