#define FARCALL_FAMILY "transport/api/families/launch.def"
#define FARCALL_FAMILY_NAME launch
#define FARCALL_FAMILY_ID 0x0a
#include "transport/api/dispatch_family.inc"
