/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * table.c: rows of text in aligned columns. Only the last column may be longer than the line; it
 * is then wrapped at blanks and commas.
 */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_GAP 2

static const char table_off[] = "\033[0m";
static const char table_bold[] = "\033[1m";
static const char table_dim[] = "\033[2m";

void table_init(struct table *table, unsigned int columns, unsigned int indent, unsigned int width)
{
	memset(table, 0, sizeof(*table));
	table->indent = indent;
	table->width = width;
	table->columns = columns <= TABLE_COLUMNS ? columns : TABLE_COLUMNS;
}

void table_cell(struct table *table, const char *text)
{
	size_t length = strlen(text) + 1;

	if (table->error)
		return;
	if (table->used + length > table->size) {
		size_t size = (table->used + length) * 2;
		char *bigger = realloc(table->text, size < 4096 ? 4096 : size);

		if (bigger == NULL) {
			table->error = -ENOMEM;
			return;
		}
		table->text = bigger;
		table->size = size < 4096 ? 4096 : size;
	}
	memcpy(table->text + table->used, text, length);
	table->used += length;
	table->cells++;
}

void table_cellf(struct table *table, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	table_cell(table, text);
}

static void table_blanks(struct cli_out *out, size_t count)
{
	while (count-- > 0)
		out_bytes(out, " ", 1);
}

/* How much of @text fits into @room columns when it is cut behind a blank or comma. */
static size_t table_cut(const char *text, size_t room)
{
	size_t length = strlen(text);
	size_t cut = 0, columns = 0;

	if (term_columns(text, length) <= room)
		return length;
	for (size_t i = 0; i < length && columns <= room; i++) {
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			columns++;
		if (columns > room)
			break;
		if (text[i] == ' ' || text[i] == ',')
			cut = i + 1;
		else if (text[i + 1] == ' ')
			cut = i + 1;
	}
	if (cut > 0)
		return cut;
	/* one long word: cut it where the line ends */
	for (columns = 0; cut < length && columns < room; cut++)
		columns += ((unsigned char)text[cut] & 0xc0) != 0x80;
	while (cut < length && ((unsigned char)text[cut] & 0xc0) == 0x80)
		cut++;
	return cut;
}

/* The last cell of a line, on as many lines as it needs. */
static void table_wrap(struct cli_out *out, const char *text, size_t left, unsigned int width)
{
	size_t room = width > left + 16 ? width - left : 16;

	for (;;) {
		size_t cut = table_cut(text, room);
		size_t shown = cut;

		while (shown > 0 && text[shown - 1] == ' ')
			shown--;
		out_bytes(out, text, shown);
		text += cut;
		while (*text == ' ')
			text++;
		if (*text == '\0')
			return;
		out_bytes(out, "\n", 1);
		table_blanks(out, left);
	}
}

/* One line of cells; nothing behind the last cell that says something. */
static void table_row(const struct table *table, struct cli_out *out, const char **cell,
		      const size_t *columns, const char *style)
{
	size_t left = table->indent;
	unsigned int used = table->columns;

	while (used > 0 && cell[used - 1][0] == '\0')
		used--;
	table_blanks(out, table->indent);
	for (unsigned int i = 0; i < used; i++) {
		size_t length = strlen(cell[i]);
		size_t pad = columns[i] - term_columns(cell[i], length);
		const char *on = style;

		if (*on == '\0' && table->flags[i] & (TABLE_DIM | TABLE_BOLD))
			on = table->flags[i] & TABLE_DIM ? table_dim : table_bold;
		if (table->flags[i] & TABLE_RIGHT)
			table_blanks(out, pad);
		out_text(out, on);
		if (i + 1 == table->columns && (table->flags[i] & TABLE_WRAP))
			table_wrap(out, cell[i], left, table->width);
		else
			out_bytes(out, cell[i], length);
		out_text(out, *on ? table_off : "");
		if (i + 1 < used) {
			if (!(table->flags[i] & TABLE_RIGHT))
				table_blanks(out, pad);
			table_blanks(out, TABLE_GAP);
		}
		left += columns[i] + TABLE_GAP;
	}
	out_bytes(out, "\n", 1);
}

void table_print(struct table *table, struct cli_out *out, int color)
{
	size_t columns[TABLE_COLUMNS] = { 0 };
	const char *cell[TABLE_COLUMNS];
	const char *text = table->text;

	for (unsigned int i = 0; i < table->cells; i++) {
		size_t wide = term_columns(text, strlen(text));

		if (wide > columns[i % table->columns])
			columns[i % table->columns] = wide;
		text += strlen(text) + 1;
	}
	for (unsigned int i = 0; i < table->columns && !color; i++)
		table->flags[i] &= ~(unsigned int)(TABLE_DIM | TABLE_BOLD);
	text = table->text;
	for (unsigned int row = 0; row + table->columns <= table->cells; row += table->columns) {
		for (unsigned int i = 0; i < table->columns; i++) {
			cell[i] = text;
			text += strlen(text) + 1;
		}
		table_row(table, out, cell, columns, row == 0 && color ? table_bold : "");
	}
	free(table->text);
	table->text = NULL;
	table->used = table->size = 0;
	table->cells = 0;
}
