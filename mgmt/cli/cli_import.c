/* volume import: from a file by a task of the daemon, from standard input over NBD. */
#include "mgmt/cli/cli_image.h"

#include "blockstore/volume.h"
#include "common/bytes.h"
#include "common/loop.h"
#include "common/text.h"
#include "mgmt/cli/cli_body.h"
#include "mgmt/cli/cli_progress.h"
#include "mgmt/cli/cli_stream.h"
#include "mgmt/cli/cli_task.h"
#include "mgmt/far.h"
#include "mgmt/image_magic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Up to len bytes; less only at the end. Negative: VS_E_*. */
static ssize_t read_stdin(uint8_t *p, size_t len, struct vs_error *err)
{
	size_t got = 0;

	while (got < len) {
		ssize_t k = cli_stream_stopped() ? -1 : read(STDIN_FILENO, p + got, len - got);

		if (cli_stream_stopped())
			return vs_fail(err, VS_E_CANCELED, "interrupted: nothing is left of it");
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return vs_fail_errno(err, "standard input");
		if (k == 0)
			break;
		got += (size_t)k;
	}
	return (ssize_t)got;
}

/* The rest of what stdin has: of a regular file known, else 0. */
static uint64_t stdin_length(void)
{
	struct stat st;
	off_t at = lseek(STDIN_FILENO, 0, SEEK_CUR);

	if (at < 0 || fstat(STDIN_FILENO, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= at)
		return 0;
	return (uint64_t)(st.st_size - at);
}

struct import {
	struct cli *c;
	const char *name;
	uint64_t size;	/* of the volume; BS_VOLUME_MAX_SIZE when open_end */
	bool open_end;	/* shrink to what came */
	uint8_t *first; /* the first chunk, read before anything was created */
	size_t first_len;
	uint64_t bytes_read, bytes_written;
};

/* The next chunk into p, filled up to whole blocks with zeros; *len is 0 at the end. */
static int next_chunk(struct import *im, uint8_t *p, size_t *len, struct vs_error *err)
{
	ssize_t got;

	if (im->bytes_read == 0) {
		memcpy(p, im->first, im->first_len);
		got = (ssize_t)im->first_len;
	} else {
		got = read_stdin(p, CLI_NBD_CHUNK, err);
	}
	if (got < 0)
		return (int)got;
	if ((uint64_t)got > im->size - im->bytes_read)
		return vs_fail(err, VS_E_TOOBIG, "standard input has more than the volume's %s",
			       im->open_end ? "largest size" : "size");
	im->bytes_read += (uint64_t)got;
	*len = VS_ALIGN_UP((size_t)got, BS_BLOCK);
	memset(p + got, 0, *len - (size_t)got);
	return 0;
}

static int copy_in(struct import *im, struct cli_nbd *n, struct cli_progress *p,
		   struct vs_error *err)
{
	uint64_t total = im->open_end ? 0 : im->size;
	uint64_t offset = 0;
	unsigned i, slot;
	size_t len = 1;
	int rc = 0;

	for (i = 0; rc == 0 && len; i++) {
		slot = i % CLI_NBD_DEPTH;
		rc = cli_nbd_wait(n, slot, err);
		if (rc == 0)
			rc = next_chunk(im, cli_nbd_buffer(n, slot), &len, err);
		if (rc == 0 && !cli_stream_is_zero(cli_nbd_buffer(n, slot), len)) {
			rc = cli_nbd_write(n, slot, offset, (uint32_t)len, err);
			im->bytes_written += len;
		}
		offset += len;
		if (slot == 0)
			cli_progress_update(p, im->bytes_read, total, vs_now_ns());
		if (len < CLI_NBD_CHUNK)
			len = 0; /* a short chunk is the last */
	}
	return rc < 0 ? rc : cli_nbd_flush(n, err);
}

static void delete_volume(struct import *im)
{
	json_t *answer;

	if (cli_try(im->c, NULL, &answer, "DELETE", NULL, "/v1/volumes/%s", im->name) == 0)
		json_decref(answer);
}

/* Fills the volume just created; on failure it is gone again. */
static int fill(struct import *im, struct vs_error *err)
{
	struct cli_progress p;
	struct cli_stream a;
	json_t *answer = NULL;
	int rc = cli_stream_open(im->c, im->name, true, &a, err);

	cli_progress_start(&p, im->name, im->c->quiet);
	if (rc == 0)
		rc = copy_in(im, a.nbd, &p, err);
	cli_progress_end(&p);
	if (!a.id)
		delete_volume(im);
	if (rc < 0)
		(void)cli_stream_close(im->c, &a, false, NULL);
	else
		rc = cli_stream_close(im->c, &a, true, err);
	if (rc < 0 || !im->open_end)
		return rc;
	rc = cli_try(im->c, err, &answer, "POST",
		     json_pack("{s:I,s:b}", "size",
			       (json_int_t)VS_ALIGN_UP(im->bytes_read, (uint64_t)BS_BLOCK), "force",
			       1),
		     "/v1/volumes/%s/resize", im->name);
	json_decref(answer);
	if (rc < 0)
		delete_volume(im);
	return rc;
}

static int create_and_fill(struct import *im, struct vs_error *err)
{
	json_t *answer,
	    *body = json_pack("{s:s,s:I}", "name", im->name, "size", (json_int_t)im->size);
	int rc;

	cli_body_u64(im->c, body, "sector", "sector");
	cli_body_text(im->c, body, "compression", "compression");
	rc = cli_try(im->c, err, &answer, "POST", body, "/v1/volumes");
	if (rc < 0)
		return rc;
	json_decref(answer);
	return fill(im, err);
}

static int import_result(struct import *im, uint64_t ns)
{
	json_t *volume = cli_call(im->c, "GET", NULL, "/v1/volumes/%s", im->name);
	char text[16];

	if (!volume)
		return CLI_FAILED;
	(void)json_object_set_new(volume, "bytes_read", json_integer((json_int_t)im->bytes_read));
	(void)json_object_set_new(volume, "bytes_written",
				  json_integer((json_int_t)im->bytes_written));
	(void)json_object_set_new(volume, "seconds", json_real((double)ns / 1e9));
	(void)vs_format_size(cli_u64(volume, "size"), text, sizeof(text));
	return cli_done(im->c, volume, "imported volume %s, %s", im->name, text);
}

static int import_stream(struct cli *c)
{
	const char *format = cli_args_text(&c->args, "format");
	struct import im = {.c = c, .name = c->args.pos[1]};
	struct vs_error err = {0};
	uint64_t begun = vs_now_ns();
	ssize_t got;
	int rc = 0;

	if (format && strcmp(format, "raw") != 0)
		return cli_usage(c, "--format: only raw can be streamed; import a file instead");
	if (cli_args_has(&c->args, "detach"))
		return cli_usage(c, "--detach does not go with a stream");
	im.size = cli_args_u64(&c->args, "size", VS_ALIGN_UP(stdin_length(), (uint64_t)BS_BLOCK));
	im.open_end = im.size == 0;
	if (im.open_end)
		im.size = BS_VOLUME_MAX_SIZE;
	im.first = malloc(CLI_NBD_CHUNK);
	if (!im.first)
		return cli_fail("out of memory");
	cli_stream_catch_signals();
	got = read_stdin(im.first, CLI_NBD_CHUNK, &err);
	im.first_len = got > 0 ? (size_t)got : 0;
	if (got == 0)
		rc = vs_fail(&err, VS_E_INVAL, "standard input is empty: nothing was imported");
	else if (got > 0 && !format && mg_image_magic(im.first, im.first_len))
		rc = vs_fail(&err, VS_E_INVAL,
			     "standard input is a %s image, which cannot be streamed: import it "
			     "from a file, or keep its bytes as they are with --format raw",
			     mg_image_magic(im.first, im.first_len));
	rc = got < 0 ? (int)got : rc;
	if (rc == 0)
		rc = create_and_fill(&im, &err);
	free(im.first);
	return rc < 0 ? cli_fail("%s", err.text) : import_result(&im, vs_now_ns() - begun);
}

static int import_live(struct cli *c, json_t *body)
{
	const json_t *task;
	json_t *volume;
	char size[16];

	(void)json_object_set_new(body, "live", json_true());
	volume = cli_call(c, "POST", body, "/v1/imports");
	if (!volume)
		return CLI_FAILED;
	task = json_object_get(volume, "task");
	(void)vs_format_size(cli_u64(volume, "size"), size, sizeof(size));
	return cli_done(c, volume, "volume %s, %s, can be used; task %llu fetches its blocks",
			c->args.pos[1], size, (unsigned long long)cli_u64(task, "id"));
}

int cli_import_run(struct cli *c)
{
	char text[16];
	json_t *body, *result;
	char *source;
	int status;

	if (cli_args_has(&c->args, "live") && !mg_far_is(c->args.pos[0]))
		return cli_usage(c, "--live: only an iscsi:// LUN or an nfs:// file can be used "
				    "while it is imported");
	if (strcmp(c->args.pos[0], "-") == 0)
		return import_stream(c);
	if (strstr(c->args.pos[0], "://") && !mg_far_is(c->args.pos[0]))
		return cli_usage(c,
				 "%s: only a file, a block device, an iscsi:// LUN, an nfs:// file "
				 "or - can be imported",
				 c->args.pos[0]);
	if (cli_args_has(&c->args, "size"))
		return cli_usage(c, "--size is for a stream; a file says its size itself");
	source = cli_absolute(c->args.pos[0]);
	if (!source)
		return CLI_FAILED;
	body = json_pack("{s:s,s:s}", "source", source, "name", c->args.pos[1]);
	free(source);
	cli_body_text(c, body, "format", "format");
	cli_body_u64(c, body, "sector", "sector");
	cli_body_text(c, body, "compression", "compression");
	status = cli_body_lun(c, body);
	if (status != CLI_DONE) {
		json_decref(body);
		return status;
	}
	if (cli_args_has(&c->args, "live"))
		return import_live(c, body);
	status = cli_task_run(c, cli_call(c, "POST", body, "/v1/imports"), c->args.pos[1], &result);
	if (!result)
		return status;
	(void)vs_format_size(cli_u64(result, "size"), text, sizeof(text));
	return cli_done(c, result, "imported volume %s, %s", c->args.pos[1], text);
}
