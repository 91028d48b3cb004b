/*
 * A device that does not answer: task management functions, resets by others and new logins of the
 * same initiator are answered all the same, and nobody reads or writes around what may still be
 * written. The initiators are libiscsi's.
 */
#include "tests/unit/iscsi_scene.h"

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#define FIRST "iqn.1994-05.org.example:first"
#define SECOND "iqn.1994-05.org.example:second"

static void stick(struct scene *s)
{
	atomic_store(&s->device->all, true);
	shut(s);
}

/* ---- an initiator */

struct answer {
	int n, status; /* how many came, the last one's */
};

static void answered(struct iscsi_context *iscsi, int status, void *data, void *arg)
{
	struct answer *a = arg;

	(void)iscsi;
	a->status = status;
	if (status == SCSI_STATUS_GOOD && data && *(uint32_t *)data)
		a->status = (int)*(uint32_t *)data; /* of a task management function */
	a->n++;
}

static void command_answered(struct iscsi_context *iscsi, int status, void *data, void *arg)
{
	struct answer *a = arg;

	(void)iscsi;
	(void)data;
	a->status = status;
	a->n++;
}

static void turn(struct iscsi_context *iscsi, int wait_ms)
{
	struct pollfd p = {.fd = iscsi_get_fd(iscsi), .events = (short)iscsi_which_events(iscsi)};

	assert_true(poll(&p, 1, wait_ms) >= 0);
	assert_int_equal(iscsi_service(iscsi, p.revents), 0);
}

static void wait_for(struct iscsi_context *iscsi, const struct answer *a, int n)
{
	while (a->n < n)
		turn(iscsi, 100);
	assert_int_equal(a->n, n);
}

static struct iscsi_context *login(struct scene *s, const char *name)
{
	struct iscsi_context *iscsi = iscsi_create_context(name);
	char portal[32];

	snprintf(portal, sizeof(portal), "127.0.0.1:%u", iscsi_server_port(s->server, 0));
	iscsi_set_targetname(iscsi, IQN);
	iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
	iscsi_set_header_digest(iscsi, ISCSI_HEADER_DIGEST_NONE);
	iscsi_set_isid_random(iscsi, 1, 0);
	iscsi_set_noautoreconnect(iscsi, 1);
	if (iscsi_connect_sync(iscsi, portal) || iscsi_login_sync(iscsi))
		fail_msg("%s", iscsi_get_error(iscsi));
	return iscsi;
}

static void take_attentions(struct iscsi_context *iscsi)
{
	struct scsi_task *task;
	int status;

	do {
		task = iscsi_testunitready_sync(iscsi, 0);
		assert_non_null(task);
		status = task->status;
		scsi_free_scsi_task(task);
	} while (status != SCSI_STATUS_GOOD);
}

static struct scsi_task *start_write(struct iscsi_context *iscsi, uint32_t lba, uint8_t *data,
				     struct answer *a)
{
	struct scsi_task *task = iscsi_write10_task(iscsi, 0, lba, data, BLOCK, BLOCK, 0, 0, 0, 0,
						    0, command_answered, a);

	assert_non_null(task);
	turn(iscsi, 100);
	return task;
}

static struct scsi_task *start_read(struct iscsi_context *iscsi, uint32_t lba, struct answer *a)
{
	struct scsi_task *task =
	    iscsi_read10_task(iscsi, 0, lba, BLOCK, BLOCK, 0, 0, 0, 0, 0, command_answered, a);

	assert_non_null(task);
	turn(iscsi, 100);
	return task;
}

/* ---- tests */

/* The write is stuck; its abort is answered, the unit still says that it is ready, and a read waits
   for the write: it cannot come back after the read has seen what was before. */
static void aborts_are_answered(void **state)
{
	struct scene *s = *state;
	struct iscsi_context *iscsi = login(s, FIRST);
	struct answer wrote = {0}, aborted = {0}, read = {0};
	uint8_t data[BLOCK];
	struct scsi_task *write, *reading;

	memset(data, 7, sizeof(data));
	take_attentions(iscsi);
	stick(s);
	write = start_write(iscsi, 3, data, &wrote);
	assert_int_equal(iscsi_task_mgmt_abort_task_async(iscsi, write, answered, &aborted), 0);
	wait_for(iscsi, &aborted, 1);
	assert_int_equal(aborted.status, 0); /* function complete */
	take_attentions(iscsi);
	reading = start_read(iscsi, 3, &read);
	for (int i = 0; i < 5; i++)
		turn(iscsi, 20);
	assert_int_equal(read.n, 0);
	assert_int_equal(iscsi_task_mgmt_abort_task_async(iscsi, write, answered, &aborted), 0);
	wait_for(iscsi, &aborted, 2);
	assert_int_equal(aborted.status, ISCSI_TMR_TASK_DOES_NOT_EXIST);
	open_wide(s);
	wait_for(iscsi, &read, 1);
	assert_int_equal(read.status, SCSI_STATUS_GOOD);
	assert_memory_equal(reading->datain.data, data, BLOCK);
	assert_true(wrote.n == 0 || wrote.status != SCSI_STATUS_GOOD);
	scsi_free_scsi_task(reading);
	(void)iscsi_logout_sync(iscsi);
	iscsi_destroy_context(iscsi);
	scsi_free_scsi_task(write);
}

/* Resets end what other sessions have outstanding, and are answered as well. */
static void resets_are_answered(void **state)
{
	struct scene *s = *state;
	struct iscsi_context *first = login(s, FIRST), *second = login(s, SECOND);
	struct answer wrote = {0}, reset = {0}, again = {0};
	struct scsi_task *first_write, *second_write;
	uint8_t one[BLOCK], two[BLOCK];

	memset(one, 1, sizeof(one));
	memset(two, 2, sizeof(two));
	take_attentions(first);
	take_attentions(second);
	stick(s);
	first_write = start_write(first, 5, one, &wrote);
	assert_int_equal(iscsi_task_mgmt_lun_reset_async(second, 0, answered, &reset), 0);
	wait_for(second, &reset, 1);
	assert_int_equal(iscsi_task_mgmt_target_warm_reset_async(second, answered, &reset), 0);
	wait_for(second, &reset, 2);
	assert_int_equal(iscsi_task_mgmt_abort_task_set_async(second, 0, answered, &reset), 0);
	wait_for(second, &reset, 3);
	assert_int_equal(reset.status, 0);
	take_attentions(second);
	second_write = start_write(second, 5, two, &again); /* waits for the first one's */
	for (int i = 0; i < 5; i++)
		turn(second, 20);
	assert_int_equal(again.n, 0);
	assert_int_equal(wrote.n, 0); /* aborted by another: no answer (TAS 0) */
	open_wide(s);
	wait_for(second, &again, 1);
	assert_int_equal(again.status, SCSI_STATUS_GOOD);
	take_attentions(first);
	memset(&again, 0, sizeof(again));
	{
		struct scsi_task *reading = start_read(first, 5, &again);

		wait_for(first, &again, 1);
		assert_memory_equal(reading->datain.data, two, BLOCK);
		scsi_free_scsi_task(reading);
	}
	(void)iscsi_logout_sync(first);
	(void)iscsi_logout_sync(second);
	iscsi_destroy_context(first);
	iscsi_destroy_context(second);
	scsi_free_scsi_task(first_write);
	scsi_free_scsi_task(second_write);
}

/* A login takes over from the same initiator's session while that one's writes are stuck. */
static void a_session_is_taken_over(void **state)
{
	struct scene *s = *state;
	struct iscsi_context *old = login(s, FIRST), *new;
	struct answer wrote = {0}, again = {0}, read = {0};
	uint8_t one[BLOCK], two[BLOCK];
	struct scsi_task *reading, *first_write, *second_write;

	memset(one, 1, sizeof(one));
	memset(two, 2, sizeof(two));
	take_attentions(old);
	stick(s);
	first_write = start_write(old, 9, one, &wrote);
	new = login(s, FIRST); /* the same ISID: iscsi_set_isid_random is given the number */
	assert_int_equal(iscsi_server_sessions(s->server, IQN, NULL, 0), 1);
	take_attentions(new);
	second_write = start_write(new, 9, two, &again);
	for (int i = 0; i < 5; i++)
		turn(new, 20);
	assert_int_equal(again.n, 0);
	open_wide(s);
	wait_for(new, &again, 1);
	assert_int_equal(again.status, SCSI_STATUS_GOOD);
	reading = start_read(new, 9, &read);
	wait_for(new, &read, 1);
	assert_memory_equal(reading->datain.data, two, BLOCK);
	scsi_free_scsi_task(reading);
	iscsi_destroy_context(old);
	(void)iscsi_logout_sync(new);
	iscsi_destroy_context(new);
	scsi_free_scsi_task(first_write);
	scsi_free_scsi_task(second_write);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(aborts_are_answered, setup, teardown),
	    cmocka_unit_test_setup_teardown(resets_are_answered, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_session_is_taken_over, setup, teardown),
	};

	alarm(300); /* a bound on waiting, not a verdict on speed */
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
