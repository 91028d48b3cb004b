/*
 * Where all chance in a simulation comes from: one generator, one seed. Pure.
 */
#ifndef SIM_RNG_H
#define SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct sim_rng {
	uint64_t state;
};

/* SplitMix64 (Steele, Lea, Flood 2014): full period, good enough bits, four lines. */
static inline uint64_t sim_mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline uint64_t sim_u64(struct sim_rng *r)
{
	return sim_mix(r->state += UINT64_C(0x9e3779b97f4a7c15));
}

/* 0 to n-1; n > 0. */
static inline uint32_t sim_below(struct sim_rng *r, uint32_t n)
{
	return (uint32_t)(((sim_u64(r) >> 32) * n) >> 32);
}

/* lo to hi, both included. */
static inline uint32_t sim_between(struct sim_rng *r, uint32_t lo, uint32_t hi)
{
	return lo + sim_below(r, hi - lo + 1);
}

/* True in one of n cases; never for n == 0. */
static inline bool sim_one_in(struct sim_rng *r, uint32_t n)
{
	return n != 0 && sim_below(r, n) == 0;
}

static inline struct sim_rng sim_rng_from(uint64_t seed)
{
	return (struct sim_rng){sim_mix(seed + UINT64_C(0x632be59bd9b4e019))};
}

#endif
