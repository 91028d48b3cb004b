#include "targets/iscsi/isns.h"

#include "targets/iscsi/internal.h"
#include "targets/iscsi/isns_format.h"

#include "common/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define WAIT_SECONDS 3	   /* for the server to connect, and as many to answer */
#define PERIOD_SECONDS 600 /* asked for; renewed three times in it */
#define RETRY_SECONDS 10
#define PAYLOAD_MAX (4u << 20)
#define ENTITY_MAX 128

struct iscsi_isns {
	struct iscsi_isns_options o;
	pthread_t thread;
	pthread_mutex_t lock; /* over changed, stop */
	pthread_cond_t wake;
	bool changed, stop;
	/* the thread's */
	uint8_t *payload;
	char entity[ENTITY_MAX];
	char source[ISCSI_NAME_MAX]; /* the node that speaks, "" : nothing is registered */
	uint16_t transaction;
	uint64_t until_ns; /* when the exchange has to be over */
	uint32_t period;
	bool failing;
};

/* ---- one exchange: a connection, a request, its response */

static int dial(struct iscsi_isns *s)
{
	const struct timeval wait = {.tv_sec = WAIT_SECONDS};
	const struct iscsi_isns_options *o = &s->o;
	int fd = socket(o->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return VS_E_IO;
	/* a send timeout bounds connect as well (socket(7)) */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    connect(fd, (const struct sockaddr *)&o->address, o->address_len) < 0) {
		close(fd);
		return VS_E_IO;
	}
	s->until_ns = vs_now_ns() + WAIT_SECONDS * UINT64_C(1000000000);
	return fd;
}

/* Also a server that goes on byte by byte has no more time than that. */
static int send_all(const struct iscsi_isns *s, int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0 || vs_now_ns() > s->until_ns)
			return VS_E_IO;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int take(const struct iscsi_isns *s, int fd, uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = recv(fd, data, len, 0);

		if (n <= 0 || vs_now_ns() > s->until_ns)
			return VS_E_IO;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int send_message(struct iscsi_isns *s, int fd, uint16_t function, uint16_t flags, size_t len)
{
	uint8_t raw[ISNS_HEADER];
	size_t at = 0;

	s->transaction++;
	for (uint16_t sequence = 0; at < len; sequence++) {
		size_t n = VS_MIN(len - at, (size_t)ISNS_PDU_MAX);
		struct isns_header h = {.function = function,
					.length = (uint16_t)n,
					.flags = (uint16_t)(ISNS_CLIENT | flags),
					.transaction = s->transaction,
					.sequence = sequence};

		if (at == 0)
			h.flags |= ISNS_FIRST;
		if (at + n == len)
			h.flags |= ISNS_LAST;
		isns_header_encode(raw, &h);
		if (send_all(s, fd, raw, sizeof(raw)) < 0 ||
		    send_all(s, fd, s->payload + at, n) < 0)
			return VS_E_IO;
		at += n;
	}
	return 0;
}

/* The first PDU says all that is asked for here: status and period. */
static int take_response(struct iscsi_isns *s, int fd, uint16_t function, struct isns_response *out)
{
	uint8_t raw[ISNS_HEADER];
	struct isns_header h;

	if (take(s, fd, raw, sizeof(raw)) < 0)
		return VS_E_IO;
	if (isns_header_decode(raw, &h) < 0 || h.function != (ISNS_RESPONSE | function) ||
	    h.transaction != s->transaction)
		return VS_E_PROTO;
	if (take(s, fd, s->payload, h.length) < 0)
		return VS_E_IO;
	if (h.flags & ISNS_LAST)
		return isns_response_decode(s->payload, h.length, out);
	*out = (struct isns_response){.status = h.length >= 4 ? vs_get_be32(s->payload) : 1};
	return 0;
}

/* ---- what is registered */

/* An IPv4 address goes mapped into IPv6 (RFC 4171, 6.3.1). */
static struct in6_addr portal_address(const struct iscsi_portal_state *p,
				      const struct sockaddr_storage *local)
{
	const struct sockaddr_in6 *v6 = (const void *)local;
	const struct sockaddr_in *v4 = (const void *)local;
	struct in6_addr address = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	if (!p->any && strchr(p->address, ':'))
		(void)inet_pton(AF_INET6, p->address, &address);
	else if (!p->any)
		(void)inet_pton(AF_INET, p->address, address.s6_addr + 12);
	else if (local->ss_family == AF_INET6) /* the one by which the iSNS server is reached */
		address = v6->sin6_addr;
	else
		memcpy(address.s6_addr + 12, &v4->sin_addr, 4);
	return address;
}

static void put_portal(struct isns_out *out, const struct iscsi_portal_state *p,
		       const struct sockaddr_storage *local)
{
	struct in6_addr address = portal_address(p, local);

	isns_put_address(out, ISNS_PORTAL_ADDRESS, address.s6_addr);
	isns_put_u32(out, ISNS_PORTAL_PORT, p->port); /* bit 16 clear: TCP */
}

/* Which group a portal is of: the server takes 1 where nothing is said. No tag: the target cannot
   be reached there (RFC 4171, 3.4). */
static void put_group(struct isns_out *out, const struct iscsi_portal_state *p,
		      const struct iscsi_target *t, const struct sockaddr_storage *local)
{
	struct in6_addr address = portal_address(p, local);
	bool there = !t->cfg.portal_group || t->cfg.portal_group == p->tag;

	if (there && p->tag == 1)
		return;
	isns_put_text(out, ISNS_GROUP_NAME, t->cfg.iqn);
	isns_put_address(out, ISNS_GROUP_ADDRESS, address.s6_addr);
	isns_put_u32(out, ISNS_GROUP_PORT, p->port);
	if (there)
		isns_put_u32(out, ISNS_GROUP_TAG, p->tag);
	else
		isns_put_null(out, ISNS_GROUP_TAG);
}

static void put_entity(struct iscsi_isns *s, struct isns_out *out)
{
	isns_put_text(out, ISNS_ISCSI_NAME, s->source);
	isns_put_text(out, ISNS_ENTITY_ID, s->entity);
	isns_put_delimiter(out);
	isns_put_text(out, ISNS_ENTITY_ID, s->entity);
	isns_put_u32(out, ISNS_ENTITY_PROTOCOL, ISNS_PROTOCOL_ISCSI);
	isns_put_u32(out, ISNS_REGISTRATION_PERIOD, PERIOD_SECONDS);
}

/* The whole entity; false: there is no target. */
static bool build(struct iscsi_isns *s, int fd, struct isns_out *out)
{
	struct iscsi_server *srv = s->o.server;
	struct sockaddr_storage local = {0};
	socklen_t len = sizeof(local);

	(void)getsockname(fd, (struct sockaddr *)&local, &len);
	pthread_mutex_lock(&srv->lock);
	if (srv->targets) {
		snprintf(s->source, sizeof(s->source), "%s", srv->targets->cfg.iqn);
		put_entity(s, out);
		for (size_t i = 0; i < srv->nportals; i++)
			put_portal(out, &srv->portals[i], &local);
	}
	for (const struct iscsi_target *t = srv->targets; t; t = t->next) {
		isns_put_text(out, ISNS_ISCSI_NAME, t->cfg.iqn);
		isns_put_u32(out, ISNS_NODE_TYPE, ISNS_NODE_TARGET);
		if (t->cfg.alias)
			isns_put_text(out, ISNS_ALIAS, t->cfg.alias);
	}
	for (const struct iscsi_target *t = srv->targets; t; t = t->next)
		for (size_t i = 0; i < srv->nportals; i++)
			put_group(out, &srv->portals[i], t, &local);
	pthread_mutex_unlock(&srv->lock);
	return out->len > 0;
}

static int exchange(struct iscsi_isns *s, int fd, uint16_t function, uint16_t flags, size_t len,
		    struct isns_response *r)
{
	int rc = send_message(s, fd, function, flags, len);

	return rc < 0 ? rc : take_response(s, fd, function, r);
}

static int deregister(struct iscsi_isns *s, int fd, struct isns_response *r)
{
	struct isns_out out = {.buf = s->payload, .size = PAYLOAD_MAX};
	int rc;

	isns_put_text(&out, ISNS_ISCSI_NAME, s->source);
	isns_put_delimiter(&out);
	isns_put_text(&out, ISNS_ENTITY_ID, s->entity);
	rc = exchange(s, fd, ISNS_DEV_DEREG, 0, out.len, r);
	if (rc == 0 && r->status == 0)
		s->source[0] = '\0';
	return rc;
}

/* Registers what there is in the place of what was registered before (RFC 4171, 5.6.5.1). */
static int renew(struct iscsi_isns *s, bool leave, struct isns_response *r)
{
	struct isns_out out = {.buf = s->payload, .size = PAYLOAD_MAX};
	int fd = dial(s), rc;

	if (fd < 0)
		return fd;
	if (!leave && build(s, fd, &out))
		rc = out.overflow ? VS_E_TOOBIG
				  : exchange(s, fd, ISNS_DEV_ATTR_REG, ISNS_REPLACE, out.len, r);
	else
		rc = s->source[0] ? deregister(s, fd, r) : 0;
	close(fd);
	return rc;
}

/* ---- the thread */

static void report(struct iscsi_isns *s, int rc, uint32_t status)
{
	bool failing = rc < 0 || status;
	char why[96];

	if (failing == s->failing)
		return;
	s->failing = failing;
	if (status)
		snprintf(why, sizeof(why), "the iSNS server refuses the targets: status %u",
			 (unsigned)status);
	else
		snprintf(why, sizeof(why), "%s",
			 failing ? "the iSNS server does not answer; it is tried again"
				 : "targets are registered with the iSNS server");
	s->o.event(s->o.event_arg, !failing, why);
}

/* Returns in how many seconds it is due again. */
static unsigned turn(struct iscsi_isns *s)
{
	struct isns_response r = {0};
	int rc = renew(s, false, &r);

	report(s, rc, r.status);
	if (rc < 0 || r.status)
		return RETRY_SECONDS;
	s->period = r.period ? VS_MIN(r.period, (uint32_t)PERIOD_SECONDS) : PERIOD_SECONDS;
	return VS_MAX(s->period / 3, 1u);
}

static void *run(void *arg)
{
	struct iscsi_isns *s = arg;
	struct isns_response r = {0};

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		struct timespec until;
		unsigned seconds;

		s->changed = false;
		pthread_mutex_unlock(&s->lock);
		seconds = turn(s);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += seconds;
		pthread_mutex_lock(&s->lock);
		while (!s->stop && !s->changed &&
		       pthread_cond_timedwait(&s->wake, &s->lock, &until) != ETIMEDOUT)
			;
	}
	pthread_mutex_unlock(&s->lock);
	if (!s->failing && s->source[0])
		(void)!renew(s, true, &r);
	return NULL;
}

static void free_isns(struct iscsi_isns *s)
{
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->wake);
	free(s->payload);
	free(s);
}

int iscsi_isns_start(const struct iscsi_isns_options *o, struct iscsi_isns **out,
		     struct vs_error *err)
{
	struct iscsi_isns *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	char host[64] = "node";

	if (!s)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	s->o = *o;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
	(void)gethostname(host, sizeof(host) - 1);
	snprintf(s->entity, sizeof(s->entity), "vstore:%s:%u", host,
		 iscsi_server_port(o->server, 0));
	s->payload = malloc(PAYLOAD_MAX);
	errno = s->payload ? pthread_create(&s->thread, NULL, run, s) : ENOMEM;
	if (errno) {
		free_isns(s);
		return vs_fail_errno(err, "cannot start the iSNS thread");
	}
	*out = s;
	return 0;
}

static void wake(struct iscsi_isns *s, bool stop)
{
	pthread_mutex_lock(&s->lock);
	s->changed = true;
	s->stop |= stop;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

void iscsi_isns_changed(struct iscsi_isns *s)
{
	wake(s, false);
}

void iscsi_isns_stop(struct iscsi_isns *s)
{
	if (!s)
		return;
	wake(s, true);
	pthread_join(s->thread, NULL);
	free_isns(s);
}
