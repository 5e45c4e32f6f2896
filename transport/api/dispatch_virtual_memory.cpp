#define FARCALL_FAMILY "transport/api/families/virtual_memory.def"
#define FARCALL_FAMILY_NAME virtual_memory
#define FARCALL_FAMILY_ID 0x0e
#include "transport/api/dispatch_family.inc"
