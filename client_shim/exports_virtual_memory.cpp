#define FARCALL_FAMILY "transport/api/families/virtual_memory.def"
#include "client_shim/around.h"
#include "transport/api/exports.inc"
