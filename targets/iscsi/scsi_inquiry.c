#include "targets/iscsi/scsi.h"
#include "targets/iscsi/threshold.h"

#include "common/bytes.h"
#include "common/text.h"

#include <stdio.h>

#define VENDOR "VSTORE"
#define PRODUCT "VIRTUAL-DISK"
#define REVISION "1"
#define VPD_HEADER 4
#define UUID_HEX 32

void iscsi_naa_text(const struct vs_uuid *uuid, char out[ISCSI_NAA_TEXT])
{
	char hex[UUID_HEX + 1];

	/* a random UUID without its version: 60 bits, what NAA 3 (locally assigned) has room for */
	vs_format_hex(uuid->b, 8, hex);
	snprintf(out, ISCSI_NAA_TEXT, "naa.3%.12s%.3s", hex, hex + 13);
}

void scsi_inquiry_naa(const struct vs_uuid *uuid, uint8_t out[8])
{
	char text[ISCSI_NAA_TEXT];

	iscsi_naa_text(uuid, text);
	VS_ASSERT(vs_parse_hex(text + 4, out, 8) == 0);
}

static size_t standard(struct iscsi_task *t, uint8_t *b)
{
	static const uint16_t versions[] = {
	    0x00a0, /* SAM-5 */
	    0x0960, /* iSCSI */
	    0x0460, /* SPC-4 */
	    0x04c0, /* SBC-3 */
	};

	memset(b, 0, 96);
	b[0] = t->lun ? 0x00 : 0x7f;
	if (t->lun && t->lun->removable)
		b[1] = 0x80; /* RMB */
	b[2] = 0x06;	     /* SPC-4 */
	b[3] = 0x12;	     /* HISUP, response data format 2 */
	b[4] = 96 - 5;
	b[5] = 0x18; /* TPGS 01b: implicit asymmetric access; 3PC: third-party copies */
	b[7] = 0x02; /* CMDQUE */
	scsi_put_text(b + 8, 8, VENDOR);
	scsi_put_text(b + 16, 16, PRODUCT);
	scsi_put_text(b + 32, 4, REVISION);
	for (size_t i = 0; i < VS_ARRAY_LEN(versions); i++)
		vs_put_be16(b + 58 + 2 * i, versions[i]);
	return 96;
}

static size_t page_supported(struct iscsi_task *t, uint8_t *b);

static void serial(struct iscsi_task *t, char hex[UUID_HEX + 1])
{
	vs_format_hex(bs_volume_uuid(t->lun->vol)->b, 16, hex);
}

static size_t page_serial(struct iscsi_task *t, uint8_t *b)
{
	serial(t, (char *)b);
	return UUID_HEX;
}

static size_t put_designator(uint8_t *b, uint8_t code_set, uint8_t type, const void *data, size_t n)
{
	b[0] = code_set;
	b[1] = type;
	b[2] = 0;
	b[3] = (uint8_t)n;
	memcpy(b + 4, data, n);
	return n + 4;
}

/* A SCSI name string ends with a NUL and is padded to a multiple of 4 (SPC-4, 7.8.5.11). */
static size_t put_name(uint8_t *b, uint8_t association, const char *name)
{
	char text[ISCSI_NAME_MAX + 16] = {0};
	size_t n = VS_ALIGN_UP(strlen(name) + 1, 4);

	snprintf(text, sizeof(text), "%s", name);
	return put_designator(b, 0x53, 0x88 | association, text, n);
}

#define OF_PORT 0x10
#define OF_DEVICE 0x20

/* The unit by its NAA and T10 names; the port by number, group and name; the device by its name. */
static size_t page_identification(struct iscsi_task *t, uint8_t *b)
{
	uint16_t tag = t->conn->portal->tag;
	const char *target = t->conn->login.target;
	char t10[8 + UUID_HEX + 1], name[ISCSI_NAME_MAX + 12];
	uint8_t naa[8], number[4] = {0};
	size_t len;

	scsi_inquiry_naa(bs_volume_uuid(t->lun->vol), naa);
	scsi_put_text((uint8_t *)t10, 8, VENDOR);
	serial(t, t10 + 8);
	len = put_designator(b, 1, 3, naa, sizeof(naa));
	len += put_designator(b + len, 2, 1, t10, 8 + UUID_HEX);
	vs_put_be16(number + 2, tag);
	len += put_designator(b + len, 0x51, 0x94, number, sizeof(number));
	vs_put_be16(number + 2, scsi_ports_group());
	len += put_designator(b + len, 0x51, 0x95, number, sizeof(number));
	snprintf(name, sizeof(name), "%s,t,0x%04x", target, tag);
	len += put_name(b + len, OF_PORT, name);
	len += put_name(b + len, OF_DEVICE, target);
	return len;
}

static size_t page_extended(struct iscsi_task *t, uint8_t *b)
{
	(void)t;
	memset(b, 0, 60);
	b[1] = 0x07; /* HEADSUP, ORDSUP, SIMPSUP */
	b[2] = 0x01; /* V_SUP: there is a volatile cache */
	return 60;
}

static size_t page_copy(struct iscsi_task *t, uint8_t *b)
{
	return scsi_copy_put_page(b, scsi_sector(t));
}

static size_t page_limits(struct iscsi_task *t, uint8_t *b)
{
	uint32_t sector = scsi_sector(t), per_block = BS_BLOCK / sector;

	memset(b, 0, 60);
	b[0] = 0x01; /* WSNZ */
	b[1] = SCSI_MAX_COMPARE / sector > 255 ? 255 : SCSI_MAX_COMPARE / sector;
	vs_put_be16(b + 2, (uint16_t)per_block);
	vs_put_be32(b + 4, SCSI_MAX_TRANSFER / sector);
	vs_put_be32(b + 8, (1u << 20) / sector);
	vs_put_be32(b + 16, SCSI_MAX_UNMAP);
	vs_put_be32(b + 20, SCSI_MAX_UNMAP_DESCRIPTORS);
	vs_put_be32(b + 24, per_block);
	vs_put_be32(b + 28, 0x80000000u); /* UGAVALID, alignment 0 */
	vs_put_be64(b + 32, SCSI_MAX_SAME / sector);
	/* atomic writes (SBC-4, 6.6.4): how long, how aligned, in steps of what */
	vs_put_be32(b + 40, SCSI_MAX_ATOMIC / sector);
	vs_put_be32(b + 44, per_block);
	vs_put_be32(b + 48, per_block);
	return 60;
}

static size_t page_characteristics(struct iscsi_task *t, uint8_t *b)
{
	(void)t;
	memset(b, 0, 60);
	vs_put_be16(b, 1); /* does not rotate */
	b[3] = 0x40;	   /* WABEREQ 01b: what a block erase left reads as zeros */
	return 60;
}

static size_t page_provisioning(struct iscsi_task *t, uint8_t *b)
{
	memset(b, 0, 4);
	b[0] = (uint8_t)__builtin_ctz(ISCSI_THRESHOLD_UNIT / scsi_sector(t)); /* exponent */
	b[1] = 0xe4; /* LBPU, LBPWS, LBPWS10, LBPRZ */
	b[2] = 0x02; /* thin */
	return 4;
}

static const struct {
	uint8_t code;
	bool medium;					  /* needs the open volume */
	size_t (*make)(struct iscsi_task *t, uint8_t *b); /* what follows the header */
} pages[] = {
    {0x00, false, page_supported},
    {0x80, true, page_serial},
    {0x83, true, page_identification},
    {0x86, false, page_extended},
    {0x8f, true, page_copy},
    {0xb0, true, page_limits},
    {0xb1, false, page_characteristics},
    {0xb2, true, page_provisioning},
};

static size_t page_supported(struct iscsi_task *t, uint8_t *b)
{
	(void)t;
	for (size_t i = 0; i < VS_ARRAY_LEN(pages); i++)
		b[i] = pages[i].code;
	return VS_ARRAY_LEN(pages);
}

enum scsi_result scsi_inquiry_run(struct iscsi_task *t)
{
	uint8_t *b = t->own.buf, code = t->cdb[2];
	uint16_t allocation = vs_get_be16(t->cdb + 3);
	size_t len;

	if (!(t->cdb[1] & 1)) {
		if (code)
			return scsi_bad_cdb(t);
		return scsi_reply(t, standard(t, b), allocation);
	}
	for (size_t i = 0; i < VS_ARRAY_LEN(pages) && t->lun; i++) {
		if (pages[i].code != code || (pages[i].medium && !t->lun->vol))
			continue;
		len = pages[i].make(t, b + VPD_HEADER);
		b[0] = 0;
		b[1] = code;
		vs_put_be16(b + 2, (uint16_t)len);
		return scsi_reply(t, VPD_HEADER + len, allocation);
	}
	return scsi_bad_cdb(t);
}
