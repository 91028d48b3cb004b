#include "targets/iscsi/pr_format.h"

#include "common/bytes.h"
#include "common/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ISID_HEX 12
#define SEPARATOR ",i,0x"
#define PORT_ID 0x45 /* iSCSI, initiator port with its ISID */
#define KEPT_VERSION 1
#define KEPT_HEADER 8 /* version, type, holder, number of registrants, flags, 3 zero bytes */
#define KEPT_FLAGS (ISCSI_KEPT_SANITIZING | ISCSI_KEPT_MAY_EXIT)
#define KEPT_EACH 12 /* key, tag, lengths of both names */

void iscsi_pr_port_name(char out[ISCSI_PR_PORT], const char *initiator, const uint8_t isid[6])
{
	char hex[ISID_HEX + 1];

	vs_format_hex(isid, 6, hex);
	snprintf(out, ISCSI_PR_PORT, "%.*s" SEPARATOR "%s", ISCSI_NAME_MAX - 1, initiator, hex);
}

size_t iscsi_pr_id_encode(const char *port, uint8_t out[ISCSI_PR_ID_MAX])
{
	size_t len = strlen(port), padded = VS_ALIGN_UP(len + 1, 4);

	memset(out, 0, 4 + padded);
	out[0] = PORT_ID;
	vs_put_be16(out + 2, (uint16_t)padded);
	memcpy(out + 4, port, len);
	return 4 + padded;
}

size_t iscsi_pr_id_decode(const uint8_t *id, size_t len, char port[ISCSI_PR_PORT])
{
	char name[ISCSI_PR_PORT], *at;
	uint8_t isid[6];
	size_t n;

	if (len < 4 || id[0] != PORT_ID || id[1])
		return 0;
	n = vs_get_be16(id + 2);
	if (n % 4 || n > len - 4 || !memchr(id + 4, 0, n) ||
	    strlen((const char *)id + 4) >= sizeof(name))
		return 0;
	snprintf(name, sizeof(name), "%s", (const char *)id + 4);
	at = strstr(name, SEPARATOR);
	if (!at || strlen(at) != strlen(SEPARATOR) + ISID_HEX ||
	    vs_parse_hex(at + strlen(SEPARATOR), isid, sizeof(isid)) != 0)
		return 0;
	*at = '\0';
	if (!iscsi_name_ok(name))
		return 0;
	iscsi_pr_port_name(port, name, isid);
	return 4 + n;
}

size_t iscsi_pr_keep(const struct iscsi_pr *pr, uint8_t flags, uint8_t out[ISCSI_PR_KEPT_MAX])
{
	size_t len = KEPT_HEADER;

	memset(out, 0, KEPT_HEADER);
	out[0] = KEPT_VERSION;
	out[4] = flags;
	if (!pr)
		return len;
	out[1] = pr->type;
	out[2] = pr->holder < pr->n ? (uint8_t)pr->holder : 0;
	out[3] = (uint8_t)pr->n;
	for (unsigned i = 0; i < pr->n; i++) {
		const struct iscsi_pr_registrant *r = &pr->r[i];
		size_t port = strlen(r->nexus.port), target = strlen(r->nexus.target);

		vs_put_be64(out + len, r->key);
		vs_put_be16(out + len + 8, r->nexus.tag);
		out[len + 10] = (uint8_t)port;
		out[len + 11] = (uint8_t)target;
		memcpy(out + len + KEPT_EACH, r->nexus.port, port);
		memcpy(out + len + KEPT_EACH + port, r->nexus.target, target);
		len += KEPT_EACH + port + target;
	}
	return len;
}

/* Bytes of one registrant, 0: it is damaged. */
static size_t restore_one(struct iscsi_pr_registrant *r, const uint8_t *p, size_t left)
{
	size_t port, target;

	if (left < KEPT_EACH)
		return 0;
	port = p[10];
	target = p[11];
	if (port >= ISCSI_PR_PORT || target >= ISCSI_NAME_MAX || port + target > left - KEPT_EACH)
		return 0;
	r->key = vs_get_be64(p);
	r->nexus.tag = vs_get_be16(p + 8);
	memcpy(r->nexus.port, p + KEPT_EACH, port);
	memcpy(r->nexus.target, p + KEPT_EACH + port, target);
	return KEPT_EACH + port + target;
}

int iscsi_pr_restore(struct iscsi_pr *pr, uint8_t *flags, const uint8_t *kept, size_t len)
{
	struct iscsi_pr_registrant *r;
	size_t at = KEPT_HEADER, n;

	if (len && kept[0] != KEPT_VERSION)
		return VS_E_VERSION;
	if (len < KEPT_HEADER || kept[4] & ~KEPT_FLAGS)
		return VS_E_CORRUPT;
	if (!kept[3] && kept[4] && !kept[1] && len == KEPT_HEADER) {
		*flags = kept[4];
		return 0;
	}
	if (!kept[3] || kept[3] > ISCSI_PR_MAX || kept[2] >= kept[3] ||
	    (kept[1] && !iscsi_pr_type_ok(kept[1])))
		return VS_E_CORRUPT;
	r = calloc(ISCSI_PR_MAX, sizeof(*r));
	if (!r)
		return VS_E_NOMEM;
	for (unsigned i = 0; i < kept[3]; i++) {
		n = restore_one(&r[i], kept + at, len - at);
		if (!n || !r[i].key) {
			free(r);
			return VS_E_CORRUPT;
		}
		at += n;
	}
	if (at != len) {
		free(r);
		return VS_E_CORRUPT;
	}
	*flags = kept[4];
	*pr = (struct iscsi_pr){
	    .r = r, .n = kept[3], .type = kept[1], .holder = kept[2], .aptpl = true};
	return 0;
}
