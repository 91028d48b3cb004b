/* Private to fetch*.c: the thread (fetch.c) and its jobs (fetch_job.c). */
#ifndef MG_FETCH_IMPL_H
#define MG_FETCH_IMPL_H

#include "mgmt/fetch.h"

#include "blockstore/io.h"

#include <pthread.h>

#define MG_FETCH_PARTS 4u /* jobs for what is left, and for what reads wait for */
#define MG_FETCH_WANTS 4u
#define MG_FETCH_JOBS (MG_FETCH_PARTS + MG_FETCH_WANTS)

_Static_assert(MG_FETCH_JOBS <= MG_SOURCE_DEPTH, "each job has one request at the source");

enum mg_fetch_what {
	MG_FETCH_PAGE,	 /* blocks of a page that is to be expanded */
	MG_FETCH_UPPER,	 /* which pages below one are zeros */
	MG_FETCH_BLOCKS, /* blocks by themselves */
	MG_FETCH_WANTED, /* those, and reads wait for them */
};

/*
 * A job goes on by itself, one request after the other, until it is over or has failed; busy
 * until then. Its buffer begins with the block of wants[first] or, of a page, the page's first.
 */
struct mg_fetch_job {
	struct mg_fetch *fetch;
	enum mg_fetch_what what;
	bool busy;
	uint64_t cid, block, blocks, each; /* of a page: as bs_origin_part */
	uint64_t at, end;		   /* of the source, in bytes: looked at so far */
	unsigned run;			   /* of far.runs */
	uint8_t zeros[BS_ORIGIN_FAN / 8];
	struct bs_want wants[BS_ORIGIN_FAN];
	size_t n, first, next, upto; /* of wants: those before next are given, up to upto read */
	size_t filling;
	uint8_t *buf;
	size_t room; /* blocks */
	struct mg_source_req far;
	struct bs_req near;
	struct iovec iov;
};

struct mg_fetch {
	struct mg_fetch_spec spec;
	pthread_t thread;
	struct vs_loop *loop;
	struct vs_post post;
	atomic_bool posted, stop;
	atomic_ullong left;
	struct bs_origin *origin; /* NULL when it is gone */
	struct bs_port *port;
	struct mg_source *source;
	struct mg_fetch_job job[MG_FETCH_JOBS];
	struct bs_want queue[BS_ORIGIN_FAN]; /* wanted, not yet begun, by block */
	size_t queued;
	bool asked, ending, passing, moved; /* moved: something was given in this pass */
	bool rough, trouble;
	uint64_t cursor;
	struct bs_origin_part part;
	uint64_t pause_ns, wants_ns; /* parts, and what reads wait for, wait until then */
	uint64_t told_ns;	     /* progress was told then */
	unsigned failures;
};

/* The job gets what it works on and is busy. */
void mg_fetch_job_part(struct mg_fetch_job *j, const struct bs_origin_part *part);
/* wants: up to j->room, by block. */
void mg_fetch_job_wants(struct mg_fetch_job *j, const struct bs_want *wants, size_t n);
/* A job is over: status 0 or why not. */
void mg_fetch_job_over(struct mg_fetch_job *j, int status);

#endif
