#define FARCALL_FAMILY "transport/api/families/event.def"
#define FARCALL_FAMILY_NAME event
#define FARCALL_FAMILY_ID 0x09
#include "transport/api/dispatch_family.inc"
