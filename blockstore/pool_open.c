#include "blockstore/pool_open.h"

#include "blockstore/plant.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* What the superblocks of one device say. */
struct label {
	struct bs_device *dev;
	struct bs_super slot[2];
	bool have[2];
	int status; /* 0, or the worst failure when no copy is valid */
	uint32_t version;
	int index; /* in the table that counts; -1: not in it */
};

static void note(struct bs_pool_found *f, enum bs_severity severity, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void note(struct bs_pool_found *f, enum bs_severity severity, const char *fmt, ...)
{
	va_list ap;

	if (f->nnotes == BS_POOL_NOTES)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(f->note[f->nnotes].text, sizeof(f->note[0].text), fmt, ap);
	va_end(ap);
	f->note[f->nnotes++].severity = severity;
}

/* How much a failure says: any is better than "not a store". */
static int worse(int a, int b)
{
	static const int order[] = {VS_E_VERSION, VS_E_CORRUPT, VS_E_IO, VS_E_NOTSTORE};

	for (unsigned i = 0; i < VS_ARRAY_LEN(order); i++)
		if (a == order[i] || b == order[i])
			return order[i];
	return a;
}

static bool newer(const struct bs_super *a, const struct bs_super *b)
{
	return a->checkpoint != b->checkpoint ? a->checkpoint > b->checkpoint
					      : a->tab.generation > b->tab.generation;
}

static const struct bs_super *newest(const struct label *l)
{
	return &l->slot[l->have[1] && (!l->have[0] || newer(&l->slot[1], &l->slot[0]))];
}

/* The table of the device's highest generation: a change is written to both slots. */
static const struct bs_devtab *table_of(const struct label *l)
{
	return &l->slot[l->have[1] &&
			(!l->have[0] || l->slot[1].tab.generation > l->slot[0].tab.generation)]
		    .tab;
}

static void read_copy(struct label *l, uint64_t size, unsigned slot, unsigned copy, uint8_t *buf)
{
	struct bs_super sb = {0};
	int rc = bs_device_sync(l->dev, BS_DEV_READ, bs_super_offset(size, slot, copy), buf,
				BS_SUPER_SIZE);

	if (rc == 0)
		rc = bs_super_decode(buf, &sb);
	if (rc == VS_E_VERSION)
		l->version = sb.version;
	if (rc) {
		l->status = l->have[0] || l->have[1] ? 0 : worse(l->status, rc);
		return;
	}
	l->status = 0;
	if (!l->have[slot] || newer(&sb, &l->slot[slot]))
		l->slot[slot] = sb;
	l->have[slot] = true;
}

/* The second copies stand at the end that the store knows, or at the device's own. */
static void read_label(struct label *l, uint8_t *buf)
{
	uint64_t size = l->dev->size;

	l->status = VS_E_NOTSTORE;
	for (unsigned slot = 0; slot < 2; slot++)
		read_copy(l, size, slot, 0, buf);
	if ((l->have[0] || l->have[1]) && newest(l)->device_size <= size)
		size = newest(l)->device_size;
	for (unsigned slot = 0; slot < 2; slot++)
		read_copy(l, size, slot, 1, buf);
}

static int no_label(const struct label *l, struct vs_error *err)
{
	const char *name = l->dev->name;

	switch (l->status) {
	case VS_E_VERSION:
		return vs_fail(err, VS_E_VERSION,
			       "%s has store format version %u, this vstore knows %u: "
			       "use a later vstore",
			       name, l->version, BS_FORMAT_VERSION);
	case VS_E_NOTSTORE:
		return vs_fail(err, VS_E_NOTSTORE,
			       "%s is not a vstore store: format it with vstore init", name);
	case VS_E_CORRUPT:
		return vs_fail(err, VS_E_CORRUPT, "%s: all superblocks are damaged", name);
	default:
		return vs_fail(err, l->status, "cannot read the superblocks of %s", name);
	}
}

static int check_size(const struct label *l, uint64_t size, struct vs_error *err)
{
	return l->dev->size >= size
		   ? 0
		   : vs_fail(err, VS_E_CORRUPT,
			     "%s is smaller than the store on it: give it back its %llu bytes",
			     l->dev->name, (unsigned long long)size);
}

int bs_pool_read_super(struct bs_device *dev, struct bs_super *out, struct vs_error *err)
{
	uint8_t *buf = aligned_alloc(BS_PAGE, BS_SUPER_SIZE);
	struct label l = {.dev = dev};

	if (!buf)
		return vs_fail(err, VS_E_NOMEM, "cannot read %s: out of memory", dev->name);
	read_label(&l, buf);
	free(buf);
	if (l.status)
		return no_label(&l, err);
	*out = *newest(&l);
	return 0;
}

struct opening {
	struct label *label;
	unsigned n;
	const struct label *plain; /* the store is this device alone; NULL: there is a table */
	struct bs_devtab tab;
	const struct label *by[BS_POOL_DEVICES]; /* label of each device of the table */
	struct bs_pool_found *found;
};

/* All that are stores are the same one; those that are none are left aside. */
static int same_store(struct opening *o, struct vs_error *err)
{
	const struct label *first = NULL;

	for (unsigned i = 0; i < o->n; i++) {
		const struct label *l = &o->label[i];

		if (l->status) {
			if (l->status == VS_E_VERSION)
				return no_label(l, err);
			continue;
		}
		if (!first) {
			first = l;
			continue;
		}
		if (!vs_uuid_equal(&newest(first)->uuid, &newest(l)->uuid))
			return vs_fail(err, VS_E_INVAL,
				       "%s and %s belong to different stores: give the devices of "
				       "one",
				       first->dev->name, l->dev->name);
	}
	return first ? 0 : no_label(&o->label[0], err);
}

/*
 * A device without a table beside others that have one: it was the whole store, and power was lost
 * while the others joined it, before it heard of that. Then nothing has happened since that it does
 * not have, but perhaps one superblock that went to all of them at once and reached only others,
 * which are not whole. Else it is an older copy of the store.
 */
static int choose_plain(struct opening *o, struct vs_error *err)
{
	for (unsigned i = 0; i < o->n; i++)
		if (o->label[i].status == 0 && table_of(&o->label[i])->ndevs == 0 && !o->plain)
			o->plain = &o->label[i];
	for (unsigned i = 0; o->plain && i < o->n; i++) {
		const struct label *l = &o->label[i];
		const struct bs_devtab *t = table_of(l);
		int self;

		if (l->status || l == o->plain)
			continue;
		self = bs_devtab_find(t, &t->self);
		if (self < 0 || newest(l)->checkpoint > newest(o->plain)->checkpoint + 1 ||
		    (t->dev[self].group == 0 && bs_member_whole(t->dev[self].state)))
			return vs_fail(err, VS_E_INVAL,
				       "%s and %s each say that they are the whole store: give one "
				       "of them",
				       o->plain->dev->name, l->dev->name);
	}
	return 0;
}

/* The table of the highest generation counts, on whichever device it is. */
static const struct label *choose_table(struct opening *o)
{
	const struct label *best = NULL;

	for (unsigned i = 0; i < o->n; i++) {
		const struct label *l = &o->label[i];

		if (l->status == 0 &&
		    (!best || table_of(l)->generation > table_of(best)->generation))
			best = l;
	}
	o->tab = *table_of(best);
	return best;
}

static int identify(struct opening *o, struct vs_error *err)
{
	for (unsigned i = 0; i < o->n; i++) {
		struct label *l = &o->label[i];

		l->index = l->status ? -1 : bs_devtab_find(&o->tab, &table_of(l)->self);
		if (l->index < 0) {
			note(o->found, BS_WARNING, "%s is not part of the store and is not used",
			     l->dev->name);
			continue;
		}
		if (o->by[l->index])
			return vs_fail(err, VS_E_INVAL,
				       "%s and %s are the same device of the store, or one is a "
				       "copy of the other: give one",
				       o->by[l->index]->dev->name, l->dev->name);
		if (check_size(l, o->tab.dev[l->index].size, err))
			return VS_E_CORRUPT;
		o->by[l->index] = l;
	}
	return 0;
}

/* Two sides that each went on without the other have different futures; nobody may mix them. */
static int check_split(const struct opening *o, struct vs_error *err)
{
	for (unsigned i = 0; i < o->tab.ndevs; i++) {
		const struct label *l = o->by[i];

		if (!l || o->tab.dev[i].state != BS_MEMBER_MISSING)
			continue;
		for (unsigned k = 0; k < o->tab.ndevs; k++) {
			const struct bs_devtab *t = table_of(l);
			int there = bs_devtab_find(t, &o->tab.dev[k].uuid);

			if (!o->by[k] || !bs_member_whole(o->tab.dev[k].state) || there < 0 ||
			    t->dev[there].state != BS_MEMBER_MISSING)
				continue;
			return vs_fail(err, VS_E_MISMATCH,
				       "%s and %s were each written while the other was absent: "
				       "give only the one to keep, then bring the other back with "
				       "vstore store add --force",
				       o->by[k]->dev->name, l->dev->name);
		}
	}
	return 0;
}

/* Whether another device of i's group is here and in sync. */
static bool replaced(const struct opening *o, unsigned i)
{
	for (unsigned k = 0; k < o->tab.ndevs; k++)
		if (k != i && o->by[k] && o->tab.dev[k].group == o->tab.dev[i].group &&
		    bs_member_whole(o->tab.dev[k].state))
			return true;
	return false;
}

/* Segments that the newest superblock knows. */
static uint32_t segments_of(const struct opening *o)
{
	const struct bs_super *best = NULL;

	for (unsigned i = 0; i < o->tab.ndevs; i++)
		if (o->by[i] && (!best || newer(newest(o->by[i]), best)))
			best = newest(o->by[i]);
	return best ? best->segments : UINT32_MAX;
}

static bool here(const struct opening *o, uint16_t group)
{
	for (unsigned i = 0; i < o->tab.ndevs; i++)
		if (o->by[i] && o->tab.dev[i].group == group)
			return true;
	return false;
}

static bool unborn(const struct bs_devtab *t, uint16_t group, uint32_t segments)
{
	for (unsigned i = 0; i < t->nranges; i++)
		if (t->range[i].group == group && t->range[i].first < segments)
			return false;
	return group != BS_POOL_NOWHERE;
}

/*
 * Power was lost while a device made the store larger, before the device heard of it: no superblock
 * knows its segments, so nothing can be on it, and it is as if it had not been added.
 */
static void forget_unborn(struct opening *o)
{
	struct bs_devtab *t = &o->tab;
	uint32_t segments = segments_of(o);

	while (t->nranges > 1 && unborn(t, t->range[t->nranges - 1].group, segments) &&
	       !here(o, t->range[t->nranges - 1].group)) {
		uint16_t group = t->range[--t->nranges].group;

		for (unsigned i = 0; i < t->ndevs; i++)
			if (t->dev[i].group == group)
				t->dev[i].state = BS_MEMBER_NONE;
		o->found->changed = true;
		note(o->found, BS_WARNING,
		     "a device was being added when power was lost, and is not part of the store: "
		     "add it again");
	}
}

static int judge_states(struct opening *o, struct vs_error *err)
{
	struct bs_devtab was;

	forget_unborn(o);
	was = o->tab;
	for (unsigned i = 0; i < was.ndevs; i++) {
		struct bs_devent *d = &o->tab.dev[i];
		char uuid[VS_UUID_TEXT];

		vs_uuid_format(&d->uuid, uuid);
		if (was.dev[i].state == BS_MEMBER_MISSING && o->by[i]) {
			d->state = bs_planted(STALE_SIDE) ? BS_MEMBER_SYNC : BS_MEMBER_RESILVER;
			d->resilver = 0;
			o->found->changed = true;
			note(o->found, BS_WARNING,
			     "%s was absent while others were written: it is brought up to date",
			     o->by[i]->dev->name);
		}
		if (o->by[i] || was.dev[i].state == BS_MEMBER_NONE)
			continue;
		if (!replaced(o, i))
			return vs_fail(err, VS_E_NOENT,
				       "device %u of the store (%s) is missing and no mirror has "
				       "its data: give it with --store",
				       i, uuid);
		note(o->found, BS_WARNING, "device %u of the store (%s) is missing: %s", i, uuid,
		     "its mirror serves alone");
		o->found->changed |= d->state != BS_MEMBER_MISSING;
		d->state = BS_MEMBER_MISSING;
		d->resilver = 0;
	}
	return 0;
}

/* The newest checkpoint of the devices that were not left out, and the one before. */
static void choose_super(const struct opening *o, const struct bs_devtab *was,
			 struct bs_pool_supers *s)
{
	for (unsigned i = 0; i < o->tab.ndevs; i++) {
		if (!o->by[i] || was->dev[i].state == BS_MEMBER_MISSING)
			continue;
		for (unsigned slot = 0; slot < 2; slot++) {
			const struct bs_super *sb = &o->by[i]->slot[slot];

			if (!o->by[i]->have[slot])
				continue;
			if (!s->have[slot] || newer(sb, &s->slot[slot]))
				s->slot[slot] = *sb;
			s->have[slot] = true;
		}
	}
}

static int open_table(struct opening *o, struct bs_pool **out, struct vs_error *err)
{
	struct bs_device *devs[BS_POOL_DEVICES] = {0};
	const struct label *holder = choose_table(o);
	struct bs_devtab was = o->tab;
	struct bs_pool_supers s = {0};
	int rc = identify(o, err);

	if (rc == 0)
		rc = check_split(o, err);
	if (rc == 0)
		rc = judge_states(o, err);
	if (rc)
		return rc;
	choose_super(o, &was, &s);
	if (!s.have[0] && !s.have[1])
		return vs_fail(err, VS_E_CORRUPT, "%s: no superblock of a device in sync is left",
			       holder->dev->name);
	for (unsigned i = 0; i < o->tab.ndevs; i++)
		devs[i] = o->by[i] ? o->by[i]->dev : NULL;
	rc = bs_pool_new(&o->tab, devs, newest(holder)->segment_size, out);
	if (rc)
		return vs_fail(err, rc, "cannot open %s: %s", holder->dev->name, vs_err_text(rc));
	for (unsigned slot = 0; slot < 2; slot++) {
		(*out)->supers.slot[slot] = s.slot[slot];
		(*out)->supers.have[slot] = s.have[slot];
	}
	return 0;
}

static int open_plain(const struct label *l, struct bs_pool **out, struct vs_error *err)
{
	struct bs_device *devs[BS_POOL_DEVICES] = {l->dev};
	const struct bs_devtab none = {0};
	int rc = check_size(l, newest(l)->device_size, err);

	if (rc)
		return rc;
	rc = bs_pool_new(&none, devs, newest(l)->segment_size, out);
	if (rc)
		return vs_fail(err, rc, "cannot open %s: %s", l->dev->name, vs_err_text(rc));
	memcpy((*out)->supers.slot, l->slot, sizeof(l->slot));
	memcpy((*out)->supers.have, l->have, sizeof(l->have));
	return 0;
}

static int open_labels(struct opening *o, struct bs_pool **out, struct vs_error *err)
{
	const struct bs_pool_supers *s;
	struct label choice = {0};
	int rc = same_store(o, err);

	if (rc == 0)
		rc = choose_plain(o, err);
	if (rc)
		return rc;
	if (!o->plain) {
		rc = open_table(o, out, err);
	} else {
		rc = open_plain(o->plain, out, err);
		for (unsigned i = 0; i < o->n; i++)
			if (&o->label[i] != o->plain)
				note(o->found, BS_WARNING,
				     "%s is not part of the store and is not used",
				     o->label[i].dev->name);
	}
	if (rc)
		return rc;
	s = &(*out)->supers;
	memcpy(choice.slot, s->slot, sizeof(choice.slot));
	memcpy(choice.have, s->have, sizeof(choice.have));
	o->found->sb = *newest(&choice);
	return 0;
}

int bs_pool_open(struct bs_device *const *devs, unsigned n, struct bs_pool **out,
		 struct bs_pool_found *found, struct vs_error *err)
{
	uint8_t *buf = aligned_alloc(BS_PAGE, BS_SUPER_SIZE);
	struct opening o = {.n = n, .found = found};
	int rc;

	VS_ASSERT(n);
	*found = (struct bs_pool_found){0};
	o.label = calloc(n, sizeof(*o.label));
	if (!buf || !o.label) {
		rc = vs_fail(err, VS_E_NOMEM, "cannot open %s: out of memory", devs[0]->name);
	} else {
		for (unsigned i = 0; i < n; i++) {
			o.label[i].dev = devs[i];
			read_label(&o.label[i], buf);
		}
		rc = open_labels(&o, out, err);
	}
	free(o.label);
	free(buf);
	return rc;
}
