#include "blockstore/nfs_url.h"

#include <stdio.h>
#include <string.h>

#define FORM "nfs://HOST[:PORT]/EXPORT/FILE"
#define SERVER_FORM "nfs://HOST[:PORT]"

bool bs_nfs_url_is(const char *text)
{
	return strncmp(text, BS_NFS_SCHEME, strlen(BS_NFS_SCHEME)) == 0;
}

/* One name of a path; none that would lead anywhere but down. */
static bool name_ok(const char *at, size_t n)
{
	if (n == 0 || n >= BS_NFS_NAME_MAX || (n == 1 && at[0] == '.') ||
	    (n == 2 && at[0] == '.' && at[1] == '.'))
		return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)at[i] < 0x20 || at[i] == 0x7f || at[i] == '?')
			return false;
	return true;
}

static bool path_ok(const char *path)
{
	if (strlen(path) >= BS_NFS_PATH_MAX)
		return false;
	while (*path == '/') {
		const char *end = strchrnul(path + 1, '/');

		if (!name_ok(path + 1, (size_t)(end - path) - 1))
			return false;
		path = end;
	}
	return *path == '\0';
}

static int parse(const char *text, bool full, struct bs_nfs_url *u, struct vs_error *err)
{
	const char *form = full ? FORM : SERVER_FORM, *at, *slash;

	memset(u, 0, sizeof(*u));
	if (!bs_nfs_url_is(text))
		return vs_fail(err, VS_E_INVAL, "'%s' is not of the form %s", text, form);
	at = text + strlen(BS_NFS_SCHEME);
	slash = strchrnul(at, '/');
	if (!bs_far_host_parse(at, slash, u->host, &u->port))
		return vs_fail(err, VS_E_INVAL, "'%s' is not of the form %s", text, form);
	if (!full)
		return *slash == '\0' || slash[1] == '\0'
			   ? 0
			   : vs_fail(err, VS_E_INVAL, "'%s' is not of the form %s", text, form);
	if (strchr(slash, '?'))
		return vs_fail(err, VS_E_INVAL, "'%s' has options, of which there are none", text);
	if (*slash == '\0' || !path_ok(slash))
		return vs_fail(err, VS_E_INVAL, "'%s' names no file: it is not of the form %s",
			       text, form);
	memcpy(u->path, slash, strlen(slash) + 1);
	return 0;
}

int bs_nfs_url_parse(const char *text, struct bs_nfs_url *out, struct vs_error *err)
{
	return parse(text, true, out, err);
}

int bs_nfs_url_parse_server(const char *text, struct bs_nfs_url *out, struct vs_error *err)
{
	return parse(text, false, out, err);
}

const char *bs_nfs_url_text(const struct bs_nfs_url *url, char buf[BS_NFS_URL_TEXT])
{
	char host[BS_FAR_HOST_TEXT];

	(void)snprintf(buf, BS_NFS_URL_TEXT, "%s%s%s", BS_NFS_SCHEME,
		       bs_far_host_text(url->host, url->port, host), url->path);
	return buf;
}
