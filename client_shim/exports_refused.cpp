#include "transport/api/refusals.inc"
