// How it works: the input is an audit log's file, as somebody may have left it there. Every line
// that the reader takes must be the one text of what it says, so that nothing passes that the
// writer could not have written; and the whole of it is checked, by a key it was not signed with.
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "security/audit_file.h"
#include "security/audit_line.h"
#include "security/audit_store.h"
#include "security/audit_verify.h"

using namespace farcall;
using namespace farcall::security;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void one_line(std::string_view text) {
  static_cast<void>(is_cut_short(text, false));
  Result<AuditLine> line = parse_line(text);
  if (!line.ok()) return;
  Result<std::string> fields = encode_fields(line->record);
  require(fields.ok());
  AuditPlace place{line->sequence, {}};
  const std::string again = encode_line(line->time, fields.value(), &place);
  const std::string_view said = line->is_checkpoint ? line->signed_text : line->hashed;
  require(again.substr(0, again.rfind(",\"hash\":\"")) == said);
  require(parse_line(again.substr(0, again.size() - 1)).ok() != line->is_checkpoint);
}

// A folder and a key of this run's own.
struct Place {
  Place() {
    // In memory where there is such a folder: a disk would take most of the time.
    char memory[] = "/dev/shm/farcall-fuzz-XXXXXX";
    char disk[] = "/tmp/farcall-fuzz-XXXXXX";
    folder = ::mkdtemp(memory) != nullptr ? memory : disk;
    require(folder == memory || ::mkdtemp(disk) != nullptr);
    if (folder != memory) folder = disk;
    require(make_audit_key(folder + "/audit").ok());
    keys.push_back(AuditVerifier::load(folder + "/audit.pub").value());
  }
  ~Place() {
    for (const char* name : {"/audit.key", "/audit.pub", "/audit-000001.log", "/checkpoint"}) {
      ::unlink((folder + name).c_str());
    }
    ::rmdir(folder.c_str());
  }
  std::string folder;
  std::vector<AuditVerifier> keys;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    one_line(std::string_view(text).substr(at, end - at));
    at = end + 1;
  }
  static Place place;
  std::ofstream(place.folder + "/" + audit_file_name(1), std::ios::binary) << text;
  std::ofstream(place.folder + "/checkpoint", std::ios::binary) << text;
  Result<AuditReport> report = verify_audit(place.folder, {.keys = &place.keys});
  require(report.ok());
  require(report->fault != AuditFault::kNone || report->checkpoints == 0);
  static_cast<void>(find_audit_end(place.folder));
  return 0;
}
