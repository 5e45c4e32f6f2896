#define FARCALL_FAMILY "transport/api/families/module.def"
#define FARCALL_FAMILY_NAME module
#define FARCALL_FAMILY_ID 0x03
#include "transport/api/dispatch_family.inc"
