/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* operation.h: the registry of operations, and the words for kinds, file systems, steps, reasons. */
#ifndef TAIO_OPERATION_H
#define TAIO_OPERATION_H

#include "taio_driver.h"

/* Names for enums of taio_driver.h; "?" for a number that is none. */
const char *operation_name(unsigned int op);
const char *operation_suboptions(unsigned int op);
const char *operation_kind_name(unsigned int kind);
const char *operation_fs_name(unsigned int fs); /* "" for TAIO_FS_NONE */

#endif /* TAIO_OPERATION_H */
