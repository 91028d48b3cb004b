#include "mgmt/image.h"

#include "common/bytes.h"
#include "mgmt/process.h"
#include "mgmt/vdi_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define OUTPUT_MAX (1u << 20)

static const struct {
	const char *name;
	bool exported;
	bool checked; /* qemu-img check knows it */
	bool backed;  /* may have a backing file */
} formats[] = {
    {"raw", true, false, false}, {"qcow2", true, true, true}, {"vmdk", true, true, true},
    {"vhdx", true, true, false}, {"vdi", false, true, false},
};

static int find_format(const char *name)
{
	for (size_t i = 0; i < VS_ARRAY_LEN(formats); i++)
		if (strcmp(formats[i].name, name) == 0)
			return (int)i;
	return -1;
}

bool mg_image_format_ok(const char *format, bool exporting)
{
	int i = find_format(format);

	return i >= 0 && (!exporting || formats[i].exported);
}

/* What qemu-img says, without its own name and the file's in front. */
static int qemu_failed(const struct mg_process *p, const char *path, struct vs_error *err)
{
	const char *words = p->words;

	if (strncmp(words, "qemu-img: ", 10) == 0)
		words += 10;
	return vs_fail(err, VS_E_CORRUPT, "%s: %s", path,
		       *words ? words : "qemu-img failed without saying why");
}

struct collected {
	char *text;
	size_t length;
};

static int collect(void *arg, const char *data, size_t len)
{
	struct collected *c = arg;

	if (len > OUTPUT_MAX - c->length)
		return VS_E_TOOBIG;
	memcpy(c->text + c->length, data, len);
	c->length += len;
	return 0;
}

/* Runs qemu-img and parses its JSON; *json may be NULL with p->status telling why. */
static int run_json(struct mg_task *t, const char *const *argv, struct mg_process *p, json_t **json,
		    struct vs_error *err)
{
	struct collected c = {.text = malloc(OUTPUT_MAX)};
	int rc;

	if (!c.text)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	*p = (struct mg_process){
	    .argv = argv, .output = collect, .arg = &c, .cancel = mg_task_cancel_flag(t)};
	rc = mg_process_run(p, err);
	*json = rc == 0 ? json_loadb(c.text, c.length, 0, NULL) : NULL;
	free(c.text);
	return rc;
}

/* Whether every file named in the extents of a VMDK is the image itself. */
static bool extents_own(const json_t *data, const char *path)
{
	json_t *extents = json_object_get(data, "extents"), *e;
	size_t i;

	json_array_foreach(extents, i, e)
	{
		const char *name = json_string_value(json_object_get(e, "filename"));

		if (name && strcmp(name, path) != 0)
			return false;
	}
	return true;
}

static int refuse_references(const json_t *info, const char *path, struct vs_error *err)
{
	json_t *data = json_object_get(json_object_get(info, "format-specific"), "data");

	if (json_object_get(info, "backing-filename") ||
	    json_object_get(info, "full-backing-filename"))
		return vs_fail(err, VS_E_INVAL,
			       "%s is an overlay of a backing file; flatten it first (qemu-img "
			       "convert) and import the result",
			       path);
	if (json_object_get(data, "data-file"))
		return vs_fail(err, VS_E_INVAL,
			       "%s keeps its data in another file; flatten it first (qemu-img "
			       "convert) and import the result",
			       path);
	if (!extents_own(data, path))
		return vs_fail(
		    err, VS_E_INVAL,
		    "%s is spread over several files; make it one (qemu-img convert) and "
		    "import the result",
		    path);
	return 0;
}

static int read_info(const json_t *info, const char *path, struct mg_image *out,
		     struct vs_error *err)
{
	const char *format = json_string_value(json_object_get(info, "format"));
	json_t *size = json_object_get(info, "virtual-size");

	if (!format || !json_is_integer(size) || json_integer_value(size) < 0)
		return vs_fail(err, VS_E_CORRUPT, "%s: qemu-img's answer was not understood", path);
	if (find_format(format) < 0)
		return vs_fail(err, VS_E_NOTSUP,
			       "%s is of format %s; raw, qcow2, vmdk, vhdx and vdi can be imported",
			       path, format);
	(void)snprintf(out->format, sizeof(out->format), "%s", format);
	out->size = (uint64_t)json_integer_value(size);
	return refuse_references(info, path, err);
}

/* Parts of an image that lie beyond the file's end would read as zeros: look for damage first. */
static int check_whole(struct mg_task *t, const char *path, const char *format,
		       struct vs_error *err)
{
	const char *const argv[] = {"qemu-img", "check", "--output=json", "-f", format, path, NULL};
	struct mg_process p = {0};
	json_t *json = NULL;
	json_int_t bad;
	int rc = run_json(t, argv, &p, &json, err);

	if (rc != 0)
		return rc;
	bad = json_integer_value(json_object_get(json, "corruptions")) +
	      json_integer_value(json_object_get(json, "check-errors"));
	if (bad > 0)
		rc = vs_fail(err, VS_E_CORRUPT,
			     "%s is damaged or cut short (%lld errors found by qemu-img check); "
			     "fetch it again",
			     path, (long long)bad);
	else if (!json || (p.status != 0 && p.status != 3)) /* 3: leaked clusters, harmless */
		rc = vs_fail(err, VS_E_CORRUPT, "%s is damaged or cut short (%s); fetch it again",
			     path, p.words);
	json_decref(json);
	return rc;
}

/* qemu-img does not hold a VDI's header against the file's length. */
static int check_vdi(const char *path, struct vs_error *err)
{
	uint8_t header[MG_VDI_HEADER];
	FILE *f = fopen(path, "re");
	struct stat st;
	bool ok;

	if (!f)
		return vs_fail_errno(err, "cannot read %s", path);
	ok = fread(header, sizeof(header), 1, f) == 1 && fstat(fileno(f), &st) == 0;
	(void)fclose(f);
	if (!ok || (S_ISREG(st.st_mode) && mg_vdi_length(header) > (uint64_t)st.st_size))
		return vs_fail(err, VS_E_CORRUPT, "%s is cut short; fetch it again", path);
	return 0;
}

int mg_image_probe(struct mg_task *t, const char *path, const char *format, struct mg_image *out,
		   struct vs_error *err)
{
	const char *const said[] = {"qemu-img", "info", "--output=json", "-f", format, path, NULL};
	const char *const unsaid[] = {"qemu-img", "info", "--output=json", path, NULL};
	struct mg_process p = {0};
	json_t *info = NULL;
	int i, rc = run_json(t, format ? said : unsaid, &p, &info, err);

	if (rc != 0)
		return rc;
	if (p.status != 0 || !info)
		rc = qemu_failed(&p, path, err);
	else
		rc = read_info(info, path, out, err);
	json_decref(info);
	i = rc == 0 ? find_format(out->format) : -1;
	if (i >= 0 && formats[i].checked)
		rc = check_whole(t, path, out->format, err);
	if (rc == 0 && strcmp(out->format, "vdi") == 0)
		rc = check_vdi(path, err);
	return rc;
}

/* "    (12.34/100%)\r" from convert -p. */
struct progress {
	struct mg_task *task;
	uint64_t size;
	char text[32];
	size_t n;
};

static int read_progress(void *arg, const char *data, size_t len)
{
	struct progress *g = arg;
	double percent;
	char *end;

	for (size_t i = 0; i < len; i++) {
		if (data[i] == '(') {
			g->n = 0;
		} else if (data[i] == '/') {
			g->text[g->n] = '\0';
			percent = strtod(g->text, &end);
			if (end != g->text && percent >= 0 && percent <= 100)
				mg_task_progress(
				    g->task, (uint64_t)(percent / 100 * (double)g->size), g->size);
		} else if (g->n + 1 < sizeof(g->text)) {
			g->text[g->n++] = data[i];
		}
	}
	return 0;
}

static int convert(struct mg_task *t, const char *const *argv, const char *path, uint64_t size,
		   struct vs_error *err)
{
	struct progress g = {.task = t, .size = size};
	struct mg_process p = {
	    .argv = argv, .output = read_progress, .arg = &g, .cancel = mg_task_cancel_flag(t)};
	int rc = mg_process_run(&p, err);

	return rc == 0 && p.status != 0 ? qemu_failed(&p, path, err) : rc;
}

/* "json:{...}", which leaves nothing in a name for qemu-img to interpret. Takes json. */
static char *json_name(json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL, *name = NULL;

	json_decref(json);
	if (text && asprintf(&name, "json:%s", text) < 0)
		name = NULL;
	free(text);
	return name;
}

/* raw says that nobody is to look into the content for a format. */
static char *nbd_name(const char *socket, const char *export_name)
{
	return json_name(json_pack("{s:s, s:{s:s, s:{s:s, s:s}, s:s}}", "driver", "raw", "file",
				   "driver", "nbd", "server", "type", "unix", "path", socket,
				   "export", export_name));
}

static char *file_name(const char *path, const char *format)
{
	struct stat st;
	bool block = stat(path, &st) == 0 && S_ISBLK(st.st_mode);
	json_t *json = json_pack("{s:s, s:{s:s, s:s}}", "driver", format, "file", "driver",
				 block ? "host_device" : "file", "filename", path);
	int i = find_format(format);

	if (json && i >= 0 && formats[i].backed)
		json_object_set_new(json, "backing", json_null());
	return json_name(json);
}

int mg_image_to_nbd(struct mg_task *t, const char *path, const struct mg_image *image,
		    const char *socket, const char *export_name, struct vs_error *err)
{
	char *from = file_name(path, image->format), *to = nbd_name(socket, export_name);
	const char *const argv[] = {"qemu-img", "convert",   "-p", "-n",  "--target-is-zero",
				    "-t",	"writeback", "-O", "raw", from,
				    to,		NULL};
	int rc = from && to ? convert(t, argv, path, image->size, err)
			    : vs_fail(err, VS_E_NOMEM, "out of memory");

	free(from);
	free(to);
	return rc;
}

int mg_image_from_nbd(struct mg_task *t, const char *socket, const char *export_name,
		      const char *path, const char *format, uint64_t size, struct vs_error *err)
{
	char *from = nbd_name(socket, export_name);
	const char *const argv[] = {"qemu-img", "convert", "-p", "-t", "writeback",
				    "-O",	format,	   from, path, NULL};
	int rc =
	    from ? convert(t, argv, path, size, err) : vs_fail(err, VS_E_NOMEM, "out of memory");

	free(from);
	return rc;
}
