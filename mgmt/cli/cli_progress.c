#include "mgmt/cli/cli_progress.h"

#include "common/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_MAX 40
#define LINE_MAX_BYTES 512

void cli_progress_start(struct cli_progress *p, const char *label, bool quiet)
{
	memset(p, 0, sizeof(*p));
	p->label = label;
	p->shown = !quiet && isatty(STDERR_FILENO);
}

double cli_progress_rate(const struct cli_progress *p)
{
	unsigned kept = p->n < CLI_PROGRESS_SAMPLES ? p->n : CLI_PROGRESS_SAMPLES;
	unsigned last, first;
	uint64_t ns, done;

	if (kept < 2)
		return 0;
	last = (p->n - 1) % CLI_PROGRESS_SAMPLES;
	first = (p->n - kept) % CLI_PROGRESS_SAMPLES;
	ns = p->samples[last].ns - p->samples[first].ns;
	done = p->samples[last].done - p->samples[first].done;
	if (p->samples[last].done < p->samples[first].done || ns == 0)
		return 0;
	return (double)done * 1e9 / (double)ns;
}

static void format_left(double seconds, char *buf, size_t len)
{
	uint64_t s = seconds < 360000 ? (uint64_t)(seconds + 0.5) : 360000;

	if (s >= 360000)
		(void)snprintf(buf, len, ">99h");
	else if (s >= 3600)
		(void)snprintf(buf, len, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600,
			       s / 60 % 60, s % 60);
	else
		(void)snprintf(buf, len, "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
}

static void format_bar(double part, size_t cells, char *buf)
{
	size_t full = (size_t)(part * (double)cells);

	memset(buf, '#', full);
	memset(buf + full, '.', cells - full);
	buf[cells] = '\0';
}

const char *cli_progress_line(const struct cli_progress *p, uint64_t done, uint64_t total,
			      size_t width, char *buf, size_t len)
{
	char figures[128], size[16], rate[16], left[24] = "", bar[BAR_MAX + 1];
	double per_s = cli_progress_rate(p);
	double part = total == 0 ? 0 : done >= total ? 1 : (double)done / (double)total;
	size_t fixed, cells;

	(void)vs_format_size(done, size, sizeof(size));
	(void)vs_format_size((uint64_t)per_s, rate, sizeof(rate));
	if (total && done < total && per_s >= 1)
		format_left((double)(total - done) / per_s, left, sizeof(left));
	if (per_s > 0)
		(void)snprintf(figures, sizeof(figures), "%s  %s/s%s%s", size, rate,
			       left[0] ? "  " : "", left);
	else
		(void)snprintf(figures, sizeof(figures), "%s", size);
	if (total == 0) {
		(void)snprintf(buf, len, "%s  %s", p->label, figures);
		return buf;
	}
	fixed = strlen(p->label) + strlen(figures) + sizeof("  [] 100%  ");
	cells = width > fixed ? width - fixed : 0;
	cells = cells > BAR_MAX ? BAR_MAX : cells;
	format_bar(part, cells, bar);
	(void)snprintf(buf, len, "%s  %s%s%s%3.0f%%  %s", p->label, cells >= 5 ? "[" : "",
		       cells >= 5 ? bar : "", cells >= 5 ? "] " : "", part * 100, figures);
	return buf;
}

static size_t terminal_width(void)
{
	struct winsize ws;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col ? ws.ws_col : 80;
}

void cli_progress_update(struct cli_progress *p, uint64_t done, uint64_t total, uint64_t now_ns)
{
	char line[LINE_MAX_BYTES];
	unsigned slot = p->n % CLI_PROGRESS_SAMPLES;
	size_t width;

	p->samples[slot].ns = now_ns;
	p->samples[slot].done = done;
	p->n++;
	if (!p->shown)
		return;
	width = terminal_width();
	(void)cli_progress_line(p, done, total, width, line, sizeof(line));
	(void)fprintf(stderr, "\r%.*s\033[K", (int)width - 1, line);
	(void)fflush(stderr);
	p->drawn = true;
}

void cli_progress_end(struct cli_progress *p)
{
	if (p->drawn)
		(void)fputs("\r\033[K", stderr);
	p->drawn = false;
}
