/*
 * Operations of NFS version 4: a table of what each needs and does. On the worker's thread, but for
 * entries of directories.
 */
#ifndef NFS_NFS4_H
#define NFS_NFS4_H

#include "targets/nfs/program.h"

/* Besides a status of NFS: the datastore was asked, finish is called with its answer. */
#define NFS4_PENDING (-1)

#define NFS4_NEEDS_FH 1u    /* the current filehandle; call->req.file is its file then */
#define NFS4_NEEDS_SAVED 2u /* the saved one too */
#define NFS4_CHANGES 4u	    /* not for clients that may read only */
#define NFS4_ALONE 8u	    /* may come without a session, but then nothing beside it */

struct nfs4_operation {
	/* Both: a status, or NFS4_PENDING. They encode what follows NFS4_ERR_NONE. start NULL: the
	 * operation is not served. */
	int (*start)(struct nfs_call *call);
	int (*finish)(struct nfs_call *call);
	unsigned flags;
	enum nfs4_status pseudo; /* of the pseudo root; NFS4_ERR_NONE: start can do with it */
	uint32_t room;		 /* bytes of the result at most */
	uint32_t (*more_room)(const struct nfs4_args *a);
};

extern const struct nfs4_operation nfs4_operations[NFS4_OPS]; /* nfs4_ops.c */

/* nfs4_compound.c */
int nfs4_submit(struct nfs_call *call);
/* What an operation waited for has come: calls its finish. */
void nfs4_go_on(struct nfs_call *call);
struct nfs4_client *nfs4_client_of(const struct nfs_call *call);
static inline struct nfs4_state *nfs4_state_of(const struct nfs_call *call)
{
	return call->conn->worker->common->v4;
}

/* nfs4_place.c: filehandles */
bool nfs4_is_pseudo(const struct nfs4_fh *fh);
/* Fills call->served, rule, cred and req for fh. */
enum nfs4_status nfs4_resolve(struct nfs_call *call, const struct nfs4_fh *fh);
void nfs4_place_set(struct nfs_call *call, const struct nfs_store_id *store, struct ds_handle file);
void nfs4_place_stateid(struct nfs_call *call, const struct nfs4_stateid *id);
struct nfs4_where nfs4_where(const struct nfs_call *call);
/* The saved filehandle is of the same datastore; its file is other. */
enum nfs4_status nfs4_saved_file(struct nfs_call *call, struct ds_handle *other);
/* A name of an entry: not empty, not "." or "..". */
enum nfs4_status nfs4_name(struct nfs_call *call);
/* The current stateid where id stands for it. */
enum nfs4_status nfs4_stateid_of(const struct nfs_call *call, struct nfs4_stateid *id);
enum nfs4_status nfs4_use(struct nfs_call *call, struct nfs4_stateid id, uint32_t access);
/* Status of the request to the datastore that has just ended. */
enum nfs4_status nfs4_answered(const struct nfs_call *call);
bool nfs4_visible(const struct nfs_call *call, const struct nfs_served *s);
struct nfs_served *nfs4_next_share(const struct nfs_call *call, uint64_t id);
uint64_t nfs4_share_fileid(const struct nfs_served *s);
struct ds_attr nfs4_pseudo_attr(const struct nfs_call *call);
struct nfs4_space nfs4_space_of(const struct ds_req *statfs);
/* What attributes of a file are encoded from; handle is filled. */
struct nfs4_attr_source nfs4_source(struct nfs_call *call, const struct ds_attr *a,
				    struct nfs_handle *handle);

#define NFS4_OPERATION(name)                            \
	int nfs4_##name##_start(struct nfs_call *call); \
	int nfs4_##name##_finish(struct nfs_call *call)
#define NFS4_OPERATION_AT_ONCE(name) int nfs4_##name(struct nfs_call *call)

/* nfs4_place.c */
NFS4_OPERATION_AT_ONCE(putfh);
NFS4_OPERATION_AT_ONCE(putrootfh);
NFS4_OPERATION_AT_ONCE(getfh);
NFS4_OPERATION_AT_ONCE(savefh);
NFS4_OPERATION_AT_ONCE(restorefh);
/* nfs4_file.c */
NFS4_OPERATION(lookup);
NFS4_OPERATION(lookupp);
NFS4_OPERATION(secinfo);
NFS4_OPERATION(secinfo_no_name);
NFS4_OPERATION(getattr);
NFS4_OPERATION(verify);
NFS4_OPERATION(setattr);
NFS4_OPERATION(access);
NFS4_OPERATION(readlink);
/* nfs4_name.c */
NFS4_OPERATION(create);
NFS4_OPERATION(remove);
NFS4_OPERATION(rename);
NFS4_OPERATION(link);
/* nfs4_dir.c */
NFS4_OPERATION(readdir);
uint32_t nfs4_readdir_room(const struct nfs4_args *a);
/* nfs4_io.c */
NFS4_OPERATION(read);
NFS4_OPERATION(write);
NFS4_OPERATION(commit);
uint32_t nfs4_read_room(const struct nfs4_args *a);
/* nfs4_copy.c */
NFS4_OPERATION(seek);
NFS4_OPERATION(allocate);
NFS4_OPERATION(deallocate);
NFS4_OPERATION(clone);
NFS4_OPERATION(copy);
NFS4_OPERATION(read_plus);
NFS4_OPERATION_AT_ONCE(io_advise);
/* nfs4_open.c */
NFS4_OPERATION(open);
NFS4_OPERATION_AT_ONCE(open_downgrade);
NFS4_OPERATION_AT_ONCE(close);
NFS4_OPERATION_AT_ONCE(lock);
NFS4_OPERATION_AT_ONCE(lockt);
NFS4_OPERATION_AT_ONCE(locku);
NFS4_OPERATION_AT_ONCE(free_stateid);
NFS4_OPERATION_AT_ONCE(test_stateid);
/* nfs4_control.c */
NFS4_OPERATION_AT_ONCE(exchange_id);
NFS4_OPERATION_AT_ONCE(create_session);
NFS4_OPERATION_AT_ONCE(destroy_session);
NFS4_OPERATION_AT_ONCE(destroy_clientid);
NFS4_OPERATION_AT_ONCE(bind_conn_to_session);
NFS4_OPERATION_AT_ONCE(backchannel_ctl);
NFS4_OPERATION_AT_ONCE(sequence);
NFS4_OPERATION(reclaim_complete);
uint32_t nfs4_test_stateid_room(const struct nfs4_args *a);

#endif
