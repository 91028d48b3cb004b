#include "targets/vhost/disk.h"

#include "common/bytes.h"
#include "common/log.h"
#include "targets/vhost/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4

static void listener_ready(struct vs_watch *w, uint32_t events)
{
	struct vhost_disk *d = w->arg;
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	vs_loop_remove(d->thread->loop, w);
	vhost_session_accept(d, fd);
}

/* A socket that nobody listens on is a leftover of a daemon that died. */
static int remove_stale(const struct sockaddr_un *addr, struct vs_error *err)
{
	struct stat st;
	int fd, rc;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : vs_fail_errno(err, "cannot stat %s", addr->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return vs_fail(err, VS_E_EXIST, "%s exists and is not a socket", addr->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return vs_fail_errno(err, "cannot create a socket");
	rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
	if (rc < 0)
		rc = errno == ECONNREFUSED ? 0 : -1;
	else
		rc = -1;
	close(fd);
	if (rc < 0)
		return vs_fail(err, VS_E_BUSY, "another process listens on %s", addr->sun_path);
	if (unlink(addr->sun_path) < 0 && errno != ENOENT)
		return vs_fail_errno(err, "cannot remove %s", addr->sun_path);
	return 0;
}

static int listen_on(const struct vhost_disk_opts *o, int *out, struct vs_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, rc;

	if (strlen(o->socket_path) >= sizeof(addr.sun_path))
		return vs_fail(err, VS_E_INVAL,
			       "socket path %s is longer than %zu bytes; use a "
			       "shorter state folder",
			       o->socket_path, sizeof(addr.sun_path) - 1);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", o->socket_path);
	rc = remove_stale(&addr, err);
	if (rc)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return vs_fail_errno(err, "cannot create a socket");
	/* the mode of the socket's file: umask(2) would be the whole process's */
	rc = fchmod(fd, 0600);
	if (rc == 0)
		rc = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	if (rc < 0) {
		rc = vs_fail_errno(err, "cannot bind %s", o->socket_path);
		close(fd);
		return rc;
	}
	if (lchown(o->socket_path, o->uid, o->gid) < 0 || listen(fd, BACKLOG) < 0) {
		rc = vs_fail_errno(err, "cannot listen on %s", o->socket_path);
		close(fd);
		unlink(o->socket_path);
		return rc;
	}
	*out = fd;
	return 0;
}

static void run_start(struct vhost_call *c)
{
	struct vhost_disk *d = c->disk;

	vhost_call_done(c, vs_loop_add(d->thread->loop, &d->listener, EPOLLIN));
}

static void stop_now(struct vs_post *p)
{
	struct vhost_call *c = p->arg;
	struct vhost_disk *d = c->disk;
	struct vhost_queue **link = &d->thread->dirty;

	while (*link) {
		if ((*link)->disk == d)
			*link = (*link)->next_dirty;
		else
			link = &(*link)->next_dirty;
	}
	vs_loop_cancel(d->thread->loop, &d->retry);
	vs_loop_remove(d->thread->loop, &d->listener);
	vhost_call_done(c, 0);
}

/* Posted, as the thread may be inside the disk's queues right now. */
static void finish_stop(struct vhost_disk *d)
{
	struct vhost_call *c = d->stopping;

	d->stopping = NULL;
	c->post = (struct vs_post){.call = stop_now, .arg = c};
	vs_loop_post(d->thread->loop, &c->post);
}

void vhost_disk_released(struct vhost_disk *d)
{
	if (d->stopping)
		finish_stop(d);
	else if (vs_loop_add(d->thread->loop, &d->listener, EPOLLIN) != 0)
		vs_err("disk %s: cannot listen again; restart its machine", d->name);
}

static void run_stop(struct vhost_call *c)
{
	struct vhost_disk *d = c->disk;

	d->stopping = c;
	if (d->session.fd < 0 && !d->session.closing)
		finish_stop(d);
	else
		vhost_session_close(d, "the disk is stopped");
}

static void run_resized(struct vhost_call *c)
{
	vhost_message_config_changed(c->disk);
	vhost_call_done(c, 0);
}

static void run_status(struct vhost_call *c)
{
	struct vhost_disk *d = c->disk;
	struct vhost_disk_status *out = c->out;

	*out = d->status;
	out->connected = d->session.fd >= 0;
	for (unsigned i = 0; i < d->nqueues; i++)
		out->queues_running += d->queues[i].started && d->queues[i].enabled;
	out->in_flight = d->in_flight;
	out->held = d->nheld;
	out->held_reason = d->held_reason;
	vhost_call_done(c, 0);
}

static struct vhost_thread *least_loaded(struct vhost_server *srv)
{
	struct vhost_thread *best = &srv->threads[0];

	for (unsigned i = 1; i < srv->nthreads; i++)
		if (atomic_load(&srv->threads[i].disks) < atomic_load(&best->disks))
			best = &srv->threads[i];
	return best;
}

static void disk_init(struct vhost_disk *d, struct vhost_server *srv,
		      const struct vhost_disk_opts *o)
{
	snprintf(d->name, sizeof(d->name), "%s", o->volume);
	snprintf(d->path, sizeof(d->path), "%s", o->socket_path);
	d->thread = least_loaded(srv);
	d->nqueues = o->queues;
	d->held_call = o->held;
	d->held_arg = o->arg;
	d->held_tail = &d->held;
	d->retry = (struct vs_timer){.fired = vhost_request_retry, .arg = d};
	d->listener = (struct vs_watch){.fd = -1, .ready = listener_ready, .arg = d};
	d->session.fd = d->session.backend_fd = -1;
	for (unsigned i = 0; i < VHOST_QUEUES_MAX; i++)
		vhost_queue_init(d, i);
}

int vhost_disk_start(struct vhost_server *srv, const struct vhost_disk_opts *o,
		     struct vhost_disk **out, struct vs_error *err)
{
	struct vhost_call call = {.run = run_start};
	struct vhost_disk *d;
	int rc;

	if (o->queues == 0 || o->queues > VHOST_QUEUES_MAX)
		return vs_fail(err, VS_E_INVAL, "disk %s: %u queues are not 1 to %u", o->volume,
			       o->queues, VHOST_QUEUES_MAX);
	if (atomic_fetch_add(&srv->disks, 1) >= VHOST_DISKS_MAX) {
		rc = vs_fail(err, VS_E_LIMIT, "disk %s: %u disks are served already", o->volume,
			     VHOST_DISKS_MAX);
		goto fail;
	}
	d = calloc(1, sizeof(*d));
	if (!d) {
		rc = vs_fail(err, VS_E_NOMEM, "disk %s: out of memory", o->volume);
		goto fail;
	}
	disk_init(d, srv, o);
	rc = bs_volume_open(srv->store, o->volume, &d->volume, err);
	if (rc)
		goto fail_free;
	d->read_only = o->read_only || bs_volume_read_only(d->volume);
	rc = listen_on(o, &d->listener.fd, err);
	if (rc)
		goto fail_volume;
	call.disk = d;
	atomic_fetch_add(&d->thread->disks, 1);
	vhost_call_wait(d->thread, &call);
	if (call.rc) {
		rc = vs_fail(err, call.rc, "disk %s: cannot poll its socket", o->volume);
		goto fail_listener;
	}
	*out = d;
	return 0;
fail_listener:
	atomic_fetch_sub(&d->thread->disks, 1);
	close(d->listener.fd);
	unlink(d->path);
fail_volume:
	bs_volume_close(d->volume);
fail_free:
	free(d);
fail:
	atomic_fetch_sub(&srv->disks, 1);
	return rc;
}

void vhost_disk_stop(struct vhost_disk *d)
{
	struct vhost_call call = {.run = run_stop, .disk = d};

	if (!d)
		return;
	vhost_call_wait(d->thread, &call);
	close(d->listener.fd);
	unlink(d->path);
	bs_volume_close(d->volume);
	atomic_fetch_sub(&d->thread->disks, 1);
	atomic_fetch_sub(&d->thread->server->disks, 1);
	free(d);
}

void vhost_disk_resized(struct vhost_disk *d)
{
	struct vhost_call call = {.run = run_resized, .disk = d};

	vhost_call_wait(d->thread, &call);
}

void vhost_disk_status(struct vhost_disk *d, struct vhost_disk_status *out)
{
	struct vhost_call call = {.run = run_status, .disk = d, .out = out};

	vhost_call_wait(d->thread, &call);
}
