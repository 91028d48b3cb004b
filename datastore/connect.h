/*
 * A SQLite database over a vfs (vfs.h), with the settings that its atomic commits rest on.
 *
 * Ownership: the connection is the caller's, the vfs must outlive it. Threads: the one of the vfs.
 * Errors: VS_E_*; that of the store where it said one.
 */
#ifndef DS_CONNECT_H
#define DS_CONNECT_H

#include "datastore/vfs.h"

/* cache: bytes that SQLite may keep of it. *out is to be closed with sqlite3_close, also after a
 * failure. */
int ds_connect(struct ds_vfs *v, uint64_t cache, sqlite3 **out) vs_must_check;
/* What SQLite's result means. */
int ds_connect_failed(const struct ds_vfs *v, int sqlite) vs_must_check;

#endif
