#include "tests/sim/model.h"

#include "common/bytes.h"
#include "tests/sim/report.h"

#include <stdio.h>
#include <stdlib.h>

struct model_node {
	uint32_t op, prev;
	uint64_t tag;
};

static void *must(void *p)
{
	VS_ASSERT(p);
	return p;
}

void model_init(struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->cap_ops = m->cap_nodes = 1024;
	m->ops = must(malloc(m->cap_ops * sizeof(*m->ops)));
	m->nodes = must(malloc(m->cap_nodes * sizeof(*m->nodes)));
	m->nops = m->nnodes = 1; /* number 0 is "none" */
}

void model_free(struct model *m)
{
	for (unsigned i = 0; i < MODEL_IMAGES; i++) {
		free(m->images[i].base);
		free(m->images[i].head);
	}
	free(m->ops);
	free(m->nodes);
	free(m->copies);
}

struct model_image *model_add(struct model *m, const char *name, const char *snap, uint32_t sectors)
{
	VS_ASSERT(sectors <= MODEL_SECTORS);
	for (unsigned i = 0; i < MODEL_IMAGES; i++) {
		struct model_image *img = &m->images[i];
		uint64_t *base = img->base;
		uint32_t *head = img->head;

		if (img->live || img->users)
			continue;
		memset(img, 0, sizeof(*img));
		img->base = base ? base : must(malloc(MODEL_SECTORS * sizeof(*base)));
		img->head = head ? head : must(malloc(MODEL_SECTORS * sizeof(*head)));
		memset(img->base, 0, MODEL_SECTORS * sizeof(*base));
		memset(img->head, 0, MODEL_SECTORS * sizeof(*head));
		img->live = true;
		img->snapshot = snap[0] != 0;
		(void)snprintf(img->name, sizeof(img->name), "%s", name);
		(void)snprintf(img->snap, sizeof(img->snap), "%s", snap);
		img->sectors = sectors;
		return img;
	}
	return NULL;
}

void model_remove(struct model *m, struct model_image *img)
{
	(void)m;
	img->live = false;
	if (img->source) {
		img->source->users--;
		img->source = NULL;
	}
}

struct model_image *model_find(struct model *m, const char *name, const char *snap)
{
	for (unsigned i = 0; i < MODEL_IMAGES; i++) {
		struct model_image *img = &m->images[i];

		if (img->live && strcmp(img->name, name) == 0 && strcmp(img->snap, snap) == 0)
			return img;
	}
	return NULL;
}

unsigned model_count(const struct model *m, bool snapshots)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MODEL_IMAGES; i++)
		n += m->images[i].live && m->images[i].snapshot == snapshots;
	return n;
}

uint32_t model_op_new(struct model *m)
{
	if (m->nops == m->cap_ops) {
		m->cap_ops *= 2;
		m->ops = must(realloc(m->ops, m->cap_ops * sizeof(*m->ops)));
	}
	m->ops[m->nops] = (struct model_op){.submit = m->now, .ack = MODEL_NEVER};
	return m->nops++;
}

struct model_op *model_op(struct model *m, uint32_t op)
{
	VS_ASSERT(op && op < m->nops);
	return &m->ops[op];
}

/* Of the same request as the copy. */
static bool of_group(const struct model *m, uint32_t op, uint32_t group)
{
	for (uint32_t i = 0; i < m->ncopies; i++)
		if (m->copies[i].group == group && m->copies[i].op == op)
			return true;
	return false;
}

static void may_write(struct model *m, const struct model_copy *c, uint32_t sector, uint64_t tag)
{
	for (uint32_t i = c->image->head[sector]; i; i = m->nodes[i].prev)
		if (m->nodes[i].op == c->op && m->nodes[i].tag == tag)
			return;
	model_write(m, c->image, c->op, sector, tag);
}

void model_write(struct model *m, struct model_image *img, uint32_t op, uint32_t sector,
		 uint64_t tag)
{
	VS_ASSERT(sector < MODEL_SECTORS && !img->snapshot);
	if (m->nnodes == m->cap_nodes) {
		m->cap_nodes *= 2;
		m->nodes = must(realloc(m->nodes, m->cap_nodes * sizeof(*m->nodes)));
	}
	m->nodes[m->nnodes] = (struct model_node){.op = op, .prev = img->head[sector], .tag = tag};
	img->head[sector] = m->nnodes++;
	for (uint32_t i = 0; i < m->ncopies; i++) {
		const struct model_copy c = m->copies[i];

		if (c.source == img && sector - c.from < c.count && !of_group(m, op, c.group))
			may_write(m, &c, c.sector + (sector - c.from), tag);
	}
}

/* What bounds a view: see model.h. */
struct bounds {
	uint64_t cut, hi;
	bool crash, marked; /* marked: op.present counts */
};

static bool must_hold(const struct model_op *x, const struct bounds *b)
{
	if (x->dropped || x->submit >= b->hi)
		return false;
	if (b->marked && x->present)
		return true;
	if (x->optional)
		return false;
	return x->ack <= b->cut || (b->crash && x->durable);
}

/* Whether something that the view must hold came surely after an operation acknowledged at ack. */
static bool superseded(const struct model *m, uint32_t head, uint64_t ack, const struct bounds *b)
{
	for (uint32_t i = head; i; i = m->nodes[i].prev) {
		const struct model_op *x = &m->ops[m->nodes[i].op];

		if (x->submit > ack && must_hold(x, b))
			return true;
	}
	return false;
}

/* How many operations explain the value; *op: one of them (0: the base); *earliest submission. */
static unsigned explain(const struct model *m, const struct model_image *src, uint32_t sector,
			uint64_t tag, const struct bounds *b, uint32_t *op, uint64_t *earliest)
{
	uint32_t head = src->head[sector];
	unsigned n = 0;

	*earliest = MODEL_NEVER;
	for (uint32_t i = head; i; i = m->nodes[i].prev) {
		const struct model_op *x = &m->ops[m->nodes[i].op];

		if (m->nodes[i].tag != tag || x->dropped || x->submit >= b->hi ||
		    superseded(m, head, x->ack, b))
			continue;
		n++;
		*op = m->nodes[i].op;
		*earliest = VS_MIN(*earliest, x->submit);
	}
	if (src->base[sector] == tag && !superseded(m, head, 0, b)) {
		n++;
		*op = 0;
		*earliest = 0;
	}
	return n;
}

bool model_may_read(struct model *m, const struct model_image *img, uint32_t sector, uint64_t tag,
		    uint64_t lo)
{
	const struct bounds b = {.cut = lo, .hi = MODEL_NEVER};
	uint64_t earliest;
	uint32_t op;

	return explain(m, img, sector, tag, &b, &op, &earliest) > 0;
}

bool model_only(struct model *m, const struct model_image *img, uint32_t sector, uint64_t lo,
		uint64_t *tag)
{
	const struct bounds b = {.cut = lo, .hi = MODEL_NEVER};
	uint64_t earliest;
	uint32_t op;
	bool any = false;

	for (uint32_t i = img->head[sector]; i; i = m->nodes[i].prev) {
		uint64_t t = m->nodes[i].tag;

		if (!explain(m, img, sector, t, &b, &op, &earliest))
			continue;
		if (any && t != *tag)
			return false;
		*tag = t;
		any = true;
	}
	if (explain(m, img, sector, img->base[sector], &b, &op, &earliest)) {
		if (any && img->base[sector] != *tag)
			return false;
		*tag = img->base[sector];
		any = true;
	}
	return any;
}

/* The values that a reader who begins now may get: at most max. */
static unsigned candidates(const struct model *m, const struct model_image *img, uint32_t sector,
			   uint64_t *tags, unsigned max)
{
	const struct bounds b = {.cut = m->now, .hi = MODEL_NEVER};
	uint64_t earliest;
	unsigned n = 0, k;
	uint32_t op;

	for (uint32_t i = img->head[sector]; i; i = m->nodes[i].prev) {
		for (k = 0; k < n && tags[k] != m->nodes[i].tag; k++)
			;
		if (n + 1 == max)
			break;
		if (k < n || !explain(m, img, sector, m->nodes[i].tag, &b, &op, &earliest))
			continue;
		tags[n++] = m->nodes[i].tag;
	}
	for (k = 0; k < n && tags[k] != img->base[sector]; k++)
		;
	if (k == n && explain(m, img, sector, img->base[sector], &b, &op, &earliest))
		tags[n++] = img->base[sector];
	return n;
}

#define CANDIDATES 16u

bool model_copyable(const struct model *m, const struct model_image *img, uint32_t sector,
		    uint32_t count)
{
	uint64_t tags[CANDIDATES];

	while (count--)
		if (candidates(m, img, sector++, tags, CANDIDATES) > CANDIDATES / 2)
			return false;
	return true;
}

void model_copy(struct model *m, const struct model_copy *pieces, unsigned n)
{
	uint64_t(*tags)[CANDIDATES] = must(malloc(MODEL_SECTORS * sizeof(*tags)));
	uint32_t *counts = must(calloc(MODEL_SECTORS, sizeof(*counts))), at = 0;

	for (unsigned i = 0; i < n; i++)
		for (uint32_t k = 0; k < pieces[i].count; k++, at++)
			counts[at] = candidates(m, pieces[i].source, pieces[i].from + k, tags[at],
						CANDIDATES);
	for (unsigned i = 0; i < n; i++) {
		if (m->ncopies == m->cap_copies) {
			m->cap_copies = m->cap_copies ? m->cap_copies * 2 : 64;
			m->copies = must(realloc(m->copies, m->cap_copies * sizeof(*m->copies)));
		}
		m->copies[m->ncopies++] = pieces[i];
	}
	at = 0;
	for (unsigned i = 0; i < n; i++)
		for (uint32_t k = 0; k < pieces[i].count; k++, at++)
			for (uint32_t t = 0; t < counts[at]; t++)
				may_write(m, &pieces[i], pieces[i].sector + k, tags[at][t]);
	free(tags);
	free(counts);
}

void model_copied(struct model *m, uint32_t group)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < m->ncopies; i++)
		if (m->copies[i].group != group)
			m->copies[kept++] = m->copies[i];
	m->ncopies = kept;
}

static void describe(const struct model *m, const struct model_image *img,
		     const struct model_image *src, uint32_t sector, uint64_t tag,
		     const struct bounds *b, char *why, size_t len)
{
	int n = snprintf(why, len,
			 "%s%s%s sector %u reads %llu.%llu; base %llu.%llu, cut %llu, end %llu, "
			 "durable %llu; history:",
			 img->name, img->snap[0] ? "@" : "", img->snap, sector,
			 (unsigned long long)tag / 8, (unsigned long long)tag % 8,
			 (unsigned long long)src->base[sector] / 8,
			 (unsigned long long)src->base[sector] % 8, (unsigned long long)b->cut,
			 (unsigned long long)b->hi, (unsigned long long)m->durable);

	for (uint32_t i = src->head[sector]; i && n > 0 && (size_t)n < len; i = m->nodes[i].prev) {
		const struct model_op *x = &m->ops[m->nodes[i].op];

		n += snprintf(why + n, len - (size_t)n, " %llu.%llu(%llu-%lld%s%s%s%s)",
			      (unsigned long long)m->nodes[i].tag / 8,
			      (unsigned long long)m->nodes[i].tag % 8,
			      (unsigned long long)x->submit, (long long)x->ack,
			      x->durable ? " durable" : "", x->optional ? " optional" : "",
			      x->dropped ? " dropped" : "", x->present ? " present" : "");
	}
}

static const struct model_image *history_of(const struct model_image *img)
{
	return img->source ? img->source : img;
}

/* One pass over a reading: 0 nothing new, 1 the bounds grew, -1 a value has no explanation. */
static int pass(struct model *m, const struct model_reading *r, struct bounds *b, char *why,
		size_t len)
{
	const struct model_image *src = history_of(r->image);
	int grew = 0;

	for (uint32_t s = 0; s < r->image->sectors; s++) {
		uint64_t earliest;
		uint32_t op = 0;
		unsigned n = explain(m, src, s, r->tags[s], b, &op, &earliest);

		if (n == 0) {
			describe(m, r->image, src, s, r->tags[s], b, why, len);
			return -1;
		}
		if (earliest > b->cut) {
			b->cut = earliest;
			grew = 1;
		}
		if (n == 1 && op && !m->ops[op].present && !m->ops[op].optional) {
			m->ops[op].present = true;
			grew = 1;
		}
	}
	return grew;
}

bool model_check_view(struct model *m, const struct model_reading *r, unsigned n, uint64_t lo,
		      uint64_t hi, bool crash, uint64_t *cut, char *why, size_t len)
{
	struct bounds b = {.cut = lo, .hi = hi, .crash = crash, .marked = true};
	bool grew = true;

	for (uint32_t i = 1; i < m->nops; i++)
		m->ops[i].present = false;
	while (grew) {
		grew = false;
		for (unsigned i = 0; i < n; i++) {
			int rc = pass(m, &r[i], &b, why, len);

			if (rc < 0)
				return false;
			grew |= rc > 0;
		}
	}
	*cut = b.cut;
	return true;
}

void model_pin(struct model *m, struct model_image *img, const uint64_t *tags)
{
	(void)m;
	VS_ASSERT(img->snapshot);
	memcpy(img->base, tags, img->sectors * sizeof(*tags));
	memset(img->head, 0, MODEL_SECTORS * sizeof(*img->head));
	if (img->source)
		img->source->users--;
	img->source = NULL;
	img->pinned = true;
}

void model_new_epoch(struct model *m, const struct model_reading *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct model_image *img = r[i].image;

		if (img->snapshot) {
			model_pin(m, img, r[i].tags);
			continue;
		}
		memset(img->base, 0, MODEL_SECTORS * sizeof(*img->base));
		memset(img->head, 0, MODEL_SECTORS * sizeof(*img->head));
		memcpy(img->base, r[i].tags, img->sectors * sizeof(*r[i].tags));
	}
	for (unsigned i = 0; i < MODEL_IMAGES; i++)
		VS_ASSERT(!m->images[i].users);
	m->nops = m->nnodes = 1;
	m->ncopies = 0;
	m->durable = model_tick(m);
}
