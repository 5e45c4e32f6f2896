#define FARCALL_FAMILY "transport/api/families/module.def"
#define FARCALL_FAMILY_NAME module
#include "tests/transport/api/every_row.inc"
