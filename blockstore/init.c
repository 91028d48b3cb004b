#include "blockstore/super_format.h"

#include "common/secret.h"
#include "common/text.h"

#include <stdlib.h>

#define UNIT_PAGES 15u
#define PROBE (1u << 20)

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

static int holds_data(struct bs_device *dev, bool *data)
{
	uint8_t *buf = aligned_alloc(BS_PAGE, PROBE);
	uint64_t len = VS_MIN((uint64_t)PROBE, dev->size), at[2] = {0, dev->size - len};
	int rc = buf ? 0 : VS_E_NOMEM;

	*data = false;
	for (unsigned i = 0; i < 2 && rc == 0; i++) {
		rc = bs_device_sync(dev, BS_DEV_READ, at[i], buf, len);
		for (uint64_t k = 0; rc == 0 && k < len; k++)
			*data |= buf[k] != 0;
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

static uint64_t where(const struct table *t, uint32_t seg, uint32_t off)
{
	return BS_HEAD_AREA + (uint64_t)seg * t->seg_size + off;
}

/* Writes pages [first, end), which follow each other in one unit, behind their header. */
static int write_unit(struct bs_device *dev, const struct table *t, uint64_t tag, unsigned copy,
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
	return bs_device_sync(dev, BS_DEV_WRITE,
			      where(t, t->seg[copy][first], t->off[copy][first] - BS_PAGE), buf,
			      h.unit_len);
}

static int write_pages(struct bs_device *dev, const struct table *t, uint64_t tag, unsigned copy,
		       const uint8_t *all)
{
	uint8_t *buf = aligned_alloc(BS_PAGE, (UNIT_PAGES + 1) * BS_PAGE);
	int rc = buf ? 0 : VS_E_NOMEM;

	for (uint32_t i = 0, end; rc == 0 && i < t->pages; i = end) {
		for (end = i + 1; end < t->pages && t->seg[copy][end] == t->seg[copy][i] &&
				  t->off[copy][end] == t->off[copy][end - 1] + BS_PAGE;)
			end++;
		rc = write_unit(dev, t, tag, copy, all, i, end, buf);
	}
	free(buf);
	return rc;
}

static int write_supers(struct bs_device *dev, struct bs_super *sb)
{
	uint8_t *buf = aligned_alloc(BS_PAGE, BS_SUPER_SIZE);
	int rc = buf ? 0 : VS_E_NOMEM;

	if (rc == 0) {
		memset(buf, 0, BS_SUPER_SIZE);
		rc = bs_device_sync(dev, BS_DEV_WRITE, BS_OWNER_OFFSET, buf, BS_SUPER_SIZE);
	}
	for (unsigned i = 0; i < 4 && rc == 0; i++) {
		sb->checkpoint = i & 1;
		bs_super_encode(buf, sb);
		rc = bs_device_sync(dev, BS_DEV_WRITE,
				    bs_super_offset(sb->device_size, i & 1, i >> 1), buf,
				    BS_SUPER_SIZE);
	}
	free(buf);
	return rc ? rc : bs_device_sync(dev, BS_DEV_FLUSH, 0, NULL, 0);
}

static int format(struct bs_device *dev, struct bs_super *sb, struct table *t)
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
		rc = write_pages(dev, t, tag, copy, all);
	if (rc == 0)
		rc = bs_device_sync(dev, BS_DEV_FLUSH, 0, NULL, 0);
	if (rc == 0) {
		sb->roots[BS_TREE_SEGMENT] = (struct bs_tree_root){
		    .ptr = ptrs[t->pages - 1], .height = t->height, .leaves = t->leaves};
		rc = write_supers(dev, sb);
	}
	free(ptrs);
	free(all);
	return rc;
}

static int prepare(struct bs_super *sb, const struct bs_init_options *o, uint64_t device_size,
		   struct vs_error *err)
{
	uint64_t z = o->segment_size ? o->segment_size : UINT64_C(8) << 20;
	uint64_t n;

	if (z < BS_SEGMENT_MIN || z > BS_SEGMENT_MAX || (z & (z - 1)))
		return vs_fail(err, VS_E_INVAL,
			       "segment size must be a power of two from 256K to 16M");
	n = device_size > BS_HEAD_AREA + BS_TAIL_AREA
		? (device_size - BS_HEAD_AREA - BS_TAIL_AREA) / z
		: 0;
	if (n < 64)
		return vs_fail(err, VS_E_INVAL,
			       "the device holds %llu segments, a store needs 64: use a larger "
			       "device or a smaller --segment",
			       (unsigned long long)n);
	if (n >= BS_SEG_NONE)
		return vs_fail(err, VS_E_TOOBIG,
			       "the device has too many segments: use a larger "
			       "--segment");
	*sb = (struct bs_super){.version = BS_FORMAT_VERSION,
				.device_size = device_size,
				.segment_size = (uint32_t)z,
				.segments = (uint32_t)n,
				.compression = (uint8_t)o->compression,
				.next_seq = 1,
				.era = 1,
				.next_volume = 1,
				.clean = true};
	for (unsigned i = 0; i < BS_TREES; i++)
		sb->roots[i].ptr.seg[0] = sb->roots[i].ptr.seg[1] = BS_SEG_NONE;
	sb->written = vs_unix_ns();
	if (vs_uuid_new(&sb->uuid) || vs_random(&sb->epoch, sizeof(sb->epoch)))
		return vs_fail(err, VS_E_IO, "cannot get random bytes");
	return 0;
}

int bs_store_init(struct bs_device *dev, const struct bs_init_options *opts, struct vs_error *err)
{
	struct table t = {0};
	struct bs_super sb;
	bool data = false;
	int rc = prepare(&sb, opts, dev->size, err);

	if (rc)
		return rc;
	rc = holds_data(dev, &data);
	if (rc)
		return vs_fail(err, rc, "cannot read %s: %s", dev->name, vs_err_text(rc));
	if (data && !opts->force)
		return vs_fail(err, VS_E_EXIST, "%s holds data: add --force to overwrite it",
			       dev->name);
	t.segments = sb.segments;
	t.seg_size = sb.segment_size;
	shape(&t);
	t.ents = calloc(t.segments, sizeof(*t.ents));
	for (unsigned i = 0; i < 2; i++) {
		t.seg[i] = calloc(t.pages, sizeof(uint32_t));
		t.off[i] = calloc(t.pages, sizeof(uint32_t));
	}
	rc = t.ents && t.seg[0] && t.seg[1] && t.off[0] && t.off[1] ? 0 : VS_E_NOMEM;
	for (uint32_t i = 0; rc == 0 && i < t.segments; i++)
		t.ents[i] = (struct bs_segent){.state = BS_SEG_FREE, .copies = 1, .slot = {i}};
	if (rc == 0)
		rc = format(dev, &sb, &t);
	free(t.ents);
	for (unsigned i = 0; i < 2; i++) {
		free(t.seg[i]);
		free(t.off[i]);
	}
	return rc ? vs_fail(err, rc, "cannot format %s: %s", dev->name, vs_err_text(rc)) : 0;
}
