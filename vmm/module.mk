vmm_SRCS := $(addprefix vmm/,command_line.c definition.c folder.c host.c lifecycle.c machine.c monitor.c process.c qmp.c qmp_format.c)
vmm_TESTS := tests/unit/test_vm_definition.c tests/unit/test_vm_qmp.c
