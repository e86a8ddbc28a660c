/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * signals.c: what the user asks a running copy: to end (INT, TERM, HUP), to say how far it is
 * (USR1), to look at the width of the terminal again (WINCH). Handlers only leave a note.
 */
#include "cli/copy.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

/* A handler has nothing but the process to write to. */
static volatile sig_atomic_t signals_seen_stop;
static volatile sig_atomic_t signals_seen_status;
static volatile sig_atomic_t signals_seen_size;

static void signals_note(int signal)
{
	if (signal == SIGUSR1)
		signals_seen_status = 1;
	else if (signal == SIGWINCH)
		signals_seen_size = 1;
	else
		signals_seen_stop = signal;
}

void signals_catch(void)
{
	static const int stop[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = signals_note };
	struct sigaction old;

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGWINCH, &action, NULL);
	/* the second one ends the process at once */
	action.sa_flags = (int)SA_RESETHAND;
	for (size_t i = 0; i < sizeof(stop) / sizeof(stop[0]); i++) {
		sigaction(stop[i], &action, &old);
		/* nohup(1) and a shell's background jobs mean it */
		if (old.sa_handler == SIG_IGN)
			sigaction(stop[i], &old, NULL);
	}
	/* a peer that went away is an error with a name, not the end of the process */
	action.sa_handler = SIG_IGN;
	action.sa_flags = 0;
	sigaction(SIGPIPE, &action, NULL);
}

int signals_stop(void)
{
	return signals_seen_stop;
}

int signals_status(void)
{
	int seen = signals_seen_status;

	signals_seen_status = 0;
	return seen;
}

int signals_resized(void)
{
	int seen = signals_seen_size;

	signals_seen_size = 0;
	return seen;
}

void signals_die(int signal)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t set;

	sigaction(signal, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, signal);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	kill(getpid(), signal);
}
