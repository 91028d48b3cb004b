/*
 * Parts: files of datastores that are not whole yet. A part stands in the directory where its file
 * goes, under a name that nobody can guess and that the catalogue knows before the part is there,
 * so what a killed daemon left is found by name and nothing else is ever taken for it.
 * Threads: as the visit.
 */
#ifndef MG_DATASTORE_PART_H
#define MG_DATASTORE_PART_H

#include "mgmt/datastore_visit.h"

#define MG_PART_NAME 48u /* with NUL */

struct mg_part {
	struct mg_visit *visit;
	struct ds_handle dir, file;
	char name[MG_PART_NAME];
	const char *leaf; /* of the path: what it will be called */
};

/* An empty part for the file that path names; path is kept. */
int mg_part_make(struct mg_visit *v, const char *path, struct mg_part *p,
		 struct vs_error *err) vs_must_check;
/* The part becomes the file, whatever had its name. */
int mg_part_name(struct mg_part *p, const char *path, struct vs_error *err) vs_must_check;
/* Removes it. One that cannot be removed stays in the catalogue, and an event says so. */
void mg_part_drop(struct mg_part *p, const char *datastore);
/* At start, before anybody is served: removes all that an earlier daemon left. */
int mg_parts_clean(struct mg_node *n, struct vs_error *err) vs_must_check;

#endif
