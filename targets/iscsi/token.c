#include "targets/iscsi/token.h"

#include "common/bytes.h"
#include "common/secret.h"
#include "targets/iscsi/scsi_format.h"

#include <pthread.h>
#include <stdlib.h>

/* Each part of a token may begin within a block. */
#define PLACE VS_ALIGN_UP(SCSI_TOKEN_MAX_BYTES + 2u * BS_BLOCK * SCSI_TOKEN_RANGES, 1u << 20)
#define SECOND UINT64_C(1000000000)

enum state {
	FREE, /* its place is empty; it still knows its last token, to say that it has expired */
	FILLING,
	LIVE,
	OVER, /* its place is to be erased */
	ERASING,
};

struct token {
	enum state state;
	bool deleted; /* nobody may take it any more */
	unsigned users;
	uint64_t used_ns, timeout_ns, freed;
	struct scsi_token say;
	struct vs_uuid source;
	char initiator[ISCSI_NAME_MAX];
	uint32_t nparts;
	struct iscsi_token_part part[SCSI_TOKEN_RANGES];
};

struct iscsi_tokens {
	struct bs_volume *volume;
	pthread_mutex_t lock; /* over tokens, frees */
	struct token token[ISCSI_TOKENS];
	uint64_t frees;
	/* the first I/O thread's */
	struct vs_loop *loop;
	struct bs_port *port;
	struct vs_timer timer;
	struct bs_req erase;
	unsigned erasing; /* index */
	bool busy;
};

struct iscsi_tokens *iscsi_tokens_new(struct bs_store *s, struct vs_error *err)
{
	struct iscsi_tokens *ts = calloc(1, sizeof(*ts));

	if (!ts) {
		(void)vs_fail(err, VS_E_NOMEM, "out of memory");
		return NULL;
	}
	if (bs_volume_temporary(s, ISCSI_TOKENS * (uint64_t)PLACE, &ts->volume, err)) {
		free(ts);
		return NULL;
	}
	pthread_mutex_init(&ts->lock, NULL);
	return ts;
}

void iscsi_tokens_free(struct iscsi_tokens *ts)
{
	if (!ts)
		return;
	bs_volume_close(ts->volume);
	pthread_mutex_destroy(&ts->lock);
	vs_secret_wipe(ts->token, sizeof(ts->token));
	free(ts);
}

static void erased(struct bs_req *req)
{
	struct iscsi_tokens *ts = req->arg;
	struct token *t = &ts->token[ts->erasing];

	pthread_mutex_lock(&ts->lock);
	t->state = req->status ? OVER : FREE; /* what failed is tried again */
	t->freed = ++ts->frees;
	pthread_mutex_unlock(&ts->lock);
	ts->busy = false;
}

static bool timed_out(const struct token *t, uint64_t now)
{
	return t->state == LIVE && !t->users && now - t->used_ns > t->timeout_ns;
}

/* The next place to be erased; ISCSI_TOKENS: none. */
static unsigned pick_over(struct iscsi_tokens *ts)
{
	uint64_t now = vs_now_ns();
	unsigned i = 0;

	pthread_mutex_lock(&ts->lock);
	while (i < ISCSI_TOKENS && ts->token[i].state != OVER && !timed_out(&ts->token[i], now))
		i++;
	if (i < ISCSI_TOKENS)
		ts->token[i].state = ERASING;
	pthread_mutex_unlock(&ts->lock);
	return i;
}

/* What is over, or has not been used for its time, goes: one place after the other. */
static void look_around(struct vs_timer *timer)
{
	struct iscsi_tokens *ts = timer->arg;
	unsigned i = ts->busy ? ISCSI_TOKENS : pick_over(ts);

	if (i < ISCSI_TOKENS) {
		ts->erasing = i;
		ts->busy = true;
		ts->erase = (struct bs_req){.op = BS_TRIM,
					    .volume = ts->volume,
					    .offset = i * (uint64_t)PLACE,
					    .length = PLACE,
					    .done = erased,
					    .arg = ts};
		bs_submit(ts->port, &ts->erase);
	}
	/* cannot fail: it has just given its slot back */
	(void)!vs_loop_timer(ts->loop, timer, ts->busy ? SECOND / 20 : SECOND / 2);
}

int iscsi_tokens_start(struct iscsi_tokens *ts, struct vs_loop *loop, struct bs_port *port)
{
	ts->loop = loop;
	ts->port = port;
	ts->timer = (struct vs_timer){.fired = look_around, .arg = ts};
	return vs_loop_timer(loop, &ts->timer, SECOND / 2);
}

void iscsi_tokens_stop(struct iscsi_tokens *ts)
{
	if (ts && ts->loop)
		vs_loop_cancel(ts->loop, &ts->timer);
}

/* With the lock held: a free place, the one that has been free for longest; NULL: none. */
static struct token *pick_free(struct iscsi_tokens *ts, const char *initiator)
{
	struct token *found = NULL;
	unsigned theirs = 0;

	for (unsigned i = 0; i < ISCSI_TOKENS; i++) {
		struct token *t = &ts->token[i];

		theirs += t->state != FREE && strcmp(t->initiator, initiator) == 0;
		if (t->state == FREE && (!found || t->freed < found->freed))
			found = t;
	}
	return theirs < ISCSI_TOKENS_EACH ? found : NULL;
}

/* Each part at the same place within its block as in the source. */
static void place_parts(struct iscsi_tokens *ts, struct token *t, struct iscsi_token_use *use)
{
	uint64_t at = (uint64_t)(t - ts->token) * PLACE;

	use->volume = ts->volume;
	t->nparts = use->nparts;
	t->say.bytes = 0;
	for (unsigned i = 0; i < use->nparts; i++) {
		struct iscsi_token_part *p = &use->part[i];

		p->at = VS_ALIGN_UP(at, BS_BLOCK) + p->at % BS_BLOCK;
		at = p->at + p->bytes;
		t->part[i] = *p;
		t->say.bytes += p->bytes;
	}
	VS_ASSERT(at <= (uint64_t)(t - ts->token + 1) * PLACE);
}

int iscsi_token_begin(struct iscsi_tokens *ts, const struct iscsi_token_maker *m,
		      struct iscsi_token_use *use)
{
	uint8_t secret[SCSI_TOKEN_SECRET];
	struct token *t;

	if (vs_random(secret, sizeof(secret)))
		return VS_E_IO;
	pthread_mutex_lock(&ts->lock);
	t = pick_free(ts, m->initiator);
	if (t) {
		uint64_t serial = (t->say.id >> 16) + 1;
		unsigned index = (unsigned)(t - ts->token);

		*t = (struct token){.state = FILLING, .users = 1, .source = m->source};
		t->timeout_ns = (m->timeout ? m->timeout : SCSI_TOKEN_TIMEOUT) * SECOND;
		t->say.id = serial << 16 | index;
		t->say.block_length = m->block_length;
		memcpy(t->say.naa, m->naa, sizeof(m->naa));
		memcpy(t->say.secret, secret, sizeof(secret));
		memcpy(t->initiator, m->initiator, strnlen(m->initiator, sizeof(t->initiator) - 1));
		use->index = index + 1;
		place_parts(ts, t, use);
	}
	pthread_mutex_unlock(&ts->lock);
	vs_secret_wipe(secret, sizeof(secret));
	return t ? 0 : VS_E_LIMIT;
}

void iscsi_token_finish(struct iscsi_tokens *ts, struct iscsi_token_use *use, uint64_t *id)
{
	struct token *t = &ts->token[use->index - 1];

	pthread_mutex_lock(&ts->lock);
	t->state = t->deleted ? OVER : LIVE;
	t->users--;
	t->used_ns = vs_now_ns();
	*id = t->say.id;
	pthread_mutex_unlock(&ts->lock);
	use->index = 0;
}

/* With the lock held: the token that these bytes are; NULL: none. */
static struct token *find(struct iscsi_tokens *ts, const uint8_t bytes[SCSI_TOKEN_LEN], uint64_t id)
{
	struct token *t = &ts->token[(id & 0xffff) % ISCSI_TOKENS];
	uint8_t is[SCSI_TOKEN_LEN];
	bool same;

	if (!t->say.id || t->state == FILLING)
		return NULL;
	scsi_token_encode(is, &t->say);
	same = vs_secret_equal(bytes, is, sizeof(is));
	vs_secret_wipe(is, sizeof(is));
	return same ? t : NULL;
}

uint16_t iscsi_token_take(struct iscsi_tokens *ts, const uint8_t token[SCSI_TOKEN_LEN], uint64_t id,
			  struct iscsi_token_use *use, struct vs_uuid *source)
{
	uint16_t asc = SCSI_TOKEN_UNKNOWN;
	struct token *t;

	pthread_mutex_lock(&ts->lock);
	t = find(ts, token, id);
	if (t && t->deleted) {
		asc = SCSI_TOKEN_DELETED;
	} else if (t && (t->state != LIVE || timed_out(t, vs_now_ns()))) {
		asc = SCSI_TOKEN_EXPIRED;
	} else if (t) {
		asc = 0;
		t->users++;
		use->index = (unsigned)(t - ts->token) + 1;
		use->volume = ts->volume;
		use->nparts = t->nparts;
		memcpy(use->part, t->part, sizeof(use->part));
		*source = t->source;
	}
	pthread_mutex_unlock(&ts->lock);
	return asc;
}

void iscsi_tokens_revoke(struct iscsi_tokens *ts, const struct vs_uuid *source)
{
	pthread_mutex_lock(&ts->lock);
	for (unsigned i = 0; i < ISCSI_TOKENS; i++) {
		struct token *t = &ts->token[i];

		if ((t->state != LIVE && t->state != FILLING) || !vs_uuid_equal(&t->source, source))
			continue;
		t->deleted = true;
		if (!t->users)
			t->state = OVER;
	}
	pthread_mutex_unlock(&ts->lock);
}

void iscsi_token_put(struct iscsi_tokens *ts, struct iscsi_token_use *use, bool del_token)
{
	struct token *t = &ts->token[use->index - 1];

	pthread_mutex_lock(&ts->lock);
	t->users--;
	t->used_ns = vs_now_ns();
	t->deleted |= del_token;
	if (!t->users && (t->deleted || t->state == FILLING))
		t->state = OVER;
	pthread_mutex_unlock(&ts->lock);
	use->index = 0;
}

bool iscsi_token_bytes(struct iscsi_tokens *ts, uint64_t id, uint8_t out[SCSI_TOKEN_LEN])
{
	struct token *t = &ts->token[(id & 0xffff) % ISCSI_TOKENS];
	bool live;

	pthread_mutex_lock(&ts->lock);
	live = t->say.id == id && t->state == LIVE && !t->deleted && !timed_out(t, vs_now_ns());
	if (live)
		scsi_token_encode(out, &t->say);
	pthread_mutex_unlock(&ts->lock);
	return live;
}
