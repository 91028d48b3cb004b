/* LOG SENSE (SPC-4, 6.6). Counters are not kept here, so there is nothing to select or reset. */
#include "targets/iscsi/scsi.h"
#include "targets/iscsi/threshold.h"

#include "common/bytes.h"

#define PC_CUMULATIVE 0x40 /* current values; the others would be limits of counters */
#define SUPPORTED 0x00
#define ALL_SUBPAGES 0xff
#define LIST 0x03 /* format and linking: a list parameter, in binary */

static size_t put_parameter(uint8_t *b, uint16_t code, size_t len)
{
	memset(b, 0, 4 + len);
	vs_put_be16(b, code);
	b[2] = LIST;
	b[3] = (uint8_t)len;
	return 4 + len;
}

static size_t page_supported(const struct iscsi_task *t, uint8_t *b);
static size_t page_supported_subpages(const struct iscsi_task *t, uint8_t *b);

/* Logical Block Provisioning (SBC-3, 6.4.5): what all units of the store share. */
static size_t page_provisioning(const struct iscsi_task *t, uint8_t *b)
{
	const struct iscsi_server *srv = t->conn->srv;
	const uint32_t counts[] = {iscsi_threshold_available(srv), iscsi_threshold_used(srv)};
	size_t len = 0;

	for (size_t i = 0; i < VS_ARRAY_LEN(counts); i++) {
		uint8_t *p = b + len;

		len += put_parameter(p, (uint16_t)(1 + i), 8);
		vs_put_be32(p + 4, counts[i]);
		p[8] = 0x02; /* SCOPE 10b: not dedicated to this unit */
	}
	return len;
}

/* Informational Exceptions (SPC-4, 7.3.6): none, and no thermometer. */
static size_t page_exceptions(const struct iscsi_task *t, uint8_t *b)
{
	size_t len = put_parameter(b, 0, 4);

	(void)t;
	b[6] = 0xff;
	return len;
}

static const struct {
	uint8_t code, sub;
	size_t (*make)(const struct iscsi_task *t, uint8_t *b); /* what follows the header */
} pages[] = {
    {SUPPORTED, 0, page_supported},
    {SUPPORTED, ALL_SUBPAGES, page_supported_subpages},
    {0x0c, 0, page_provisioning},
    {0x2f, 0, page_exceptions},
};

static size_t page_supported(const struct iscsi_task *t, uint8_t *b)
{
	size_t n = 0;

	(void)t;
	for (size_t i = 0; i < VS_ARRAY_LEN(pages); i++)
		if (!pages[i].sub)
			b[n++] = pages[i].code;
	return n;
}

static size_t page_supported_subpages(const struct iscsi_task *t, uint8_t *b)
{
	(void)t;
	for (size_t i = 0; i < VS_ARRAY_LEN(pages); i++) {
		b[2 * i] = pages[i].code;
		b[2 * i + 1] = pages[i].sub;
	}
	return 2 * VS_ARRAY_LEN(pages);
}

enum scsi_result scsi_log_sense(struct iscsi_task *t)
{
	uint8_t code = t->cdb[2] & 0x3f, sub = t->cdb[3], *b = t->own.buf;

	if ((t->cdb[2] & 0xc0) != PC_CUMULATIVE || vs_get_be16(t->cdb + 5))
		return scsi_bad_cdb(t);
	for (size_t i = 0; i < VS_ARRAY_LEN(pages); i++) {
		size_t len;

		if (pages[i].code != code || pages[i].sub != sub)
			continue;
		len = pages[i].make(t, b + 4);
		b[0] = code | (sub ? 0x40 : 0); /* SPF */
		b[1] = sub;
		vs_put_be16(b + 2, (uint16_t)len);
		return scsi_reply(t, 4 + len, vs_get_be16(t->cdb + 7));
	}
	return scsi_bad_cdb(t);
}
