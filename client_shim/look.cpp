#include "client_shim/look.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>

#include "client_shim/process.h"
#include "client_shim/spread.h"
#include "client_shim/usage_page.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace {

// The room is value-initialised, so the rest is NUL.
template <std::size_t kBytes>
void put_text(char (&to)[kBytes], std::string_view text) {
  std::memcpy(to, text.data(), std::min(text.size(), kBytes - 1));
}

LookDevice seen(const Device& device) {
  LookDevice to{};
  put_text(to.name, device.name);
  put_text(to.pci_bus_id, device.pci_bus_id);
  std::memcpy(to.uuid, device.uuid.bytes, sizeof to.uuid);
  to.memory_bytes = device.total_bytes;
  const auto fact = [&](CUdevice_attribute id) { return device.attribute_or(id, 0); };
  to.major = fact(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  to.minor = fact(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  to.pci_domain = fact(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID);
  to.pci_bus = fact(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
  to.pci_device = fact(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID);
  to.multiprocessors = fact(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  to.clock_khz = fact(CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
  to.memory_clock_khz = fact(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
  to.memory_bus_bits = fact(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
  to.has_ecc = fact(CU_DEVICE_ATTRIBUTE_ECC_ENABLED);
  to.compute_mode = fact(CU_DEVICE_ATTRIBUTE_COMPUTE_MODE);
  to.is_multi_gpu_board = fact(CU_DEVICE_ATTRIBUTE_MULTI_GPU_BOARD);
  return to;
}

void fill(const Snapshot& snapshot, std::string_view server, Look* out) {
  *out = Look{};
  out->driver_version = std::min(snapshot.driver_version, CUDA_VERSION);
  const std::size_t count = std::min(snapshot.devices.size(), limits::kDevicesMax);
  out->device_count = static_cast<std::uint32_t>(count);
  put_text(out->server, server);
  std::transform(snapshot.devices.begin(),
                 snapshot.devices.begin() + static_cast<std::ptrdiff_t>(count), out->devices, seen);
}

// The first call of a session is the only one this one makes.
Result<Snapshot> ask_devices(link::Session& session) {
  const wire::FrameHeader head{
      .id = api::row::cuInit::info().id, .flags = wire::kWantsReply, .thread = 1};
  auto call = session.post(head, link::Flush::kNow, [](wire::Writer& out) {
    out.put(api::hand::OpenRequest{api::hand::kOpenVersion, 0});
  });
  if (!call.ok()) return call.status();
  for (;;) {
    // The link notices a peer that is gone; a driver may take its time to start.
    Result<link::Frame> frame = session.receive(Deadline::never());
    if (!frame.ok()) return frame.status();
    if (frame.value().head.call != call.value()) continue;  // a notice
    wire::Reader in(frame.value().body);
    const auto status = static_cast<CUresult>(in.get<std::uint32_t>());
    if (in.failed()) return Status(Code::kMalformed, "the server's answer is cut short");
    if (status != CUDA_SUCCESS) {
      return Status::driver("the server's driver did not start", status);
    }
    return parse_snapshot(in);
  }
}

// As NVML shows them: CUDA_VISIBLE_DEVICES is CUDA's.
Snapshot all_devices(const std::vector<const Snapshot*>& servers) {
  // What is wrong with it, a session says.
  const Result<link::Spread> spread = spread_from_environment();
  return seen_by_program(servers, number_devices(known_devices(servers), std::nullopt, std::nullopt,
                                                 spread.ok() ? spread.value() : link::Spread{}));
}

Result<Snapshot> look_by_sessions_of_its_own(const std::vector<Settings>& servers) {
  std::vector<Snapshot> seen;
  for (const Settings& settings : servers) {
    auto session = connect_session(settings);
    if (!session.ok()) return session.status();
    Result<Snapshot> snapshot = ask_devices(*session.value());
    session.value()->close(Status(Code::kClosed, "the devices have been looked at"));
    if (!snapshot.ok()) return snapshot.status();
    seen.push_back(std::move(snapshot).value());
  }
  std::vector<const Snapshot*> all;
  for (const Snapshot& one : seen) all.push_back(&one);
  return all_devices(all);
}

bool look_at_own_sessions(Look* out) {
  std::vector<const Snapshot*> all;
  std::vector<Settings> servers;
  for_each_client([&](Client& client) {
    all.push_back(&client.all_devices());
    servers.push_back(client.settings());
  });
  if (all.empty()) return false;
  fill(all_devices(all), places_of(servers), out);
  return true;
}

int look(Look* out, std::size_t room) {
  if (out == nullptr || room != sizeof(Look)) return CUDA_ERROR_INVALID_VALUE;
  try {
    if (look_at_own_sessions(out)) return CUDA_SUCCESS;
    bool is_configured = true;
    Result<std::vector<Settings>> servers = settings_of_servers(&is_configured);
    Status failed = servers.status();
    if (servers.ok()) {
      Result<Snapshot> snapshot = look_by_sessions_of_its_own(servers.value());
      if (snapshot.ok()) {
        fill(snapshot.value(), places_of(servers.value()), out);
        return CUDA_SUCCESS;
      }
      failed = snapshot.status();
    }
    FARCALL_LOG_ERROR("no device: %s", failed.to_string().c_str());
    report_status(failed);
    return is_configured ? CUDA_ERROR_SYSTEM_NOT_READY : CUDA_ERROR_NO_DEVICE;
  } catch (const std::exception&) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
}

}  // namespace

const LookTable& look_table() {
  static constexpr LookTable kTable = {sizeof(LookTable), look};
  return kTable;
}

}  // namespace farcall::shim
