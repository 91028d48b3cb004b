/* The login phase: stages, CHAP, negotiation of parameters. */
#include "targets/iscsi/login.h"

#include "common/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NAMES "InitiatorName=iqn.1994-05.org.example:host\0TargetName=iqn.2026-11.org.example:t\0"
#define SECRET "twelve bytes or more"
#define MUTUAL "another twelve bytes"

struct peer {
	struct iscsi_login login;
	struct iscsi_login_verdict v;
	char answer[8192 + 1];
	size_t len;
	bool chap, mutual, same_secret;
};

static enum iscsi_login_status lookup(void *arg, const char *initiator, const char *target,
				      struct iscsi_login_target *out)
{
	struct peer *p = arg;

	assert_string_equal(initiator, "iqn.1994-05.org.example:host");
	if (strcmp(target, "iqn.2026-11.org.example:t") != 0)
		return ISCSI_LOGIN_NOT_FOUND;
	out->chap = p->chap;
	out->mutual = p->mutual;
	snprintf(out->user, sizeof(out->user), "user");
	snprintf(out->secret, sizeof(out->secret), SECRET);
	snprintf(out->mutual_user, sizeof(out->mutual_user), "target");
	snprintf(out->mutual_secret, sizeof(out->mutual_secret), "%s",
		 p->same_secret ? SECRET : MUTUAL);
	return ISCSI_LOGIN_OK;
}

static void begin(struct peer *p)
{
	iscsi_login_init(&p->login, 7);
	p->login.lookup = lookup;
	p->login.arg = p;
}

static void step_len(struct peer *p, int csg, int nsg, const char *text, size_t len)
{
	struct iscsi_login_request req = {
	    .transit = nsg >= 0, .csg = (uint8_t)csg, .nsg = (uint8_t)(nsg < 0 ? 0 : nsg)};
	struct iscsi_text_out out = {.buf = p->answer, .size = sizeof(p->answer) - 1};
	char *copy = malloc(len + 1);

	memcpy(copy, text, len + 1);
	iscsi_login_step(&p->login, &req, copy, len, &out, &p->v);
	p->len = out.len;
	free(copy);
}
#define step(p, csg, nsg, text) step_len(p, csg, nsg, text, sizeof(text) - 1)

/* The value of a key in the answer, or NULL. */
static const char *value(const struct peer *p, const char *key)
{
	for (size_t at = 0; at < p->len; at += strlen(p->answer + at) + 1) {
		const char *pair = p->answer + at;

		if (strncmp(pair, key, strlen(key)) == 0 && pair[strlen(key)] == '=')
			return pair + strlen(key) + 1;
	}
	return NULL;
}

static void one_request_logs_in(void **state)
{
	static struct peer p;

	(void)state;
	p = (struct peer){0};
	begin(&p);
	step(&p, 1, 3, NAMES "HeaderDigest=CRC32C,None\0InitialR2T=No\0MaxBurstLength=262144\0");
	assert_int_equal(p.v.status, ISCSI_LOGIN_OK);
	assert_true(p.v.transit);
	assert_int_equal(p.v.nsg, ISCSI_STAGE_FULL);
	assert_string_equal(value(&p, "TargetPortalGroupTag"), "7");
	assert_string_equal(value(&p, "HeaderDigest"), "CRC32C");
	assert_string_equal(value(&p, "InitialR2T"), "No");
	assert_string_equal(value(&p, "MaxRecvDataSegmentLength"), "262144");
	assert_true(p.login.params.header_digest);
	assert_false(p.login.params.data_digest);
	assert_false(p.login.params.initial_r2t);
	assert_int_equal(p.login.params.max_burst, 262144);
}

static void stages_follow_each_other(void **state)
{
	static struct peer p;

	(void)state;
	p = (struct peer){0};
	begin(&p);
	step(&p, 0, 1, NAMES "AuthMethod=CHAP,None\0");
	assert_true(p.v.transit);
	assert_int_equal(p.v.nsg, 1);
	assert_string_equal(value(&p, "AuthMethod"), "None");
	assert_null(value(&p, "MaxRecvDataSegmentLength"));
	step(&p, 1, -1, "ErrorRecoveryLevel=2\0MaxConnections=8\0");
	assert_false(p.v.transit);
	assert_string_equal(value(&p, "ErrorRecoveryLevel"), "0");
	assert_string_equal(value(&p, "MaxConnections"), "1");
	step(&p, 1, 3, "");
	assert_true(p.v.transit);
	assert_null(value(&p, "MaxRecvDataSegmentLength")); /* was declared before */
}

static void wrong_requests_are_refused(void **state)
{
	static const struct {
		int csg, nsg;
		const char *text;
		size_t len;
		enum iscsi_login_status status;
	} t[] = {
#define TEXT(s) s, sizeof(s) - 1
	    {1, 3, TEXT("InitiatorName=iqn.1994-05.org.example:host\0"), ISCSI_LOGIN_MISSING},
	    {1, 3, TEXT("TargetName=iqn.2026-11.org.example:t\0"), ISCSI_LOGIN_MISSING},
	    {1, 3, TEXT("InitiatorName=iqn.1994-05.org.example:host\0TargetName=iqn.x\0"),
	     ISCSI_LOGIN_NOT_FOUND},
	    {1, 3, TEXT(NAMES "SessionType=Odd\0"), ISCSI_LOGIN_SESSION_TYPE},
	    {1, 3, TEXT(NAMES "InitiatorName=iqn.a.b:c\0"), ISCSI_LOGIN_INITIATOR_ERROR},
	    {1, 3, TEXT(NAMES "InitialR2T=No\0InitialR2T=No\0"), ISCSI_LOGIN_INITIATOR_ERROR},
	    {1, 3, TEXT(NAMES "rubbish\0"), ISCSI_LOGIN_INITIATOR_ERROR},
	    {1, 3, TEXT(NAMES "Key=no end"), ISCSI_LOGIN_INITIATOR_ERROR},
	    {1, 1, TEXT(NAMES), ISCSI_LOGIN_INITIATOR_ERROR},
	    {1, 0, TEXT(NAMES), ISCSI_LOGIN_INITIATOR_ERROR},
	    {0, 2, TEXT(NAMES), ISCSI_LOGIN_INITIATOR_ERROR},
	    {3, 3, TEXT(NAMES), ISCSI_LOGIN_INITIATOR_ERROR},
	    {0, 1, TEXT(NAMES "AuthMethod=KRB5\0"), ISCSI_LOGIN_AUTH_FAILED},
	};
	static struct peer p;

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(t); i++) {
		p = (struct peer){0};
		begin(&p);
		step_len(&p, t[i].csg, t[i].nsg, t[i].text, t[i].len);
		assert_int_equal(p.v.status, t[i].status);
		assert_false(p.v.transit);
	}
}

static void later_requests_must_belong_to_the_first(void **state)
{
	static struct peer p;
	struct iscsi_text_out out = {.buf = p.answer, .size = sizeof(p.answer) - 1};
	struct iscsi_login_request other = {.csg = 1, .nsg = 3, .transit = true, .cid = 5};
	char none[1] = "";

	(void)state;
	p = (struct peer){0};
	begin(&p);
	step(&p, 0, 1, NAMES "AuthMethod=None\0");
	assert_int_equal(p.v.status, ISCSI_LOGIN_OK);
	step(&p, 0, 3, ""); /* a stage that is over */
	assert_int_equal(p.v.status, ISCSI_LOGIN_INVALID);
	begin(&p);
	step(&p, 0, 1, NAMES "AuthMethod=None\0");
	iscsi_login_step(&p.login, &other, none, 0, &out, &p.v);
	assert_int_equal(p.v.status, ISCSI_LOGIN_INVALID);
}

static void discovery_needs_no_target(void **state)
{
	static struct peer p;

	(void)state;
	p = (struct peer){0};
	begin(&p);
	/* the session type comes after a key whose answer depends on it */
	step(&p, 1, 3,
	     "MaxBurstLength=65536\0ErrorRecoveryLevel=0\0InitiatorName=iqn.1994-05.org.example:"
	     "host\0"
	     "SessionType=Discovery\0");
	assert_int_equal(p.v.status, ISCSI_LOGIN_OK);
	assert_true(p.login.discovery);
	assert_string_equal(value(&p, "MaxBurstLength"), "Irrelevant");
	assert_string_equal(value(&p, "ErrorRecoveryLevel"), "0");
	assert_null(value(&p, "TargetPortalGroupTag"));
}

static void keys_are_answered_by_their_rules(void **state)
{
	static const struct {
		const char *offer, *key, *answer;
	} t[] = {
	    {"InitialR2T=Yes", "InitialR2T", "Yes"},
	    {"InitialR2T=Perhaps", "InitialR2T", "Reject"},
	    {"ImmediateData=No", "ImmediateData", "No"},
	    {"ImmediateData=Yes", "ImmediateData", "Yes"},
	    {"FirstBurstLength=16777215", "FirstBurstLength", "65536"},
	    {"FirstBurstLength=511", "FirstBurstLength", "Reject"},
	    {"MaxBurstLength=0x200", "MaxBurstLength", "512"},
	    {"MaxOutstandingR2T=16", "MaxOutstandingR2T", "1"},
	    {"DefaultTime2Wait=0", "DefaultTime2Wait", "2"},
	    {"DefaultTime2Retain=60", "DefaultTime2Retain", "0"},
	    {"DataPDUInOrder=No", "DataPDUInOrder", "Yes"},
	    {"HeaderDigest=None,CRC32C", "HeaderDigest", "None"},
	    {"DataDigest=MD5,CRC32C", "DataDigest", "CRC32C"},
	    {"DataDigest=MD5", "DataDigest", "Reject"},
	    {"X-org.example.key=1", "X-org.example.key", "NotUnderstood"},
	};
	char buf[256];

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(t); i++) {
		struct iscsi_text_out out = {.buf = buf, .size = sizeof(buf)};
		struct iscsi_params p;
		char offer[64], *eq;

		iscsi_params_init(&p);
		snprintf(offer, sizeof(offer), "%s", t[i].offer);
		eq = strchr(offer, '=');
		*eq = '\0';
		assert_int_equal(iscsi_negotiate(&p, ISCSI_PHASE_LOGIN, false, offer, eq + 1, &out),
				 0);
		assert_int_equal(strncmp(buf, t[i].key, strlen(t[i].key)), 0);
		assert_string_equal(buf + strlen(t[i].key) + 1, t[i].answer);
	}
}

static void only_declarations_change_later(void **state)
{
	char buf[64];
	struct iscsi_text_out out = {.buf = buf, .size = sizeof(buf)};
	struct iscsi_params p;

	(void)state;
	iscsi_params_init(&p);
	assert_int_equal(iscsi_negotiate(&p, ISCSI_PHASE_FULL, false, "InitialR2T", "No", &out),
			 VS_E_PROTO);
	assert_int_equal(
	    iscsi_negotiate(&p, ISCSI_PHASE_FULL, false, "MaxRecvDataSegmentLength", "4096", &out),
	    0);
	assert_int_equal(
	    iscsi_negotiate(&p, ISCSI_PHASE_FULL, false, "MaxRecvDataSegmentLength", "8192", &out),
	    0);
	assert_int_equal(p.send_dsl, 8192);
	assert_int_equal(out.len, 0);
}

/* ---- CHAP ---- */

/* What an initiator with this secret answers to the challenge in p's answer. */
static void respond(const struct peer *p, const char *secret, char hex[80])
{
	uint8_t challenge[ISCSI_CHAP_CHALLENGE_MAX], digest[ISCSI_CHAP_DIGEST_MAX];
	size_t len, n;
	uint64_t id;

	assert_int_equal(iscsi_text_number(value(p, "CHAP_I"), &id), 0);
	assert_int_equal(iscsi_text_binary(value(p, "CHAP_C"), challenge, sizeof(challenge), &len),
			 0);
	assert_int_equal(iscsi_chap_response(atoi(value(p, "CHAP_A")), (uint8_t)id, secret,
					     challenge, len, digest, &n),
			 0);
	iscsi_chap_hex(digest, n, hex, 80);
}

static void to_challenge(struct peer *p, const char *algorithms)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "CHAP_A=%s", algorithms);

	begin(p);
	step(p, 0, 1, NAMES "AuthMethod=CHAP,None\0");
	assert_int_equal(p->v.status, ISCSI_LOGIN_OK);
	assert_false(p->v.transit);
	assert_string_equal(value(p, "AuthMethod"), "CHAP");
	step_len(p, 0, -1, text, (size_t)n + 1);
}

static void answer_with(struct peer *p, const char *user, const char *hex, const char *more)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "CHAP_N=%s%cCHAP_R=%s%c%s", user, 0, hex, 0, more);

	for (int i = 0; i < n; i++)
		if (text[i] == '\n')
			text[i] = '\0';
	step_len(p, 0, 1, text, (size_t)n + 1);
}

static void chap_lets_in_who_knows_the_secret(void **state)
{
	static const char *const algorithms[] = {"5", "6", "7", "8", "9,7,5"};
	static struct peer p;
	char hex[80];

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(algorithms); i++) {
		p = (struct peer){.chap = true};
		to_challenge(&p, algorithms[i]);
		assert_int_equal(p.v.status, ISCSI_LOGIN_OK);
		respond(&p, SECRET, hex);
		answer_with(&p, "user", hex, "");
		assert_int_equal(p.v.status, ISCSI_LOGIN_OK);
		assert_true(p.v.transit);
		assert_true(p.login.authenticated);
	}
	assert_int_equal(p.login.chap.algorithm, 7);
}

static void chap_keeps_out_who_does_not(void **state)
{
	static struct peer p;
	char hex[80];

	(void)state;
	p = (struct peer){.chap = true};
	to_challenge(&p, "5");
	respond(&p, "not the secret at all", hex);
	answer_with(&p, "user", hex, "");
	assert_int_equal(p.v.status, ISCSI_LOGIN_AUTH_FAILED);
	to_challenge(&p, "5");
	respond(&p, SECRET, hex);
	answer_with(&p, "other", hex, "");
	assert_int_equal(p.v.status, ISCSI_LOGIN_AUTH_FAILED);
	to_challenge(&p, "5");
	answer_with(&p, "user", "0x00", "");
	assert_int_equal(p.v.status, ISCSI_LOGIN_AUTH_FAILED);
	to_challenge(&p, "4,9,264"); /* algorithms that it does not know */
	assert_int_equal(p.v.status, ISCSI_LOGIN_AUTH_FAILED);
}

static void chap_cannot_be_passed_by(void **state)
{
	static struct peer p;

	(void)state;
	p = (struct peer){.chap = true};
	begin(&p);
	step(&p, 1, 3, NAMES); /* straight to negotiation */
	assert_int_equal(p.v.status, ISCSI_LOGIN_AUTH_FAILED);
	begin(&p);
	step(&p, 0, 3, NAMES); /* no method at all */
	assert_int_equal(p.v.status, ISCSI_LOGIN_AUTH_FAILED);
	begin(&p);
	step(&p, 0, 1, NAMES "AuthMethod=None\0");
	assert_int_equal(p.v.status, ISCSI_LOGIN_AUTH_FAILED);
	to_challenge(&p, "7");
	step(&p, 0, 1, ""); /* no response to the challenge */
	assert_int_equal(p.v.status, ISCSI_LOGIN_AUTH_FAILED);
	begin(&p);
	step(&p, 0, -1, NAMES);
	step(&p, 0, 3, "");
	assert_int_equal(p.v.status, ISCSI_LOGIN_AUTH_FAILED);
}

static void target_proves_itself_when_asked(void **state)
{
	static struct peer p;
	uint8_t digest[ISCSI_CHAP_DIGEST_MAX];
	char hex[80], want[80];
	size_t n;

	(void)state;
	p = (struct peer){.chap = true, .mutual = true};
	to_challenge(&p, "7");
	respond(&p, SECRET, hex);
	answer_with(&p, "user", hex, "CHAP_I=9\nCHAP_C=0x0102030405060708");
	assert_int_equal(p.v.status, ISCSI_LOGIN_OK);
	assert_string_equal(value(&p, "CHAP_N"), "target");
	assert_int_equal(
	    iscsi_chap_response(7, 9, MUTUAL, (const uint8_t *)"\1\2\3\4\5\6\7\10", 8, digest, &n),
	    0);
	iscsi_chap_hex(digest, n, want, sizeof(want));
	assert_string_equal(value(&p, "CHAP_R"), want);
}

/* RFC 7143, 9.2.1: what the target would have answered to its own challenge is a reflection. */
static void our_own_answer_sent_back_is_refused(void **state)
{
	static struct peer p;
	char hex[80];

	(void)state;
	p = (struct peer){.chap = true, .mutual = true, .same_secret = true};
	to_challenge(&p, "7");
	respond(&p, SECRET, hex);
	answer_with(&p, "user", hex, "");
	assert_int_equal(p.v.status, ISCSI_LOGIN_AUTH_FAILED);
	assert_false(p.login.authenticated);
}

static void our_challenge_sent_back_is_refused(void **state)
{
	static struct peer p;
	char hex[80], more[200];

	(void)state;
	p = (struct peer){.chap = true, .mutual = true};
	to_challenge(&p, "7");
	snprintf(more, sizeof(more), "CHAP_I=1\nCHAP_C=%s", value(&p, "CHAP_C"));
	respond(&p, SECRET, hex);
	answer_with(&p, "user", hex, more);
	assert_int_equal(p.v.status, ISCSI_LOGIN_AUTH_FAILED);
	assert_null(value(&p, "CHAP_R"));
	p.mutual = false; /* and a target without a secret proves nothing */
	to_challenge(&p, "7");
	respond(&p, SECRET, hex);
	answer_with(&p, "user", hex, "CHAP_I=9\nCHAP_C=0x0102030405060708");
	assert_int_equal(p.v.status, ISCSI_LOGIN_AUTH_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_request_logs_in),
	    cmocka_unit_test(stages_follow_each_other),
	    cmocka_unit_test(wrong_requests_are_refused),
	    cmocka_unit_test(later_requests_must_belong_to_the_first),
	    cmocka_unit_test(discovery_needs_no_target),
	    cmocka_unit_test(keys_are_answered_by_their_rules),
	    cmocka_unit_test(only_declarations_change_later),
	    cmocka_unit_test(chap_lets_in_who_knows_the_secret),
	    cmocka_unit_test(chap_keeps_out_who_does_not),
	    cmocka_unit_test(chap_cannot_be_passed_by),
	    cmocka_unit_test(target_proves_itself_when_asked),
	    cmocka_unit_test(our_challenge_sent_back_is_refused),
	    cmocka_unit_test(our_own_answer_sent_back_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
