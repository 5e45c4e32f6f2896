// Decoding of texture and surface instructions. Objects are numbers in registers; references that
// PTX declares as variables are gone from CUDA 12.
#include <algorithm>
#include <bit>

#include "gpu_server/software_gpu/exec/decode.h"

namespace farcall::softgpu {

using Kind = ptx::Operand::Kind;

namespace {

// The parts of {a, b}, or the operand itself.
std::span<const ptx::Operand> parts_of(const ptx::Operand& operand) {
  if (operand.kind == Kind::kVector) return operand.parts;
  return {&operand, 1};
}

std::optional<std::uint8_t> shape_of(const Mods& mods) {
  static const std::unordered_map<std::string_view, std::uint8_t> kShapes = {
      {"1d", 1},
      {"2d", 2},
      {"3d", 3},
      {"a1d", 1 | kImageLayered},
      {"a2d", 2 | kImageLayered},
      {"cube", 3 | kImageCube},
      {"acube", 3 | kImageCube | kImageLayered}};
  for (const std::string_view word : mods.all()) {
    if (const auto found = kShapes.find(word); found != kShapes.end()) return found->second;
  }
  return std::nullopt;
}

}  // namespace

std::uint32_t FunctionDecoder::image_object(const ptx::Operand& operand) {
  if (operand.reg == ptx::Operand::kNoRegister || is_pred(operand.reg) || !is_wide(operand.reg) ||
      operand.offset != 0) {
    unsupported("an image that is no object in a register");
    return 0;
  }
  return register_row(operand.reg);
}

FunctionDecoder::ImageOperands FunctionDecoder::image_operands(const ptx::Operand& address,
                                                               Ty coordinate) {
  ImageOperands image;
  std::fill(std::begin(image.rows), std::end(image.rows), constant(0, false));
  const std::optional<std::uint8_t> shape = shape_of(Mods(now_->mods));
  if (!shape || address.kind != Kind::kAddress || address.parts.size() != 2) {
    unsupported();
    return image;
  }
  image.shape = *shape;
  image.object = image_object(address.parts[0]);
  const std::span<const ptx::Operand> given = parts_of(address.parts[1]);
  const bool layered = (image.shape & kImageLayered) != 0;
  const std::size_t dimensions = image.shape & kImageDimensions;
  if (given.size() < dimensions + (layered ? 1 : 0)) {
    unsupported("coordinates");
    return image;
  }
  std::size_t next = 0;
  if (layered) image.rows[kLayerRow] = source(given[next++], Ty::kU32);
  for (std::size_t axis = 0; axis < dimensions; ++axis) {
    image.rows[kCoordinateRow + axis] = source(given[next++], coordinate);
  }
  return image;
}

void FunctionDecoder::image_steps(ImageOperands& image, std::uint32_t first,
                                  const ptx::Operand& steps) {
  const std::span<const ptx::Operand> given = parts_of(steps);
  const std::size_t count = std::min<std::size_t>(given.size(), image.shape & kImageDimensions);
  for (std::size_t axis = 0; axis < count; ++axis) {
    image.rows[first + axis] = source(given[axis], Ty::kF32);
  }
}

Ins& FunctionDecoder::emit_image(Op op, const ImageOperands& image) {
  const auto first = static_cast<std::uint32_t>(out_.more_rows.size());
  out_.more_rows.insert(out_.more_rows.end(), std::begin(image.rows), std::end(image.rows));
  Ins& ins = emit(op, Ty::kU32);
  ins.a = image.object;
  ins.table = first;
  ins.detail = image.shape;
  return ins;
}

void FunctionDecoder::tex() {
  const Mods mods(now_->mods);
  const Ty result = only_type(0), coordinate = only_type(1);
  const bool is_whole = coordinate == Ty::kS32;
  if (!mods.has("v4") || bytes_of(result) != 4 || result == Ty::kF16x2 ||
      (!is_whole && coordinate != Ty::kF32)) {
    return unsupported();
  }
  const LodFrom lod = mods.has("level")  ? LodFrom::kLevel
                      : mods.has("grad") ? LodFrom::kSteps
                                         : LodFrom::kBase;
  // An offset or a depth to compare with would follow.
  if (operands() != 2 + static_cast<std::size_t>(lod)) return unsupported("operands");
  ImageOperands image = image_operands(operand(1), coordinate);
  if (is_whole && (image.shape & kImageCube) != 0) return unsupported();
  if (lod == LodFrom::kLevel) image.rows[kLodRow] = source(operand(2), coordinate);
  if (lod == LodFrom::kSteps) {
    if ((image.shape & kImageCube) != 0) return unsupported();
    image_steps(image, kStepXRow, operand(2));
    image_steps(image, kStepYRow, operand(3));
  }
  const bool tells = operand(0).kind == Kind::kPair;  // whether the texels are resident: always
  const ptx::Operand& to = tells ? operand(0).parts[0] : operand(0);
  if (to.kind != Kind::kVector || to.parts.size() != 4) return unsupported();
  for (std::size_t c = 0; c < 4; ++c) image.rows[kTexelRow + c] = dest(to.parts[c], Ty::kU32);
  const std::uint32_t resident = tells ? dest_pred(operand(0).parts[1]) : new_pred();
  Ins& ins = emit_image(Op::kTexture, image);
  ins.d = resident;
  ins.detail2 = static_cast<std::uint8_t>(lod);
  ins.flags = is_whole ? kAnyFlag : 0;
}

void FunctionDecoder::tld4() {
  const Mods mods(now_->mods);
  const std::string_view component = mods.word(0);
  constexpr std::string_view kComponents = "rgba";
  if (component.size() != 1 || kComponents.find(component) == std::string_view::npos ||
      only_type(1) != Ty::kF32 || operands() != 2) {
    return unsupported();
  }
  ImageOperands image = image_operands(operand(1), Ty::kF32);
  if ((image.shape & kImageDimensions) != 2) return unsupported();
  const bool tells = operand(0).kind == Kind::kPair;
  const ptx::Operand& to = tells ? operand(0).parts[0] : operand(0);
  if (to.kind != Kind::kVector || to.parts.size() != 4) return unsupported();
  for (std::size_t c = 0; c < 4; ++c) image.rows[kTexelRow + c] = dest(to.parts[c], Ty::kU32);
  const std::uint32_t resident = tells ? dest_pred(operand(0).parts[1]) : new_pred();
  Ins& ins = emit_image(Op::kTextureGather, image);
  ins.d = resident;
  ins.detail2 = static_cast<std::uint8_t>(kComponents.find(component));
}

void FunctionDecoder::image_query() {
  static const std::unordered_map<std::string_view, ImageFact> kFacts = {
      {"width", ImageFact::kWidth},
      {"height", ImageFact::kHeight},
      {"depth", ImageFact::kDepth},
      {"array_size", ImageFact::kLayers},
      {"num_mipmap_levels", ImageFact::kLevels}};
  const Mods mods(now_->mods);
  const bool of_level = mods.word(0) == "level";
  const auto fact = kFacts.find(mods.word(of_level ? 1 : 0));
  if (fact == kFacts.end() || operand(1).kind != Kind::kAddress ||
      operands() != (of_level ? 3u : 2u)) {
    return unsupported();
  }
  const std::uint32_t object = image_object(operand(1));
  const std::uint32_t level = of_level ? source(operand(2), Ty::kU32) : constant(0, false);
  const std::uint32_t d = dest(operand(0), Ty::kU32);
  Ins& ins = emit(Op::kImageQuery, Ty::kU32);
  ins.d = d;
  ins.a = object;
  ins.b = level;
  ins.detail = static_cast<std::uint8_t>(fact->second);
  ins.flags = now_->opcode == "suq" ? kAnyFlag : 0;
}

// Elements (log2) and what lies outside, as Ins::detail2 of a surface access.
std::uint8_t FunctionDecoder::outside_of(const Mods& mods) {
  const Outside outside = mods.has("clamp")  ? Outside::kClamp
                          : mods.has("zero") ? Outside::kZero
                                             : Outside::kTrap;
  const unsigned elements = mods.has("v4") ? 2 : mods.has("v2") ? 1 : 0;
  return static_cast<std::uint8_t>(elements | static_cast<unsigned>(outside) << 4);
}

void FunctionDecoder::suld() {
  const Mods mods(now_->mods);
  const Ty type = only_type();
  if (mods.word(0) != "b" || operands() != 2) return unsupported();
  ImageOperands image = image_operands(operand(1), Ty::kU32);
  if ((image.shape & kImageCube) != 0) return unsupported();
  const std::uint8_t outside = outside_of(mods);
  const std::span<const ptx::Operand> to = parts_of(operand(0));
  if (to.size() != std::size_t{1} << (outside & 15)) return unsupported();
  for (std::size_t c = 0; c < to.size(); ++c) image.rows[kTexelRow + c] = dest(to[c], type);
  Ins& ins = emit_image(Op::kSurfaceLoad, image);
  ins.detail2 = outside;
  ins.size_log2 = static_cast<std::uint8_t>(std::countr_zero(bytes_of(type)));
}

void FunctionDecoder::sust() {
  const Mods mods(now_->mods);
  const Ty type = only_type();
  if (mods.word(0) != "b" || operands() != 2) return unsupported();
  ImageOperands image = image_operands(operand(0), Ty::kU32);
  if ((image.shape & kImageCube) != 0) return unsupported();
  const std::uint8_t outside = outside_of(mods);
  const std::span<const ptx::Operand> from = parts_of(operand(1));
  if (from.size() != std::size_t{1} << (outside & 15)) return unsupported();
  for (std::size_t c = 0; c < from.size(); ++c) image.rows[kTexelRow + c] = source(from[c], type);
  Ins& ins = emit_image(Op::kSurfaceStore, image);
  ins.detail2 = outside;
  ins.size_log2 = static_cast<std::uint8_t>(std::countr_zero(bytes_of(type)));
}

}  // namespace farcall::softgpu
