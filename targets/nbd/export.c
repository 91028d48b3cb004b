#include "targets/nbd/export.h"

#include "common/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void nbd_exports_init(struct nbd_exports *t)
{
	memset(t, 0, sizeof(*t));
	(void)pthread_mutex_init(&t->lock, NULL);
	(void)pthread_cond_init(&t->unused, NULL);
}

void nbd_exports_destroy(struct nbd_exports *t)
{
	while (t->list) {
		struct nbd_export *e = t->list;

		VS_ASSERT(e->users == 0);
		t->list = e->next;
		free(e);
	}
	(void)pthread_cond_destroy(&t->unused);
	(void)pthread_mutex_destroy(&t->lock);
}

static struct nbd_export **find(struct nbd_exports *t, const char *name, size_t len)
{
	struct nbd_export **at;

	for (at = &t->list; *at; at = &(*at)->next)
		if (strlen((*at)->name) == len && memcmp((*at)->name, name, len) == 0)
			break;
	return at;
}

int nbd_exports_add(struct nbd_exports *t, const char *name, const struct vs_uuid *uuid,
		    bool read_only, struct vs_error *err)
{
	struct nbd_export *e = calloc(1, sizeof(*e)), **at;
	int status = 0;

	if (!e)
		return vs_fail(err, VS_E_NOMEM, "cannot export %s: out of memory", name);
	(void)snprintf(e->name, sizeof(e->name), "%s", name);
	e->uuid = *uuid;
	e->read_only = read_only;

	(void)pthread_mutex_lock(&t->lock);
	at = find(t, name, strlen(name));
	if (*at)
		status = vs_fail(err, VS_E_EXIST, "%s is exported over NBD already", name);
	else if (t->count >= NBD_EXPORTS_MAX)
		status = vs_fail(err, VS_E_LIMIT, "cannot export %s: there are %u exports already",
				 name, t->count);
	if (status == 0) {
		*at = e;
		t->count++;
	}
	(void)pthread_mutex_unlock(&t->lock);
	if (status)
		free(e);
	return status;
}

int nbd_exports_remove(struct nbd_exports *t, const char *name, struct nbd_export **out)
{
	struct nbd_export **at;

	(void)pthread_mutex_lock(&t->lock);
	at = find(t, name, strlen(name));
	*out = *at;
	if (*out) {
		*at = (*out)->next;
		t->count--;
		atomic_store(&(*out)->gone, true);
	}
	(void)pthread_mutex_unlock(&t->lock);
	return *out ? 0 : VS_E_NOENT;
}

void nbd_exports_wait(struct nbd_exports *t, struct nbd_export *e)
{
	(void)pthread_mutex_lock(&t->lock);
	while (e->users)
		(void)pthread_cond_wait(&t->unused, &t->lock);
	(void)pthread_mutex_unlock(&t->lock);
	free(e);
}

struct nbd_export *nbd_exports_acquire(struct nbd_exports *t, const struct nbd_string *name)
{
	struct nbd_export *e;

	(void)pthread_mutex_lock(&t->lock);
	if (name->len == 0)
		e = t->count == 1 ? t->list : NULL;
	else
		e = *find(t, name->s, name->len);
	if (e)
		e->users++;
	(void)pthread_mutex_unlock(&t->lock);
	return e;
}

void nbd_exports_release(struct nbd_exports *t, struct nbd_export *e)
{
	(void)pthread_mutex_lock(&t->lock);
	VS_ASSERT(e->users > 0);
	if (--e->users == 0)
		(void)pthread_cond_broadcast(&t->unused);
	(void)pthread_mutex_unlock(&t->lock);
}

size_t nbd_exports_list(struct nbd_exports *t, struct nbd_server_entry *out, size_t max)
{
	size_t n = 0;

	(void)pthread_mutex_lock(&t->lock);
	for (struct nbd_export *e = t->list; e; e = e->next, n++) {
		if (n >= max)
			continue;
		memcpy(out[n].name, e->name, sizeof(out[n].name));
		out[n].read_only = e->read_only;
		out[n].connections = e->users;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}

size_t nbd_exports_encode(struct nbd_exports *t, uint8_t *to, size_t room)
{
	const size_t most = NBD_OPTION_REPLY_BYTES + 4 + BS_FULL_NAME_MAX;
	size_t n = 0;

	(void)pthread_mutex_lock(&t->lock);
	for (struct nbd_export *e = t->list; e && room - n >= most; e = e->next)
		n += nbd_server_encode(to + n, e->name);
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}
