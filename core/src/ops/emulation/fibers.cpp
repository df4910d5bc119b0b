#include "fibers.hpp"

#include "memory.hpp"

#include <cstddef>
#include <cstdlib>
#include <sys/mman.h>

namespace emul {

namespace {
#if defined(EMUL_ASAN) || defined(EMUL_TSAN)
constexpr size_t stack_bytes = 256 * 1024;
#else
constexpr size_t stack_bytes = 64 * 1024;
#endif
constexpr size_t poisoned_stack_bytes = 4096;
}  // namespace

#if defined(EMUL_FAST_SWITCH)
asm(R"(
.text
.globl emul_switch_stack
.type emul_switch_stack,@function
emul_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emul_switch_stack,.-emul_switch_stack
)");
#endif

void allocate_stack(Context& context, size_t index) {
    char* mapping = static_cast<char*>(mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE,
                                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (mapping == MAP_FAILED || mprotect(mapping, page, PROT_NONE)) std::abort();
    // Stacks a whole number of pages apart would all compete for the same cache sets.
    context.stack = mapping + page;
    context.size = stack_bytes - index % 64 * 64;
#if defined(EMUL_TSAN)
    context.tsan_fiber = __tsan_create_fiber(0);
#endif
}

void prepare_context(Context& context, void (*entry)()) {
    // Registers of the kernel that live in its stack frame start out as NaN as well.
    poison(context.stack + context.size - poisoned_stack_bytes, poisoned_stack_bytes);
#if defined(EMUL_FAST_SWITCH)
    void** top = reinterpret_cast<void**>(context.stack + context.size);
    *--top = nullptr;                          // alignment: entry starts as if called
    *--top = reinterpret_cast<void*>(entry);   // popped by ret
    context.stack_pointer = top - 6;           // six callee-saved registers, any value
#else
    getcontext(&context.context);
    context.context.uc_stack.ss_sp = context.stack;
    context.context.uc_stack.ss_size = context.size;
    context.context.uc_link = nullptr;
    makecontext(&context.context, entry, 0);
#endif
}

}  // namespace emul
