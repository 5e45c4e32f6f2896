#define FARCALL_FAMILY "transport/api/families/context.def"
#define FARCALL_FAMILY_NAME context
#define FARCALL_FAMILY_ID 0x02
#include "transport/api/dispatch_family.inc"
