// Tells a library whose kernels run in the emulator, on the computer's memory, from one for a GPU.
#include "../../dcnv2/dcnv2.h"

extern "C" PSSDET_API const int pssdet_is_emulated = 1;
