/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * admin.h: policies as the command `taio policy` sees them: those that there are, the engines that
 * run on this machine, the machine-wide one. It works from outside, on engines of other processes;
 * an engine does not need it.
 */
#ifndef TAIO_USER_POLICY_ADMIN_H
#define TAIO_USER_POLICY_ADMIN_H

#include <limits.h>
#include <stddef.h>

#include "taio.h"
#include "taio_policy.h"

#define ADMIN_PROGRAMS 4

/* A policy that could be run. */
struct admin_policy {
	char name[16];
	char text[96];
	char hooks[256]; /* names, with blanks between */
	unsigned int abi;
	int native;          /* there is a twin in this library */
	char path[PATH_MAX]; /* of its object; empty: none found */
	struct taio_tunable tunables[TAIO_TUNABLES_MAX];
	struct {
		char name[16];
		unsigned int insns, verified; /* in the object; looked at by the verifier */
	} program[ADMIN_PROGRAMS];
};

/* Calls @each for all policies of this library and of the places where objects are looked for.
 * Return: how many; -ENOMEM. */
int admin_list(void (*each)(void *arg, const struct admin_policy *policy), void *arg);

/* Loads an object (file or name) without running it. Return: 0; -EBADMSG: refused; -EPERM: loading
 * is not permitted here, but all that can be read is in order and in @ret_policy; -ENOENT; -ENOSYS;
 * with a sentence in @why. */
int admin_check(const char *name, struct admin_policy *ret_policy, char *why, size_t why_size);

/* The file of a policy, as admin_check() would find it. Return: 0; -ENOENT, ... with a sentence. */
int admin_find(const char *name, char *ret_path, size_t size, char *why, size_t why_size);

/* Directories of the headers for writing policies. Return: 0; -ENOENT. */
int admin_headers(char *ret_bpf, char *ret_include, size_t size);

/* An engine of some process. */
struct admin_engine {
	unsigned int pid, number; /* number: of the engine in its process */
	char command[32];
	char error[160]; /* why it does not say more of itself; empty: it did */
	struct taio_policy_info info;
};

/* Calls @each for every engine that can be found. Return: how many; negative errno. */
int admin_engines(void (*each)(void *arg, const struct admin_engine *engine), void *arg);

/* Tells an engine to run @policy ("NAME key=value ..." or an absolute path). @force_bpf: its
 * object, no native twin. @ret_answer: one sentence, on success too. Return: 0; -EREMOTEIO: it
 * refuses; -ESRCH: it has gone; -ETIMEDOUT. */
int admin_swap(const struct admin_engine *engine, const char *policy, int force_bpf,
	       char *ret_answer, size_t size);

/* Puts @policy on trial for @ms: it gets @permille of the requests. As admin_swap(). */
int admin_canary(const struct admin_engine *engine, const char *policy, unsigned int permille,
		 unsigned long long ms, char *ret_answer, size_t size);
/* Ends a trial. As admin_swap(). */
int admin_decide(const struct admin_engine *engine, int promote, char *ret_answer, size_t size);

/* A trial that runs or has ended. */
struct admin_comparison {
	int runs;
	unsigned int permille;
	uint64_t left_ms, failed[2];
	char name[2][16];
	char verdict[160];
	unsigned int rows;
	struct taio_policy_comparison row[16];
};
/* Return: 0; -EREMOTEIO: there was none, or as admin_swap(), with a sentence. */
int admin_compare(const struct admin_engine *engine, struct admin_comparison *ret_comparison,
		  char *why, size_t why_size);

/* The machine-wide policy. Return: 0; -ENOENT: there is none; -EACCES, -EBADMSG. */
int admin_machine_show(struct taio_policy_info *ret_info, unsigned int *ret_engines);
/* Installs or changes it, removes it. @say hears what was done besides. Return: 0 or negative errno
 * with a sentence. */
int admin_machine_install(const char *policy, void (*say)(const char *line), char *why,
			  size_t why_size);
int admin_machine_uninstall(char *why, size_t why_size);

#endif /* TAIO_USER_POLICY_ADMIN_H */
