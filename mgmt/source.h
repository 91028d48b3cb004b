/*
 * Where the bytes of an origin are: outside of the node, read on an event loop. A kind of source is
 * a table of functions; a document of the catalogue says which one it is and how it is reached.
 *
 * Ownership: what open gives, close takes back; requests and their buffers belong to the caller
 * from submit until done. Close drops what is not done without calling it. Threads: the loop's,
 * done never runs inside submit. Errors: VS_E_*; what cannot be read now may be later.
 */
#ifndef MG_SOURCE_H
#define MG_SOURCE_H

#include "common/loop.h"

#include <jansson.h>
#include <stdatomic.h>

#define MG_SOURCE_DEPTH 8 /* requests at once */
#define MG_SOURCE_RUNS 64u

struct mg_source_run {
	uint64_t length;
	bool data; /* false: reads as zeros */
};

struct mg_source_req {
	uint64_t offset, length; /* bytes within its size; multiples of its sector */
	void *buf;		 /* NULL: which of the range holds data, else
			    runs and nruns are left alone */
	struct mg_source_run runs[MG_SOURCE_RUNS]; /* out, without buf */
	unsigned nruns; /* out, at least 1; they begin at offset and may end early */
	void (*done)(struct mg_source_req *req);
	void *arg;
	int status; /* out */
};

struct mg_source;
struct mg_source_kind {
	const char *name;
	/* cancel: gives up when it becomes true; NULL: never. */
	int (*open)(const json_t *doc, struct vs_loop *loop, const atomic_bool *cancel,
		    struct mg_source **out, struct vs_error *err);
	void (*submit)(struct mg_source *s, struct mg_source_req *req);
	void (*close)(struct mg_source *s);
};

/* What all kinds begin with. */
struct mg_source {
	const struct mg_source_kind *kind;
	uint64_t size;	   /* bytes */
	uint64_t identity; /* 0: not known; else what is another one has another */
	uint32_t sector;
};

/* The secret of a document that nobody needs any more. */
void mg_source_wipe(json_t *doc);

/* Document {url, user?, secret?}. */
extern const struct mg_source_kind mg_source_lun;
/* Document {url}. */
extern const struct mg_source_kind mg_source_nfs;

#endif
