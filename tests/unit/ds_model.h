/* A small tree of files in memory, which says what each operation answers and what there is. */
#ifndef TESTS_UNIT_DS_MODEL_H
#define TESTS_UNIT_DS_MODEL_H

#include "tests/unit/ds_scene.h"

#define FILES 48
#define ENTRIES 96
#define NAMES 8
#define BYTES (6 * 4096)

struct model_file {
	bool used;
	enum ds_type type;
	uint32_t links, size;
	int parent;
	struct ds_handle h;
	uint8_t bytes[BYTES];
};

struct model_entry {
	bool used;
	int dir, name, file;
};

struct model {
	struct model_file file[FILES]; /* 0: the root */
	struct model_entry entry[ENTRIES];
};

enum model_what { M_CREATE, M_REMOVE, M_RMDIR, M_RENAME, M_LINK, M_WRITE, M_TRUNCATE, M_WHATS };

struct model_op {
	enum model_what what;
	enum ds_type type;
	int dir, name, dir2, name2, file;
	uint32_t at, len;
	uint8_t fill;
};

static inline void model_init(struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->file[0] = (struct model_file){.used = true, .type = DS_DIR, .links = 2, .h = ds_root};
}

static inline uint64_t model_random(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return *seed >> 33;
}

static inline int model_find(const struct model *m, int dir, int name)
{
	for (int i = 0; i < ENTRIES; i++)
		if (m->entry[i].used && m->entry[i].dir == dir && m->entry[i].name == name)
			return i;
	return -1;
}

static inline int model_entries(const struct model *m, int dir)
{
	int n = 0;

	for (int i = 0; i < ENTRIES; i++)
		n += m->entry[i].used && m->entry[i].dir == dir;
	return n;
}

static inline int model_pick(const struct model *m, uint64_t *seed, bool dir)
{
	for (;;) {
		int i = (int)(model_random(seed) % FILES);

		if (m->file[i].used && (m->file[i].type == DS_DIR) == dir)
			return i;
		if (!dir && model_random(seed) % 64 == 0)
			return -1;
	}
}

static inline void model_choose(const struct model *m, uint64_t *seed, struct model_op *op)
{
	static const enum ds_type types[] = {DS_REG, DS_REG, DS_DIR, DS_LNK};
	uint32_t block = (uint32_t)(model_random(seed) % 6), most = 6 - block;

	*op = (struct model_op){.what = (enum model_what)(model_random(seed) % M_WHATS),
				.type = types[model_random(seed) % 4],
				.dir = model_pick(m, seed, true),
				.dir2 = model_pick(m, seed, true),
				.name = (int)(model_random(seed) % NAMES),
				.name2 = (int)(model_random(seed) % NAMES),
				.file = model_pick(m, seed, false),
				.fill = (uint8_t)(1 + model_random(seed) % 255)};
	/* a write that is one piece */
	op->at = block * 4096;
	op->len = 4096 * (1 + (uint32_t)(model_random(seed) % most));
	if (model_random(seed) % 2) {
		op->at += (uint32_t)(model_random(seed) % 4000);
		op->len = 1 + (uint32_t)(model_random(seed) % 96);
	}
}

static inline bool model_needs_file(const struct model_op *op)
{
	return op->what == M_LINK || op->what == M_WRITE || op->what == M_TRUNCATE;
}

static inline bool model_below(const struct model *m, int dir, int moved)
{
	for (; dir; dir = m->file[dir].parent)
		if (dir == moved)
			return true;
	return moved == 0;
}

static inline void model_unname(struct model *m, int file)
{
	if (m->file[file].type == DS_DIR || --m->file[file].links == 0)
		m->file[file].used = false;
}

static inline int model_add(struct model *m, int dir, int name, int file)
{
	for (int i = 0; i < ENTRIES; i++) {
		if (m->entry[i].used)
			continue;
		m->entry[i] = (struct model_entry){true, dir, name, file};
		return 0;
	}
	abort();
}

static inline int model_create(struct model *m, const struct model_op *op)
{
	int i = 1;

	if (model_find(m, op->dir, op->name) >= 0)
		return VS_E_EXIST;
	while (m->file[i].used)
		i++;
	memset(&m->file[i], 0, sizeof(m->file[i]));
	m->file[i].used = true;
	m->file[i].type = op->type;
	m->file[i].links = op->type == DS_DIR ? 2 : 1;
	m->file[i].parent = op->dir;
	m->file[i].size = op->type == DS_LNK ? 4 : 0;
	m->file[op->dir].links += op->type == DS_DIR;
	return model_add(m, op->dir, op->name, i);
}

static inline int model_remove(struct model *m, const struct model_op *op)
{
	int e = model_find(m, op->dir, op->name), f = e < 0 ? -1 : m->entry[e].file;
	bool rmdir = op->what == M_RMDIR;

	if (e < 0)
		return VS_E_NOENT;
	if (rmdir != (m->file[f].type == DS_DIR))
		return rmdir ? DS_NOT_DIR : DS_IS_DIR;
	if (rmdir && model_entries(m, f))
		return DS_NOT_EMPTY;
	m->entry[e].used = false;
	m->file[op->dir].links -= rmdir;
	model_unname(m, f);
	return 0;
}

static inline int model_rename(struct model *m, const struct model_op *op)
{
	int from = model_find(m, op->dir, op->name), to = model_find(m, op->dir2, op->name2);
	int f = from < 0 ? -1 : m->entry[from].file, g = to < 0 ? -1 : m->entry[to].file;
	bool dir;

	if (from < 0)
		return VS_E_NOENT;
	if (f == g)
		return 0;
	dir = m->file[f].type == DS_DIR;
	if (dir && op->dir != op->dir2 && model_below(m, op->dir2, f))
		return VS_E_INVAL;
	if (to >= 0 && dir != (m->file[g].type == DS_DIR))
		return dir ? DS_NOT_DIR : DS_IS_DIR;
	if (to >= 0 && dir && model_entries(m, g))
		return DS_NOT_EMPTY;
	m->entry[from].used = false;
	if (to >= 0) {
		m->entry[to].used = false;
		m->file[op->dir2].links -= dir;
		model_unname(m, g);
	}
	if (dir) {
		m->file[op->dir].links--;
		m->file[op->dir2].links++;
		m->file[f].parent = op->dir2;
	}
	return model_add(m, op->dir2, op->name2, f);
}

static inline int model_link(struct model *m, const struct model_op *op)
{
	if (model_find(m, op->dir, op->name) >= 0)
		return VS_E_EXIST;
	m->file[op->file].links++;
	return model_add(m, op->dir, op->name, op->file);
}

static inline int model_bytes(struct model *m, const struct model_op *op)
{
	struct model_file *f = &m->file[op->file];

	if (f->type != DS_REG)
		return DS_WRONG_TYPE;
	if (op->what == M_WRITE) {
		memset(f->bytes + op->at, op->fill, op->len);
		f->size = VS_MAX(f->size, op->at + op->len);
	} else {
		if (op->at < f->size)
			memset(f->bytes + op->at, 0, f->size - op->at);
		f->size = op->at;
	}
	return 0;
}

/* Whether there is room in the model for what op may make. */
static inline bool model_room(const struct model *m)
{
	int files = 0, entries = 0;

	for (int i = 0; i < FILES; i++)
		files += m->file[i].used;
	for (int i = 0; i < ENTRIES; i++)
		entries += m->entry[i].used;
	return files < FILES && entries < ENTRIES;
}

static inline int model_apply(struct model *m, const struct model_op *op)
{
	static int (*const apply[M_WHATS])(struct model *, const struct model_op *) = {
	    model_create, model_remove, model_remove, model_rename,
	    model_link,	  model_bytes,	model_bytes};

	return apply[op->what](m, op);
}

static const char *const model_name[NAMES] = {"a", "b", "c", "d", "e", "f", "g", "h"};

static inline int model_run(struct scene *x, const struct model *m, const struct model_op *op)
{
	struct ds_handle dir = m->file[op->dir].h, dir2 = m->file[op->dir2].h;
	struct ds_handle file = op->file < 0 ? ds_root : m->file[op->file].h;
	const char *name = model_name[op->name];
	uint8_t bytes[BYTES];

	switch (op->what) {
	case M_CREATE:
		return op->type == DS_LNK ? do_symlink(x, dir, name, "over")
					  : do_create(x, dir, name, op->type, 0755);
	case M_REMOVE:
		return do_remove(x, dir, name);
	case M_RMDIR:
		return do_rmdir(x, dir, name);
	case M_RENAME:
		return do_rename(x, dir, name, dir2, model_name[op->name2]);
	case M_LINK:
		return do_link(x, file, dir, name);
	case M_WRITE:
		memset(bytes, op->fill, op->len);
		return do_write(x, file, op->at, bytes, op->len);
	default:
		return do_truncate(x, file, op->at);
	}
}

/* ---- what there is -------------------------------------------------------------------------- */

struct model_walk {
	struct scene *x;
	const struct model *m;
	int dir;
	unsigned n;
	bool same;
	struct ds_attr attr[NAMES];
	int file[NAMES];
};

static inline bool model_seen(struct ds_req *req, const struct ds_entry *e)
{
	struct model_walk *w = (struct model_walk *)(uintptr_t)req->verifier;
	int entry;

	if (e->cookie < 3)
		return true;
	entry = e->name_len == 1 ? model_find(w->m, w->dir, e->name[0] - 'a') : -1;
	if (entry < 0 || w->n == NAMES) {
		w->same = false;
		return true;
	}
	w->file[w->n] = w->m->entry[entry].file;
	w->attr[w->n++] = *e->attr;
	return true;
}

static inline bool model_same_file(struct scene *x, const struct model_file *f,
				   const struct ds_attr *a, uint64_t *used)
{
	uint8_t bytes[BYTES + 1];

	if (a->type != f->type || a->links != f->links)
		return false;
	if (f->type != DS_DIR && a->size != f->size)
		return false;
	if (f->h.object &&
	    (a->handle.object != f->h.object || a->handle.generation != f->h.generation))
		return false;
	*used += a->used / BS_BLOCK;
	if (f->type != DS_REG)
		return true;
	assert_int_equal(do_read(x, a->handle, 0, bytes, sizeof(bytes)), 0);
	return x->req.count == f->size && x->req.eof && memcmp(bytes, f->bytes, f->size) == 0;
}

static inline bool model_same(struct scene *x, const struct model *m, int dir, struct ds_handle h,
			      uint64_t *used)
{
	struct model_walk w = {.x = x, .m = m, .dir = dir, .same = true};

	x->req = (struct ds_req){.op = DS_READDIR,
				 .file = h,
				 .plus = true,
				 .entry = model_seen,
				 .verifier = (uintptr_t)&w};
	assert_int_equal(scene_run(x), 0);
	assert_true(x->req.eof);
	if (!w.same || (int)w.n != model_entries(m, dir) || x->req.attr.size != w.n ||
	    x->req.attr.links != m->file[dir].links)
		return false;
	for (unsigned i = 0; i < w.n; i++) {
		if (!model_same_file(x, &m->file[w.file[i]], &w.attr[i], used))
			return false;
		/* with two names it is counted twice */
		if (m->file[w.file[i]].type != DS_DIR && m->file[w.file[i]].links > 1)
			*used -= w.attr[i].used / BS_BLOCK;
		if (w.attr[i].type == DS_DIR &&
		    !model_same(x, m, w.file[i], w.attr[i].handle, used))
			return false;
	}
	return true;
}

/* Nothing is kept by files that nobody can reach: waits until they have been taken apart. */
static inline void model_no_leak(struct scene *x, const struct model *m)
{
	uint64_t used = 0, files = 0;

	assert_true(model_same(x, m, 0, ds_root, &used));
	for (int i = 0; i < FILES; i++) {
		files += m->file[i].used;
		if (m->file[i].used && m->file[i].type == DS_REG && m->file[i].links > 1 &&
		    m->file[i].h.object)
			used += blocks_of(x, m->file[i].h.object);
	}
	scene_blocks(x, used);
	x->req = (struct ds_req){.op = DS_STATFS, .file = ds_root};
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.fs_files - x->req.fs_files_free, files);
}

#endif
