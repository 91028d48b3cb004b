#include "blockstore/pool.h"
#include "blockstore/store_int.h"

#include "common/secret.h"
#include "common/text.h"

#include <stdlib.h>

#define UNIT_PAGES 15u
#define PROBE (1u << 20)

#define SEGMENTS_MIN 64u

/* The pages of an empty store's segment table: leaves first, then each inner level. */
struct table {
	uint32_t segments, seg_size;
	uint32_t leaves, pages;
	uint8_t height;
	uint32_t level_at[9]; /* first page of each level */
	uint32_t *seg[2], *off[2];
	struct bs_segent *ents;
	uint32_t next_seg;
};

int bs_init_holds_data(struct bs_device *dev, bool *data)
{
	uint8_t *buf = aligned_alloc(BS_PAGE, PROBE);
	uint64_t len = VS_MIN((uint64_t)PROBE, dev->size), at[2] = {0, dev->size - len};
	int rc = buf ? 0 : VS_E_NOMEM;

	*data = false;
	for (unsigned i = 0; i < 2 && rc == 0; i++) {
		rc = bs_device_sync(dev, BS_DEV_READ, at[i], buf, len);
		if (rc == 0)
			*data |= buf[0] || memcmp(buf, buf + 1, len - 1) != 0;
	}
	free(buf);
	return rc;
}

static void shape(struct table *t)
{
	uint32_t n = t->leaves = (uint32_t)VS_DIV_UP(t->segments, BS_SEGENTS_PER_PAGE);

	t->height = 1;
	t->pages = n;
	while (n > 1) {
		t->level_at[t->height++] = t->pages;
		n = (uint32_t)VS_DIV_UP(n, BS_PTRS_PER_PAGE);
		t->pages += n;
	}
}

/* Places for one copy of all pages; a unit is a header page and UNIT_PAGES pages. */
static int place(struct table *t, unsigned copy)
{
	uint32_t seg = t->next_seg++, off = 0, in_unit = UNIT_PAGES;

	for (uint32_t i = 0; i < t->pages; i++) {
		if (in_unit == UNIT_PAGES || off + BS_PAGE > t->seg_size) {
			if (off + 2 * BS_PAGE > t->seg_size) {
				seg = t->next_seg++;
				off = 0;
			}
			off += BS_PAGE;
			in_unit = 0;
		}
		if (seg >= t->segments)
			return VS_E_NOSPC;
		t->seg[copy][i] = seg;
		t->off[copy][i] = off;
		t->ents[seg].state = BS_SEG_META;
		t->ents[seg].live += BS_PAGE;
		off += BS_PAGE;
		in_unit++;
	}
	return 0;
}

static unsigned level_of(const struct table *t, uint32_t page)
{
	unsigned level = 0;

	while (level + 1u < t->height && page >= t->level_at[level + 1])
		level++;
	return level;
}

static void fill(const struct table *t, uint8_t *all, struct bs_ptr *ptrs)
{
	for (uint32_t i = 0; i < t->pages; i++) {
		uint8_t *page = all + (size_t)i * BS_PAGE;
		unsigned level = level_of(t, i);
		uint32_t index = i - t->level_at[level], below = level ? t->level_at[level - 1] : 0;
		uint32_t end = level ? t->level_at[level] : t->segments;
		uint32_t fan = level ? BS_PTRS_PER_PAGE : BS_SEGENTS_PER_PAGE;

		for (uint32_t k = 0; k < fan && below + index * fan + k < end; k++) {
			uint32_t child = below + index * fan + k;

			if (level)
				bs_ptr_put(page + k * BS_PTR_SIZE, &ptrs[child]);
			else
				bs_segent_put(page + k * BS_SEGENT_SIZE, &t->ents[child]);
		}
		ptrs[i] = (struct bs_ptr){.seg = {t->seg[0][i], t->seg[1][i]},
					  .off = {t->off[0][i], t->off[1][i]},
					  .check = bs_checksum(page, BS_PAGE)};
	}
}

/* Writes pages [first, end), which follow each other in one unit, behind their header. */
static int write_unit(struct bs_pool *pool, const struct table *t, uint64_t tag, unsigned copy,
		      const uint8_t *all, uint32_t first, uint32_t end, uint8_t *buf)
{
	struct bs_unit_head h = {.kind = BS_UNIT_META,
				 .seq = 1,
				 .head_len = BS_PAGE,
				 .payload_len = (end - first) * BS_PAGE,
				 .unit_len = (end - first + 1) * BS_PAGE,
				 .records = end - first,
				 .ahead = {BS_SEG_NONE, BS_SEG_NONE}};

	bs_unit_set_tag(buf, tag);
	for (uint32_t i = first; i < end; i++) {
		unsigned level = level_of(t, i);
		struct bs_rec r = {.type = BS_REC_PAGE,
				   .tree = BS_TREE_SEGMENT,
				   .level = (uint8_t)level,
				   .block = i - t->level_at[level]};

		h.records_len += bs_rec_put(buf + BS_UNIT_HEAD + h.records_len, &r);
		memcpy(buf + (size_t)(i - first + 1) * BS_PAGE, all + (size_t)i * BS_PAGE, BS_PAGE);
	}
	bs_unit_encode(buf, &h);
	return bs_device_sync(
	    &pool->dev, BS_DEV_WRITE,
	    bs_pool_offset(t->seg_size, t->seg[copy][first], t->off[copy][first] - BS_PAGE), buf,
	    h.unit_len);
}

static int write_pages(struct bs_pool *pool, const struct table *t, uint64_t tag, unsigned copy,
		       const uint8_t *all)
{
	uint8_t *buf = aligned_alloc(BS_PAGE, (UNIT_PAGES + 1) * BS_PAGE);
	int rc = buf ? 0 : VS_E_NOMEM;

	for (uint32_t i = 0, end; rc == 0 && i < t->pages; i = end) {
		for (end = i + 1; end < t->pages && t->seg[copy][end] == t->seg[copy][i] &&
				  t->off[copy][end] == t->off[copy][end - 1] + BS_PAGE;)
			end++;
		rc = write_unit(pool, t, tag, copy, all, i, end, buf);
	}
	free(buf);
	return rc;
}

static void super_done(void *arg, int status)
{
	*(int *)arg = status;
}

static int write_supers(struct bs_pool *pool, struct bs_super *sb)
{
	uint8_t *buf = aligned_alloc(BS_PAGE, BS_SUPER_SIZE);
	int rc = buf ? 0 : VS_E_NOMEM;

	if (rc == 0) {
		memset(buf, 0, BS_SUPER_SIZE);
		rc = bs_device_sync(&pool->dev, BS_DEV_WRITE, BS_OWNER_OFFSET, buf, BS_SUPER_SIZE);
	}
	for (unsigned slot = 0; slot < 2 && rc == 0; slot++) {
		sb->checkpoint = slot;
		rc = 1;
		bs_pool_super(pool, sb, super_done, &rc);
		while (rc == 1)
			if (bs_device_poll(&pool->dev) == 0 && rc == 1) {
				bs_device_kick(&pool->dev);
				pool->dev.ops->wait(&pool->dev);
			}
	}
	free(buf);
	return rc;
}

static int format(struct bs_pool *pool, struct bs_super *sb, struct table *t)
{
	struct bs_ptr *ptrs = calloc(t->pages, sizeof(*ptrs));
	uint8_t *all = aligned_alloc(BS_PAGE, (size_t)t->pages * BS_PAGE);
	uint64_t tag;
	int rc = ptrs && all ? 0 : VS_E_NOMEM;

	memcpy(&tag, sb->uuid.b, sizeof(tag));
	for (unsigned copy = 0; copy < 2 && rc == 0; copy++)
		rc = place(t, copy);
	if (rc == 0) {
		sb->log_seg = t->next_seg;
		for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
			sb->ahead[i] = t->next_seg + 1 + i;
		for (unsigned i = 0; i <= BS_LOG_AHEAD; i++)
			t->ents[t->next_seg + i].state = BS_SEG_LOG;
		memset(all, 0, (size_t)t->pages * BS_PAGE);
		fill(t, all, ptrs);
	}
	for (unsigned copy = 0; copy < 2 && rc == 0; copy++)
		rc = write_pages(pool, t, tag, copy, all);
	if (rc == 0)
		rc = bs_device_sync(&pool->dev, BS_DEV_FLUSH, 0, NULL, 0);
	if (rc == 0) {
		sb->roots[BS_TREE_SEGMENT] = (struct bs_tree_root){
		    .ptr = ptrs[t->pages - 1], .height = t->height, .leaves = t->leaves};
		rc = write_supers(pool, sb);
	}
	free(ptrs);
	free(all);
	return rc;
}

/* Segments that a device holds. */
static uint64_t room(uint64_t size, uint64_t z)
{
	return size > BS_HEAD_AREA + BS_TAIL_AREA ? (size - BS_HEAD_AREA - BS_TAIL_AREA) / z : 0;
}

/* Mirrors are one group, as large as the smallest; others a group each. */
static int lay_out(struct bs_device *const *devs, unsigned n, bool mirror, uint64_t z,
		   struct bs_devtab *t, uint64_t *segments, struct vs_error *err)
{
	*t = (struct bs_devtab){.generation = 1};
	*segments = 0;
	for (unsigned i = 0; i < n; i++) {
		struct bs_devent *d = &t->dev[t->ndevs++];
		uint64_t count = room(devs[i]->size, z);

		*d = (struct bs_devent){.size = devs[i]->size,
					.group = (uint16_t)(mirror ? 0 : i),
					.member = (uint8_t)(mirror ? i : 0),
					.state = BS_MEMBER_SYNC};
		if (vs_uuid_new(&d->uuid))
			return vs_fail(err, VS_E_IO, "cannot get random bytes");
		if (mirror && i) {
			*segments = VS_MIN(*segments, count);
			t->range[0].count = (uint32_t)*segments;
			continue;
		}
		if (count == 0 || count >= BS_SEG_NONE - *segments)
			return vs_fail(err, VS_E_INVAL,
				       "%s does not fit into a store of such segments: use another "
				       "--segment",
				       devs[i]->name);
		t->range[t->nranges++] = (struct bs_range){
		    .first = (uint32_t)*segments, .count = (uint32_t)count, .group = d->group};
		*segments += count;
	}
	if (n == 1)
		t->ndevs = t->nranges = 0;
	return 0;
}

static int check_options(const struct bs_init_options *o, unsigned ndevs, struct vs_error *err)
{
	uint64_t z = o->segment_size;

	if (z && (z < BS_SEGMENT_MIN || z > BS_SEGMENT_MAX || (z & (z - 1))))
		return vs_fail(err, VS_E_INVAL,
			       "segment size must be a power of two from 256K to 16M");
	if (o->mirror && (ndevs < 2 || ndevs > BS_POOL_MEMBERS))
		return vs_fail(err, VS_E_INVAL, "a mirror has two to %u devices", BS_POOL_MEMBERS);
	if (ndevs > BS_POOL_DEVICES)
		return vs_fail(err, VS_E_LIMIT, "a store has at most %u devices", BS_POOL_DEVICES);
	return 0;
}

static int prepare(struct bs_super *sb, const struct bs_init_options *o,
		   struct bs_device *const *devs, unsigned ndevs, struct vs_error *err)
{
	uint64_t z = o->segment_size ? o->segment_size : UINT64_C(8) << 20;
	struct bs_devtab tab;
	uint64_t n;
	int rc = check_options(o, ndevs, err);

	if (rc == 0)
		rc = lay_out(devs, ndevs, o->mirror, z, &tab, &n, err);
	if (rc)
		return rc;
	if (n < SEGMENTS_MIN)
		return vs_fail(err, VS_E_INVAL,
			       "the device holds %llu segments, a store needs %u: use a larger "
			       "device or a smaller --segment",
			       (unsigned long long)n, SEGMENTS_MIN);
	*sb = (struct bs_super){.version = BS_FORMAT_VERSION,
				.device_size = devs[0]->size,
				.segment_size = (uint32_t)z,
				.segments = (uint32_t)n,
				.compression = (uint8_t)o->compression,
				.next_seq = 1,
				.era = 1,
				.next_volume = 1,
				.clean = true,
				.tab = tab};
	for (unsigned i = 0; i < BS_TREES; i++)
		sb->roots[i].ptr.seg[0] = sb->roots[i].ptr.seg[1] = BS_SEG_NONE;
	sb->written = vs_unix_ns();
	if (vs_uuid_new(&sb->uuid) || vs_random(&sb->epoch, sizeof(sb->epoch)))
		return vs_fail(err, VS_E_IO, "cannot get random bytes");
	return 0;
}

static int refuse_data(struct bs_device *const *devs, unsigned ndevs, bool force,
		       struct vs_error *err)
{
	for (unsigned i = 0; i < ndevs; i++) {
		bool data = false;
		int rc = bs_init_holds_data(devs[i], &data);

		if (rc)
			return vs_fail(err, rc, "cannot read %s: %s", devs[i]->name,
				       vs_err_text(rc));
		if (data && !force)
			return vs_fail(err, VS_E_EXIST,
				       "%s holds data: add --force to overwrite it", devs[i]->name);
	}
	return 0;
}

static int alloc_table(struct table *t)
{
	t->ents = calloc(t->segments, sizeof(*t->ents));
	for (unsigned i = 0; i < 2; i++) {
		t->seg[i] = calloc(t->pages, sizeof(uint32_t));
		t->off[i] = calloc(t->pages, sizeof(uint32_t));
	}
	return t->ents && t->seg[0] && t->seg[1] && t->off[0] && t->off[1] ? 0 : VS_E_NOMEM;
}

static void free_table(struct table *t)
{
	free(t->ents);
	for (unsigned i = 0; i < 2; i++) {
		free(t->seg[i]);
		free(t->off[i]);
	}
}

int bs_store_init(struct bs_device *dev, const struct bs_init_options *opts, struct vs_error *err)
{
	return bs_store_init_all(&dev, 1, opts, err);
}

int bs_store_init_all(struct bs_device *const *devs, unsigned ndevs,
		      const struct bs_init_options *opts, struct vs_error *err)
{
	struct bs_device *sides[BS_POOL_DEVICES] = {0};
	struct bs_pool *pool = NULL;
	struct table t = {0};
	struct bs_super sb;
	int rc = prepare(&sb, opts, devs, ndevs, err);

	if (rc == 0)
		rc = refuse_data(devs, ndevs, opts->force, err);
	if (rc)
		return rc;
	memcpy(sides, devs, ndevs * sizeof(struct bs_device *));
	t.segments = sb.segments;
	t.seg_size = sb.segment_size;
	shape(&t);
	rc = alloc_table(&t);
	if (rc == 0)
		rc = bs_pool_new(&sb.tab, sides, sb.segment_size, &pool);
	for (uint32_t i = 0; rc == 0 && i < t.segments; i++)
		bs_pool_place(pool, i, &t.ents[i]);
	if (rc == 0)
		rc = format(pool, &sb, &t);
	bs_pool_free(pool);
	free_table(&t);
	return rc ? vs_fail(err, rc, "cannot format %s: %s", devs[0]->name, vs_err_text(rc)) : 0;
}
