#include "targets/iscsi/lu.h"

#include "common/log.h"
#include "targets/iscsi/internal.h"
#include "targets/iscsi/keep.h"

#include <stdio.h>
#include <stdlib.h>

void iscsi_lu_put(struct iscsi_server *srv, struct iscsi_lu *lu)
{
	struct iscsi_lu **p = &srv->lus;

	if (--lu->refs)
		return;
	while (*p != lu)
		p = &(*p)->next;
	*p = lu->next;
	iscsi_pr_destroy(&lu->pr);
	pthread_mutex_destroy(&lu->lock);
	free(lu);
}

struct iscsi_lu *iscsi_lu_get(struct iscsi_server *srv, const struct vs_uuid *volume)
{
	struct iscsi_lu *lu = srv->lus;

	while (lu && !vs_uuid_equal(&lu->volume, volume))
		lu = lu->next;
	if (!lu) {
		lu = calloc(1, sizeof(*lu));
		if (!lu)
			return NULL;
		pthread_mutex_init(&lu->lock, NULL);
		atomic_init(&lu->write_back, true);
		lu->volume = *volume;
		iscsi_keep_load(srv, lu);
		lu->next = srv->lus;
		srv->lus = lu;
	}
	lu->refs++;
	return lu;
}

/* By UUID: the volume may have been renamed, and another may have its old name. */
static int open_volume(struct iscsi_server *srv, struct iscsi_lu *lu, struct vs_error *err)
{
	char full[BS_FULL_NAME_MAX + 2];
	struct bs_volume_info info;
	int rc = bs_volume_find_uuid(srv->store, &lu->volume, &info, err);

	if (rc < 0)
		return rc;
	snprintf(full, sizeof(full), "%s%s%s", info.name, info.snapshot ? "@" : "", info.snap);
	rc = bs_volume_open(srv->store, full, &lu->vol, err);
	if (rc < 0) {
		lu->vol = NULL;
		return rc;
	}
	if (vs_uuid_equal(bs_volume_uuid(lu->vol), &lu->volume))
		return 0;
	bs_volume_close(lu->vol);
	lu->vol = NULL;
	return vs_fail(err, VS_E_AGAIN, "volume %s was just replaced", full);
}

void iscsi_lu_use(struct iscsi_server *srv, struct iscsi_lu *lu)
{
	char uuid[VS_UUID_TEXT];
	struct vs_error err;

	lu->refs++;
	lu->users++;
	if (lu->vol || open_volume(srv, lu, &err) == 0)
		return;
	vs_uuid_format(&lu->volume, uuid);
	vs_err("iscsi: volume %s is not ready: %s", uuid, err.text);
}

void iscsi_lu_unuse(struct iscsi_server *srv, struct iscsi_lu *lu)
{
	if (--lu->users == 0 && lu->vol) {
		bs_volume_close(lu->vol);
		lu->vol = NULL;
	}
	iscsi_lu_put(srv, lu);
}

static void join(struct iscsi_lun *l)
{
	pthread_mutex_lock(&l->lu->lock);
	l->next = l->lu->sessions;
	l->lu->sessions = l;
	pthread_mutex_unlock(&l->lu->lock);
}

/* With lu->lock held. */
static void count_abort_done(struct iscsi_lun *l)
{
	if (!l->aborting)
		return;
	l->aborting = false;
	if (--l->lu->aborting)
		return;
	for (struct iscsi_lun *s = l->lu->sessions; s; s = s->next)
		iscsi_control_want(s->conn, ISCSI_WANT_RESET_DONE);
}

static void leave(struct iscsi_lun *l)
{
	struct iscsi_lun **p = &l->lu->sessions;

	pthread_mutex_lock(&l->lu->lock);
	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	count_abort_done(l);
	pthread_mutex_unlock(&l->lu->lock);
}

void iscsi_lu_abort_session(struct iscsi_lun *l)
{
	if (l->closed) /* nothing of it goes on but orphans, and nobody would say that it is done */
		return;
	if (!l->aborting) {
		l->aborting = true;
		l->lu->aborting++;
	}
	atomic_store(&l->abort, true);
	iscsi_control_want(l->conn, ISCSI_WANT_ABORT);
}

bool iscsi_lu_abort_others(struct iscsi_lun *by, unsigned ua)
{
	struct iscsi_lu *lu = by->lu;
	bool waits;

	pthread_mutex_lock(&lu->lock);
	for (struct iscsi_lun *s = lu->sessions; s; s = s->next) {
		if (s->conn == by->conn || s->closed)
			continue;
		atomic_fetch_or(&s->ua, ua);
		iscsi_lu_abort_session(s);
	}
	waits = lu->aborting != 0;
	pthread_mutex_unlock(&lu->lock);
	return waits;
}

void iscsi_lu_abort_done(struct iscsi_lun *l)
{
	pthread_mutex_lock(&l->lu->lock);
	if (!atomic_load(&l->abort)) /* else it was asked again */
		count_abort_done(l);
	pthread_mutex_unlock(&l->lu->lock);
}

bool iscsi_lu_aborting(struct iscsi_lu *lu)
{
	bool aborting;

	pthread_mutex_lock(&lu->lock);
	aborting = lu->aborting != 0;
	pthread_mutex_unlock(&lu->lock);
	return aborting;
}

void iscsi_lu_closed(struct iscsi_lun *l)
{
	pthread_mutex_lock(&l->lu->lock);
	l->closed = true;
	l->prevents = false;
	count_abort_done(l);
	pthread_mutex_unlock(&l->lu->lock);
}

void iscsi_lu_orphan_begun(struct iscsi_lu *lu)
{
	atomic_fetch_add(&lu->orphans, 1);
}

void iscsi_lu_orphan_ended(struct iscsi_lu *lu)
{
	pthread_mutex_lock(&lu->lock);
	atomic_fetch_sub(&lu->orphans, 1);
	for (struct iscsi_lun *s = lu->sessions; s; s = s->next)
		if (!s->closed)
			iscsi_control_want(s->conn, ISCSI_WANT_HELD | ISCSI_WANT_RESUME);
	pthread_mutex_unlock(&lu->lock);
}

/* On the control thread, posted by the last user. */
static void release_map(struct vs_post *p)
{
	struct iscsi_lun_map *map = p->arg;
	struct iscsi_conn *c = map->conn;

	for (unsigned i = 0; i < map->n; i++) {
		leave(&map->luns[i]);
		iscsi_lu_unuse(map->srv, map->luns[i].lu);
	}
	if (c->ctl_map == map)
		c->ctl_map = NULL;
	free(map);
	iscsi_control_map_released(c);
}

void iscsi_lu_map_put(struct iscsi_lun_map *map)
{
	if (--map->refs == 0)
		vs_loop_post(map->srv->loop, &map->post);
}

const struct iscsi_lun *iscsi_lu_map_find(const struct iscsi_lun_map *map,
					  const struct iscsi_lu *lu)
{
	const struct iscsi_lun *found = NULL;

	for (unsigned i = 0; i < map->n; i++)
		if (map->luns[i].lu == lu && (!found || found->read_only))
			found = &map->luns[i];
	return found;
}

static void add_lun(struct iscsi_lun_map *map, const struct iscsi_target *t, size_t i)
{
	struct iscsi_lun *l = &map->luns[map->n++];

	l->conn = map->conn;
	l->lu = t->lus[i];
	l->lun = t->cfg.luns[i].lun;
	iscsi_lu_use(map->srv, l->lu);
	l->vol = l->lu->vol;
	l->read_only = t->cfg.read_only || t->cfg.luns[i].read_only;
	l->removable = t->cfg.luns[i].removable;
	l->seen_size = l->vol ? bs_volume_size(l->vol) : 0;
	l->seen_modes = atomic_load(&l->lu->mode_changes);
	join(l);
}

struct iscsi_lun_map *iscsi_lu_map_new(struct iscsi_conn *c, struct iscsi_target *t)
{
	struct iscsi_lun_map *map = calloc(1, sizeof(*map) + t->cfg.nluns * sizeof(map->luns[0]));

	if (!map)
		return NULL;
	map->srv = c->srv;
	map->conn = c;
	c->maps++;
	map->post = (struct vs_post){.call = release_map, .arg = map};
	map->refs = 1;
	map->portal_group = t->cfg.portal_group;
	for (size_t i = 0; i < t->cfg.nluns; i++)
		if (iscsi_target_shows(t, i, c->login.initiator))
			add_lun(map, t, i);
	return map;
}

bool iscsi_lu_map_same(const struct iscsi_lun_map *a, const struct iscsi_lun_map *b, bool access)
{
	if (a->n != b->n || (access && a->portal_group != b->portal_group))
		return false;
	for (unsigned i = 0; i < a->n; i++) {
		const struct iscsi_lun *l = &a->luns[i], *o = NULL;

		for (unsigned k = 0; k < b->n && !o; k++)
			if (b->luns[k].lun == l->lun)
				o = &b->luns[k];
		if (!o || o->lu != l->lu)
			return false;
		if (access && (o->read_only != l->read_only || o->vol != l->vol))
			return false;
	}
	return true;
}

void iscsi_lu_unreserve(struct iscsi_lu *lu, struct iscsi_conn *holder)
{
	pthread_mutex_lock(&lu->lock);
	if (!holder || lu->reserved_by == holder) {
		lu->reserved_by = NULL;
		atomic_store(&lu->reserved, lu->pr.n > 0);
	}
	pthread_mutex_unlock(&lu->lock);
}

void iscsi_lu_resume(struct iscsi_lu *lu)
{
	pthread_mutex_lock(&lu->lock);
	for (struct iscsi_lun *s = lu->sessions; s; s = s->next)
		if (!s->closed)
			iscsi_control_want(s->conn, ISCSI_WANT_RESUME);
	pthread_mutex_unlock(&lu->lock);
}

void iscsi_lu_allow_removal(struct iscsi_lu *lu)
{
	pthread_mutex_lock(&lu->lock);
	for (struct iscsi_lun *s = lu->sessions; s; s = s->next)
		s->prevents = false;
	pthread_mutex_unlock(&lu->lock);
}

void iscsi_lu_inherit(struct iscsi_lun *l, const struct iscsi_lun *from)
{
	pthread_mutex_lock(&l->lu->lock);
	l->prevents = from->prevents;
	pthread_mutex_unlock(&l->lu->lock);
}

void iscsi_lu_lose(struct iscsi_lun *l)
{
	iscsi_lu_unreserve(l->lu, l->conn);
	pthread_mutex_lock(&l->lu->lock);
	l->prevents = false;
	pthread_mutex_unlock(&l->lu->lock);
}
