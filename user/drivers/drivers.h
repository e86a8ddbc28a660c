/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * drivers.h: the list of all drivers in the library; the one place where a new one is named. The
 * order is the order of device numbers; worker twins come after all of them.
 */
#ifndef TAIO_DRIVERS_H
#define TAIO_DRIVERS_H

#include "taio_driver.h"

#define TAIO_DRIVER_LIST(X)                                                    \
	X(memcpy)   /* memory to memory: libc memcpy */                        \
	X(nt)       /* memory to memory: streaming stores */                   \
	X(split)    /* memory to memory: over helper cores */                  \
	X(fill)     /* zeros to memory */                                      \
	X(null)     /* throw away without a copy where the kernel can */       \
	X(rw)       /* pread/pwrite, read/write, recv/send: every pair */      \
	X(cfr)      /* file to file: copy_file_range */                        \
	X(reflink)  /* file to file: FICLONERANGE */                           \
	X(sendfile) /* file to anything: sendfile */                           \
	X(splice)   /* through a pipe: splice */                               \
	X(mmap)     /* file to anything: mmap, populated, and write or send */ \
	X(uring)    /* io_uring, buffered */                                   \
	X(direct)   /* io_uring, O_DIRECT and registered buffers */            \
	X(zc)       /* io_uring, SEND_ZC */                                    \
	X(replica1) /* mirrored sources: one device for each disk */           \
	X(replica2)                                                            \
	X(replica3)                                                            \
	X(replica4)                                                            \
	X(dgram) /* datagrams one by one or by sendmmsg/recvmmsg */            \
	X(gso)   /* datagrams by UDP_SEGMENT and UDP_GRO */                    \
	X(afxdp) /* UDP datagrams past the kernel's stack: AF_XDP */           \
	X(file)  /* whole small files in one step */                           \
	X(sys)   /* control steps on files, inline */                          \
	X(net)   /* control steps on addresses */

#define TAIO_DRIVER_DECLARE(name) extern const struct taio_driver taio_driver_##name;
TAIO_DRIVER_LIST(TAIO_DRIVER_DECLARE)

/* Numbers of devices by name: TAIO_DEVICE_memcpy, ... */
#define TAIO_DEVICE_NUMBER(name) TAIO_DEVICE_##name,
enum taio_device_number {
	TAIO_DRIVER_LIST(TAIO_DEVICE_NUMBER) TAIO_DRIVER_COUNT
};

#endif /* TAIO_DRIVERS_H */
