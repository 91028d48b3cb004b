/*
 * What the server says to the lock managers and status monitors of clients of NFSv3, over the
 * network: that they have the lock that they waited for, and that it has restarted.
 */
#include "tests/unit/nlm_machine.h"

#include "targets/nfs/nlm_call.h"

#define SECOND 1000000u /* us */

/* ---- the server ---- */

struct kept {
	pthread_mutex_t lock;
	uint8_t bytes[NFS_KEPT_MAX];
	size_t len;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int save(void *arg, const uint8_t *bytes, size_t len, struct vs_error *err)
{
	(void)arg;
	(void)err;
	(void)pthread_mutex_lock(&kept.lock);
	memcpy(kept.bytes, bytes, len);
	kept.len = len;
	(void)pthread_mutex_unlock(&kept.lock);
	return 0;
}

static int load(void *arg, uint8_t *bytes, size_t max, size_t *len, struct vs_error *err)
{
	(void)arg;
	(void)err;
	assert_true(kept.len <= max);
	memcpy(bytes, kept.bytes, kept.len);
	*len = kept.len;
	return 0;
}

static struct machine *first, *second; /* 127.0.0.1, 127.0.0.4 */

static void restart_server(struct scene *s)
{
	nfs_server_stop(s->server);
	s->keeper = (struct nfs_keeper){.save = save, .load = load};
	s->peer_portmap = first->port;
	start_server(s, scene_key);
}

/* The same port on both addresses. */
static int setup(void **state)
{
	if (scene_setup(state))
		return 1;
	first = machine_new("127.0.0.1", 0);
	second = machine_new("127.0.0.4", first->port);
	restart_server(*state);
	return 0;
}

static int teardown(void **state)
{
	machine_free(first);
	machine_free(second);
	return scene_teardown(state);
}

static void granted(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1"),
		      *other = client_open(*state, "127.0.0.4");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "granted");
	struct ask mine = bytes(&file, "a", 1, true, 10, 10),
		   theirs = bytes(&file, "b", 2, true, 15, 0);

	theirs.block = true;
	assert_int_equal(ask(c, NFS_NLM_LOCK, &mine), NFS_NLM_OK);
	assert_int_equal(ask(other, NFS_NLM_LOCK, &theirs), NFS_NLM_BLOCKED);
	assert_int_equal(ask(c, NFS_NLM_UNLOCK, &mine), NFS_NLM_OK);
	wait_for(&second->granted, 1);
	assert_int_equal(atomic_load(&second->from), INADDR_LOOPBACK);
	(void)pthread_mutex_lock(&second->lock);
	assert_true(second->args.exclusive);
	assert_int_equal(second->args.lock.svid, 2);
	assert_true(second->args.lock.offset == 15 && second->args.lock.length == 0);
	assert_memory_equal(second->file, file.b, file.len);
	(void)pthread_mutex_unlock(&second->lock);
	assert_int_equal(ask(c, NFS_NLM_LOCK, &mine), NFS_NLM_DENIED);
	/* It waits no more, so that there is nothing to cancel. */
	(void)usleep(SECOND / 5);
	assert_int_equal(ask(other, NFS_NLM_CANCEL, &theirs), NFS_NLM_DENIED);
	assert_int_equal(ask(other, NFS_NLM_UNLOCK, &theirs), NFS_NLM_OK);
	client_close(other);
	client_close(c);
}

/* A client that does not want it: it is the next one's. */
static void unwanted(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1"),
		      *other = client_open(*state, "127.0.0.4");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "unwanted");
	struct ask mine = bytes(&file, "a", 1, true, 0, 0),
		   theirs = bytes(&file, "b", 2, true, 0, 0);
	unsigned before = atomic_load(&first->granted), there = atomic_load(&second->granted);

	theirs.block = true;
	assert_int_equal(ask(c, NFS_NLM_LOCK, &mine), NFS_NLM_OK);
	assert_int_equal(ask(other, NFS_NLM_LOCK, &theirs), NFS_NLM_BLOCKED);
	theirs.svid = 3;
	assert_int_equal(ask(other, NFS_NLM_LOCK, &theirs), NFS_NLM_BLOCKED);
	atomic_store(&second->refuse, 1);
	assert_int_equal(ask(c, NFS_NLM_UNLOCK, &mine), NFS_NLM_OK);
	wait_for(&second->granted, there + 2);
	assert_int_equal(second->args.lock.svid, 3);
	assert_int_equal(ask(other, NFS_NLM_UNLOCK, &theirs), NFS_NLM_OK);
	assert_int_equal(ask(c, NFS_NLM_LOCK, &mine), NFS_NLM_OK);
	assert_int_equal(ask(c, NFS_NLM_UNLOCK, &mine), NFS_NLM_OK);
	assert_int_equal(atomic_load(&first->granted), before);
	client_close(other);
	client_close(c);
}

/* A machine that does not answer holds nobody else up, and is told later. */
static void silent(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1"),
		      *other = client_open(*state, "127.0.0.4");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "silent");
	struct ask a = bytes(&file, "a", 1, true, 0, 1), b = bytes(&file, "b", 1, true, 1, 1);
	struct ask waits_a = bytes(&file, "c", 3, true, 0, 1),
		   waits_b = bytes(&file, "d", 4, true, 1, 1);
	unsigned there = atomic_load(&second->granted), here = atomic_load(&first->granted);

	waits_a.block = waits_b.block = true;
	assert_int_equal(ask(c, NFS_NLM_LOCK, &a), NFS_NLM_OK);
	assert_int_equal(ask(other, NFS_NLM_LOCK, &b), NFS_NLM_OK);
	assert_int_equal(ask(other, NFS_NLM_LOCK, &waits_a), NFS_NLM_BLOCKED);
	assert_int_equal(ask(c, NFS_NLM_LOCK, &waits_b), NFS_NLM_BLOCKED);
	atomic_store(&second->ignore, 1);
	assert_int_equal(ask(c, NFS_NLM_UNLOCK, &a), NFS_NLM_OK);
	(void)usleep(SECOND / 10);
	assert_int_equal(ask(other, NFS_NLM_UNLOCK, &b), NFS_NLM_OK);
	wait_for(&first->granted, here + 1);
	assert_int_equal(atomic_load(&second->granted), there);
	wait_for(&second->granted, there + 1);
	assert_int_equal(ask(c, NFS_NLM_UNLOCK, &waits_b), NFS_NLM_OK);
	assert_int_equal(ask(other, NFS_NLM_UNLOCK, &waits_a), NFS_NLM_OK);
	client_close(other);
	client_close(c);
}

/* ---- restarts ---- */

/* By datagram, as sm-notify does. */
static void notify_by_udp(const struct scene *s, const char *from, const char *name, uint32_t state)
{
	struct sockaddr_in local = {.sin_family = AF_INET},
			   to = {.sin_family = AF_INET, .sin_port = htons(s->port)};
	const struct nfs_rpc_call call = {
	    .xid = state, .prog = NFS_NSM_PROG, .vers = 1, .proc = NFS_NSM_NOTIFY};
	struct timeval patience = {5, 0};
	uint8_t buf[256];
	struct nfs_enc e = {buf, buf + sizeof(buf), false};
	struct nfs_dec d = {buf, NULL, false};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ssize_t n;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(inet_pton(AF_INET, from, &local.sin_addr), 1);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&local, sizeof(local)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	nfs_rpc_call_encode(&e, &call);
	nfs_enc_bytes(&e, name, (uint32_t)strlen(name));
	nfs_enc_u32(&e, state);
	assert_int_equal(send(fd, buf, (size_t)(e.p - buf), 0), e.p - buf);
	n = recv(fd, buf, sizeof(buf), 0);
	assert_true(n > 0);
	d.end = buf + n;
	assert_true(nfs_rpc_reply_decode(&d, state) && nfs_dec_ok(&d));
	(void)close(fd);
}

static void reconnect(struct scene *s, struct client *c, const char *from)
{
	(void)close(c->fd);
	client_connect(s, c, from);
}

static uint32_t lock_until(struct client *c, const struct ask *a, uint32_t not )
{
	uint32_t status = not ;

	for (unsigned i = 0; i < 20000 && status == not ; i++) {
		status = ask(c, NFS_NLM_LOCK, a);
		(void)usleep(1000);
	}
	return status;
}

static void server_restarts(void **state)
{
	struct scene *s = *state;
	struct client *c = client_open(s, "127.0.0.1"), *other = client_open(s, "127.0.0.4");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "restart");
	struct ask a = bytes(&file, "a", 1, true, 0, 1), b = bytes(&file, "b", 1, true, 1, 1),
		   claim = b, steal = bytes(&file, "a", 2, true, 1, 1);
	unsigned before, there;
	uint32_t last;

	restart_server(s); /* nobody has locks since a while, as far as is remembered */
	reconnect(s, c, "127.0.0.1");
	reconnect(s, other, "127.0.0.4");
	claim.reclaim = true;
	/* Whoever had locks in the tests before may still be remembered. */
	notify_by_udp(s, "127.0.0.1", "a", 3);
	notify_by_udp(s, "127.0.0.4", "a", 3);
	assert_int_equal(lock_until(other, &b, NFS_NLM_DENIED_GRACE_PERIOD), NFS_NLM_OK);
	assert_int_equal(ask(other, NFS_NLM_LOCK, &claim), NFS_NLM_DENIED); /* there is no grace */
	for (unsigned round = 0; round < 2; round++) {
		before = atomic_load(&first->notified);
		there = atomic_load(&second->notified);
		last = atomic_load(&second->state);
		restart_server(s);
		reconnect(s, c, "127.0.0.1");
		reconnect(s, other, "127.0.0.4");
		wait_for(&second->notified, there + 1);
		assert_true(atomic_load(&second->state) != last);
		assert_int_equal(atomic_load(&second->state) & 1, 1);
		assert_int_equal(atomic_load(&second->from), INADDR_LOOPBACK);
		assert_int_equal(ask(c, NFS_NLM_LOCK, &a), NFS_NLM_DENIED_GRACE_PERIOD);
		steal.reclaim = true;
		assert_int_equal(ask(c, NFS_NLM_LOCK, &steal), NFS_NLM_DENIED); /* had none */
		assert_int_equal(ask(other, NFS_NLM_LOCK, &claim), NFS_NLM_OK);
		assert_int_equal(atomic_load(&first->notified), before);
	}
	/* It restarts too while it is waited for. */
	there = atomic_load(&second->notified);
	restart_server(s);
	reconnect(s, c, "127.0.0.1");
	wait_for(&second->notified, there + 1);
	steal.reclaim = false;
	assert_int_equal(ask(c, NFS_NLM_LOCK, &steal), NFS_NLM_DENIED_GRACE_PERIOD);
	notify_by_udp(s, "127.0.0.1", "b", 3); /* not its address */
	assert_int_equal(ask(c, NFS_NLM_LOCK, &steal), NFS_NLM_DENIED_GRACE_PERIOD);
	notify_by_udp(s, "127.0.0.4", "b", 3);
	assert_int_equal(lock_until(c, &steal, NFS_NLM_DENIED_GRACE_PERIOD), NFS_NLM_OK);
	client_close(other);
	client_close(c);
}

static void client_restarts(void **state)
{
	struct scene *s = *state;
	struct client *c = client_open(s, "127.0.0.1"), *other = client_open(s, "127.0.0.4");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "client");
	struct ask a = bytes(&file, "a", 1, true, 0, 1), look = bytes(&file, "b", 1, true, 0, 1);

	assert_int_equal(ask(c, NFS_NLM_LOCK, &a), NFS_NLM_OK);
	notify_by_udp(s, "127.0.0.4", "a", 3);
	notify_by_udp(s, "127.0.0.1", "a", 1); /* late: of the state that it locked in */
	assert_int_equal(ask(other, NFS_NLM_TEST, &look), NFS_NLM_DENIED);
	notify_by_udp(s, "127.0.0.1", "a.example", 3);
	assert_int_equal(ask(other, NFS_NLM_TEST, &look), NFS_NLM_OK);
	client_close(other);
	client_close(c);
}

/* ---- one call ---- */

struct outcome {
	unsigned calls;
	enum nfs_nlm_called how;
	size_t left;
};

static void call_done(struct nfs_nlm_call *c, enum nfs_nlm_called how, struct nfs_dec *d)
{
	struct outcome *o = c->arg;

	o->calls++;
	o->how = how;
	o->left = d ? nfs_dec_left(d) : 0;
}

static struct outcome make_call(const char *client, uint16_t portmapper)
{
	struct outcome o = {0};
	uint8_t args[64];
	struct nfs_enc e = {args, args + sizeof(args), false};
	struct nfs_nlm_call c = {.client = parsed(client),
				 .server = parsed(strchr(client, ':') ? "::1" : "127.0.0.1"),
				 .portmapper = portmapper,
				 .prog = NFS_NSM_PROG,
				 .vers = 1,
				 .proc = NFS_NSM_NOTIFY,
				 .args = args,
				 .done = call_done,
				 .arg = &o};
	struct vs_error err = {0};

	nfs_nsm_notify_encode(&e, (struct nfs_bytes){(const uint8_t *)"127.0.0.1", 9}, 11);
	c.args_len = (uint32_t)(e.p - args);
	assert_int_equal(vs_loop_new(&c.loop, &err), 0);
	nfs_nlm_call_start(&c);
	assert_int_equal(o.calls, 0);
	while (!o.calls)
		vs_loop_turn(c.loop, -1);
	vs_loop_free(c.loop);
	assert_int_equal(o.calls, 1);
	return o;
}

static void one_call(void **state)
{
	struct machine *m = machine_new("::1", 0);
	uint16_t port = m->port;

	(void)state;
	assert_int_equal(make_call("::1", port).how, NFS_NLM_CALL_ANSWERED);
	assert_int_equal(atomic_load(&m->state), 11);
	machine_free(m);
	assert_int_equal(make_call("::1", port).how, NFS_NLM_CALL_NOT_MADE); /* nobody there */
	assert_int_equal(make_call("127.0.0.1", first->port).how, NFS_NLM_CALL_ANSWERED);
	atomic_store(&first->hang_up, 1); /* it has got the call, and says nothing */
	assert_int_equal(make_call("127.0.0.1", first->port).how, NFS_NLM_CALL_SILENT);
	atomic_store(&first->reject, 1);
	assert_int_equal(make_call("127.0.0.1", first->port).how, NFS_NLM_CALL_NOT_MADE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(granted),	       cmocka_unit_test(unwanted),
	    cmocka_unit_test(silent),	       cmocka_unit_test(client_restarts),
	    cmocka_unit_test(server_restarts), cmocka_unit_test(one_call),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
