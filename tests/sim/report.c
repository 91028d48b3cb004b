#include "tests/sim/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

unsigned sim_verbose;

static char notes[1024];

void sim_note(const char *fmt, ...)
{
	size_t used = strlen(notes);
	va_list ap;

	va_start(ap, fmt);
	if (used + 2 < sizeof(notes)) {
		notes[used++] = '\n';
		(void)vsnprintf(notes + used, sizeof(notes) - used, fmt, ap);
	}
	va_end(ap);
}

void sim_forget_notes(void)
{
	notes[0] = 0;
}

static void print_notes(void)
{
	char *save, *line = strtok_r(notes, "\n", &save);

	for (; line; line = strtok_r(NULL, "\n", &save))
		printf("# %s\n", line);
}

void sim_found(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_notes();
	fputs("# found: ", stdout);
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
	fflush(stdout);
	if (getenv("SIM_ABORT"))
		abort(); /* for a debugger */
	_exit(SIM_EXIT_FOUND);
}

void sim_trace_(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("# ", stdout);
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
	fflush(stdout);
}
