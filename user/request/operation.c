/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* operation.c: tables of names; a new operation, kind or file system is named here and nowhere
 * else. */
#include "request/operation.h"

#include "taio.h"

static const struct {
	const char *name, *suboptions;
} operations[TAIO_OP_COUNT] = {
	[TAIO_OP_NONE] = { "none", "" },
	[TAIO_OP_COPY] = { "copy", "mem,file,stream,dgram,pipe,null,zero,messages" },
	[TAIO_OP_RESOLVE] = { "resolve", "inet,inet6,unix" },
	[TAIO_OP_CONNECT] = { "connect", "tcp,udp,unix" },
	[TAIO_OP_ACCEPT] = { "accept", "tcp,udp,unix" },
	[TAIO_OP_OPEN] = { "open", "source,temporary,in-place" },
	[TAIO_OP_META] = { "meta", "mode,owner,times" },
	[TAIO_OP_SYNC] = { "sync", "file" },
	[TAIO_OP_PUBLISH] = { "publish", "link,rename,no-clobber" },
	[TAIO_OP_SYNC_DIR] = { "sync-dir", "" },
	[TAIO_OP_CLOSE] = { "close", "" },
	[TAIO_OP_FILE] = { "file", "whole" },
};

static const char *const kinds[TAIO_KIND_COUNT] = {
	[TAIO_KIND_NONE] = "none",         [TAIO_KIND_MEM] = "mem",
	[TAIO_KIND_FILE] = "file",         [TAIO_KIND_STREAM] = "stream",
	[TAIO_KIND_DGRAM] = "dgram",       [TAIO_KIND_PIPE] = "pipe",
	[TAIO_KIND_NULL] = "null",         [TAIO_KIND_ZERO] = "zero",
	[TAIO_KIND_MESSAGES] = "messages",
};

static const char *const file_systems[TAIO_FS_COUNT] = {
	[TAIO_FS_NONE] = "",           [TAIO_FS_OTHER] = "other", [TAIO_FS_EXT] = "ext",
	[TAIO_FS_TMPFS] = "tmpfs",     [TAIO_FS_XFS] = "xfs",     [TAIO_FS_BTRFS] = "btrfs",
	[TAIO_FS_OVERLAY] = "overlay", [TAIO_FS_NET] = "net",
};

static const char *const steps[TAIO_STEP_COUNT] = {
	[TAIO_STEP_NONE] = "none",           [TAIO_STEP_RESOLVE] = "resolve",
	[TAIO_STEP_CONNECT] = "connect",     [TAIO_STEP_ACCEPT] = "accept",
	[TAIO_STEP_OPEN_FROM] = "open-from", [TAIO_STEP_OPEN_TO] = "open-to",
	[TAIO_STEP_READ] = "read",           [TAIO_STEP_WRITE] = "write",
	[TAIO_STEP_TRANSFER] = "transfer",   [TAIO_STEP_META] = "meta",
	[TAIO_STEP_SYNC] = "sync",           [TAIO_STEP_PUBLISH] = "publish",
	[TAIO_STEP_SYNC_DIR] = "sync-dir",   [TAIO_STEP_SHUTDOWN] = "shutdown",
	[TAIO_STEP_CLOSE] = "close",         [TAIO_STEP_FILE] = "file",
};

static const char *const reasons[TAIO_WHY_COUNT] = {
	[TAIO_WHY_PRICE] = "price",
	[TAIO_WHY_ONLY] = "only one",
	[TAIO_WHY_PIN] = "pinned",
	[TAIO_WHY_FORBIDDEN] = "not allowed",
	[TAIO_WHY_PROBE] = "probe",
	[TAIO_WHY_HEDGE] = "hedge",
	[TAIO_WHY_RETRY] = "retry",
	[TAIO_WHY_QUARANTINE] = "quarantine",
	[TAIO_WHY_BLOCKING] = "would block",
	[TAIO_WHY_FULL] = "full",
	[TAIO_WHY_UNFIT] = "unfit",
	[TAIO_WHY_UNAVAILABLE] = "unavailable",
	[TAIO_WHY_SPREAD] = "another core",
	[TAIO_WHY_POLICY] = "policy",
	[TAIO_WHY_DETOUR] = "detour",
	[TAIO_WHY_TAKEN] = "source taken",
	[TAIO_WHY_TAKING] = "not worth taking",
};

static const char *const drops[TAIO_DROP_COUNT] = {
	[TAIO_DROP_REFUSED] = "refused",     [TAIO_DROP_UNREACHABLE] = "unreachable",
	[TAIO_DROP_TOO_LONG] = "too long",   [TAIO_DROP_FORBIDDEN] = "forbidden",
	[TAIO_DROP_ADDRESS] = "bad address", [TAIO_DROP_FULL] = "queue full",
	[TAIO_DROP_TRUNCATED] = "truncated", [TAIO_DROP_STRANGER] = "stranger",
	[TAIO_DROP_CANCELLED] = "cancelled", [TAIO_DROP_OTHER] = "other",
};

const char *operation_name(unsigned int op)
{
	return op < TAIO_OP_COUNT ? operations[op].name : "?";
}

const char *operation_suboptions(unsigned int op)
{
	return op < TAIO_OP_COUNT ? operations[op].suboptions : "";
}

const char *operation_kind_name(unsigned int kind)
{
	return kind < TAIO_KIND_COUNT ? kinds[kind] : "?";
}

const char *operation_fs_name(unsigned int fs)
{
	return fs < TAIO_FS_COUNT ? file_systems[fs] : "?";
}

const char *taio_step_name(unsigned int step)
{
	return step < TAIO_STEP_COUNT ? steps[step] : "?";
}

const char *taio_drop_name(unsigned int drop)
{
	return drop < TAIO_DROP_COUNT ? drops[drop] : "?";
}

const char *taio_why_name(unsigned int why)
{
	return why < TAIO_WHY_COUNT ? reasons[why] : "?";
}
