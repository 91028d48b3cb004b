#include "targets/nfs/nfs4.h"

#define FH NFS4_NEEDS_FH
#define SAVED (NFS4_NEEDS_FH | NFS4_NEEDS_SAVED)
#define CHANGES NFS4_CHANGES
#define ALONE NFS4_ALONE

#define BITMAP 16u
#define STATEID 16u
#define CHANGE_INFO 20u
#define DENIED (32u + NFS4_OPAQUE_MAX)
#define CHANNEL 28u
#define COPY_RESULT 64u
#define SEGMENT_HEADS 48u

/* An operation that asks the datastore, and one that does not. */
#define ASKS(name) .start = nfs4_##name##_start, .finish = nfs4_##name##_finish
#define KNOWS(name) .start = nfs4_##name

const struct nfs4_operation nfs4_operations[NFS4_OPS] = {
    [NFS4_OP_ACCESS] = {ASKS(access), FH, .room = 8},
    [NFS4_OP_CLOSE] = {KNOWS(close), .flags = FH, NFS4_ERR_BAD_STATEID, .room = STATEID},
    [NFS4_OP_COMMIT] = {ASKS(commit), FH | CHANGES, NFS4_ERR_ISDIR, .room = NFS4_VERIFIER_BYTES},
    [NFS4_OP_CREATE] = {ASKS(create), FH | CHANGES, NFS4_ERR_ROFS, .room = CHANGE_INFO + BITMAP},
    [NFS4_OP_GETATTR] = {ASKS(getattr), FH, .room = NFS4_ATTRS_BYTES},
    [NFS4_OP_GETFH] = {KNOWS(getfh), .flags = FH, .room = 4 + NFS_HANDLE_BYTES},
    [NFS4_OP_LINK] = {ASKS(link), SAVED | CHANGES, NFS4_ERR_ROFS, .room = CHANGE_INFO},
    [NFS4_OP_LOCK] = {KNOWS(lock), .flags = FH, NFS4_ERR_ISDIR, .room = DENIED},
    [NFS4_OP_LOCKT] = {KNOWS(lockt), .flags = FH, NFS4_ERR_ISDIR, .room = DENIED},
    [NFS4_OP_LOCKU] = {KNOWS(locku), .flags = FH, NFS4_ERR_ISDIR, .room = STATEID},
    [NFS4_OP_LOOKUP] = {ASKS(lookup), FH},
    [NFS4_OP_LOOKUPP] = {ASKS(lookupp), FH, NFS4_ERR_NOENT},
    [NFS4_OP_NVERIFY] = {ASKS(verify), FH, .room = NFS4_ATTRS_BYTES},
    [NFS4_OP_OPEN] = {ASKS(open), FH, .room = STATEID + CHANGE_INFO + 4 + BITMAP + 12},
    [NFS4_OP_OPEN_DOWNGRADE] = {KNOWS(open_downgrade), .flags = FH, NFS4_ERR_BAD_STATEID,
				.room = STATEID},
    [NFS4_OP_PUTFH] = {KNOWS(putfh)},
    [NFS4_OP_PUTPUBFH] = {KNOWS(putrootfh)},
    [NFS4_OP_PUTROOTFH] = {KNOWS(putrootfh)},
    [NFS4_OP_READ] = {ASKS(read), FH, NFS4_ERR_ISDIR, .room = 8, nfs4_read_room},
    [NFS4_OP_READDIR] = {ASKS(readdir), FH, .more_room = nfs4_readdir_room},
    [NFS4_OP_READLINK] = {ASKS(readlink), FH, NFS4_ERR_WRONG_TYPE, .room = 4 + DS_LINK_MAX},
    [NFS4_OP_REMOVE] = {ASKS(remove), FH | CHANGES, NFS4_ERR_ROFS, .room = CHANGE_INFO},
    [NFS4_OP_RENAME] = {ASKS(rename), SAVED | CHANGES, NFS4_ERR_ROFS, .room = 2 * CHANGE_INFO},
    [NFS4_OP_RESTOREFH] = {KNOWS(restorefh)},
    [NFS4_OP_SAVEFH] = {KNOWS(savefh), .flags = FH},
    [NFS4_OP_SECINFO] = {ASKS(secinfo), FH, .room = 8},
    [NFS4_OP_SETATTR] = {ASKS(setattr), FH | CHANGES, NFS4_ERR_ROFS, .room = BITMAP},
    [NFS4_OP_VERIFY] = {ASKS(verify), FH, .room = NFS4_ATTRS_BYTES},
    [NFS4_OP_WRITE] = {ASKS(write), FH | CHANGES, NFS4_ERR_ISDIR, .room = 8 + NFS4_VERIFIER_BYTES},
    [NFS4_OP_BACKCHANNEL_CTL] = {KNOWS(backchannel_ctl)},
    [NFS4_OP_BIND_CONN_TO_SESSION] = {KNOWS(bind_conn_to_session), .flags = ALONE,
				      .room = NFS4_SESSION_BYTES + 8},
    [NFS4_OP_EXCHANGE_ID] = {KNOWS(exchange_id), .flags = ALONE, .room = 80},
    [NFS4_OP_CREATE_SESSION] = {KNOWS(create_session), .flags = ALONE,
				.room = NFS4_SESSION_BYTES + 8 + 2 * CHANNEL},
    [NFS4_OP_DESTROY_SESSION] = {KNOWS(destroy_session), .flags = ALONE},
    [NFS4_OP_FREE_STATEID] = {KNOWS(free_stateid)},
    [NFS4_OP_SECINFO_NO_NAME] = {ASKS(secinfo_no_name), FH, .room = 8},
    [NFS4_OP_SEQUENCE] = {KNOWS(sequence), .room = NFS4_SESSION_BYTES + 20},
    [NFS4_OP_TEST_STATEID] = {KNOWS(test_stateid), .room = 4, .more_room = nfs4_test_stateid_room},
    [NFS4_OP_DESTROY_CLIENTID] = {KNOWS(destroy_clientid), .flags = ALONE},
    [NFS4_OP_RECLAIM_COMPLETE] = {ASKS(reclaim_complete)},
    [NFS4_OP_ALLOCATE] = {ASKS(allocate), FH | CHANGES, NFS4_ERR_WRONG_TYPE},
    [NFS4_OP_COPY] = {ASKS(copy), SAVED | CHANGES, NFS4_ERR_WRONG_TYPE, .room = COPY_RESULT},
    [NFS4_OP_DEALLOCATE] = {ASKS(deallocate), FH | CHANGES, NFS4_ERR_WRONG_TYPE},
    [NFS4_OP_IO_ADVISE] = {KNOWS(io_advise), .flags = FH, NFS4_ERR_WRONG_TYPE, .room = BITMAP},
    [NFS4_OP_READ_PLUS] = {ASKS(read_plus), FH, NFS4_ERR_WRONG_TYPE, .room = SEGMENT_HEADS,
			   nfs4_read_room},
    [NFS4_OP_SEEK] = {ASKS(seek), FH, NFS4_ERR_WRONG_TYPE, .room = 12},
    [NFS4_OP_CLONE] = {ASKS(clone), SAVED | CHANGES, NFS4_ERR_WRONG_TYPE},
};
