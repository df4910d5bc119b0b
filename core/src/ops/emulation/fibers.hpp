// Fibers: one stack per CUDA thread, and the switch between them.
#pragma once

#include "sanitizers.hpp"

#include <cstddef>

// Elsewhere, or with -DEMUL_UCONTEXT, the C library switches stacks: 40 times as slow.
#if defined(__x86_64__) && defined(__linux__) && !defined(EMUL_UCONTEXT)
#define EMUL_FAST_SWITCH
#endif
#if !defined(EMUL_FAST_SWITCH)
#include <ucontext.h>
#endif

namespace emul {

struct Context {
    void* stack_pointer = nullptr;
    char* stack = nullptr;  // lowest usable address
    size_t size = 0;
    void* fake_stack = nullptr;    // AddressSanitizer
    void* tsan_fiber = nullptr;    // ThreadSanitizer
#if !defined(EMUL_FAST_SWITCH)
    ucontext_t context;
#endif
};

#if defined(EMUL_FAST_SWITCH)
extern "C" void emul_switch_stack(void** save, void* load);
#endif

inline void switch_context(Context& from, Context& to) {
#if defined(EMUL_ASAN)
    __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.size);
#endif
#if defined(EMUL_TSAN)
    __tsan_switch_to_fiber(to.tsan_fiber, 1 /* no happens-before */);
#endif
#if defined(EMUL_FAST_SWITCH)
    emul_switch_stack(&from.stack_pointer, to.stack_pointer);
#else
    swapcontext(&from.context, &to.context);
#endif
#if defined(EMUL_ASAN)
    __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

// Gives the context a stack of its own; `index` spreads the stacks over the sets of the cache.
void allocate_stack(Context& context, size_t index);
// The next switch to the context calls `entry`, which never returns. Poisons the top of the stack.
void prepare_context(Context& context, void (*entry)());

}  // namespace emul
