/*
 * What the words of an object's record mean. Object 0 is the database of names, and its record
 * that of the datastore; all others are files. A file whose generation is 0 is none: either its
 * type is 0 as well and the object is free, or the file has lost its last name and is being taken
 * apart. Pure functions, any thread.
 */
#ifndef DS_RECORD_FORMAT_H
#define DS_RECORD_FORMAT_H

#include "blockstore/object.h"
#include "datastore/datastore.h"

enum ds_word {
	DS_W_MODE,  /* type << 16 | permission bits */
	DS_W_LINKS, /* names; of a directory: its own, "." and those of ".." in it */
	DS_W_OWNER, /* gid << 32 | uid */
	DS_W_SIZE,  /* bytes; of a directory: entries; of a link: bytes of its target */
	DS_W_MTIME, /* ns, as are the next three */
	DS_W_CTIME,
	DS_W_ATIME,
	DS_W_BTIME,
	DS_W_CHANGE,
	DS_W_GENERATION,
	DS_W_DEVICE,   /* minor << 32 | major */
	DS_W_VERIFIER, /* of DS_EXCLUSIVE */
	DS_W_PARENT,   /* of a directory: generation << 32 | object */
};

/* Object 0. */
enum ds_base_word {
	DS_B_MAGIC,
	DS_B_PAGES,  /* of the database */
	DS_B_STAGED, /* pages that wait in the staging area for their places (vfs.h); 0: none */
	DS_B_CHECK,  /* XXH3-64 of the list of these places */
	DS_B_NEXT,   /* object that is tried next for a new file */
	DS_B_FILES,
};

#define DS_MAGIC UINT64_C(0x3130534456535400) /* also the version */
#define DS_BASE 0u			      /* the database's object */
#define DS_ROOT_OBJECT 1u
#define DS_ROOT_GENERATION 1u
#define DS_FIRST_OBJECT 2u

#define DS_BIT(word) ((uint16_t)(1u << (word)))

/* What decides who may do what. */
struct ds_perm {
	enum ds_type type;
	uint32_t mode, uid, gid;
};

static inline uint64_t ds_word_mode(enum ds_type type, uint32_t mode)
{
	return (uint64_t)type << 16 | (mode & 07777);
}
static inline uint64_t ds_word_pair(uint32_t low, uint32_t high)
{
	return (uint64_t)high << 32 | low;
}

struct ds_perm ds_record_perm(const uint64_t *word);
/* VS_E_STALE: the record is not of this file. VS_E_CORRUPT: of none that there can be. */
int ds_record_check(const uint64_t *word, struct ds_handle h) vs_must_check;
void ds_record_attr(const uint64_t *word, uint64_t mapped, struct ds_handle h, struct ds_attr *out);
struct ds_handle ds_record_parent(const uint64_t *word, uint32_t snapshot);

#endif
