#include "tests/load/link.h"

#include "common/bytes.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

struct iscsi_link {
	struct link link;
	struct iscsi_context *ctx;
	int lun;
	uint32_t block;
	bool dead;
};

static void command_done(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct scsi_task *task = data;
	struct link_req *req = arg;

	/* What libiscsi cancels because the connection went is outstanding, not failed. */
	if (status == SCSI_STATUS_CANCELLED || status == SCSI_STATUS_ERROR) {
		scsi_free_scsi_task(task);
		return;
	}
	if (status != SCSI_STATUS_GOOD)
		fprintf(stderr, "iSCSI command failed: %s\n", iscsi_get_error(ctx));
	scsi_free_scsi_task(task);
	req->done(req, status == SCSI_STATUS_GOOD ? 0 : -1);
}

static void iscsi_submit(struct link *l, struct link_req *req)
{
	struct iscsi_link *il = vs_container_of(l, struct iscsi_link, link);
	uint64_t lba = req->offset / il->block;
	struct scsi_task *task = NULL;

	switch (req->op) {
	case LINK_READ:
		task = iscsi_read16_task(il->ctx, il->lun, lba, req->length, (int)il->block, 0, 0,
					 0, 0, 0, command_done, req);
		if (task)
			scsi_task_add_data_in_buffer(task, (int)req->length, req->data);
		break;
	case LINK_WRITE:
		task = iscsi_write16_task(il->ctx, il->lun, lba, req->data, req->length,
					  (int)il->block, 0, 0, req->fua, 0, 0, command_done, req);
		break;
	case LINK_FLUSH:
		task =
		    iscsi_synchronizecache16_task(il->ctx, il->lun, 0, 0, 0, 0, command_done, req);
		break;
	}
	if (!task)
		il->dead = true;
}

static int iscsi_turn(struct link *l)
{
	struct iscsi_link *il = vs_container_of(l, struct iscsi_link, link);
	struct pollfd p = {.fd = iscsi_get_fd(il->ctx)};

	if (il->dead || p.fd < 0)
		return -1;
	p.events = (short)iscsi_which_events(il->ctx);
	if (poll(&p, 1, 1000) < 0 && errno != EINTR)
		return -1;
	if (iscsi_service(il->ctx, p.revents) < 0)
		il->dead = true;
	return il->dead ? -1 : 0;
}

static void iscsi_close(struct link *l)
{
	struct iscsi_link *il = vs_container_of(l, struct iscsi_link, link);

	if (!il->dead)
		(void)iscsi_logout_sync(il->ctx);
	iscsi_destroy_context(il->ctx);
	free(il);
}

static const struct link_ops iscsi_ops = {iscsi_submit, iscsi_turn, iscsi_close};

static int log_in(struct iscsi_link *il, const struct iscsi_url *url)
{
	static uint32_t opened;
	struct scsi_readcapacity16 *capacity;
	struct scsi_task *task;

	/* One initiator with a session for each link: none takes another's place. */
	iscsi_set_isid_random(il->ctx, (uint32_t)getpid(), opened++);
	iscsi_set_targetname(il->ctx, url->target);
	iscsi_set_session_type(il->ctx, ISCSI_SESSION_NORMAL);
	iscsi_set_header_digest(il->ctx, ISCSI_HEADER_DIGEST_NONE);
	iscsi_set_noautoreconnect(il->ctx, 1);
	if (iscsi_full_connect_sync(il->ctx, url->portal, url->lun) < 0)
		return -1;
	task = iscsi_readcapacity16_sync(il->ctx, url->lun);
	if (!task)
		return -1;
	capacity = task->status == SCSI_STATUS_GOOD ? scsi_datain_unmarshall(task) : NULL;
	if (capacity) {
		il->block = capacity->block_length;
		il->link.size = (capacity->returned_lba + 1) * il->block;
	}
	scsi_free_scsi_task(task);
	return il->block ? 0 : -1;
}

struct link *link_iscsi_open(const char *text)
{
	struct iscsi_link *il = calloc(1, sizeof(*il));
	struct iscsi_url *url;

	if (!il)
		return NULL;
	il->ctx = iscsi_create_context("iqn.2026-11.org.example:load");
	url = il->ctx ? iscsi_parse_full_url(il->ctx, text) : NULL;
	if (!url || log_in(il, url) < 0) {
		fprintf(stderr, "cannot open %s: %s\n", text,
			il->ctx ? iscsi_get_error(il->ctx) : "out of memory");
		if (url)
			iscsi_destroy_url(url);
		if (il->ctx)
			iscsi_destroy_context(il->ctx);
		free(il);
		return NULL;
	}
	il->lun = url->lun;
	il->link.ops = &iscsi_ops;
	iscsi_destroy_url(url);
	return &il->link;
}
