#include "targets/iscsi/internal.h"

#include "common/bytes.h"
#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOGIN_NS (15 * UINT64_C(1000000000))
#define LOG_BURST 10
#define TICK_NS (25 * UINT64_C(1000000000)) /* silent for 50 s: asked; for 75 s: gone */
#define POOL_LEN ((size_t)ISCSI_SLOTS * ISCSI_OWN_BUF + (size_t)ISCSI_CHUNKS * ISCSI_CHUNK)
#define TEXT_LEN VS_ALIGN_UP(ISCSI_MSG_DATA + 1, 4096)
#define SMALL_LEN (ISCSI_RX_BUF + ISCSI_MSGS * ISCSI_MSG_DATA + TEXT_LEN + ISCSI_ANSWER_MAX)

static void *map_memory(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct iscsi_conn *iscsi_conn_new(struct iscsi_thread *t, struct iscsi_portal_state *portal, int fd)
{
	struct iscsi_conn *c = calloc(1, sizeof(*c));
	uint8_t *mem = map_memory(SMALL_LEN);

	if (!c || !mem) {
		free(c);
		if (mem)
			munmap(mem, SMALL_LEN);
		return NULL;
	}
	c->srv = t->srv;
	c->thread = t;
	c->portal = portal;
	c->watch.fd = fd;
	c->to_io = (struct vs_post){.call = iscsi_conn_wanted, .arg = c};
	c->to_ctl = (struct vs_post){.call = iscsi_control_told, .arg = c};
	c->text_ttt = ISCSI_NO_TAG;
	c->stat_sn = 1;
	c->rx.hdr_need = ISCSI_BHS_LEN;
	c->rx.buf = mem;
	c->msg_data = mem + ISCSI_RX_BUF;
	c->text = (char *)c->msg_data + ISCSI_MSGS * ISCSI_MSG_DATA;
	c->answer = c->text + TEXT_LEN;
	for (int i = 0; i < ISCSI_MSGS; i++) {
		c->msgs[i].data = c->msg_data + (size_t)i * ISCSI_MSG_DATA;
		c->msgs[i].next = c->free_msgs;
		c->free_msgs = &c->msgs[i];
	}
	iscsi_login_init(&c->login, portal->tag);
	c->login.lookup = iscsi_target_lookup;
	c->login.arg = c;
	return c;
}

void iscsi_conn_free(struct iscsi_conn *c)
{
	if (c->watch.fd >= 0)
		close(c->watch.fd);
	if (c->pool)
		munmap(c->pool, POOL_LEN);
	munmap(c->rx.buf, SMALL_LEN);
	free(c->tasks);
	free(c->chunks);
	free(c);
}

int iscsi_conn_open_pools(struct iscsi_conn *c)
{
	c->pool = map_memory(POOL_LEN);
	c->tasks = calloc(ISCSI_SLOTS, sizeof(*c->tasks));
	c->chunks = calloc(ISCSI_CHUNKS, sizeof(*c->chunks));
	if (!c->pool || !c->tasks || !c->chunks)
		return VS_E_NOMEM;
	for (unsigned i = ISCSI_SLOTS; i-- > 0;) {
		struct iscsi_task *t = &c->tasks[i];

		t->conn = c;
		t->own.task = t;
		t->own.buf = c->pool + (size_t)i * ISCSI_OWN_BUF;
		t->next = c->free_tasks;
		c->free_tasks = t;
	}
	for (unsigned i = ISCSI_CHUNKS; i-- > 0;) {
		struct iscsi_piece *p = &c->chunks[i];

		p->buf = c->pool + (size_t)ISCSI_SLOTS * ISCSI_OWN_BUF + (size_t)i * ISCSI_CHUNK;
		p->next = c->free_chunks;
		c->free_chunks = p;
	}
	return 0;
}

struct iscsi_msg *iscsi_conn_msg(struct iscsi_conn *c)
{
	struct iscsi_msg *m = c->free_msgs;

	if (!m)
		return NULL;
	c->free_msgs = m->next;
	m->len = 0;
	m->takes_stat_sn = true;
	m->out = (struct iscsi_out){.kind = ISCSI_OUT_MSG, .owner = m};
	return m;
}

void iscsi_conn_send_msg(struct iscsi_conn *c, struct iscsi_msg *m)
{
	iscsi_data_len_encode(m->bhs, m->len);
	iscsi_tx_queue(c, &m->out);
}

void iscsi_conn_put_msg(struct iscsi_conn *c, struct iscsi_msg *m)
{
	m->next = c->free_msgs;
	c->free_msgs = m;
	if (c->rx.paused)
		iscsi_conn_dirty(c);
}

void iscsi_conn_dirty(struct iscsi_conn *c)
{
	if (c->dirty || c->gone)
		return;
	c->dirty = true;
	c->dirty_next = c->thread->dirty;
	c->thread->dirty = c;
}

bool iscsi_conn_flush_dirty(struct vs_idle *i)
{
	struct iscsi_thread *t = i->arg;
	struct iscsi_conn *c = t->dirty, *next;

	t->dirty = NULL;
	for (; c; c = next) {
		next = c->dirty_next;
		c->dirty = false;
		if (c->state == ISCSI_CONN_DEAD) {
			iscsi_conn_drained(c);
			continue;
		}
		iscsi_rx_resume(c);
		iscsi_flow_run_held(c);
		iscsi_task_run_waiters(c);
		if (c->state == ISCSI_CONN_DEAD)
			continue;
		iscsi_session_tell_window(c);
		iscsi_tx_flush(c);
	}
	return t->dirty != NULL;
}

static void ready(struct vs_watch *w, uint32_t events)
{
	struct iscsi_conn *c = w->arg;

	if (events & EPOLLERR || (events & EPOLLHUP && c->rx.paused)) {
		iscsi_conn_close(c, NULL);
		return;
	}
	if (events & EPOLLOUT && c->tx.blocked) {
		c->tx.blocked = false;
		if (vs_loop_modify(c->thread->loop, &c->watch, c->rx.paused ? 0 : EPOLLIN) < 0) {
			iscsi_conn_close(c, "cannot watch the socket");
			return;
		}
		iscsi_conn_dirty(c);
	}
	if (events & (EPOLLIN | EPOLLHUP))
		iscsi_rx_ready(c);
}

static void tick(struct vs_timer *timer)
{
	struct iscsi_conn *c = timer->arg;

	if (c->in_line) {
		if (vs_loop_timer(c->thread->loop, &c->timer, LOGIN_NS) < 0)
			iscsi_conn_close(c, "no timer");
		else
			iscsi_handshake_turn(c);
		return;
	}
	if (c->state != ISCSI_CONN_FULL && c->state != ISCSI_CONN_ATTACHING) {
		iscsi_conn_close(c, "login took too long");
		return;
	}
	if (c->state == ISCSI_CONN_FULL && !c->heard) {
		if (c->nop_out) {
			iscsi_conn_close(c, "initiator does not answer");
			return;
		}
		if (c->pool && !c->used_first) /* idle: give the buffers' memory back */
			(void)madvise(c->pool, POOL_LEN, MADV_DONTNEED);
		iscsi_session_ping(c);
	}
	c->heard = false;
	if (vs_loop_timer(c->thread->loop, &c->timer, TICK_NS) < 0)
		iscsi_conn_close(c, "no timer");
}

static void start(struct iscsi_conn *c)
{
	struct iscsi_thread *t = c->thread;

	atomic_fetch_add(&t->nconns, 1);
	c->next = t->conns;
	if (c->next)
		c->next->pprev = &c->next;
	c->pprev = &t->conns;
	t->conns = c;
	c->watch.ready = ready;
	c->watch.arg = c;
	c->timer = (struct vs_timer){.fired = tick, .arg = c};
	if (vs_loop_add(t->loop, &c->watch, EPOLLIN) < 0 ||
	    vs_loop_timer(t->loop, &c->timer, LOGIN_NS) < 0)
		iscsi_conn_close(c, "cannot watch the socket");
}

static void take_map(struct iscsi_conn *c)
{
	struct iscsi_lun_map *map = atomic_exchange(&c->new_map, NULL), *old = c->map;

	if (!map)
		return;
	if (c->state == ISCSI_CONN_DEAD) {
		iscsi_lu_map_put(map);
		return;
	}
	iscsi_tmf_reset_done(c, true);
	iscsi_tmf_remote_abort(c); /* what others wanted aborted before there was the new map */
	c->map = map;
	iscsi_tmf_remote_abort(c); /* what came before the map was ours */
	if (!old)
		return;
	iscsi_flow_remap(c);
	for (unsigned i = 0; i < old->n; i++) { /* the new map is asked from here on */
		iscsi_lu_closed(&old->luns[i]);
		if (!iscsi_lu_map_find(map, old->luns[i].lu))
			iscsi_lu_lose(&old->luns[i]);
	}
	iscsi_lu_map_put(old);
}

static void release(struct iscsi_conn *c)
{
	struct iscsi_thread *t = c->thread;

	*c->pprev = c->next;
	if (c->next)
		c->next->pprev = c->pprev;
	iscsi_conn_free(c);
	atomic_fetch_sub(&t->nconns, 1);
}

void iscsi_conn_wanted(struct vs_post *p)
{
	struct iscsi_conn *c = p->arg;
	unsigned bits = atomic_exchange(&c->want, 0);

	if (bits & ISCSI_WANT_START)
		start(c);
	if (bits & ISCSI_WANT_ATTACHED)
		iscsi_handshake_attached(c);
	if (bits & ISCSI_WANT_MAP)
		take_map(c);
	if (bits & ISCSI_WANT_ABORT && c->state == ISCSI_CONN_FULL)
		iscsi_tmf_remote_abort(c);
	if (bits & ISCSI_WANT_RESET_DONE && c->state == ISCSI_CONN_FULL)
		iscsi_tmf_reset_done(c, false);
	if (bits & ISCSI_WANT_HELD)
		iscsi_conn_dirty(c);
	if (bits & ISCSI_WANT_LOGOUT)
		iscsi_session_ask_logout(c);
	if (bits & ISCSI_WANT_DROP)
		iscsi_session_drop(c);
	if (bits & (ISCSI_WANT_RESUME | ISCSI_WANT_RESET_DONE) && c->state == ISCSI_CONN_FULL)
		iscsi_flow_run_parked(c);
	if (bits & ISCSI_WANT_CLOSE)
		iscsi_conn_close(c, NULL);
	if (bits & ISCSI_WANT_FREE)
		release(c);
}

/* What clients do wrong is logged, but they cannot fill the log: LOG_BURST lines a second. */
bool iscsi_conn_may_log(struct iscsi_server *srv)
{
	uint64_t second = vs_now_ns() / 1000000000u, seen = atomic_load(&srv->log_second);

	if (seen != second && atomic_compare_exchange_strong(&srv->log_second, &seen, second))
		atomic_store(&srv->log_lines, 0);
	return atomic_fetch_add(&srv->log_lines, 1) < LOG_BURST;
}

/* The I_T nexus is lost, and with it its reservations (SPC-2, 5.5.1) and what it prevents (SPC-4,
   6.13). */
void iscsi_conn_unreserve(struct iscsi_conn *c)
{
	for (unsigned i = 0; c->map && i < c->map->n; i++)
		iscsi_lu_lose(&c->map->luns[i]);
}

/* Others need not wait for what the store still does for it. */
static void leave_luns(struct iscsi_conn *c)
{
	iscsi_share_drop(c, NULL);
	iscsi_flow_orphan_all(c);
	for (unsigned i = 0; c->map && i < c->map->n; i++)
		iscsi_lu_closed(&c->map->luns[i]);
	iscsi_conn_unreserve(c);
	iscsi_control_tell(c, ISCSI_TELL_CLOSED);
}

/* Ends the session; what the store still works on is waited for. Safe to call again. */
void iscsi_conn_close(struct iscsi_conn *c, const char *why)
{
	if (c->state == ISCSI_CONN_DEAD)
		return;
	if (why && iscsi_conn_may_log(c->srv))
		vs_warn("iscsi: %s %s: %s", c->peer, c->login.initiator, why);
	vs_loop_remove(c->thread->loop, &c->watch);
	vs_loop_cancel(c->thread->loop, &c->timer);
	shutdown(c->watch.fd, SHUT_RDWR);
	close(c->watch.fd);
	c->watch.fd = -1;
	c->ctl_wait = c->state == ISCSI_CONN_ATTACHING;
	c->state = ISCSI_CONN_DEAD;
	leave_luns(c);
	iscsi_login_wipe(&c->login);
	iscsi_conn_dirty(c);
}

void iscsi_conn_drained(struct iscsi_conn *c)
{
	if (c->gone)
		return;
	iscsi_tx_drop(c);
	iscsi_flow_drop_all(c);
	if (c->io || c->ctl_wait || c->dirty)
		return;
	c->gone = true;
	iscsi_share_leave(c);
	take_map(c);
	if (c->map)
		iscsi_lu_map_put(c->map);
	c->map = NULL;
	iscsi_control_tell(c, ISCSI_TELL_GONE);
}
