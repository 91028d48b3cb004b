#include "tests/sim/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

unsigned sim_verbose;

void sim_found(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("# found: ", stdout);
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
	fflush(stdout);
	if (getenv("SIM_ABORT"))
		abort(); /* for a debugger */
	_exit(SIM_EXIT_FOUND);
}

void sim_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("# ", stdout);
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
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
