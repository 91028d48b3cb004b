/* Targets between catalogue and server: served, changed, shown. */
#include "mgmt/iscsi_impl.h"

#include "common/bytes.h"
#include "common/text.h"
#include "mgmt/copy.h"
#include "mgmt/shown.h"
#include "mgmt/volume.h"
#include "targets/iscsi/isns.h"
#include "targets/iscsi/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SESSIONS_SHOWN 1024

struct mg_iscsi {
	struct iscsi_server *server; /* NULL: off */
	struct iscsi_isns *isns;     /* NULL: off */
};

static const char *iqn_of(const json_t *doc)
{
	return json_string_value(json_object_get(doc, "iqn"));
}

static int serve(struct mg_node *n, struct iscsi_server *server, const json_t *doc,
		 struct vs_error *err)
{
	struct mg_iscsi_config c;
	int rc = mg_iscsi_config_read(n, doc, &c, err);

	if (rc != 0)
		return rc;
	rc = iscsi_server_set_target(server, &c.cfg, err);
	mg_iscsi_config_free(&c);
	return rc;
}

static int serve_all(struct mg_node *n, struct mg_iscsi *s, struct vs_error *err)
{
	json_t *docs, *doc;
	size_t i;
	int rc = mg_catalogue_list(n->catalogue, MG_TARGET, &docs, err);

	if (rc != 0)
		return rc;
	json_array_foreach(docs, i, doc)
	{
		struct vs_error why;

		if (serve(n, s->server, doc, &why) != 0)
			mg_event(n->events, MG_WARNING, "target.failed", iqn_of(doc),
				 "not served: %s", why.text);
	}
	json_decref(docs);
	return 0;
}

static void login_failed(void *arg, const struct iscsi_login_failure *f)
{
	char target[ISCSI_NAME_MAX], initiator[ISCSI_NAME_MAX];
	struct mg_node *n = arg;

	mg_copy(target, sizeof(target), f->target);
	mg_copy(initiator, sizeof(initiator), f->initiator);
	vs_clean_line(target); /* as they came over the wire */
	vs_clean_line(initiator);
	mg_event(n->events, MG_WARNING, "target.login-failed", target,
		 "%s from %s was refused: %s; failures of this address: %u", initiator, f->address,
		 f->reason, f->failures);
}

static void isns_event(void *arg, bool well, const char *message)
{
	struct mg_node *n = arg;

	mg_event(n->events, well ? MG_INFO : MG_WARNING, well ? "isns.registered" : "isns.failed",
		 n->options->isns.at[0].text, "%s", message);
}

static int start_isns(struct mg_node *n, struct mg_iscsi *s, struct vs_error *err)
{
	const struct mg_listens *l = &n->options->isns;
	struct iscsi_isns_options o = {.server = s->server,
				       .address = l->at[0].addr,
				       .address_len = l->at[0].addr_len,
				       .event = isns_event,
				       .event_arg = n};

	return l->n ? iscsi_isns_start(&o, &s->isns, err) : 0;
}

static void targets_changed(struct mg_node *n)
{
	if (n->iscsi->isns)
		iscsi_isns_changed(n->iscsi->isns);
}

int mg_iscsi_open(struct mg_node *n, struct mg_iscsi **out, struct vs_error *err)
{
	const struct mg_listens *l = &n->options->iscsi;
	struct iscsi_portal portals[MG_LISTEN_MAX];
	struct iscsi_server_options o = {.store = n->store,
					 .keeper = mg_iscsi_keeper(n),
					 .portals = portals,
					 .nportals = l->n,
					 .login_failed = login_failed,
					 .login_failed_arg = n};
	struct mg_iscsi *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	*out = s;
	if (l->n == 0)
		return 0;
	for (unsigned i = 0; i < l->n; i++)
		portals[i] = (struct iscsi_portal){
		    .tag = l->at[i].tag, .address = l->at[i].host, .port = l->at[i].port};
	rc = iscsi_server_start(&o, &s->server, err);
	if (rc == 0)
		rc = serve_all(n, s, err);
	if (rc == 0)
		rc = start_isns(n, s, err);
	if (rc != 0) {
		mg_iscsi_close(s);
		*out = NULL;
	}
	return rc;
}

void mg_iscsi_close(struct mg_iscsi *s)
{
	if (!s)
		return;
	iscsi_isns_stop(s->isns);
	if (s->server)
		iscsi_server_stop(s->server);
	free(s);
}

int mg_iscsi_create(struct mg_node *n, const json_t *doc, struct vs_error *err)
{
	struct mg_iscsi_config c;
	int rc;

	if (!n->iscsi->server)
		return vs_fail(err, VS_E_NOTSUP,
			       "iSCSI is off; start vstored with --iscsi ADDR:PORT");
	rc = mg_iscsi_config_read(n, doc, &c, err);
	if (rc != 0)
		return rc;
	rc =
	    mg_catalogue_insert(n->catalogue, MG_TARGET, c.cfg.iqn, doc, c.uuids, c.cfg.nluns, err);
	if (rc == 0) {
		rc = iscsi_server_set_target(n->iscsi->server, &c.cfg, err);
		if (rc != 0 && mg_catalogue_delete(n->catalogue, MG_TARGET, c.cfg.iqn, NULL) != 0)
			mg_event(n->events, MG_WARNING, "target.failed", c.cfg.iqn,
				 "a refused target could not be taken back");
	}
	targets_changed(n);
	mg_iscsi_config_free(&c);
	return rc;
}

int mg_iscsi_update(struct mg_node *n, const json_t *doc, struct vs_error *err)
{
	json_t *old = NULL;
	struct mg_iscsi_config c;
	int rc = mg_iscsi_doc(n, iqn_of(doc), &old, err);

	if (rc == 0)
		rc = mg_iscsi_config_read(n, doc, &c, err);
	if (rc != 0) {
		json_decref(old);
		return rc;
	}
	if (n->iscsi->server)
		rc = iscsi_server_set_target(n->iscsi->server, &c.cfg, err);
	if (rc == 0) {
		rc = mg_catalogue_update(n->catalogue, MG_TARGET, c.cfg.iqn, doc, c.uuids,
					 c.cfg.nluns, err);
		if (rc != 0 && n->iscsi->server && serve(n, n->iscsi->server, old, NULL) != 0)
			mg_event(n->events, MG_ERROR, "target.failed", c.cfg.iqn,
				 "a change that could not be kept could not be taken back");
	}
	targets_changed(n);
	mg_iscsi_config_free(&c);
	json_decref(old);
	return rc;
}

int mg_iscsi_delete(struct mg_node *n, const char *iqn, struct vs_error *err)
{
	int rc = mg_catalogue_delete(n->catalogue, MG_TARGET, iqn, err);

	if (rc == 0 && n->iscsi->server) {
		rc = iscsi_server_remove_target(n->iscsi->server, iqn, err);
		if (rc == VS_E_NOENT)
			rc = 0; /* it was not served for want of a volume */
	}
	targets_changed(n);
	return rc;
}

int mg_iscsi_doc(struct mg_node *n, const char *iqn, json_t **doc, struct vs_error *err)
{
	return mg_catalogue_get(n->catalogue, MG_TARGET, iqn, doc, err);
}

static json_t *lun_json(const struct iscsi_lun_config *lun, const struct vs_uuid *uuid)
{
	char naa[ISCSI_NAA_TEXT];

	iscsi_naa_text(uuid, naa);
	return json_pack("{s:i, s:s, s:b, s:b, s:s, s:s?}", "lun", (int)lun->lun, "volume",
			 lun->volume, "read_only", lun->read_only, "removable", lun->removable,
			 "naa", naa, "initiator", lun->initiator);
}

static int show_doc(struct mg_node *n, const json_t *doc, json_t **out, struct vs_error *err)
{
	struct mg_iscsi_config c;
	json_t *luns;
	int rc = mg_iscsi_config_read(n, doc, &c, err);

	if (rc != 0)
		return rc;
	luns = json_array();
	for (size_t i = 0; i < c.cfg.nluns; i++)
		json_array_append_new(luns, lun_json(&c.luns[i], &c.uuids[i]));
	*out = json_pack(
	    "{s:s, s:s?, s:i, s:b, s:o, s:O, s:b, s:b, s:b, s:O?, s:o}", "iqn", c.cfg.iqn, "alias",
	    c.cfg.alias, "portal_group", (int)c.cfg.portal_group, "read_only", c.cfg.read_only,
	    "luns", luns, "initiators", json_object_get(doc, "initiators"), "chap",
	    c.cfg.chap_user != NULL, "mutual", c.cfg.mutual_user != NULL, "open",
	    c.cfg.ninitiators == 0 && !c.cfg.chap_user, "redirect",
	    json_object_get(doc, "redirect"), "sessions", mg_iscsi_sessions(n, c.cfg.iqn));
	mg_iscsi_config_free(&c);
	return *out ? 0 : vs_fail(err, VS_E_NOMEM, "out of memory");
}

int mg_iscsi_show(struct mg_node *n, const char *iqn, json_t **out, struct vs_error *err)
{
	json_t *doc = NULL;
	int rc = mg_iscsi_doc(n, iqn, &doc, err);

	if (rc == 0)
		rc = show_doc(n, doc, out, err);
	json_decref(doc);
	return rc;
}

int mg_iscsi_list(struct mg_node *n, json_t **out, struct vs_error *err)
{
	return mg_shown_list(n, MG_TARGET, show_doc, out, err);
}

static json_t *session_json(struct iscsi_session_info *s)
{
	char isid[2 * sizeof(s->isid) + 1];

	vs_clean_line(s->initiator); /* as it came over the wire */
	vs_format_hex(s->isid, sizeof(s->isid), isid);
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:b, s:o, s:I, s:I, s:I}", "iqn",
			 s->target, "initiator", s->initiator, "address", s->address, "isid", isid,
			 "tsih", (int)s->tsih, "portal_group", (int)s->portal_group,
			 "authenticated", s->authenticated, "connected", mg_time_json(s->since_ns),
			 "commands", (json_int_t)s->commands, "read_bytes",
			 (json_int_t)s->read_bytes, "written_bytes", (json_int_t)s->written_bytes);
}

json_t *mg_iscsi_sessions(struct mg_node *n, const char *iqn)
{
	struct iscsi_session_info *found;
	json_t *list = json_array();
	size_t have;

	if (!n->iscsi->server)
		return list;
	found = calloc(SESSIONS_SHOWN, sizeof(*found));
	have = found ? iscsi_server_sessions(n->iscsi->server, iqn, found, SESSIONS_SHOWN) : 0;
	for (size_t i = 0; i < VS_MIN(have, (size_t)SESSIONS_SHOWN); i++)
		json_array_append_new(list, session_json(&found[i]));
	free(found);
	return list;
}

void mg_iscsi_volume_renamed(struct mg_node *n, const char *name)
{
	json_t *docs = NULL, *doc;
	size_t i, len = strlen(name);

	if (!n->iscsi->server || mg_catalogue_list(n->catalogue, MG_TARGET, &docs, NULL) != 0)
		return;
	json_array_foreach(docs, i, doc)
	{
		struct vs_error why;
		struct mg_iscsi_config c;
		bool uses = false;

		if (mg_iscsi_config_read(n, doc, &c, NULL) != 0)
			continue;
		for (size_t k = 0; k < c.cfg.nluns; k++)
			uses |= strncmp(c.names[k], name, len) == 0 &&
				(c.names[k][len] == '\0' || c.names[k][len] == '@');
		if (uses && iscsi_server_set_target(n->iscsi->server, &c.cfg, &why) != 0)
			mg_event(n->events, MG_WARNING, "target.failed", c.cfg.iqn,
				 "not served: %s", why.text);
		mg_iscsi_config_free(&c);
	}
	json_decref(docs);
}

void mg_iscsi_addresses(struct mg_node *n, json_t *front_ends)
{
	const struct mg_listens *l = &n->options->iscsi;
	char address[96];

	for (unsigned i = 0; n->iscsi->server && i < l->n; i++) {
		bool v6 = strchr(l->at[i].host, ':') != NULL;

		(void)snprintf(address, sizeof(address), "%s%s%s:%u", v6 ? "[" : "", l->at[i].host,
			       v6 ? "]" : "", iscsi_server_port(n->iscsi->server, i));
		json_array_append_new(front_ends,
				      json_pack("{s:s, s:s, s:i}", "kind", "iscsi", "address",
						address, "portal_group", (int)l->at[i].tag));
	}
}
