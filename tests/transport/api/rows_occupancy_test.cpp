#define FARCALL_FAMILY "transport/api/families/occupancy.def"
#define FARCALL_FAMILY_NAME occupancy
#include "tests/transport/api/every_row.inc"
