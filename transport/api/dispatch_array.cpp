#define FARCALL_FAMILY "transport/api/families/array.def"
#define FARCALL_FAMILY_NAME array
#define FARCALL_FAMILY_ID 0x0d
#include "transport/api/dispatch_family.inc"
