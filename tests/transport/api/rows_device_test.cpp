#define FARCALL_FAMILY "transport/api/families/device.def"
#define FARCALL_FAMILY_NAME device
#include "tests/transport/api/every_row.inc"
