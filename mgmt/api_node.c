#include "common/loop.h"
#include "mgmt/api.h"
#include "mgmt/datastore.h"
#include "mgmt/devices.h"
#include "mgmt/iscsi.h"
#include "mgmt/nbd.h"
#include "mgmt/version.h"
#include "mgmt/vms.h"
#include "mgmt/volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct mg_route *const mg_api[] = {
    mg_api_node,      mg_api_devices, mg_api_volume, mg_api_snapshot, mg_api_transfer,
    mg_api_repo,      mg_api_backup,  mg_api_target, mg_api_nbd,      mg_api_vm,
    mg_api_task,      mg_api_event,   mg_api_scrub,  mg_api_dedup,    mg_api_discover,
    mg_api_datastore, NULL,
};

/* Of this process, proc(5) statm; 0 when it cannot be read. */
static uint64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	char line[128], *end = NULL;
	uint64_t pages = 0;

	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f)) {
		(void)strtoull(line, &end, 10); /* the first field is the whole size */
		pages = strtoull(end, NULL, 10);
	}
	(void)fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int status(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	json_t *front_ends = json_array();
	struct bs_store_info info;
	unsigned total, running;

	(void)req;
	bs_store_info(n->store, &info);
	mg_iscsi_addresses(n, front_ends);
	mg_datastores_addresses(n->datastores, front_ends);
	mg_nbd_addresses(n->nbd, front_ends);
	mg_vms_count(n, &total, &running);
	return mg_reply_json(
	    reply, 200,
	    json_pack(
		"{s:s, s:s, s:s, s:f, s:i, s:o, s:{s:i, s:i}, s:{s:I, s:I}, s:I, s:I}", "version",
		MG_VERSION, "state",
		info.failed || info.read_only || info.devices_missing ? "degraded" : "running",
		"store", info.device, "uptime", (double)(vs_now_ns() - n->started_ns) / 1e9, "pid",
		(int)getpid(), "front_ends", front_ends, "vms", "total", (int)total, "running",
		(int)running, "memory", "limit_bytes", (json_int_t)n->options->memory,
		"resident_bytes", (json_int_t)resident_bytes(), "volumes", (json_int_t)info.volumes,
		"snapshots", (json_int_t)info.snapshots),
	    err);
}

static double ratio(uint64_t a, uint64_t b)
{
	return b == 0 ? 1.0 : (double)a / (double)b;
}

static int df(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
	      struct vs_error *err)
{
	struct bs_store_info i;
	uint64_t available, taken;
	bool drain;
	int rc = mg_query_bool(req, "drain", &drain, err);

	if (rc == 0 && drain) {
		req->patience(req, 600);
		rc = bs_store_drain(n->store, err);
	}
	if (rc != 0)
		return rc;
	bs_store_info(n->store, &i);
	taken = i.physical_used_bytes + i.thick_reserved_bytes;
	available = i.capacity_bytes > taken ? i.capacity_bytes - taken : 0;
	return mg_reply_json(
	    reply, 200,
	    json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:I, s:I}", "capacity_bytes",
		      (json_int_t)i.capacity_bytes, "physical_used_bytes",
		      (json_int_t)i.physical_used_bytes, "logical_used_bytes",
		      (json_int_t)i.logical_used_bytes, "unique_content_bytes",
		      (json_int_t)i.unique_content_bytes, "stored_content_bytes",
		      (json_int_t)i.stored_content_bytes, "dedup_ratio",
		      ratio(i.referenced_bytes, i.unique_content_bytes), "compression_ratio",
		      ratio(i.unique_content_bytes, i.stored_content_bytes), "reclaimable_bytes",
		      (json_int_t)i.reclaimable_bytes, "reserved_bytes",
		      (json_int_t)i.thick_reserved_bytes, "system_bytes",
		      (json_int_t)i.reserved_bytes, "available_bytes", (json_int_t)available),
	    err);
}

static int store(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		 struct vs_error *err)
{
	struct bs_store_info i;
	char uuid[VS_UUID_TEXT];
	json_t *json;

	(void)req;
	bs_store_info(n->store, &i);
	vs_uuid_format(&i.uuid, uuid);
	json = json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:s, s:I}", "device", i.device, "uuid",
			 uuid, "format_version", (int)i.format_version, "segment_size",
			 (json_int_t)i.segment_size, "segments", (json_int_t)i.segments,
			 "free_segments", (json_int_t)i.free_segments, "state",
			 i.failed	     ? "failed"
			 : i.read_only	     ? "read-only"
			 : i.devices_missing ? "degraded"
					     : "ok",
			 "memory_bytes", (json_int_t)n->options->memory);
#define COUNTER(name) json_object_set_new(json, #name, json_integer((json_int_t)i.name))
	if (json) {
		json_object_set_new(json, "devices", mg_devices_json(n));
		COUNTER(bytes_discarded);
		COUNTER(device_reads);
		COUNTER(device_read_bytes);
		COUNTER(device_writes);
		COUNTER(device_write_bytes);
		COUNTER(device_flushes);
		COUNTER(cache_hits);
		COUNTER(cache_misses);
		COUNTER(dedup_hits);
		COUNTER(checkpoints);
		COUNTER(segments_cleaned);
		COUNTER(bytes_written);
		COUNTER(bytes_data);
		COUNTER(bytes_maps);
		COUNTER(bytes_tables);
		COUNTER(bytes_cleaner);
	}
	if (json && i.bytes_written)
		json_object_set_new(
		    json, "write_amplification",
		    json_real((double)i.device_write_bytes / (double)i.bytes_written));
#undef COUNTER
	return mg_reply_json(reply, 200, json, err);
}

const struct mg_route mg_api_node[] = {
    {"GET", "status", NULL, status},
    {"GET", "df", " drain ", df},
    {"GET", "store", NULL, store},
    {NULL, NULL, NULL, NULL},
};
