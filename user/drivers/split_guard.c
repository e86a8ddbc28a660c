/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * split_guard.c: see split_guard.h. The loops are assembler because the kernel decides by the
 * address of the interrupted instruction whether a copy is to be given up: all that touches the
 * caller's memory must lie between two known addresses.
 *
 * Why nothing leaks out: the test of *revoked is the first instruction of the sequence. A thread
 * that was inside when membarrier(2) ran, running or preempted, leaves through the abort handler
 * and meets the test again before its next access; a thread that enters later meets it first. The
 * streaming stores that it had already made are out of the core by then: an interrupt, and so a
 * preemption, drains the write-combining buffers.
 */
#include "drivers/split_guard.h"

#include <errno.h>

#if defined(__x86_64__) && __has_include(<sys/rseq.h>) && __has_include(<linux/membarrier.h>)

#include <emmintrin.h>
#include <linux/membarrier.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#if RSEQ_SIG != 0x53053053
#error "the abort handler below has another signature in front of it"
#endif

static long guard_membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0u, 0);
}

int split_guard_probe(const char **ret_why)
{
	long commands;

	if (!__rseq_size) {
		*ret_why = "restartable sequences are not registered by the C library";
		return -EOPNOTSUPP;
	}
	commands = guard_membarrier(MEMBARRIER_CMD_QUERY);
	if (commands < 0 || !(commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ)) {
		*ret_why = "membarrier(2) cannot restart sequences here (Linux 5.10, CONFIG_RSEQ)";
		return -EOPNOTSUPP;
	}
	return 0;
}

int split_guard_register(void)
{
	return guard_membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ) ? -errno : 0;
}

int split_guard_revoke(_Atomic uint64_t *revoked, uint64_t job)
{
	atomic_store(revoked, job);
	return guard_membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ) ? -errno : 0;
}

void *split_guard_area(void)
{
	char *thread;

	__asm__("movq %%fs:0, %0" : "=r"(thread));
	return thread + __rseq_offset;
}

/*
 * i runs from -len to 0 and is the only thing that changes, in one instruction: wherever the
 * sequence is left, the bytes before i are copied. The second loop does without the prefetch,
 * which must not run into what others copy.
 */
#define GUARD_ASM(LINES, END)                                                                     \
	".pushsection .data.rel.ro.taio_guard, \"aw\", @progbits\n\t"                             \
	".balign 32\n"                                                                            \
	"77:\n\t"                                                                                 \
	".long 0, 0\n\t"                                                                          \
	".quad 71f, 76f - 71f, 78f\n\t"                                                           \
	".popsection\n\t"                                                                         \
	"leaq 77b(%%rip), %%rax\n\t"                                                              \
	"movq %%rax, %c[cs](%[area])\n"                                                           \
	"71:\n\t"                                                                                 \
	"cmpq %[job], (%[revoked])\n\t"                                                           \
	"jae 76f\n"                                                                               \
	"72:\n\t"                                                                                 \
	"cmpq $-640, %[i]\n\t"                                                                    \
	"jg 73f\n\t"                                                                              \
	"prefetcht0 512(%[from], %[i])\n\t"                                                       \
	"prefetcht0 576(%[from], %[i])\n\t" LINES "addq $128, %[i]\n\t"                           \
	"jmp 72b\n"                                                                               \
	"73:\n\t" LINES "addq $128, %[i]\n\t"                                                     \
	"jnz 73b\n"                                                                               \
	"76:\n\t"                                                                                 \
	"movq $0, %c[cs](%[area])\n\t" END ".pushsection .text.taio_guard, \"ax\", @progbits\n\t" \
	".byte 0x0f, 0xb9, 0x3d\n\t"                                                              \
	".long 0x53053053\n"                                                                      \
	"78:\n\t"                                                                                 \
	"jmp 76b\n\t"                                                                             \
	".popsection\n\t"

#define GUARD_SSE2_LINE(at)                            \
	"movdqu " #at "(%[from], %[i]), %%xmm0\n\t"    \
	"movdqu " #at "+16(%[from], %[i]), %%xmm1\n\t" \
	"movdqu " #at "+32(%[from], %[i]), %%xmm2\n\t" \
	"movdqu " #at "+48(%[from], %[i]), %%xmm3\n\t" \
	"movntdq %%xmm0, " #at "(%[to], %[i])\n\t"     \
	"movntdq %%xmm1, " #at "+16(%[to], %[i])\n\t"  \
	"movntdq %%xmm2, " #at "+32(%[to], %[i])\n\t"  \
	"movntdq %%xmm3, " #at "+48(%[to], %[i])\n\t"

#define GUARD_AVX2_LINES                        \
	"vmovdqu (%[from], %[i]), %%ymm0\n\t"   \
	"vmovdqu 32(%[from], %[i]), %%ymm1\n\t" \
	"vmovdqu 64(%[from], %[i]), %%ymm2\n\t" \
	"vmovdqu 96(%[from], %[i]), %%ymm3\n\t" \
	"vmovntdq %%ymm0, (%[to], %[i])\n\t"    \
	"vmovntdq %%ymm1, 32(%[to], %[i])\n\t"  \
	"vmovntdq %%ymm2, 64(%[to], %[i])\n\t"  \
	"vmovntdq %%ymm3, 96(%[to], %[i])\n\t"

#define GUARD_OPERANDS                                                                  \
	[i] "+r"(i)                                                                     \
	    : [area] "r"(area), [to] "r"(to), [from] "r"(from), [revoked] "r"(revoked), \
	      [job] "r"(job), [cs] "i"(offsetof(struct rseq, rseq_cs))                  \
	    : "rax", "xmm0", "xmm1", "xmm2", "xmm3", "cc", "memory"

/* Both return what is left of @i; @to and @from are the ends of the ranges. */
static __attribute__((noinline)) int64_t guard_sse2(void *area, uintptr_t to, uintptr_t from,
						    int64_t i, const _Atomic uint64_t *revoked,
						    uint64_t job)
{
	__asm__ volatile(GUARD_ASM(GUARD_SSE2_LINE(0) GUARD_SSE2_LINE(64), "") : GUARD_OPERANDS);
	return i;
}

static __attribute__((noinline)) int64_t guard_avx2(void *area, uintptr_t to, uintptr_t from,
						    int64_t i, const _Atomic uint64_t *revoked,
						    uint64_t job)
{
	__asm__ volatile(GUARD_ASM(GUARD_AVX2_LINES, "vzeroupper\n\t") : GUARD_OPERANDS);
	return i;
}

int split_guard_copy(void *area, void *to, const void *from, size_t len,
		     const _Atomic uint64_t *revoked, uint64_t job)
{
	uintptr_t to_end = (uintptr_t)to + len, from_end = (uintptr_t)from + len;
	int64_t i = -(int64_t)len;

	do {
		if (__builtin_cpu_supports("avx2"))
			i = guard_avx2(area, to_end, from_end, i, revoked, job);
		else
			i = guard_sse2(area, to_end, from_end, i, revoked, job);
	} while (i && atomic_load_explicit(revoked, memory_order_relaxed) < job);
	_mm_sfence();
	return i ? -ECANCELED : 0;
}

#else

int split_guard_probe(const char **ret_why)
{
	*ret_why = "a copy that can be taken back exists only for x86-64 with glibc 2.35";
	return -EOPNOTSUPP;
}

int split_guard_register(void)
{
	return -EOPNOTSUPP;
}

int split_guard_revoke(_Atomic uint64_t *revoked, uint64_t job)
{
	(void)revoked;
	(void)job;
	return -EOPNOTSUPP;
}

void *split_guard_area(void)
{
	return NULL;
}

int split_guard_copy(void *area, void *to, const void *from, size_t len,
		     const _Atomic uint64_t *revoked, uint64_t job)
{
	(void)area;
	(void)to;
	(void)from;
	(void)len;
	(void)revoked;
	(void)job;
	return -ECANCELED;
}

#endif
