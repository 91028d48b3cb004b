/* Client lists: who is on one, by which rule, and who the caller is then. */
#include "targets/nfs/rule.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static struct nfs_match match(const char *clients)
{
	const struct nfs_rule r = {.clients = clients};
	struct nfs_match m;

	assert_int_equal(nfs_rule_parse(&r, &m, NULL), 0);
	return m;
}

static struct nfs_address address(const char *text)
{
	struct sockaddr_storage ss = {0};
	struct sockaddr_in *four = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&ss;
	struct nfs_address a;

	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		ss.ss_family = AF_INET;
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &six->sin6_addr), 1);
		ss.ss_family = AF_INET6;
	}
	assert_true(nfs_address_from(&ss, &a));
	return a;
}

static bool holds(const char *clients, const char *who)
{
	struct nfs_match m = match(clients);
	struct nfs_address a = address(who);

	return nfs_rule_find(&m, 1, &a) != NULL;
}

static void prefixes(void **state)
{
	(void)state;
	assert_true(holds("192.0.2.0/24", "192.0.2.255"));
	assert_false(holds("192.0.2.0/24", "192.0.3.0"));
	assert_true(holds("192.0.2.128/25", "192.0.2.128"));
	assert_false(holds("192.0.2.128/25", "192.0.2.127"));
	assert_true(holds("192.0.2.7", "192.0.2.7"));
	assert_false(holds("192.0.2.7", "192.0.2.6"));
	assert_true(holds("0.0.0.0/0", "203.0.113.9"));
	assert_false(holds("0.0.0.0/0", "2001:db8::1"));
	assert_true(holds("::/0", "2001:db8::1"));
	assert_false(holds("::/0", "203.0.113.9"));
	assert_true(holds("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(holds("2001:db8::/33", "2001:db8:8000::1"));
	assert_true(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
}

static void refused(void **state)
{
	static const char *const bad[] = {"",
					  "192.0.2",
					  "host.example",
					  "192.0.2.1/24",
					  "192.0.2.0/33",
					  "192.0.2.0/",
					  "192.0.2.0/-1",
					  "2001:db8::1/64",
					  "2001:db8::/129",
					  "*",
					  "192.0.2.0/24/3",
					  "[::1]"};
	struct nfs_match m;
	struct vs_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const struct nfs_rule r = {.clients = bad[i]};

		assert_int_equal(nfs_rule_parse(&r, &m, &err), VS_E_INVAL);
		assert_non_null(strstr(err.text, "NFS"));
	}
}

static void longest_prefix_rules(void **state)
{
	struct nfs_match list[] = {match("0.0.0.0/0"), match("192.0.2.7"), match("192.0.2.0/24")};
	struct nfs_address inside = address("192.0.2.7"), beside = address("192.0.2.8"),
			   outside = address("198.51.100.1"), six = address("::1");

	(void)state;
	assert_ptr_equal(nfs_rule_find(list, 3, &inside), &list[1]);
	assert_ptr_equal(nfs_rule_find(list, 3, &beside), &list[2]);
	assert_ptr_equal(nfs_rule_find(list, 3, &outside), &list[0]);
	assert_null(nfs_rule_find(list, 3, &six));
	assert_null(nfs_rule_find(list, 0, &inside));
}

static void texts(void **state)
{
	static const char *const cidrs[] = {"192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32",
					    "::1/128"};
	char text[NFS_ADDRESS_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cidrs) / sizeof(*cidrs); i++) {
		struct nfs_match m = match(cidrs[i]);

		nfs_match_text(&m, text);
		assert_string_equal(text, cidrs[i]);
	}
}

static void squash(void **state)
{
	const struct nfs_rpc_cred root = {NFS_RPC_AUTH_SYS, 0, 0, 2, {0, 5}};
	const struct nfs_rpc_cred user = {NFS_RPC_AUTH_SYS, 1000, 0, 1, {100}};
	const struct nfs_rpc_cred nobody = {.flavor = NFS_RPC_AUTH_NONE};
	struct nfs_match m = match("::/0");
	struct ds_cred to;

	(void)state;
	m.anonymous_uid = 65534;
	m.anonymous_gid = 65533;
	m.squash = NFS_SQUASH_ROOT;
	nfs_rule_squash(&m, &root, &to);
	assert_int_equal(to.uid, 65534);
	assert_int_equal(to.gid, 65533);
	assert_int_equal(to.ngroups, 2);
	assert_int_equal(to.group[0], 65533);
	assert_int_equal(to.group[1], 5);
	nfs_rule_squash(&m, &user, &to);
	assert_int_equal(to.uid, 1000);
	assert_int_equal(to.gid, 65533);
	assert_int_equal(to.group[0], 100);
	m.squash = NFS_SQUASH_NONE;
	nfs_rule_squash(&m, &root, &to);
	assert_int_equal(to.uid, 0);
	assert_int_equal(to.gid, 0);
	assert_int_equal(to.group[0], 0);
	/* Who says nothing of himself is nobody, whatever the rule. */
	nfs_rule_squash(&m, &nobody, &to);
	assert_int_equal(to.uid, 65534);
	m.squash = NFS_SQUASH_ALL;
	nfs_rule_squash(&m, &user, &to);
	assert_int_equal(to.uid, 65534);
	assert_int_equal(to.gid, 65533);
	assert_int_equal(to.ngroups, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(prefixes),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(longest_prefix_rules),
	    cmocka_unit_test(texts),
	    cmocka_unit_test(squash),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
