/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * mem_copy.c: see mem_copy.h. One loop for each instruction set: the destination is brought to a
 * cache line by an ordinary copy, whole pairs of lines are streamed, the rest is copied ordinarily.
 *
 * Two kinds of prefetch, because the processor's own stops at each page. Lines of the source are
 * fetched MEM_AHEAD bytes before they are read. One line in each page is fetched MEM_PAGES pages
 * ahead, of the source and of the destination, for the sake of the address translation, which costs
 * more than the line where page tables are nested; it gains 5 to 15 % on cold copies of 64 KiB to
 * 1 MiB. Neither looks beyond the end: a short copy shall not read what it will not use.
 */
#include "drivers/mem_copy.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

#define MEM_LINE  64
#define MEM_PAIR  128 /* bytes of one turn of a loop */
#define MEM_AHEAD 512
#define MEM_PAGE  4096
#define MEM_PAGES 8

/* Bytes before the next line of the destination, at most @len. */
static inline size_t mem_head(const void *to, size_t len)
{
	size_t head = (MEM_LINE - ((uintptr_t)to & (MEM_LINE - 1))) & (MEM_LINE - 1);

	return head < len ? head : len;
}

void mem_copy_look_ahead(const void *to, const void *from, size_t len)
{
	for (size_t i = MEM_PAGE; i < MEM_PAGES * MEM_PAGE && i < len; i += MEM_PAGE) {
		_mm_prefetch((const char *)from + i, _MM_HINT_T0);
		_mm_prefetch((const char *)to + i, _MM_HINT_T0);
	}
}

/* The frame of all variants. STREAM(d, s) moves MEM_PAIR bytes to the line-aligned d. */
#define MEM_COPY_BODY(STREAM)                                                                \
	char *d = to;                                                                        \
	const char *s = from;                                                                \
	size_t head = mem_head(to, len);                                                     \
                                                                                             \
	mem_copy_look_ahead(to, from, len);                                                  \
	memcpy(d, s, head);                                                                  \
	d += head;                                                                           \
	s += head;                                                                           \
	len -= head;                                                                         \
	for (; len >= MEM_PAGE + MEM_AHEAD; len -= MEM_PAGE, d += MEM_PAGE, s += MEM_PAGE) { \
		if (len > MEM_PAGES * MEM_PAGE) {                                            \
			_mm_prefetch(s + MEM_PAGES * MEM_PAGE, _MM_HINT_T0);                 \
			_mm_prefetch(d + MEM_PAGES * MEM_PAGE, _MM_HINT_T0);                 \
		}                                                                            \
		for (size_t i = 0; i < MEM_PAGE; i += MEM_PAIR) {                            \
			_mm_prefetch(s + i + MEM_AHEAD, _MM_HINT_T0);                        \
			_mm_prefetch(s + i + MEM_AHEAD + MEM_LINE, _MM_HINT_T0);             \
			STREAM(d + i, s + i);                                                \
		}                                                                            \
	}                                                                                    \
	for (; len >= MEM_PAIR; len -= MEM_PAIR, d += MEM_PAIR, s += MEM_PAIR)               \
		STREAM(d, s);                                                                \
	memcpy(d, s, len);                                                                   \
	_mm_sfence()

#define MEM_ZERO_BODY(STREAM)                                   \
	char *d = to;                                           \
	size_t head = mem_head(to, len);                        \
                                                                \
	memset(d, 0, head);                                     \
	d += head;                                              \
	len -= head;                                            \
	for (; len >= MEM_PAIR; len -= MEM_PAIR, d += MEM_PAIR) \
		STREAM(d);                                      \
	memset(d, 0, len);                                      \
	_mm_sfence()

#define SSE2_LOAD(s, i)     _mm_loadu_si128((const __m128i *)(const void *)((s) + (i)*16))
#define SSE2_STORE(d, i, v) _mm_stream_si128((__m128i *)(void *)((d) + (i)*16), v)

static inline void sse2_line(char *d, const char *s)
{
	__m128i a = SSE2_LOAD(s, 0), b = SSE2_LOAD(s, 1);
	__m128i c = SSE2_LOAD(s, 2), e = SSE2_LOAD(s, 3);

	SSE2_STORE(d, 0, a);
	SSE2_STORE(d, 1, b);
	SSE2_STORE(d, 2, c);
	SSE2_STORE(d, 3, e);
}

static inline void sse2_pair(char *d, const char *s)
{
	sse2_line(d, s);
	sse2_line(d + MEM_LINE, s + MEM_LINE);
}

static inline void sse2_zero_pair(char *d)
{
	for (int i = 0; i < MEM_PAIR / 16; i++)
		SSE2_STORE(d, i, _mm_setzero_si128());
}

static void sse2_copy(void *to, const void *from, size_t len)
{
	MEM_COPY_BODY(sse2_pair);
}

static void sse2_zero(void *to, size_t len)
{
	MEM_ZERO_BODY(sse2_zero_pair);
}

#define AVX2                __attribute__((target("avx2")))
#define AVX2_LOAD(s, i)     _mm256_loadu_si256((const __m256i *)(const void *)((s) + (i)*32))
#define AVX2_STORE(d, i, v) _mm256_stream_si256((__m256i *)(void *)((d) + (i)*32), v)

static inline AVX2 void avx2_pair(char *d, const char *s)
{
	__m256i a = AVX2_LOAD(s, 0), b = AVX2_LOAD(s, 1);
	__m256i c = AVX2_LOAD(s, 2), e = AVX2_LOAD(s, 3);

	AVX2_STORE(d, 0, a);
	AVX2_STORE(d, 1, b);
	AVX2_STORE(d, 2, c);
	AVX2_STORE(d, 3, e);
}

static inline AVX2 void avx2_zero_pair(char *d)
{
	for (int i = 0; i < MEM_PAIR / 32; i++)
		AVX2_STORE(d, i, _mm256_setzero_si256());
}

static AVX2 void avx2_copy(void *to, const void *from, size_t len)
{
	MEM_COPY_BODY(avx2_pair);
}

static AVX2 void avx2_zero(void *to, size_t len)
{
	MEM_ZERO_BODY(avx2_zero_pair);
}

#define AVX512                __attribute__((target("avx512f")))
#define AVX512_LOAD(s, i)     _mm512_loadu_si512((const void *)((s) + (i)*64))
#define AVX512_STORE(d, i, v) _mm512_stream_si512((__m512i *)(void *)((d) + (i)*64), v)

static inline AVX512 void avx512_pair(char *d, const char *s)
{
	__m512i a = AVX512_LOAD(s, 0), b = AVX512_LOAD(s, 1);

	AVX512_STORE(d, 0, a);
	AVX512_STORE(d, 1, b);
}

static inline AVX512 void avx512_zero_pair(char *d)
{
	AVX512_STORE(d, 0, _mm512_setzero_si512());
	AVX512_STORE(d, 1, _mm512_setzero_si512());
}

static AVX512 void avx512_copy(void *to, const void *from, size_t len)
{
	MEM_COPY_BODY(avx512_pair);
}

static AVX512 void avx512_zero(void *to, size_t len)
{
	MEM_ZERO_BODY(avx512_zero_pair);
}

static const struct mem_copy mem_avx512 = { "avx512", avx512_copy, avx512_zero };
static const struct mem_copy mem_avx2 = { "avx2", avx2_copy, avx2_zero };
static const struct mem_copy mem_sse2 = { "sse2", sse2_copy, sse2_zero };

void mem_copy_list(const struct mem_copy *ret_list[MEM_COPY_VARIANTS])
{
	int n = 0;

	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f"))
		ret_list[n++] = &mem_avx512;
	if (__builtin_cpu_supports("avx2"))
		ret_list[n++] = &mem_avx2;
	ret_list[n++] = &mem_sse2;
	ret_list[n] = NULL;
}

#else

void mem_copy_look_ahead(const void *to, const void *from, size_t len)
{
	(void)to;
	(void)from;
	(void)len;
}

static void libc_copy(void *to, const void *from, size_t len)
{
	memcpy(to, from, len);
}

static void libc_zero(void *to, size_t len)
{
	memset(to, 0, len);
}

static const struct mem_copy mem_libc = { "libc", libc_copy, libc_zero };

void mem_copy_list(const struct mem_copy *ret_list[MEM_COPY_VARIANTS])
{
	ret_list[0] = &mem_libc;
	ret_list[1] = NULL;
}

#endif

const struct mem_copy *mem_copy_best(void)
{
	const struct mem_copy *list[MEM_COPY_VARIANTS];

	mem_copy_list(list);
	return list[0];
}
