#include "client_shim/functions.h"

#include <algorithm>

#include "transport/api/hand.h"
#include "transport/base/limits.h"

namespace farcall::shim {
FunctionFacts parse_function(wire::Reader& in) {
  FunctionFacts facts;
  auto told = in.get<api::hand::FunctionFacts>();
  facts.id = told.id;
  std::copy(told.attributes.begin(), told.attributes.end(), facts.attributes.begin());
  auto known = [&](CUfunction_attribute which) {
    int value = facts.attributes[static_cast<std::size_t>(which)];
    return value == api::hand::kNoAttribute ? -1 : value;
  };
  facts.max_threads = known(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  facts.static_shared_bytes = known(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
  facts.max_dynamic_shared_bytes = known(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
  std::uint32_t count = told.param_count;
  facts.params_known = count != api::hand::kNoParams;
  if (!facts.params_known) return facts;
  if (count > api::hand::kParamsMax || count > in.left() / sizeof(std::uint32_t)) {
    in.fail();
    return facts;
  }
  facts.param_bytes.resize(count);
  for (std::uint32_t& bytes : facts.param_bytes) {
    bytes = in.get<std::uint32_t>();
    facts.total_param_bytes += bytes;
  }
  if (facts.total_param_bytes > limits::kKernelParamBytesMax) in.fail();
  return facts;
}

std::string Functions::key(std::uint64_t owner, const std::string& name) {
  return std::to_string(owner) + '/' + name;
}

void Functions::add(FunctionFacts facts) {
  auto state = state_.lock();
  facts.is_runtimes |= state->runtimes.contains(facts.owner);
  auto shared = std::make_shared<const FunctionFacts>(std::move(facts));
  auto [at, is_new] = state->by_id.insert_or_assign(shared->id, shared);
  if (!is_new) changed();
  if (!shared->name.empty()) state->by_name[key(shared->owner, shared->name)] = shared->id;
}

FunctionRefs Functions::find(std::uint64_t id) {
  auto state = state_.lock();
  auto at = state->by_id.find(id);
  return at == state->by_id.end() ? nullptr : at->second;
}

FunctionRefs Functions::find_named(std::uint64_t owner, const std::string& name) {
  auto state = state_.lock();
  auto at = state->by_name.find(key(owner, name));
  if (at == state->by_name.end()) return nullptr;
  auto facts = state->by_id.find(at->second);
  return facts == state->by_id.end() ? nullptr : facts->second;
}

std::optional<int> Functions::attribute(std::uint64_t id, CUfunction_attribute which, int ordinal) {
  // Those that can be set are left to the driver.
  if (which < 0 || which > CU_FUNC_ATTRIBUTE_CACHE_MODE_CA) return std::nullopt;
  FunctionRefs facts = find(id);
  if (facts == nullptr || facts->ordinal != ordinal) return std::nullopt;
  int value = facts->attributes[static_cast<std::size_t>(which)];
  if (value == api::hand::kNoAttribute) return std::nullopt;
  return value;
}

void Functions::set_max_dynamic_shared(std::uint64_t id, int bytes) {
  auto state = state_.lock();
  auto at = state->by_id.find(id);
  if (at == state->by_id.end()) return;
  FunctionFacts facts = *at->second;
  facts.max_dynamic_shared_bytes = bytes;
  at->second = std::make_shared<const FunctionFacts>(std::move(facts));
  changed();
}

void Functions::drop_owner(std::uint64_t owner) {
  auto state = state_.lock();
  state->runtimes.erase(owner);
  std::erase_if(state->by_name, [&](const auto& entry) {
    auto facts = state->by_id.find(entry.second);
    return facts != state->by_id.end() && facts->second->owner == owner;
  });
  std::erase_if(state->by_id, [&](const auto& entry) { return entry.second->owner == owner; });
  changed();
}

}  // namespace farcall::shim
