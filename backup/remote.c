#include "backup/remote.h"

#include <stdlib.h>
#include <string.h>

int bk_remote_open(const char *url, bool create, struct bk_remote **out,
		   enum bk_remote_state *state, struct vs_error *err)
{
	static const char *const later[] = {"s3://", "nfs://"};
	size_t i;

	*out = NULL;
	if (strncmp(url, "dir://", 6) == 0)
		return bk_remote_dir_open(url, create, out, state, err);
	for (i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (strncmp(url, later[i], strlen(later[i])) == 0)
			return vs_fail(err, VS_E_NOTSUP,
				       "%s repositories are not supported by this version: use "
				       "dir:///path",
				       later[i]);
	return vs_fail(err, VS_E_INVAL, "'%.200s' is not a repository URL: write dir:///path", url);
}

int bk_remote_load(struct bk_remote *r, const char *name, uint64_t max, uint8_t **out,
		   uint64_t *size, struct vs_error *err)
{
	int rc = bk_remote_stat(r, name, size, err);

	*out = NULL;
	if (rc)
		return rc;
	if (*size > max)
		return vs_fail(err, VS_E_CORRUPT,
			       "%s/%s: has %llu bytes, too many for such an object", r->url, name,
			       (unsigned long long)*size);
	*out = malloc(*size ? *size : 1);
	if (!*out)
		return vs_fail(err, VS_E_NOMEM, "no memory to read %s/%s", r->url, name);
	rc = bk_remote_get(r, name, 0, *out, *size, err);
	if (rc) {
		free(*out);
		*out = NULL;
	}
	return rc;
}
