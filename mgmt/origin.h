/*
 * The node's origins: what volumes are made of that are used before their blocks are here. Each has
 * a document in the catalogue, by the origin's UUID, that says how its source is reached, with its
 * secret; a fetch (fetch.h); and a task that shows how far that is. The document is there before
 * the volume and goes after the origin, so whatever dies in between leaves nothing that nobody
 * knows how to fetch.
 *
 * Ownership: mg_origins_open gives what mg_origins_close takes back. Threads: any.
 */
#ifndef MG_ORIGIN_H
#define MG_ORIGIN_H

#include "mgmt/node.h"
#include "mgmt/source.h"

#define MG_ORIGINS_MAX 8u

struct mg_origins;

/* Goes on with what earlier daemons have left. */
int mg_origins_open(struct mg_node *n, struct mg_origins **out, struct vs_error *err) vs_must_check;
/* Reads that wait for an origin fail from now on: before front ends are closed. */
void mg_origins_hush(struct mg_origins *os);
void mg_origins_close(struct mg_origins *os);

/*
 * Makes a volume whose blocks are at a source, from where they are fetched. of: the source as it
 * was found. doc: what its kind needs; the rest is added to it. spec->origin is set here. *task:
 * the id of what shows the progress. VS_E_LIMIT: there are as many as there may be.
 */
int mg_origin_make(struct mg_origins *os, const struct mg_source *of, json_t *doc,
		   struct bs_volume_spec *spec, int64_t *task, struct vs_error *err) vs_must_check;
/* True when the node shuts down: for whoever looks at a source. */
const atomic_bool *mg_origins_stopping(const struct mg_origins *os);
/* {url, bytes_left} of the origin that a volume was made with; NULL when there is none. */
json_t *mg_origin_json(struct mg_node *n, const struct bs_volume_info *v);

#endif
