/* Files made, looked at and removed in one folder of an NFS server, and how many a second. */
#include "tests/load/load.h"

#include "common/bytes.h"
#include "common/loop.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include <nfsc/libnfs.h>

enum what { CREATE, STAT, REMOVE };

struct run {
	struct nfs_context *ctx;
	enum what what;
	uint64_t count, next, done;
	unsigned outstanding, failed;
};

static void one_done(int status, struct nfs_context *ctx, void *data, void *arg)
{
	struct run *r = arg;

	(void)data;
	r->outstanding--;
	r->done++;
	if (status >= 0 || r->failed++)
		return;
	(void)fprintf(stderr, "request failed: %s\n", nfs_get_error(ctx));
}

/* The file that is made is closed again, which asks the server nothing. */
static void made(int status, struct nfs_context *ctx, void *data, void *arg)
{
	if (status < 0 || nfs_close_async(ctx, data, one_done, arg) < 0)
		one_done(status < 0 ? status : -EIO, ctx, data, arg);
}

static int begin(struct run *r)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/f%llu", (unsigned long long)r->next++);
	r->outstanding++;
	switch (r->what) {
	case CREATE:
		return nfs_creat_async(r->ctx, path, 0644, made, r);
	case STAT:
		return nfs_stat64_async(r->ctx, path, one_done, r);
	default:
		return nfs_unlink_async(r->ctx, path, one_done, r);
	}
}

/* Seconds; negative: it failed. */
static double all(struct run *r, enum what what, uint64_t depth)
{
	uint64_t begun = vs_now_ns();

	r->what = what;
	r->next = r->done = 0;
	while (r->done < r->count && !r->failed) {
		struct pollfd p = {.fd = nfs_get_fd(r->ctx)};

		while (r->outstanding < depth && r->next < r->count)
			if (begin(r) < 0)
				return -1;
		p.events = (short)nfs_which_events(r->ctx);
		if ((poll(&p, 1, 1000) < 0 && errno != EINTR) || nfs_service(r->ctx, p.revents) < 0)
			return -1;
	}
	return r->failed ? -1 : (double)(vs_now_ns() - begun) / 1e9;
}

int load_names(const char *url, const struct load_options *o)
{
	struct run r = {.ctx = nfs_init_context(), .count = o->count};
	struct nfs_url *parsed = r.ctx ? nfs_parse_url_dir(r.ctx, url) : NULL;
	double seconds[3] = {0};
	int rc = parsed ? nfs_mount(r.ctx, parsed->server, parsed->path) : -1;

	for (unsigned i = 0; rc == 0 && i < VS_ARRAY_LEN(seconds); i++) {
		seconds[i] = all(&r, (enum what)i, o->depth);
		rc = seconds[i] < 0 ? -1 : 0;
	}
	if (rc == 0)
		(void)printf("{\"create_per_second\": %.0f, \"stat_per_second\": %.0f, "
			     "\"remove_per_second\": %.0f}\n",
			     (double)o->count / seconds[CREATE], (double)o->count / seconds[STAT],
			     (double)o->count / seconds[REMOVE]);
	else
		(void)fprintf(stderr, "cannot use %s: %s\n", url,
			      r.ctx ? nfs_get_error(r.ctx) : "out of memory");
	if (parsed)
		nfs_destroy_url(parsed);
	if (r.ctx)
		nfs_destroy_context(r.ctx);
	return rc == 0 ? 0 : 1;
}
