#include "dedup/many.h"

#include "common/bytes.h"
#include "common/loop.h"

#include <pthread.h>
#include <stdlib.h>

#if __has_include(<intel-ipsec-mb.h>)
#include <intel-ipsec-mb.h>
#else
typedef void IMB_MGR;
#endif

#define ROUNDS 3u /* each way is measured so often; the quickest counts */
#define SAMPLE 4096u

/* PAIRS: two with interleaved SHA instructions; LANES: sixteen in registers of AVX-512. */
enum way { ONE_BY_ONE, PAIRS, LANES, WAYS };

struct dd_many {
	struct dd_hasher *one;
	IMB_MGR *mgr[WAYS]; /* NULL: this processor cannot */
};

/* For so many pieces; set once, then only read. */
static uint8_t best[DD_MANY_BEST + 1];
static pthread_once_t measured = PTHREAD_ONCE_INIT;

#if __has_include(<intel-ipsec-mb.h>)

static const struct {
	void (*init)(IMB_MGR *mgr);
	uint64_t needs;
} managers[WAYS] = {
    [PAIRS] = {init_mb_mgr_sse, IMB_CPUFLAGS_SSE_T2},
    [LANES] = {init_mb_mgr_avx512, IMB_CPUFLAGS_AVX512},
};

static IMB_MGR *manager(enum way way)
{
	IMB_MGR *m = managers[way].init ? alloc_mb_mgr(0) : NULL;

	if (m && (m->features & managers[way].needs) == managers[way].needs) {
		managers[way].init(m);
		if (imb_get_errno(m) == 0)
			return m;
	}
	if (m)
		free_mb_mgr(m);
	return NULL;
}

static void release(IMB_MGR *m)
{
	if (m)
		free_mb_mgr(m);
}

static unsigned completed(const IMB_JOB *job)
{
	VS_ASSERT(!job || job->status == IMB_STATUS_COMPLETED);
	return job != NULL;
}

static void run(IMB_MGR *m, unsigned n, const uint8_t *const data[], size_t len,
		struct dd_digest *const out[])
{
	unsigned done = 0;

	for (unsigned i = 0; i < n; i++) {
		IMB_JOB *job = IMB_GET_NEXT_JOB(m);

		job->cipher_mode = IMB_CIPHER_NULL;
		job->cipher_direction = IMB_DIR_ENCRYPT;
		job->chain_order = IMB_ORDER_HASH_CIPHER;
		job->hash_alg = IMB_AUTH_SHA_256;
		job->src = data[i];
		job->hash_start_src_offset_in_bytes = 0;
		job->msg_len_to_hash_in_bytes = len;
		job->auth_tag_output = out[i]->b;
		job->auth_tag_output_len_in_bytes = sizeof(out[i]->b);
		done += completed(IMB_SUBMIT_JOB(m));
	}
	while (done < n) {
		IMB_JOB *job = IMB_FLUSH_JOB(m);

		VS_ASSERT(job);
		done += completed(job);
	}
}

#else

static IMB_MGR *manager(enum way way)
{
	(void)way;
	return NULL;
}

static void release(IMB_MGR *m)
{
	(void)m;
}

static void run(IMB_MGR *m, unsigned n, const uint8_t *const data[], size_t len,
		struct dd_digest *const out[])
{
	(void)m, (void)n, (void)data, (void)len, (void)out;
	VS_ASSERT(!"there are no lanes here");
}

#endif

static void hash(struct dd_many *m, enum way way, unsigned n, const uint8_t *const data[],
		 size_t len, struct dd_digest *const out[])
{
	if (way != ONE_BY_ONE) {
		run(m->mgr[way], n, data, len, out);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		dd_hash(m->one, data[i], len, out[i]);
}

/* ns; UINT64_MAX: it cannot, or its digests are wrong. */
static uint64_t measure(struct dd_many *m, enum way way, unsigned n, const uint8_t *const data[],
			const struct dd_digest *right)
{
	struct dd_digest got[DD_MANY_BEST] = {{{0}}}, *out[DD_MANY_BEST];
	uint64_t least = UINT64_MAX;

	if (way != ONE_BY_ONE && !m->mgr[way])
		return UINT64_MAX;
	for (unsigned i = 0; i < n; i++)
		out[i] = &got[i];
	for (unsigned k = 0; k < ROUNDS; k++) {
		uint64_t start = vs_now_ns();

		hash(m, way, n, data, SAMPLE, out);
		least = VS_MIN(least, vs_now_ns() - start);
	}
	for (unsigned i = 0; i < n; i++)
		if (!dd_digest_equal(&got[i], &right[i]))
			return UINT64_MAX;
	return least;
}

static void measure_all(struct dd_many *m, uint8_t sample[DD_MANY_BEST][SAMPLE])
{
	struct dd_digest right[DD_MANY_BEST];
	const uint8_t *data[DD_MANY_BEST];

	for (unsigned i = 0; i < DD_MANY_BEST; i++) {
		data[i] = memset(sample[i], (int)i + 1, SAMPLE);
		dd_hash(m->one, data[i], SAMPLE, &right[i]);
	}
	for (unsigned n = 2; n <= DD_MANY_BEST; n++) {
		uint64_t least = measure(m, ONE_BY_ONE, n, data, right);

		for (unsigned way = ONE_BY_ONE + 1; way < WAYS; way++) {
			uint64_t ns = measure(m, way, n, data, right);

			if (ns < least) {
				least = ns;
				best[n] = (uint8_t)way;
			}
		}
	}
}

static int create(struct dd_many **out, struct vs_error *err)
{
	struct dd_many *m = calloc(1, sizeof(*m));
	int rc;

	*out = NULL;
	if (!m)
		return vs_fail(err, VS_E_NOMEM, "no memory to hash with");
	rc = dd_hasher_new(&m->one, err);
	if (rc) {
		free(m);
		return rc;
	}
	for (unsigned way = ONE_BY_ONE + 1; way < WAYS; way++)
		m->mgr[way] = manager(way);
	*out = m;
	return 0;
}

static void measure_once(void)
{
	uint8_t(*sample)[SAMPLE] = calloc(DD_MANY_BEST, SAMPLE);
	struct dd_many *m = NULL;

	if (sample && create(&m, NULL) == 0)
		measure_all(m, sample);
	dd_many_free(m);
	free(sample);
}

int dd_many_new(struct dd_many **out, struct vs_error *err)
{
	(void)pthread_once(&measured, measure_once);
	return create(out, err);
}

void dd_many_free(struct dd_many *m)
{
	if (!m)
		return;
	for (unsigned way = ONE_BY_ONE + 1; way < WAYS; way++)
		release(m->mgr[way]);
	dd_hasher_free(m->one);
	free(m);
}

void dd_many_hash(struct dd_many *m, unsigned n, const uint8_t *const data[], size_t len,
		  struct dd_digest *const out[])
{
	for (unsigned i = 0; i < n; i += DD_MANY_BEST) {
		unsigned k = VS_MIN(n - i, DD_MANY_BEST);

		hash(m, len && m->mgr[best[k]] ? best[k] : ONE_BY_ONE, k, data + i, len, out + i);
	}
}
