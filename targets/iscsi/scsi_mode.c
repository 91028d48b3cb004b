#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#define DBD 0x08
#define LLBAA 0x10
#define PAGE_FORMAT 0x10
#define SAVE_PAGES 0x01
#define WCE 0x04
#define SWP 0x08

enum { PC_CURRENT, PC_CHANGEABLE, PC_DEFAULT, PC_SAVED };

static size_t page_caching(const struct iscsi_lu *lu, int pc, uint8_t *b)
{
	memset(b, 0, 20);
	b[0] = 0x08;
	b[1] = 18;
	if (pc != PC_CURRENT || atomic_load(&lu->write_back))
		b[2] = WCE;
	return 20;
}

static size_t page_control(const struct iscsi_lu *lu, int pc, uint8_t *b)
{
	memset(b, 0, 12);
	b[0] = 0x0a;
	b[1] = 10;
	if (pc == PC_CHANGEABLE || (pc == PC_CURRENT && atomic_load(&lu->swp)))
		b[4] = SWP;
	if (pc == PC_CHANGEABLE)
		return 12;
	b[2] = 0x20;		    /* TST 001b: a task set for each I_T nexus */
	b[3] = 0x10;		    /* unrestricted reordering */
	vs_put_be16(b + 8, 0xffff); /* busy timeout: unlimited */
	return 12;
}

static size_t page_exceptions(const struct iscsi_lu *lu, int pc, uint8_t *b)
{
	(void)lu;
	memset(b, 0, 12);
	b[0] = 0x1c;
	b[1] = 10;
	if (pc != PC_CHANGEABLE)
		b[2] = 0x08; /* DEXCPT */
	return 12;
}

static const struct {
	uint8_t code;
	size_t (*make)(const struct iscsi_lu *lu, int pc, uint8_t *b);
} pages[] = {
    {0x08, page_caching},
    {0x0a, page_control},
    {0x1c, page_exceptions},
};

static size_t put_pages(const struct iscsi_lu *lu, uint8_t code, int pc, uint8_t *b)
{
	size_t len = 0;

	for (size_t i = 0; i < VS_ARRAY_LEN(pages); i++)
		if (code == 0x3f || code == pages[i].code)
			len += pages[i].make(lu, pc, b + len);
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
	int pc = t->cdb[2] >> 6;

	if (pc == PC_SAVED)
		return scsi_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_SAVING_NOT_SUPPORTED);
	if (subpage && !(code == 0x3f && subpage == 0xff))
		return scsi_bad_cdb(t);
	if (!(t->cdb[1] & DBD))
		desc = put_block_descriptor(t, long_lba, b + header);
	len = put_pages(t->lun->lu, code, pc, b + header + desc);
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

/* Whether the page asks only for what may change; its length, 0: no. */
static size_t page_acceptable(const struct iscsi_lu *lu, const uint8_t *page, size_t left)
{
	uint8_t now[32], may[32];

	for (size_t i = 0; i < VS_ARRAY_LEN(pages); i++) {
		size_t len;

		if (left < 2 || (page[0] & 0x3f) != pages[i].code || page[0] & 0x40)
			continue;
		len = pages[i].make(lu, PC_CURRENT, now);
		pages[i].make(lu, PC_CHANGEABLE, may);
		if (page[1] != now[1] || len > left)
			return 0;
		for (size_t k = 2; k < len; k++)
			if ((page[k] ^ now[k]) & ~may[k])
				return 0;
		return len;
	}
	return 0;
}

static void apply(struct iscsi_task *t, const uint8_t *page)
{
	struct iscsi_lun *l = t->lun;
	bool changed = false, v;

	switch (page[0] & 0x3f) {
	case 0x08:
		v = page[2] & WCE;
		changed = atomic_exchange(&l->lu->write_back, v) != v;
		break;
	case 0x0a:
		v = page[4] & SWP;
		changed = atomic_exchange(&l->lu->swp, v) != v;
		break;
	default:
		break;
	}
	if (changed) /* all sessions but this one are told */
		l->seen_modes = atomic_fetch_add(&l->lu->mode_changes, 1) + 1;
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
	for (at = header + desc; at < t->dlen; at += (size_t)b[at + 1] + 2)
		apply(t, b + at);
	return SCSI_DONE;
}
