/*
 * Offline check: opens a store without changing it, replays its log in memory and recounts all
 * references, lengths and space from the volumes' maps.
 *
 * Threads: the caller's own; nothing else may have the device. Takes the device over.
 */
#ifndef BS_CHECK_H
#define BS_CHECK_H

#include "blockstore/store.h"

struct bs_check_options {
	uint64_t memory; /* as in bs_open_options */
	bool read_data;	 /* also read all content and compare it with its digest */
	/*
	 * Put right what can be put right without guessing or losing anything: counts from the
	 * maps, pages from their other copy, leaves of the place and digest tables from the log's
	 * units, orphans released. If anything else is wrong nothing is written at all; otherwise
	 * one checkpoint changes all at once.
	 */
	bool repair;
	/* One line for each difference; also called with done/total blocks (line NULL). */
	void (*report)(void *arg, const char *line, uint64_t done, uint64_t total);
	void *arg;
};

struct bs_check_result {
	uint64_t problems;
	uint64_t repaired; /* differences that are no more; with problems 0 only */
	uint64_t volumes, snapshots, contents, map_pages, stored_bytes;
};

/* 0 when the check could be made, whatever it found. */
int bs_check_run(struct bs_device *dev, const struct bs_check_options *opts,
		 struct bs_check_result *out, struct vs_error *err) vs_must_check;
/* The same of a store of several devices. */
int bs_check_run_all(struct bs_device *const *devs, unsigned ndevs,
		     const struct bs_check_options *opts, struct bs_check_result *out,
		     struct vs_error *err) vs_must_check;

#endif
