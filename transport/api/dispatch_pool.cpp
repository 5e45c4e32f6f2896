#define FARCALL_FAMILY "transport/api/families/pool.def"
#define FARCALL_FAMILY_NAME pool
#define FARCALL_FAMILY_ID 0x0c
#include "transport/api/dispatch_family.inc"
