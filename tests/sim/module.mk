# The simulation, and sim-plant: the same with bugs planted in the store (BS_PLANT), one at a time.
sim_SRCS  := $(wildcard tests/sim/*.c)
SIM_PLANT := $(B)/tests/sim/sim-plant

$(B)/plant/%.o: %.c
	@mkdir -p $(@D)
	$(call Q,CC  )$(CC) $(CPPFLAGS) -DBS_PLANT $(CFLAGS) -MMD -MP -c -o $@ $<
$(SIM_PLANT): $(patsubst %.c,$(B)/obj/%.o,$(filter-out tests/sim/plants.c,$(sim_SRCS))) \
              $(patsubst %.c,$(B)/plant/%.o,tests/sim/plants.c $(blockstore_SRCS)) \
              $(B)/libdedup.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call Q,LINK)$(CC) $(LDFLAGS) -o $@ $^ $(CORE_LIBS)
-include $(patsubst %.c,$(B)/plant/%.d,tests/sim/plants.c $(blockstore_SRCS))

# What takes a call to the engine's thread is replaced (hostadmin.c), and what costs much (wraps.c).
$(B)/tests/sim/sim $(SIM_PLANT): LDFLAGS += -Wl,--wrap=bs_store_call,--wrap=bs_store_budget,--wrap=dd_hash \
                                 -Wl,--wrap=mmap,--wrap=munmap,--wrap=dd_many_new,--wrap=dd_many_free \
                                 -Wl,--wrap=dd_many_hash

sim: $(if $(SAN),,$(SIM_PLANT))
CHECK_RUNS += sim/seeds=build/tests/sim/sim \
              sim/asan=build/address-undefined/tests/sim/sim,--total,500,--first,1000000 \
              sim/planted=build/tests/sim/sim-plant
