// The syntax tree of one PTX module: what a text says, not what its instructions mean.
//
//   Result<Module> module = parse_module(std::move(text));           // fast: bodies are only found
//   const Function& entry = module->functions[*module->find_function("_Z4vaddPfS_S_i", 0)];
//   Result<Body> body = parse_body(module.value(), entry);           // now that it is needed
//   for (const Instruction& step : body->instructions) …
//
// Every name that an instruction uses is resolved to an index here, scopes included, so that a
// decoder never looks a name up. Every string_view points into a text that the Module keeps alive
// (and copies of the Module share).
// Owner: plain values.  Threads: a Module does not change once parsed; parse_body only reads it.
// Source: PTX ISA 9.0.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace farcall::softgpu::ptx {

enum class Space : std::uint8_t { kNone, kReg, kConst, kGlobal, kLocal, kParam, kShared };

enum class Type : std::uint8_t {
  kNone,
  kPred,
  kB8,
  kB16,
  kB32,
  kB64,
  kB128,
  kU8,
  kU16,
  kU32,
  kU64,
  kS8,
  kS16,
  kS32,
  kS64,
  kF16,
  kF16x2,
  kBf16,
  kBf16x2,
  kTf32,
  kF32,
  kF64,
  kTexref,
  kSamplerref,
  kSurfref,
};

// Bytes of one element; a predicate counts as 1, an opaque reference as 8, kNone as 0.
std::uint32_t type_bytes(Type type);
// "u32" and the like, without the dot.
std::optional<Type> type_from_name(std::string_view name);

// What a name in an instruction or an initialiser stands for.
struct Symbol {
  enum class Kind : std::uint8_t {
    kUnresolved,  // nothing of that name; the name itself is in Operand::text / Relocation::name
    kVariable,    // Module::variables[index]
    kFunction,    // Module::functions[index]
    kLocal,       // Body::variables[index]: .local, .shared or call .param of this body
    kParam,       // Function::params[index]
    kReturn,      // Function::returns[index]
    kTable,       // Body::tables[index]: targets of brx.idx or of an indirect call
    kPrototype,   // Body::prototypes[index]: signature of an indirect call
  };
  Kind kind = Kind::kUnresolved;
  std::uint32_t index = 0;
};

// An operand as written. Which fields count depends on `kind`.
struct Operand {
  enum class Kind : std::uint8_t {
    kRegister,        // reg (a predicate too), negated for !%p, selector for %r1.b0
    kImmediate,       // bits: the value in two's complement, 64 bits wide
    kFloatImmediate,  // bits: of an f32 if float_bytes is 4 (0f…), else of an f64 (0d…, 1.5)
    kSymbol,          // symbol (+ offset): mov.u64 %rd1, table+8;  a call's target too
    kAddress,         // [base + offset]: base is reg if >= 0, else symbol, else absolute.
                      // [tex, {x, y}] and its like: parts holds every element instead
    kVector,          // {a, b, …}: parts
    kPair,            // p|q: parts, exactly two
    kList,            // (a, b): parts; the returns and arguments of a call
    kLabel,           // label: index into Body::labels
    kSpecial,         // text: "tid.x", "laneid", "envreg1", …: a %name that nobody declared
    kSink,            // _
  };
  static constexpr std::int32_t kNoRegister = -1;

  Kind kind = Kind::kSink;
  bool negated = false;  // !%p
  std::uint8_t float_bytes = 0;
  std::int32_t reg = kNoRegister;  // index into Body::registers
  std::uint32_t label = 0;
  Symbol symbol;
  std::uint64_t bits = 0;
  std::int64_t offset = 0;
  std::string_view text;      // the name as written, for messages and kSpecial (without the %)
  std::string_view selector;  // "b0", "h1" of a video instruction's register; else empty
  std::vector<Operand> parts;
};

// One instruction. `mods` are the dot-separated words after the opcode, in order:
// "ld.global.nc.f32" is {"global", "nc", "f32"}; "shared::cta" stays one word. call and call.uni
// always have the operands kList (returns), target (kSymbol or kRegister), kList (arguments), and
// for an indirect call a fourth (kSymbol of a prototype or table).
struct Instruction {
  std::string_view opcode;
  std::vector<std::string_view> mods;
  std::vector<Operand> operands;
  std::int32_t guard_reg = Operand::kNoRegister;  // @%p; index into Body::registers
  bool guard_negated = false;                     // @!%p
  std::uint32_t line = 0;                         // in the unit's text, from 1
};

// A part of an initialiser that is an address: `bytes` bytes at `offset` receive
// ((address of the symbol + addend) >> shift).
struct Relocation {
  std::uint64_t offset = 0;
  std::uint32_t bytes = 8;
  std::uint32_t shift = 0;  // for 0xFF00(name): one byte of an address
  bool generic = false;     // generic(name): the generic address, else the one within its space
  Symbol symbol;            // kVariable or kFunction
  std::int64_t addend = 0;
  std::string_view name;
};

struct Variable {
  std::string name;
  Space space = Space::kNone;
  Type type = Type::kNone;  // of one element
  std::uint32_t align = 1;  // the declared one, else the element's (vector's) natural one
  std::uint64_t bytes = 0;  // of all elements; 0 for an array without a bound
  bool unbounded = false;   // name[]: dynamic shared memory, or an extern array
  bool is_extern = false;
  bool is_visible = false;  // .visible, .weak or .common: seen by other modules
  bool is_weak = false;     // .weak or .common: may yield to another definition
  bool is_managed = false;
  std::vector<std::byte> init;  // empty: zeros. Else as long as written, at most `bytes`
  std::vector<Relocation> relocations;
  std::uint32_t line = 0;
};

// A formal parameter or return value, of an entry, a .func or a prototype.
// A .reg parameter (old ABI) has space kReg and is a register of the body by the same name.
struct Param {
  std::string_view name;
  Space space = Space::kParam;
  Type type = Type::kNone;
  std::uint32_t align = 1;
  std::uint32_t bytes = 0;
  bool is_pointer = false;  // .ptr
};

struct Function {
  std::string name;
  bool is_entry = false;
  bool is_extern = false;
  bool is_visible = false;
  bool is_weak = false;
  bool has_body = false;  // else a declaration
  bool no_return = false;
  std::vector<Param> params;
  std::vector<Param> returns;
  std::uint32_t param_bytes = 0;  // end of the last parameter, laid out in order by alignment
  // 0 where the text says nothing.
  std::uint32_t max_threads[3] = {0, 0, 0};       // .maxntid
  std::uint32_t required_threads[3] = {0, 0, 0};  // .reqntid
  std::uint32_t required_cluster[3] = {0, 0, 0};  // .reqnctapercluster
  bool explicit_cluster = false;
  std::uint32_t min_blocks = 0;     // .minnctapersm
  std::uint32_t max_registers = 0;  // .maxnreg
  std::uint32_t unit = 0;           // Module::units[unit] holds the text
  std::uint32_t line = 0;           // of the name
  std::uint32_t body_line = 0;      // of the opening brace
  std::string_view body_text;       // between the outer braces
};

struct Label {
  std::string_view name;
  std::uint32_t instruction = 0;  // index; may equal instructions.size()
};

// name: .branchtargets L0, L1;  or  name: .calltargets f, g;
struct Table {
  std::string_view name;
  std::vector<std::uint32_t> labels;  // of .branchtargets: indices into Body::labels
  std::vector<Symbol> functions;      // of .calltargets
};

// name: .callprototype (.param .b32 _) _ (.param .b64 _, …);
struct Prototype {
  std::string_view name;
  std::vector<Param> returns;
  std::vector<Param> params;
  bool no_return = false;
};

// A function's body, flat: scopes are resolved, so one name may occur more than once.
struct Body {
  std::vector<Type> registers;      // by register index
  std::vector<Variable> variables;  // .local, .shared and .param of the body, in order
  std::vector<Instruction> instructions;
  std::vector<Label> labels;
  std::vector<Table> tables;
  std::vector<Prototype> prototypes;
  std::vector<std::int32_t> param_registers;   // for each Param of space kReg its register, else -1
  std::vector<std::int32_t> return_registers;  // the same for returns
};

// One text and the names it may use. A linked module has several.
struct Unit {
  std::shared_ptr<const std::string> text;
  std::map<std::string, Symbol, std::less<>> names;    // into Module::variables and ::functions
  std::uint32_t version_major = 0, version_minor = 0;  // .version
  std::uint32_t sm = 0;                                // .target sm_90a: 90
};

struct Module {
  std::vector<Unit> units;
  std::vector<Variable> variables;
  std::vector<Function> functions;
  std::uint32_t sm = 0;             // the highest of the units
  std::uint32_t address_bytes = 8;  // 4-byte modules are refused

  // By the name that unit `unit` sees; nullopt when there is none.
  std::optional<std::size_t> find_function(std::string_view name, std::size_t unit) const;
  std::optional<std::size_t> find_variable(std::string_view name, std::size_t unit) const;
};

}  // namespace farcall::softgpu::ptx
