#include "mgmt/cli/cli_direct.h"

#include "backup/job.h"
#include "backup/repo.h"
#include "blockstore/store.h"
#include "common/loop.h"
#include "common/text.h"
#include "mgmt/cli/cli_progress.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_bool stopped;

static void on_signal(int sig)
{
	(void)sig;
	atomic_store(&stopped, true);
}

static struct bk_repo *open_repo(const char *url)
{
	struct vs_error err = {0};
	struct bk_repo *r;

	if (bk_repo_open(url, NULL, &r, &err) == 0)
		return r;
	(void)cli_fail("%s", err.text);
	return NULL;
}

static const char *text_or_null(const char *text)
{
	return text[0] ? text : NULL;
}

static json_t *to_json(const char *url, const struct bk_backup_info *b)
{
	char time[32];

	return json_pack("{s:s,s:s,s:s,s:s?,s:s,s:s?,s:s?,s:I,s:I,s:I,s:I,s:I,s:f}", "id", b->id,
			 "repo", url, "volume", b->volume, "snapshot", text_or_null(b->snapshot),
			 "time", vs_format_time(b->created_ns, time, sizeof(time)), "tag",
			 text_or_null(b->tag), "parent", text_or_null(b->parent), "size",
			 (json_int_t)b->size, "blocks_total", (json_int_t)b->blocks_total,
			 "blocks_changed", (json_int_t)b->blocks_changed, "blocks_sent",
			 (json_int_t)b->blocks_sent, "bytes_sent", (json_int_t)b->bytes_sent,
			 "seconds", (double)b->duration_ns / 1e9);
}

struct listing {
	const char *url, *volume;
	json_t *array;
};

static int take(void *arg, const struct bk_backup_info *b)
{
	struct listing *l = arg;

	if (!l->volume || strcmp(l->volume, b->volume) == 0)
		(void)json_array_append_new(l->array, to_json(l->url, b));
	return 0;
}

/* Listed as such, as the API does. */
static void damaged(void *arg, const char *id, const struct vs_error *e)
{
	struct listing *l = arg;

	(void)json_array_append_new(
	    l->array, json_pack("{s:s,s:s,s:s}", "id", id, "repo", l->url, "error", e->text));
}

json_t *cli_direct_list(const char *url, const char *volume)
{
	struct listing l = {.url = url, .volume = volume, .array = json_array()};
	struct bk_repo *r = open_repo(url);
	struct vs_error err = {0};
	int rc = -1;

	if (r)
		rc = bk_repo_list(r, take, damaged, &l, &err);
	if (r && rc < 0)
		(void)cli_fail("%s", err.text);
	bk_repo_close(r);
	if (rc == 0)
		return l.array;
	json_decref(l.array);
	return NULL;
}

json_t *cli_direct_show(const char *url, const char *id)
{
	struct bk_repo *r = open_repo(url);
	struct bk_backup_info info;
	struct vs_error err = {0};
	json_t *object = NULL;

	if (!r)
		return NULL;
	if (bk_repo_show(r, id, &info, &err) < 0)
		(void)cli_fail("%s", err.text);
	else
		object = to_json(url, &info);
	bk_repo_close(r);
	return object;
}

/* Where the bytes go: a new file beside dest that takes its name when it is whole. */
struct output {
	const char *dest;
	char *temporary; /* NULL: dest itself is written */
	int fd;
};

static int output_open(struct output *o, const char *dest, bool force, struct vs_error *err)
{
	struct stat st;
	bool there = strcmp(dest, "-") != 0 && stat(dest, &st) == 0;

	*o = (struct output){.dest = dest, .fd = -1};
	if (strcmp(dest, "-") == 0)
		o->fd = dup(STDOUT_FILENO);
	else if (there && S_ISBLK(st.st_mode))
		o->fd = open(dest, O_RDWR | O_EXCL | O_CLOEXEC);
	else if (there && (!force || !S_ISREG(st.st_mode)))
		return vs_fail(err, VS_E_EXIST, "%s: it exists; %s", dest,
			       S_ISREG(st.st_mode) ? "give another name, or --force to replace it"
						   : "give the name of a file or a block device");
	else if (asprintf(&o->temporary, "%s.XXXXXX", dest) < 0)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	else
		o->fd = mkostemp(o->temporary, O_CLOEXEC);
	return o->fd < 0 ? vs_fail_errno(err, "%s", dest) : 0;
}

/* rc is how writing went; the result is how the whole did. */
static int output_close(struct output *o, bool force, int rc, struct vs_error *err)
{
	if (o->fd >= 0 && close(o->fd) < 0 && rc == 0)
		rc = vs_fail_errno(err, "%s", o->dest);
	if (rc == 0 && o->temporary &&
	    renameat2(AT_FDCWD, o->temporary, AT_FDCWD, o->dest, force ? 0 : RENAME_NOREPLACE) < 0)
		rc = vs_fail_errno(err, "%s", o->dest);
	if (rc < 0 && o->temporary && o->fd >= 0)
		(void)unlink(o->temporary);
	free(o->temporary);
	return rc;
}

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
	cli_progress_update(arg, done * BS_BLOCK, total * BS_BLOCK, vs_now_ns());
}

static int export_to(const struct cli *c, struct bk_repo *r, const char *id, int fd,
		     struct bk_restore_result *result, struct vs_error *err)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct cli_progress p;
	const struct bk_watch watch = {.progress = show_progress, .arg = &p, .cancel = &stopped};
	int rc;

	(void)sigaction(SIGINT, &sa, NULL);
	(void)sigaction(SIGTERM, &sa, NULL);
	(void)sigaction(SIGHUP, &sa, NULL);
	cli_progress_start(&p, id, c->quiet);
	rc = bk_restore_to_file(r, id, fd, &watch, result, err);
	cli_progress_end(&p);
	return rc;
}

int cli_direct_export(const struct cli *c, const char *url, const char *id, const char *dest,
		      bool force)
{
	struct bk_restore_result result = {0};
	struct vs_error err = {0};
	struct bk_repo *r = open_repo(url);
	struct output o;
	char text[16];
	int rc;

	if (!r)
		return CLI_FAILED;
	rc = output_open(&o, dest, force, &err);
	if (rc == 0)
		rc = export_to(c, r, id, o.fd, &result, &err);
	rc = output_close(&o, force, rc, &err);
	bk_repo_close(r);
	if (rc < 0)
		return cli_fail("%s", err.text);
	if (strcmp(dest, "-") == 0)
		return CLI_DONE;
	(void)vs_format_size(result.blocks_total * BS_BLOCK, text, sizeof(text));
	return cli_done(c,
			json_pack("{s:s,s:s,s:I,s:I,s:I,s:f}", "id", id, "dest", dest,
				  "blocks_total", (json_int_t)result.blocks_total, "blocks_fetched",
				  (json_int_t)result.blocks_fetched, "bytes_fetched",
				  (json_int_t)result.bytes_fetched, "seconds", result.seconds),
			"exported backup %s to %s, %s", id, dest, text);
}
