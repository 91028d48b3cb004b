# The simulation, and three of it with a bug planted in the store (BS_PLANT): each must be caught.
sim_SRCS := $(addprefix tests/sim/,sim.c report.c content.c image.c simdev.c simdisk.c simcut.c model.c host.c \
            hostadmin.c world.c request.c submit.c admin.c outcome.c shorthand.c verify.c workload.c cases.c \
            trees.c cuts.c disks.c space.c craft.c crafted.c drops.c saved.c)
SIM_OBJS := $(patsubst %.c,$(B)/obj/%.o,$(sim_SRCS))
PLANTS   := 1 2 3
# The case that finds each.
PLANT_CASE_1 := 0
PLANT_CASE_2 := 0
PLANT_CASE_3 := 11

define planted
$(B)/plant$(1)/%.o: %.c
	@mkdir -p $$(@D)
	$$(call Q,CC  )$$(CC) $$(CPPFLAGS) -DBS_PLANT=$(1) $$(CFLAGS) -MMD -MP -c -o $$@ $$<
$(B)/tests/sim/sim-plant$(1): $(SIM_OBJS) $(patsubst %.c,$(B)/plant$(1)/%.o,$(blockstore_SRCS)) \
                              $(B)/libdedup.a $(B)/libcommon.a
	@mkdir -p $$(@D)
	$$(call Q,LINK)$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(CORE_LIBS)
-include $(patsubst %.c,$(B)/plant$(1)/%.d,$(blockstore_SRCS))
endef
$(foreach n,$(PLANTS),$(eval $(call planted,$(n))))

# What takes a call to the engine's thread is replaced (hostadmin.c).
$(B)/tests/sim/sim $(foreach n,$(PLANTS),$(B)/tests/sim/sim-plant$(n)): LDFLAGS += -Wl,--wrap=bs_store_call

sim: $(if $(SAN),,$(foreach n,$(PLANTS),$(B)/tests/sim/sim-plant$(n)))
CHECK_RUNS += $(foreach n,0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15,\
                sim/case-$(n)=build/tests/sim/sim,--case,$(n),--seeds,1-200) \
              sim/asan=build/address-undefined/tests/sim/sim,--seeds,1000-1009 \
              sim/asan-crafted=build/address-undefined/tests/sim/sim,--case,13,--seeds,1000-1199 \
              $(foreach n,$(PLANTS),\
                sim/planted-$(n)=build/tests/sim/sim-plant$(n),--expect-failure,--case,$(PLANT_CASE_$(n)),--seeds,1-200)
