/*
 * A place to keep immutable objects: a directory now; NFS and S3 implement the same functions.
 *
 * Names are made by this folder: [a-z0-9-] words, '.', and '/' between them, at most
 * BK_NAME_MAX - 1 bytes. Ownership: bk_remote_open gives a remote that bk_remote_close takes back.
 * Threads: all functions from any number of threads at once; all block.
 * Errors: VS_E_NOENT, VS_E_EXIST, VS_E_NOSPC (full: says where), VS_E_ROFS, VS_E_ACCESS,
 * VS_E_CORRUPT (an object shorter than asked for), VS_E_IO. The text names the object.
 */
#ifndef BK_REMOTE_H
#define BK_REMOTE_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct bk_remote;

/* Put fails with VS_E_EXIST when the object is there. Without it an equal name means equal bytes.
 */
#define BK_PUT_EXCLUSIVE 1u

struct bk_remote_ops {
	/* When it returns 0 the object survives power loss, whole; otherwise it does not exist. */
	int (*put)(struct bk_remote *r, const char *name, const void *data, size_t len,
		   unsigned flags, struct vs_error *err);
	/* Exactly len bytes from offset. */
	int (*get)(struct bk_remote *r, const char *name, uint64_t offset, void *buf, size_t len,
		   struct vs_error *err);
	/* Calls each for every object under prefix ("index/"), in no order, until it is not 0. */
	int (*list)(struct bk_remote *r, const char *prefix,
		    int (*each)(void *arg, const char *name, uint64_t size), void *arg,
		    struct vs_error *err);
	int (*stat)(struct bk_remote *r, const char *name, uint64_t *size, struct vs_error *err);
	/* 0 also when it is not there. */
	int (*del)(struct bk_remote *r, const char *name, struct vs_error *err);
	void (*close)(struct bk_remote *r);
};

struct bk_remote {
	const struct bk_remote_ops *ops;
	char url[512]; /* for messages; holds no secret */
};

enum bk_remote_state { BK_REMOTE_EMPTY, BK_REMOTE_FILLED };

/*
 * create: make the place when it is missing (its parent must exist). *state says whether anything
 * but a file system's own lost+found or an unfinished tmp is there.
 */
int bk_remote_open(const char *url, bool create, struct bk_remote **out,
		   enum bk_remote_state *state, struct vs_error *err) vs_must_check;
int bk_remote_dir_open(const char *url, bool create, struct bk_remote **out,
		       enum bk_remote_state *state, struct vs_error *err) vs_must_check;

static inline int bk_remote_put(struct bk_remote *r, const char *name, const void *data, size_t len,
				unsigned flags, struct vs_error *err)
{
	return r->ops->put(r, name, data, len, flags, err);
}
static inline int bk_remote_get(struct bk_remote *r, const char *name, uint64_t offset, void *buf,
				size_t len, struct vs_error *err)
{
	return r->ops->get(r, name, offset, buf, len, err);
}
static inline int bk_remote_list(struct bk_remote *r, const char *prefix,
				 int (*each)(void *arg, const char *name, uint64_t size), void *arg,
				 struct vs_error *err)
{
	return r->ops->list(r, prefix, each, arg, err);
}
static inline int bk_remote_stat(struct bk_remote *r, const char *name, uint64_t *size,
				 struct vs_error *err)
{
	return r->ops->stat(r, name, size, err);
}
static inline int bk_remote_del(struct bk_remote *r, const char *name, struct vs_error *err)
{
	return r->ops->del(r, name, err);
}
static inline void bk_remote_close(struct bk_remote *r)
{
	if (r)
		r->ops->close(r);
}

/* A whole object of at most max bytes; *out is malloc'ed, the caller frees it. */
int bk_remote_load(struct bk_remote *r, const char *name, uint64_t max, uint8_t **out,
		   uint64_t *size, struct vs_error *err) vs_must_check;

#endif
