#include "targets/iscsi/scsi_mode.h"

#include "common/bytes.h"
#include "targets/iscsi/threshold.h"

#define SPF 0x40
#define WCE 0x04
#define D_SENSE 0x04
#define SWP 0x08
#define TAS 0x40
#define ENABLED 0x80

static size_t begin(uint8_t *b, uint8_t code, size_t len)
{
	memset(b, 0, len);
	b[0] = code;
	b[1] = (uint8_t)(len - 2);
	return len;
}

static size_t begin_sub(uint8_t *b, uint8_t code, uint8_t sub, size_t len)
{
	memset(b, 0, len);
	b[0] = SPF | code;
	b[1] = sub;
	vs_put_be16(b + 2, (uint16_t)(len - 4));
	return len;
}

/* Of a page's flag: what it is now, may change, is by default. */
static bool flag(enum scsi_page_control pc, bool now, bool by_default)
{
	return pc == SCSI_PC_CHANGEABLE || (pc == SCSI_PC_CURRENT ? now : by_default);
}

static bool set(atomic_bool *now, bool v)
{
	return atomic_exchange(now, v) != v;
}

/* Read-Write Error Recovery: the store does all it can by itself, and says so or fails. */
static size_t make_recovery(const struct iscsi_lu *lu, enum scsi_page_control pc, uint8_t *b)
{
	(void)lu;
	begin(b, 0x01, 12);
	if (pc != SCSI_PC_CHANGEABLE)
		b[2] = 0xc0; /* AWRE, ARRE */
	return 12;
}

static size_t make_caching(const struct iscsi_lu *lu, enum scsi_page_control pc, uint8_t *b)
{
	begin(b, 0x08, 20);
	b[2] = flag(pc, atomic_load(&lu->write_back), true) ? WCE : 0;
	return 20;
}

static bool apply_caching(struct iscsi_lu *lu, const uint8_t *page)
{
	return set(&lu->write_back, page[2] & WCE);
}

static size_t make_control(const struct iscsi_lu *lu, enum scsi_page_control pc, uint8_t *b)
{
	begin(b, 0x0a, 12);
	b[2] = flag(pc, atomic_load(&lu->d_sense), false) ? D_SENSE : 0;
	b[4] = flag(pc, atomic_load(&lu->swp), false) ? SWP : 0;
	b[5] = flag(pc, atomic_load(&lu->tas), false) ? TAS : 0;
	if (pc == SCSI_PC_CHANGEABLE)
		return 12;
	b[2] |= 0x20;		    /* TST 001b: a task set for each I_T nexus */
	b[3] = 0x10;		    /* unrestricted reordering */
	vs_put_be16(b + 8, 0xffff); /* busy timeout: unlimited */
	return 12;
}

static bool apply_control(struct iscsi_lu *lu, const uint8_t *page)
{
	bool changed = set(&lu->d_sense, page[2] & D_SENSE);

	changed |= set(&lu->swp, page[4] & SWP);
	return set(&lu->tas, page[5] & TAS) || changed;
}

static size_t make_control_extension(const struct iscsi_lu *lu, enum scsi_page_control pc,
				     uint8_t *b)
{
	(void)lu;
	(void)pc;
	return begin_sub(b, 0x0a, 0x01, 32);
}

/* There is nothing to report but thresholds, which have a page of their own. */
static size_t make_exceptions(const struct iscsi_lu *lu, enum scsi_page_control pc, uint8_t *b)
{
	(void)lu;
	begin(b, 0x1c, 12);
	if (pc != SCSI_PC_CHANGEABLE)
		b[2] = 0x08; /* DEXCPT */
	return 12;
}

#define THRESHOLDS_AT 16
#define THRESHOLD_LEN 8

/* Logical Block Provisioning (SBC-3, 6.5.6). */
static size_t make_provisioning(const struct iscsi_lu *lu, enum scsi_page_control pc, uint8_t *b)
{
	size_t len = begin_sub(b, 0x1c, 0x02, THRESHOLDS_AT + ISCSI_THRESHOLDS * THRESHOLD_LEN);

	for (unsigned i = 0; i < ISCSI_THRESHOLDS; i++) {
		struct iscsi_threshold now, first = iscsi_threshold_default(i);
		uint8_t *d = b + THRESHOLDS_AT + i * THRESHOLD_LEN;

		iscsi_threshold_get(lu, i, &now);
		if (pc == SCSI_PC_DEFAULT)
			now = first;
		d[0] = flag(pc, now.enabled, first.enabled) ? ENABLED : 0;
		vs_put_be32(d + 4, pc == SCSI_PC_CHANGEABLE ? UINT32_MAX : now.count);
		if (pc == SCSI_PC_CHANGEABLE)
			continue;
		d[0] |= 0x01; /* soft; THRESHOLD ARMING 001b: when the count falls */
		d[1] = 0x01;  /* available LBA mapping resources */
	}
	return len;
}

static bool apply_provisioning(struct iscsi_lu *lu, const uint8_t *page)
{
	bool changed = false;

	for (unsigned i = 0; i < ISCSI_THRESHOLDS; i++) {
		const uint8_t *d = page + THRESHOLDS_AT + i * THRESHOLD_LEN;
		const struct iscsi_threshold t = {.enabled = d[0] & ENABLED,
						  .count = vs_get_be32(d + 4)};

		changed |= iscsi_threshold_set(lu, i, &t);
	}
	return changed;
}

const struct scsi_mode_page scsi_mode_pages[] = {
    {0x01, 0x00, make_recovery, NULL},	       {0x08, 0x00, make_caching, apply_caching},
    {0x0a, 0x00, make_control, apply_control}, {0x0a, 0x01, make_control_extension, NULL},
    {0x1c, 0x00, make_exceptions, NULL},       {0x1c, 0x02, make_provisioning, apply_provisioning},
};
const size_t scsi_mode_page_count = VS_ARRAY_LEN(scsi_mode_pages);
