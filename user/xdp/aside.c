/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* aside.c: see aside.h. */
#include "xdp/aside.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *aside_main(void *arg)
{
	struct xdp_aside *aside = arg;
	const uint64_t one = 1;
	ssize_t n;

	aside->result = aside->work(aside->arg);
	do {
		n = write(aside->event_fd, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);
	return NULL;
}

int xdp_aside_start(struct xdp_aside *aside, int (*work)(void *arg), void *arg)
{
	sigset_t all, old;
	int error;

	aside->work = work;
	aside->arg = arg;
	aside->result = 0;
	aside->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (aside->event_fd < 0)
		return -errno;
	/* signals are the program's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&aside->thread, NULL, aside_main, aside);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error) {
		close(aside->event_fd);
		aside->event_fd = -1;
		return -error;
	}
	aside->running = true;
	return 0;
}

void xdp_aside_wait(struct xdp_aside *aside)
{
	if (!aside->running)
		return;
	pthread_join(aside->thread, NULL);
	close(aside->event_fd);
	aside->event_fd = -1;
	aside->running = false;
}

bool xdp_aside_done(struct xdp_aside *aside)
{
	uint64_t count;

	if (!aside->running)
		return true;
	if (read(aside->event_fd, &count, sizeof(count)) != sizeof(count))
		return false;
	xdp_aside_wait(aside); /* it is about to return */
	return true;
}

/* ---- grace ----------------------------------------------------------------------------------- */

static bool grace_is_realtime(void)
{
	FILE *file = fopen("/sys/kernel/realtime", "re");
	int set;

	if (!file)
		return false;
	set = fgetc(file);
	fclose(file);
	return set == '1';
}

/* Runs once on each processor that is online. Return: 0; -errno: not on all of them. */
static int grace_visit(void)
{
	const long count = sysconf(_SC_NPROCESSORS_CONF);
	cpu_set_t *one = count > 0 ? CPU_ALLOC((size_t)count) : NULL;
	const size_t size = CPU_ALLOC_SIZE((size_t)(count > 0 ? count : 1));
	long visited = 0;

	if (!one)
		return -ENOMEM;
	for (long cpu = 0; cpu < count; cpu++) {
		CPU_ZERO_S(size, one);
		CPU_SET_S((size_t)cpu, size, one);
		if (sched_setaffinity(0, size, one) == 0)
			visited++;
	}
	CPU_FREE(one);
	return visited > 0 && visited >= sysconf(_SC_NPROCESSORS_ONLN) ? 0 : -EPERM;
}

int xdp_grace(void *arg)
{
	(void)arg;
	if (!grace_is_realtime() && grace_visit() == 0)
		return 0;
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) ? -errno : 0;
}
