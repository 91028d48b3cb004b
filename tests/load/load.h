/*
 * The commands of the load generator. Each returns an exit status, prints one line of JSON on
 * stdout when it came to its end, and reasons on stderr.
 */
#ifndef TESTS_LOAD_LOAD_H
#define TESTS_LOAD_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#define LOAD_MAX_DEPTH 128
#define LOAD_MAX_SESSIONS 16

struct load_options {
	uint64_t span;	   /* bytes of the disk that are used */
	uint64_t block;	   /* bytes of a request of read and fill */
	uint64_t depth;	   /* requests outstanding in a session, 1 to LOAD_MAX_DEPTH */
	uint64_t sessions; /* of read and fill, a thread each, 1 to LOAD_MAX_SESSIONS */
	uint64_t seconds;  /* 0: no bound */
	uint64_t count;	   /* requests; 0: no bound */
	uint64_t seed;
	bool sequential;
};

/* xorshift64: cheap, and the same for the same seed. */
struct load_rng {
	uint64_t state;
};
static inline struct load_rng load_rng_seeded(uint64_t seed)
{
	return (struct load_rng){seed * UINT64_C(0x9e3779b97f4a7c15) + 1};
}
static inline uint64_t load_rng_next(struct load_rng *r)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return r->state;
}

/* Random writes and flushes until the time is over or the connection dies; both are success. */
int load_write(const char *url, const char *journal, const struct load_options *o);
/* Every block holds what was acknowledged last, or what was on its way when the connection died. */
int load_verify(const char *url, const char *journal);
/* How many a second, and how long they take; writes are noise, each block unlike any other. */
int load_bench(const char *url, bool write, const struct load_options *o);
/* o->count files made, looked at and removed in a folder of an NFS server. */
int load_names(const char *url, const struct load_options *o);
/* SHA-256 of the whole disk. */
int load_digest(const char *url, const struct load_options *o);

#endif
