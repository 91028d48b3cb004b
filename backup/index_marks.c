#include "backup/index_impl.h"

#include <stdlib.h>

int bk_index_marks_begin(struct bk_index *ix, struct vs_error *err)
{
	size_t i;
	int rc = 0;

	pthread_rwlock_wrlock(&ix->lock);
	if (ix->marking) {
		pthread_rwlock_unlock(&ix->lock);
		return vs_fail(err, VS_E_BUSY, "%s is being cleaned up: try again", ix->r->url);
	}
	for (i = 0; i < ix->nsegments; i++) {
		struct bk_index_segment *s = &ix->segments[i];

		free(s->marks);
		s->marks = calloc(s->l.entries / 8 + 1, 1);
		if (!s->marks)
			rc = VS_E_NOMEM;
	}
	ix->marking = rc == 0;
	pthread_rwlock_unlock(&ix->lock);
	if (rc)
		vs_fail(err, rc, "no memory to mark what %s needs", ix->r->url);
	return rc;
}

void bk_index_marks_end(struct bk_index *ix)
{
	size_t i;

	pthread_rwlock_wrlock(&ix->lock);
	ix->marking = false;
	for (i = 0; i < ix->nsegments; i++) {
		free(ix->segments[i].marks);
		ix->segments[i].marks = NULL;
	}
	pthread_rwlock_unlock(&ix->lock);
}

int bk_index_mark(struct bk_index *ix, const struct dd_digest *digest, enum bk_kind kind, bool *was,
		  struct vs_error *err)
{
	struct bk_index_hit hit = {0};
	int rc;

	pthread_rwlock_wrlock(&ix->lock);
	rc = bk_index_look(ix, digest, kind, &hit, err);
	if (rc == 0) {
		rc = VS_E_NOENT;
	} else if (rc == 1 && !hit.s->marks) {
		rc = vs_fail(err, VS_E_AGAIN, "%s changed meanwhile: try again", ix->r->url);
	} else if (rc == 1) {
		uint8_t *byte = &hit.s->marks[hit.i / 8];

		*was = *byte >> hit.i % 8 & 1;
		*byte |= (uint8_t)(1u << hit.i % 8);
		rc = 0;
	}
	pthread_rwlock_unlock(&ix->lock);
	return rc;
}

int bk_index_each_object(struct bk_index *ix,
			 int (*each)(void *arg, const struct dd_digest *name, const uint8_t *marks,
				     uint32_t entries),
			 void *arg)
{
	size_t i;
	int rc = 0;

	pthread_rwlock_rdlock(&ix->lock);
	for (i = 0; rc == 0 && i < ix->nsegments; i++)
		if (!ix->segments[i].marks)
			rc = VS_E_AGAIN;
		else
			rc = each(arg, &ix->segments[i].name, ix->segments[i].marks,
				  ix->segments[i].l.entries);
	pthread_rwlock_unlock(&ix->lock);
	return rc;
}

int bk_index_each_pack(struct bk_index *ix,
		       int (*each)(void *arg, const char *index_name, const struct bk_index_pack *p,
				   bool found),
		       void *arg)
{
	char name[BK_NAME_MAX];
	int rc = 0;
	size_t i;
	uint32_t k;

	pthread_rwlock_rdlock(&ix->lock);
	for (i = 0; rc == 0 && i < ix->nsegments; i++) {
		struct bk_index_segment *s = &ix->segments[i];

		bk_index_name(&s->name, name);
		for (k = 0; rc == 0 && k < s->l.packs; k++)
			rc = each(arg, name, &s->packs[k], s->found[k]);
	}
	pthread_rwlock_unlock(&ix->lock);
	return rc;
}

uint64_t bk_index_entries(struct bk_index *ix)
{
	uint64_t n;

	pthread_rwlock_rdlock(&ix->lock);
	n = ix->entries;
	pthread_rwlock_unlock(&ix->lock);
	return n;
}
