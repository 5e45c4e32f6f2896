#define FARCALL_FAMILY "transport/api/families/array.def"
#include "client_shim/around.h"
#include "client_shim/several_virtual.h"
#include "transport/api/exports.inc"
