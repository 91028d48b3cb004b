/* The QMP client against a peer that answers late, in pieces, wrongly or not at all. */
#include "vmm/qmp.h"
#include "vmm/qmp_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#define SECOND UINT64_C(1000000000)
#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define TURNS 6000

struct fixture {
	struct vs_loop *loop;
	char dir[32], path[64];
	int listener, peer;
	struct vm_qmp_conn *conn;
	unsigned ready, closed, events, answers;
	char event[32], text[64], why[64];
	int rc;
	json_int_t value;
};

static void on_ready(void *arg)
{
	((struct fixture *)arg)->ready++;
}

static void on_event(void *arg, const char *name, const json_t *data)
{
	struct fixture *f = arg;

	f->events++;
	snprintf(f->event, sizeof(f->event), "%s", name);
	f->value = json_integer_value(json_object_get(data, "n"));
}

static void on_closed(void *arg, const char *why)
{
	struct fixture *f = arg;

	f->closed++;
	snprintf(f->why, sizeof(f->why), "%s", why);
}

static void on_answer(void *arg, int rc, const json_t *value, const char *text)
{
	struct fixture *f = arg;

	f->answers++;
	f->rc = rc;
	f->value = json_integer_value(json_object_get(value, "n"));
	snprintf(f->text, sizeof(f->text), "%s", text ? text : "");
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const struct vm_qmp_handlers h = {on_ready, on_event, on_closed, f};

	snprintf(f->dir, sizeof(f->dir), "/tmp/qmp-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/qmp", f->dir);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", f->path);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(f->listener, (struct sockaddr *)&a, sizeof(a)) || listen(f->listener, 1) ||
	    vs_loop_new(&f->loop, NULL) || vm_qmp_open(f->loop, f->path, &h, &f->conn, NULL))
		return -1;
	f->peer = accept(f->listener, NULL, NULL);
	*state = f;
	return f->peer < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vm_qmp_close(f->conn);
	vs_loop_free(f->loop);
	close(f->peer);
	close(f->listener);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(send(f->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Turns the loop until *counter is not zero. */
static void until(struct fixture *f, const unsigned *counter)
{
	for (unsigned i = 0; i < TURNS && *counter == 0; i++)
		vs_loop_turn(f->loop, 10);
	assert_int_not_equal(*counter, 0);
}

/* What the client sent, one line. */
static uint64_t heard(struct fixture *f, const char *command)
{
	char buf[4096];
	ssize_t n = recv(f->peer, buf, sizeof(buf), 0);
	json_t *json;
	uint64_t id;

	assert_true(n > 0 && buf[n - 1] == '\n');
	json = json_loadb(buf, (size_t)n, 0, NULL);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "execute")), command);
	id = (uint64_t)json_integer_value(json_object_get(json, "id"));
	json_decref(json);
	return id;
}

static void negotiate(struct fixture *f)
{
	char line[64];
	uint64_t id;

	say(f, GREETING);
	vs_loop_turn(f->loop, 1000);
	id = heard(f, "qmp_capabilities");
	assert_int_equal(f->ready, 0);
	snprintf(line, sizeof(line), "{\"return\": {}, \"id\": %llu}\r\n", (unsigned long long)id);
	say(f, line);
	until(f, &f->ready);
}

static void answers_find_their_command(void **state)
{
	struct fixture *f = *state;
	uint64_t first, second;
	char line[256];

	negotiate(f);
	assert_int_equal(vm_qmp_send(f->conn, "one", NULL, SECOND, on_answer, f), 0);
	first = heard(f, "one");
	assert_int_equal(vm_qmp_send(f->conn, "two", NULL, 60 * SECOND, on_answer, f), 0);
	second = heard(f, "two");
	/* out of order, an event between them, one line in two pieces */
	snprintf(line, sizeof(line),
		 "{\"return\": {\"n\": 2}, \"id\": %llu}\r\n{\"event\": \"STOP\", \"data\": "
		 "{\"n\": 7}}\r\n{\"error\": {\"class\": \"X\", ",
		 (unsigned long long)second);
	say(f, line);
	until(f, &f->answers);
	assert_int_equal(f->rc, 0);
	until(f, &f->events);
	assert_string_equal(f->event, "STOP");
	assert_int_equal(f->value, 7);
	assert_int_equal(f->answers, 1);
	f->answers = 0;
	snprintf(line, sizeof(line), "\"desc\": \"no such thing\"}, \"id\": %llu}\r\n",
		 (unsigned long long)first);
	say(f, line);
	until(f, &f->answers);
	assert_int_equal(f->rc, VS_E_IO);
	assert_string_equal(f->text, "no such thing");
	assert_int_equal(f->closed, 0);
}

static void silence_times_out(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	assert_int_equal(vm_qmp_send(f->conn, "x", NULL, 1, on_answer, f), 0);
	until(f, &f->answers);
	assert_int_equal(f->rc, VS_E_TIMEDOUT);
	/* the answer that comes late is for nobody */
	say(f, "{\"return\": {}, \"id\": 2}\r\n{\"event\": \"E\"}\r\n");
	until(f, &f->events);
	assert_int_equal(f->answers, 1);
}

static void an_end_answers_all(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	assert_int_equal(vm_qmp_send(f->conn, "x", NULL, 60 * SECOND, on_answer, f), 0);
	assert_int_equal(vm_qmp_send(f->conn, "y", NULL, 60 * SECOND, on_answer, f), 0);
	shutdown(f->peer, SHUT_RDWR);
	until(f, &f->closed);
	assert_int_equal(f->answers, 2);
	assert_int_equal(f->rc, VS_E_CLOSED);
	assert_int_equal(vm_qmp_send(f->conn, "z", NULL, SECOND, on_answer, f), VS_E_CLOSED);
}

static void too_many_commands(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	for (unsigned i = 0; i < VM_QMP_PENDING_MAX; i++)
		assert_int_equal(vm_qmp_send(f->conn, "x", NULL, 60 * SECOND, on_answer, f), 0);
	assert_int_equal(vm_qmp_send(f->conn, "x", NULL, SECOND, on_answer, f), VS_E_LIMIT);
}

static void garbage_closes(void **state)
{
	struct fixture *f = *state;

	say(f, "hello, world\n");
	until(f, &f->closed);
	assert_string_equal(f->why, "QEMU sent something that is not QMP");
}

static void an_endless_line_closes(void **state)
{
	struct fixture *f = *state;
	static char spaces[65536];

	memset(spaces, ' ', sizeof(spaces));
	for (unsigned i = 0; i <= VM_QMP_LINE_MAX / sizeof(spaces) + 1 && !f->closed; i++) {
		(void)!send(f->peer, spaces, sizeof(spaces), MSG_NOSIGNAL | MSG_DONTWAIT);
		for (unsigned k = 0; k < 64 && !f->closed; k++)
			vs_loop_turn(f->loop, 0);
	}
	until(f, &f->closed);
	assert_string_equal(f->why, "an answer of QEMU is too long");
}

static void a_second_greeting_closes(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	say(f, GREETING);
	until(f, &f->closed);
}

static void messages(void **state)
{
	static const char *const bad[] = {"",
					  "1",
					  "[]",
					  "{}",
					  "{\"event\": 1}",
					  "{\"error\": 1}",
					  "{\"event\": \"A\"",
					  "{\"QMP\": 1}",
					  "{\"return\": 1, \"return\": 2}"};
	struct vm_qmp_message m;
	char *line;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(vm_qmp_decode(bad[i], strlen(bad[i]), &m), VS_E_PROTO);
	assert_int_equal(vm_qmp_decode("{\"error\": {}, \"id\": -3}", 24, &m), VS_E_PROTO);
	assert_int_equal(vm_qmp_decode("{\"error\": {}, \"id\": -3}", 23, &m), 0);
	assert_false(m.has_id);
	assert_string_equal(m.name, "GenericError");
	vm_qmp_message_free(&m);
	line = vm_qmp_encode("device_del", NULL, 5);
	assert_string_equal(line, "{\"execute\":\"device_del\",\"id\":5}\n");
	free(line);
}

static void nobody_listens(void **state)
{
	struct fixture *f = *state;
	const struct vm_qmp_handlers h = {on_ready, on_event, on_closed, f};
	struct vm_qmp_conn *c;

	assert_int_equal(vm_qmp_open(f->loop, "/tmp/there-is-no-such-socket", &h, &c, NULL),
			 VS_E_NOENT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(answers_find_their_command), T(silence_times_out), T(an_end_answers_all),
	    T(too_many_commands),	   T(garbage_closes),	 T(an_endless_line_closes),
	    T(a_second_greeting_closes),   T(nobody_listens),	 cmocka_unit_test(messages),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("vm_qmp", tests, NULL, NULL);
}
