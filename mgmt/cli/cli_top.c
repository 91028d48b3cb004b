/* top: what the store does, as rates over an interval, one line each. */
#include "mgmt/cli/cli_groups.h"

#include "common/loop.h"
#include "common/text.h"
#include "mgmt/cli/cli.h"

#include <stdio.h>
#include <unistd.h>

#define LINES_A_PAGE 20
#define INTERVAL_MAX 3600 /* seconds */

static const char *const counters[] = {
    "device_reads", "device_read_bytes", "device_writes", "device_write_bytes", "device_flushes",
    "cache_hits",   "cache_misses",	 "dedup_hits",	  "segments_cleaned",
};
enum { READS, READ_BYTES, WRITES, WRITE_BYTES, FLUSHES, HITS, MISSES, DEDUP, CLEANED, COUNTERS };

struct sample {
	uint64_t at_ns, used, counter[COUNTERS];
};

static bool take(struct cli *c, struct sample *s)
{
	json_t *store = cli_call(c, "GET", NULL, "/v1/store");
	json_t *df = store ? cli_call(c, "GET", NULL, "/v1/df") : NULL;
	bool taken = store && df;
	int i;

	s->at_ns = vs_now_ns();
	s->used = cli_u64(df, "physical_used_bytes");
	for (i = 0; i < COUNTERS; i++)
		s->counter[i] = cli_u64(store, counters[i]);
	json_decref(store);
	json_decref(df);
	return taken;
}

/* Per second between two samples; 0 when the daemon was restarted between them. */
static double rate(const struct sample *a, const struct sample *b, int i)
{
	if (b->counter[i] < a->counter[i] || b->at_ns <= a->at_ns)
		return 0;
	return (double)(b->counter[i] - a->counter[i]) * 1e9 / (double)(b->at_ns - a->at_ns);
}

static double hit_ratio(const struct sample *a, const struct sample *b)
{
	double hits = rate(a, b, HITS), misses = rate(a, b, MISSES);

	return hits + misses > 0 ? hits / (hits + misses) : 0;
}

static void print_line(const struct sample *a, const struct sample *b, uint64_t line)
{
	char in[16], out[16], used[16];

	if (line % LINES_A_PAGE == 0)
		(void)printf("%10s %12s %10s %12s %8s %6s %10s %10s\n", "READS/s", "READ/s",
			     "WRITES/s", "WRITTEN/s", "FLUSH/s", "CACHED", "DEDUPED/s", "USED");
	(void)vs_format_size((uint64_t)rate(a, b, READ_BYTES), in, sizeof(in));
	(void)vs_format_size((uint64_t)rate(a, b, WRITE_BYTES), out, sizeof(out));
	(void)vs_format_size(b->used, used, sizeof(used));
	(void)printf("%10.0f %12s %10.0f %12s %8.0f %5.0f%% %10.0f %10s\n", rate(a, b, READS), in,
		     rate(a, b, WRITES), out, rate(a, b, FLUSHES), hit_ratio(a, b) * 100,
		     rate(a, b, DEDUP), used);
	(void)fflush(stdout);
}

static void print_json(const struct sample *a, const struct sample *b)
{
	json_t *object = json_object();
	char key[64];
	int i;

	(void)json_object_set_new(object, "seconds",
				  json_real((double)(b->at_ns - a->at_ns) / 1e9));
	for (i = 0; i < COUNTERS; i++) {
		(void)snprintf(key, sizeof(key), "%s_per_second", counters[i]);
		(void)json_object_set_new(object, key, json_real(rate(a, b, i)));
	}
	(void)json_object_set_new(object, "physical_used_bytes", json_integer((json_int_t)b->used));
	cli_print_json(object);
	json_decref(object);
}

static int top(struct cli *c)
{
	uint64_t interval = cli_args_u64(&c->args, "interval", 2);
	uint64_t count = c->json ? 1 : cli_args_u64(&c->args, "count", 0);
	struct sample a, b;
	uint64_t line;

	if (interval < 1 || interval > INTERVAL_MAX)
		return cli_usage(c, "--interval: from 1 to %d seconds", INTERVAL_MAX);
	if (!take(c, &a))
		return CLI_FAILED;
	for (line = 0; (count == 0 || line < count) && !ferror(stdout); line++) {
		(void)sleep((unsigned)interval);
		if (!take(c, &b))
			return CLI_FAILED;
		if (c->json)
			print_json(&a, &b);
		else
			print_line(&a, &b, line);
		a = b;
	}
	return CLI_DONE;
}

const struct cli_command cli_top_commands[] = {
    {"", "", "show what the store does, a line an interval",
     (const struct cli_option[]){
	 {"interval", CLI_NUMBER, "SECONDS", "how often (default 2)", 0},
	 {"count", CLI_NUMBER, "N", "stop after so many lines", 0},
	 {0},
     },
     top},
    {0},
};
