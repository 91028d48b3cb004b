/*
 * Random histories: a volume is written, trimmed, resized, snapshotted, backed up against whatever
 * base there is, deleted from and restored to, and every backup must always restore to what its
 * snapshot read.
 */
#include "tests/unit/backup_scene.h"
#include "tests/unit/files.h"

#define STEPS 60
#define BACKUPS_MAX 12
#define BLOCKS_MAX 3000u /* two levels of pages */

static uint64_t rng_state;

static uint64_t rng(uint64_t below)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state % below;
}

/* A block's content is its seed's; 0 are zeros. Seeds come back, so that blocks do. */
struct backup {
	char id[BK_ID_MAX];
	uint32_t *seeds;
	uint64_t blocks;
};

struct history {
	char dir[64], url[96];
	struct node here, far;
	struct bk_repo *repo;
	struct bs_volume *v;
	uint32_t seeds[BLOCKS_MAX];
	uint64_t blocks;
	struct backup backups[BACKUPS_MAX];
	unsigned nbackups, made, snaps;
	char base_snap[32], base_id[BK_ID_MAX];
};

static void seed_fill(uint8_t *p, uint32_t seed)
{
	for (unsigned i = 0; i < BS_BLOCK; i += 4)
		vs_put_le32(p + i, i % 64 || !seed ? seed : seed * 2654435761u + i);
}

static void write_some(struct history *h)
{
	uint8_t buf[16 * BS_BLOCK];
	uint64_t runs = rng(20) + 1, at, n, i;

	while (runs--) {
		n = rng(16) + 1;
		at = rng(h->blocks);
		n = VS_MIN(n, h->blocks - at);
		for (i = 0; i < n; i++) {
			h->seeds[at + i] = (uint32_t)rng(rng(3) ? UINT32_MAX : 50);
			seed_fill(buf + i * BS_BLOCK, h->seeds[at + i]);
		}
		ok(bs_io_write(h->here.port, h->v, at * BS_BLOCK, buf, n * BS_BLOCK));
	}
}

static void zero_some(struct history *h)
{
	uint64_t at = rng(h->blocks), n = rng(rng(2) ? 40 : h->blocks) + 1;
	struct bs_req req = {.op = BS_ZERO, .volume = h->v, .offset = at * BS_BLOCK};

	n = VS_MIN(n, h->blocks - at);
	req.length = n * BS_BLOCK;
	ok(bs_io_wait(h->here.port, &req));
	memset(&h->seeds[at], 0, n * sizeof(*h->seeds));
}

static void resize(struct history *h)
{
	uint64_t blocks = rng(BLOCKS_MAX) + 1;

	bs_volume_close(h->v);
	ok(bs_volume_resize(h->here.s, "v", blocks * BS_BLOCK, true, &err));
	ok(bs_volume_open(h->here.s, "v", &h->v, &err));
	if (blocks < h->blocks)
		memset(&h->seeds[blocks], 0, (h->blocks - blocks) * sizeof(*h->seeds));
	h->blocks = blocks;
}

static void forget(struct history *h)
{
	unsigned i = (unsigned)rng(h->nbackups);

	ok(bk_repo_forget(h->repo, h->backups[i].id, &err));
	free(h->backups[i].seeds);
	h->backups[i] = h->backups[--h->nbackups];
}

static void clean_up(struct history *h)
{
	struct bk_check_result c;
	struct bk_gc_result gc;

	ok(bk_repo_gc(h->repo, false, NULL, &gc, &err));
	ok(bk_repo_check(h->repo, true, NULL, NULL, NULL, &c, &err));
	assert_int_equal(c.problems, 0);
	assert_int_equal(c.backups, h->nbackups);
}

/* The base until now goes, sometimes before its time. */
static void drop_base(struct history *h)
{
	if (h->base_snap[0])
		ok(bs_snapshot_delete(h->here.s, h->base_snap, &err));
	h->base_snap[0] = 0;
}

static void back_up(struct history *h)
{
	struct bk_backup_options o = {0};
	struct bk_backup_result r;
	struct bs_volume *s;
	struct backup *b;
	char name[32];
	const char *full = name;

	if (h->nbackups == BACKUPS_MAX)
		forget(h);
	snprintf(name, sizeof(name), "v@%u", h->snaps++);
	ok(bs_snapshot_create(h->here.s, &full, 1, &err));
	ok(bs_volume_open(h->here.s, name, &s, &err));
	if (h->base_snap[0]) {
		ok(bs_volume_open(h->here.s, h->base_snap, &o.parent, &err));
		o.parent_id = h->base_id;
	}
	ok(bk_backup_run(h->here.s, s, h->repo, &o, &r, &err));
	if (o.parent)
		bs_volume_close(o.parent);
	bs_volume_close(s);
	drop_base(h);
	memcpy(h->base_snap, name, sizeof(name));
	memcpy(h->base_id, r.id, sizeof(r.id));
	b = &h->backups[h->nbackups++];
	memcpy(b->id, r.id, sizeof(r.id));
	b->blocks = h->blocks;
	b->seeds = malloc(h->blocks * sizeof(*b->seeds));
	assert_non_null(b->seeds);
	memcpy(b->seeds, h->seeds, h->blocks * sizeof(*b->seeds));
	h->made++;
}

static void same(struct node *n, struct bs_volume *v, const struct backup *b)
{
	uint8_t got[BS_BLOCK], want[BS_BLOCK];

	for (uint64_t i = 0; i < b->blocks; i++) {
		ok(bs_io_read(n->port, v, i * BS_BLOCK, got, sizeof(got)));
		seed_fill(want, b->seeds[i]);
		if (memcmp(got, want, sizeof(got)) != 0)
			fail_msg("backup %s: block %llu differs", b->id, (unsigned long long)i);
	}
}

/* To a new volume or over one that holds something else, here or on the other node. */
static void restore(struct history *h)
{
	const struct backup *b = &h->backups[rng(h->nbackups)];
	const struct bk_restore_options over = {.overwrite = true};
	const struct bs_volume_spec spec = {
	    .name = "r", .size = b->blocks * BS_BLOCK, .compression = -1};
	struct node *n = rng(2) ? &h->here : &h->far;
	struct bk_restore_result r;
	struct bs_volume *v;
	bool again = rng(2);

	ok(bs_volume_create(n->s, &spec, NULL, &err));
	ok(bs_volume_open(n->s, "r", &v, &err));
	if (again) {
		uint8_t junk[BS_BLOCK];

		for (unsigned i = 0; i < 50; i++) {
			uint64_t at = rng(b->blocks);

			seed_fill(junk, rng(2) ? b->seeds[at] : (uint32_t)rng(1000));
			ok(bs_io_write(n->port, v, at * BS_BLOCK, junk, sizeof(junk)));
		}
	}
	ok(bk_restore_run(n->s, h->repo, b->id, v, again ? &over : NULL, &r, &err));
	same(n, v, b);
	bs_volume_close(v);
	ok(bs_volume_delete(n->s, "r", BS_DELETE_PLAIN, &err));
}

static void step(struct history *h)
{
	switch (rng(10)) {
	case 0:
	case 1:
	case 2:
		write_some(h);
		break;
	case 3:
		zero_some(h);
		break;
	case 4:
		if (rng(3) == 0)
			resize(h);
		break;
	case 5:
		if (rng(4) == 0)
			drop_base(h);
		if (h->nbackups && rng(3) == 0)
			forget(h);
		if (rng(3) == 0)
			clean_up(h);
		break;
	case 6:
	case 7:
		if (h->nbackups)
			restore(h);
		break;
	default:
		back_up(h);
	}
}

static void history(uint64_t seed)
{
	const struct bs_volume_spec spec = {
	    .name = "v", .size = 1000 * BS_BLOCK, .compression = -1};
	struct history *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	rng_state = seed;
	snprintf(h->dir, sizeof(h->dir), "/tmp/vstore-history-XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	snprintf(h->url, sizeof(h->url), "dir://%s/repo", h->dir);
	ok(bk_repo_attach(h->url, NULL, &h->repo, NULL, &err));
	node_up(&h->here, h->dir, "here");
	node_up(&h->far, h->dir, "far");
	ok(bs_volume_create(h->here.s, &spec, NULL, &err));
	ok(bs_volume_open(h->here.s, "v", &h->v, &err));
	h->blocks = 1000;
	for (unsigned i = 0; i < STEPS; i++)
		step(h);
	back_up(h);
	clean_up(h);
	while (h->nbackups > 0) {
		restore(h);
		forget(h);
	}
	clean_up(h);
	assert_true(h->made > 3);
	bs_volume_close(h->v);
	node_down(&h->here);
	node_down(&h->far);
	bk_repo_close(h->repo);
	assert_int_equal(files_remove(h->dir), 0);
	free(h);
}

static void random_histories(void **state)
{
	const char *one = getenv("VSTORE_SEED");
	uint64_t seed = one ? strtoull(one, NULL, 10) : 1, last = one ? seed : 4;

	(void)state;
	for (; seed <= last; seed++) {
		print_message("# VSTORE_SEED=%llu\n", (unsigned long long)seed);
		history(seed * 0x9e3779b97f4a7c15u | 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_histories),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
