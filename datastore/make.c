/* New files and new names of files: CREATE, LINK. */
#include "datastore/change.h"
#include "datastore/permit.h"

#include "common/bytes.h"

#include <string.h>
#include <sys/random.h>

static int existing(struct ds_change *c, struct ds_place *p)
{
	struct ds_req *req = c->req;
	bool regular = req->type == DS_REG && p->found.type == DS_REG;
	int rc = ds_place_file(c, p);
	const uint64_t *word = c->txn->view[p->file];

	if (rc)
		return rc;
	if (!regular || req->how == DS_GUARDED)
		return VS_E_EXIST;
	if (req->how == DS_EXCLUSIVE && word[DS_W_VERIFIER] != req->verifier)
		return VS_E_EXIST;
	c->t->found = (struct ds_handle){p->found.object, p->found.generation, 0};
	ds_record_attr(word, c->txn->change[p->file].mapped, c->t->found, &req->attr);
	ds_place_after(c, p, &req->after);
	return 0;
}

/* The target of a link, which is in the request's pieces, in one. */
static int target(const struct ds_req *req, char out[DS_LINK_MAX], size_t *len)
{
	*len = 0;
	for (int i = 0; i < req->iovcnt; i++) {
		if (req->iov[i].iov_len > DS_LINK_MAX - *len)
			return VS_E_TOOBIG;
		memcpy(out + *len, req->iov[i].iov_base, req->iov[i].iov_len);
		*len += req->iov[i].iov_len;
	}
	return *len && !memchr(out, 0, *len) ? 0 : VS_E_INVAL;
}

/* An object whose record is empty, also in this transaction, and a generation for it. */
static int new_object(struct ds_change *c, struct ds_place *p)
{
	int rc;

	do {
		rc = ds_names_id(c->n, &p->found.object);
		if (rc == 0)
			rc = ds_txn_fresh(c->txn, p->found.object, &p->file);
	} while (rc == 0 && c->txn->view[p->file][DS_W_MODE]);
	if (rc)
		return rc;
	c->t->fresh = p->found.object;
	do {
		if (getrandom(&p->found.generation, sizeof(p->found.generation), 0) !=
		    (ssize_t)sizeof(p->found.generation))
			return VS_E_IO;
	} while (!p->found.generation);
	return 0;
}

static int64_t first_time(const struct ds_change *c, uint32_t bit, int64_t given)
{
	return c->req->set.what & bit ? given : c->now;
}

static void new_record(struct ds_change *c, const struct ds_place *p, const struct ds_perm *perm,
		       uint64_t size)
{
	const struct ds_req *req = c->req;
	const struct ds_set *set = &req->set;
	bool dir = perm->type == DS_DIR, device = perm->type == DS_CHR || perm->type == DS_BLK;
	uint64_t word[BS_OBJECT_WORDS] = {
	    [DS_W_MODE] = ds_word_mode(perm->type, perm->mode),
	    [DS_W_LINKS] = dir ? 2 : 1,
	    [DS_W_OWNER] = ds_word_pair(perm->uid, perm->gid),
	    [DS_W_SIZE] = size,
	    [DS_W_MTIME] = (uint64_t)first_time(c, DS_SET_MTIME, set->mtime),
	    [DS_W_CTIME] = (uint64_t)c->now,
	    [DS_W_ATIME] = (uint64_t)first_time(c, DS_SET_ATIME, set->atime),
	    [DS_W_BTIME] = (uint64_t)c->now,
	    [DS_W_CHANGE] = 1,
	    [DS_W_GENERATION] = p->found.generation,
	    [DS_W_DEVICE] = device ? ds_word_pair(req->major, req->minor) : 0,
	    [DS_W_VERIFIER] = req->how == DS_EXCLUSIVE ? req->verifier : 0,
	    [DS_W_PARENT] = dir ? ds_word_pair(p->dir.object, p->dir.generation) : 0,
	};

	for (unsigned i = 0; i < BS_OBJECT_WORDS; i++)
		ds_txn_set(c->txn, p->file, i, word[i]);
	c->txn->change[p->file].check = DS_W_MODE; /* it is free still */
	c->txn->change[p->file].is = 0;
}

int ds_change_create(struct ds_change *c)
{
	struct ds_req *req = c->req;
	struct ds_place p;
	struct ds_perm perm;
	char bytes[DS_LINK_MAX];
	size_t len = 0;
	uint64_t size = req->type == DS_REG && req->set.what & DS_SET_SIZE ? req->set.size : 0;
	int rc = ds_place_find(c, req->file, req->name, req->name_len, &req->before, &p);

	if (rc == 0 && p.there)
		return existing(c, &p);
	if (rc == 0)
		rc = ds_place_may_add(c, &p);
	if (rc == 0)
		rc = ds_new_perm(req->cred, &p.perm, req->type, &req->set, &perm, &req->why);
	if (rc == 0 && req->type == DS_LNK)
		rc = target(req, bytes, &len);
	if (rc == 0 && size > DS_FILE_MAX)
		rc = VS_E_TOOBIG;
	if (rc == 0)
		rc = new_object(c, &p);
	if (rc)
		return rc;
	p.found.type = req->type;
	new_record(c, &p, &perm, req->type == DS_LNK ? len : size);
	ds_place_count(c, &p, 1, req->type == DS_DIR);
	ds_txn_add(c->txn, 0, DS_B_FILES, 1);
	ds_txn_set(c->txn, 0, DS_B_NEXT, c->n->next_id);
	rc = ds_db_add(&c->n->db, p.dir.object, p.name, p.len, &p.found);
	if (rc == 0 && len)
		rc = ds_db_target_add(&c->n->db, p.found.object, bytes, len);
	c->t->found = (struct ds_handle){p.found.object, p.found.generation, 0};
	ds_record_attr(c->txn->view[p.file], 0, c->t->found, &req->attr);
	ds_place_after(c, &p, &req->after);
	req->created = true;
	return rc;
}

int ds_change_link(struct ds_change *c)
{
	struct ds_req *req = c->req;
	struct ds_place p;
	struct ds_perm perm;
	unsigned file;
	int rc = ds_place_find(c, req->other, req->name, req->name_len, &req->before_other, &p);

	if (rc == 0)
		rc = ds_txn_file(c->txn, req->file, &file);
	if (rc)
		return rc;
	perm = ds_record_perm(c->txn->view[file]);
	ds_record_attr(c->txn->view[file], c->txn->change[file].mapped, req->file, &req->before);
	if (perm.type == DS_DIR)
		return ds_change_why(c, DS_IS_DIR);
	if (p.there)
		return VS_E_EXIST;
	rc = ds_place_may_add(c, &p);
	if (rc)
		return rc;
	if (!c->txn->view[file][DS_W_LINKS]) /* its last name has gone, only holders have it */
		return VS_E_STALE;
	if (c->txn->view[file][DS_W_LINKS] >= DS_LINKS_MAX)
		return ds_change_why(c, DS_TOO_MANY_LINKS);
	ds_txn_add(c->txn, file, DS_W_LINKS, 1);
	ds_txn_touch(c->txn, file, c->now);
	ds_place_count(c, &p, 1, 0);
	p.found =
	    (struct ds_name){p.found.cookie, req->file.object, req->file.generation, perm.type};
	rc = ds_db_add(&c->n->db, p.dir.object, p.name, p.len, &p.found);
	ds_record_attr(c->txn->view[file], c->txn->change[file].mapped, req->file, &req->attr);
	req->after = req->attr;
	ds_place_after(c, &p, &req->after_other);
	return rc;
}
