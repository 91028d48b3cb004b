/* volume export: to a file by a task of the daemon, to standard output over NBD. */
#include "mgmt/cli/cli_image.h"

#include "common/bytes.h"
#include "common/loop.h"
#include "common/text.h"
#include "mgmt/cli/cli_body.h"
#include "mgmt/cli/cli_progress.h"
#include "mgmt/cli/cli_stream.h"
#include "mgmt/cli/cli_task.h"
#include "mgmt/far.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_stdout(const uint8_t *p, size_t len, struct vs_error *err)
{
	while (len) {
		ssize_t k = cli_stream_stopped() ? -1 : write(STDOUT_FILENO, p, len);

		if (cli_stream_stopped())
			return vs_fail(err, VS_E_CANCELED, "interrupted");
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return vs_fail_errno(err, "standard output");
		p += k;
		len -= (size_t)k;
	}
	return 0;
}

/* Where stdout is a fresh regular file, zeros become holes. */
static bool stdout_takes_holes(void)
{
	struct stat st;
	off_t at = lseek(STDOUT_FILENO, 0, SEEK_CUR);

	return at >= 0 && fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= at;
}

static int put_chunk(const uint8_t *p, size_t len, bool holes, struct vs_error *err)
{
	if (holes && cli_stream_is_zero(p, len))
		return lseek(STDOUT_FILENO, (off_t)len, SEEK_CUR) < 0
			   ? vs_fail_errno(err, "standard output")
			   : 0;
	return write_stdout(p, len, err);
}

static int copy_out(struct cli_nbd *n, struct cli_progress *p, struct vs_error *err)
{
	uint64_t size = cli_nbd_size(n), asked = 0, done = 0;
	bool holes = stdout_takes_holes();
	unsigned slot_in = 0, slot_out = 0;
	int rc = 0;

	while (rc == 0 && done < size) {
		uint32_t len = (uint32_t)VS_MIN(size - asked, CLI_NBD_CHUNK);

		if (len && asked - done < (uint64_t)CLI_NBD_DEPTH * CLI_NBD_CHUNK) {
			rc = cli_nbd_read(n, slot_in++ % CLI_NBD_DEPTH, asked, len, err);
			asked += len;
			continue;
		}
		len = (uint32_t)VS_MIN(size - done, CLI_NBD_CHUNK);
		rc = cli_nbd_wait(n, slot_out % CLI_NBD_DEPTH, err);
		if (rc == 0)
			rc =
			    put_chunk(cli_nbd_buffer(n, slot_out % CLI_NBD_DEPTH), len, holes, err);
		slot_out++;
		done += len;
		if (slot_out % CLI_NBD_DEPTH == 0)
			cli_progress_update(p, done, size, vs_now_ns());
	}
	if (rc == 0 && holes && ftruncate(STDOUT_FILENO, lseek(STDOUT_FILENO, 0, SEEK_CUR)) < 0)
		rc = vs_fail_errno(err, "standard output");
	return rc;
}

static int export_stream(struct cli *c)
{
	const char *format = cli_args_text(&c->args, "format");
	struct vs_error err = {0};
	struct cli_progress p;
	struct cli_stream a;
	int rc;

	if (format && strcmp(format, "raw") != 0)
		return cli_usage(c, "--format: only raw can be streamed; export to a file instead");
	if (c->json || cli_args_has(&c->args, "detach") || cli_args_has(&c->args, "force"))
		return cli_usage(c, "--json, --detach and --force do not go with a stream");
	if (isatty(STDOUT_FILENO))
		return cli_usage(c, "standard output is a terminal: redirect it");
	cli_stream_catch_signals();
	rc = cli_stream_open(c, c->args.pos[0], false, &a, &err);
	cli_progress_start(&p, c->args.pos[0], c->quiet);
	if (rc == 0)
		rc = copy_out(a.nbd, &p, &err);
	cli_progress_end(&p);
	(void)cli_stream_close(c, &a, false, NULL);
	return rc < 0 ? cli_fail("%s", err.text) : CLI_DONE;
}

int cli_export_run(struct cli *c)
{
	char text[16];
	json_t *body, *result;
	char *dest;
	int status;

	if (strcmp(c->args.pos[1], "-") == 0)
		return export_stream(c);
	if (strstr(c->args.pos[1], "://") && !mg_far_is(c->args.pos[1]))
		return cli_usage(
		    c,
		    "%s: volumes go to a file, a block device, an iscsi:// LUN, an nfs:// file "
		    "or - only",
		    c->args.pos[1]);
	dest = cli_absolute(c->args.pos[1]);
	if (!dest)
		return CLI_FAILED;
	body = json_pack("{s:s,s:s}", "volume", c->args.pos[0], "dest", dest);
	free(dest);
	cli_body_text(c, body, "format", "format");
	cli_body_flag(c, body, "force", "force");
	status = cli_body_lun(c, body);
	if (status != CLI_DONE) {
		json_decref(body);
		return status;
	}
	status = cli_task_run(c, cli_call(c, "POST", body, "/v1/exports"), c->args.pos[0], &result);
	if (!result)
		return status;
	(void)vs_format_size(cli_u64(result, "size"), text, sizeof(text));
	return cli_done(c, result, "exported %s to %s, %s", c->args.pos[0], c->args.pos[1], text);
}
