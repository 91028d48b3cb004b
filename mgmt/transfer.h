/*
 * Import and export of disk images as tasks. Failure and cancel leave nothing behind: the volume,
 * the temporary snapshot or the partly written file go again. Threads: the HTTP server's.
 */
#ifndef MG_TRANSFER_H
#define MG_TRANSFER_H

#include "mgmt/node.h"

struct mg_import_spec {
	const char *source, *name;	     /* source: a path on the node, or mg_far_is */
	const char *chap_user, *chap_secret; /* of an iscsi:// source; NULL: none */
	const char *format;		     /* NULL: find out */
	uint32_t sector;		     /* 0: the source's, else 512 */
	int compression;		     /* -1: the store's default */
};

struct mg_export_spec {
	const char *volume, *dest, *format;  /* dest: a path on the node, or mg_far_is */
	const char *chap_user, *chap_secret; /* of an iscsi:// dest; NULL: none */
	bool force;			     /* overwrite an existing file */
};

int mg_import_start(struct mg_node *n, const struct mg_import_spec *spec, json_t **task,
		    struct vs_error *err) vs_must_check;
int mg_export_start(struct mg_node *n, const struct mg_export_spec *spec, json_t **task,
		    struct vs_error *err) vs_must_check;

/*
 * A volume that is there at once, its blocks fetched from a LUN or an NFS file while it is used.
 * *volume is that volume, with the task that shows how far it is as "task". May take half a minute.
 */
int mg_import_live(struct mg_node *n, const struct mg_import_spec *spec, json_t **volume,
		   struct vs_error *err) vs_must_check;

/* What every import's name and format have to be. */
int mg_import_check(struct mg_node *n, const struct mg_import_spec *spec,
		    struct vs_error *err) vs_must_check;

/* Where source or dest is a URL: the two above have looked at the rest. */
int mg_import_far_start(struct mg_node *n, const struct mg_import_spec *spec, json_t **task,
			struct vs_error *err) vs_must_check;
int mg_export_far_start(struct mg_node *n, const struct mg_export_spec *spec, json_t **task,
			struct vs_error *err) vs_must_check;

#endif
