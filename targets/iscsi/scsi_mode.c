/* MODE SENSE and MODE SELECT (SPC-4, 6.8 to 6.11). */
#include "targets/iscsi/scsi_mode.h"
#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#define DBD 0x08
#define LLBAA 0x10
#define PAGE_FORMAT 0x10
#define SAVE_PAGES 0x01
#define SPF 0x40
#define ALL_PAGES 0x3f
#define ALL_SUBPAGES 0xff

/* Whether MODE SENSE for this code and subpage wants the page (SPC-4, table 156). */
static bool wanted(const struct scsi_mode_page *p, uint8_t code, uint8_t sub)
{
	return (code == ALL_PAGES || code == p->code) && (sub == ALL_SUBPAGES || sub == p->sub);
}

static size_t put_pages(const struct iscsi_lu *lu, uint8_t code, uint8_t sub,
			enum scsi_page_control pc, uint8_t *b)
{
	size_t len = 0;

	for (size_t i = 0; i < scsi_mode_page_count; i++)
		if (wanted(&scsi_mode_pages[i], code, sub))
			len += scsi_mode_pages[i].make(lu, pc, b + len);
	return len;
}

static size_t put_block_descriptor(const struct iscsi_task *t, bool long_lba, uint8_t *b)
{
	uint64_t blocks = scsi_capacity(t);

	memset(b, 0, 16);
	if (long_lba) {
		vs_put_be64(b, blocks);
		vs_put_be32(b + 12, scsi_sector(t));
		return 16;
	}
	vs_put_be32(b, (uint32_t)VS_MIN(blocks, (uint64_t)UINT32_MAX));
	vs_put_be24(b + 5, scsi_sector(t));
	return 8;
}

enum scsi_result scsi_mode_sense(struct iscsi_task *t)
{
	bool six = t->cdb[0] == 0x1a, long_lba = !six && t->cdb[1] & LLBAA;
	uint8_t *b = t->own.buf, code = t->cdb[2] & 0x3f, subpage = t->cdb[3];
	uint8_t device = (scsi_lun_read_only(t->lun) ? 0x80 : 0) | 0x10; /* WP, DPOFUA */
	size_t header = six ? 4 : 8, desc = 0, len;
	enum scsi_page_control pc = t->cdb[2] >> 6;

	if (pc == SCSI_PC_SAVED)
		return scsi_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_SAVING_NOT_SUPPORTED);
	if (code == ALL_PAGES && subpage && subpage != ALL_SUBPAGES)
		return scsi_bad_cdb(t);
	if (!(t->cdb[1] & DBD))
		desc = put_block_descriptor(t, long_lba, b + header);
	len = put_pages(t->lun->lu, code, subpage, pc, b + header + desc);
	if (!len)
		return scsi_bad_cdb(t);
	len += header + desc;
	memset(b, 0, header);
	if (six) {
		b[0] = (uint8_t)(len - 1);
		b[2] = device;
		b[3] = (uint8_t)desc;
		return scsi_reply(t, len, t->cdb[4]);
	}
	vs_put_be16(b, (uint16_t)(len - 2));
	b[3] = device;
	b[4] = long_lba;
	vs_put_be16(b + 6, (uint16_t)desc);
	return scsi_reply(t, len, vs_get_be16(t->cdb + 7));
}

void scsi_mode_prepare_select(struct iscsi_task *t)
{
	if (!(t->cdb[1] & PAGE_FORMAT) || t->cdb[1] & SAVE_PAGES)
		(void)scsi_bad_cdb(t);
	else
		t->dlen = t->cdb[0] == 0x15 ? t->cdb[4] : vs_get_be16(t->cdb + 7);
}

static const struct scsi_mode_page *find_page(const uint8_t *page, size_t left)
{
	uint8_t sub;

	if (left < 4) /* no page is so short */
		return NULL;
	sub = page[0] & SPF ? page[1] : 0;
	for (size_t i = 0; i < scsi_mode_page_count; i++)
		if (scsi_mode_pages[i].code == (page[0] & 0x3f) && scsi_mode_pages[i].sub == sub &&
		    !(page[0] & SPF) == !scsi_mode_pages[i].sub)
			return &scsi_mode_pages[i];
	return NULL;
}

/* Whether the page asks only for what may change; its length, 0: no. */
static size_t page_acceptable(const struct iscsi_lu *lu, const uint8_t *page, size_t left)
{
	const struct scsi_mode_page *p = find_page(page, left);
	uint8_t now[SCSI_MODE_PAGE_MAX], may[SCSI_MODE_PAGE_MAX];
	size_t len, at = p && p->sub ? 4 : 2;

	if (!p)
		return 0;
	len = p->make(lu, SCSI_PC_CURRENT, now);
	p->make(lu, SCSI_PC_CHANGEABLE, may);
	if (len > left || memcmp(page + 1, now + 1, at - 1) != 0)
		return 0;
	for (size_t k = at; k < len; k++)
		if ((page[k] ^ now[k]) & ~may[k])
			return 0;
	return len;
}

/* All sessions but this one are told what changed. */
static size_t apply(struct iscsi_task *t, const uint8_t *page, size_t left)
{
	const struct scsi_mode_page *p = find_page(page, left);
	struct iscsi_lun *l = t->lun;

	if (p->apply && p->apply(l->lu, page))
		l->seen_modes = atomic_fetch_add(&l->lu->mode_changes, 1) + 1;
	return p->sub ? vs_get_be16(page + 2) + 4u : page[1] + 2u;
}

enum scsi_result scsi_mode_select(struct iscsi_task *t)
{
	const uint8_t *b = t->own.buf;
	size_t header = t->cdb[0] == 0x15 ? 4 : 8, desc, at, n;

	if (!t->dlen)
		return SCSI_DONE;
	if (t->dlen < header)
		return scsi_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_PARAMETER_LIST_LENGTH_ERROR);
	desc = header == 4 ? b[3] : vs_get_be16(b + 6);
	if (desc > t->dlen - header)
		return scsi_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_PARAMETER_LIST_LENGTH_ERROR);
	for (at = header + desc; at < t->dlen; at += n) {
		n = page_acceptable(t->lun->lu, b + at, t->dlen - at);
		if (!n)
			return scsi_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_INVALID_FIELD_IN_LIST);
	}
	for (at = header + desc; at < t->dlen; at += n)
		n = apply(t, b + at, t->dlen - at);
	return SCSI_DONE;
}
