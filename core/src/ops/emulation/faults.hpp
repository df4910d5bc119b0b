// Bad memory accesses of a kernel become the error of its launch.
#pragma once

#include <csignal>

namespace emul {

// While a launch runs on this host thread: faults are reported on a stack of their own.
struct FaultScope {
    char* stack = nullptr;
    stack_t previous = {};
    FaultScope();
    ~FaultScope();
};

}  // namespace emul
