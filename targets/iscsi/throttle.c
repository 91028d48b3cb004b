#include "targets/iscsi/throttle.h"

#include "common/bytes.h"
#include "common/secret.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define LINES 512	   /* addresses, and as many names */
#define KNOWN 1024	   /* nexuses that have logged in */
#define FORGET_SECONDS 300 /* without a failure */
#define TELL_A_MINUTE 10

struct line {
	uint64_t key; /* 0: free */
	uint64_t failed_ns;
	uint64_t next_ns; /* when the next attempt may be answered */
	uint64_t used;	  /* by the table's clock */
	unsigned failures;
};

struct table {
	struct line lines[LINES];
	uint64_t gap_ns, longest_ns;
};

struct known {
	uint64_t key, used;
};

struct iscsi_throttle {
	uint64_t seed;
	pthread_mutex_t lock; /* over what follows */
	struct table addresses, initiators;
	struct known known[KNOWN];
	uint64_t clock; /* uses so far */
	uint64_t minute;
	unsigned told; /* in that minute */
};

struct iscsi_throttle *iscsi_throttle_new(void)
{
	struct iscsi_throttle *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	if (vs_random(&t->seed, sizeof(t->seed)) < 0) {
		free(t);
		return NULL;
	}
	pthread_mutex_init(&t->lock, NULL);
	t->addresses.gap_ns = ISCSI_THROTTLE_SECOND;
	t->addresses.longest_ns = 4 * ISCSI_THROTTLE_SECOND;
	t->initiators.gap_ns = ISCSI_THROTTLE_SECOND / 2;
	t->initiators.longest_ns = 8 * ISCSI_THROTTLE_SECOND;
	return t;
}

void iscsi_throttle_free(struct iscsi_throttle *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static uint64_t hash(uint64_t seed, const void *data, size_t len)
{
	uint64_t h = XXH3_64bits_withSeed(data, len, seed);

	return h ? h : 1;
}

uint64_t iscsi_throttle_address(const struct iscsi_throttle *t, const struct sockaddr_storage *ss)
{
	const struct sockaddr_in6 *in6 = (const void *)ss;
	const struct sockaddr_in *in = (const void *)ss;

	if (ss->ss_family == AF_INET)
		return hash(t->seed, &in->sin_addr, 4);
	if (ss->ss_family != AF_INET6)
		return hash(t->seed, "", 0);
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		return hash(t->seed, in6->sin6_addr.s6_addr + 12, 4);
	return hash(t->seed, in6->sin6_addr.s6_addr, 8);
}

struct iscsi_throttle_who iscsi_throttle_who(const struct iscsi_throttle *t, uint64_t address,
					     const char *initiator, const char *target)
{
	uint64_t all[3] = {address, hash(t->seed, initiator, strlen(initiator)),
			   hash(t->seed, target, strlen(target))};

	return (struct iscsi_throttle_who){address, all[1], hash(t->seed, all, sizeof(all))};
}

static struct line *find(struct table *table, uint64_t key)
{
	for (struct line *l = table->lines; l < table->lines + LINES; l++)
		if (l->key == key)
			return l;
	return NULL;
}

/* The key's line, or the one that was not used for longest, emptied. */
static struct line *take(struct table *table, uint64_t key)
{
	struct line *l = find(table, key), *oldest = table->lines;

	if (l)
		return l;
	for (l = table->lines; l < table->lines + LINES; l++)
		if (l->used < oldest->used)
			oldest = l;
	*oldest = (struct line){.key = key};
	return oldest;
}

static struct known *find_known(struct iscsi_throttle *t, uint64_t key)
{
	for (struct known *k = t->known; k < t->known + KNOWN; k++)
		if (k->key == key)
			return k;
	return NULL;
}

/* Who looked at the clock first may come here last: then now_ns is before failed_ns. */
static bool forgotten(const struct line *l, uint64_t now_ns)
{
	return now_ns > l->failed_ns &&
	       now_ns - l->failed_ns > FORGET_SECONDS * ISCSI_THROTTLE_SECOND;
}

/* The line that an attempt has to stand in; NULL: none. */
static struct line *standing(struct iscsi_throttle *t, struct table *table, uint64_t key,
			     uint64_t now_ns)
{
	struct line *l = find(table, key);

	if (!l || l->failures < ISCSI_THROTTLE_FREE || forgotten(l, now_ns))
		return NULL;
	l->used = ++t->clock;
	return l;
}

static bool enter(struct iscsi_throttle *t, const struct iscsi_throttle_who *who, uint64_t now_ns,
		  uint64_t *wait_ns)
{
	struct line *a = standing(t, &t->addresses, who->address, now_ns);
	struct line *i = standing(t, &t->initiators, who->initiator, now_ns);
	uint64_t at = now_ns;

	if (a)
		at = VS_MAX(at, a->next_ns);
	if (a && at - now_ns > t->addresses.longest_ns)
		return false;
	if (i)
		at = VS_MAX(at, i->next_ns);
	if (i && at - now_ns > t->initiators.longest_ns)
		return false;
	if (a)
		a->next_ns = at + t->addresses.gap_ns;
	if (i)
		i->next_ns = at + t->initiators.gap_ns;
	*wait_ns = at - now_ns;
	return true;
}

bool iscsi_throttle_enter(struct iscsi_throttle *t, const struct iscsi_throttle_who *who,
			  uint64_t now_ns, uint64_t *wait_ns)
{
	struct known *k;
	bool in = true;

	*wait_ns = 0;
	pthread_mutex_lock(&t->lock);
	k = find_known(t, who->nexus);
	if (k)
		k->used = ++t->clock;
	else
		in = enter(t, who, now_ns, wait_ns);
	pthread_mutex_unlock(&t->lock);
	return in;
}

void iscsi_throttle_passed(struct iscsi_throttle *t, const struct iscsi_throttle_who *who)
{
	struct known *k;

	pthread_mutex_lock(&t->lock);
	k = find_known(t, who->nexus);
	if (!k) {
		k = t->known;
		for (struct known *o = t->known; o < t->known + KNOWN; o++)
			if (o->used < k->used)
				k = o;
	}
	*k = (struct known){.key = who->nexus, .used = ++t->clock};
	pthread_mutex_unlock(&t->lock);
}

static unsigned count(struct iscsi_throttle *t, struct table *table, uint64_t key, uint64_t now_ns)
{
	struct line *l = take(table, key);

	if (forgotten(l, now_ns))
		l->failures = 0;
	if (l->failures++ == ISCSI_THROTTLE_FREE - 1)
		l->next_ns = now_ns + table->gap_ns;
	l->failed_ns = VS_MAX(l->failed_ns, now_ns);
	l->used = ++t->clock;
	return l->failures;
}

unsigned iscsi_throttle_failed(struct iscsi_throttle *t, const struct iscsi_throttle_who *who,
			       uint64_t now_ns)
{
	uint64_t minute = now_ns / (60 * ISCSI_THROTTLE_SECOND);
	struct known *k;
	unsigned n;

	pthread_mutex_lock(&t->lock);
	k = find_known(t, who->nexus);
	if (k)
		*k = (struct known){0};
	(void)count(t, &t->initiators, who->initiator, now_ns);
	n = count(t, &t->addresses, who->address, now_ns);
	if (minute > t->minute) {
		t->minute = minute;
		t->told = 0;
	}
	if (n & (n - 1) || t->told == TELL_A_MINUTE)
		n = 0;
	else
		t->told++;
	pthread_mutex_unlock(&t->lock);
	return n;
}
