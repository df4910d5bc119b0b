// What the run time tells the sanitizers about fibers. Variants: plain, -DEMUL_ASAN, -DEMUL_TSAN.
// The run time must not be compiled with -fsanitize=thread itself: its own sharing between fibers
// is not the kernel's business.
#pragma once

#include <cstddef>

#if defined(EMUL_ASAN)
extern "C" void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, size_t size);
extern "C" void __asan_unpoison_memory_region(const volatile void* address, size_t size);
extern "C" void __sanitizer_finish_switch_fiber(void* fake_stack, const void** old_bottom, size_t* old_size);
#endif
#if defined(EMUL_TSAN)
extern "C" void* __tsan_get_current_fiber();
extern "C" void* __tsan_create_fiber(unsigned flags);
extern "C" void __tsan_switch_to_fiber(void* fiber, unsigned flags);
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#else
static inline void __tsan_acquire(void*) {}
static inline void __tsan_release(void*) {}
#endif
