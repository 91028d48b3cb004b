#include "datastore/connect.h"

int ds_connect_failed(const struct ds_vfs *v, int sqlite)
{
	if (v->status)
		return v->status;
	switch (sqlite & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return VS_E_CORRUPT;
	case SQLITE_NOMEM:
		return VS_E_NOMEM;
	case SQLITE_FULL:
		return VS_E_NOSPC;
	default:
		return VS_E_IO;
	}
}

int ds_connect(struct ds_vfs *v, uint64_t cache, sqlite3 **out)
{
	int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE;
	int create = v->read_only ? 0 : SQLITE_OPEN_CREATE;
	char sized[64];

	(void)sqlite3_snprintf((int)sizeof(sized), sized, "PRAGMA cache_size=-%llu",
			       (unsigned long long)(cache >> 10));
	if (sqlite3_open_v2("database", out, flags | create, v->name) != SQLITE_OK)
		return VS_E_NOMEM;
	/* one statement after the other: none may use more than what was set before it */
	if (sqlite3_exec(*out,
			 "PRAGMA page_size=4096;PRAGMA locking_mode=EXCLUSIVE;"
			 "PRAGMA journal_mode=MEMORY;PRAGMA temp_store=MEMORY;"
			 "PRAGMA cache_spill=OFF;PRAGMA synchronous=FULL;"
			 "PRAGMA trusted_schema=OFF;PRAGMA auto_vacuum=NONE;"
			 "PRAGMA cell_size_check=ON;PRAGMA mmap_size=0",
			 NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(*out, sized, NULL, NULL, NULL) != SQLITE_OK)
		return ds_connect_failed(v, sqlite3_errcode(*out));
	return 0;
}
