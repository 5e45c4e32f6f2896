#define FARCALL_FAMILY "transport/api/families/session.def"
#include "client_shim/around.h"
#include "transport/api/exports.inc"
