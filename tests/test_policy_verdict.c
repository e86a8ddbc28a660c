/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* test_policy_verdict.c: the decisive line of verifier logs, as kernels from 6.1 on write them. */
#include <criterion/criterion.h>

#include "policy/bpf_verdict.h"

static const char *verdict(const char *log)
{
	static char line[128];

	bpf_verdict(log, line, sizeof(line));
	return line;
}

Test(policy_verdict, is_the_last_line_that_is_neither_state_nor_statistic)
{
	cr_expect_str_eq(verdict("0: R1=ctx() R10=fp0\n"
				 "; *p = 1; @ wild.bpf.c:12\n"
				 "0: (b7) r1 = 0                        ; R1_w=0\n"
				 "1: (63) *(u32 *)(r1 +0) = r1\n"
				 "R1 invalid mem access 'scalar'\n"
				 "processed 2 insns (limit 1000000) max_states_per_insn 0 "
				 "total_states 0 peak_states 0 mark_read 0\n"),
			 "R1 invalid mem access 'scalar' (wild.bpf.c:12)");
}

Test(policy_verdict, may_stand_behind_an_instruction)
{
	cr_expect_str_eq(verdict("0: R1=ctx() R10=fp0\n"
				 "5: (05) goto pc-1infinite loop detected at insn 5\n"
				 "cur state: R10=fp0\n"
				 "processed 7 insns (limit 1000000)\n"),
			 "infinite loop detected at insn 5");
}

/* What is said of global functions once stood there as the reason. */
Test(policy_verdict, is_not_that_a_function_is_looked_at_or_safe)
{
	cr_expect_str_eq(verdict("arg#0 reference type('UNKNOWN ') size cannot be determined: -22\n"
				 "Func#1 ('core_ewma') is safe for any args that match its "
				 "prototype\n"
				 "Validating core_price() func#2...\n"
				 "3: R1=scalar() R10=fp0\n"
				 "processed 12 insns (limit 1000000)\n"),
			 "arg#0 reference type('UNKNOWN ') size cannot be determined: -22");
	cr_expect_str_eq(verdict("Func#1 is global and assumed valid.\n"
				 "Validating core_price() func#2...\n"
				 "processed 12 insns (limit 1000000)\n"),
			 "");
}

Test(policy_verdict, of_an_empty_log_there_is_none)
{
	cr_expect_str_eq(verdict(""), "");
	cr_expect_str_eq(verdict("\n\n"), "");
}
