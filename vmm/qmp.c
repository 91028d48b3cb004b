#include "vmm/qmp.h"

#include "common/log.h"
#include "vmm/qmp_format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define GREETING_TIMEOUT_NS UINT64_C(60000000000)

struct pending {
	bool used;
	uint64_t id;
	struct vs_timer timer;
	struct vm_qmp_conn *conn;
	vm_qmp_answer answer;
	void *arg;
};

struct vm_qmp_conn {
	struct vs_loop *loop;
	struct vs_watch watch;
	struct vm_qmp_handlers h;
	bool greeted, dead;
	uint64_t next_id;
	char *rx, *tx;
	size_t rx_len, rx_cap, rx_seen, tx_len;
	struct pending pending[VM_QMP_PENDING_MAX];
	struct vs_timer greeting;
};

static void answer_all(struct vm_qmp_conn *c, const char *why)
{
	for (unsigned i = 0; i < VM_QMP_PENDING_MAX; i++) {
		struct pending *p = &c->pending[i];

		if (!p->used)
			continue;
		vs_loop_cancel(c->loop, &p->timer);
		p->used = false;
		p->answer(p->arg, VS_E_CLOSED, NULL, why);
	}
}

static void fail(struct vm_qmp_conn *c, const char *why)
{
	if (c->dead)
		return;
	c->dead = true;
	vs_loop_cancel(c->loop, &c->greeting);
	vs_loop_remove(c->loop, &c->watch);
	answer_all(c, why);
	c->h.closed(c->h.arg, why);
}

static void flush_tx(struct vm_qmp_conn *c)
{
	while (c->tx_len > 0) {
		ssize_t n = send(c->watch.fd, c->tx, c->tx_len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break; /* a broken connection shows when reading */
		c->tx_len -= (size_t)n;
		memmove(c->tx, c->tx + n, c->tx_len);
	}
	if (vs_loop_modify(c->loop, &c->watch, c->tx_len ? EPOLLIN | EPOLLOUT : EPOLLIN) != 0)
		vs_warn("cannot poll a QMP connection");
}

static int queue_tx(struct vm_qmp_conn *c, const char *line)
{
	size_t len = strlen(line);
	char *grown;

	if (c->tx_len + len > VM_QMP_UNSENT_MAX)
		return VS_E_LIMIT;
	grown = realloc(c->tx, c->tx_len + len);
	if (!grown)
		return VS_E_NOMEM;
	c->tx = grown;
	memcpy(c->tx + c->tx_len, line, len);
	c->tx_len += len;
	flush_tx(c);
	return 0;
}

static void timed_out(struct vs_timer *t)
{
	struct pending *p = t->arg;

	p->used = false;
	p->answer(p->arg, VS_E_TIMEDOUT, NULL, "QEMU does not answer");
}

int vm_qmp_send(struct vm_qmp_conn *c, const char *command, const json_t *arguments,
		uint64_t timeout_ns, vm_qmp_answer answer, void *arg)
{
	struct pending *p = NULL;
	char *line;
	int rc;

	if (c->dead)
		return VS_E_CLOSED;
	for (unsigned i = 0; i < VM_QMP_PENDING_MAX && !p; i++)
		if (!c->pending[i].used)
			p = &c->pending[i];
	if (!p)
		return VS_E_LIMIT;
	line = vm_qmp_encode(command, arguments, c->next_id);
	if (!line)
		return VS_E_NOMEM;
	*p = (struct pending){.id = c->next_id,
			      .conn = c,
			      .answer = answer,
			      .arg = arg,
			      .timer = {.fired = timed_out, .arg = p}};
	rc = vs_loop_timer(c->loop, &p->timer, timeout_ns);
	if (!rc) {
		rc = queue_tx(c, line);
		if (rc)
			vs_loop_cancel(c->loop, &p->timer);
	}
	free(line);
	if (rc)
		return rc;
	p->used = true;
	c->next_id++;
	return 0;
}

static void negotiated(void *arg, int rc, const json_t *value, const char *text)
{
	struct vm_qmp_conn *c = arg;

	(void)value;
	if (rc == VS_E_CLOSED)
		return;
	vs_loop_cancel(c->loop, &c->greeting);
	if (rc)
		fail(c, text);
	else
		c->h.ready(c->h.arg);
}

static void answered(struct vm_qmp_conn *c, const struct vm_qmp_message *m)
{
	for (unsigned i = 0; i < VM_QMP_PENDING_MAX; i++) {
		struct pending *p = &c->pending[i];

		if (!p->used || !m->has_id || p->id != m->id)
			continue;
		vs_loop_cancel(c->loop, &p->timer);
		p->used = false;
		if (m->kind == VM_QMP_RETURN)
			p->answer(p->arg, 0, m->data, NULL);
		else
			p->answer(p->arg, VS_E_IO, NULL, m->text);
		return;
	}
	vs_debug("QMP: an answer that nobody waits for");
}

static void got_line(struct vm_qmp_conn *c, const char *line, size_t len)
{
	struct vm_qmp_message m;

	if (vm_qmp_decode(line, len, &m) != 0) {
		fail(c, "QEMU sent something that is not QMP");
		return;
	}
	switch (m.kind) {
	case VM_QMP_GREETING:
		if (c->greeted ||
		    vm_qmp_send(c, "qmp_capabilities", NULL, GREETING_TIMEOUT_NS, negotiated, c))
			fail(c, "cannot negotiate with QEMU");
		c->greeted = true;
		break;
	case VM_QMP_RETURN:
	case VM_QMP_ERROR:
		answered(c, &m);
		break;
	case VM_QMP_EVENT:
		c->h.event(c->h.arg, m.name, m.data);
		break;
	}
	vm_qmp_message_free(&m);
}

static void split_lines(struct vm_qmp_conn *c)
{
	size_t start = 0;

	while (!c->dead) {
		char *end = memchr(c->rx + c->rx_seen, '\n', c->rx_len - c->rx_seen);

		if (!end) {
			c->rx_seen = c->rx_len;
			break;
		}
		c->rx_seen = (size_t)(end - c->rx) + 1;
		if (c->rx_seen - 1 > start)
			got_line(c, c->rx + start, c->rx_seen - 1 - start);
		start = c->rx_seen;
	}
	memmove(c->rx, c->rx + start, c->rx_len - start);
	c->rx_len -= start;
	c->rx_seen -= start;
}

static void readable(struct vm_qmp_conn *c)
{
	ssize_t n;

	if (c->rx_len == c->rx_cap) {
		size_t cap = c->rx_cap ? c->rx_cap * 2 : 8192;
		char *grown = cap <= VM_QMP_LINE_MAX ? realloc(c->rx, cap) : NULL;

		if (!grown) {
			fail(c, "an answer of QEMU is too long");
			return;
		}
		c->rx = grown;
		c->rx_cap = cap;
	}
	n = recv(c->watch.fd, c->rx + c->rx_len, c->rx_cap - c->rx_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fail(c, "QEMU closed the connection");
		return;
	}
	c->rx_len += (size_t)n;
	split_lines(c);
}

static void ready(struct vs_watch *w, uint32_t events)
{
	struct vm_qmp_conn *c = w->arg;

	if (events & EPOLLOUT)
		flush_tx(c);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		readable(c);
}

static void no_greeting(struct vs_timer *t)
{
	fail(t->arg, "QEMU does not greet");
}

int vm_qmp_open(struct vs_loop *loop, const char *path, const struct vm_qmp_handlers *handlers,
		struct vm_qmp_conn **out, struct vs_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct vm_qmp_conn *c;
	int rc;

	if (strlen(path) >= sizeof(addr.sun_path))
		return vs_fail(err, VS_E_INVAL, "socket path %s is too long", path);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	c = calloc(1, sizeof(*c));
	if (!c)
		return vs_fail(err, VS_E_NOMEM, "cannot connect to QEMU: out of memory");
	c->loop = loop;
	c->h = *handlers;
	c->next_id = 1;
	c->greeting = (struct vs_timer){.fired = no_greeting, .arg = c};
	c->watch = (struct vs_watch){.ready = ready, .arg = c};
	c->watch.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->watch.fd < 0 || connect(c->watch.fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		bool none = errno == ENOENT || errno == ECONNREFUSED;

		(void)vs_fail_errno(err, "cannot connect to QEMU at %s", path);
		rc = none ? VS_E_NOENT : VS_E_IO;
		goto fail;
	}
	rc = vs_loop_add(loop, &c->watch, EPOLLIN);
	if (!rc)
		rc = vs_loop_timer(loop, &c->greeting, GREETING_TIMEOUT_NS);
	if (rc) {
		(void)vs_fail(err, rc, "cannot poll QEMU's socket");
		goto fail;
	}
	*out = c;
	return 0;
fail:
	vm_qmp_close(c);
	return rc;
}

void vm_qmp_close(struct vm_qmp_conn *c)
{
	if (!c)
		return;
	c->dead = true;
	vs_loop_cancel(c->loop, &c->greeting);
	answer_all(c, "the connection is closed");
	vs_loop_remove(c->loop, &c->watch);
	if (c->watch.fd >= 0)
		close(c->watch.fd);
	free(c->rx);
	free(c->tx);
	free(c);
}
