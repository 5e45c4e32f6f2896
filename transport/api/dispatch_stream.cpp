#define FARCALL_FAMILY "transport/api/families/stream.def"
#define FARCALL_FAMILY_NAME stream
#define FARCALL_FAMILY_ID 0x08
#include "transport/api/dispatch_family.inc"
