#include "targets/iscsi/login.h"

#include "common/bytes.h"
#include "common/secret.h"

#include <stdio.h>
#include <string.h>

/* The keys of authentication and identification that one request brought; NULL: not there. */
struct login_keys {
	char *initiator, *alias, *target, *session_type;
	char *auth_method, *chap_a, *chap_n, *chap_r, *chap_i, *chap_c;
};

static const struct {
	const char *name;
	size_t field;
	bool first_only;
} key_fields[] = {
    {"InitiatorName", offsetof(struct login_keys, initiator), true},
    {"InitiatorAlias", offsetof(struct login_keys, alias), false},
    {"TargetName", offsetof(struct login_keys, target), true},
    {"SessionType", offsetof(struct login_keys, session_type), true},
    {"AuthMethod", offsetof(struct login_keys, auth_method), false},
    {"CHAP_A", offsetof(struct login_keys, chap_a), false},
    {"CHAP_N", offsetof(struct login_keys, chap_n), false},
    {"CHAP_R", offsetof(struct login_keys, chap_r), false},
    {"CHAP_I", offsetof(struct login_keys, chap_i), false},
    {"CHAP_C", offsetof(struct login_keys, chap_c), false},
};

void iscsi_login_init(struct iscsi_login *l, uint16_t portal_group)
{
	memset(l, 0, sizeof(*l));
	l->portal_group = portal_group;
	iscsi_params_init(&l->params);
}

void iscsi_login_wipe(struct iscsi_login *l)
{
	vs_secret_wipe(&l->target_info, sizeof(l->target_info));
	vs_secret_wipe(&l->chap, sizeof(l->chap));
}

/* Files the pair under its field; false when it is none of key_fields. */
static bool take_key(struct login_keys *k, char *key, char *value, bool first, int *rc)
{
	for (size_t i = 0; i < VS_ARRAY_LEN(key_fields); i++) {
		char **field = (char **)((char *)k + key_fields[i].field);

		if (strcmp(key_fields[i].name, key) != 0)
			continue;
		if (*field || (key_fields[i].first_only && !first))
			*rc = VS_E_PROTO;
		*field = value;
		return true;
	}
	return false;
}

static enum iscsi_login_status parse(struct iscsi_login *l, bool first, char *text, size_t len,
				     struct login_keys *k, struct iscsi_text_out *out)
{
	struct iscsi_text_cursor c;
	char *key, *value;
	int more, rc = 0;

	/* SessionType first: what is irrelevant depends on it, and it may come last */
	iscsi_text_start(&c, text, len);
	while ((more = iscsi_text_next(&c, &key, &value)) > 0 && rc == 0)
		(void)take_key(k, key, value, first, &rc);
	if (more < 0 || rc < 0)
		return ISCSI_LOGIN_INITIATOR_ERROR;
	if (k->session_type)
		l->discovery = strcmp(k->session_type, "Discovery") == 0;
	for (char *p = text; p < text + len;) {
		struct login_keys again = {0};
		size_t n = strnlen(p, (size_t)(text + len - p));

		if (n == 0) {
			p++;
			continue;
		}
		key = p;
		value = p + n + 1;
		if (!take_key(&again, key, value, true, &rc))
			rc = iscsi_negotiate(&l->params, ISCSI_PHASE_LOGIN, l->discovery, key,
					     value, out);
		if (rc < 0)
			return ISCSI_LOGIN_INITIATOR_ERROR;
		p = value + strlen(value) + 1;
	}
	return ISCSI_LOGIN_OK;
}

static enum iscsi_login_status identify(struct iscsi_login *l, const struct login_keys *k,
					struct iscsi_text_out *out)
{
	enum iscsi_login_status status;

	if (!k->initiator)
		return ISCSI_LOGIN_MISSING;
	if (!iscsi_name_ok(k->initiator))
		return ISCSI_LOGIN_INITIATOR_ERROR;
	if (k->session_type && !l->discovery && strcmp(k->session_type, "Normal") != 0)
		return ISCSI_LOGIN_SESSION_TYPE;
	snprintf(l->initiator, sizeof(l->initiator), "%s", k->initiator);
	if (l->discovery)
		return ISCSI_LOGIN_OK;
	if (!k->target)
		return ISCSI_LOGIN_MISSING;
	if (strlen(k->target) >= sizeof(l->target))
		return ISCSI_LOGIN_NOT_FOUND;
	snprintf(l->target, sizeof(l->target), "%s", k->target);
	status = l->lookup(l->arg, l->initiator, l->target, &l->target_info);
	if (iscsi_login_moved(status)) { /* the one key that such an answer has */
		out->len = 0;
		iscsi_text_add(out, "TargetAddress", "%s", l->target_info.redirect);
	}
	if (status != ISCSI_LOGIN_OK)
		return status;
	if (l->target_info.alias[0])
		iscsi_text_add(out, "TargetAlias", "%s", l->target_info.alias);
	iscsi_text_add(out, "TargetPortalGroupTag", "%u", l->portal_group);
	return ISCSI_LOGIN_OK;
}

static enum iscsi_login_status auth_method(struct iscsi_login *l, const struct login_keys *k,
					   struct iscsi_text_out *out)
{
	const char *method = l->target_info.chap ? "CHAP" : "None";

	if (!k->auth_method)
		return ISCSI_LOGIN_OK;
	if (!iscsi_text_list_has(k->auth_method, method)) {
		iscsi_text_add(out, "AuthMethod", "Reject");
		return ISCSI_LOGIN_AUTH_FAILED;
	}
	iscsi_text_add(out, "AuthMethod", "%s", method);
	l->auth = l->target_info.chap ? ISCSI_AUTH_ALGORITHM : ISCSI_AUTH_DONE;
	/* the algorithms may come with the method */
	return ISCSI_LOGIN_OK;
}

static enum iscsi_login_status auth_algorithm(struct iscsi_login *l, const struct login_keys *k,
					      struct iscsi_text_out *out)
{
	char hex[ISCSI_CHAP_TEXT];

	if (!k->chap_a || iscsi_chap_begin(&l->chap, k->chap_a) < 0)
		return ISCSI_LOGIN_AUTH_FAILED;
	iscsi_chap_hex(l->chap.challenge, sizeof(l->chap.challenge), hex, sizeof(hex));
	iscsi_text_add(out, "CHAP_A", "%d", l->chap.algorithm);
	iscsi_text_add(out, "CHAP_I", "%u", l->chap.id);
	iscsi_text_add(out, "CHAP_C", "%s", hex);
	l->auth = ISCSI_AUTH_RESPONSE;
	return ISCSI_LOGIN_OK;
}

/* Proves the target to the initiator; a challenge that is ours sent back is refused. */
static enum iscsi_login_status auth_mutual(struct iscsi_login *l, const struct login_keys *k,
					   struct iscsi_text_out *out)
{
	uint8_t challenge[ISCSI_CHAP_CHALLENGE_MAX], answer[ISCSI_CHAP_DIGEST_MAX];
	char hex[2 + 2 * ISCSI_CHAP_DIGEST_MAX + 1];
	size_t len, answer_len;
	uint64_t id;

	if (!k->chap_c || !k->chap_i || !l->target_info.mutual ||
	    iscsi_text_number(k->chap_i, &id) < 0 || id > 255 ||
	    iscsi_text_binary(k->chap_c, challenge, sizeof(challenge), &len) < 0)
		return ISCSI_LOGIN_AUTH_FAILED;
	if (len == sizeof(l->chap.challenge) &&
	    vs_secret_equal(challenge, l->chap.challenge, sizeof(l->chap.challenge)))
		return ISCSI_LOGIN_AUTH_FAILED;
	if (iscsi_chap_response(l->chap.algorithm, (uint8_t)id, l->target_info.mutual_secret,
				challenge, len, answer, &answer_len) < 0)
		return ISCSI_LOGIN_NO_RESOURCES;
	iscsi_chap_hex(answer, answer_len, hex, sizeof(hex));
	iscsi_text_add(out, "CHAP_N", "%s", l->target_info.mutual_user);
	iscsi_text_add(out, "CHAP_R", "%s", hex);
	return ISCSI_LOGIN_OK;
}

static enum iscsi_login_status auth_response(struct iscsi_login *l, const struct login_keys *k,
					     struct iscsi_text_out *out)
{
	bool user, secret;

	if (!k->chap_n || !k->chap_r)
		return ISCSI_LOGIN_AUTH_FAILED;
	secret = iscsi_chap_verify(&l->chap, l->target_info.secret, k->chap_r);
	user = strcmp(k->chap_n, l->target_info.user) == 0;
	/* what the target itself would have answered is a reflection (RFC 7143, 9.2.1) */
	if (l->target_info.mutual &&
	    iscsi_chap_verify(&l->chap, l->target_info.mutual_secret, k->chap_r))
		return ISCSI_LOGIN_AUTH_FAILED;
	if (!user || !secret)
		return ISCSI_LOGIN_AUTH_FAILED;
	l->auth = ISCSI_AUTH_DONE;
	l->authenticated = true;
	return k->chap_i || k->chap_c ? auth_mutual(l, k, out) : ISCSI_LOGIN_OK;
}

static enum iscsi_login_status auth_done(struct iscsi_login *l, const struct login_keys *k,
					 struct iscsi_text_out *out)
{
	(void)l;
	(void)out;
	return k->auth_method || k->chap_a || k->chap_n ? ISCSI_LOGIN_INITIATOR_ERROR
							: ISCSI_LOGIN_OK;
}

static enum iscsi_login_status (*const auth_steps[])(struct iscsi_login *l,
						     const struct login_keys *k,
						     struct iscsi_text_out *out) = {
    [ISCSI_AUTH_METHOD] = auth_method,
    [ISCSI_AUTH_ALGORITHM] = auth_algorithm,
    [ISCSI_AUTH_RESPONSE] = auth_response,
    [ISCSI_AUTH_DONE] = auth_done,
};

/* Stages a request may ask to go to, by the stage it is in. */
static const uint8_t next_stages[4] = {
    [ISCSI_STAGE_SECURITY] = 1u << ISCSI_STAGE_OPERATIONAL | 1u << ISCSI_STAGE_FULL,
    [ISCSI_STAGE_OPERATIONAL] = 1u << ISCSI_STAGE_FULL,
};

static enum iscsi_login_status transit(struct iscsi_login *l, const struct iscsi_login_request *req,
				       enum iscsi_auth auth_before, struct iscsi_login_verdict *v)
{
	bool in_chap = l->auth == ISCSI_AUTH_ALGORITHM || l->auth == ISCSI_AUTH_RESPONSE;

	if (!req->transit)
		return ISCSI_LOGIN_OK;
	if (!(next_stages[l->stage] & 1u << req->nsg))
		return ISCSI_LOGIN_INITIATOR_ERROR;
	if (in_chap && l->stage == ISCSI_STAGE_SECURITY)
		/* it asked too early: legal while the method is being agreed on */
		return auth_before == l->auth ? ISCSI_LOGIN_AUTH_FAILED : ISCSI_LOGIN_OK;
	if (l->target_info.chap && l->auth != ISCSI_AUTH_DONE)
		return ISCSI_LOGIN_AUTH_FAILED;
	v->transit = true;
	v->nsg = req->nsg;
	l->stage = req->nsg;
	return ISCSI_LOGIN_OK;
}

static enum iscsi_login_status begin(struct iscsi_login *l, const struct iscsi_login_request *req)
{
	if (req->csg > ISCSI_STAGE_OPERATIONAL)
		return ISCSI_LOGIN_INITIATOR_ERROR;
	l->stage = req->csg;
	memcpy(l->isid, req->isid, sizeof(l->isid));
	l->tsih = req->tsih;
	l->cid = req->cid;
	return ISCSI_LOGIN_OK;
}

static enum iscsi_login_status step(struct iscsi_login *l, const struct iscsi_login_request *req,
				    char *text, size_t len, struct iscsi_text_out *out,
				    struct iscsi_login_verdict *v)
{
	enum iscsi_login_status status = ISCSI_LOGIN_OK;
	enum iscsi_auth before = l->auth;
	struct login_keys k = {0};
	bool first = !l->begun;

	if (req->version_min > 0)
		return ISCSI_LOGIN_VERSION;
	if (first)
		status = begin(l, req);
	else if (memcmp(l->isid, req->isid, sizeof(l->isid)) != 0 || l->tsih != req->tsih ||
		 l->cid != req->cid || req->csg != l->stage)
		status = ISCSI_LOGIN_INVALID;
	if (status == ISCSI_LOGIN_OK)
		status = parse(l, first, text, len, &k, out);
	if (status == ISCSI_LOGIN_OK && first)
		status = identify(l, &k, out);
	if (status != ISCSI_LOGIN_OK)
		return status;
	l->begun = true;
	if (k.alias)
		snprintf(l->initiator_alias, sizeof(l->initiator_alias), "%s", k.alias);
	if (l->stage == ISCSI_STAGE_SECURITY)
		status = auth_steps[l->auth](l, &k, out);
	else if (l->target_info.chap && l->auth != ISCSI_AUTH_DONE)
		status = ISCSI_LOGIN_AUTH_FAILED; /* it skipped the security stage */
	if (status != ISCSI_LOGIN_OK)
		return status;
	if (l->stage == ISCSI_STAGE_OPERATIONAL && !l->declared) {
		iscsi_text_add(out, "MaxRecvDataSegmentLength", "%u", ISCSI_RECV_DSL);
		l->declared = true;
	}
	return transit(l, req, before, v);
}

void iscsi_login_step(struct iscsi_login *l, const struct iscsi_login_request *req, char *text,
		      size_t len, struct iscsi_text_out *out, struct iscsi_login_verdict *v)
{
	*v = (struct iscsi_login_verdict){0};
	v->status = step(l, req, text, len, out, v);
	if (v->status == ISCSI_LOGIN_OK && out->overflow)
		v->status = ISCSI_LOGIN_INITIATOR_ERROR;
	if (v->status != ISCSI_LOGIN_OK)
		v->transit = false;
}
