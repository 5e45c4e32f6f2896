#define FARCALL_FAMILY "transport/api/families/occupancy.def"
#include "client_shim/around.h"
#include "transport/api/exports.inc"
