#include "backup/format.h"

#include "common/bytes.h"
#include "common/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <xxhash.h>
#include <zstd.h>

static struct vs_error err;

static void digest_of(uint64_t seed, struct dd_digest *d)
{
	for (int i = 0; i < 4; i++)
		vs_put_be64(d->b + 8 * i, seed * 0x9e3779b97f4a7c15u + (uint64_t)i);
}

static struct bk_config sample_config(void)
{
	struct bk_config c = {.created_ns = 1234567890123,
			      .pack_target = 16u << 20,
			      .frame_raw = 128u << 10,
			      .compat = 5};

	memset(c.uuid.b, 0xa5, sizeof(c.uuid.b));
	return c;
}

static struct bk_backup_info sample_backup(void)
{
	struct bk_backup_info b = {.id = "20261120-084301-5f3a9c2e",
				   .volume = "web",
				   .snapshot = "monday",
				   .tag = "before the upgrade",
				   .parent = "20261119-084301-00000001",
				   .size = UINT64_C(5) << 30,
				   .sector = 4096,
				   .created_ns = 17,
				   .snapshot_ns = 16,
				   .blocks_changed = 12,
				   .blocks_sent = 11,
				   .bytes_sent = 10,
				   .duration_ns = 9};

	b.blocks_total = b.size / 4096;
	memset(b.volume_uuid.b, 1, 16);
	memset(b.snapshot_uuid.b, 2, 16);
	digest_of(3, &b.root);
	return b;
}

/* Makes a changed header right again. */
static void header_sum(uint8_t *obj)
{
	vs_put_le64(obj + 120, XXH64(obj, 120, 0));
}

static void config_round_trip(void **state)
{
	struct bk_config c = sample_config(), d;
	uint8_t obj[BK_CONFIG_SIZE];

	(void)state;
	memset(&d, 0, sizeof(d));
	bk_config_encode(&c, obj);
	assert_int_equal(bk_config_decode(obj, sizeof(obj), &d, "config", &err), 0);
	assert_memory_equal(&c, &d, sizeof(c));
}

static void later_versions_and_features(void **state)
{
	struct bk_config c = sample_config(), d;
	uint8_t obj[BK_CONFIG_SIZE];

	(void)state;
	bk_config_encode(&c, obj);
	vs_put_le16(obj + 8, BK_FORMAT_VERSION + 1);
	header_sum(obj);
	assert_int_equal(bk_config_decode(obj, sizeof(obj), &d, "config", &err), VS_E_VERSION);
	assert_non_null(strstr(err.text, "config"));
	bk_config_encode(&c, obj);
	obj[11] = 1;
	header_sum(obj);
	assert_int_equal(bk_config_decode(obj, sizeof(obj), &d, "config", &err), VS_E_FEATURE);
	c.incompat = 1;
	bk_config_encode(&c, obj);
	assert_int_equal(bk_config_decode(obj, sizeof(obj), &d, "config", &err), VS_E_FEATURE);
	c.incompat = 0;
	c.ro_compat = 1u << 9;
	bk_config_encode(&c, obj);
	assert_int_equal(bk_config_decode(obj, sizeof(obj), &d, "config", &err), 0);
	assert_int_equal(d.ro_compat, 1u << 9);
	c.frame_raw = 100000;
	bk_config_encode(&c, obj);
	assert_int_equal(bk_config_decode(obj, sizeof(obj), &d, "config", &err), VS_E_CORRUPT);
	/* An object of another type under this name. */
	bk_header_encode(obj, BK_OBJ_INDEX, sizeof(obj) - BK_HEADER_SIZE);
	assert_int_equal(bk_config_decode(obj, sizeof(obj), &d, "config", &err), VS_E_CORRUPT);
}

static void descriptor_round_trip(void **state)
{
	struct bk_backup_info b = sample_backup(), d;
	uint8_t obj[BK_BACKUP_SIZE];

	(void)state;
	bk_backup_encode(&b, obj);
	assert_int_equal(bk_backup_decode(obj, sizeof(obj), &d, "b", &err), 0);
	assert_string_equal(b.id, d.id);
	assert_string_equal(b.volume, d.volume);
	assert_string_equal(b.snapshot, d.snapshot);
	assert_string_equal(b.tag, d.tag);
	assert_string_equal(b.parent, d.parent);
	assert_true(vs_uuid_equal(&b.volume_uuid, &d.volume_uuid));
	assert_true(vs_uuid_equal(&b.snapshot_uuid, &d.snapshot_uuid));
	assert_true(dd_digest_equal(&b.root, &d.root));
	assert_int_equal(b.size, d.size);
	assert_int_equal(b.sector, d.sector);
	assert_int_equal(b.created_ns, d.created_ns);
	assert_int_equal(b.snapshot_ns, d.snapshot_ns);
	assert_int_equal(b.blocks_total, d.blocks_total);
	assert_int_equal(b.blocks_changed, d.blocks_changed);
	assert_int_equal(b.blocks_sent, d.blocks_sent);
	assert_int_equal(b.bytes_sent, d.bytes_sent);
	assert_int_equal(b.duration_ns, d.duration_ns);
}

static void descriptor_refuses(struct bk_backup_info b)
{
	uint8_t obj[BK_BACKUP_SIZE];
	struct bk_backup_info d;

	bk_backup_encode(&b, obj);
	assert_int_equal(bk_backup_decode(obj, sizeof(obj), &d, "b", &err), VS_E_CORRUPT);
}

static void descriptor_fields_are_checked(void **state)
{
	struct bk_backup_info b;

	(void)state;
	b = sample_backup();
	(void)snprintf(b.id, sizeof(b.id), "%s", "../config");
	descriptor_refuses(b);
	b = sample_backup();
	(void)snprintf(b.tag, sizeof(b.tag), "%s", "two\nlines");
	descriptor_refuses(b);
	b = sample_backup();
	b.size += 512;
	descriptor_refuses(b);
	b = sample_backup();
	b.size = b.blocks_total = 0;
	descriptor_refuses(b);
	b = sample_backup();
	b.size = UINT64_C(1) << 48;
	b.blocks_total = b.size / 4096;
	descriptor_refuses(b);
	b = sample_backup();
	b.blocks_total--;
	descriptor_refuses(b);
	b = sample_backup();
	b.sector = 520;
	descriptor_refuses(b);
}

static void levels(void **state)
{
	(void)state;
	assert_int_equal(bk_levels(1), 1);
	assert_int_equal(bk_levels(512), 1);
	assert_int_equal(bk_levels(513), 2);
	assert_int_equal(bk_levels(512u * 512), 2);
	assert_int_equal(bk_levels(512u * 512 + 1), 3);
	assert_int_equal(bk_levels(UINT64_C(1) << 27), 3);
	assert_int_equal(bk_levels((UINT64_C(1) << 27) + 1), 4);
	assert_int_equal(bk_levels(UINT64_C(1) << 35), 4);
}

/* Two packs with a frame of 4 blocks and one of 2 pages. */
static uint8_t *sample_index(struct bk_index_layout *l)
{
	struct bk_index_pack packs[2] = {{.size = 9000, .kind = BK_KIND_BLOCK},
					 {.size = 70000, .kind = BK_KIND_PAGE}};
	const struct bk_frame frames[2] = {
	    {.pack = 0, .offset = 128, .stored = 5000, .raw = 16384, .coding = BK_CODING_ZSTD},
	    {.pack = 1, .offset = 300, .stored = 32768, .raw = 32768, .coding = BK_CODING_PLAIN}};
	struct bk_index_entry e[6] = {0};
	uint8_t *obj;

	digest_of(1, &packs[0].name);
	digest_of(2, &packs[1].name);
	for (unsigned i = 0; i < 6; i++) {
		e[i].digest.b[0] = (uint8_t)(i * 7 + 1);
		e[i].frame = e[i].pack = i >= 4;
		e[i].pos = (uint8_t)(i < 4 ? i : i - 4);
		e[i].kind = i < 4 ? BK_KIND_BLOCK : BK_KIND_PAGE;
	}
	bk_index_layout(2, 2, 6, l);
	obj = malloc(l->size);
	assert_non_null(obj);
	bk_index_encode(obj, l, packs, frames, e);
	return obj;
}

static void index_round_trip(void **state)
{
	struct bk_index_layout l, m;
	uint8_t *obj = sample_index(&l);
	struct bk_index_entry e;
	struct bk_index_pack p;
	struct bk_frame f;

	(void)state;
	assert_int_equal(bk_index_decode(obj, l.size, &m, "index", &err), 0);
	assert_int_equal(m.size, l.size);
	assert_int_equal(m.packs_at, l.packs_at);
	assert_int_equal(m.frames_at, l.frames_at);
	assert_int_equal(m.entries_at, l.entries_at);
	assert_int_equal(m.entries, 6);
	bk_index_get_entry(obj + m.entries_at + 5 * BK_INDEX_ENTRY_SIZE, &e);
	assert_int_equal(e.digest.b[0], 36);
	assert_int_equal(e.frame, 1);
	assert_int_equal(e.pos, 1);
	assert_int_equal(e.kind, BK_KIND_PAGE);
	bk_index_get_pack(obj + m.packs_at + BK_INDEX_PACK_SIZE, &p);
	assert_int_equal(p.size, 70000);
	bk_frame_get(obj + m.frames_at, &f);
	assert_int_equal(f.offset, 128);
	assert_int_equal(f.stored, 5000);
	assert_int_equal(f.raw, 16384);
	assert_int_equal(f.coding, BK_CODING_ZSTD);
	free(obj);
}

/* Right checksums, wrong content: value at offset (from the object's start). */
static void index_refuses(uint64_t at, uint8_t value)
{
	struct bk_index_layout l, m;
	uint8_t *obj = sample_index(&l);

	assert_int_not_equal(obj[at], value);
	obj[at] = value;
	bk_header_encode(obj, BK_OBJ_INDEX, l.size - BK_HEADER_SIZE);
	assert_int_equal(bk_index_decode(obj, l.size, &m, "index", &err), VS_E_CORRUPT);
	free(obj);
}

static void index_fields_are_checked(void **state)
{
	struct bk_index_layout l;
	uint8_t *obj = sample_index(&l);

	(void)state;
	free(obj);
	index_refuses(BK_HEADER_SIZE, 3);		/* more packs than there are */
	index_refuses(BK_HEADER_SIZE + 11, 0xff);	/* entries beyond the end */
	index_refuses(l.packs_at + 40, 9);		/* kind */
	index_refuses(l.packs_at + 38, 0xff);		/* pack size */
	index_refuses(l.frames_at + 12, 2);		/* frame's pack */
	index_refuses(l.frames_at + 6, 1);		/* frame beyond its pack */
	index_refuses(l.frames_at + 8, 1);		/* not whole blocks */
	index_refuses(l.frames_at + 11, 7);		/* coding */
	index_refuses(l.entries_at + 32, 9);		/* frame */
	index_refuses(l.entries_at + 36, 1);		/* the frame is of another pack */
	index_refuses(l.entries_at + 38, 4);		/* item beyond the frame */
	index_refuses(l.entries_at + 39, BK_KIND_PAGE); /* kind */
	index_refuses(l.entries_at, 200);		/* order */
}

static uint8_t *sample_pack(uint64_t *size)
{
	struct bk_frame f[2] = {{.raw = 8192, .coding = BK_CODING_ZSTD}, {.raw = 4096}};
	struct dd_digest d[3];
	uint8_t raw[12288];
	uint64_t at = BK_HEADER_SIZE;
	uint8_t *obj = malloc(BK_HEADER_SIZE + 20000);

	assert_non_null(obj);
	for (unsigned i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)(i / 100);
	for (unsigned i = 0; i < 3; i++)
		digest_of(i, &d[i]);
	f[0].offset = (uint32_t)at;
	f[0].stored = (uint32_t)ZSTD_compress(obj + at, 9000, raw, 8192, 1);
	at += f[0].stored;
	f[1].offset = (uint32_t)at;
	f[1].stored = 4096;
	memcpy(obj + at, raw + 8192, 4096);
	at += 4096;
	bk_pack_finish(obj, at, BK_KIND_BLOCK, f, 2, d, 3);
	*size = at + bk_pack_tail_size(2, 3);
	return obj;
}

static void pack_round_trip(void **state)
{
	uint64_t size;
	uint8_t *obj = sample_pack(&size), raw[8192];
	ZSTD_DCtx *ctx = ZSTD_createDCtx();
	struct dd_digest d;
	struct bk_pack p;
	struct bk_frame f;

	(void)state;
	assert_int_equal(bk_pack_decode(obj, size, &p, "pack", &err), 0);
	assert_int_equal(p.kind, BK_KIND_BLOCK);
	assert_int_equal(p.frames, 2);
	assert_int_equal(p.items, 3);
	digest_of(2, &d);
	assert_memory_equal(p.digests + 64, d.b, 32);
	bk_pack_frame(&p, 0, &f);
	assert_int_equal(bk_frame_decode(ctx, &f, obj + f.offset, raw, "pack", &err), 0);
	for (unsigned i = 0; i < 8192; i++)
		assert_int_equal(raw[i], (uint8_t)(i / 100));
	bk_pack_frame(&p, 1, &f);
	assert_int_equal(bk_frame_decode(ctx, &f, obj + f.offset, raw, "pack", &err), 0);
	assert_int_equal(raw[4095], (uint8_t)(12287 / 100));
	f.raw = 8192; /* not as long as it claims */
	assert_int_equal(bk_frame_decode(ctx, &f, obj + f.offset, raw, "pack", &err), VS_E_CORRUPT);
	bk_pack_frame(&p, 0, &f);
	obj[f.offset + 1] ^= 0xff;
	assert_int_equal(bk_frame_decode(ctx, &f, obj + f.offset, raw, "packs/x", &err),
			 VS_E_CORRUPT);
	assert_non_null(strstr(err.text, "packs/x"));
	f.coding = 9;
	assert_int_equal(bk_frame_decode(ctx, &f, obj + f.offset, raw, "pack", &err), VS_E_FEATURE);
	ZSTD_freeDCtx(ctx);
	free(obj);
}

static struct bk_lock_info sample_lock(void)
{
	return (struct bk_lock_info){.exclusive = true,
				     .pid = 4711,
				     .created_ns = 5,
				     .refreshed_ns = 6,
				     .process_start = 7,
				     .host = "node-a",
				     .where = "f4c5 pid:[4026531836]"};
}

static void lock_round_trip(void **state)
{
	struct bk_lock_info l = sample_lock(), m;
	uint8_t obj[BK_LOCK_SIZE];

	(void)state;
	bk_lock_encode(&l, obj);
	assert_int_equal(bk_lock_decode(obj, sizeof(obj), &m, "lock", &err), 0);
	assert_true(m.exclusive);
	assert_int_equal(m.pid, 4711);
	assert_int_equal(m.created_ns, 5);
	assert_int_equal(m.refreshed_ns, 6);
	assert_int_equal(m.process_start, 7);
	assert_string_equal(m.host, l.host);
	assert_string_equal(m.where, l.where);
	(void)snprintf(l.host, sizeof(l.host), "%s", "two\nlines");
	bk_lock_encode(&l, obj);
	assert_int_equal(bk_lock_decode(obj, sizeof(obj), &m, "lock", &err), VS_E_CORRUPT);
}

typedef int decode_fn(const uint8_t *obj, uint64_t size);

static int decode_config(const uint8_t *obj, uint64_t size)
{
	struct bk_config c;

	return bk_config_decode(obj, size, &c, "x", NULL);
}

static int decode_backup(const uint8_t *obj, uint64_t size)
{
	struct bk_backup_info b;

	return bk_backup_decode(obj, size, &b, "x", NULL);
}

static int decode_lock(const uint8_t *obj, uint64_t size)
{
	struct bk_lock_info l;

	return bk_lock_decode(obj, size, &l, "x", NULL);
}

static int decode_index(const uint8_t *obj, uint64_t size)
{
	struct bk_index_layout l;

	return bk_index_decode(obj, size, &l, "x", NULL);
}

static int decode_pack(const uint8_t *obj, uint64_t size)
{
	struct bk_pack p;

	return bk_pack_decode(obj, size, &p, "x", NULL);
}

/* Every truncation, and every flipped bit outside [from, to), is refused. */
static void damage(decode_fn *decode, const uint8_t *obj, uint64_t size, uint64_t from, uint64_t to)
{
	uint8_t *copy = malloc(size);

	assert_non_null(copy);
	assert_int_equal(decode(obj, size), 0);
	for (uint64_t n = 0; n < size; n++) {
		memcpy(copy, obj, n);
		assert_int_equal(decode(copy, n), VS_E_CORRUPT);
	}
	memcpy(copy, obj, size);
	for (uint64_t i = 0; i < size * 8; i++) {
		if (i / 8 >= from && i / 8 < to)
			continue;
		copy[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(decode(copy, size), VS_E_CORRUPT);
		copy[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	free(copy);
}

static void damaged_objects(void **state)
{
	uint8_t config[BK_CONFIG_SIZE], backup[BK_BACKUP_SIZE], lock[BK_LOCK_SIZE], *obj;
	struct bk_lock_info k = sample_lock();
	struct bk_backup_info b = sample_backup();
	struct bk_config c = sample_config();
	struct bk_index_layout l;
	uint64_t size, tail;

	(void)state;
	bk_config_encode(&c, config);
	damage(decode_config, config, sizeof(config), 0, 0);
	bk_backup_encode(&b, backup);
	damage(decode_backup, backup, sizeof(backup), 0, 0);
	bk_lock_encode(&k, lock);
	damage(decode_lock, lock, sizeof(lock), 0, 0);
	obj = sample_index(&l);
	damage(decode_index, obj, l.size, 0, 0);
	free(obj);
	obj = sample_pack(&size);
	tail = bk_pack_tail_size(2, 3);
	damage(decode_pack, obj, size, BK_HEADER_SIZE, size - tail); /* frames: by digest */
	free(obj);
}

static void names(void **state)
{
	char name[BK_NAME_MAX];
	struct dd_digest d, e;

	(void)state;
	digest_of(7, &d);
	bk_pack_name(&d, name);
	assert_int_equal(bk_pack_name_parse(name, &e), 0);
	assert_true(dd_digest_equal(&d, &e));
	name[6] = name[6] == '0' ? '1' : '0'; /* the folder does not fit the name */
	assert_int_not_equal(bk_pack_name_parse(name, &e), 0);
	assert_int_not_equal(bk_pack_name_parse("packs/ab/abcd", &e), 0);
	assert_int_not_equal(bk_pack_name_parse("packs/", &e), 0);
	bk_index_name(&d, name);
	assert_int_equal(bk_index_name_parse(name, &e), 0);
	assert_true(dd_digest_equal(&d, &e));
	assert_int_not_equal(bk_index_name_parse("index/../config", &e), 0);
	assert_int_not_equal(bk_index_name_parse("backups/x", &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(config_round_trip),
	    cmocka_unit_test(later_versions_and_features),
	    cmocka_unit_test(descriptor_round_trip),
	    cmocka_unit_test(descriptor_fields_are_checked),
	    cmocka_unit_test(levels),
	    cmocka_unit_test(index_round_trip),
	    cmocka_unit_test(index_fields_are_checked),
	    cmocka_unit_test(pack_round_trip),
	    cmocka_unit_test(lock_round_trip),
	    cmocka_unit_test(damaged_objects),
	    cmocka_unit_test(names),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
