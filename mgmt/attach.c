#include "mgmt/attach.h"

#include "common/loop.h"
#include "mgmt/draft.h"
#include "mgmt/private_nbd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_SECONDS 5

/* In the list from attach to detach; taken out under the lock by whoever ends it, once. */
struct attachment {
	uint64_t id;
	char full[BS_FULL_NAME_MAX];
	struct vs_uuid uuid;
	bool read_only, draft;
	struct mg_private_nbd nbd;
	uint64_t used_ns; /* when somebody was last seen connected */
	struct attachment *next;
};

/* lock guards the list; servers are started and stopped without it. */
struct mg_attachments {
	struct mg_node *node;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t stopped;
	struct attachment *head;
	unsigned n; /* also those being made */
	uint64_t last_id;
	bool stop;
};

static json_t *to_json(const struct attachment *at)
{
	return json_pack("{s:I, s:s, s:s, s:s, s:b, s:b}", "id", (json_int_t)at->id, "volume",
			 at->full, "socket", at->nbd.socket, "export", at->full, "read_only",
			 at->read_only, "draft", at->draft);
}

static int end_attachment(struct mg_attachments *a, struct attachment *at, bool keep,
			  struct vs_error *err)
{
	int rc = 0;

	mg_private_nbd_close(&at->nbd);
	if (at->draft && keep) {
		rc = bs_store_flush(a->node->store, err);
		if (rc == 0)
			rc = mg_draft_keep(a->node, &at->uuid, err);
	} else if (at->draft) {
		mg_draft_drop(a->node, &at->uuid);
	}
	free(at);
	pthread_mutex_lock(&a->lock);
	a->n--;
	pthread_mutex_unlock(&a->lock);
	return rc;
}

/* Takes the first one that fits out of the list; with the lock held. */
static struct attachment *take(struct mg_attachments *a,
			       bool (*fits)(const struct attachment *at, uint64_t arg),
			       uint64_t arg)
{
	for (struct attachment **p = &a->head; *p; p = &(*p)->next) {
		struct attachment *at = *p;

		if (fits(at, arg)) {
			*p = at->next;
			return at;
		}
	}
	return NULL;
}

static bool has_id(const struct attachment *at, uint64_t id)
{
	return at->id == id;
}

static bool idle_since(const struct attachment *at, uint64_t before)
{
	return at->used_ns < before;
}

static bool any(const struct attachment *at, uint64_t arg)
{
	(void)at;
	(void)arg;
	return true;
}

/* Marks those that are in use; with the lock held. */
static void look(struct mg_attachments *a)
{
	for (struct attachment *at = a->head; at; at = at->next) {
		struct nbd_server_entry e;

		if (nbd_server_list(at->nbd.server, &e, 1) > 0 && e.connections > 0)
			at->used_ns = vs_now_ns();
	}
}

static void *watcher(void *arg)
{
	struct mg_attachments *a = arg;

	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		struct attachment *at;
		struct timespec until;
		uint64_t now;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += LOOK_SECONDS;
		pthread_cond_timedwait(&a->stopped, &a->lock, &until);
		look(a);
		now = vs_now_ns();
		while (!a->stop && now > MG_ATTACH_IDLE * UINT64_C(1000000000) &&
		       (at = take(a, idle_since, now - MG_ATTACH_IDLE * UINT64_C(1000000000)))) {
			pthread_mutex_unlock(&a->lock);
			mg_event(a->node->events, MG_WARNING, "attach.idle", at->full,
				 "nobody was connected for %u s; ended", MG_ATTACH_IDLE);
			(void)end_attachment(a, at, false, NULL);
			pthread_mutex_lock(&a->lock);
		}
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

int mg_attachments_open(struct mg_node *n, struct mg_attachments **out, struct vs_error *err)
{
	struct mg_attachments *a = calloc(1, sizeof(*a));
	pthread_condattr_t attr;
	int no;

	if (!a)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	a->node = n;
	pthread_mutex_init(&a->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&a->stopped, &attr);
	pthread_condattr_destroy(&attr);
	no = pthread_create(&a->thread, NULL, watcher, a);
	if (no != 0) {
		free(a);
		return vs_fail(err, vs_err_from_errno(no), "cannot start the attachment thread");
	}
	*out = a;
	return 0;
}

void mg_attachments_close(struct mg_attachments *a)
{
	struct attachment *at;

	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_signal(&a->stopped);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	while ((at = take(a, any, 0)))
		(void)end_attachment(a, at, false, NULL);
	pthread_cond_destroy(&a->stopped);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* Counts a new one in, or says that there are too many. */
static int reserve(struct mg_attachments *a, uint64_t *id, struct vs_error *err)
{
	int rc = 0;

	pthread_mutex_lock(&a->lock);
	if (a->n == MG_ATTACH_MAX) {
		rc = vs_fail(err, VS_E_LIMIT, "%u volumes are attached already", a->n);
	} else {
		a->n++;
		*id = ++a->last_id;
	}
	pthread_mutex_unlock(&a->lock);
	return rc;
}

static int begin(struct mg_attachments *a, struct attachment *at, const char *full,
		 struct vs_error *err)
{
	struct bs_volume_info info;
	char name[32];
	int rc = mg_draft_find(a->node, full, &info, err);

	if (rc == 0 && at->draft && info.snapshot)
		rc = vs_fail(err, VS_E_INVAL, "%s is a snapshot; only volumes can be drafts", full);
	if (rc != 0)
		return rc;
	at->uuid = info.uuid;
	at->read_only |= info.snapshot;
	(void)snprintf(at->full, sizeof(at->full), "%s", full);
	(void)snprintf(name, sizeof(name), "attach-%llu", (unsigned long long)at->id);
	if (at->draft)
		rc = mg_draft_note(a->node, &at->uuid, err);
	if (rc != 0)
		return rc;
	rc = mg_private_nbd_open(a->node, name, full, at->read_only, &at->nbd, err);
	if (rc != 0 && at->draft && mg_draft_keep(a->node, &at->uuid, NULL) != 0)
		mg_event(a->node->events, MG_WARNING, "draft.left", full, "could not be noted");
	return rc;
}

int mg_attach(struct mg_attachments *a, const char *full, bool read_only, bool draft, json_t **out,
	      struct vs_error *err)
{
	struct attachment *at = calloc(1, sizeof(*at));
	int rc;

	if (!at)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	at->read_only = read_only;
	at->draft = draft;
	rc = reserve(a, &at->id, err);
	if (rc != 0) {
		free(at);
		return rc;
	}
	rc = begin(a, at, full, err);
	pthread_mutex_lock(&a->lock);
	if (rc == 0) {
		at->used_ns = vs_now_ns();
		at->next = a->head;
		a->head = at;
		*out = to_json(at);
	} else {
		a->n--;
	}
	pthread_mutex_unlock(&a->lock);
	if (rc != 0)
		free(at);
	return rc;
}

int mg_detach(struct mg_attachments *a, uint64_t id, bool keep, struct vs_error *err)
{
	struct attachment *at;

	pthread_mutex_lock(&a->lock);
	at = take(a, has_id, id);
	pthread_mutex_unlock(&a->lock);
	if (!at)
		return vs_fail(err, VS_E_NOENT, "no attachment %llu (any more)",
			       (unsigned long long)id);
	return end_attachment(a, at, keep, err);
}

json_t *mg_attach_list(struct mg_attachments *a)
{
	json_t *list = json_array();

	pthread_mutex_lock(&a->lock);
	for (struct attachment *at = a->head; at; at = at->next)
		json_array_append_new(list, to_json(at));
	pthread_mutex_unlock(&a->lock);
	return list;
}

void mg_attach_users(struct mg_attachments *a, const struct vs_uuid *uuid, json_t *users)
{
	char name[24];

	pthread_mutex_lock(&a->lock);
	for (struct attachment *at = a->head; at; at = at->next) {
		if (!vs_uuid_equal(&at->uuid, uuid))
			continue;
		(void)snprintf(name, sizeof(name), "%llu", (unsigned long long)at->id);
		json_array_append_new(users,
				      json_pack("{s:s, s:s}", "kind", "attach", "name", name));
	}
	pthread_mutex_unlock(&a->lock);
}
