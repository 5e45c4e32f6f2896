#define FARCALL_FAMILY "transport/api/families/memcpy.def"
#define FARCALL_FAMILY_NAME memcpy
#define FARCALL_FAMILY_ID 0x06
#include "transport/api/dispatch_family.inc"
