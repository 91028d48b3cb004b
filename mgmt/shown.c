#include "mgmt/shown.h"

int mg_shown_list(struct mg_node *n, enum mg_kind kind, mg_show show, json_t **out,
		  struct vs_error *err)
{
	json_t *docs = NULL, *doc, *list;
	size_t i;
	int rc = mg_catalogue_list(n->catalogue, kind, &docs, err);

	if (rc != 0)
		return rc;
	list = json_array();
	json_array_foreach(docs, i, doc)
	{
		json_t *one = NULL;

		if (rc == 0)
			rc = show(n, doc, &one, err);
		if (rc == 0 && json_array_append_new(list, one) != 0)
			rc = vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	json_decref(docs);
	if (rc != 0)
		json_decref(list);
	else
		*out = list;
	return rc;
}
