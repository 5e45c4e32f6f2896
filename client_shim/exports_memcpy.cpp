#define FARCALL_FAMILY "transport/api/families/memcpy.def"
#include "client_shim/around.h"
#include "transport/api/exports.inc"
