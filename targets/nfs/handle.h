/*
 * File handles as clients have them: a format byte, which datastore, which file, and a MAC over all
 * that, so that no client can make up a handle of a file that it was not shown.
 *
 * A struct nfs_seal belongs to one thread at a time. The key is the embedder's: handles stay good
 * as long as it stays the same. Errors: VS_E_*.
 */
#ifndef NFS_HANDLE_H
#define NFS_HANDLE_H

#include "common/uuid.h"
#include "datastore/datastore.h"

#define NFS_HANDLE_MAX 64u   /* of NFSv3; what clients may send */
#define NFS_HANDLE_BYTES 40u /* ours */
#define NFS_KEY_MIN 16u
#define NFS_KEY_MAX 32u

struct nfs_handle {
	uint8_t b[NFS_HANDLE_BYTES];
};

/* A datastore in handles: the first half of its UUID. */
struct nfs_store_id {
	uint8_t b[8];
};

struct nfs_seal;

/* key: NFS_KEY_MIN to NFS_KEY_MAX random bytes. VS_E_INVAL (length), VS_E_NOMEM. */
int nfs_seal_new(const uint8_t *key, size_t len, struct nfs_seal **out,
		 struct vs_error *err) vs_must_check;
void nfs_seal_free(struct nfs_seal *s);

/* What a server calls itself, by the key of its handles; public. VS_E_INVAL (length), VS_E_NOMEM.
 */
#define NFS_SERVER_ID_BYTES 16u
int nfs_server_id(const uint8_t *key, size_t len, uint8_t out[NFS_SERVER_ID_BYTES]) vs_must_check;

struct nfs_store_id nfs_store_id(const struct vs_uuid *uuid);
void nfs_handle_make(struct nfs_seal *s, const struct nfs_store_id *store, struct ds_handle file,
		     struct nfs_handle *out);
/* VS_E_INVAL: none that this key has made. */
int nfs_handle_open(struct nfs_seal *s, const uint8_t *from, size_t len, struct nfs_store_id *store,
		    struct ds_handle *file) vs_must_check;

#endif
