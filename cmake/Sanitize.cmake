# The target "sanitize" runs the tests on a GPU under compute-sanitizer, which needs a GPU: memory errors, races in shared memory, barriers that
# not all threads reach, and memory that is read before it is written.
find_program(PSSDET_COMPUTE_SANITIZER compute-sanitizer HINTS "${CUDAToolkit_BIN_DIR}")
if(PSSDET_COMPUTE_SANITIZER)
  add_custom_target(sanitize)
  foreach(test ${PSSDET_GPU_TESTS})
    foreach(tool memcheck racecheck synccheck initcheck)
      add_custom_command(TARGET sanitize POST_BUILD COMMAND "${PSSDET_COMPUTE_SANITIZER}" --tool ${tool} --error-exitcode 1
                         $<TARGET_FILE:${test}> VERBATIM)
    endforeach()
    add_dependencies(sanitize ${test})
  endforeach()
else()
  message(STATUS "Target sanitize: left out, no compute-sanitizer; it comes with the CUDA toolkit")
endif()
