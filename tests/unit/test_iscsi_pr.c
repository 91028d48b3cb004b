/* Persistent reservations: who may do what, and what the others are told; their bytes. */
#include "targets/iscsi/pr_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct iscsi_pr_nexus a = {"iqn.a.b:a,i,0x800000000001", 1, "iqn.a.b:t"},
				   b = {"iqn.a.b:b,i,0x800000000001", 1, "iqn.a.b:t"},
				   c = {"iqn.a.b:c,i,0x800000000001", 1, "iqn.a.b:t"};
static char told[64]; /* "b4 c4": REGISTRATION_PREEMPTED to b and c */

static void tell(void *arg, const struct iscsi_pr_nexus *who, enum iscsi_pr_news what)
{
	size_t n = strlen(told);

	(void)arg;
	snprintf(told + n, sizeof(told) - n, "%s%c%d", n ? " " : "", who->port[8], (int)what);
}

static enum iscsi_pr_result act(struct iscsi_pr *pr, const struct iscsi_pr_nexus *who,
				enum iscsi_pr_action action, uint64_t key, uint64_t sa_key,
				uint8_t type)
{
	const struct iscsi_pr_ops ops = {tell, NULL};
	const struct iscsi_pr_request req = {
	    .action = action, .type = type, .key = key, .sa_key = sa_key};

	told[0] = '\0';
	return iscsi_pr_do(pr, who, &req, &ops);
}

static void register_all(struct iscsi_pr *pr)
{
	*pr = (struct iscsi_pr){0};
	assert_int_equal(act(pr, &a, ISCSI_PR_REGISTER, 0, 0xa, 0), ISCSI_PR_OK);
	assert_int_equal(act(pr, &b, ISCSI_PR_REGISTER, 0, 0xb, 0), ISCSI_PR_OK);
	assert_int_equal(pr->n, 2);
	assert_int_equal(pr->generation, 2);
}

static void keys_are_asked_for(void **state)
{
	struct iscsi_pr pr;

	(void)state;
	register_all(&pr);
	assert_int_equal(act(&pr, &c, ISCSI_PR_REGISTER, 7, 0xc, 0), ISCSI_PR_CONFLICT);
	assert_int_equal(act(&pr, &a, ISCSI_PR_REGISTER, 7, 0xaa, 0), ISCSI_PR_CONFLICT);
	assert_int_equal(act(&pr, &c, ISCSI_PR_RESERVE, 0, 0, ISCSI_PR_ALL), ISCSI_PR_CONFLICT);
	assert_int_equal(act(&pr, &a, ISCSI_PR_RESERVE, 7, 0, ISCSI_PR_ALL), ISCSI_PR_CONFLICT);
	assert_int_equal(act(&pr, &a, ISCSI_PR_REGISTER_IGNORE, 7, 0xaa, 0), ISCSI_PR_OK);
	assert_int_equal(act(&pr, &a, ISCSI_PR_RESERVE, 0xaa, 0, ISCSI_PR_ALL), ISCSI_PR_OK);
	assert_int_equal(act(&pr, &c, ISCSI_PR_REGISTER, 0, 0, 0), ISCSI_PR_OK); /* nothing */
	assert_int_equal(pr.n, 2);
	iscsi_pr_destroy(&pr);
}

static void types_let_in_whom_they_should(void **state)
{
	/* what registrant b and stranger c may do while a holds it: r, w, - */
	static const struct {
		uint8_t type;
		bool b_reads, b_writes, c_reads, c_writes;
	} t[] = {
	    {ISCSI_PR_WRITE, true, false, true, false},
	    {ISCSI_PR_ALL, false, false, false, false},
	    {ISCSI_PR_WRITE_REGISTRANTS, true, true, true, false},
	    {ISCSI_PR_ALL_REGISTRANTS, true, true, false, false},
	    {ISCSI_PR_WRITE_ANY, true, true, true, false},
	    {ISCSI_PR_ALL_ANY, true, true, false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct iscsi_pr pr;

		register_all(&pr);
		assert_true(iscsi_pr_allows(&pr, &c, true));
		assert_int_equal(act(&pr, &a, ISCSI_PR_RESERVE, 0xa, 0, t[i].type), ISCSI_PR_OK);
		assert_true(iscsi_pr_allows(&pr, &a, false));
		assert_true(iscsi_pr_allows(&pr, &a, true));
		assert_int_equal(iscsi_pr_allows(&pr, &b, false), t[i].b_reads);
		assert_int_equal(iscsi_pr_allows(&pr, &b, true), t[i].b_writes);
		assert_int_equal(iscsi_pr_allows(&pr, &c, false), t[i].c_reads);
		assert_int_equal(iscsi_pr_allows(&pr, &c, true), t[i].c_writes);
		iscsi_pr_destroy(&pr);
	}
	assert_false(iscsi_pr_type_ok(2));
	assert_false(iscsi_pr_type_ok(0));
}

static void releases_are_told_to_registrants(void **state)
{
	struct iscsi_pr pr;

	(void)state;
	register_all(&pr);
	assert_int_equal(act(&pr, &a, ISCSI_PR_RESERVE, 0xa, 0, ISCSI_PR_WRITE), ISCSI_PR_OK);
	assert_int_equal(act(&pr, &a, ISCSI_PR_RESERVE, 0xa, 0, ISCSI_PR_WRITE), ISCSI_PR_OK);
	assert_int_equal(act(&pr, &b, ISCSI_PR_RESERVE, 0xb, 0, ISCSI_PR_WRITE), ISCSI_PR_CONFLICT);
	assert_int_equal(act(&pr, &b, ISCSI_PR_RELEASE, 0xb, 0, ISCSI_PR_WRITE), ISCSI_PR_OK);
	assert_int_equal(pr.type, ISCSI_PR_WRITE);
	assert_int_equal(act(&pr, &a, ISCSI_PR_RELEASE, 0xa, 0, ISCSI_PR_ALL),
			 ISCSI_PR_BAD_RELEASE);
	assert_int_equal(act(&pr, &a, ISCSI_PR_RELEASE, 0xa, 0, ISCSI_PR_WRITE), ISCSI_PR_OK);
	assert_string_equal(told, "");
	assert_int_equal(pr.type, ISCSI_PR_NONE);
	act(&pr, &a, ISCSI_PR_RESERVE, 0xa, 0, ISCSI_PR_ALL_REGISTRANTS);
	assert_int_equal(act(&pr, &a, ISCSI_PR_REGISTER, 0xa, 0, 0), ISCSI_PR_OK);
	assert_string_equal(told, "b1"); /* the holder left */
	assert_int_equal(pr.type, ISCSI_PR_NONE);
	assert_int_equal(pr.n, 1);
	iscsi_pr_destroy(&pr);
}

static void all_registrants_hold_until_the_last_leaves(void **state)
{
	struct iscsi_pr pr;

	(void)state;
	register_all(&pr);
	act(&pr, &a, ISCSI_PR_RESERVE, 0xa, 0, ISCSI_PR_ALL_ANY);
	assert_true(iscsi_pr_holds(&pr, 0));
	assert_true(iscsi_pr_holds(&pr, 1));
	act(&pr, &a, ISCSI_PR_REGISTER, 0xa, 0, 0);
	assert_int_equal(pr.type, ISCSI_PR_ALL_ANY);
	act(&pr, &b, ISCSI_PR_REGISTER, 0xb, 0, 0);
	assert_int_equal(pr.type, ISCSI_PR_NONE);
	iscsi_pr_destroy(&pr);
}

static void preempting_takes_the_reservation_over(void **state)
{
	struct iscsi_pr pr;

	(void)state;
	register_all(&pr);
	act(&pr, &c, ISCSI_PR_REGISTER, 0, 0xc, 0);
	act(&pr, &a, ISCSI_PR_RESERVE, 0xa, 0, ISCSI_PR_WRITE_REGISTRANTS);
	assert_int_equal(act(&pr, &b, ISCSI_PR_PREEMPT, 0xb, 0xdead, ISCSI_PR_ALL),
			 ISCSI_PR_CONFLICT);
	assert_int_equal(act(&pr, &b, ISCSI_PR_PREEMPT, 0xb, 0, ISCSI_PR_ALL), ISCSI_PR_BAD_LIST);
	assert_int_equal(act(&pr, &b, ISCSI_PR_PREEMPT, 0xb, 0xa, ISCSI_PR_ALL), ISCSI_PR_OK);
	assert_string_equal(told, "a4 c1");
	assert_int_equal(pr.n, 2);
	assert_int_equal(pr.type, ISCSI_PR_ALL);
	assert_true(iscsi_pr_allows(&pr, &b, true));
	assert_false(iscsi_pr_allows(&pr, &c, false));
	/* a registrant that does not hold it: only its registration goes */
	assert_int_equal(act(&pr, &b, ISCSI_PR_PREEMPT_ABORT, 0xb, 0xc, ISCSI_PR_WRITE),
			 ISCSI_PR_OK);
	assert_string_equal(told, "c4");
	assert_int_equal(pr.type, ISCSI_PR_ALL);
	/* one's own key changes the type */
	assert_int_equal(act(&pr, &b, ISCSI_PR_PREEMPT, 0xb, 0xb, ISCSI_PR_WRITE), ISCSI_PR_OK);
	assert_int_equal(pr.type, ISCSI_PR_WRITE);
	assert_int_equal(pr.n, 1);
	iscsi_pr_destroy(&pr);
}

static void key_zero_preempts_all_registrants(void **state)
{
	struct iscsi_pr pr;

	(void)state;
	register_all(&pr);
	act(&pr, &c, ISCSI_PR_REGISTER, 0, 0xc, 0);
	act(&pr, &a, ISCSI_PR_RESERVE, 0xa, 0, ISCSI_PR_WRITE_ANY);
	assert_int_equal(act(&pr, &b, ISCSI_PR_PREEMPT, 0xb, 0, ISCSI_PR_ALL), ISCSI_PR_OK);
	assert_string_equal(told, "c4 a4");
	assert_int_equal(pr.n, 1);
	assert_true(iscsi_pr_allows(&pr, &b, true));
	assert_false(iscsi_pr_allows(&pr, &a, false));
	iscsi_pr_destroy(&pr);
}

static void clearing_leaves_nothing(void **state)
{
	struct iscsi_pr pr;
	uint32_t generation;

	(void)state;
	register_all(&pr);
	generation = pr.generation;
	act(&pr, &a, ISCSI_PR_RESERVE, 0xa, 0, ISCSI_PR_ALL);
	assert_int_equal(pr.generation, generation);
	assert_int_equal(act(&pr, &b, ISCSI_PR_CLEAR, 0xb, 0, 0), ISCSI_PR_OK);
	assert_string_equal(told, "a2");
	assert_int_equal(pr.n, 0);
	assert_int_equal(pr.type, ISCSI_PR_NONE);
	assert_int_equal(pr.generation, generation + 1);
	iscsi_pr_destroy(&pr);
}

static void registrants_are_bounded(void **state)
{
	struct iscsi_pr pr = {0};
	struct iscsi_pr_nexus n = a;

	(void)state;
	for (unsigned i = 0; i < ISCSI_PR_MAX; i++) {
		n.tag = (uint16_t)(i + 1);
		assert_int_equal(act(&pr, &n, ISCSI_PR_REGISTER, 0, i + 1, 0), ISCSI_PR_OK);
	}
	n.tag = 9999;
	assert_int_equal(act(&pr, &n, ISCSI_PR_REGISTER, 0, 1, 0), ISCSI_PR_NO_ROOM);
	assert_int_equal(pr.n, ISCSI_PR_MAX);
	iscsi_pr_destroy(&pr);
}

/* REGISTER for others as well: all of them or none. */
static void register_may_name_others(void **state)
{
	const struct iscsi_pr_ops ops = {tell, NULL};
	struct iscsi_pr pr = {0};
	struct iscsi_pr_nexus others[2] = {b, c};
	struct iscsi_pr_request req = {.action = ISCSI_PR_REGISTER,
				       .sa_key = 7,
				       .others = others,
				       .nothers = 2,
				       .others_are_new = true};

	(void)state;
	assert_int_equal(iscsi_pr_do(&pr, &a, &req, &ops), ISCSI_PR_OK);
	assert_int_equal(pr.n, 3);
	assert_int_equal(pr.generation, 1);
	req.key = 7; /* one that is registered may not name others */
	assert_int_equal(iscsi_pr_do(&pr, &a, &req, &ops), ISCSI_PR_BAD_LIST);
	assert_int_equal(act(&pr, &a, ISCSI_PR_REGISTER, 7, 0, 0), ISCSI_PR_OK);
	req.key = 0; /* b has a key already */
	assert_int_equal(iscsi_pr_do(&pr, &a, &req, &ops), ISCSI_PR_BAD_LIST);
	assert_int_equal(pr.n, 2);
	/* ALL_TG_PT: whatever they had */
	req.others_are_new = false;
	req.sa_key = 8;
	assert_int_equal(iscsi_pr_do(&pr, &a, &req, &ops), ISCSI_PR_OK);
	assert_int_equal(pr.n, 3);
	for (unsigned i = 0; i < pr.n; i++)
		assert_int_equal(pr.r[i].key, 8);
	req.key = 8;
	req.sa_key = 0;
	assert_int_equal(iscsi_pr_do(&pr, &a, &req, &ops), ISCSI_PR_OK);
	assert_int_equal(pr.n, 0);
	iscsi_pr_destroy(&pr);
}

static void moving_makes_another_the_holder(void **state)
{
	const struct iscsi_pr_ops ops = {tell, NULL};
	struct iscsi_pr pr;
	struct iscsi_pr_nexus to = c;
	struct iscsi_pr_request req = {.action = ISCSI_PR_REGISTER_MOVE,
				       .key = 0xa,
				       .sa_key = 0xcc,
				       .others = &to,
				       .nothers = 1};

	(void)state;
	register_all(&pr);
	assert_int_equal(iscsi_pr_do(&pr, &a, &req, &ops), ISCSI_PR_CONFLICT); /* holds nothing */
	act(&pr, &a, ISCSI_PR_RESERVE, 0xa, 0, ISCSI_PR_ALL);
	req.sa_key = 0;
	assert_int_equal(iscsi_pr_do(&pr, &a, &req, &ops), ISCSI_PR_BAD_LIST);
	req.sa_key = 0xcc;
	to = a;
	assert_int_equal(iscsi_pr_do(&pr, &a, &req, &ops), ISCSI_PR_BAD_LIST);
	to = c;
	req.unregister = true;
	assert_int_equal(iscsi_pr_do(&pr, &a, &req, &ops), ISCSI_PR_OK);
	assert_int_equal(pr.n, 2);
	assert_true(iscsi_pr_allows(&pr, &c, true));
	assert_false(iscsi_pr_allows(&pr, &a, false));
	assert_int_equal(act(&pr, &c, ISCSI_PR_RELEASE, 0xcc, 0, ISCSI_PR_ALL), ISCSI_PR_OK);
	assert_int_equal(pr.type, ISCSI_PR_NONE);
	act(&pr, &b, ISCSI_PR_RESERVE, 0xb, 0, ISCSI_PR_ALL_ANY);
	req.key = 0xb;
	to = a;
	assert_int_equal(iscsi_pr_do(&pr, &b, &req, &ops), ISCSI_PR_CONFLICT);
	iscsi_pr_destroy(&pr);
}

static void transport_ids_name_initiator_ports(void **state)
{
	static const uint8_t isid[6] = {0x80, 0, 0, 0, 0, 0xab};
	uint8_t id[ISCSI_PR_ID_MAX], bad[ISCSI_PR_ID_MAX];
	char port[ISCSI_PR_PORT], back[ISCSI_PR_PORT];
	size_t len;

	(void)state;
	iscsi_pr_port_name(port, "iqn.a.b:a", isid);
	assert_string_equal(port, "iqn.a.b:a,i,0x8000000000ab");
	len = iscsi_pr_id_encode(port, id);
	assert_int_equal(len, 4 + 28);
	assert_memory_equal(id, "\x45\0\0\x1c", 4);
	assert_int_equal(iscsi_pr_id_decode(id, len, back), len);
	assert_string_equal(back, port);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(iscsi_pr_id_decode(id, cut, back), 0);
	memcpy(bad, id, len);
	bad[0] = 0x05; /* a name without ISID */
	assert_int_equal(iscsi_pr_id_decode(bad, len, back), 0);
	memcpy(bad, id, len);
	bad[4 + 15] = 'g'; /* within the ISID */
	assert_int_equal(iscsi_pr_id_decode(bad, len, back), 0);
	memcpy(bad, id, len);
	memset(bad + 4, 'x', len - 4); /* without end */
	assert_int_equal(iscsi_pr_id_decode(bad, len, back), 0);
}

static void what_is_kept_comes_back(void **state)
{
	static uint8_t kept[ISCSI_PR_KEPT_MAX], bad[ISCSI_PR_KEPT_MAX];
	struct iscsi_pr pr, back = {0};
	struct iscsi_pr_nexus n = b;
	uint8_t flags = 0;
	size_t len;

	(void)state;
	len = iscsi_pr_keep(NULL, ISCSI_KEPT_SANITIZING, kept);
	assert_int_equal(iscsi_pr_restore(&back, &flags, kept, len), 0);
	assert_int_equal(flags, ISCSI_KEPT_SANITIZING);
	assert_null(back.r);
	register_all(&pr);
	act(&pr, &b, ISCSI_PR_RESERVE, 0xb, 0, ISCSI_PR_WRITE_REGISTRANTS);
	len = iscsi_pr_keep(&pr, 0, kept);
	assert_int_equal(iscsi_pr_restore(&back, &flags, kept, len), 0);
	assert_int_equal(back.n, 2);
	assert_int_equal(back.type, ISCSI_PR_WRITE_REGISTRANTS);
	assert_true(back.aptpl);
	assert_int_equal(back.r[1].key, 0xb);
	assert_true(iscsi_pr_same(&back.r[1].nexus, &b));
	assert_true(iscsi_pr_holds(&back, 1));
	iscsi_pr_destroy(&back);
	for (size_t cut = 0; cut < len; cut++) {
		assert_int_equal(iscsi_pr_restore(&back, &flags, kept, cut), VS_E_CORRUPT);
		assert_null(back.r);
	}
	for (size_t i = 0; i < len * 8; i++) { /* damage: refused or something that is in order */
		memcpy(bad, kept, len);
		bad[i / 8] ^= (uint8_t)(1u << i % 8);
		if (iscsi_pr_restore(&back, &flags, bad, len) != 0 || !back.n)
			continue;
		assert_in_range(back.n, 1, ISCSI_PR_MAX);
		assert_true(!back.type || iscsi_pr_type_ok(back.type));
		assert_true(back.holder < back.n);
		iscsi_pr_destroy(&back);
	}
	for (unsigned i = pr.n; i < ISCSI_PR_MAX; i++) {
		memset(n.port, 'p', sizeof(n.port) - 1);
		memset(n.target, 't', sizeof(n.target) - 1);
		n.tag = (uint16_t)i;
		assert_int_equal(act(&pr, &n, ISCSI_PR_REGISTER, 0, 1, 0), ISCSI_PR_OK);
	}
	len = iscsi_pr_keep(&pr, 0, kept);
	assert_true(len <= sizeof(kept));
	assert_int_equal(iscsi_pr_restore(&back, &flags, kept, len), 0);
	assert_int_equal(back.n, ISCSI_PR_MAX);
	iscsi_pr_destroy(&back);
	iscsi_pr_destroy(&pr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keys_are_asked_for),
	    cmocka_unit_test(types_let_in_whom_they_should),
	    cmocka_unit_test(releases_are_told_to_registrants),
	    cmocka_unit_test(all_registrants_hold_until_the_last_leaves),
	    cmocka_unit_test(preempting_takes_the_reservation_over),
	    cmocka_unit_test(key_zero_preempts_all_registrants),
	    cmocka_unit_test(clearing_leaves_nothing),
	    cmocka_unit_test(registrants_are_bounded),
	    cmocka_unit_test(register_may_name_others),
	    cmocka_unit_test(moving_makes_another_the_holder),
	    cmocka_unit_test(transport_ids_name_initiator_ports),
	    cmocka_unit_test(what_is_kept_comes_back),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
