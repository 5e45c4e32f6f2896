// Settings: what the shim reads from the environment of the program it lives in.
//
//   Result<Settings> settings = settings_from_environment();
//   if (!settings.ok()) …                    // e.g. kNotFound: FARCALL_SERVER is not set
//
//   FARCALL_SERVER       host:port of a farcall-server, or tcp://host:port to insist on a carrier;
//                        several, separated by commas, for the devices of all of them; without it
//                        there is no device
//   FARCALL_CERT, FARCALL_KEY, FARCALL_CA, FARCALL_LEASE   certificate, key, CA, lease tokens
//   FARCALL_SERVER_NAME  name the server's certificate must carry; default: the host. With several
//                        servers one for all, or a list
//   FARCALL_LANES        connections that payloads are spread over, 1 to 8; default: by distance
//   FARCALL_COMPRESS     payloads, where the server allows it: off (default), auto or on
//   FARCALL_SPREAD       several servers' devices in turns; see spread.h
//   CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER   as with CUDA: transport/cuda/visible_devices.h
//   FARCALL_STRICT       1: every call waits for its own result
//   FARCALL_STATS        file for the figures of the session, written when the program ends
//   FARCALL_TRACE        file for a record of every call, for `farcall explain`; see trace.h
//   FARCALL_STATUS       file that says, in one line, why there is no device
//   FARCALL_LOG          level[:file], see transport/base/log.h
//   FARCALL_OFF          optimisations to do without: spin,gather,… or all; see switches.h
//   FARCALL_ENGINE       what seals records: auto (default), evp, ipsec-mb; see link/engine.h
//   FARCALL_CRYPTO_THREADS   helper threads for large payloads, 0 to 4; see link/crypto_pool.h
//
// Owner: plain values.  Threads: any; reads the environment once each call.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "transport/base/status.h"

namespace farcall::shim {

struct Settings {
  std::string server;
  std::string certificate;
  std::string key;
  std::string ca;
  std::string server_name;
  std::string lanes;
  std::string compress;
  std::string stats_file;
  std::string trace_file;
  std::optional<std::string> visible_devices;  // nothing: not set, which shows every device
  std::optional<std::string> device_order;
  bool strict = false;
};

// Also sets the switches of this process.
// Errors: kNotFound (no FARCALL_SERVER), kUnsupported (a certificate setting is missing, or
// FARCALL_OFF names no switch).
Result<Settings> settings_from_environment();

// The settings for each of the servers that `all` names, at least one: the first writes its figures
// and trace where `all` says, the others to the same path with .2, .3, … behind it.
// Errors: kUnsupported (a list that is none, or another number of names than of servers).
Result<std::vector<Settings>> split_settings(const Settings& all);

// "gpu1:7717,gpu2:7717": the servers without their carriers, which tells processes with the same
// devices from others.
std::string places_of(const std::vector<Settings>& servers);

// Writes one line with `why` to the file FARCALL_STATUS names, if any; nothing on success of a
// session, so that the file's presence means failure. Never fails loudly.
void report_status(const Status& why);

}  // namespace farcall::shim
