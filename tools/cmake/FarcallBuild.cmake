# Compiler settings and the functions every folder uses: farcall_library, farcall_links_archive,
# farcall_compile_quickly, farcall_tests, farcall_carries_libraries.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# Everything that runs lands in one place, as it would in an installation.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")

option(FARCALL_FUZZ "Build the fuzzers (clang only)" OFF)
set(FARCALL_SANITIZE "" CACHE STRING "Sanitizers: empty, 'address,undefined' or 'thread'")
if(FARCALL_SANITIZE)
  add_compile_options(-fsanitize=${FARCALL_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${FARCALL_SANITIZE})
endif()

add_compile_options(-Wall -Wextra -Wconversion -Werror)
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  add_compile_options(-Wthread-safety)
endif()

find_program(FARCALL_CCACHE ccache)
if(FARCALL_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${FARCALL_CCACHE})
endif()
if(FARCALL_CCACHE AND CMAKE_CXX_COMPILER_ID MATCHES Clang)
  # What was compiled with a precompiled header is kept only if told that its macros are of no concern.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros ${FARCALL_CCACHE})
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
endif()

find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)

# --- CUDA: the build needs cuda.h only; programs under test need nvcc ------------------------------
find_path(FARCALL_CUDA_INCLUDE cuda.h
  HINTS ${CUDA_HOME} $ENV{CUDA_HOME} /usr/local/cuda PATH_SUFFIXES include
  DOC "Folder of cuda.h")
if(NOT FARCALL_CUDA_INCLUDE)
  message(FATAL_ERROR "cuda.h not found. Set CUDA_HOME to a CUDA toolkit, or run ./tools/setup.")
endif()
get_filename_component(FARCALL_CUDA_HOME ${FARCALL_CUDA_INCLUDE} DIRECTORY)
find_program(FARCALL_NVCC nvcc HINTS ${FARCALL_CUDA_HOME}/bin)

add_library(farcall_cuda_headers INTERFACE)
target_include_directories(farcall_cuda_headers SYSTEM INTERFACE ${FARCALL_CUDA_INCLUDE})

# Batches: of most small files' compilation the headers are the larger part, so builds that are made
# once compile up to so many sources of a target as one file: half the work or less. For who edits one
# file after the other 1, every source by itself, is better.
set(FARCALL_BATCH 1 CACHE STRING "Sources compiled as one file, at most (tools/test: 8 with sanitizers)")

if(FARCALL_BATCH GREATER 1 AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # What a batch includes is no header: types of unnamed namespaces stay in one file all the same.
  add_compile_options(-Wno-subobject-linkage)
endif()

# farcall_batches(VARIABLE TARGET SOURCE…)
# What is to be compiled for these sources of a target. Which ones get on together: batches.py.
function(farcall_batches variable target)
  if(FARCALL_BATCH GREATER 1)
    execute_process(
      COMMAND python3 ${CMAKE_SOURCE_DIR}/tools/cmake/batches.py ${CMAKE_SOURCE_DIR}
              ${CMAKE_BINARY_DIR}/batches/${target} ${FARCALL_BATCH} ${ARGN}
      OUTPUT_VARIABLE batches OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    string(REPLACE "\n" ";" batches "${batches}")
    # What a source declares may change.
    set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${ARGN})
  else()
    set(batches ${ARGN})
  endif()
  set(${variable} ${batches} PARENT_SCOPE)
endfunction()

# farcall_compile_quickly(TARGET)
# For what need not be fast itself, such as tests: clang compiles a test with ASan and UBSan in half the
# time then, g++ one in two thirds.
function(farcall_compile_quickly target)
  target_compile_options(${target} PRIVATE -O0)
endfunction()

# The standard headers that most files include, parsed once for each large target: a third less work
# for clang. Not with g++, whose precompiled headers must lie at an address that is not always free.
function(farcall_precompile target)
  get_target_property(sources ${target} SOURCES)
  list(LENGTH sources files)
  if(CMAKE_CXX_COMPILER_ID MATCHES Clang AND files GREATER 7)
    target_precompile_headers(${target} PRIVATE <algorithm> <array> <atomic> <condition_variable>
      <cstring> <functional> <map> <memory> <mutex> <optional> <span> <string> <thread>
      <unordered_map> <variant> <vector> ${ARGN})
  endif()
endfunction()

# farcall_library(NAME [SINGLY] [LINK target…] [EXCLUDE file…])
# A static library of every .cpp in the calling folder (not below it), less EXCLUDE. SINGLY: never in
# batches, for a folder where names mean one thing in one file and another in the next.
function(farcall_library name)
  cmake_parse_arguments(ARG "SINGLY" "" "LINK;EXCLUDE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  foreach(excluded ${ARG_EXCLUDE})
    list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/${excluded})
  endforeach()
  if(NOT ARG_SINGLY)
    farcall_batches(sources ${name} ${sources})
  endif()
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_LINK})
  farcall_precompile(${name})
endfunction()

# farcall_links_archive(TARGET NAME HEADER)
# Links a library of the distribution, statically where it has it so: the code also becomes part of
# shared libraries that live in other people's processes and should drag nothing in there. Its
# symbols must not replace those of a program that has a copy of its own.
function(farcall_links_archive target name header)
  find_path(FARCALL_${name}_INCLUDE ${header})
  find_library(FARCALL_${name}_LIBRARY NAMES lib${name}.a ${name})
  if(NOT FARCALL_${name}_INCLUDE OR NOT FARCALL_${name}_LIBRARY)
    message(FATAL_ERROR "${name} not found. Install lib${name}-dev, or run ./tools/setup.")
  endif()
  target_include_directories(${target} SYSTEM PRIVATE ${FARCALL_${name}_INCLUDE})
  target_link_libraries(${target} PUBLIC ${FARCALL_${name}_LIBRARY})
  target_link_options(${target} INTERFACE "LINKER:--exclude-libs,lib${name}.a")
endfunction()

# farcall_compile_quickly(TARGET)
# For what need not be fast itself, such as tests: clang compiles a test with ASan and UBSan in half the
# time then, g++ one in two thirds.
function(farcall_compile_quickly target)
  target_compile_options(${target} PRIVATE -O0)
endfunction()

# farcall_tests(NAME FOLDER [LINK target…])
# One doctest program of tests/FOLDER/*_test.cpp; every TEST_CASE becomes a ctest of its own.
function(farcall_tests name folder)
  cmake_parse_arguments(ARG "" "" "LINK;LABELS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${folder}/*_test.cpp)
  if(NOT sources)
    return()
  endif()
  farcall_batches(sources ${name} ${sources})
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE farcall_test_main ${ARG_LINK})
  farcall_compile_quickly(${name})
  farcall_precompile(${name} <doctest/doctest.h>)
  doctest_discover_tests(${name} TEST_PREFIX "${folder}: "
    PROPERTIES TIMEOUT 120 LABELS "${ARG_LABELS}")
endfunction()

# farcall_carries_libraries(TARGET…)
# These programs look for shared libraries in ../lib/bundled first, so that tools/gpu_bundle can take
# them to a machine that lacks some. RPATH and not RUNPATH: it holds for the libraries' own needs too.
function(farcall_carries_libraries)
  set_target_properties(${ARGN} PROPERTIES BUILD_RPATH "\$ORIGIN/../lib/bundled")
  foreach(target ${ARGN})
    target_link_options(${target} PRIVATE -Wl,--disable-new-dtags)
  endforeach()
endfunction()
