/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * netns.h: two hosts for tests and benchmarks in C: this process moves into a network namespace of
 * its own (host a) and keeps another one (host b) alive; a veth pair, va and vb, joins them. Nobody
 * else sees either, and both vanish with the process, however it ends.
 *
 *   a: va 10.99.0.1 fd99::1        b: vb 10.99.0.2 fd99::2
 */
#ifndef TAIO_TESTS_NETNS_H
#define TAIO_TESTS_NETNS_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct netns {
	int a, b;    /* descriptors of the namespaces */
	int life;    /* a pipe: b's process lives while we hold its end */
	pid_t other; /* lives in b */
};

/* Why it cannot be made; NULL: it can. */
static inline const char *netns_why_not(void)
{
	if (geteuid() != 0)
		return "needs root";
	return system("command -v ip > /dev/null 2>&1") == 0 ? NULL : "ip is missing";
}

/* Runs a command in the shell. Return: whether it ended with 0. */
__attribute__((format(printf, 1, 2))) static inline bool netns_run(const char *format, ...)
{
	char command[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return system(command) == 0;
}

/* The thread goes to a host. Sockets made there stay there. */
static inline bool netns_enter(int ns)
{
	return setns(ns, CLONE_NEWNET) == 0;
}

static inline bool netns_keeper(struct netns *net)
{
	int ready[2], life[2];
	char byte = 0;

	if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(life, O_CLOEXEC) < 0)
		return false;
	net->life = life[1];
	net->other = fork();
	if (net->other == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(life[1]);
		if (unshare(CLONE_NEWNET) == 0 && write(ready[1], "", 1) == 1)
			while (read(life[0], &byte, 1) < 0)
				;
		_exit(1);
	}
	close(ready[1]);
	close(life[0]);
	byte = read(ready[0], &byte, 1) == 1;
	close(ready[0]);
	return net->other > 0 && byte;
}

static inline bool netns_host_up(const struct netns *net, int ns, const char *name, int number)
{
	bool fine;

	if (!netns_enter(ns))
		return false;
	fine = netns_run("ip link set %s address 02:00:00:00:0%x:0%d && ip link set lo up && "
			 "echo 0 > /proc/sys/net/ipv6/conf/%s/accept_dad && "
			 "ip addr add 10.99.0.%d/24 dev %s && "
			 "ip addr add fd99::%d/64 dev %s nodad && ip link set %s up",
			 name, 9 + number, number, name, number, name, number, name, name);
	return netns_enter(net->a) && fine;
}

/* The thread is in a afterwards. Return: whether it could be made; *net is to be released anyhow. */
static inline bool netns_make(struct netns *net, unsigned int mtu, unsigned int queues)
{
	char path[64];

	net->a = net->b = net->life = -1;
	net->other = -1;
	if (unshare(CLONE_NEWNET) < 0 || !netns_keeper(net))
		return false;
	net->a = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", net->other);
	net->b = open(path, O_RDONLY | O_CLOEXEC);
	if (net->a < 0 || net->b < 0)
		return false;
	return netns_run(
		       "ip link add va mtu %u numtxqueues %u numrxqueues %u type veth peer name vb "
		       "mtu %u numtxqueues %u numrxqueues %u netns %d",
		       mtu, queues, queues, mtu, queues, queues, net->other) &&
	       netns_host_up(net, net->a, "va", 1) && netns_host_up(net, net->b, "vb", 2);
}

static inline void netns_release(struct netns *net)
{
	if (net->life >= 0)
		close(net->life); /* not a signal: a test may have become another user */
	if (net->other > 0)
		(void)waitpid(net->other, NULL, 0);
	if (net->a >= 0)
		close(net->a);
	if (net->b >= 0)
		close(net->b);
	net->other = -1;
	net->a = net->b = net->life = -1;
}

#endif /* TAIO_TESTS_NETNS_H */
