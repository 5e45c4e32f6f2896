// Modules and libraries. Bodies: transport/api/hand.h.
#include <optional>

#include "gpu_server/function_facts.h"
#include "gpu_server/jit_options.h"
#include "gpu_server/ledger.h"
#include "gpu_server/module_cache.h"
#include "gpu_server/payload.h"
#include "gpu_server/rows.h"
#include "security/digest.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/log.h"
#include "transport/base/secure_arena.h"
#include "transport/cuda/image.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

using CacheWriter = std::unique_ptr<ModuleCache::Writer>;

// What came, as an image a driver can load, and as what is told of it.
struct Arrived {
  Result<cuda::UnpackedImage> image;
  ModuleFact fact;
};

ImageFact form_of(const cuda::UnpackedImage& image) {
  if (image.parts().empty()) return ImageFact::kUnreadable;
  switch (image.parts()[0].form) {
    case cuda::ImageForm::kElf: return ImageFact::kElf;
    case cuda::ImageForm::kPtx: return ImageFact::kPtx;
    default: return ImageFact::kFatbin;
  }
}

Arrived unpack(const Call& call, Result<SecureBuffer> packed) {
  if (!packed.ok()) return {packed.status(), {}};
  ModuleFact fact{.bytes = packed->size()};
  if (call.facts.tells_modules()) fact.sha256 = security::sha256(packed->bytes());
  Arrived arrived{cuda::unpack_image(std::move(packed).value()), fact};
  if (arrived.image.ok()) arrived.fact.form = form_of(arrived.image.value());
  return arrived;
}

// A request to load, read and checked.
struct Load {
  JitOptions options;
  bool has_payload = false;
  bool wants_functions = false;
  std::optional<hand::ImageName> name;
};

// What to answer: this reply has the same shape whether the driver took the image or not.
struct Loaded {
  CUresult status = CUDA_ERROR_UNKNOWN;
  std::uint64_t id = 0;
  hand::LoadOutcome outcome = hand::LoadOutcome::kTried;
  void* real = nullptr;  // what the driver made
};

Verdict answer_load(Call& call, bool is_library, const Load& load, const Loaded& loaded) {
  call.out.put(static_cast<std::uint32_t>(loaded.status));
  call.out.put(hand::LoadAnswer{loaded.id, loaded.outcome, 0});
  for (std::span<const char> log : {load.options.info_log(), load.options.error_log()}) {
    call.out.put(static_cast<std::uint32_t>(log.size()));
    call.out.bytes(log.data(), log.size());
  }
  const bool all = load.wants_functions && loaded.status == CUDA_SUCCESS && loaded.id != 0;
  put_functions(call, all ? loaded.real : nullptr, is_library, loaded.id);
  return Verdict::kAnswered;
}

// Reads the whole body. False: malformed. A library has two options: a table of host functions,
// which means nothing here, and the promise that the image stays where it is, which was the
// client's to make and does not bind us.
bool load_request(Call& call, bool is_library, Load& load) {
  auto head = call.in.get<hand::LoadImage>();
  load.has_payload = (call.head.flags & wire::kBulkFollows) != 0;
  constexpr std::uint32_t kFlags = hand::kImageNamed | hand::kWantFunctions;
  if (call.in.failed() || (head.flags & ~kFlags) != 0 || head.zero != 0) return false;
  load.wants_functions = (head.flags & hand::kWantFunctions) != 0;
  if (head.option_count > hand::kLoadOptionsMax) return false;
  if (head.library_option_count > (is_library ? hand::kLoadOptionsMax : 0)) return false;
  for (std::uint32_t i = 0; i < head.option_count; ++i) {
    auto each = call.in.get<hand::LoadOption>();
    load.options.add(static_cast<CUjit_option>(each.option), each.value);
  }
  for (std::uint32_t i = 0; i < head.library_option_count; ++i) {
    auto each = call.in.get<hand::LoadOption>();
    if (each.option != CU_LIBRARY_BINARY_IS_PRESERVED) load.options.refuse();
  }
  if ((head.flags & hand::kImageNamed) != 0) load.name = call.in.get<hand::ImageName>();
  if (!call.in.done() || (!load.has_payload && !load.name)) return false;
  return !load.has_payload || !load.name || load.name->bytes == head.payload_bytes;
}

CUresult load_module(Call& call, const void* image, JitOptions& options, void** made) {
  if (call.driver.cuModuleLoadDataEx == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  CUmodule module = nullptr;
  CUresult done = call.driver.cuModuleLoadDataEx(&module, image, options.count(), options.names(),
                                                 options.values());
  *made = module;
  return done;
}

CUresult load_library(Call& call, const void* image, JitOptions& options, void** made) {
  if (call.driver.cuLibraryLoadData == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  CUlibrary library = nullptr;
  CUresult done = call.driver.cuLibraryLoadData(&library, image, options.names(), options.values(),
                                                options.count(), nullptr, nullptr, 0);
  *made = library;
  return done;
}

// The image in the driver, from `image` on.
Loaded load_here(Call& call, bool is_library, const Arrived& arrived, Load& load) {
  void* made = nullptr;
  CUresult done = CUDA_ERROR_INVALID_IMAGE;
  if (arrived.image.ok()) {
    done = (is_library ? load_library : load_module)(call, arrived.image.value().image(),
                                                     load.options, &made);
  }
  ModuleFact fact = arrived.fact;
  fact.loaded = done == CUDA_SUCCESS;
  call.facts.module(fact);
  load.options.finish();
  if (done != CUDA_SUCCESS) return {done};
  std::uint64_t id = call.handles.add(is_library ? Kind::kLibrary : Kind::kModule, made, 0);
  return {id != 0 ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY, id, hand::LoadOutcome::kTried, made};
}

Loaded load_by_name(Call& call, bool is_library, Load& load) {
  if (call.module_cache == nullptr) return {CUDA_SUCCESS, 0, hand::LoadOutcome::kNoCache};
  Result<SecureBuffer> packed = call.module_cache->find(*load.name);
  if (!packed.ok()) return {CUDA_SUCCESS, 0, hand::LoadOutcome::kUnknown};
  Arrived arrived = unpack(call, std::move(packed));
  arrived.fact.from_cache = true;
  return load_here(call, is_library, arrived, load);
}

// An image on its way counts as if it were loaded: nobody can have more of them on their way than
// the lease may have loaded. False: no room.
class ImageOnItsWay {
 public:
  ImageOnItsWay(Call& call, std::uint64_t bytes) : ledger_(call.ledger), bytes_(bytes) {
    has_room_ = ledger_ == nullptr || ledger_->charge({Account::kImages}, bytes_);
  }
  ~ImageOnItsWay() { arrived(); }
  ImageOnItsWay(const ImageOnItsWay&) = delete;
  ImageOnItsWay& operator=(const ImageOnItsWay&) = delete;
  bool has_room() const { return has_room_; }
  // From here on it counts as loaded, where the driver's functions are counted.
  void arrived() {
    if (has_room_ && ledger_ != nullptr) ledger_->give_back({Account::kImages}, bytes_);
    ledger_ = nullptr;
  }

 private:
  Ledger* ledger_;
  const std::uint64_t bytes_;
  bool has_room_;
};

Loaded load_payload(Call& call, bool is_library, Load& load) {
  ImageOnItsWay on_its_way(call, call.bulk.left());
  if (!on_its_way.has_room()) {
    call.ledger->count_refusal();
    return {CUDA_ERROR_OUT_OF_MEMORY};
  }
  CacheWriter writer;
  if (load.name && call.module_cache != nullptr) writer = call.module_cache->begin(*load.name);
  const Arrived arrived = unpack(call, receive_payload(call.bulk, 0, writer.get()));
  on_its_way.arrived();
  Loaded loaded = load_here(call, is_library, arrived, load);
  if (writer == nullptr || loaded.status != CUDA_SUCCESS) return loaded;
  Status kept = writer->keep();
  if (!kept.ok()) FARCALL_LOG_INFO("an image is not kept: %s", kept.to_string().c_str());
  return loaded;
}

Verdict load_image(Call& call, bool is_library) {
  Load load;
  if (!load_request(call, is_library, load)) return Verdict::kMalformed;
  Loaded loaded{CUDA_ERROR_INVALID_VALUE};
  if (!load.options.refused()) {
    loaded = load.has_payload ? load_payload(call, is_library, load)
                              : load_by_name(call, is_library, load);
  }
  if (load.name) wipe(load.name->key);
  return answer_load(call, is_library, load, loaded);
}

Verdict module_load(Call& call) { return load_image(call, false); }
Verdict library_load(Call& call) { return load_image(call, true); }

}  // namespace

std::span<const HandRow> hand_module_rows() {
  // A driver may compile for seconds: nobody else's calls wait for that.
  static const HandRow rows[] = {
      {waiting(row::cuModuleLoadData::info()), module_load, true},
      {waiting(row::cuLibraryLoadData::info()), library_load, true},
  };
  return rows;
}

}  // namespace farcall::server
