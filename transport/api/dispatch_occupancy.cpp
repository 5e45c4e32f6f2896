#define FARCALL_FAMILY "transport/api/families/occupancy.def"
#define FARCALL_FAMILY_NAME occupancy
#define FARCALL_FAMILY_ID 0x0b
#include "transport/api/dispatch_family.inc"
