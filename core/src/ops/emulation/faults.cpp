#include "faults.hpp"

#include "block.hpp"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <ucontext.h>

namespace emul {

namespace {

struct sigaction previous_segv;

void on_fault(int signal, siginfo_t* info, void* machine) {
    BlockRunner* active = runner;
    if (!active || !active->current) {  // not in a kernel: whoever was there before
        sigaction(SIGSEGV, &previous_segv, nullptr);
        return;
    }
    uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
    std::string where = describe_address(address);
    char text[512];
    const ThreadState& t = *self;
    long code = 0;
#if defined(__x86_64__)
    code = long(static_cast<ucontext_t*>(machine)->uc_mcontext.gregs[REG_RIP] - reinterpret_cast<long>(&on_fault));
#endif
    std::snprintf(text, sizeof text, "bad memory access by block (%u,%u,%u) thread (%u,%u,%u): %s [code at on_fault%+ld]",
                  t.block_index.x, t.block_index.y, t.block_index.z, t.thread_index.x, t.thread_index.y,
                  t.thread_index.z, where.c_str(), code);
    active->error = text;
    (void)signal;
    siglongjmp(active->fault_jump, 1);
}

}  // namespace

FaultScope::FaultScope() {
#if !defined(EMUL_ASAN) && !defined(EMUL_TSAN)
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGSEGV, &action, &previous_segv);
    });
    constexpr size_t bytes = 64 * 1024;
    stack = static_cast<char*>(std::malloc(bytes));
    stack_t mine = {};
    mine.ss_sp = stack;
    mine.ss_size = bytes;
    sigaltstack(&mine, &previous);
#endif
}

FaultScope::~FaultScope() {
    if (!stack) return;
    sigaltstack(&previous, nullptr);
    std::free(stack);
}

}  // namespace emul
