#define FARCALL_FAMILY "transport/api/families/tensor_map.def"
#define FARCALL_FAMILY_NAME tensor_map
#define FARCALL_FAMILY_ID 0x10
#include "transport/api/dispatch_family.inc"
