// A text's declarations: everything outside the bodies.
#include <algorithm>
#include <charconv>

#include "gpu_server/software_gpu/ptx/declarations.h"
#include "gpu_server/software_gpu/ptx/parser.h"
#include "gpu_server/software_gpu/ptx/signature.h"
#include "transport/base/limits.h"

namespace farcall::softgpu::ptx {
namespace {

class ModuleParser {
 public:
  explicit ModuleParser(std::string text) {
    module_.units.emplace_back();
    unit().text = std::make_shared<const std::string>(std::move(text));
  }

  Result<Module> parse() {
    Lexer in(*unit().text, 1);
    if (!in.at_word(".version")) return in.fail("'.version' (is this PTX?)");
    while (!in.at_end()) FARCALL_TRY(parse_item(in));
    resolve_initializers();
    module_.sm = unit().sm;
    return std::move(module_);
  }

 private:
  Unit& unit() { return module_.units.front(); }

  Status parse_item(Lexer& in) {
    const Token first = in.peek();
    if (first.kind == Token::Kind::kMark && first.mark == '@') {  // @@DWARF, of old compilers
      in.skip_line(first.line);
      return {};
    }
    if (in.take(';')) return {};
    const Linkage linkage = parse_linkage(in);
    if (in.at_word(".entry") || in.at_word(".func")) return parse_callable(in, linkage);
    if (!in.at_directive()) return in.fail("a directive");
    if (const Space space = space_of(in.peek().text); space != Space::kNone) {
      in.take();
      return add_variables(in, space, linkage);
    }
    return parse_directive(in);
  }

  static Space space_of(std::string_view word) {
    if (word == ".tex") return Space::kGlobal;  // the old way to declare a texture
    const Space space = space_from_directive(word);
    return space == Space::kReg || space == Space::kParam ? Space::kNone : space;
  }

  Status parse_directive(Lexer& in) {
    if (in.at_word(".pragma")) return skip_pragma(in);
    const Token word = in.take();
    if (word.text == ".version") return parse_version(in);
    if (word.text == ".target") return parse_target(in);
    if (word.text == ".address_size") {
      Result<std::uint32_t> bits = in.expect_u32();
      if (!bits.ok()) return bits.status();
      if (bits.value() == 64) return {};
      return {Code::kUnsupported, in.fail_at(word.line, "only 64-bit addresses").text()};
    }
    if (word.text == ".file" || word.text == ".loc") {
      in.skip_line(word.line);
      return {};
    }
    if (word.text == ".section") {
      while (!in.at_end() && !in.at('{')) in.take();
      return in.skip_braces().status();
    }
    if (word.text == ".alias") return parse_alias(in);
    return in.fail_at(word.line, "unknown '" + std::string(word.text.substr(0, 64)) + "'");
  }

  Status parse_version(Lexer& in) {
    const Token number = in.take();
    const std::string_view text = number.text;
    const char* end = text.data() + text.size();
    const auto major = std::from_chars(text.data(), end, unit().version_major);
    if (major.ec != std::errc() || major.ptr == end || *major.ptr != '.') {
      return in.fail_at(number.line, "no version number");
    }
    std::from_chars(major.ptr + 1, end, unit().version_minor);
    return {};
  }

  // .target sm_90a, debug
  Status parse_target(Lexer& in) {
    do {
      Result<std::string_view> name = in.expect_name();
      if (!name.ok()) return name.status();
      if (name.value().starts_with("sm_")) {
        const std::string_view digits = name.value().substr(3);
        std::from_chars(digits.data(), digits.data() + digits.size(), unit().sm);
      }
    } while (in.take(','));
    return {};
  }

  // .alias other, function;
  Status parse_alias(Lexer& in) {
    Result<std::string_view> alias = in.expect_name();
    if (!alias.ok()) return alias.status();
    FARCALL_TRY(in.expect(','));
    Result<std::string_view> target = in.expect_name();
    if (!target.ok()) return target.status();
    const auto found = unit().names.find(target.value());
    if (found == unit().names.end() || found->second.kind != Symbol::Kind::kFunction) {
      return in.fail("an alias of a function declared before");
    }
    const Symbol function = found->second;
    unit().names.insert_or_assign(std::string(alias.value()), function);
    return in.expect(';');
  }

  Status add_variables(Lexer& in, Space space, Linkage linkage) {
    Result<std::vector<Variable>> parsed = parse_variables(in, space, linkage);
    if (!parsed.ok()) return parsed.status();
    for (Variable& variable : parsed.value()) FARCALL_TRY(add(in, std::move(variable)));
    return {};
  }

  Status add(const Lexer& in, Variable variable) {
    if (const auto found = unit().names.find(variable.name); found != unit().names.end()) {
      if (found->second.kind != Symbol::Kind::kVariable) return twice(in, variable.line);
      Variable& before = module_.variables[found->second.index];
      if (variable.is_extern) return {};
      if (!before.is_extern) return twice(in, variable.line);
      before = std::move(variable);
      return {};
    }
    const auto index = static_cast<std::uint32_t>(module_.variables.size());
    unit().names.emplace(variable.name, Symbol{Symbol::Kind::kVariable, index});
    module_.variables.push_back(std::move(variable));
    return {};
  }

  Status parse_callable(Lexer& in, Linkage linkage) {
    Result<Function> parsed = parse_function(in, linkage);
    if (!parsed.ok()) return parsed.status();
    Function& function = parsed.value();
    if (const auto found = unit().names.find(function.name); found != unit().names.end()) {
      if (found->second.kind != Symbol::Kind::kFunction) return twice(in, function.line);
      Function& before = module_.functions[found->second.index];
      if (!function.has_body) return {};
      if (before.has_body) return twice(in, function.line);
      // A declaration may say .visible or .weak for the definition that follows it.
      function.is_visible |= before.is_visible;
      function.is_weak |= before.is_weak;
      before = std::move(function);
      return {};
    }
    const auto index = static_cast<std::uint32_t>(module_.functions.size());
    unit().names.emplace(function.name, Symbol{Symbol::Kind::kFunction, index});
    module_.functions.push_back(std::move(function));
    return {};
  }

  static Status twice(const Lexer& in, std::uint32_t line) {
    return in.fail_at(line, "a name that is defined already");
  }

  void resolve_initializers() {
    for (Variable& variable : module_.variables) {
      for (Relocation& relocation : variable.relocations) {
        const auto found = unit().names.find(relocation.name);
        if (found != unit().names.end()) relocation.symbol = found->second;
      }
    }
  }

  Module module_;
};

std::optional<std::size_t> find(const Module& module, std::string_view name, std::size_t unit,
                                Symbol::Kind kind) {
  if (unit >= module.units.size()) return std::nullopt;
  const auto& names = module.units[unit].names;
  const auto found = names.find(name);
  if (found == names.end() || found->second.kind != kind) return std::nullopt;
  return found->second.index;
}

}  // namespace

Result<Module> parse_module(std::string text) {
  if (text.size() > limits::kPtxBytesMax) {
    return Status(Code::kOverQuota, "a PTX text of more than 1 GiB");
  }
  text.resize(std::min(text.find('\0'), text.size()));
  return ModuleParser(std::move(text)).parse();
}

std::optional<std::size_t> Module::find_function(std::string_view name, std::size_t unit) const {
  return find(*this, name, unit, Symbol::Kind::kFunction);
}

std::optional<std::size_t> Module::find_variable(std::string_view name, std::size_t unit) const {
  return find(*this, name, unit, Symbol::Kind::kVariable);
}

}  // namespace farcall::softgpu::ptx
