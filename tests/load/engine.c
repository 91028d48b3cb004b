/* Load on a store without a front end: one JSON line for each step. See usage(). */
#include "tests/load/engine.h"

#include "common/bytes.h"
#include "common/loop.h"
#include "common/text.h"
#include "dedup/digest.h"

#include <dirent.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/resource.h>
#include <unistd.h>

static int usage(void)
{
	fputs("engine FILE [--size SIZE] [--segment SIZE] [--memory SIZE] "
	      "[--compression none|lz4|zstd] [--init] STEP...\n"
	      "Opens the store on FILE (made when it is not there), does the steps in turn.\n"
	      "--init formats a file that is there, for instance one that was written once.\n"
	      "  volume,name=V,size=SIZE   makes it; later steps use it\n"
	      "  use,name=V\n"
	      "  write|read|sync,...       load; sync: each write and a flush after it\n"
	      "    block=4K depth=32 ports=1 seconds=N count=N from=SIZE span=SIZE seed=N "
	      "sequential=1 hot=PERCENT\n"
	      "    data=unique|half|sparse|same pool=BLOCKS\n"
	      "    snapshots=MS            meanwhile a snapshot every MS milliseconds\n"
	      "    delete=SNAP             meanwhile this one is deleted; ends when it is gone\n"
	      "  snapshot,name=S,count=N,writes=K   N snapshots, K random 4K writes before each\n"
	      "  delete,name=SNAP  drain  reopen  hash,seconds=N  stalls,seconds=N\n",
	      stderr);
	return 2;
}

struct step {
	char name[64], delete[64];
	uint64_t size, count, writes, snapshots;
	struct engine_load load;
};

struct bench {
	const char *file;
	uint64_t size, segment, memory;
	int compression;
	bool init;
	struct bs_store *store;
	struct bs_volume *volume;
	char volume_name[64];
	unsigned made; /* snapshots that loads took */
	struct vs_error err;
};

static int parse_data(const char *text, enum engine_data *out)
{
	static const char *const names[] = {"unique", "half", "sparse", "same"};

	for (unsigned i = 0; i < VS_ARRAY_LEN(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*out = (enum engine_data)i;
			return 0;
		}
	}
	return -1;
}

static int parse_pair(struct step *s, const char *key, const char *value)
{
	struct engine_load *l = &s->load;
	uint64_t sequential;
	const struct {
		const char *key;
		uint64_t *to;
	} numbers[] = {
	    {"size", &s->size},		  {"count", &s->count},	      {"writes", &s->writes},
	    {"block", &l->block},	  {"depth", &l->depth},	      {"ports", &l->ports},
	    {"seconds", &l->seconds},	  {"span", &l->span},	      {"seed", &l->seed},
	    {"pool", &l->pool},		  {"from", &l->from},	      {"hot", &l->hot},
	    {"snapshots", &s->snapshots}, {"sequential", &sequential}};

	if (strcmp(key, "name") == 0 || strcmp(key, "delete") == 0) {
		char *to = key[0] == 'n' ? s->name : s->delete;

		return snprintf(to, sizeof(s->name), "%s", value) < (int)sizeof(s->name) ? 0 : -1;
	}
	if (strcmp(key, "data") == 0)
		return parse_data(value, &l->data);
	for (unsigned i = 0; i < VS_ARRAY_LEN(numbers); i++) {
		if (strcmp(key, numbers[i].key) == 0) {
			sequential = l->sequential;
			if (vs_parse_size(value, numbers[i].to))
				return -1;
			l->sequential = sequential;
			return 0;
		}
	}
	return -1;
}

/* "WORD,key=value,...": the word stays in text. */
static int parse_step(char *text, struct step *s)
{
	char *rest, *pair = strtok_r(text, ",", &rest);

	*s = (struct step){.load = {.block = BS_BLOCK,
				    .depth = 32,
				    .ports = 1,
				    .span = UINT64_MAX,
				    .seed = 1,
				    .pool = 16384}};
	while ((pair = strtok_r(NULL, ",", &rest))) {
		char *value = strchr(pair, '=');

		if (!value)
			return -1;
		*value++ = '\0';
		if (parse_pair(s, pair, value))
			return -1;
	}
	s->load.count = s->count;
	if (s->load.block < BS_BLOCK || s->load.block % BS_BLOCK || s->load.block > 16u << 20 ||
	    s->load.depth < 1 || s->load.depth > ENGINE_MAX_DEPTH || s->load.ports < 1 ||
	    s->load.ports > ENGINE_MAX_PORTS || !s->load.pool || s->load.hot > 100)
		return -1;
	return 0;
}

/* Nanoseconds that all threads have run, those that have ended too. */
static uint64_t process_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Nanoseconds that the thread of this name has run. */
static uint64_t named_cpu_ns(const char *name)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *entry;
	uint64_t ns = 0;

	while (d && (entry = readdir(d))) {
		char path[300], word[64] = "";
		FILE *f;

		(void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		if (!(f = fopen(path, "r")))
			continue;
		if (!fgets(word, sizeof(word), f))
			word[0] = '\0';
		fclose(f);
		word[strcspn(word, "\n")] = '\0';
		if (strcmp(word, name) != 0)
			continue;
		(void)snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", entry->d_name);
		if (!(f = fopen(path, "r")))
			continue;
		if (fgets(word, sizeof(word), f))
			ns += strtoull(word, NULL, 10);
		fclose(f);
	}
	if (d)
		closedir(d);
	return ns;
}

static uint64_t peak_bytes(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)u.ru_maxrss * 1024;
}

static int open_store(struct bench *b)
{
	struct bs_open_options o = {.memory = b->memory};
	bool there = access(b->file, F_OK) == 0, fresh = !there || b->init;
	struct bs_init_options init = {.segment_size = b->segment,
				       .compression = (enum bs_coding)b->compression,
				       .force = b->init};
	struct bs_device *dev;
	struct bs_store_info info;
	uint64_t start;
	int rc;

	if (!there && !b->size)
		return vs_fail(&b->err, VS_E_INVAL, "%s is not there and no --size was given",
			       b->file);
	rc = bs_device_open(b->file, there ? 0 : BS_DEVICE_CREATE, b->size, &dev, &b->err);
	if (rc == 0 && fresh && (rc = bs_store_init(dev, &init, &b->err)))
		bs_device_close(dev);
	start = vs_now_ns();
	if (rc == 0)
		rc = bs_store_open(dev, &o, &b->store, &b->err);
	if (rc)
		return rc;
	bs_store_info(b->store, &info);
	printf("{\"step\": \"open\", \"ms\": %.1f, \"capacity\": %lu, \"segment\": %lu, "
	       "\"peak\": %lu}\n",
	       (double)(vs_now_ns() - start) / 1e6, info.capacity_bytes, info.segment_size,
	       peak_bytes());
	return 0;
}

static int use_volume(struct bench *b, const char *name)
{
	int rc;

	if (b->volume)
		bs_volume_close(b->volume);
	b->volume = NULL;
	rc = bs_volume_open(b->store, name, &b->volume, &b->err);
	if (rc == 0 && name != b->volume_name)
		(void)snprintf(b->volume_name, sizeof(b->volume_name), "%s", name);
	return rc;
}

static int do_volume(struct bench *b, const struct step *s)
{
	struct bs_volume_spec spec = {
	    .name = s->name, .size = s->size, .sector = 4096, .compression = b->compression};
	int rc = bs_volume_create(b->store, &spec, NULL, &b->err);

	return rc ? rc : use_volume(b, s->name);
}

struct meanwhile {
	struct latency snapshots;
	double delete_ms, gone_ms; /* the call; until all was released */
};

static int take_snapshot(struct bench *b, const char *name, struct latency *l)
{
	char full[BS_FULL_NAME_MAX];
	const char *one = full;
	uint64_t start = vs_now_ns();
	int rc;

	(void)snprintf(full, sizeof(full), "%s@%s", b->volume_name, name);
	rc = bs_snapshot_create(b->store, &one, 1, &b->err);
	latency_add(l, vs_now_ns() - start);
	return rc;
}

static int delete_snapshot(struct bench *b, const char *name, struct meanwhile *m)
{
	char full[BS_FULL_NAME_MAX];
	uint64_t start = vs_now_ns();
	int rc;

	(void)snprintf(full, sizeof(full), "%s@%s", b->volume_name, name);
	rc = bs_snapshot_delete(b->store, full, &b->err);
	m->delete_ms = (double)(vs_now_ns() - start) / 1e6;
	if (rc == 0)
		rc = bs_store_drain(b->store, &b->err);
	m->gone_ms = (double)(vs_now_ns() - start) / 1e6;
	return rc;
}

/* What management does while the load runs. */
static int accompany(struct bench *b, const struct step *s, struct meanwhile *m)
{
	uint64_t end = vs_now_ns() + s->load.seconds * 1000000000u;
	int rc = 0;

	while (rc == 0 && s->snapshots && vs_now_ns() < end) {
		char name[32];

		usleep((useconds_t)(s->snapshots * 1000));
		(void)snprintf(name, sizeof(name), "during%u", b->made++);
		rc = take_snapshot(b, name, &m->snapshots);
	}
	if (rc == 0 && s->delete[0])
		rc = delete_snapshot(b, s->delete, m);
	return rc;
}

static double ratio(uint64_t a, double b)
{
	return b > 0 ? (double)a / b : 0;
}

static void print_load(const struct step *s, const char *text, const struct engine_result *r,
		       const struct bs_store_info *was, const struct bs_store_info *is,
		       uint64_t engine_ns, uint64_t port_ns)
{
	double seconds = (double)r->elapsed_ns / 1e9, ops = (double)r->ops;
	double bytes = s->load.write ? ops * (double)s->load.block : 0;
	const struct latency *l = &r->latency;

	printf("{\"step\": \"%s\", \"ops\": %lu, \"seconds\": %.3f, \"per_second\": %.0f, "
	       "\"mb_per_second\": %.1f, \"p50_us\": %.0f, \"p99_us\": %.0f, \"p999_us\": %.0f, "
	       "\"max_us\": %.0f, ",
	       text, r->ops, seconds, ops / seconds, ops * (double)s->load.block / seconds / 1e6,
	       latency_us(l, 0.5), latency_us(l, 0.99), latency_us(l, 0.999),
	       (double)l->max_ns / 1000);
	printf("\"engine_ns_per_op\": %.0f, \"port_ns_per_op\": %.0f, \"device_reads_per_op\": "
	       "%.3f, \"read_bytes_per_op\": %.0f, \"device_writes_per_op\": %.3f, "
	       "\"written_bytes_per_op\": %.0f, ",
	       ratio(engine_ns, ops), ratio(port_ns, ops),
	       ratio(is->device_reads - was->device_reads, ops),
	       ratio(is->device_read_bytes - was->device_read_bytes, ops),
	       ratio(is->device_writes - was->device_writes, ops),
	       ratio(is->device_write_bytes - was->device_write_bytes, ops));
	printf("\"amplification\": {\"total\": %.3f, \"data\": %.3f, \"maps\": %.3f, \"tables\": "
	       "%.3f, \"cleaner\": %.3f}, \"cleaned\": %lu, \"checkpoints\": %lu, \"fill\": %.4f, "
	       "\"peak\": %lu",
	       ratio(is->device_write_bytes - was->device_write_bytes, bytes),
	       ratio(is->bytes_data - was->bytes_data, bytes),
	       ratio(is->bytes_maps - was->bytes_maps, bytes),
	       ratio(is->bytes_tables - was->bytes_tables, bytes),
	       ratio(is->bytes_cleaner - was->bytes_cleaner, bytes),
	       is->segments_cleaned - was->segments_cleaned, is->checkpoints - was->checkpoints,
	       ratio(is->physical_used_bytes, (double)is->capacity_bytes), peak_bytes());
}

static void print_meanwhile(const struct step *s, const struct meanwhile *m)
{
	const struct latency *l = &m->snapshots;

	if (s->snapshots)
		printf(", \"snapshots\": {\"n\": %lu, \"p50_us\": %.0f, \"p99_us\": %.0f, "
		       "\"max_us\": %.0f}",
		       l->n, latency_us(l, 0.5), latency_us(l, 0.99), (double)l->max_ns / 1000);
	if (s->delete[0])
		printf(", \"delete_ms\": %.1f, \"gone_ms\": %.1f", m->delete_ms, m->gone_ms);
	printf("}\n");
}

static int do_load(struct bench *b, struct step *s, const char *text)
{
	struct meanwhile m = {0};
	struct bs_store_info was, is;
	struct engine_result r;
	struct engine_run *run;
	uint64_t engine_ns, all_ns;
	int rc;

	if (!b->volume)
		return vs_fail(&b->err, VS_E_INVAL, "no volume was named before");
	if (s->load.from >= bs_volume_size(b->volume))
		return vs_fail(&b->err, VS_E_INVAL, "the volume ends before 'from'");
	s->load.span = VS_MIN(s->load.span, bs_volume_size(b->volume) - s->load.from);
	bs_store_info(b->store, &was);
	engine_ns = named_cpu_ns("engine");
	all_ns = process_cpu_ns();
	if (!(run = engine_load_start(b->store, b->volume, &s->load)))
		return vs_fail(&b->err, VS_E_NOMEM, "no memory for the load");
	rc = accompany(b, s, &m);
	if (rc || s->delete[0])
		engine_load_stop(run);
	engine_load_wait(run, &r);
	engine_ns = named_cpu_ns("engine") - engine_ns;
	all_ns = process_cpu_ns() - all_ns;
	bs_store_info(b->store, &is);
	if (rc == 0 && r.status)
		rc = vs_fail(&b->err, r.status, "the load failed: %s", vs_err_text(r.status));
	if (rc)
		return rc;
	print_load(s, text, &r, &was, &is, engine_ns, all_ns - VS_MIN(all_ns, engine_ns));
	print_meanwhile(s, &m);
	return 0;
}

static int do_snapshots(struct bench *b, const struct step *s)
{
	struct engine_load l = {.write = true,
				.block = BS_BLOCK,
				.depth = VS_MAX(1u, VS_MIN(s->writes, 32u)),
				.ports = 1,
				.count = s->writes,
				.span = bs_volume_size(b->volume),
				.pool = 1};
	uint64_t n = s->count ? s->count : 1;
	struct latency taken = {0};

	for (uint64_t i = 0; i < n; i++) {
		char name[80];
		int rc;

		l.seed = i + 1;
		if (s->writes) {
			struct engine_run *run = engine_load_start(b->store, b->volume, &l);
			struct engine_result r = {.status = VS_E_NOMEM};

			if (run)
				engine_load_wait(run, &r);
			if (r.status)
				return vs_fail(&b->err, r.status,
					       "writes before a snapshot failed");
		}
		(void)snprintf(name, sizeof(name), n > 1 ? "%s%lu" : "%s", s->name, i);
		if ((rc = take_snapshot(b, name, &taken)))
			return rc;
	}
	printf("{\"step\": \"snapshot\", \"n\": %lu, \"p50_us\": %.0f, \"p99_us\": %.0f, "
	       "\"max_us\": %.0f}\n",
	       taken.n, latency_us(&taken, 0.5), latency_us(&taken, 0.99),
	       (double)taken.max_ns / 1000);
	return 0;
}

static int do_delete(struct bench *b, const struct step *s)
{
	struct meanwhile m = {0};
	int rc = delete_snapshot(b, s->name, &m);

	if (rc == 0)
		printf("{\"step\": \"delete\", \"delete_ms\": %.1f, \"gone_ms\": %.1f}\n",
		       m.delete_ms, m.gone_ms);
	return rc;
}

static int close_store(struct bench *b)
{
	uint64_t start = vs_now_ns();
	int rc;

	if (b->volume)
		bs_volume_close(b->volume);
	b->volume = NULL;
	rc = bs_store_close(b->store, &b->err);
	b->store = NULL;
	printf("{\"step\": \"close\", \"ms\": %.1f}\n", (double)(vs_now_ns() - start) / 1e6);
	return rc;
}

static int do_reopen(struct bench *b)
{
	bool had = b->volume != NULL;
	int rc = close_store(b);

	if (rc == 0)
		rc = open_store(b);
	if (rc == 0 && had)
		rc = use_volume(b, b->volume_name);
	return rc;
}

/* What one core hashes: the bound of all that is unique. */
static int do_hash(struct bench *b, const struct step *s)
{
	uint64_t start = vs_now_ns(), now, n = 0;
	uint8_t page[BS_BLOCK] = {1};
	struct dd_hasher *h;
	struct dd_digest d;

	if (dd_hasher_new(&h, &b->err))
		return b->err.code;
	do {
		for (unsigned i = 0; i < 1000; i++, n++) {
			memcpy(page, &n, sizeof(n));
			dd_hash(h, page, sizeof(page), &d);
		}
		now = vs_now_ns();
	} while (now - start < s->load.seconds * 1000000000u);
	dd_hasher_free(h);
	printf("{\"step\": \"hash\", \"mb_per_second\": %.1f}\n",
	       (double)(n * BS_BLOCK) / ((double)(now - start) / 1e9) / 1e6);
	return 0;
}

static int do_step(struct bench *b, char *word)
{
	char *text = strdupa(word);
	struct step s;

	if (parse_step(word, &s))
		return vs_fail(&b->err, VS_E_INVAL, "cannot understand the step '%s'", text);
	if (strcmp(word, "volume") == 0)
		return do_volume(b, &s);
	if (strcmp(word, "use") == 0)
		return use_volume(b, s.name);
	s.load.sync = strcmp(word, "sync") == 0;
	s.load.write = s.load.sync || strcmp(word, "write") == 0;
	if (s.load.write || strcmp(word, "read") == 0)
		return do_load(b, &s, text);
	if (strcmp(word, "snapshot") == 0 && b->volume)
		return do_snapshots(b, &s);
	if (strcmp(word, "delete") == 0 && b->volume)
		return do_delete(b, &s);
	if (strcmp(word, "drain") == 0)
		return bs_store_drain(b->store, &b->err);
	if (strcmp(word, "reopen") == 0)
		return do_reopen(b);
	if (strcmp(word, "hash") == 0)
		return do_hash(b, &s);
	if (strcmp(word, "stalls") == 0)
		return engine_stalls(s.load.seconds);
	return vs_fail(&b->err, VS_E_INVAL, "there is no step '%s'", text);
}

static int parse_options(struct bench *b, int argc, char **argv)
{
	static const struct option longs[] = {
	    {"size", 1, NULL, 's'},	   {"segment", 1, NULL, 'g'}, {"memory", 1, NULL, 'm'},
	    {"compression", 1, NULL, 'c'}, {"init", 0, NULL, 'i'},    {NULL, 0, NULL, 0}};
	static const char *const codings[] = {"none", "lz4", "zstd"};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		uint64_t *to = c == 's' ? &b->size : c == 'g' ? &b->segment : &b->memory;

		if (c == '?')
			return -1;
		if (c == 'i') {
			b->init = true;
			continue;
		}
		if (c != 'c') {
			if (vs_parse_size(optarg, to))
				return -1;
			continue;
		}
		for (b->compression = 0; b->compression < 3; b->compression++)
			if (strcmp(optarg, codings[b->compression]) == 0)
				break;
		if (b->compression == 3)
			return -1;
	}
	return argc - optind >= 1 ? 0 : -1;
}

int main(int argc, char **argv)
{
	static struct bench b = {.compression = BS_CODING_LZ4};
	int rc;

	if (parse_options(&b, argc, argv))
		return usage();
	b.file = argv[optind];
	setvbuf(stdout, NULL, _IOLBF, 0);
	rc = open_store(&b);
	for (int i = optind + 1; rc == 0 && i < argc; i++)
		rc = do_step(&b, argv[i]);
	if (b.store) {
		int closed = close_store(&b);

		rc = rc ? rc : closed;
	}
	if (rc)
		fprintf(stderr, "engine: %s\n", b.err.text);
	return rc ? 1 : 0;
}
