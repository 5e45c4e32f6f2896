#define FARCALL_FAMILY "transport/api/families/memset.def"
#define FARCALL_FAMILY_NAME memset
#define FARCALL_FAMILY_ID 0x07
#include "transport/api/dispatch_family.inc"
