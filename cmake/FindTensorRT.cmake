# Finds TensorRT's headers, 8.x to 11.x, and its library if it is there.
#
# TensorRT_ROOT (CMake or environment variable) names the folder that its tar unpacks to.
# Gives TensorRT_FOUND, TensorRT_VERSION, TensorRT_INCLUDE_DIR, TensorRT_LIBRARY (may be NOTFOUND) and the target TensorRT::headers.

# Under another TensorRT_ROOT than last time both are looked for again.
if(DEFINED TensorRT_SEARCHED_ROOT AND NOT TensorRT_SEARCHED_ROOT STREQUAL "${TensorRT_ROOT};$ENV{TensorRT_ROOT}")
  unset(TensorRT_INCLUDE_DIR CACHE)
  unset(TensorRT_LIBRARY CACHE)
endif()
set(TensorRT_SEARCHED_ROOT "${TensorRT_ROOT};$ENV{TensorRT_ROOT}" CACHE INTERNAL "The variable TensorRT_ROOT and that of the environment of what was found")

find_path(TensorRT_INCLUDE_DIR NvInfer.h PATH_SUFFIXES include)
find_library(TensorRT_LIBRARY nvinfer PATH_SUFFIXES lib)

# NvInferVersion.h gives each number as "#define NAME number", perhaps by way of another name: NV_TENSORRT_MAJOR is 10 in one version
# and TRT_MAJOR_ENTERPRISE, which is 10, in the next.
function(pssdet_version_number text name result)
  if("${text}" MATCHES "#define[ \t]+${name}[ \t]+([A-Za-z0-9_]+)")
    set(value "${CMAKE_MATCH_1}")
    if(NOT value MATCHES "^[0-9]+$")
      pssdet_version_number("${text}" "${value}" value)
    endif()
    set(${result} "${value}" PARENT_SCOPE)
  else()
    set(${result} "" PARENT_SCOPE)
  endif()
endfunction()

if(TensorRT_INCLUDE_DIR AND EXISTS "${TensorRT_INCLUDE_DIR}/NvInferVersion.h")
  file(READ "${TensorRT_INCLUDE_DIR}/NvInferVersion.h" version_header)
  foreach(part MAJOR MINOR PATCH)
    pssdet_version_number("${version_header}" NV_TENSORRT_${part} TensorRT_VERSION_${part})
  endforeach()
  set(TensorRT_VERSION "${TensorRT_VERSION_MAJOR}.${TensorRT_VERSION_MINOR}.${TensorRT_VERSION_PATCH}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorRT REQUIRED_VARS TensorRT_INCLUDE_DIR TensorRT_VERSION_MAJOR VERSION_VAR TensorRT_VERSION)

if(TensorRT_FOUND AND NOT TARGET TensorRT::headers)
  add_library(TensorRT::headers INTERFACE IMPORTED)
  # As system headers: their warnings are not ours.
  target_include_directories(TensorRT::headers SYSTEM INTERFACE "${TensorRT_INCLUDE_DIR}")
endif()
mark_as_advanced(TensorRT_INCLUDE_DIR TensorRT_LIBRARY)
