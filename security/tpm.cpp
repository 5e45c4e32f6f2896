#include "security/tpm.h"

#include <dlfcn.h>
#include <openssl/evp.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <memory>

#include "security/digest.h"
#include "security/file.h"
#include "security/manifest_file.h"

namespace farcall::security {
namespace {

constexpr std::string_view kKeyLabel = "farcall attestation key 1";
// Something may extend a PCR between reading it and the quote.
constexpr int kTries = 3;

// The functions of tpm2-tss that are used, of libraries that stay loaded.
struct Tss {
  decltype(&Tss2_TctiLdr_Initialize) tcti_open = nullptr;
  decltype(&Tss2_TctiLdr_Finalize) tcti_close = nullptr;
  decltype(&Esys_Initialize) open = nullptr;
  decltype(&Esys_Finalize) close = nullptr;
  decltype(&Esys_CreatePrimary) create_primary = nullptr;
  decltype(&Esys_FlushContext) flush = nullptr;
  decltype(&Esys_PCR_Read) read_pcrs = nullptr;
  decltype(&Esys_Quote) quote = nullptr;
  decltype(&Esys_Free) free = nullptr;
  decltype(&Tss2_RC_Decode) text_of = nullptr;
};

template <class Function>
bool find(void* library, const char* name, Function* function) {
  if (library != nullptr) *function = reinterpret_cast<Function>(::dlsym(library, name));
  return *function != nullptr;
}

Result<Tss> load_tss() {
  void* tcti = ::dlopen("libtss2-tctildr.so.0", RTLD_NOW | RTLD_LOCAL);
  void* esys = ::dlopen("libtss2-esys.so.0", RTLD_NOW | RTLD_LOCAL);
  void* rc = ::dlopen("libtss2-rc.so.0", RTLD_NOW | RTLD_LOCAL);
  Tss tss;
  const bool all =
      find(tcti, "Tss2_TctiLdr_Initialize", &tss.tcti_open) &&
      find(tcti, "Tss2_TctiLdr_Finalize", &tss.tcti_close) &&
      find(esys, "Esys_Initialize", &tss.open) && find(esys, "Esys_Finalize", &tss.close) &&
      find(esys, "Esys_CreatePrimary", &tss.create_primary) &&
      find(esys, "Esys_FlushContext", &tss.flush) && find(esys, "Esys_PCR_Read", &tss.read_pcrs) &&
      find(esys, "Esys_Quote", &tss.quote) && find(esys, "Esys_Free", &tss.free) &&
      find(rc, "Tss2_RC_Decode", &tss.text_of);
  if (all) return tss;
  return Status(Code::kNotFound,
                "the libraries of tpm2-tss that talk to a TPM are not here: install Debian's "
                "libtss2-esys-3.0.2-0, libtss2-tctildr0, libtss2-rc0 and libtss2-tcti-device0");
}

// What the TPM or tpm2-tss has allocated for us.
template <class T>
class Held {
 public:
  explicit Held(const Tss& tss) : tss_(tss) {}
  ~Held() { tss_.free(held_); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  T** room() { return &held_; }
  T* operator->() { return held_; }
  T& operator*() { return *held_; }

 private:
  const Tss& tss_;
  T* held_ = nullptr;
};

// A number of at most 32 bytes, big endian, as one of 32. False where it is longer.
bool take_number(const TPM2B_ECC_PARAMETER& number, std::span<std::byte> room) {
  if (number.size > room.size()) return false;
  std::ranges::fill(room, std::byte{0});
  std::ranges::copy(std::as_bytes(std::span(number.buffer)).first(number.size),
                    room.end() - number.size);
  return true;
}

TPML_PCR_SELECTION selection_of(std::uint32_t mask) {
  TPML_PCR_SELECTION selection{};
  selection.count = 1;
  selection.pcrSelections[0].hash = TPM2_ALG_SHA256;
  selection.pcrSelections[0].sizeofSelect = 3;
  for (std::size_t i = 0; i < 3; ++i) {
    selection.pcrSelections[0].pcrSelect[i] = static_cast<BYTE>(mask >> 8 * i & 0xff);
  }
  return selection;
}

std::uint32_t mask_of(const TPML_PCR_SELECTION& selection) {
  std::uint32_t mask = 0;
  if (selection.count != 1 || selection.pcrSelections[0].hash != TPM2_ALG_SHA256) return mask;
  for (std::size_t i = 0; i < std::min<std::size_t>(selection.pcrSelections[0].sizeofSelect, 3);
       ++i) {
    mask |= std::uint32_t{selection.pcrSelections[0].pcrSelect[i]} << 8 * i;
  }
  return mask;
}

TPM2B_PUBLIC key_template() {
  TPM2B_PUBLIC key{};
  TPMT_PUBLIC& area = key.publicArea;
  area.type = TPM2_ALG_ECC;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                          TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                          TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT;
  area.parameters.eccDetail.symmetric.algorithm = TPM2_ALG_NULL;
  area.parameters.eccDetail.scheme.scheme = TPM2_ALG_ECDSA;
  area.parameters.eccDetail.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
  area.parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
  area.parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
  // A key that other programs do not come to by the same template.
  const Sha256 label = sha256(bytes_of(kKeyLabel));
  area.unique.ecc.x.size = static_cast<UINT16>(label.size());
  std::ranges::copy(label, std::as_writable_bytes(std::span(area.unique.ecc.x.buffer)).begin());
  return key;
}

// A connection to a TPM with our key in it.
class Tpm {
 public:
  Tpm(const Tss& tss, std::string tcti) : tss_(tss), place_(std::move(tcti)) {}
  ~Tpm() {
    if (key_ != ESYS_TR_NONE) static_cast<void>(tss_.flush(esys_, key_));
    if (esys_ != nullptr) tss_.close(&esys_);
    if (tcti_ != nullptr) tss_.tcti_close(&tcti_);
  }
  Tpm(const Tpm&) = delete;
  Tpm& operator=(const Tpm&) = delete;

  Status open();
  Status load_key(Quote* quote);
  Status read_pcrs(Quote* quote);
  Status sign(const Sha256& qualifying, Quote* quote);

 private:
  Status failed(const char* doing, TSS2_RC why) const {
    return {Code::kSystem,
            "the TPM at " + place_ + " does not " + doing + ": " + tss_.text_of(why)};
  }
  const Tss& tss_;
  const std::string place_;
  TSS2_TCTI_CONTEXT* tcti_ = nullptr;
  ESYS_CONTEXT* esys_ = nullptr;
  ESYS_TR key_ = ESYS_TR_NONE;
};

Status Tpm::open() {
  if (const TSS2_RC why = tss_.tcti_open(place_.c_str(), &tcti_); why != TSS2_RC_SUCCESS) {
    return {Code::kSystem, "no TPM answers at " + place_ + " (" + tss_.text_of(why) +
                               "): is it there, and may this user open it? Debian's group is tss"};
  }
  const TSS2_RC why = tss_.open(&esys_, tcti_, nullptr);
  return why == TSS2_RC_SUCCESS ? ok() : failed("answer", why);
}

Status Tpm::load_key(Quote* quote) {
  const TPM2B_SENSITIVE_CREATE sensitive{};
  const TPM2B_PUBLIC wanted = key_template();
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION creation{};
  Held<TPM2B_PUBLIC> made(tss_);
  const TSS2_RC why = tss_.create_primary(esys_, ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD,
                                          ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &wanted, &outside,
                                          &creation, &key_, made.room(), nullptr, nullptr, nullptr);
  if (why != TSS2_RC_SUCCESS) {
    return failed("make its attestation key (P-256, endorsement hierarchy, without a password)",
                  why);
  }
  const TPMS_ECC_POINT& point = made->publicArea.unique.ecc;
  const std::span<std::byte> room(quote->key);
  if (take_number(point.x, room.first(32)) && take_number(point.y, room.last(32))) return ok();
  return failed("make a P-256 key", TPM2_RC_CURVE);
}

// A TPM gives eight at a time.
Status Tpm::read_pcrs(Quote* quote) {
  quote->pcrs = {};
  while (quote->pcrs.mask != kQuotedPcrs) {
    const TPML_PCR_SELECTION wanted = selection_of(kQuotedPcrs & ~quote->pcrs.mask);
    Held<TPML_PCR_SELECTION> given(tss_);
    Held<TPML_DIGEST> values(tss_);
    const TSS2_RC why = tss_.read_pcrs(esys_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &wanted,
                                       nullptr, given.room(), values.room());
    if (why != TSS2_RC_SUCCESS) return failed("tell its PCRs", why);
    const std::uint32_t mask = mask_of(*given) & kQuotedPcrs & ~quote->pcrs.mask;
    if (mask == 0 || std::popcount(mask) != static_cast<int>(values->count)) {
      return {Code::kSystem, "the TPM at " + place_ +
                                 " has no PCRs of the SHA-256 bank: switch it on in the firmware"};
    }
    std::size_t next = 0;
    for (std::size_t i = 0; i < kPcrs; ++i) {
      if ((mask >> i & 1) == 0) continue;
      const TPM2B_DIGEST& value = values->digests[next++];
      if (value.size != sizeof(Sha256)) return failed("tell its PCRs", TPM2_RC_HASH);
      std::ranges::copy(std::as_bytes(std::span(value.buffer)).first(value.size),
                        quote->pcrs.values[i].begin());
    }
    quote->pcrs.mask |= mask;
  }
  return ok();
}

Status Tpm::sign(const Sha256& qualifying, Quote* quote) {
  TPM2B_DATA asked{};
  asked.size = static_cast<UINT16>(qualifying.size());
  std::ranges::copy(qualifying, std::as_writable_bytes(std::span(asked.buffer)).begin());
  TPMT_SIG_SCHEME scheme{};
  scheme.scheme = TPM2_ALG_NULL;  // the key's own
  const TPML_PCR_SELECTION selection = selection_of(kQuotedPcrs);
  Held<TPM2B_ATTEST> attest(tss_);
  Held<TPMT_SIGNATURE> signature(tss_);
  const TSS2_RC why = tss_.quote(esys_, key_, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &asked,
                                 &scheme, &selection, attest.room(), signature.room());
  if (why != TSS2_RC_SUCCESS) return failed("make a quote", why);
  const auto bytes = std::as_bytes(std::span(attest->attestationData)).first(attest->size);
  quote->attest.assign(bytes.begin(), bytes.end());
  const TPMS_SIGNATURE_ECDSA& pair = signature->signature.ecdsa;
  const std::span<std::byte> room(quote->signature);
  if (signature->sigAlg == TPM2_ALG_ECDSA && take_number(pair.signatureR, room.first(32)) &&
      take_number(pair.signatureS, room.last(32))) {
    return ok();
  }
  return failed("sign with ECDSA", TPM2_RC_SCHEME);
}

}  // namespace

Result<Quote> make_quote(const std::string& tcti, const QuoteBinding& binding) {
  Result<Tss> tss = load_tss();
  if (!tss.ok()) return tss.status();
  Tpm tpm(tss.value(), tcti);
  Quote quote;
  quote.manifest = binding.manifest;
  Status done = tpm.open();
  if (done.ok()) done = tpm.load_key(&quote);
  for (int i = 0; done.ok() && i < kTries; ++i) {
    done = tpm.read_pcrs(&quote);
    if (done.ok()) done = tpm.sign(qualifying_data(binding), &quote);
    if (!done.ok()) return done;
    // Read as the authority will.
    Result<Quote> whole = parse_quote(encode_quote(quote));
    if (!whole.ok() || has_its_pcrs(whole.value())) return whole;
  }
  if (!done.ok()) return done;
  return Status(Code::kBusy, "the PCRs of the TPM at " + tcti + " change while they are read");
}

Attester attester_of(std::string tcti, std::string manifest_path) {
  return [tcti = std::move(tcti),
          path = std::move(manifest_path)](QuoteBinding binding) -> Result<std::vector<std::byte>> {
    if (!path.empty()) {
      Result<FileDigest> manifest = digest_of_manifest(path);
      if (!manifest.ok()) return manifest.status();
      binding.manifest = manifest.value();
    }
    Result<Quote> quote = make_quote(tcti, binding);
    if (!quote.ok()) return quote.status();
    return encode_quote(quote.value());
  };
}

}  // namespace farcall::security
