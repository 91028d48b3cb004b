#include "mgmt/cli/cli_table.h"

#include "common/err.h"

#include <stdlib.h>
#include <string.h>

struct cell {
	size_t text; /* where in the table's */
	enum cli_colour colour;
};

struct cli_table {
	size_t columns;
	bool right[CLI_TABLE_COLUMNS];
	struct cell *cells;
	size_t n, room;
	char *text; /* of all cells, each with its NUL */
	size_t text_len, text_room;
	bool failed;
};

static const char *const colour_codes[] = {
    [CLI_PLAIN] = "",	    [CLI_GREEN] = "\033[32m", [CLI_YELLOW] = "\033[33m",
    [CLI_RED] = "\033[31m", [CLI_DIM] = "\033[2m",
};

struct cli_table *cli_table_new(size_t columns)
{
	struct cli_table *t = calloc(1, sizeof(*t));

	if (t)
		t->columns = columns < CLI_TABLE_COLUMNS ? columns : CLI_TABLE_COLUMNS;
	return t;
}

void cli_table_free(struct cli_table *t)
{
	if (!t)
		return;
	free(t->cells);
	free(t->text);
	free(t);
}

void cli_table_right(struct cli_table *t, size_t column)
{
	if (t && column < t->columns)
		t->right[column] = true;
}

/* Makes room for need elements of size bytes; what was there moves along. */
static bool grow(void **array, size_t *room, size_t need, size_t size)
{
	size_t wanted = *room ? *room : 64;
	void *bigger;

	if (need <= *room)
		return true;
	while (wanted < need)
		wanted *= 2;
	bigger = reallocarray(*array, wanted, size);
	if (!bigger)
		return false;
	*array = bigger;
	*room = wanted;
	return true;
}

void cli_table_cell(struct cli_table *t, const char *text, enum cli_colour colour)
{
	size_t len = strlen(text) + 1;

	if (!t || t->failed)
		return;
	if (!grow((void **)&t->cells, &t->room, t->n + 1, sizeof(*t->cells)) ||
	    !grow((void **)&t->text, &t->text_room, t->text_len + len, 1)) {
		t->failed = true;
		return;
	}
	memcpy(t->text + t->text_len, text, len);
	t->cells[t->n++] = (struct cell){.text = t->text_len, .colour = colour};
	t->text_len += len;
}

size_t cli_table_width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

void cli_table_safe(const char *text, FILE *out)
{
	for (; *text; text++) {
		unsigned char b = (unsigned char)*text;

		/* U+0080 to U+009F are control characters too: 0xc2 and 0x80 to 0x9f. */
		if (b == 0xc2 && ((unsigned char)text[1] & 0xe0) == 0x80) {
			(void)putc('?', out);
			text++;
		} else {
			(void)putc(b < 0x20 || b == 0x7f ? '?' : b, out);
		}
	}
}

static void print_cell(const struct cli_table *t, size_t i, size_t width, bool colours, FILE *out)
{
	const struct cell *c = &t->cells[i];
	size_t column = i % t->columns;
	const char *text = t->text + c->text;
	size_t pad = width - cli_table_width(text);
	bool last = column + 1 == t->columns;

	if (column)
		(void)fputs("  ", out);
	if (t->right[column])
		(void)fprintf(out, "%*s", (int)pad, "");
	if (colours)
		(void)fputs(colour_codes[c->colour], out);
	cli_table_safe(text, out);
	if (colours && c->colour != CLI_PLAIN)
		(void)fputs("\033[0m", out);
	if (!t->right[column] && !last)
		(void)fprintf(out, "%*s", (int)pad, "");
	if (last)
		(void)putc('\n', out);
}

int cli_table_print(const struct cli_table *t, bool colours, FILE *out)
{
	size_t width[CLI_TABLE_COLUMNS] = {0};
	size_t i, n;

	if (!t || t->failed)
		return VS_E_NOMEM;
	for (i = 0; i < t->n; i++) {
		n = cli_table_width(t->text + t->cells[i].text);
		if (n > width[i % t->columns])
			width[i % t->columns] = n;
	}
	for (i = 0; i < t->n; i++)
		print_cell(t, i, width[i % t->columns], colours, out);
	return 0;
}
