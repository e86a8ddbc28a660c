/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * exit.c: ends a guest with an exit status that its host sees: QEMU's isa-debug-exit turns a byte N
 * written to its port into its own exit status 2 * N + 1. Debian's kernels have no /dev/port.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>

#define EXIT_PORT 0xf4
#define EXIT_MAX  126 /* 2 * 126 + 1 is the last odd status that fits */

int main(int argc, char **argv)
{
	int status = argc > 1 ? atoi(argv[1]) : EXIT_MAX;

	if (ioperm(EXIT_PORT, 1, 1) != 0) {
		perror("exit: ioperm");
		return 1;
	}
	outb((unsigned char)(status < 0 || status > EXIT_MAX ? EXIT_MAX : status), EXIT_PORT);
	return 1; /* this machine has no such port */
}
