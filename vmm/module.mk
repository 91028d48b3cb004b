vmm_SRCS :=
vmm_TESTS :=
