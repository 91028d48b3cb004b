/* The header of VirtualBox disk images. Pure, any thread. */
#ifndef MG_VDI_FORMAT_H
#define MG_VDI_FORMAT_H

#include <stdint.h>

#define MG_VDI_HEADER 512

/* Bytes that the file must have: its blocks stand in a row behind the header. */
uint64_t mg_vdi_length(const uint8_t header[MG_VDI_HEADER]);

#endif
