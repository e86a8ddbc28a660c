/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * cli.h: what the subcommands share: output without stdio, texts of quantities and file names,
 * tables, the terminal. Nothing here knows an engine.
 */
#ifndef TAIO_CLI_H
#define TAIO_CLI_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* exit statuses */
enum cli_status {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2
};

/* A subcommand gets its own arguments, argv[0] being its name, and returns an exit status. */
int cli_copy(int argc, char **argv);
int cli_devices(int argc, char **argv);
int cli_policy(int argc, char **argv);

/* ---- output (out.c) ------------------------------------------------------------------------- */

/* A buffered descriptor. On the stack or static; zero it and set fd. */
struct cli_out {
	int fd;
	int error; /* the first negative errno of a write; later output is dropped */
	size_t used;
	char buffer[8192];
};

void out_bytes(struct cli_out *out, const char *data, size_t size);
void out_text(struct cli_out *out, const char *text);
void out_format(struct cli_out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Return: 0 or the first negative errno of this descriptor. */
int out_flush(struct cli_out *out);
/* Flushes standard output and says on stderr why it failed. Return: CLI_OK or CLI_FAILED. */
int out_done(struct cli_out *out, const char *command);

/* One message line on stderr: "taio: " and the text, in one write. */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void cli_verror(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
/* As cli_error(), followed by where to find help. Return: CLI_USAGE. */
int cli_usage_error(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Prints a help text on standard output. Return: CLI_OK or CLI_FAILED. */
int cli_print_help(const char *text);

/* ---- quantities and names (text.c) ---------------------------------------------------------- */

/* Room that is enough for each text of a quantity. */
#define CLI_TEXT 32

/* "10", "64K", "1.5M", "2G", "1T", "4KiB": bytes, powers of 1024. Return: 0, -EINVAL, -ERANGE. */
int cli_parse_size(const char *text, uint64_t *ret_bytes);
/* As a size, with an optional "/s"; 0 is refused. Return: 0, -EINVAL, -ERANGE. */
int cli_parse_rate(const char *text, uint64_t *ret_bytes_per_s);
/* "30", "0.5", "200ms", "5s", "2m", "1h". Return: 0, -EINVAL, -ERANGE. */
int cli_parse_duration(const char *text, uint64_t *ret_ns);
/* A decimal number of at most @max. Return: 0, -EINVAL, -ERANGE. */
int cli_parse_number(const char *text, uint64_t max, uint64_t *ret_number);

/* "512 B", "1.50 KiB", "12.3 MiB", "456 GiB" */
const char *cli_bytes_text(char text[CLI_TEXT], uint64_t bytes);
/* exactly, in the largest unit that leaves no rest: "64 KiB", "65507 B" */
const char *cli_size_text(char text[CLI_TEXT], uint64_t bytes);
/* as cli_bytes_text(), per second */
const char *cli_rate_text(char text[CLI_TEXT], uint64_t bytes_per_s);
/* "850 ns", "1.25 ms", "3.40 s", "2:05", "1:02:03" */
const char *cli_duration_text(char text[CLI_TEXT], uint64_t ns);
/* "0:05", "12:34", "1:02:03" */
const char *cli_clock_text(char text[CLI_TEXT], uint64_t seconds);
/* "1,234,567" */
const char *cli_count_text(char text[CLI_TEXT], uint64_t count);
/* bytes in ns as bytes per second */
uint64_t cli_rate(uint64_t bytes, uint64_t ns);

/* A name as a shell would take it, safe to print: plain names stay, others get quotes, control
 * characters become $'\n' and \ooo. Return: @buffer; a name that has no room ends in "...". */
const char *cli_quote(char *buffer, size_t size, const char *name);

/* ---- JSON (json.c) -------------------------------------------------------------------------- */

/* A string with its quotes. Bytes that are no UTF-8 become \udc80..\udcff, so that no name is lost:
 * Python's os.fsencode() turns them back. */
void json_string(struct cli_out *out, const char *text);
/* "key":  with a comma in front if *count is not 0; counts up. */
void json_key(struct cli_out *out, unsigned int *count, const char *key);
void json_text(struct cli_out *out, unsigned int *count, const char *key, const char *text);
void json_u64(struct cli_out *out, unsigned int *count, const char *key, uint64_t value);
void json_i64(struct cli_out *out, unsigned int *count, const char *key, int64_t value);
void json_bool(struct cli_out *out, unsigned int *count, const char *key, int value);

/* ---- terminal (term.c) ---------------------------------------------------------------------- */

/* Columns of a terminal; @fallback if @fd is none. */
unsigned int term_width(int fd, unsigned int fallback);
/* Is it a terminal that understands escape sequences (TERM is set and not "dumb")? */
int term_is_smart(int fd);
/* As term_is_smart(), and NO_COLOR is not set. */
int term_has_color(int fd);
/* Does the locale say UTF-8? (LC_ALL, LC_CTYPE, LANG, the first that is set) */
int term_is_utf8(void);
/* Columns that a UTF-8 text takes; one for each character. */
size_t term_columns(const char *text, size_t size);

/* ---- tables (table.c) ----------------------------------------------------------------------- */

#define TABLE_COLUMNS 10

enum table_flag {
	TABLE_RIGHT = 1 << 0, /* numbers */
	TABLE_WRAP = 1 << 1,  /* the last column: continues on further lines instead of the next */
	TABLE_DIM = 1 << 2,
	TABLE_BOLD = 1 << 3
};

/* Rows of text in columns; rows are kept until table_print(), which frees them. */
struct table {
	unsigned int columns;
	unsigned int indent;               /* of each line */
	unsigned int width;                /* of the terminal or the page */
	unsigned int flags[TABLE_COLUMNS]; /* enum table_flag */
	char *text;                        /* cells, each with its end mark */
	size_t used, size;
	unsigned int cells;
	int error; /* -ENOMEM: the table is not complete */
};

void table_init(struct table *table, unsigned int columns, unsigned int indent, unsigned int width);
/* Adds the next cell, row by row from left to right. */
void table_cell(struct table *table, const char *text);
void table_cellf(struct table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Prints and frees; the first row is the heading. */
void table_print(struct table *table, struct cli_out *out, int color);

#endif /* TAIO_CLI_H */
