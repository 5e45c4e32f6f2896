#define FARCALL_FAMILY "transport/api/families/device.def"
#define FARCALL_FAMILY_NAME device
#define FARCALL_FAMILY_ID 0x01
#include "transport/api/dispatch_family.inc"
