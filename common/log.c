#include "common/log.h"

#include "common/bytes.h"
#include "common/err.h"
#include "common/text.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int threshold = VS_LOG_INFO;
static _Atomic(const char *) program; /* NULL: a daemon's lines */

void vs_log_set_program(const char *name)
{
	atomic_store_explicit(&program, name, memory_order_relaxed);
}

void vs_log_set_level(enum vs_log_level level)
{
	atomic_store_explicit(&threshold, level, memory_order_relaxed);
}

int vs_log_parse_level(const char *name, enum vs_log_level *level)
{
	static const struct {
		const char *name;
		enum vs_log_level level;
	} names[] = {{"error", VS_LOG_ERROR},
		     {"warning", VS_LOG_WARNING},
		     {"info", VS_LOG_INFO},
		     {"debug", VS_LOG_DEBUG}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i].name) == 0) {
			*level = names[i].level;
			return 0;
		}
	}
	return VS_E_INVAL;
}

void vs_log(enum vs_log_level level, const char *fmt, ...)
{
	const char *name = atomic_load_explicit(&program, memory_order_relaxed);
	char line[1024];
	va_list ap;
	int n, head;

	if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed))
		return;
	head = name ? snprintf(line, sizeof(line), "%.64s: ", name)
		    : snprintf(line, sizeof(line), "<%d>", (int)level);
	va_start(ap, fmt);
	n = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	n += head;
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	vs_clean_line(line);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return; /* nobody is left to tell */
}

_Noreturn void vs_assert_fail(const char *cond, const char *file, int line)
{
	vs_err("invariant broken at %s:%d: %s", file, line, cond);
	abort();
}
