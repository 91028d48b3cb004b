/*
 * Bugs planted on purpose, which the simulation (tests/sim) must find: they measure how much it
 * sees. They exist only where BS_PLANT is defined, in a program of its own; elsewhere each is the
 * constant false and nothing of it is compiled.
 */
#ifndef BS_PLANT_H
#define BS_PLANT_H

#include <stdbool.h>

#define BS_PLANTS(X)                                                                    \
	X(SKIPPED_FLUSH, "a flush acknowledged and never sent")                         \
	X(EARLY_DURABLE, "a flush taken to hold a unit still being written")            \
	X(EARLY_FUA, "a write through the cache acknowledged before the flush")         \
	X(HASTY_ALONE, "a unit made durable by its own write, others before it not")    \
	X(FAILED_ALONE, "a failed durable write that may have cost a checkpoint pages") \
	X(FLUSH_AGAIN, "a failed flush retried into success")                           \
	X(LOST_WRITE, "a failed write of the log taken for done")                       \
	X(OLD_PLACE, "a unit written again elsewhere whose contents keep their places") \
	X(TORN_UNIT, "a replay that does not check contents")                           \
	X(FORMER_EPOCH, "a replay that looks neither at epoch nor chain")               \
	X(SILENT_END, "a damaged log taken for one that ends there")                    \
	X(HASTY_SUPER, "a superblock that moves before its checkpoint is durable")      \
	X(NEWER_PAGE, "a checkpoint that writes a page's newer bytes")                  \
	X(STALE_POINTER, "a checkpoint whose new places stay out of the tables")        \
	X(NEWER_TABLE, "a checkpoint that writes the segment table as it is now")       \
	X(EARLY_REUSE, "a segment reused one checkpoint too early")                     \
	X(HASTY_DISCARD, "a segment given back while a superblock needs it")            \
	X(REUSE_UNDER_READ, "a segment reused under a read in flight")                  \
	X(STALE_CACHE, "a cache filled with what a content number meant before")        \
	X(UNCHECKED_READ, "a read that does not compare checksums")                     \
	X(UNCHECKED_MOVE, "a cleaner that does not look whether it still lies there")   \
	X(FORGOTTEN_REF, "a reference on shared content that is not counted")           \
	X(DRAINED_TWICE, "a recovery that drains again what was drained")               \
	X(DRAINED_AHEAD, "a checkpoint that takes the next leaf for drained")           \
	X(BORROWED_TRIM, "a trim that drops references which the page only borrows")    \
	X(STALE_XORS, "a release that leaves its base's copies as they were")           \
	X(KEPT_SURPLUS, "an absorbed base whose copy keeps a surplus reference")        \
	X(THAWED_ROLLBACK, "a rollback after which the snapshot's pages are changed")   \
	X(UNCUT_SHRINK, "a shrink that leaves data behind the end")                     \
	X(NO_LOCKS, "parts of blocks merged without a lock")                            \
	X(STALE_SIDE, "a mirror's side that was absent taken as in sync")               \
	X(UNCOPIED, "a resilver that copies nothing")                                   \
	X(HASTY_WIPE, "a device wiped before the others know that it goes")             \
	X(ONE_SIDED, "a replay that leaves a unit on one side of a mirror")             \
	X(UNHELD, "a checkpoint kept readable whose segments are used again")           \
	X(LONE_ALIAS, "an alias whose references do not hold what stores it")           \
	X(EATEN_ROOM, "a thin volume that writes into what thick ones reserve")         \
	X(FREE_SNAPSHOT, "a snapshot of a thick volume that needs no room")             \
	X(STALE_FILL, "a fetched block given to a content that is not there any more")  \
	X(KEPT_COUNT, "what has left an origin is still counted there")                 \
	X(LOST_BLANK, "zeros found at an origin that nothing counts")                   \
	X(OWN_ERA, "pages below one that a snapshot shares that are not shared")        \
	X(STALE_FIND, "a write that refers to what it found before a wait, unseen")     \
	X(STALE_COPY, "a copy of what its source held before a wait")                   \
	X(THAWED_CLONE, "an object whose clone changes with it")                        \
	X(LOST_WORDS, "a replay that passes over changes of records")

enum bs_plant {
	BS_PLANT_NONE,
#define BS_PLANT_ENUM(name, text) BS_PLANT_##name,
	BS_PLANTS(BS_PLANT_ENUM)
#undef BS_PLANT_ENUM
	    BS_PLANT_COUNT
};

#ifdef BS_PLANT
extern enum bs_plant bs_plant; /* the one that is active; set before a store is opened */
#define bs_planted(name) (bs_plant == BS_PLANT_##name)
#else
#define bs_planted(name) false
#endif

#endif
