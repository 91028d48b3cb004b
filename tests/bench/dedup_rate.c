/*
 * How much an index of a small budget finds: imports image A into a store, then image B, once with
 * an index that holds everything and once with each of the smaller ones, and prints what was found.
 *
 *     dedup_rate STORE A B
 *
 * STORE is a file that is made and removed. One line of JSON for each run on stdout.
 */
#include "blockstore/io.h"
#include "blockstore/store.h"
#include "blockstore/volume.h"
#include "common/bytes.h"
#include "common/loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (1u << 20)
/* 0.3 GB of index for each TB of unique data. */
#define PER_MILLE_TENTHS 3u

struct run {
	const char *path;
	struct bs_store *store;
	struct vs_loop *loop;
	struct bs_port *port;
	struct vs_error err;
};

static void must(int rc, const struct run *r, const char *what)
{
	if (rc == 0)
		return;
	(void)fprintf(stderr, "dedup_rate: %s: %s\n", what, r->err.text);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void start(struct run *r, const struct bs_index_options *index)
{
	struct bs_open_options opts = {.memory = UINT64_C(512) << 20, .index = *index};
	struct bs_init_options init = {.compression = BS_CODING_LZ4};
	struct bs_device *dev;

	(void)unlink(r->path);
	must(bs_device_open(r->path, BS_DEVICE_CREATE, UINT64_C(4) << 30, &dev, &r->err), r,
	     r->path);
	must(bs_store_init(dev, &init, &r->err), r, "init");
	must(bs_store_open(dev, &opts, &r->store, &r->err), r, "open");
	must(vs_loop_new(&r->loop, &r->err), r, "loop");
	must(bs_port_open(r->store, r->loop, 64, &r->port, &r->err), r, "port");
}

static void stop(struct run *r)
{
	bs_port_close(r->port);
	must(bs_store_close(r->store, &r->err), r, "close");
	vs_loop_free(r->loop);
	(void)unlink(r->path);
}

/* Returns the blocks written. */
static uint64_t import(struct run *r, const char *image, const char *name)
{
	static uint8_t buf[CHUNK] __attribute__((aligned(4096)));
	struct bs_volume_spec spec = {.name = name, .compression = -1};
	int fd = open(image, O_RDONLY | O_CLOEXEC);
	struct bs_volume *v = NULL;
	uint64_t blocks = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		perror(image);
		exit(1);
	}
	spec.size = VS_ALIGN_UP((uint64_t)st.st_size, BS_BLOCK);
	must(bs_volume_create(r->store, &spec, NULL, &r->err), r, name);
	must(bs_volume_open(r->store, name, &v, &r->err), r, name);
	for (off_t at = lseek(fd, 0, SEEK_DATA); at >= 0; at = lseek(fd, at, SEEK_DATA)) {
		ssize_t n;

		at = VS_ALIGN_DOWN(at, (off_t)CHUNK);
		memset(buf, 0, sizeof(buf));
		n = pread(fd, buf, sizeof(buf), at);
		if (n <= 0)
			break;
		n = (ssize_t)VS_ALIGN_UP((size_t)n, BS_BLOCK);
		must(bs_io_write(r->port, v, (uint64_t)at, buf, (size_t)n), r, "write");
		at += n;
	}
	(void)close(fd);
	must(bs_store_flush(r->store, &r->err), r, "flush");
	must(bs_volume_find(r->store, name, NULL, &r->err), r, name);
	struct bs_volume_info info;
	must(bs_volume_find(r->store, name, &info, &r->err), r, name);
	blocks = info.logical_bytes / BS_BLOCK;
	bs_volume_close(v);
	return blocks;
}

struct found {
	uint64_t first, second; /* blocks of A, of B */
	uint64_t unique;	/* stored after both */
	uint64_t hits, later;	/* found in B; in A and B once duplicates were merged */
};

static double merge(struct run *r)
{
	struct bs_merge_info info = {0};
	double began = now();

	must(bs_store_merge_begin(r->store, &r->err), r, "merge");
	while (!info.finished)
		must(bs_store_merge_step(r->store, &info, &r->err), r, "merge");
	bs_store_merge_end(r->store);
	return now() - began;
}

static struct found one(struct run *r, const char *a, const char *b, const char *label,
			const struct bs_index_options *index, const struct found *full)
{
	struct bs_store_info before, after, merged;
	struct found f;
	double began, merging;

	start(r, index);
	f.first = import(r, a, "a");
	bs_store_info(r->store, &before);
	began = now();
	f.second = import(r, b, "b");
	began = now() - began;
	bs_store_info(r->store, &after);
	f.unique = after.unique_content_bytes / BS_BLOCK;
	f.hits = f.second - (f.unique - before.unique_content_bytes / BS_BLOCK);
	merging = merge(r);
	bs_store_info(r->store, &merged);
	f.later = f.first + f.second - merged.unique_content_bytes / BS_BLOCK;
	(void)printf(
	    "{\"index\": \"%s\", \"index_bytes\": %llu, \"index_entries\": %llu, "
	    "\"near_bytes\": %llu, \"neighbours\": %u, "
	    "\"blocks_a\": %llu, \"blocks_b\": %llu, \"unique\": %llu, \"found\": %llu, "
	    "\"share_of_full\": %.4f, \"share_after_merging\": %.4f, \"near_hits\": %llu, "
	    "\"near_loads\": %llu, "
	    "\"seconds_b\": %.2f, \"seconds_merging\": %.2f}\n",
	    label, (unsigned long long)after.index_bytes, (unsigned long long)after.index_entries,
	    (unsigned long long)index->near_bytes, index->near_digests, (unsigned long long)f.first,
	    (unsigned long long)f.second, (unsigned long long)f.unique, (unsigned long long)f.hits,
	    full ? (double)f.hits / (double)full->hits : 1.0,
	    full ? (double)f.later / (double)full->later : 1.0, (unsigned long long)after.near_hits,
	    (unsigned long long)after.near_loads, began, merging);
	(void)fflush(stdout);
	stop(r);
	return f;
}

int main(int argc, char **argv)
{
	struct run r = {.path = argc > 1 ? argv[1] : NULL};
	struct bs_index_options index = {
	    .bytes = UINT64_C(32) << 20, .near_bytes = UINT64_C(1) << 20, .near_digests = 1024};
	struct found full;

	if (argc != 4) {
		(void)fprintf(stderr, "usage: dedup_rate STORE A B\n");
		return 2;
	}
	full = one(&r, argv[2], argv[3], "everything", &index, NULL);
	for (unsigned near = 256; near <= 1024; near *= 4) {
		index.bytes = full.unique * BS_BLOCK * PER_MILLE_TENTHS / 10000;
		index.near_bytes = UINT64_C(64) << 10;
		index.near_digests = near;
		(void)one(&r, argv[2], argv[3], "0.3 GB/TB", &index, &full);
	}
	return 0;
}
