#define FARCALL_FAMILY "transport/api/families/library.def"
#define FARCALL_FAMILY_NAME library
#define FARCALL_FAMILY_ID 0x04
#include "transport/api/dispatch_family.inc"
