#define FARCALL_FAMILY "transport/api/families/tensor_map.def"
#define FARCALL_FAMILY_NAME tensor_map
#include "tests/transport/api/every_row.inc"
