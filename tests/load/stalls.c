#include "tests/load/engine.h"

#include "common/loop.h"

#include <pthread.h>
#include <stdio.h>

#define LONG_NS UINT64_C(2000000)

struct spin {
	uint64_t seconds, longest;
	unsigned n; /* longer than LONG_NS */
};

static void *spin(void *arg)
{
	struct spin *s = arg;
	uint64_t last = vs_now_ns(), end = last + s->seconds * 1000000000u, now;

	for (; last < end; last = now) {
		now = vs_now_ns();
		s->n += now - last > LONG_NS;
		s->longest = now - last > s->longest ? now - last : s->longest;
	}
	return NULL;
}

int engine_stalls(uint64_t seconds)
{
	struct spin s[2] = {{.seconds = seconds}, {.seconds = seconds}};
	pthread_t other;
	int rc = pthread_create(&other, NULL, spin, &s[1]);

	if (rc)
		return vs_err_from_errno(rc);
	spin(&s[0]);
	(void)pthread_join(other, NULL);
	printf("{\"step\": \"stalls\", \"seconds\": %lu, \"over_2ms\": %u, \"max_us\": %.0f}\n",
	       seconds, s[0].n + s[1].n,
	       (double)(s[0].longest > s[1].longest ? s[0].longest : s[1].longest) / 1000);
	return 0;
}
