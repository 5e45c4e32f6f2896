#define FARCALL_FAMILY "transport/api/families/tensor_map.def"
#include "client_shim/around.h"
#include "transport/api/exports.inc"
