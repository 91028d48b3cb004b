#include "targets/iscsi/negotiate.h"

#include "common/bytes.h"

#include <stddef.h>
#include <string.h>

enum kind { K_AND, K_OR, K_MIN, K_MAX, K_DIGEST, K_DECLARED };

#define NOWHERE ((size_t)-1)
#define FIELD(name) offsetof(struct iscsi_params, name)

static const struct key {
	const char *name;
	enum kind kind;
	bool discovery; /* has a meaning in discovery sessions */
	size_t field;	/* where the outcome goes; NOWHERE: our value is the only outcome we take */
	uint32_t ours, min, max;
} keys[] = {
    {"HeaderDigest", K_DIGEST, true, FIELD(header_digest), 0, 0, 0},
    {"DataDigest", K_DIGEST, true, FIELD(data_digest), 0, 0, 0},
    {"MaxRecvDataSegmentLength", K_DECLARED, true, FIELD(send_dsl), 0, 512, (1u << 24) - 1},
    {"InitialR2T", K_OR, false, FIELD(initial_r2t), false, 0, 0},
    {"ImmediateData", K_AND, false, FIELD(immediate_data), true, 0, 0},
    {"MaxBurstLength", K_MIN, false, FIELD(max_burst), ISCSI_MAX_BURST, 512, (1u << 24) - 1},
    {"FirstBurstLength", K_MIN, false, FIELD(first_burst), ISCSI_FIRST_BURST, 512, (1u << 24) - 1},
    {"MaxConnections", K_MIN, false, NOWHERE, 1, 1, 65535},
    {"MaxOutstandingR2T", K_MIN, false, NOWHERE, 1, 1, 65535},
    {"DataPDUInOrder", K_OR, false, NOWHERE, true, 0, 0},
    {"DataSequenceInOrder", K_OR, false, NOWHERE, true, 0, 0},
    {"DefaultTime2Wait", K_MAX, true, NOWHERE, ISCSI_TIME2WAIT, 0, 3600},
    {"DefaultTime2Retain", K_MIN, true, NOWHERE, 0, 0, 3600},
    {"ErrorRecoveryLevel", K_MIN, true, NOWHERE, 0, 0, 2},
    {"IFMarker", K_AND, false, NOWHERE, false, 0, 0},
    {"OFMarker", K_AND, false, NOWHERE, false, 0, 0},
};

void iscsi_params_init(struct iscsi_params *p)
{
	*p = (struct iscsi_params){
	    .initial_r2t = true,
	    .immediate_data = true,
	    .max_burst = 262144,
	    .first_burst = 65536,
	    .send_dsl = 8192,
	};
}

static void put_bool(struct iscsi_params *p, const struct key *k, bool v)
{
	if (k->field != NOWHERE)
		memcpy((char *)p + k->field, &v, sizeof(v));
}

static void put_number(struct iscsi_params *p, const struct key *k, uint32_t v)
{
	if (k->field != NOWHERE)
		memcpy((char *)p + k->field, &v, sizeof(v));
}

static void answer_bool(struct iscsi_params *p, const struct key *k, const char *value,
			struct iscsi_text_out *out)
{
	bool theirs = strcmp(value, "Yes") == 0, v;

	if (!theirs && strcmp(value, "No") != 0) {
		iscsi_text_add(out, k->name, "Reject");
		return;
	}
	v = k->kind == K_AND ? theirs && k->ours : theirs || k->ours;
	put_bool(p, k, v);
	iscsi_text_add(out, k->name, "%s", v ? "Yes" : "No");
}

static void answer_number(struct iscsi_params *p, const struct key *k, const char *value,
			  struct iscsi_text_out *out)
{
	uint64_t theirs;
	uint32_t v;

	if (iscsi_text_number(value, &theirs) < 0 || theirs < k->min || theirs > k->max) {
		iscsi_text_add(out, k->name, "Reject");
		return;
	}
	v = (uint32_t)theirs;
	if (k->kind == K_MIN)
		v = VS_MIN(v, k->ours);
	else if (k->kind == K_MAX)
		v = VS_MAX(v, k->ours);
	put_number(p, k, v);
	if (k->kind != K_DECLARED)
		iscsi_text_add(out, k->name, "%u", v);
}

static void answer_digest(struct iscsi_params *p, const struct key *k, const char *value,
			  struct iscsi_text_out *out)
{
	char item[64];

	while (iscsi_text_list_next(&value, item, sizeof(item))) {
		bool crc = strcmp(item, "CRC32C") == 0;

		if (!crc && strcmp(item, "None") != 0)
			continue;
		put_bool(p, k, crc);
		iscsi_text_add(out, k->name, "%s", item);
		return;
	}
	iscsi_text_add(out, k->name, "Reject");
}

static bool is_answer(const char *value)
{
	return strcmp(value, "NotUnderstood") == 0 || strcmp(value, "Irrelevant") == 0 ||
	       strcmp(value, "Reject") == 0;
}

int iscsi_negotiate(struct iscsi_params *p, enum iscsi_phase phase, bool discovery, const char *key,
		    const char *value, struct iscsi_text_out *out)
{
	for (size_t i = 0; i < VS_ARRAY_LEN(keys); i++) {
		const struct key *k = &keys[i];

		if (strcmp(k->name, key) != 0)
			continue;
		if (phase == ISCSI_PHASE_FULL && k->kind != K_DECLARED)
			return VS_E_PROTO;
		if (phase == ISCSI_PHASE_LOGIN && p->seen & 1u << i)
			return VS_E_PROTO;
		p->seen |= 1u << i;
		if (discovery && !k->discovery)
			iscsi_text_add(out, key, "Irrelevant");
		else if (k->kind == K_DIGEST)
			answer_digest(p, k, value, out);
		else if (k->kind == K_AND || k->kind == K_OR)
			answer_bool(p, k, value, out);
		else
			answer_number(p, k, value, out);
		return 0;
	}
	if (!is_answer(value)) /* we offer nothing, so an answer is to nothing of ours */
		iscsi_text_add(out, key, "NotUnderstood");
	return 0;
}
