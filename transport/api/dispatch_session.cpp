#define FARCALL_FAMILY "transport/api/families/session.def"
#define FARCALL_FAMILY_NAME session
#define FARCALL_FAMILY_ID 0x00
#include "transport/api/dispatch_family.inc"
