// Batches of copies, prefetches and discards: one after the other.
#include "transport/cuda/batch_functions.inc"
