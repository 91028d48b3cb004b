/*
 * iscsi://[USER@]HOST[:PORT][/IQN/LUN]: names of LUNs and portals of other arrays. Pure functions,
 * any thread. A secret has no place in a URL.
 */
#ifndef BS_LUN_URL_H
#define BS_LUN_URL_H

#include "blockstore/far_host.h"

#define BS_LUN_SCHEME "iscsi://"
#define BS_LUN_PORT 3260    /* RFC 7143 section 4.2.7.2 */
#define BS_LUN_NAME_MAX 223 /* bytes of an iSCSI name, RFC 7143 section 4.2.7.1 */
#define BS_LUN_MAX 16383    /* flat addressing, SAM-5 section 4.7.7.4 */
#define BS_LUN_URL_TEXT 800
#define BS_LUN_ADDR_TEXT BS_FAR_HOST_TEXT

struct bs_lun_url {
	char host[BS_FAR_HOST_MAX];
	char user[128]; /* "" : none said */
	uint16_t port;
	char target[BS_LUN_NAME_MAX + 1]; /* "" in the URL of a portal */
	uint32_t lun;
};

bool bs_lun_url_is(const char *text); /* begins like one */
int bs_lun_url_parse(const char *text, struct bs_lun_url *out, struct vs_error *err) vs_must_check;
int bs_lun_url_parse_portal(const char *text, struct bs_lun_url *out,
			    struct vs_error *err) vs_must_check;
/* "host:port", IPv6 in brackets; returns buf. */
const char *bs_lun_url_portal(const struct bs_lun_url *url, char buf[BS_LUN_ADDR_TEXT]);
/* Without the user; returns buf. */
const char *bs_lun_url_text(const struct bs_lun_url *url, char buf[BS_LUN_URL_TEXT]);

#endif
