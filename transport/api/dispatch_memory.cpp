#define FARCALL_FAMILY "transport/api/families/memory.def"
#define FARCALL_FAMILY_NAME memory
#define FARCALL_FAMILY_ID 0x05
#include "transport/api/dispatch_family.inc"
