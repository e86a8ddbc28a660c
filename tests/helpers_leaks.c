/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * helpers_leaks.c: whose leaks count. criterion 2.4.1 runs each case in a process of its own and
 * forgets a record of its own now and then when such a process ends while it looks at another one.
 * The process that only runs the others is not asked for leaks; each case still is, when it ends.
 */
#include <stdlib.h>

int __lsan_is_turned_off(void); /* <sanitizer/lsan_interface.h>; called at exit */

__attribute__((visibility("default"))) int __lsan_is_turned_off(void)
{
	return getenv("BXFI_MAP") == NULL; /* what criterion hands to the process of a case */
}
