#include "targets/iscsi/keep.h"

#include "common/log.h"
#include "targets/iscsi/internal.h"
#include "targets/iscsi/pr_format.h"

_Static_assert(ISCSI_PR_KEPT_MAX <= ISCSI_KEPT_MAX, "a keeper takes it");

bool iscsi_keep_can(const struct iscsi_server *srv)
{
	return srv->keeper.save != NULL;
}

static uint8_t flags_of(const struct iscsi_lu *lu)
{
	if (!(atomic_load(&lu->state) & (ISCSI_LU_SANITIZING | ISCSI_LU_SANITIZE_FAILED)))
		return 0;
	return ISCSI_KEPT_SANITIZING | (atomic_load(&lu->may_exit) ? ISCSI_KEPT_MAY_EXIT : 0);
}

void iscsi_keep_now(struct iscsi_server *srv, struct iscsi_lu *lu)
{
	const struct iscsi_keeper *k = &srv->keeper;
	uint8_t kept[ISCSI_PR_KEPT_MAX], flags;
	struct vs_error err;
	uint64_t number;
	size_t len = 0;
	bool pr;
	int rc;

	if (!iscsi_keep_can(srv))
		return;
	pthread_mutex_lock(&lu->lock);
	number = lu->keep_number;
	flags = flags_of(lu);
	pr = lu->pr.aptpl && lu->pr.n;
	if (pr || flags)
		len = iscsi_pr_keep(pr ? &lu->pr : NULL, flags, kept);
	lu->kept |= len != 0; /* or will be at once: what comes meanwhile asks again */
	pthread_mutex_unlock(&lu->lock);
	rc = k->save(k->arg, &lu->volume, kept, len, &err);
	if (rc < 0)
		vs_err("iscsi: a unit's state could not be kept: %s", err.text);
	pthread_mutex_lock(&lu->lock);
	lu->kept_number = number;
	if (rc == 0)
		lu->safe_number = number;
	lu->kept = rc < 0 || len;
	pthread_mutex_unlock(&lu->lock);
	iscsi_lu_resume(lu);
}

/* On the control thread; whoever waits for it is a parked task. */
static void posted(struct vs_post *p)
{
	struct iscsi_lu *lu = p->arg;

	pthread_mutex_lock(&lu->lock);
	lu->keep_posted = false;
	pthread_mutex_unlock(&lu->lock);
	iscsi_keep_now(lu->srv, lu);
}

uint64_t iscsi_keep(struct iscsi_server *srv, struct iscsi_lu *lu)
{
	if (!iscsi_keep_can(srv) || (!lu->pr.aptpl && !flags_of(lu) && !lu->kept))
		return lu->kept_number;
	lu->keep_number++;
	if (!lu->keep_posted) {
		lu->keep_posted = true;
		lu->srv = srv;
		lu->keep_post = (struct vs_post){.call = posted, .arg = lu};
		vs_loop_post(srv->loop, &lu->keep_post);
	}
	return lu->keep_number;
}

enum iscsi_keep_state iscsi_keep_look(const struct iscsi_lu *lu, uint64_t number)
{
	if (lu->kept_number < number)
		return ISCSI_KEEP_BUSY;
	return lu->safe_number < number ? ISCSI_KEEP_FAILED : ISCSI_KEEP_DONE;
}

void iscsi_keep_load(struct iscsi_server *srv, struct iscsi_lu *lu)
{
	const struct iscsi_keeper *k = &srv->keeper;
	uint8_t kept[ISCSI_PR_KEPT_MAX], flags = 0;
	struct vs_error err;
	size_t len = 0;
	int rc;

	if (!iscsi_keep_can(srv))
		return;
	rc = k->load(k->arg, &lu->volume, kept, sizeof(kept), &len, &err);
	if (rc == 0 && len) {
		rc = iscsi_pr_restore(&lu->pr, &flags, kept, len);
		if (rc < 0)
			(void)vs_fail(&err, rc, "%s", vs_err_text(rc));
	}
	if (rc < 0)
		vs_err("iscsi: a volume's reservations are lost: %s", err.text);
	lu->kept = len != 0;
	atomic_store(&lu->reserved, lu->pr.n > 0);
	atomic_store(&lu->may_exit, flags & ISCSI_KEPT_MAY_EXIT);
	if (flags & ISCSI_KEPT_SANITIZING) /* half done: nobody reads what is left */
		atomic_store(&lu->state, ISCSI_LU_SANITIZE_FAILED);
}
