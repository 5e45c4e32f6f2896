#define FARCALL_FAMILY "transport/api/families/graph.def"
#include "client_shim/around.h"
#include "transport/api/exports.inc"
