/* Machines as JSON, and how many there are. */
#include "mgmt/vms_impl.h"

#include "mgmt/shown.h"

#include <stdlib.h>

#define NO_MEMORY(err) vs_fail(err, VS_E_NOMEM, "out of memory")

int mg_vm_status(struct mg_node *n, const char *name, struct vm_status *out, struct vs_error *err)
{
	json_t *doc = NULL;
	int rc = mg_catalogue_get(n->catalogue, MG_VM, name, &doc, err);

	json_decref(doc);
	if (rc == 0)
		vm_status(n->vms->host, name, out);
	return rc;
}

static int show_doc(struct mg_node *n, const json_t *doc, json_t **out, struct vs_error *err)
{
	struct mg_vm_doc *d = calloc(1, sizeof(*d));
	struct vm_status st;
	int rc = d ? mg_vm_doc_decode(n, doc, d, err) : NO_MEMORY(err);

	if (rc == 0) {
		vm_status(n->vms->host, d->def.name, &st);
		*out = mg_vm_doc_json(d, &st);
		if (!*out)
			rc = NO_MEMORY(err);
	}
	free(d);
	return rc;
}

int mg_vm_show(struct mg_node *n, const char *name, json_t **out, struct vs_error *err)
{
	json_t *doc = NULL;
	int rc = mg_catalogue_get(n->catalogue, MG_VM, name, &doc, err);

	if (rc == 0)
		rc = show_doc(n, doc, out, err);
	json_decref(doc);
	return rc;
}

int mg_vm_list(struct mg_node *n, json_t **out, struct vs_error *err)
{
	return mg_shown_list(n, MG_VM, show_doc, out, err);
}

void mg_vms_count(struct mg_node *n, unsigned *total, unsigned *running)
{
	json_t *docs = NULL, *doc;
	struct vm_status st;
	size_t i;

	*total = *running = 0;
	if (mg_catalogue_list(n->catalogue, MG_VM, &docs, NULL) != 0)
		return;
	json_array_foreach(docs, i, doc)
	{
		const char *name =
		    json_string_value(json_object_get(json_object_get(doc, "definition"), "name"));

		vm_status(n->vms->host, name ? name : "", &st);
		*total += 1;
		*running += st.pid != 0;
	}
	json_decref(docs);
}
