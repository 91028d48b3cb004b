/* Objects for new files: those that were freed lately, then the next whose records are empty. */
#include "datastore/names.h"

#include "common/bytes.h"

#define LOOKS_MAX 4096u /* of one search; the next goes on behind it */

static void look_ahead(struct ds_names *n, int *rc)
{
	struct bs_object_change c[BS_CHANGES_MAX];
	struct bs_req req = {
	    .op = BS_RECORDS, .volume = n->vfs.volume, .changes = c, .nchanges = BS_CHANGES_MAX};

	for (unsigned i = 0; i < BS_CHANGES_MAX; i++) {
		if (n->next_id < DS_FIRST_OBJECT || n->next_id >= BS_OBJECTS)
			n->next_id = DS_FIRST_OBJECT;
		c[i] = (struct bs_object_change){
		    .object = n->next_id++, .check = BS_NO_WORD, .end = BS_NO_WORD};
	}
	*rc = bs_io_wait(n->port, &req);
	for (unsigned i = BS_CHANGES_MAX; *rc == 0 && i-- > 0;)
		if (!c[i].now[DS_W_MODE])
			ds_names_id_free(n, c[i].object);
}

int ds_names_id(struct ds_names *n, uint32_t *out)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && !n->nids; i++) {
		if (i == LOOKS_MAX)
			return VS_E_LIMIT;
		look_ahead(n, &rc);
	}
	if (rc == 0)
		*out = n->id[--n->nids];
	return rc;
}

void ds_names_id_free(struct ds_names *n, uint32_t object)
{
	if (n->nids < DS_IDS_AHEAD)
		n->id[n->nids++] = object;
}
