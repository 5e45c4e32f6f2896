// Functions that are made of others or concern nothing but this process.
#include "transport/cuda/local_functions.inc"
