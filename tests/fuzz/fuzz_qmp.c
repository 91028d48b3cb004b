/* Lines that a QEMU taken over by its guest may send, and machine definitions. */
#include "common/bytes.h"
#include "vmm/machine.h"
#include "vmm/qmp_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vm_definition d, again;
	struct vm_qmp_message m;
	json_t *json;

	if (vm_qmp_decode((const char *)data, size, &m) == 0) {
		VS_ASSERT(m.root);
		VS_ASSERT(m.kind != VM_QMP_EVENT || m.name);
		VS_ASSERT(m.kind != VM_QMP_ERROR || (m.name && m.text));
		VS_ASSERT(m.kind != VM_QMP_RETURN || m.data);
		vm_qmp_message_free(&m);
	}
	json = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
	if (json && vm_definition_decode(json, &d, NULL) == 0) {
		json_decref(json);
		json = vm_definition_encode(&d);
		VS_ASSERT(json && vm_definition_decode(json, &again, NULL) == 0);
		VS_ASSERT(memcmp(&d, &again, sizeof(d)) == 0);
	}
	json_decref(json);
	return 0;
}
