/*
 * A simulated disk with a volatile write cache, and the device that the engine sees of it.
 *
 * The disk outlives the engine: sim_disk_attach gives one struct bs_device at a time; its close
 * detaches it. A write is in the cache when it completes and in the stable image when a flush that
 * was submitted after its completion completes; power cuts decide sector by sector (512 bytes) what
 * of the rest survives. Time is virtual and all chance comes from the disk's generator, so a run is
 * a function of its seed.
 *
 * The device checks the engine's side of the contract as well: alignment, range, and that the bytes
 * of a write do not change while it is in flight.
 */
#ifndef SIM_SIMDEV_H
#define SIM_SIMDEV_H

#include "blockstore/device.h"
#include "tests/sim/rng.h"

#define SIM_SECTOR 512u

struct sim_disk;

struct sim_clock {
	uint64_t ns;
};

struct sim_disk *sim_disk_new(uint64_t size, uint64_t seed);
void sim_disk_free(struct sim_disk *d);
/* A second disk of the same content (cache included); pages are shared until written. */
struct sim_disk *sim_disk_copy(const struct sim_disk *d);
/*
 * A second disk beside this one, for a mirror. Both share events and silence; what ends a run ends
 * it for both; copies and frees take it along. Faults and rot are each disk's own.
 */
void sim_disk_pair(struct sim_disk *d, uint64_t seed);
struct sim_disk *sim_disk_partner(const struct sim_disk *d); /* NULL: none */
/* A pulled disk is not given to the node that is opened next. */
void sim_disk_pull(struct sim_disk *d, bool pulled);
bool sim_disk_pulled(const struct sim_disk *d);
/* A sum over what the disk reads as now. */
uint64_t sim_disk_sum(const struct sim_disk *d);

struct bs_device *sim_disk_attach(struct sim_disk *d, struct sim_clock *clock);
/* When the next completion is due; false when nothing is in flight but what is stalled. */
bool sim_disk_due(const struct sim_disk *d, uint64_t *ns);
unsigned sim_disk_in_flight(const struct sim_disk *d);

/*
 * The end of a run; the attached device never completes anything afterwards. Kill: what completed
 * stays, what is in flight has happened wholly, partly or not. Power cut: unflushed sectors too.
 */
void sim_disk_kill(struct sim_disk *d);
void sim_disk_power_cut(struct sim_disk *d);

/*
 * Starts and completions of I/O so far. From number `at` on the device is silent (0: never):
 * nothing completes, or, for who blocks in wait, all fails; nothing more reaches the disk.
 */
uint64_t sim_disk_events(const struct sim_disk *d);
void sim_disk_silence_at(struct sim_disk *d, uint64_t at);
bool sim_disk_silent(const struct sim_disk *d);

enum sim_fate {
	SIM_FATE_ERROR, /* VS_E_IO; a write may have happened in part; a flush loses what it had */
	SIM_FATE_LIE,  /* flush: success, nothing became durable; write: success, nothing written */
	SIM_FATE_FLIP, /* read: success, but one bit is wrong */
	SIM_FATE_STALL, /* held back until sim_disk_release */
};

struct sim_rule {
	enum bs_devop op;
	enum sim_fate fate;
	bool durable;	   /* of flushes: only those that a durable write is */
	uint32_t skip;	   /* this many go unharmed first */
	uint32_t count;	   /* then this many are hit */
	uint64_t from, to; /* bytes; overlapping requests only; 0, 0: all */
};

#define SIM_RULES 8
/* Adds a rule; false when there are SIM_RULES unused up. */
bool sim_disk_add_rule(struct sim_disk *d, const struct sim_rule *rule);
void sim_disk_clear_rules(struct sim_disk *d);
unsigned sim_disk_hits(const struct sim_disk *d); /* requests that met a rule's fate */
void sim_disk_release(struct sim_disk *d);

/* Writes that would allocate more than this fail with VS_E_NOSPC; 0: no limit. */
void sim_disk_limit(struct sim_disk *d, uint64_t bytes);

/* Flips one bit of what is stored, in the cache and below it. */
void sim_disk_rot(struct sim_disk *d, uint64_t offset, unsigned bit);
/* Whether the page of 4 KiB at offset was ever written. */
bool sim_disk_written(const struct sim_disk *d, uint64_t offset);
/* A direct look at what the disk reads as now. */
void sim_disk_peek(const struct sim_disk *d, uint64_t offset, void *buf, uint64_t length);

#endif
