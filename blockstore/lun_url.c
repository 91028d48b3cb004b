#include "blockstore/lun_url.h"

#include "common/bytes.h"
#include "common/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define FORM "iscsi://[USER@]HOST[:PORT]/IQN/LUN"
#define PORTAL_FORM "iscsi://[USER@]HOST[:PORT]"

bool bs_lun_url_is(const char *text)
{
	return strncmp(text, BS_LUN_SCHEME, strlen(BS_LUN_SCHEME)) == 0;
}

/* RFC 7143 section 4.2.7.1; upper case is folded, as that section wants it compared. */
static bool take_target(struct bs_lun_url *u, const char *at, const char *end)
{
	if (at == end || !bs_far_take(u->target, sizeof(u->target), at, end))
		return false;
	for (char *p = u->target; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr(".-:", *p))
			return false;
		*p = (char)tolower((unsigned char)*p);
	}
	return strncmp(u->target, "iqn.", 4) == 0 || strncmp(u->target, "eui.", 4) == 0 ||
	       strncmp(u->target, "naa.", 4) == 0;
}

static int take_authority(struct bs_lun_url *u, const char *text, const char *at, const char *end,
			  const char *form, struct vs_error *err)
{
	const char *user_end = memrchr(at, '@', (size_t)(end - at)), *host = at;

	if (user_end) {
		if (memchr(at, ':', (size_t)(user_end - at)) ||
		    memchr(at, '%', (size_t)(user_end - at)))
			return vs_fail(err, VS_E_INVAL,
				       "a secret has no place in a URL: give it in a file");
		if (user_end == at || !bs_far_take(u->user, sizeof(u->user), at, user_end))
			return vs_fail(err, VS_E_INVAL, "'%s' has no user of 1 to %zu bytes", text,
				       sizeof(u->user) - 1);
		host = user_end + 1;
	}
	u->port = BS_LUN_PORT;
	if (!bs_far_host_parse(host, end, u->host, &u->port))
		return vs_fail(err, VS_E_INVAL, "'%s' is not of the form %s", text, form);
	return 0;
}

static int parse(const char *text, bool full, struct bs_lun_url *u, struct vs_error *err)
{
	const char *form = full ? FORM : PORTAL_FORM, *at, *slash, *lun;
	uint64_t number;
	int rc;

	memset(u, 0, sizeof(*u));
	if (!bs_lun_url_is(text))
		return vs_fail(err, VS_E_INVAL, "'%s' is not of the form %s", text, form);
	at = text + strlen(BS_LUN_SCHEME);
	slash = strchrnul(at, '/');
	rc = take_authority(u, text, at, slash, form, err);
	if (rc != 0)
		return rc;
	if (!full)
		return *slash == '\0' || slash[1] == '\0'
			   ? 0
			   : vs_fail(err, VS_E_INVAL, "'%s' is not of the form %s", text, form);
	lun = *slash ? strchr(slash + 1, '/') : NULL;
	if (!lun || !take_target(u, slash + 1, lun))
		return vs_fail(err, VS_E_INVAL, "'%s' names no target: it is not of the form %s",
			       text, form);
	if (vs_parse_u64(lun + 1, BS_LUN_MAX, &number) != 0)
		return vs_fail(err, VS_E_INVAL,
			       "'%s' names no LUN of 0 to %d: it is not of the "
			       "form %s",
			       text, BS_LUN_MAX, form);
	u->lun = (uint32_t)number;
	return 0;
}

int bs_lun_url_parse(const char *text, struct bs_lun_url *out, struct vs_error *err)
{
	return parse(text, true, out, err);
}

int bs_lun_url_parse_portal(const char *text, struct bs_lun_url *out, struct vs_error *err)
{
	return parse(text, false, out, err);
}

const char *bs_lun_url_portal(const struct bs_lun_url *url, char buf[BS_LUN_ADDR_TEXT])
{
	return bs_far_host_text(url->host, url->port, buf);
}

const char *bs_lun_url_text(const struct bs_lun_url *url, char buf[BS_LUN_URL_TEXT])
{
	char portal[BS_LUN_ADDR_TEXT];

	(void)snprintf(buf, BS_LUN_URL_TEXT, "%s%s/%s/%u", BS_LUN_SCHEME,
		       bs_lun_url_portal(url, portal), url->target, url->lun);
	return buf;
}
