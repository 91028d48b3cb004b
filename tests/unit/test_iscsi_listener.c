/* Connections beyond the limit: the listener pauses, goes on, and stops, on a real server. */
#include "targets/iscsi/internal.h"
#include "targets/iscsi/control.h"
#include "targets/iscsi/server.h"

#include "blockstore/store.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define CLIENTS 4

struct scene {
	char folder[32], path[48];
	struct bs_store *store;
	struct iscsi_server *server;
	struct vs_post hold; /* keeps the thread that closes connections busy */
	sem_t held, release;
	int clients[CLIENTS];
};

static int setup(void **state)
{
	const struct iscsi_portal portal = {.tag = 1, .address = "127.0.0.1"};
	struct scene *s = calloc(1, sizeof(*s));
	const struct bs_init_options init = {.segment_size = 1 << 20};
	const struct bs_open_options open = {.memory = UINT64_C(256) << 20};
	struct bs_device *dev;
	struct vs_error err = {0};

	snprintf(s->folder, sizeof(s->folder), "/var/tmp/listener-XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(s->path, sizeof(s->path), "%s/store.img", s->folder);
	if (bs_device_open(s->path, BS_DEVICE_CREATE, UINT64_C(96) << 20, &dev, &err) ||
	    bs_store_init(dev, &init, &err) || bs_store_open(dev, &open, &s->store, &err))
		fail_msg("%s", err.text);
	if (iscsi_server_start(&(struct iscsi_server_options){.store = s->store,
							      .portals = &portal,
							      .nportals = 1,
							      .threads = 1,
							      .max_connections = 1},
			       &s->server, &err))
		fail_msg("%s", err.text);
	sem_init(&s->held, 0, 0);
	sem_init(&s->release, 0, 0);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;
	struct vs_error err = {0};

	if (s->server)
		iscsi_server_stop(s->server);
	for (unsigned i = 0; i < CLIENTS; i++)
		close(s->clients[i]);
	if (bs_store_close(s->store, &err))
		fail_msg("%s", err.text);
	unlink(s->path);
	rmdir(s->folder);
	sem_destroy(&s->held);
	sem_destroy(&s->release);
	free(s);
	return 0;
}

static void hold(struct vs_post *p)
{
	struct scene *s = p->arg;

	sem_post(&s->held);
	sem_wait(&s->release);
}

/* Nobody says anything, so each that comes sends an older one away, which cannot go yet. */
static void crowd(struct scene *s)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(iscsi_server_port(s->server, 0)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	s->hold = (struct vs_post){.call = hold, .arg = s};
	vs_loop_post(s->server->threads[0].loop, &s->hold);
	sem_wait(&s->held);
	for (unsigned i = 0; i < CLIENTS; i++) {
		s->clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(s->clients[i], (struct sockaddr *)&to, sizeof(to)), 0);
	}
}

struct seen {
	struct iscsi_ctl_call call;
	unsigned connections;
	bool paused, stopping;
};

static bool look(struct iscsi_ctl_call *call)
{
	struct seen *seen = call->arg;

	seen->connections = call->srv->nconns;
	seen->paused = call->srv->portals[0].paused;
	seen->stopping = call->srv->stopping;
	return true;
}

static struct seen now(struct scene *s)
{
	struct seen seen = {.call = {.srv = s->server, .run = look}};

	seen.call.arg = &seen;
	(void)iscsi_control_call(&seen.call);
	return seen;
}

static void wait_paused(struct scene *s)
{
	struct seen seen;

	while (!(seen = now(s)).paused)
		usleep(1000);
	assert_int_equal(seen.connections, 2);
}

/* When those that had to go have gone, those that waited come in; the last one stays. */
static void test_goes_on(void **state)
{
	struct scene *s = *state;
	char byte;

	crowd(s);
	wait_paused(s);
	sem_post(&s->release);
	for (unsigned i = 0; i + 1 < CLIENTS; i++)
		assert_true(recv(s->clients[i], &byte, 1, 0) <= 0);
	while (now(s).connections != 1)
		usleep(1000);
	assert_false(now(s).paused);
	assert_int_equal(recv(s->clients[CLIENTS - 1], &byte, 1, MSG_DONTWAIT), -1);
}

static void *stop(void *arg)
{
	struct scene *s = arg;

	iscsi_server_stop(s->server);
	return NULL;
}

/* A paused listener does not keep the server from stopping. */
static void test_stops(void **state)
{
	struct scene *s = *state;
	pthread_t thread;

	crowd(s);
	wait_paused(s);
	assert_int_equal(pthread_create(&thread, NULL, stop, s), 0);
	while (!now(s).stopping) /* it cannot end before that thread is let go */
		usleep(1000);
	sem_post(&s->release);
	pthread_join(thread, NULL);
	s->server = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_goes_on, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_stops, setup, teardown),
	};

	alarm(300); /* a bound on waiting, not a verdict on speed */
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
