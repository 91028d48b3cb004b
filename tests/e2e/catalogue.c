/*
 * What the catalogue inside a store has, as a JSON object of kinds: catalogue STORE. Of a store in
 * use give it a copy: it opens it as a daemon does.
 */
#include "blockstore/store.h"
#include "mgmt/catalogue.h"

#include <stdio.h>

static json_t *read_all(struct mg_catalogue *c, struct vs_error *err)
{
	json_t *all = json_object();

	for (enum mg_kind kind = 0; kind < MG_KINDS; kind++) {
		json_t *docs = NULL;

		if (mg_catalogue_list(c, kind, &docs, err) != 0) {
			json_decref(all);
			return NULL;
		}
		json_object_set_new(all, mg_kind_name[kind], docs);
	}
	return all;
}

static int show(struct bs_store *s, struct vs_error *err)
{
	struct mg_catalogue *c;
	json_t *all;

	if (mg_catalogue_open(s, &c, err) != 0)
		return 1;
	all = read_all(c, err);
	mg_catalogue_close(c);
	if (!all || json_dumpf(all, stdout, JSON_INDENT(2)) != 0)
		return 1;
	json_decref(all);
	(void)putchar('\n');
	return 0;
}

int main(int argc, char **argv)
{
	const struct bs_open_options o = {.memory = UINT64_C(256) << 20};
	struct bs_device *dev;
	struct bs_store *s;
	struct vs_error err = {0};
	int rc = 1;

	if (argc != 2) {
		(void)fprintf(stderr, "usage: %s STORE\n", argv[0]);
		return 2;
	}
	if (bs_device_open(argv[1], 0, 0, &dev, &err) == 0 &&
	    bs_store_open(dev, &o, &s, &err) == 0) {
		rc = show(s, &err);
		if (bs_store_close(s, rc ? NULL : &err) != 0)
			rc = 1;
	}
	if (rc)
		(void)fprintf(stderr, "%s\n", err.text);
	return rc;
}
