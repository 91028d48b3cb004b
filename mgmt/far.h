/*
 * LUNs of other arrays (iscsi://) and files of NFS servers (nfs://), as requests name them, for
 * import, export and origins. Threads: those of tasks.
 */
#ifndef MG_FAR_H
#define MG_FAR_H

#include "blockstore/lun.h"
#include "blockstore/nfs_file.h"

#define MG_SECRET_MAX 256
#define MG_FAR_KEEP (UINT64_C(16) << 20) /* of unflushed writes */
#define MG_FAR_TEXT BS_NFS_URL_TEXT

#define MG_FAR_RAW_ONLY                                                                       \
	"a LUN is always of format raw, and over NFS only raw files can be read: for others " \
	"mount "                                                                              \
	"the export and import the file"

_Static_assert(BS_LUN_URL_TEXT <= MG_FAR_TEXT, "both kinds of URL fit");

/* What a request named, and who may use it. Wiped by its owner. */
struct mg_far_access {
	bool nfs; /* file, else lun */
	struct bs_lun_url lun;
	struct bs_nfs_url file;
	char user[128], secret[MG_SECRET_MAX]; /* CHAP, of a LUN */
};

bool mg_far_is(const char *text); /* begins like a URL of either kind */
/* user, secret: of the request, NULL: none; the user may stand in the URL too. */
int mg_far_access(struct mg_far_access *a, const char *url, const char *user, const char *secret,
		  struct vs_error *err) vs_must_check;
/* The URL without its user; returns buf. */
const char *mg_far_text(const struct mg_far_access *a, char buf[MG_FAR_TEXT]);
/* writable: what is not flushed is kept. cancel: gives up when it becomes true. */
int mg_far_open(const struct mg_far_access *a, struct vs_loop *loop, bool writable,
		const atomic_bool *cancel, struct bs_far **out, struct vs_error *err) vs_must_check;
/*
 * Whether it can be taken for a raw disk: of a LUN always; a file that begins like an image of
 * another format is refused, unless format says that it is to be taken so. After VS_E_CANCELED far
 * has a request of ours: close it before the loop turns.
 */
int mg_far_check_raw(const struct mg_far_access *a, struct bs_far *far, struct vs_loop *loop,
		     const char *format, const atomic_bool *cancel,
		     struct vs_error *err) vs_must_check;

#endif
