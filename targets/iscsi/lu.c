#include "targets/iscsi/internal.h"

#include "common/log.h"

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
	pthread_mutex_destroy(&lu->lock);
	free(lu);
}

struct iscsi_lu *iscsi_lu_get(struct iscsi_server *srv, const char *target,
			      const struct iscsi_lun_config *cfg)
{
	struct iscsi_lu *lu = srv->lus;

	while (lu && (lu->lun != cfg->lun || strcmp(lu->target, target) != 0 ||
		      strcmp(lu->volume, cfg->volume) != 0))
		lu = lu->next;
	if (!lu) {
		lu = calloc(1, sizeof(*lu));
		if (!lu)
			return NULL;
		pthread_mutex_init(&lu->lock, NULL);
		atomic_init(&lu->write_back, true);
		lu->lun = cfg->lun;
		snprintf(lu->target, sizeof(lu->target), "%s", target);
		snprintf(lu->volume, sizeof(lu->volume), "%s", cfg->volume);
		lu->next = srv->lus;
		srv->lus = lu;
	}
	lu->refs++;
	return lu;
}

static void use_lu(struct iscsi_server *srv, struct iscsi_lu *lu)
{
	struct vs_error err;

	lu->refs++;
	if (lu->users++ == 0 && bs_volume_open(srv->store, lu->volume, &lu->vol, &err) < 0) {
		vs_err("iscsi: target %s LUN %u is not ready: %s", lu->target, lu->lun, err.text);
		lu->vol = NULL;
	}
}

static void unuse_lu(struct iscsi_server *srv, struct iscsi_lu *lu)
{
	if (--lu->users == 0 && lu->vol) {
		bs_volume_close(lu->vol);
		lu->vol = NULL;
	}
	iscsi_lu_put(srv, lu);
}

/* On the control thread, posted by the last user. */
static void release_map(struct vs_post *p)
{
	struct iscsi_lun_map *map = p->arg;

	for (unsigned i = 0; i < map->n; i++)
		unuse_lu(map->srv, map->luns[i].lu);
	if (map->conn->ctl_map == map)
		map->conn->ctl_map = NULL;
	free(map);
}

void iscsi_lu_map_put(struct iscsi_lun_map *map)
{
	if (--map->refs == 0)
		vs_loop_post(map->srv->loop, &map->post);
}

struct iscsi_lun_map *iscsi_lu_map_new(struct iscsi_conn *c, struct iscsi_target *t)
{
	struct iscsi_lun_map *map = calloc(1, sizeof(*map) + t->cfg.nluns * sizeof(map->luns[0]));

	if (!map)
		return NULL;
	map->srv = c->srv;
	map->conn = c;
	map->post = (struct vs_post){.call = release_map, .arg = map};
	map->refs = 1;
	map->n = (unsigned)t->cfg.nluns;
	for (unsigned i = 0; i < map->n; i++) {
		struct iscsi_lun *l = &map->luns[i];

		use_lu(c->srv, t->lus[i]);
		l->lu = t->lus[i];
		l->lun = l->lu->lun;
		l->vol = l->lu->vol;
		l->read_only = t->cfg.read_only || t->cfg.luns[i].read_only;
		l->seen_size = l->vol ? bs_volume_size(l->vol) : 0;
		l->seen_modes = atomic_load(&l->lu->mode_changes);
	}
	return map;
}

void iscsi_lu_unreserve(struct iscsi_lu *lu, struct iscsi_conn *holder)
{
	pthread_mutex_lock(&lu->lock);
	if (!holder || lu->reserved_by == holder) {
		lu->reserved_by = NULL;
		atomic_store(&lu->reserved, false);
	}
	pthread_mutex_unlock(&lu->lock);
}
