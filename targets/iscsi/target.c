#include "targets/iscsi/internal.h"

#include "common/bytes.h"
#include "common/secret.h"
#include "common/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define INITIATORS_MAX 1024

bool iscsi_name_ok(const char *text)
{
	size_t len = strlen(text);

	if (len >= ISCSI_NAME_MAX)
		return false;
	if (strncmp(text, "iqn.", 4) != 0 && strncmp(text, "eui.", 4) != 0 &&
	    strncmp(text, "naa.", 4) != 0)
		return false;
	for (size_t i = 4; i < len; i++) {
		unsigned char ch = (unsigned char)text[i];

		if (!isalnum(ch) && !strchr(".-:_", ch) && ch < 0x80)
			return false;
	}
	return len > 4;
}

bool iscsi_address_ok(const char *text)
{
	size_t len = *text == '[' ? strcspn(text, "]") : strcspn(text, ":");
	const char *port = text + len + (*text == '[' && text[len]), *comma;
	char number[8];
	uint64_t n;

	if (strlen(text) >= ISCSI_ADDRESS_MAX || len < 1 || *port != ':')
		return false;
	for (size_t i = *text == '['; i < len; i++)
		if (!isalnum((unsigned char)text[i]) &&
		    !strchr(*text == '[' ? ":." : ".-", text[i]))
			return false;
	port++;
	comma = strchr(port, ',');
	len = comma ? (size_t)(comma - port) : strlen(port);
	if (len >= sizeof(number))
		return false;
	snprintf(number, sizeof(number), "%.*s", (int)len, port);
	if (vs_parse_u64(number, UINT16_MAX, &n) < 0 || n == 0)
		return false;
	return !comma || (vs_parse_u64(comma + 1, UINT16_MAX, &n) == 0);
}

static void free_secret(const char *secret)
{
	if (secret)
		vs_secret_wipe((char *)secret, strlen(secret));
	free((char *)secret);
}

static void free_config(struct iscsi_target_config *cfg)
{
	for (size_t i = 0; i < cfg->nluns && cfg->luns; i++) {
		free((char *)cfg->luns[i].volume);
		free((char *)cfg->luns[i].initiator);
	}
	for (size_t i = 0; i < cfg->ninitiators && cfg->initiators; i++)
		free((char *)cfg->initiators[i]);
	free((void *)cfg->luns);
	free((void *)cfg->initiators);
	free((char *)cfg->iqn);
	free((char *)cfg->alias);
	free((char *)cfg->redirect);
	free((char *)cfg->chap_user);
	free_secret(cfg->chap_secret);
	free((char *)cfg->mutual_user);
	free_secret(cfg->mutual_secret);
}

void iscsi_target_put(struct iscsi_target *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	VS_ASSERT(!t->lus);
	free_config(&t->cfg);
	free(t);
}

static char *copy(const char *text, bool *ok)
{
	char *s = text ? strdup(text) : NULL;

	if (text && !s)
		*ok = false;
	return s;
}

static bool copy_config(struct iscsi_target_config *to, const struct iscsi_target_config *from)
{
	struct iscsi_lun_config *luns = calloc(from->nluns + 1, sizeof(*luns));
	const char **initiators = calloc(from->ninitiators + 1, sizeof(*initiators));
	bool ok = luns && initiators;

	*to = (struct iscsi_target_config){.luns = luns,
					   .nluns = from->nluns,
					   .initiators = initiators,
					   .ninitiators = from->ninitiators,
					   .portal_group = from->portal_group,
					   .read_only = from->read_only,
					   .redirect_permanent = from->redirect_permanent};
	to->iqn = copy(from->iqn, &ok);
	to->alias = copy(from->alias, &ok);
	to->redirect = copy(from->redirect, &ok);
	to->chap_user = copy(from->chap_user, &ok);
	to->chap_secret = copy(from->chap_secret, &ok);
	to->mutual_user = copy(from->mutual_user, &ok);
	to->mutual_secret = copy(from->mutual_secret, &ok);
	for (size_t i = 0; i < from->nluns && luns; i++) {
		luns[i] = from->luns[i];
		luns[i].volume = copy(from->luns[i].volume, &ok);
		luns[i].initiator = copy(from->luns[i].initiator, &ok);
	}
	for (size_t i = 0; i < from->ninitiators && initiators; i++)
		initiators[i] = copy(from->initiators[i], &ok);
	return ok;
}

static int check_secret(const char *iqn, const char *what, const char *user, const char *secret,
			struct vs_error *err)
{
	if (!user && !secret)
		return 0;
	if (!user || !secret || !*user || strlen(user) >= ISCSI_NAME_MAX)
		return vs_fail(err, VS_E_INVAL, "target %s: %s needs a user and a secret", iqn,
			       what);
	if (strlen(secret) < ISCSI_SECRET_MIN || strlen(secret) >= ISCSI_SECRET_MAX)
		return vs_fail(err, VS_E_INVAL, "target %s: the %s secret must have %d to %d bytes",
			       iqn, what, ISCSI_SECRET_MIN, ISCSI_SECRET_MAX - 1);
	return 0;
}

static bool same_initiator(const struct iscsi_lun_config *a, const struct iscsi_lun_config *b)
{
	return a->initiator && b->initiator ? strcmp(a->initiator, b->initiator) == 0
					    : a->initiator == b->initiator;
}

static int check_lun(const struct iscsi_target_config *cfg, const struct iscsi_lun_config *l,
		     struct vs_error *err)
{
	if (l->initiator && !iscsi_name_ok(l->initiator))
		return vs_fail(err, VS_E_INVAL, "target %s: '%s' is not an iSCSI name", cfg->iqn,
			       l->initiator);
	if (l->lun >= ISCSI_LUN_LIMIT)
		return vs_fail(err, VS_E_INVAL, "target %s: LUN %u is too large; use 0 to %d",
			       cfg->iqn, l->lun, ISCSI_LUN_LIMIT - 1);
	for (const struct iscsi_lun_config *o = cfg->luns; o < l; o++)
		if (o->lun == l->lun && same_initiator(o, l))
			return vs_fail(err, VS_E_INVAL, "target %s: LUN %u is there twice%s%s",
				       cfg->iqn, l->lun, l->initiator ? " for " : "",
				       l->initiator ? l->initiator : "");
	if (!l->volume || strlen(l->volume) >= BS_FULL_NAME_MAX)
		return vs_fail(err, VS_E_INVAL, "target %s: LUN %u has no volume", cfg->iqn,
			       l->lun);
	return 0;
}

/* uuids: of the volumes, filled in. */
static int check_luns(struct iscsi_server *srv, const struct iscsi_target_config *cfg,
		      struct vs_uuid *uuids, struct vs_error *err)
{
	for (size_t i = 0; i < cfg->nluns; i++) {
		struct bs_volume_info info;
		int rc = check_lun(cfg, &cfg->luns[i], err);

		if (rc == 0)
			rc = bs_volume_find(srv->store, cfg->luns[i].volume, &info, err);
		if (rc < 0)
			return rc;
		uuids[i] = info.uuid;
	}
	return 0;
}

static int check_config(const struct iscsi_target_config *cfg, struct vs_error *err)
{
	int rc;

	if (!cfg->iqn || !iscsi_name_ok(cfg->iqn))
		return vs_fail(err, VS_E_INVAL,
			       "'%s' is not an iSCSI name, such as iqn.2026-11.org.example:disk",
			       cfg->iqn ? cfg->iqn : "");
	if (cfg->alias && strlen(cfg->alias) >= ISCSI_ALIAS_MAX)
		return vs_fail(err, VS_E_INVAL, "target %s: the alias is too long", cfg->iqn);
	if (cfg->redirect && !iscsi_address_ok(cfg->redirect))
		return vs_fail(err, VS_E_INVAL,
			       "target %s: '%s' is not ADDR:PORT or ADDR:PORT,TAG, IPv6 addresses "
			       "in brackets",
			       cfg->iqn, cfg->redirect);
	if (cfg->ninitiators > INITIATORS_MAX)
		return vs_fail(err, VS_E_INVAL, "target %s: more than %d initiators", cfg->iqn,
			       INITIATORS_MAX);
	for (size_t i = 0; i < cfg->ninitiators; i++)
		if (!cfg->initiators[i] || !iscsi_name_ok(cfg->initiators[i]))
			return vs_fail(err, VS_E_INVAL, "target %s: '%s' is not an iSCSI name",
				       cfg->iqn, cfg->initiators[i] ? cfg->initiators[i] : "");
	rc = check_secret(cfg->iqn, "CHAP", cfg->chap_user, cfg->chap_secret, err);
	if (rc == 0)
		rc = check_secret(cfg->iqn, "mutual CHAP", cfg->mutual_user, cfg->mutual_secret,
				  err);
	if (rc < 0)
		return rc;
	if (cfg->mutual_secret && !cfg->chap_secret)
		return vs_fail(err, VS_E_INVAL, "target %s: mutual CHAP needs CHAP as well",
			       cfg->iqn);
	if (cfg->mutual_secret && strcmp(cfg->mutual_secret, cfg->chap_secret) == 0)
		return vs_fail(err, VS_E_INVAL,
			       "target %s: the two CHAP secrets must not be the same", cfg->iqn);
	if (cfg->nluns > ISCSI_LUNS_MAX)
		return vs_fail(err, VS_E_INVAL, "target %s: more than %d LUNs", cfg->iqn,
			       ISCSI_LUNS_MAX);
	return 0;
}

void iscsi_target_drop_lus(struct iscsi_server *srv, struct iscsi_target *t)
{
	for (size_t i = 0; t->lus && i < t->cfg.nluns; i++) {
		if (!t->lus[i])
			continue;
		iscsi_lu_put(srv, t->lus[i]);
	}
	free(t->lus);
	t->lus = NULL;
}

static int make(struct iscsi_server *srv, const struct iscsi_target_config *cfg,
		const struct vs_uuid *uuids, struct iscsi_target **out, struct vs_error *err)
{
	struct iscsi_target *t = calloc(1, sizeof(*t));
	bool ok;

	if (!t)
		return vs_fail(err, VS_E_NOMEM, "target %s: out of memory", cfg->iqn);
	atomic_init(&t->refs, 1);
	t->lus = calloc(cfg->nluns + 1, sizeof(struct iscsi_lu *));
	ok = copy_config(&t->cfg, cfg) && t->lus;
	for (size_t i = 0; ok && i < cfg->nluns; i++) {
		t->lus[i] = iscsi_lu_get(srv, &uuids[i]);
		ok = t->lus[i] != NULL;
	}
	if (!ok) {
		iscsi_target_drop_lus(srv, t);
		iscsi_target_put(t);
		return vs_fail(err, VS_E_NOMEM, "target %s: out of memory", cfg->iqn);
	}
	*out = t;
	return 0;
}

int iscsi_target_new(struct iscsi_server *srv, const struct iscsi_target_config *cfg,
		     struct iscsi_target **out, struct vs_error *err)
{
	struct vs_uuid *uuids;
	int rc = check_config(cfg, err);

	if (rc < 0)
		return rc;
	uuids = calloc(cfg->nluns + 1, sizeof(*uuids));
	if (!uuids)
		return vs_fail(err, VS_E_NOMEM, "target %s: out of memory", cfg->iqn);
	rc = check_luns(srv, cfg, uuids, err);
	if (rc == 0)
		rc = make(srv, cfg, uuids, out, err);
	free(uuids);
	return rc;
}

bool iscsi_target_shows(const struct iscsi_target *t, size_t i, const char *initiator)
{
	const char *of = t->cfg.luns[i].initiator;

	if (of)
		return strcmp(of, initiator) == 0;
	for (size_t k = 0; k < t->cfg.nluns; k++) /* LUNs of its own hide the general ones */
		if (t->cfg.luns[k].initiator && strcmp(t->cfg.luns[k].initiator, initiator) == 0)
			return false;
	return true;
}

struct iscsi_target *iscsi_target_find(struct iscsi_server *srv, const char *iqn)
{
	struct iscsi_target *t;

	pthread_mutex_lock(&srv->lock);
	t = srv->targets;
	while (t && strcmp(t->cfg.iqn, iqn) != 0)
		t = t->next;
	if (t)
		atomic_fetch_add(&t->refs, 1);
	pthread_mutex_unlock(&srv->lock);
	return t;
}

/* tag: the portal group it comes in by; 0: leave that out. */
bool iscsi_target_allows(const struct iscsi_target *t, const char *initiator, uint16_t tag)
{
	if (tag && t->cfg.portal_group && t->cfg.portal_group != tag)
		return false;
	for (size_t i = 0; i < t->cfg.ninitiators; i++)
		if (strcmp(t->cfg.initiators[i], initiator) == 0)
			return true;
	return t->cfg.ninitiators == 0;
}

static void put_text(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

enum iscsi_login_status iscsi_target_lookup(void *conn, const char *initiator, const char *name,
					    struct iscsi_login_target *out)
{
	struct iscsi_conn *c = conn;
	struct iscsi_target *t = iscsi_target_find(c->srv, name);
	enum iscsi_login_status status = ISCSI_LOGIN_OK;

	if (!t)
		return ISCSI_LOGIN_NOT_FOUND;
	if (t->cfg.portal_group && t->cfg.portal_group != c->portal->tag) {
		status = ISCSI_LOGIN_NOT_FOUND;
	} else if (!iscsi_target_allows(t, initiator, 0)) {
		status = ISCSI_LOGIN_FORBIDDEN;
	} else if (t->cfg.redirect) {
		put_text(out->redirect, sizeof(out->redirect), t->cfg.redirect);
		status = t->cfg.redirect_permanent ? ISCSI_LOGIN_MOVED : ISCSI_LOGIN_MOVED_FOR_NOW;
	} else {
		out->chap = t->cfg.chap_user != NULL;
		out->mutual = t->cfg.mutual_user != NULL;
		put_text(out->alias, sizeof(out->alias), t->cfg.alias);
		put_text(out->user, sizeof(out->user), t->cfg.chap_user);
		put_text(out->secret, sizeof(out->secret), t->cfg.chap_secret);
		put_text(out->mutual_user, sizeof(out->mutual_user), t->cfg.mutual_user);
		put_text(out->mutual_secret, sizeof(out->mutual_secret), t->cfg.mutual_secret);
	}
	iscsi_target_put(t);
	return status;
}
