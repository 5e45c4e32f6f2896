// Names and texts of errors.
#include "tests/parity/setup.h"

using namespace parity;

// cuda.h: "If the error code is not recognized, CUDA_ERROR_INVALID_VALUE will be returned and *pStr
// will be set to the NULL address."
BODY(error_names) {
  Device device;
  for (int code = 0; code <= 1000; ++code) {
    const char* name = "untouched";
    const char* words = "untouched";
    const CUresult named = CU(cuGetErrorName)(number<CUresult>(code), &name);
    const CUresult told = CU(cuGetErrorString)(number<CUresult>(code), &words);
    if (named == CUDA_ERROR_INVALID_VALUE && told == named && name == nullptr && words == nullptr) {
      continue;
    }
    VALUE(std::to_string(code).c_str(), name_of(named) + " " + (name ? name : "null") + ", " +
                                            name_of(told) + " " + (words ? words : "null"));
  }
}

BODY(error_wrong) {
  const char* words = "untouched";
  const char* const says = "cuda.h, cuGetErrorName";
  EXPECT(CUDA_ERROR_INVALID_VALUE, says, cuGetErrorName, number<CUresult>(-1), &words);
  VALUE("null", words == nullptr);
  words = "untouched";
  EXPECT(CUDA_ERROR_INVALID_VALUE, says, cuGetErrorString, number<CUresult>(12345), &words);
  VALUE("null", words == nullptr);
  CALL(cuGetErrorName, CUDA_SUCCESS, nullptr);
  CALL(cuGetErrorString, CUDA_SUCCESS, nullptr);
}
