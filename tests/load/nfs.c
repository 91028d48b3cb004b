/* A file of an NFS server, through libnfs (version 3). */
#include "tests/load/link.h"

#include "common/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include <nfsc/libnfs.h>

struct nfs_link {
	struct link link;
	struct nfs_context *ctx;
	struct nfsfh *file;
	bool dead;
};

static void command_done(int status, struct nfs_context *ctx, void *data, void *arg)
{
	struct link_req *req = arg;

	if (status == -EINTR) /* the connection went: it is outstanding, not failed */
		return;
	if (req->op == LINK_READ && status == (int)req->length)
		memcpy(req->data, data, req->length);
	else if (status < 0 || (req->op != LINK_FLUSH && status != (int)req->length))
		fprintf(stderr, "NFS request failed: %d %s\n", status, nfs_get_error(ctx));
	else
		status = 0;
	req->done(req, status < 0 || (status && status != (int)req->length) ? -1 : 0);
}

static void nfs_submit(struct link *l, struct link_req *req)
{
	struct nfs_link *nl = vs_container_of(l, struct nfs_link, link);
	int rc = -1;

	switch (req->op) {
	case LINK_READ:
		rc =
		    nfs_pread_async(nl->ctx, nl->file, req->offset, req->length, command_done, req);
		break;
	case LINK_WRITE:
		rc = nfs_pwrite_async(nl->ctx, nl->file, req->offset, req->length, req->data,
				      command_done, req);
		break;
	case LINK_FLUSH:
		rc = nfs_fsync_async(nl->ctx, nl->file, command_done, req);
		break;
	}
	nl->dead |= rc < 0;
}

static int nfs_turn(struct link *l)
{
	struct nfs_link *nl = vs_container_of(l, struct nfs_link, link);
	struct pollfd p = {.fd = nfs_get_fd(nl->ctx)};

	if (nl->dead || p.fd < 0)
		return -1;
	p.events = (short)nfs_which_events(nl->ctx);
	if (poll(&p, 1, 1000) < 0 && errno != EINTR)
		return -1;
	if (nfs_service(nl->ctx, p.revents) < 0)
		nl->dead = true;
	return nl->dead ? -1 : 0;
}

static void nfs_close_link(struct link *l)
{
	struct nfs_link *nl = vs_container_of(l, struct nfs_link, link);

	if (!nl->dead)
		(void)nfs_close(nl->ctx, nl->file);
	nfs_destroy_context(nl->ctx);
	free(nl);
}

static const struct link_ops nfs_ops = {nfs_submit, nfs_turn, nfs_close_link};

static int mount_and_open(struct nfs_link *nl, const char *text)
{
	struct nfs_url *url = nfs_parse_url_full(nl->ctx, text);
	struct nfs_stat_64 st = {0};
	int rc = url ? nfs_mount(nl->ctx, url->server, url->path) : -1;

	nfs_set_autoreconnect(nl->ctx, 0);
	if (rc == 0)
		rc = nfs_open(nl->ctx, url->file, O_RDWR, &nl->file);
	if (rc == 0)
		rc = nfs_fstat64(nl->ctx, nl->file, &st);
	nl->link.size = st.nfs_size;
	if (url)
		nfs_destroy_url(url);
	return rc;
}

struct link *link_nfs_open(const char *text)
{
	struct nfs_link *nl = calloc(1, sizeof(*nl));

	if (nl)
		nl->ctx = nfs_init_context();
	if (!nl || !nl->ctx || mount_and_open(nl, text) < 0) {
		fprintf(stderr, "cannot open %s: %s\n", text,
			nl && nl->ctx ? nfs_get_error(nl->ctx) : "out of memory");
		if (nl && nl->ctx)
			nfs_destroy_context(nl->ctx);
		free(nl);
		return NULL;
	}
	nl->link.ops = &nfs_ops;
	return &nl->link;
}
