// A shared library needs a source of its own; everything else comes from the static libraries.
namespace farcall::softgpu {
extern const char* const kLibraryName;
const char* const kLibraryName = "libcuda.so.1";
}  // namespace farcall::softgpu
