/* Who may do what: every mode bit of each class, and the rules beside them. */
#include "datastore/name.h"
#include "datastore/permit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct ds_cred root = {0}, owner = {.uid = 10, .gid = 99},
			    member = {.uid = 11, .gid = 98, .ngroups = 2, .group = {5, 20}},
			    other = {.uid = 12, .gid = 97};

static void test_only_one_class_counts(void **state)
{
	const struct ds_cred *who[] = {&owner, &member, &other};

	(void)state;
	for (uint32_t mode = 0; mode < 01000; mode++) {
		for (unsigned want = 1; want < 8; want++) {
			for (unsigned i = 0; i < 3; i++) {
				struct ds_perm p = {DS_REG, mode, 10, 20};
				unsigned bits = mode >> (6 - 3 * i) & 7;

				assert_int_equal(ds_may(who[i], &p, want), (bits & want) == want);
			}
		}
	}
}

static void test_root_may_all_but_run_what_is_no_program(void **state)
{
	struct ds_perm file = {DS_REG, 0, 10, 20}, program = {DS_REG, 0010, 10, 20},
		       dir = {DS_DIR, 0, 10, 20};

	(void)state;
	assert_true(ds_may(&root, &file, DS_R | DS_W));
	assert_false(ds_may(&root, &file, DS_X));
	assert_true(ds_may(&root, &program, DS_X));
	assert_true(ds_may(&root, &dir, DS_R | DS_W | DS_X));
	assert_true(ds_may(NULL, &file, DS_R | DS_W | DS_X));
}

static void test_sticky_directories(void **state)
{
	struct ds_perm dir = {DS_DIR, 01777, 10, 20}, file = {DS_REG, 0, 11, 20},
		       plain = {DS_DIR, 0777, 10, 20};

	(void)state;
	assert_true(ds_may_unname(&root, &dir, &file));
	assert_true(ds_may_unname(&owner, &dir, &file));  /* the directory's */
	assert_true(ds_may_unname(&member, &dir, &file)); /* the file's */
	assert_false(ds_may_unname(&other, &dir, &file));
	assert_true(ds_may_unname(&other, &plain, &file));
	plain.mode = 0775;
	assert_false(ds_may_unname(&other, &plain, &file));
}

static int may_set(const struct ds_cred *cred, const struct ds_perm *p, struct ds_set set,
		   struct ds_perm *after)
{
	enum ds_status why = DS_OK;
	int rc = ds_may_set(cred, p, &set, false, after, &why);

	return rc == VS_E_INVAL ? (int)why : rc;
}

static void test_who_may_set_what(void **state)
{
	struct ds_perm p = {DS_REG, 06755, 10, 20}, after;

	(void)state;
	assert_int_equal(may_set(&other, &p, (struct ds_set){.what = DS_SET_MODE}, &after),
			 DS_NOT_OWNER);
	assert_int_equal(
	    may_set(&owner, &p, (struct ds_set){.what = DS_SET_UID, .uid = 12}, &after),
	    DS_NOT_OWNER);
	assert_int_equal(
	    may_set(&owner, &p, (struct ds_set){.what = DS_SET_GID, .gid = 97}, &after),
	    DS_NOT_OWNER);
	assert_int_equal(
	    may_set(&owner, &p, (struct ds_set){.what = DS_SET_GID, .gid = 99}, &after), 0);
	assert_int_equal(after.gid, 99);
	assert_int_equal(after.mode, 0755);
	assert_int_equal(may_set(&root, &p, (struct ds_set){.what = DS_SET_UID, .uid = 1}, &after),
			 0);
	assert_int_equal(after.uid, 1);
	assert_int_equal(after.mode, 06755);
	/* the owner is not in the file's group */
	assert_int_equal(
	    may_set(&owner, &p, (struct ds_set){.what = DS_SET_MODE, .mode = 02770}, &after), 0);
	assert_int_equal(after.mode, 0770);
	assert_int_equal(may_set(&other, &p, (struct ds_set){.what = DS_SET_ATIME}, &after),
			 DS_NOT_OWNER);
	assert_int_equal(may_set(&other, &p, (struct ds_set){.what = DS_SET_MTIME_NOW}, &after),
			 VS_E_ACCESS);
	assert_int_equal(may_set(&other, &p, (struct ds_set){.what = DS_SET_SIZE}, &after),
			 VS_E_ACCESS);
	p.mode = 06777;
	assert_int_equal(may_set(&other, &p, (struct ds_set){.what = DS_SET_MTIME_NOW}, &after), 0);
	assert_int_equal(may_set(&other, &p, (struct ds_set){.what = DS_SET_SIZE}, &after), 0);
	assert_int_equal(after.mode, 0777);
}

static void test_the_owner_goes_on_with_what_is_open(void **state)
{
	struct ds_perm p = {DS_REG, 0444, 10, 20}, after;
	struct ds_set set = {.what = DS_SET_SIZE};
	enum ds_status why;

	(void)state;
	assert_int_equal(ds_may_set(&owner, &p, &set, false, &after, &why), VS_E_ACCESS);
	assert_int_equal(ds_may_set(&owner, &p, &set, true, &after, &why), 0);
	assert_int_equal(ds_may_set(&other, &p, &set, true, &after, &why), VS_E_ACCESS);
}

static void test_new_files_and_set_group_id(void **state)
{
	struct ds_perm dir = {DS_DIR, 02777, 10, 20}, plain = {DS_DIR, 0777, 10, 20}, p;
	struct ds_set set = {.what = DS_SET_MODE, .mode = 0750};
	enum ds_status why = DS_OK;

	(void)state;
	assert_int_equal(ds_new_perm(&other, &dir, DS_REG, &set, &p, &why), 0);
	assert_int_equal(p.gid, 20);
	assert_int_equal(p.mode, 0750);
	assert_int_equal(ds_new_perm(&other, &dir, DS_DIR, &set, &p, &why), 0);
	assert_int_equal(p.mode, 02750);
	assert_int_equal(ds_new_perm(&other, &plain, DS_DIR, &set, &p, &why), 0);
	assert_int_equal(p.gid, 97);
	assert_int_equal(p.uid, 12);
	assert_int_equal(p.mode, 0750);
	set = (struct ds_set){.what = DS_SET_UID, .uid = 1};
	assert_int_equal(ds_new_perm(&other, &plain, DS_REG, &set, &p, &why), VS_E_INVAL);
	assert_int_equal(why, DS_NOT_OWNER);
	assert_int_equal(ds_new_perm(&root, &plain, DS_REG, &set, &p, &why), 0);
	assert_int_equal(p.uid, 1);
}

static void test_access(void **state)
{
	struct ds_perm dir = {DS_DIR, 0750, 10, 20}, file = {DS_REG, 0750, 10, 20};

	(void)state;
	assert_int_equal(ds_access(&owner, &dir, 63), DS_MAY_READ | DS_MAY_LOOKUP | DS_MAY_MODIFY |
							  DS_MAY_EXTEND | DS_MAY_DELETE);
	assert_int_equal(ds_access(&member, &dir, 63), DS_MAY_READ | DS_MAY_LOOKUP);
	assert_int_equal(ds_access(&member, &file, 63), DS_MAY_READ | DS_MAY_EXECUTE);
	assert_int_equal(ds_access(&owner, &file, DS_MAY_READ), DS_MAY_READ);
	assert_int_equal(ds_access(&other, &file, 63), 0);
}

static void test_cookies_are_keyed_and_in_range(void **state)
{
	uint64_t a = ds_name_cookie(1, 62, "name", 4);

	(void)state;
	assert_int_equal(a, ds_name_cookie(1, 62, "name", 4));
	assert_int_not_equal(a, ds_name_cookie(2, 62, "name", 4));
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t c = ds_name_cookie(i, 62, (const char *)&i, sizeof(i));

		assert_true(c >= DS_COOKIE_FIRST && c <= INT64_MAX);
		assert_true(ds_name_cookie(i, 2, (const char *)&i, sizeof(i)) <
			    DS_COOKIE_FIRST + 4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_only_one_class_counts),
	    cmocka_unit_test(test_root_may_all_but_run_what_is_no_program),
	    cmocka_unit_test(test_sticky_directories),
	    cmocka_unit_test(test_who_may_set_what),
	    cmocka_unit_test(test_the_owner_goes_on_with_what_is_open),
	    cmocka_unit_test(test_new_files_and_set_group_id),
	    cmocka_unit_test(test_access),
	    cmocka_unit_test(test_cookies_are_keyed_and_in_range),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
