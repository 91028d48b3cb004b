#include "blockstore/lun_int.h"

#include "common/secret.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

/* A break that libiscsi would mend by itself, were it not told to leave that to us. */
static const char *said(struct iscsi_context *ctx)
{
	const char *text = iscsi_get_error(ctx);

	return strstr(text, "Can not reconnect") ? "the array closed the connection" : text;
}

const char *lun_cause(struct iscsi_context *ctx)
{
	const char *text = said(ctx), *words = NULL;

	if (strstr(text, "rror"))
		words = strerrordesc_np((int)bs_far_number_in(text));
	return words && bs_far_number_in(text) ? words : *text ? text : "the connection was closed";
}

/* Status class and detail of a failed login, RFC 7143 section 11.13.5. */
static const struct {
	unsigned status;
	int code;
	const char *text;
} logins[] = {
    {0x0101, VS_E_NOTSUP, "the target has moved temporarily: use the portal it has moved to"},
    {0x0102, VS_E_NOTSUP, "the target has moved: use the portal it has moved to"},
    {0x0200, VS_E_ACCESS, "the login was refused; where CHAP was offered, none may be wanted"},
    {0x0201, VS_E_ACCESS, "wrong CHAP user or secret, or none where one is wanted"},
    {0x0202, VS_E_ACCESS, "the target does not admit this initiator"},
    {0x0203, VS_E_NOENT, "no such target at this portal"},
    {0x0204, VS_E_NOENT, "the target was removed"},
    {0x0206, VS_E_LIMIT, "the target has too many connections"},
};

int lun_login_cause(struct iscsi_context *ctx, const char **text)
{
	unsigned status;

	*text = said(ctx);
	status = bs_far_number_in(*text);
	for (size_t i = 0; i < VS_ARRAY_LEN(logins); i++) {
		if (logins[i].status == status) {
			*text = logins[i].text;
			return logins[i].code;
		}
	}
	if (!**text)
		*text = "the login failed, without a reason given";
	return VS_E_IO;
}

const char *lun_host_address(const struct bs_lun *l, char buf[BS_LUN_ADDR_TEXT])
{
	char host[BS_FAR_HOST_TEXT];

	if (l->moved[0])
		return l->moved;
	return bs_far_host_text(
	    bs_far_numeric(&l->addrs.at[l->next_addr % l->addrs.n], l->url.host, host), l->url.port,
	    buf);
}

bool lun_host_moved(struct iscsi_context *ctx, char out[BS_LUN_ADDR_TEXT])
{
	const char *said = iscsi_get_target_address(ctx);
	char text[BS_LUN_ADDR_TEXT + 16];
	struct bs_lun_url url;
	uint8_t addr[16];

	if (!said || strlen(said) >= BS_LUN_ADDR_TEXT)
		return false;
	(void)snprintf(text, sizeof(text), "%s%s", BS_LUN_SCHEME, said);
	text[strcspn(text, ",")] = '\0'; /* the portal group's tag */
	if (bs_lun_url_parse_portal(text, &url, NULL) != 0 ||
	    (inet_pton(AF_INET, url.host, addr) != 1 && inet_pton(AF_INET6, url.host, addr) != 1))
		return false;
	(void)bs_lun_url_portal(&url, out);
	return true;
}

/* That of the machine's other initiator, else one like those Debian makes. */
void lun_host_initiator(char name[BS_LUN_NAME_MAX + 1])
{
	char line[300], id[64] = "";
	FILE *f = fopen("/etc/iscsi/initiatorname.iscsi", "re");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "InitiatorName=%223[a-zA-Z0-9.:-]", name) == 1;
	if (f)
		(void)fclose(f);
	if (found)
		return;
	f = fopen("/etc/machine-id", "re");
	if (f && fread(id, 1, 32, f) != 32)
		id[0] = '\0';
	if (f)
		(void)fclose(f);
	(void)snprintf(name, BS_LUN_NAME_MAX + 1, "iqn.1993-08.org.debian:01:%012llx",
		       (unsigned long long)XXH3_64bits(id, strlen(id)) >> 16);
}

static int session_id(struct bs_lun *l, const char *word)
{
	uint64_t id = 0;

	if (!word) {
		if (vs_random(&id, sizeof(id)) != 0)
			return VS_E_IO;
	} else {
		id = XXH3_64bits(l->url.target, strlen(l->url.target));
		id = XXH3_64bits_withSeed(word, strlen(word), id + l->url.lun);
	}
	l->isid = id & 0xffffff;
	l->isid_low = (id >> 24) & 0xffff;
	return 0;
}

int lun_host_init(struct bs_lun *l, const char *session, struct vs_error *err)
{
	lun_host_initiator(l->initiator);
	if (session_id(l, session) != 0)
		return vs_fail(err, VS_E_IO, "no random numbers");
	return bs_far_resolve(l->url.host, l->name, &l->addrs, err);
}
