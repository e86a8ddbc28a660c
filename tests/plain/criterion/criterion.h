/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * criterion.h: the part of criterion that our tests use, without its sandbox. `make tsan` builds the
 * tests against this file: criterion maps memory at addresses that ThreadSanitizer keeps for itself
 * and dies before the first case. Here each case runs in a child made by fork(2), and a report of
 * the sanitizer is the end of that child. It is not a test library of its own: everywhere else the
 * real one is used.
 */
#ifndef TAIO_PLAIN_CRITERION_H
#define TAIO_PLAIN_CRITERION_H

#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plain_options {
	void (*init)(void);
	void (*fini)(void);
	const char *description;
	double timeout; /* seconds */
	int signal;     /* the case must die of it */
	int exit_code;  /* the case must exit with it */
	bool disabled;
};

struct plain_case {
	const char *suite, *name;
	void (*run)(void);
	struct plain_options options;
	struct plain_case *next;
};

struct plain_suite {
	const char *name;
	struct plain_options options;
	struct plain_suite *next;
};

void plain_add_case(struct plain_case *new_case);
void plain_add_suite(struct plain_suite *suite);
void plain_fail(int fatal, const char *file, int line, const char *what, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
void plain_skip(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void plain_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define Test(suite_, name_, ...)                                                 \
	static void suite_##_##name_##_run(void);                                \
	__attribute__((constructor)) static void suite_##_##name_##_add(void)    \
	{                                                                        \
		static struct plain_case self = { .suite = #suite_,              \
						  .name = #name_,                \
						  .run = suite_##_##name_##_run, \
						  .options = { __VA_ARGS__ } };  \
		plain_add_case(&self);                                           \
	}                                                                        \
	static void suite_##_##name_##_run(void)

#define TestSuite(suite_, ...)                                                                    \
	__attribute__((constructor)) static void suite_##_suite_add(void)                         \
	{                                                                                         \
		static struct plain_suite self = { .name = #suite_, .options = { __VA_ARGS__ } }; \
		plain_add_suite(&self);                                                           \
	}                                                                                         \
	struct plain_suite

/* " " in front, so that a call without a message is a format too */
#define PLAIN_CHECK(fatal, ok, text, ...)                                             \
	do {                                                                          \
		if (!(ok))                                                            \
			plain_fail(fatal, __FILE__, __LINE__, text, " " __VA_ARGS__); \
	} while (0)

#define cr_assert(a, ...)           PLAIN_CHECK(1, a, #a, __VA_ARGS__)
#define cr_assert_not(a, ...)       PLAIN_CHECK(1, !(a), "!" #a, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)     PLAIN_CHECK(1, (a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)    PLAIN_CHECK(1, (a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)     PLAIN_CHECK(1, (a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)    PLAIN_CHECK(1, (a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)     PLAIN_CHECK(1, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)    PLAIN_CHECK(1, (a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_null(a, ...)      PLAIN_CHECK(1, (a) == NULL, #a " is NULL", __VA_ARGS__)
#define cr_assert_not_null(a, ...)  PLAIN_CHECK(1, (a) != NULL, #a " is not NULL", __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) PLAIN_CHECK(1, !strcmp(a, b), #a " is " #b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) \
	PLAIN_CHECK(1, strcmp(a, b) != 0, #a " is not " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) \
	PLAIN_CHECK(1, !memcmp(a, b, n), #a " holds " #b, __VA_ARGS__)
#define cr_assert_arr_neq(a, b, n, ...) \
	PLAIN_CHECK(1, memcmp(a, b, n) != 0, #a " differs from " #b, __VA_ARGS__)
#define cr_assert_float_eq(a, b, e, ...) \
	PLAIN_CHECK(1, fabs((double)(a) - (double)(b)) <= (e), #a " ~ " #b, __VA_ARGS__)
#define cr_assert_fail(...)         PLAIN_CHECK(1, 0, "reached", __VA_ARGS__)
#define cr_fatal(...)               PLAIN_CHECK(1, 0, "reached", __VA_ARGS__)
#define cr_fail(...)                PLAIN_CHECK(0, 0, "reached", __VA_ARGS__)
#define cr_expect(a, ...)           PLAIN_CHECK(0, a, #a, __VA_ARGS__)
#define cr_expect_not(a, ...)       PLAIN_CHECK(0, !(a), "!" #a, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)     PLAIN_CHECK(0, (a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_expect_neq(a, b, ...)    PLAIN_CHECK(0, (a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_expect_lt(a, b, ...)     PLAIN_CHECK(0, (a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...)    PLAIN_CHECK(0, (a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...)     PLAIN_CHECK(0, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_expect_geq(a, b, ...)    PLAIN_CHECK(0, (a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_expect_null(a, ...)      PLAIN_CHECK(0, (a) == NULL, #a " is NULL", __VA_ARGS__)
#define cr_expect_not_null(a, ...)  PLAIN_CHECK(0, (a) != NULL, #a " is not NULL", __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) PLAIN_CHECK(0, !strcmp(a, b), #a " is " #b, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, n, ...) \
	PLAIN_CHECK(0, !memcmp(a, b, n), #a " holds " #b, __VA_ARGS__)

#define cr_skip_test(...) plain_skip("" __VA_ARGS__)
#define cr_skip(...)      plain_skip("" __VA_ARGS__)
#define cr_log_info(...)  plain_log(__VA_ARGS__)
#define cr_log_warn(...)  plain_log(__VA_ARGS__)
#define cr_log_error(...) plain_log(__VA_ARGS__)

#endif /* TAIO_PLAIN_CRITERION_H */
