/*
 * Latencies counted by power of two and sixteenth: a percentile is at most 6% too low. One thread
 * adds; sums of several are made when they are done.
 */
#ifndef TESTS_LOAD_LATENCY_H
#define TESTS_LOAD_LATENCY_H

#include <stdint.h>

#define LATENCY_BUCKETS (64u * 16)

struct latency {
	uint64_t count[LATENCY_BUCKETS], n, max_ns;
};

static inline void latency_add(struct latency *l, uint64_t ns)
{
	unsigned top = 63 - (unsigned)__builtin_clzl(ns | 16);

	l->count[top * 16 + (unsigned)(ns >> (top - 4) & 15)]++;
	l->n++;
	if (ns > l->max_ns)
		l->max_ns = ns;
}

static inline void latency_sum(struct latency *to, const struct latency *l)
{
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		to->count[i] += l->count[i];
	to->n += l->n;
	if (l->max_ns > to->max_ns)
		to->max_ns = l->max_ns;
}

static inline double latency_us(const struct latency *l, double share)
{
	uint64_t seen = 0;

	for (unsigned i = 64; i < LATENCY_BUCKETS; i++) {
		seen += l->count[i];
		if (seen && (double)seen >= share * (double)l->n)
			return (double)((UINT64_C(16) + i % 16) << (i / 16 - 4)) / 1000;
	}
	return 0;
}

#endif
