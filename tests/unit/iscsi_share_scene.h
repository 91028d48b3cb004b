/*
 * Initiators that are libiscsi's, and counting what the device holds for them, for
 * test_iscsi_share.c.
 */
#ifndef TESTS_UNIT_ISCSI_SHARE_SCENE_H
#define TESTS_UNIT_ISCSI_SHARE_SCENE_H

#include "tests/unit/iscsi_scene.h"

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>
#include <string.h>

#define PIECE (1 << 20)
#define STILL 60 /* looks, 2 ms apart, after which nothing more is on its way to the device */
#define DEEP 120 /* commands that the greedy session has outstanding; its window is 128 */

/* ---- initiators */

struct session {
	struct iscsi_context *iscsi;
	unsigned outstanding, answers;	     /* of reads */
	unsigned next, half;		     /* where it reads: in which half of the volume */
	uint32_t bytes;			     /* of each read */
	unsigned told;			     /* task management functions answered */
	int response;			     /* of the last one */
	struct scsi_task *tasks[256], *last; /* not answered */
};

static void keep(struct session *c, struct scsi_task *task)
{
	unsigned i = 0;

	assert_non_null(task);
	while (c->tasks[i])
		assert_true(++i < 256);
	c->tasks[i] = c->last = task;
}

static void drop(struct session *c, const struct scsi_task *task)
{
	unsigned i = 0;

	while (c->tasks[i] != task)
		assert_true(++i < 256);
	scsi_free_scsi_task(c->tasks[i]);
	c->tasks[i] = NULL;
}

static void command_answered(struct iscsi_context *iscsi, int status, void *data, void *arg)
{
	struct session *c = arg;

	(void)iscsi;
	if (status == SCSI_STATUS_CANCELLED)
		return;
	assert_int_equal(status, SCSI_STATUS_GOOD);
	drop(c, data);
	c->outstanding--;
	c->answers++;
}

static void function_answered(struct iscsi_context *iscsi, int status, void *data, void *arg)
{
	struct session *c = arg;

	(void)iscsi;
	assert_int_equal(status, SCSI_STATUS_GOOD);
	c->response = (int)*(uint32_t *)data;
	c->told++;
}

static void turn(struct session *c, int wait_ms)
{
	struct pollfd p = {.fd = iscsi_get_fd(c->iscsi),
			   .events = (short)iscsi_which_events(c->iscsi)};

	assert_true(poll(&p, 1, wait_ms) >= 0);
	assert_int_equal(iscsi_service(c->iscsi, p.revents), 0);
}

static void take_attentions(struct session *c)
{
	int status;

	do {
		struct scsi_task *task = iscsi_testunitready_sync(c->iscsi, 0);

		assert_non_null(task);
		status = task->status;
		scsi_free_scsi_task(task);
	} while (status != SCSI_STATUS_GOOD);
}

/* Connections go to the I/O thread that has the fewest. */
static void login(struct scene *s, struct session *c, const char *name)
{
	char portal[32];

	*c = (struct session){.iscsi = iscsi_create_context(name), .bytes = BLOCK};
	snprintf(portal, sizeof(portal), "127.0.0.1:%u", iscsi_server_port(s->server, 0));
	iscsi_set_targetname(c->iscsi, IQN);
	iscsi_set_session_type(c->iscsi, ISCSI_SESSION_NORMAL);
	iscsi_set_header_digest(c->iscsi, ISCSI_HEADER_DIGEST_NONE);
	iscsi_set_noautoreconnect(c->iscsi, 1);
	if (iscsi_connect_sync(c->iscsi, portal) || iscsi_login_sync(c->iscsi))
		fail_msg("%s", iscsi_get_error(c->iscsi));
	take_attentions(c);
}

static void vanish(struct session *c)
{
	iscsi_destroy_context(c->iscsi);
	for (unsigned i = 0; i < 256; i++)
		if (c->tasks[i])
			scsi_free_scsi_task(c->tasks[i]);
}

static void leave(struct session *c)
{
	(void)iscsi_logout_sync(c->iscsi);
	vanish(c);
}

/* The next of c's reads. None are of the same block or of neighbours: the store would join them. */
static void start_read(struct session *c)
{
	uint32_t half = SIZE / BLOCK / 2, at = c->next++ * (c->bytes == BLOCK ? 74 : PIECE / BLOCK);

	keep(c, iscsi_read10_task(c->iscsi, 0, at % half + c->half * half, c->bytes, BLOCK, 0, 0, 0,
				  0, 0, command_answered, c));
	c->outstanding++;
	while (iscsi_which_events(c->iscsi) & POLLOUT)
		turn(c, 100);
}

static void fill_up(struct session *c, unsigned depth)
{
	while (c->outstanding < depth)
		start_read(c);
}

/* Random content, so that nothing is shared, of all of the volume. */
static void write_volume(struct session *c)
{
	uint64_t *data = malloc(PIECE), seed = 12345;
	struct scsi_task *task;

	for (uint32_t at = 0; at < SIZE / BLOCK; at += PIECE / BLOCK) {
		for (unsigned i = 0; i < PIECE / sizeof(*data); i++)
			data[i] = seed = seed * 6364136223846793005 + 1442695040888963407;
		task = iscsi_write10_sync(c->iscsi, 0, at, (uint8_t *)data, PIECE, BLOCK, 0, 0, 0,
					  0, 0);
		assert_non_null(task);
		assert_int_equal(task->status, SCSI_STATUS_GOOD);
		scsi_free_scsi_task(task);
	}
	free(data);
	task = iscsi_synchronizecache10_sync(c->iscsi, 0, 0, 0, 0, 0);
	assert_non_null(task);
	scsi_free_scsi_task(task);
}

static uint64_t commands(struct scene *s)
{
	struct iscsi_session_info info[8];
	size_t n = iscsi_server_sessions(s->server, IQN, info, 8);
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += info[i].commands;
	return sum;
}

/* Until the target has what was sent and the device, in the end, no more of it. */
static void settle(struct scene *s, uint64_t sum)
{
	unsigned waits, same = 0;

	while (commands(s) < sum)
		usleep(1000);
	for (waits = atomic_load(&s->device->waits); same < STILL; same++) {
		unsigned now = atomic_load(&s->device->waits);

		usleep(2000);
		if (now != waits)
			same = 0;
		waits = now;
	}
}

/* One read of the device goes; what is answered then is taken in. A small read is one of the
   device's, so its answer is waited for; b's are small. */
static void step(struct scene *s, struct session *a, struct session *b)
{
	unsigned before = a->answers + b->answers, of_b = b->answers;
	bool all = a->bytes == BLOCK, small;
	unsigned gone;

	if (atomic_load(&s->device->waits)) { /* else an answer is on its way */
		atomic_fetch_add(&s->device->let, 1);
		wake_device(s);
	}
	while (atomic_load(&s->device->let))
		usleep(20);
	gone = atomic_exchange(&s->device->gone, 0);
	small = gone && gone <= 2 * BLOCK;
	for (int i = 0; i < (small ? 20000 : 20); i++) {
		turn(a, 0);
		turn(b, 0);
		if (small && !all ? b->answers != of_b : a->answers + b->answers != before)
			break;
		usleep(100);
	}
}

/* How many of the greedy one's reads are answered before the one that the modest one sends now.
 *bytes: that the device has to read until it has read that one. */
static unsigned overtaken(struct scene *s, struct session *greedy, struct session *modest,
			  unsigned *bytes)
{
	uint64_t sum = commands(s);
	unsigned before = greedy->answers, want = modest->answers + 1;

	start_read(modest);
	settle(s, sum + 1);
	*bytes = atomic_load(&s->device->bytes);
	while (modest->answers < want)
		step(s, greedy, modest);
	return greedy->answers - before;
}

/* All that the greedy one wants is at the target, and at the device what may be there. */
static void ask_for_much(struct scene *s, struct session *greedy)
{
	uint64_t sum = commands(s);

	shut(s);
	fill_up(greedy, DEEP);
	settle(s, sum + DEEP);
}

static void drain(struct scene *s, struct session *a, struct session *b)
{
	open_wide(s);
	while (a->outstanding || b->outstanding) {
		turn(a, 1);
		turn(b, 1);
	}
}

#endif
