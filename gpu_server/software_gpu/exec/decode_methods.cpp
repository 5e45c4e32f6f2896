// Which method decodes which opcode.
#include "gpu_server/software_gpu/exec/decode.h"

namespace farcall::softgpu {

FunctionDecoder::MethodTable FunctionDecoder::arithmetic_methods() {
  using D = FunctionDecoder;
  return {
      // clang-format off
      {"add", &D::add}, {"sub", &D::sub}, {"mul", &D::mul}, {"mad", &D::mad}, {"fma", &D::fma},
      {"div", &D::div}, {"rem", &D::rem}, {"abs", &D::abs}, {"neg", &D::neg}, {"min", &D::min},
      {"max", &D::max}, {"rcp", &D::rcp}, {"sqrt", &D::sqrt}, {"rsqrt", &D::rsqrt},
      {"ex2", &D::ex2}, {"lg2", &D::lg2}, {"sin", &D::sin}, {"cos", &D::cos}, {"tanh", &D::tanh},
      {"copysign", &D::copysign}, {"sad", &D::sad}, {"mul24", &D::mul}, {"mad24", &D::mad},
      {"addc", &D::add}, {"subc", &D::sub}, {"madc", &D::mad}, {"dp4a", &D::dot_product},
      {"dp2a", &D::dot_product}, {"vadd2", &D::video}, {"vadd4", &D::video},
      {"vsub2", &D::video}, {"vsub4", &D::video}, {"vavrg2", &D::video}, {"vavrg4", &D::video},
      {"vabsdiff2", &D::video}, {"vabsdiff4", &D::video}, {"vmin2", &D::video},
      {"vmin4", &D::video}, {"vmax2", &D::video}, {"vmax4", &D::video},
      // clang-format on
  };
}

FunctionDecoder::MethodTable FunctionDecoder::bit_methods() {
  using D = FunctionDecoder;
  return {
      // clang-format off
      {"and", &D::logic}, {"or", &D::logic}, {"xor", &D::logic}, {"not", &D::logic},
      {"cnot", &D::logic}, {"shl", &D::shift}, {"shr", &D::shift}, {"popc", &D::count},
      {"clz", &D::count}, {"bfind", &D::count}, {"brev", &D::count}, {"bfe", &D::bit_field},
      {"bfi", &D::bit_field}, {"bmsk", &D::bit_field}, {"szext", &D::bit_field},
      {"prmt", &D::permute}, {"lop3", &D::lop3}, {"shf", &D::funnel}, {"selp", &D::selp},
      {"slct", &D::slct}, {"setp", &D::compare}, {"set", &D::set}, {"testp", &D::testp},
      {"mov", &D::mov}, {"cvt", &D::cvt}, {"cvta", &D::cvta}, {"isspacep", &D::isspacep},
      // clang-format on
  };
}

FunctionDecoder::MethodTable FunctionDecoder::other_methods() {
  using D = FunctionDecoder;
  return {
      // clang-format off
      {"ld", &D::ld}, {"ldu", &D::ld}, {"st", &D::st}, {"atom", &D::atom}, {"red", &D::atom},
      {"membar", &D::fence}, {"fence", &D::fence}, {"cp", &D::cp}, {"mbarrier", &D::mbarrier},
      {"prefetch", &D::prefetch}, {"prefetchu", &D::prefetch}, {"discard", &D::nop},
      {"applypriority", &D::nop}, {"bra", &D::bra}, {"brx", &D::brx}, {"ret", &D::ret},
      {"exit", &D::exit}, {"trap", &D::trap}, {"brkpt", &D::trap}, {"call", &D::call},
      {"bar", &D::bar}, {"barrier", &D::bar}, {"shfl", &D::shfl}, {"vote", &D::vote},
      {"activemask", &D::activemask}, {"match", &D::match}, {"redux", &D::redux},
      {"nanosleep", &D::nanosleep}, {"pmevent", &D::nop}, {"setmaxnreg", &D::nop},
      {"griddepcontrol", &D::nop}, {"tex", &D::tex}, {"tld4", &D::tld4},
      {"mma", &D::mma}, {"wmma", &D::wmma}, {"ldmatrix", &D::matrix_rows},
      {"stmatrix", &D::matrix_rows}, {"movmatrix", &D::matrix_rows},
      {"txq", &D::image_query}, {"suq", &D::image_query}, {"suld", &D::suld}, {"sust", &D::sust},
      {"mapa", &D::map_address}, {"getctarank", &D::map_address},
      // clang-format on
  };
}

const FunctionDecoder::MethodTable& FunctionDecoder::methods() {
  static const MethodTable kMethods = [] {
    MethodTable all = arithmetic_methods();
    all.merge(bit_methods());
    all.merge(other_methods());
    return all;
  }();
  return kMethods;
}

}  // namespace farcall::softgpu
