/*
 * Target ports: each portal group of the target is one, and all are one target port group, active
 * and optimized: the same engine serves them all (SPC-4, 5.15). Nobody can change that: TPGS says
 * implicit, SET TARGET PORT GROUPS is an operation code that is not known.
 */
#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#define GROUP 1
#define AO_SUP 0x01

/* Tags of the ports by which the session's target is reached, each once; how many. */
static unsigned port_tags(const struct iscsi_task *t, uint16_t tags[ISCSI_PORTALS])
{
	const struct iscsi_server *srv = t->conn->srv;
	unsigned n = 0;

	for (size_t i = 0; i < srv->nportals; i++) {
		uint16_t tag = srv->portals[i].tag;
		unsigned k = 0;

		while (k < n && tags[k] != tag)
			k++;
		if (k == n && (!t->map->portal_group || t->map->portal_group == tag))
			tags[n++] = tag;
	}
	return n;
}

uint16_t scsi_ports_group(void)
{
	return GROUP;
}

enum scsi_result scsi_ports_report(struct iscsi_task *t)
{
	uint8_t format = t->cdb[1] >> 5, *b = t->own.buf;
	uint16_t tags[ISCSI_PORTALS];
	unsigned n = port_tags(t, tags);
	size_t len = format ? 8 : 4;

	if (format > 1)
		return scsi_bad_cdb(t);
	memset(b, 0, 16 + 4 * (size_t)n);
	if (format)
		b[4] = 0x10; /* extended header; no transitions */
	b[len + 1] = AO_SUP;
	vs_put_be16(b + len + 2, GROUP);
	b[len + 7] = (uint8_t)n;
	len += 8;
	for (unsigned i = 0; i < n; i++, len += 4)
		vs_put_be16(b + len + 2, tags[i]);
	vs_put_be32(b, (uint32_t)(len - 4));
	return scsi_reply(t, len, vs_get_be32(t->cdb + 6));
}
